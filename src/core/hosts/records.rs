//! What a monitor remembers of the hosts from one start to the next.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::HostRecord;
use crate::core::cluster::{CheckKind, HostName};
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
    /// Whether only what passes by itself differs: uptimes, and what the newest probes said.
    pub fn differ_only_in_passing(&self, other: &Records) -> bool {
        self.without_passing() == other.without_passing()
    }

    fn without_passing(&self) -> Records {
        let mut records = self.clone();
        for memory in records.hosts.values_mut() {
            memory.record.uptime = None;
            memory.record.because.clear();
            for latch in memory.checks.values_mut() {
                latch.last = None;
                latch.heard_at = None;
                latch.ok_at = None;
            }
        }
        records
    }
}
