//! The lab itself, tested on real labs: that it comes up as it should and that nothing is left of it.

use std::process::{Command, Stdio};
use std::time::Duration;

use lab::place::Place;
use lab::{leftovers, wait};

use crate::outside::{SOON, pings, up};

#[test]
fn a_lab_comes_up_replicates_and_leaves_nothing() {
    let lab = up();
    let place = Place::new(lab.name()).unwrap();
    assert_eq!(lab.writable_hosts(), ["db1"]);
    assert_eq!(lab.who_has("10.77.0.100").unwrap(), ["db1"]);

    lab.db1()
        .sql("CREATE TABLE app.t (id INT); INSERT INTO app.t VALUES (1), (2), (3)")
        .unwrap();
    let all = ["db1", "db2", "db3"];
    lab.wait_for_equal_tables("app.t", &all, SOON).unwrap();
    // From the other master to the slave: the ring is one.
    lab.db2()
        .sql("SET GLOBAL read_only = OFF; INSERT INTO app.t VALUES (4); SET GLOBAL read_only = ON")
        .unwrap();
    wait::until(SOON, "the row of db2 on db3", || {
        lab.db3().value("SELECT COUNT(*) FROM app.t").unwrap() == "4"
    })
    .unwrap();
    lab.wait_for_equal_tables("app.t", &all, SOON).unwrap();

    for (name, secret) in
        ["monitor", "agent", "replication", "app"].map(|name| (name, lab.password(name).unwrap()))
    {
        for process in std::fs::read_dir("/proc").unwrap().flatten() {
            for file in ["cmdline", "environ"] {
                let text = std::fs::read(process.path().join(file)).unwrap_or_default();
                let text = String::from_utf8_lossy(&text).into_owned();
                assert!(
                    !text.contains(&secret),
                    "the password of {name} is in {file} of {:?}",
                    process.path()
                );
            }
        }
    }
    assert!(!leftovers::remains(&place).unwrap().is_empty());
    lab.down().unwrap();
    assert_eq!(leftovers::remains(&place).unwrap(), Vec::<String>::new());
}

#[test]
fn the_box_works_on_hosts_over_ssh_with_exactly_the_listed_rights() {
    let lab = up();
    let ssh = |host: &str, line: &str| {
        lab.box_()
            .run(["ssh", "-o", "BatchMode=yes", &format!("mmm@{host}"), line], SOON)
            .unwrap()
    };
    for host in ["db1", "db2", "db3"] {
        assert_eq!(ssh(host, "id -un").ok().unwrap().stdout.trim(), "mmm");
    }
    ssh("db2", "sudo -n ip address add 10.77.0.101/32 dev eth0")
        .ok()
        .unwrap();
    assert_eq!(lab.who_has("10.77.0.101").unwrap(), ["db2"]);
    assert_ne!(
        ssh("db2", "sudo -n ip link set eth0 down").code,
        0,
        "a right that is not listed"
    );
    assert_ne!(
        ssh("db2", "sudo -n cat /etc/shadow").code,
        0,
        "a right that is not listed"
    );
    // Only root orders the service manager; everybody may ask it.
    assert_ne!(ssh("db2", "systemctl stop mariadb").code, 0);
    ssh("db2", "sudo -n systemctl stop mariadb.service").ok().unwrap();
    assert_eq!(
        lab.db2().database_pid().unwrap(),
        None,
        "`stop` came back before the server was gone"
    );
    let state = ssh("db2", "systemctl is-active mariadb");
    assert_eq!((state.code, state.stdout.trim()), (3, "inactive"));
    ssh("db2", "sudo -n systemctl mask --runtime mariadb.service")
        .ok()
        .unwrap();
    let start = ssh("db2", "sudo -n systemctl start mariadb.service");
    assert!(start.code != 0 && start.stderr.contains("masked"), "{start:?}");
    ssh("db2", "sudo -n systemctl unmask --runtime mariadb.service")
        .ok()
        .unwrap();
    ssh("db2", "sudo -n systemctl start mariadb.service")
        .ok()
        .unwrap();
    let shown = ssh(
        "db2",
        "systemctl show -p ActiveState,SubState,Job,NRestarts mariadb.service",
    )
    .stdout;
    assert_eq!(shown, "ActiveState=active\nSubState=running\nNRestarts=0\n");
}

