//! Dry means dry, on every server family: what only looks and plans changes no file, address or variable on any host,
//! sends no statement that changes anything, and keeps nothing on the box. What has nothing to do, or is refused, changes
//! nothing on any database host.

use std::collections::BTreeSet;

use lab::{Flavour, Host, Lab, Server};

use super::cluster::mmm;
use super::deaths::of_replica;
use super::families::cluster_of;

/// Commands that only look, with their exit codes, which are the same on every server.
const DRY: [(&str, i32); 49] = [
    ("validate", 0),
    ("check", 0),
    ("check --output json", 0),
    ("check --output junit", 0),
    ("check --timeout 50ms", 3),
    ("check --readiness", 0),
    ("check --readiness --nagios", 1),
    ("check --readiness --output json", 0),
    ("check --readiness --output junit", 0),
    ("show", 0),
    ("@test_mmm show --output json", 0),
    ("checks", 0),
    ("checks db2 rep_backlog", 0),
    ("mode", 0),
    ("ping", 3),
    ("grants", 0),
    ("sudoers", 0),
    ("sudoers --host db3", 0),
    ("schema", 0),
    ("schema inventory", 0),
    ("explain", 0),
    ("explain R03", 0),
    ("history", 0),
    ("history latest", 2),
    ("playbook list", 0),
    ("playbook show add-address", 0),
    ("playbook lint", 0),
    ("playbook run demote-server --at db1 --plan", 0),
    ("plan switchover --to db2", 0),
    ("plan switchover --output json", 0),
    ("plan switchover --output junit", 0),
    ("plan switchover --to db2 --save /tmp/kept.plan", 0),
    ("plan failover --to db2", 4),
    ("plan failover --output json", 4),
    ("plan failover --to db2 --allow-loss --allow-unfenced", 4),
    ("plan failover --save /tmp/refused.plan", 4),
    ("plan rejoin db2", 4),
    ("plan rejoin db2 --discard", 2),
    ("plan move-role reader db3 --address 10.77.0.101", 0),
    ("plan move-role writer db2", 0),
    ("plan move-role writer db2 --force", 0),
    ("plan set-offline db1", 0),
    ("plan set-offline db3", 0),
    ("plan set-online db3", 0),
    ("plan duty stop-replication --at db3", 0),
    ("plan duty demote-server --at db1 --output json", 0),
    ("plan duty allow-writes --at db2", 4),
    // Acts where that host is not the writer.
    ("ensure-writer db1", 0),
    ("ensure-writer test_mmm db1 --output json", 0),
];

/// Commands that act, where nothing is to be done or they are refused. The box may remember what they saw: the first of
/// them finds no record of who the writer is, the second one finds that of the first.
const AT_REST: [(&str, i32); 7] = [
    ("failover --if-dead", 0),
    ("failover --if-dead", 0),
    ("set-online db3", 0),
    ("switchover --to db1", 4),
    ("failover --to db2", 4),
    ("rejoin db2", 4),
    ("playbook run allow-writes --at db2", 4),
];

/// Files are watched from when this one was written, beside the directories that are watched.
const SINCE: &str = "/var/before-dry";

/// What must be the same on the database hosts: variables, the end of the log, accounts, replication, addresses, and every
/// file but the servers' own. Nothing of it moves by itself while nobody writes.
fn state(lab: &Lab) -> BTreeSet<String> {
    let mut state = BTreeSet::new();
    for host in lab.databases() {
        let replication = of_replica(host, "SHOW SLAVE STATUS");
        let end_of_log = match host.server() {
            Server::Mysql9_7 => "SHOW BINARY LOG STATUS",
            _ => "SHOW MASTER STATUS",
        };
        let asked = format!("SHOW GLOBAL VARIABLES; {replication}; {end_of_log}; SELECT * FROM mysql.user");
        let rows = host.sql(&asked).unwrap();
        // On every interface, so also where no address of the cluster belongs.
        let addresses = host.sh("ip -o address").unwrap().ok().unwrap().stdout;
        let lines = rows.iter().map(|row| row.join(" "));
        let lines = lines.chain([addresses, files(host)]);
        state.extend(lines.map(|line| format!("{} {line}", host.name())));
    }
    state
}

