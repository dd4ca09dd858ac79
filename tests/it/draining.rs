//! Hosts are repointed while the new writer has still to apply what it received, on every server family. Whoever pointed
//! replicas to a place of that writer before it had applied everything would lose rows, or have them twice.

use std::time::{Duration, Instant};

use lab::judge::Expect;
use lab::place::Disks;
use lab::wait::until;
use lab::writer::Writers;
use lab::{Flavour, Host, Lab, Options, Restart, Server};

use super::cluster::{SOON, install, mmm};
use super::deaths::of_replica;
use super::families::all_follow;
use super::load::{ROWS_OF_A_SECOND, rounds};

/// So many rows wait in the relay log when the move begins, or those of this time: nobody hands over to a host that is
/// far behind.
const BACKLOG: usize = 1500;
const GATHERED_FOR: Duration = Duration::from_secs(3);
/// Rows that are in the relay logs alone when the writer dies.
const RECEIVED: usize = 500;

fn rows(host: &Host, table: &str) -> usize {
    let count = host.value(&format!("SELECT COUNT(*) FROM {table}")).unwrap();
    count.parse().unwrap()
}

fn appliers(lab: &Lab, names: &[&str], verb: &str) {
    for name in names {
        let host = lab.host(name).unwrap();
        let statement = of_replica(host, &format!("{verb} SLAVE SQL_THREAD"));
        host.sql(&statement).unwrap();
    }
}

/// Moves the writer to and fro under load, each time to a host that has just begun to apply a long relay log; the
/// replica has one as well. Then the writer dies in such a moment.
fn drains_while_it_takes_over(flavour: Flavour) {
    // In memory the relay log would be applied before anybody looks.
    let lab = Lab::up(Options {
        flavour,
        disks: Disks::OnDisk,
        ..Options::for_test()
    })
    .unwrap();
    install(&lab, &lab.inventory_yaml());
    let load = lab.start_load(Writers::default()).unwrap();
    let moves = rounds(2, 20);
    let (mut from, mut to) = ("db1", "db2");
    let (mut least_behind, mut most_behind) = (usize::MAX, 0);
    for _ in 0..moves {
        load.until_acknowledged(from, ROWS_OF_A_SECOND, SOON).unwrap();
        appliers(&lab, &[to, "db3"], "STOP");
        let began = Instant::now();
        for _ in 0..BACKLOG / 50 {
            load.until_acknowledged(from, 50, SOON).unwrap();
            if began.elapsed() > GATHERED_FOR {
                break;
            }
        }
        appliers(&lab, &["db3", to], "START");
        let (written, applied) = (
            rows(lab.host(from).unwrap(), "app.writes"),
            rows(lab.host(to).unwrap(), "app.writes"),
        );
        let behind = written.saturating_sub(applied);
        (least_behind, most_behind) = (least_behind.min(behind), most_behind.max(behind));
        mmm(&lab, &["switchover", "--to", to], 0);
        assert_eq!(lab.writable_hosts(), [to]);
        all_follow(&lab, to);
        (from, to) = (to, from);
    }
    load.until_acknowledged(from, ROWS_OF_A_SECOND, SOON).unwrap();
    let hosts: Vec<&Host> = lab.databases().collect();
    let expect = Expect {
        handovers: moves,
        idle_within: None,
        ..Expect::default()
    };
    let report = load.stop_and_judge(&hosts, expect).unwrap();
    eprintln!("{flavour}: {moves} moves to a host {least_behind} to {most_behind} rows behind:\n{report}");
    assert_eq!(report.verdict(), [], "{report}");
    assert!(most_behind > 0, "nothing was left to apply in any of them");
    lab.wait_for_equal_tables("app.writes", &["db1", "db2", "db3"], SOON)
        .unwrap();
    assert_eq!(from, "db1", "an even number of moves");
    dies_before_it_is_applied(&lab);
    eprintln!(
        "| {flavour} | {moves} moves, {least_behind} to {most_behind} rows behind | {} rows: {} lost, {} duplicated |",
        report.acknowledged,
        report.lost(),
        report.duplicated()
    );
}

