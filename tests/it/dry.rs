//! Dry means dry: what only looks and plans changes no file, address or variable on any host, and sends no statement that
//! changes anything.

use std::collections::BTreeSet;

use lab::Lab;

use super::cluster::{cluster, mmm};

/// Commands that must change nothing, with their exit codes.
const DRY: [(&[&str], i32); 24] = [
    (&["validate"], 0),
    (&["check"], 0),
    (&["check", "--output", "junit"], 0),
    (&["check", "--readiness"], 0),
    (&["check", "--readiness", "--nagios"], 1),
    (&["show"], 0),
    (&["checks"], 0),
    (&["grants"], 0),
    (&["plan", "switchover", "--to", "db2"], 0),
    (&["plan", "switchover", "--output", "json"], 0),
    (&["plan", "switchover", "--output", "junit"], 0),
    (&["plan", "failover", "--to", "db2"], 4),
    (&["plan", "rejoin", "db2"], 4),
    (
        &["plan", "move-role", "reader", "db3", "--address", "10.77.0.101"],
        0,
    ),
    (&["plan", "move-role", "writer", "db2", "--force"], 0),
    (&["plan", "set-offline", "db1"], 0),
    (&["plan", "set-online", "db3"], 0),
    (&["sudoers"], 0),
    (&["history"], 0),
    (&["check", "--readiness", "--output", "junit"], 0),
    (&["plan", "duty", "stop-replication", "--at", "db3"], 0),
    (&["plan", "duty", "allow-writes", "--at", "db2"], 4),
    (&["playbook", "run", "demote-server", "--at", "db1", "--plan"], 0),
    (&["playbook", "lint"], 0),
];

/// How a statement begins that changes nothing but the session it is sent in.
const HARMLESS: [&str; 11] = [
    "SELECT",
    "SHOW",
    "XA RECOVER",
    "SET SESSION",
    "SET NAMES",
    "SET @@SESSION",
    "SET AUTOCOMMIT",
    "USE ",
    "SET SQL_MODE",
    "SET WAIT_TIMEOUT",
    "SET LOCK_WAIT_TIMEOUT",
];

/// What must be the same: variables, positions, replication, addresses, accounts, and every file but the servers' own. What
/// stands below /usr is the machine's, which hosts of the lab share.
fn state(lab: &Lab) -> Vec<String> {
    lab.databases()
        .map(|host| {
            let skipped = "'gtid_binlog_pos','gtid_current_pos','timestamp','pseudo_thread_id','rand_seed1','rand_seed2','last_gtid','error_count','warning_count','innodb_status_output'";
            let variables = host
                .table(&format!("SHOW GLOBAL VARIABLES WHERE Variable_name NOT IN ({skipped})"))
                .unwrap();
            let files = host
                .sh("cd / && find etc home root tmp var/tmp run -xdev -newer /run/before-dry ! -path 'run/mysqld*' ! -path 'run/sudo*' ! -path 'run/user*' 2>/dev/null | sort")
                .unwrap();
            let replication = host.replication().unwrap();
            format!("{} {variables:?} {:?} {replication:?} {}", host.name(), host.addresses().unwrap(), files.stdout)
        })
        .collect()
}

/// What other programs than the servers' replication sent to them since the log was switched on.
fn statements(lab: &Lab) -> BTreeSet<String> {
    let mut sent = BTreeSet::new();
    for host in lab.databases() {
        let rows = host
            .sh("mariadb -N -B -e \"SELECT REPLACE(argument, CHAR(10), ' ') FROM mysql.general_log WHERE command_type IN ('Query', 'Execute', 'Prepare') AND user_host NOT LIKE '%root[root]%'\"")
            .unwrap();
        sent.extend(rows.stdout.lines().map(|line| line.trim().to_owned()));
    }
    sent
}

#[test]
fn what_looks_and_plans_changes_nothing() {
    let lab = cluster();
    for host in lab.databases() {
        host.sql("SET GLOBAL log_output = 'TABLE'").unwrap();
        host.sql("SET GLOBAL general_log = 1").unwrap();
        host.sh("touch /run/before-dry").unwrap().ok().unwrap();
    }
    let before = state(&lab);
    for (words, code) in DRY {
        mmm(&lab, words, code);
        let now = state(&lab);
        for (was, is) in before.iter().zip(&now) {
            assert_eq!(was, is, "`mmm {}` changed something", words.join(" "));
        }
    }
    let left = lab.box_().sh("ls -A /var/lib/mmm 2>/dev/null").unwrap().stdout;
    assert_eq!(left.trim(), "", "nothing is kept on the box either");
    let sent = statements(&lab);
    assert!(sent.len() > 5, "the log was watched: {sent:?}");
    let odd: Vec<&String> = sent
        .iter()
        .filter(|text| {
            let upper = text.to_uppercase();
            !HARMLESS.iter().any(|begins| upper.starts_with(begins))
        })
        .collect();
    assert!(odd.is_empty(), "{odd:#?}");
}
