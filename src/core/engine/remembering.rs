//! What one monitor leaves to the next: the records of the hosts, told as an effect when they change.

use std::time::Duration;

use super::{Effect, Engine};
use crate::core::cluster::CheckKind;
use crate::core::electorate::may_take_over;
use crate::core::hosts::{HostMemory, HostRecord, RECORDS_VERSION, Records};
use crate::core::latch::Latch;
use crate::core::moment::Moment;

/// What changes by itself all the time is written down this often.
const REFRESH_EVERY: Duration = Duration::from_secs(1);

impl Engine {
    /// Goes on where an earlier monitor left off. Hosts that the inventory does not name any more are forgotten.
    pub fn resume(mut self, records: Records) -> Engine {
        for (host, memory) in &records.hosts {
            if self.cluster.host(host).is_none() {
                continue;
            }
            self.records.insert(
                host.clone(),
                HostRecord {
                    host: host.clone(),
                    ..memory.record.clone()
                },
            );
            for (kind, latch) in &memory.checks {
                self.latches
                    .insert((host.clone(), *kind), latch.clone().inherit());
            }
        }
        self.known_writer.clone_from(&records.writer);
        self.writer_since = records.writer_since;
        let mut memory = if self.standing.writer.is_none() {
            records.memory.clone()
        } else {
            let writer = self.standing.writer.as_ref();
            records.clone().memory_under(writer, &self.standing)
        };
        // From now on somebody judges all the time.
        memory.stopped.clear();
        memory
            .states
            .retain(|host, state| self.cluster.host(host).is_some() && !may_take_over(*state));
        let judged = self
            .records
            .values()
            .filter(|record| !may_take_over(record.state));
        memory
            .states
            .extend(judged.map(|record| (record.host.clone(), record.state)));
        self.memory = memory;
        self.remembered = Some(records);
        self
    }

    /// What the next monitor should know.
    pub fn records(&self) -> Records {
        let memory = |record: &HostRecord| {
            let checks = CheckKind::ALL
                .into_iter()
                .filter_map(|kind| Some((kind, self.latch(&record.host, kind)?.left_behind())));
            HostMemory {
                record: record.clone(),
                checks: checks.collect(),
            }
        };
        Records {
            version: RECORDS_VERSION,
            writer: self.known_writer.clone(),
            writer_since: self.writer_since,
            since_run: self.standing.since_run.clone(),
            memory: self.memory.clone(),
            hosts: self
                .records
                .iter()
                .map(|(host, record)| (host.clone(), memory(record)))
                .collect(),
        }
    }

    /// Asks for the records to be written down: at once when something changed, otherwise now and then.
    pub(super) fn remember(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        let is_recent = |at: Moment| now.since(at) < REFRESH_EVERY;
        if self.remembered_at.is_some_and(is_recent) && self.is_much_as_remembered() {
            return;
        }
        let records = self.records();
        if self.remembered.as_ref() == Some(&records) {
            return;
        }
        self.remembered = Some(records.clone());
        self.remembered_at = Some(now);
        effects.push(Effect::Remember(Box::new(records)));
    }

    /// Whether only what passes by itself has changed: uptimes, and what the newest probes said.
    fn is_much_as_remembered(&self) -> bool {
        let Some(known) = &self.remembered else {
            return false;
        };
        let is_as_known = |record: &HostRecord| {
            known.hosts.get(&record.host).is_some_and(|memory| {
                memory.record.outline() == record.outline()
                    && CheckKind::ALL.into_iter().all(|kind| {
                        let now = self.latch(&record.host, kind).map(Latch::outline);
                        memory.checks.get(&kind).map(Latch::outline) == now
                    })
            })
        };
        known.writer == self.known_writer
            && known.writer_since == self.writer_since
            && known.since_run == self.standing.since_run
            && self.records.values().all(is_as_known)
    }
}

#[cfg(test)]
mod tests;
