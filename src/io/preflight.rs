//! Looks at everything an operation will need, on all hosts at once, and changes nothing. A host that does not answer
//! costs its own deadlines and is a finding; `core::preflight` judges what was seen.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt as _};

use crate::config::inventory::{HostEntry, Service};
use crate::core::checks;
use crate::core::cluster::{HostMode, HostName};
use crate::core::facts::{MysqlFacts, Reach, Refusal, Version};
use crate::core::playbook::Duty;
use crate::core::preflight::{
    self, AccountKind, Asked, BOX, Checked, Finding, Inspected, LoginFrom, LoginTrial, Name, NoShell, Passed,
    Severity, ShellSeen, SudoAnswer, Tmp, Topic,
};
use crate::core::reach::{Failure as ReachFailure, Mishap, refusal};
use crate::core::script::{DutyOutcome, DutyReport, Failure};
use crate::core::trouble::Trouble;
use crate::io::context::Errands;
use crate::io::fleet::Fleet;
use crate::io::mysql::{Login, Server};
use crate::io::ping::ping;
use crate::io::ssh::{Link, SshError, SshErrorKind};
use crate::sql::preflight::configured_read_only;

/// Asking one server as one account may take so long.
const ASK_WITHIN: Duration = Duration::from_secs(3);
/// One looking duty may take so long.
const LOOK_WITHIN: Duration = Duration::from_secs(5);
/// Logins tried at a time from one host; sshd gives a connection ten channels, and others need some.
const LOGINS_AT_A_TIME: usize = 3;

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
    try_replication(fleet, &mut inspected).await;
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
        over_ssh(fleet, entry, connected),
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
    let mut server = Server::new(entry.address, entry.mysql.port, login.clone());
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

/// How the agent account's login through the socket went, and its privileges when it got in.
type SocketLogin = (Asked<LoginTrial>, Option<Vec<String>>);

async fn over_ssh(
    fleet: &Fleet,
    entry: &HostEntry,
    connected: Result<Link, SshError>,
) -> (
    Result<ShellSeen, NoShell>,
    Asked<Option<bool>>,
    Option<SocketLogin>,
) {
    let host = &entry.name;
    let none = |why: NoShell| {
        let untold = Asked::NotTold(why.because.clone());
        (Err(why), untold, None)
    };
    if let Err(error) = connected {
        return none(no_connection(&error));
    }
    let (commands, unready) = root_commands(fleet, entry);
    let wanted = preflight::programs(commands.iter().map(String::as_str));
    let looked = match look(fleet, host, "preflight", "programs", &wanted).await {
        Ok(report) => report,
        Err(trouble) => return none(no_shell(trouble)),
    };
    let clock_ahead_s = clock_ahead(&looked);
    let sudo = ask_sudo(fleet, host, &commands).await;
    let unit = unit_state(fleet, entry).await;
    let held = held_addresses(fleet, host).await;
    let socket = fleet
        .glance(host, "account-rights", &Errands::default(), LOOK_WITHIN)
        .await
        .map_or_else(
            |trouble| (Asked::NotTold(trouble.because), None),
            |report| login_of(&report),
        );
    let value = |name: &str| looked.registered.get(name).cloned().unwrap_or_default();
    let configuration = match looked.registered.get("configuration_status").map(String::as_str) {
        Some("0") => Asked::Told(configured_read_only(&value("configuration"))),
        _ => Asked::NotTold(match looked.outcome {
            DutyOutcome::Done => format!("its programs do not print them: {}", value("configuration")),
            _ => crate::io::conductor::describe(&looked),
        }),
    };
    let (sudo, sudo_rules) = sudo;
    let seen = ShellSeen {
        programs: value("programs").lines().map(str::to_owned).collect(),
        wanted,
        arping: value("arping"),
        device: (entry.interface.clone(), value("device") == "0"),
        tmp: Tmp {
            room_kib: value("tmp_room").parse().ok(),
            writable: value("tmp_writable") == "0",
        },
        unit,
        sudo,
        sudo_rules,
        unready,
        held,
        clock_ahead_s,
    };
    (Ok(seen), configuration, Some(socket))
}

