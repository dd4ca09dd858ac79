//! Gathers evidence about a suspected writer: what the box sees, what the host says of itself, what the others see. All
//! at once, all within a few seconds.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;

use crate::config::inventory::Service;
use crate::core::checks::Echo;
use crate::core::cluster::HostName;
use crate::core::evidence::{Evidence, HostView, MysqlView, PingView};
use crate::core::facts::{MysqlFacts, Reach};
use crate::core::script::{DutyOutcome, DutyReport};
use crate::core::sign::Sign;
use crate::core::testimony::{self, Circumstances, Contact, Hearing, Testimony};
use crate::io::context::Errands;
use crate::io::fleet::Fleet;
use crate::io::ping::ping;

/// One look at the host over SSH.
const HOST_WITHIN: Duration = Duration::from_secs(2);
/// One look by another host; its own probes take a second each.
const WITNESS_WITHIN: Duration = Duration::from_secs(3);
/// One look at a host that was fenced, which the others have found silent already.
const ONCE_MORE_WITHIN: Duration = Duration::from_secs(1);
/// One echo.
const ECHO_WITHIN: Duration = Duration::from_millis(800);

/// Everything that can be said about `suspect` now, as far as it decides.
pub async fn gather(fleet: &Fleet, suspect: &HostName) -> Evidence {
    let (evidence, _) = look(fleet, suspect).await;
    evidence
}

/// As [`gather`], with what explains it: what the host shows of its trouble, and what each other host says.
pub async fn inquire(fleet: &Fleet, suspect: &HostName) -> (Evidence, Circumstances) {
    let (evidence, testimonies) = look(fleet, suspect).await;
    let signs = signs(fleet, suspect, evidence.host).await;
    (evidence, Circumstances { signs, testimonies })
}

/// What a fenced host still answers to this box: by MySQL, by ping, or over SSH; none when nothing comes back.
pub async fn still_answers(fleet: &Fleet, fenced: &HostName) -> Option<String> {
    let (mysql, one, another, ssh) = tokio::join!(
        fleet.answers_within(fenced, ONCE_MORE_WITHIN),
        echo_view(fleet, fenced),
        echo_view(fleet, fenced),
        processes_within(fleet, fenced, ONCE_MORE_WITHIN)
    );
    let is_pinged = [one, another].contains(&PingView::Answers);
    let what = match mysql {
        Reach::Up(()) => "its server still answers",
        Reach::Refusing { .. } => "its server still refuses us",
        Reach::Hung(_) => "its server's port still takes connections",
        Reach::Down(_) => "its kernel still refuses connections to its server's port",
        Reach::Silent(_) | Reach::Unasked(_) if is_pinged => "it still answers ping",
        Reach::Silent(_) | Reach::Unasked(_) if ssh.is_some() => "it still obeys over SSH",
        Reach::Silent(_) => return None,
        Reach::Unasked(why) => return Some(format!("its server could not be asked: {why}")),
    };
    Some(what.to_owned())
}

async fn look(fleet: &Fleet, suspect: &HostName) -> (Evidence, Vec<Testimony>) {
    let (mysql, ping, host, testimonies) = tokio::join!(
        mysql_view(fleet, suspect),
        ping_view(fleet, suspect),
        host_view(fleet, suspect),
        testimonies(fleet, suspect)
    );
    let evidence = Evidence {
        mysql,
        ping,
        host,
        witnesses: testimony::reduce(&testimonies),
    };
    tracing::info!(%suspect, ?evidence, ?testimonies, "evidence gathered");
    (evidence, testimonies)
}

/// What the host itself shows of why its server is in trouble; nothing when it cannot be asked.
async fn signs(fleet: &Fleet, suspect: &HostName, view: HostView) -> Vec<Sign> {
    if view == HostView::NotReached {
        return Vec::new();
    }
    let looked = fleet.look_over_ssh(suspect).await;
    let Some(seen) = looked.up() else {
        return Vec::new();
    };
    let mut signs = seen.signs.clone();
    let host = fleet.entry().hosts.get(suspect);
    if host.is_some_and(|host| matches!(host.service, Service::Systemd { .. })) {
        signs.extend(signs_by(fleet, suspect, "unit-signs", "unit_signs").await);
    }
    if matches!(view, HostView::ServerHangs | HostView::ServerNew) {
        signs.extend(signs_by(fleet, suspect, "server-signs", "server_signs").await);
    }
    signs
}

/// The signs that a duty of the playbook registers under that name; none where it could not be asked.
async fn signs_by(fleet: &Fleet, suspect: &HostName, duty: &str, name: &str) -> Vec<Sign> {
    let asked = fleet
        .glance(suspect, duty, &Errands::default(), HOST_WITHIN)
        .await;
    let text = asked.ok().and_then(|report| report.registered.get(name).cloned());
    text.map(|text| Sign::read(&text)).unwrap_or_default()
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
    for _ in 0..3 {
        let view = echo_view(fleet, suspect).await;
        if view != PingView::Silent {
            return view;
        }
    }
    PingView::Silent
}

