//! Troubles that a downtime kept quiet and that outlast it: told once, when it ends. Whoever announced it expected them to
//! be over by then.

use super::{Effect, Engine};
use crate::core::cluster::{CheckKind, HostName};
use crate::core::event::Event;
use crate::core::hosts::HostState;
use crate::core::latch::Verdict;
use crate::core::moment::Moment;
use crate::core::rule::NetworkPicture;
use crate::core::standing::Standing;

impl Engine {
    /// Tells what began in a downtime that stood `before` and is over now, and still stands.
    pub(super) fn tell_what_outlasts(&mut self, before: &Standing, effects: &mut Vec<Effect>) {
        for host in &self.cluster.hosts {
            let host = &host.name;
            let Some(since) = self.kept_quiet_since(before, host) else {
                continue;
            };
            let troubles = self.troubles_since(since, host);
            if !troubles.is_empty() {
                effects.push(Effect::Tell(Event::Alarm {
                    what: format!("the downtime of {host} is over, and its trouble is not: {}", troubles.join("; ")),
                    hint: format!("`mmm checks {host}` says what is wrong; `mmm downtime {host} --for TIME` if it is not over yet"),
                }));
            }
        }
        if before.downtime.is_some() && self.standing.downtime.is_none() {
            // Both are told anew as soon as they are met again.
            self.complaint = None;
            self.answered_for.clear();
            if self.network == NetworkPicture::Silent {
                effects.push(Effect::Tell(Event::NetworkChanged { answers: false }));
            }
        }
    }

    /// Since when nobody was woken about a host, where that is over now.
    fn kept_quiet_since(&self, before: &Standing, host: &HostName) -> Option<Moment> {
        let announced = before.downtimes.get(host).into_iter().chain(&before.downtime);
        let since = announced.map(|downtime| downtime.since).min();
        since.filter(|_| !self.standing.is_in_downtime(host))
    }

    /// What began to be wrong with a host at that moment or later, in words.
    fn troubles_since(&self, since: Moment, host: &HostName) -> Vec<String> {
        let mut troubles = Vec::new();
        let record = self.records.get(host);
        let is_out = |state| match state {
            HostState::HardOffline
            | HostState::AwaitingRecovery
            | HostState::ReplicationDelay
            | HostState::ReplicationFail => true,
            HostState::Online | HostState::AdminOffline | HostState::Unknown => false,
        };
        let out = record.filter(|record| is_out(record.state) && record.since >= since);
        if let Some(record) = out {
            troubles.push(format!("it is {}, {}", record.state, record.because));
        }
        for check in CheckKind::ALL {
            let Some(latch) = self.latch(host, check) else {
                continue;
            };
            let trap_after = self.cluster.checks.of(check).trap_after;
            let blind_at = latch.blind_since.map(|since| since.after(trap_after));
            if latch.is_blind() && blind_at >= Some(since) {
                troubles.push(format!("its check `{check}` cannot tell"));
            } else if out.is_none() && latch.verdict == Verdict::Failed && latch.changed_at >= Some(since) {
                troubles.push(format!("its check `{check}` has failed"));
            }
        }
        if record.is_some_and(|record| record.flaps.flapping_since >= Some(since)) {
            troubles.push("it has left ONLINE too often".to_owned());
        }
        troubles
    }
}
