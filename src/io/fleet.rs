//! A cluster's hosts within reach: one SSH connection and two warm shells a host, one connection to each server.
//!
//! Looking and acting use separate shells, so that a look that hangs never stands in the way of an operation.

mod locks;
mod looking;
mod printing;
mod settling;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Weak};
use std::time::Duration;

use secrecy::ExposeSecret as _;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::config::inventory::{ClusterEntry, HostEntry, SshSettings};
use crate::config::playbook;
use crate::config::template::{self, Context};
use crate::core::cluster::HostName;
use crate::core::facts::Version;
use crate::core::guard::Guard;
use crate::core::playbook::Playbook;
use crate::core::script::{DutyReport, Script};
use crate::core::trouble::{Kind, Trouble};
use crate::core::wire::{self, SqlLogin};
use crate::io::context::{self, Errands};
use crate::io::mysql::Server;
use crate::io::shell::{Shell, Trace};
use crate::io::ssh::{Identity, Link, Links, SshError, Timing, Wanted};
use crate::io::vault::{Logins, Vault};

pub use printing::Printed;
pub use settling::old;

/// Added to a duty's own deadline for the way there and back.
const GRACE: Duration = Duration::from_millis(500);
/// Opening a shell and its SQL client may take so long.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// Closing a shell may take so long.
const CLOSE_WITHIN: Duration = Duration::from_millis(500);

pub use locks::HeldLocks;

/// A shell on a host, over its SSH connection.
pub type HostShell = Shell<crate::io::ssh::Stream>;

/// Every host of one cluster, within reach.
pub struct Fleet {
    entry: ClusterEntry,
    playbook: Arc<Playbook>,
    links: Links,
    vault: Vault,
    hosts: BTreeMap<HostName, Reached>,
    /// The locks of the operation that is under way.
    held: std::sync::Mutex<Weak<HeldLocks>>,
}

/// What is kept open to one host.
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
    lost: Mutex<Option<Trace>>,
    /// Whether nothing at all came back when it was last looked at.
    silent: AtomicBool,
    /// Whether its server said nothing in time then.
    mute: AtomicBool,
}

