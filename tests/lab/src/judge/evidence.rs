//! What the judge is given.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::sampler::{self, Span};
use crate::writer::log::{self, Attempt, Entry};

/// Everything that was recorded in one run.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    pub logs: Vec<WriterLog>,
    /// What each server's table holds in the end. Give only the servers that should hold everything.
    pub tables: Vec<Table>,
    pub samples: Vec<HostSamples>,
    pub expect: Expect,
}

/// What the run was meant to do.
#[derive(Clone, Debug, PartialEq)]
pub struct Expect {
    /// How often the writer was handed over, by plan or after a failure. 0 when it should have stayed.
    pub handovers: usize,
    /// `@@server_id` of the server that the others are compared with; without it, the last that acknowledged
    /// a write through the writer address.
    pub reference: Option<u32>,
    /// How soon an idle connection must notice that its server is no longer the writer; `None` where it cannot
    /// (a host without power sends nothing).
    pub idle_within: Option<Duration>,
    /// The longest time between two samples of one host.
    pub blind_at_most: Duration,
}

impl Default for Expect {
    fn default() -> Expect {
        Expect {
            handovers: 1,
            reference: None,
            idle_within: Some(Duration::from_secs(1)),
            blind_at_most: Duration::from_secs(1),
        }
    }
}

/// One log, sorted into kinds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriterLog {
    pub started_ns: u64,
    /// `None` when the log was cut off.
    pub ended_ns: Option<u64>,
    pub acks: Vec<Attempt>,
    pub refused: Vec<Attempt>,
    pub unknown: Vec<Attempt>,
    pub unsent: Vec<Attempt>,
    pub idle: Vec<IdleConnection>,
}

/// One idle connection of the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdleConnection {
    pub slot: usize,
    pub server: u32,
    pub opened_ns: u64,
    /// When it noticed that it was gone; `None` when it never did.
    pub gone_ns: Option<u64>,
}

impl WriterLog {
    /// Reads the text of a log.
    pub fn read(text: &str) -> Result<WriterLog> {
        let mut sorted = WriterLog::default();
        for entry in log::read(text)? {
            match entry {
                Entry::Start { at_ns } => sorted.started_ns = at_ns,
                Entry::End { at_ns } => sorted.ended_ns = Some(at_ns),
                Entry::Ack(attempt) => sorted.acks.push(attempt),
                Entry::Refused(attempt) => sorted.refused.push(attempt),
                Entry::Unknown(attempt) => sorted.unknown.push(attempt),
                Entry::Unsent(attempt) => sorted.unsent.push(attempt),
                Entry::Opened { slot, at_ns, server } => {
                    sorted.idle.push(IdleConnection {
                        slot,
                        server,
                        opened_ns: at_ns,
                        gone_ns: None,
                    });
                }
                Entry::Closed {
                    slot,
                    opened_ns,
                    at_ns,
                    ..
                } => {
                    let same = |idle: &&mut IdleConnection| idle.slot == slot && idle.opened_ns == opened_ns;
                    let idle = sorted.idle.iter_mut().rev().find(same);
                    idle.with_context(|| format!("connection {slot} ended and never began"))?
                        .gone_ns = Some(at_ns);
                }
            }
        }
        Ok(sorted)
    }

    /// How many rows this server acknowledged in a part of a log.
    pub(crate) fn acks_of(text: &str, server: u32) -> Result<usize> {
        let acks = |entry: &Entry| matches!(entry, Entry::Ack(attempt) if attempt.server == server);
        Ok(log::read(text)?.iter().filter(|entry| acks(entry)).count())
    }

    /// All attempts, whatever became of them.
    pub fn attempts(&self) -> impl Iterator<Item = &Attempt> {
        self.acks
            .iter()
            .chain(&self.refused)
            .chain(&self.unknown)
            .chain(&self.unsent)
    }

    /// The last moment that this log knows of.
    pub fn last_ns(&self) -> u64 {
        let last = self.attempts().map(|attempt| attempt.done_ns).max();
        self.ended_ns.or(last).unwrap_or(self.started_ns)
    }
}

/// What one server's table holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    pub host: String,
    pub server: u32,
    pub rows: Vec<Row>,
}

/// One row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub id: u64,
    pub writer: String,
    /// The server that took it.
    pub server: u32,
}

impl Table {
    /// What gives the text that [`Table::read`] reads, with the database client's options `-N -B`.
    pub const QUERY: &str = "SELECT id, writer, server_id FROM app.writes";

    /// Reads lines of id, writer and server id with tabs between them.
    pub fn read(host: &str, server: u32, text: &str) -> Result<Table> {
        let row = |line: &str| {
            let mut fields = line.split('\t');
            let id = fields.next()?.parse().ok()?;
            let writer = fields.next()?.to_owned();
            let server = fields.next()?.parse().ok()?;
            fields.next().is_none().then_some(Row { id, writer, server })
        };
        let read = |line| row(line).with_context(|| format!("`{line}` is no row of `{host}`"));
        Ok(Table {
            host: host.to_owned(),
            server,
            rows: text.lines().map(read).collect::<Result<_>>()?,
        })
    }
}

/// What the sampler of one host saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostSamples {
    pub host: String,
    /// In the order of time.
    pub spans: Vec<Span>,
}

impl HostSamples {
    /// Reads the text of a sampler's file.
    pub fn read(host: &str, text: &str) -> Result<HostSamples> {
        let spans = sampler::read(text).with_context(|| format!("cannot read the samples of `{host}`"))?;
        Ok(HostSamples {
            host: host.to_owned(),
            spans,
        })
    }
}
