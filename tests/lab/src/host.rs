//! One host of a lab: booting it, cutting its power, and running programs in it.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::Signal;

use crate::background::Background;
use crate::command::{Output, run, tool};
use crate::disk;
use crate::flavour::{Flavour, Server};
use crate::network::Network;
use crate::place::{MachineLock, Place};
use crate::process::{Group, Identity, is_first_of_namespace, name_of, send};
use crate::roster::{Entry, Purpose};
use crate::seed;
use crate::server::absent_programs;
use crate::service::{BOOTED_FILE, restart_file};
use crate::stock;
use crate::wait;

/// How long a command in a host may take when nothing else is said.
pub const COMMAND_LIMIT: Duration = Duration::from_secs(60);
const BOOT_LIMIT: Duration = Duration::from_secs(90);
const END_LIMIT: Duration = Duration::from_secs(20);
/// Where programs are looked for in a host.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a service does after a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    After(Duration),
    Never,
}

/// A host, found by the lab and its name.
#[derive(Debug, Clone)]
pub struct Host {
    pub(crate) place: Place,
    pub(crate) entry: &'static Entry,
    pub(crate) network: Network,
    server: Server,
}

impl Host {
    pub(crate) fn new(place: &Place, entry: &'static Entry, flavour: Flavour) -> Self {
        Self {
            place: place.clone(),
            entry,
            server: flavour.server(entry),
            network: Network::new(place),
        }
    }

