//! Downtimes, and failovers that wait until somebody has looked at the one before.

use std::time::{Duration, Instant};

use lab::Restart;
use mmm::core::hosts::HostState;

use super::cluster::{cluster, cluster_with, mmm};
use super::watch::{Watch, host, show, warns};

/// The writer that `show` names.
fn writer(view: &mmm::core::view::ClusterView) -> Option<&str> {
    view.writer.as_ref().map(|writer| writer.as_str())
}

#[test]
fn a_cluster_in_downtime_is_left_alone_until_it_ends_by_itself() {
    let lab = cluster();
    lab.db1().set_restart(Restart::Never).unwrap();
    let watch = Watch::start(&lab);
    mmm(&lab, &["downtime", "--for", "25s"], 2);
    mmm(&lab, &["downtime", "nobody", "--for", "25s", "--reason", "x"], 2);
    mmm(
        &lab,
        &[
            "downtime",
            "test_mmm",
            "--for",
            "25s",
            "--reason",
            "kernel upgrade",
        ],
        0,
    );
    let began = Instant::now();
    watch.until("the downtime to be shown", |view| {
        view.rule == "R17" && warns(view, "the cluster is in downtime until") && warns(view, "kernel upgrade")
    });
    lab.db1().kill_mysqld().unwrap();
    watch.until("its death to be noticed", |view| {
        host(view, "db1").state == HostState::HardOffline
    });
    // Killed and started again, a monitor still knows.
    watch.kill();
    let watch = Watch::start_anyhow(&lab);
    watch.until("the monitor to be back", |view| {
        view.monitored && view.rule == "R17"
    });
    while began.elapsed() < Duration::from_secs(18) {
        let view = show(&lab).unwrap();
        assert_eq!((writer(&view), view.rule.as_str()), (Some("db1"), "R17"));
        std::thread::sleep(Duration::from_millis(500));
    }
    assert!(lab.writable_hosts().is_empty());
    watch.until("db2 to be the writer", |view| writer(view) == Some("db2"));
    assert!(
        began.elapsed() >= Duration::from_secs(25),
        "{:?}",
        began.elapsed()
    );
    watch.until_said("the downtime of the cluster has ended by itself (kernel upgrade)");
    assert_eq!(lab.writable_hosts(), ["db2"]);
}

#[test]
fn a_host_in_downtime_neither_takes_over_nor_is_replaced() {
    let lab = cluster();
    lab.db1().set_restart(Restart::Never).unwrap();
    let watch = Watch::start(&lab);
    mmm(
        &lab,
        &["downtime", "db2", "--for", "10m", "--reason", "new disks"],
        0,
    );
    // Not by a person's mistake either.
    let refused = mmm(&lab, &["switchover", "--to", "db2"], 4);
    assert!(
        refused.stderr.contains("G82") && refused.stderr.contains("mmm downtime db2 --end"),
        "{}",
        refused.stderr
    );
    let shown = watch.until("the refusal to be shown", |view| view.refused.is_some());
    let kept = shown.refused.unwrap().words();
    assert!(kept.contains("switchover --to db2: G82 "), "{kept}");
    mmm(&lab, &["downtime", "db2", "--end"], 0);
    mmm(&lab, &["downtime", "db2", "--end"], 0);
    mmm(
        &lab,
        &["downtime", "db1", "--for", "10m", "--reason", "restart"],
        0,
    );
    watch.until("it to be known", |view| warns(view, "db1 is in downtime"));
    lab.db1().kill_mysqld().unwrap();
    watch.until("the writer to keep its role", |view| {
        view.rule == "R18" && writer(view) == Some("db1")
    });
    assert!(lab.writable_hosts().is_empty());
    mmm(&lab, &["downtime", "db1", "--end"], 0);
    watch.until("db2 to be the writer", |view| writer(view) == Some("db2"));
    assert_eq!(lab.writable_hosts(), ["db2"]);
}

#[test]
fn a_second_failover_within_the_hour_waits_for_an_acknowledgement() {
    let lab = cluster_with(&|yaml| {
        let changed = yaml.replace("  failover: { min_interval: 0s }\n", "");
        assert_ne!(changed, yaml);
        changed
    });
    let watch = Watch::start(&lab);
    lab.db1().kill_mysqld().unwrap();
    watch.until("db1 to follow db2", |view| {
        writer(view) == Some("db2")
            && view.rule == "R03"
            && view.hosts.iter().all(|host| host.state == HostState::Online)
    });
    let view = watch.until("what waits to be shown", |view| {
        warns(view, "is not acknowledged")
    });
    lab.db2().set_restart(Restart::Never).unwrap();
    lab.db2().kill_mysqld().unwrap();
    watch.until("the second failover to wait", |view| {
        view.rule == "R19" && writer(view) == Some("db2")
    });
    watch.until_said("ALARM R19");
    assert!(lab.writable_hosts().is_empty());
    let warning = view
        .warnings
        .iter()
        .find(|warning| warning.what.contains("is not acknowledged"));
    let run = warning
        .unwrap()
        .hint
        .split('`')
        .nth(1)
        .unwrap()
        .rsplit(' ')
        .next()
        .unwrap()
        .to_owned();
    mmm(&lab, &["ack", "failover-of-somebody"], 2);
    mmm(&lab, &["ack", &run], 0);
    mmm(&lab, &["ack", &run], 0);
    watch.until("db1 to be the writer", |view| writer(view) == Some("db1"));
    assert_eq!(lab.writable_hosts(), ["db1"]);
}
