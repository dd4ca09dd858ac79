//! Looks at everything an operation will need, on all hosts at once, and changes nothing. A host that does not answer
//! costs its own deadlines and is a finding; `core::preflight` judges what was seen.

mod logins;
mod rights;
mod ssh;
mod sudo_rules;

pub use sudo_rules::{RootCommands, root_commands};

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use crate::config::inventory::HostEntry;
use crate::core::checks;
use crate::core::cluster::HostName;
use crate::core::facts::{MysqlFacts, Reach, Refusal, Version};
use crate::core::preflight::{
    self, AccountKind, Asked, BOX, Checked, Finding, Inspected, LoginFrom, LoginTrial, Name, Passed,
    Severity, Topic,
};
use crate::core::reach::{Failure as ReachFailure, Mishap, refusal};
use crate::io::fleet::Fleet;
use crate::io::mysql::{Login, Server};
use crate::io::ping::ping;

/// Asking one server as one account may take so long.
const ASK_WITHIN: Duration = Duration::from_secs(3);
/// One looking duty may take so long.
const LOOK_WITHIN: Duration = Duration::from_secs(5);

/// Looks at a cluster and at what this box needs for it.
pub async fn inspect(fleet: &Fleet, state_dir: &Path) -> Checked {
    let started = Instant::now();
    let entry = fleet.entry();
    let hosts = entry.cluster.hosts.iter().map(|host| host.name.clone());
    let mut inspected: Vec<Inspected> = join_all(hosts.map(|host| async move { one(fleet, &host).await }))
        .await
        .into_iter()
        .flatten()
        .collect();
    logins::try_replication(fleet, &mut inspected).await;
    let mut findings = preflight::evaluate(&entry.cluster, &inspected);
    let mut passed = preflight::passed(&entry.cluster, &inspected, &findings);
    match try_state_dir(state_dir) {
        Ok(line) => passed.push(line),
        Err(finding) => findings.push(*finding),
    }
    Checked {
        cluster: entry.cluster.name.clone(),
        passed,
        findings,
        took_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
    }
}

/// Everything about one host that needs no other host.
async fn one(fleet: &Fleet, name: &HostName) -> Option<Inspected> {
    let entry = fleet.entry().hosts.get(name)?;
    let logins = fleet.logins(name)?;
    let timing = fleet.entry().cluster.checks.ping;
    // The version that the server tells decides how it is spoken to over SSH.
    let (facts, connected, echo) = tokio::join!(
        fleet.ask(name),
        fleet.connect(name),
        ping(entry.address, timing.timeout)
    );
    let (monitor, agent, (shell, read_only_at_start, socket)) = tokio::join!(
        as_monitor(entry, &logins.monitor, &facts),
        as_agent(entry, &logins.agent, &facts),
        ssh::look_around(fleet, entry, connected),
    );
    let (version, settings, monitor_rights) = monitor;
    let mut grants = Vec::new();
    // That it does not get in at all is a finding of its own.
    if version.is_some() {
        grants.push((AccountKind::Monitor, monitor_rights));
    }
    let mut agent_logins = vec![(LoginFrom::Box, agent)];
    if let Some((login, rights)) = socket {
        agent_logins.push((LoginFrom::ItsHost, login));
        grants.extend(rights.map(|held| (AccountKind::Agent, Asked::Told(held))));
    }
    Some(Inspected {
        host: name.clone(),
        facts,
        version,
        settings,
        grants,
        read_only_at_start,
        replication_logins: Vec::new(),
        agent_logins,
        shell,
        ping: checks::ping(&echo),
    })
}

/// What the monitor account learns about the server and about itself.
type Learnt = (Option<Version>, Asked<preflight::Settings>, Asked<Vec<String>>);

async fn as_monitor(entry: &HostEntry, login: &Login, facts: &Reach<MysqlFacts>) -> Learnt {
    if let Some(why) = dead(facts) {
        return (None, Asked::NotTold(why.clone()), Asked::NotTold(why));
    }
    let mut server =
        Server::new(entry.address, entry.mysql.port, login.clone()).managing(&entry.mysql.channel);
    let learnt = match server.version(ASK_WITHIN).await {
        Ok(version) => (
            Some(version),
            asked(server.settings(ASK_WITHIN).await),
            asked(server.privileges(ASK_WITHIN).await),
        ),
        Err(failure) => {
            let untold = || failure.text.clone();
            (None, Asked::NotTold(untold()), Asked::NotTold(untold()))
        }
    };
    server.hang_up(ASK_WITHIN).await;
    learnt
}

/// From the box the agent account only takes locks, for which it needs to get in and nothing more.
async fn as_agent(entry: &HostEntry, login: &Login, facts: &Reach<MysqlFacts>) -> Asked<LoginTrial> {
    if let Some(why) = dead(facts) {
        return Asked::NotTold(why);
    }
    let mut server = Server::new(entry.address, entry.mysql.port, login.clone());
    let answer = server.query("SELECT 1", ASK_WITHIN).await;
    server.hang_up(ASK_WITHIN).await;
    match answer {
        Ok(_) => Asked::Told(LoginTrial::Accepted),
        Err(ReachFailure {
            mishap: Mishap::Server(number),
            text,
            ..
        }) if refusal(number) == Refusal::Login => Asked::Told(LoginTrial::Refused(text)),
        Err(failure) => Asked::NotTold(failure.text),
    }
}

/// Why a server that did not answer a moment ago is not asked again; its deadline was spent on it already.
fn dead(facts: &Reach<MysqlFacts>) -> Option<String> {
    (!facts.is_alive()).then(|| facts.trouble().unwrap_or_default().to_owned())
}

fn asked<T>(answer: Result<T, ReachFailure>) -> Asked<T> {
    match answer {
        Ok(value) => Asked::Told(value),
        Err(failure) => Asked::NotTold(failure.text),
    }
}

/// Proves that a journal could be written, in the state directory or where it would be made.
fn try_state_dir(state_dir: &Path) -> Result<Passed, Box<Finding>> {
    let host = HostName::from(BOX);
    let there = state_dir
        .ancestors()
        .find(|path| path.exists())
        .unwrap_or(state_dir);
    let attempt = || -> std::io::Result<()> {
        let mut probe = tempfile::NamedTempFile::new_in(there)?;
        probe.write_all(&[0; 4096])?;
        probe.as_file().sync_all()
    };
    match attempt() {
        Ok(()) => Ok(Passed {
            host,
            topic: Topic::State,
            what: format!("the state directory `{}` can be written", state_dir.display()),
        }),
        Err(error) => Err(Box::new(Finding {
            name: Name::StateNotWritable,
            severity: Severity::Error,
            host,
            what: format!("the state directory `{}` cannot be written: {error}", state_dir.display()),
            because: "without a journal no operation begins".to_owned(),
            hint: "free some space, or make it writable for the user that runs `mmm`; `monitor.state_dir` in the \
                   inventory names it"
                .to_owned(),
        })),
    }
}
