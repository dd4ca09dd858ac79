//! What an inventory means once every default is filled in and every name in it resolves.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use crate::config::diagnostic::Diagnostic;
use crate::core::cluster::{Cluster, HostMode, HostName};
use crate::core::notice::Notice;
use crate::core::site::SiteSteps;

/// A whole inventory file, resolved and valid.
#[derive(Debug, Clone)]
pub struct Inventory {
    /// The file it was read from, as it was named.
    pub file: PathBuf,
    /// SHA-1 of the text in hexadecimal: tells whether a running monitor still works from the same file.
    pub text_hash: String,
    /// Settings of the monitor itself.
    pub monitor: Monitor,
    /// The clusters in file order; at least one.
    pub clusters: Vec<ClusterEntry>,
    /// What is allowed but should be mended.
    pub warnings: Vec<Diagnostic>,
}

impl Inventory {
    /// The cluster of that name.
    pub fn cluster(&self, name: &str) -> Option<&ClusterEntry> {
        self.clusters.iter().find(|entry| entry.cluster.name == name)
    }
}

/// Settings of the monitor, which serves all clusters of the inventory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Monitor {
    /// Directory of journals, lock files and owed demotions.
    pub state_dir: PathBuf,
    /// Socket on which a running monitor answers the other commands.
    pub socket: PathBuf,
    /// Addresses beyond the clusters: while none of them answers, the box blames its own network. May be empty.
    pub ping_addresses: Vec<IpAddr>,
    /// Where the monitor's log goes.
    pub log: Log,
}

/// A monitor's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// The file; stderr, which a service manager takes, when there is none.
    pub file: Option<PathBuf>,
    /// JSON objects instead of lines for people.
    pub json: bool,
    /// The quietest level that is written.
    pub level: tracing::Level,
    /// The same for single clusters.
    pub clusters: BTreeMap<String, tracing::Level>,
}

/// One cluster: what decisions need (`cluster`) and what reaching its hosts needs.
#[derive(Debug, Clone)]
pub struct ClusterEntry {
    /// Hosts, roles and policy, as the core sees them.
    pub cluster: Cluster,
    /// How to reach and serve each host; holds exactly the hosts of `cluster`.
    pub hosts: BTreeMap<HostName, HostEntry>,
    /// A directory whose playbooks override or add to the shipped ones, file by file.
    pub playbooks: Option<PathBuf>,
    /// Steps of the site around operations.
    pub site: SiteSteps,
    /// Commands that tell people what happens.
    pub notices: Vec<Notice>,
    /// Values that playbook templates read as `vars.…`, common to the cluster.
    pub vars: BTreeMap<String, String>,
    /// The variables of our environment that hold secrets of this inventory: commands and shells on the box do not get
    /// them.
    pub secret_variables: Vec<String>,
}

impl ClusterEntry {
    /// How to reach and serve the host of that name.
    pub fn host(&self, name: &HostName) -> Option<&HostEntry> {
        self.hosts.get(name)
    }
}

/// Tells every cluster which variables of our environment hold secrets, those of the other clusters included: one process
/// may watch them all.
pub(super) fn hide_secrets(clusters: &mut [Option<ClusterEntry>]) {
    let secret: BTreeSet<String> = clusters.iter().flatten().flat_map(secret_variables).collect();
    for entry in clusters.iter_mut().flatten() {
        entry.secret_variables = secret.iter().cloned().collect();
    }
}

/// The variables that hold the secrets of one cluster.
fn secret_variables(entry: &ClusterEntry) -> Vec<String> {
    let of_host = |host: &HostEntry| {
        let accounts = &host.credentials;
        let accounts = [&accounts.monitor, &accounts.agent, &accounts.replication];
        let passwords = accounts.map(|account| Some(account.password.clone()));
        passwords
            .into_iter()
            .chain([host.ssh.identity_passphrase.clone()])
    };
    let sources = entry.hosts.values().flat_map(of_host);
    let names = sources.filter_map(|source| match source {
        Some(SecretSource::Env(name)) => Some(name),
        _ => None,
    });
    names.collect()
}