impl std::fmt::Debug for Fleet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Fleet({})", self.entry.cluster.name)
    }
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
            targets.push(
                wanted(name, &host.ssh, logins)
                    .resolve()
                    .await
                    .map_err(|error| unusable(&error))?,
            );
            hosts.insert(
                name.clone(),
                Reached {
                    server: Mutex::new(
                        Server::new(host.address, host.mysql.port, logins.monitor.clone())
                            .managing(&host.mysql.channel),
                    ),
                    version: Mutex::new(None),
                    looking: Mutex::new(None),
                    acting: Mutex::new(None),
                    lost: Mutex::new(None),
                    silent: AtomicBool::new(false),
                    mute: AtomicBool::new(false),
                },
            );
        }
        Ok(Fleet {
            links: Links::new(targets),
            entry,
            playbook,
            vault,
            hosts,
            held: std::sync::Mutex::default(),
        })
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

    /// What the number of the connection is called that holds the cluster's lock on a server.
    pub const LOCK_CONNECTION: &str = "lock.connection";

    /// The user that SSH signs in as; none when there is no such host.
    pub fn ssh_user(&self, host: &HostName) -> Option<String> {
        self.links.user(host.as_str())
    }

    /// The logins of one host.
    pub fn logins(&self, host: &HostName) -> Option<&Logins> {
        self.vault.logins(host)
    }

    /// Performs a duty on the host's acting shell. No step starts later than `within` and a little from now, the time
    /// for a new shell included: whoever finds the journal of a run relies on it.
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
        let deadline = Instant::now() + within + GRACE;
        let script = self.ready(host, duty, errand, within).await?;
        let reached = self.reached(host)?;
        let mut acting = reached.acting.lock().await;
        let shell = match timeout(within + CONNECT_WITHIN, self.open_in(host, &mut acting)).await {
            Ok(shell) => shell?,
            Err(_) => return Err(out_of_time(host, within + CONNECT_WITHIN)),
        };
        let report = shell.run(&script, deadline).await;
        if let Some(why) = shell.lost() {
            tracing::warn!("the shell on {host} is lost: {why}");
            *reached.lost.lock().await = Some(shell.trace().clone());
        }
        Ok(report)
    }

    /// Performs a duty on the box itself, for a fence.
    ///
    /// # Errors
    /// The duty cannot be made ready, or no shell can be started here.
    pub async fn act_on_box(
        &self,
        subject: &HostName,
        duty: &str,
        errand: &Errands<'_>,
        within: Duration,
    ) -> Result<DutyReport, Trouble> {
        let script = self.ready(subject, duty, errand, within).await?;
        let login = self.sql_login(subject, None)?;
        let mut shell = crate::io::here::shell(&login, &self.entry.secret_variables).await?;
        Ok(shell.run(&script, Instant::now() + within + GRACE).await)
    }

    /// Opens the acting shell of a host ahead of the time in which writes are refused, with its SQL client, and says
    /// what would be left of it if it were lost.
    ///
    /// # Errors
    /// The host cannot be reached over SSH, or its server does not take the agent account.
    pub async fn warm(&self, host: &HostName) -> Result<Trace, Trouble> {
        let reached = self.reached(host)?;
        let mut acting = reached.acting.lock().await;
        let opened = timeout(CONNECT_WITHIN, async {
            let shell = self.open_in(host, &mut acting).await?;
            shell
                .warm_sql(Instant::now() + CONNECT_WITHIN)
                .await
                .map_err(|error| {
                    Trouble::refused(
                        Guard::G19,
                        format!("the server on `{host}` does not take the agent account"),
                        error,
                    )
                })?;
            Ok(shell.trace().clone())
        });
        opened
            .await
            .unwrap_or_else(|_| Err(out_of_time(host, CONNECT_WITHIN)))
    }

    /// As [`Fleet::warm`], without the SQL client: for a host whose server is held to be dead.
    ///
    /// # Errors
    /// The host cannot be reached over SSH.
    pub async fn warm_shell(&self, host: &HostName) -> Result<Trace, Trouble> {
        let mut acting = self.reached(host)?.acting.lock().await;
        match timeout(CONNECT_WITHIN, self.open_in(host, &mut acting)).await {
            Ok(shell) => Ok(shell?.trace().clone()),
            Err(_) => Err(out_of_time(host, CONNECT_WITHIN)),
        }
    }

    /// Closes every acting shell: no session of ours stays behind on the servers.
    pub async fn cool(&self) {
        for reached in self.hosts.values() {
            if let Some(shell) = reached.acting.lock().await.take() {
                shell.close(CLOSE_WITHIN).await;
            }
        }
    }

    /// A usable shell in `slot`: the one that is there, or a new one.
    async fn open_in<'s>(
        &self,
        host: &HostName,
        slot: &'s mut Option<HostShell>,
    ) -> Result<&'s mut HostShell, Trouble> {
        let usable = slot.as_ref().is_some_and(|shell| shell.lost().is_none());
        if !usable {
            *slot = None;
            *slot = Some(self.open_another_shell(host).await?);
        }
        slot.as_mut().ok_or_else(|| unknown_host(&self.entry, host))
    }

    /// A new shell on a host beside the kept ones; for whoever takes his time.
    ///
    /// # Errors
    /// The host cannot be reached over SSH, or its shell does not answer.
    pub async fn open_another_shell(&self, host: &HostName) -> Result<HostShell, Trouble> {
        let version = self.version_spoken(host).await?;
        let login = self.sql_login(host, version)?;
        self.open_shell(host, &login).await
    }

    /// A new shell on a host, whose SQL client signs in with `login`; for whoever must not use the kept ones.
    ///
    /// # Errors
    /// The host cannot be reached over SSH, or its shell does not answer.
    pub async fn open_shell(&self, host: &HostName, login: &SqlLogin) -> Result<HostShell, Trouble> {
        let link = self.connect(host).await.map_err(|error| ssh_trouble(&error))?;
        let tag = random_word()?;
        let stream = link
            .stream(&wire::remote_command(&tag))
            .await
            .map_err(|error| ssh_trouble(&error))?;
        let deadline = Instant::now() + CONNECT_WITHIN;
        Shell::open(stream, &random_word()?, &tag, login, deadline)
            .await
            .map_err(|error| {
                Trouble::refused(Guard::G09, format!("no shell on `{host}`"), error)
                    .hint("`ssh` to it as the same user and see what its login shell prints")
            })
    }

    /// The SSH connection to a host, opened if it is not; or why there is none.
    pub async fn connect(&self, host: &HostName) -> Result<Link, SshError> {
        self.links.get(host.as_str()).await
    }

    fn sql_login(&self, host: &HostName, version: Option<Version>) -> Result<SqlLogin, Trouble> {
        let entry = self.host_entry(host)?;
        let logins = self
            .vault
            .logins(host)
            .ok_or_else(|| unknown_host(&self.entry, host))?;
        let session = playbook::session(&self.playbook, &context::speaks(version)).map_err(|error| {
            Trouble::new(Kind::Usage, "the dialect's word `session` cannot be used", error)
        })?;
        Ok(SqlLogin {
            user: logins.agent.user.clone(),
            password: logins.agent.password.expose_secret().to_owned(),
            socket: entry.mysql.socket.as_ref().map(|path| path.display().to_string()),
            server: None,
            session: session.first().map(|statement| statement.wire()),
        })
    }

    /// The version to speak to on a host. One that has not told its own, such as a writer that was dead before anybody
    /// asked, is spoken to as the oldest of the others: the hosts of a cluster are of one family.
    async fn version_spoken(&self, host: &HostName) -> Result<Option<Version>, Trouble> {
        if let Some(version) = *self.reached(host)?.version.lock().await {
            return Ok(Some(version));
        }
        let mut others = Vec::new();
        for reached in self.hosts.values() {
            others.extend(*reached.version.lock().await);
        }
        Ok(others.into_iter().min_by_key(|version| version.numbers))
    }

    fn reached(&self, host: &HostName) -> Result<&Reached, Trouble> {
        self.hosts
            .get(host)
            .ok_or_else(|| unknown_host(&self.entry, host))
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
        let context = self.context(host, errand)?;
        let script = self.render(host, duty, &context, within).await?;
        Ok(match errand.environment {
            Some(environment) => script.within_environment(environment),
            None => script,
        })
    }

    /// As [`Fleet::ready`], for people: what only whoever holds the lock knows is said in words.
    ///
    /// # Errors
    /// As [`Fleet::ready`].
    pub async fn ready_to_show(
        &self,
        host: &HostName,
        duty: &str,
        errand: &Errands<'_>,
        within: Duration,
    ) -> Result<Script, Trouble> {
        let mut context = self.context(host, errand)?;
        let connection = template::not_known_yet(Fleet::LOCK_CONNECTION);
        context.set(
            "lock",
            serde_json::json!({ "name": self.lock_name(), "connection": connection }),
        );
        self.render(host, duty, &context, within).await
    }

    /// What the templates of a duty can name on a host.
    ///
    /// # Errors
    /// Usage: there is no such host.
    pub fn context(&self, host: &HostName, errand: &Errands<'_>) -> Result<Context, Trouble> {
        let entry = self.host_entry(host)?;
        let mut context = context::context(&self.entry, &self.vault, entry, errand);
        context.set(
            "lock",
            serde_json::json!({ "name": self.lock_name(), "connection": self.lock_connection(host) }),
        );
        Ok(context)
    }

    async fn render(
        &self,
        host: &HostName,
        duty: &str,
        context: &Context,
        within: Duration,
    ) -> Result<Script, Trouble> {
        let speaks = context::speaks(self.version_spoken(host).await?);
        playbook::render(&self.playbook, duty, &speaks, context, within).map_err(|error| {
            Trouble::new(
                Kind::Usage,
                format!("duty `{duty}` cannot be made ready for `{host}`"),
                error,
            )
            .hint("`mmm validate` checks playbooks and inventory")
        })
    }

    fn host_entry(&self, host: &HostName) -> Result<&HostEntry, Trouble> {
        self.entry
            .hosts
            .get(host)
            .ok_or_else(|| unknown_host(&self.entry, host))
    }
}

