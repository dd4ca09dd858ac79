//! Two boxes at work on one cluster, each with its own state: the locks on the servers are all they share.

use std::path::Path;
use std::time::{Duration, Instant};

use lab::judge::Expect;
use lab::seed::PASSWORDS;
use lab::wait::until;
use lab::writer::Writers;
use lab::{Host, Lab, Restart};

use super::cluster::{SOON, cluster, mmm};
use super::failover::{one_writer_at_a_time, slow, unplanned};
use super::halts::{Halt, cluster_halting, step, step_of};
use super::order;
use super::watch::{ACTS_WITHIN, WRITER, Watch, long, show, tell, warns};

/// Makes the client host a second box: the same keys, secrets and inventory, and a state of its own.
pub fn second_box(lab: &Lab) -> &Host {
    let (from, to) = (lab.box_(), lab.client());
    to.install(Path::new(env!("CARGO_BIN_EXE_mmm")), "mmm").unwrap();
    to.sh(&format!("mkdir -p -m 700 /root/.ssh /etc/mmm {PASSWORDS}"))
        .unwrap()
        .ok()
        .unwrap();
    let passwords =
        ["monitor", "agent", "replication"].map(|account| format!("{PASSWORDS}/{account}.password"));
    let files = ["/root/.ssh/id_ed25519", "/root/.ssh/known_hosts"];
    for path in files.into_iter().chain(passwords.iter().map(String::as_str)) {
        to.write(path, &from.read(path).unwrap()).unwrap();
    }
    // With shipped playbooks: what halts on the one box halts there alone.
    let inventory = from.read("/etc/mmm/inventory.yaml").unwrap();
    let shipped = inventory.lines().filter(|line| !line.contains(" playbooks:"));
    let shipped: String = shipped.map(|line| format!("{line}\n")).collect();
    to.write("/etc/mmm/inventory.yaml", &shipped).unwrap();
    to
}

/// Refused is clean: nothing was touched, and whoever holds the lock is named when it is that.
fn is_clean(output: &lab::Output) -> bool {
    output.code == 0 || output.code == 4
}

#[test]
fn two_switchovers_to_different_targets_at_the_same_instant_never_make_two_writers() {
    let rounds = if long() { 20 } else { 2 };
    let lab = cluster();
    let boxes = [lab.box_(), second_box(&lab)];
    let load = lab.start_load(Writers::default()).unwrap();
    let mut handovers = 0;
    for round in 0..rounds {
        // One that finds the lock taken gives up at once in every other round, and waits in the others.
        let wait = ["0s", "10s"][round % 2];
        let start = |at: usize| {
            let asked = ["switchover", "--to", ["db2", "db1"][at], "--lock-wait", wait];
            boxes[at].spawn_mmm(asked).unwrap()
        };
        let ended = [start(0), start(1)].map(|run| run.wait(Duration::from_secs(90)).unwrap());
        for output in &ended {
            assert!(is_clean(output), "round {round}: {output:?}");
        }
        let codes = ended.each_ref().map(|output| output.code);
        handovers += codes.iter().filter(|code| **code == 0).count();
        let writer = lab.writable_hosts();
        eprintln!("round {round}, waiting {wait}: {codes:?}, then the writer is {writer:?}");
        assert_eq!(writer.len(), 1, "{ended:?}");
        for output in &ended {
            eprintln!("{}{}", output.stderr, output.stdout);
        }
        order::is_the_writer(&lab, writer[0]);
        load.until_acknowledged(writer[0], 700, SOON).unwrap();
    }
    assert!(handovers > 0);
    // Each moved the writer without the other's knowledge, and takes what the hosts show.
    let (at, to) = match lab.writable_hosts().as_slice() {
        ["db1"] => (0, "db2"),
        _ => (1, "db1"),
    };
    let moved = boxes[at].mmm(["switchover", "--to", to]).unwrap();
    assert_eq!(moved.code, 0, "{moved:?}");
    handovers += 1;
    load.until_acknowledged(to, 700, SOON).unwrap();
    let back = boxes[1 - at]
        .mmm(["switchover", "--to", ["db1", "db2"][at]])
        .unwrap();
    assert_eq!(back.code, 0, "{back:?}");
    assert!(back.stderr.contains("is taken for the writer"), "{back:?}");
    handovers += 1;
    load.until_acknowledged(["db1", "db2"][at], 700, SOON).unwrap();
    let hosts = [lab.db1(), lab.db2(), lab.db3()];
    let expect = Expect {
        handovers,
        ..Expect::default()
    };
    let report = load.stop_and_judge(&hosts, expect).unwrap();
    tell(
        &format!("{rounds} rounds of two boxes at once, {handovers} switchovers"),
        &report,
    );
    assert_eq!(report.verdict(), [], "{report}");
}

