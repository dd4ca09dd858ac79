//! Hosts that follow each other over a channel (MariaDB: a connection) with a name, and a replica with a second one from a
//! server outside of the cluster: hosts are repointed as ever, and the second channel runs on as if nothing had happened.

use lab::wait::until;
use lab::{Flavour, Host, Lab, Options, Restart, Server};

use super::cluster::{SOON, install, mmm};
use super::deaths::of_replica;

/// The channel that is managed, and the one from outside.
const MANAGED: &str = "cluster";
const OUTSIDE: &str = "reports";

/// A statement about one channel. `SLAVE` in it is where MariaDB wants its name.
fn over(host: &Host, statement: &str, channel: &str) -> String {
    if host.server().is_mysql() {
        of_replica(host, &format!("{statement} FOR CHANNEL '{channel}'"))
    } else {
        statement.replacen("SLAVE", &format!("SLAVE '{channel}'"), 1)
    }
}

/// Lets a host replicate from another over a channel that it has not yet.
fn make_channel(lab: &Lab, host: &Host, source: &str, channel: &str) {
    let password = lab.box_().sh("cat /etc/mmm/replication.password").unwrap();
    let (address, password) = (lab.address_of(source).unwrap(), password.stdout);
    let text = format!(
        "MASTER_HOST = '{address}', MASTER_USER = 'mmm_repl', MASTER_PASSWORD = '{}', MASTER_CONNECT_RETRY = 1",
        password.trim()
    );
    let statement = if host.server().is_mysql() {
        format!(
            "CHANGE REPLICATION SOURCE TO {}, SOURCE_AUTO_POSITION = 1, GET_SOURCE_PUBLIC_KEY = 1 FOR CHANNEL '{channel}'",
            text.replace("MASTER_", "SOURCE_")
        )
    } else {
        format!("CHANGE MASTER '{channel}' TO {text}, MASTER_USE_GTID = slave_pos")
    };
    host.sql(&statement).unwrap();
}

/// Whom a host follows over a channel, and whether both threads run.
fn status(host: &Host, channel: &str) -> (String, bool) {
    let statement = if host.server().is_mysql() {
        format!("SHOW REPLICA STATUS FOR CHANNEL '{channel}'")
    } else {
        format!("SHOW SLAVE '{channel}' STATUS")
    };
    let table = host.table(&statement).unwrap();
    let get = |names: [&str; 2]| {
        let value = names.iter().find_map(|name| table.first(name));
        value.unwrap_or_default().to_owned()
    };
    let runs = ["IO", "SQL"].map(|thread| {
        let names = [
            format!("Replica_{thread}_Running"),
            format!("Slave_{thread}_Running"),
        ];
        get([&names[0], &names[1]]) == "Yes"
    });
    (get(["Source_Host", "Master_Host"]), runs == [true, true])
}

#[track_caller]
fn all_follow(lab: &Lab, writer: &str) {
    let address = lab.address_of(writer).unwrap();
    until(
        SOON,
        "everybody to follow the writer over the managed channel",
        || {
            lab.databases()
                .filter(|host| host.name() != writer)
                .all(|host| status(host, MANAGED) == (address.clone(), true))
        },
    )
    .unwrap();
}

/// The connection of db3 that db4 sends its log over: another one would mean that it had been stopped.
fn sender(lab: &Lab) -> String {
    let asked = "SELECT GROUP_CONCAT(id) FROM information_schema.processlist \
                 WHERE command LIKE 'Binlog Dump%' AND host LIKE '10.77.0.13%'";
    lab.host("db4").unwrap().value(asked).unwrap()
}

/// A row that is written outside reaches db3, over the connection that was there before.
#[track_caller]
fn still_runs(lab: &Lab, before: &str, row: u32) {
    let outside = lab.host("db4").unwrap();
    outside
        .sql(&format!("INSERT INTO outside.written VALUES ({row})"))
        .unwrap();
    let asked = format!("SELECT COUNT(*) FROM outside.written WHERE id = {row}");
    until(SOON, "what is written outside to arrive", || {
        lab.db3().value(&asked).is_ok_and(|count| count == "1")
    })
    .unwrap();
    assert_eq!(sender(lab), before, "the channel from outside was touched");
}

/// What is written on the writer is the same everywhere.
#[track_caller]
fn write(lab: &Lab, writer: &str, row: u32) {
    assert_eq!(lab.writable_hosts(), [writer]);
    lab.host(writer)
        .unwrap()
        .sql(&format!("INSERT INTO app.kept VALUES ({row})"))
        .unwrap();
    lab.wait_for_equal_tables("app.kept", &["db1", "db2", "db3"], SOON)
        .unwrap();
}

