//! What a cluster is: its hosts, its roles, and the policy its owner chose. Plain values, already validated.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::mode::Mode;

/// A host's name as the inventory spells it (`db1`); unique within its cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HostName(pub String);

impl HostName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl From<&str> for HostName {
    fn from(name: &str) -> Self {
        HostName(name.to_owned())
    }
}

impl std::borrow::Borrow<str> for HostName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// Whether a host may ever be the writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HostMode {
    /// May carry the writer role.
    Master,
    /// Only ever reads; spelt `slave` (as MMM did) or `replica`.
    #[serde(alias = "replica")]
    Slave,
}

impl fmt::Display for HostMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            HostMode::Master => "master",
            HostMode::Slave => "slave",
        })
    }
}

/// One database host, as far as decisions need to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Its name in the inventory.
    pub name: HostName,
    /// Its own address, where SSH and MySQL answer.
    pub address: IpAddr,
    /// Master or slave.
    pub mode: HostMode,
    /// The other master of its pair; none where there are more than two masters, or on slaves.
    pub peer: Option<HostName>,
    /// Whether it is wanted as the writer.
    pub promotion: Promotion,
}

/// Whether a master is wanted as the writer when several could take over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Promotion {
    /// Before the others.
    Prefer,
    /// As well as any other.
    #[default]
    Neutral,
    /// Not at all, whoever asks.
    Never,
}

/// How a role's addresses are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RoleMode {
    /// One address on one host.
    Exclusive,
    /// Several addresses over all healthy hosts.
    Balanced,
}

/// A named set of addresses and the hosts that may hold them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// Its name, for instance `writer`.
    pub name: String,
    /// Exclusive or balanced.
    pub mode: RoleMode,
    /// Hosts that may hold it, in the order of preference that breaks ties.
    pub hosts: Vec<HostName>,
    /// Its floating addresses; exactly one when exclusive.
    pub addresses: Vec<IpAddr>,
    /// The host that should hold it whenever it can.
    pub prefer: Option<HostName>,
    /// When it goes back to the preferred host.
    pub fail_back: FailBack,
}

/// When an exclusive role goes back to the host that it prefers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailBack {
    /// By itself, in active mode, once that host is online and has everything.
    #[default]
    CaughtUp,
    /// When a person says so.
    OnCommand,
}

/// The prefix length a floating address is brought up with: a host route.
pub fn host_prefix(address: &IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// What may be done about a writer that is silent and that nothing could fence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unfenced {
    /// Go on when it is silent to the box and to every other host that can be asked (at least one).
    IfSilentToAll,
    /// Never go on without a verified fence.
    Never,
}

/// When a writer that is proved to be dead is replaced: nothing listens at its port, no process of its server is left on
/// its host, and the service manager there has no job for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnProof {
    /// At once.
    #[default]
    Immediate,
    /// After the trap period of its `mysql` check, like any other: a supervisor may start the server again meanwhile.
    Trap,
}

/// How failover behaves in one cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailoverPolicy {
    /// What may be done about a silent writer.
    pub unfenced: Unfenced,
    /// Whether the monitor fails over by itself; false keeps it to watching.
    pub automatic: bool,
    /// Whether proof that the writer is dead makes it skip the trap period; silence never does.
    pub on_proof: OnProof,
    /// A host further behind than this does not take over; none for no limit.
    pub max_behind: Option<Duration>,
    /// A second automatic failover within this waits for a person to acknowledge the first; zero never waits.
    pub min_interval: Duration,
    /// Whether servers may replicate from newer series.
    pub mixed_versions: MixedVersions,
}

impl Default for FailoverPolicy {
    fn default() -> Self {
        FailoverPolicy {
            unfenced: Unfenced::IfSilentToAll,
            automatic: true,
            on_proof: OnProof::default(),
            max_behind: None,
            min_interval: Duration::from_secs(3600),
            mixed_versions: MixedVersions::Refuse,
        }
    }
}

/// What is done about a host whose version would make a server replicate from a newer series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MixedVersions {
    /// It does not take over.
    #[default]
    Refuse,
    /// It may, as while servers are upgraded one by one.
    Accept,
}

/// What a planned move of the writer may cost its clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SwitchoverPolicy {
    /// A transaction that has been writing for longer is not interrupted: the move is refused. Zero never asks.
    pub max_write: Duration,
    /// For how long nobody may be able to write, at most; what takes longer is given up and undone.
    pub write_refused_max: Duration,
    /// Whether a global read lock keeps even those from writing whom `read_only` does not stop.
    pub read_lock: bool,
}

impl Default for SwitchoverPolicy {
    fn default() -> Self {
        SwitchoverPolicy {
            max_write: Duration::from_secs(2),
            write_refused_max: Duration::from_secs(10),
            read_lock: false,
        }
    }
}

/// The mode a monitor begins in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StartMode {
    /// As it was left; active at first.
    #[default]
    Last,
    /// This one, whatever it was.
    Always(Mode),
}

