//! The lock of an operation: the file on this box, and GET_LOCK on every server that answers, in inventory order, so that
//! two boxes that begin at the same instant cannot both get all of them.

use std::time::Duration;

use crate::core::cluster::HostName;
use crate::core::guard::Guard;
use crate::core::reach::Failure;
use crate::core::trouble::Trouble;
use crate::io::fleet::Fleet;
use crate::io::lock::LocalLock;
use crate::io::mysql::{FORGOTTEN_AFTER_S, Lock, Taking};
use crate::io::standing::StateDir;

/// How long one server may take to grant its lock, besides waiting for a holder.
const GRANT_WITHIN: Duration = Duration::from_secs(2);
/// The same for one that was silent when it was last looked at.
const GRANT_SILENT_WITHIN: Duration = Duration::from_millis(300);
/// How long another box's lock on a server is waited for.
const REMOTE_PATIENCE: Duration = Duration::from_secs(1);
/// How long a lock is waited for that an earlier run on this box left behind: it holds the local lock no more, so it is
/// gone, and the server has only not noticed yet.
const LEFTOVER_PATIENCE: Duration = Duration::from_secs(FORGOTTEN_AFTER_S as u64 + 2);
/// How long giving one back may take.
const RELEASE_WITHIN: Duration = Duration::from_millis(500);

/// The held lock of an operation.
#[derive(Debug)]
pub struct Hold {
    /// `None` when the state directory cannot be written and a failover goes on all the same.
    _local: Option<LocalLock>,
    remote: Vec<Lock>,
}

impl Hold {
    /// Takes the lock on this box and on every server that answers.
    ///
    /// # Errors
    /// Refused: someone else holds it, and who.
    pub async fn take(
        fleet: &Fleet,
        dir: &StateDir,
        purpose: &str,
        patience: Duration,
    ) -> Result<Hold, Trouble> {
        let local = LocalLock::take(dir, purpose, patience).await?;
        let remote = take_remote(fleet, &[], true).await?;
        Ok(Hold {
            _local: Some(local),
            remote,
        })
    }

    /// As [`Hold::take`], for a failover that must go on although nothing can be written on this box. Servers in
    /// `absent` are held to be dead and are not asked.
    ///
    /// # Errors
    /// Refused: another box holds it, and who.
    pub async fn take_for_failover(
        fleet: &Fleet,
        dir: &StateDir,
        purpose: &str,
        patience: Duration,
        absent: &[HostName],
    ) -> Result<Hold, Trouble> {
        let local = match LocalLock::take(dir, purpose, patience).await {
            Ok(local) => Some(local),
            Err(trouble) if trouble.what.starts_with("another operation") => return Err(trouble),
            Err(trouble) => {
                tracing::error!("{trouble}");
                None
            }
        };
        let remote = take_remote(fleet, absent, local.is_some()).await?;
        Ok(Hold {
            _local: local,
            remote,
        })
    }

    /// Gives everything back.
    pub async fn release(self) {
        for lock in self.remote {
            lock.release(RELEASE_WITHIN).await;
        }
    }
}

async fn take_remote(fleet: &Fleet, absent: &[HostName], is_held_here: bool) -> Result<Vec<Lock>, Trouble> {
    let name = format!("mmm.{}", fleet.entry().cluster.name);
    let mut held = Vec::new();
    for host in fleet
        .entry()
        .cluster
        .hosts
        .iter()
        .filter(|host| !absent.contains(&host.name))
    {
        let within = if fleet.is_silent(&host.name) {
            GRANT_SILENT_WITHIN
        } else {
            GRANT_WITHIN
        };
        let mut taking = fleet.take_lock(&host.name, &name, REMOTE_PATIENCE, within).await;
        let is_left_over = |taking: &Option<Result<Taking, Failure>>| {
            is_held_here && matches!(taking, Some(Ok(Taking::Held(Some(holder)))) if holder.is_from_here)
        };
        if is_left_over(&taking) {
            tracing::info!(
                "an earlier run left its lock on `{}`; the server gives it back soon",
                host.name
            );
            taking = fleet
                .take_lock(&host.name, &name, LEFTOVER_PATIENCE, within)
                .await;
        }
        match taking {
            Some(Ok(Taking::Taken(lock))) => held.push(lock),
            Some(Ok(Taking::Held(holder))) => {
                for lock in held {
                    lock.release(RELEASE_WITHIN).await;
                }
                let who = holder
                    .and_then(|holder| holder.client)
                    .unwrap_or_else(|| "another box".to_owned());
                return Err(Trouble::refused(
                    Guard::G04,
                    "another operation holds the cluster's lock",
                    format!("{who} holds it on `{}`", host.name),
                ));
            }
            // A server that does not answer cannot be held, and cannot be opened either.
            Some(Err(failure)) => tracing::debug!("no lock on {}: {}", host.name, failure.text),
            None => {}
        }
    }
    Ok(held)
}
