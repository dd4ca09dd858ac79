//! One kept connection per host: opened when first wanted, opened anew when it died, never in a loop that sshd would punish.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::error::{SshError, SshErrorKind};
use super::link::Link;
use super::target::Target;

/// Pause after a host that cannot be reached. Asking it costs nobody anything, so it grows little: a host that comes back
/// must be noticed at once.
const UNREACHABLE: Pauses = Pauses {
    first: Duration::from_millis(100),
    most: Duration::from_millis(500),
};
/// Pause after sshd answered and hung up: it may be overloaded or be holding our address off.
const HUNG_UP: Pauses = Pauses {
    first: Duration::from_secs(1),
    most: Duration::from_secs(10),
};
/// Pause after a refusal that only a person can change: sshd counts each against our address (5 s of penalty, enforced
/// above 15 s), and a penalty would shut out every other program here too.
const REFUSED: Pauses = Pauses {
    first: Duration::from_secs(10),
    most: Duration::from_secs(120),
};

struct Pauses {
    first: Duration,
    most: Duration,
}

impl Pauses {
    fn after(&self, failures: u32) -> Duration {
        self.first
            .saturating_mul(1 << failures.saturating_sub(1).min(10))
            .min(self.most)
    }
}

fn pause(error: &SshError, failures: u32) -> Duration {
    match error.kind() {
        SshErrorKind::Unreachable | SshErrorKind::ConnectTimeout => UNREACHABLE.after(failures),
        _ if error.needs_a_person() => REFUSED.after(failures),
        _ => HUNG_UP.after(failures),
    }
}

/// The connections to all hosts, by name. Clones share them.
#[derive(Clone, Default)]
pub struct Links {
    places: Arc<Mutex<HashMap<String, Arc<Place>>>>,
    /// Jump hosts, by all that is said of them: hosts behind the same one share its connection.
    bastions: Arc<Mutex<HashMap<String, Arc<Place>>>>,
}

/// Where the connection to one host is kept.
struct Place {
    target: Target,
    link: Mutex<Option<Link>>,
    /// Held while connecting, so that one connects and the others wait for its result.
    history: tokio::sync::Mutex<History>,
}

#[derive(Default)]
struct History {
    failures: u32,
    last: Option<(SshError, Instant)>,
}

impl Links {
    /// No connection yet to any of these hosts.
    pub fn new(targets: impl IntoIterator<Item = Target>) -> Self {
        let links = Links::default();
        targets.into_iter().for_each(|target| links.set(target));
        links
    }

    /// Adds a host or changes how it is reached. An open connection to it is let go, past failures are forgotten.
    pub fn set(&self, target: Target) {
        lock(&self.bastions).retain(|_, place| place.alive().is_some());
        lock(&self.places).insert(target.name.clone(), Arc::new(Place::new(target)));
    }

    /// The user that a host is signed in as; none when it is not known here.
    pub fn user(&self, host: &str) -> Option<String> {
        lock(&self.places)
            .get(host)
            .map(|place| place.target.user.clone())
    }

    /// Forgets a host and lets its connection go; commands on it may end.
    pub fn remove(&self, host: &str) {
        lock(&self.places).remove(host);
    }

    /// Forgets past failures to reach a host: the next wish for it is tried at once, because a person asked.
    pub fn try_again(&self, host: &str) {
        let target = lock(&self.places)
            .get(host)
            .filter(|p| p.alive().is_none())
            .map(|p| p.target.clone());
        if let Some(target) = target {
            self.set(target);
        }
    }

    /// The host's connection if it is open; connects nowhere.
    pub fn peek(&self, host: &str) -> Option<Link> {
        let place = lock(&self.places).get(host).cloned()?;
        place.alive()
    }

    /// The host's connection, opened if it is not.
    ///
    /// All who want it at the same time share one attempt, which goes on when one of them gives up. Within the pause
    /// after a failure the same error comes back without asking the host.
    pub async fn get(&self, host: &str) -> Result<Link, SshError> {
        let place = lock(&self.places).get(host).cloned().ok_or_else(|| {
            SshError::new(
                SshErrorKind::Config,
                format!("there is no host `{host}`"),
                "nothing says how to reach it over SSH",
            )
            .hint("name it in the inventory")
        })?;
        self.reach(place, false).await
    }

