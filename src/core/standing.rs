//! What stands until an operation changes it: who the writer is, and what is still owed. Written to disk under the
//! cluster's lock only, so that whoever comes next, on whatever command, starts from the truth.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::cluster::{Cluster, HostName};
use super::evidence::Rung;
use super::gtid::MariaPosition;
use super::losses::Loss;
use super::maintenance::{Automatic, Downtime};
use super::moment::Moment;

pub use super::mode::Mode;

/// The version of the persisted form.
pub const STANDING_VERSION: u32 = 1;

/// Stands for the run where a person named another writer.
pub const NAMED: &str = "set-ip";

/// A cluster's standing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Standing {
    /// The version of this form.
    pub version: u32,
    /// Counts every change, so that a reader notices one.
    pub generation: u64,
    /// What the monitor may do.
    pub mode: Mode,
    /// The host that takes writes; none until one is known.
    pub writer: Option<HostName>,
    /// Whether events ran on the writer when it was last looked at by an operation; none until one has looked.
    #[serde(default)]
    pub events: Option<bool>,
    /// Hosts that were replaced as writer and have not been compared since.
    pub owed: BTreeMap<HostName, Owed>,
    /// Why nobody may act on the cluster until a person has looked; set by a stuck run.
    pub hands_off: Option<String>,
    /// Hosts that the stuck run waits for: once all of them answer it is settled without a person. None when only a
    /// person can judge what was found.
    #[serde(default)]
    pub hands_off_awaits: BTreeSet<HostName>,
    /// Why the mode is what it is, where a monitor chose it: one line a cause.
    #[serde(default)]
    pub mode_because: Vec<String>,
    /// Who chose the mode; empty while nobody has.
    #[serde(default)]
    pub mode_by: String,
    /// Hosts that an operation could not point to the writer: what it had begun there may have got half-way.
    #[serde(default)]
    pub to_follow: BTreeSet<HostName>,
    /// Hosts that a person took out of service, and when.
    #[serde(default)]
    pub offline: BTreeMap<HostName, Moment>,
    /// Hosts that a person let back in, and when: it lifts what kept them out before.
    #[serde(default)]
    pub released: BTreeMap<HostName, Moment>,
    /// Where a person put addresses other than the writer's; they stay there while the host may hold them.
    #[serde(default)]
    pub placed: BTreeMap<IpAddr, HostName>,
    /// Trouble of the whole cluster is expected for a while.
    #[serde(default)]
    pub downtime: Option<Downtime>,
    /// Hosts whose trouble is expected for a while.
    #[serde(default)]
    pub downtimes: BTreeMap<HostName, Downtime>,
    /// The last failover that no person asked for, until one acknowledges it.
    #[serde(default)]
    pub automatic: Option<Automatic>,
    /// The run that made a host the writer, and that host.
    #[serde(default)]
    pub made_writer: Option<(String, HostName)>,
    /// The run of this box in which the role last went from one host to another: where its time began. One that only opens
    /// the writer again begins none.
    #[serde(default)]
    pub since_run: Option<String>,
}

impl Default for Standing {
    fn default() -> Self {
        Standing {
            version: STANDING_VERSION,
            generation: 0,
            mode: Mode::Active,
            writer: None,
            events: None,
            owed: BTreeMap::new(),
            hands_off: None,
            hands_off_awaits: BTreeSet::new(),
            mode_because: Vec::new(),
            mode_by: String::new(),
            to_follow: BTreeSet::new(),
            offline: BTreeMap::new(),
            released: BTreeMap::new(),
            placed: BTreeMap::new(),
            downtime: None,
            downtimes: BTreeMap::new(),
            automatic: None,
            made_writer: None,
            since_run: None,
        }
    }
}

