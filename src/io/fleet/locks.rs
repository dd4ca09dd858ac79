//! The locks that an operation holds on the cluster's servers, and whether it still does. A server gives a lock back when
//! our connection to it dies, so before a host is opened each of them is looked at again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use futures_util::future::join_all;

use super::Fleet;
use crate::core::cluster::HostName;
use crate::core::reach::Failure;
use crate::io::mysql::{Dialled, Holder, Lock, Server, Taking};

/// Asking a server whether a lock is still ours may take so long: nobody can write meanwhile.
const STILL_WITHIN: Duration = Duration::from_millis(500);
/// How long whoever took a lost lock is waited for.
const REGAIN_WAIT: Duration = Duration::from_secs(1);
/// A lost lock may take so long to be had back, besides waiting for its holder.
const REGAIN_WITHIN: Duration = Duration::from_secs(2);

/// The locks of one operation, by the host they are on; given back when the last owner of this value lets go.
#[derive(Debug, Default)]
pub struct HeldLocks {
    held: Mutex<BTreeMap<HostName, Arc<Lock>>>,
    /// Why there is none on these.
    missing: Mutex<BTreeMap<HostName, String>>,
}

impl HeldLocks {
    /// Adds one.
    pub fn add(&self, host: HostName, lock: Lock) {
        self.lock().insert(host, Arc::new(lock));
    }

    /// Remembers why there is none on a host.
    pub fn lacks(&self, host: HostName, why: String) {
        let mut missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        missing.insert(host, why);
    }

    /// All of them.
    pub fn all(&self) -> BTreeMap<HostName, Arc<Lock>> {
        self.lock().clone()
    }

    /// Gives every one back.
    pub async fn release(&self, within: Duration) {
        let all = std::mem::take(&mut *self.lock());
        join_all(all.values().map(|lock| lock.release(within))).await;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<HostName, Arc<Lock>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Fleet {
    /// The name of the cluster's lock on every server.
    pub fn lock_name(&self) -> String {
        format!("mmm.{}", self.entry.cluster.name)
    }

    /// The name of the lock by which a monitor shows that it watches.
    fn watch_sign(&self) -> String {
        format!("{}.watch", self.lock_name())
    }

    /// Sets the sign of a monitor on a server, at once or not at all; `None` when there is no such host.
    pub async fn take_watch_sign(
        &self,
        host: &HostName,
        within: Duration,
    ) -> Option<Result<Taking, Failure>> {
        let entry = self.entry.hosts.get(host)?;
        let login = self.vault.logins(host)?.agent.clone();
        let name = self.watch_sign();
        Some(
            Lock::take(
                entry.address,
                entry.mysql.port,
                login,
                &name,
                Duration::ZERO,
                within,
            )
            .await,
        )
    }

    /// Whose monitor shows on a server that it watches; none also when the server cannot be asked.
    pub async fn watcher(&self, host: &HostName, within: Duration) -> Option<Holder> {
        let entry = self.entry.hosts.get(host)?;
        let login = self.vault.logins(host)?.agent.clone();
        let mut server = Server::new(entry.address, entry.mysql.port, login);
        let holder = server.lock_holder(&self.watch_sign(), within).await;
        server.hang_up(within).await;
        match holder {
            Ok(holder) => holder,
            Err(failure) => {
                tracing::debug!("{host} did not say whether a monitor watches: {}", failure.text);
                None
            }
        }
    }

    /// Opens a session on a server in which the cluster's lock can be taken; `None` when there is no such host.
    pub async fn dial_for_lock(&self, host: &HostName, within: Duration) -> Option<Result<Dialled, Failure>> {
        let entry = self.entry.hosts.get(host)?;
        let login = self.vault.logins(host)?.agent.clone();
        Some(Dialled::open(entry.address, entry.mysql.port, login, within).await)
    }

    /// Takes the cluster's lock on a server; `None` when there is no such host.
    pub async fn take_lock(
        &self,
        host: &HostName,
        wait: Duration,
        within: Duration,
    ) -> Option<Result<Taking, Failure>> {
        match self.dial_for_lock(host, within).await? {
            Ok(dialled) => Some(dialled.take(&self.lock_name(), wait, within).await),
            Err(failure) => Some(Err(failure)),
        }
    }

    /// From now on these are the locks that the operation holds.
    pub fn act_under(&self, locks: &Arc<HeldLocks>) {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(locks);
    }

    fn held(&self) -> Option<Arc<HeldLocks>> {
        let held: Weak<HeldLocks> = self.held.lock().unwrap_or_else(PoisonError::into_inner).clone();
        held.upgrade()
    }

    /// Whether the operation holds the lock of a host.
    pub fn holds_lock_of(&self, host: &HostName) -> bool {
        self.held().is_some_and(|held| held.lock().contains_key(host))
    }

    /// Why the operation has no lock on a host; empty when that is not known.
    pub fn why_no_lock(&self, host: &HostName) -> String {
        let why = self.held().and_then(|held| {
            let missing = held.missing.lock().unwrap_or_else(PoisonError::into_inner);
            missing.get(host).cloned()
        });
        why.map(|why| format!(": {why}")).unwrap_or_default()
    }

    /// The number of our connection that holds the lock of a host; 0, which no connection has, when none does.
    pub(super) fn lock_connection(&self, host: &HostName) -> u64 {
        let held = self.held();
        held.and_then(|held| Some(held.lock().get(host)?.connection()))
            .unwrap_or_default()
    }

    /// Which lock of the operation is lost, and why that matters; none when each is still ours.
    pub async fn lost_lock(&self) -> Option<String> {
        let Some(held) = self.held() else {
            return Some("the cluster's lock is not held".to_owned());
        };
        let asked = held
            .all()
            .into_iter()
            .map(|(host, lock)| async move { (!lock.still_held(STILL_WITHIN).await).then_some(host) });
        let lost: Vec<HostName> = join_all(asked).await.into_iter().flatten().collect();
        let first = lost.first()?;
        Some(format!(
            "the cluster's lock is lost on {first}, so another box may act"
        ))
    }

    /// Takes lost locks again, before `host` is opened; says why that could not be. A server that does not answer
    /// cannot be locked by anybody, but the host to be opened must be ours.
    pub async fn regain_lock(&self, host: &HostName) -> Option<String> {
        let Some(held) = self.held() else {
            return Some("the cluster's lock is not held".to_owned());
        };
        for (name, lock) in held.all() {
            if lock.still_held(STILL_WITHIN).await {
                continue;
            }
            match self.take_lock(&name, REGAIN_WAIT, REGAIN_WITHIN).await {
                Some(Ok(Taking::Taken(again))) => held.add(name, again),
                Some(Ok(Taking::Held(_))) => {
                    return Some(format!(
                        "another operation holds the cluster's lock on {name} meanwhile"
                    ));
                }
                // A server that cannot be asked gives its lock to nobody.
                Some(Err(failure)) => {
                    held.lock().remove(&name);
                    held.lacks(name, failure.text);
                }
                None => {}
            }
        }
        (!held.lock().contains_key(host)).then(|| format!("the cluster's lock on {host} cannot be had"))
    }
}
