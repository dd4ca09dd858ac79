//! The story of a well-known article about MMM, as its user would type it: the cluster comes out of MMM's own files, and
//! the words are MMM's. Three hosts, one writer address, two readers' addresses, a check every 2 s that traps after 4 s,
//! and back ONLINE by itself after 30 s.

use std::path::Path;
use std::time::Duration;

use lab::judge::Expect;
use lab::roster::READER_ADDRESSES;
use lab::sudo::SSH_USER;
use lab::wait::{until, until_some};
use lab::writer::Writers;
use lab::{Lab, Options, Restart};
use mmm::core::hosts::HostState;

use super::cluster::{SOON, mmm};
use super::failover::{slow, unplanned};
use super::order;
use super::verbs::readers;
use super::watch::{ACTS_WITHIN, WRITER, Watch, host, show, tell, until_shown, warns};

/// MMM's own files: on the monitor's box, and one from an agent.
const FILES: [(&str, &str); 3] = [
    (
        "mmm_common_test_mmm.conf",
        include_str!("../golden/import/mmm_common_test_mmm.conf"),
    ),
    (
        "mmm_agent_test_mmm.conf",
        include_str!("../golden/import/mmm_agent_test_mmm.conf"),
    ),
    (
        "mmm_mon_test_mmm.conf",
        include_str!("../golden/import/mmm_mon_test_mmm.conf"),
    ),
];
/// Where MMM kept them.
const MMM: &str = "/etc/mysql-mmm";
const INVENTORY: &str = "/etc/mmm/inventory.yaml";
/// A limit where the article had it without effect, small enough for a test; beside the one that it has.
const MAX_BACKLOG: &str = "\n<check rep_backlog>\n    max_backlog         5\n</check>\n";
/// For a minute after a start a source is fresh, and replicas are given time.
const PAST_THE_EXCUSE: Duration = Duration::from_secs(120);
/// How long a host must be away so that no short downtime brings it back.
const SHORT_DOWNTIME: Duration = Duration::from_secs(60);
const AUTO_SET_ONLINE: Duration = Duration::from_secs(30);

