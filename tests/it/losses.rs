//! Nothing is lost without saying so: what a living host has is handed over before anybody is promoted, and what cannot
//! be had is named before and after, with its count.

use lab::command::Output;
use lab::wait::until;
use lab::{Lab, Restart};
use mmm::core::view::LossView;

use super::cluster::{SOON, cluster, mmm};
use super::failover::kept_out;
use super::watch::{WRITER, show, until_shown};

/// A table of its own on the writer, there on every host.
fn with_table(lab: &Lab) {
    lab.db1()
        .sql("CREATE TABLE app.handed (id INT PRIMARY KEY)")
        .unwrap();
    lab.wait_for_equal_tables("app.handed", &["db1", "db2", "db3"], SOON)
        .unwrap();
}

/// Transactions of one row each.
fn write(lab: &Lab, ids: std::ops::RangeInclusive<u32>) {
    let statements: Vec<String> = ids
        .map(|id| format!("INSERT INTO app.handed VALUES ({id})"))
        .collect();
    lab.db1().sql(&statements.join("; ")).unwrap();
}

/// Everything that a command told.
fn said(output: &Output) -> String {
    format!("{}\n{}", output.stdout, output.stderr)
}

fn rows(lab: &Lab, host: &str) -> String {
    let host = lab.host(host).unwrap();
    host.value("SELECT COUNT(*) FROM app.handed").unwrap()
}

/// db3 has received 100 transactions that db2 has not, and db1 dies.
fn db3_ahead() -> Lab {
    let lab = cluster();
    with_table(&lab);
    lab.db2().sql("STOP SLAVE IO_THREAD").unwrap();
    write(&lab, 1..=100);
    lab.wait_for_equal_tables("app.handed", &["db1", "db3"], SOON)
        .unwrap();
    lab.db1().set_restart(Restart::Never).unwrap();
    lab.db1().kill_mysqld().unwrap();
    assert_eq!((rows(&lab, "db2"), rows(&lab, "db3")), ("0".into(), "100".into()));
    lab
}

/// The only loss that `show` tells of.
#[track_caller]
fn loss(lab: &Lab) -> LossView {
    let view = show(lab).unwrap();
    let [loss] = view.losses.as_slice() else {
        panic!("{view:#?}");
    };
    loss.clone()
}

