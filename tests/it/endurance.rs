//! Many hand-overs and crashes, one after the other under load: what a hand-over keeps, what a crash loses, and whether just
//! that is told.

use std::time::Duration;

use lab::wait::until;
use lab::writer::Writers;
use lab::{Lab, Restart};

use super::cluster::{SOON, cluster, mmm};
use super::failover::{back_or_kept_out, one_writer_at_a_time, rows_only_on, unplanned};
use super::watch::{ACTS_WITHIN, Watch, long, tell};

/// Hand-overs before each crash.
const HANDOVERS: usize = 3;

/// Each writer waits until a replica has what it acknowledges, for longer than any story lasts.
fn with_semi_sync(lab: &Lab) {
    for host in lab.databases() {
        host.sql(
            "SET GLOBAL rpl_semi_sync_master_timeout = 3600000; SET GLOBAL rpl_semi_sync_slave_enabled = ON; \
             STOP SLAVE IO_THREAD; START SLAVE IO_THREAD",
        )
        .unwrap();
    }
    until(SOON, "replication to run", || lab.replication_runs()).unwrap();
    for host in [lab.db1(), lab.db2()] {
        host.sql("SET GLOBAL rpl_semi_sync_master_enabled = ON").unwrap();
    }
    waits_for_acknowledgements(lab, "db1");
}

/// Waits until a writer waits for acknowledgements: right after it was opened nobody follows it yet who could send them.
#[track_caller]
fn waits_for_acknowledgements(lab: &Lab, writer: &str) {
    let status = |name: &str| {
        let query = format!(
            "SELECT variable_value FROM information_schema.global_status WHERE variable_name = '{name}'"
        );
        lab.host(writer).unwrap().value(&query).unwrap()
    };
    until(SOON, "the writer to wait for acknowledgements", || {
        status("Rpl_semi_sync_master_status") == "ON" && status("Rpl_semi_sync_master_clients") != "0"
    })
    .unwrap();
}

/// A cluster whose writer is handed over and then dies. Gives the rows lost, and the time without writes after the death.
fn hand_over_and_crash(round: usize, semi_sync: bool) -> (u64, Duration) {
    let lab = cluster();
    if semi_sync {
        with_semi_sync(&lab);
    }
    let watch = Watch::start(&lab);
    let load = lab.start_load(Writers::default()).unwrap();
    let (mut from, mut to) = ("db1", "db2");
    for _ in 0..HANDOVERS {
        load.until_acknowledged(from, 200, SOON).unwrap();
        mmm(&lab, &["switchover", "--to", to], 0);
        (from, to) = (to, from);
    }
    let (old, new) = (from, to);
    if semi_sync {
        waits_for_acknowledgements(&lab, old);
    }
    load.until_acknowledged(old, 200, SOON).unwrap();
    watch.until("all to be well", |view| {
        view.rule == "R03" && view.warnings.is_empty()
    });
    if semi_sync {
        waits_for_acknowledgements(&lab, old);
    }
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
    if semi_sync {
        assert_eq!(lost, 0, "{report}");
    }
    (lost, gap)
}

#[track_caller]
fn many(semi_sync: bool) {
    let rounds = if long() { 10 } else { 1 };
    let mut told: Vec<(u64, Duration)> = (1..=rounds)
        .map(|round| hand_over_and_crash(round, semi_sync))
        .collect();
    let lost: Vec<u64> = told.iter().map(|(lost, _)| *lost).collect();
    told.sort_unstable_by_key(|(_, gap)| *gap);
    eprintln!(
        "== {} hand-overs and {rounds} crashes, semi-sync: {semi_sync}; without a write for {:?} at least, {:?} in the middle, \
         {:?} at most; lost {lost:?}, all named",
        rounds * HANDOVERS,
        told[0].1,
        told[rounds / 2].1,
        told[rounds - 1].1,
    );
}

#[test]
fn hand_overs_and_crashes_lose_just_what_is_named() {
    many(false);
}

#[test]
fn hand_overs_and_crashes_lose_nothing_with_semi_sync() {
    many(true);
}