/// The trio over a named channel, db3 with one more from db4.
fn lab_of(flavour: Flavour) -> Lab {
    let lab = Lab::up(Options {
        flavour,
        second_pair: true,
        ..Options::for_test()
    })
    .unwrap();
    let named = lab
        .inventory_yaml()
        .replace("mysql: { port: 3306 }", "mysql: { port: 3306, channel: cluster }");
    install(&lab, &named);
    let checked = mmm(&lab, &["check"], 3).stdout;
    assert!(
        checked.contains("`mysql.channel` says which is meant"),
        "{checked}"
    );
    for (host, source) in [("db1", "db2"), ("db2", "db1"), ("db3", "db1")] {
        let host = lab.host(host).unwrap();
        host.sql(&of_replica(host, "STOP SLAVE; RESET SLAVE ALL"))
            .unwrap();
        make_channel(&lab, host, source, MANAGED);
        host.sql(&over(host, "START SLAVE", MANAGED)).unwrap();
    }
    let outside = lab.host("db4").unwrap();
    if !flavour.masters.is_mysql() {
        // Connections from several sources need domains of their own.
        outside.sql("SET GLOBAL gtid_domain_id = 4").unwrap();
    }
    outside
        .sql("CREATE DATABASE outside; CREATE TABLE outside.written (id INT PRIMARY KEY)")
        .unwrap();
    make_channel(&lab, lab.db3(), "db4", OUTSIDE);
    lab.db3().sql(&over(lab.db3(), "START SLAVE", OUTSIDE)).unwrap();
    all_follow(&lab, "db1");
    lab.db1()
        .sql("CREATE TABLE app.kept (id INT PRIMARY KEY)")
        .unwrap();
    lab
}

fn the_second_channel_runs_on(flavour: Flavour) {
    let lab = lab_of(flavour);
    let checked = mmm(&lab, &["check"], 0).stdout;
    assert!(!checked.contains("FAIL"), "{checked}");
    until(SOON, "db4 to send to db3", || sender(&lab) != "NULL").unwrap();
    let before = sender(&lab);
    still_runs(&lab, &before, 1);
    write(&lab, "db1", 1);

    mmm(&lab, &["switchover", "--to", "db2"], 0);
    all_follow(&lab, "db2");
    write(&lab, "db2", 2);
    still_runs(&lab, &before, 2);

    mmm(&lab, &["set-offline", "db3"], 0);
    assert!(!status(lab.db3(), MANAGED).1);
    still_runs(&lab, &before, 3);
    mmm(&lab, &["set-online", "db3"], 0);
    all_follow(&lab, "db2");
    write(&lab, "db2", 3);

    another_applier(&lab);
    lab.db2().set_restart(Restart::Never).unwrap();
    lab.db2().kill_mysqld().unwrap();
    let told = mmm(&lab, &["failover"], 0);
    assert!(!told.stderr.contains("stays apart"), "{}", told.stderr);
    until(SOON, "db3 to follow the new writer", || {
        status(lab.db3(), MANAGED) == (lab.address_of("db1").unwrap(), true)
    })
    .unwrap();
    still_runs(&lab, &before, 4);
    mmm(&lab, &["rejoin", "db2"], 0);
    all_follow(&lab, "db1");
    write(&lab, "db1", 4);
    still_runs(&lab, &before, 5);
    a_writer_with_one_keeps_its_role(&lab);
}

/// The standby has another channel too, over which nothing comes, although it could.
fn another_applier(lab: &Lab) {
    make_channel(lab, lab.db1(), "db5", OUTSIDE);
    let applier = of_replica(lab.db1(), "START SLAVE SQL_THREAD");
    let applier = if lab.db1().server().is_mysql() {
        format!("{applier} FOR CHANNEL '{OUTSIDE}'")
    } else {
        format!("START SLAVE '{OUTSIDE}' SQL_THREAD")
    };
    lab.db1().sql(&applier).unwrap();
}

/// What comes over another channel would go on being written behind the back of `read_only`.
fn a_writer_with_one_keeps_its_role(lab: &Lab) {
    let refused = mmm(lab, &["switchover", "--to", "db2"], 4).stderr;
    assert!(
        refused.contains("G39") && refused.contains("channel `reports` from 10.77.0.15:3306"),
        "{refused}"
    );
    write(lab, "db1", 5);
    let checked = mmm(lab, &["check"], 0).stdout;
    assert!(checked.contains("it also follows channel `reports`"), "{checked}");
}

#[test]
fn mysql_9_7() {
    the_second_channel_runs_on(Flavour::of(Server::Mysql9_7));
}

#[test]
fn mariadb_10_11() {
    the_second_channel_runs_on(Flavour::default());
}

#[test]
#[ignore = "one like it is told each time; `cargo lab test --long` tells them all"]
fn mariadb_11_8() {
    the_second_channel_runs_on(Flavour::of(Server::Mariadb11_8));
}
