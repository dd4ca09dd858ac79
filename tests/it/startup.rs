//! How a monitor begins, and the modes in which it does less: hosts that contradict each other, masters that are waited
//! for, passive mode, and a box whose own network is silent.

use std::time::{Duration, Instant};

use lab::wait::until;
use lab::{Lab, Restart};
use mmm::core::hosts::HostState;
use mmm::core::standing::Mode;

use super::cluster::{cluster, cluster_with, mmm};
use super::watch::{ACTS_WITHIN, WRITER, Watch, host};

/// Longer than a monitor needs to act on anything, hosts that answer at once assumed.
const LONG_ENOUGH: Duration = Duration::from_secs(12);
/// How long one master is waited for where a story says so.
const WAIT: Duration = Duration::from_secs(6);

/// Whether each host takes writes, and every address on it.
fn picture(lab: &Lab) -> Vec<(String, Option<bool>, Vec<String>)> {
    lab.databases()
        .map(|host| {
            (
                host.name().to_owned(),
                host.is_writable().ok(),
                host.addresses().unwrap(),
            )
        })
        .collect()
}

/// Watches for a while that no host changes.
#[track_caller]
fn nothing_changes(lab: &Lab, watch: &Watch<'_>) {
    let before = picture(lab);
    let began = Instant::now();
    until(LONG_ENOUGH * 3, "the time to pass", || {
        assert_eq!(picture(lab), before, "--- the monitor said\n{}", watch.said());
        began.elapsed() > LONG_ENOUGH
    })
    .unwrap();
}

/// The server of db1 dies, and nothing starts it again.
fn dies_for_good(lab: &Lab) {
    lab.db1().set_restart(Restart::Never).unwrap();
    lab.db1().kill_mysqld().unwrap();
}

/// From now on, what is written on the hosts is noticed.
fn mark(lab: &Lab) {
    for host in lab.databases() {
        host.sh("touch /run/before-passive").unwrap().ok().unwrap();
    }
}

/// Nothing was written on any host since, beside what its own servers write.
#[track_caller]
fn nothing_was_written(lab: &Lab) {
    for host in lab.databases() {
        let written = host
            .sh("cd / && find etc home root usr tmp var/tmp -xdev -newer /run/before-passive 2>/dev/null")
            .unwrap()
            .stdout;
        assert_eq!(written.trim(), "", "on {}", host.name());
    }
}

#[test]
fn two_writable_hosts_at_the_start_make_it_passive() {
    let lab = cluster();
    Watch::start(&lab).kill();
    lab.db2().sql("SET GLOBAL read_only = OFF").unwrap();
    mark(&lab);
    let watch = Watch::start_anyhow(&lab);
    let view = watch.until("the monitor to be passive", |view| {
        view.monitored && view.mode == Mode::Passive
    });
    assert!(view.mode_because[0].starts_with("S01 "), "{view:#?}");
    nothing_changes(&lab, &watch);
    nothing_was_written(&lab);
    assert_eq!(lab.writable_hosts(), ["db1", "db2"]);
    // A person sees who claims what.
    let shown = mmm(&lab, &["show"], 3).stdout;
    for words in [
        "# --- test_mmm is in PASSIVE MODE ---",
        "# Cause: S01 more than one host accepts writes",
        "Host  Writable  Address  Stored    Followed by",
        "db1   yes       yes      yes       db3",
        "db2   yes       no       no        -",
    ] {
        assert!(shown.contains(words), "{words} in\n{shown}");
    }
    // It is told when it happens, and stays so when the monitor is started again.
    assert!(
        watch.said().contains("mode changed from active to passive"),
        "{}",
        watch.said()
    );
    watch.kill();
    let watch = Watch::start_anyhow(&lab);
    watch.until("the next monitor to be passive", |view| {
        view.monitored && view.mode == Mode::Passive && !view.mode_because.is_empty()
    });
    // A person has closed the other one and lets the monitor act again.
    lab.db2().sql("SET GLOBAL read_only = ON").unwrap();
    mmm(&lab, &["set-active"], 0);
    let again = mmm(&lab, &["set_active"], 0).stdout;
    assert!(again.contains("already in active mode"), "{again}");
    let view = watch.until("all to be well", |view| {
        view.rule == "R03" && view.warnings.is_empty()
    });
    assert_eq!(view.mode_because, [""; 0]);
    watch.until_said("mode changed from passive to active");
    assert_eq!(lab.who_has(WRITER).unwrap(), ["db1"]);
}

