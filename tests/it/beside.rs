//! A monitor at work while others act: switchovers from another process, hands on the hosts, a full disk on the box.

use std::time::Duration;

use lab::judge::Expect;
use lab::roster::{INTERFACE, READER_ADDRESSES};
use lab::wait::until;
use lab::writer::Writers;
use lab::{Lab, Restart};

use super::cluster::{SOON, cluster, mmm};
use super::failover::{one_writer_at_a_time, slow, unplanned};
use super::watch::{ACTS_WITHIN, WRITER, Watch, long, show, tell};

/// Whether every address is on one host each, the writer's on the writer, and no host holds two readers' while another
/// holds none.
fn addresses_are_in_place(lab: &Lab, writer: &str) -> bool {
    let holders = |address: &str| lab.who_has(address).unwrap();
    let readers: Vec<_> = READER_ADDRESSES.iter().map(|address| holders(address)).collect();
    let spread: std::collections::BTreeSet<_> = readers.iter().flatten().collect();
    holders(WRITER) == [writer]
        && readers.iter().all(|hosts| hosts.len() == 1)
        && spread.len() == readers.len()
}

/// What the monitor told that it repaired, without what belongs to its start.
fn repairs(said: &str) -> Vec<&str> {
    let mended = [
        "made the replaced writer",
        "refused writes",
        "took ",
        "brought ",
        "announced ",
    ];
    said.lines()
        .filter(|line| mended.iter().any(|words| line.contains(words)))
        .collect()
}

#[test]
fn a_monitor_never_repairs_against_a_switchover() {
    let lab = cluster();
    let watch = Watch::start(&lab);
    until(ACTS_WITHIN, "all addresses to be in place", || {
        addresses_are_in_place(&lab, "db1")
    })
    .unwrap();
    let load = lab.start_load(Writers::default()).unwrap();
    let before = watch.said().len();
    let runs = if long() { 20 } else { 3 };
    for run in 0..runs {
        let to = ["db2", "db1"][run % 2];
        mmm(&lab, &["switchover", "--to", to], 0);
        load.until_acknowledged(to, 700, SOON).unwrap();
    }
    let writer = ["db1", "db2"][runs % 2];
    watch.until("the monitor to know the writer", |view| {
        view.writer.as_ref().is_some_and(|known| known.as_str() == writer)
            && view.rule == "R03"
            && view.warnings.is_empty()
    });
    until(ACTS_WITHIN, "all addresses to be in place", || {
        addresses_are_in_place(&lab, writer)
    })
    .unwrap();
    let expect = Expect {
        handovers: runs,
        ..Expect::default()
    };
    let report = load
        .stop_and_judge(&[lab.db1(), lab.db2(), lab.db3()], expect)
        .unwrap();
    tell(&format!("{runs} switchovers beside a monitor"), &report);
    assert_eq!(report.verdict(), [], "{report}");
    let said = watch.said();
    let fights: Vec<_> = repairs(&said[before..])
        .into_iter()
        .filter(|line| line.contains(WRITER) || line.contains("writes") || line.contains("writer"))
        .collect();
    assert_eq!(fights, [""; 0], "{said}");
    assert!(!said[before..].contains("ALARM"), "{said}");
}

