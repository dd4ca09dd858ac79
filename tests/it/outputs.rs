//! What every command prints with `--output json` is what its schema says, and nothing besides; the program prints that
//! schema itself. A test demands that every verb is held against one here (`src/cli/schema/outputs.rs`).

use std::collections::BTreeMap;

use lab::wait::until;
use lab::{Flavour, Lab, Restart};
use rustix::process::Signal;
use serde_json::Value;

use super::cluster::{SOON, mmm};
use super::halts::{FOLDER, Halt, cluster_of_halts, step};
use super::resume::cut_off;
use strict::Schema;

#[path = "../../src/cli/schema/strict.rs"]
mod strict;

/// A lab whose program's schemas are asked for once each.
struct Story {
    lab: Lab,
    schemas: BTreeMap<String, Schema>,
}

impl Story {
    /// That a line is valid by the program's own schema of that name, closed, and would not be with any field misspelt.
    #[track_caller]
    fn valid(&mut self, name: &str, line: &Value) {
        if !self.schemas.contains_key(name) {
            let printed = mmm(&self.lab, &["schema", name], 0).stdout;
            let schema = Schema::strict(serde_json::from_str(&printed).unwrap()).unwrap();
            self.schemas.insert(name.to_owned(), schema);
        }
        let schema = &self.schemas[name];
        assert_eq!(schema.wrong(line), None, "{name}: {line:#}");
        assert_eq!(schema.takes_misspelt(line), [""; 0], "{name}: {line:#}");
    }

    /// Holds lines against a schema. Before them may stand events; behind them the error, where there was one.
    #[track_caller]
    fn lines(&mut self, name: &str, stdout: &str, failed: bool) {
        let lines: Vec<Value> = stdout
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
            .collect();
        let mut held = 0;
        for (at, line) in lines.iter().enumerate() {
            let keys: Vec<&str> = line.as_object().unwrap().keys().map(String::as_str).collect();
            let by = match keys.as_slice() {
                ["error", "version"] => {
                    assert!(failed && at + 1 == lines.len(), "{name}: {stdout}");
                    "output-error"
                }
                keys if keys.contains(&"event") => "output-events",
                _ => name,
            };
            self.valid(by, line);
            held += usize::from(by == name);
        }
        assert!(held > 0, "no line of {name}: {stdout}");
    }

    /// Runs `mmm --output json` and holds what it prints against a schema.
    #[track_caller]
    fn holds(&mut self, name: &str, words: &[&str], code: i32) -> String {
        let arguments: Vec<&str> = ["--output", "json"].iter().chain(words).copied().collect();
        let output = mmm(&self.lab, &arguments, code);
        self.lines(name, &output.stdout, code != 0);
        output.stdout
    }

    fn all(&mut self, told: &[(&str, &[&str], i32)]) {
        for (name, words, code) in told {
            self.holds(name, words, *code);
        }
    }

    /// Somebody looks at the newest run, which was told of as a schema says; its name.
    fn newest_run(&mut self) -> String {
        let told: Value = serde_json::from_str(&self.holds("output-history", &["history"], 0)).unwrap();
        let run = told["runs"].as_array().unwrap().last().unwrap()["run"].clone();
        run.as_str().unwrap().to_owned()
    }
}

fn begin() -> Story {
    Story {
        lab: cluster_of_halts(Flavour::default()),
        schemas: BTreeMap::new(),
    }
}

#[test]
fn commands_that_look_print_what_their_schemas_say() {
    let mut story = begin();
    story.all(&[
        ("output-validate", &["validate"], 0),
        ("output-check", &["check"], 0),
        ("output-readiness", &["check", "--readiness"], 0),
        ("output-show", &["show"], 0),
        ("output-checks", &["checks"], 0),
        ("output-mode", &["mode"], 0),
        ("output-grants", &["grants"], 0),
        ("output-explain", &["explain"], 0),
        ("output-sudoers", &["sudoers"], 0),
        ("output-schemas", &["schema"], 0),
        ("output-serves", &["ensure-writer", "db1"], 0),
        ("output-serves", &["failover", "--if-dead"], 0),
        ("output-playbooks", &["playbook", "list"], 0),
        ("output-playbook", &["playbook", "show", "announce"], 0),
        ("output-lint", &["playbook", "lint"], 0),
        ("output-duty", &["playbook", "run", "facts", "--at", "db1"], 0),
        (
            "output-error",
            &["playbook", "run", "allow-writes", "--at", "db2"],
            4,
        ),
        ("output-error", &["ping"], 3),
        ("output-error", &["show", "nowhere"], 2),
        ("output-error", &["shew"], 2),
        ("output-error", &["undo"], 2),
        ("plan", &["plan", "switchover", "--to", "db2"], 0),
        ("plan", &["plan", "failover", "--to", "db2"], 4),
        ("plan", &["plan", "duty", "stop-replication", "--at", "db3"], 0),
        (
            "plan",
            &["playbook", "run", "stop-replication", "--at", "db3", "--plan"],
            0,
        ),
        (
            "plan",
            &["plan", "move-role", "reader", "db3", "--address", "10.77.0.101"],
            0,
        ),
        ("plan", &["plan", "set-offline", "db1"], 0),
        ("plan", &["plan", "set-online", "db3"], 0),
        (
            "plan",
            &["plan", "failover", "--to", "db2", "--allow-unfenced"],
            4,
        ),
    ]);
    // A duty that fails: how it went, then the error. And what lint says of it.
    let fails = "duty: fails\nsays: fail\nwithin: 5s\nsteps: [{ name: Fail, run: exit 7 }]\n";
    let file = format!("{FOLDER}/duties/fails.yaml");
    story.lab.box_().write(&file, fails).unwrap();
    story.holds("output-duty", &["playbook", "run", "fails", "--at", "db1"], 3);
    let linted = story.holds("output-lint", &["playbook", "lint"], 2);
    assert!(linted.contains("fails.yaml"), "{linted}");
    let names = mmm(&story.lab, &["schema"], 0).stdout;
    assert!(names.lines().count() > 15, "{names}");
    mmm(&story.lab, &["schema", "nothing"], 2);
}

