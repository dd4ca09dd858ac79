//! Findings about what a host offers to duties over SSH: programs, sudo, the device, the service, the clock.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{Asked, Finding, Name, Severity, Subject, SudoAnswer, not_asked, sudo};

/// Programs that shipped duties and the shell use on every host. One of [`CLIENTS`] comes on top.
const NEEDED: [&str; 12] = [
    "arping", "cut", "date", "df", "env", "grep", "head", "ip", "kill", "ping", "sleep", "sudo",
];
/// Either is enough.
const CLIENTS: [&str; 2] = ["mariadb", "mysql"];
/// Clocks further apart than this confuse whoever compares logs.
const CLOCK_TOLERANCE_S: u64 = 5;

/// What was seen over SSH.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShellSeen {
    /// Which of the [`programs`] are there.
    pub programs: BTreeSet<String>,
    /// The programs that were looked for.
    pub wanted: BTreeSet<String>,
    /// What arping says of itself.
    pub arping: String,
    /// The device that carries addresses, and whether there is one of that name.
    pub device: (String, bool),
    /// Its directory for temporary files.
    pub tmp: Tmp,
    /// The unit of the inventory and its state in the service manager's word; `None` without systemd.
    pub unit: Option<(String, Asked<String>)>,
    /// What sudo says about each command of the duties.
    pub sudo: Asked<Vec<SudoAnswer>>,
    /// What `sudo -n -l -l` printed.
    pub sudo_rules: String,
    /// Duties that cannot be made ready for this host, and why.
    pub unready: Vec<(String, String)>,
    /// The addresses it holds.
    pub held: Result<BTreeSet<IpAddr>, String>,
    /// Its clock less that of the box, in seconds.
    pub clock_ahead_s: i64,
}

/// The directory `/tmp` of a host. Duties do without it; its server and its people do not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tmp {
    /// KiB free for ordinary users; `None` when it was not told.
    pub room_kib: Option<u64>,
    /// Whether it can be written at all.
    pub writable: bool,
}

/// Why nothing was seen over SSH.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoShell {
    /// Which kind of trouble it is.
    pub name: Name,
    /// What happened.
    pub what: String,
    /// Why.
    pub because: String,
    /// What to do about it.
    pub hint: String,
}

/// What must be looked for on a host: what the shell and the shipped duties use, and the programs of `commands`.
pub fn programs<'c>(commands: impl IntoIterator<Item = &'c str>) -> BTreeSet<String> {
    let own = commands
        .into_iter()
        .filter_map(|command| command.split_whitespace().next());
    NEEDED
        .into_iter()
        .chain(CLIENTS)
        .chain(own)
        .map(str::to_owned)
        .collect()
}

/// What is wrong with what was seen.
pub(super) fn check(subject: &Subject, findings: &mut Vec<Finding>) {
    let seen = match &subject.seen.shell {
        Ok(seen) => seen,
        Err(none) => {
            findings.push(subject.finding(
                none.name,
                Severity::Error,
                none.what.clone(),
                &none.because,
                none.hint.clone(),
            ));
            return;
        }
    };
    let missing = missing(seen);
    absent(subject, &missing, findings);
    for (duty, why) in &seen.unready {
        let what = format!("what the duty `{duty}` needs");
        findings.push(not_asked(&subject.host.name, &what, why));
    }
    match &seen.sudo {
        Asked::Told(answers) => sudo::check(subject, answers, &seen.sudo_rules, &missing, findings),
        Asked::NotTold(_) if missing.contains(&"sudo") => {}
        Asked::NotTold(why) => findings.push(not_asked(&subject.host.name, "its sudo rights", why)),
    }
    surroundings(subject, seen, findings);
}

fn missing(seen: &ShellSeen) -> Vec<&str> {
    let has_client = CLIENTS.iter().any(|client| seen.programs.contains(*client));
    let lacks =
        |program: &&str| !(seen.programs.contains(*program) || has_client && CLIENTS.contains(program));
    seen.wanted.iter().map(String::as_str).filter(lacks).collect()
}

