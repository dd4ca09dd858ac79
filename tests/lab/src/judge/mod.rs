//! The judge: pure functions from what was recorded (writers' logs, the servers' tables, samplers' files) to a
//! [`Report`] of what happened and a list of [`Violation`]s. It asks nobody and reads no clock.
//!
//! What counts as proof is said where it is decided: overlap of acknowledgements in [`mod@acks`], overlap of
//! writable times in [`mod@windows`], rows in [`mod@rows`], idle connections in [`mod@idle`].

pub mod acks;
mod args;
mod evidence;
pub mod idle;
mod report;
pub mod rows;
#[cfg(test)]
mod tests;
mod violation;
pub mod windows;

pub use args::JudgeArgs;
pub use evidence::{Evidence, Expect, HostSamples, Row, Table, WriterLog};
pub use report::{Report, UNSAFE};
pub use violation::Violation;

/// Judges everything that was recorded.
pub fn judge(evidence: &Evidence) -> Report {
    let expect = &evidence.expect;
    let acks = acks::of(&evidence.logs);
    let writers = acks::figures(&evidence.logs);
    let changes = acks::proven_changes(&acks);
    let rows = rows::compare(evidence, &acks);
    let windows = windows::compare(&evidence.samples);
    let turns = acks::turns(&acks);
    let idle = idle::notice(&evidence.logs, &turns, expect.idle_within);

    let mut violations = Vec::new();
    violations.extend(
        evidence
            .logs
            .iter()
            .filter(|log| log.ended_ns.is_none())
            .map(|_| Violation::LogCutOff),
    );
    if acks.is_empty() {
        violations.push(Violation::NothingAcknowledged);
    }
    violations.extend(acks::never_recovered(&writers));
    violations.extend(acks::overlap(changes, expect.handovers));
    violations.extend(rows.violations());
    violations.extend(windows.violations(expect.blind_at_most));
    violations.extend(idle.violation(expect.idle_within));
    Report {
        acknowledged: acks.len(),
        longest_gap_ms: acks::longest_gap_ms(&evidence.logs),
        handover_gaps: acks::gaps_between(&turns),
        writers,
        changes: changes.map_or(0, |proof| proof.changes),
        expected_handovers: expect.handovers,
        rows,
        windows,
        idle,
        violations,
    }
}

/// Nanoseconds as milliseconds with a fraction.
fn ms(ns: u64) -> f64 {
    ns as f64 / 1e6
}
