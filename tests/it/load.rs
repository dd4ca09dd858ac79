//! The writer is handed over while clients write, and while others write that `read_only` does not stop.

use lab::faults::EVENT;
use lab::judge::Expect;
use lab::wait::until;
use lab::writer::Writers;
use lab::{Background, Host, Lab};

use super::cluster::{SOON, cluster, mmm};

/// More than the writers can write in a second: a kernel believes no announcement of an address that comes within a
/// second of the last (`locktime`).
pub const ROWS_OF_A_SECOND: usize = 700;
/// The idle connections of an application's pool.
const POOL: usize = 50;

/// How often a story is repeated; `cargo lab test --long` asks for the number that figures are published for.
pub fn rounds(usual: usize, long: usize) -> usize {
    if std::env::var_os("MMM_LONG").is_some() {
        long
    } else {
        usual
    }
}

#[test]
fn hands_over_back_and_forth_under_load() {
    let lab = cluster();
    let load = lab
        .start_load(Writers {
            pool: POOL,
            ..Writers::default()
        })
        .unwrap();
    let moves = rounds(4, 20);
    let (mut from, mut to) = ("db1", "db2");
    for _ in 0..moves {
        load.until_acknowledged(from, ROWS_OF_A_SECOND, SOON).unwrap();
        mmm(&lab, &["switchover", "--to", to], 0);
        assert_eq!(lab.who_has("10.77.0.100").unwrap(), [to]);
        (from, to) = (to, from);
    }
    load.until_acknowledged(from, ROWS_OF_A_SECOND, SOON).unwrap();
    assert_eq!(lab.writable_hosts(), [from]);
    let hosts: Vec<&Host> = lab.databases().collect();
    let report = load
        .stop_and_judge(
            &hosts,
            Expect {
                handovers: moves,
                ..Expect::default()
            },
        )
        .unwrap();
    eprintln!("{moves} switchovers under load:\n{report}");
    assert_eq!(report.verdict(), [], "{report}");
    assert_eq!(report.handover_gaps.len(), moves, "{report}");
    assert!(report.idle.noticed >= moves * POOL * 9 / 10, "{report}");
    assert!(lab.replication_runs());
    lab.wait_for_equal_tables("app.writes", &["db1", "db2", "db3"], SOON)
        .unwrap();
}

/// Rows of people with rights that `read_only` does not stop.
const SLIPS: &str = "CREATE DATABASE IF NOT EXISTS app; \
                     CREATE TABLE app.slips (id BIGINT AUTO_INCREMENT PRIMARY KEY, who VARCHAR(20), server INT)";

/// A root client on this host that connects anew for each row, as fast as it can.
fn write_as_root(host: &Host) -> Background {
    let line = "while :; do yes \"INSERT INTO app.slips (who, server) VALUES ('client', @@server_id);\" | mariadb; done";
    host.spawn(["sh", "-c", line]).unwrap()
}

/// A table has the same rows on all three servers, and everything of db1 is among them.
fn nothing_is_lost(lab: &Lab) {
    lab.wait_for_equal_tables("app.slips", &["db1", "db2", "db3"], SOON)
        .unwrap();
}

