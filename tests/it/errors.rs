//! What goes wrong before it begins: each fault is told apart, says what to do, has its exit code, and changes nothing.

use lab::command::Output;
use lab::{Host, Lab, wait};

use super::cluster::{SOON, cluster, mmm};
use super::order;

const SWITCHOVER: [&str; 3] = ["switchover", "--to", "db2"];
const KEY: &str = "/root/.ssh/id_ed25519";
const KNOWN_HOSTS: &str = "/root/.ssh/known_hosts";
const INVENTORY: &str = "/etc/mmm/inventory.yaml";

/// Demands that a command ends with that code, says all of `words` and a hint, and leaves the cluster as it was.
#[track_caller]
fn changes_nothing(lab: &Lab, fault: &str, arguments: &[&str], code: i32, words: &[&str]) -> Output {
    eprintln!("--- {fault}");
    let before = order::settings(lab);
    let output = mmm(lab, arguments, code);
    let said = format!("{}{}", output.stdout, output.stderr);
    eprintln!("{said}");
    for word in words {
        assert!(said.contains(word), "{fault}: `{word}` is not in:\n{said}");
    }
    assert!(said.contains("hint: "), "{fault}: no hint in:\n{said}");
    assert!(!said.contains("panicked"), "{fault}: {said}");
    assert_eq!(order::settings(lab), before, "{fault} changed something");
    order::is_the_writer(lab, "db1");
    output
}

#[track_caller]
fn sh(host: &Host, line: &str) {
    host.sh(line).unwrap().ok().unwrap();
}

/// The cluster still hands over once the fault is gone.
#[track_caller]
fn works_again(lab: &Lab) {
    mmm(lab, &["switchover", "--to", "db2"], 0);
    order::is_the_writer(lab, "db2");
    mmm(lab, &["switchover", "--to", "db1"], 0);
    order::is_the_writer(lab, "db1");
}

#[test]
fn ssh_that_must_not_or_cannot_be_used() {
    let lab = cluster();
    let box_ = lab.box_();
    let known = box_.read(KNOWN_HOSTS).unwrap();

    sh(
        box_,
        &format!(
            "ssh-keygen -q -t ed25519 -N '' -f /root/other && sed -i \"/10.77.0.12/s|AAAA.*|$(cut -d ' ' -f 2 /root/other.pub)|\" {KNOWN_HOSTS}"
        ),
    );
    changes_nothing(&lab, "wrong host key", &SWITCHOVER, 4, &["db2", "host key"]);
    changes_nothing(&lab, "wrong host key, shown", &["show"], 3, &["db2", "host key"]);

    sh(box_, &format!("sed -i '/10.77.0.12/d' {KNOWN_HOSTS}"));
    changes_nothing(&lab, "unknown host key", &SWITCHOVER, 4, &["db2", "host key"]);
    box_.write(KNOWN_HOSTS, &known).unwrap();

    sh(box_, &format!("cp {KEY} /root/kept && cp /root/other {KEY}"));
    changes_nothing(&lab, "wrong SSH key", &SWITCHOVER, 4, &["db1", "SSH"]);
    sh(box_, &format!("cp /root/kept {KEY}"));

    lab.db2().stop_sshd().unwrap();
    changes_nothing(&lab, "no sshd on the standby", &SWITCHOVER, 4, &["db2", "SSH"]);
    lab.db2().start_sshd().unwrap();
    works_again(&lab);
}

#[test]
fn rights_and_programs_that_hosts_lack() {
    let lab = cluster();
    for (role, host) in [("standby", lab.db2()), ("writer", lab.db1())] {
        let sudoers = host.read("/etc/sudoers").unwrap();
        sh(host, "sed -i '/bin\\/ip address/d' /etc/sudoers");
        changes_nothing(
            &lab,
            &format!("no sudo right for ip on the {role}"),
            &SWITCHOVER,
            4,
            &[host.name(), "sudo"],
        );
        sh(host, &format!("cat >/etc/sudoers <<'END'\n{sudoers}END"));
    }
    let standby = lab.db2();
    let sudoers = standby.read("/etc/sudoers").unwrap();
    sh(standby, "sed -i '/arping/d' /etc/sudoers");
    changes_nothing(
        &lab,
        "no sudo right for arping",
        &SWITCHOVER,
        4,
        &["db2", "sudo", "arping"],
    );
    sh(standby, &format!("cat >/etc/sudoers <<'END'\n{sudoers}END"));

    sh(standby, "mv $(command -v arping) /root/arping");
    changes_nothing(&lab, "no arping", &SWITCHOVER, 4, &["db2", "arping"]);
    sh(standby, "mv /root/arping /usr/bin/arping");
    works_again(&lab);
}

