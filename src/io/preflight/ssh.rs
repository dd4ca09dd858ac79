//! What a host offers to duties, looked at by duties.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use super::logins::{SocketLogin, login_of};
use super::{LOOK_WITHIN, rights};
use crate::config::inventory::{HostEntry, Service};
use crate::core::cluster::HostName;
use crate::core::facts::Reach;
use crate::core::preflight::{self, Asked, Name, NoShell, ShellSeen, SudoAnswer, Tmp};
use crate::core::script::{DutyOutcome, DutyReport};
use crate::core::trouble::Trouble;
use crate::io::conductor::describe;
use crate::io::context::Errands;
use crate::io::fleet::Fleet;
use crate::io::ssh::{Link, SshError, SshErrorKind};
use crate::sql::preflight::configured_read_only;

/// Everything that is looked at over SSH: what the host offers, what its configuration files say of `read_only`, and
/// how the agent account gets in from there.
pub(super) async fn look_around(
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
    let (commands, unready) = rights::root_commands(fleet, entry);
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
            _ => describe(&looked),
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
            return (Asked::NotTold(describe(&report)), String::new());
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
            None => Asked::NotTold(describe(&report)),
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
