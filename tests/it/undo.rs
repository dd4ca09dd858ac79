//! A switchover that cannot go on: refused before anything is touched, or undone as if it had never been.

use lab::wait::until;
use lab::{Background, Lab};

use super::cluster::{SOON, cluster, mmm};

/// What an undone or refused switchover must leave: writes on db1 through the address, replication everywhere.
#[track_caller]
fn is_as_before(lab: &Lab) {
    assert_eq!(lab.writable_hosts(), ["db1"]);
    assert_eq!(lab.who_has("10.77.0.100").unwrap(), ["db1"]);
    assert!(lab.replication_runs());
    let row = format!("INSERT INTO app.notes VALUES ({})", lab::clock::monotonic_ns());
    lab.db1().sql(&row).unwrap();
    lab.wait_for_equal_tables("app.notes", &["db1", "db2", "db3"], SOON)
        .unwrap();
}

fn prepared() -> Lab {
    let lab = cluster();
    lab.db1()
        .sql("CREATE DATABASE IF NOT EXISTS app; CREATE TABLE app.notes (id BIGINT PRIMARY KEY)")
        .unwrap();
    lab.wait_for_equal_tables("app.notes", &["db1", "db2", "db3"], SOON)
        .unwrap();
    lab
}

/// Statements on db1 that are kept going until the handle is dropped.
fn holding(lab: &Lab, statements: &str) -> Background {
    let client = lab
        .db1()
        .spawn(["mariadb", "--user=root", "-e", statements])
        .unwrap();
    let sleeps = "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE '%SLEEP(%' \
                  AND id <> CONNECTION_ID()";
    until(SOON, "the statement to run", || {
        lab.db1().value(sleeps).is_ok_and(|count| count == "1")
    })
    .unwrap();
    client
}

#[test]
fn a_standby_whose_sql_thread_is_stopped_is_refused() {
    let lab = prepared();
    lab.db2().sql("STOP SLAVE SQL_THREAD").unwrap();
    let output = mmm(&lab, &["switchover", "--to", "db2"], 4);
    assert!(output.stderr.contains("db2"), "{}", output.stderr);
    lab.db2().sql("START SLAVE SQL_THREAD").unwrap();
    until(SOON, "replication to run", || lab.replication_runs()).unwrap();
    is_as_before(&lab);
}

#[test]
fn a_table_lock_on_the_writer_makes_it_give_up_in_time() {
    let lab = prepared();
    let lock = holding(&lab, "LOCK TABLES app.notes WRITE; DO SLEEP(60)");
    let output = mmm(&lab, &["switchover", "--to", "db2"], 5);
    assert!(
        output.stdout.contains("db1 is still the writer"),
        "{}",
        output.stdout
    );
    assert_eq!(lab.writable_hosts(), ["db1"]);
    drop(lock);
    lab.db1().sql("KILL USER root").err();
    is_as_before(&lab);
}

#[test]
fn a_long_write_on_the_writer_makes_it_give_up_in_time() {
    let lab = prepared();
    let write = holding(&lab, "INSERT INTO app.notes SELECT 1 + SLEEP(60)");
    let output = lab.box_().mmm(["switchover", "--to", "db2"]).unwrap();
    // Refused, where it had been writing for long enough to be noticed beforehand.
    assert!([4, 5].contains(&output.code), "{output:?}");
    assert!(
        output.stdout.contains("db1 is still the writer"),
        "{}",
        output.stdout
    );
    drop(write);
    is_as_before(&lab);
}

#[test]
fn a_prepared_xa_transaction_stands_in_the_way() {
    let lab = prepared();
    lab.db1()
        .sql("XA START 'left'; INSERT INTO app.notes VALUES (7); XA END 'left'; XA PREPARE 'left'")
        .unwrap();
    let output = mmm(&lab, &["switchover", "--to", "db2"], 4);
    assert!(output.stdout.contains("prepared XA"), "{}", output.stdout);
    assert_eq!(lab.db1().sql("XA RECOVER").unwrap().len(), 1);
    lab.db1().sql("XA ROLLBACK 'left'").unwrap();
    is_as_before(&lab);
    mmm(&lab, &["switchover", "--to", "db2"], 0);
}

#[test]
fn a_second_run_is_told_who_holds_the_lock() {
    let lab = prepared();
    let lock = holding(&lab, "LOCK TABLES app.notes WRITE; DO SLEEP(60)");
    let first = lab.box_().spawn_mmm(["switchover", "--to", "db2"]).unwrap();
    until(SOON, "the first run to begin", || {
        first.stdout().contains("run switchover-") || first.stderr().contains("run switchover-")
    })
    .unwrap();
    let second = mmm(&lab, &["switchover", "--to", "db2", "--lock-wait", "0s"], 4);
    assert!(
        second.stderr.contains("switchover of test_mmm"),
        "{}",
        second.stderr
    );
    assert_eq!(first.wait(SOON).unwrap().code, 5);
    drop(lock);
    is_as_before(&lab);
}
