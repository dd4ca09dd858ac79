//! Semi-synchronous replication moves with the writer: its commits wait for replicas, those of nobody else do, and nobody
//! waits for an acknowledgement that cannot come.

use lab::judge::Expect;
use lab::wait::until;
use lab::writer::Writers;
use lab::{Flavour, Host, Lab, Places, Restart, Server};

use super::cluster::{SOON, mmm};
use super::deaths::of_replica;
use super::failover::{one_writer_at_a_time, unplanned};
use super::families::{all_follow, cluster_of};
use super::load::ROWS_OF_A_SECOND;

/// A variable or a figure under the name that this server has for it.
fn named(host: &Host, name: &str) -> String {
    match host.server() {
        Server::Mysql9_7 => name.replace("master", "source").replace("slave", "replica"),
        _ => name.to_owned(),
    }
}

fn set(host: &Host, name: &str, value: &str) {
    let name = named(host, name);
    host.sql(&format!("SET GLOBAL {name} = {value}")).unwrap();
}

fn shown(host: &Host, what: &str, name: &str) -> String {
    let question = format!("SHOW GLOBAL {what} LIKE '{}'", named(host, name));
    host.sql(&question).unwrap()[0][1].clone()
}

/// The writer waits for an hour rather than go on unacknowledged; everybody else acknowledges.
fn semi_synchronous(flavour: Flavour) -> Lab {
    let lab = cluster_of(flavour);
    for host in lab.databases() {
        if host.server().is_mysql() {
            // Not into its log: each server has plugins of its own.
            let writable = host.is_writable().unwrap();
            let install = "SET SESSION sql_log_bin = 0; SET GLOBAL super_read_only = OFF; \
                           INSTALL PLUGIN rpl_semi_sync_source SONAME 'semisync_source.so'; \
                           INSTALL PLUGIN rpl_semi_sync_replica SONAME 'semisync_replica.so'";
            host.sql(install).unwrap();
            if !writable {
                host.sql("SET GLOBAL super_read_only = ON").unwrap();
            }
        }
        set(host, "rpl_semi_sync_master_timeout", "3600000");
    }
    for host in [lab.db2(), lab.db3()] {
        set(host, "rpl_semi_sync_slave_enabled", "ON");
        host.sql(&of_replica(host, "STOP SLAVE IO_THREAD; START SLAVE IO_THREAD"))
            .unwrap();
    }
    set(lab.db1(), "rpl_semi_sync_master_enabled", "ON");
    waits_alone(&lab, "db1", 2);
    lab
}

/// The writer waits, as many acknowledge to it as there are, and nobody else waits.
#[track_caller]
fn waits_alone(lab: &Lab, writer: &str, replicas: usize) {
    let sides = || -> Vec<String> {
        let side = |host: &Host| {
            let enabled = shown(host, "VARIABLES", "rpl_semi_sync_master_enabled");
            let active = shown(host, "STATUS", "Rpl_semi_sync_master_status");
            let clients = shown(host, "STATUS", "Rpl_semi_sync_master_clients");
            let acknowledges = shown(host, "STATUS", "Rpl_semi_sync_slave_status");
            format!(
                "{}: waits {enabled}/{active} for {clients}, acknowledges {acknowledges}",
                host.name()
            )
        };
        let up = lab
            .databases()
            .filter(|host| host.database_pid().unwrap().is_some());
        up.map(side).collect()
    };
    let right = || {
        lab.databases()
            .filter(|host| host.database_pid().unwrap().is_some())
            .all(|host| {
                let is_on = |what, name| shown(host, what, name) == "ON";
                let waits = is_on("VARIABLES", "rpl_semi_sync_master_enabled");
                if host.name() == writer {
                    let clients = shown(host, "STATUS", "Rpl_semi_sync_master_clients");
                    let enough = clients.parse::<usize>().unwrap() >= replicas;
                    waits && is_on("STATUS", "Rpl_semi_sync_master_status") && enough
                } else {
                    !waits && is_on("STATUS", "Rpl_semi_sync_slave_status")
                }
            })
    };
    until(SOON, "only the writer to wait", right)
        .unwrap_or_else(|error| panic!("{error:#}\n{}", sides().join("\n")));
}

fn moves_with_the_writer(flavour: Flavour) {
    let lab = semi_synchronous(flavour);
    let load = lab.start_load(Writers::default()).unwrap();
    let (mut from, mut to) = ("db1", "db2");
    for _ in 0..4 {
        load.until_acknowledged(from, ROWS_OF_A_SECOND / 2, SOON).unwrap();
        let moved = mmm(&lab, &["switchover", "--to", to], 0);
        let told = format!("{}{}", moved.stdout, moved.stderr);
        assert!(told.contains("Let its commits wait for replicas"), "{told}");
        waits_alone(&lab, to, 2);
        all_follow(&lab, to);
        (from, to) = (to, from);
    }
    load.until_acknowledged(from, ROWS_OF_A_SECOND / 2, SOON).unwrap();
    let hosts: Vec<&Host> = lab.databases().collect();
    let expect = Expect {
        handovers: 4,
        idle_within: None,
        ..Expect::default()
    };
    let report = load.stop_and_judge(&hosts, expect).unwrap();
    eprintln!("{flavour}: 4 moves with semi-synchronous replication:\n{report}");
    assert_eq!(report.verdict(), [], "{report}");
    // By position only the standby's own counts, and another may be the one that acknowledged.
    if flavour.places == Places::Gtid {
        dies_without_loss(&lab);
    }
}

/// Every commit was acknowledged by a replica: whoever takes over has it, or gets it.
fn dies_without_loss(lab: &Lab) {
    lab.db1().set_restart(Restart::Never).unwrap();
    let load = lab.start_load(Writers::default()).unwrap();
    load.until_acknowledged("db1", ROWS_OF_A_SECOND / 2, SOON)
        .unwrap();
    lab.db1().kill_mysqld().unwrap();
    let done = mmm(lab, &["failover"], 0);
    load.until_acknowledged("db2", ROWS_OF_A_SECOND / 2, SOON)
        .unwrap();
    let report = load
        .stop_and_judge(&[lab.db2(), lab.db3()], unplanned(1))
        .unwrap();
    eprintln!(
        "{}: a death with semi-synchronous replication:\n{report}",
        lab.flavour()
    );
    one_writer_at_a_time(&report);
    assert_eq!(report.lost(), 0, "{report}\n{}{}", done.stdout, done.stderr);
    waits_alone(lab, "db2", 1);
    // What nobody received was never acknowledged; with it the old writer stays out.
    let back = lab.box_().mmm(["rejoin", "db1"]).unwrap();
    assert!([0, 4].contains(&back.code), "{}{}", back.stdout, back.stderr);
    if back.code == 0 {
        waits_alone(lab, "db2", 2);
    }
}

#[test]
fn on_mariadb_it_moves_with_the_writer() {
    moves_with_the_writer(Flavour::default());
}

/// Where `SUPER` no longer stands for the right to switch it.
#[test]
fn on_mariadb_11_8_it_moves_with_the_writer() {
    moves_with_the_writer(Flavour::of(Server::Mariadb11_8));
}

#[test]
fn on_mysql_9_7_it_moves_with_the_writer() {
    moves_with_the_writer(Flavour::of(Server::Mysql9_7));
}

#[test]
fn by_position_it_moves_with_the_writer() {
    moves_with_the_writer(Flavour::default().by_position());
}