/// How a monitor begins with a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StartPolicy {
    /// In which mode.
    pub mode: StartMode,
    /// Whether hosts that contradict each other about who the writer is make it passive.
    pub careful: bool,
    /// In wait mode: how long one master must be ONLINE before the other is not waited for any more; zero waits for
    /// ever.
    pub wait_for_other_master: Duration,
}

impl Default for StartPolicy {
    fn default() -> Self {
        StartPolicy {
            mode: StartMode::Last,
            careful: true,
            wait_for_other_master: Duration::from_secs(120),
        }
    }
}

/// How a host that was away comes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// How long it waits before it is ONLINE again by itself; none leaves it to a person.
    pub auto_set_online: Option<Duration>,
    /// A downtime shorter than this, without a restart of its system, lets it back in at once; zero for never.
    pub short_downtime: Duration,
    /// How long a host that has become ONLINE or the writer excuses replication failures of those who follow it.
    pub excuse_peer_for: Duration,
    /// When it has left ONLINE too often.
    pub flapping: Flapping,
}

/// When a host has left ONLINE too often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flapping {
    /// More often than this; 0 for never.
    pub count: u32,
    /// Within this.
    pub within: Duration,
}

impl Default for Recovery {
    /// MMM's usual values.
    fn default() -> Self {
        Recovery {
            auto_set_online: None,
            short_downtime: Duration::from_secs(60),
            excuse_peer_for: Duration::from_secs(60),
            flapping: Flapping {
                count: 3,
                within: Duration::from_secs(3600),
            },
        }
    }
}

/// Timing of one kind of check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckTiming {
    /// Pause between the starts of two probes.
    pub every: Duration,
    /// How long it must keep failing before it counts as failed.
    pub trap_after: Duration,
    /// When a single probe is given up.
    pub timeout: Duration,
    /// Replication lag above which `rep_backlog` fails.
    pub max_backlog: Duration,
}

/// The four kinds of checks, in the order they are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckKind {
    /// ICMP echo to the host.
    Ping,
    /// Connect and query over the MySQL protocol.
    Mysql,
    /// Both replication threads run.
    RepThreads,
    /// Replication lag stays below `max_backlog`.
    RepBacklog,
}

impl CheckKind {
    /// Every kind, in the order they are shown.
    pub const ALL: [CheckKind; 4] = [
        CheckKind::Ping,
        CheckKind::Mysql,
        CheckKind::RepThreads,
        CheckKind::RepBacklog,
    ];
}

impl fmt::Display for CheckKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            CheckKind::Ping => "ping",
            CheckKind::Mysql => "mysql",
            CheckKind::RepThreads => "rep_threads",
            CheckKind::RepBacklog => "rep_backlog",
        })
    }
}

/// The timing of all four checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checks {
    /// Timing of `ping`.
    pub ping: CheckTiming,
    /// Timing of `mysql`.
    pub mysql: CheckTiming,
    /// Timing of `rep_threads`.
    pub rep_threads: CheckTiming,
    /// Timing of `rep_backlog`.
    pub rep_backlog: CheckTiming,
}

impl Checks {
    /// The timing of one kind.
    pub fn of(&self, kind: CheckKind) -> &CheckTiming {
        match kind {
            CheckKind::Ping => &self.ping,
            CheckKind::Mysql => &self.mysql,
            CheckKind::RepThreads => &self.rep_threads,
            CheckKind::RepBacklog => &self.rep_backlog,
        }
    }
}

/// A cluster, validated: every name in it resolves, of two masters each has a peer, the writer role is exclusive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// Its name in the inventory.
    pub name: String,
    /// Its hosts in inventory order.
    pub hosts: Vec<Host>,
    /// Its roles in inventory order.
    pub roles: Vec<Role>,
    /// The name of the role whose holder takes writes.
    pub writer_role: String,
    /// Timing of its checks.
    pub checks: Checks,
    /// How failover behaves.
    pub failover: FailoverPolicy,
    /// What a planned move may cost.
    pub switchover: SwitchoverPolicy,
    /// How a monitor begins.
    pub start: StartPolicy,
    /// How hosts come back.
    pub recovery: Recovery,
}

impl Cluster {
    /// The host of that name.
    pub fn host(&self, name: &HostName) -> Option<&Host> {
        self.hosts.iter().find(|host| host.name == *name)
    }

    /// The role of that name.
    pub fn role(&self, name: &str) -> Option<&Role> {
        self.roles.iter().find(|role| role.name == name)
    }

    /// The role whose holder takes writes.
    pub fn writer(&self) -> Option<&Role> {
        self.role(&self.writer_role)
    }

    /// The writer's floating address.
    pub fn writer_address(&self) -> Option<IpAddr> {
        self.writer().and_then(|role| role.addresses.first().copied())
    }

    /// Hosts that may carry the writer role.
    pub fn masters(&self) -> impl Iterator<Item = &Host> {
        self.hosts.iter().filter(|host| host.mode == HostMode::Master)
    }
}
