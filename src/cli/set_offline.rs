//! `mmm set-offline HOST`: takes a host out of service. The writer hands its role over first; then the host's addresses go
//! to others, and its replication stops.

use std::time::Duration;

use super::args::Settings;
use super::{known, setting};
use crate::config::inventory::{ClusterEntry, Inventory};
use crate::core::cluster::HostName;
use crate::core::trouble::Trouble;
use crate::io::release::Changed;
use crate::io::socket::{Nudged, nudge};
use crate::report::reporter::{Output, out};

/// How long another operation is waited for.
const LOCK_WAIT: Duration = Duration::from_secs(10);

/// Performs it; the exit code says how it ended.
pub async fn run(settings: &Settings, host: &str) -> Result<u8, Trouble> {
    let inventory = setting::inventory(settings)?;
    let entry = setting::cluster(settings, &inventory, None)?;
    let name = HostName::from(host);
    setting::host(entry, &name)?;
    let states = known::states(&inventory, entry, &name).await?;
    let fleet = setting::fleet(entry).await?;
    let (teller, reporting) = setting::telling(settings, &entry.cluster.name);
    let performer = setting::performer(settings, &inventory, &fleet, teller, LOCK_WAIT);
    let changed = performer.take_out(&name, states.of_host, &states.online).await;
    drop(performer);
    setting::all_told(reporting).await;
    concluded(settings, &inventory, entry, &name, changed).await
}

/// Tells a running monitor and people what came of it; the exit code says how it ended.
pub(super) async fn concluded(
    settings: &Settings,
    inventory: &Inventory,
    entry: &ClusterEntry,
    host: &HostName,
    changed: Result<Changed, Trouble>,
) -> Result<u8, Trouble> {
    let socket = &inventory.monitor.socket;
    let changed = match changed {
        Ok(changed) => changed,
        // It may stand on disk although something is left on the host.
        Err(trouble) => {
            nudge(socket, &entry.cluster.name, 0).await;
            return Err(trouble);
        }
    };
    let nudged = nudge(socket, &entry.cluster.name, changed.standing.generation).await;
    if let Some(failed) = changed
        .switchover
        .as_ref()
        .map(setting::exit_code)
        .filter(|code| *code != 0)
    {
        return Ok(failed);
    }
    match settings.output {
        Output::Text => out(&words(&entry.cluster.name, host, &changed, nudged)),
        Output::Json => out(&setting::json(&serde_json::json!({
            "cluster": entry.cluster.name,
            "host": host,
            "state": "ADMIN_OFFLINE",
            "changed": changed.changed,
            "moved": changed.moved.iter().map(|(address, to)| serde_json::json!({ "address": address, "to": to })).collect::<Vec<_>>(),
            "monitor": nudged,
        }))),
    }
    Ok(0)
}

fn words(cluster: &str, host: &HostName, changed: &Changed, nudged: Nudged) -> String {
    if !changed.changed {
        return format!("{cluster}: nothing to do: {host} is ADMIN_OFFLINE already");
    }
    let mut text = format!("{cluster}: {host} is ADMIN_OFFLINE: its replication is stopped");
    for (address, to) in &changed.moved {
        match to {
            Some(to) => text.push_str(&format!(", {address} went to {to}")),
            None => text.push_str(&format!(", {address} is on no host, since none may hold it")),
        }
    }
    text.push_str(setting::about_monitor(nudged));
    text
}
