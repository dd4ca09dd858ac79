//! Two clusters on one monitor: while all hosts of one hang, the other is served as if it were alone.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lab::inventory::{SECOND_CLUSTER, second_cluster};
use lab::roster::SECOND_WRITER_ADDRESS;
use lab::wait::until;
use lab::{Host, Lab, Restart};
use mmm::core::hosts::HostState;
use mmm::core::view::ClusterView;

use super::cluster::{SOON, install, mmm};
use super::failover::{one_writer_at_a_time, slow, unplanned};
use super::watch::{ACTS_WITHIN, WRITER, Watch, long, tell};

/// `show` of all clusters answers within this, whatever hangs.
const SHOWS_WITHIN: Duration = Duration::from_secs(3);
/// The same without a monitor: it looks at hosts that do not answer, and gives them their time.
const LOOKS_WITHIN: Duration = Duration::from_secs(8);
/// What one failover may take longer than another by chance: a check's round, and a busy machine.
const CHANCE: Duration = Duration::from_secs(2);

/// A lab with both clusters in its inventory.
fn two_clusters() -> Lab {
    let lab = Lab::up(lab::Options {
        second_pair: true,
        ..lab::Options::for_test()
    })
    .unwrap();
    install(&lab, &(lab.inventory_yaml() + &second_cluster()));
    lab
}

/// What `mmm show` tells of all clusters, by their names, and how long it took.
fn show_all(lab: &Lab) -> (BTreeMap<String, ClusterView>, Duration) {
    let start = Instant::now();
    let output = lab.box_().mmm(["show", "--output", "json"]).unwrap();
    let took = start.elapsed();
    let mut told: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
    let views: Vec<ClusterView> = serde_json::from_value(told["clusters"].take()).unwrap();
    (
        views
            .into_iter()
            .map(|view| (view.cluster.clone(), view))
            .collect(),
        took,
    )
}

fn is_well(view: &ClusterView) -> bool {
    let online = view.hosts.iter().all(|host| host.state == HostState::Online);
    view.monitored && view.rule == "R03" && view.warnings.is_empty() && online
}

/// Waits until both clusters are as they should be.
#[track_caller]
fn until_all_is_well(lab: &Lab, watch: &Watch<'_>) {
    let well = until(ACTS_WITHIN, "both clusters to be well", || {
        let (views, _) = show_all(lab);
        views.len() == 2 && views.values().all(is_well)
    });
    if let Err(error) = well {
        panic!("{error:#}: {:#?}\n{}", show_all(lab).0, watch.said());
    }
}

/// How all hosts of the second cluster come to hang.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Hang {
    Nothing,
    /// Their servers stand still: connections are made and never answered, SSH works.
    Servers,
    /// Every process stands still, sshd's too; only the kernels answer pings.
    Hosts,
}

impl Hang {
    fn begin(self, lab: &Lab) {
        lab.each(lab.second_pair(), |host| match self {
            Hang::Nothing => Ok(()),
            Hang::Servers => host.stop_mysqld(),
            Hang::Hosts => host.freeze(),
        })
        .unwrap();
    }

    fn end(self, lab: &Lab) {
        lab.each(lab.second_pair(), |host| match self {
            Hang::Nothing => Ok(()),
            Hang::Servers => host.cont_mysqld(),
            Hang::Hosts => host.thaw(),
        })
        .unwrap();
    }
}

/// The writer of the first cluster dies so long after the second cluster began to hang; gives how long the first was
/// without a writer, and the longest that `show` of both took meanwhile.
#[track_caller]
fn failover_during(lab: &Lab, watch: &Watch<'_>, hang: Hang, after: Duration) -> (Duration, Duration) {
    let before = lab.writable_hosts()[0];
    let (old, new) = match before {
        "db1" => (lab.db1(), "db2"),
        _ => (lab.db2(), "db1"),
    };
    old.set_restart(Restart::Never).unwrap();
    let load = lab.start_load(slow()).unwrap();
    hang.begin(lab);
    std::thread::sleep(after);
    old.kill_mysqld().unwrap();
    let mut slowest = Duration::ZERO;
    let found = until(ACTS_WITHIN, "the other master to be shown as the writer", || {
        let (views, took) = show_all(lab);
        slowest = slowest.max(took);
        views["test_mmm"]
            .writer
            .as_ref()
            .is_some_and(|writer| writer.as_str() == new)
    });
    if let Err(error) = found {
        panic!("{hang:?}: {error:#}\n{}", watch.said());
    }
    load.until_acknowledged(new, 5, ACTS_WITHIN).unwrap();
    if hang != Hang::Nothing {
        let (views, _) = show_all(lab);
        assert!(!is_well(&views[SECOND_CLUSTER]), "{hang:?} was not noticed");
    }
    hang.end(lab);
    // The old server is started again by the monitor.
    until_all_is_well(lab, watch);
    assert_eq!(lab.who_has(WRITER).unwrap(), [new]);
    second_pair_kept_its_writer(lab);
    let report = load
        .stop_and_judge(&[lab.db1(), lab.db2(), lab.db3()], unplanned(1))
        .unwrap();
    one_writer_at_a_time(&report);
    tell(
        &format!("{hang:?} in the second cluster, {after:?} before"),
        &report,
    );
    (Duration::from_secs_f64(report.longest_gap_ms / 1000.0), slowest)
}

/// Whoever it is: one of the pair takes writes and has the address.
#[track_caller]
fn second_pair_kept_its_writer(lab: &Lab) {
    let writable: Vec<_> = lab
        .second_pair()
        .filter(|host| host.is_writable().unwrap())
        .map(Host::name)
        .collect();
    assert_eq!(writable.len(), 1, "{writable:?}");
    assert_eq!(lab.who_has(SECOND_WRITER_ADDRESS).unwrap(), writable);
}