#[test]
fn what_only_a_replica_received_is_handed_over_before_anybody_is_promoted() {
    let lab = db3_ahead();
    let plan = mmm(&lab, &["plan", "failover"], 0);
    for words in [
        "db3 has 100 transactions that db2 has not, and hands them over first: 0-1-",
        "Take over what the donor has more",
    ] {
        assert!(plan.stdout.contains(words), "{}", plan.stdout);
    }
    assert_eq!(rows(&lab, "db2"), "0", "a plan touches nothing");
    let done = mmm(&lab, &["failover"], 0);
    assert!(done.stdout.contains("db2 is the writer"), "{}", done.stdout);
    eprintln!("{}", done.stdout);
    assert_eq!(rows(&lab, "db2"), "100");
    until(SOON, "db3 to follow the new writer", || {
        let status = lab.db3().replication().ok().flatten();
        status.is_some_and(|status| status.source == "10.77.0.12" && status.is_running())
    })
    .unwrap();
    let told = loss(&lab);
    assert!(
        !told.exact && told.seen_at.is_none(),
        "no monitor had seen it: {told:?}"
    );
    let back = mmm(&lab, &["rejoin", "db1"], 0);
    assert!(
        back.stdout
            .contains("nothing was lost: db1 has no transaction that db2 has not"),
        "{}",
        back.stdout
    );
    lab.wait_for_equal_tables("app.handed", &["db1", "db2", "db3"], SOON)
        .unwrap();
    until_shown(&lab, "all to be well", SOON, |view| {
        view.rule == "R03" && view.warnings.is_empty() && view.losses.is_empty()
    })
    .unwrap();
    // What was found is in the journal of the run that replaced it.
    let journal = lab
        .box_()
        .sh("cat /var/lib/mmm/test_mmm/runs/failover-*.jsonl")
        .unwrap()
        .ok()
        .unwrap();
    assert!(
        journal.stdout.contains(r#""lost":{"is_exact":true"#),
        "{}",
        journal.stdout
    );
}

#[test]
fn a_replica_that_cannot_hand_over_is_named_and_stays_apart() {
    let lab = db3_ahead();
    lab.db3().stop_sshd().unwrap();
    let done = mmm(&lab, &["failover"], 0);
    let words = "db3 has 100 transactions that db2 has not, and cannot hand them over since it cannot be reached over SSH";
    assert!(said(&done).contains(words), "{}", said(&done));
    lab.db3().start_sshd().unwrap();
    let source = lab.db3().replication().unwrap().map(|status| status.source);
    assert_eq!(
        source.as_deref(),
        Some("10.77.0.11"),
        "it is not pointed to a history that lacks its own"
    );
    let view = until_shown(&lab, "db3 to be named", SOON, |view| {
        view.warnings.iter().any(|warning| {
            warning
                .what
                .contains("db3 does not follow the writer db2 and has transactions")
        })
    })
    .unwrap();
    assert_eq!(view.writer.as_ref().map(|writer| writer.as_str()), Some("db2"));
    let refused = mmm(&lab, &["rejoin", "db1"], 4);
    assert!(
        refused.stdout.contains("db2 lacks 100 transactions of db1: 0-1-"),
        "{refused:?}"
    );
    let told = loss(&lab);
    assert_eq!((told.exact, told.count), (true, Some(100)), "{told:?}");
    kept_out(&lab, "db1");
}

#[test]
fn a_handover_that_fails_is_taken_back_and_a_person_may_go_on_without() {
    let lab = db3_ahead();
    lab.db3()
        .sql("SET sql_log_bin = 0; RENAME USER mmm_repl TO mmm_gone")
        .unwrap();
    let undone = mmm(&lab, &["failover"], 5);
    assert!(
        undone.stdout.contains("Take over what the donor has more"),
        "{}",
        undone.stdout
    );
    assert_eq!(lab.writable_hosts(), [""; 0]);
    // Whoever received before receives again, as far as anybody is there.
    until(SOON, "db3 to try to receive again", || {
        let status = lab.db3().replication().ok().flatten();
        status.is_some_and(|status| status.io_running != "No" && status.sql_running == "Yes")
    })
    .unwrap();
    let done = mmm(&lab, &["failover", "--to", "db2", "--allow-loss"], 0);
    assert!(done.stderr.contains("SKIP"), "{}", said(&done));
    assert_eq!(lab.writable_hosts(), ["db2"]);
    assert_eq!(lab.who_has(WRITER).unwrap(), ["db2"]);
    let status = lab.db2().replication().unwrap();
    assert!(status.is_none_or(|status| status.io_running == "No" && status.sql_running == "No"));
    mmm(&lab, &["rejoin", "db1"], 4);
    assert_eq!(loss(&lab).count, Some(100));
}

#[test]
fn what_was_received_and_cannot_be_applied_needs_a_persons_word() {
    let lab = cluster();
    with_table(&lab);
    lab.db2().sql("STOP SLAVE SQL_THREAD").unwrap();
    lab.db3().sql("STOP SLAVE").unwrap();
    write(&lab, 1..=10);
    let end = lab.db1().value("SELECT @@global.gtid_binlog_pos").unwrap();
    until(SOON, "db2 to receive all", || {
        let status = lab.db2().table("SHOW SLAVE STATUS").unwrap();
        status.first("Gtid_IO_Pos") == Some(end.as_str())
    })
    .unwrap();
    lab.db1().set_restart(Restart::Never).unwrap();
    lab.db1().kill_mysqld().unwrap();
    let plan = mmm(&lab, &["plan", "failover", "--to", "db2"], 4);
    let price = "db2 has received 10 transactions that it cannot apply, and would lose them: 0-1-";
    assert!(plan.stdout.contains(price), "{}", plan.stdout);
    for arguments in [&["failover"][..], &["failover", "--to", "db2"]] {
        let refused = mmm(&lab, arguments, 4);
        assert!(
            refused.stderr.contains("it has received 10 transactions"),
            "{}",
            refused.stderr
        );
    }
    let refused = mmm(&lab, &["failover", "--to", "db2"], 4);
    assert!(refused.stderr.contains("--allow-loss"), "{}", refused.stderr);
    assert_eq!(lab.writable_hosts(), [""; 0]);
    let done = mmm(&lab, &["failover", "--to", "db2", "--allow-loss"], 0);
    let told = "going on as told by --allow-loss: db2 loses 10 transactions";
    assert!(done.stderr.contains(told), "{}", said(&done));
    assert_eq!(rows(&lab, "db2"), "0");
    let refused = mmm(&lab, &["rejoin", "db1"], 4);
    assert!(
        refused.stdout.contains("db2 lacks 10 transactions of db1"),
        "{refused:?}"
    );
    assert_eq!((loss(&lab).exact, loss(&lab).count), (true, Some(10)));
}
