//! Nothing is lost without saying so: what a living host has is handed over before anybody is promoted, and what cannot
//! be had is named before and after, with its count.

use lab::command::Output;
use lab::wait::until;
use lab::{Lab, Restart};
use mmm::core::view::LossView;

use super::cluster::{SOON, cluster, mmm};
use super::failover::kept_out;
use super::watch::{WRITER, Watch, show, until_shown, warns};

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

fn rows_of(lab: &Lab, host: &str) -> String {
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
    assert_eq!(
        (rows_of(&lab, "db2"), rows_of(&lab, "db3")),
        ("0".into(), "100".into())
    );
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
    assert_eq!(rows_of(&lab, "db2"), "0", "a plan touches nothing");
    let done = mmm(&lab, &["failover"], 0);
    assert!(done.stdout.contains("db2 is the writer"), "{}", done.stdout);
    let handed = "db3 has 100 transactions that db2 has not, and hands them over first";
    assert!(done.stderr.contains(handed), "{}", done.stderr);
    eprintln!("{}", done.stdout);
    assert_eq!(rows_of(&lab, "db2"), "100");
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
    assert_eq!(rows_of(&lab, "db2"), "0");
    let refused = mmm(&lab, &["rejoin", "db1"], 4);
    assert!(
        refused.stdout.contains("db2 lacks 10 transactions of db1"),
        "{refused:?}"
    );
    assert_eq!((loss(&lab).exact, loss(&lab).count), (true, Some(10)));
}

/// Where a plan is kept.
const PLAN: &str = "/root/plan.json";
/// Where the box keeps what only replaced writers have.
const SURPLUS: &str = "/var/lib/mmm/test_mmm/surplus";

/// Makes a copy of the writer with the tools of the server.
const REBUILD: &str = "\
duty: copy-the-writer
says: make {{ host.name }} a copy of {{ source.name }}
needs: [source]
undo: nothing
within: 30s
steps:
  - name: Forget its own history
    run: mariadb --execute='RESET MASTER'
  - name: Copy
    run: >-
      mariadb-dump --host={{ source.address }} --user=copier --single-transaction --gtid --master-data=1 --databases app |
      mariadb --init-command='SET SESSION sql_log_bin = 0'
";

#[test]
fn what_only_the_old_writer_has_is_saved_as_rows_and_discarded_by_a_rebuild() {
    let lab = cluster();
    with_table(&lab);
    for host in [lab.db2(), lab.db3()] {
        host.sql("STOP SLAVE IO_THREAD").unwrap();
    }
    write(&lab, 1..=3);
    lab.db1().set_restart(Restart::Never).unwrap();
    lab.db1().kill_mysqld().unwrap();
    // Nobody had looked before, and so nobody knows what db2 lacks.
    let refused = mmm(&lab, &["failover"], 4);
    assert!(said(&refused).contains("db2: G35: "), "{}", said(&refused));
    mmm(&lab, &["failover", "--to", "db2", "--allow-loss"], 0);
    let before = lab.db1().sh("ls -A /tmp /var/tmp").unwrap().stdout;
    let refused = mmm(&lab, &["rejoin", "db1"], 4);
    for words in ["db2 lacks 3 transactions of db1: 0-1-", SURPLUS, "--discard"] {
        assert!(said(&refused).contains(words), "{}", said(&refused));
    }
    let files = lab
        .box_()
        .sh(&format!("stat -c '%a %n' {SURPLUS} {SURPLUS}/*"))
        .unwrap()
        .stdout;
    let file = files.lines().last().unwrap().to_owned();
    assert!(files.starts_with("700 ") && file.starts_with("600 "), "{files}");
    let rows = lab.box_().sh(&format!("cat {SURPLUS}/*.sql")).unwrap().stdout;
    assert!(
        rows.starts_with("-- 3 transactions that only db1 has: 0-1-"),
        "{rows}"
    );
    let inserted = rows.matches("### INSERT INTO `app`.`handed`").count();
    assert_eq!(inserted, 3, "{rows}");
    assert_eq!(lab.db1().sh("ls -A /tmp /var/tmp").unwrap().stdout, before);
    let shown = mmm(&lab, &["show"], 3);
    assert!(shown.stdout.contains(SURPLUS), "{}", shown.stdout);
    // Nothing is discarded that nobody has declared how to replace.
    let refused = mmm(&lab, &["rejoin", "db1", "--discard"], 2);
    assert!(
        refused.stderr.contains("declares no `rebuild` duty"),
        "{refused:?}"
    );
    declare_rebuild(&lab);
    let planned = mmm(&lab, &["plan", "rejoin", "db1", "--discard", "--save", PLAN], 0);
    for words in [
        "db1 loses what only it has: 0-1-",
        "make db1 a copy of db2",
        "Follow the writer",
    ] {
        assert!(
            planned.stdout.contains(words),
            "no `{words}` in {}",
            planned.stdout
        );
    }
    // One that fails leaves the host out.
    let failed = mmm(&lab, &["rejoin", "db1", "--discard"], 3);
    assert!(
        failed.stderr.contains("was not rebuilt, and stays out"),
        "{failed:?}"
    );
    kept_out(&lab, "db1");
    lab.db1()
        .sql(
            "SET SESSION sql_log_bin = 0; CREATE USER mmm@localhost IDENTIFIED VIA unix_socket; \
             GRANT ALL ON *.* TO mmm@localhost",
        )
        .unwrap();
    lab.db2()
        .sql("SET SESSION sql_log_bin = 0; CREATE USER copier@'%'; GRANT ALL ON *.* TO copier@'%'")
        .unwrap();
    // Just what was planned is lost: with one row more it is another plan.
    lab.db1().sql("SET GLOBAL read_only = OFF").unwrap();
    write(&lab, 4..=4);
    lab.db1().sql("SET GLOBAL read_only = ON").unwrap();
    let refused = mmm(&lab, &["apply", PLAN], 4);
    assert!(
        refused.stderr.contains("guard: G90") && refused.stderr.contains("surplus was"),
        "{refused:?}"
    );
    mmm(&lab, &["rejoin", "db1"], 4);
    mmm(
        &lab,
        &[
            "plan",
            "rejoin",
            "db1",
            "--discard",
            "--save",
            &format!("{PLAN}2"),
        ],
        0,
    );
    let done = mmm(&lab, &["apply", &format!("{PLAN}2")], 0);
    assert!(done.stderr.contains("as told by --discard"), "{}", said(&done));
    assert!(!done.stdout.contains("nothing was lost"), "{}", said(&done));
    lab.db3().sql("START SLAVE").unwrap();
    lab.wait_for_equal_tables("app.handed", &["db1", "db2", "db3"], SOON)
        .unwrap();
    assert_eq!(rows_of(&lab, "db1"), "0");
    until_shown(&lab, "all to be well", SOON, |view| {
        view.rule == "R03" && view.warnings.is_empty() && view.losses.is_empty()
    })
    .unwrap();
}

