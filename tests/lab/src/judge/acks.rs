//! What the acknowledgements prove.
//!
//! An acknowledged row was committed at some moment between its sending and its acknowledgement, by the server at
//! the other end of the connection. If one server at a time was the writer, the run falls into turns, and each row
//! was committed within a turn of its server. [`proven_changes`] counts the fewest changes from one turn to the
//! next with which that can be: a change counts only if a row was *sent* to one server after the other had
//! *acknowledged* one. More changes than there were handovers prove that two servers acknowledged alternately in
//! what should have been one turn: an overlap. With one handover from A to B that is: A acknowledged, then a row
//! was sent to B and acknowledged, then a row was sent to A and acknowledged.
//!
//! Not seen this way: two servers open at once of which only one was written at a time. The samplers see that.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::evidence::WriterLog;
use super::{Violation, ms};
use crate::writer::PINNED;
use crate::writer::log::Attempt;

/// A writer whose last acknowledgement is longer ago than this when it is told to stop has not come back.
const RECOVERED_WITHIN_MS: f64 = 1000.0;

/// All acknowledged rows in the order in which they were sent.
pub fn of(logs: &[WriterLog]) -> Vec<&Attempt> {
    let mut acks: Vec<&Attempt> = logs.iter().flat_map(|log| &log.acks).collect();
    acks.sort_by_key(|ack| (ack.sent_ns, ack.done_ns));
    acks
}

/// Whether this row went through the writer address, not to a server's own.
pub(super) fn through_the_address(ack: &Attempt) -> bool {
    !ack.writer.starts_with(PINNED)
}

/// The two servers between which the most changes are proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changes {
    pub between: (u32, u32),
    pub changes: usize,
}

/// The fewest changes of writer between any two servers that explain these rows; `None` with fewer than two servers.
pub fn proven_changes(acks: &[&Attempt]) -> Option<Changes> {
    let servers: BTreeSet<u32> = acks.iter().map(|ack| ack.server).collect();
    let mut by_answer = acks.to_vec();
    by_answer.sort_by_key(|ack| ack.done_ns);
    let pairs = servers
        .iter()
        .flat_map(|a| servers.range(a + 1..).map(move |b| (*a, *b)));
    pairs
        .map(|between| {
            let of_pair = || {
                by_answer
                    .iter()
                    .filter(|ack| ack.server == between.0 || ack.server == between.1)
            };
            let changes = changes_from(between.0, of_pair()).min(changes_from(between.1, of_pair()));
            Changes { between, changes }
        })
        .max_by_key(|proof| proof.changes)
}

/// The fewest changes if `first` was the writer to begin with: each turn lasts as long as it possibly can, that
/// is until the answer to the first row that only the other server's turn explains.
fn changes_from<'a>(first: u32, by_answer: impl Iterator<Item = &'a &'a Attempt>) -> usize {
    let (mut writer, mut changes, mut changed_ns) = (first, 0, None);
    for ack in by_answer {
        let in_an_earlier_turn = changed_ns.is_some_and(|changed_ns| ack.sent_ns <= changed_ns);
        if ack.server != writer && !in_an_earlier_turn {
            writer = ack.server;
            changes += 1;
            changed_ns = Some(ack.done_ns);
        }
    }
    changes
}

pub(super) fn overlap(proof: Option<Changes>, handovers: usize) -> Option<Violation> {
    let proof = proof.filter(|proof| proof.changes > handovers)?;
    Some(Violation::AcknowledgedByTwo {
        between: proof.between,
        changes: proof.changes,
        handovers,
    })
}

/// A time in which one server acknowledged all rows that went through the writer address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    pub server: u32,
    pub first_sent_ns: u64,
    pub first_ack_ns: u64,
    pub last_ack_ns: u64,
}

