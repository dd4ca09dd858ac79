//! The main story on every server family and kind of replication: checked, shown, handed over and back under load, its
//! writer's server killed and replaced by the monitor, the old writer back as a replica.

use std::time::Duration;

use lab::judge::{Expect, Report};
use lab::lab::{Lab, Options};
use lab::wait::until;
use lab::writer::Writers;
use lab::{Flavour, Host, Restart, Server};
use mmm::core::hosts::HostState;

use super::cluster::{SOON, install, mmm};
use super::failover::{back_or_kept_out, one_writer_at_a_time, slow, unplanned};
use super::load::{ROWS_OF_A_SECOND, rounds};
use super::watch::{ACTS_WITHIN, Watch, tell, warns};

/// A lab whose hosts run that flavour, with the program under test.
pub fn cluster_of(flavour: Flavour) -> Lab {
    let lab = Lab::up(Options {
        flavour,
        ..Options::for_test()
    })
    .unwrap();
    install(&lab, &lab.inventory_yaml());
    lab
}

fn main_story(flavour: Flavour) {
    let lab = cluster_of(flavour);
    let checked = mmm(&lab, &["check"], 0).stdout;
    assert!(!checked.contains("FAIL"), "{checked}");
    let shown = mmm(&lab, &["show"], 0).stdout;
    assert!(shown.contains(" R03 "), "{shown}");
    let report = handed_over_and_back(&lab);
    tell(&format!("{flavour}: switchovers under load"), &report);
    assert_eq!(report.verdict(), [], "{report}");
    killed_and_replaced(&lab, flavour);
}

/// Moves the writer to and fro while clients write.
fn handed_over_and_back(lab: &Lab) -> Report {
    let load = lab.start_load(Writers::default()).unwrap();
    let moves = rounds(2, 20);
    let (mut from, mut to) = ("db1", "db2");
    for _ in 0..moves {
        load.until_acknowledged(from, ROWS_OF_A_SECOND, SOON).unwrap();
        mmm(lab, &["switchover", "--to", to], 0);
        assert_eq!(lab.writable_hosts(), [to]);
        assert_eq!(lab.who_has("10.77.0.100").unwrap(), [to]);
        until(SOON, "everybody to follow the new writer", || {
            lab.replication_runs() && follow(lab, to)
        })
        .unwrap();
        (from, to) = (to, from);
    }
    load.until_acknowledged(from, ROWS_OF_A_SECOND, SOON).unwrap();
    let hosts: Vec<&Host> = lab.databases().collect();
    let expect = Expect {
        handovers: moves,
        idle_within: None,
        ..Expect::default()
    };
    load.stop_and_judge(&hosts, expect).unwrap()
}

/// Whether all other hosts replicate from this one.
fn follow(lab: &Lab, writer: &str) -> bool {
    let address = lab.address_of(writer).unwrap();
    lab.databases().filter(|host| host.name() != writer).all(|host| {
        host.replication()
            .is_ok_and(|status| status.is_some_and(|it| it.source == address))
    })
}

/// The writer's server dies as often as is asked for; each time the monitor replaces it and takes it back.
fn killed_and_replaced(lab: &Lab, flavour: Flavour) {
    let watch = Watch::start(lab);
    let (mut old, mut new) = ("db1", "db2");
    for _ in 0..rounds(1, 5) {
        let host = lab.host(old).unwrap();
        host.set_restart(Restart::After(Duration::from_secs(15))).unwrap();
        let load = lab.start_load(slow()).unwrap();
        load.until_acknowledged(old, 2, SOON).unwrap();
        lab.wait_for_equal_tables("app.writes", &["db1", "db2", "db3"], SOON)
            .unwrap();
        host.kill_mysqld().unwrap();
        load.until_acknowledged(new, 3, ACTS_WITHIN).unwrap();
        watch.until("the old writer to be back", |view| {
            let online = view.hosts.iter().all(|host| host.state == HostState::Online);
            view.rule == "R03" && view.warnings.is_empty() && online
        });
        until(SOON, "everybody to follow the new writer", || {
            lab.replication_runs() && follow(lab, new)
        })
        .unwrap_or_else(|error| panic!("{error:#}\n{}", watch.said()));
        let hosts: Vec<&Host> = lab.databases().collect();
        let report = load.stop_and_judge(&hosts, unplanned(1)).unwrap();
        tell(&format!("{flavour}: kill -9 of the writer"), &report);
        one_writer_at_a_time(&report);
        assert_eq!(report.verdict(), [], "{report}");
        assert!(back_or_kept_out(lab, &watch, old, new), "{}", watch.said());
        (old, new) = (new, old);
    }
}

/// What `show` says of a replica that did not stand where the new writer does.
const NOT_LEVEL: &str = "db3 is kept out: it did not apply just what the new writer had";

#[test]
fn by_position_a_replica_that_is_ahead_is_kept_out_and_named() {
    let lab = cluster_of(Flavour::of(Server::Mysql5_6).by_position());
    let watch = Watch::start(&lab);
    lab.db1().set_restart(Restart::Never).unwrap();
    let load = lab.start_load(slow()).unwrap();
    lab.db2().sql("STOP SLAVE IO_THREAD").unwrap();
    load.until_acknowledged("db1", 5, SOON).unwrap();
    lab.db1().kill_mysqld().unwrap();
    load.until_acknowledged("db2", 2, ACTS_WITHIN).unwrap();
    watch.until("db3 to be named", |view| warns(view, NOT_LEVEL));
    let status = lab.db3().replication().unwrap().unwrap();
    assert_eq!(
        status.io_running, "No",
        "it may receive nothing more of the old writer"
    );
    let report = load.stop_and_judge(&[lab.db2()], unplanned(1)).unwrap();
    one_writer_at_a_time(&report);
    assert_eq!(lab.writable_hosts(), ["db2"]);
}

#[test]
fn mysql_9_7_by_position() {
    main_story(Flavour::of(Server::Mysql9_7).by_position());
}

#[test]
fn mysql_5_6_by_position() {
    main_story(Flavour::of(Server::Mysql5_6).by_position());
}

#[test]
fn mariadb_10_11_by_position() {
    main_story(Flavour::default().by_position());
}

#[test]
fn mysql_9_7() {
    main_story(Flavour::of(Server::Mysql9_7));
}

#[test]
fn mysql_5_6() {
    main_story(Flavour::of(Server::Mysql5_6));
}

#[test]
fn mariadb_11_8() {
    main_story(Flavour::of(Server::Mariadb11_8));
}

#[test]
fn mariadb_10_11_masters_with_a_newer_slave() {
    main_story(Flavour::mixed());
}
