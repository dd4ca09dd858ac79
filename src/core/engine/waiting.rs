//! What keeps a monitor from deciding although nothing is wrong with it: its own network, and masters that are not there
//! yet.

use super::{Effect, Engine};
use crate::core::cluster::HostName;
use crate::core::event::Event;
use crate::core::hosts::{HostRule, HostState};
use crate::core::moment::Moment;
use crate::core::rule::{NetworkPicture, Rule};
use crate::core::standing::Mode;

impl Engine {
    /// Whether this box may be cut off, so that no probe and no passing of time says anything about a host.
    pub(super) fn is_cut_off(&self) -> bool {
        self.network == NetworkPicture::Silent
    }

    pub(super) fn hear_network(&mut self, now: Moment, answers: bool, effects: &mut Vec<Effect>) {
        let network = if answers {
            NetworkPicture::Answers
        } else {
            NetworkPicture::Silent
        };
        if network == self.network {
            return;
        }
        self.network = network;
        effects.push(Effect::Tell(Event::NetworkChanged { answers }));
        // What began to fail just before may have failed for this reason, and what is known of hosts is old.
        for latch in self.latches.values_mut() {
            latch.start_over();
        }
        self.settled_at = now;
        self.waiting_since = None;
    }

    /// In wait mode: what ends the wait, once something does.
    pub(super) fn awaited(&mut self, now: Moment, rule: Rule) -> Option<String> {
        if self.standing.mode != Mode::Wait {
            self.waiting_since = None;
            return None;
        }
        let since = *self.waiting_since.get_or_insert(now);
        if matches!(rule, Rule::R02 | Rule::R10 | Rule::R13 | Rule::R17) || now < self.try_again_at {
            return None;
        }
        let masters = self.cluster.writer().map(|role| role.hosts.as_slice())?;
        let online: Vec<&HostName> = masters
            .iter()
            .filter(|host| self.state_of(host) == HostState::Online && self.is_seen_up(host))
            .collect();
        let names: Vec<&str> = online.iter().map(|host| host.as_str()).collect();
        if online.len() == masters.len() {
            return Some(format!("{} are ONLINE", names.join(" and ")));
        }
        let patience = self.cluster.start.wait_for_other_master;
        let has_waited = |host: &HostName| {
            let there_since = self.records.get(host).map_or(now, |record| record.since);
            now.since(there_since.max(since)) >= patience
        };
        let mut standing_by = masters.iter().filter(|host| self.is_there(host));
        let patient = standing_by.find(|host| has_waited(host));
        let patient = patient.filter(|_| !patience.is_zero())?;
        let how = match self.state_of(patient) {
            HostState::Online => "is ONLINE",
            _ => "answers",
        };
        Some(format!(
            "{patient} {how}, and the other master has not come within {} s",
            patience.as_secs_f64()
        ))
    }

    /// Whether it is a master that could be gone on with. One that was never judged, since nobody can receive from a dead
    /// source, gets no better by waiting for that source.
    fn is_there(&self, host: &HostName) -> bool {
        let judged = self.records.get(host).map(|record| (record.state, record.rule));
        let is_there = matches!(
            judged,
            Some((HostState::Online, _) | (HostState::Unknown, HostRule::H11))
        );
        is_there && self.is_seen_up(host)
    }

    /// Whether its server answered when it was last looked at; its state may still be the one that an earlier monitor left.
    fn is_seen_up(&self, host: &HostName) -> bool {
        self.facts.get(host).is_some_and(|seen| seen.mysql.up().is_some())
    }
}
