//! What the judge holds against a run, each as a sentence.

use std::fmt;

use serde::Serialize;

use super::rows::RowSet;
use super::windows::Touch;

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Violation {
    /// A log has no end: its writer died, and what it saw last is not known.
    LogCutOff,
    NothingAcknowledged,
    NeverRecovered {
        writer: String,
        silent_ms: f64,
    },
    AcknowledgedByTwo {
        between: (u32, u32),
        changes: usize,
        handovers: usize,
    },
    ReferenceNotRead {
        server: u32,
    },
    Missing(String, RowSet),
    Surplus(String, RowSet),
    Duplicated(String, RowSet),
    WrittenThoughRefused(String, RowSet),
    WritableTogether(Touch),
    NoSamples {
        host: String,
    },
    Blind {
        host: String,
        for_ms: f64,
        limit_ms: f64,
    },
    IdleLate {
        slowest_ms: f64,
        unnoticed: usize,
        limit_ms: f64,
    },
}

impl Violation {
    /// Whether rows or writers are not as they must be; the others say that something took long or was not seen.
    pub fn is_unsafe(&self) -> bool {
        match self {
            Violation::AcknowledgedByTwo { .. }
            | Violation::Missing(..)
            | Violation::Surplus(..)
            | Violation::Duplicated(..)
            | Violation::WrittenThoughRefused(..)
            | Violation::WritableTogether(_) => true,
            Violation::LogCutOff
            | Violation::NothingAcknowledged
            | Violation::NeverRecovered { .. }
            | Violation::ReferenceNotRead { .. }
            | Violation::NoSamples { .. }
            | Violation::Blind { .. }
            | Violation::IdleLate { .. } => false,
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Violation::LogCutOff => write!(out, "a writer's log has no end: the writer died"),
            Violation::NothingAcknowledged => {
                write!(out, "no write was acknowledged: this run proves nothing")
            }
            Violation::NeverRecovered { writer, silent_ms } => {
                write!(
                    out,
                    "writer `{writer}` had no acknowledgement in the last {silent_ms:.0} ms"
                )
            }
            Violation::AcknowledgedByTwo {
                between: (a, b),
                changes,
                handovers,
            } => write!(
                out,
                "servers {a} and {b} both acknowledged writes: {changes} changes of writer are proven, \
                 {handovers} were carried out"
            ),
            Violation::ReferenceNotRead { server } => {
                write!(
                    out,
                    "the table of server {server}, which the others are compared with, was not read"
                )
            }
            Violation::Missing(host, rows) => write!(out, "`{host}` lacks {rows} that were acknowledged"),
            Violation::Surplus(host, rows) => write!(out, "`{host}` has {rows} that the reference has not"),
            Violation::Duplicated(host, rows) => write!(out, "`{host}` has {rows} more than once"),
            Violation::WrittenThoughRefused(host, rows) => {
                write!(out, "`{host}` has {rows} that were answered with an error")
            }
            Violation::WritableTogether(touch) => {
                let (a, b) = &touch.hosts;
                let sure = if touch.proven { "were" } else { "may have been" };
                write!(
                    out,
                    "`{a}` and `{b}` {sure} writable at the same time for {:.2} ms",
                    touch.for_ms
                )
            }
            Violation::NoSamples { host } => write!(out, "the sampler of `{host}` never got an answer"),
            Violation::Blind {
                host,
                for_ms,
                limit_ms,
            } => write!(
                out,
                "the sampler of `{host}` took no sample for {for_ms:.0} ms (at most {limit_ms:.0} are allowed)"
            ),
            Violation::IdleLate {
                slowest_ms,
                unnoticed,
                limit_ms,
            } => write!(
                out,
                "idle connections took up to {slowest_ms:.0} ms to notice that their server was no longer the \
                 writer, {unnoticed} never did (at most {limit_ms:.0} ms are allowed)"
            ),
        }
    }
}

impl fmt::Display for RowSet {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{} row{}",
            self.count,
            if self.count == 1 { "" } else { "s" }
        )?;
        match self.examples.as_slice() {
            [] => Ok(()),
            some if some.len() == self.count => write!(out, " ({})", some.join(", ")),
            some => write!(out, " ({}, …)", some.join(", ")),
        }
    }
}
