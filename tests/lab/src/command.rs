//! Runs programs: each has a deadline, and how it ended is always looked at.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process_group};

/// How long a short tool of the system may take.
const TOOL_LIMIT: Duration = Duration::from_secs(30);
/// How long output may still trickle in after the program itself has ended.
const TAIL_LIMIT: Duration = Duration::from_millis(300);

/// How a program ended and what it said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Exit code; 128 plus the signal's number when a signal ended it.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    pub fn success(&self) -> bool {
        self.code == 0
    }

    /// The output itself when the program succeeded, an error with its last words otherwise.
    pub fn ok(self) -> Result<Self> {
        if self.success() {
            return Ok(self);
        }
        let words = if self.stderr.trim().is_empty() {
            self.stdout.trim()
        } else {
            self.stderr.trim()
        };
        bail!("exit code {}: {words}", self.code)
    }
}

/// Runs a small tool of the system that must succeed, for example `tool("ip", ["netns", "list"])`.
pub fn tool<S: AsRef<OsStr>>(program: &str, args: impl IntoIterator<Item = S>) -> Result<Output> {
    let mut command = Command::new(program);
    command.args(args);
    run(&mut command, None, TOOL_LIMIT)?
        .ok()
        .with_context(|| describe(&command))
}

/// Runs a program to its end, however that is; an error only when it could not start or was not done by `limit`.
pub fn run(command: &mut Command, input: Option<&[u8]>, limit: Duration) -> Result<Output> {
    let started = Instant::now();
    command
        .stdin(if input.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot start {}", describe(command)))?;
    let feeder = child
        .stdin
        .take()
        .zip(input.map(<[u8]>::to_vec))
        .map(|(mut pipe, bytes)| {
            // A program that ends before it has read everything is judged by its exit code, not by the broken pipe.
            std::thread::spawn(move || pipe.write_all(&bytes))
        });
    let stdout = Collector::start(child.stdout.take());
    let stderr = Collector::start(child.stderr.take());
    let Some(status) = wait_for_exit(&mut child, started + limit)? else {
        end_group(child);
        bail!(
            "{} did not end within {limit:?}; it said: {}{}",
            describe(command),
            stdout.text(),
            stderr.text()
        );
    };
    let tail = Instant::now() + TAIL_LIMIT;
    while !(stdout.finished() && stderr.finished()) && Instant::now() < tail {
        std::thread::sleep(Duration::from_millis(1));
    }
    drop(feeder);
    Ok(Output {
        code: exit_code(status),
        stdout: stdout.text(),
        stderr: stderr.text(),
    })
}

/// The exit code as a shell would give it.
pub fn exit_code(status: ExitStatus) -> i32 {
    status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

/// Waits for the end of a child until `deadline`; `None` when it still runs then.
pub fn wait_for_exit(child: &mut Child, deadline: Instant) -> Result<Option<ExitStatus>> {
    let mut pause = Duration::from_micros(200);
    loop {
        if let Some(status) = child.try_wait().context("cannot wait for a child process")? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(5));
    }
}

/// Kills a child that leads its own process group, with everything in the group, and reaps it in the background
/// (a process in a frozen host cannot die before the host is thawed).
pub fn end_group(mut child: Child) {
    if let Some(pid) = Pid::from_raw(child.id().cast_signed()) {
        // The group may be gone already, which is what is wanted.
        let _gone = kill_process_group(pid, Signal::KILL);
    }
    std::thread::spawn(move || child.wait());
}

fn describe(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|arg| arg.to_string_lossy().into_owned()));
    format!("`{}`", words.join(" "))
}

/// Reads a pipe to its end in a thread of its own, so that a full pipe never blocks the program.
pub struct Collector {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Collector {
    pub fn start(pipe: Option<impl Read + Send + 'static>) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&bytes);
        let reader = pipe.map(|mut pipe| {
            std::thread::spawn(move || {
                let mut chunk = [0_u8; 8192];
                while let Ok(count) = pipe.read(&mut chunk) {
                    if count == 0 {
                        break;
                    }
                    let mut sink = sink.lock().unwrap_or_else(PoisonError::into_inner);
                    sink.extend_from_slice(chunk.get(..count).unwrap_or_default());
                }
            })
        });
        Self { bytes, reader }
    }

    /// What has arrived so far.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    pub fn finished(&self) -> bool {
        self.reader.as_ref().is_none_or(JoinHandle::is_finished)
    }
}
