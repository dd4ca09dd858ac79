//! From probe results to verdicts, and from verdicts to the states of hosts.

use super::{Effect, Engine};
use crate::core::cluster::{CheckKind, HostName};
use crate::core::event::Event;
use crate::core::hosts::{self, HostRecord, HostState, Verdicts};
use crate::core::latch::{CheckResult, Verdict};
use crate::core::moment::Moment;

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
        let was = latch.verdict;
        if let Some(verdict) = latch.observe(now, result, trap_after)
            && was != Verdict::Untested
        {
            effects.push(Effect::Tell(changed(host, kind, verdict, message)));
        }
    }

    /// Lets checks that keep failing become failed, whether or not a probe has just returned.
    pub(super) fn trap(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        for ((host, kind), latch) in &mut self.latches {
            if let Some(verdict) = latch.tick(now, self.cluster.checks.of(*kind).trap_after) {
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
        for host in &self.cluster.hosts {
            let verdict = |kind| {
                self.latches
                    .get(&(host.name.clone(), kind))
                    .map_or(Verdict::Untested, |latch| latch.verdict)
            };
            let verdicts = Verdicts {
                mysql: verdict(CheckKind::Mysql),
                rep_threads: verdict(CheckKind::RepThreads),
                rep_backlog: verdict(CheckKind::RepBacklog),
            };
            let is_writer = self.standing.writer.as_ref() == Some(&host.name);
            let owed = self.standing.owed.get(&host.name);
            let (state, because) = hosts::state(&verdicts, is_writer, owed);
            let from = self.records.get(&host.name).map(|record| record.state);
            if from == Some(state) {
                if let Some(record) = self.records.get_mut(&host.name) {
                    record.because = because;
                }
                continue;
            }
            if let Some(from) = from.filter(|from| *from != HostState::Unknown) {
                effects.push(Effect::Tell(Event::StateChanged {
                    host: host.name.clone(),
                    from: from.to_string(),
                    to: state.to_string(),
                    because: because.clone(),
                }));
            }
            let record = HostRecord {
                host: host.name.clone(),
                state,
                since: now,
                because,
            };
            self.records.insert(host.name.clone(), record);
        }
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
