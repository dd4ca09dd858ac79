//! `mmm grants`: prints the statements that give the accounts of a cluster just what they need.

use std::collections::BTreeMap;

use super::args::{GrantsArguments, Settings};
use super::setting;
use crate::config::inventory::ClusterEntry;
use crate::core::cluster::HostName;
use crate::core::facts::Version;
use crate::core::preflight::AccountKind;
use crate::core::trouble::{Kind, Trouble};
use crate::report::grants;
use crate::report::reporter::{Output, out};

/// Prints them, once for all hosts that need the same.
pub async fn run(settings: &Settings, what: &GrantsArguments) -> Result<u8, Trouble> {
    let inventory = setting::inventory(settings)?;
    let entry = setting::cluster(settings, &inventory, what.name.as_deref())?;
    let mut wanted: BTreeMap<String, Vec<(HostName, Version)>> = BTreeMap::new();
    for (host, version) in versions(entry, what.server).await? {
        wanted
            .entry(statements(entry, &host, version))
            .or_default()
            .push((host, version));
    }
    for (text, hosts) in &wanted {
        match settings.output {
            Output::Text => {
                let names: Vec<String> = hosts
                    .iter()
                    .map(|(host, version)| format!("{host} ({version})"))
                    .collect();
                out(&format!(
                    "-- Run this as an administrator on each of {}, with your passwords.",
                    names.join(", ")
                ));
                out(text.trim_end());
            }
            Output::Json => {
                let names: Vec<&HostName> = hosts.iter().map(|(host, _)| host).collect();
                out(&setting::json(&serde_json::json!({
                    "hosts": names,
                    "statements": text.lines().collect::<Vec<_>>(),
                })));
            }
        }
    }
    Ok(0)
}

/// The version of each host's server: the one that was said, or what each answers.
async fn versions(
    entry: &ClusterEntry,
    said: Option<Version>,
) -> Result<BTreeMap<HostName, Version>, Trouble> {
    let hosts = entry.hosts.keys().cloned();
    if let Some(version) = said {
        return Ok(hosts.map(|host| (host, version)).collect());
    }
    let facts = setting::fleet(entry).await?.look_everywhere().await;
    hosts
        .map(|host| {
            let seen = facts.get(&host).map(|facts| &facts.mysql);
            match seen.and_then(|mysql| mysql.up()) {
                Some(mysql) => Ok((host, mysql.version)),
                None => Err(Trouble::new(
                    Kind::Wrong,
                    format!("the version of the server on `{host}` is not known"),
                    seen.and_then(|mysql| mysql.trouble())
                        .unwrap_or("it was not asked"),
                )
                .hint("say it, for instance `--server mysql-8.4` or `--server mariadb-11.8`")),
            }
        })
        .collect()
}

fn statements(entry: &ClusterEntry, host: &HostName, version: Version) -> String {
    let credentials = entry.hosts.get(host).map(|host| &host.credentials);
    grants::text(version, entry.cluster.switchover.read_lock, |kind| {
        let account = credentials.map(|credentials| match kind {
            AccountKind::Monitor => &credentials.monitor,
            AccountKind::Agent => &credentials.agent,
            AccountKind::Replication => &credentials.replication,
        });
        account.map(|account| account.user.clone()).unwrap_or_default()
    })
}