/// The turns as clients saw them, from rows in the order in which they were sent.
pub fn turns(acks: &[&Attempt]) -> Vec<Turn> {
    let mut turns: Vec<Turn> = Vec::new();
    for ack in acks.iter().filter(|ack| through_the_address(ack)) {
        match turns.last_mut() {
            Some(turn) if turn.server == ack.server => {
                turn.first_ack_ns = turn.first_ack_ns.min(ack.done_ns);
                turn.last_ack_ns = turn.last_ack_ns.max(ack.done_ns);
            }
            _ => turns.push(Turn {
                server: ack.server,
                first_sent_ns: ack.sent_ns,
                first_ack_ns: ack.done_ns,
                last_ack_ns: ack.done_ns,
            }),
        }
    }
    turns
}

/// How long no write was acknowledged from one turn to the next.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Gap {
    pub from_server: u32,
    pub to_server: u32,
    pub gap_ms: f64,
}

/// The gap at each change of turn, in the order of time.
pub fn gaps_between(turns: &[Turn]) -> Vec<Gap> {
    let gap = |pair: &[Turn]| Gap {
        from_server: pair[0].server,
        to_server: pair[1].server,
        gap_ms: ms(pair[1].first_ack_ns.saturating_sub(pair[0].last_ack_ns)),
    };
    turns.windows(2).map(gap).collect()
}

/// What one writer went through.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WriterFigures {
    pub writer: String,
    pub acknowledged: usize,
    pub refused: usize,
    pub unknown: usize,
    pub unsent: usize,
    /// The longest time without an acknowledgement, the beginning and the end of the run included.
    pub longest_gap_ms: f64,
    /// How long before the end of the run the last acknowledgement came.
    pub silent_at_the_end_ms: f64,
}

/// The figures of each writer.
pub fn figures(logs: &[WriterLog]) -> Vec<WriterFigures> {
    logs.iter().flat_map(figures_of).collect()
}

fn figures_of(log: &WriterLog) -> Vec<WriterFigures> {
    let mut moments: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for attempt in log.attempts() {
        moments.entry(&attempt.writer).or_default();
    }
    for ack in &log.acks {
        moments.entry(&ack.writer).or_default().push(ack.done_ns);
    }
    let count = |attempts: &[Attempt], writer: &str| attempts.iter().filter(|a| a.writer == writer).count();
    let end_ns = log.last_ns();
    let figures = moments.into_iter().map(|(writer, moments)| WriterFigures {
        writer: writer.to_owned(),
        acknowledged: moments.len(),
        refused: count(&log.refused, writer),
        unknown: count(&log.unknown, writer),
        unsent: count(&log.unsent, writer),
        silent_at_the_end_ms: ms(
            end_ns.saturating_sub(moments.iter().copied().max().unwrap_or(log.started_ns))
        ),
        longest_gap_ms: ms(longest_gap_ns(log.started_ns, moments, end_ns)),
    });
    figures.collect()
}

/// The longest time in which no write through the writer address was acknowledged to any writer.
pub fn longest_gap_ms(logs: &[WriterLog]) -> f64 {
    let with_writers = || logs.iter().filter(|log| log.attempts().any(through_the_address));
    let start_ns = with_writers().map(|log| log.started_ns).min();
    let end_ns = with_writers().map(WriterLog::last_ns).max();
    let acks = with_writers()
        .flat_map(|log| &log.acks)
        .filter(|ack| through_the_address(ack));
    let moments = acks.map(|ack| ack.done_ns).collect();
    start_ns.zip(end_ns).map_or(0.0, |(start_ns, end_ns)| {
        ms(longest_gap_ns(start_ns, moments, end_ns))
    })
}

fn longest_gap_ns(start_ns: u64, mut moments: Vec<u64>, end_ns: u64) -> u64 {
    moments.push(start_ns);
    moments.push(end_ns);
    moments.sort_unstable();
    moments
        .windows(2)
        .map(|pair| pair[1] - pair[0])
        .max()
        .unwrap_or(0)
}

pub(super) fn never_recovered(figures: &[WriterFigures]) -> impl Iterator<Item = Violation> {
    figures
        .iter()
        .filter(|figures| !figures.writer.starts_with(PINNED))
        .filter(|figures| figures.silent_at_the_end_ms > RECOVERED_WITHIN_MS)
        .map(|figures| Violation::NeverRecovered {
            writer: figures.writer.clone(),
            silent_ms: figures.silent_at_the_end_ms,
        })
}
