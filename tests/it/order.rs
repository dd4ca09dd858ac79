//! The state that every test of a fault ends in: one writer, its address on it, everybody replicating.

use std::collections::BTreeMap;
use std::time::Duration;

use lab::{Lab, wait};

const WRITER_ADDRESS: &str = lab::roster::WRITER_ADDRESS;
const SETTLED_WITHIN: Duration = Duration::from_secs(20);

/// Demands that `writer` alone takes writes and holds the writer address, and that everybody comes to replicate.
#[track_caller]
pub fn is_the_writer(lab: &Lab, writer: &str) {
    assert_eq!(lab.writable_hosts(), [writer], "who takes writes");
    assert_eq!(lab.who_has(WRITER_ADDRESS).unwrap(), [writer], "who holds the writer address");
    wait::until(SETTLED_WITHIN, "replication to run everywhere", || lab.replication_runs()).unwrap();
}

/// Everything that a duty can change on one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    pub read_only: String,
    pub events: String,
    pub source: String,
    pub addresses: Vec<String>,
}

/// What every database host is set to, asked on the hosts themselves.
pub fn settings(lab: &Lab) -> BTreeMap<&'static str, Setting> {
    lab.databases()
        .map(|host| {
            let setting = Setting {
                read_only: host.value("SELECT @@global.read_only").unwrap(),
                events: host.value("SELECT @@global.event_scheduler").unwrap(),
                source: host.replication().unwrap().map(|it| it.source).unwrap_or_default(),
                addresses: host.addresses().unwrap(),
            };
            (host.name(), setting)
        })
        .collect()
}

/// Hosts on which a shell of `mmm` still runs.
pub fn shells_left(lab: &Lab) -> Vec<&'static str> {
    const LOOK: &str = "grep -lsz ^MMM_SHELL= /proc/[0-9]*/environ";
    lab.databases()
        .filter(|host| !host.sh(LOOK).unwrap().stdout.is_empty())
        .map(lab::Host::name)
        .collect()
}
