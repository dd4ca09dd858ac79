//! Logins tried with the client on a host: the agent's through the socket, the replication account's at other hosts.

use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt as _};
use secrecy::ExposeSecret as _;
use tokio::time::{Instant, timeout};

use super::LOOK_WITHIN;
use crate::core::cluster::{HostMode, HostName};
use crate::core::facts::Refusal;
use crate::core::preflight::{AccountKind, Asked, Inspected, LoginTrial};
use crate::core::reach::refusal;
use crate::core::script::{DutyOutcome, DutyReport, Failure};
use crate::core::trouble::{Kind, Trouble};
use crate::core::wire::SqlLogin;
use crate::io::conductor::describe;
use crate::io::context::Errands;
use crate::io::fleet::Fleet;

/// Logins tried at a time from one host; sshd gives a connection ten channels, and others need some.
const LOGINS_AT_A_TIME: usize = 3;
/// Closing a shell may take so long.
const CLOSE_WITHIN: Duration = Duration::from_millis(500);

/// How an account's login by the client on a host went, and its privileges when it got in.
pub(super) type SocketLogin = (Asked<LoginTrial>, Option<Vec<String>>);

/// How a login by the client on a host went.
pub(super) fn login_of(report: &DutyReport) -> SocketLogin {
    match &report.outcome {
        DutyOutcome::Done => {
            let listed = report.registered.get("privileges").map(String::as_str);
            let held = listed.unwrap_or_default().split(',').map(str::to_owned).collect();
            (Asked::Told(LoginTrial::Accepted), Some(held))
        }
        DutyOutcome::Failed {
            why: Failure::Sql(error),
            ..
        } if is_refusal(error) => (Asked::Told(LoginTrial::Refused(error.clone())), None),
        _ => (Asked::NotTold(describe(report)), None),
    }
}

/// Whether an error line of the client, `ERROR 1045 (28000): …`, says that the server does not let us in.
fn is_refusal(error: &str) -> bool {
    error
        .strip_prefix("ERROR ")
        .and_then(|rest| rest.split([' ', ':']).next())
        .and_then(|number| number.parse().ok())
        .is_some_and(|number| refusal(number) == Refusal::Login)
}

/// Logs in to each master as its replication account, from every other host that can be asked.
pub(super) async fn try_replication(fleet: &Fleet, inspected: &mut [Inspected]) {
    let masters: Vec<HostName> = inspected
        .iter()
        .filter(|one| one.facts.is_alive() && is_master(fleet, &one.host))
        .map(|one| one.host.clone())
        .collect();
    let sources: Vec<HostName> = inspected
        .iter()
        .filter(|one| one.shell.is_ok())
        .map(|one| one.host.clone())
        .collect();
    let trials = sources.iter().map(|from| {
        let targets = masters.iter().filter(move |to| *to != from);
        stream::iter(targets.map(move |to| async move {
            let report = from_peer(fleet, from, to).await;
            let login = report.map_or_else(
                |trouble| (Asked::NotTold(trouble.because), None),
                |report| login_of(&report),
            );
            (to, from, login)
        }))
        .buffered(LOGINS_AT_A_TIME)
        .collect::<Vec<_>>()
    });
    for (to, from, (trial, held)) in join_all(trials).await.into_iter().flatten() {
        let Some(target) = inspected.iter_mut().find(|one| one.host == *to) else {
            continue;
        };
        target.replication_logins.push((from.clone(), trial));
        if let Some(held) = held {
            narrow(&mut target.grants, held);
        }
    }
}

/// Asks on `from` what the account that replicates from `to` may do there. The shell is a new one and is closed again.
async fn from_peer(fleet: &Fleet, from: &HostName, to: &HostName) -> Result<DutyReport, Trouble> {
    let duty = "account-rights";
    let unknown = || Trouble::new(Kind::Usage, format!("there is no host `{to}`"), "nobody named it");
    let script = fleet.ready(from, duty, &Errands::default(), LOOK_WITHIN).await?;
    let entry = fleet.entry().hosts.get(to).ok_or_else(unknown)?;
    let account = &fleet.logins(to).ok_or_else(unknown)?.replication;
    let login = SqlLogin {
        user: account.user.clone(),
        password: account.password.expose_secret().to_owned(),
        socket: None,
        server: Some((entry.address, entry.mysql.port)),
        session: None,
    };
    let looking = async {
        let mut shell = fleet.open_shell(from, &login).await?;
        let report = shell.run(&script, Instant::now() + LOOK_WITHIN).await;
        shell.close(CLOSE_WITHIN).await;
        Ok(report)
    };
    timeout(LOOK_WITHIN + CLOSE_WITHIN, looking)
        .await
        .unwrap_or_else(|_| {
            let because = format!("it took longer than {} ms", LOOK_WITHIN.as_millis());
            Err(Trouble::new(
                Kind::Refused,
                format!("no answer from `{from}`"),
                because,
            ))
        })
}

fn is_master(fleet: &Fleet, host: &HostName) -> bool {
    let entry = fleet.entry().hosts.get(host);
    entry.is_some_and(|entry| entry.mode == HostMode::Master)
}

/// Another host may meet another account of the same name: what counts is what each of them may.
fn narrow(grants: &mut Vec<(AccountKind, Asked<Vec<String>>)>, held: Vec<String>) {
    let known = grants
        .iter_mut()
        .find(|(kind, _)| *kind == AccountKind::Replication);
    match known {
        Some((_, Asked::Told(before))) => before.retain(|privilege| held.contains(privilege)),
        Some(_) => {}
        None => grants.push((AccountKind::Replication, Asked::Told(held))),
    }
}