#[test]
fn a_box_without_power_that_holds_the_lock_delays_another_by_15_s_at_most() {
    let rounds = if long() { 5 } else { 2 };
    for round in 0..rounds {
        // Nothing has been refused yet; then writes are refused and nobody is opened.
        let halt = match round % 2 {
            0 => Halt::Before(step("deny-writes")),
            _ => Halt::Within(step("catch-up")),
        };
        let lab = cluster_halting(&halt);
        let other = second_box(&lab);
        let load = lab.start_load(Writers::default()).unwrap();
        let run = lab.box_().spawn_mmm(["switchover", "--to", "db2"]).unwrap();
        halt.until_reached(&lab, &run);
        let refused = other
            .mmm(["switchover", "--to", "db2", "--lock-wait", "0s"])
            .unwrap();
        assert_eq!(refused.code, 4, "{refused:?}");
        let holder = lab.address_of("box").unwrap();
        assert!(
            refused.stderr.contains(&format!("{holder}:")),
            "who holds it is shown: {refused:?}"
        );
        lab.box_().power_off().unwrap();
        let dark = Instant::now();
        drop(run);
        let was_writable = lab.writable_hosts() == ["db1"];
        let verb = if was_writable {
            ["switchover", "--to", "db2"]
        } else {
            ["failover", "--to", "db1"]
        };
        let output = other.mmm(verb).unwrap();
        let took = dark.elapsed();
        eprintln!(
            "round {round}, {halt}: `mmm {}` took {:.1} s\n{}",
            verb.join(" "),
            took.as_secs_f64(),
            output.stdout
        );
        assert_eq!(output.code, 0, "{output:?}");
        assert!(took < Duration::from_secs(15), "{took:?}");
        let writer = if was_writable { "db2" } else { "db1" };
        assert_eq!(lab.writable_hosts(), [writer]);
        assert_eq!(lab.who_has(lab::roster::WRITER_ADDRESS).unwrap(), [writer]);
        // After a failover the writer itself follows nobody until a host comes back to it.
        if was_writable {
            order::is_the_writer(&lab, writer);
        }
        load.until_acknowledged(writer, 50, SOON).unwrap();
        let expect = Expect {
            handovers: usize::from(was_writable),
            idle_within: None,
            ..Expect::default()
        };
        let report = load
            .stop_and_judge(&[lab.db1(), lab.db2(), lab.db3()], expect)
            .unwrap();
        assert_eq!(report.verdict(), [], "{report}");
        // The box comes back: what it had begun is settled, and nobody is opened beside the writer.
        lab.box_().boot().unwrap();
        super::halts::lift(&lab, &halt);
        let shown = mmm(&lab, &["show"], 3);
        assert!(shown.stdout.contains("was cut off"), "{shown:?}");
        let back = ["db1", "db2"][usize::from(writer == "db1")];
        let settled = lab.box_().mmm(["switchover", "--to", back]).unwrap();
        eprintln!("{settled:?}");
        assert!(is_clean(&settled), "{settled:?}");
        assert_eq!(lab.writable_hosts().len(), 1);
    }
}

/// The writer is killed so long after the first box has lost its power.
fn after_power_off() -> Duration {
    Duration::from_secs(if long() { 60 } else { 3 })
}

