//! The `systemctl` of a host: the words that playbooks and people use, answered by the host's service manager.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::net::sockopt::socket_peercred;
use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use crate::keeper::{Answer, Handle, Order};
use crate::process::send;
use crate::service::SOCKET;
use crate::unit_files::{disable, file_state, is_masked, link_mask, unlink_mask};

/// How long a stop may take, as the distribution's unit of MariaDB allows.
const JOB_LIMIT: Duration = Duration::from_secs(900);

/// The parsed command line of `systemctl`.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Request {
    verb: String,
    units: Vec<String>,
    runtime: bool,
    now: bool,
    quiet: bool,
    no_block: bool,
    value: bool,
    properties: Vec<String>,
    signal: Option<String>,
}

/// What `systemctl` prints and exits with.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Reply {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Reply {
    fn failed(code: i32, words: impl Into<String>) -> Self {
        Self {
            code,
            stdout: String::new(),
            stderr: words.into() + "\n",
        }
    }
}

type Units = BTreeMap<String, Arc<Handle>>;

/// The command inside a host: asks the service manager.
pub fn ask(arguments: &[String]) -> Result<Reply> {
    let request = match parse(arguments) {
        Ok(request) => request,
        Err(words) => return Ok(Reply::failed(1, words)),
    };
    let Ok(mut stream) = UnixStream::connect(SOCKET) else {
        return Ok(Reply::failed(
            1,
            "Failed to connect to bus: No such file or directory",
        ));
    };
    writeln!(stream, "{}", serde_json::to_string(&request)?).context("cannot ask the service manager")?;
    let mut line = String::new();
    BufReader::new(stream)
        .read_line(&mut line)
        .context("the service manager went away")?;
    serde_json::from_str(&line).context("the service manager answered nonsense")
}

fn parse(arguments: &[String]) -> Result<Request, String> {
    let mut request = Request::default();
    let mut words = Vec::new();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let (flag, mut given) = match argument.split_once('=') {
            Some((flag, value)) if flag.starts_with("--") => (flag, Some(value.to_owned())),
            _ => (argument.as_str(), None),
        };
        let mut value = || {
            given
                .take()
                .or_else(|| arguments.next().cloned())
                .ok_or(format!("option {flag} needs a value"))
        };
        match flag {
            "--runtime" => request.runtime = true,
            "--now" => request.now = true,
            "--quiet" | "-q" => request.quiet = true,
            "--no-block" => request.no_block = true,
            "--value" => request.value = true,
            "--property" | "-p" => request.properties.extend(value()?.split(',').map(str::to_owned)),
            "--signal" | "-s" => request.signal = Some(value()?),
            "--kill-who" | "--kill-whom" => drop(value()?),
            "--no-pager" | "--no-ask-password" | "--full" | "-l" | "--" => {}
            _ if flag.starts_with('-') => return Err(format!("Unknown option {flag}.")),
            _ => words.push(argument.clone()),
        }
    }
    let mut words = words.into_iter();
    request.verb = words.next().ok_or("Too few arguments.")?;
    request.units = words.collect();
    Ok(request)
}

/// Answers one connection of `systemctl`, inside the service manager.
pub fn answer(stream: &UnixStream, units: &Units) -> Result<()> {
    let mut line = String::new();
    BufReader::new(stream)
        .read_line(&mut line)
        .context("cannot read the request")?;
    let request: Request = serde_json::from_str(&line).context("malformed request")?;
    let root = socket_peercred(stream).is_ok_and(|caller| caller.uid.is_root());
    let reply = perform(&request, units, root);
    let mut writer = stream;
    writeln!(writer, "{}", serde_json::to_string(&reply)?).context("cannot answer")?;
    stream
        .shutdown(Shutdown::Both)
        .context("cannot close the connection")
}