/// Both others have received everything and begin to apply it when the writer is dead.
fn dies_before_it_is_applied(lab: &Lab) {
    lab.db1()
        .sql("CREATE TABLE app.received (id INT PRIMARY KEY)")
        .unwrap();
    lab.wait_for_equal_tables("app.received", &["db1", "db2", "db3"], SOON)
        .unwrap();
    lab.db1().set_restart(Restart::Never).unwrap();
    appliers(lab, &["db2", "db3"], "STOP");
    let inserts: Vec<String> = (0..RECEIVED)
        .map(|id| format!("INSERT INTO app.received VALUES ({id})"))
        .collect();
    lab.db1().sql(&inserts.join("; ")).unwrap();
    let end = end_of_log(lab.db1());
    until(SOON, "both to receive everything", || {
        [lab.db2(), lab.db3()]
            .into_iter()
            .all(|host| read_to(host) == end)
    })
    .unwrap();
    lab.db1().kill_mysqld().unwrap();
    if lab.db3().server() == Server::Mysql9_7 {
        // They tell their place long after they got there.
        for host in [lab.db2(), lab.db3()] {
            host.sql("SET GLOBAL replica_checkpoint_period = 1500").unwrap();
        }
    }
    appliers(lab, &["db3", "db2"], "START");
    let failover = mmm(lab, &["failover"], 0);
    assert_eq!(lab.writable_hosts(), ["db2"]);
    let stopped = lab.db2().replication().unwrap().unwrap();
    assert_eq!(
        (stopped.io_running.as_str(), stopped.sql_running.as_str()),
        ("No", "No")
    );
    assert!(!failover.stdout.contains("WARN"), "{}", failover.stdout);
    assert_eq!(rows(lab.db2(), "app.received"), RECEIVED);
    lab.db2()
        .sql(&format!("INSERT INTO app.received VALUES ({RECEIVED})"))
        .unwrap();
    lab.wait_for_equal_tables("app.received", &["db2", "db3"], SOON)
        .unwrap();
    let status = lab.db3().replication().unwrap().unwrap();
    assert!(status.is_running() && status.source == "10.77.0.12", "{status:?}");
    mmm(lab, &["rejoin", "db1"], 0);
    lab.wait_for_equal_tables("app.received", &["db1", "db2", "db3"], SOON)
        .unwrap();
}

/// File and offset of the end of a server's log.
fn end_of_log(host: &Host) -> Vec<String> {
    let question = match host.server() {
        Server::Mysql9_7 => "SHOW BINARY LOG STATUS",
        _ => "SHOW MASTER STATUS",
    };
    let status = host.table(question).unwrap();
    ["File", "Position"]
        .map(|column| status.first(column).unwrap().to_owned())
        .to_vec()
}

/// File and offset up to which a host received its source's log.
fn read_to(host: &Host) -> Vec<String> {
    let new = host.server() == Server::Mysql9_7;
    let status = host.table(&of_replica(host, "SHOW SLAVE STATUS")).unwrap();
    ["Master_Log_File", "Read_Master_Log_Pos"]
        .map(|column| {
            let column = if new {
                column.replace("Master", "Source")
            } else {
                column.to_owned()
            };
            status.first(&column).unwrap_or_default().to_owned()
        })
        .to_vec()
}

#[test]
fn mariadb_10_11() {
    drains_while_it_takes_over(Flavour::default());
}

#[test]
#[ignore = "one like it is told each time; `cargo lab test --long` tells them all"]
fn mariadb_11_8() {
    drains_while_it_takes_over(Flavour::of(Server::Mariadb11_8));
}

#[test]
fn mariadb_10_11_by_position() {
    drains_while_it_takes_over(Flavour::default().by_position());
}

#[test]
#[ignore = "one like it is told each time; `cargo lab test --long` tells them all"]
fn mysql_5_6() {
    drains_while_it_takes_over(Flavour::of(Server::Mysql5_6));
}

#[test]
fn mysql_5_6_by_position() {
    drains_while_it_takes_over(Flavour::of(Server::Mysql5_6).by_position());
}

#[test]
fn mysql_9_7() {
    drains_while_it_takes_over(Flavour::of(Server::Mysql9_7));
}

#[test]
#[ignore = "one like it is told each time; `cargo lab test --long` tells them all"]
fn mysql_9_7_by_position() {
    drains_while_it_takes_over(Flavour::of(Server::Mysql9_7).by_position());
}
