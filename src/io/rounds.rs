//! The rounds of a monitor: each host's checks and looks, every one with a task of its own, so that a hung one delays no
//! other.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::Instrument as _;

use crate::core::checks::{self, Echo};
use crate::core::cluster::{CheckKind, HostName};
use crate::core::engine::Input;
use crate::io::fleet::Fleet;
use crate::io::mysql::Server;
use crate::io::ping::ping;

/// Each host is looked at this often.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A replaced writer is tried this often until it has been made harmless.
const LOOK_FOR_OWED_EVERY: Duration = Duration::from_millis(300);
/// A replaced writer that answers no ping is looked at this often all the same.
const LOOK_IN_VAIN_EVERY: Duration = Duration::from_secs(10);

/// One task for each check of each host, each with its own connection: a hung one delays no other.
pub fn start_probes(fleet: &Arc<Fleet>, inputs: &mpsc::Sender<Input>, tasks: &mut JoinSet<()>) {
    for (name, host) in &fleet.entry().hosts {
        let Some(logins) = fleet.logins(name) else {
            continue;
        };
        for kind in CheckKind::ALL {
            let timing = *fleet.entry().cluster.checks.of(kind);
            let (host_name, address, inputs) = (name.clone(), host.address, inputs.clone());
            let mut server = Server::new(host.address, host.mysql.port, logins.monitor.clone())
                .managing(&host.mysql.channel);
            tasks.spawn(
                async move {
                    let mut rounds = interval(timing.every);
                    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
                    loop {
                        rounds.tick().await;
                        let result = match kind {
                            CheckKind::Ping => checks::ping(&ping(address, timing.timeout).await),
                            CheckKind::Mysql => server.check_mysql(timing.timeout).await,
                            CheckKind::RepThreads => server.check_rep_threads(timing.timeout).await,
                            CheckKind::RepBacklog => {
                                server.check_rep_backlog(timing.timeout, timing.max_backlog).await
                            }
                        };
                        let input = Input::Checked {
                            host: host_name.clone(),
                            kind,
                            result,
                        };
                        if inputs.send(input).await.is_err() {
                            return;
                        }
                    }
                }
                .in_current_span(),
            );
        }
    }
}

/// One task a host that looks at it: at regular pauses, and at once whenever `look_now` changes. A replaced writer that has not been met is pinged instead, many times a second: an
/// attempt to connect that begins while it is dark would still be waiting when it comes back.
pub fn start_looks(
    fleet: &Arc<Fleet>,
    inputs: &mpsc::Sender<Input>,
    owed: &watch::Receiver<Vec<HostName>>,
    look_now: &watch::Receiver<u64>,
    tasks: &mut JoinSet<()>,
) {
    for (name, host) in &fleet.entry().hosts {
        let (fleet, name, inputs, owed) = (fleet.clone(), name.clone(), inputs.clone(), owed.clone());
        let mut look_now = look_now.clone();
        let address = host.address;
        tasks.spawn(
            async move {
                let mut dark_since: Option<Instant> = None;
                loop {
                    let began = Instant::now();
                    let awaited = owed.borrow().contains(&name);
                    if awaited && is_dark(address, &mut dark_since).await {
                        tokio::time::sleep_until(began + LOOK_FOR_OWED_EVERY).await;
                        continue;
                    }
                    look_now.borrow_and_update();
                    let facts = fleet.look(&name).await;
                    // Begun before somebody changed the cluster, it may show the host as it was.
                    if look_now.has_changed().is_ok_and(|changed| changed) {
                        continue;
                    }
                    if inputs
                        .send(Input::Looked(name.clone(), Box::new(facts)))
                        .await
                        .is_err()
                    {
                        return;
                    }
                    let pause = if awaited { LOOK_FOR_OWED_EVERY } else { LOOK_EVERY };
                    tokio::select! {
                        () = tokio::time::sleep_until(began + pause) => {}
                        Ok(()) = look_now.changed() => {}
                    }
                }
            }
            .in_current_span(),
        );
    }
}

/// Whether an awaited host is silent to a ping. Now and then it is taken for reachable all the same: it may answer
/// everything but pings.
async fn is_dark(address: IpAddr, dark_since: &mut Option<Instant>) -> bool {
    match ping(address, LOOK_FOR_OWED_EVERY).await {
        Echo::Answered(_) | Echo::CannotPing { .. } => {
            *dark_since = None;
            false
        }
        Echo::NoAnswer(_) => {
            let since = *dark_since.get_or_insert_with(Instant::now);
            let looked_in_vain = since.elapsed() >= LOOK_IN_VAIN_EVERY;
            if looked_in_vain {
                *dark_since = None;
            }
            !looked_in_vain
        }
    }
}
