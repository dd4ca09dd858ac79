//! What only the old writer has is saved on the box as rows, on MySQL as on MariaDB, where its host has the tool for that.

use lab::{Flavour, Restart, Server};

use super::cluster::{SOON, mmm};
use super::deaths::of_replica;
use super::failover::kept_out;
use super::families::cluster_of;

/// Where the box keeps them.
const SURPLUS: &str = "/var/lib/mmm/test_mmm/surplus";

fn rows_are_saved(flavour: Flavour) {
    let lab = cluster_of(flavour);
    lab.db1()
        .sql("CREATE DATABASE IF NOT EXISTS app; CREATE TABLE app.alone (id INT PRIMARY KEY)")
        .unwrap();
    // In two files of its log, and none of them the one that it begins when it comes back.
    lab.db1()
        .sql("INSERT INTO app.alone VALUES (100); FLUSH LOGS")
        .unwrap();
    lab.wait_for_equal_tables("app.alone", &["db1", "db2", "db3"], SOON)
        .unwrap();
    for host in [lab.db3(), lab.db2()] {
        host.sql(&of_replica(host, "STOP SLAVE IO_THREAD")).unwrap();
    }
    lab.db1()
        .sql("INSERT INTO app.alone VALUES (1); FLUSH LOGS; INSERT INTO app.alone VALUES (2); INSERT INTO app.alone VALUES (3)")
        .unwrap();
    lab.db1().set_restart(Restart::Never).unwrap();
    lab.db1().kill_mysqld().unwrap();
    mmm(&lab, &["failover", "--to", "db2", "--allow-loss"], 0);
    let refused = mmm(&lab, &["rejoin", "db1"], 4);
    let said = format!("{}{}", refused.stdout, refused.stderr);
    assert!(said.contains(SURPLUS), "{said}");
    kept_out(&lab, "db1");
    let files = lab
        .box_()
        .sh(&format!("stat -c '%a %n' {SURPLUS} {SURPLUS}/*"))
        .unwrap()
        .stdout;
    let modes: Vec<&str> = files.lines().map(|line| &line[..4]).collect();
    assert_eq!(modes, ["700 ", "600 "], "{files}");
    let rows = lab.box_().sh(&format!("cat {SURPLUS}/*.sql")).unwrap().stdout;
    assert_eq!(rows.matches("### INSERT INTO `app`.`alone`").count(), 3, "{rows}");
    for id in 1..=3 {
        assert!(rows.contains(&format!("###   @1={id}\n")), "{rows}");
    }
}

#[test]
fn on_mysql_9_7() {
    rows_are_saved(Flavour::of(Server::Mysql9_7));
}

#[test]
fn on_mysql_9_7_by_position() {
    rows_are_saved(Flavour::of(Server::Mysql9_7).by_position());
}

#[test]
fn on_mariadb_10_11() {
    rows_are_saved(Flavour::default());
}