#[test]
fn accounts_that_servers_do_not_take() {
    let lab = cluster();
    let box_ = lab.box_();
    for (account, words) in [
        ("agent", ["Access denied", "guard: G19 "]),
        ("monitor", ["db1", "Access denied"]),
    ] {
        let file = format!("/etc/mmm/{account}.password");
        let right = box_.read(&file).unwrap();
        box_.write(&file, "not-the-password\n").unwrap();
        let output = changes_nothing(
            &lab,
            &format!("wrong password of {account}"),
            &SWITCHOVER,
            4,
            &words,
        );
        assert!(!output.stderr.contains("not-the-password"), "{output:?}");
        box_.write(&file, &right).unwrap();
    }
    works_again(&lab);
}

#[test]
fn grants_that_accounts_lack() {
    let lab = cluster();
    let revoke = |host: &Host, what: &str, from: &str| {
        host.sql(&format!(
            "SET SESSION sql_log_bin = 0; REVOKE {what} ON *.* FROM '{from}'@'%'"
        ))
        .unwrap();
    };
    let grant = |host: &Host, what: &str, to: &str| {
        host.sql(&format!(
            "SET SESSION sql_log_bin = 0; GRANT {what} ON *.* TO '{to}'@'%'"
        ))
        .unwrap();
    };
    for (fault, host, what, account, code) in [
        (
            "the writer may not be closed",
            lab.db1(),
            "READ_ONLY ADMIN",
            "mmm_agent",
            5,
        ),
        (
            "the standby may not be opened",
            lab.db2(),
            "READ_ONLY ADMIN",
            "mmm_agent",
            5,
        ),
        (
            "sessions may not be ended",
            lab.db1(),
            "CONNECTION ADMIN, SUPER",
            "mmm_agent",
            5,
        ),
        (
            "replication may not be watched",
            lab.db2(),
            "SLAVE MONITOR",
            "mmm_monitor",
            4,
        ),
    ] {
        revoke(host, what, account);
        changes_nothing(&lab, fault, &SWITCHOVER, code, &[host.name(), "privilege"]);
        grant(host, what, account);
    }
    works_again(&lab);
}

#[test]
fn hosts_that_are_off() {
    let lab = cluster();
    lab.db2().power_off().unwrap();
    let refused = mmm(&lab, &SWITCHOVER, 4);
    assert!(
        refused.stderr.contains("db2") && refused.stderr.contains("hint: "),
        "{refused:?}"
    );
    assert_eq!(lab.writable_hosts(), ["db1"]);
    assert_eq!(lab.who_has(lab::roster::WRITER_ADDRESS).unwrap(), ["db1"]);
    mmm(&lab, &["show"], 3);
    lab.db2().boot().unwrap();
    order::is_the_writer(&lab, "db1");

    lab.db3().power_off().unwrap();
    let output = mmm(&lab, &SWITCHOVER, 0);
    let said = format!("{}{}", output.stdout, output.stderr);
    let named = said
        .lines()
        .any(|line| line.contains("db3") && line.contains("Follow the new writer"));
    assert!(named, "what was not repointed is not said:\n{said}");
    assert_eq!(lab.writable_hosts(), ["db2"]);
    assert_eq!(lab.who_has(lab::roster::WRITER_ADDRESS).unwrap(), ["db2"]);
    lab.db3().boot().unwrap();
    mmm(&lab, &["switchover", "--to", "db1"], 0);
    order::is_the_writer(&lab, "db1");
}

#[test]
fn a_state_directory_that_cannot_be_written() {
    let lab = cluster();
    sh(
        lab.box_(),
        "mkdir -p /var/lib/mmm && mount -t tmpfs -o ro none /var/lib/mmm",
    );
    changes_nothing(
        &lab,
        "state directory read-only",
        &SWITCHOVER,
        4,
        &["/var/lib/mmm", "state directory"],
    );
    sh(lab.box_(), "umount /var/lib/mmm");
    sh(
        lab.box_(),
        "mount -t tmpfs -o size=4k none /var/lib/mmm && head -c 4k /dev/zero >/var/lib/mmm/filler",
    );
    changes_nothing(
        &lab,
        "state directory full",
        &SWITCHOVER,
        4,
        &["/var/lib/mmm", "state directory"],
    );
    sh(lab.box_(), "umount /var/lib/mmm");
    works_again(&lab);
}

