//! Plans kept in files and carried out, or refused where what they rest on has changed; and duties by hand.

use lab::{Lab, Restart};
use serde_json::Value;

use super::cluster::{cluster, mmm};

const PLAN: &str = "/root/plan.json";

/// Keeps a plan of `words` in a new file on the box.
#[track_caller]
fn keep(lab: &Lab, words: &[&str]) -> Value {
    lab.box_().sh(&format!("rm -f {PLAN}")).unwrap().ok().unwrap();
    let arguments: Vec<&str> = ["plan"]
        .into_iter()
        .chain(words.iter().copied())
        .chain(["--save", PLAN])
        .collect();
    mmm(lab, &arguments, 0);
    let text = std::fs::read_to_string(lab.box_().path(PLAN).unwrap()).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// That the kept plan is refused, and why.
#[track_caller]
fn refused(lab: &Lab, why: &str) {
    let output = mmm(lab, &["apply", PLAN], 4);
    assert!(output.stderr.contains("guard: G90"), "{}", output.stderr);
    assert!(output.stderr.contains(why), "no `{why}` in {}", output.stderr);
}

#[test]
fn a_plan_is_carried_out_once_and_refused_when_what_it_rests_on_has_changed() {
    let lab = cluster();
    let plan = keep(&lab, &["switchover", "--to", "db2"]);
    assert_eq!(plan["rests_on"]["exact"]["cluster"]["writer"], "db1");
    let steps: Vec<&Value> = plan["stages"].as_array().unwrap().iter().collect();
    assert!(steps.len() > 10, "{plan:#}");
    let mmm_user = &steps[0]["scripts"][0]["by"];
    assert_eq!(mmm_user["host"], "db1", "{mmm_user}");

    // Clients go on writing: lag and positions may move.
    lab.db1().sql("CREATE DATABASE IF NOT EXISTS moved; CREATE TABLE moved.t (i INT PRIMARY KEY); INSERT INTO moved.t VALUES (1)").unwrap();
    mmm(&lab, &["apply", PLAN], 0);
    assert_eq!(lab.writable_hosts(), ["db2"]);
    refused(&lab, "`cluster`: writer was `db1` and is `db2`");
    refused(&lab, "`db1`: read_only was `OFF` and is `ON`");
    assert_eq!(lab.writable_hosts(), ["db2"]);

    keep(&lab, &["switchover", "--to", "db1"]);
    lab.db3().sql("STOP SLAVE SQL_THREAD").unwrap();
    refused(
        &lab,
        "`db3`: threads was `io Yes, sql Yes` and is `io Yes, sql No`",
    );
    lab.db3().sql("START SLAVE SQL_THREAD").unwrap();
    lab.db3()
        .sh("ip address add 10.77.0.101/32 dev lo")
        .unwrap()
        .ok()
        .unwrap();
    refused(&lab, "`db3`: addresses was `none` and is `10.77.0.101`");
    // G90 too where the files differ.
    lab.write_inventory(&format!("{}\n# changed\n", lab.inventory_yaml()))
        .unwrap();
    refused(&lab, "is not the one it was made from");
    mmm(&lab, &["apply", "/nowhere"], 2);
    assert_eq!(lab.writable_hosts(), ["db2"]);
}

#[test]
fn a_host_leaves_and_comes_back_by_kept_plans() {
    let lab = cluster();
    // The writer: its switchover, then what else stops on it.
    let plan = keep(&lab, &["set-offline", "db1"]);
    assert_eq!(plan["wish"]["operation"], "set-offline");
    assert_eq!(
        (&plan["outgoing"], &plan["incoming"]),
        (&"db1".into(), &"db2".into())
    );
    let last = plan["stages"].as_array().unwrap().last().unwrap();
    assert_eq!(
        (&last["duty"], &last["hosts"][0]),
        (&"stop-replication".into(), &"db1".into())
    );
    let shown = mmm(&lab, &["plan", "set-offline", "db1"], 0).stdout;
    assert!(
        shown.contains("set-offline: db1") && shown.contains("  then  "),
        "{shown}"
    );
    assert_eq!(lab.writable_hosts(), ["db1"], "a plan changes nothing");
    assert!(lab.replication_runs());
    mmm(&lab, &["apply", PLAN], 0);
    assert_eq!(lab.writable_hosts(), ["db2"]);
    let status = lab.db1().sql("SHOW SLAVE STATUS").unwrap();
    assert!(!status.iter().flatten().any(|field| field == "Yes"), "{status:?}");
    let shown = mmm(&lab, &["show"], 3).stdout;
    assert!(shown.contains("ADMIN_OFFLINE"), "{shown}");
    refused(&lab, "`cluster`: writer was `db1` and is `db2`");

    // Back again, by a plan that is refused once somebody else did it.
    let plan = keep(&lab, &["set-online", "db1"]);
    assert_eq!(plan["stages"][0]["duty"], "start-replication", "{plan:#}");
    assert_eq!(plan["stages"].as_array().unwrap().len(), 1);
    lab.db1().sql("START SLAVE").unwrap();
    refused(&lab, "`db1`: threads was `io No, sql No` and is");
    lab.db1().sql("STOP SLAVE").unwrap();
    mmm(&lab, &["apply", PLAN], 0);
    assert!(lab.replication_runs());
    let shown = mmm(&lab, &["plan", "set-online", "db1"], 0).stdout;
    assert!(shown.contains("nothing is done on any host"), "{shown}");

    // What would be refused says so and is no plan.
    lab.db3().power_off().unwrap();
    let said = mmm(&lab, &["plan", "set-offline", "db3"], 4).stderr;
    assert!(said.contains("guard: G45"), "{said}");
    mmm(&lab, &["plan", "set-offline", "db9"], 2);
    mmm(&lab, &["plan", "set-online", "db3"], 4);
}

#[test]
fn the_plan_of_a_failover_is_carried_out_when_the_writer_is_dead() {
    let lab = cluster();
    // A living writer: the plan is shown, and not kept.
    let shown = mmm(&lab, &["plan", "failover", "--save", PLAN], 4);
    assert!(
        shown.stdout.contains("it would be refused now"),
        "{}",
        shown.stdout
    );
    assert!(!lab.box_().path(PLAN).unwrap().exists());
    lab.db1().set_restart(Restart::Never).unwrap();
    lab.db1().kill_mysqld().unwrap();
    let plan = keep(&lab, &["failover", "--to", "db2"]);
    assert_eq!(plan["rung"], "demote", "{plan:#}");
    let longest = plan["write_refused_at_most_ms"].as_u64();
    assert!(longest.is_some_and(|ms| ms > 0), "{plan:#}");
    let done = mmm(&lab, &["apply", PLAN], 0);
    assert!(done.stdout.contains("db2 is the writer"), "{}", done.stdout);
    assert_eq!(lab.writable_hosts(), ["db2"]);
    let plan = keep(&lab, &["rejoin", "db1"]);
    let first = &plan["stages"][0];
    assert_eq!(first["section"], Value::Null, "{first}");
    mmm(&lab, &["apply", PLAN], 0);
    assert_eq!(lab.writable_hosts(), ["db2"]);
    assert!(lab.replication_runs());
}

#[test]
fn single_duties_by_hand_never_open_a_server() {
    let lab = cluster();
    let facts = mmm(&lab, &["playbook", "run", "facts", "--at", "db2"], 0);
    assert!(facts.stdout.contains("uptime: "), "{}", facts.stdout);
    for (words, why) in [
        (&["allow-writes", "--at", "db2"][..], "G91"),
        (
            &["add-address", "--at", "db2", "--set", "address=10.77.0.100"],
            "G91",
        ),
    ] {
        let arguments: Vec<&str> = ["playbook", "run"].iter().chain(words).copied().collect();
        let output = mmm(&lab, &arguments, 4);
        assert!(output.stderr.contains(why), "{}", output.stderr);
    }
    assert_eq!(lab.writable_hosts(), ["db1"]);
    let planned = mmm(
        &lab,
        &["playbook", "run", "stop-replication", "--at", "db3", "--plan"],
        0,
    );
    assert!(planned.stdout.contains("STOP SLAVE"), "{}", planned.stdout);
    assert!(lab.replication_runs(), "a plan stops nothing");
    keep(
        &lab,
        &["duty", "stop-replication", "--at", "db3", "--within", "20s"],
    );
    mmm(&lab, &["apply", PLAN], 0);
    refused(
        &lab,
        "`db3`: threads was `io Yes, sql Yes` and is `io No, sql No`",
    );
    let stopped = lab.db3().replication().unwrap().unwrap();
    assert_eq!(
        (stopped.io_running.as_str(), stopped.sql_running.as_str()),
        ("No", "No")
    );
    mmm(&lab, &["playbook", "run", "start-replication", "--at", "db3"], 0);
    // What was done is on record, and nothing is left that anybody would go on with.
    let told = mmm(&lab, &["history"], 0).stdout;
    let lines: Vec<&str> = told
        .lines()
        .filter(|line| line.contains("-replication-"))
        .collect();
    assert!(
        lines.len() == 2
            && lines
                .iter()
                .all(|line| line.contains(" db3 ") && line.contains(" done")),
        "{told}"
    );
    for (words, why) in [
        (&["no-such-duty", "--at", "db1"][..], "there is no such duty"),
        (&["facts", "--at", "db9"], "has no host"),
        (&["announce", "--at", "db1"], "it needs `address`"),
        (
            &["announce", "--at", "db1", "--set", "address=here"],
            "no IP address",
        ),
    ] {
        let arguments: Vec<&str> = ["playbook", "run"].iter().chain(words).copied().collect();
        let output = mmm(&lab, &arguments, 2);
        assert!(output.stderr.contains(why), "{}", output.stderr);
    }
    lab.db3().power_off().unwrap();
    mmm(
        &lab,
        &["playbook", "run", "facts", "--at", "db3", "--within", "1s"],
        4,
    );
}
