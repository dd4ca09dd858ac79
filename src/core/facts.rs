//! What a host really has, as far as it could be asked. Plain values: nothing here is wished for, all of it was seen.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use super::reach::{Reach, Refusal};

use super::sign::Sign;

use super::gtid::{BinlogPosition, History, MariaPosition, MariaState, MysqlSet, Uuid};

/// Everything known about one host at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HostFacts {
    /// What its database server said, asked from the box.
    pub mysql: Reach<MysqlFacts>,
    /// What its system said over SSH.
    pub ssh: Reach<ShellFacts>,
}

/// Server software.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Flavour {
    /// MariaDB Server.
    Mariadb,
    /// MySQL and what follows it closely (Percona Server).
    Mysql,
}

impl fmt::Display for Flavour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Flavour::Mariadb => "MariaDB",
            Flavour::Mysql => "MySQL",
        })
    }
}

/// Which server this is, compared by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Version {
    /// Whose.
    pub flavour: Flavour,
    /// Major, minor, patch.
    pub numbers: (u16, u16, u16),
}

impl Version {
    /// Whether it is of that flavour and at least that old.
    pub fn is_since(&self, flavour: Flavour, numbers: (u16, u16, u16)) -> bool {
        self.flavour == flavour && self.numbers >= numbers
    }

    /// Whether it is of the same family and of the same series (`10.11`, `8.4`) as its source, or of a newer one.
    pub fn may_follow(&self, source: Version) -> bool {
        let series = |version: &Version| (version.numbers.0, version.numbers.1);
        self.flavour == source.flavour && series(self) >= series(&source)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (major, minor, patch) = self.numbers;
        write!(f, "{} {major}.{minor}.{patch}", self.flavour)
    }
}

/// What a database server says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MysqlFacts {
    /// Which server this is.
    pub version: Version,
    /// `server_id`.
    pub server_id: u32,
    /// `server_uuid`; MariaDB has none.
    pub server_uuid: Option<Uuid>,
    /// The name its host gives itself.
    pub hostname: String,
    /// `read_only`. MariaDB 12's words `NO_LOCK` and `NO_LOCK_NO_ADMIN` count as on.
    pub read_only: bool,
    /// `super_read_only`; `None` where the server has no such variable (MariaDB, MySQL before 5.7.8).
    pub super_read_only: Option<bool>,
    /// Since the server started.
    pub uptime: Duration,
    /// `log_bin`.
    pub log_bin: bool,
    /// `log_slave_updates` or `log_replica_updates`.
    pub log_slave_updates: bool,
    /// The end of its binary log; `None` when off or not allowed to be seen.
    pub binlog: Option<BinlogPosition>,
    /// Where it stands in the history of writes.
    pub gtid: GtidFacts,
    /// The name of the channel that is managed; empty for the one without a name.
    #[serde(default)]
    pub channel: String,
    /// The channel that is managed; none when it does not follow anybody over it.
    pub replicas: Vec<ReplicationFacts>,
    /// Its other channels: told of, never touched.
    #[serde(default)]
    pub foreign: Vec<ReplicationFacts>,
    /// Whether events run.
    pub event_scheduler: EventScheduler,
    /// Semi-synchronous replication; `None` where it is not installed.
    pub semi_sync: Option<SemiSync>,
    /// Prepared XA transactions; `None` when not allowed to be seen.
    pub prepared_xa: Option<u64>,
    /// What it leaves out of replication.
    #[serde(default)]
    pub filters: Option<Filters>,
}

/// What a server leaves out: of what it applies, and of what it logs. Each filter by its variable, empty ones left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filters {
    /// Of what it applies; `None` when that cannot be told, as of a MySQL server that follows nobody.
    pub applied: Option<BTreeMap<String, String>>,
    /// Of what it logs; `None` when not allowed to be seen.
    pub logged: Option<BTreeMap<String, String>>,
}

impl Filters {
    /// Whether it leaves nothing out, as far as that is known.
    pub fn is_empty(&self) -> bool {
        [&self.applied, &self.logged]
            .into_iter()
            .flatten()
            .all(BTreeMap::is_empty)
    }

