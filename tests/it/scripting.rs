//! What scripts call: idempotent moves, a failover from cron, and the least rights under which all of it works.

use std::collections::BTreeSet;

use lab::load::Load;
use lab::roster::INTERFACE;
use lab::wait::until;
use lab::writer::Writers;
use lab::{Lab, Restart};

use super::cluster::{SOON, cluster, mmm};
use super::failover::{one_writer_at_a_time, unplanned};
use super::order;
use super::watch::{ACTS_WITHIN, WRITER, Watch, long};

/// Waits until both replicas follow `writer` again.
#[track_caller]
fn until_replication_runs(lab: &Lab) {
    until(ACTS_WITHIN, "replication runs everywhere", || {
        lab.replication_runs()
    })
    .unwrap();
}

/// Kills the server of a host, which stays down.
fn kill(lab: &Lab, host: &str) {
    let host = lab.host(host).unwrap();
    host.set_restart(Restart::Never).unwrap();
    host.kill_mysqld().unwrap();
}

/// What the writers saw while one host died: never two writers, nothing twice.
#[track_caller]
fn judged(lab: &Lab, load: Load<'_>, writer: &str, handovers: usize) {
    load.until_acknowledged(writer, 20, ACTS_WITHIN).unwrap();
    let report = load
        .stop_and_judge(&[lab.host(writer).unwrap(), lab.db3()], unplanned(handovers))
        .unwrap();
    one_writer_at_a_time(&report);
}

#[test]
fn a_writer_is_ensured_once_and_left_alone_afterwards() {
    let lab = cluster();
    let load = lab.start_load(Writers::default()).unwrap();
    let already = mmm(&lab, &["ensure-writer", "test_mmm", "db1"], 0);
    assert!(already.stdout.contains("already"), "{already:?}");
    let moved = mmm(&lab, &["ensure-writer", "db2"], 0);
    assert!(moved.stdout.contains("db2 is the writer"), "{moved:?}");
    let again = mmm(&lab, &["--output", "json", "ensure-writer", "db2"], 0);
    assert_eq!(
        again.stdout.trim(),
        r#"{"version":1,"cluster":"test_mmm","serves":true,"writer":"db2"}"#
    );
    // Two at once want the same, and both are content.
    let runs = [0, 1].map(|_| lab.box_().spawn_mmm(["ensure-writer", "db1"]).unwrap());
    for run in runs {
        let output = run.wait(SOON).unwrap();
        assert_eq!(output.code, 0, "{output:?}");
    }
    assert_eq!(lab.writable_hosts(), ["db1"]);
    // The writer without its address is not the writer in every respect.
    let take = |words: &str| {
        let command = format!("ip address {words} {WRITER}/32 dev {INTERFACE}");
        lab.db1().sh(&command).unwrap().ok().unwrap();
    };
    take("del");
    let half = mmm(&lab, &["ensure-writer", "db1"], 3);
    assert!(half.stderr.contains("hold the writer's address"), "{half:?}");
    take("add");
    let quiet = mmm(&lab, &["--quiet", "ensure-writer", "db1"], 0);
    assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), ("", ""));
    // A slave, a host that is none, and no time at all.
    mmm(&lab, &["ensure-writer", "db3"], 2);
    mmm(&lab, &["ensure-writer", "db9"], 2);
    let late = mmm(&lab, &["--timeout", "1ms", "ensure-writer", "db2"], 4);
    assert!(late.stderr.contains("G64"), "{late:?}");
    let before = order::settings(&lab);
    for words in [
        &["set-offline", "db3"][..],
        &["set-online", "db3"],
        &["playbook", "run", "stop-replication", "--at", "db3"],
        &["rejoin", "db3"],
    ] {
        let late = mmm(&lab, &[&["--timeout", "1ms"], words].concat(), 4);
        assert!(late.stderr.contains("G64"), "{late:?}");
    }
    assert_eq!(order::settings(&lab), before, "nothing was touched");
    let late = mmm(&lab, &["--timeout", "1ms", "show"], 3);
    assert!(late.stderr.contains("--timeout"), "{late:?}");
    // A dead writer is no planned move.
    let report = load
        .stop_and_judge(&[lab.db1(), lab.db2(), lab.db3()], unplanned(2))
        .unwrap();
    one_writer_at_a_time(&report);
    assert_eq!(report.lost(), 0, "{report}");
    kill(&lab, "db1");
    mmm(&lab, &["ensure-writer", "db2"], 4);
}

