//! `mmm check`: a healthy cluster passes; each fault is found, named and explained, and nothing is changed.

use std::collections::BTreeSet;

use lab::{Host, Lab};
use serde_json::Value;

use super::cluster::{cluster, mmm};

/// What `check` found: severity, name and host of each finding. Every finding must say why and what to do.
#[track_caller]
fn found(lab: &Lab, code: i32) -> BTreeSet<(String, String, String)> {
    let output = mmm(lab, &["check", "--output", "json"], code);
    let checked: Value = serde_json::from_str(&output.stdout).expect("one line of JSON");
    let findings = checked["findings"].as_array().unwrap();
    let field = |finding: &Value, name: &str| finding[name].as_str().unwrap().to_owned();
    for finding in findings {
        for part in ["what", "because", "hint"] {
            assert!(!field(finding, part).is_empty(), "no {part}: {finding}");
        }
    }
    findings
        .iter()
        .map(|finding| {
            (
                field(finding, "severity"),
                field(finding, "name"),
                field(finding, "host"),
            )
        })
        .collect()
}

fn expected(findings: &[(&str, &str, &str)]) -> BTreeSet<(String, String, String)> {
    findings
        .iter()
        .map(|(severity, name, host)| ((*severity).to_owned(), (*name).to_owned(), (*host).to_owned()))
        .collect()
}

/// What must be the same before and after looking: positions, roles, addresses, and every file but the servers' own.
fn state(lab: &Lab) -> Vec<String> {
    lab.databases()
        .map(|host| {
            let server = "SELECT @@gtid_current_pos, @@gtid_binlog_pos, @@read_only, @@event_scheduler";
            let files = host
                .sh("cd / && find etc home root usr tmp var/tmp -xdev -newer /run/before-check 2>/dev/null")
                .unwrap();
            let accounts = host.sql("SELECT user, authentication_string FROM mysql.user ORDER BY 1");
            format!(
                "{} {:?} {:?} {:?} {}",
                host.name(),
                host.sql(server).unwrap(),
                host.addresses().unwrap(),
                accounts.unwrap(),
                files.stdout
            )
        })
        .collect()
}

/// Remembers the state and demands, when asked again, that it is the same.
struct Unchanged(Vec<String>);

impl Unchanged {
    fn since_now(lab: &Lab) -> Self {
        for host in lab.databases() {
            host.sh("touch /run/before-check").unwrap().ok().unwrap();
        }
        Self(state(lab))
    }

    #[track_caller]
    fn still(&self, lab: &Lab) {
        assert_eq!(self.0, state(lab));
    }
}

#[track_caller]
fn sh(host: &Host, line: &str) {
    host.sh(line).unwrap().ok().unwrap();
}

/// Performs statements that stay on this server alone.
#[track_caller]
fn sql(host: &Host, statements: &str) {
    host.sql(&format!("SET SESSION sql_log_bin = 0; {statements}"))
        .unwrap();
}

#[test]
fn a_healthy_cluster_passes_and_a_dead_host_is_a_finding() {
    let lab = cluster();
    let before = Unchanged::since_now(&lab);
    let output = mmm(&lab, &["check"], 0);
    for verb in ["WARN", "FAIL"] {
        assert!(!output.stdout.contains(verb), "{}", output.stdout);
    }
    assert!(output.stdout.contains("all is well"), "{}", output.stdout);
    assert!(
        output
            .stdout
            .contains("OK db2 the replication account gets in from db1, db3"),
        "{}",
        output.stdout
    );
    assert_eq!(found(&lab, 0), expected(&[]));
    before.still(&lab);

    sh(
        lab.box_(),
        "mkdir -p /var/lib/mmm && mount -t tmpfs -o ro lab-read-only /var/lib/mmm",
    );
    lab.db3().power_off().unwrap();
    let output = mmm(&lab, &["check"], 3);
    for line in [
        "FAIL db3 it is silent",
        "FAIL db3 cannot connect to `db3` over SSH",
        "FAIL box the state directory `/var/lib/mmm` cannot be written",
        "OK db1 the replication account gets in from db2",
        "OK db2 SSH lets us in",
    ] {
        assert!(output.stdout.contains(line), "no `{line}` in\n{}", output.stdout);
    }
    lab.write_inventory("clusters: [").unwrap();
    mmm(&lab, &["check"], 2);
}

#[test]
fn ssh_that_does_not_let_us_in_is_told_apart() {
    let lab = cluster();
    // db1's key on record becomes another one, db2's goes away, db3 forgets ours.
    sh(
        lab.box_(),
        "cd /root/.ssh && other=$(awk '/^db2,/ {print $3}' known_hosts) \
         && awk -v other=\"$other\" '/^db1,/ {$3 = other} !/^db2,/' known_hosts >new && mv new known_hosts",
    );
    sh(lab.db3(), ": >/home/mmm/.ssh/authorized_keys");
    let before = Unchanged::since_now(&lab);
    assert_eq!(
        found(&lab, 3),
        expected(&[
            ("error", "ssh-host-key-changed", "db1"),
            ("error", "ssh-host-key-unknown", "db2"),
            ("error", "ssh-login-refused", "db3"),
        ])
    );
    before.still(&lab);
}