#[test]
fn a_switchover_made_by_other_means_is_taken_over_at_the_start() {
    let lab = cluster();
    Watch::start(&lab).kill();
    let interface = lab::roster::INTERFACE;
    lab.db1().sql("SET GLOBAL read_only = ON").unwrap();
    lab.db1()
        .sh(&format!("ip address del {WRITER}/32 dev {interface}"))
        .unwrap()
        .ok()
        .unwrap();
    lab.db2()
        .sh(&format!("ip address add {WRITER}/32 dev {interface}"))
        .unwrap()
        .ok()
        .unwrap();
    lab.db2().sql("SET GLOBAL read_only = OFF").unwrap();
    let watch = Watch::start_anyhow(&lab);
    watch.until("db2 to be known as the writer", |view| {
        view.writer
            .as_ref()
            .is_some_and(|writer| writer.as_str() == "db2")
            && view.rule == "R03"
            && view.warnings.is_empty()
    });
    assert!(
        watch
            .said()
            .contains("db2 is taken for the writer instead of db1"),
        "{}",
        watch.said()
    );
    assert_eq!(lab.writable_hosts(), ["db2"]);
    assert_eq!(lab.who_has(WRITER).unwrap(), ["db2"]);
}

/// A lab whose monitor begins in wait mode.
fn waiting() -> Lab {
    cluster_with(&|yaml| {
        let seconds = WAIT.as_secs();
        format!("{yaml}    start: {{ mode: wait, wait_for_other_master: {seconds}s }}\n")
    })
}

#[test]
fn both_masters_end_the_wait_at_once() {
    let lab = waiting();
    let watch = Watch::start(&lab);
    watch.until("the monitor to be active", |view| view.mode == Mode::Active);
    watch.until_said("mode changed from wait to active by the monitor, since db1 and db2 are ONLINE");
    assert_eq!(mmm(&lab, &["mode"], 0).stdout.trim(), "ACTIVE");
}

#[test]
fn a_writer_that_is_down_is_waited_for_and_then_replaced() {
    let lab = waiting();
    Watch::start(&lab).kill();
    dies_for_good(&lab);
    let began = Instant::now();
    let watch = Watch::start_anyhow(&lab);
    watch.until_said("R14 ");
    assert_eq!(lab.writable_hosts(), [""; 0], "nothing is decided yet");
    watch.until("db2 to take over", |view| {
        view.mode == Mode::Active
            && view
                .writer
                .as_ref()
                .is_some_and(|writer| writer.as_str() == "db2")
    });
    assert!(began.elapsed() > WAIT, "{:?}", began.elapsed());
    assert!(
        watch.said().contains(", and the other master has not come"),
        "{}",
        watch.said()
    );
}

#[test]
fn passive_mode_only_looks() {
    let lab = cluster();
    let watch = Watch::start(&lab);
    mmm(&lab, &["set-passive"], 0);
    watch.until("the monitor to be passive", |view| {
        view.mode == Mode::Passive && view.rule == "R01"
    });
    dies_for_good(&lab);
    mark(&lab);
    // An address goes missing as well, and a replica is opened.
    lab.db3().sql("SET GLOBAL read_only = OFF").unwrap();
    watch.until("the failure to be seen", |view| {
        host(view, "db1").state == HostState::HardOffline
    });
    nothing_changes(&lab, &watch);
    nothing_was_written(&lab);
    assert_eq!(lab.writable_hosts(), ["db3"]);
    let shown = mmm(&lab, &["show"], 3).stdout;
    assert!(
        shown.contains("PASSIVE MODE") && shown.contains("# Cause: "),
        "{shown}"
    );
    // In manual mode it repairs, and still replaces nobody.
    mmm(&lab, &["set-manual"], 0);
    until(ACTS_WITHIN, "the replica to be closed", || {
        lab.db3().is_writable().is_ok_and(|open| !open)
    })
    .unwrap();
    watch.until("the failover to be left to a person", |view| view.rule == "R11");
    assert_eq!(lab.writable_hosts(), [""; 0]);
    mmm(&lab, &["set-active"], 0);
    watch.until("db2 to take over", |view| {
        view.writer
            .as_ref()
            .is_some_and(|writer| writer.as_str() == "db2")
    });
}

#[test]
fn a_box_that_may_be_cut_off_decides_nothing() {
    let lab = cluster_with(&|yaml| {
        let gateway = lab::roster::find("client").unwrap().address();
        format!("monitor: {{ ping_addresses: [{gateway}] }}\n{yaml}")
    });
    let watch = Watch::start(&lab);
    lab.client().link_down().unwrap();
    watch.until("the network to be missed", |view| view.rule == "R13");
    dies_for_good(&lab);
    nothing_changes(&lab, &watch);
    let refused = mmm(&lab, &["switchover", "--to", "db2"], 4).stderr;
    assert!(
        refused.contains("none of the ping addresses answers"),
        "{refused}"
    );
    assert_eq!(lab.writable_hosts(), [""; 0]);
    lab.client().link_up().unwrap();
    watch.until("db2 to take over", |view| {
        view.writer
            .as_ref()
            .is_some_and(|writer| writer.as_str() == "db2")
    });
    let said = watch.said();
    for words in [
        "none of the ping addresses answers: this box",
        "network answers again",
    ] {
        assert_eq!(said.matches(words).count(), 1, "{words} in\n{said}");
    }
}
