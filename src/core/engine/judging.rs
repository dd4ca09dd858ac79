//! From probe results to verdicts, and from verdicts to the states of hosts.

use std::collections::BTreeSet;
use std::time::Duration;

use super::maintaining::quietly;
use super::{Effect, Engine};
use crate::core::cluster::{CheckKind, Host, HostName};
use crate::core::electorate::may_take_over;
use crate::core::event::Event;
use crate::core::hosts::{
    self, Comeback, HostPicture, HostRecord, HostRule, HostState, Part, Peer, Replication, Server, Word,
};
use crate::core::latch::{CheckResult, Latch, Verdict};
use crate::core::moment::Moment;
use crate::core::standing::Return;

/// How far the clock of a host and ours may drift apart while a host is away for a short time, looks included.
const CLOCKS_AGREE_WITHIN: Duration = Duration::from_secs(10);

impl Engine {
    pub(super) fn check(
        &mut self,
        now: Moment,
        host: &HostName,
        kind: CheckKind,
        result: CheckResult,
        effects: &mut Vec<Effect>,
    ) {
        let trap_after = self.cluster.checks.of(kind).trap_after;
        let Some(latch) = self.latches.get_mut(&(host.clone(), kind)) else {
            return;
        };
        let message = result.message().to_owned();
        let was = latch.known();
        if let Some(verdict) = latch.observe(now, result, trap_after)
            && was != Verdict::Untested
        {
            effects.push(Effect::Tell(changed(host, kind, verdict, message)));
        }
    }

    /// Lets checks that keep failing become failed, whether or not a probe has just returned.
    pub(super) fn trap(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        let answers = |(host, kind): &(HostName, CheckKind), latch: &Latch| {
            let is_well = matches!(latch.last, Some(CheckResult::Ok(_)));
            (*kind == CheckKind::Mysql && is_well).then(|| host.clone())
        };
        let answering: BTreeSet<HostName> = self
            .latches
            .iter()
            .filter_map(|(check, latch)| answers(check, latch))
            .collect();
        for ((host, kind), latch) in &mut self.latches {
            // Of a server that does not answer, nobody expects to hear about replication.
            let counts = matches!(kind, CheckKind::Ping | CheckKind::Mysql) || answering.contains(host);
            let trap_after = self.cluster.checks.of(*kind).trap_after;
            match latch.blink(now, trap_after, counts) {
                Some(true) => {
                    let blind = quietly(&self.standing, host, blind(host, *kind, latch));
                    effects.push(Effect::Tell(blind));
                }
                Some(false) if matches!(latch.last, Some(CheckResult::Ok(_))) => {
                    let message = "it can be asked again".to_owned();
                    effects.push(Effect::Tell(changed(host, *kind, Verdict::Ok, message)));
                }
                Some(false) | None => {}
            }
            if let Some(verdict) = latch.tick(now, trap_after) {
                let message = latch
                    .last
                    .as_ref()
                    .map(|last| last.message().to_owned())
                    .unwrap_or_default();
                effects.push(Effect::Tell(changed(host, *kind, verdict, message)));
            }
        }
    }

    pub(super) fn judge_hosts(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        if self.known_writer != self.standing.writer {
            if self.known_writer.is_some() {
                self.writer_since = Some(now);
            }
            self.known_writer.clone_from(&self.standing.writer);
        }
        for host in self.cluster.hosts.clone() {
            self.judge(now, &host, effects);
        }
    }

    /// Whether every host has a state, or has at least answered each check once.
    pub(super) fn is_everybody_met(&self) -> bool {
        self.cluster.hosts.iter().all(|host| {
            let has_spoken = |kind| {
                self.latch(&host.name, kind)
                    .is_some_and(|latch| latch.heard_at.is_some())
            };
            self.state_of(&host.name) != HostState::Unknown || CheckKind::ALL.into_iter().all(has_spoken)
        })
    }