#[test]
fn cron_fails_over_when_the_writer_is_dead_and_only_then() {
    let lab = cluster();
    let load = lab.start_load(Writers::default()).unwrap();
    let well = mmm(&lab, &["failover", "--if-dead"], 0);
    assert!(well.stdout.contains("nothing was done"), "{well:?}");
    assert_eq!(mmm(&lab, &["-q", "failover", "--if-dead"], 0).stdout, "");

    // Somebody watches: whoever comes by leaves it to them.
    let watch = Watch::start(&lab);
    lab.box_().sh("mmm set-manual").unwrap().ok().unwrap();
    kill(&lab, "db1");
    let watched = mmm(&lab, &["failover", "--if-dead"], 4);
    assert!(watched.stderr.contains("G62"), "{watched:?}");
    watch.kill();

    // Nobody does, but the mode forbids it; then nothing does.
    until(SOON, "a mode that forbids it", || {
        let output = lab.box_().mmm(["failover", "--if-dead"]).unwrap();
        output.code == 4 && output.stderr.contains("G03")
    })
    .unwrap();
    mmm(&lab, &["set-active"], 0);
    let over = mmm(&lab, &["--quiet", "failover", "--if-dead"], 10);
    assert!(over.stdout.contains("db2 is the writer"), "{over:?}");
    assert!(over.stderr.contains("nobody waits for `db1`"), "{over:?}");
    assert_eq!(lab.who_has(WRITER).unwrap(), ["db2"]);
    // A second run has nothing to do.
    mmm(&lab, &["failover", "--if-dead"], 0);
    judged(&lab, load, "db2", 1);
}

#[test]
fn cron_opens_a_writer_that_came_back_only_when_nobody_else_can_have_become_it() {
    let lab = cluster();
    mmm(&lab, &["failover", "--if-dead"], 0);
    kill(&lab, "db2");
    lab.db1().sql("SET GLOBAL read_only = ON").unwrap();
    let refused = mmm(&lab, &["failover", "--if-dead"], 4);
    assert!(refused.stderr.contains("G63"), "{refused:?}");
    let shown = lab.box_().mmm(["show"]).unwrap().stdout;
    assert!(shown.contains(" failover --if-dead: G63 "), "{shown}");
    // Neither does a script, nor a plan that was made by the record alone.
    let refused = mmm(&lab, &["ensure-writer", "db1"], 4);
    assert!(refused.stderr.contains("G63"), "{refused:?}");
    let planned = mmm(&lab, &["plan", "failover", "--save", "/root/opens.json"], 4);
    assert!(planned.stdout.contains("(G63)"), "{planned:?}");
    assert!(!lab.box_().path("/root/opens.json").unwrap().exists());
    let unit = lab.db2().unit();
    lab.db2()
        .sh(&format!("systemctl start {unit}"))
        .unwrap()
        .ok()
        .unwrap();
    until(SOON, "db2 answers", || lab.db2().sql("SELECT 1").is_ok()).unwrap();
    mmm(&lab, &["failover", "--if-dead"], 0);
    let shown = lab.box_().mmm(["show"]).unwrap().stdout;
    assert!(!shown.contains("G63"), "{shown}");
    assert_eq!(lab.writable_hosts(), ["db1"]);
}

