//! `mmm monitor`: the daemon, in the foreground; and `mmm ping`, which asks it for a sign of life.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tracing::Instrument as _;

use super::args::Settings;
use super::setting;
use crate::config::inventory as config;
use crate::core::trouble::{Kind, Trouble};
use crate::io::monitor::{OnlyMonitor, watch_cluster};
use crate::io::notify::Notifier;
use crate::io::socket::{Answer, Ask, ask, serve};
use crate::io::standing::StateDir;
use crate::report::daemon::report_daemon;
use crate::report::line;
use crate::report::log::{self, Log, Wanted};
use crate::report::reporter::{Output, out, talk};

/// Watches all clusters until SIGTERM or SIGINT.
pub async fn run(settings: &Settings) -> Result<u8, Trouble> {
    let inventory = setting::inventory(settings)?;
    let log = start_log(&inventory.monitor.log, settings.verbose);
    let claim = OnlyMonitor::claim(&inventory.monitor.state_dir)?;
    let (teller, events) = crate::io::teller::Teller::new("");
    let mut reporting = tokio::spawn(report_daemon(events, settings.output));
    let network = setting::network(&inventory).watch().await;
    let (stop, stopped) = watch::channel(false);
    let mut doors = BTreeMap::new();
    let mut watching = tokio::task::JoinSet::new();
    for entry in &inventory.clusters {
        let fleet = Arc::new(setting::fleet(entry).await?);
        let name = entry.cluster.name.clone();
        let dir = StateDir::of(&inventory.monitor.state_dir, &name);
        let (door, questions) = mpsc::channel(16);
        doors.insert(name.clone(), door);
        let about = teller.about(&name);
        let notifier = Notifier::start(entry, &dir, &about, line::words);
        let span = tracing::error_span!("cluster", name = name.as_str());
        let watched = watch_cluster(
            fleet,
            dir,
            about.notifying(notifier),
            network.clone(),
            questions,
            stopped.clone(),
        );
        watching.spawn(watched.instrument(span));
    }
    drop(teller);
    let names: Vec<&str> = inventory
        .clusters
        .iter()
        .map(|entry| entry.cluster.name.as_str())
        .collect();
    talk(&format!(
        "mmm monitor {} watches {}",
        env!("CARGO_PKG_VERSION"),
        names.join(", ")
    ));
    let ended = tokio::select! {
        served = serve(&inventory.monitor.socket, inventory.text_hash.clone(), doors) => served.map(|never| match never {}),
        signalled = asked_to_stop() => signalled,
        // A cluster's loop only ends when told to: anything else is a bug, and the supervisor should start us again.
        Some(ended) = watching.join_next() => Err(Trouble::new(Kind::Bug, "a cluster's loop ended by itself", match ended {
            Ok(()) => "without an error".to_owned(),
            Err(error) => error.to_string(),
        })),
        // Whoever watches and cannot tell is started again as well.
        Err(error) = &mut reporting => Err(Trouble::new(Kind::Bug, "what happens is told no more", error)),
    };
    if stop.send(true).is_err() {
        tracing::debug!("every cluster's loop had ended before");
    }
    while watching.join_next().await.is_some() {}
    if !reporting.is_finished() {
        setting::all_told(reporting).await;
    }
    log.flush();
    drop(claim);
    ended.map(|()| 0)
}

/// The log that the inventory asks for; each `-v` makes it tell more, of every cluster.
fn start_log(wanted: &config::Log, verbose: u8) -> Log {
    let least = match verbose {
        0 => tracing::Level::ERROR,
        1 => tracing::Level::DEBUG,
        _ => tracing::Level::TRACE,
    };
    log::start(Wanted {
        file: wanted.file.clone(),
        json: wanted.json,
        level: wanted.level.max(least),
        clusters: wanted
            .clusters
            .iter()
            .map(|(name, level)| (name.clone(), (*level).max(least)))
            .collect(),
    })
}

async fn asked_to_stop() -> Result<(), Trouble> {
    let deaf = |error| Trouble::new(Kind::Bug, "the monitor cannot receive signals", error);
    let mut terminate = signal(SignalKind::terminate()).map_err(deaf)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(deaf)?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// Asks the running monitor for a sign of life; 3 when none runs.
pub async fn ping(settings: &Settings) -> Result<u8, Trouble> {
    let inventory = setting::inventory(settings)?;
    match ask(&inventory.monitor.socket, &Ask::Ping).await? {
        Some(Answer::Pong { pid, inventory_hash }) => {
            let is_current = inventory_hash == inventory.text_hash;
            match settings.output {
                Output::Text if is_current => out(&format!("OK: the monitor runs as process {pid}")),
                Output::Text => out(&format!(
                    "OK: the monitor runs as process {pid}, but with an older inventory: restart it"
                )),
                Output::Json => out(&setting::json(
                    &serde_json::json!({ "pid": pid, "inventory_is_current": is_current }),
                )),
            }
            Ok(0)
        }
        Some(other) => Err(Trouble::new(
            Kind::Wrong,
            "the monitor gave an unexpected answer",
            format!("{other:?}"),
        )),
        None => Err(Trouble::new(
            Kind::Wrong,
            "no monitor runs",
            format!("nobody answers on `{}`", inventory.monitor.socket.display()),
        )
        .hint("`mmm monitor` starts one")),
    }
}
