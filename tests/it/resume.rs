//! Runs whose program was killed at one of their steps: a person lets them go on, or takes them back. Nobody is ever opened
//! beside another, and nothing that was acknowledged is lost.

use std::time::Duration;

use lab::judge::Expect;
use lab::load::Load;
use lab::roster::READER_ADDRESSES;
use lab::writer::Writers;
use lab::{Flavour, Lab, Restart, Server};
use rustix::process::Signal;

use super::cluster::{SOON, mmm};
use super::failover::{one_writer_at_a_time, slow, unplanned};
use super::halts::{Halt, cluster_of_halts, halt_at, lift, step, step_of, steps, steps_of};
use super::order;
use super::two_boxes::second_box;
use super::watch::{ACTS_WITHIN, WRITER, long, tell};

/// Starts a command and kills its program while it halts there.
pub fn cut_off(lab: &Lab, halt: &Halt, words: &[&str]) {
    halt_at(lab, halt);
    let run = lab.box_().spawn_mmm(words).unwrap();
    halt.until_reached(lab, &run);
    run.signal(Signal::KILL).unwrap();
    assert_eq!(run.wait(SOON).unwrap().code, 128 + 9);
    lift(lab, halt);
}

/// What a person wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Resume,
    Undo,
}

/// A cluster under load whose switchovers are cut off one after the other.
struct Story<'l> {
    lab: &'l Lab,
    load: Load<'l>,
    handovers: usize,
}

impl Story<'_> {
    fn hands_over(&mut self, words: &[&str], to: &str) {
        mmm(self.lab, words, 0);
        self.is_the_writer(to);
        self.handovers += 1;
    }

    fn is_the_writer(&self, name: &str) {
        order::is_the_writer(self.lab, name);
        self.load.until_acknowledged(name, 20, SOON).unwrap();
    }

    /// The switchover to `db2` is cut off there; what a person wants leads to the new writer, or to the old one.
    fn tells(&mut self, halt: &Halt, wanted: Wanted) {
        let lab = self.lab;
        self.is_the_writer("db1");
        cut_off(lab, halt, &["switchover", "--to", "db2"]);
        let was = lab.writable_hosts();
        eprintln!("-- {halt}: {wanted:?}, while {was:?} takes writes");
        assert!(was.len() <= 1, "{halt}");
        match (wanted, was == ["db2"]) {
            (Wanted::Undo, false) => {
                mmm(lab, &["undo"], 0);
                self.is_the_writer("db1");
                order::leaves_no_shell(lab, SOON);
                return;
            }
            (Wanted::Undo, true) => {
                let before = order::settings(lab);
                let refused = mmm(lab, &["undo", "latest"], 4).stderr;
                assert!(refused.contains("guard: G71 "), "{refused}");
                assert!(refused.contains("mmm switchover test_mmm --to db1"), "{refused}");
                assert_eq!(order::settings(lab), before, "nothing was touched");
                self.hands_over(&["resume"], "db2");
            }
            (Wanted::Resume, _) => self.hands_over(&["resume"], "db2"),
        }
        order::leaves_no_shell(lab, SOON);
        self.hands_over(&["switchover", "--to", "db1"], "db1");
    }

    fn judge(self, story: &str) {
        let expect = Expect {
            handovers: self.handovers,
            idle_within: None,
            ..Expect::default()
        };
        let hosts: Vec<_> = self.lab.databases().collect();
        let report = self.load.stop_and_judge(&hosts, expect).unwrap();
        tell(story, &report);
        assert_eq!(report.verdict(), [], "{report}");
    }
}

fn begin(lab: &Lab) -> Story<'_> {
    let writers = Writers {
        every: Duration::from_millis(20),
        ..Writers::default()
    };
    Story {
        lab,
        load: lab.start_load(writers).unwrap(),
        handovers: 0,
    }
}

