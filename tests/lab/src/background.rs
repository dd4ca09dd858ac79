//! A program that runs in a host while a test does other things.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

use crate::command::{Collector, Output, end_group, exit_code, wait_for_exit};
use crate::process::{name_of, send};
use crate::wait;

/// The handle of a running program; dropping it kills the program.
pub struct Background {
    child: Option<Child>,
    pid: u32,
    stdout: Collector,
    stderr: Collector,
}

impl Background {
    pub(crate) fn start(mut command: Command) -> Result<Self> {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let mut child = command.spawn().context("cannot start a program")?;
        let stdout = Collector::start(child.stdout.take());
        let stderr = Collector::start(child.stderr.take());
        Ok(Self {
            pid: child.id(),
            child: Some(child),
            stdout,
            stderr,
        })
    }

    /// What it has printed so far.
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Whether it has not ended yet.
    pub fn is_running(&mut self) -> bool {
        self.child
            .as_mut()
            .is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// The program's own pid, as the machine counts: behind the shell and `nsenter` that brought it into the host.
    pub fn pid(&self) -> Result<u32> {
        wait::until_some(Duration::from_secs(10), "the program to be in its host", || {
            let wrapper = name_of(self.pid);
            if wrapper.as_deref() != Some("nsenter") {
                return Ok(None);
            }
            let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", self.pid))?;
            let child: Option<u32> = children
                .split_whitespace()
                .next()
                .and_then(|pid| pid.parse().ok());
            Ok(child.filter(|&pid| name_of(pid).as_deref() != Some("nsenter")))
        })
    }

    /// Sends a signal to the program.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        send(self.pid()?, signal)
    }

    /// Waits for its end.
    pub fn wait(mut self, limit: Duration) -> Result<Output> {
        let deadline = Instant::now() + limit;
        let Some(child) = self.child.as_mut() else {
            bail!("the program was waited for already")
        };
        let Some(status) = wait_for_exit(child, deadline)? else {
            bail!(
                "the program did not end within {limit:?}; it said: {}{}",
                self.stdout(),
                self.stderr()
            );
        };
        wait::until(Duration::from_secs(2), "the end of the program's output", || {
            self.stdout.finished() && self.stderr.finished()
        })?;
        Ok(Output {
            code: exit_code(status),
            stdout: self.stdout(),
            stderr: self.stderr(),
        })
    }

    /// Asks it to end (SIGTERM) and waits for that.
    pub fn stop(self, limit: Duration) -> Result<Output> {
        self.signal(Signal::TERM)?;
        self.wait(limit)
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(child) = self.child.take() {
            end_group(child);
        }
    }
}
