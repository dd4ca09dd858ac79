//! Many hand-overs and crashes, one after the other under load: what a hand-over keeps, what a crash loses, and whether just
//! that is told.

use std::time::Duration;

use lab::Restart;
use lab::wait::until;
use lab::writer::Writers;

use super::cluster::{SOON, cluster, mmm};
use super::failover::{back_or_kept_out, one_writer_at_a_time, rows_only_on, unplanned};
use super::watch::{ACTS_WITHIN, Watch, long, tell};

/// Hand-overs before each crash.
const HANDOVERS: usize = 3;

/// A cluster whose writer is handed over and then dies. Gives the rows lost, and the time without writes after the death.
fn hand_over_and_crash(round: usize) -> (u64, Duration) {
    let lab = cluster();
    let watch = Watch::start(&lab);
    let load = lab.start_load(Writers::default()).unwrap();
    let (mut from, mut to) = ("db1", "db2");
    for _ in 0..HANDOVERS {
        load.until_acknowledged(from, 200, SOON).unwrap();
        mmm(&lab, &["switchover", "--to", to], 0);
        (from, to) = (to, from);
    }
    let (old, new) = (from, to);
    load.until_acknowledged(old, 200, SOON).unwrap();
    watch.until("all to be well", |view| {
        view.rule == "R03" && view.warnings.is_empty()
    });
    lab.host(old).unwrap().set_restart(Restart::Never).unwrap();
    lab.host(old).unwrap().kill_mysqld().unwrap();
    if let Err(error) = load.until_acknowledged(new, 200, ACTS_WITHIN) {
        panic!("round {round}: {error:#}\n{}", watch.said());
    }
    let complete = [lab.host(new).unwrap(), lab.db3()];
    until(ACTS_WITHIN, "db3 to follow the new writer", || {
        let status = lab.db3().replication().ok().flatten();
        status.is_some_and(|it| it.is_running() && it.last_error.is_empty())
    })
    .unwrap();
    let report = load.stop_and_judge(&complete, unplanned(HANDOVERS + 1)).unwrap();
    one_writer_at_a_time(&report);
    lab.wait_for_equal_tables("app.writes", &[new, "db3"], SOON)
        .unwrap();
    let is_back = back_or_kept_out(&lab, &watch, old, new);
    let named = if is_back { 0 } else { rows_only_on(&lab, old, new) };
    let lost = report.lost() as u64;
    let unknown: usize = report.writers.iter().map(|writer| writer.unknown).sum();
    let gap = Duration::from_secs_f64(report.longest_gap_ms / 1000.0);
    tell(
        &format!(
            "round {round}: {HANDOVERS} hand-overs, then kill -9 of {old}; lost {lost}, named {named}, {unknown} unknown"
        ),
        &report,
    );
    assert!(
        (lost..=lost + unknown as u64).contains(&named),
        "{lost} lost and {named} named\n{report}"
    );
    (lost, gap)
}

#[test]
fn hand_overs_and_crashes_lose_just_what_is_named() {
    let rounds = if long() { 10 } else { 1 };
    let mut told: Vec<(u64, Duration)> = (1..=rounds).map(hand_over_and_crash).collect();
    let lost: Vec<u64> = told.iter().map(|(lost, _)| *lost).collect();
    told.sort_unstable_by_key(|(_, gap)| *gap);
    eprintln!(
        "== {} hand-overs and {rounds} crashes; without a write for {:?} at least, {:?} in the middle, {:?} at most; \
         lost {lost:?}, all named",
        rounds * HANDOVERS,
        told[0].1,
        told[rounds / 2].1,
        told[rounds - 1].1,
    );
}