fn no_connection(error: &SshError) -> NoShell {
    use SshErrorKind::*;
    let name = match error.kind() {
        HostKeyUnknown | KnownHostsUnreadable => Name::SshHostKeyUnknown,
        HostKeyChanged | HostKeyRevoked => Name::SshHostKeyChanged,
        AuthRefused | KeyUnreadable | KeyEncrypted | BadPassphrase | AgentUnavailable => {
            Name::SshLoginRefused
        }
        _ => Name::SshNotReached,
    };
    NoShell {
        name,
        what: error.what().to_owned(),
        because: error.because().to_owned(),
        hint: error
            .suggestion()
            .unwrap_or("`ssh` to it from this box and see what happens")
            .to_owned(),
    }
}

fn no_shell(trouble: Trouble) -> NoShell {
    let hint = match trouble.hint.is_empty() {
        true => "`ssh` to it from this box and see what its shell does".to_owned(),
        false => trouble.hint,
    };
    NoShell {
        name: Name::ShellUnusable,
        what: trouble.what,
        because: trouble.because,
        hint,
    }
}

/// Performs a looking duty that is given a list, one line an item.
async fn look(
    fleet: &Fleet,
    host: &HostName,
    duty: &str,
    name: &str,
    items: &BTreeSet<String>,
) -> Result<DutyReport, Trouble> {
    let lines: Vec<&str> = items.iter().map(String::as_str).collect();
    let with = BTreeMap::from([(name.to_owned(), lines.join("\n"))]);
    let errand = Errands {
        with: Some(&with),
        ..Errands::default()
    };
    fleet.glance(host, duty, &errand, LOOK_WITHIN).await
}

/// Seconds between this box and the host, whose time was on its way for less than one.
fn clock_ahead(report: &DutyReport) -> i64 {
    let here = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_secs()).ok());
    let there = report
        .registered
        .get("clock")
        .and_then(|text| text.parse::<i64>().ok());
    there.zip(here).map_or(0, |(there, here)| there - here)
}

async fn ask_sudo(
    fleet: &Fleet,
    host: &HostName,
    commands: &BTreeSet<String>,
) -> (Asked<Vec<SudoAnswer>>, String) {
    if commands.is_empty() {
        return (Asked::Told(Vec::new()), String::new());
    }
    let report = match look(fleet, host, "sudo-rights", "commands", commands).await {
        Ok(report) if report.outcome == DutyOutcome::Done => report,
        Ok(report) => {
            return (
                Asked::NotTold(crate::io::conductor::describe(&report)),
                String::new(),
            );
        }
        Err(trouble) => return (Asked::NotTold(trouble.because), String::new()),
    };
    let value = |name: &str| report.registered.get(name).cloned().unwrap_or_default();
    let answers: Vec<SudoAnswer> = commands
        .iter()
        .zip(value("sudo_answers").lines())
        .filter_map(|(command, line)| {
            let (status, said) = line.split_once(' ').unwrap_or((line, ""));
            Some(SudoAnswer {
                command: command.clone(),
                status: status.parse().ok()?,
                said: said.to_owned(),
            })
        })
        .collect();
    if answers.len() != commands.len() {
        let why = format!("{} questions got {} answers", commands.len(), answers.len());
        return (Asked::NotTold(why), String::new());
    }
    (Asked::Told(answers), value("sudo_rules"))
}

async fn unit_state(fleet: &Fleet, entry: &HostEntry) -> Option<(String, Asked<String>)> {
    let Service::Systemd { unit } = &entry.service else {
        return None;
    };
    let report = fleet
        .glance(&entry.name, "unit-state", &Errands::default(), LOOK_WITHIN)
        .await;
    let state = match report {
        Ok(report) => match report.registered.get("unit_state") {
            Some(state) => Asked::Told(state.clone()),
            None => Asked::NotTold(crate::io::conductor::describe(&report)),
        },
        Err(trouble) => Asked::NotTold(trouble.because),
    };
    Some((unit.clone(), state))
}

