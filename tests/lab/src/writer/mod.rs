//! The writer client: writes rows through the writer address as an application would and records each
//! acknowledgement with its times and the server that gave it. What it saw is judged later, by [`crate::judge`].
//!
//! Ids are never used twice and the table has no unique key on them: a retry would hide a lost row and a
//! unique key would hide a duplicate. Pacing is open-loop: the schedule is the clock's, not the server's, so
//! that a slow answer does not make the load lighter just when it matters.

mod args;
pub mod log;
mod pool;
mod session;

use std::fmt;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::clock::monotonic_ns;
use crate::login::Login;
use log::{Attempt, Entry, Log};
use session::{Outcome, Session};

pub use args::WriterArgs;
pub(crate) use args::{append_to, until_stopped};

/// Statements that make the table that the writers fill; run them where writes are allowed.
pub const SCHEMA: [&str; 2] = [
    "CREATE DATABASE IF NOT EXISTS app",
    "CREATE TABLE IF NOT EXISTS app.writes (id BIGINT UNSIGNED NOT NULL, writer VARCHAR(40) NOT NULL, \
     server_id INT UNSIGNED NOT NULL, KEY (writer, id)) ENGINE=InnoDB",
];

/// Which writers run at once.
#[derive(Clone, Debug)]
pub struct Writers {
    /// The time between two writes of each writer.
    pub every: Duration,
    /// One writer that keeps its connection as long as it lives, also over refused writes.
    pub keep: bool,
    /// One writer that connects anew for each write.
    pub anew: bool,
    /// The time between two writes of the writer that connects anew. Not below 5 ms for long: each connection
    /// leaves a port behind for a minute, and there are 28,000.
    pub anew_every: Duration,
    /// Writers that stay with one server's own address, whoever is the writer.
    pub pinned: Vec<SocketAddr>,
    /// How many idle connections are held through the writer address, each noticing when it is gone.
    pub pool: usize,
}

impl Default for Writers {
    fn default() -> Writers {
        Writers {
            every: Duration::from_millis(2),
            keep: true,
            anew: true,
            anew_every: Duration::from_millis(10),
            pinned: Vec::new(),
            pool: 0,
        }
    }
}

/// Where the rows go, and how long one try may take.
#[derive(Clone)]
pub struct Target {
    /// The writer address.
    pub address: SocketAddr,
    pub login: Login,
    /// The table, with its database.
    pub table: String,
    pub connect_within: Duration,
    pub write_within: Duration,
}

impl Target {
    /// The table of [`SCHEMA`] through `address`, 200 ms for a connection and 500 ms for a write.
    pub fn new(address: SocketAddr, login: Login) -> Target {
        Target {
            address,
            login,
            table: "app.writes".to_owned(),
            connect_within: Duration::from_millis(200),
            write_within: Duration::from_millis(500),
        }
    }
}

/// How many rows became what, over all writers of a process.
#[derive(Debug, Default)]
pub struct Summary {
    acknowledged: AtomicU64,
    refused: AtomicU64,
    unknown: AtomicU64,
    unsent: AtomicU64,
}

impl fmt::Display for Summary {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (acknowledged, refused) = (count(&self.acknowledged), count(&self.refused));
        let (unknown, unsent) = (count(&self.unknown), count(&self.unsent));
        write!(
            out,
            "{acknowledged} acknowledged, {refused} refused, {unknown} unknown, {unsent} not sent"
        )
    }
}

/// Writes until `stop` becomes true, then waits for the answers that are owed and flushes the log.
///
/// Errors: the log could not be written. Everything that goes wrong with the database is data, not an error.
pub async fn run(
    writers: Writers,
    target: Target,
    out: Box<dyn Write + Send>,
    mut stop: watch::Receiver<bool>,
) -> Result<Arc<Summary>> {
    let summary = Arc::new(Summary::default());
    let log = Arc::new(Log::new(out));
    log.add(&Entry::Start {
        at_ns: monotonic_ns(),
    });
    let mut tasks = JoinSet::new();
    let target = Arc::new(target);
    if writers.keep {
        let line = Line::new("keep".to_owned(), Arc::clone(&target), &log, &summary);
        tasks.spawn(keep(line, ticks(writers.every), stop.clone()));
    }
    if writers.anew {
        let line = Line::new("anew".to_owned(), Arc::clone(&target), &log, &summary);
        tasks.spawn(anew(line, ticks(writers.anew_every), stop.clone()));
    }
    for address in writers.pinned {
        let own = Arc::new(Target {
            address,
            ..target.as_ref().clone()
        });
        let line = Line::new(format!("{PINNED}{}", address.ip()), own, &log, &summary);
        tasks.spawn(keep(line, ticks(writers.every), stop.clone()));
    }
    let _directory = if writers.pool > 0 {
        let directory = tempfile::tempdir().context("cannot make a directory for the pool's sockets")?;
        for slot in 0..writers.pool {
            let socket = directory.path().join(slot.to_string());
            tasks.spawn(pool::hold(
                slot,
                socket,
                Arc::clone(&target),
                Arc::clone(&log),
                stop.clone(),
            ));
        }
        Some(directory)
    } else {
        None
    };

    let mut flushes = ticks(Duration::from_millis(20));
    while !*stop.borrow() {
        tokio::select! {
            changed = stop.changed() => if changed.is_err() { break },
            _ = flushes.tick() => log.flush().context("cannot write the writer's log")?,
        }
    }
    log.add(&Entry::End {
        at_ns: monotonic_ns(),
    });
    while let Some(ended) = tasks.join_next().await {
        ended.context("a writer ended by a panic")?;
    }
    log.flush().context("cannot write the writer's log")?;
    Ok(summary)
}

