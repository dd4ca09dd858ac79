//! The lab itself, tested on real labs: that it comes up, that every fault does what it says, that nothing is left.
//! Needs root; a few seconds a test.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use lab::place::Place;
use lab::{Host, Lab, Options, Restart, leftovers, wait};

const SOON: Duration = Duration::from_secs(20);

fn up() -> Lab {
    Lab::up(Options::for_test()).unwrap()
}

/// How a TCP connection from the box to a port ends: `open`, `refused` or `silent`.
fn connection(lab: &Lab, address: &str, port: u16) -> &'static str {
    let line = format!("timeout 0.5 bash -c '</dev/tcp/{address}/{port}'");
    match lab.box_().sh(&line).unwrap() {
        output if output.code == 0 => "open",
        output if output.code == 124 => "silent",
        output if output.stderr.contains("refused") => "refused",
        output => panic!("a connection ended in an unknown way: {output:?}"),
    }
}

fn pings(lab: &Lab, from: &Host, to: &Host) -> bool {
    lab.answers(from.name(), &to.address(), Duration::from_millis(300))
        .unwrap()
}

/// A neighbour that did not answer is asked again after a second.
fn wait_for_ping(lab: &Lab, from: &Host, to: &Host) {
    wait::until(SOON, &format!("`{}` to answer", to.name()), || {
        pings(lab, from, to)
    })
    .unwrap();
}

fn wait_for_server(host: &Host) {
    wait::until(SOON, &format!("the server of `{}`", host.name()), || {
        host.unit_state("mariadb").unwrap() == "active"
    })
    .unwrap();
}

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
fn a_crashed_server_comes_back_as_told_and_a_stopped_one_stays_down() {
    let lab = up();
    let host = lab.db1();
    host.set_restart(Restart::After(Duration::from_millis(200)))
        .unwrap();
    let before = host.database_pid().unwrap();
    host.kill_mysqld().unwrap();
    wait_for_server(host);
    assert_ne!(host.database_pid().unwrap(), before);
    assert!(
        !host.is_writable().unwrap(),
        "a restarted server is read-only by its configuration"
    );
    assert!(
        host.run(["systemctl", "show", "mariadb"], SOON)
            .unwrap()
            .stdout
            .contains("NRestarts=1")
    );

    // Stopped between the crash and the restart: the manager keeps it stopped.
    host.set_restart(Restart::After(Duration::from_millis(700)))
        .unwrap();
    host.kill_mysqld().unwrap();
    wait::until(SOON, "the restart to be due", || {
        host.unit_state("mariadb").unwrap() == "activating"
    })
    .unwrap();
    host.run(["systemctl", "stop", "mariadb"], SOON)
        .unwrap()
        .ok()
        .unwrap();
    assert!(
        wait::until(Duration::from_millis(1200), "", || host
            .database_pid()
            .unwrap()
            .is_some())
        .is_err(),
        "a stopped server came back"
    );

    host.run(["systemctl", "start", "mariadb"], SOON)
        .unwrap()
        .ok()
        .unwrap();
    host.set_restart(Restart::Never).unwrap();
    host.kill_mysqld().unwrap();
    wait::until(SOON, "the unit to fail", || {
        host.unit_state("mariadb").unwrap() == "failed"
    })
    .unwrap();
    // `systemctl stop` wakes a server that stands still, as systemd does, so that it can end.
    host.run(["systemctl", "start", "mariadb"], SOON)
        .unwrap()
        .ok()
        .unwrap();
    host.stop_mysqld().unwrap();
    assert_eq!(connection(&lab, &host.address(), 3306), "open");
    assert!(
        host.is_writable().is_err(),
        "a server that stands still gives no answer"
    );
    host.run(["systemctl", "stop", "mariadb"], SOON)
        .unwrap()
        .ok()
        .unwrap();
}

#[test]
fn power_crash_and_freeze_look_from_outside_as_they_do_in_life() {
    let lab = up();
    let db2 = lab.db2();
    db2.sh("ip address add 10.77.0.101/32 dev eth0")
        .unwrap()
        .ok()
        .unwrap();
    db2.power_off().unwrap();
    assert!(!pings(&lab, lab.box_(), db2));
    assert_eq!(connection(&lab, &db2.address(), 3306), "silent");
    assert!(db2.sh("true").is_err(), "a host that is off runs nothing");
    db2.boot().unwrap();
    wait_for_ping(&lab, lab.box_(), db2);
    assert_eq!(
        lab.who_has("10.77.0.101").unwrap(),
        Vec::<&str>::new(),
        "an address survived the power-off"
    );
    assert!(!db2.is_writable().unwrap());

    let db1 = lab.db1();
    db1.crash().unwrap();
    assert!(pings(&lab, lab.box_(), db1));
    assert_eq!(connection(&lab, &db1.address(), 3306), "refused");

    let db3 = lab.db3();
    db3.freeze().unwrap();
    assert!(pings(&lab, lab.box_(), db3));
    assert_eq!(connection(&lab, &db3.address(), 3306), "open");
    let banner = format!(
        "timeout 0.5 bash -c 'read -r line </dev/tcp/{}/22'",
        db3.address()
    );
    assert_eq!(lab.box_().sh(&banner).unwrap().code, 124, "a frozen sshd spoke");
    db3.thaw().unwrap();
    assert_eq!(lab.box_().sh(&banner).unwrap().code, 0);

    lab.heal().unwrap();
    wait::until(SOON, "replication after healing", || lab.replication_runs()).unwrap();
    // The power strip cuts power for the box.
    let off = lab
        .box_()
        .run(["mmm-lab", "power", "off", "db2"], SOON)
        .unwrap()
        .ok()
        .unwrap();
    assert_eq!(off.stdout.trim(), "off");
    assert!(!db2.is_on() && !pings(&lab, lab.box_(), db2));
}