async fn held_addresses(fleet: &Fleet, host: &HostName) -> Result<BTreeSet<IpAddr>, String> {
    match fleet.look_over_ssh(host).await {
        Reach::Up(facts) => Ok(facts.addresses.iter().map(|address| address.ip).collect()),
        other => Err(other.trouble().unwrap_or_default().to_owned()),
    }
}

/// How a login by the client on a host went.
fn login_of(report: &DutyReport) -> SocketLogin {
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
        _ => (Asked::NotTold(crate::io::conductor::describe(report)), None),
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
async fn try_replication(fleet: &Fleet, inspected: &mut [Inspected]) {
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
            let report = fleet
                .glance_as_replica(from, to, "account-rights", LOOK_WITHIN)
                .await;
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

/// The commands that duties will run as root on a host, and the duties for which that cannot be told.
fn root_commands(fleet: &Fleet, entry: &HostEntry) -> (BTreeSet<String>, Vec<(String, String)>) {
    let mut commands = BTreeSet::new();
    let mut unready = Vec::new();
    for duty in fleet
        .playbook()
        .duties
        .values()
        .filter(|duty| concerns(fleet, entry, duty))
    {
        let with = said_with(fleet, &duty.name);
        for errand in errands(fleet, entry, duty, &with) {
            match fleet.root_commands(&entry.name, &duty.name, &errand) {
                Ok(found) => commands.extend(found.iter().map(ToString::to_string)),
                Err(trouble) => {
                    unready.push((duty.name.clone(), trouble.because));
                    break;
                }
            }
        }
    }
    (commands, unready)
}

/// Whether a duty may be performed on that host: fences are the box's, and each host has its own service manager.
fn concerns(fleet: &Fleet, entry: &HostEntry, duty: &Duty) -> bool {
    let hosts = || fleet.entry().hosts.values();
    let names = |service: &Service| match service {
        Service::Duties {
            keep_stopped,
            allow_start,
        } => [keep_stopped, allow_start].contains(&&duty.name),
        Service::Systemd { .. } | Service::None => false,
    };
    let is_fence = hosts().any(|host| host.fence.as_ref().is_some_and(|fence| fence.duty == duty.name));
    let is_elsewhere = hosts().any(|host| names(&host.service)) && !names(&entry.service);
    let wants_unit = duty.needs.iter().any(|need| need == "service");
    !is_fence && !is_elsewhere && (!wants_unit || matches!(entry.service, Service::Systemd { .. }))
}

/// What operations give a duty besides.
fn said_with(fleet: &Fleet, duty: &str) -> BTreeMap<String, String> {
    let steps = fleet
        .playbook()
        .operations
        .values()
        .flat_map(|operation| operation.steps());
    steps
        .filter(|(_, step)| step.duty == duty)
        .flat_map(|(_, step)| step.with.clone())
        .collect()
}

/// The errands on which a duty may be sent to a host: each address it may hold, each host it may be told about.
fn errands<'a>(
    fleet: &'a Fleet,
    entry: &HostEntry,
    duty: &Duty,
    with: &'a BTreeMap<String, String>,
) -> Vec<Errands<'a>> {
    let cluster = &fleet.entry().cluster;
    let needs = |name: &str| duty.needs.iter().any(|need| need == name);
    let mut errands = vec![Errands {
        with: Some(with),
        old: needs("old").then(|| serde_json::json!({ "session": 0, "tag": "", "connection": 0 })),
        ..Errands::default()
    }];
    if needs("address") {
        let roles = cluster
            .roles
            .iter()
            .filter(|role| role.hosts.contains(&entry.name));
        let addresses = roles.flat_map(|role| &role.addresses);
        errands = addresses
            .flat_map(|address| {
                errands.iter().cloned().map(|errand| Errands {
                    address: Some(*address),
                    ..errand
                })
            })
            .collect();
    }
    if needs("source") {
        let others = cluster.hosts.iter().filter(|other| other.name != entry.name);
        errands = others
            .flat_map(|other| {
                errands.iter().cloned().map(|errand| Errands {
                    source: Some(&other.name),
                    ..errand
                })
            })
            .collect();
    }
    errands
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