#[test]
fn a_root_client_and_an_event_that_go_on_writing_are_noticed() {
    let lab = cluster();
    let db1 = lab.db1();
    db1.sql(SLIPS).unwrap();
    db1.sql("SET GLOBAL event_scheduler = ON").unwrap();
    db1.sql(EVENT).unwrap();
    // Several: one that has just been ended takes a while to come back on a busy machine.
    let clients = [(); 3].map(|()| write_as_root(db1));
    let rows = |who: &str| {
        let count = format!("SELECT COUNT(*) FROM app.slips WHERE who = '{who}'");
        db1.value(&count).unwrap().parse::<u64>().unwrap()
    };
    until(SOON, "rows of the client and of the event", || {
        rows("client") > 20 && rows("event") > 20
    })
    .unwrap();

    let output = mmm(&lab, &["switchover", "--to", "db2"], 5);
    eprintln!("{}", output.stdout);
    assert!(output.stdout.contains("Undone"), "{}", output.stdout);
    assert_eq!(lab.writable_hosts(), ["db1"]);
    assert_eq!(lab.who_has("10.77.0.100").unwrap(), ["db1"]);
    let before = rows("event");
    until(SOON, "the event to go on", || rows("event") > before).unwrap();

    // Without the client, the event alone does not stand in the way: it stops and goes on at the new writer.
    drop(clients);
    mmm(&lab, &["switchover", "--to", "db2"], 0);
    assert_eq!(lab.writable_hosts(), ["db2"]);
    assert_eq!(db1.value("SELECT @@event_scheduler").unwrap(), "OFF");
    assert_eq!(lab.db2().value("SELECT @@event_scheduler").unwrap(), "ON");
    lab.db2().sql("SET GLOBAL event_scheduler = OFF").unwrap();
    nothing_is_lost(&lab);
}

#[test]
fn a_read_lock_keeps_root_from_writing_while_the_writer_moves() {
    let lab = super::cluster::cluster_with(&|yaml| yaml + "    switchover: { read_lock: true }\n");
    let db1 = lab.db1();
    db1.sql(SLIPS).unwrap();
    let _client = write_as_root(db1);
    until(SOON, "rows of the client", || {
        db1.value("SELECT COUNT(*) FROM app.slips")
            .unwrap()
            .parse::<u64>()
            .unwrap()
            > 20
    })
    .unwrap();
    let output = mmm(&lab, &["switchover", "--to", "db2"], 0);
    let said = format!("{}{}", output.stdout, output.stderr);
    assert!(said.contains("Unlock its tables"), "{said}");
    assert_eq!(lab.writable_hosts(), ["db2"]);
}

/// A client that has begun a transaction on this host and does not end it.
fn write_for_long(host: &Host) -> Background {
    let line = "exec mariadb -e \"START TRANSACTION; \
                INSERT INTO app.slips (who, server) VALUES ('long', @@server_id); SELECT SLEEP(300)\"";
    host.spawn(["sh", "-c", line]).unwrap()
}

#[test]
fn a_long_transaction_is_not_interrupted_and_slow_moves_are_given_up() {
    let lab = super::cluster::cluster_with(&|yaml| {
        yaml.replace(
            "    writer_role: writer\n",
            "    writer_role: writer\n    playbooks: /etc/mmm/playbooks\n",
        )
    });
    let override_duties = "mkdir -p /etc/mmm/playbooks/duties";
    lab.box_().sh(override_duties).unwrap().ok().unwrap();
    let db1 = lab.db1();
    db1.sql(SLIPS).unwrap();
    let long = write_for_long(db1);
    until(SOON, "it to have been writing for 3 s", || {
        let age = "SELECT MAX(time) FROM information_schema.processlist WHERE info LIKE 'SELECT SLEEP%'";
        db1.value(age)
            .is_ok_and(|age| age.parse::<u64>().is_ok_and(|age| age >= 3))
    })
    .unwrap();
    let refused = mmm(&lab, &["switchover", "--to", "db2"], 4);
    let said = format!("{}{}", refused.stdout, refused.stderr);
    assert!(said.contains("has been writing for"), "{said}");
    assert_eq!(lab.writable_hosts(), ["db1"]);
    let session = "SELECT id FROM information_schema.processlist WHERE info LIKE 'SELECT SLEEP%'";
    let session = db1.value(session).unwrap();
    db1.sql(&format!("KILL {session}")).unwrap();
    drop(long);

    let file = "/etc/mmm/playbooks/duties/catch-up.yaml";
    lab.box_().write(file, SLOW_CATCH_UP).unwrap();
    let arguments = ["switchover", "--to", "db2", "--write-refused-max", "700ms"];
    let load = lab.start_load(Writers::default()).unwrap();
    let undone = mmm(&lab, &arguments, 5);
    assert!(undone.stdout.contains("Undone"), "{}", undone.stdout);
    assert_eq!(lab.writable_hosts(), ["db1"]);
    assert_eq!(lab.who_has("10.77.0.100").unwrap(), ["db1"]);
    load.until_acknowledged("db1", ROWS_OF_A_SECOND, SOON).unwrap();
    let hosts: Vec<&Host> = lab.databases().collect();
    let report = load
        .stop_and_judge(
            &hosts,
            Expect {
                handovers: 0,
                ..Expect::default()
            },
        )
        .unwrap();
    eprintln!("a move given up after 700 ms:\n{report}");
    assert_eq!(report.verdict(), [], "{report}");
}