/// What was made, changed or removed in the directories that are a host's own; the rest is the machine's, which hosts of
/// the lab share.
fn files(host: &Host) -> String {
    host.sh(&format!(
        "cd / && find etc home root srv tmp run dev/shm var/tmp var/lib/mmm -xdev -cnewer {SINCE} 2>/dev/null | sort"
    ))
    .unwrap()
    .stdout
}

/// What others than this judge, which is root, sent to the servers since their logs were switched on, without the servers'
/// own replication.
fn statements(lab: &Lab) -> BTreeSet<String> {
    const SENT: &str = "SELECT DISTINCT command_type, argument FROM mysql.general_log \
        WHERE user_host NOT LIKE '%[root]%' AND command_type NOT IN ('Connect', 'Connect Out', 'Quit') AND thread_id NOT IN \
        (SELECT thread_id FROM mysql.general_log WHERE command_type LIKE 'Binlog Dump%')";
    let rows = lab.databases().flat_map(|host| host.sql(SENT).unwrap());
    rows.map(|row| row.join(" ")).collect()
}

/// Whether a statement changes nothing but the session it is sent in.
fn is_harmless(sent: &str) -> bool {
    let sent = sent.to_uppercase();
    if let Some(settings) = sent.strip_prefix("QUERY SET SESSION ") {
        return !settings.contains("GLOBAL") && !settings.contains("PERSIST");
    }
    ["QUERY SELECT ", "QUERY SHOW ", "QUERY XA RECOVER"]
        .iter()
        .any(|begins| sent.starts_with(begins))
        && !sent.contains(" INTO ")
}

#[track_caller]
fn nothing_harmful_was_sent(lab: &Lab) -> BTreeSet<String> {
    let sent = statements(lab);
    assert!(sent.len() > 5, "the log was watched: {sent:?}");
    let odd: Vec<&String> = sent.iter().filter(|text| !is_harmless(text)).collect();
    assert!(odd.is_empty(), "{odd:#?}");
    sent
}

/// Runs the commands one by one and demands that the database hosts stay as they are. Gives what changed on the box.
#[track_caller]
fn change_nothing(lab: &Lab, commands: &[(&str, i32)]) -> String {
    for host in lab.databases().chain([lab.box_()]) {
        host.write(SINCE, "now").unwrap();
    }
    let before = state(lab);
    assert!(before.len() > 1000, "variables were watched: {before:#?}");
    for (words, code) in commands {
        mmm(lab, &words.split(' ').collect::<Vec<_>>(), *code);
        let now = state(lab);
        let changed: Vec<&String> = before.symmetric_difference(&now).collect();
        assert!(
            changed.is_empty(),
            "`mmm {words}` changed something: {changed:#?}"
        );
    }
    files(lab.box_())
}

fn what_looks_and_plans_changes_nothing(flavour: Flavour) {
    let lab = cluster_of(flavour);
    for host in lab.databases() {
        host.sql("SET GLOBAL log_output = 'TABLE'").unwrap();
        host.sql("SET GLOBAL general_log = 1").unwrap();
    }
    let kept = change_nothing(&lab, &DRY);
    assert_eq!(kept, "tmp\ntmp/kept.plan\n", "the box keeps the plan alone");
    let sent = nothing_harmful_was_sent(&lab);
    let locks: Vec<&String> = sent
        .iter()
        .filter(|text| text.contains("GET_LOCK('mmm."))
        .collect();
    assert!(locks.is_empty(), "who only looks takes no lock: {locks:#?}");

    let kept = change_nothing(&lab, &AT_REST);
    let record = kept.lines().all(|path| path.starts_with("var/lib/mmm"));
    assert!(record, "the box keeps more than its record: {kept}");
    nothing_harmful_was_sent(&lab);
}

#[test]
fn on_mysql_9_7() {
    what_looks_and_plans_changes_nothing(Flavour::of(Server::Mysql9_7));
}

#[test]
fn on_mysql_9_7_by_position() {
    what_looks_and_plans_changes_nothing(Flavour::of(Server::Mysql9_7).by_position());
}

#[test]
fn on_mysql_5_6() {
    what_looks_and_plans_changes_nothing(Flavour::of(Server::Mysql5_6));
}

#[test]
fn on_mariadb_10_11() {
    what_looks_and_plans_changes_nothing(Flavour::default());
}

#[test]
fn on_mariadb_11_8() {
    what_looks_and_plans_changes_nothing(Flavour::of(Server::Mariadb11_8));
}
