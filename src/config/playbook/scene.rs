//! Everything a duty's templates can name on one host, as plain fields for whoever performs it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use secrecy::SecretString;
use serde::Serialize;

use crate::config::template::Context;

/// What a duty's templates can name.
#[derive(Debug, Clone)]
pub struct Scene {
    /// The cluster's name.
    pub cluster: String,
    /// The role an operation moves; empty outside of one.
    pub role: String,
    /// The host that performs the duty.
    pub host: HostScene,
    /// The address it is about.
    pub address: Option<AddressScene>,
    /// The host it follows, waits for, or asks about.
    pub source: Option<SourceScene>,
    /// How hosts replicate from each other.
    pub replication: ReplicationScene,
    /// The unit that runs the database server; `None` when nothing would restart it.
    pub unit: Option<String>,
    /// The cluster's lock on this host's server, as an operation holds it.
    pub lock: LockScene,
    /// Accounts whose sessions are never ended: the monitor's, the agent's, replication's.
    pub spared_users: Vec<String>,
    /// A transaction that has been writing for more seconds is not interrupted.
    pub max_write_s: u64,
    /// A shell that was lost, when the duty is to settle it.
    pub old: Option<OldShell>,
    /// Values that earlier duties registered, and those an operation was given.
    pub registered: BTreeMap<String, String>,
    /// The inventory's `vars`.
    pub vars: BTreeMap<String, String>,
    /// The step's or the fence's `with`.
    pub with: BTreeMap<String, String>,
}

/// The host that performs a duty.
#[derive(Debug, Clone, Serialize)]
pub struct HostScene {
    /// Its name.
    pub name: String,
    /// Its own address.
    pub address: IpAddr,
    /// The network interface that carries floating addresses.
    pub interface: String,
    /// Where its database server listens.
    pub port: u16,
}

/// A floating address.
#[derive(Debug, Clone, Serialize)]
pub struct AddressScene {
    /// The address.
    pub ip: IpAddr,
    /// Its prefix length.
    pub prefix: u8,
    /// 4 or 6.
    pub version: u8,
}

impl AddressScene {
    /// A floating address with the prefix length of a host route.
    pub fn floating(ip: IpAddr) -> Self {
        AddressScene {
            ip,
            prefix: crate::core::cluster::host_prefix(&ip),
            version: if ip.is_ipv4() { 4 } else { 6 },
        }
    }
}

/// The cluster's lock on a server.
#[derive(Debug, Clone, Default, Serialize)]
pub struct LockScene {
    /// Its name.
    pub name: String,
    /// The number of the connection that holds it for us; 0, which no connection has, when none does.
    pub connection: u64,
}

/// Another host.
#[derive(Debug, Clone, Serialize)]
pub struct SourceScene {
    /// Its name.
    pub name: String,
    /// Its own address.
    pub address: IpAddr,
    /// Where its database server listens.
    pub port: u16,
}

#[derive(Serialize)]
struct Switchover {
    max_write_s: u64,
    read_lock: bool,
}

/// How hosts replicate from each other.
#[derive(Debug, Clone)]
pub struct ReplicationScene {
    /// The account's name.
    pub user: String,
    /// Its password.
    pub password: SecretString,
    /// Whether positions are GTIDs.
    pub gtid: bool,
    /// The host's channel or connection that is managed; empty for the one without a name.
    pub channel: String,
}

/// What must be found of a lost shell.
#[derive(Debug, Clone, Serialize)]
pub struct OldShell {
    /// The session all its processes are in.
    pub session: u32,
    /// What stands as `MMM_SHELL` in their environment.
    pub tag: String,
    /// The server's id of its SQL connection; 0, which no connection has, when there was none.
    pub connection: u64,
    /// 1 when that connection is told from later ones of its number by a lock that it holds; 0 when it is not.
    pub marked: u8,
    /// When the session's leader started, in the kernel's ticks since boot; 0 when that is not known.
    pub started: u64,
    /// What the kernel called the run of the system it was opened in; empty when that is not known.
    pub boot: String,
}

impl Scene {
    /// The names and values for templates.
    pub fn context(&self) -> Context {
        let mut context = Context::default();
        // Registered values first, so that none of them can take the place of a name below.
        for (name, value) in &self.registered {
            context.set(name, value);
        }
        context
            .set("cluster", BTreeMap::from([("name", &self.cluster)]))
            .set("role", &self.role)
            .set("host", &self.host)
            .set("lock", &self.lock)
            .set("spared_users", &self.spared_users)
            .set(
                "switchover",
                Switchover {
                    max_write_s: self.max_write_s,
                    read_lock: false,
                },
            )
            .set("vars", &self.vars)
            .set("with", &self.with)
            .set(
                "replication",
                Replication {
                    user: &self.replication.user,
                    gtid: self.replication.gtid,
                    channel: &self.replication.channel,
                },
            )
            .set_secret("replication", "password", self.replication.password.clone())
            .set("service", Service::of(self.unit.as_deref()));
        if let Some(address) = &self.address {
            context.set("address", address);
        }
        if let Some(source) = &self.source {
            context.set("source", source);
        }
        if let Some(old) = &self.old {
            context.set("old", old);
        }
        context
    }
}

#[derive(Serialize)]
struct Replication<'s> {
    user: &'s str,
    gtid: bool,
    channel: &'s str,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Service<'s> {
    Systemd { manager: &'s str, unit: &'s str },
    None { manager: &'s str },
}

impl<'s> Service<'s> {
    fn of(unit: Option<&'s str>) -> Self {
        match unit {
            Some(unit) => Service::Systemd {
                manager: "systemd",
                unit,
            },
            None => Service::None { manager: "none" },
        }
    }
}
