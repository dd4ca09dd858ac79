//! A replica is ahead of the standby by 100 transactions when the writer dies, on every server family: by GTID it hands
//! them over first and nothing of it is lost; by position it is kept out and named.

use lab::command::Output;
use lab::wait::until;
use lab::{Flavour, Lab, Restart, Server};

use super::cluster::{SOON, mmm};
use super::deaths::of_replica;
use super::failover::kept_out;
use super::families::cluster_of;
use super::watch::{until_shown, warns};

/// How many.
const AHEAD: usize = 100;

fn rows_of(lab: &Lab, host: &str) -> String {
    let host = lab.host(host).unwrap();
    host.value("SELECT COUNT(*) FROM app.handed").unwrap()
}

fn said(output: &Output) -> String {
    format!("{}\n{}", output.stdout, output.stderr)
}

/// db3 has received and applied 100 transactions that db2 has not, and db1 is dead.
fn db3_ahead(flavour: Flavour) -> Lab {
    let lab = cluster_of(flavour);
    lab.db1()
        .sql("CREATE DATABASE IF NOT EXISTS app; CREATE TABLE app.handed (id INT PRIMARY KEY)")
        .unwrap();
    lab.wait_for_equal_tables("app.handed", &["db1", "db2", "db3"], SOON)
        .unwrap();
    lab.db2()
        .sql(&of_replica(lab.db2(), "STOP SLAVE IO_THREAD"))
        .unwrap();
    let rows: Vec<String> = (0..AHEAD)
        .map(|id| format!("INSERT INTO app.handed VALUES ({id})"))
        .collect();
    lab.db1().sql(&rows.join("; ")).unwrap();
    lab.wait_for_equal_tables("app.handed", &["db1", "db3"], SOON)
        .unwrap();
    lab.db1().set_restart(Restart::Never).unwrap();
    lab.db1().kill_mysqld().unwrap();
    assert_eq!(
        (rows_of(&lab, "db2"), rows_of(&lab, "db3")),
        ("0".into(), AHEAD.to_string())
    );
    lab
}

fn nothing_is_lost(flavour: Flavour) {
    let lab = db3_ahead(flavour);
    let done = mmm(&lab, &["failover"], 0);
    let handed = "db3 has 100 transactions that db2 has not, and hands them over first";
    assert!(done.stderr.contains(handed), "{}", said(&done));
    assert_eq!(lab.writable_hosts(), ["db2"]);
    assert_eq!(rows_of(&lab, "db2"), AHEAD.to_string());
    until(SOON, "db3 to follow the new writer", || {
        let status = lab.db3().replication().ok().flatten();
        status.is_some_and(|status| status.source == "10.77.0.12" && status.is_running())
    })
    .unwrap();
    let back = mmm(&lab, &["rejoin", "db1"], 0);
    assert!(back.stdout.contains("nothing was lost"), "{}", said(&back));
    lab.wait_for_equal_tables("app.handed", &["db1", "db2", "db3"], SOON)
        .unwrap();
    until_shown(&lab, "all to be well", SOON, |view| {
        view.rule == "R03" && view.warnings.is_empty() && view.losses.is_empty()
    })
    .unwrap();
}

fn kept_apart_and_named(flavour: Flavour) {
    let lab = db3_ahead(flavour);
    let done = mmm(&lab, &["failover", "--to", "db2", "--allow-loss"], 0);
    let told = said(&done);
    assert!(
        told.contains("that db2 has not, and cannot hand them over since it replicates by file and position"),
        "{told}"
    );
    assert!(told.contains("db3 has "), "{told}");
    assert_eq!(lab.writable_hosts(), ["db2"]);
    until_shown(&lab, "db3 to be named", SOON, |view| warns(view, "db3 ")).unwrap();
    // What the new writer writes does not reach it, or its rows would be of two histories.
    lab.db2().sql("INSERT INTO app.handed VALUES (1000)").unwrap();
    let status = lab.db3().replication().unwrap();
    assert!(
        status.as_ref().is_none_or(|status| !status.is_running()),
        "{status:?}"
    );
    assert_eq!(
        (rows_of(&lab, "db2"), rows_of(&lab, "db3")),
        ("1".into(), AHEAD.to_string())
    );
    let refused = mmm(&lab, &["rejoin", "db1"], 4);
    assert!(said(&refused).contains("db1"), "{}", said(&refused));
    kept_out(&lab, "db1");
}

/// The standby stands exactly where the other replica's applier was stopped by a person; what that one received behind it is
/// in its relay log alone, which goes with the next source.
#[test]
fn whose_applier_was_stopped_keeps_its_relay_log() {
    let lab = cluster_of(Flavour::default().by_position());
    lab.db1()
        .sql("CREATE DATABASE IF NOT EXISTS app; CREATE TABLE app.handed (id INT PRIMARY KEY)")
        .unwrap();
    lab.wait_for_equal_tables("app.handed", &["db1", "db2", "db3"], SOON)
        .unwrap();
    lab.db2().sql("STOP SLAVE IO_THREAD").unwrap();
    lab.db3().sql("STOP SLAVE SQL_THREAD").unwrap();
    lab.db1().sql("INSERT INTO app.handed VALUES (1)").unwrap();
    let end = lab.db1().table("SHOW MASTER STATUS").unwrap();
    let received = || {
        let status = lab.db3().table("SHOW SLAVE STATUS").unwrap();
        status.first("Read_Master_Log_Pos") == end.first("Position")
    };
    until(SOON, "db3 to receive it", received).unwrap();
    lab.db1().set_restart(Restart::Never).unwrap();
    lab.db1().kill_mysqld().unwrap();
    let done = mmm(&lab, &["failover", "--to", "db2", "--allow-loss"], 0);
    assert_eq!(lab.writable_hosts(), ["db2"]);
    assert!(
        said(&done).contains("db3 has transactions that db2 has not"),
        "{}",
        said(&done)
    );
    assert_eq!(
        (rows_of(&lab, "db2"), rows_of(&lab, "db3")),
        ("0".into(), "0".into())
    );
    lab.db3().sql("START SLAVE SQL_THREAD").unwrap();
    until(SOON, "db3 to apply what it alone has", || {
        rows_of(&lab, "db3") == "1"
    })
    .unwrap();
}

#[test]
fn mariadb_11_8() {
    nothing_is_lost(Flavour::of(Server::Mariadb11_8));
}

#[test]
fn mysql_5_6() {
    nothing_is_lost(Flavour::of(Server::Mysql5_6));
}

#[test]
fn mysql_9_7() {
    nothing_is_lost(Flavour::of(Server::Mysql9_7));
}

#[test]
fn mariadb_10_11_by_position() {
    kept_apart_and_named(Flavour::default().by_position());
}

#[test]
fn mysql_5_6_by_position() {
    kept_apart_and_named(Flavour::of(Server::Mysql5_6).by_position());
}

#[test]
fn mysql_9_7_by_position() {
    kept_apart_and_named(Flavour::of(Server::Mysql9_7).by_position());
}