/// One host with every default filled in.
#[derive(Debug, Clone)]
pub struct HostEntry {
    /// Its name, unique within the cluster.
    pub name: HostName,
    /// Where MySQL answers, and SSH unless `ssh.address` says otherwise; unique within the inventory.
    pub address: IpAddr,
    /// Whether it may be the writer.
    pub mode: HostMode,
    /// The network interface that carries floating addresses.
    pub interface: String,
    /// How to reach it over SSH.
    pub ssh: SshSettings,
    /// How to reach its database server.
    pub mysql: MysqlSettings,
    /// The accounts used on its database server.
    pub credentials: Credentials,
    /// Who restarts its database server when it dies.
    pub service: Service,
    /// How to cut it off for certain; `None` when there is no way.
    pub fence: Option<Fence>,
    /// How to make it a copy of the writer; `None` when that is left to people.
    pub rebuild: Option<Fence>,
    /// Values for playbook templates: the cluster's, overridden by the host's own.
    pub vars: BTreeMap<String, String>,
}

/// How to reach a host over SSH. What is `None` is left to `ssh_config` and then to SSH's own defaults.
#[derive(Debug, Clone)]
pub struct SshSettings {
    /// Name or address to connect to, also the alias that `ssh_config` is asked about.
    pub address: String,
    /// TCP port.
    pub port: Option<u16>,
    /// Remote user.
    pub user: Option<String>,
    /// Private key file.
    pub identity_file: Option<PathBuf>,
    /// What decrypts `identity_file`.
    pub identity_passphrase: Option<SecretSource>,
    /// Jump host, as `ssh -J` takes it: `[user@]host[:port]`, several separated by commas.
    pub jump: Option<String>,
    /// Files of known host keys; empty means the usual ones.
    pub known_hosts: Vec<PathBuf>,
    /// Whether `ssh_config` is consulted for what the inventory leaves open.
    pub use_ssh_config: bool,
    /// Deadline for TCP connect and authentication together.
    pub connect_timeout: Duration,
    /// Pause between keepalive requests on an idle connection.
    pub keepalive_every: Duration,
    /// How many keepalives in a row may stay unanswered before the connection counts as dead.
    pub keepalive_misses: u32,
    /// Channels open at a time on the one connection; sshd's own limit is 10 by default.
    pub max_channels: u32,
}

/// How to reach a host's database server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MysqlSettings {
    /// TCP port.
    pub port: u16,
    /// Client program on the host; `None` takes `mariadb` or `mysql`, whichever is there.
    pub client: Option<String>,
    /// Unix socket of the server on the host; `None` leaves it to the client's own configuration.
    pub socket: Option<PathBuf>,
    /// The replication channel (MySQL) or connection (MariaDB) that is managed; empty for the one without a name.
    pub channel: String,
}

/// The three accounts used on a database server.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// Watches over the MySQL protocol; needs little.
    pub monitor: Account,
    /// Changes the server during duties.
    pub agent: Account,
    /// What the other hosts replicate with.
    pub replication: Account,
}

/// A MySQL account.
#[derive(Debug, Clone)]
pub struct Account {
    /// User name without host part.
    pub user: String,
    /// Where its password comes from.
    pub password: SecretSource,
}

/// Where a secret comes from. Only `io::secret` turns one into the secret itself.
#[derive(Debug, Clone)]
pub enum SecretSource {
    /// Written in the inventory.
    Literal(SecretString),
    /// An environment variable of this process.
    Env(String),
    /// A file on this box; a trailing newline is not part of the secret.
    File(PathBuf),
    /// A command on this box, run by `sh -c`; the first line it prints is the secret.
    Command(String),
}

/// Who would start a database server that died, and so must be told to keep a demoted one stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Service {
    /// A systemd unit.
    Systemd {
        /// Its name, for instance `mariadb.service`.
        unit: String,
    },
    /// Something else, spoken to by two duties of the owner.
    Duties {
        /// The duty that stops the server and keeps it stopped.
        keep_stopped: String,
        /// The duty that lets it start again.
        allow_start: String,
    },
    /// Nothing restarts it; declared by the owner.
    None,
}

/// How to cut a host off for certain, by a duty that runs on this box; or how to rebuild it, by one that runs on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fence {
    /// The duty's name.
    pub duty: String,
    /// Values the duty's template reads as `with.…`.
    pub with: BTreeMap<String, String>,
}