#[test]
fn configuration_and_names_that_are_wrong() {
    let lab = cluster();
    for arguments in [
        &["switchover", "no_such_cluster", "--to", "db2"][..],
        &["show", "no_such_cluster"],
        &["switchover", "--to", "no_such_host"],
        &["switchover", "--to", "db3"],
    ] {
        let before = order::settings(&lab);
        let output = mmm(&lab, arguments, 2);
        let named = arguments.last().unwrap();
        assert!(output.stderr.contains("error: "), "{output:?}");
        assert!(
            output.stderr.contains(named) || output.stderr.contains("no_such_cluster"),
            "{output:?}"
        );
        assert_eq!(order::settings(&lab), before);
    }
    let right = lab.box_().read(INVENTORY).unwrap();
    for (fault, wrong, place, words) in [
        (
            "not YAML",
            right.replace("    writer_role: writer", "    writer_role: [writer"),
            ":13:10",
            "not YAML",
        ),
        (
            "unknown key",
            right.replace("writer_role:", "writer_rolle:"),
            ":12:5",
            "writer_rolle",
        ),
        (
            "unit missing",
            right.replace("every: 1s", "every: 1"),
            "inventory.yaml:",
            "every",
        ),
    ] {
        assert_ne!(wrong, right, "{fault}");
        lab.write_inventory(&wrong).unwrap();
        for arguments in [&SWITCHOVER[..], &["validate"], &["show"]] {
            let output = mmm(&lab, arguments, 2);
            for word in ["inventory.yaml:", place, words, "^"] {
                assert!(
                    output.stderr.contains(word),
                    "{fault}: `{word}` is not in:\n{}",
                    output.stderr
                );
            }
        }
    }
    lab.box_().sh(&format!("rm {INVENTORY}")).unwrap().ok().unwrap();
    for arguments in [&SWITCHOVER[..], &["validate"], &["show"]] {
        assert!(mmm(&lab, arguments, 2).stderr.contains(INVENTORY));
    }
    lab.write_inventory(&right).unwrap();
    order::is_the_writer(&lab, "db1");
    works_again(&lab);
}

/// Nothing of ours is written to a host's disks, so disks that take nothing are no obstacle.
#[test]
fn a_tmp_that_is_full_or_read_only_is_no_obstacle() {
    let lab = cluster();
    let files = |host: &Host| {
        host.sh("ls -A /tmp /var/tmp /dev/shm /home/mmm")
            .unwrap()
            .ok()
            .unwrap()
            .stdout
    };
    let before: Vec<String> = lab.databases().map(files).collect();
    works_again(&lab);
    let after: Vec<String> = lab.databases().map(files).collect();
    assert_eq!(after, before, "something was left on a host");
    lab.db1().fill_tmp().unwrap();
    changes_nothing(
        &lab,
        "the server has no room in /tmp",
        &SWITCHOVER,
        4,
        &["db1", "1021"],
    );
    lab.heal().unwrap();
    tables_of_servers_stand_elsewhere(&lab);
    lab.each(lab.databases(), Host::fill_tmp).unwrap();
    works_again(&lab);
    lab.heal().unwrap();
    lab.each(lab.databases(), Host::make_tmp_read_only).unwrap();
    works_again(&lab);
    lab.heal().unwrap();
    wait::until(SOON, "replication to run", || lab.replication_runs()).unwrap();
}

/// A server keeps its own temporary tables in /tmp unless told otherwise, and cannot list its sessions without one.
fn tables_of_servers_stand_elsewhere(lab: &Lab) {
    lab.each(lab.databases(), |host| {
        host.sh(
            "printf '[mysqld]\\ntmpdir=/var/lib/mysql\\n' >>/etc/mysql/my.cnf && systemctl restart mariadb",
        )?
        .ok()?;
        Ok(())
    })
    .unwrap();
    lab.db1().sql("SET GLOBAL read_only = OFF").unwrap();
    order::is_the_writer(lab, "db1");
}
