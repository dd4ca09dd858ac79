//! Everything that can be broken on a host, each verified to be in effect before the call returns.
//! `breakage` has the words of the command line for it, and healing.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

use crate::disk::loops_on;
use crate::host::{COMMAND_LIMIT, Host};
use crate::process::{name_of, send, state_of};
use crate::roster::find;
use crate::wait;

const LIMIT: Duration = Duration::from_secs(20);
/// What fills a disk: one file that healing removes.
const DISK_FILLER: &str = "/var/tmp/.lab-filler";
const TMP_FILLER: &str = "/tmp/.lab-filler";

impl Host {
    /// Cuts the power: the link goes down first, then every process dies, and no packet says so.
    pub fn power_off(&self) -> Result<()> {
        self.network.set_port(self.name(), false)?;
        match self.init() {
            Some(init) => self.end(&init),
            // A host that is just booting has no first process on record yet.
            None => self.group()?.kill_all(),
        }
    }

    /// Ends every process of the host while its kernel goes on answering pings and refusing connections.
    pub fn crash(&self) -> Result<()> {
        let init = self.require_on()?;
        self.end(&init)
    }

    /// Kills the database server and waits until that process is gone; the service manager may start another.
    pub fn kill_mysqld(&self) -> Result<()> {
        let pid = self.require_database()?;
        send(pid, Signal::KILL)?;
        wait::until(LIMIT, "the killed server to be gone", || {
            matches!(state_of(pid), None | Some('Z' | 'X'))
        })
    }

    /// Stops the database server where it stands: connections are made and never answered.
    pub fn stop_mysqld(&self) -> Result<()> {
        let pid = self.require_database()?;
        send(pid, Signal::STOP)?;
        wait::until(LIMIT, "the server to stand still", || state_of(pid) == Some('T'))
    }

    /// Lets a stopped database server go on.
    pub fn cont_mysqld(&self) -> Result<()> {
        let pid = self.require_database()?;
        send(pid, Signal::CONT)?;
        wait::until(LIMIT, "the server to go on", || state_of(pid) != Some('T'))
    }

    /// Freezes every process of the host; its kernel still answers pings.
    pub fn freeze(&self) -> Result<()> {
        self.require_on()?;
        self.group()?.freeze(true)
    }

    pub fn thaw(&self) -> Result<()> {
        self.group()?.freeze(false)
    }

    pub fn is_frozen(&self) -> bool {
        self.group().is_ok_and(|group| group.is_frozen())
    }

    /// Pulls the network cable.
    pub fn link_down(&self) -> Result<()> {
        self.network.set_port(self.name(), false)
    }

    pub fn link_up(&self) -> Result<()> {
        self.network.set_port(self.name(), true)
    }

    /// Lets nothing that this host sends reach the other one; what comes back is not touched.
    pub fn cut_towards(&self, other: &str) -> Result<()> {
        let target = find(other).with_context(|| format!("no host is called `{other}`"))?;
        self.network.cut(self.name(), other)?;
        if !self.network.port_is_up(self.name()) {
            return Ok(());
        }
        let before = self.network.dropped(self.name(), other)?;
        // Pinged by the machine from the host's network, so it works even when the host is frozen or off.
        let ping = ["-n", "-c", "1", "-W", "0.2", &target.address()];
        if self.network.inside(self.name(), "ping", &ping).is_ok() {
            bail!("`{}` still reaches `{other}`", self.name());
        }
        wait::until(LIMIT, "the switch to drop a frame of the cut", || {
            self.network
                .dropped(self.name(), other)
                .is_ok_and(|count| count > before)
        })
    }

    /// Lets packets to a TCP port of the host vanish.
    pub fn drop_port(&self, port: u16) -> Result<()> {
        self.network.block_port(self.name(), port, false)?;
        self.expect_connection(port, 124)
    }

    /// Refuses packets to a TCP port of the host with a reset.
    pub fn reject_port(&self, port: u16) -> Result<()> {
        self.network.block_port(self.name(), port, true)?;
        self.expect_connection(port, 1)
    }

    /// Lets packets of another host to these TCP ports vanish; its pings are answered still.
    pub fn drop_ports_from(&self, other: &str, ports: &[u16]) -> Result<()> {
        let source = find(other).with_context(|| format!("no host is called `{other}`"))?;
        self.network
            .block_ports_from(self.name(), &source.address(), ports)?;
        for port in ports {
            self.expect_connection_from(other, *port, 124)?;
        }
        let ping = ["-n", "-c", "1", "-W", "2", &self.address().to_string()];
        self.network.inside(other, "ping", &ping).map(drop)
    }

    fn expect_connection(&self, port: u16, code: i32) -> Result<()> {
        self.expect_connection_from(self.name(), port, code)
    }

    /// Tries a connection from a host's network and expects how it ends: 0 connected, 1 refused, 124 no answer.
    fn expect_connection_from(&self, from: &str, port: u16, code: i32) -> Result<()> {
        let line = format!("</dev/tcp/{}/{port}", self.address());
        let mut command = self.network.enter(from, "timeout");
        command.args(["0.3", "bash", "-c", &line]);
        let ended = crate::command::run(&mut command, None, LIMIT)?.code;
        if ended != code {
            bail!(
                "a connection to port {port} of `{}` ended with {ended} and not with {code}",
                self.name()
            );
        }
        Ok(())
    }

