//! Who may hold roles, when the writer goes back to the host it prefers, and who else answers for our addresses.

use std::net::IpAddr;
use std::time::Duration;

use super::{Effect, Engine};
use crate::core::cluster::{FailBack, HostName};
use crate::core::event::Event;
use crate::core::facts::HostFacts;
use crate::core::hosts::HostState;
use crate::core::moment::Moment;
use crate::core::repair;
use crate::core::roles::{Eligible, Held};
use crate::core::rule::Rule;
use crate::core::standing::Mode;

/// Pause before the writer goes back to the host it prefers, after it has moved or did not get there. It doubles with each
/// attempt that comes to nothing, because each may keep clients from writing for a while.
const FAIL_BACK_AFTER: Duration = Duration::from_secs(60);
/// Attempts after which the pause grows no more.
const FAIL_BACK_DOUBLINGS: u32 = 6;

impl Engine {
    /// What hosts may do about roles now.
    pub fn eligible(&self) -> Eligible {
        let standing = &self.standing;
        let online = self.online();
        let is_active = standing.mode == Mode::Active;
        let hosts = self.cluster.hosts.iter().map(|host| &host.name);
        // Whoever has not been judged yet has not failed.
        let to_keep = hosts
            .filter(|host| !standing.offline.contains_key(*host) && !standing.owed.contains_key(*host))
            .filter(|host| {
                !is_active || matches!(self.state_of(host), HostState::Online | HostState::Unknown)
            })
            .cloned()
            .collect();
        let to_return = online.iter().filter(|host| is_active && self.has_caught_up(host));
        let mut last_seen = Held::new();
        for (host, addresses) in &self.last_seen {
            for address in addresses {
                last_seen.entry(*address).or_default().push(host.clone());
            }
        }
        Eligible {
            to_return: to_return.cloned().collect(),
            to_hold: online,
            to_keep,
            last_seen,
            writer_in_doubt: self.writer_in_doubt(),
            nobody_to_open: self.rule_told() == Rule::R07,
        }
    }

    /// Remembers which of our addresses a host holds, for when it cannot be looked at.
    pub(super) fn remember_addresses(&mut self, host: &HostName, facts: &HostFacts) {
        if facts.ssh.up().is_none() {
            return;
        }
        let addresses = self.cluster.roles.iter().flat_map(|role| &role.addresses);
        let held = addresses
            .copied()
            .filter(|address| repair::holds(facts, *address));
        self.last_seen.insert(host.clone(), held.collect());
    }

    /// Whether a host has everything: it is the writer, or its replication runs and is not behind.
    fn has_caught_up(&self, host: &HostName) -> bool {
        let Some(mysql) = self.facts.get(host).and_then(|facts| facts.mysql.up()) else {
            return false;
        };
        let replicas = &mysql.replicas;
        self.standing.writer.as_ref() == Some(host)
            || !replicas.is_empty()
                && replicas
                    .iter()
                    .all(|channel| channel.is_running() && channel.lag == Some(Duration::ZERO))
    }

    /// The writer has moved: it stays for a while, whoever moved it.
    pub(super) fn writer_moved(&mut self, now: Moment) {
        self.fail_back_at = now.after(FAIL_BACK_AFTER);
        self.fail_back_tries = 0;
    }

    /// With nothing else to do: hands the writer role back to the host that it prefers.
    pub(super) fn fail_back(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        if let Some(host) = self.prefers_another().filter(|_| now >= self.fail_back_at) {
            self.fail_back_at = now.after(FAIL_BACK_AFTER * 2_u32.pow(self.fail_back_tries));
            self.fail_back_tries = (self.fail_back_tries + 1).min(FAIL_BACK_DOUBLINGS);
            self.start(Effect::SwitchOver(host), effects);
        }
    }

    /// The host that the writer role prefers, when it is another than the writer and could take over without a wait.
    fn prefers_another(&self) -> Option<HostName> {
        let role = self.cluster.writer()?;
        let host = role.prefer.as_ref()?;
        let by_itself = self.cluster.failover.automatic && self.standing.mode == Mode::Active;
        let takes_it = by_itself
            && role.fail_back == FailBack::CaughtUp
            && self.rule == Rule::R03
            && self.standing.writer.as_ref() != Some(host)
            && self.state_of(host) == HostState::Online
            && self.is_fresh(host)
            && self.has_caught_up(host)
            && self
                .electorate(self.standing.writer.as_ref())
                .barred(host)
                .is_none();
        takes_it.then(|| host.clone())
    }

    /// Takes in whether a machine that is not ours answers for an address.
    pub(super) fn heard(
        &mut self,
        now: Moment,
        host: &HostName,
        address: IpAddr,
        answered: bool,
        effects: &mut Vec<Effect>,
    ) {
        if !answered {
            self.answered_for.remove(&address);
            return;
        }
        // An address that is on the move, or stands on another of our hosts, is answered for by us.
        let holders = repair::held(&self.cluster, &self.facts).remove(&address);
        if self.busy || holders.as_deref() != Some(std::slice::from_ref(host)) {
            return;
        }
        if self.answered_for.insert(address, now).is_none() {
            effects.push(Effect::Tell(Event::Alarm {
                what: format!(
                    "{address} is on {host}, and another machine on its network answers for it too"
                ),
                hint: "find that machine (`arping`, or `ndisc6` for IPv6, shows its hardware address) and take the address off it"
                    .to_owned(),
            }));
        }
    }

    /// Addresses for which another machine answers too, and since when.
    pub fn answered_for(&self) -> impl Iterator<Item = (&IpAddr, &Moment)> {
        self.answered_for.iter()
    }

    /// Each floating address that one of our hosts holds, for asking the network who else does; none while an operation
    /// may be moving them.
    pub fn addresses_at_rest(&self) -> Vec<(HostName, IpAddr)> {
        if self.busy || self.standing.mode == Mode::Passive || self.standing.hands_off.is_some() {
            return Vec::new();
        }
        let held = repair::held(&self.cluster, &self.facts);
        held.into_iter()
            .filter_map(|(address, hosts)| match hosts.as_slice() {
                [only] => Some((only.clone(), address)),
                _ => None,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests;
