//! Hosts leave service and return on a person's word, as a user of MMM would type it.

use lab::Lab;
use lab::roster::READER_ADDRESSES;
use lab::wait::until;
use mmm::core::hosts::HostState;

use super::cluster::{SOON, cluster, mmm};
use super::watch::{ACTS_WITHIN, WRITER, Watch, host, show};

/// Who holds the readers' addresses, in their order; none while one is nowhere, or on two hosts as it moves.
pub fn readers(lab: &Lab) -> Option<Vec<&'static str>> {
    let holders = READER_ADDRESSES
        .iter()
        .map(|address| match lab.who_has(address).unwrap()[..] {
            [holder] => Some(holder),
            _ => None,
        });
    holders.collect()
}

/// Waits until the readers' addresses are up, one of them on db3.
#[track_caller]
fn until_db3_reads(lab: &Lab) {
    until(ACTS_WITHIN, "the readers' addresses, one on db3", || {
        readers(lab).is_some_and(|holders| holders.contains(&"db3"))
    })
    .unwrap();
}

fn threads(lab: &Lab, name: &str) -> (String, String) {
    let status = lab.host(name).unwrap().replication().unwrap().unwrap();
    (status.io_running, status.sql_running)
}

fn stopped() -> (String, String) {
    ("No".to_owned(), "No".to_owned())
}

/// The state that `mmm show` tells right now.
fn state(lab: &Lab, name: &str) -> HostState {
    host(&show(lab).unwrap(), name).state
}

/// Out and in again, with whatever is at work on the box.
fn round_trip(lab: &Lab) {
    until_db3_reads(lab);
    let output = mmm(lab, &["@test_mmm", "set_offline", "db3"], 0);
    assert!(
        output.stdout.contains("db3 is ADMIN_OFFLINE"),
        "{}",
        output.stdout
    );
    assert_eq!(state(lab, "db3"), HostState::AdminOffline);
    assert_eq!(threads(lab, "db3"), stopped());
    let holders = readers(lab).expect("no address is lost, and none is twice");
    assert!(!holders.contains(&"db3"), "{holders:?}");

    let again = mmm(lab, &["set-offline", "db3"], 0);
    assert!(again.stdout.contains("nothing to do"), "{}", again.stdout);

    let output = mmm(lab, &["@test_mmm", "set_online", "db3"], 0);
    assert!(output.stdout.contains("db3 is let back in"), "{}", output.stdout);
    let runs = || threads(lab, "db3") == ("Yes".to_owned(), "Yes".to_owned());
    until(SOON, "its replication to run", runs).unwrap();
    until(SOON, "it to be ONLINE", || state(lab, "db3") == HostState::Online).unwrap();
    until_db3_reads(lab);
    let again = mmm(lab, &["set_online", "db3"], 0);
    assert!(again.stdout.contains("ONLINE already"), "{}", again.stdout);
    assert_eq!(lab.who_has(WRITER).unwrap(), ["db1"]);
}

#[test]
fn a_replica_leaves_and_returns_beside_a_monitor_and_without_one() {
    let lab = cluster();
    let watch = Watch::start(&lab);
    round_trip(&lab);
    watch.until_said("db3 changed from ONLINE to ADMIN_OFFLINE");
    watch.kill();
    round_trip(&lab);
}

#[test]
fn the_writer_leaves_by_a_switchover_or_stays() {
    let lab = cluster();
    let watch = Watch::start(&lab);
    let output = mmm(&lab, &["@test_mmm", "set_offline", "db1"], 0);
    assert!(
        output.stdout.contains("db1 is ADMIN_OFFLINE"),
        "{}",
        output.stdout
    );
    assert_eq!(lab.writable_hosts(), ["db2"], "{}", watch.said());
    assert_eq!(lab.who_has(WRITER).unwrap(), ["db2"]);
    assert_eq!(threads(&lab, "db1"), stopped());
    assert_eq!(state(&lab, "db1"), HostState::AdminOffline);

    // Nobody is left to take over.
    let refused = mmm(&lab, &["set_offline", "db2"], 4);
    assert!(refused.stderr.contains("it is the writer"), "{}", refused.stderr);
    assert_eq!(lab.writable_hosts(), ["db2"]);
    assert_eq!(state(&lab, "db2"), HostState::Online);

    mmm(&lab, &["set_online", "db1"], 0);
    watch.until("db1 to be ONLINE", |view| {
        host(view, "db1").state == HostState::Online
    });
    mmm(&lab, &["@test_mmm", "move_role", "writer", "db1"], 0);
    assert_eq!(lab.writable_hosts(), ["db1"]);
}

#[test]
fn exit_codes_tell_the_truth() {
    let lab = cluster();
    let usage = |arguments: &[&str], words: &str| {
        let output = mmm(&lab, arguments, 2);
        assert!(output.stderr.contains(words), "{arguments:?}: {}", output.stderr);
    };
    usage(&["set_offline"], "Invalid command 'set_offline'");
    usage(&["move_role", "writer"], "Invalid command 'move_role writer'");
    usage(&["set_offline", "db9"], "its hosts are `db1`, `db2`, `db3`");
    usage(&["set_online", "db9"], "its hosts are `db1`, `db2`, `db3`");
    usage(&["checks", "db9"], "the hosts are db1, db2, db3");
    usage(
        &["checks", "db1", "disk"],
        "the checks are ping, mysql, rep_threads, rep_backlog",
    );
    usage(&["@nowhere", "show"], "there is no cluster `nowhere`");

    mmm(&lab, &["help"], 0);
    let checks = mmm(&lab, &["checks", "db2", "ping"], 0);
    assert!(
        checks.stdout.starts_with("db2  ping  [last change: "),
        "{}",
        checks.stdout
    );

    lab.db3().power_off().unwrap();
    let refused = mmm(&lab, &["set_offline", "db3"], 4);
    assert!(refused.stderr.contains("HARD_OFFLINE"), "{}", refused.stderr);
    let refused = mmm(&lab, &["set_online", "db3"], 4);
    assert!(refused.stderr.contains("HARD_OFFLINE"), "{}", refused.stderr);
    mmm(&lab, &["show"], 3);
    mmm(&lab, &["checks", "db3"], 3);
}