/// What the inventory says about a host's SSH, as the SSH room takes it.
fn wanted(name: &HostName, settings: &SshSettings, logins: &Logins) -> Wanted {
    Wanted {
        port: settings.port,
        user: settings.user.clone(),
        identity: settings
            .identity_file
            .as_ref()
            .map(|path| Identity::new(path, logins.ssh_passphrase.clone())),
        jump: settings.jump.clone(),
        known_hosts: settings.known_hosts.clone(),
        use_ssh_config: settings.use_ssh_config,
        timing: Timing {
            connect: settings.connect_timeout,
            keepalive_interval: settings.keepalive_every,
            keepalive_max: settings.keepalive_misses,
        },
        max_channels: usize::try_from(settings.max_channels).unwrap_or(usize::MAX),
        ..Wanted::new(name.as_str(), &settings.address)
    }
}

fn unknown_host(entry: &ClusterEntry, host: &HostName) -> Trouble {
    Trouble::new(
        Kind::Usage,
        format!("`{}` has no host `{host}`", entry.cluster.name),
        "the inventory does not name it",
    )
}

/// What the inventory says of SSH cannot be used at all.
fn unusable(error: &SshError) -> Trouble {
    Trouble::new(Kind::Usage, error.what(), error.because()).hint(error.suggestion().unwrap_or_default())
}

fn ssh_trouble(error: &SshError) -> Trouble {
    let trouble = Trouble::refused(Guard::G09, error.what(), error.because());
    trouble.hint(error.suggestion().unwrap_or_default())
}

fn out_of_time(host: &HostName, within: Duration) -> Trouble {
    Trouble::refused(
        Guard::G09,
        format!("no answer from `{host}` over SSH"),
        format!("it took longer than {} ms", within.as_millis()),
    )
}

/// Letters and digits that nobody can guess.
///
/// # Errors
/// The kernel gave no random bytes.
pub fn random_word() -> Result<String, Trouble> {
    let mut bytes = [0_u8; 16];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(|error| Trouble::new(Kind::Bug, "the kernel gave no random bytes", error))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
