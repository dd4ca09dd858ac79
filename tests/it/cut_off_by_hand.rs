//! Work by hand whose program is killed in the middle of one of its duties: out of service, back in, a rebuild, a single
//! duty. Whoever comes next names it; it goes on or is taken back on a person's word, and by itself otherwise.

use lab::roster::READER_ADDRESSES;
use lab::{Lab, Restart, wait};
use mmm::core::hosts::HostState;
use rustix::process::Signal;

use super::cluster::{SOON, cluster, mmm};
use super::halts::{HALTED, waiting};
use super::order;
use super::watch::{ACTS_WITHIN, Watch, host, show, until_shown, warns};

/// The address that stands on `db3` before it leaves.
const ADDRESS: &str = READER_ADDRESSES[0];

/// The hosts where a duty halts.
fn halted(lab: &Lab) -> Vec<&str> {
    let hosts = lab.databases().filter(|host| host.path(HALTED).unwrap().exists());
    hosts.map(lab::host::Host::name).collect()
}

/// Starts a command and kills its program while that duty halts on its host.
fn cut_off_within(lab: &Lab, duty: &str, words: &[&str]) {
    for host in lab.databases() {
        host.sh(&format!("rm -f {HALTED} {HALTED}-on")).unwrap();
    }
    lab.duty_begins_with(duty, &waiting()).unwrap();
    let run = lab.box_().spawn_mmm(words).unwrap();
    let reached = wait::until(SOON, &format!("`{duty}` to be begun"), || !halted(lab).is_empty());
    if let Err(error) = reached {
        panic!("{error:#}\n{}\n{}", run.stdout(), run.stderr());
    }
    run.signal(Signal::KILL).unwrap();
    assert_eq!(run.wait(SOON).unwrap().code, 128 + 9);
    lab.duty_as_shipped(duty).unwrap();
    for name in halted(lab) {
        // It halts on: only whoever ends the shell ends it.
        lab.host(name)
            .unwrap()
            .sh(&format!("mv {HALTED} {HALTED}-on && cp {HALTED}-on {HALTED}"))
            .unwrap();
    }
}

/// Nothing halts any more on any host, and nothing of ours is left running.
fn nothing_is_left(lab: &Lab) {
    for host in lab.databases() {
        host.sh(&format!("rm -f {HALTED} {HALTED}-on")).unwrap();
    }
    order::leaves_no_shell(lab, SOON);
}

fn replicates(lab: &Lab, name: &str) -> bool {
    let status = lab.host(name).unwrap().replication().unwrap();
    status.is_some_and(|status| status.io_running == "Yes" && status.sql_running == "Yes")
}

fn holders(lab: &Lab, address: &str) -> Vec<String> {
    let all = lab
        .databases()
        .filter(|host| host.addresses().unwrap().iter().any(|held| *held == address));
    all.map(|host| host.name().to_owned()).collect()
}

/// What `show` says of the run that was cut off.
#[track_caller]
fn is_named(lab: &Lab, words: &str) {
    let shown = lab.box_().mmm(["show"]).unwrap().stdout;
    assert!(
        shown.contains(" was cut off: ") && shown.contains(words),
        "{shown}"
    );
}

#[test]
fn out_of_service() {
    let lab = cluster();
    mmm(&lab, &["move-role", "reader", "db3", "--address", ADDRESS], 0);
    for duty in ["remove-address", "add-address", "announce", "stop-replication"] {
        eprintln!("-- within `{duty}`");
        if !holders(&lab, ADDRESS).contains(&"db3".to_owned()) {
            mmm(&lab, &["move-role", "reader", "db3", "--address", ADDRESS], 0);
        }
        cut_off_within(&lab, duty, &["set-offline", "db3"]);
        is_named(&lab, "`mmm set-online db3` leads back");
        let before = order::settings(&lab);
        let refused = mmm(&lab, &["undo"], 4).stderr;
        assert!(
            refused.contains("guard: G71") && refused.contains("`mmm set-online db3` leads back"),
            "{refused}"
        );
        assert_eq!(order::settings(&lab), before, "nothing was touched");
        mmm(&lab, &["resume"], 0);
        assert_eq!(holders(&lab, ADDRESS).len(), 1);
        assert_ne!(holders(&lab, ADDRESS), ["db3"]);
        assert!(!replicates(&lab, "db3"));
        nothing_is_left(&lab);
        let told = mmm(&lab, &["history"], 0).stdout;
        assert!(
            told.contains("set-offline-") && !told.contains(" OPEN "),
            "{told}"
        );
        mmm(&lab, &["set-online", "db3"], 0);
        assert!(replicates(&lab, "db3"));
    }
    let over = mmm(&lab, &["resume"], 4).stderr;
    assert!(over.contains("guard: G70"), "{over}");
}

