//! Writers that die: killed, restarted by their supervisor, standing still, or replaced by hand.

use std::time::Duration;

use lab::judge::{Expect, Report};
use lab::roster::READER_ADDRESSES;
use lab::wait::until;
use lab::writer::Writers;
use lab::{Lab, Restart};
use mmm::core::hosts::HostState;
use mmm::core::view::ClusterView;

use super::cluster::{SOON, cluster, mmm};
use super::watch::{ACTS_WITHIN, WRITER, Watch, host, long, show, tell, until_shown, warns};

/// A death is noticed late on purpose; then everything has to happen within this.
const GAP_AT_MOST_MS: f64 = 15_000.0;

/// A dead host says nothing to its idle connections, and a failover is no planned move.
pub fn unplanned(handovers: usize) -> Expect {
    Expect {
        handovers,
        idle_within: None,
        blind_at_most: Duration::from_secs(3),
        ..Expect::default()
    }
}

/// What must hold after every failure, whatever was lost: one writer at a time, and nothing twice.
#[track_caller]
pub fn one_writer_at_a_time(report: &Report) {
    assert!(!report.overlap(), "{report}");
    assert_eq!(report.duplicated(), 0, "{report}");
}

/// How many transactions a text like `0-1-103..105, 0-2-7` names.
pub fn count_of(surplus: &str) -> u64 {
    let range = |range: &str| {
        let numbers = range.rsplit('-').next().unwrap();
        match numbers.split_once("..") {
            Some((from, to)) => to.parse::<u64>().unwrap() - from.parse::<u64>().unwrap() + 1,
            None => 1,
        }
    };
    surplus.split(", ").map(range).sum()
}

/// What `show` says that a host has and the writer has not, when it is kept out for it.
pub fn surplus_of(view: &ClusterView, name: &str) -> Option<String> {
    let words = format!("{name} is kept out: it has transactions that the writer has not: ");
    view.warnings
        .iter()
        .find_map(|warning| warning.what.strip_prefix(&words).map(str::to_owned))
}

/// Rows that a server has and another has not.
pub fn rows_only_on(lab: &Lab, name: &str, other: &str) -> u64 {
    let rows = |name: &str| -> std::collections::BTreeSet<String> {
        let rows = lab
            .host(name)
            .unwrap()
            .sql("SELECT CONCAT(writer, '/', id) FROM app.writes")
            .unwrap();
        rows.into_iter().flatten().collect()
    };
    rows(name).difference(&rows(other)).count() as u64
}

/// A replaced writer is either back as a replica with the same rows as everybody, or kept out: read-only, without
/// addresses, its replication stopped, and what it has too many is named by its count. Whether it is back.
#[track_caller]
pub fn back_or_kept_out(lab: &Lab, watch: &Watch, old: &str, new: &str) -> bool {
    let view = watch.until("the old writer to be dealt with", |view| {
        let kept_out =
            host(view, old).state == HostState::AwaitingRecovery && surplus_of(view, old).is_some();
        let online = view.hosts.iter().all(|host| host.state == HostState::Online);
        kept_out || (view.rule == "R03" && view.warnings.is_empty() && online)
    });
    let surplus = surplus_of(&view, old);
    match &surplus {
        None => {
            lab.wait_for_equal_tables("app.writes", &["db1", "db2", "db3"], SOON)
                .unwrap();
            until(SOON, "replication to run everywhere", || lab.replication_runs()).unwrap();
        }
        Some(surplus) => {
            kept_out(lab, old);
            assert_eq!(count_of(surplus), rows_only_on(lab, old, new), "{surplus}");
        }
    }
    assert_eq!(lab.writable_hosts(), [new]);
    assert_eq!(lab.who_has(WRITER).unwrap(), [new]);
    surplus.is_none()
}

/// Read-only, without addresses, its replication stopped.
#[track_caller]
pub fn kept_out(lab: &Lab, name: &str) {
    let kept = lab.host(name).unwrap();
    assert!(!kept.is_writable().unwrap());
    assert_eq!(floating_on(lab, name), [""; 0]);
    let replication = kept.replication().unwrap();
    assert!(replication.is_none_or(|status| status.io_running == "No" && status.sql_running == "No"));
}

/// The floating addresses that a host holds.
pub fn floating_on(lab: &Lab, name: &str) -> Vec<String> {
    let floating = |held: &String| *held == WRITER || READER_ADDRESSES.contains(&held.as_str());
    lab.host(name)
        .unwrap()
        .addresses()
        .unwrap()
        .into_iter()
        .filter(floating)
        .collect()
}