#[test]
fn a_cluster_whose_hosts_all_hang_delays_no_failover_of_another() {
    let lab = two_clusters();
    let watch = Watch::start_anyhow(&lab);
    until_all_is_well(&lab, &watch);
    let offsets: &[u64] = if long() {
        &[0, 1_000, 2_500, 5_000, 10_000]
    } else {
        &[2_500]
    };
    let mut figures: Vec<(Hang, Duration)> = Vec::new();
    for offset in offsets {
        for hang in [Hang::Nothing, Hang::Servers, Hang::Hosts] {
            let (gap, slowest) = failover_during(&lab, &watch, hang, Duration::from_millis(*offset));
            eprintln!("== {hang:?}: without a writer for {gap:?}, slowest `show` {slowest:?}");
            assert!(slowest <= SHOWS_WITHIN, "{hang:?}: `show` took {slowest:?}");
            figures.push((hang, gap));
        }
    }
    let most = |hang: Hang| {
        figures
            .iter()
            .filter(|(was, _)| *was == hang)
            .map(|(_, gap)| *gap)
            .max()
            .unwrap()
    };
    let alone = most(Hang::Nothing);
    for hang in [Hang::Servers, Hang::Hosts] {
        eprintln!(
            "== failover beside {hang:?}: {:?}, without: {alone:?}",
            most(hang)
        );
        assert!(most(hang) <= alone + CHANCE, "{figures:?}");
    }
}

#[test]
fn each_cluster_has_a_state_a_lock_and_log_lines_of_its_own() {
    let lab = two_clusters();
    // Started while one of them hangs: it takes the other in hand all the same.
    Hang::Hosts.begin(&lab);
    let watch = Watch::start_anyhow(&lab);
    let first_is_well = until(ACTS_WITHIN, "the first cluster to be well", || {
        is_well(&show_all(&lab).0["test_mmm"])
    });
    first_is_well.unwrap_or_else(|error| panic!("{error:#}\n{}", watch.said()));
    // Whatever the monitor does about the second cluster, its lock is not the first one's.
    mmm(&lab, &["@test_mmm", "switchover", "--to", "db2"], 0);
    let begun = Instant::now();
    mmm(&lab, &["@test_mmm", "show"], 0);
    assert!(begun.elapsed() <= SHOWS_WITHIN, "{:?}", begun.elapsed());
    drop(watch);

    // Without a monitor the hosts themselves are asked.
    let (_, took) = show_all_anyhow(&lab);
    eprintln!("== `show` without a monitor, all hosts of one cluster frozen: {took:?}");
    assert!(took <= LOOKS_WITHIN, "{took:?}");
    Hang::Hosts.end(&lab);

    let watch = Watch::start_anyhow(&lab);
    until_all_is_well(&lab, &watch);
    let held = lab
        .box_()
        .spawn([
            "flock",
            &format!("/var/lib/mmm/{SECOND_CLUSTER}/lock"),
            "sleep",
            "600",
        ])
        .unwrap();
    until(SOON, "the lock to be held", || {
        let refused = lab.box_().mmm([
            &format!("@{SECOND_CLUSTER}"),
            "switchover",
            "--to",
            "db5",
            "--lock-wait",
            "0s",
        ]);
        refused.is_ok_and(|output| output.code == 4 && output.stderr.contains("lock"))
    })
    .unwrap();
    mmm(&lab, &["@test_mmm", "switchover", "--to", "db1"], 0);
    drop(held);
    mmm(
        &lab,
        &[&format!("@{SECOND_CLUSTER}"), "switchover", "--to", "db5"],
        0,
    );
    until_all_is_well(&lab, &watch);
    assert_eq!(lab.writable_hosts(), ["db1"]);
    assert_eq!(lab.who_has(SECOND_WRITER_ADDRESS).unwrap(), ["db5"]);
    for (cluster, writer) in [("test_mmm", "db1"), (SECOND_CLUSTER, "db5")] {
        let standing = lab
            .box_()
            .read(&format!("/var/lib/mmm/{cluster}/standing.json"))
            .unwrap();
        let standing: serde_json::Value = serde_json::from_str(&standing).unwrap();
        assert_eq!(standing["writer"], writer, "{standing:#}");
        assert!(
            lab.box_()
                .read(&format!("/var/lib/mmm/{cluster}/hosts.json"))
                .is_ok()
        );
    }
    // Each line about a host names that host's cluster.
    for line in watch.said().lines() {
        for (host, other) in [
            ("db1", SECOND_CLUSTER),
            ("db3", SECOND_CLUSTER),
            ("db4", "test_mmm"),
            ("db5", "test_mmm"),
        ] {
            assert!(!(line.contains(host) && line.contains(other)), "{line}");
        }
    }
    let told_of = |host: &str, cluster: &str| {
        watch
            .said()
            .lines()
            .any(|line| line.contains(host) && line.contains(cluster))
    };
    assert!(
        told_of("db1", "test_mmm") && told_of("db4", SECOND_CLUSTER),
        "{}",
        watch.said()
    );
}

/// What `mmm show` printed of all clusters, also of those that could not be looked at, and how long it took.
fn show_all_anyhow(lab: &Lab) -> (String, Duration) {
    let start = Instant::now();
    let output = lab.box_().mmm(["show"]).unwrap();
    let took = start.elapsed();
    for name in ["test_mmm", SECOND_CLUSTER] {
        assert!(output.stdout.contains(name), "{output:?}");
    }
    (output.stdout, took)
}