#[test]
fn a_second_box_fails_over_from_cron_once_the_first_is_gone_and_not_before() {
    for round in 0..if long() { 5 } else { 1 } {
        let lab = cluster();
        let other = second_box(&lab);
        let comes_by = || other.mmm(["--quiet", "failover", "--if-dead"]).unwrap();
        let watch = Watch::start(&lab);
        let load = lab.start_load(slow()).unwrap();
        // The first box lives: nothing to do while the writer serves, and nobody interferes when it does not.
        assert_eq!(comes_by().code, 0);
        mmm(&lab, &["set-manual"], 0);
        lab.db1()
            .set_restart(Restart::After(Duration::from_secs(8)))
            .unwrap();
        lab.db1().kill_mysqld().unwrap();
        let refused = comes_by();
        assert!(refused.code == 4 && refused.stderr.contains("G62"), "{refused:?}");
        assert_ne!(lab.writable_hosts(), ["db2"], "the first box's manual mode holds");
        until(ACTS_WITHIN, "the server of db1 to be back", || {
            lab.db1().value("SELECT 1").is_ok()
        })
        .unwrap();
        mmm(&lab, &["set-active"], 0);
        load.until_acknowledged("db1", 3, ACTS_WITHIN).unwrap();
        watch.until("all to be well", |view| {
            view.rule == "R03" && view.warnings.is_empty()
        });

        lab.box_().power_off().unwrap();
        drop(watch);
        let dark = Instant::now();
        until(after_power_off() * 2, "the writer to be killed", || {
            dark.elapsed() >= after_power_off()
        })
        .unwrap();
        assert_eq!(comes_by().code, 0, "the writer serves");
        load.until_acknowledged("db1", 2, SOON).unwrap();
        lab.db1().set_restart(Restart::Never).unwrap();
        lab.db1().kill_mysqld().unwrap();
        let dead = Instant::now();
        let mut codes = Vec::new();
        until(ACTS_WITHIN, "the second box to fail over", || {
            codes.push(comes_by().code);
            codes.last() == Some(&10)
        })
        .unwrap();
        eprintln!(
            "round {round}: the second box came by with {codes:?} and had failed over {:.1} s after the death",
            dead.elapsed().as_secs_f64()
        );
        assert_eq!(lab.writable_hosts(), ["db2"]);
        assert_eq!(lab.who_has(WRITER).unwrap(), ["db2"]);
        assert_eq!(comes_by().code, 0, "nothing is left to do");
        load.until_acknowledged("db2", 3, SOON).unwrap();

        // The first box comes back and takes what it sees.
        lab.box_().boot().unwrap();
        let watch = Watch::start_anyhow(&lab);
        watch.until("the first box to know the writer", |view| {
            view.monitored
                && view
                    .writer
                    .as_ref()
                    .is_some_and(|writer| writer.as_str() == "db2")
        });
        assert_eq!(lab.writable_hosts(), ["db2"]);
        let report = load
            .stop_and_judge(&[lab.db2(), lab.db3()], unplanned(1))
            .unwrap();
        tell(&format!("round {round} of the second box's cron"), &report);
        one_writer_at_a_time(&report);
    }
}

/// The second box has the writer on record, and comes by from cron.
fn comes_by(other: &Host) -> lab::Output {
    other.mmm(["failover", "--if-dead"]).unwrap()
}

