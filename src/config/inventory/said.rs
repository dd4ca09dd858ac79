//! What the file says, key by key, before defaults and before names are resolved.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::log;
use super::notify;
use super::reader::{Given, Section};
use super::resolved::{SecretSource, Service};
use super::site;
use crate::core::cluster::{
    CheckKind, FailBack, HostMode, MixedVersions, OnProof, Promotion, RoleMode, StartMode, Unfenced,
};

/// The whole file.
#[derive(Debug, Default)]
pub struct File {
    pub monitor: Monitor,
    pub defaults: ClusterWide,
    pub clusters: Vec<(Given<String>, Cluster)>,
}

#[derive(Debug, Default)]
pub struct Monitor {
    pub state_dir: Option<Given<PathBuf>>,
    pub socket: Option<Given<PathBuf>>,
    pub ping_addresses: Vec<Given<IpAddr>>,
    pub log: log::Said,
}

/// What both the top level and a cluster may set.
#[derive(Debug, Default)]
pub struct ClusterWide {
    pub settings: Settings,
    pub checks: Checks,
    pub automatic: Option<Given<bool>>,
    pub unfenced: Option<Given<Unfenced>>,
    pub on_proof: Option<Given<OnProof>>,
    pub switchover: Switchover,
    pub max_behind: Option<Given<Duration>>,
    pub mixed_versions: Option<Given<MixedVersions>>,
    pub start: Start,
    pub recovery: Recovery,
    pub playbooks: Option<Given<PathBuf>>,
    pub min_interval: Option<Given<Duration>>,
    pub site: site::Said,
    pub notify: notify::Said,
}

/// What a planned move may cost.
#[derive(Debug, Default)]
pub struct Switchover {
    pub max_write: Option<Given<Duration>>,
    pub write_refused_max: Option<Given<Duration>>,
    pub read_lock: Option<Given<bool>>,
}

/// How a monitor begins.
#[derive(Debug, Default)]
pub struct Start {
    pub mode: Option<Given<StartMode>>,
    pub careful: Option<Given<bool>>,
    pub wait_for_other_master: Option<Given<Duration>>,
}

/// How hosts come back; zero durations switch off.
#[derive(Debug, Default, Clone)]
pub struct Recovery {
    pub auto_set_online: Option<Given<Duration>>,
    pub short_downtime: Option<Given<Duration>>,
    pub excuse_peer_for: Option<Given<Duration>>,
    pub flapping_count: Option<Given<u32>>,
    pub flapping_within: Option<Given<Duration>>,
}

#[derive(Debug)]
pub struct Cluster {
    pub wide: ClusterWide,
    pub writer_role: Option<Given<String>>,
    pub hosts: Vec<(Given<String>, Host)>,
    /// The names of all hosts, of unusable ones too.
    pub host_names: Vec<String>,
    pub roles: Vec<(Given<String>, Role)>,
}

#[derive(Debug)]
pub struct Host {
    pub address: Option<Given<IpAddr>>,
    pub mode: Option<Given<HostMode>>,
    pub peer: Option<Given<String>>,
    pub promotion: Option<Given<Promotion>>,
    pub settings: Settings,
}

#[derive(Debug)]
pub struct Role {
    pub mode: Option<Given<RoleMode>>,
    /// `None` inside is an item that could not be read.
    pub hosts: Option<Vec<Option<Given<String>>>>,
    pub addresses: Option<Vec<Option<Given<IpAddr>>>>,
    pub prefer: Option<Given<String>>,
    pub fail_back: Option<Given<FailBack>>,
}

/// What may be set for all clusters, for a cluster, and for a host; the nearer one wins, key by key.
#[derive(Debug, Default, Clone)]
pub struct Settings {
    pub interface: Option<Given<String>>,
    pub ssh: Ssh,
    pub mysql: Mysql,
    pub monitor: Account,
    pub agent: Account,
    pub replication: Account,
    pub service: Option<Given<Service>>,
    pub fence: Fence,
    pub rebuild: Fence,
    pub vars: BTreeMap<String, String>,
    /// What was given but is unusable, for instance `credentials.agent.user`: reported, hence not missing.
    pub broken: BTreeSet<String>,
}

#[derive(Debug, Default, Clone)]
pub struct Ssh {
    pub address: Option<Given<String>>,
    pub port: Option<Given<u16>>,
    pub user: Option<Given<String>>,
    pub identity_file: Option<Given<PathBuf>>,
    pub identity_passphrase: Option<Given<SecretSource>>,
    pub jump: Option<Given<String>>,
    pub known_hosts: Option<Vec<Given<PathBuf>>>,
    pub use_ssh_config: Option<Given<bool>>,
    pub connect_timeout: Option<Given<Duration>>,
    pub keepalive_every: Option<Given<Duration>>,
    pub keepalive_misses: Option<Given<u32>>,
    pub max_channels: Option<Given<u32>>,
}