/// Few enough writes that none is on its way when the writer dies just after one.
pub fn slow() -> Writers {
    Writers {
        every: Duration::from_millis(300),
        anew: false,
        ..Writers::default()
    }
}

#[test]
fn a_killed_server_is_replaced() {
    let runs: &[Restart] = if long() {
        &[
            Restart::Never,
            Restart::After(Duration::from_secs(1)),
            Restart::After(Duration::from_secs(5)),
            Restart::Never,
            Restart::After(Duration::from_secs(1)),
        ]
    } else {
        &[Restart::After(Duration::from_secs(5))]
    };
    for restart in runs {
        let lab = cluster();
        let watch = Watch::start(&lab);
        lab.db1().set_restart(*restart).unwrap();
        let load = lab.start_load(Writers::default()).unwrap();
        lab.db1().kill_mysqld().unwrap();
        // A supervisor may be faster than the trap period: then the writer stays, and is opened again.
        until(ACTS_WITHIN, "a writer again", || lab.writable_hosts().len() == 1).unwrap();
        let new = lab.writable_hosts()[0];
        load.until_acknowledged(new, 200, ACTS_WITHIN).unwrap();
        let report = load
            .stop_and_judge(
                &[lab.host(new).unwrap(), lab.db3()],
                unplanned(usize::from(new == "db2")),
            )
            .unwrap();
        tell(
            &format!("kill -9 of the writer, its supervisor: {restart:?}, the writer then: {new}"),
            &report,
        );
        one_writer_at_a_time(&report);
        assert!(report.longest_gap_ms < GAP_AT_MOST_MS, "{report}");
        if new == "db2" {
            back_or_kept_out(&lab, &watch, "db1", new);
        } else {
            watch.until("all to be well", |view| {
                view.rule == "R03" && view.warnings.is_empty()
            });
            lab.wait_for_equal_tables("app.writes", &["db1", "db2", "db3"], SOON)
                .unwrap();
        }
    }
}

#[test]
fn a_killed_server_with_nothing_extra_comes_back_as_a_replica() {
    let lab = cluster();
    let watch = Watch::start(&lab);
    lab.db1().set_restart(Restart::Never).unwrap();
    let load = lab.start_load(slow()).unwrap();
    load.until_acknowledged("db1", 1, SOON).unwrap();
    lab.db1().kill_mysqld().unwrap();
    load.until_acknowledged("db2", 2, ACTS_WITHIN).unwrap();
    assert!(back_or_kept_out(&lab, &watch, "db1", "db2"), "{}", watch.said());
    let report = load
        .stop_and_judge(&[lab.db1(), lab.db2(), lab.db3()], unplanned(1))
        .unwrap();
    tell("kill -9 of the writer under few writes", &report);
    assert_eq!(report.verdict(), [], "{report}");
}

#[test]
fn what_the_standby_had_not_received_is_named_and_keeps_the_old_writer_out() {
    for both in if long() { &[false, true][..] } else { &[true] } {
        let lab = cluster();
        let watch = Watch::start(&lab);
        lab.db1()
            .set_restart(Restart::After(Duration::from_secs(15)))
            .unwrap();
        let load = lab.start_load(Writers::default()).unwrap();
        // In this order db3 has nothing that db2 has not.
        if *both {
            lab.db3().sql("STOP SLAVE IO_THREAD").unwrap();
        }
        lab.db2().sql("STOP SLAVE IO_THREAD").unwrap();
        load.until_acknowledged("db1", 100, SOON).unwrap();
        lab.db1().kill_mysqld().unwrap();
        load.until_acknowledged("db2", 100, ACTS_WITHIN).unwrap();
        let report = load.stop_and_judge(&[lab.db2()], unplanned(1)).unwrap();
        tell(
            &format!("kill -9 of the writer, the standby had stopped receiving (db3 too: {both})"),
            &report,
        );
        one_writer_at_a_time(&report);
        let view = watch.until("the old writer to be kept out", |view| {
            host(view, "db1").state == HostState::AwaitingRecovery && surplus_of(view, "db1").is_some()
        });
        kept_out(&lab, "db1");
        let named = count_of(&surplus_of(&view, "db1").unwrap());
        let unknown: usize = report.writers.iter().map(|writer| writer.unknown).sum();
        // Some of the hundred were still on their way to the standby.
        assert!(report.lost() >= 50, "{report}");
        assert_eq!(named, rows_only_on(&lab, "db1", "db2"), "{view:#?}");
        let lost = report.lost() as u64;
        assert!(
            (lost..=lost + unknown as u64).contains(&named),
            "{named} named\n{report}"
        );
        let [loss] = view.losses.as_slice() else {
            panic!("{view:#?}");
        };
        assert_eq!((loss.exact, loss.count), (true, Some(named)), "{loss:?}");
        // At the failover at least as many were told as had been seen, and never more than there were.
        let said = watch.said();
        let at_least = said.split("lacks at least ").nth(1);
        let told: u64 = at_least.map_or(0, |rest| rest.split(' ').next().unwrap().parse().unwrap());
        assert!(told <= named, "{told} told, {named} lost\n{said}");
        eprintln!("lost: at least {told} told at the failover, {named} once the old writer was back");
        // Whoever has them too is no sound replica, and that is shown.
        if *both {
            lab.wait_for_equal_tables("app.writes", &["db2", "db3"], SOON)
                .unwrap();
        } else {
            watch.until("db3 to be known to be broken", |view| {
                host(view, "db3").state != HostState::Online
            });
        }
        watch
            .until_said("`db1` did not rejoin `test_mmm`: it has transactions that the writer `db2` has not");
        // It stays so, monitor or not.
        mmm(&lab, &["rejoin", "db1"], 4);
        kept_out(&lab, "db1");
    }
}

