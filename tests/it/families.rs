//! The main story on every server family and kind of replication: checked, shown, handed over and back under load, its
//! writer killed or without power and replaced by the monitor, the old writer back as a replica, or kept out for what
//! only it has. With `MMM_LONG=1` as often as figures are published for.

use lab::judge::{Expect, Report};
use lab::lab::{Lab, Options};
use lab::wait::until;
use lab::writer::Writers;
use lab::{Flavour, Host, Places, Restart, Server};

use super::cluster::{SOON, install, mmm};
use super::deaths::{Death, dies_and_is_replaced, has_more_than_anybody};
use super::failover::{one_writer_at_a_time, slow, unplanned};
use super::figures::Figures;
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
    lab.wait_for_equal_tables("app.writes", &["db1", "db2", "db3"], SOON)
        .unwrap();
    let mut figures = Figures::of(flavour, &report);
    let deaths = [(Death::Kill, rounds(1, 5)), (Death::PowerOff, rounds(0, 3))];
    let mut kept = Some(lab);
    let (mut old, mut new) = ("db1", "db2");
    for (death, times) in deaths {
        for round in 0..times {
            let lab = kept.take().unwrap_or_else(|| {
                (old, new) = ("db1", "db2");
                cluster_of(flavour)
            });
            // Few writes tell whether an old writer comes back, many tell what a death may cost.
            let writers = if round % 2 == 0 {
                slow()
            } else {
                Writers::default()
            };
            let came = dies_and_is_replaced(&lab, &death, writers, (old, new));
            eprintln!("{flavour}: {death:?} {}: {came}", round + 1);
            figures.add(&death, &came);
            (old, new) = (new, old);
            // After a death MariaDB goes by GTID, and who was kept out is no part of the next story.
            let goes_on = flavour.places == Places::Gtid || flavour.masters.is_mysql();
            kept = Some(lab).filter(|_| came.is_back && goes_on);
        }
    }
    drop(kept);
    if rounds(0, 1) > 0 {
        figures.surplus = Some(has_more_than_anybody(&cluster_of(flavour)));
    }
    eprintln!("{figures}");
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
        all_follow(lab, to);
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

/// Waits until everybody else replicates from this host.
#[track_caller]
pub fn all_follow(lab: &Lab, writer: &str) {
    until(SOON, "everybody to follow the new writer", || {
        lab.replication_runs() && follow(lab, writer)
    })
    .unwrap();
}

/// Whether all other hosts replicate from this one.
fn follow(lab: &Lab, writer: &str) -> bool {
    let address = lab.address_of(writer).unwrap();
    lab.databases().filter(|host| host.name() != writer).all(|host| {
        host.replication()
            .is_ok_and(|status| status.is_some_and(|it| it.source == address))
    })
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
fn mariadb_11_8_by_position() {
    main_story(Flavour::of(Server::Mariadb11_8).by_position());
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
fn mariadb_10_11() {
    main_story(Flavour::default());
}

#[test]
fn mariadb_11_8() {
    main_story(Flavour::of(Server::Mariadb11_8));
}

#[test]
fn mariadb_10_11_masters_with_a_newer_slave() {
    main_story(Flavour::mixed());
}