fn absent(subject: &Subject, missing: &[&str], findings: &mut Vec<Finding>) {
    let mut lacks = |what: String, hint: String| {
        findings.push(subject.finding(
            Name::ProgramMissing,
            Severity::Error,
            what,
            "duties use it on the host",
            hint,
        ));
    };
    for program in missing.iter().filter(|program| !CLIENTS.contains(program)) {
        let hint = match *program {
            "arping" => {
                "install arping of iputils (`iputils-arping` on Debian, `iputils` elsewhere)".to_owned()
            }
            "ip" => "install `iproute2`".to_owned(),
            "ndisc6" => {
                "install `ndisc6`: it finds another machine that answers for an address of IPv6".to_owned()
            }
            other => format!("install `{other}`"),
        };
        lacks(format!("there is no `{program}` on it"), hint);
    }
    if CLIENTS.iter().all(|client| missing.contains(client)) {
        lacks(
            "there is neither a `mariadb` nor a `mysql` client on it".to_owned(),
            "install the client of the database server".to_owned(),
        );
    }
}

fn surroundings(subject: &Subject, seen: &ShellSeen, findings: &mut Vec<Finding>) {
    if seen.programs.contains("arping") && !seen.arping.contains("iputils") {
        findings.push(subject.finding(
            Name::WrongArping,
            Severity::Error,
            format!("its `arping` is not that of iputils; it says: {}", seen.arping),
            "the others use the same letters for other things, so the address would not be announced",
            "install `iputils-arping` in its place, or override the duty `announce`".to_owned(),
        ));
    }
    let (device, is_there) = &seen.device;
    if !is_there {
        findings.push(
            subject.finding(
                Name::DeviceMissing,
                Severity::Error,
                format!("it has no network device `{device}`"),
                "addresses could not be brought up on it",
                "`ip link` on the host shows its devices; name the right one as `interface` in the inventory"
                    .to_owned(),
            ),
        );
    }
    if let Some(trouble) = match (seen.tmp.writable, seen.tmp.room_kib) {
        (false, _) => Some("cannot be written"),
        (true, Some(0)) => Some("is full"),
        (true, _) => None,
    } {
        findings.push(subject.finding(
            Name::TmpUnusable,
            Severity::Warning,
            format!("its `/tmp` {trouble}"),
            "duties do without it, but its server may fail at larger queries, and a full or broken disk spreads",
            "`df /tmp` and the kernel's messages on the host say more".to_owned(),
        ));
    }
    if let Err(why) = &seen.held {
        findings.push(not_asked(&subject.host.name, "its addresses", why));
    }
    if seen.clock_ahead_s.unsigned_abs() > CLOCK_TOLERANCE_S {
        let (far, way) = (
            seen.clock_ahead_s.unsigned_abs(),
            if seen.clock_ahead_s > 0 {
                "ahead of"
            } else {
                "behind"
            },
        );
        findings.push(subject.finding(
            Name::ClockOff,
            Severity::Warning,
            format!("its clock is {far} s {way} that of this box"),
            "logs of the two cannot be compared, and replication lag is told wrongly",
            "let both follow the same time server".to_owned(),
        ));
    }
    unit(subject, seen, findings);
}

fn unit(subject: &Subject, seen: &ShellSeen, findings: &mut Vec<Finding>) {
    match &seen.unit {
        Some((unit, Asked::Told(state))) if state != "active" && subject.facts().is_some() => {
            findings.push(subject.finding(
                Name::UnitNotActive,
                Severity::Error,
                format!("its server runs, and its service manager calls the unit `{unit}` {state}"),
                "a server that this unit does not run could not be kept stopped",
                "name the unit that runs the server as `service` in the inventory".to_owned(),
            ));
        }
        Some((unit, Asked::NotTold(why))) => {
            findings.push(not_asked(&subject.host.name, &format!("the unit `{unit}`"), why));
        }
        Some(_) | None => {}
    }
}

#[cfg(test)]
mod tests;