#[test]
fn a_server_that_stands_still_is_stopped_for_good_before_it_is_replaced() {
    let lab = cluster();
    let watch = Watch::start(&lab);
    let load = lab.start_load(Writers::default()).unwrap();
    lab.db1().stop_mysqld().unwrap();
    load.until_acknowledged("db2", 200, ACTS_WITHIN).unwrap();
    let report = load
        .stop_and_judge(&[lab.db2(), lab.db3()], unplanned(1))
        .unwrap();
    tell("SIGSTOP of the writer", &report);
    one_writer_at_a_time(&report);
    assert!(report.longest_gap_ms < 2.0 * GAP_AT_MOST_MS, "{report}");
    back_or_kept_out(&lab, &watch, "db1", "db2");
    eprintln!("{}", watch.said());
}

#[test]
fn without_a_monitor_one_command_fails_over_and_another_takes_the_old_writer_back() {
    let lab = cluster();
    let refused = mmm(&lab, &["failover"], 4);
    assert!(refused.stderr.contains("R20"), "{}", refused.stderr);
    assert_eq!(lab.writable_hosts(), ["db1"]);
    lab.db1().set_restart(Restart::Never).unwrap();
    let load = lab.start_load(slow()).unwrap();
    load.until_acknowledged("db1", 1, SOON).unwrap();
    lab.db1().kill_mysqld().unwrap();
    let done = mmm(&lab, &["failover"], 0);
    assert!(done.stdout.contains("db2 is the writer"), "{}", done.stdout);
    assert!(done.stderr.contains("nobody waits for `db1`"), "{}", done.stderr);
    load.until_acknowledged("db2", 2, SOON).unwrap();
    let view = show(&lab).unwrap();
    assert!(warns(&view, "db1 was replaced as writer"), "{view:#?}");
    mmm(&lab, &["rejoin", "db1"], 0);
    let report = load
        .stop_and_judge(&[lab.db1(), lab.db2(), lab.db3()], unplanned(1))
        .unwrap();
    tell("kill -9 of the writer, `mmm failover` at once", &report);
    assert_eq!(report.verdict(), [], "{report}");
    until_shown(&lab, "all to be well", SOON, |view| {
        view.rule == "R03" && view.warnings.is_empty()
    })
    .unwrap();
    mmm(&lab, &["rejoin", "db1"], 4);
}

#[test]
fn a_writer_that_refuses_writes_is_opened_again_and_not_replaced() {
    let lab = cluster();
    mmm(&lab, &["switchover", "--to", "db2"], 0);
    lab.db2().sql("SET GLOBAL read_only = ON").unwrap();
    let output = mmm(&lab, &["failover"], 0);
    assert!(output.stdout.contains("db2 is the writer"), "{output:?}");
    super::order::is_the_writer(&lab, "db2");
    let refused = mmm(&lab, &["failover"], 4);
    assert!(refused.stderr.contains("R20"), "{refused:?}");
    // Not while somebody else takes writes.
    lab.db2().sql("SET GLOBAL read_only = ON").unwrap();
    lab.db1().sql("SET GLOBAL read_only = OFF").unwrap();
    let refused = mmm(&lab, &["failover"], 4);
    assert!(refused.stderr.contains("`db1` accepts writes"), "{refused:?}");
    assert_eq!(lab.writable_hosts(), ["db1"]);
}
