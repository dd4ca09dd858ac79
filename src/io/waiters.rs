//! Commands that changed what stands, and wait for the monitor: until it works from their change and has looked at every
//! host once more, so that the next `show` tells what the command left behind.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use crate::core::cluster::{Cluster, HostName};

/// A host that cannot be looked at is not waited for longer.
const PATIENCE: Duration = Duration::from_millis(700);

/// Everyone who waits.
#[derive(Debug)]
pub struct Waiters {
    waiting: Vec<Waiting>,
    look_now: watch::Sender<u64>,
}

#[derive(Debug)]
struct Waiting {
    to: oneshot::Sender<u64>,
    unseen: BTreeSet<HostName>,
    until: Instant,
}

impl Default for Waiters {
    fn default() -> Self {
        Waiters {
            waiting: Vec::new(),
            look_now: watch::Sender::new(0),
        }
    }
}

impl Waiters {
    /// Changes whenever every host should be looked at without waiting for its turn.
    pub fn look_now(&self) -> watch::Receiver<u64> {
        self.look_now.subscribe()
    }

    /// Somebody waits from now on.
    pub fn add(&mut self, to: oneshot::Sender<u64>, cluster: &Cluster) {
        self.waiting.push(Waiting {
            to,
            unseen: cluster.hosts.iter().map(|host| host.name.clone()).collect(),
            until: Instant::now() + PATIENCE,
        });
        self.look_now.send_modify(|times| *times += 1);
    }

    /// A host was looked at.
    pub fn saw(&mut self, host: &HostName) {
        for waiting in &mut self.waiting {
            waiting.unseen.remove(host);
        }
    }

    /// Answers who has waited for all it waited for, or long enough, with what the monitor works from.
    pub fn answer(&mut self, generation: u64) {
        let now = Instant::now();
        let is_over = |waiting: &mut Waiting| waiting.unseen.is_empty() || now >= waiting.until;
        for waiting in self.waiting.extract_if(.., is_over) {
            if waiting.to.send(generation).is_err() {
                tracing::debug!("who changed the standing has not waited for an answer");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::samples::cluster;

    #[test]
    fn who_waits_is_answered_after_a_look_at_every_host_or_when_it_takes_too_long() {
        let mut waiters = Waiters::default();
        let mut look_now = waiters.look_now();
        let (to, mut seen) = oneshot::channel();
        waiters.add(to, &cluster());
        assert!(look_now.has_changed().unwrap());
        look_now.mark_unchanged();
        for host in ["db1", "db2"] {
            waiters.saw(&host.into());
            waiters.answer(4);
            assert!(seen.try_recv().is_err(), "db3 was not looked at");
        }
        waiters.saw(&"db3".into());
        waiters.answer(5);
        assert_eq!(seen.try_recv(), Ok(5));

        let (to, mut late) = oneshot::channel();
        waiters.add(to, &cluster());
        waiters.answer(6);
        assert!(late.try_recv().is_err(), "it can still be looked at");
        waiters.waiting[0].until = Instant::now();
        waiters.answer(6);
        assert_eq!(late.try_recv(), Ok(6));
    }
}