    /// Closes every connection, each within a second.
    pub async fn close(&self) {
        let places = std::mem::take(&mut *lock(&self.places));
        let bastions = std::mem::take(&mut *lock(&self.bastions));
        for places in [places, bastions] {
            let closing: Vec<_> = places
                .into_values()
                .filter_map(|place| lock(&place.link).take())
                .map(|link| tokio::spawn(link.close()))
                .collect();
            for closed in closing {
                // A panic in there leaves the connection to the end of the process.
                let _ = closed.await;
            }
        }
    }

    /// Boxed because a jump host may have jump hosts.
    fn reach(
        &self,
        place: Arc<Place>,
        bastion: bool,
    ) -> Pin<Box<dyn Future<Output = Result<Link, SshError>> + Send>> {
        let links = self.clone();
        Box::pin(async move {
            if let Some(link) = place.alive() {
                return Ok(link);
            }
            let host = place.target.name.clone();
            // A task of its own, so that a caller that stops waiting does not cut an authentication off half-way: sshd
            // would count that against us, and impatient callers would never get a connection.
            let opened = tokio::spawn(links.open(place, bastion)).await;
            opened.unwrap_or_else(|e| {
                let what = format!("cannot connect to `{host}` over SSH");
                Err(SshError::new(SshErrorKind::Unreachable, what, e.to_string()))
            })
        })
    }

    async fn open(self, place: Arc<Place>, bastion: bool) -> Result<Link, SshError> {
        let mut history = place.history.lock().await;
        if let Some(link) = place.alive() {
            return Ok(link);
        }
        if let Some((error, since)) = &history.last
            && since.elapsed() < pause(error, history.failures)
        {
            return Err(error.clone());
        }
        match self.connect(&place.target, bastion).await {
            Ok(link) => {
                *history = History::default();
                *lock(&place.link) = Some(link.clone());
                Ok(link)
            }
            Err(error) => {
                tracing::debug!(%error, failures = history.failures + 1, "no SSH connection");
                let same_trouble = history
                    .last
                    .as_ref()
                    .is_some_and(|(last, _)| last.needs_a_person() == error.needs_a_person());
                history.failures = if same_trouble { history.failures + 1 } else { 1 };
                history.last = Some((error.clone(), Instant::now()));
                Err(error)
            }
        }
    }

    async fn connect(&self, target: &Target, bastion: bool) -> Result<Link, SshError> {
        let mut via = None;
        if target.proxy_command.is_none()
            && let Some((last, before)) = target.jump.split_last()
        {
            let hop = Target {
                jump: before.to_vec(),
                ..last.clone()
            };
            via = Some(self.reach(self.bastion(hop), true).await?);
        }
        match bastion {
            true => Link::open_bastion(target, via).await,
            false => Link::open_via(target, via).await,
        }
    }

    fn bastion(&self, hop: Target) -> Arc<Place> {
        let mut bastions = lock(&self.bastions);
        // Shared only by those who reach it in the very same way.
        bastions
            .entry(format!("{hop:?}"))
            .or_insert_with(|| Arc::new(Place::new(hop)))
            .clone()
    }
}

impl Place {
    fn new(target: Target) -> Self {
        Place {
            target,
            link: Mutex::default(),
            history: tokio::sync::Mutex::default(),
        }
    }

    /// The connection, if it lives; a dead one is let go.
    fn alive(&self) -> Option<Link> {
        let mut kept = lock(&self.link);
        if kept.as_ref().is_some_and(|link| !link.is_alive()) {
            *kept = None;
        }
        kept.clone()
    }
}

/// Nothing that is done under these locks can leave a value half-changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl std::fmt::Debug for Links {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let places = lock(&self.places);
        f.debug_map()
            .entries(
                places
                    .iter()
                    .map(|(host, place)| (host, lock(&place.link).is_some())),
            )
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_suit_what_went_wrong() {
        let after = |kind, failures| pause(&SshError::new(kind, "", ""), failures);
        assert_eq!(after(SshErrorKind::Unreachable, 1), Duration::from_millis(100));
        assert_eq!(
            after(SshErrorKind::ConnectTimeout, 1000),
            Duration::from_millis(500)
        );
        assert_eq!(after(SshErrorKind::HandshakeFailed, 3), Duration::from_secs(4));
        assert_eq!(after(SshErrorKind::AuthRefused, 1), Duration::from_secs(10));
        assert_eq!(after(SshErrorKind::HostKeyChanged, 9), Duration::from_secs(120));
    }
}