#[test]
fn what_hands_put_out_of_place_is_put_back_and_told() {
    let lab = cluster();
    let watch = Watch::start(&lab);
    until(ACTS_WITHIN, "all addresses to be in place", || {
        addresses_are_in_place(&lab, "db1")
    })
    .unwrap();
    let load = lab.start_load(slow()).unwrap();
    let ip = |host: &lab::Host, words: &str| {
        host.sh(&format!("ip address {words} dev {INTERFACE}"))
            .unwrap()
            .ok()
            .unwrap()
    };
    // The writer address on a wrong host, and then missing on the right one.
    ip(lab.db3(), &format!("add {WRITER}/32"));
    until(ACTS_WITHIN, "the stray writer address to be gone", || {
        lab.who_has(WRITER).unwrap() == ["db1"]
    })
    .unwrap();
    ip(lab.db1(), &format!("del {WRITER}/32"));
    until(ACTS_WITHIN, "the writer address to be back", || {
        lab.who_has(WRITER).unwrap() == ["db1"]
    })
    .unwrap();
    load.until_acknowledged("db1", 2, SOON).unwrap();
    // A reader's address missing, and on two hosts at once.
    let reader = READER_ADDRESSES[0];
    let holder = lab.who_has(reader).unwrap()[0];
    ip(lab.host(holder).unwrap(), &format!("del {reader}/32"));
    until(ACTS_WITHIN, "the reader's address to be back", || {
        addresses_are_in_place(&lab, "db1")
    })
    .unwrap();
    ip(lab.db1(), &format!("add {reader}/32"));
    until(ACTS_WITHIN, "the reader's address to be on one host", || {
        addresses_are_in_place(&lab, "db1")
    })
    .unwrap();
    // A standby opened by hand, and a replica.
    for opened in [lab.db2(), lab.db3()] {
        opened.sql("SET GLOBAL read_only = 0").unwrap();
        until(ACTS_WITHIN, "it to be closed", || {
            opened.is_writable().is_ok_and(|open| !open)
        })
        .unwrap();
        watch.until_said(&format!("{}: refused writes", opened.name()));
    }
    let said = watch.said();
    assert!(said.contains(&format!("db3: took {WRITER} away")), "{said}");
    assert!(said.contains(&format!("db1: brought {WRITER} up")), "{said}");
    watch.until("all to be well", |view| {
        view.rule == "R03" && view.warnings.is_empty()
    });
    assert!(
        lab.replication_runs(),
        "closing a host leaves its replication alone"
    );
    drop(load);
}

/// With a state directory that cannot be written: no planned operation, but a failover.
#[track_caller]
fn goes_on_in_memory(story: &str, hinder: impl Fn(&Lab), free: impl Fn(&Lab)) {
    let lab = cluster();
    let watch = Watch::start(&lab);
    lab.db1().set_restart(Restart::Never).unwrap();
    let load = lab.start_load(slow()).unwrap();
    hinder(&lab);
    let refused = mmm(&lab, &["switchover", "--to", "db2"], 4);
    assert!(refused.stderr.contains("state directory"), "{}", refused.stderr);
    assert_eq!(lab.writable_hosts(), ["db1"]);
    load.until_acknowledged("db1", 1, SOON).unwrap();
    lab.db1().kill_mysqld().unwrap();
    if let Err(error) = load.until_acknowledged("db2", 20, ACTS_WITHIN) {
        panic!("{error:#}\n{}", watch.said());
    }
    let said = watch.said();
    assert!(
        said.contains("ALARM") && said.contains("cannot be written"),
        "{said}"
    );
    let view = show(&lab).unwrap();
    assert_eq!(
        view.writer.as_ref().map(|writer| writer.as_str()),
        Some("db2"),
        "{view:#?}"
    );
    // It stays so: nobody believes what is still on disk.
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(lab.writable_hosts(), ["db2"], "{}", watch.said());
    free(&lab);
    watch.until("all to be well", |view| {
        view.rule == "R03" && view.warnings.is_empty()
    });
    let report = load
        .stop_and_judge(&[lab.db1(), lab.db2(), lab.db3()], unplanned(1))
        .unwrap();
    tell(story, &report);
    one_writer_at_a_time(&report);
    assert_eq!(report.lost(), 0, "{report}");
    // What was remembered is on disk again, for whoever comes next.
    drop(watch);
    assert_eq!(
        show(&lab).unwrap().writer.as_ref().map(|writer| writer.as_str()),
        Some("db2")
    );
    mmm(&lab, &["switchover", "--to", "db1"], 0);
}

#[test]
fn a_full_disk_on_the_box_does_not_stop_a_failover() {
    goes_on_in_memory(
        "kill -9 of the writer, the box's disk full",
        |lab| lab.box_().fill_disk().unwrap(),
        |lab| {
            lab.box_()
                .sh("rm -f /var/tmp/.lab-filler* && sync -f /var/tmp")
                .unwrap()
                .ok()
                .map(drop)
                .unwrap()
        },
    );
}

#[test]
fn an_unwritable_state_directory_does_not_stop_a_failover() {
    let at = "/var/lib/mmm";
    let shut = format!("mount --bind {at} {at} && mount -o remount,ro,bind {at}");
    goes_on_in_memory(
        "kill -9 of the writer, the state directory read-only",
        |lab| lab.box_().sh(&shut).unwrap().ok().map(drop).unwrap(),
        |lab| {
            lab.box_()
                .sh(&format!("umount {at}"))
                .unwrap()
                .ok()
                .map(drop)
                .unwrap()
        },
    );
}