#[test]
fn back_in() {
    let lab = cluster();
    mmm(&lab, &["set-offline", "db3"], 0);
    cut_off_within(&lab, "start-replication", &["set-online", "db3"]);
    is_named(&lab, "takes it back");
    mmm(&lab, &["undo"], 0);
    assert!(!replicates(&lab, "db3"));
    assert_eq!(host(&show(&lab).unwrap(), "db3").state, HostState::AdminOffline);
    nothing_is_left(&lab);
    let told = mmm(&lab, &["history", "latest"], 0).stdout;
    assert!(told.contains(": undone") && told.contains("CUT OFF"), "{told}");

    cut_off_within(&lab, "start-replication", &["set-online", "db3"]);
    mmm(&lab, &["resume"], 0);
    assert!(replicates(&lab, "db3"));
    nothing_is_left(&lab);

    // A monitor that starts ends what was left, and leaves the host as it is: out of service, with its replication stopped still.
    mmm(&lab, &["set-offline", "db3"], 0);
    cut_off_within(&lab, "start-replication", &["set-online", "db3"]);
    let monitor = Watch::start_anyhow(&lab);
    monitor.until_said("set-online-");
    monitor.until("db3 to be out of service", |view| {
        host(view, "db3").state == HostState::AdminOffline && !warns(view, "was cut off")
    });
    assert!(!replicates(&lab, "db3"));
    monitor.kill();
    nothing_is_left(&lab);
}

#[test]
fn a_single_duty() {
    let lab = cluster();
    let duty = ["playbook", "run", "stop-replication", "--at", "db3"];
    cut_off_within(&lab, "stop-replication", &duty);
    is_named(&lab, "performs it again");
    mmm(&lab, &["resume"], 0);
    assert!(!replicates(&lab, "db3"));
    nothing_is_left(&lab);

    cut_off_within(&lab, "stop-replication", &duty);
    mmm(&lab, &["undo", "stop-replication"], 2);
    mmm(&lab, &["undo"], 0);
    wait::until(SOON, "db3 to replicate", || replicates(&lab, "db3")).unwrap();
    nothing_is_left(&lab);

    // With a value, and taken back with it.
    mmm(&lab, &["move-role", "reader", "db3", "--address", ADDRESS], 0);
    let value = format!("address={ADDRESS}");
    let removing = [
        "playbook",
        "run",
        "remove-address",
        "--at",
        "db3",
        "--set",
        &value,
    ];
    cut_off_within(&lab, "remove-address", &removing);
    mmm(&lab, &["resume"], 0);
    assert_eq!(holders(&lab, ADDRESS), [""; 0]);
    cut_off_within(&lab, "remove-address", &removing);
    mmm(&lab, &["undo"], 0);
    assert_eq!(holders(&lab, ADDRESS), ["db3"]);
    nothing_is_left(&lab);

    // A host that cannot be reached holds up nobody but those who ask for it.
    cut_off_within(&lab, "stop-replication", &duty);
    lab.db3().power_off().unwrap();
    let refused = mmm(&lab, &["undo"], 4).stderr;
    assert!(refused.contains("guard: G73"), "{refused}");
    mmm(&lab, &["set-offline", "db2"], 0);
    mmm(&lab, &["set-online", "db2"], 0);
    is_named(&lab, "performs it again");
    lab.db3().boot().unwrap();
    mmm(&lab, &["set-offline", "db2"], 0);
    let told = mmm(&lab, &["history"], 0).stdout;
    assert!(!told.contains(" OPEN ") && told.contains(" FAILED "), "{told}");
}