#[derive(Debug, Default, Clone)]
pub struct Mysql {
    pub port: Option<Given<u16>>,
    pub client: Option<Given<String>>,
    pub socket: Option<Given<PathBuf>>,
    pub channel: Option<Given<String>>,
}

#[derive(Debug, Default, Clone)]
pub struct Account {
    pub user: Option<Given<String>>,
    pub password: Option<Given<SecretSource>>,
}

/// A fence, or a rebuild. The duty may be named once for a cluster, and what differs from host to host be given with the hosts.
#[derive(Debug, Default, Clone)]
pub struct Fence {
    /// `Some(None)` is `none`.
    pub duty: Option<Option<Given<String>>>,
    pub with: BTreeMap<String, String>,
    /// Where it was given, when it was.
    pub given: Option<Given<()>>,
}

/// Timings as far as they are given: for all kinds, and for each.
#[derive(Debug, Default, Clone)]
pub struct Checks {
    pub default: Timing,
    pub kinds: BTreeMap<CheckKind, Timing>,
}

#[derive(Debug, Default, Clone)]
pub struct Timing {
    pub every: Option<Given<Duration>>,
    pub trap_after: Option<Given<Duration>>,
    pub timeout: Option<Given<Duration>>,
    pub max_backlog: Option<Given<Duration>>,
}

impl Settings {
    /// These settings where they are given, otherwise those of the level below.
    pub fn over(self, below: &Settings) -> Settings {
        let below = below.clone();
        let mut vars = below.vars;
        vars.extend(self.vars);
        let mut broken = below.broken;
        broken.extend(self.broken);
        Settings {
            interface: self.interface.or(below.interface),
            ssh: self.ssh.over(below.ssh),
            mysql: Mysql {
                port: self.mysql.port.or(below.mysql.port),
                client: self.mysql.client.or(below.mysql.client),
                socket: self.mysql.socket.or(below.mysql.socket),
                channel: self.mysql.channel.or(below.mysql.channel),
            },
            monitor: self.monitor.over(below.monitor),
            agent: self.agent.over(below.agent),
            replication: self.replication.over(below.replication),
            service: self.service.or(below.service),
            fence: self.fence.over(below.fence),
            rebuild: self.rebuild.over(below.rebuild),
            vars,
            broken,
        }
    }

    /// Passes on a value that was read from `section`, and remembers if it was given but could not be read.
    pub fn kept<T>(&mut self, value: Option<T>, section: &Section<'_>, path: &str) -> Option<T> {
        if value.is_none() && section.mentions(path.rsplit('.').next().unwrap_or(path)) {
            self.broken.insert(path.to_owned());
        }
        value
    }
}

impl Ssh {
    fn over(self, below: Ssh) -> Ssh {
        Ssh {
            address: self.address.or(below.address),
            port: self.port.or(below.port),
            user: self.user.or(below.user),
            identity_file: self.identity_file.or(below.identity_file),
            identity_passphrase: self.identity_passphrase.or(below.identity_passphrase),
            jump: self.jump.or(below.jump),
            known_hosts: self.known_hosts.or(below.known_hosts),
            use_ssh_config: self.use_ssh_config.or(below.use_ssh_config),
            connect_timeout: self.connect_timeout.or(below.connect_timeout),
            keepalive_every: self.keepalive_every.or(below.keepalive_every),
            keepalive_misses: self.keepalive_misses.or(below.keepalive_misses),
            max_channels: self.max_channels.or(below.max_channels),
        }
    }
}

impl Account {
    fn over(self, below: Account) -> Account {
        Account {
            user: self.user.or(below.user),
            password: self.password.or(below.password),
        }
    }
}

impl Fence {
    /// Naming a duty starts anew; values alone are added to those of the level below.
    fn over(self, below: Fence) -> Fence {
        let mut with = if self.duty.is_some() {
            BTreeMap::new()
        } else {
            below.with
        };
        with.extend(self.with);
        Fence {
            duty: self.duty.or(below.duty),
            with,
            given: self.given.or(below.given),
        }
    }
}

impl Timing {
    /// This timing where it is given, otherwise that of the level below.
    pub fn over(self, below: &Timing) -> Timing {
        let below = below.clone();
        Timing {
            every: self.every.or(below.every),
            trap_after: self.trap_after.or(below.trap_after),
            timeout: self.timeout.or(below.timeout),
            max_backlog: self.max_backlog.or(below.max_backlog),
        }
    }
}

/// In [`Settings::broken`]: a whole level could not be read, so nothing can be called missing.
pub const EVERYTHING: &str = "*";
