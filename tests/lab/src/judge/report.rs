//! The report: what happened, in plain words or as JSON.

use std::fmt;

use serde::Serialize;

use super::Violation;
use super::acks::{Gap, WriterFigures};
use super::idle::Idle;
use super::rows::Rows;
use super::windows::Windows;

/// Closes a report in which something was unsafe, not only late or unseen.
pub const UNSAFE: &str = "Rows or writers are not as they must be.";

/// What the judge found. Times are milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    pub acknowledged: usize,
    /// The longest time in which no write through the writer address was acknowledged to any writer.
    pub longest_gap_ms: f64,
    /// The write gap at each handover, as all writers through the address together saw it.
    pub handover_gaps: Vec<Gap>,
    pub writers: Vec<WriterFigures>,
    /// The changes of writer that the acknowledgements prove.
    pub changes: usize,
    pub expected_handovers: usize,
    pub rows: Rows,
    pub windows: Windows,
    pub idle: Idle,
    pub violations: Vec<Violation>,
}

impl Report {
    /// Acknowledged rows that the reference server does not have.
    pub fn lost(&self) -> usize {
        self.rows.lost()
    }

    /// Rows that stand on some server more than once.
    pub fn duplicated(&self) -> usize {
        self.rows.duplicated()
    }

    /// Whether two servers acknowledged writes, or were writable, at the same time, by either judge.
    pub fn overlap(&self) -> bool {
        self.overlap_by_acknowledgements() || !self.windows.touching.is_empty()
    }

    /// Whether the acknowledgements alone prove it.
    pub fn overlap_by_acknowledgements(&self) -> bool {
        self.changes > self.expected_handovers
    }

    /// The least, the median and the longest write gap at handovers, in ms; `None` without a handover.
    pub fn handover_gap_ms(&self) -> Option<(f64, f64, f64)> {
        let mut gaps: Vec<f64> = self.handover_gaps.iter().map(|gap| gap.gap_ms).collect();
        gaps.sort_by(f64::total_cmp);
        Some((*gaps.first()?, *gaps.get(gaps.len() / 2)?, *gaps.last()?))
    }

    /// What must not be, and is. Empty after a run as it should be.
    pub fn verdict(&self) -> &[Violation] {
        &self.violations
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "{} rows acknowledged, longest write gap {:.1} ms",
            self.acknowledged, self.longest_gap_ms
        )?;
        for figures in &self.writers {
            let WriterFigures {
                writer,
                acknowledged,
                refused,
                unknown,
                unsent,
                longest_gap_ms,
                ..
            } = figures;
            writeln!(
                out,
                "  writer {writer}: {acknowledged} acknowledged, {refused} refused, {unknown} unknown, \
                 {unsent} not sent; longest gap {longest_gap_ms:.1} ms"
            )?;
        }
        for server in &self.rows.servers {
            let role = if Some(server.server) == self.rows.reference {
                " (reference)"
            } else {
                ""
            };
            writeln!(
                out,
                "  table on {}{role}: {} rows, {} missing, {} surplus, {} duplicated",
                server.host, server.rows, server.missing.count, server.surplus.count, server.duplicated.count
            )?;
        }
        writeln!(
            out,
            "  changes of writer: {} proven, {} carried out",
            self.changes, self.expected_handovers
        )?;
        if let Some((least, median, most)) = self.handover_gap_ms() {
            let each: Vec<String> = self
                .handover_gaps
                .iter()
                .take(50)
                .map(|gap| format!("{:.1}", gap.gap_ms))
                .collect();
            writeln!(
                out,
                "  write gaps at handovers: {least:.1}/{median:.1}/{most:.1} ms (least/median/most), each: {}",
                each.join(" ")
            )?;
        }
        for handover in &self.windows.handovers {
            let blind =
                |ms: Option<f64>| ms.map_or_else(|| "not sampled".to_owned(), |ms| format!("{ms:.1} ms"));
            writeln!(
                out,
                "  writable on {}, then on {}: {:.2} ms apart (unseen: {} after, {} before)",
                handover.from,
                handover.to,
                handover.apart_ms,
                blind(handover.old_blind_ms),
                blind(handover.new_blind_ms)
            )?;
        }
        for host in &self.windows.hosts {
            let (host, samples, blind) = (&host.host, host.samples, host.longest_blind_ms);
            writeln!(
                out,
                "  samples on {host}: {samples}, at most {blind:.1} ms between two"
            )?;
        }
        if self.idle.opened > 0 {
            let Idle {
                opened,
                noticed,
                slowest_ms,
                unnoticed,
            } = &self.idle;
            writeln!(
                out,
                "  idle connections: {opened} opened, {noticed} noticed a handover (slowest {slowest_ms:.1} ms), \
                 {} did not",
                unnoticed.len()
            )?;
        }
        match self.violations.as_slice() {
            [] => writeln!(out, "Nothing is wrong."),
            wrong => {
                wrong
                    .iter()
                    .try_for_each(|violation| writeln!(out, "WRONG: {violation}"))?;
                if wrong.iter().any(Violation::is_unsafe) {
                    writeln!(out, "{UNSAFE}")?;
                }
                Ok(())
            }
        }
    }
}