    pub fn name(&self) -> &'static str {
        self.entry.name
    }

    pub fn address(&self) -> String {
        self.entry.address()
    }

    pub fn is_database(&self) -> bool {
        self.entry.is_database()
    }

    pub(crate) fn group(&self) -> Result<Group> {
        Group::new(self.place.name(), Some(self.name()))
    }

    /// The host's first process, while it is powered on.
    pub fn init(&self) -> Option<Identity> {
        let text = fs::read_to_string(self.place.pid_file(self.name())).ok()?;
        text.parse::<Identity>().ok().filter(Identity::is_alive)
    }

    pub fn is_on(&self) -> bool {
        self.init().is_some()
    }

    pub(crate) fn require_on(&self) -> Result<Identity> {
        self.init().ok_or_else(|| {
            anyhow!(
                "the host `{}` is powered off (`boot {}` starts it)",
                self.name(),
                self.name()
            )
        })
    }

    /// A path of the host as the machine sees it: files of a running host can be read and written there.
    pub fn path(&self, inside: &str) -> Result<PathBuf> {
        let init = self.require_on()?;
        Ok(PathBuf::from(format!("/proc/{}/root", init.pid)).join(inside.trim_start_matches('/')))
    }

    /// Reads a file of the host.
    pub fn read(&self, path: &str) -> Result<String> {
        fs::read_to_string(self.path(path)?)
            .with_context(|| format!("cannot read `{path}` on `{}`", self.name()))
    }

    /// Writes a file of the host, readable by root only; its directory must be there.
    pub fn write(&self, path: &str, text: &str) -> Result<()> {
        use std::os::unix::fs::PermissionsExt;
        let target = self.path(path)?;
        let what = || format!("cannot write `{path}` on `{}`", self.name());
        fs::write(&target, text).with_context(what)?;
        fs::set_permissions(&target, fs::Permissions::from_mode(0o600)).with_context(what)
    }

    /// Powers the host on and waits until its services have started (or failed to).
    pub fn boot(&self) -> Result<()> {
        self.boot_without("")
    }

    /// Boots after some files, separated by blanks, have been removed from the disk.
    pub(crate) fn boot_without(&self, discard: &str) -> Result<()> {
        if self.is_on() {
            bail!("the host `{}` is on already", self.name());
        }
        // What an earlier life left in the kernel: addresses, firewall rules, neighbours.
        self.network.configure_host(self.entry)?;
        let group = self.group()?;
        group.create()?;
        // A boot that was given up may still be at it, on the same disk.
        group.kill_all()?;
        self.launch(&group, discard)?;
        let first = || {
            Ok(group
                .members()
                .into_iter()
                .find(|&pid| is_first_of_namespace(pid))
                .and_then(Identity::of))
        };
        let what = format!(
            "the first process of `{}` (see `{}`)",
            self.name(),
            self.place.console(self.name()).display()
        );
        let init = wait::until_some(BOOT_LIMIT, &what, first)?;
        fs::write(self.place.pid_file(self.name()), init.to_string())
            .context("cannot record the host's process")?;
        let booted = Path::new("/proc")
            .join(init.pid.to_string())
            .join("root")
            .join(&BOOTED_FILE[1..]);
        wait::until(BOOT_LIMIT, &format!("the services of `{}`", self.name()), || {
            booted.exists() || !init.is_alive()
        })
        .with_context(|| format!("its console says: {}", self.console()))?;
        if !init.is_alive() {
            bail!("the host `{}` did not boot: {}", self.name(), self.console());
        }
        if !self.network.port_is_up(self.name()) {
            self.network.set_port(self.name(), true)?;
        }
        Ok(())
    }

    fn launch(&self, group: &Group, discard: &str) -> Result<()> {
        let console =
            fs::File::create(self.place.console(self.name())).context("cannot make the console file")?;
        let mut command = Command::new("setsid");
        command
            .args(["sh", "-c", "echo $$ > \"$0\" && exec nsenter \"$@\""])
            .arg(group.procs_file())
            .arg(format!(
                "--net={}",
                self.place.namespace_path(self.name()).display()
            ))
            .args(["unshare", "--mount", "--uts", "--ipc", "--pid", "--fork", "sh"])
            .arg(self.place.boot_script())
            .env_clear()
            .env("PATH", PATH)
            .env("LAB_HOST", self.name())
            .env("LAB_IMAGE", self.place.image(self.name()))
            .env("LAB_MOUNT", self.place.mount_point())
            .env("LAB_SEED", self.place.seed(self.name()))
            .env("LAB_PROGRAM", self.place.program())
            .env("LAB_LOCK", MachineLock::path("loop"))
            .env("LAB_HIDE", seed::hidden().join(" "))
            .env("LAB_DISCARD", discard)
            .env("LAB_SERVER", self.server_home())
            .env("LAB_ABSENT", self.absent_programs())
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(console.try_clone().context("cannot share the console file")?)
            .stderr(console);
        let mut child = command.spawn().context("cannot start `setsid`")?;
        // Reaped in the background: the host outlives this call and often this process.
        std::thread::spawn(move || child.wait());
        Ok(())
    }

    /// The directory of a server that the machine has not installed; empty for one that it has.
    fn server_home(&self) -> PathBuf {
        let home = self.is_database().then(|| stock::home(self.server));
        home.flatten().unwrap_or_default()
    }

    fn absent_programs(&self) -> String {
        if self.is_database() {
            absent_programs(self.server).join(" ")
        } else {
            String::new()
        }
    }

    /// The last lines the host said on its console.
    pub fn console(&self) -> String {
        let text = fs::read_to_string(self.place.console(self.name())).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(10).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// Ends the host at once: every process in it dies without a word, and so does its link when the power goes.
    pub(crate) fn end(&self, init: &Identity) -> Result<()> {
        let group = self.group()?;
        init.signal(Signal::KILL)?;
        if group.is_frozen() {
            // Nobody may do a last thing between the thaw and the end; whoever is gone is what is wanted.
            for pid in group.members() {
                let _gone = send(pid, Signal::KILL);
            }
            group.freeze(false)?;
        }
        wait::until(
            END_LIMIT,
            &format!("all processes of `{}` to end", self.name()),
            || !init.is_alive() && group.members().is_empty(),
        )?;
        let image = self.place.image(self.name());
        wait::until(
            END_LIMIT,
            &format!("the disk of `{}` to be released", self.name()),
            || disk::loops_on(|path| path == image).is_empty(),
        )
    }

    /// A program to be run as root in the host; it shares the host's fate, for example a freeze.
    pub fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Result<Command> {
        let init = self.require_on()?;
        if self.is_frozen() {
            bail!(
                "the host `{}` is frozen (`fault thaw {}` lets it go on)",
                self.name(),
                self.name()
            );
        }
        let mut command = Command::new("sh");
        command
            .args(["-c", "echo $$ > \"$0\" && exec nsenter -t \"$@\""])
            .arg(self.group()?.procs_file())
            .arg(init.pid.to_string())
            .args(["-m", "-u", "-i", "-n", "-p", "-r", "-w", "--"])
            .args(arguments)
            .env_clear()
            .env("PATH", PATH)
            .env("HOME", "/root")
            .env("USER", "root")
            .env("LANG", "C.UTF-8");
        Ok(command)
    }

    /// Runs a program as root in the host, to its end.
    pub fn run<S: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = S>,
        limit: Duration,
    ) -> Result<Output> {
        run(&mut self.command(arguments)?, None, limit).with_context(|| format!("on `{}`", self.name()))
    }

    /// Runs a program as root in the host with something on its standard input.
    pub fn feed<S: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = S>,
        input: &str,
        limit: Duration,
    ) -> Result<Output> {
        run(&mut self.command(arguments)?, Some(input.as_bytes()), limit)
            .with_context(|| format!("on `{}`", self.name()))
    }

    /// Runs a shell line as root in the host.
    pub fn sh(&self, line: &str) -> Result<Output> {
        self.run(["sh", "-c", line], COMMAND_LIMIT)
    }

    /// Starts a program as root in the host and lets it run; it is killed when the handle is dropped.
    pub fn spawn<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Result<Background> {
        Background::start(self.command(arguments)?).with_context(|| format!("on `{}`", self.name()))
    }

    /// Runs `mmm` on the box to its end. It must have been installed there.
    pub fn mmm<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Result<Output> {
        let words = [OsStr::new("mmm").to_owned()];
        let arguments = arguments.into_iter().map(|word| word.as_ref().to_owned());
        self.run(words.into_iter().chain(arguments), Duration::from_secs(180))
    }

    /// Starts `mmm` on the box and lets it run, for example as the monitor.
    pub fn spawn_mmm<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Result<Background> {
        let words = [OsStr::new("mmm").to_owned()];
        let arguments = arguments.into_iter().map(|word| word.as_ref().to_owned());
        self.spawn(words.into_iter().chain(arguments))
    }

    /// Copies a program of the machine into the host's `/usr/local/bin`.
    pub fn install(&self, program: &Path, name: &str) -> Result<()> {
        let target = self.path(&format!("/usr/local/bin/{name}"))?;
        // Written aside and renamed, because a running program cannot be overwritten.
        let aside = target.with_extension("new");
        tool(
            "install",
            [
                "-m",
                "0755",
                "--",
                &program.to_string_lossy(),
                &aside.to_string_lossy(),
            ],
        )?;
        fs::rename(&aside, &target).with_context(|| format!("cannot install `{name}` on `{}`", self.name()))
    }

    /// Replaces this process by a shell, or a command, in the host. Returns only when that failed.
    pub fn become_shell(&self, arguments: &[String]) -> Result<()> {
        let mut command = if arguments.is_empty() {
            self.command(["bash", "-l"])?
        } else {
            self.command(arguments)?
        };
        for name in ["TERM", "COLORTERM"] {
            command.envs(std::env::var_os(name).map(|value| (name, value)));
        }
        Err(command.exec()).context("cannot enter the host")
    }

    /// Says what the database server of the host does after a crash, from its next crash on.
    pub fn set_restart(&self, restart: Restart) -> Result<()> {
        let text = match restart {
            Restart::After(delay) => delay.as_millis().to_string(),
            Restart::Never => "never".to_owned(),
        };
        let file = restart_file(self.unit());
        self.write(&file.to_string_lossy(), &text)
    }

    /// The database server that this host runs, if it is a database host.
    pub fn server(&self) -> Server {
        self.server
    }

    /// The unit of its database server.
    pub fn unit(&self) -> &'static str {
        self.server.unit()
    }

    /// The pid, as the machine counts, of the database server.
    pub fn database_pid(&self) -> Result<Option<u32>> {
        let process = self.server.process();
        let members = self.group()?.members().into_iter();
        Ok(members
            .filter(|&pid| name_of(pid).as_deref() == Some(process))
            .min())
    }

    /// What `systemctl is-active` says about a unit of the host.
    pub fn unit_state(&self, unit: &str) -> Result<String> {
        Ok(self
            .run(["systemctl", "is-active", unit], COMMAND_LIMIT)?
            .stdout
            .trim()
            .to_owned())
    }

    /// The addresses the host's kernel holds now, its own included.
    pub fn addresses(&self) -> Result<Vec<String>> {
        self.network.addresses(self.name())
    }

    /// Whether `mmm` is meant to run here.
    pub fn is_box(&self) -> bool {
        self.entry.purpose == Purpose::Monitor
    }
}