/// What sudo may be asked for as it is printed, a host a text.
fn printed(lab: &Lab, host: &str) -> String {
    mmm(lab, &["sudoers", "--host", host], 0).stdout
}

fn put(lab: &Lab, host: &str, rules: &str) {
    let host = lab.host(host).unwrap();
    host.write("/etc/sudoers", &format!("root ALL=(ALL:ALL) ALL\n{rules}"))
        .unwrap();
}

#[test]
fn the_printed_sudo_rules_are_enough_and_each_is_needed() {
    let lab = cluster();
    let load = lab.start_load(Writers::default()).unwrap();
    let hosts = ["db1", "db2", "db3"];
    let rules = hosts.map(|host| printed(&lab, host));
    for (host, rules) in hosts.iter().zip(&rules) {
        put(&lab, host, rules);
    }
    mmm(&lab, &["check"], 0);
    mmm(&lab, &["switchover", "--to", "db2"], 0);
    until_replication_runs(&lab);
    let watch = Watch::start(&lab);
    until(ACTS_WITHIN, "readers", || super::verbs::readers(&lab).is_some()).unwrap();
    watch.kill();
    mmm(&lab, &["set-offline", "db3"], 0);
    mmm(&lab, &["set-online", "db3"], 0);
    let report = load
        .stop_and_judge(&[lab.db1(), lab.db2(), lab.db3()], unplanned(1))
        .unwrap();
    one_writer_at_a_time(&report);
    kill(&lab, "db2");
    mmm(&lab, &["failover"], 0);
    assert_eq!(lab.who_has(WRITER).unwrap(), ["db1"]);
    mmm(&lab, &["rejoin", "db2"], 0);

    let lines: Vec<&str> = rules[0].lines().filter(|line| !line.starts_with('#')).collect();
    assert!(lines.len() > 10, "{lines:?}");
    let mut spared = BTreeSet::new();
    for line in &lines {
        // One of a kind unless there is time for all.
        let kind: Vec<&str> = line.split(' ').skip(3).take(3).collect();
        if !spared.insert(kind) && !long() {
            continue;
        }
        let others: String = lines
            .iter()
            .filter(|other| other != &line)
            .map(|line| format!("{line}\n"))
            .collect();
        put(&lab, "db1", &others);
        let told = mmm(&lab, &["check"], 3);
        let command = line.split_once("NOPASSWD: ").unwrap().1.replace('\\', "");
        let arguments = command.split_once(' ').unwrap().1;
        assert!(
            told.stdout.contains(arguments) && told.stdout.contains("db1"),
            "without `{line}`: {told:?}"
        );
    }
    put(&lab, "db1", &rules[0]);
    mmm(&lab, &["check"], 0);
}

/// The first block of the README in that language.
fn example(language: &str) -> String {
    let readme = include_str!("../../README.md");
    let (_, rest) = readme.split_once(&format!("```{language}\n")).unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

#[test]
fn the_examples_of_the_readme_run_as_they_stand() {
    let lab = cluster();
    let pipeline = example("sh");
    for round in 0..2 {
        let output = lab.box_().sh(&pipeline).unwrap();
        assert_eq!(output.code, 0, "round {round}: {output:?}");
        assert_eq!(lab.writable_hosts(), ["db2"]);
        until_replication_runs(&lab);
    }
    let crontab = example("crontab");
    let line = crontab.lines().next().unwrap();
    let command: Vec<&str> = line.split_whitespace().skip(6).collect();
    let as_cron = format!("env -i PATH=/usr/bin:/bin HOME=/root {}", command.join(" "));
    let cron = || lab.box_().sh(&as_cron).unwrap();
    let well = cron();
    assert_eq!(
        (well.code, well.stdout.as_str(), well.stderr.as_str()),
        (0, "", ""),
        "cron sends no mail while all is well"
    );
    kill(&lab, "db2");
    let over = cron();
    assert!(
        over.code == 10 && over.stdout.contains("db1 is the writer"),
        "{over:?}"
    );
}