/// The article's files with this lab's addresses and passwords.
fn adapted(lab: &Lab, text: &str) -> String {
    let password = |account: &str| lab.password(account).unwrap();
    let with = [
        ("cluster0", "db".to_owned()),
        ("10.0.0.247", "10.77.0.11".to_owned()),
        ("10.0.0.248", "10.77.0.12".to_owned()),
        ("10.0.0.249", "10.77.0.13".to_owned()),
        ("10.0.0.237", WRITER.to_owned()),
        ("10.0.0.238", READER_ADDRESSES[0].to_owned()),
        ("10.0.0.239", READER_ADDRESSES[1].to_owned()),
        ("repl_user", "mmm_repl".to_owned()),
        ("repl secret", password("replication")),
        ("agent#secret", password("agent")),
        ("\"monitor\" secret", password("monitor")),
    ];
    with.iter()
        .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

/// What MMM's files could not know, filled in by hand: everything else is what `mmm import` wrote.
fn by_hand(written: String) -> String {
    let edits = [
        (
            "# ssh: { user: mmm }",
            format!("ssh: {{ user: {SSH_USER}, identity_file: /root/.ssh/id_ed25519 }}"),
        ),
        // The writer stays where a person or a failover puts it, so that the story is told in its own time.
        (
            "prefer: db1",
            "prefer: db1\n        fail_back: on_command".to_owned(),
        ),
    ];
    edits.iter().fold(written, |written, (from, to)| {
        assert!(written.contains(from), "`{from}` is not in\n{written}");
        written.replacen(from, to, 1)
    })
}

/// A lab whose inventory was made by `mmm import` from MMM's files, and found fit.
fn imported() -> Lab {
    let lab = Lab::up(Options::for_test()).unwrap();
    let box_ = lab.box_();
    box_.install(Path::new(env!("CARGO_BIN_EXE_mmm")), "mmm").unwrap();
    box_.sh(&format!("mkdir {MMM}")).unwrap().ok().unwrap();
    for (name, text) in FILES {
        let mut text = adapted(&lab, text);
        if name.starts_with("mmm_mon") {
            text.push_str(MAX_BACKLOG);
        }
        box_.write(&format!("{MMM}/{name}"), &text).unwrap();
    }
    let told = mmm(&lab, &["import", "--from", MMM, "--to", INVENTORY], 0);
    assert!(
        told.stderr.contains("`ping_ips` names the cluster itself"),
        "{told:?}"
    );
    let written = box_.read(INVENTORY).unwrap();
    for account in ["monitor", "agent", "replication"] {
        let password = lab.password(account).unwrap();
        assert!(written.contains(&password), "of {account}");
        assert!(!format!("{told:?}").contains(&password), "{account}'s is told");
    }
    box_.write(INVENTORY, &by_hand(written)).unwrap();
    mmm(&lab, &["validate"], 0);
    mmm(&lab, &["@test_mmm", "check"], 0);
    lab
}

/// Waits until both readers' addresses are up, one of them on db3 or none.
#[track_caller]
fn until_readers(lab: &Lab, watch: &Watch<'_>, on_db3: bool) {
    let found = until(ACTS_WITHIN, "the readers' addresses", || {
        readers(lab).is_some_and(|holders| holders.contains(&"db3") == on_db3)
    });
    if let Err(error) = found {
        panic!("db3 among them: {on_db3}: {error:#}\n{}", watch.said());
    }
}

/// Waits until `show` gives db3 this state; the excuse of a fresh source may have to pass first.
#[track_caller]
fn until_db3(lab: &Lab, watch: &Watch<'_>, state: HostState) {
    let found = until_shown(lab, &format!("db3 to be {state}"), PAST_THE_EXCUSE, |view| {
        host(view, "db3").state == state
    });
    if let Err(error) = found {
        panic!("{error:#}\n{}", watch.said());
    }
}

/// Waits until `show` prints all of these; what it tells of addresses was seen at the last look at the hosts.
#[track_caller]
fn until_shows(lab: &Lab, lines: &[&str]) {
    until_some(SOON, "`show` to print it", || {
        let shown = lab.box_().mmm(["@test_mmm", "show"])?.stdout;
        if lines.iter().all(|line| shown.contains(line)) {
            return Ok(Some(()));
        }
        anyhow::bail!("not all of {lines:#?} in\n{shown}")
    })
    .unwrap();
}

/// `show` and `checks all`, as MMM printed them.
fn shows_what_is(lab: &Lab) {
    let lines = [
        "  db1(10.77.0.11) master/ONLINE. Roles: writer(10.77.0.100)\n",
        "  db2(10.77.0.12) master/ONLINE. Roles: reader(10.77.0.10",
        "  db3(10.77.0.13) slave/ONLINE. Roles: reader(10.77.0.10",
    ];
    until_shows(lab, &lines);
    let checks = mmm(lab, &["@test_mmm", "checks", "all"], 0).stdout;
    for name in ["db1", "db2", "db3"] {
        for check in ["ping", "mysql", "rep_threads", "rep_backlog"] {
            let line = checks
                .lines()
                .find(|line| line.split_whitespace().take(2).eq([name, check]));
            let line = line.unwrap_or_else(|| panic!("{name} {check} in\n{checks}"));
            assert!(
                line.contains("[last change: ") && line.contains("]  OK"),
                "{line}"
            );
        }
    }
}

/// A replica leaves by a person's word and comes back by another.
fn goes_and_comes(lab: &Lab, watch: &Watch<'_>) {
    let told = mmm(lab, &["@test_mmm", "set_offline", "db3"], 0).stdout;
    assert!(told.contains("db3 is ADMIN_OFFLINE"), "{told}");
    until_shows(lab, &["db3(10.77.0.13) slave/ADMIN_OFFLINE. Roles:\n"]);
    let stopped = lab.db3().replication().unwrap().unwrap();
    assert_eq!((&*stopped.io_running, &*stopped.sql_running), ("No", "No"));
    until_readers(lab, watch, false);
    let told = mmm(lab, &["@test_mmm", "set_online", "db3"], 0).stdout;
    assert!(told.contains("db3 is let back in"), "{told}");
    until_db3(lab, watch, HostState::Online);
    until_readers(lab, watch, true);
}

/// The tables of db3 are held, so that what it receives waits: the lag grows while both threads run.
fn lags_and_catches_up(lab: &Lab, watch: &Watch<'_>) {
    let held = "LOCK TABLES app.writes READ; SELECT SLEEP(600)";
    let holder = lab.db3().spawn(["mariadb", "-e", held]).unwrap();
    until_db3(lab, watch, HostState::ReplicationDelay);
    until_readers(lab, watch, false);
    let status = lab.db3().replication().unwrap().unwrap();
    assert!(status.is_running(), "{status:?}");
    assert!(status.seconds_behind > Some(5), "{status:?}");
    let checks = mmm(lab, &["@test_mmm", "checks", "db3"], 3).stdout;
    assert!(checks.contains("s behind, 5 s allowed"), "{checks}");

    let sleeper = "SELECT id FROM information_schema.processlist WHERE info = 'SELECT SLEEP(600)'";
    let sleeper = lab.db3().value(sleeper).unwrap();
    lab.db3().sql(&format!("KILL {sleeper}")).unwrap();
    drop(holder);
    until_db3(lab, watch, HostState::Online);
    until_readers(lab, watch, true);
}

/// The SQL thread of db3 is stopped by hand.
fn stops_and_goes_on(lab: &Lab, watch: &Watch<'_>) {
    lab.db3().sql("STOP SLAVE SQL_THREAD").unwrap();
    until_db3(lab, watch, HostState::ReplicationFail);
    until_readers(lab, watch, false);
    lab.db3().sql("START SLAVE SQL_THREAD").unwrap();
    until_db3(lab, watch, HostState::Online);
    until_readers(lab, watch, true);
}

#[test]
fn what_a_user_of_mmm_types_does_what_it_did() {
    let lab = imported();
    let watch = Watch::start(&lab);
    until_readers(&lab, &watch, true);
    shows_what_is(&lab);
    // What a held replica misses is soon caught up with.
    let writers = Writers {
        every: Duration::from_millis(20),
        anew_every: Duration::from_millis(50),
        ..Writers::default()
    };
    let load = lab.start_load(writers).unwrap();
    goes_and_comes(&lab, &watch);
    lags_and_catches_up(&lab, &watch);
    stops_and_goes_on(&lab, &watch);
    for (change, because) in [
        ("db3 changed from ONLINE to ADMIN_OFFLINE", "H01"),
        ("db3 changed from ONLINE to REPLICATION_DELAY", "H14"),
        ("db3 changed from REPLICATION_DELAY to ONLINE", "H15"),
        ("db3 changed from ONLINE to REPLICATION_FAIL", "H13"),
    ] {
        changed(&watch, change, &[because]);
    }

    let told = mmm(&lab, &["@test_mmm", "move_role", "writer", "db2"], 0).stdout;
    assert!(told.contains("db2 is the writer"), "{told}");
    load.until_acknowledged("db2", 200, SOON).unwrap();
    order::is_the_writer(&lab, "db2");
    watch.until("all to be well", |view| {
        view.rule == "R03" && view.warnings.is_empty()
    });
    until_shows(
        &lab,
        &["# Role writer prefers db1, and is assigned to db2 at the moment."],
    );

    let report = load
        .stop_and_judge(&[lab.db1(), lab.db2(), lab.db3()], Expect::default())
        .unwrap();
    tell("the article's verbs", &report);
    assert_eq!(report.verdict(), [], "{report}");
    lab.wait_for_equal_tables("app.writes", &["db1", "db2", "db3"], SOON)
        .unwrap();
    assert_eq!(lab.who_has(WRITER).unwrap(), ["db2"]);
}

/// Demands that the monitor's log told a change of state and one of these rules it came by, in one line.
#[track_caller]
fn changed(watch: &Watch<'_>, change: &str, because: &[&str]) {
    let said = watch.said();
    let told = said
        .lines()
        .any(|line| line.contains(change) && because.iter().any(|rule| line.contains(rule)));
    assert!(told, "`{change}` by {because:?} is not in\n{said}");
}

#[test]
fn a_killed_master_is_replaced_and_comes_back_online_by_itself() {
    let lab = imported();
    let watch = Watch::start(&lab);
    until_readers(&lab, &watch, true);
    // It stays away for long, as one whose repair takes a while: nobody's word to its supervisor starts it.
    lab.db1().set_restart(Restart::Never).unwrap();
    let broken = "sed -i 's/^server_id = 1$/server_id = 1\\nno_such_option = 1/' /etc/mysql/my.cnf";
    lab.db1().sh(broken).unwrap().ok().unwrap();
    let load = lab.start_load(slow()).unwrap();
    load.until_acknowledged("db1", 1, SOON).unwrap();
    lab.db1().kill_mysqld().unwrap();

    load.until_acknowledged("db2", 2, ACTS_WITHIN).unwrap();
    let view = watch.until("db1 to be away", |view| {
        host(view, "db1").state == HostState::HardOffline && warns(view, "db1 was replaced as writer")
    });
    assert_eq!(view.writer.as_ref().map(|writer| writer.as_str()), Some("db2"));
    assert_eq!(lab.writable_hosts(), ["db2"]);
    assert_eq!(lab.who_has(WRITER).unwrap(), ["db2"]);
    until_shows(&lab, &["db1(10.77.0.11) master/HARD_OFFLINE. Roles:\n"]);
    let away = std::time::Instant::now();
    until(SHORT_DOWNTIME * 2, "no short downtime", || {
        away.elapsed() > SHORT_DOWNTIME
    })
    .unwrap();
    assert_eq!(host(&show(&lab).unwrap(), "db1").state, HostState::HardOffline);

    lab.db1()
        .sh("sed -i '/^no_such_option/d' /etc/mysql/my.cnf")
        .unwrap()
        .ok()
        .unwrap();
    let view = watch.until("db1 to be back", |view| {
        host(view, "db1").state == HostState::AwaitingRecovery
    });
    let back = host(&view, "db1").since.unwrap();
    let view = watch.until("db1 to be ONLINE by itself", |view| {
        host(view, "db1").state == HostState::Online
    });
    let waited = host(&view, "db1").since.unwrap().since(back);
    assert!(waited >= AUTO_SET_ONLINE, "{waited:?}");
    // From where, hangs on whether it was replaced before its check had failed for the trap period.
    changed(&watch, "to HARD_OFFLINE", &["H05"]);
    // By which, hangs on whether its check or its comparison with the new writer comes first.
    let back = "db1 changed from HARD_OFFLINE to AWAITING_RECOVERY";
    changed(&watch, back, &["H06", "H18"]);
    changed(&watch, "db1 changed from AWAITING_RECOVERY to ONLINE", &["H22"]);
    // What MMM did not have: somebody looks before the next failover within the hour.
    let view = show(&lab).unwrap();
    let run = view.warnings.iter().find_map(|warning| {
        let (_, rest) = warning.hint.split_once("`mmm ack ")?;
        Some(rest.trim_end_matches('`').to_owned())
    });
    mmm(&lab, &["ack", &run.expect("the failover waits for a word")], 0);
    watch.until("all to be well", |view| {
        view.rule == "R03" && view.warnings.is_empty()
    });

    let report = load
        .stop_and_judge(&[lab.db1(), lab.db2(), lab.db3()], unplanned(1))
        .unwrap();
    tell("the article's kill of the active master", &report);
    assert_eq!(report.verdict(), [], "{report}");
    lab.wait_for_equal_tables("app.writes", &["db1", "db2", "db3"], SOON)
        .unwrap();
    order::is_the_writer(&lab, "db2");
}
