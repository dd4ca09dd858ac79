//! Planned moves of the writer.

use lab::Lab;

use super::cluster::{cluster, mmm};

#[test]
fn hands_the_writer_over_and_back() {
    let lab = cluster();
    let output = mmm(&lab, &["switchover", "--to", "db2"], 0);
    assert!(
        output
            .stdout
            .contains("db2 is the writer; writes were refused for"),
        "{}",
        output.stdout
    );
    assert_eq!(lab.writable_hosts(), ["db2"]);
    assert_eq!(lab.who_has("10.77.0.100").unwrap(), ["db2"]);
    mmm(&lab, &["switchover", "--to", "db2"], 4);
    mmm(&lab, &["switchover", "--to", "db1"], 0);
    assert_eq!(lab.writable_hosts(), ["db1"]);
    assert!(lab.replication_runs());
}

#[test]
fn speaks_as_mmm_does() {
    let lab = cluster();
    let output = mmm(&lab, &["@test_mmm", "move_role", "writer", "db2"], 0);
    assert!(output.stdout.contains("db2 is the writer"), "{}", output.stdout);
    assert_eq!(lab.writable_hosts(), ["db2"]);
}

/// What a plan must leave as it is: positions, writability, addresses, replication.
fn state(lab: &Lab) -> Vec<String> {
    lab.databases()
        .map(|host| {
            let server = host
                .value("SELECT CONCAT_WS(' ', @@gtid_binlog_state, @@gtid_slave_pos, @@read_only, @@event_scheduler)")
                .unwrap();
            let replication = host.replication().unwrap();
            format!("{server} {:?} {replication:?}", host.addresses().unwrap())
        })
        .collect()
}

#[test]
fn a_plan_shows_every_step_and_changes_nothing() {
    let lab = cluster();
    let before = state(&lab);
    let plan = mmm(&lab, &["plan", "switchover", "--to", "db2"], 0).stdout;
    assert_eq!(state(&lab), before);
    assert!(
        !lab.box_().path("/var/lib/mmm/test_mmm").unwrap().exists(),
        "a plan leaves no state"
    );
    let shown = [
        "switchover: db1 → db2",
        "nothing is changed by this command",
        "SET GLOBAL read_only = 1",
        "SET GLOBAL read_only = 0",
        "ip address replace 10.77.0.100/32 dev",
        "arping",
        "ip address flush to 10.77.0.100/32",
        "CHANGE MASTER '' TO MASTER_HOST = '10.77.0.12'",
        "MASTER_PASSWORD = ***",
        "writes are refused for at most",
    ];
    for part in shown {
        assert!(plan.contains(part), "`{part}` is not in the plan:\n{plan}");
    }
    assert!(!plan.contains(&lab.password("replication").unwrap()));

    // What is shown is what runs: the same steps, in the same order.
    let run = mmm(&lab, &["switchover", "--to", "db2"], 0).stderr;
    let ran: Vec<&str> = run
        .lines()
        .filter_map(|line| line.split_once("DONE [")?.1.split_once("] ")?.1.split_once(' '))
        .map(|(_, step)| step)
        .collect();
    assert!(ran.len() > 10, "{run}");
    let mut rest = plan.as_str();
    for step in ran {
        let (host, name) = step.split_once(' ').unwrap();
        let line = rest
            .lines()
            .position(|line| line.contains(name) && line.contains(host))
            .unwrap_or_else(|| panic!("`{step}` is not in the plan, or out of order:\n{plan}"));
        let skipped: usize = rest.split_inclusive('\n').take(line + 1).map(str::len).sum();
        rest = &rest[skipped..];
    }
}
