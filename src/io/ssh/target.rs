//! Where and how to connect: everything [`Link::open`](super::Link::open) needs, with nothing left to look up.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use secrecy::SecretString;
use tokio::sync::Mutex;

use super::keys::LoadedKey;

/// One host as SSH sees it.
#[derive(Debug, Clone)]
pub struct Target {
    /// The host's name in the inventory, for messages.
    pub name: String,
    /// Name or address to connect to; also the name its host key is looked up by.
    pub address: String,
    /// TCP port.
    pub port: u16,
    /// Remote user.
    pub user: String,
    /// Private keys, tried in order.
    pub identities: Vec<Identity>,
    /// Which agent is asked for keys besides.
    pub agent: Agent,
    /// Offer only keys that `identities` names, even when the agent holds more.
    pub identities_only: bool,
    /// Files of known host keys; missing ones are skipped.
    pub known_hosts: Vec<PathBuf>,
    /// Files of public keys that no host may have; each must be readable.
    pub revoked_host_keys: Vec<PathBuf>,
    /// Name to look the host key up by instead of `address` and `port`.
    pub host_key_alias: Option<String>,
    /// Hosts to go through, nearest first. Their own `jump` is not followed.
    pub jump: Vec<Target>,
    /// Command whose standard input and output are the connection; wins over `jump`. Its `%h %p %r %n %%` are filled in.
    pub proxy_command: Option<String>,
    /// Deadlines.
    pub timing: Timing,
    /// Commands at a time on the one connection. sshd allows 10 sessions but frees them late: above 5 it refuses some.
    pub max_channels: usize,
    /// Whether `ssh_config` was asked; it is not when that is not wanted or there is no `ssh` program.
    pub ssh_config_read: bool,
}

impl Target {
    /// A target with the given address and user, no keys, no known hosts and default deadlines.
    pub fn new(name: impl Into<String>, address: impl Into<String>, user: impl Into<String>) -> Self {
        Target {
            name: name.into(),
            address: address.into(),
            port: 22,
            user: user.into(),
            identities: Vec::new(),
            agent: Agent::None,
            identities_only: false,
            known_hosts: Vec::new(),
            revoked_host_keys: Vec::new(),
            host_key_alias: None,
            jump: Vec::new(),
            proxy_command: None,
            timing: Timing::default(),
            max_channels: 4,
            ssh_config_read: false,
        }
    }
}

/// Deadlines of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Connecting, key exchange and authentication together, per hop; also for opening a channel.
    pub connect: Duration,
    /// Pause between keepalive requests when nothing arrives.
    pub keepalive_interval: Duration,
    /// How many may stay unanswered; a dead peer is noticed after about `keepalive_interval * (keepalive_max + 1)`.
    pub keepalive_max: u32,
}

impl Timing {
    /// How long silence can last until the connection counts as dead.
    pub fn silence(&self) -> Duration {
        self.keepalive_interval * (self.keepalive_max + 1)
    }
}

impl Default for Timing {
    fn default() -> Self {
        Timing {
            connect: Duration::from_secs(5),
            keepalive_interval: Duration::from_secs(1),
            keepalive_max: 3,
        }
    }
}

/// Where agent keys come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Agent {
    /// No agent is asked.
    None,
    /// The agent of this process's environment (`SSH_AUTH_SOCK`), if there is one.
    Environment,
    /// The agent behind this socket; it is an error when it does not answer.
    Socket(PathBuf),
}

/// One private key file. Clones share what was loaded, so a key is decrypted once and not at every reconnect.
#[derive(Clone)]
pub struct Identity {
    /// The private key; a certificate is looked for beside it as `PATH-cert.pub`.
    pub path: PathBuf,
    /// What decrypts it.
    pub passphrase: Option<SecretString>,
    /// More certificates to show with this key; those that are for another key are passed over.
    pub certificates: Vec<PathBuf>,
    /// Whether the file must be there; the usual default paths need not.
    pub required: bool,
    pub(super) loaded: Arc<Mutex<Option<Loaded>>>,
}

/// When its file was last changed, and what it held.
pub(super) type Loaded = (SystemTime, Arc<LoadedKey>);

impl Identity {
    /// A key file that must be there.
    pub fn new(path: impl Into<PathBuf>, passphrase: Option<SecretString>) -> Self {
        Identity {
            path: path.into(),
            passphrase,
            certificates: Vec::new(),
            required: true,
            loaded: Arc::default(),
        }
    }

    /// A key file that is used if it is there.
    pub fn optional(path: impl Into<PathBuf>) -> Self {
        Identity {
            required: false,
            ..Identity::new(path, None)
        }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("path", &self.path)
            .field("passphrase", &self.passphrase.as_ref().map(|_| "…"))
            .field("certificates", &self.certificates)
            .field("required", &self.required)
            .finish_non_exhaustive()
    }
}
