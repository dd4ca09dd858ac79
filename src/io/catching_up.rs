//! Lets a host catch up with the writer before it takes over: for a forced move, which would otherwise be refused or
//! keep clients from writing for as long as the host needs.

use std::time::Duration;

use tokio::time::Instant;

use crate::core::clearing::REPLICATION_WITHIN;
use crate::core::cluster::HostName;
use crate::core::election::{self, Barred};
use crate::core::facts::MysqlFacts;
use crate::core::gtid::{self, Compared};
use crate::core::guard::{self, Facts, Guard};
use crate::core::trouble::Trouble;
use crate::io::context::Errands;
use crate::io::hold::Hold;
use crate::io::operation::Performer;
use crate::io::settle;

/// How long a host is waited for; clients go on writing meanwhile.
pub(crate) const CATCH_UP_WITHIN: Duration = Duration::from_secs(60);
/// Pause between two looks at how far behind it is.
const LOOK_EVERY: Duration = Duration::from_millis(500);

impl Performer<'_> {
    /// Starts replication on `host` if it does not run, and waits until it has everything but what is written just now.
    /// Nobody is kept from writing meanwhile.
    ///
    /// # Errors
    /// Refused, with what it lacks: it could not follow, or not catch up within the time.
    pub async fn let_catch_up(&self, host: &HostName) -> Result<(), Trouble> {
        self.dir.prepare()?;
        let purpose = format!("catching up of {host}");
        let hold = Hold::take(self.fleet, &self.dir, &purpose, self.lock_wait).await?;
        let caught_up = self.let_catch_up_held(host).await;
        self.fleet.cool().await;
        hold.release().await;
        caught_up
    }

    async fn let_catch_up_held(&self, host: &HostName) -> Result<(), Trouble> {
        let mut standing = self.dir.load()?;
        let facts = self.fleet.look_everywhere().await;
        let facts = settle::open_runs(self, &mut standing, facts).await?;
        let cluster = &self.fleet.entry().cluster;
        guard::hands_off(cluster, &standing)?;
        let planner = self.planner();
        if self.expects.is_some() {
            let standing = planner.standing(&facts, true)?;
            let now = planner.propose_catching_up(host, &standing, &facts).await;
            self.require_same_way(now, &standing, &facts)?;
        }
        let what = format!("switchover of `{}` to `{host}` was not begun", cluster.name);
        let refuse = |because: String| Trouble::refused(Guard::G37, what.clone(), because);
        let writer = standing.writer.clone();
        let writer = writer
            .or_else(|| guard::observed_writer(cluster, &facts))
            .ok_or_else(|| Trouble::refused(Guard::G06, what.clone(), "no host is known to be the writer"))?;
        match election::barred(&standing, &facts, host) {
            None | Some(Barred::SqlThreadStopped(_)) => {}
            Some(barred) => return Err(barred.refusal(what.clone(), host)),
        }
        if !replica(&facts, host).is_some_and(is_running) {
            self.duty(host, "start-replication", &Errands::default(), REPLICATION_WITHIN)
                .await
                .map_err(|why| {
                    let lacks = lacks(&facts, &writer, host);
                    refuse(format!("replication on `{host}` cannot be started: {why}{lacks}"))
                })?;
        }
        let deadline = Instant::now() + CATCH_UP_WITHIN;
        loop {
            let facts = self.fleet.look_everywhere().await;
            let seen = replica(&facts, host);
            if seen.is_some_and(has_caught_up) {
                return Ok(());
            }
            if let Some(Barred::SqlThreadStopped(why)) = election::barred(&standing, &facts, host)
                && !why.is_empty()
            {
                let lacks = lacks(&facts, &writer, host);
                return Err(refuse(format!(
                    "replication on `{host}` stopped again: {why}{lacks}"
                )));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let lacks = lacks(&facts, &writer, host);
                return Err(refuse(format!(
                    "`{host}` has not caught up within {} s{lacks}",
                    CATCH_UP_WITHIN.as_secs()
                )));
            }
            tokio::time::sleep(LOOK_EVERY.min(left)).await;
        }
    }
}

fn replica<'f>(facts: &'f Facts, host: &HostName) -> Option<&'f MysqlFacts> {
    facts.get(host).and_then(|facts| facts.mysql.up())
}

/// Whether it replicates at all, and nothing of that stands still.
pub(crate) fn is_running(mysql: &MysqlFacts) -> bool {
    !mysql.replicas.is_empty() && mysql.replicas.iter().all(|channel| channel.is_running())
}

fn has_caught_up(mysql: &MysqlFacts) -> bool {
    let is_close = |lag: Duration| lag <= Duration::from_secs(1);
    is_running(mysql)
        && mysql
            .replicas
            .iter()
            .all(|channel| channel.lag.is_some_and(is_close))
}

/// What the writer has that the host has not, in words; empty when that cannot be told.
fn lacks(facts: &Facts, writer: &HostName, host: &HostName) -> String {
    let Some((leading, behind)) = replica(facts, writer).zip(replica(facts, host)) else {
        return String::new();
    };
    match gtid::compare(&leading.history(behind), &behind.history(leading)) {
        Compared::Extra(missing) => format!("; it would lose {missing}, which only `{writer}` has"),
        Compared::Nothing | Compared::Unknown(_) => String::new(),
    }
}