    /// How it differs from another's, as far as both are known; `None` when it does not.
    pub fn differs_from(&self, other: &Filters) -> Option<String> {
        let both = [(&self.applied, &other.applied), (&self.logged, &other.logged)];
        both.into_iter().find_map(|(own, other)| {
            let (own, other) = (own.as_ref()?, other.as_ref()?);
            let mut names = own.keys().chain(other.keys());
            let name = names.find(|name| own.get(*name) != other.get(*name))?;
            let said = |filters: &BTreeMap<String, String>| match filters.get(name) {
                Some(value) => format!("`{value}`"),
                None => "nothing".to_owned(),
            };
            Some(format!(
                "`{name}` is {} there, and {} elsewhere",
                said(own),
                said(other)
            ))
        })
    }
}

impl MysqlFacts {
    /// Whether ordinary accounts can write to it now.
    pub fn is_writable(&self) -> bool {
        !self.read_only && self.super_read_only != Some(true)
    }

    /// The managed channel if it follows this server, by its server id.
    pub fn following(&self, server_id: u32) -> Option<&ReplicationFacts> {
        self.replicas
            .iter()
            .find(|channel| channel.source_server_id == Some(server_id))
    }

    /// Its transactions as it can tell of them to `other`; feeds [`compare`](super::gtid::compare). What it received
    /// of `other` matters only without GTIDs.
    pub fn history(&self, other: &MysqlFacts) -> History {
        match &self.gtid {
            GtidFacts::Mariadb { .. } if !self.log_bin => History::Untold(
                "a server has no binary log, so it cannot tell what was written on it".to_owned(),
            ),
            GtidFacts::Mariadb {
                binlog_state,
                slave_pos,
                ..
            } => History::Mariadb {
                server: self.server_id,
                state: binlog_state.clone(),
                applied: slave_pos.clone(),
            },
            GtidFacts::Mysql {
                mode: GtidMode::On,
                executed,
                ..
            } => History::Mysql {
                server: self.server_uuid,
                executed: executed.clone(),
            },
            GtidFacts::Mysql { .. } | GtidFacts::None => History::Files {
                end: self.binlog.clone(),
                // What was received and not applied may have been given up.
                received: self
                    .following(other.server_id)
                    .and_then(|channel| channel.executed.clone()),
            },
        }
    }
}

/// Where a server stands, in the numbers of its flavour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GtidFacts {
    /// MariaDB, where GTIDs are always on.
    Mariadb {
        /// `gtid_binlog_pos`: the last logged.
        binlog_pos: MariaPosition,
        /// `gtid_slave_pos`: the last applied.
        slave_pos: MariaPosition,
        /// `gtid_current_pos`: the later of both.
        current_pos: MariaPosition,
        /// `gtid_binlog_state`: the last logged by each server.
        binlog_state: MariaState,
        /// `gtid_domain_id`: where its own writes go.
        domain_id: u32,
        /// `gtid_strict_mode`.
        strict: bool,
    },
    /// MySQL 5.6 and later.
    Mysql {
        /// `gtid_mode`.
        mode: GtidMode,
        /// `gtid_executed`.
        executed: MysqlSet,
        /// `gtid_purged`: executed, and no longer in its logs.
        purged: MysqlSet,
    },
    /// A server without GTIDs.
    None,
}

/// MySQL's `gtid_mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GtidMode {
    /// Every transaction has one.
    On,
    /// New ones have one, replicated ones need not.
    OnPermissive,
    /// New ones have none, replicated ones may.
    OffPermissive,
    /// None has one.
    Off,
}

/// Whether events run on a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventScheduler {
    /// They run.
    On,
    /// They do not, until someone turns them on.
    Off,
    /// They cannot, until a restart.
    Disabled,
}

/// Semi-synchronous replication as configured and as it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SemiSync {
    /// Commits shall wait for a replica.
    pub source_enabled: bool,
    /// They do wait now; off also after a timeout.
    pub source_active: bool,
    /// It shall acknowledge to its source.
    pub replica_enabled: bool,
    /// It does now.
    pub replica_active: bool,
    /// Replicas that acknowledge to it now.
    pub replicas: u64,
}

