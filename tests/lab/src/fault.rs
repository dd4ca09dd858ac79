//! Everything that can be broken in a lab, each verified to be in effect before the call returns, and healing it all.

use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::Signal;

use crate::host::Host;
use crate::process::{send, state_of};
use crate::wait;

const LIMIT: Duration = Duration::from_secs(20);

impl Host {
    /// Cuts the power: the link goes down first, then every process dies, and no packet says so.
    pub fn power_off(&self) -> Result<()> {
        self.network.set_port(self.name(), false)?;
        match self.init() {
            Some(init) => self.end(&init),
            None => Ok(()),
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

    /// Pulls the network cable.
    pub fn link_down(&self) -> Result<()> {
        self.network.set_port(self.name(), false)
    }

    pub fn link_up(&self) -> Result<()> {
        self.network.set_port(self.name(), true)
    }

    fn require_database(&self) -> Result<u32> {
        self.database_pid()?
            .with_context(|| format!("no database server runs on `{}`", self.name()))
    }
}