/// Only a host that cannot be reached is waited for, and not by those who have no part of it; a person may say that he has
/// looked after it.
#[test]
fn a_host_that_is_gone_holds_up_nobody_else() {
    let lab = cluster();
    mmm(&lab, &["move-role", "reader", "db3", "--address", ADDRESS], 0);
    cut_off_within(&lab, "announce", &["set-offline", "db3"]);
    lab.db3().power_off().unwrap();
    let moved = mmm(&lab, &["switchover", "--to", "db2"], 0);
    assert!(!moved.stderr.contains("G73"), "{}", moved.stderr);
    mmm(&lab, &["switchover", "--to", "db1"], 0);
    is_named(&lab, "`mmm set-online db3` leads back");
    for (words, guard) in [("resume", "guard: G73"), ("undo", "guard: G71")] {
        let refused = mmm(&lab, &[words, "set-offline"], 4).stderr;
        assert!(refused.contains(guard), "{refused}");
    }
    mmm(&lab, &["clear"], 0);
    let told = mmm(&lab, &["history", "set-offline"], 0).stdout;
    assert!(
        told.contains(": FAILED") && told.contains("a person has looked after it"),
        "{told}"
    );
}

/// What is left on a host whose server hangs is nothing that a failover waits for.
#[test]
fn it_holds_up_no_failover() {
    let lab = cluster();
    cut_off_within(&lab, "stop-replication", &["set-offline", "db3"]);
    lab.db3().stop_mysqld().unwrap();
    lab.db1().set_restart(Restart::Never).unwrap();
    lab.db1().kill_mysqld().unwrap();
    mmm(&lab, &["failover", "--to", "db2"], 0);
    assert_eq!(lab.db2().value("SELECT @@global.read_only").unwrap(), "0");
    let told = mmm(&lab, &["history"], 0).stdout;
    assert!(told.contains(" OPEN "), "nobody has ended it: {told}");
    is_named(&lab, "`mmm set-online db3` leads back");
    lab.db3().cont_mysqld().unwrap();
    mmm(&lab, &["resume", "set-offline"], 0);
    assert!(!replicates(&lab, "db3"));
    let told = mmm(&lab, &["history"], 0).stdout;
    assert!(!told.contains(" OPEN "), "{told}");
}

/// Makes a copy of the writer with the tools of the server; what it cannot do is begun anew.
const REBUILD: &str = "\
duty: copy-the-writer
says: make {{ host.name }} a copy of {{ source.name }}
needs: [source]
undo: nothing
within: 60s
steps:
  - name: Forget its own history
    run: mariadb --execute='STOP SLAVE; RESET MASTER; SET GLOBAL gtid_slave_pos = \"\"; SET SESSION sql_log_bin = 0; DROP TABLE IF EXISTS app.handed'
  - name: Halt
    run: 'HALT'
  - name: Copy
    run: >-
      mariadb-dump --host={{ source.address }} --user=copier --single-transaction --gtid --master-data=1 --databases app |
      mariadb --init-command='SET SESSION sql_log_bin = 0'
";

fn declare_rebuild(lab: &Lab, halt: &str) {
    lab.use_own_playbooks().unwrap();
    lab.write_playbook("duties/copy-the-writer.yaml", &REBUILD.replace("HALT", halt))
        .unwrap();
}

/// A writer that was replaced while it had a row more than anybody else, and whose `rebuild` copies the new one.
fn with_surplus() -> Lab {
    let lab = cluster();
    lab.write_inventory(&lab.inventory_yaml().replace(
        "    writer_role:",
        "    rebuild: { duty: copy-the-writer }\n    writer_role:",
    ))
    .unwrap();
    lab.db1()
        .sql("CREATE TABLE app.handed (id INT PRIMARY KEY); INSERT INTO app.handed VALUES (1), (2)")
        .unwrap();
    lab.wait_for_equal_tables("app.handed", &["db1", "db2", "db3"], SOON)
        .unwrap();
    let rights = "CREATE USER mmm@localhost IDENTIFIED VIA unix_socket; GRANT ALL ON *.* TO mmm@localhost; \
                  CREATE USER copier@'%'; GRANT ALL ON *.* TO copier@'%'";
    for host in [lab.db1(), lab.db2()] {
        host.sql(&format!("SET SESSION sql_log_bin = 0; {rights}"))
            .unwrap();
    }
    for host in [lab.db2(), lab.db3()] {
        host.sql("STOP SLAVE IO_THREAD").unwrap();
    }
    lab.db1().sql("INSERT INTO app.handed VALUES (3)").unwrap();
    lab.db1().set_restart(Restart::Never).unwrap();
    lab.db1().kill_mysqld().unwrap();
    mmm(&lab, &["failover", "--to", "db2", "--allow-loss"], 0);
    mmm(&lab, &["rejoin", "db1"], 4);
    lab
}

