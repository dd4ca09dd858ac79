//! Who takes over when several could, and what says beforehand whether anybody could.

use lab::Restart;
use lab::wait::until;

use super::cluster::{SOON, cluster, cluster_with, mmm};
use super::order::is_the_writer;
use super::watch::warns;

/// All three hosts may be the writer.
fn three_masters(yaml: String) -> String {
    yaml.replace("mode: slave }", "mode: master }")
        .replace("hosts: [db1, db2], ", "hosts: [db1, db2, db3], ")
}

#[test]
fn of_three_masters_whoever_received_most_takes_over() {
    let lab = cluster_with(&three_masters);
    let ready = mmm(&lab, &["check", "--readiness"], 0);
    assert!(ready.stdout.contains("to: db2"), "{}", ready.stdout);
    mmm(&lab, &["switchover", "--to", "db3"], 0);
    is_the_writer(&lab, "db3");
    // The order of the role decides where nothing else does.
    mmm(&lab, &["switchover"], 0);
    is_the_writer(&lab, "db1");
    lab.db1()
        .sql("CREATE TABLE app.before_it (id INT) SELECT 1 AS id")
        .unwrap();
    lab.wait_for_equal_tables("app.before_it", &["db1", "db2", "db3"], SOON)
        .unwrap();

    lab.db2().sql("STOP SLAVE IO_THREAD").unwrap();
    lab.db1()
        .sql("CREATE TABLE app.most (id INT) SELECT 1 AS id")
        .unwrap();
    lab.wait_for_equal_tables("app.most", &["db1", "db3"], SOON)
        .unwrap();
    lab.db1().set_restart(Restart::Never).unwrap();
    lab.db1().kill_mysqld().unwrap();
    let done = mmm(&lab, &["failover"], 0);
    assert!(done.stdout.contains("db3 is the writer"), "{}", done.stdout);
    lab.wait_for_equal_tables("app.most", &["db2", "db3"], SOON)
        .unwrap();
}

#[test]
fn whether_a_failover_would_work_is_said_beforehand_with_the_guard_that_blocks() {
    let lab = cluster();
    let ready = mmm(&lab, &["check", "--readiness"], 0);
    for words in [
        "a failover would work now",
        "to: db2",
        "demoted over SSH",
        "price: ",
    ] {
        assert!(ready.stdout.contains(words), "{words}: {}", ready.stdout);
    }
    let line = mmm(&lab, &["check", "--readiness", "--nagios"], 1);
    assert!(
        line.stdout
            .starts_with("MMM WARNING - test_mmm: db1 -> db2, but no monitor runs"),
        "{line:?}"
    );
    assert_eq!(line.stdout.lines().count(), 1);

    lab.db2().sql("STOP SLAVE SQL_THREAD").unwrap();
    let blocked = mmm(&lab, &["check", "--readiness"], 3);
    for words in ["would NOT work", "guard: G20 G26 db2: its SQL thread is stopped"] {
        assert!(blocked.stdout.contains(words), "{words}: {}", blocked.stdout);
    }
    let json = mmm(&lab, &["check", "--readiness", "--output", "json"], 3);
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json["clusters"][0]["blocked"][0]["guard"], "G20");
    mmm(&lab, &["check", "--readiness", "--nagios"], 2);
    let view = super::watch::show(&lab).unwrap();
    assert!(
        warns(&view, "a failover would not work now: G20 G26 db2"),
        "{view:#?}"
    );
    lab.db2().sql("START SLAVE SQL_THREAD").unwrap();

    let filtered = "STOP SLAVE; SET GLOBAL replicate_ignore_db = 'shop'; START SLAVE";
    lab.db2().sql(filtered).unwrap();
    let runs = || lab.replication_runs();
    until(SOON, "db2 to replicate", runs).unwrap();
    let refused = mmm(&lab, &["switchover", "--to", "db2"], 4);
    assert!(refused.stderr.contains("guard: G29 "), "{}", refused.stderr);
    let blocked = mmm(&lab, &["check", "--readiness"], 3);
    assert!(
        blocked
            .stdout
            .contains("G29 db2: its filters differ: `replicate_ignore_db` is `shop`"),
        "{}",
        blocked.stdout
    );
    lab.db2()
        .sql("STOP SLAVE; SET GLOBAL replicate_ignore_db = ''; START SLAVE")
        .unwrap();
    until(SOON, "db2 to replicate again", runs).unwrap();

    // Of a writer that is dead, evidence says how it would be replaced; nothing is done about it.
    let replaceable = |how: &str, to: &str| {
        let ready = mmm(&lab, &["check", "--readiness"], 0);
        for words in [how, &format!("to: {to}")] {
            assert!(ready.stdout.contains(words), "{words}: {}", ready.stdout);
        }
        assert_eq!(lab.writable_hosts(), [""; 0], "nothing was opened");
    };
    lab.db1().set_restart(Restart::Never).unwrap();
    lab.db1().kill_mysqld().unwrap();
    replaceable("demoted over SSH", "db2");
    mmm(&lab, &["failover"], 0);
    let owed = mmm(&lab, &["check", "--readiness"], 3);
    assert!(owed.stdout.contains("guard: G20 G22 db1: "), "{}", owed.stdout);
    mmm(&lab, &["rejoin", "db1"], 0);
    lab.db2().power_off().unwrap();
    replaceable("only silent to every host", "db1");
}
