//! Every fault of the lab, tested on real labs: that it does what it says, and that healing takes it back.

use std::time::{Duration, Instant};

use lab::{Host, Restart, wait};

use crate::outside::{SOON, connection, pings, up, wait_for_ping, wait_for_server};

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