    /// Loses frames of this host at random, in both directions.
    pub fn lose(&self, percent: u8) -> Result<()> {
        self.network.lose(self.name(), percent)
    }

    /// Limits the host's link to so many kilobits a second.
    pub fn slow(&self, kilobits: u32) -> Result<()> {
        self.network.slow(self.name(), kilobits)
    }

    /// Ends sshd and every session of it; the database server stays up.
    pub fn stop_sshd(&self) -> Result<()> {
        self.run(["systemctl", "stop", "ssh"], COMMAND_LIMIT)?.ok()?;
        let group = self.group()?;
        wait::until(LIMIT, "every sshd to be gone", || {
            let members = group.members().into_iter();
            let daemons: Vec<u32> = members
                .filter(|&pid| name_of(pid).as_deref() == Some("sshd"))
                .collect();
            for pid in &daemons {
                // Whoever ended meanwhile is what is wanted.
                let _gone = send(*pid, Signal::KILL);
            }
            daemons.is_empty()
        })
    }

    pub fn start_sshd(&self) -> Result<()> {
        self.run(["systemctl", "start", "ssh"], COMMAND_LIMIT)?
            .ok()
            .map(drop)
    }

    /// Fills the host's disk to the last block.
    pub fn fill_disk(&self) -> Result<()> {
        self.fill(DISK_FILLER)
    }

    /// Fills the host's /tmp.
    pub fn fill_tmp(&self) -> Result<()> {
        self.fill(TMP_FILLER)
    }

    fn fill(&self, filler: &str) -> Result<()> {
        // What `fallocate` leaves over, in small pieces, is taken by writing until no byte fits any more.
        let line = format!(
            "f={filler}; d=$(dirname $f); fallocate -l $(df --output=avail -B1 $d | tail -n 1) $f
             sync $f; dd if=/dev/zero bs=4k >>$f 2>/dev/null; dd if=/dev/zero bs=1 count=4096 >>$f 2>/dev/null
             if dd if=/dev/zero of=$d/.lab-probe bs=64k count=1 2>$f.said; then echo there is room; exit 1; fi
             rm -f $d/.lab-probe $f.said"
        );
        self.sh(&line)?
            .ok()
            .with_context(|| format!("cannot fill the disk of `{}`", self.name()))
            .map(drop)
    }

    /// Makes /tmp read-only.
    pub fn make_tmp_read_only(&self) -> Result<()> {
        // A fresh one on top: a remount is refused while a server has a file open there.
        self.sh("mount -t tmpfs -o ro,mode=1777 lab-read-only /tmp && ! touch /tmp/.lab-probe 2>/dev/null")?
            .ok()
            .map(drop)
    }

    /// Makes the host's disk read-only as a failing one becomes: the file system meets an error and stops writing.
    /// Healing restarts the host.
    pub fn make_root_read_only(&self) -> Result<()> {
        let image = self.place.image(self.name());
        let device = loops_on(|path| path == image)
            .pop()
            .context("the host has no disk")?;
        let trigger = format!("/sys/fs/ext4/{device}/trigger_fs_error");
        std::fs::write(&trigger, "1").with_context(|| format!("cannot write `{trigger}`"))?;
        wait::until(LIMIT, "the disk to be read-only", || self.root_is_read_only())
    }

    pub(crate) fn root_is_read_only(&self) -> bool {
        let touched = self.sh("touch /var/tmp/.lab-probe && rm /var/tmp/.lab-probe");
        touched.is_ok_and(|output| output.stderr.contains("Read-only file system"))
    }

    /// Takes back everything that was done to this host, its network excepted; boots it when it is off.
    pub(crate) fn heal(&self) -> Result<()> {
        if self.is_frozen() {
            self.thaw()?;
        }
        if self.is_on() && self.root_is_read_only() {
            self.power_off()?;
        }
        if !self.is_on() {
            self.boot_without(DISK_FILLER)?;
        }
        // Synced, or a disk that fails later would be full again.
        self.sh(&format!("rm -f {DISK_FILLER}* && sync -f /var/tmp"))?
            .ok()?;
        self.sh(&format!(
            "while grep -q '^lab-read-only /tmp ' /proc/mounts; do umount /tmp; done; rm -f {TMP_FILLER}*"
        ))?
        .ok()?;
        self.start_sshd()?;
        if let Some(pid) = self.database_pid()?.filter(|&pid| state_of(pid) == Some('T')) {
            send(pid, Signal::CONT)?;
        }
        // One that crashed and was given up is started; one that was stopped on purpose stays so.
        if self.is_database() && ["failed", "activating"].contains(&self.unit_state(self.unit())?.as_str()) {
            let started = self.run(["systemctl", "start", self.unit()], COMMAND_LIMIT)?;
            // A monitor whose way to the host has just been healed may already keep it stopped.
            if !started.stderr.contains("is masked") {
                started.ok().with_context(|| self.console())?;
            }
        }
        Ok(())
    }

    fn require_database(&self) -> Result<u32> {
        self.database_pid()?
            .with_context(|| format!("no database server runs on `{}`", self.name()))
    }
}