fn perform(request: &Request, units: &Units, root: bool) -> Reply {
    let asks = [
        "is-active",
        "is-enabled",
        "is-failed",
        "show",
        "status",
        "is-system-running",
    ];
    if !asks.contains(&request.verb.as_str()) && !root {
        return Reply::failed(
            1,
            format!(
                "Failed to {} unit: Interactive authentication required.",
                request.verb
            ),
        );
    }
    match request.verb.as_str() {
        "daemon-reload" => return Reply::default(),
        "is-system-running" => {
            return Reply {
                stdout: "running\n".to_owned(),
                ..Reply::default()
            };
        }
        _ if request.units.is_empty() => return Reply::failed(1, "Too few arguments."),
        _ => {}
    }
    let mut whole = Reply::default();
    for name in &request.units {
        let reply = match find(units, name) {
            Some(handle) => perform_on(request, handle),
            None => unknown(request, name),
        };
        whole.stdout.push_str(&reply.stdout);
        whole.stderr.push_str(&reply.stderr);
        whole.code = if whole.code == 0 { reply.code } else { whole.code };
    }
    if request.quiet {
        whole.stdout.clear();
    }
    whole
}

fn find<'a>(units: &'a Units, name: &str) -> Option<&'a Arc<Handle>> {
    let full = if name.ends_with(".service") {
        name.to_owned()
    } else {
        format!("{name}.service")
    };
    units
        .values()
        .find(|handle| handle.unit.name == full || handle.unit.aliases.contains(&full))
}

fn unknown(request: &Request, name: &str) -> Reply {
    let stdout = |text: &str, code| Reply {
        code,
        stdout: text.to_owned(),
        stderr: String::new(),
    };
    match request.verb.as_str() {
        "is-active" => stdout("inactive\n", 3),
        "is-failed" => stdout("inactive\n", 1),
        "show" => stdout(
            "LoadState=not-found\nActiveState=inactive\nSubState=dead\nMainPID=0\nNRestarts=0\n",
            0,
        ),
        "status" => Reply::failed(4, format!("Unit {name} could not be found.")),
        verb => Reply::failed(5, format!("Failed to {verb} {name}: Unit {name} not found.")),
    }
}

fn perform_on(request: &Request, handle: &Handle) -> Reply {
    let name = &handle.unit.name;
    match request.verb.as_str() {
        "start" => job(request, handle, Order::Start),
        "stop" => job(request, handle, Order::Stop),
        "restart" => job(request, handle, Order::Restart),
        "reset-failed" => job(request, handle, Order::ResetFailed),
        "mask" => and_now(request, handle, link_mask(name, request.runtime)),
        "unmask" => files_changed(unlink_mask(name, request.runtime)),
        "disable" => and_now(request, handle, disable(name, true)),
        "enable" => and_now(request, handle, disable(name, false)),
        "kill" => kill(request, handle),
        "is-active" => {
            let state = handle.snapshot().active;
            Reply {
                code: if state == "active" { 0 } else { 3 },
                stdout: format!("{state}\n"),
                stderr: String::new(),
            }
        }
        "is-failed" => {
            let state = handle.snapshot().active;
            Reply {
                code: i32::from(state != "failed"),
                stdout: format!("{state}\n"),
                stderr: String::new(),
            }
        }
        "is-enabled" => {
            let state = file_state(name);
            Reply {
                code: i32::from(state != "enabled"),
                stdout: format!("{state}\n"),
                stderr: String::new(),
            }
        }
        "show" => Reply {
            stdout: show(request, handle),
            ..Reply::default()
        },
        "status" => status(handle),
        verb => Reply::failed(1, format!("Unknown command verb {verb}.")),
    }
}

fn job(
    request: &Request,
    handle: &Handle,
    make: impl FnOnce(std::sync::mpsc::Sender<Answer>) -> Order,
) -> Reply {
    let answer = handle.order(make);
    if request.no_block {
        return Reply::default();
    }
    match answer.recv_timeout(JOB_LIMIT) {
        Ok(Ok(())) => Reply::default(),
        Ok(Err(because)) if because.ends_with("is masked.") => Reply::failed(
            1,
            format!("Failed to {} {}: {because}", request.verb, handle.unit.name),
        ),
        Ok(Err(because)) => Reply::failed(1, format!("Job for {} failed: {because}", handle.unit.name)),
        Err(_) => Reply::failed(1, format!("Job for {} timed out.", handle.unit.name)),
    }
}

