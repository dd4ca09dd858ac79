//! A cluster's hosts within reach: one SSH connection and two warm shells a host, one connection to each server.
//!
//! Looking and acting use separate shells, so that a look that hangs never stands in the way of an operation.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::config::inventory::{ClusterEntry, HostEntry};
use crate::config::playbook::render;
use crate::config::template::Context;
use crate::core::cluster::HostName;
use crate::core::facts::{HostFacts, MysqlFacts, Reach, ShellFacts, Version};
use crate::core::playbook::Playbook;
use crate::core::script::{DutyOutcome, DutyReport, Script};
use crate::core::trouble::{Kind, Trouble};
use crate::io::context::{self, Errands};
use crate::io::mysql::Server;
use crate::io::shell::Shell;
use crate::io::ssh::{Links, SshError};
use crate::io::vault::{Logins, Vault};
use crate::sql::shell_facts;

/// Looking at one host over SSH may take so long, connecting included.
const LOOK_WITHIN: Duration = Duration::from_secs(3);
/// Looking at one server over the MySQL protocol may take so long.
const ASK_WITHIN: Duration = Duration::from_secs(2);
/// Added to a duty's own deadline for the way there and back.
const GRACE: Duration = Duration::from_millis(500);

type HostShell = Shell<crate::io::ssh::Stream>;

/// Every host of one cluster, within reach.
#[derive(Debug)]
pub struct Fleet {
    entry: ClusterEntry,
    playbook: Arc<Playbook>,
    links: Links,
    vault: Vault,
    hosts: BTreeMap<HostName, Reached>,
}

/// What is kept open to one host.
#[derive(Debug)]
struct Reached {
    /// Watches; the monitor account.
    server: Mutex<Server>,
    /// The newest version the server told.
    version: Mutex<Option<Version>>,
    /// Looks.
    looking: Mutex<Option<HostShell>>,
    /// Acts.
    acting: Mutex<Option<HostShell>>,
    /// A shell that was lost while acting, until it is verified gone.
    lost: Mutex<Option<crate::io::shell::Remains>>,
}

impl Fleet {
    /// Puts a cluster within reach; nothing is connected yet.
    ///
    /// # Errors
    /// Usage: secrets or SSH settings that cannot be had.
    pub async fn new(entry: ClusterEntry, playbook: Arc<Playbook>) -> Result<Fleet, Trouble> {
        let vault = Vault::open(&entry).await?;
        let mut targets = Vec::new();
        let mut hosts = BTreeMap::new();
        for (name, host) in &entry.hosts {
            let logins = vault.logins(name).ok_or_else(|| unknown_host(&entry, name))?;
            let target = crate::io::ssh::resolve(name.as_str(), &host.ssh, logins.ssh_passphrase.clone())
                .await
                .map_err(|error| ssh_trouble(Kind::Usage, &error))?;
            targets.push((name.as_str().to_owned(), target));
            hosts.insert(
                name.clone(),
                Reached {
                    server: Mutex::new(Server::new(host.address, host.mysql.port, logins.monitor.clone())),
                    version: Mutex::new(None),
                    looking: Mutex::new(None),
                    acting: Mutex::new(None),
                    lost: Mutex::new(None),
                },
            );
        }
        Ok(Fleet { links: Links::new(targets), entry, playbook, vault, hosts })
    }
}

impl Fleet {
    /// The cluster's part of the inventory.
    pub fn entry(&self) -> &ClusterEntry {
        &self.entry
    }

    /// The playbook in use.
    pub fn playbook(&self) -> &Playbook {
        &self.playbook
    }

    /// The logins of one host.
    pub fn logins(&self, host: &HostName) -> Option<&Logins> {
        self.vault.logins(host)
    }

    /// Looks at every host at once.
    pub async fn look_everywhere(&self) -> BTreeMap<HostName, HostFacts> {
        let looks = self.hosts.keys().map(|host| async { (host.clone(), self.look(host).await) });
        join_all(looks).await.into_iter().collect()
    }

    /// Looks at one host, over the MySQL protocol and over SSH at once.
    pub async fn look(&self, host: &HostName) -> HostFacts {
        let (mysql, ssh) = tokio::join!(self.ask(host), self.look_over_ssh(host));
        HostFacts { mysql, ssh }
    }

    /// What a server says of itself.
    pub async fn ask(&self, host: &HostName) -> Reach<MysqlFacts> {
        let Some(reached) = self.hosts.get(host) else { return Reach::default() };
        let facts = reached.server.lock().await.facts(ASK_WITHIN).await;
        if let Reach::Up(facts) = &facts {
            *reached.version.lock().await = Some(facts.version);
        }
        facts
    }

