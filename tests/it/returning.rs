//! Replaced writers that come back: whoever meets them first makes them harmless, however long that took.

use std::time::{Duration, Instant};

use lab::sampler::State;
use lab::wait::until;
use lab::{Lab, Restart};
use mmm::core::hosts::HostState;

use super::cluster::{SOON, cluster, mmm};
use super::failover::{count_of, floating_on, kept_out, slow, surplus_of};
use super::watch::{ACTS_WITHIN, WRITER, Watch, host, show, warns};

/// db1 loses its power with the monitor running, db2 takes over.
#[track_caller]
fn replaced<'l>(lab: &'l Lab, prepare: impl Fn()) -> Watch<'l> {
    let watch = Watch::start(lab);
    prepare();
    lab.db1().power_off().unwrap();
    watch.until("db2 to take over", |view| {
        view.writer
            .as_ref()
            .is_some_and(|writer| writer.as_str() == "db2")
    });
    watch.until("the return to be awaited", |view| {
        warns(view, "db1 was replaced as writer")
    });
    watch
}

/// The configuration of a server that comes up writable and starts its replication by itself.
fn come_up_writable(lab: &Lab) {
    lab.db1()
        .sh("sed -i 's/^read_only = ON/read_only = OFF/' /etc/mysql/my.cnf && sync")
        .unwrap()
        .ok()
        .unwrap();
}

#[test]
fn what_is_owed_survives_a_kill_of_the_monitor() {
    let lab = cluster();
    let watch = replaced(&lab, || come_up_writable(&lab));
    watch.kill();
    assert!(warns(&show(&lab).unwrap(), "db1 was replaced as writer"));
    lab.db1().boot().unwrap();
    assert!(
        lab.db1().is_writable().unwrap(),
        "nobody watches: it comes up as its configuration says"
    );
    // A new monitor knows what it owes.
    let started = Instant::now();
    let watch = Watch::start_anyhow(&lab);
    until(ACTS_WITHIN, "the old writer to be closed", || {
        lab.db1().is_writable().is_ok_and(|open| !open)
    })
    .unwrap();
    eprintln!(
        "a monitor started beside a writable old writer closed it after {:.0} ms",
        ms(started)
    );
    watch.until("all to be well", |view| {
        view.rule == "R03" && view.warnings.is_empty()
    });
    assert_eq!(lab.writable_hosts(), ["db2"]);
    assert!(
        watch.said().contains("made the replaced writer read-only"),
        "{}",
        watch.said()
    );
}

#[test]
fn without_a_monitor_the_next_rejoin_makes_it_harmless() {
    let lab = cluster();
    drop(replaced(&lab, || {
        come_up_writable(&lab);
    }));
    // Nobody is there: it comes up writable, writes a row that nobody else has, and looks healthy.
    lab.db1().boot().unwrap();
    lab.db1().sql("CREATE DATABASE only_here").unwrap();
    let refused = mmm(&lab, &["rejoin", "db1"], 4);
    assert!(
        refused
            .stderr
            .contains("it has transactions that the writer `db2` has not"),
        "{}",
        refused.stderr
    );
    kept_out(&lab, "db1");
    let view = show(&lab).unwrap();
    assert_eq!(count_of(&surplus_of(&view, "db1").unwrap()), 1, "{view:#?}");
    mmm(&lab, &["switchover", "--to", "db1"], 4);
    mmm(&lab, &["failover", "--to", "db1"], 4);
    // A monitor that starts later keeps it out.
    let watch = Watch::start_anyhow(&lab);
    watch.until("the old writer to stay out", |view| {
        host(view, "db1").state == HostState::AwaitingRecovery && surplus_of(view, "db1").is_some()
    });
    kept_out(&lab, "db1");
    // Somebody starts it by hand: it is made harmless again.
    lab.db1().sql("SET GLOBAL read_only = OFF; START SLAVE").unwrap();
    // Told once its sessions are ended, ours among them.
    watch.until_said("made the replaced writer read-only");
    kept_out(&lab, "db1");
    assert_eq!(lab.who_has(WRITER).unwrap(), ["db2"]);
}

#[test]
fn a_server_that_comes_up_writable_is_met_at_once() {
    let lab = cluster();
    // Watched from inside, from the first moment on.
    let load = lab.start_load(slow()).unwrap();
    let watch = replaced(&lab, || come_up_writable(&lab));
    load.until_acknowledged("db2", 1, ACTS_WITHIN).unwrap();
    let booting = Instant::now();
    lab.db1().boot().unwrap();
    eprintln!("db1 booted within {:.0} ms", ms(booting));
    until(ACTS_WITHIN, "the old writer to be met", || {
        assert_eq!(
            floating_on(&lab, "db1"),
            [""; 0],
            "an old writer never has an address"
        );
        watch.said().contains("made the replaced writer read-only")
    })
    .unwrap();
    watch.until("all to be well", |view| {
        view.rule == "R03" && view.warnings.is_empty()
    });
    let evidence = load.stop(&[lab.db2()], super::failover::unplanned(1)).unwrap();
    let spans = &evidence
        .samples
        .iter()
        .find(|samples| samples.host == "db1")
        .unwrap()
        .spans;
    let open: u64 = spans
        .iter()
        .skip_while(|span| span.state != State::Off)
        .filter(|span| span.state == State::Writable)
        .map(|span| span.last.to_ns - span.first.from_ns)
        .sum();
    eprintln!(
        "without `read_only` in its configuration a returning writer was writable for {} ms",
        open / 1_000_000
    );
    assert!(open < 3_000_000_000, "{open} ns");
    assert_eq!(lab.writable_hosts(), ["db2"]);
}

#[test]
fn a_supervisor_cannot_bring_a_killed_writer_back_beside_the_new_one() {
    let lab = cluster();
    let watch = Watch::start(&lab);
    come_up_writable(&lab);
    lab.db1()
        .set_restart(Restart::After(Duration::from_secs(4)))
        .unwrap();
    let load = lab.start_load(slow()).unwrap();
    load.until_acknowledged("db1", 1, SOON).unwrap();
    lab.db1().kill_mysqld().unwrap();
    load.until_acknowledged("db2", 20, ACTS_WITHIN).unwrap();
    watch.until("all to be well", |view| {
        view.rule == "R03" && view.warnings.is_empty()
    });
    let report = load
        .stop_and_judge(&[lab.db2(), lab.db3()], super::failover::unplanned(1))
        .unwrap();
    super::watch::tell("kill -9, restarted writable by its supervisor after 4 s", &report);
    // It was started again by us, and closed in the same breath; the address was gone before.
    let touching: Vec<_> = report.windows.touching.iter().map(|touch| touch.for_ms).collect();
    assert!(
        !report.overlap_by_acknowledgements() && touching.iter().all(|ms| *ms < 2000.0),
        "{report}"
    );
}

fn ms(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}