#[test]
fn a_writer_that_a_dead_box_left_closed_is_opened_again_by_the_second_box() {
    // Nobody may write, the address is up at both masters, and nobody else was opened.
    let halt = Halt::Within(step("catch-up"));
    let lab = cluster_halting(&halt);
    let other = second_box(&lab);
    assert_eq!(comes_by(other).code, 0);
    let load = lab.start_load(slow()).unwrap();
    let run = lab.box_().spawn_mmm(["switchover", "--to", "db2"]).unwrap();
    halt.until_reached(&lab, &run);
    lab.box_().power_off().unwrap();
    drop(run);
    assert_eq!(lab.writable_hosts(), [""; 0]);
    assert_eq!(lab.who_has(WRITER).unwrap(), ["db1", "db2"]);
    let opened = comes_by(other);
    eprintln!("{}{}", opened.stderr, opened.stdout);
    assert_eq!(opened.code, 0, "{opened:?}");
    assert_eq!(lab.writable_hosts(), ["db1"]);
    assert_eq!(lab.who_has(WRITER).unwrap(), ["db1"], "the stray address is gone");
    load.until_acknowledged("db1", 5, SOON).unwrap();
    assert_eq!(comes_by(other).code, 0, "nothing is left to do");
    let expect = Expect {
        idle_within: None,
        ..unplanned(0)
    };
    let report = load
        .stop_and_judge(&[lab.db1(), lab.db2(), lab.db3()], expect)
        .unwrap();
    one_writer_at_a_time(&report);
    assert_eq!(report.lost(), 0, "{report}");
}

#[test]
fn a_failover_that_a_dead_box_left_half_done_is_done_by_the_second_box() {
    // Everything received is applied at the standby, and its replication is stopped.
    let halt = Halt::Before(step_of("failover", "allow-writes"));
    let lab = cluster_halting(&halt);
    let other = second_box(&lab);
    assert_eq!(comes_by(other).code, 0);
    let load = lab.start_load(slow()).unwrap();
    load.until_acknowledged("db1", 5, SOON).unwrap();
    lab.db1().set_restart(Restart::Never).unwrap();
    lab.db1().kill_mysqld().unwrap();
    let run = lab.box_().spawn_mmm(["failover"]).unwrap();
    halt.until_reached(&lab, &run);
    lab.box_().power_off().unwrap();
    drop(run);
    assert_eq!(lab.writable_hosts(), [""; 0]);
    let status = lab.db2().replication().unwrap().unwrap();
    assert!(!status.is_running(), "{status:?}");
    let over = comes_by(other);
    eprintln!("{}{}", over.stderr, over.stdout);
    assert_eq!(over.code, 10, "{over:?}");
    assert_eq!(lab.writable_hosts(), ["db2"]);
    assert_eq!(lab.who_has(WRITER).unwrap(), ["db2"]);
    load.until_acknowledged("db2", 5, SOON).unwrap();
    let report = load
        .stop_and_judge(&[lab.db2(), lab.db3()], unplanned(1))
        .unwrap();
    one_writer_at_a_time(&report);
}

#[test]
fn whom_another_box_has_taken_back_is_not_taken_out_of_service_again() {
    let lab = cluster();
    let other = second_box(&lab);
    let comes_by = || other.mmm(["--quiet", "failover", "--if-dead"]).unwrap();
    assert_eq!(comes_by().code, 0, "the second box has db1 on record");
    let watch = Watch::start(&lab);
    lab.db1().power_off().unwrap();
    watch.until("db2 to have taken over", |view| {
        view.writer
            .as_ref()
            .is_some_and(|writer| writer.as_str() == "db2")
            && warns(view, "db1 was replaced as writer")
    });
    watch.kill();
    let came_by = comes_by();
    assert_eq!(came_by.code, 0, "the writer of today serves: {came_by:?}");
    lab.db1().boot().unwrap();
    let rejoined = other.mmm(["rejoin", "db1"]).unwrap();
    assert_eq!(rejoined.code, 0, "{rejoined:?}");
    assert!(warns(&show(&lab).unwrap(), "db1 was replaced as writer"));

    let watch = Watch::start(&lab);
    let said = watch.said();
    assert!(said.contains("nothing is owed any more"), "{said}");
    assert!(!said.contains("made the replaced writer read-only"), "{said}");
    assert!(!warns(&show(&lab).unwrap(), "db1 was replaced as writer"));
    assert_eq!(lab.writable_hosts(), ["db2"]);
    let status = lab.db1().replication().unwrap().unwrap();
    assert!(status.is_running() && status.source == "10.77.0.12", "{status:?}");
}