#[test]
fn network_faults_cut_exactly_what_they_say() {
    let lab = up();
    let (db1, db2, db3, monitor) = (lab.db1(), lab.db2(), lab.db3(), lab.box_());
    lab.partition(&["db1"], &["box", "db2"]).unwrap();
    assert!(!pings(&lab, monitor, db1) && !pings(&lab, db1, monitor) && !pings(&lab, db2, db1));
    assert!(pings(&lab, db3, db1) && pings(&lab, monitor, db2));
    let arp = ["arping", "-c", "1", "-w", "1", "-I", "eth0", "10.77.0.11"];
    assert_ne!(monitor.run(arp, SOON).unwrap().code, 0, "ARP passed the cut");
    lab.heal().unwrap();
    wait_for_ping(&lab, monitor, db1);

    lab.fault("one-way", "db1", Some("box")).unwrap();
    let capture = |host: &Host| {
        let heard = host
            .spawn(["tcpdump", "-l", "-n", "-i", "eth0", "udp", "port", "7777"])
            .unwrap();
        wait::until(SOON, "tcpdump to listen", || {
            heard.stderr().contains("listening on")
        })
        .unwrap();
        heard
    };
    let (on_db1, on_box) = (capture(db1), capture(monitor));
    db1.sh("bash -c 'echo x >/dev/udp/10.77.0.5/7777'").unwrap();
    monitor.sh("bash -c 'echo x >/dev/udp/10.77.0.11/7777'").unwrap();
    wait::until(SOON, "the box's packet on db1", || {
        on_db1.stdout().contains("10.77.0.5.")
    })
    .unwrap();
    assert!(
        !on_box.stdout().contains("10.77.0.11."),
        "db1's packet reached the box: {}",
        on_box.stdout()
    );
    // A program in a host is asked to end, and its last words are there.
    let ended = on_db1.stop(SOON).unwrap();
    assert!(ended.code == 0 && ended.stderr.contains("captured"), "{ended:?}");
    let pid = on_box.pid().unwrap();
    drop(on_box);
    wait::until(SOON, "a dropped program to be gone", || {
        lab::process::state_of(pid).is_none()
    })
    .unwrap();
    lab.heal().unwrap();
    wait_for_ping(&lab, monitor, db1);

    db2.drop_port(3306).unwrap();
    assert_eq!(connection(&lab, &db2.address(), 3306), "silent");
    assert_eq!(connection(&lab, &db2.address(), 22), "open");
    db3.reject_port(22).unwrap();
    assert_eq!(connection(&lab, &db3.address(), 22), "refused");
    db1.stop_sshd().unwrap();
    assert_eq!(connection(&lab, &db1.address(), 22), "refused");
    assert_eq!(connection(&lab, &db1.address(), 3306), "open");
    lab.client().link_down().unwrap();
    assert!(!pings(&lab, monitor, lab.client()));
    db2.lose(100).unwrap();
    assert!(!pings(&lab, monitor, db2));
    lab.heal().unwrap();
    wait_for_ping(&lab, monitor, lab.client());
    wait_for_ping(&lab, monitor, db2);
    for (host, port) in [(db1, 22), (db2, 3306), (db3, 22)] {
        assert_eq!(
            connection(&lab, &host.address(), port),
            "open",
            "`{}` was not healed",
            host.name()
        );
    }
    db3.slow(64).unwrap();
    let started = Instant::now();
    let copy = format!(
        "timeout 20 ssh -o BatchMode=yes mmm@{} 'head -c 32000 /dev/urandom' | wc -c",
        db3.address()
    );
    assert_eq!(monitor.sh(&copy).unwrap().ok().unwrap().stdout.trim(), "32000");
    assert!(
        started.elapsed() > Duration::from_secs(2),
        "32 kB at 64 kbit/s took {:?}",
        started.elapsed()
    );
}

#[test]
fn disks_fill_up_and_fail_and_are_healed() {
    let lab = up();
    let db3 = lab.db3();
    let writes = |path: &str| {
        db3.sh(&format!("head -c 5000 /dev/zero >{path} && rm {path}"))
            .unwrap()
    };
    db3.fill_tmp().unwrap();
    assert!(writes("/tmp/x").stderr.contains("No space left"));
    assert_eq!(writes("/var/tmp/x").code, 0);
    lab.heal().unwrap();
    db3.make_tmp_read_only().unwrap();
    assert!(writes("/tmp/x").stderr.contains("Read-only"));
    db3.fill_disk().unwrap();
    assert!(writes("/var/tmp/x").stderr.contains("No space left"));
    assert!(writes("/var/lib/mysql/x").stderr.contains("No space left"));
    // Also one whose disk is full and whose power is off.
    db3.power_off().unwrap();
    lab.heal().unwrap();
    assert_eq!((writes("/tmp/x").code, writes("/var/tmp/x").code), (0, 0));

    db3.make_root_read_only().unwrap();
    assert!(writes("/etc/x").stderr.contains("Read-only"));
    assert!(writes("/var/lib/mysql/x").stderr.contains("Read-only"));
    lab.heal().unwrap();
    assert_eq!(writes("/etc/x").code, 0);
    wait_for_server(db3);
    wait::until(SOON, "replication after healing", || lab.replication_runs()).unwrap();
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
