//! What a monitor remembers of the hosts from one start to the next.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::HostRecord;
use crate::core::cluster::{CheckKind, HostName};
use crate::core::latch::Latch;
use crate::core::losses::Seen;
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
    /// What the writer had when it last answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<Seen>,
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