    fn judge(&mut self, now: Moment, host: &Host, effects: &mut Vec<Effect>) {
        let mut record = match self.records.get(&host.name) {
            Some(record) => record.clone(),
            None => HostRecord::unknown(host.name.clone(), now),
        };
        if record.flaps.flapping_since.is_some() && self.may_stop_flapping(now, &record) {
            record.flaps = hosts::Flaps::default();
        }
        let picture = self.host_picture(now, host, &record);
        let rule = hosts::decide(&picture);
        let to = rule.leads_to(record.state);
        record.rule = rule;
        record.because = format!("{rule}: {}", self.because(rule, &host.name));
        if to != record.state {
            let from = record.state;
            let policy = self.cluster.recovery.flapping;
            if record.enter(now, to, &policy) {
                let flapping = Event::Alarm {
                    what: format!(
                        "{} has left ONLINE more than {} times within {} s",
                        host.name,
                        policy.count,
                        policy.within.as_secs()
                    ),
                    hint: format!(
                        "find out why, then `mmm set-online {}`; it is kept out until then, or until its checks have been well for as long",
                        host.name
                    ),
                };
                effects.push(Effect::Tell(quietly(&self.standing, &host.name, flapping)));
            }
            if from != HostState::Unknown {
                effects.push(Effect::Tell(Event::StateChanged {
                    host: host.name.clone(),
                    from: from.to_string(),
                    to: to.to_string(),
                    because: record.because.clone(),
                }));
            }
        }
        if record.state == HostState::Online
            && self.answers(&host.name)
            && let Some(uptime) = self.uptime(&host.name)
        {
            record.uptime = Some(uptime);
            record.uptime_at = self.looked_at.get(&host.name).copied();
        }
        // A host that has told nothing yet stays what others held it to be.
        // That one is well counts once this monitor has seen the writer serve: it may have broken since the record.
        if record.state != HostState::Unknown {
            if may_take_over(record.state) && self.met != self.standing.writer {
                self.memory.states.remove(&host.name);
            } else {
                self.memory.states.insert(host.name.clone(), record.state);
            }
        }
        self.records.insert(host.name.clone(), record);
    }

    fn host_picture(&self, now: Moment, host: &Host, record: &HostRecord) -> HostPicture {
        let name = &host.name;
        let standing = &self.standing;
        let released = |at: &Moment| record.out_since.is_some_and(|out| *at >= out);
        HostPicture {
            from: record.state,
            word: if standing.offline.contains_key(name) {
                Word::OutOfService
            } else if standing.released.get(name).is_some_and(released) {
                Word::Released
            } else {
                Word::None
            },
            part: if standing.owed.contains_key(name) {
                Part::Owed
            } else if standing.writer.as_ref() == Some(name) {
                Part::Writer
            } else {
                Part::Follower
            },
            server: match self.verdict(name, CheckKind::Mysql) {
                Verdict::Untested => Server::Untested,
                Verdict::Ok => Server::Answers,
                Verdict::Failed => Server::Failed,
            },
            replication: self.replication(name, record),
            peer: self.peer(now, host, record),
            comeback: self.comeback(now, name, record),
        }
    }

    fn verdict(&self, host: &HostName, kind: CheckKind) -> Verdict {
        self.latch(host, kind)
            .map_or(Verdict::Untested, |latch| latch.verdict)
    }

    /// Whether its server answers, and no probe has failed since.
    fn answers(&self, host: &HostName) -> bool {
        self.latch(host, CheckKind::Mysql)
            .is_some_and(|latch| latch.verdict == Verdict::Ok && !latch.is_suspect())
    }

    fn is_failing_now(&self, host: &HostName, kind: CheckKind) -> bool {
        self.latch(host, kind).is_some_and(Latch::is_failing_now)
    }

