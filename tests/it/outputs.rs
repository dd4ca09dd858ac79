//! What every command prints with `--output json` is what its schema says, and the program prints that schema itself.

use lab::{Lab, Restart};
use serde_json::Value;

use super::cluster::{cluster, mmm};

/// The program's own schema of that name.
fn schema(lab: &Lab, name: &str) -> Value {
    let printed = mmm(lab, &["schema", name], 0);
    serde_json::from_str(&printed.stdout).unwrap()
}

/// That each line is valid by a schema; how many there were.
#[track_caller]
fn valid(lab: &Lab, name: &str, stdout: &str) -> usize {
    let mut schemas = boon::Schemas::new();
    let mut compiler = boon::Compiler::new();
    let place = format!("memory:///{name}.json");
    let mut text = schema(lab, name);
    text.as_object_mut().unwrap().remove("$id");
    compiler.add_resource(&place, text).unwrap();
    let index = compiler.compile(&place, &mut schemas).unwrap();
    for line in stdout.lines() {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        if let Err(error) = schemas.validate(&value, index) {
            panic!("{name}: {error:#}\n{value:#}");
        }
    }
    stdout.lines().count()
}

/// Runs `mmm --output json` and holds what it prints against a schema.
#[track_caller]
fn holds(lab: &Lab, name: &str, words: &[&str], code: i32) {
    let arguments: Vec<&str> = ["--output", "json"].iter().chain(words).copied().collect();
    let output = mmm(lab, &arguments, code);
    assert!(valid(lab, name, &output.stdout) > 0, "{words:?} printed nothing");
}

#[test]
fn every_command_prints_what_its_schema_says() {
    let lab = cluster();
    for (name, words, code) in [
        ("output-validate", &["validate"][..], 0),
        ("output-check", &["check"], 0),
        ("output-readiness", &["check", "--readiness"], 0),
        ("output-show", &["show"], 0),
        ("output-checks", &["checks"], 0),
        ("output-mode", &["mode"], 0),
        ("output-grants", &["grants"], 0),
        ("output-explain", &["explain"], 0),
        ("output-sudoers", &["sudoers"], 0),
        ("output-serves", &["ensure-writer", "db1"], 0),
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
        ("plan", &["plan", "switchover", "--to", "db2"], 0),
        ("plan", &["plan", "failover", "--to", "db2"], 4),
        ("plan", &["plan", "duty", "stop-replication", "--at", "db3"], 0),
        (
            "plan",
            &["plan", "move-role", "reader", "db3", "--address", "10.77.0.101"],
            0,
        ),
        ("output-events", &["switchover", "--to", "db2"], 0),
        (
            "output-events",
            &["move-role", "reader", "db3", "--address", "10.77.0.101"],
            0,
        ),
        ("output-changed", &["set-manual"], 0),
        ("output-changed", &["set-active"], 0),
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
        ("output-history", &["history"], 0),
    ] {
        holds(&lab, name, words, code);
    }
    lab.db2().set_restart(Restart::Never).unwrap();
    lab.db2().kill_mysqld().unwrap();
    holds(&lab, "output-events", &["failover", "--to", "db1"], 0);
    let told: Value = serde_json::from_str(&mmm(&lab, &["--output", "json", "history"], 0).stdout).unwrap();
    let run = told["runs"].as_array().unwrap().last().unwrap()["run"]
        .as_str()
        .unwrap();
    holds(&lab, "output-history", &["history", run], 0);
    holds(&lab, "output-ack", &["ack", run], 0);
    holds(&lab, "plan", &["plan", "rejoin", "db2"], 0);
    holds(&lab, "output-events", &["rejoin", "db2"], 0);
    let names = mmm(&lab, &["schema"], 0).stdout;
    assert!(names.lines().count() > 15, "{names}");
    mmm(&lab, &["schema", "nothing"], 2);
}
