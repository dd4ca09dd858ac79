//! Gathers evidence about a suspected writer: what the box sees, what the host says of itself, what the others see. All
//! at once, all within a few seconds.

use std::time::Duration;

use futures_util::future::join_all;

use crate::config::inventory::Service;
use crate::core::checks::Echo;
use crate::core::cluster::HostName;
use crate::core::evidence::{Evidence, HostView, MysqlView, PingView, WitnessView};
use crate::core::facts::Reach;
use crate::core::script::{DutyOutcome, DutyReport};
use crate::core::sign::Sign;
use crate::io::context::Errands;
use crate::io::fleet::Fleet;
use crate::io::ping::ping;

/// One look at the host over SSH.
const HOST_WITHIN: Duration = Duration::from_secs(2);
/// One look by another host; its own probes take a second each.
const WITNESS_WITHIN: Duration = Duration::from_secs(3);
/// One echo.
const ECHO_WITHIN: Duration = Duration::from_millis(800);

/// Everything that can be said about `suspect` now.
pub async fn gather(fleet: &Fleet, suspect: &HostName) -> Evidence {
    let (mysql, ping, host, witnesses) = tokio::join!(
        mysql_view(fleet, suspect),
        ping_view(fleet, suspect),
        host_view(fleet, suspect),
        witness_view(fleet, suspect)
    );
    let evidence = Evidence {
        mysql,
        ping,
        host,
        witnesses,
    };
    tracing::info!(%suspect, ?evidence, "evidence gathered");
    evidence
}

/// What the host itself shows of why its server is in trouble; nothing when it cannot be asked.
pub async fn signs(fleet: &Fleet, suspect: &HostName) -> Vec<Sign> {
    let nothing = Errands::default();
    let looked = fleet.look_over_ssh(suspect).await;
    let Some(seen) = looked.up() else {
        return Vec::new();
    };
    let mut signs = seen.signs.clone();
    let host = fleet.entry().hosts.get(suspect);
    if host.is_some_and(|host| matches!(host.service, Service::Systemd { .. }))
        && let Ok(report) = fleet.glance(suspect, "unit-signs", &nothing, HOST_WITHIN).await
        && let Some(text) = report.registered.get("unit_signs")
    {
        signs.extend(Sign::read(text));
    }
    signs
}

async fn mysql_view(fleet: &Fleet, suspect: &HostName) -> MysqlView {
    match fleet.answers(suspect).await {
        Reach::Up(_) => MysqlView::Answers,
        Reach::Refusing { .. } => MysqlView::Refuses,
        Reach::Hung(_) => MysqlView::Hangs,
        Reach::Down(_) => MysqlView::PortClosed,
        Reach::Silent(_) => MysqlView::Silent,
        // Trouble on our own side says nothing against the server.
        Reach::Unasked(_) => MysqlView::Refuses,
    }
}

async fn ping_view(fleet: &Fleet, suspect: &HostName) -> PingView {
    let Some(host) = fleet.entry().hosts.get(suspect) else {
        return PingView::CannotTell;
    };
    for _ in 0..3 {
        match ping(host.address, ECHO_WITHIN).await {
            Echo::Answered(_) => return PingView::Answers,
            Echo::CannotPing { .. } => return PingView::CannotTell,
            Echo::NoAnswer(_) => {}
        }
    }
    PingView::Silent
}

async fn host_view(fleet: &Fleet, suspect: &HostName) -> HostView {
    let nothing = Errands::default();
    let pids = match fleet
        .glance(suspect, "server-process", &nothing, HOST_WITHIN)
        .await
    {
        Ok(DutyReport {
            outcome: DutyOutcome::Done,
            registered,
            ..
        }) => registered.get("server_pids").cloned().unwrap_or_default(),
        Ok(_) | Err(_) => return HostView::NotReached,
    };
    if pids.trim().is_empty() {
        return match is_left_alone(fleet, suspect).await {
            true => HostView::ServerGone,
            false => HostView::ServerChanging,
        };
    }
    match fleet
        .glance(suspect, "server-answers", &nothing, HOST_WITHIN)
        .await
    {
        Ok(DutyReport {
            outcome: DutyOutcome::Done,
            ..
        }) => HostView::ServerAnswers,
        Ok(_) | Err(_) => HostView::ServerHangs,
    }
}

/// Whether nobody is starting or stopping a server that is gone: its service manager has no job for it, or the inventory
/// says that there is none. One that cannot be asked may be at work.
async fn is_left_alone(fleet: &Fleet, suspect: &HostName) -> bool {
    match fleet.entry().hosts.get(suspect).map(|host| &host.service) {
        Some(Service::None) => true,
        Some(Service::Duties { .. }) | None => false,
        Some(Service::Systemd { .. }) => {
            let nothing = Errands::default();
            let asked = fleet.glance(suspect, "unit-job", &nothing, HOST_WITHIN).await;
            asked.is_ok_and(|report| {
                let job = report.registered.get("unit_job").map(|job| job.trim());
                report.outcome == DutyOutcome::Done && matches!(job, Some("" | "0"))
            })
        }
    }
}

/// Asks every other host whether it still sees the suspect: by ARP, by ping, or by a connection to its server.
async fn witness_view(fleet: &Fleet, suspect: &HostName) -> WitnessView {
    let others = fleet
        .entry()
        .cluster
        .hosts
        .iter()
        .filter(|host| host.name != *suspect);
    let asked = others.map(|host| async {
        let errand = Errands {
            source: Some(suspect),
            ..Errands::default()
        };
        match fleet.glance(&host.name, "witness", &errand, WITNESS_WITHIN).await {
            Ok(DutyReport {
                outcome: DutyOutcome::Done,
                registered,
                ..
            }) => {
                let said = |name: &str, word| registered.get(name).is_some_and(|text| text.trim() == word);
                Some(said("witness_arp", "0") || said("witness_ping", "0") || said("witness_port", "open"))
            }
            Ok(_) | Err(_) => None,
        }
    });
    let answers: Vec<bool> = join_all(asked).await.into_iter().flatten().collect();
    match answers.as_slice() {
        [] => WitnessView::NoneAsked,
        answers if answers.contains(&true) => WitnessView::Seen,
        _ => WitnessView::AllSilent,
    }
}