    fn replication(&self, host: &HostName, record: &HostRecord) -> Replication {
        let threads = self.verdict(host, CheckKind::RepThreads);
        let backlog = self.verdict(host, CheckKind::RepBacklog);
        match (threads, backlog) {
            (Verdict::Failed, _) => Replication::Broken,
            // Threads that stopped leave no lag to tell, and that check may be trapped first: broken wins over lagging.
            (Verdict::Ok, Verdict::Failed) if self.is_failing_now(host, CheckKind::RepThreads) => {
                Replication::Untold
            }
            (Verdict::Ok, Verdict::Failed) => Replication::Delayed,
            (Verdict::Ok, Verdict::Ok) if self.is_well_since(host, record) => Replication::Fine,
            _ => Replication::Untold,
        }
    }

    /// A verdict may be older than what put the host out: before it comes back in, both checks must have been well
    /// since then, with nothing bad after it.
    fn is_well_since(&self, host: &HostName, record: &HostRecord) -> bool {
        let since = match record.state {
            HostState::AwaitingRecovery => Some(record.since),
            HostState::AdminOffline => self.standing.released.get(host).copied(),
            _ => return true,
        };
        [CheckKind::RepThreads, CheckKind::RepBacklog]
            .into_iter()
            .all(|kind| {
                self.latch(host, kind)
                    .is_some_and(|latch| latch.ok_at >= since && !latch.is_suspect())
            })
    }

    /// How the host is that `host` replicates from. It must have answered since the replication began to fail: when a
    /// source dies, the checks of those who follow it may notice first.
    fn peer(&self, now: Moment, host: &Host, judged: &HostRecord) -> Peer {
        let writer = self.standing.writer.as_ref();
        // In a pair that is the peer, writer or not; among more masters, all follow the writer.
        let in_pair = host.peer.as_ref().filter(|_| self.cluster.masters().count() == 2);
        let Some(peer) = in_pair.or(writer) else {
            return Peer::Away;
        };
        let failing = match self.verdict(&host.name, CheckKind::RepThreads) {
            Verdict::Failed => CheckKind::RepThreads,
            Verdict::Untested | Verdict::Ok => CheckKind::RepBacklog,
        };
        let failing_since = self
            .latch(&host.name, failing)
            .and_then(|latch| latch.failing_since);
        let ok_at = self.latch(peer, CheckKind::Mysql).and_then(|latch| latch.ok_at);
        let is_there = |record: &&HostRecord| record.state == HostState::Online && self.answers(peer);
        let Some(record) = self.records.get(peer).filter(is_there) else {
            // What was excused while its source still answered is not made good by the source's death.
            let trap_after = self.cluster.checks.of(failing).trap_after;
            let lived_on = failing_since.zip(ok_at).map(|(since, ok_at)| ok_at.since(since));
            return match lived_on {
                Some(lived_on) if judged.state == HostState::Online && lived_on >= trap_after => Peer::Steady,
                Some(_) | None => Peer::Away,
            };
        };
        if ok_at < failing_since {
            return Peer::Away;
        }
        let writer_since = self.writer_since.filter(|_| writer == Some(peer));
        let fresh_since = record.online_since.max(writer_since);
        let excuse = self.cluster.recovery.excuse_peer_for;
        if fresh_since.is_some_and(|since| now.since(since) < excuse) {
            Peer::Fresh
        } else {
            Peer::Steady
        }
    }

    fn comeback(&self, now: Moment, host: &HostName, record: &HostRecord) -> Comeback {
        let recovery = &self.cluster.recovery;
        let waited = |enough: Duration| {
            record.state == HostState::AwaitingRecovery && now.since(record.since) >= enough
        };
        if record.flaps.flapping_since.is_some() {
            Comeback::Flapping
        } else if self.was_away_shortly(host, record) {
            Comeback::Short
        } else if recovery.auto_set_online.is_some_and(waited) {
            Comeback::Waited
        } else {
            Comeback::Waiting
        }
    }

