//! A host whose server dies again and again is kept out, whoever watches, until a person or a quiet period ends it.

use std::time::{Duration, Instant};

use lab::roster::READER_ADDRESSES;
use lab::wait::until;
use lab::{Lab, Restart};
use mmm::core::hosts::HostState;
use mmm::core::moment::Moment;

use super::cluster::{cluster_with, mmm};
use super::failover::floating_on;
use super::watch::{ACTS_WITHIN, Watch, host, show, warns};

/// Much longer than anything else that could let it back in.
const LONG_ENOUGH: Duration = Duration::from_secs(8);
/// The quiet period, where a story waits for it.
const QUIET: Duration = Duration::from_secs(30);

/// A lab in which a host that has been back for a second is ONLINE, unless it is flapping by these words.
fn lab_with(flapping: &str) -> Lab {
    let lab = cluster_with(&|yaml| {
        let changed = yaml.replace("flapping: { count: 0 }", flapping);
        assert_ne!(changed, yaml);
        changed
    });
    // Later than it is noticed.
    lab.db3()
        .set_restart(Restart::After(Duration::from_secs(4)))
        .unwrap();
    lab
}

/// The server of db3 dies and comes back.
#[track_caller]
fn dies(lab: &Lab, watch: &Watch<'_>) {
    lab.db3().kill_mysqld().unwrap();
    watch.until("db3 to be away", |view| {
        host(view, "db3").state == HostState::HardOffline
    });
}

/// It dies as often as is allowed and comes back each time, then once more.
#[track_caller]
fn dies_too_often(lab: &Lab, watch: &Watch<'_>, allowed: usize) {
    for _ in 0..allowed {
        dies(lab, watch);
        watch.until("db3 to be back", |view| {
            host(view, "db3").state == HostState::Online
        });
        assert!(
            !watch.said().contains("has left ONLINE more than"),
            "{}",
            watch.said()
        );
    }
    dies(lab, watch);
    watch.until("db3 to wait", |view| {
        host(view, "db3").state == HostState::AwaitingRecovery && host(view, "db3").because.starts_with("H24")
    });
    watch.until_said(&format!("db3 has left ONLINE more than {allowed} times"));
}

/// Kills the monitor with -9 and starts another. Since when db3 waits, which neither changes.
#[track_caller]
fn another_monitor<'l>(lab: &'l Lab, watch: Watch<'l>) -> (Watch<'l>, Moment) {
    let waits = |told: &mmm::core::view::ClusterView| {
        let db3 = host(told, "db3");
        assert_eq!(db3.state, HostState::AwaitingRecovery, "{told:#?}");
        db3.since.unwrap()
    };
    let since = waits(&show(lab).unwrap());
    watch.kill();
    assert_eq!(waits(&show(lab).unwrap()), since, "as told without a monitor");
    let watch = Watch::start_anyhow(lab);
    let view = watch.until("another monitor", |view| view.monitored);
    assert_eq!(waits(&view), since, "as told by the next monitor");
    (watch, since)
}

#[test]
fn a_host_that_left_four_times_waits_for_a_person() {
    let lab = lab_with("flapping: { count: 3, within: 1h }");
    let watch = Watch::start(&lab);
    dies_too_often(&lab, &watch, 3);
    let (watch, _) = another_monitor(&lab, watch);
    let (began, replicates) = (Instant::now(), || lab.replication_runs());
    until(ACTS_WITHIN, "it to stay out though it is well", || {
        let view = show(&lab).unwrap();
        assert_eq!(host(&view, "db3").state, HostState::AwaitingRecovery, "{view:#?}");
        assert_eq!(floating_on(&lab, "db3"), [""; 0]);
        began.elapsed() > LONG_ENOUGH && replicates()
    })
    .unwrap();

    // What the monitor would take away again is not put there.
    let refused = mmm(
        &lab,
        &["move-role", "reader", "db3", "--address", READER_ADDRESSES[0]],
        4,
    );
    assert!(refused.stderr.contains("guard: G33 "), "{refused:?}");
    mmm(&lab, &["set_online", "db3"], 0);
    watch.until("db3 to be ONLINE", |view| {
        host(view, "db3").state == HostState::Online
    });
    watch.until_said("db3 changed from AWAITING_RECOVERY to ONLINE");
    until(ACTS_WITHIN, "an address on db3", || {
        !floating_on(&lab, "db3").is_empty()
    })
    .unwrap();
    // The counting begins anew: once more is no longer too often.
    dies(&lab, &watch);
    watch.until("db3 to be back", |view| {
        host(view, "db3").state == HostState::Online
    });
}

#[test]
fn a_host_that_left_too_often_comes_back_after_a_quiet_period() {
    let lab = lab_with(&format!("flapping: {{ count: 1, within: {}s }}", QUIET.as_secs()));
    let watch = Watch::start(&lab);
    dies_too_often(&lab, &watch, 1);
    let (watch, since) = another_monitor(&lab, watch);
    let view = watch.until("db3 to be ONLINE", |view| {
        host(view, "db3").state == HostState::Online
    });
    let waited = host(&view, "db3").since.unwrap().since(since);
    assert!(waited >= QUIET, "{waited:?}");
    watch.until("all to be well", |view| view.rule == "R03" && !warns(view, "db3"));
}
