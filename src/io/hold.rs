//! The lock of an operation: the file on this box, and GET_LOCK on every server that answers, in inventory order, so that
//! two boxes that begin at the same instant cannot both get all of them. Whoever waits holds only locks that come before
//! the one he waits for, so nobody waits for ever. All servers are dialled at once, so that hung ones cost no more than one.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use crate::core::cluster::HostName;
use crate::core::guard::Guard;
use crate::core::reach::{Failure, Mishap};
use crate::core::trouble::Trouble;
use crate::io::fleet::{Fleet, HeldLocks};
use crate::io::lock::LocalLock;
use crate::io::mysql::{Dialled, FORGOTTEN_AFTER_S, Holder, Taking};
use crate::io::standing::StateDir;

/// How long one server may take to grant its lock, besides waiting for a holder.
const GRANT_WITHIN: Duration = Duration::from_secs(2);
/// The same for one that said nothing when it was last looked at.
const GRANT_MUTE_WITHIN: Duration = Duration::from_millis(500);
/// A holder uses its connection every 2 s. One that has been silent for so long has lost its power or its way here.
const SILENT_HOLDER: Duration = Duration::from_secs(4);
/// How long a lock is waited for that nobody holds any more, while the server has only not noticed yet: of an earlier run
/// on this box, which holds the local lock no more, or of a box that has fallen silent.
const LEFTOVER_PATIENCE: Duration = Duration::from_secs(FORGOTTEN_AFTER_S as u64 + 2);
/// How long giving one back may take.
const RELEASE_WITHIN: Duration = Duration::from_millis(500);

/// The held lock of an operation.
#[derive(Debug)]
pub struct Hold {
    /// `None` when the state directory cannot be written and a failover goes on all the same.
    _local: Option<LocalLock>,
    remote: Arc<HeldLocks>,
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
        let remote = take_remote(fleet, &[], true, patience).await?;
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
        let remote = take_remote(fleet, absent, local.is_some(), patience).await?;
        Ok(Hold {
            _local: local,
            remote,
        })
    }

    /// Gives everything back.
    pub async fn release(self) {
        self.remote.release(RELEASE_WITHIN).await;
    }
}

async fn take_remote(
    fleet: &Fleet,
    absent: &[HostName],
    is_held_here: bool,
    patience: Duration,
) -> Result<Arc<HeldLocks>, Trouble> {
    let held = Arc::new(HeldLocks::default());
    let hosts = fleet.entry().cluster.hosts.iter().map(|host| &host.name);
    let dialling = hosts
        .filter(|host| !absent.contains(host))
        .map(|host| async move {
            let within = grant_within(fleet, host);
            (host, fleet.dial_for_lock(host, within).await)
        });
    for (host, dialled) in join_all(dialling).await {
        let Some(dialled) = dialled else { continue };
        if let Err(trouble) = take_one(fleet, host, dialled, is_held_here, patience, &held).await {
            held.release(RELEASE_WITHIN).await;
            return Err(trouble);
        }
    }
    fleet.act_under(&held);
    Ok(held)
}

fn grant_within(fleet: &Fleet, host: &HostName) -> Duration {
    if fleet.is_mute(host) {
        GRANT_MUTE_WITHIN
    } else {
        GRANT_WITHIN
    }
}

/// Takes the lock of one server. One that does not answer cannot be locked by anybody, and cannot be opened either.
async fn take_one(
    fleet: &Fleet,
    host: &HostName,
    dialled: Result<Dialled, Failure>,
    is_held_here: bool,
    patience: Duration,
    held: &HeldLocks,
) -> Result<(), Trouble> {
    let within = grant_within(fleet, host);
    let mut waited = patience;
    let mut taking = match dialled {
        Ok(session) => Some(session.take(&fleet.lock_name(), patience, within).await),
        Err(failure) => Some(Err(failure)),
    };
    // Its session may have been ended while others were waited for.
    if matches!(&taking, Some(Err(failure)) if failure.mishap == Mishap::Lost) {
        taking = fleet.take_lock(host, patience, within).await;
    }
    if let Some(Ok(Taking::Held(Some(holder)))) = &taking {
        let is_left_over = is_held_here && holder.is_from_here;
        let has_fallen_silent = holder.silent_for >= SILENT_HOLDER && !patience.is_zero();
        if is_left_over || has_fallen_silent {
            tracing::info!("whoever held the lock on `{host}` is gone; the server gives it back soon");
            waited += LEFTOVER_PATIENCE;
            taking = fleet.take_lock(host, LEFTOVER_PATIENCE, within).await;
        }
    }
    match taking {
        Some(Ok(Taking::Taken(lock))) => held.add(host.clone(), lock),
        Some(Ok(Taking::Held(holder))) => return Err(taken_by(host, holder.as_ref(), waited)),
        Some(Err(failure)) => held.lacks(host.clone(), failure.text),
        None => {}
    }
    Ok(())
}

fn taken_by(host: &HostName, holder: Option<&Holder>, waited: Duration) -> Trouble {
    let who = holder
        .and_then(|holder| holder.client.as_deref())
        .unwrap_or("another box");
    let silent = holder
        .map(|holder| holder.silent_for)
        .filter(|silent_for| *silent_for >= SILENT_HOLDER)
        .map(|silent_for| format!(", and has been silent for {} s", silent_for.as_secs()))
        .unwrap_or_default();
    Trouble::refused(
        Guard::G04,
        "another operation holds the cluster's lock",
        format!(
            "{who} holds it on `{host}`{silent}; it was waited for {} s",
            waited.as_secs()
        ),
    )
}