#[test]
fn a_rebuild() {
    let lab = with_surplus();

    // While it is at work nobody else touches the host, and nobody takes it for one that was cut off.
    declare_rebuild(&lab, &waiting());
    let run = lab.box_().spawn_mmm(["rejoin", "db1", "--discard"]).unwrap();
    wait::until(SOON, "the rebuild to halt", || halted(&lab) == ["db1"]).unwrap();
    let shown = lab.box_().mmm(["show"]).unwrap().stdout;
    assert!(!shown.contains(" was cut off: "), "{shown}");
    for words in [
        &["rejoin", "db1"][..],
        &["rejoin", "db1", "--discard"],
        &["undo"],
        &["resume"],
    ] {
        let refused = mmm(&lab, words, 4).stderr;
        assert!(
            refused.contains("at work on it") || refused.contains("guard: G71"),
            "{refused}"
        );
    }
    assert_eq!(halted(&lab), ["db1"], "it goes on");
    run.signal(Signal::KILL).unwrap();
    assert_eq!(run.wait(SOON).unwrap().code, 128 + 9);

    is_named(&lab, "rebuilds db1 anew");
    let refused = mmm(&lab, &["undo"], 4).stderr;
    assert!(refused.contains("guard: G71"), "{refused}");
    // It has nothing that the writer has not, but neither is it whole: it does not follow.
    let refused = mmm(&lab, &["rejoin", "db1"], 4).stderr;
    assert!(
        refused.contains("guard: G49") && refused.contains("--rebuilt"),
        "{refused}"
    );
    nothing_is_left(&lab);
    assert!(
        lab.db1()
            .replication()
            .unwrap()
            .is_none_or(|status| status.sql_running == "No")
    );
    // Nor does it follow where a monitor watches, which only tells of it.
    let monitor = Watch::start_anyhow(&lab);
    monitor.until("db1 to be kept out", |view| warns(view, "db1 is kept out"));
    monitor.kill();
    // One that fails leaves it so.
    declare_rebuild(&lab, "false");
    mmm(&lab, &["rejoin", "db1", "--discard"], 3);
    mmm(&lab, &["rejoin", "db1"], 4);
    declare_rebuild(&lab, "true");
    let done = mmm(&lab, &["rejoin", "db1", "--discard"], 0);
    assert!(done.stderr.contains("its rows are in `"), "{}", done.stderr);
    lab.db3().sql("START SLAVE").unwrap();
    lab.wait_for_equal_tables("app.handed", &["db1", "db2", "db3"], SOON)
        .unwrap();
    until_shown(&lab, "all to be well", ACTS_WITHIN, |view| {
        view.rule == "R03" && !warns(view, "kept out")
    })
    .unwrap();
}

#[test]
fn a_rebuild_that_a_person_finishes_by_other_means() {
    let lab = with_surplus();
    declare_rebuild(&lab, "false");
    mmm(&lab, &["rejoin", "db1", "--discard"], 3);
    let refused = mmm(&lab, &["rejoin", "db1"], 4).stderr;
    assert!(refused.contains("guard: G49"), "{refused}");
    let planned = mmm(&lab, &["plan", "rejoin", "db1"], 4).stdout;
    assert!(planned.contains("G49"), "{planned}");
    let planned = mmm(&lab, &["plan", "rejoin", "db1", "--discard"], 0).stdout;
    assert!(planned.contains("db1 loses what only it has: 0-1-"), "{planned}");
    let shown = lab.box_().mmm(["show"]).unwrap().stdout;
    assert!(
        shown.contains("its rebuild has not come to its end") && shown.contains("/surplus/"),
        "{shown}"
    );
    let copy = format!(
        "mariadb-dump --host={} --user=copier --single-transaction --gtid --master-data=1 --databases app | \
         mariadb --init-command='SET SESSION sql_log_bin = 0'",
        lab.db2().address()
    );
    lab.db1().sh(&copy).unwrap().ok().unwrap();
    mmm(&lab, &["rejoin", "db1", "--rebuilt"], 0);
    lab.db3().sql("START SLAVE").unwrap();
    lab.wait_for_equal_tables("app.handed", &["db1", "db2", "db3"], SOON)
        .unwrap();
    let again = mmm(&lab, &["rejoin", "db1", "--rebuilt"], 4).stderr;
    assert!(again.contains("guard: G40"), "{again}");
}