fn declare_rebuild(lab: &Lab) {
    let box_ = lab.box_();
    box_.sh("mkdir -p /etc/mmm/playbooks/duties")
        .unwrap()
        .ok()
        .unwrap();
    box_.write("/etc/mmm/playbooks/duties/copy-the-writer.yaml", REBUILD)
        .unwrap();
    let keys = "    rebuild: { duty: copy-the-writer }\n    playbooks: /etc/mmm/playbooks\n    writer_role:";
    let inventory = lab.inventory_yaml().replace("    writer_role:", keys);
    lab.write_inventory(&inventory).unwrap();
}

#[test]
fn whoever_acts_next_makes_a_returned_writer_harmless_first() {
    let lab = cluster();
    lab.db1()
        .sh("sed -i 's/^read_only = ON/read_only = OFF/' /etc/mysql/my.cnf && sync")
        .unwrap()
        .ok()
        .unwrap();
    lab.db1().power_off().unwrap();
    let done = mmm(&lab, &["failover", "--to", "db2"], 0);
    assert!(done.stderr.contains("nobody waits for `db1`"), "{}", said(&done));
    lab.db1().boot().unwrap();
    assert!(lab.db1().is_writable().unwrap(), "nobody waits for it");
    // Anything that acts, not only what is about that host.
    let done = mmm(&lab, &["set-offline", "db3"], 0);
    assert!(
        done.stderr.contains("made the replaced writer read-only"),
        "{}",
        said(&done)
    );
    kept_out(&lab, "db1");
    assert_eq!(lab.writable_hosts(), ["db2"]);
}

#[test]
fn a_standby_that_somebody_wrote_on_is_named_and_never_promoted() {
    let lab = cluster();
    // What it writes does not come round to the writer.
    lab.db1().sql("STOP SLAVE").unwrap();
    lab.db2().sql("CREATE DATABASE only_here").unwrap();
    let watch = Watch::start_anyhow(&lab);
    watch.until("it to be named", |view| {
        view.rule == "R04" && warns(view, "db2 has transactions that the writer never had, up to 0-2-")
    });
    for arguments in [&["switchover", "--to", "db2"][..], &["switchover"]] {
        let refused = mmm(&lab, arguments, 4);
        assert!(refused.stderr.contains("somebody wrote there"), "{refused:?}");
    }
    lab.db1().set_restart(Restart::Never).unwrap();
    lab.db1().kill_mysqld().unwrap();
    watch.until("nobody to take over, and why", |view| {
        view.rule == "R07" && warns(view, "G38 db2: has transactions that the writer never had")
    });
    let ready = mmm(&lab, &["check", "--readiness"], 3);
    assert!(ready.stdout.contains("G38 db2: "), "{}", ready.stdout);
    let refused = mmm(&lab, &["failover", "--to", "db2"], 4);
    assert!(refused.stderr.contains("somebody wrote there"), "{refused:?}");
    assert_eq!(lab.writable_hosts(), [""; 0]);
    // A person may take what was written there for true.
    mmm(&lab, &["failover", "--to", "db2", "--allow-loss"], 0);
    assert_eq!(lab.writable_hosts(), ["db2"]);
}