/// A replaced writer that is guilty until compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Owed {
    /// When it was replaced.
    pub since: Moment,
    /// The run that replaced it.
    pub run: String,
    /// What held it down while the other host was opened.
    pub rung: Rung,
    /// How far its return has come.
    pub progress: Return,
    /// The last transactions that it and the new writer had in common; none where the numbers of a server do not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fork: Option<MariaPosition>,
    /// What the new writer lacks of it, as far as it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<Loss>,
    /// A rebuild of it was begun, and has not come to its end: what it holds says nothing about what it had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rebuild: Option<Rebuild>,
}

/// What a person has given up with the rebuild of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rebuild {
    /// What only the host had, as text.
    pub surplus: String,
    /// The file on this box with the rows of it; none where they could not be saved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<String>,
}

impl Owed {
    /// A writer that has just been replaced by a run, or by a person.
    pub fn now(since: Moment, run: &str, rung: Rung) -> Owed {
        Owed {
            since,
            run: run.to_owned(),
            rung,
            progress: Return::Awaited,
            fork: None,
            loss: None,
            rebuild: None,
        }
    }
}

/// How far the return of a replaced writer has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Return {
    /// Not yet met: it must be made read-only, without addresses and replication, at first contact.
    Awaited,
    /// Made harmless, not yet compared.
    Quarantined,
    /// It has transactions that the writer has not: kept out until a person decides.
    KeptOut {
        /// Those transactions, in words.
        surplus: String,
        /// The file on this box that holds their rows; none while they could not be decoded.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rows: Option<String>,
    },
}

impl Standing {
    /// Nobody may act until the hosts that a stuck run waits for answer or, without any, until a person has looked.
    pub fn get_stuck(&mut self, because: String, awaits: &[HostName]) {
        self.hands_off = Some(because);
        self.hands_off_awaits = awaits.iter().cloned().collect();
    }

    /// The stuck run may be settled; whether there was one.
    pub fn get_unstuck(&mut self) -> bool {
        self.hands_off_awaits.clear();
        self.hands_off.take().is_some()
    }

    /// Changes the mode; whether it was another one. What an earlier mode rested on does not outlive it.
    pub fn enter(&mut self, mode: Mode, by: &str, because: Vec<String>) -> bool {
        if self.mode == mode {
            return false;
        }
        self.mode = mode;
        self.mode_by = by.to_owned();
        self.mode_because = because;
        true
    }

    /// A person says who the writer is. Every other host that could have been it may have written, and so is compared
    /// before it serves again.
    pub fn name_writer(&mut self, cluster: &Cluster, writer: &HostName, now: Moment) {
        if self.writer.as_ref() == Some(writer) {
            return;
        }
        self.writer = Some(writer.clone());
        self.made_writer = None;
        self.since_run = None;
        self.owed.remove(writer);
        for host in cluster
            .masters()
            .map(|host| &host.name)
            .filter(|host| *host != writer)
        {
            self.owed
                .entry(host.clone())
                .or_insert_with(|| Owed::now(now, NAMED, Rung::Silence));
        }
    }

    /// A run has made that host the writer. From an unknown one no new time begins: what is remembered holds back, if it
    /// is wrong.
    pub fn make_writer(&mut self, incoming: Option<&HostName>, run: &str) {
        if self.writer.is_some() && self.writer.as_ref() != incoming {
            self.since_run = Some(run.to_owned());
        }
        self.writer = incoming.cloned();
        self.made_writer = incoming.map(|writer| (run.to_owned(), writer.clone()));
    }

    /// The run of this box that made the writer what it is, if one did.
    pub fn made_by(&self) -> Option<&str> {
        let made = self.made_writer.as_ref();
        made.filter(|(_, host)| self.writer.as_ref() == Some(host))
            .map(|(run, _)| run.as_str())
    }

    /// Whether that run is on record as having made a host the writer, whatever its journal says.
    pub fn knows_commit_of(&self, run: &str) -> bool {
        self.made_writer.as_ref().is_some_and(|(made, _)| made == run)
    }

    /// Marks a change.
    pub fn touch(&mut self) {
        self.generation += 1;
    }
}
