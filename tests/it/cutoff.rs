//! Runs whose program was killed in the middle: whoever comes next settles them from the journal and fresh facts.

use std::time::Duration;

use lab::{Background, Lab, Restart, wait};
use rustix::process::Signal;

use super::cluster::{SOON, cluster, mmm};
use super::halts::{Halt, cluster_halting, lift, step, steps};
use super::order;

/// Starts a switchover to `db2` and kills its program while it halts there.
fn cut_off(halt: &Halt) -> Lab {
    let lab = cluster_halting(halt);
    let run = lab.box_().spawn_mmm(["switchover", "--to", "db2"]).unwrap();
    halt.until_reached(&lab, &run);
    run.signal(Signal::KILL).unwrap();
    assert_eq!(run.wait(SOON).unwrap().code, 128 + 9);
    lift(&lab, halt);
    lab
}

/// The next command settles the run and then does what it was asked for.
fn settles_by_a_switchover(halt: &Halt) {
    let lab = cut_off(halt);
    let committed = lab.writable_hosts() == ["db2"];
    let (to, code) = if committed { ("db1", 0) } else { ("db2", 0) };
    let output = mmm(&lab, &["switchover", "--to", to], code);
    assert!(
        output.stderr.contains("was cut off") || output.stdout.contains("was cut off"),
        "{halt}: {output:?}"
    );
    order::is_the_writer(&lab, to);
    order::leaves_no_shell(&lab, SOON);
    let back = if committed { "db2" } else { "db1" };
    mmm(&lab, &["switchover", "--to", back], 0);
    order::is_the_writer(&lab, back);
}

/// A monitor that starts settles the run and then keeps order.
fn settles_by_a_monitor(halt: &Halt) {
    let lab = cut_off(halt);
    let before = lab.writable_hosts();
    let monitor = Monitor::start(&lab);
    let shown = lab.box_().mmm(["show"]).unwrap();
    assert!(!shown.stderr.contains("did not answer"), "{halt}: {shown:?}");
    monitor.until("the run to be settled, and one writer with its address", || {
        monitor.has_settled()
            && lab.writable_hosts().len() == 1
            && lab.who_has(lab::roster::WRITER_ADDRESS).unwrap() == lab.writable_hosts()
            && lab.replication_runs()
    });
    let writer = lab.writable_hosts();
    if before.is_empty() {
        assert_eq!(
            writer,
            ["db1"],
            "{halt}: the commit had not begun, so the old writer is opened again"
        );
    } else {
        assert_eq!(writer, before, "{halt}: the only writable host is the writer");
    }
    monitor.stop();
}

/// A monitor on the box.
struct Monitor(Background);

impl Monitor {
    fn start(lab: &Lab) -> Monitor {
        Monitor(lab.box_().spawn_mmm(["monitor"]).unwrap())
    }

    /// Whether it found the run and has said what became of it.
    fn has_settled(&self) -> bool {
        let said = format!("{}{}", self.0.stdout(), self.0.stderr());
        said.contains("was cut off; it is settled first")
            && ["Undone [", "Refused [", "Switched ["]
                .iter()
                .any(|end| said.contains(end))
    }

    #[track_caller]
    fn until(&self, what: &str, holds: impl FnMut() -> bool) {
        if let Err(error) = wait::until(SOON, what, holds) {
            panic!(
                "{error}\n--- stdout\n{}\n--- stderr\n{}",
                self.0.stdout(),
                self.0.stderr()
            );
        }
    }

    fn stop(self) {
        let output = self.0.stop(SOON).unwrap();
        assert_eq!(output.code, 0, "{output:?}");
    }
}

#[test]
fn killed_while_writes_are_about_to_be_refused() {
    settles_by_a_switchover(&Halt::Within(step("deny-writes")));
}

#[test]
fn killed_while_nobody_takes_writes() {
    settles_by_a_switchover(&Halt::Within(step("catch-up")));
}

#[test]
fn killed_right_before_the_commit() {
    settles_by_a_switchover(&Halt::Before(step("allow-writes")));
}

#[test]
fn killed_in_the_middle_of_the_commit() {
    settles_by_a_switchover(&Halt::Within(step("allow-writes")));
}

#[test]
fn killed_after_the_commit() {
    settles_by_a_switchover(&Halt::Within(step("remove-address")));
}

#[test]
fn killed_before_the_commit_and_a_monitor_starts() {
    settles_by_a_monitor(&Halt::Within(step("position-unmoved")));
}

#[test]
fn killed_after_the_commit_and_a_monitor_starts() {
    settles_by_a_monitor(&Halt::Within(step("announce")));
}

/// Whether there is time for every step.
fn is_long() -> bool {
    std::env::var_os("MMM_LONG").is_some()
}

#[test]
fn killed_before_every_step() {
    for step in steps().into_iter().filter(|_| is_long()) {
        settles_by_a_switchover(&Halt::Before(step));
    }
}