/// One that nobody waits for to the end.
const SLOW_CATCH_UP: &str = "duty: catch-up
says: wait until {{ host.name }} has everything from {{ source.name }}
needs: [source, file, position, gtid]
changes: nothing
within: 10s
steps:
  - name: Everything has arrived
    run: sleep 8
";

/// As shipped, and slow: between opening the new writer and looking at the old one passes a second.
const SLOW_ANNOUNCEMENT: &str = "duty: announce
says: announce {{ address.ip }} from {{ host.name }}
needs: [address]
undo: nothing
within: 4s
steps:
  - name: Take a breath
    run: sleep 2
  - name: Announce {{ address.ip }} as a request
    run: arping -q -U -c 2 -w 2 -I {{ host.interface }} {{ address.ip }}
    sudo: true
    background: true
";

#[test]
fn what_slips_past_read_only_after_the_commit_is_reported_exactly() {
    let lab = super::cluster::cluster_with(&|yaml| {
        yaml.replace(
            "    writer_role: writer\n",
            "    writer_role: writer\n    playbooks: /etc/mmm/playbooks\n",
        )
    });
    lab.box_()
        .sh("mkdir -p /etc/mmm/playbooks/duties")
        .unwrap()
        .ok()
        .unwrap();
    lab.box_()
        .write("/etc/mmm/playbooks/duties/announce.yaml", SLOW_ANNOUNCEMENT)
        .unwrap();
    lab.db1().sql(SLIPS).unwrap();
    let run = lab.box_().spawn_mmm(["switchover", "--to", "db2"]).unwrap();
    until(SOON, "db2 to be opened", || {
        lab.db2().is_writable().unwrap_or(false)
    })
    .unwrap();
    // Written on the old writer, by somebody whom read_only does not stop.
    lab.db1()
        .sql("INSERT INTO app.slips (who, server) VALUES ('late', @@server_id)")
        .unwrap();
    let slipped = lab.db1().value("SELECT @@gtid_binlog_pos").unwrap();
    let (before, number) = slipped.rsplit_once('-').unwrap();
    let last_known = format!("{before}-{}", number.parse::<u64>().unwrap() - 1);
    let output = run.wait(SOON).unwrap();
    eprintln!("{}{}", output.stdout, output.stderr);
    assert_eq!(output.code, 6, "{}{}", output.stdout, output.stderr);
    assert!(output.stdout.contains("STUCK"), "{}", output.stdout);
    assert!(
        output
            .stdout
            .contains(&format!("after {last_known}: unexpected answer `{slipped}`")),
        "`{slipped}` is not named: {}",
        output.stdout
    );
    assert_eq!(lab.writable_hosts(), ["db2"]);
    nothing_is_lost(&lab);

    // Only a person can judge that.
    let refused = mmm(&lab, &["switchover", "--to", "db1"], 4);
    assert!(refused.stderr.contains("mmm clear"), "{refused:?}");
    mmm(&lab, &["clear"], 0);
    mmm(&lab, &["switchover", "--to", "db1"], 0);
}
