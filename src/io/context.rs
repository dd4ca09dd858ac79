//! What the templates of playbooks can name, filled in for one host and one errand.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::json;

use crate::config::inventory::{ClusterEntry, HostEntry, Service};
use crate::config::template::Context;
use crate::core::cluster::{HostName, SwitchoverPolicy, host_prefix};
use crate::core::mending::Call;
use crate::io::vault::Vault;

/// What an errand adds to what its host has.
#[derive(Debug, Clone, Default)]
pub struct Errands<'a> {
    /// The floating address it is about.
    pub address: Option<IpAddr>,
    /// The host it follows, waits for, or asks about.
    pub source: Option<&'a HostName>,
    /// Values registered earlier.
    pub registered: Option<&'a BTreeMap<String, String>>,
    /// Values the operation's step gives.
    pub with: Option<&'a BTreeMap<String, String>>,
    /// Whether replicas find their place by GTID.
    pub gtid: bool,
    /// What its commands find in their environment.
    pub environment: Option<&'a BTreeMap<String, String>>,
    /// What is left of a lost shell.
    pub old: Option<serde_json::Value>,
}

impl<'a> Errands<'a> {
    /// What a duty of a fix is given.
    pub fn of(call: &Call<'a>) -> Errands<'a> {
        Errands {
            address: call.address,
            source: call.source,
            gtid: call.source.is_some(),
            ..Errands::default()
        }
    }
}

/// The context of one errand at one host.
pub fn context(entry: &ClusterEntry, vault: &Vault, host: &HostEntry, errand: &Errands<'_>) -> Context {
    let mut context = Context::default();
    context
        .set("cluster", json!({ "name": entry.cluster.name }))
        .set("role", &entry.cluster.writer_role)
        .set(
            "host",
            json!({
                "name": host.name.as_str(),
                "address": host.address.to_string(),
                "interface": host.interface,
                "port": host.mysql.port,
            }),
        )
        .set("switchover", switchover(&entry.cluster.switchover))
        .set("vars", vars(host, errand))
        .set("with", errand.with.cloned().unwrap_or_default())
        .set("spared_users", spared_users(vault, host));
    if let Service::Systemd { unit } = &host.service {
        context.set("service", json!({ "manager": "systemd", "unit": unit }));
    }
    if let Some(ip) = errand.address {
        let version = if ip.is_ipv4() { 4 } else { 6 };
        context.set(
            "address",
            json!({ "ip": ip.to_string(), "prefix": host_prefix(&ip), "version": version }),
        );
    }
    let mut replication = json!({ "gtid": errand.gtid, "user": "", "channel": host.mysql.channel });
    let source = errand.source.and_then(|source| entry.hosts.get(source));
    if let Some(source) = source {
        context.set(
            "source",
            json!({
                "name": source.name.as_str(),
                "address": source.address.to_string(),
                "port": source.mysql.port,
            }),
        );
    }
    let logins = source.and_then(|source| vault.logins(&source.name));
    if let Some(logins) = logins {
        replication["user"] = json!(logins.replication.user);
    }
    context.set("replication", replication);
    if let Some(logins) = logins {
        context.set_secret("replication", "password", logins.replication.password.clone());
    }
    for (name, value) in errand.registered.into_iter().flatten() {
        context.set(name, value);
    }
    if let Some(old) = &errand.old {
        context.set("old", old);
    }
    context
}

/// Whole seconds, rounded up: servers tell the age of a transaction in seconds.
fn switchover(policy: &SwitchoverPolicy) -> serde_json::Value {
    let max_write_s = policy.max_write.as_millis().div_ceil(1000);
    json!({ "max_write_s": u64::try_from(max_write_s).unwrap_or(u64::MAX), "read_lock": policy.read_lock })
}

fn vars(host: &HostEntry, errand: &Errands<'_>) -> BTreeMap<String, String> {
    let mut vars = host.vars.clone();
    vars.extend(errand.with.cloned().unwrap_or_default());
    vars
}

/// Accounts whose sessions are never ended: our own, and replication.
fn spared_users(vault: &Vault, host: &HostEntry) -> Vec<String> {
    let Some(logins) = vault.logins(&host.name) else {
        return Vec::new();
    };
    [&logins.monitor, &logins.agent, &logins.replication]
        .map(|login| login.user.clone())
        .to_vec()
}

/// The dialect to speak to a server of that version. A server that has not told its version yet is taken for a MariaDB
/// of the oldest release the dialect knows how to speak to.
pub fn speaks(version: Option<crate::core::facts::Version>) -> crate::config::playbook::Speaks {
    use crate::core::facts::Flavour;
    use crate::core::playbook::Release;
    match version {
        Some(version) => {
            let (major, minor, patch) = version.numbers;
            let dialect = match version.flavour {
                Flavour::Mariadb => "mariadb",
                Flavour::Mysql => "mysql",
            };
            crate::config::playbook::Speaks {
                dialect: dialect.to_owned(),
                release: Release(major, minor, patch),
            }
        }
        None => crate::config::playbook::Speaks {
            dialect: "mariadb".to_owned(),
            release: Release(10, 2, 0),
        },
    }
}