#[test]
fn killed_within_every_step_and_a_monitor_starts() {
    for step in steps().into_iter().filter(|_| is_long()) {
        settles_by_a_monitor(&Halt::Within(step));
    }
}

/// The one journal that the box holds.
fn journal(lab: &Lab) -> String {
    let listed = lab
        .box_()
        .sh("ls /var/lib/mmm/test_mmm/runs/*.jsonl")
        .unwrap()
        .ok()
        .unwrap();
    let files: Vec<&str> = listed.stdout.lines().collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files[0].to_owned()
}

/// The run that was cut off has come to its end by its record, and nobody finds it open again.
fn is_closed(lab: &Lab) {
    let told = mmm(lab, &["history"], 0).stdout;
    assert!(told.contains(" undone ") && !told.contains(" OPEN"), "{told}");
}

#[test]
fn a_tail_that_was_never_written_whole_is_left_out() {
    let lab = cut_off(&Halt::Within(step("catch-up")));
    let journal = journal(&lab);
    lab.box_()
        .sh(&format!("printf '{{\"at\": 17, \"step\": {{\"do' >>{journal}"))
        .unwrap()
        .ok()
        .unwrap();
    mmm(&lab, &["switchover", "--to", "db2"], 0);
    is_closed(&lab);
    order::is_the_writer(&lab, "db2");
    let again = mmm(&lab, &["switchover", "--to", "db1"], 0);
    let said = format!("{}{}", again.stdout, again.stderr);
    assert!(!said.contains("was cut off"), "{said}");
    order::is_the_writer(&lab, "db1");
    // So ends a journal whose disk was full from then on: the record of the writer knows better.
    let shorten = "cd /var/lib/mmm/test_mmm/runs && last=$(ls -t | head -n 1) && sed -i 9q \"$last\"";
    lab.box_().sh(shorten).unwrap().ok().unwrap();
    let told = mmm(&lab, &["history"], 0).stdout;
    assert!(told.contains(" OPEN"), "{told}");
    let again = mmm(&lab, &["switchover", "--to", "db2"], 0);
    let said = format!("{}{}", again.stdout, again.stderr);
    assert!(
        !said.contains("was cut off") && !said.contains("is closed"),
        "{said}"
    );
    is_closed(&lab);
    order::is_the_writer(&lab, "db2");
}

#[test]
fn a_tail_of_zeros_as_a_crashed_disk_leaves_is_left_out() {
    let lab = cut_off(&Halt::Within(step("catch-up")));
    let journal = journal(&lab);
    lab.box_()
        .sh(&format!("head -c 512 /dev/zero >>{journal}"))
        .unwrap()
        .ok()
        .unwrap();
    mmm(&lab, &["switchover", "--to", "db2"], 0);
    is_closed(&lab);
    order::is_the_writer(&lab, "db2");
    let again = mmm(&lab, &["switchover", "--to", "db1"], 0);
    let said = format!("{}{}", again.stdout, again.stderr);
    assert!(!said.contains("was cut off"), "{said}");
    order::is_the_writer(&lab, "db1");
}

/// Whoever comes next opens nobody while the other one may have become the writer; a person may, and then no dead server is
/// asked whether a connection to it still lives.
#[test]
fn servers_that_died_meanwhile_leave_it_to_a_person_and_hold_him_up_no_more() {
    let lab = cut_off(&Halt::Within(step("catch-up")));
    for host in [lab.db2(), lab.db3()] {
        host.set_restart(Restart::Never).unwrap();
        host.kill_mysqld().unwrap();
    }
    let stuck = mmm(&lab, &["switchover", "--to", "db2"], 6).stderr;
    let says = |word: &str| assert!(stuck.contains(word), "{word}: {stuck}");
    says("`db2` does not say that it refuses writes");
    says("`mmm undo switchover-");
    let late = mmm(&lab, &["--timeout", "1ms", "undo"], 4);
    assert!(late.stderr.contains("G64"), "{late:?}");
    assert_eq!(lab.writable_hosts(), [""; 0]);
    mmm(&lab, &["undo"], 0);
    assert_eq!(lab.writable_hosts(), ["db1"]);
    is_closed(&lab);
    let shown = lab.box_().mmm(["show"]).unwrap().stdout;
    assert!(!shown.contains("an operation got stuck"), "{shown}");
}

#[test]
fn of_two_switchovers_at_the_same_instant_one_is_refused() {
    let lab = cluster();
    let asked = ["switchover", "--to", "db2", "--lock-wait", "0s"];
    let start = || lab.box_().spawn_mmm(asked).unwrap();
    let both = [start(), start()];
    let mut codes = both
        .map(|run| run.wait(Duration::from_secs(60)).unwrap())
        .map(|output| {
            if output.code == 4 {
                assert!(output.stderr.contains("lock"), "{output:?}");
            }
            output.code
        });
    codes.sort_unstable();
    assert_eq!(codes, [0, 4]);
    order::is_the_writer(&lab, "db2");
}