#[test]
fn what_a_host_lacks_is_found() {
    let lab = cluster();
    sh(
        lab.db1(),
        "sed -i -e '/arping/d' -e 's/NOPASSWD\\(.*systemctl kill\\)/PASSWD\\1/' /etc/sudoers \
         && sed -i '/^read_only/d' /etc/mysql/my.cnf",
    );
    sh(lab.db2(), "mv \"$(command -v arping)\" /root/arping-away");
    sh(
        lab.db3(),
        "sed -i 's/env_reset/env_reset, requiretty/' /etc/sudoers \
         && sed -i 's/^read_only.*/read_only = OFF/' /etc/mysql/my.cnf",
    );
    lab.db2().fill_tmp().unwrap();
    lab.db3().make_tmp_read_only().unwrap();
    let before = Unchanged::since_now(&lab);
    assert_eq!(
        found(&lab, 3),
        expected(&[
            ("error", "sudo-refused", "db1"),
            ("error", "sudo-wants-password", "db1"),
            ("error", "writable-at-start", "db1"),
            ("error", "program-missing", "db2"),
            ("warning", "tmp-unusable", "db2"),
            ("warning", "tmp-unusable", "db3"),
            ("error", "sudo-wants-terminal", "db3"),
            ("warning", "writable-at-start", "db3"),
        ])
    );
    let output = mmm(&lab, &["check"], 3);
    for line in [
        "FAIL db1 sudo does not let the SSH user run `arping ",
        "FAIL db1 sudo wants a password for `systemctl kill ",
        "FAIL db2 there is no `arping` on it",
    ] {
        assert!(output.stdout.contains(line), "no `{line}` in\n{}", output.stdout);
    }
    before.still(&lab);
}

#[test]
fn accounts_that_cannot_do_their_work_are_found() {
    let lab = cluster();
    sql(
        lab.db1(),
        "REVOKE SLAVE MONITOR ON *.* FROM mmm_monitor@'%'; REVOKE READ_ONLY ADMIN ON *.* FROM mmm_agent@'%'; \
         REVOKE REPLICATION SLAVE ON *.* FROM mmm_repl@'%';",
    );
    sql(
        lab.db2(),
        "ALTER USER mmm_agent@'%' IDENTIFIED BY 'other'; ALTER USER mmm_repl@'%' IDENTIFIED BY 'other';",
    );
    sql(lab.db3(), "ALTER USER mmm_monitor@'%' IDENTIFIED BY 'other';");
    let before = Unchanged::since_now(&lab);
    assert_eq!(
        found(&lab, 3),
        expected(&[
            ("error", "server-not-reached", "db1"),
            ("error", "privilege-missing", "db1"),
            ("error", "account-refused", "db2"),
            ("error", "replication-login-refused", "db2"),
            ("error", "account-refused", "db3"),
        ])
    );
    let output = mmm(&lab, &["check"], 3);
    for line in [
        "FAIL db1 the monitor account lacks the privilege `SLAVE MONITOR`",
        "FAIL db1 the agent account lacks the privilege `READ_ONLY ADMIN`",
        "FAIL db1 the replication account lacks the privilege `REPLICATION SLAVE`",
        "FAIL db2 its server does not let the agent account in from this box",
        "FAIL db2 its server does not let the agent account in from the host itself",
        "FAIL db2 the replication account may not log in from `db1`",
        "FAIL db2 the replication account may not log in from `db3`",
        "FAIL db3 its server does not let the monitor account in from this box",
    ] {
        assert!(output.stdout.contains(line), "no `{line}` in\n{}", output.stdout);
    }
    before.still(&lab);
}

#[test]
fn settings_that_do_not_suit_a_cluster_are_found() {
    let lab = cluster();
    // These two cannot be changed while the server runs.
    sh(
        lab.db2(),
        "sed -i -e 's/^log_slave_updates.*/log_slave_updates = OFF/' \
         -e 's/^relay_log_recovery.*/relay_log_recovery = OFF/' /etc/mysql/my.cnf && systemctl restart mariadb",
    );
    lab::wait::until(super::cluster::SOON, "replication to run again", || {
        lab.replication_runs()
    })
    .unwrap();
    sql(lab.db2(), "SET GLOBAL auto_increment_increment = 1;");
    sql(
        lab.db3(),
        "SET GLOBAL binlog_format = 'MIXED'; SET GLOBAL sync_binlog = 0; SET GLOBAL read_only = OFF; \
         STOP SLAVE; SET GLOBAL replicate_ignore_db = 'scratch';",
    );
    sh(lab.db3(), "ip address add 10.77.0.100/32 dev eth0");
    let before = Unchanged::since_now(&lab);
    assert_eq!(
        found(&lab, 3),
        expected(&[
            ("error", "replicated-writes-not-logged", "db2"),
            ("warning", "relay-log-not-recovered", "db2"),
            ("warning", "auto-increment-clashes", "db2"),
            ("warning", "binlog-formats-differ", "db3"),
            ("warning", "not-crash-safe", "db3"),
            ("warning", "replica-writable", "db3"),
            ("error", "filters-differ", "db3"),
            ("error", "replication-stopped", "db3"),
            ("error", "address-held-twice", "db3"),
        ])
    );
    before.still(&lab);
}
