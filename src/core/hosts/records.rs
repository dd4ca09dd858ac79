//! What a monitor remembers of the hosts from one start to the next.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{HostRecord, HostState};
use crate::core::cluster::{CheckKind, HostName};
use crate::core::electorate::{Memory, may_take_over};
use crate::core::guard::Facts;
use crate::core::latch::Latch;
use crate::core::moment::Moment;

/// The version of the persisted form.
pub const RECORDS_VERSION: u32 = 1;

/// Everything remembered of one cluster's hosts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Records {
    /// The version of this form.
    pub version: u32,
    /// Who was the writer.
    pub writer: Option<HostName>,
    /// Since when, where a monitor saw it become one.
    pub writer_since: Option<Moment>,
    /// What an election needs to know of the time of that writer.
    #[serde(default)]
    pub memory: Memory,
    /// Each host.
    pub hosts: BTreeMap<HostName, HostMemory>,
}

/// What is remembered of one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostMemory {
    /// Its state and timers.
    pub record: HostRecord,
    /// Its checks.
    pub checks: BTreeMap<CheckKind, Latch>,
}

impl Records {
    /// What is remembered of the time when `writer` was the writer. Of another's nothing counts but what a host had, which
    /// names its host.
    pub fn memory_under(self, writer: Option<&HostName>) -> Memory {
        if writer.is_some() && self.writer.as_ref() == writer {
            let mut memory = self.memory;
            // That a host was well says nothing of the time since; who is out of service, what stands tells.
            memory
                .states
                .retain(|_, state| !may_take_over(*state) && *state != HostState::AdminOffline);
            return memory;
        }
        Memory {
            seen: self.memory.seen,
            ..Memory::default()
        }
    }

    /// The records after one look at a writer that serves, by somebody who does not watch: the hosts' timers stay as the
    /// last monitor left them.
    pub fn after_look(
        left: Option<Records>,
        writer: &HostName,
        now: Moment,
        facts: &Facts,
        trap_after: Duration,
    ) -> Records {
        let left = left.unwrap_or_else(|| Records {
            version: RECORDS_VERSION,
            writer: Some(writer.clone()),
            writer_since: None,
            memory: Memory::default(),
            hosts: BTreeMap::new(),
        });
        let is_new = left.writer.as_ref() != Some(writer);
        let memory = left.clone().memory_under(Some(writer));
        Records {
            writer: Some(writer.clone()),
            writer_since: if is_new { Some(now) } else { left.writer_since },
            memory: memory.after_look(writer, now, facts, trap_after),
            ..left
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn that_a_host_was_well_once_lets_it_take_over_no_more() {
        use HostState::{AdminOffline, AwaitingRecovery, Online, ReplicationDelay, ReplicationFail};
        let states = [
            Online,
            ReplicationDelay,
            ReplicationFail,
            AwaitingRecovery,
            AdminOffline,
        ];
        let states = states
            .into_iter()
            .enumerate()
            .map(|(number, state)| (HostName(format!("db{number}")), state));
        let records = Records {
            version: RECORDS_VERSION,
            writer: Some("db9".into()),
            writer_since: None,
            memory: Memory {
                states: states.collect(),
                ..Memory::default()
            },
            hosts: BTreeMap::new(),
        };
        let left: Vec<HostState> = records
            .clone()
            .memory_under(Some(&"db9".into()))
            .states
            .into_values()
            .collect();
        assert_eq!(left, [ReplicationFail, AwaitingRecovery]);
        assert!(records.memory_under(Some(&"db8".into())).states.is_empty());
    }
}
