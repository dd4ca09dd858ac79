//! A cluster seen, and never touched: what plans are made through. Nothing here can change a host or this box, so what is
//! made of it cannot either.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::inventory::{ClusterEntry, Inventory};
use crate::config::template;
use crate::core::cluster::HostName;
use crate::core::electorate::Memory;
use crate::core::evidence::Evidence;
use crate::core::guard::Facts;
use crate::core::playbook::Playbook;
use crate::core::proposal::Runner;
use crate::core::script::Script;
use crate::core::standing::Standing;
use crate::core::trouble::Trouble;
use crate::io::context::Errands;
use crate::io::fleet::Fleet;
use crate::io::standing::StateDir;
use crate::io::{inquest, records};

/// A cluster's hosts and record, to be looked at only. It keeps what it looks through to itself.
#[derive(Debug)]
pub struct Lookout {
    fleet: Fleet,
    dir: StateDir,
}

impl Lookout {
    /// Gives up a fleet for looking through it alone.
    pub fn new(fleet: Fleet, inventory: &Inventory) -> Lookout {
        let dir = StateDir::of(&inventory.monitor.state_dir, &fleet.entry().cluster.name);
        Lookout { fleet, dir }
    }

    /// What can be seen from it.
    pub fn sights(&self) -> Sights<'_> {
        Sights::of(&self.fleet, &self.dir)
    }
}

/// What can be seen of a cluster.
#[derive(Debug, Clone, Copy)]
pub struct Sights<'f> {
    fleet: &'f Fleet,
    dir: &'f StateDir,
}

impl<'f> Sights<'f> {
    /// What can be seen through a fleet, and on this box.
    pub fn of(fleet: &'f Fleet, dir: &'f StateDir) -> Sights<'f> {
        Sights { fleet, dir }
    }

    /// The cluster's part of the inventory.
    pub fn entry(&self) -> &'f ClusterEntry {
        self.fleet.entry()
    }

    /// The playbook in use.
    pub fn playbook(&self) -> &'f Playbook {
        self.fleet.playbook()
    }

    /// What stands.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn standing(&self) -> Result<Standing, Trouble> {
        self.dir.load()
    }

    /// Looks at every host at once.
    pub async fn look_everywhere(&self) -> Facts {
        self.fleet.look_everywhere().await
    }

    /// Everything that can be said about a suspected writer now.
    pub async fn evidence(&self, suspect: &HostName) -> Evidence {
        inquest::gather(self.fleet, suspect).await
    }

    /// What is remembered of the time when `writer` served; nothing where that cannot be read, or was of another's.
    pub fn memory(&self, writer: Option<&HostName>, standing: &Standing) -> Memory {
        match records::load(self.dir) {
            Ok(Some(records)) => records.memory_under(writer, standing),
            Ok(None) => Memory::default(),
            Err(trouble) => {
                tracing::warn!("{}: {}", trouble.what, trouble.because);
                Memory::default()
            }
        }
    }

    /// A duty made ready for a host, as it would run now, with words for what is only known at that moment.
    ///
    /// # Errors
    /// Usage: a name in it does not resolve here.
    pub async fn ready(
        &self,
        host: &HostName,
        duty: &str,
        errand: &Errands<'_>,
        within: Duration,
    ) -> Result<Script, Trouble> {
        self.fleet.ready_to_show(host, duty, errand, within).await
    }

    /// The texts that stand for what is only known at that moment, by name: what duties register, and the lock.
    pub fn known_then(&self) -> BTreeMap<String, String> {
        let duties = self.playbook().duties.values();
        let names = duties
            .flat_map(|duty| &duty.steps)
            .flat_map(|step| step.register.names())
            .chain([Fleet::LOCK_CONNECTION]);
        names
            .map(|name| (name.to_owned(), template::not_known_yet(name)))
            .collect()
    }

    /// Who performs a duty: on the host, or here, where `on_box` says so.
    pub fn runner(&self, host: &HostName, on_box: bool) -> Runner {
        let logins = self.fleet.logins(host);
        let ssh_user = self.fleet.ssh_user(host).unwrap_or_default();
        Runner {
            host: (!on_box).then(|| host.clone()),
            user: if on_box {
                "whoever runs mmm".to_owned()
            } else {
                ssh_user
            },
            sql_user: logins.map(|logins| logins.agent.user.clone()).unwrap_or_default(),
        }
    }
}
