//! Each changing step refuses to start after its expiry on the host's clock: what was given up never runs late.

use std::time::Duration;

use lab::judge::{Expect, windows};
use lab::writer::Writers;
use lab::{Lab, wait};
use mmm::core::playbook::Section;

use super::cluster::{SOON, mmm};
use super::halts::{Halt, cluster_halting, lift, step, steps};
use super::order;

/// Giving up takes the step's own deadline, and then finding out that nobody answers any more.
const GIVEN_UP_WITHIN: Duration = Duration::from_secs(180);
/// The kernel sends again what was not acknowledged, each time after twice as long.
const DELIVERED_WITHIN: Duration = Duration::from_secs(60);

/// Cuts the box off from the step's host, lets `mmm` give up, and heals: nothing may happen any more.
fn never_runs_late(halt: &Halt) {
    let lab = cluster_halting(halt);
    let load = lab
        .start_load(Writers {
            every: Duration::from_millis(10),
            anew: false,
            ..Writers::default()
        })
        .unwrap();
    let run = lab.box_().spawn_mmm(["switchover", "--to", "db2"]).unwrap();
    halt.until_reached(&lab);
    let host = halt.step().host();
    lab.partition(&[host], &["box"]).unwrap();
    if matches!(halt, Halt::Before(_)) {
        halt.release(&lab);
    }
    let output = run.wait(GIVEN_UP_WITHIN).unwrap();
    let said = format!("{halt}: {output:?}");
    let expected: &[i32] = match halt.step().section {
        Section::Prepare => &[5, 6],
        Section::Commit | Section::Secure => &[6],
        Section::Finish => &[0],
    };
    assert!(expected.contains(&output.code), "{said}");
    let given_up = order::settings(&lab);
    if matches!(halt, Halt::Within(_)) {
        halt.release(&lab);
    }
    lab.heal().unwrap();
    order::leaves_no_shell(&lab, DELIVERED_WITHIN);
    assert_eq!(order::settings(&lab), given_up, "something was done late: {said}");
    lift(&lab, halt);
    let writer = comes_to_order(&lab, output.code, &said);
    let evidence = load.stop(&[], Expect::default()).unwrap();
    let windows = windows::compare(&evidence.samples);
    assert!(windows.touching.is_empty(), "{said}: {windows:?}");
    let other = if writer == "db1" { "db2" } else { "db1" };
    mmm(&lab, &["switchover", "--to", other], 0);
    order::is_the_writer(&lab, other);
}

/// What people do next, by how the run ended; who is the writer then.
fn comes_to_order(lab: &Lab, code: i32, said: &str) -> String {
    let writable = lab.writable_hosts();
    match code {
        5 => assert_eq!(writable, ["db1"], "{said}"),
        0 => assert_eq!(writable, ["db2"], "{said}"),
        _ => {
            let refused = mmm(lab, &["switchover", "--to", "db2"], 4);
            assert!(refused.stderr.contains("mmm clear"), "{refused:?}");
            mmm(lab, &["clear"], 0);
            let monitor = lab.box_().spawn_mmm(["monitor"]).unwrap();
            let ordered = wait::until(SOON, "one writer with its address", || {
                let writers = lab.writable_hosts();
                writers.len() == 1
                    && lab.who_has(lab::roster::WRITER_ADDRESS).unwrap() == writers
                    && lab.replication_runs()
            });
            if let Err(error) = ordered {
                panic!(
                    "{error}\n{}\n{}\nafter {said}",
                    monitor.stdout(),
                    monitor.stderr()
                );
            }
            assert_eq!(monitor.stop(SOON).unwrap().code, 0);
        }
    }
    let writers = lab.writable_hosts();
    assert_eq!(writers.len(), 1, "{said}");
    if let [writer] = writable[..] {
        assert_eq!(
            writers,
            [writer],
            "the only host that took writes is the writer: {said}"
        );
    }
    writers[0].to_owned()
}

#[test]
fn refusing_writes_never_runs_late() {
    never_runs_late(&Halt::Within(step("deny-writes")));
}

#[test]
fn accepting_writes_never_runs_late() {
    never_runs_late(&Halt::Within(step("allow-writes")));
}

#[test]
fn accepting_writes_that_was_still_on_its_way_never_runs_late() {
    never_runs_late(&Halt::Before(step("allow-writes")));
}

#[test]
fn bringing_the_address_up_never_runs_late() {
    never_runs_late(&Halt::Before(step("add-address")));
}

#[test]
fn taking_the_address_away_never_runs_late() {
    never_runs_late(&Halt::Within(step("remove-address")));
}

/// Every step, when there is time for it.
#[test]
fn no_step_runs_late() {
    if std::env::var_os("MMM_LONG").is_none() {
        return;
    }
    for step in steps() {
        never_runs_late(&Halt::Before(step.clone()));
        never_runs_late(&Halt::Within(step));
    }
}