fn kill(request: &Request, handle: &Handle) -> Reply {
    let wanted = request.signal.as_deref().unwrap_or("TERM");
    let signal = match wanted.trim_start_matches("SIG") {
        "TERM" | "15" => Signal::TERM,
        "KILL" | "9" => Signal::KILL,
        "STOP" | "19" => Signal::STOP,
        "CONT" | "18" => Signal::CONT,
        "HUP" | "1" => Signal::HUP,
        "ABRT" | "6" => Signal::ABORT,
        other => return Reply::failed(1, format!("Failed to parse signal string {other}.")),
    };
    match handle.snapshot().main_pid {
        0 => Reply::failed(
            1,
            format!(
                "Failed to kill unit {}: No main process to kill",
                handle.unit.name
            ),
        ),
        pid => files_changed(send(pid, signal)),
    }
}

fn and_now(request: &Request, handle: &Handle, changed: Result<()>) -> Reply {
    let reply = files_changed(changed);
    match (reply.code, request.now, request.verb.as_str()) {
        (0, true, "enable") => job(request, handle, Order::Start),
        (0, true, _) => job(request, handle, Order::Stop),
        _ => reply,
    }
}

fn files_changed(changed: Result<()>) -> Reply {
    match changed {
        Ok(()) => Reply::default(),
        Err(error) => Reply::failed(1, format!("{error:#}")),
    }
}

fn properties(handle: &Handle) -> Vec<(&'static str, String)> {
    let now = handle.snapshot();
    let masked = is_masked(&handle.unit.name);
    vec![
        ("Id", handle.unit.name.clone()),
        ("LoadState", if masked { "masked" } else { "loaded" }.to_owned()),
        ("UnitFileState", file_state(&handle.unit.name).to_owned()),
        ("ActiveState", now.active.to_owned()),
        ("SubState", now.sub.to_owned()),
        ("Job", now.job.map(|job| job.to_string()).unwrap_or_default()),
        ("MainPID", now.main_pid.to_string()),
        ("NRestarts", now.restarts.to_string()),
        ("Result", now.result.to_owned()),
    ]
}

fn show(request: &Request, handle: &Handle) -> String {
    let mut text = String::new();
    for (key, value) in properties(handle) {
        let wanted = request.properties.is_empty() || request.properties.iter().any(|asked| asked == key);
        // The real one leaves a job out when there is none.
        if !wanted || (key == "Job" && value.is_empty()) {
            continue;
        }
        text.push_str(&if request.value {
            format!("{value}\n")
        } else {
            format!("{key}={value}\n")
        });
    }
    text
}

fn status(handle: &Handle) -> Reply {
    let now = handle.snapshot();
    let stdout = format!(
        "{}\n     Loaded: {}\n     Active: {} ({})\n   Main PID: {}\n   Restarts: {}\n",
        handle.unit.name,
        file_state(&handle.unit.name),
        now.active,
        now.sub,
        now.main_pid,
        now.restarts
    );
    Reply {
        code: if now.active == "active" { 0 } else { 3 },
        stdout,
        stderr: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_options_before_and_after_the_verb() {
        let words: Vec<String> = "show -p ActiveState,Job --property=MainPID mariadb --value"
            .split(' ')
            .map(str::to_owned)
            .collect();
        let request = parse(&words).unwrap();
        assert_eq!(request.verb, "show");
        assert_eq!(request.units, ["mariadb"]);
        assert_eq!(request.properties, ["ActiveState", "Job", "MainPID"]);
        assert!(request.value);
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        assert!(parse(&["--frobnicate".to_owned()]).is_err());
        assert!(parse(&[]).is_err());
    }
}
