//! `mmm downtime` and `mmm ack`: maintenance that is announced, and failovers that somebody has looked at. Written under the
//! cluster's lock; a running monitor is told at once.

use std::time::Duration;

use super::args::Settings;
use super::args::maintenance::{AckArguments, DowntimeArguments};
use super::{mode, setting};
use crate::config::inventory::{ClusterEntry, Inventory};
use crate::core::cluster::HostName;
use crate::core::maintenance::Downtime;
use crate::core::standing::Standing;
use crate::core::trouble::{Kind, Trouble};
use crate::io::clock;
use crate::io::journal;
use crate::io::lock::LocalLock;
use crate::io::socket::{Nudged, nudge};
use crate::io::standing::StateDir;
use crate::report::reporter::{Output, out};

/// How long another operation is waited for.
const LOCK_WAIT: Duration = Duration::from_secs(10);

/// Announces a downtime, or ends one.
pub async fn downtime(settings: &Settings, what: &DowntimeArguments) -> Result<u8, Trouble> {
    let inventory = setting::inventory(settings)?;
    let (entry, host) = meant(settings, &inventory, what.name.as_deref())?;
    let announced = match (what.length, &what.reason) {
        (Some(length), _) if length.is_zero() => {
            return Err(
                Trouble::new(Kind::Usage, "no downtime", "it would have no length")
                    .hint("`--for 30m`, or `--end` to end one"),
            );
        }
        (Some(length), Some(reason)) => {
            let since = clock::now();
            Some(Downtime {
                since,
                until: since.after(length),
                by: mode::person(),
                reason: reason.clone(),
            })
        }
        _ => None,
    };
    let amended = amend(&inventory, entry, "a downtime", |standing| {
        let was = match &host {
            Some(host) => standing.downtimes.remove(host),
            None => standing.downtime.take(),
        };
        let now = announced
            .clone()
            .map(|downtime| downtime.instead_of(was.as_ref()));
        let has_changed = was != now;
        match (&host, now) {
            (Some(host), Some(downtime)) => drop(standing.downtimes.insert(host.clone(), downtime)),
            (None, now) => standing.downtime = now,
            (Some(_), None) => {}
        }
        has_changed
    })
    .await?;
    let cluster = &entry.cluster.name;
    let whose = host.as_ref().map_or("the cluster", HostName::as_str);
    let said = match &announced {
        Some(downtime) => format!("{cluster}: {whose} is in downtime until {}", downtime.until),
        None if amended.changed => format!("{cluster}: the downtime of {whose} has ended"),
        None => format!("{cluster}: nothing to do: {whose} is in no downtime"),
    };
    match settings.output {
        Output::Text => out(&format!("{said}{}", setting::about_monitor(amended.nudged))),
        Output::Json => out(&setting::json(&serde_json::json!({
            "cluster": cluster, "host": host, "downtime": announced, "changed": amended.changed,
            "monitor": amended.nudged,
        }))),
    }
    Ok(0)
}

/// The cluster meant, or the host of which cluster.
fn meant<'i>(
    settings: &Settings,
    inventory: &'i Inventory,
    name: Option<&str>,
) -> Result<(&'i ClusterEntry, Option<HostName>), Trouble> {
    let Some(name) = name else {
        return Ok((setting::cluster(settings, inventory, None)?, None));
    };
    let host = HostName::from(name);
    let mut having = match &settings.cluster {
        Some(_) => vec![setting::cluster(settings, inventory, None)?],
        None => inventory.clusters.iter().collect(),
    };
    having.retain(|entry| entry.hosts.contains_key(&host));
    let wrong =
        |because: String, hint: &str| Err(Trouble::new(Kind::Usage, "no downtime", because).hint(hint));
    match (inventory.cluster(name), having.as_slice()) {
        (Some(entry), []) => Ok((entry, None)),
        (None, [entry]) => Ok((*entry, Some(host))),
        (Some(_), _) => wrong(
            format!("`{name}` is the name of a cluster and of a host"),
            "leave the name out for a cluster: `mmm @CLUSTER downtime …`; a host needs another name",
        ),
        (None, []) => wrong(
            format!("no cluster and no host is called `{name}`"),
            "`mmm show` names them",
        ),
        (None, _) => wrong(
            format!("several clusters have a host `{name}`"),
            "say which: `mmm @CLUSTER downtime HOST …`",
        ),
    }
}

/// Says that somebody has looked at a failover that no person asked for: another one need not wait any more.
pub async fn ack(settings: &Settings, what: &AckArguments) -> Result<u8, Trouble> {
    let inventory = setting::inventory(settings)?;
    let clusters = setting::clusters(settings, &inventory, None)?;
    let mut waiting = Vec::new();
    let mut known = None;
    for entry in clusters {
        let dir = StateDir::of(&inventory.monitor.state_dir, &entry.cluster.name);
        if journal::is_known(&dir, &what.run) {
            known = Some(entry);
        }
        let standing = dir.load()?;
        if let Some(last) = standing.automatic {
            waiting.push((entry, last.run));
        }
    }
    let meant = waiting.iter().find(|(_, run)| *run == what.run);
    let Some(entry) = meant.map(|(entry, _)| *entry).or(known) else {
        let runs: Vec<String> = waiting.iter().map(|(_, run)| format!("`{run}`")).collect();
        let because = if runs.is_empty() {
            "no failover waits for that".to_owned()
        } else {
            format!("what waits for that is {}", runs.join(", "))
        };
        let what = format!("run `{}` was not acknowledged", what.run);
        return Err(Trouble::new(Kind::Usage, what, because).hint("`mmm show` names the run"));
    };
    let amended = amend(&inventory, entry, "an acknowledgement", |standing| {
        let is_meant = standing
            .automatic
            .as_ref()
            .is_some_and(|last| last.run == what.run);
        if is_meant {
            standing.automatic = None;
        }
        is_meant
    })
    .await?;
    let cluster = &entry.cluster.name;
    match settings.output {
        Output::Text if amended.changed => out(&format!(
            "{cluster}: run {} is acknowledged: another failover by itself need not wait{}",
            what.run,
            setting::about_monitor(amended.nudged)
        )),
        Output::Text => out(&format!(
            "{cluster}: nothing to do: nothing waits for run {}",
            what.run
        )),
        Output::Json => out(&setting::json(&serde_json::json!({
            "cluster": cluster, "run": what.run, "changed": amended.changed, "monitor": amended.nudged,
        }))),
    }
    Ok(0)
}

/// What came of a change of the standing.
struct Amended {
    changed: bool,
    nudged: Nudged,
}

/// Changes the standing under the lock, and lets a running monitor know.
async fn amend(
    inventory: &Inventory,
    entry: &ClusterEntry,
    purpose: &str,
    apply: impl FnOnce(&mut Standing) -> bool,
) -> Result<Amended, Trouble> {
    let dir = StateDir::of(&inventory.monitor.state_dir, &entry.cluster.name);
    dir.prepare()?;
    let lock = LocalLock::take(&dir, purpose, LOCK_WAIT).await?;
    let mut standing = dir.load()?;
    let changed = apply(&mut standing);
    if changed {
        standing.touch();
        dir.save(&standing)?;
    }
    drop(lock);
    let nudged = nudge(
        &inventory.monitor.socket,
        &entry.cluster.name,
        standing.generation,
    )
    .await;
    Ok(Amended { changed, nudged })
}
