//! The judges against real servers: a run as it should be, and each thing that must be reported, really done.
//! Needs the packages mariadb-server and mariadb-client; uses loopback and a temporary directory only.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test may fail by panicking and shows the report it judged by"
)]

mod servers;

use std::time::Duration;

use lab::judge::{Expect, Violation};
use lab::sampler::State;
use rustix::process::Signal;
use servers::{Pair, until};

fn handovers(handovers: usize) -> Expect {
    Expect {
        handovers,
        ..Expect::default()
    }
}

#[test]
fn two_handovers_under_load_are_as_they_should_be() {
    let pair = Pair::start();
    let load = pair.load(&["--keep", "--anew", "--pool", "20"]);
    pair.hand_over(&pair.db1, &pair.db2);
    load.until_acknowledged(2, 200);
    pair.hand_over(&pair.db2, &pair.db1);
    load.until_acknowledged(1, 200);
    let report = load.stop_and_judge(handovers(2), |_| {});
    assert_eq!(report.verdict(), [], "{report}");
    assert_eq!(
        (report.lost(), report.duplicated(), report.overlap()),
        (0, 0, false)
    );
    assert_eq!(
        (report.changes, report.windows.handovers.len()),
        (2, 2),
        "{report}"
    );
    assert!(
        report.idle.noticed >= 40,
        "20 connections were there at each handover: {report}"
    );
    assert!(
        report.writers.iter().all(|writer| writer.acknowledged > 100),
        "{report}"
    );
}

#[test]
fn rows_really_lost_are_counted_and_named() {
    let pair = Pair::start();
    let load = pair.load(&["--keep"]);
    let report = load.stop_and_judge(handovers(0), |pair| {
        pair.db1
            .sql("SET sql_log_bin = 0; DELETE FROM app.writes ORDER BY id LIMIT 3");
        pair.db2
            .sql("SET sql_log_bin = 0; DELETE FROM app.writes ORDER BY id DESC LIMIT 2");
    });
    assert_eq!(report.lost(), 3);
    let [
        Violation::Missing(db1, lost),
        Violation::Missing(db2, missing),
        Violation::Surplus(with, surplus),
    ] = report.verdict()
    else {
        panic!("{report}")
    };
    assert_eq!((db1.as_str(), db2.as_str(), with.as_str()), ("db1", "db2", "db2"));
    assert_eq!((lost.count, missing.count, surplus), (3, 2, lost));
}

#[test]
fn rows_really_doubled_are_counted_on_their_server() {
    let pair = Pair::start();
    let load = pair.load(&["--keep"]);
    let report = load.stop_and_judge(handovers(0), |pair| {
        pair.db2
            .sql("SET sql_log_bin = 0; INSERT INTO app.writes SELECT * FROM app.writes ORDER BY id LIMIT 4");
    });
    assert_eq!((report.lost(), report.duplicated()), (0, 4));
    let [
        Violation::Surplus(_, surplus),
        Violation::Duplicated(host, doubled),
    ] = report.verdict()
    else {
        panic!("{report}")
    };
    assert_eq!((host.as_str(), doubled), ("db2", surplus));
}

#[test]
fn two_servers_really_written_at_once_are_seen_by_both_judges() {
    let pair = Pair::start();
    pair.db2.allow_writes(true);
    let other = format!("127.0.0.1:{}", pair.db2.port);
    let load = pair.load(&["--keep", "--pinned", &other]);
    load.until_acknowledged(2, 50);
    let report = load.stop_and_judge(handovers(1), |_| {});
    assert!(
        report.overlap_by_acknowledgements() && report.changes > 20,
        "{report}"
    );
    assert!(
        report
            .windows
            .touching
            .iter()
            .any(|touch| touch.proven && touch.for_ms > 50.0),
        "{report}"
    );
    assert_eq!(report.verdict().len(), 2, "{report}");
}

#[test]
fn two_servers_writable_and_one_written_are_seen_by_the_samplers() {
    let pair = Pair::start();
    let load = pair.load(&["--keep"]);
    pair.db2.allow_writes(true);
    load.until_acknowledged(1, 20);
    pair.db2.allow_writes(false);
    load.until_acknowledged(1, 20);
    let report = load.stop_and_judge(handovers(0), |_| {});
    assert!(
        report.overlap() && !report.overlap_by_acknowledgements(),
        "{report}"
    );
    assert!(
        matches!(report.verdict(), [Violation::WritableTogether(touch)] if touch.proven),
        "{report}"
    );
}

