//! `mmm set-online HOST`: lets a host back in that was taken out of service, or that waits for a person's word.

use std::time::Duration;

use tokio::task::JoinHandle;

use super::args::Settings;
use super::show::look_once;
use super::{known, setting};
use crate::config::inventory::{ClusterEntry, Inventory};
use crate::core::cluster::HostName;
use crate::core::hosts::HostState;
use crate::core::standing::Mode;
use crate::core::trouble::Trouble;
use crate::io::operation::Performer;
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
    let fleet = setting::fleet(entry).await?;
    let (teller, reporting) = setting::telling(settings, &entry.cluster.name);
    let performer = setting::performer(settings, &inventory, &fleet, teller, LOCK_WAIT);
    carry_out(settings, &inventory, entry, &name, performer, reporting).await
}

/// Lets the host in and tells a running monitor and people; the exit code says how it ended.
pub(super) async fn carry_out(
    settings: &Settings,
    inventory: &Inventory,
    entry: &ClusterEntry,
    name: &HostName,
    performer: Performer<'_>,
    reporting: JoinHandle<()>,
) -> Result<u8, Trouble> {
    let states = known::states(inventory, entry, name).await?;
    let performed = performer.let_in(name, states.of_host).await;
    let mut nudged = Nudged::NobodyWatches;
    let mut state = HostState::Online;
    let mut handed_out = Ok(());
    if let Ok(changed) = performed.as_ref()
        && changed.changed
    {
        nudged = nudge(
            &inventory.monitor.socket,
            &entry.cluster.name,
            changed.standing.generation,
        )
        .await;
        let engine = look_once(inventory, entry).await?;
        state = engine
            .record(name)
            .map_or(HostState::Unknown, |record| record.state);
        // Without a monitor nobody else would bring addresses to it.
        if nudged == Nudged::NobodyWatches && changed.standing.mode != Mode::Passive {
            handed_out = performer.repair(&engine.eligible()).await;
        }
    }
    drop(performer);
    setting::all_told(reporting).await;
    let changed = performed?;
    handed_out?;
    let cluster = &entry.cluster.name;
    match settings.output {
        Output::Text if changed.changed => out(&format!(
            "{cluster}: {name} is let back in; it gets roles while it is ONLINE{}",
            setting::about_monitor(nudged)
        )),
        Output::Text => out(&format!("{cluster}: nothing to do: {name} is {state} already")),
        Output::Json => out(&setting::json(&serde_json::json!({
            "cluster": cluster,
            "host": name,
            "state": state,
            "changed": changed.changed,
            "monitor": nudged,
        }))),
    }
    Ok(0)
}