/// One replication channel of a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicationFacts {
    /// Its name: MySQL's channel, MariaDB's connection; empty for the ordinary one.
    pub channel: String,
    /// Its source as configured: a name or an address.
    pub source_host: String,
    /// Its source's port.
    pub source_port: u16,
    /// The account it logs in with.
    pub source_user: String,
    /// Its source's `server_id`; `None` until it has once connected.
    pub source_server_id: Option<u32>,
    /// Its source's `server_uuid`; only MySQL has one, and only after it has once connected.
    #[serde(default)]
    pub source_uuid: Option<Uuid>,
    /// The thread that receives.
    pub io: IoThread,
    /// The thread that applies.
    pub sql: SqlThread,
    /// How far behind the server thinks it is; `None` when it cannot tell.
    pub lag: Option<Duration>,
    /// Why it stopped receiving.
    pub io_error: Option<ReplicationError>,
    /// Why it stopped applying.
    pub sql_error: Option<ReplicationError>,
    /// How it finds its place.
    pub using_gtid: UsingGtid,
    /// How far it received its source's log.
    pub received: Option<BinlogPosition>,
    /// How far it applied its source's log.
    pub executed: Option<BinlogPosition>,
    /// What it received, in GTIDs.
    pub received_gtid: ReceivedGtid,
    /// Heartbeats that came while there was nothing to receive; `None` where the status does not count them (MySQL).
    #[serde(default)]
    pub heartbeats: Option<u64>,
    /// Bytes of relay log it holds; 0 right after a reset.
    pub relay_log_bytes: u64,
    /// The delay it keeps on purpose.
    pub delay: Duration,
}

impl ReplicationFacts {
    /// Whether it receives and applies.
    pub fn is_running(&self) -> bool {
        self.io == IoThread::Yes && self.sql == SqlThread::Yes
    }
}

/// The thread that receives the source's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IoThread {
    /// Connected.
    Yes,
    /// Trying to connect: fine for a moment, broken when it stays so.
    Connecting,
    /// Stopped.
    No,
}

/// The thread that applies what was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SqlThread {
    /// Running.
    Yes,
    /// Stopped.
    No,
}

/// Why a replication thread stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicationError {
    /// The server's error number.
    pub number: u32,
    /// The server's words.
    pub text: String,
}

/// Errors by which a thread ends, or goes on trying, when its source is gone: no connection, or one that broke off, or a
/// source that shuts down or takes no more connections. Everything else was so before.
const LOST_SOURCE: [u32; 10] = [1040, 1053, 1158, 1159, 1160, 1161, 2002, 2003, 2006, 2013];

impl ReplicationError {
    /// Whether it is what the death of the source causes.
    pub fn is_lost_source(&self) -> bool {
        LOST_SOURCE.contains(&self.number)
    }
}

impl fmt::Display for ReplicationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error {}: {}", self.number, self.text)
    }
}

/// How a channel finds its place in the source's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UsingGtid {
    /// By file and position.
    No,
    /// MariaDB, from what was applied.
    SlavePos,
    /// MariaDB, from what was applied or written.
    CurrentPos,
    /// MySQL's automatic position.
    AutoPosition,
}

/// What a channel received, in GTIDs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReceivedGtid {
    /// MariaDB's `Gtid_IO_Pos`.
    Mariadb(MariaPosition),
    /// MySQL's `Retrieved_Gtid_Set`.
    Mysql(MysqlSet),
    /// It does not say.
    None,
}

/// What a host's system says of itself over SSH.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShellFacts {
    /// Every address on every device.
    pub addresses: Vec<AddressFact>,
    /// Since its kernel started.
    pub uptime: Duration,
    /// What is wrong with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signs: Vec<Sign>,
}

impl ShellFacts {
    /// Whether it holds that address on any device.
    pub fn holds(&self, ip: IpAddr) -> bool {
        self.addresses.iter().any(|address| address.ip == ip)
    }
}

/// An address a host holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressFact {
    /// The address.
    pub ip: IpAddr,
    /// Its prefix length.
    pub prefix: u8,
    /// The device it is on.
    pub device: String,
    /// When the kernel will take it away; `None` for a lasting one.
    pub expires_in: Option<Duration>,
}