#[test]
fn a_move_that_was_not_meant_is_reported() {
    let pair = Pair::start();
    let load = pair.load(&["--anew", "--anew-every-ms", "5"]);
    pair.hand_over(&pair.db1, &pair.db2);
    load.until_acknowledged(2, 50);
    let report = load.stop_and_judge(handovers(0), |_| {});
    let expected = Violation::AcknowledgedByTwo {
        between: (1, 2),
        changes: 1,
        handovers: 0,
    };
    assert_eq!(report.verdict(), [expected], "{report}");
}

#[test]
fn a_pool_left_on_the_old_writer_is_reported() {
    let pair = Pair::start();
    let load = pair.load(&["--anew", "--pool", "5"]);
    until("the pool is open", || load.log().idle.len() == 5);
    // A handover that ends nobody's session.
    pair.db1.allow_writes(false);
    pair.db2.catch_up_with(&pair.db1);
    pair.address.move_to(&pair.db2);
    pair.db2.allow_writes(true);
    load.until_acknowledged(2, 50);
    let expect = Expect {
        idle_within: Some(Duration::from_millis(100)),
        ..Expect::default()
    };
    let report = load.stop_and_judge(expect, |_| {});
    assert!(
        matches!(report.verdict(), [Violation::IdleLate { unnoticed: 5, .. }]),
        "{report}"
    );
}

#[test]
fn a_server_that_stops_is_silent_and_one_that_dies_is_down() {
    let pair = Pair::start();
    let load = pair.load(&["--keep", "--write-within-ms", "150"]);
    pair.db1.signal(Signal::STOP);
    until("a write got no answer", || !load.log().unknown.is_empty());
    pair.db1.signal(Signal::CONT);
    load.until_acknowledged(1, 50);
    pair.db1.kill();
    until("writes get no connection", || load.log().unsent.len() > 20);
    pair.db1.start();
    pair.db1.allow_writes(true);
    load.until_acknowledged(1, 50);
    let spans = load.samples(&pair.db1).spans;
    let report = load.stop_and_judge(handovers(0), |_| {});
    assert_eq!(report.verdict(), [], "{report}");
    assert!(
        report.longest_gap_ms >= 150.0 && report.windows.hosts[0].longest_blind_ms < 150.0,
        "{report}"
    );
    let mut states: Vec<State> = spans.iter().map(|span| span.state).collect();
    states.dedup();
    // On a busy machine a killed server takes a while to be gone, and one that starts a while to
    // greet: it says nothing meanwhile.
    let beside_down =
        |at: usize| states.get(at + 1) == Some(&State::Down) || (at > 0 && states[at - 1] == State::Down);
    let told: Vec<State> = (0..states.len())
        .filter(|&at| states[at] != State::Silent || !beside_down(at))
        .map(|at| states[at])
        .collect();
    let story = [
        State::Writable,
        State::Silent,
        State::Writable,
        State::Down,
        State::ReadOnly,
        State::Writable,
    ];
    assert_eq!(told, story, "{spans:?}");
}

#[test]
fn an_id_is_never_used_twice_whatever_becomes_of_it() {
    let pair = Pair::start();
    let load = pair.load(&["--keep", "--anew", "--anew-every-ms", "2"]);
    pair.db1.allow_writes(false);
    until("writes are refused", || load.log().refused.len() > 20);
    pair.db1.kill();
    until("writes get no connection", || load.log().unsent.len() > 20);
    pair.db1.start();
    pair.db1.allow_writes(true);
    load.until_acknowledged(1, 50);
    let log = load.log();
    let mut ids: Vec<(&str, u64)> = log
        .attempts()
        .map(|attempt| (&*attempt.writer, attempt.id))
        .collect();
    let attempts = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), attempts);
    assert_eq!(load.stop_and_judge(handovers(0), |_| {}).verdict(), []);
}

#[test]
fn a_writer_that_was_killed_is_reported_and_what_it_wrote_is_read() {
    let pair = Pair::start();
    let mut load = pair.load(&["--keep"]);
    load.writer.take().unwrap().kill();
    let report = load.stop_and_judge(handovers(0), |_| {});
    assert_eq!(report.verdict(), [Violation::LogCutOff], "{report}");
    assert!(report.acknowledged >= 100);
}