#[test]
fn commands_that_change_something_print_what_their_schemas_say() {
    let mut story = begin();
    story.all(&[
        ("output-changed", &["set-manual"], 0),
        ("output-changed", &["set-passive"], 0),
        ("output-changed", &["set-ip", "10.77.0.101", "db3"], 0),
        ("output-changed", &["set-active"], 0),
        ("output-changed", &["clear"], 0),
        ("output-changed", &["set-offline", "db3"], 0),
        ("output-changed", &["set-online", "db3"], 0),
        (
            "output-downtime",
            &[
                "downtime",
                "db3",
                "--for",
                "1h",
                "--reason",
                "a look at its disks",
            ],
            0,
        ),
        ("output-downtime", &["downtime", "db3", "--end"], 0),
        ("output-events", &["switchover", "--to", "db2"], 0),
        ("output-error", &["switchover", "--to", "db2"], 4),
        ("output-events", &["ensure-writer", "db1"], 0),
        (
            "output-events",
            &["move-role", "reader", "db2", "--address", "10.77.0.101"],
            0,
        ),
        (
            "plan",
            &["plan", "switchover", "--to", "db2", "--save", "/tmp/move.json"],
            0,
        ),
        ("output-events", &["apply", "/tmp/move.json"], 0),
        ("output-error", &["apply", "/tmp/move.json"], 4),
        ("output-events", &["switchover", "--to", "db1"], 0),
    ]);
    let kept: Value = serde_json::from_str(&story.lab.box_().read("/tmp/move.json").unwrap()).unwrap();
    story.valid("plan", &kept);
    // The last refusal is told until something is done.
    story.holds("output-error", &["switchover", "--to", "db1"], 4);
    let shown = story.lab.box_().mmm(["--output", "json", "show"]).unwrap().stdout;
    assert!(
        shown.contains("\"asked\":\"--output json switchover --to db1\""),
        "{shown}"
    );
    story.lines("output-show", &shown, false);

    // Cut off, taken back; cut off, gone on with.
    for verb in [["undo"], ["resume"]] {
        let halt = Halt::Before(step("allow-writes"));
        cut_off(&story.lab, &halt, &["switchover", "--to", "db2"]);
        story.holds("output-history", &["history", "latest"], 0);
        story.holds("output-events", &verb, 0);
    }

    story.lab.db2().set_restart(Restart::Never).unwrap();
    story.lab.db2().kill_mysqld().unwrap();
    story.holds("output-events", &["failover", "--to", "db1"], 0);
    story.holds("plan", &["plan", "rejoin", "db2"], 0);
    story.holds("output-events", &["rejoin", "db2"], 0);
    story.lab.db1().set_restart(Restart::Never).unwrap();
    story.lab.db1().kill_mysqld().unwrap();
    story.holds("output-events", &["failover", "--if-dead"], 10);
    let run = story.newest_run();
    story.holds("output-history", &["history", &run], 0);
    story.holds("output-ack", &["ack", &run], 0);
    story.holds("output-events", &["rejoin", "db1"], 0);
}

#[test]
fn a_monitor_prints_what_its_schema_says() {
    let mut story = begin();
    let words = ["monitor"];
    let all: Vec<&str> = ["--output", "json"].iter().chain(&words).copied().collect();
    let mut monitor = story.lab.box_().spawn_mmm(all).unwrap();
    until(SOON, "the monitor to answer", || {
        story
            .lab
            .box_()
            .mmm(["ping"])
            .is_ok_and(|output| output.code == 0)
    })
    .unwrap();
    story.all(&[
        ("output-ping", &["ping"], 0),
        ("output-changed", &["set-manual"], 0),
        ("output-changed", &["set-active"], 0),
        ("output-changed", &["set-offline", "db3"], 0),
        ("output-changed", &["set-online", "db3"], 0),
        (
            "output-downtime",
            &["downtime", "test_mmm", "--for", "1h", "--reason", "a look"],
            0,
        ),
        ("output-downtime", &["downtime", "test_mmm", "--end"], 0),
        ("output-checks", &["checks", "db2", "ping"], 0),
    ]);
    for event in ["mode_changed", "downtime_changed", "state_changed"] {
        until(SOON, event, || monitor.stdout().contains(event)).unwrap();
    }
    let shown = story.lab.box_().mmm(["--output", "json", "show"]).unwrap();
    story.lines("output-show", &shown.stdout, false);
    monitor.signal(Signal::TERM).unwrap();
    until(SOON, "the monitor to end", || !monitor.is_running()).unwrap();
    story.lines("output-events", &monitor.stdout(), false);
}
