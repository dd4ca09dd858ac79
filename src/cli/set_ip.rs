//! `mmm set-ip IP HOST`: says where an address shall be while nothing is done to the cluster. For passive mode only.

use std::net::IpAddr;
use std::time::Duration;

use super::args::Settings;
use super::setting;
use crate::core::cluster::HostName;
use crate::core::guard::{self, Guard};
use crate::core::relocation;
use crate::core::standing::{Mode, NAMED};
use crate::core::trouble::Trouble;
use crate::io::clock;
use crate::io::lock::LocalLock;
use crate::io::socket::nudge;
use crate::io::standing::StateDir;
use crate::report::reporter::{Output, out};

/// How long another operation is waited for.
const LOCK_WAIT: Duration = Duration::from_secs(10);

/// Writes it down; no host is touched.
pub async fn run(settings: &Settings, address: IpAddr, host: &str) -> Result<u8, Trouble> {
    let inventory = setting::inventory(settings)?;
    let entry = setting::cluster(settings, &inventory, None)?;
    let cluster = &entry.cluster;
    let host = HostName::from(host);
    let what = format!("{address} was not set to `{host}`");
    let role = relocation::role_of(cluster, address, &host, &what)?;
    let is_writer = role.name == cluster.writer_role;
    let dir = StateDir::of(&inventory.monitor.state_dir, &cluster.name);
    dir.prepare()?;
    let lock = LocalLock::take(&dir, "set-ip", LOCK_WAIT).await?;
    let mut standing = dir.load()?;
    let refuse = |guard: Guard, because: String| Err(Trouble::refused(guard, what.clone(), because));
    if standing.mode != Mode::Passive {
        return refuse(Guard::G55, format!("the cluster is in {} mode", standing.mode));
    }
    if standing.offline.contains_key(&host) {
        return refuse(Guard::G21, format!("`{host}` was taken out of service"));
    }
    // Who named another host a moment ago may think again.
    if standing.owed.get(&host).is_some_and(|owed| owed.run != NAMED) {
        return refuse(
            Guard::G22,
            format!("`{host}` was replaced as writer and has not been compared since"),
        );
    }
    if standing
        .owed
        .get(&host)
        .is_some_and(|owed| owed.rebuild.is_some())
    {
        return Err(guard::half_rebuilt(what, &host));
    }
    let before = standing.clone();
    if is_writer {
        standing.name_writer(cluster, &host, clock::now());
    } else {
        standing.placed.insert(address, host.clone());
    }
    let changed = standing != before;
    if changed {
        standing.touch();
        dir.save(&standing)?;
    }
    drop(lock);
    if changed {
        nudge(&inventory.monitor.socket, &cluster.name, standing.generation).await;
    }
    let role = &role.name;
    match settings.output {
        Output::Text => out(&format!(
            "{}: {role}({address}) belongs to {host}; nothing is done about it until `mmm set-active`",
            cluster.name
        )),
        Output::Json => out(&setting::json(&serde_json::json!({
            "cluster": cluster.name, "role": role, "address": address, "host": host, "changed": changed,
        }))),
    }
    Ok(0)
}