#[test]
fn a_run_goes_on_or_is_taken_back_on_a_persons_word() {
    let lab = cluster_of_halts(Flavour::default());
    let none = mmm(&lab, &["resume"], 2).stderr;
    assert!(none.contains("there is no run `latest`"), "{none}");
    let mut story = begin(&lab);

    // Whoever looks is told, and looking changes nothing.
    cut_off(
        &lab,
        &Halt::Before(step("allow-writes")),
        &["switchover", "--to", "db2"],
    );
    let before = order::settings(&lab);
    let shown = mmm(&lab, &["show"], 3).stdout;
    assert!(shown.contains("was cut off: `mmm resume switchover-"), "{shown}");
    for words in [["plan", "failover"], ["mode", "test_mmm"]] {
        let told = lab.box_().mmm(words).unwrap().stderr;
        assert!(told.contains("note: test_mmm: run switchover-"), "{told}");
    }
    let told = mmm(&lab, &["history"], 0).stdout;
    assert!(told.contains(" OPEN ") && told.contains(" ms and on"), "{told}");
    assert_eq!(order::settings(&lab), before);
    story.hands_over(&["resume", "switch"], "db2");
    let over = mmm(&lab, &["undo"], 4).stderr;
    assert!(over.contains("guard: G70 "), "{over}");
    let told = mmm(&lab, &["history", "latest"], 0).stdout;
    assert!(
        told.contains("resumed at ") && told.contains(": done; writes refused for "),
        "{told}"
    );
    story.hands_over(&["switchover", "--to", "db1"], "db1");
    mmm(&lab, &["history", "latest", "--html", "/tmp/run.html"], 0);
    let page = lab.box_().read("/tmp/run.html").unwrap();
    assert!(
        page.contains("<svg ") && page.contains("writes refused for "),
        "{page}"
    );

    // Refused with G71 once the new writer is open, and a commit that was not done is as if it had not been begun.
    story.tells(&Halt::Before(step("announce")), Wanted::Undo);
    story.tells(&Halt::Within(step("allow-writes")), Wanted::Undo);
    story.tells(&Halt::Within(step("catch-up")), Wanted::Resume);
    story.judge("cut off, resumed and taken back");
}

/// The switchover is killed before and within each of its steps.
fn every_step_of_a_switchover(flavour: Flavour) {
    let lab = cluster_of_halts(flavour);
    let mut story = begin(&lab);
    for step in steps() {
        for wanted in [Wanted::Resume, Wanted::Undo] {
            story.tells(&Halt::Before(step.clone()), wanted);
        }
        story.tells(&Halt::Within(step), Wanted::Resume);
    }
    story.judge(&format!("{flavour}: killed at each step of a switchover"));
}

#[test]
#[ignore = "it takes a quarter of an hour; `cargo lab test --long` tells it"]
fn killed_at_every_step_of_a_switchover() {
    every_step_of_a_switchover(Flavour::default());
}

#[test]
#[ignore = "it takes a quarter of an hour; `cargo lab test --long` tells it"]
fn killed_at_every_step_of_a_switchover_of_mariadb_11_8() {
    every_step_of_a_switchover(Flavour::of(Server::Mariadb11_8));
}

#[test]
#[ignore = "it takes a quarter of an hour; `cargo lab test --long` tells it"]
fn killed_at_every_step_of_a_switchover_of_mysql() {
    every_step_of_a_switchover(Flavour::of(Server::Mysql9_7));
    every_step_of_a_switchover(Flavour::of(Server::Mysql5_6));
}

/// The failover is cut off there; going on leads to the new writer. Taken back, nobody takes writes, and a new failover
/// leads to the new writer too.
fn a_failover_cut_off(flavour: Flavour, halt: &Halt, wanted: Wanted) {
    let lab = cluster_of_halts(flavour);
    lab.db1().set_restart(Restart::Never).unwrap();
    let load = lab.start_load(slow()).unwrap();
    load.until_acknowledged("db1", 2, SOON).unwrap();
    lab.db1().kill_mysqld().unwrap();
    cut_off(&lab, halt, &["failover", "--to", "db2"]);
    let is_open = lab.writable_hosts() == ["db2"];
    eprintln!("-- {halt}: {wanted:?}, db2 is open: {is_open}");
    match (wanted, is_open) {
        (Wanted::Undo, false) => {
            mmm(&lab, &["undo"], 0);
            assert_eq!(lab.writable_hosts(), [""; 0]);
            let shown = lab.box_().mmm(["show"]).unwrap().stdout;
            let is_told = shown.contains("R06 the writer has failed its check");
            assert!(is_told && !shown.contains("was cut off"), "{shown}");
            mmm(&lab, &["failover", "--to", "db2"], 0);
        }
        (Wanted::Undo, true) => {
            let refused = mmm(&lab, &["undo"], 4).stderr;
            assert!(refused.contains("guard: G71 "), "{refused}");
            mmm(&lab, &["resume"], 0);
        }
        (Wanted::Resume, _) => {
            mmm(&lab, &["resume"], 0);
        }
    }
    assert_eq!(lab.writable_hosts(), ["db2"]);
    assert_eq!(lab.who_has(WRITER).unwrap(), ["db2"]);
    load.until_acknowledged("db2", 5, ACTS_WITHIN).unwrap();
    order::leaves_no_shell(&lab, SOON);
    let report = load
        .stop_and_judge(&[lab.db2(), lab.db3()], unplanned(1))
        .unwrap();
    one_writer_at_a_time(&report);
    assert_eq!(report.verdict(), [], "{report}");
}

#[test]
fn a_failover_that_was_cut_off_goes_on_or_is_taken_back() {
    let usual = Flavour::default();
    a_failover_cut_off(
        usual,
        &Halt::Before(step_of("failover", "allow-writes")),
        Wanted::Resume,
    );
    a_failover_cut_off(usual, &Halt::Within(step_of("failover", "drain")), Wanted::Undo);
}