    /// What a host says of itself over SSH.
    pub async fn look_over_ssh(&self, host: &HostName) -> Reach<ShellFacts> {
        let report = match self.glance(host, "facts", &Errands::default(), LOOK_WITHIN).await {
            Ok(report) => report,
            Err(trouble) => return Reach::Silent(trouble.because),
        };
        match &report.outcome {
            DutyOutcome::Done => match shell_facts::parse(&report.registered) {
                Ok(facts) => Reach::Up(facts),
                Err(why) => Reach::Unasked(why),
            },
            other => Reach::Unasked(format!("the duty `facts` did not end well: {other:?}")),
        }
    }

    /// Performs a duty that only looks, on the host's looking shell.
    ///
    /// # Errors
    /// The host cannot be reached over SSH, or the duty cannot be made ready.
    pub async fn glance(
        &self,
        host: &HostName,
        duty: &str,
        errand: &Errands<'_>,
        within: Duration,
    ) -> Result<DutyReport, Trouble> {
        let script = self.ready(host, duty, errand, within).await?;
        let reached = self.hosts.get(host).ok_or_else(|| unknown_host(&self.entry, host))?;
        let looked = timeout(within + GRACE, async {
            let mut looking = reached.looking.lock().await;
            self.run_in(host, &mut looking, &script, within).await
        });
        looked.await.unwrap_or_else(|_| Err(out_of_time(host, within)))
    }

    /// Performs a duty on the host's acting shell.
    ///
    /// # Errors
    /// The host cannot be reached over SSH, or the duty cannot be made ready: nothing was begun.
    pub async fn act(
        &self,
        host: &HostName,
        duty: &str,
        errand: &Errands<'_>,
        within: Duration,
    ) -> Result<DutyReport, Trouble> {
        let script = self.ready(host, duty, errand, within).await?;
        let reached = self.hosts.get(host).ok_or_else(|| unknown_host(&self.entry, host))?;
        let mut acting = reached.acting.lock().await;
        let report = self.run_in(host, &mut acting, &script, within).await?;
        if matches!(report.outcome, DutyOutcome::Unknown { .. })
            && let Some(lost) = acting.take()
        {
            *reached.lost.lock().await = Some(lost.remains());
        }
        Ok(report)
    }

    /// Opens the acting shell of a host, with its SQL client, ahead of the time in which writes are refused.
    ///
    /// # Errors
    /// The host cannot be reached over SSH, or its server does not take the agent account.
    pub async fn warm(&self, host: &HostName, with_sql: bool) -> Result<(), Trouble> {
        let reached = self.hosts.get(host).ok_or_else(|| unknown_host(&self.entry, host))?;
        let mut acting = reached.acting.lock().await;
        let shell = self.open_in(host, &mut acting).await?;
        if with_sql {
            shell.warm_sql(LOOK_WITHIN).await.map_err(|error| {
                Trouble::new(Kind::Refused, format!("the server on `{host}` does not take the agent account"), error)
                    .hint("`mmm check` tries each account")
            })?;
        }
        Ok(())
    }

    /// Closes every acting shell: no session of ours stays behind on the servers.
    pub async fn cool(&self) {
        for reached in self.hosts.values() {
            if let Some(shell) = reached.acting.lock().await.take() {
                shell.close().await;
            }
        }
    }

    /// A duty made ready for a host, as it would run now.
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
        let entry = self.host_entry(host)?;
        let context = context::context(&self.entry, &self.vault, entry, errand);
        self.render(host, duty, &context, within).await
    }

    async fn render(
        &self,
        host: &HostName,
        duty: &str,
        context: &Context,
        within: Duration,
    ) -> Result<Script, Trouble> {
        let reached = self.hosts.get(host).ok_or_else(|| unknown_host(&self.entry, host))?;
        let speaks = context::speaks(*reached.version.lock().await);
        render(&self.playbook, duty, &speaks, context, within).map_err(|error| {
            Trouble::new(Kind::Usage, format!("duty `{duty}` cannot be made ready for `{host}`"), error)
                .hint("`mmm validate` checks playbooks and inventory")
        })
    }

    fn host_entry(&self, host: &HostName) -> Result<&HostEntry, Trouble> {
        self.entry.hosts.get(host).ok_or_else(|| unknown_host(&self.entry, host))
    }
}