#[test]
fn each_account_may_do_its_part_and_no_more() {
    let lab = up();
    let ask = |account: &str, user: &str, statements: &str| {
        let login = format!(
            "[client]\nuser={user}\npassword={}\n",
            lab.password(account).unwrap()
        );
        lab.box_().write("/root/login.cnf", &login).unwrap();
        let client = [
            "mariadb",
            "--defaults-file=/root/login.cnf",
            "-h",
            "10.77.0.11",
            "--batch",
        ];
        lab.box_().feed(client, statements, SOON).unwrap()
    };
    let may = |account, user, statement| ask(account, user, statement).ok().unwrap();
    let may_not = |account, user, statement| {
        let output = ask(account, user, statement);
        assert!(
            output.stderr.contains("denied"),
            "{user}: {statement}: {output:?}"
        );
    };
    for statement in [
        "SHOW SLAVE STATUS; SHOW MASTER STATUS; SHOW BINARY LOGS; SHOW FULL PROCESSLIST",
        "SELECT GET_LOCK('x', 0), RELEASE_LOCK('x'), @@gtid_binlog_state, @@global.read_only",
    ] {
        may("monitor", "mmm_monitor", statement);
        may("agent", "mmm_agent", statement);
    }
    let forbidden = [
        "SET GLOBAL read_only = ON",
        "STOP SLAVE",
        "CREATE DATABASE x",
        "SELECT * FROM mysql.user",
    ];
    for statement in forbidden {
        may_not("monitor", "mmm_monitor", statement);
    }
    for statement in [
        "SET GLOBAL read_only = ON; SET GLOBAL event_scheduler = OFF; SET GLOBAL event_scheduler = ON",
        "FLUSH TABLES; XA RECOVER; SELECT COUNT(*) FROM information_schema.events",
        "STOP SLAVE; CHANGE MASTER TO MASTER_USE_GTID = current_pos",
        "CHANGE MASTER TO MASTER_USE_GTID = slave_pos; START SLAVE; SET GLOBAL read_only = OFF",
    ] {
        may("agent", "mmm_agent", statement);
    }
    may_not("agent", "mmm_agent", "CREATE DATABASE x");
    may(
        "app",
        "app",
        "CREATE TABLE app.x (id INT); INSERT INTO app.x VALUES (1); DROP TABLE app.x",
    );
    may_not("app", "app", "SET GLOBAL read_only = OFF");
    may("agent", "mmm_agent", "SET GLOBAL read_only = ON");
    assert!(
        ask("app", "app", "CREATE TABLE app.y (id INT)")
            .stderr
            .contains("read-only")
    );
}

#[test]
fn two_labs_at_once_do_not_see_each_other() {
    let (one, other) = (up(), up());
    assert_ne!(one.name(), other.name());
    one.db1().sql("CREATE DATABASE only_here").unwrap();
    one.db2().power_off().unwrap();
    assert!(pings(&other, other.box_(), other.db2()));
    assert_eq!(
        other.db1().sql("SHOW DATABASES LIKE 'only_here'").unwrap(),
        Vec::<Vec<String>>::new()
    );
    one.down().unwrap();
    assert!(pings(&other, other.box_(), other.db1()));
    assert!(other.replication_runs());
    // It is in use by this very process: `down --all` leaves it alone.
    let name = other.name().to_owned();
    let report = leftovers::remove_all(|found| found == name).unwrap();
    assert!(report.len() == 1 && report[0].contains("stays"), "{report:?}");
    assert!(other.replication_runs());
}

#[test]
fn what_a_lab_that_died_half_way_left_is_found_and_removed() {
    let name = format!("dead-{}", std::process::id());
    let place = Place::new(&name).unwrap();
    // At several stages of its coming up.
    for file in ["secrets/app.password", "power-strip", "db1.pid", "up"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lab"));
        command
            .args(["up", "--name", &name])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let stage = place.state().join(file);
        wait::until(Duration::from_secs(60), file, || stage.exists()).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(leftovers::names().unwrap().contains(&name), "killed at `{file}`");
        leftovers::remove_all(|found| found == name).unwrap();
        assert_eq!(
            leftovers::remains(&place).unwrap(),
            Vec::<String>::new(),
            "killed at `{file}`"
        );
        assert!(!leftovers::names().unwrap().contains(&name));
    }
}
