//! What is done about a cluster while its writer is in place: repairs, and the return of replaced writers. While a failover
//! is held back, the repairs that have nothing to do with the writer role.

use std::time::Duration;

use super::{Effect, Engine, TRY_AGAIN_AFTER};
use crate::core::cluster::HostName;
use crate::core::guard;
use crate::core::mode::Deed;
use crate::core::moment::Moment;
use crate::core::repair::{self, Fix};
use crate::core::rule::Rule;
use crate::core::standing::Return;

/// Pause between attempts to point replicas to the writer, which take long when they fail.
const FOLLOW_AGAIN_AFTER: Duration = Duration::from_secs(30);
/// Pause between attempts to bring an address up that somebody may answer for: asking takes a second.
const PLACE_AGAIN_AFTER: Duration = Duration::from_secs(10);

impl Engine {
    /// A replaced writer that answers and is not harmless yet. Whatever else is wrong with the cluster, it comes first;
    /// also after a run got stuck or while this box may be cut off, because closing a host that was replaced makes nothing
    /// worse.
    pub(super) fn returning(&self) -> Option<HostName> {
        if self.busy || !self.standing.allows(Deed::Quarantine) {
            return None;
        }
        let mut met = self.standing.owed.keys().filter(|host| self.is_fresh(host));
        met.find(|host| {
            let seen = self.facts.get(*host);
            seen.is_some_and(|seen| repair::must_be_quarantined(&self.standing, host, seen))
        })
        .cloned()
    }

    /// Whether the hosts that a stuck run waits for have been seen to answer since.
    pub(super) fn may_settle(&self) -> bool {
        let standing = &self.standing;
        standing.allows(Deed::Settle)
            && standing.hands_off_awaits.iter().all(|host| self.is_fresh(host))
            && guard::may_be_settled(standing, &self.facts)
    }

    /// Whether the writer has failed and a failover is held back, by the evidence or since nobody could take over.
    pub(super) fn writer_in_doubt(&self) -> bool {
        matches!(self.rule_told(), Rule::R06 | Rule::R07)
    }

    /// The rule in force, or while something is done the one by which it was begun.
    pub(super) fn rule_told(&self) -> Rule {
        match self.rule {
            Rule::R10 => self.told_rule,
            rule => rule,
        }
    }

    /// Mends what is out of place, then brings replaced writers in.
    pub(super) fn tend(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        // A replaced writer is met by itself, and until then it is only pinged: nobody waits for a look at it. One that has
        // failed may keep a look waiting for longer than the next evidence is waited for.
        let has_failed =
            |host: &HostName| self.writer_in_doubt() && self.standing.writer.as_ref() == Some(host);
        let is_waited_for = |host: &HostName| !self.standing.owed.contains_key(host) && !has_failed(host);
        let mut hosts = self.cluster.hosts.iter().map(|host| &host.name);
        if !hosts.all(|host| self.is_fresh(host) || !is_waited_for(host)) {
            return;
        }
        // One that has not been asked yet is not ONLINE, and would lose its addresses.
        if !self.is_everybody_met() {
            return;
        }
        let eligible = self.eligible();
        let fresh = self.facts.iter().filter(|(host, _)| self.is_fresh(host));
        let fresh = fresh.map(|(host, facts)| (host.clone(), facts.clone())).collect();
        let mut fixes = repair::fixes(&self.cluster, &self.standing, &eligible, &fresh);
        if now < self.follow_again_at {
            fixes.retain(|fix| !matches!(fix, Fix::Follow(..)));
        }
        if fixes.iter().any(|fix| matches!(fix, Fix::Follow(..))) {
            self.follow_again_at = now.after(FOLLOW_AGAIN_AFTER);
        }
        if now < self.place_again_at {
            fixes.retain(|fix| !matches!(fix, Fix::AddAddressIfFree(..)));
        }
        if fixes.iter().any(|fix| matches!(fix, Fix::AddAddressIfFree(..))) {
            self.place_again_at = now.after(PLACE_AGAIN_AFTER);
        }
        if !fixes.is_empty() {
            self.start(Effect::Repair, effects);
            return;
        }
        // Nobody can be compared with a writer that does not answer.
        if self.writer_in_doubt() {
            return;
        }
        // One whose server runs is made harmless first; one that was stopped for good is started that way.
        let in_service = |host: &HostName| !self.standing.offline.contains_key(host);
        let mut owed = self.standing.owed.iter().filter(|(host, _)| in_service(host));
        let back = owed.find(|(host, owed)| {
            let seen = self.facts.get(*host).filter(|_| self.is_fresh(host));
            seen.is_some_and(|seen| {
                seen.ssh.up().is_some()
                    && !matches!(owed.progress, Return::KeptOut { .. })
                    && !repair::must_be_quarantined(&self.standing, host, seen)
            })
        });
        if let Some((host, _)) = back.filter(|_| now >= self.try_again_at) {
            self.try_again_at = now.after(TRY_AGAIN_AFTER);
            let host = host.clone();
            self.start(Effect::Rejoin(host), effects);
            return;
        }
        self.fail_back(now, effects);
    }
}