    /// Whether its system has gone on running since it was last ONLINE, and that is not long ago.
    fn was_away_shortly(&self, host: &HostName, record: &HostRecord) -> bool {
        let Some(looked_at) = self.looked_at.get(host).filter(|at| **at > record.since) else {
            return false;
        };
        let (Some(before), Some(before_at), Some(now)) = (record.uptime, record.uptime_at, self.uptime(host))
        else {
            return false;
        };
        let went_by = now.saturating_sub(before);
        // A system that restarted soon after its last start may have been up for longer already than it was then.
        let ran_on = went_by + CLOCKS_AGREE_WITHIN >= looked_at.since(before_at);
        now > before && ran_on && went_by < self.cluster.recovery.short_downtime
    }

    fn uptime(&self, host: &HostName) -> Option<Duration> {
        let facts = self.facts.get(host)?;
        facts.ssh.up().map(|shell| shell.uptime)
    }

    /// Whether a person let a flapping host back in, or everything about it has been well and unchanged for long enough. Pings
    /// are only evidence, and many a network lets none through.
    fn may_stop_flapping(&self, now: Moment, record: &HostRecord) -> bool {
        let host = &record.host;
        let policy = self.cluster.recovery.flapping;
        let released = self.standing.released.get(host).copied();
        let latches = || {
            CheckKind::ALL
                .into_iter()
                .filter(|kind| *kind != CheckKind::Ping)
                .filter_map(|kind| self.latch(host, kind))
        };
        let changed_at = latches()
            .filter_map(|latch| latch.changed_at)
            .max()
            .max(record.flaps.flapping_since);
        let is_well = |latch: &Latch| latch.verdict == Verdict::Ok && !latch.is_suspect();
        policy.count == 0
            || released >= record.flaps.flapping_since
            || latches().all(is_well) && changed_at.is_some_and(|at| now.since(at) >= policy.within)
    }

    fn is_half_rebuilt(&self, host: &HostName) -> bool {
        self.standing
            .owed
            .get(host)
            .is_some_and(|owed| owed.rebuild.is_some())
    }

    /// A rule's sentence with what is known of this case.
    fn because(&self, rule: HostRule, host: &HostName) -> String {
        let says = |kind| {
            let last = self.latch(host, kind).and_then(|latch| latch.last.as_ref());
            // What could not tell is not the reason.
            let bad = last.filter(|last| matches!(last, CheckResult::Error(_)));
            bad.map(|last| format!("{}: {}", rule.sentence(), last.message()))
        };
        let more = match rule {
            HostRule::H05 => says(CheckKind::Mysql),
            HostRule::H13 => says(CheckKind::RepThreads),
            HostRule::H14 => says(CheckKind::RepBacklog),
            HostRule::H06 if self.is_half_rebuilt(host) => {
                Some("kept out: its rebuild has not come to its end".to_owned())
            }
            HostRule::H06 => match self.standing.owed.get(host).map(|owed| &owed.progress) {
                Some(Return::KeptOut { surplus, .. }) => Some(format!(
                    "kept out: it has transactions that the writer has not ({surplus})"
                )),
                Some(Return::Awaited | Return::Quarantined) | None => None,
            },
            _ => None,
        };
        more.unwrap_or_else(|| rule.sentence().to_owned())
    }
}

/// A check that cannot tell is no reason to act, and one not to sleep.
fn blind(host: &HostName, kind: CheckKind, latch: &Latch) -> Event {
    let why = latch.last.as_ref().map_or("", CheckResult::message);
    Event::Alarm {
        what: format!("check `{kind}` of {host} cannot tell: {why}"),
        hint: "`mmm check` says what is missing; until then nothing is decided on this check".to_owned(),
    }
}

fn changed(host: &HostName, kind: CheckKind, verdict: Verdict, message: String) -> Event {
    Event::CheckChanged {
        host: host.clone(),
        check: kind.to_string(),
        ok: verdict == Verdict::Ok,
        message,
    }
}

#[cfg(test)]
mod tests;
