//! The state that every test of a fault ends in: one writer, its address on it, everybody replicating.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::bail;
use lab::{Lab, wait};

const WRITER_ADDRESS: &str = lab::roster::WRITER_ADDRESS;
const SETTLED_WITHIN: Duration = Duration::from_secs(20);

/// Demands that `writer` alone takes writes and holds the writer address, and that everybody comes to replicate.
#[track_caller]
pub fn is_the_writer(lab: &Lab, writer: &str) {
    assert_eq!(lab.writable_hosts(), [writer], "who takes writes");
    assert_eq!(
        lab.who_has(WRITER_ADDRESS).unwrap(),
        [writer],
        "who holds the writer address"
    );
    wait::until_some(SETTLED_WITHIN, "replication to run everywhere", || {
        if lab.replication_runs() {
            return Ok(Some(()));
        }
        let hosts = lab.databases();
        let shown: Vec<_> = hosts.map(|host| (host.name(), host.replication())).collect();
        bail!("{shown:?}")
    })
    .unwrap();
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
                source: host
                    .replication()
                    .unwrap()
                    .map(|it| it.source)
                    .unwrap_or_default(),
                addresses: host.addresses().unwrap(),
            };
            (host.name(), setting)
        })
        .collect()
}

/// Demands that soon no shell of `mmm`, and nothing that one started, runs on any database host.
#[track_caller]
pub fn leaves_no_shell(lab: &Lab, limit: Duration) {
    until_no_shell_is_left(lab, limit).unwrap();
}

/// Waits until no shell of `mmm`, and nothing that one started, runs on any database host.
pub fn until_no_shell_is_left(lab: &Lab, limit: Duration) -> anyhow::Result<()> {
    const LOOK: &str = "for environ in $(grep -lsz ^MMM_SHELL= /proc/[0-9]*/environ); do tr '\\0' ' ' <${environ%environ}cmdline; echo; done";
    wait::until_some(limit, "the shells of `mmm` to be gone", || {
        for host in lab.databases() {
            let left = host.sh(LOOK)?.stdout;
            if !left.trim().is_empty() {
                bail!("on {}: {left}", host.name());
            }
        }
        Ok(Some(()))
    })
}