/// How the name of a writer begins that does not go through the writer address.
pub(crate) const PINNED: &str = "pinned@";

/// One writer: its name, where it writes and the next id.
struct Line {
    name: String,
    target: Arc<Target>,
    log: Arc<Log>,
    summary: Arc<Summary>,
    next_id: AtomicU64,
}

impl Line {
    /// Ids begin at the clock's nanoseconds: no later writer of this machine can give the same one.
    fn new(name: String, target: Arc<Target>, log: &Arc<Log>, summary: &Arc<Summary>) -> Arc<Line> {
        Arc::new(Line {
            name,
            target,
            log: Arc::clone(log),
            summary: Arc::clone(summary),
            next_id: AtomicU64::new(monotonic_ns()),
        })
    }

    fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Writes one row, connecting first if there is no session; gives the session back if it still works.
    async fn write(&self, session: Option<Session>) -> Option<Session> {
        let id = self.next_id();
        let began_ns = monotonic_ns();
        let session = match session {
            Some(session) => session,
            None => match Session::open(&self.target).await {
                Ok(session) => session,
                Err(code) => {
                    self.summary.unsent.fetch_add(1, Ordering::Relaxed);
                    self.log.add(&Entry::Unsent(self.attempt(id, began_ns, 0, code)));
                    return None;
                }
            },
        };
        let server = session.server;
        let sent_ns = monotonic_ns();
        let (outcome, session) = session.insert(&self.target, &self.name, id).await;
        let (counter, kind, code): (_, fn(Attempt) -> Entry, _) = match outcome {
            Outcome::Acknowledged => (&self.summary.acknowledged, Entry::Ack, 0),
            Outcome::Refused(code) => (&self.summary.refused, Entry::Refused, code),
            Outcome::Unknown(code) => (&self.summary.unknown, Entry::Unknown, code),
        };
        self.log.add(&kind(self.attempt(id, sent_ns, server, code)));
        counter.fetch_add(1, Ordering::Relaxed);
        session
    }

    fn attempt(&self, id: u64, sent_ns: u64, server: u32, code: u16) -> Attempt {
        Attempt {
            writer: self.name.clone(),
            id,
            sent_ns,
            done_ns: monotonic_ns(),
            server,
            code,
        }
    }
}

async fn keep(line: Arc<Line>, mut ticks: Interval, mut stop: watch::Receiver<bool>) {
    let mut session = None;
    while next(&mut ticks, &mut stop).await {
        session = line.write(session.take()).await;
    }
}

/// Every write is a task of its own, so that a connection that hangs does not hide the moment at which new ones work.
async fn anew(line: Arc<Line>, mut ticks: Interval, mut stop: watch::Receiver<bool>) {
    const AT_ONCE: usize = 128;
    let mut tasks = JoinSet::new();
    while next(&mut ticks, &mut stop).await {
        while tasks.try_join_next().is_some() {}
        if tasks.len() < AT_ONCE {
            let line = Arc::clone(&line);
            tasks.spawn(async move {
                line.write(None).await;
            });
        }
    }
    while tasks.join_next().await.is_some() {}
}

/// Waits for the next turn; false when it is time to stop.
async fn next(ticks: &mut Interval, stop: &mut watch::Receiver<bool>) -> bool {
    tokio::select! {
        biased;
        _ = stop.wait_for(|&stop| stop) => false,
        _ = ticks.tick() => true,
    }
}

/// A fixed schedule: turns that were missed are left out, the ones that follow are on time.
fn ticks(every: Duration) -> Interval {
    let mut ticks = interval(every.max(Duration::from_micros(100)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks
}
