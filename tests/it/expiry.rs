//! Each changing step refuses to start after its expiry on the host's clock: what was given up never runs late.

use std::time::{Duration, Instant};

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
const DELIVERED_WITHIN: Duration = Duration::from_secs(15);

/// Cuts the box off from the step's host until the step has been given up. What was only sent arrives while `mmm` still
/// asks what has become of it; what was begun goes on when `mmm` has long ended. Neither may do anything any more.
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
    halt.until_reached(&lab, &run);
    let reached = Instant::now();
    let step = halt.step();
    lab.partition(&[step.host()], &["box"]).unwrap();
    if let Halt::Before(_) = halt {
        halt.release(&lab);
        let given_up = || {
            run.stderr()
                .lines()
                .any(|line| line.contains(&step.name) && !line.contains("DONE"))
        };
        wait::until(
            GIVEN_UP_WITHIN,
            &format!("the step to be given up {halt}"),
            given_up,
        )
        .unwrap();
        lab.heal().unwrap();
    }
    let output = run.wait(GIVEN_UP_WITHIN).unwrap();
    let said = format!("{halt}: {output:?}");
    eprintln!(
        "--- {halt}: exit code {}\n{}{}",
        output.code, output.stderr, output.stdout
    );
    let expected: &[i32] = match step.section {
        // Refused, when only questions had been asked.
        Section::Prepare => &[4, 5, 6],
        Section::Commit => &[5, 6],
        Section::Secure => &[0, 6],
        Section::Finish => &[0],
    };
    assert!(expected.contains(&output.code), "{said}");
    let given_up = order::settings(&lab);
    if let Halt::Within(_) = halt {
        // A step of `finish` is not waited for once its connection is dead, so its time may not be over yet.
        let expiry = step.within + Duration::from_secs(1);
        wait::until(expiry, "the step's time to be over", || {
            reached.elapsed() > expiry
        })
        .unwrap();
        halt.release(&lab);
        lab.heal().unwrap();
    }
    // A host that was never told that `mmm` has gone keeps a shell that nobody speaks to any more.
    let _gone_or_idle = order::until_no_shell_is_left(&lab, DELIVERED_WITHIN);
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
fn comes_to_order(lab: &Lab, code: i32, said: &str) -> &'static str {
    let writable = lab.writable_hosts();
    if code == 6 {
        // Nobody has to come: its hosts answer again.
        assert!(said.contains("once ") && said.contains(" can be asked"), "{said}");
        until_a_monitor_has_repaired(lab, said);
    }
    // What could not be told to follow is left to a monitor.
    if code == 0 && said.contains("WARN") {
        until_a_monitor_has_repaired(lab, said);
    }
    let writer = if code == 5 || writable != ["db2"] {
        "db1"
    } else {
        "db2"
    };
    order::is_the_writer(lab, writer);
    writer
}

/// After the commit a run goes only forward; what it could not do is left to repairs.
fn until_a_monitor_has_repaired(lab: &Lab, said: &str) {
    let monitor = lab.box_().spawn_mmm(["monitor"]).unwrap();
    let repaired = wait::until(SOON, "one writer with its address", || {
        monitor.stderr().contains(" watches ")
            && !lab.box_().mmm(["show"]).unwrap().stdout.contains("hands off")
            && lab.who_has(lab::roster::WRITER_ADDRESS).unwrap() == lab.writable_hosts()
            && lab.replication_runs()
    });
    if let Err(error) = repaired {
        panic!(
            "{error}\n{}\n{}\nafter {said}",
            monitor.stdout(),
            monitor.stderr()
        );
    }
    monitor.stop(SOON).unwrap();
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

/// Whether there is time for every step.
fn is_long() -> bool {
    std::env::var_os("MMM_LONG").is_some()
}

#[test]
fn no_step_that_was_begun_runs_late() {
    for step in steps().into_iter().filter(|_| is_long()) {
        never_runs_late(&Halt::Within(step));
    }
}

#[test]
fn no_step_that_was_on_its_way_runs_late() {
    for step in steps().into_iter().filter(|_| is_long()) {
        never_runs_late(&Halt::Before(step));
    }
}