fn every_step_of_a_failover(flavour: Flavour) {
    for step in steps_of("failover") {
        a_failover_cut_off(flavour, &Halt::Before(step.clone()), Wanted::Resume);
        a_failover_cut_off(flavour, &Halt::Before(step), Wanted::Undo);
    }
}

#[test]
#[ignore = "it takes a quarter of an hour; `cargo lab test --long` tells it"]
fn killed_at_every_step_of_a_failover() {
    every_step_of_a_failover(Flavour::default());
}

#[test]
#[ignore = "it takes a quarter of an hour; `cargo lab test --long` tells it"]
fn killed_at_every_step_of_a_failover_of_mysql() {
    every_step_of_a_failover(Flavour::of(Server::Mysql9_7));
}

/// The return of a replaced writer and the move of another address open nobody: gone on with they are begun anew, and behind
/// their commit they are not taken back.
#[test]
fn runs_that_open_nobody_are_begun_anew_and_not_taken_back_behind_their_commit() {
    let lab = cluster_of_halts(Flavour::default());
    let reader = READER_ADDRESSES[0];
    let to = |host| ["move-role", "reader", host, "--address", reader];
    mmm(&lab, &to("db1"), 0);
    cut_off(
        &lab,
        &Halt::Before(step_of("move-address", "announce")),
        &to("db2"),
    );
    let refused = mmm(&lab, &["undo"], 4).stderr;
    let back = format!("`mmm move-role reader db1 --address {reader}`");
    assert!(
        refused.contains("guard: G71 ") && refused.contains(&back),
        "{refused}"
    );
    mmm(&lab, &["resume"], 0);
    assert_eq!(lab.who_has(reader).unwrap(), ["db2"]);
    mmm(&lab, &to("db1"), 0);
    cut_off(
        &lab,
        &Halt::Before(step_of("move-address", "add-address")),
        &to("db2"),
    );
    mmm(&lab, &["undo"], 0);
    assert_eq!(lab.who_has(reader).unwrap(), ["db1"]);

    lab.db1().set_restart(Restart::Never).unwrap();
    lab.db1().kill_mysqld().unwrap();
    mmm(&lab, &["failover", "--to", "db2"], 0);
    cut_off(
        &lab,
        &Halt::Before(step_of("rejoin", "demote-server")),
        &["rejoin", "db1"],
    );
    mmm(&lab, &["resume"], 0);
    assert!(lab.replication_runs());
    let told = mmm(&lab, &["history"], 0).stdout;
    assert!(!told.contains(" OPEN"), "{told}");
}

/// Another box brings the cluster to another writer while the run is cut off.
fn overtaken(lab: &Lab, halt: &Halt, verb: &str) {
    let other = lab.client();
    let act = |words: &[&str]| {
        let output = other.mmm(words.iter().copied()).unwrap();
        assert_eq!(output.code, 0, "{halt}: {output:?}");
    };
    // It has no record of its own yet: whom it saw last time may be the writer no more.
    other.sh("rm -rf /var/lib/mmm").unwrap().ok().unwrap();
    cut_off(lab, halt, &["switchover", "--to", "db2"]);
    if lab.writable_hosts().is_empty() {
        act(&["failover", "--to", "db1"]);
    }
    let to = ["db1", "db2"][usize::from(lab.writable_hosts() == ["db1"])];
    act(&["switchover", "--to", to]);
    order::is_the_writer(lab, to);
    let before = order::settings(lab);
    let refused = mmm(lab, &[verb, "latest"], 4).stderr;
    assert!(refused.contains("guard: G72 "), "{halt}: {refused}");
    assert_eq!(order::settings(lab), before, "{halt}: nothing was touched");
    let told = mmm(lab, &["history"], 0).stdout;
    assert!(
        told.trim_end().lines().last().unwrap().contains(" overtaken"),
        "{told}"
    );
    let over = mmm(lab, &[verb], 4).stderr;
    assert!(over.contains("guard: G70 "), "{over}");
    // The first box takes what it sees, and goes on from there.
    if to == "db2" {
        mmm(lab, &["switchover", "--to", "db1"], 0);
    }
    order::is_the_writer(lab, "db1");
}

#[test]
fn what_another_box_has_overtaken_is_closed_and_nothing_is_touched() {
    let lab = cluster_of_halts(Flavour::default());
    second_box(&lab);
    // Closed with G72, whether it was cut off before its commit or behind it, and whatever is wanted.
    overtaken(&lab, &Halt::Before(step("catch-up")), "resume");
    for step in steps().into_iter().filter(|_| long()) {
        overtaken(&lab, &Halt::Before(step.clone()), "resume");
        if step.section == mmm::core::playbook::Section::Prepare {
            overtaken(&lab, &Halt::Before(step), "undo");
        }
    }
}
