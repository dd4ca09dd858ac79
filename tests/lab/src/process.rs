//! Processes: who they are (a pid alone can be reused), and the control group in which each host's processes live.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::wait;

/// A process that cannot be mistaken for a later one with the same pid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub pid: u32,
    /// Start time in clock ticks since the machine booted.
    started: u64,
}

impl Identity {
    pub fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name, in parentheses, may contain anything; the fields after it do not.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        let state = fields.next()?;
        if state == "Z" || state == "X" {
            return None;
        }
        Some(Self {
            pid,
            started: fields.nth(18)?.parse().ok()?,
        })
    }

    pub fn is_alive(&self) -> bool {
        Self::of(self.pid).as_ref() == Some(self)
    }

    /// Sends a signal if it is still the same process.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        if !self.is_alive() {
            bail!("process {} has ended", self.pid);
        }
        send(self.pid, signal)
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.pid, self.started)
    }
}

impl FromStr for Identity {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (pid, started) = text
            .trim()
            .split_once(' ')
            .ok_or_else(|| anyhow!("no process in `{text}`"))?;
        Ok(Self {
            pid: pid.parse()?,
            started: started.parse()?,
        })
    }
}

/// Sends a signal to a pid; a process that is gone is an error.
pub fn send(pid: u32, signal: Signal) -> Result<()> {
    let target = Pid::from_raw(pid.cast_signed()).ok_or_else(|| anyhow!("{pid} is no process id"))?;
    kill_process(target, signal).with_context(|| format!("cannot send {signal:?} to process {pid}"))
}

/// The name of a process's program, as the kernel keeps it (15 bytes).
pub fn name_of(pid: u32) -> Option<String> {
    Some(
        fs::read_to_string(format!("/proc/{pid}/comm"))
            .ok()?
            .trim_end()
            .to_owned(),
    )
}

/// The state letter of a process: `R`, `S`, `D`, `T` (stopped), `Z`…
pub fn state_of(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.trim_start().chars().next()
}

/// Whether the process is the first of a pid namespace below the one we look from.
pub fn is_first_of_namespace(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    ids.is_some_and(|ids| {
        let ids: Vec<&str> = ids.split_whitespace().collect();
        ids.len() == 2 && ids.last() == Some(&"1")
    })
}

/// The control group of a host (or of a whole lab): it can be listed, frozen and emptied.
#[derive(Debug, Clone)]
pub struct Group {
    path: PathBuf,
}

const V1_FREEZER: &str = "/sys/fs/cgroup/freezer";
const V2_ROOT: &str = "/sys/fs/cgroup";

/// Where the groups of all labs are, or why they cannot be.
pub fn group_root() -> Result<PathBuf> {
    if Path::new(V1_FREEZER).join("cgroup.procs").exists() {
        return Ok(Path::new(V1_FREEZER).join("mmm-lab"));
    }
    if Path::new(V2_ROOT).join("cgroup.controllers").exists() {
        return Ok(Path::new(V2_ROOT).join("mmm-lab"));
    }
    bail!("neither a version 2 control group hierarchy nor a version 1 freezer is mounted at `{V2_ROOT}`")
}

impl Group {
    /// The group of a lab, or of one host in it.
    pub fn new(lab: &str, host: Option<&str>) -> Result<Self> {
        let mut path = group_root()?.join(lab);
        path.extend(host);
        Ok(Self { path })
    }

    pub fn create(&self) -> Result<()> {
        fs::create_dir_all(&self.path)
            .with_context(|| format!("cannot make the control group `{}`", self.path.display()))
    }

    /// The file into which a process writes its pid to join.
    pub fn procs_file(&self) -> PathBuf {
        self.path.join("cgroup.procs")
    }

    /// Everybody in the group and the groups below it. A group that does not exist is empty.
    pub fn members(&self) -> Vec<u32> {
        let mut found: Vec<u32> = fs::read_to_string(self.procs_file())
            .unwrap_or_default()
            .lines()
            .filter_map(|line| line.parse().ok())
            .collect();
        for below in self.below() {
            found.extend(below.members());
        }
        found
    }

    /// Freezes or thaws the group and waits until the kernel says that it is done.
    pub fn freeze(&self, frozen: bool) -> Result<()> {
        let (file, value) = self.freezer(frozen);
        fs::write(&file, value).with_context(|| format!("cannot write `{}`", file.display()))?;
        let what = if frozen {
            "all processes of the host to freeze"
        } else {
            "the host to thaw"
        };
        wait::until(Duration::from_secs(10), what, || self.is_frozen() == frozen)
    }

    pub fn is_frozen(&self) -> bool {
        let v1 = fs::read_to_string(self.path.join("freezer.state")).unwrap_or_default();
        let v2 = fs::read_to_string(self.path.join("cgroup.events")).unwrap_or_default();
        v1.trim() == "FROZEN" || v2.lines().any(|line| line == "frozen 1")
    }

    fn freezer(&self, frozen: bool) -> (PathBuf, &'static str) {
        let v1 = self.path.join("freezer.state");
        if v1.exists() {
            return (v1, if frozen { "FROZEN" } else { "THAWED" });
        }
        (self.path.join("cgroup.freeze"), if frozen { "1" } else { "0" })
    }

    fn below(&self) -> Vec<Self> {
        let entries = fs::read_dir(&self.path).into_iter().flatten().flatten();
        entries
            .filter(|entry| entry.path().is_dir())
            .map(|entry| Self { path: entry.path() })
            .collect()
    }

    /// Kills everybody, thawing who is frozen, and waits until nobody is left.
    pub fn kill_all(&self) -> Result<()> {
        self.thaw_all();
        wait::until(Duration::from_secs(20), "the lab's processes to end", || {
            let members = self.members();
            for pid in &members {
                // Whoever ended meanwhile is what is wanted.
                let _gone = send(*pid, Signal::KILL);
            }
            members.is_empty()
        })
    }

    fn thaw_all(&self) {
        let (file, value) = self.freezer(false);
        if file.exists() {
            // The top of a hierarchy that is not frozen may refuse; killing then shows whether it mattered.
            let _refused = fs::write(file, value);
        }
        self.below().iter().for_each(Self::thaw_all);
    }

    /// Removes the group and those below it; they must be empty.
    pub fn remove(&self) -> Result<()> {
        for below in self.below() {
            below.remove()?;
        }
        if self.path.exists() {
            fs::remove_dir(&self.path)
                .with_context(|| format!("cannot remove the control group `{}`", self.path.display()))?;
        }
        Ok(())
    }
}