/// One echo.
async fn echo_view(fleet: &Fleet, suspect: &HostName) -> PingView {
    let Some(host) = fleet.entry().hosts.get(suspect) else {
        return PingView::CannotTell;
    };
    match ping(host.address, ECHO_WITHIN).await {
        Echo::Answered(_) => PingView::Answers,
        Echo::CannotPing { .. } => PingView::CannotTell,
        Echo::NoAnswer(_) => PingView::Silent,
    }
}

/// What the host says of itself. Between two looks a server may die, or come anew: only what both show alike is gone, or
/// hangs.
async fn host_view(fleet: &Fleet, suspect: &HostName) -> HostView {
    let Some(first) = processes(fleet, suspect).await else {
        return HostView::NotReached;
    };
    if first.is_empty() {
        let is_left_alone = is_left_alone(fleet, suspect).await;
        return match processes(fleet, suspect).await {
            None => HostView::NotReached,
            Some(second) if !second.is_empty() => HostView::ServerNew,
            Some(_) if is_left_alone => HostView::ServerGone,
            Some(_) => HostView::ServerChanging,
        };
    }
    let nothing = Errands::default();
    match fleet
        .glance(suspect, "server-answers", &nothing, HOST_WITHIN)
        .await
    {
        Ok(DutyReport {
            outcome: DutyOutcome::Done,
            ..
        }) => HostView::ServerAnswers,
        // A host that obeyed a moment ago and is slow now is tried again by whoever has to make it obey.
        Ok(_) | Err(_) => match processes(fleet, suspect).await {
            None => HostView::ServerHangs,
            Some(second) if second.is_empty() => HostView::ServerChanging,
            Some(second) if second != first => HostView::ServerNew,
            Some(_) => HostView::ServerHangs,
        },
    }
}

/// The server's processes, each with the moment of its start; none when the host cannot be asked.
async fn processes(fleet: &Fleet, suspect: &HostName) -> Option<BTreeSet<String>> {
    processes_within(fleet, suspect, HOST_WITHIN).await
}

async fn processes_within(fleet: &Fleet, suspect: &HostName, within: Duration) -> Option<BTreeSet<String>> {
    let nothing = Errands::default();
    match fleet.glance(suspect, "server-process", &nothing, within).await {
        Ok(DutyReport {
            outcome: DutyOutcome::Done,
            registered,
            ..
        }) => {
            let found = registered.get("server_pids")?;
            Some(found.split_whitespace().map(str::to_owned).collect())
        }
        Ok(_) | Err(_) => None,
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

/// Asks every other host whether it still sees the suspect: by ARP, by ping, or by a connection to its server, which may
/// greet it; and whether its replication hears from it meanwhile.
async fn testimonies(fleet: &Fleet, suspect: &HostName) -> Vec<Testimony> {
    let cluster = &fleet.entry().cluster;
    let others = cluster.hosts.iter().filter(|host| host.name != *suspect);
    let address = cluster.host(suspect).map(|host| host.address);
    let asked = others.map(|host| async {
        let host = &host.name;
        let (before, reaches) = tokio::join!(server_of(fleet, host), reaches(fleet, host, suspect));
        let hearing = match (before, address) {
            (Some(before), Some(address)) => {
                let after = fleet.ask(host).await;
                after
                    .up()
                    .and_then(|after| Hearing::between(&before, after, address))
            }
            _ => None,
        };
        Testimony {
            host: host.clone(),
            reaches,
            hearing,
            last_heard: None,
        }
    });
    join_all(asked).await
}

/// What the server of a witness says of itself. One that was silent a moment ago is not waited for.
async fn server_of(fleet: &Fleet, host: &HostName) -> Option<MysqlFacts> {
    if fleet.is_silent(host) {
        return None;
    }
    fleet.ask(host).await.up().cloned()
}

/// How far a host comes that tries to reach the suspect; none when it could not be asked.
async fn reaches(fleet: &Fleet, host: &HostName, suspect: &HostName) -> Option<Contact> {
    let errand = Errands {
        source: Some(suspect),
        ..Errands::default()
    };
    match fleet.glance(host, "witness", &errand, WITNESS_WITHIN).await {
        Ok(DutyReport {
            outcome: DutyOutcome::Done,
            registered,
            ..
        }) => {
            let said = |name: &str, word| {
                let text = registered.get(name);
                text.is_some_and(|text| text.lines().any(|line| line.trim() == word))
            };
            let is_reached =
                said("witness_arp", "1") || said("witness_ping", "0") || said("witness_port", "open");
            Some(match (said("witness_port", "greeted"), is_reached) {
                (true, _) => Contact::Greeted,
                (false, true) => Contact::Reached,
                (false, false) => Contact::Nothing,
            })
        }
        Ok(_) | Err(_) => None,
    }
}
