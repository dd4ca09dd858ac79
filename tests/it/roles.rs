//! Roles other than the writer, the writer's way back to the host it prefers, and addresses of IPv6.

use std::time::Duration;

use lab::Lab;
use lab::wait::until;
use mmm::core::hosts::HostState;

use super::cluster::{cluster_with, mmm};
use super::watch::{ACTS_WITHIN, WRITER, Watch, host, until_shown, warns};

/// The address of a role that one host has and that is not the writer's.
const REPORT: &str = "10.77.0.103";
/// Addresses of readers that speak IPv6.
const READERS6: [&str; 2] = ["fd77::101", "fd77::102"];
/// A fail-back waits for a minute after a failover.
const FAILS_BACK_WITHIN: Duration = Duration::from_secs(150);

/// The lab's roles, with one more that is exclusive.
fn with_report(yaml: String) -> String {
    let report = format!(
        "    roles:\n      report: {{ mode: exclusive, hosts: [db2, db3], addresses: [{REPORT}] }}\n"
    );
    yaml.replace("    roles:\n", &report)
}

/// Which of our addresses a host is shown to hold.
fn shown(watch: &Watch<'_>, what: &str, address: &str, on: &str) {
    watch.until(what, |view| {
        let held = |name: &str| {
            let roles = &host(view, name).roles;
            roles.iter().any(|held| held.address.to_string() == address)
        };
        let others = ["db1", "db2", "db3"].into_iter().filter(|name| *name != on);
        held(on) && !others.into_iter().any(held) && view.warnings.is_empty()
    });
}

fn holder(lab: &Lab, address: &str) -> &'static str {
    let holders = lab.who_has(address).unwrap();
    assert_eq!(holders.len(), 1, "{address}: {holders:?}");
    holders[0]
}

#[test]
fn roles_that_are_not_the_writers_move_by_command_and_stay() {
    let lab = cluster_with(&with_report);
    let watch = Watch::start(&lab);
    until(ACTS_WITHIN, "every address to be somewhere", || {
        let everywhere = [REPORT, "10.77.0.101", "10.77.0.102"].map(|address| lab.who_has(address));
        everywhere
            .iter()
            .all(|found| found.as_ref().is_ok_and(|hosts| hosts.len() == 1))
    })
    .unwrap();

    let from = holder(&lab, REPORT);
    let to = if from == "db2" { "db3" } else { "db2" };
    let moved = mmm(&lab, &["@test_mmm", "move_role", "report", to], 0);
    assert!(
        moved.stdout.contains(&format!("{REPORT} is on {to}")),
        "{}",
        moved.stdout
    );
    assert_eq!(
        lab.who_has(REPORT).unwrap(),
        [to],
        "the old holder has let go when the command ends"
    );
    assert!(lab.answers("client", REPORT, Duration::from_secs(1)).unwrap());
    assert_eq!(lab.writable_hosts(), ["db1"], "nobody's writability was touched");
    mmm(&lab, &["move-role", "report", to], 4);
    mmm(&lab, &["move-role", "report", "db1"], 2);
    mmm(&lab, &["move-role", "report", from, "--force"], 2);

    let refused = mmm(&lab, &["move-role", "reader", "db1"], 4);
    assert!(refused.stderr.contains("--address"), "{}", refused.stderr);
    for reader in ["10.77.0.101", "10.77.0.102"] {
        // From wherever it is: what a host holds already is not moved there, and may be spread again.
        let arguments = ["move-role", "reader", "db2", "--address", reader];
        let code = lab.box_().mmm(arguments).unwrap().code;
        assert!([0, 4].contains(&code), "{code}");
        mmm(&lab, &["move-role", "reader", "db1", "--address", reader], 0);
    }
    // Uneven by more than one now, and a monitor leaves it: a person wants it so.
    for (address, host) in [(REPORT, to), ("10.77.0.101", "db1"), ("10.77.0.102", "db1")] {
        shown(&watch, "it to stay where it was put", address, host);
    }
    let said = watch.said();
    assert!(!said.contains(&format!("{to}: took {REPORT} away")), "{said}");

    // A machine that is nobody of ours takes one of the addresses.
    let take = "ip address add 10.77.0.101/32 dev eth0";
    lab.client().sh(take).unwrap().ok().unwrap();
    watch.until("the double to be noticed", |view| {
        warns(view, "another machine on the network answers for 10.77.0.101")
    });
    watch.until_said("another machine on its network answers for it too");
    lab.client()
        .sh("ip address del 10.77.0.101/32 dev eth0")
        .unwrap()
        .ok()
        .unwrap();
    watch.until("the double to be gone", |view| view.warnings.is_empty());

    // In passive mode addresses are only written down.
    let refused = mmm(&lab, &["set-ip", REPORT, from], 4);
    assert!(refused.stderr.contains("guard: G55 "), "{}", refused.stderr);
    mmm(&lab, &["set-passive"], 0);
    mmm(&lab, &["move-role", "report", from], 4);
    mmm(&lab, &["set_ip", REPORT, from], 0);
    assert_eq!(lab.who_has(REPORT).unwrap(), [to]);
    mmm(&lab, &["set-active"], 0);
    shown(&watch, "it to go where it was set", REPORT, from);
}

#[test]
fn the_writer_goes_back_to_the_host_it_prefers_once_that_has_caught_up() {
    let lab = cluster_with(&|yaml| {
        yaml.replace(
            &format!("hosts: [db1, db2], addresses: [{WRITER}] }}"),
            &format!("hosts: [db1, db2], addresses: [{WRITER}], prefer: db1 }}"),
        )
    });
    let watch = Watch::start(&lab);
    lab.db1().power_off().unwrap();
    watch.until("db2 to take over", |view| {
        view.writer
            .as_ref()
            .is_some_and(|writer| writer.as_str() == "db2")
    });
    lab.db1().boot().unwrap();
    watch.until("db1 to be back beside it", |view| {
        host(view, "db1").state == HostState::Online && view.writer.as_ref().unwrap().as_str() == "db2"
    });
    let back = until_shown(&lab, "the writer to go back", FAILS_BACK_WITHIN, |view| {
        view.writer
            .as_ref()
            .is_some_and(|writer| writer.as_str() == "db1")
            && view.warnings.is_empty()
    });
    back.unwrap_or_else(|error| panic!("{error:#}\n{}", watch.said()));
    assert_eq!(lab.writable_hosts(), ["db1"]);
    assert_eq!(lab.who_has(WRITER).unwrap(), ["db1"]);
    assert!(
        watch
            .said()
            .contains("db1 is the writer; writes were refused for"),
        "{}",
        watch.said()
    );
}

#[test]
fn readers_that_speak_ipv6_leave_a_replica_that_does_not_apply_and_come_back() {
    let lab = cluster_with(&|yaml| {
        // The replica is not excused because its writer has only just been found.
        let yaml = yaml.replace("recovery: {", "recovery: { excuse_peer_for: 0s,");
        let readers = format!(
            "      reader: {{ mode: balanced, hosts: [db2, db3], addresses: [{}] }}",
            READERS6.join(", ")
        );
        let lines = yaml.lines().map(|line| {
            if line.starts_with("      reader:") {
                readers.as_str()
            } else {
                line
            }
        });
        lines.collect::<Vec<_>>().join("\n") + "\n"
    });
    for (place, host) in lab.databases().chain([lab.client()]).enumerate() {
        let on = format!(
            "sysctl -q -w net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.eth0.disable_ipv6=0 &&
             ip address replace fd77::{}/64 dev eth0 nodad",
            place + 1
        );
        host.sh(&on).unwrap().ok().unwrap();
    }
    mmm(&lab, &["check"], 0);
    let watch = Watch::start(&lab);
    let held_by = |name: &str| {
        let holds = |address: &&&str| lab.who_has(address).is_ok_and(|hosts| hosts == [name]);
        READERS6.iter().filter(holds).count()
    };
    let even = || held_by("db2") == 1 && held_by("db3") == 1;
    until(ACTS_WITHIN, "one on each", even).unwrap();
    let address = READERS6
        .into_iter()
        .find(|ip| lab.who_has(ip).unwrap() == ["db3"])
        .unwrap();
    // The client knows where it is, and would go on asking db3 for half a minute.
    assert!(lab.answers("client", address, Duration::from_secs(1)).unwrap());

    lab.db3().sql("STOP SLAVE SQL_THREAD").unwrap();
    until(ACTS_WITHIN, "both to be on db2", || held_by("db2") == 2)
        .unwrap_or_else(|error| panic!("{error:#}\n{}", watch.said()));
    let told = || {
        lab.answers("client", address, Duration::from_secs(1))
            .is_ok_and(|answered| answered)
    };
    until(Duration::from_secs(2), "the client to know", told).unwrap();
    watch.until("db3 to be told about", |view| {
        host(view, "db3").state == HostState::ReplicationFail
    });

    lab.db3().sql("START SLAVE").unwrap();
    until(ACTS_WITHIN, "one on each again", even).unwrap();

    // A machine that is nobody of ours takes one of them.
    let take = |verb: &str, options: &str| format!("ip address {verb} {address}/128 dev eth0{options}");
    lab.client().sh(&take("add", " nodad")).unwrap().ok().unwrap();
    watch.until("the double to be noticed", |view| {
        warns(
            view,
            &format!("another machine on the network answers for {address}"),
        )
    });
    lab.client().sh(&take("del", "")).unwrap().ok().unwrap();
    watch.until("the double to be gone", |view| {
        !warns(view, "another machine on the network")
    });
    let at_rest = lab
        .db2()
        .sh("cat /proc/sys/net/ipv6/conf/eth0/ndisc_notify /proc/sys/net/ipv6/conf/eth0/accept_dad");
    assert_eq!(
        at_rest.unwrap().stdout.split_whitespace().collect::<Vec<_>>(),
        ["0", "1"]
    );
}

#[test]
fn a_forced_move_of_the_writer_lets_the_host_catch_up_first_or_says_what_would_be_lost() {
    let lab = cluster_with(&|yaml| yaml);
    lab.db2().sql("STOP SLAVE SQL_THREAD").unwrap();
    lab.db1().sql("CREATE DATABASE meanwhile").unwrap();
    mmm(&lab, &["move-role", "writer", "db2"], 4);
    let planned = mmm(
        &lab,
        &[
            "plan",
            "move-role",
            "writer",
            "db2",
            "--force",
            "--save",
            "/root/forced.json",
        ],
        0,
    );
    for words in [
        "START SLAVE",
        "wait    until it replicates and lags 1 s at most, for at most 1m",
    ] {
        assert!(
            planned.stdout.contains(words),
            "no `{words}` in {}",
            planned.stdout
        );
    }
    mmm(&lab, &["apply", "/root/forced.json"], 0);
    assert_eq!(lab.writable_hosts(), ["db2"]);
    let again = mmm(&lab, &["apply", "/root/forced.json"], 4);
    assert!(again.stderr.contains("guard: G90"), "{}", again.stderr);
    lab.db2()
        .sql("CREATE TABLE meanwhile.rows_kept (id INT PRIMARY KEY)")
        .unwrap();

    // What db1 has of its own stands in the way of what db2 writes next.
    until(ACTS_WITHIN, "db1 to have the table", || {
        let own = "SET SESSION sql_log_bin = 0; INSERT INTO meanwhile.rows_kept VALUES (1)";
        lab.db1().sql(own).is_ok()
    })
    .unwrap();
    lab.db2()
        .sql("INSERT INTO meanwhile.rows_kept VALUES (1)")
        .unwrap();
    until(ACTS_WITHIN, "replication on db1 to stop", || {
        let status = lab.db1().sql("SHOW SLAVE STATUS");
        status.is_ok_and(|rows| format!("{rows:?}").contains("Duplicate entry"))
    })
    .unwrap();
    let refused = mmm(&lab, &["move-role", "writer", "db1", "--force"], 4);
    assert!(refused.stderr.contains("it would lose"), "{}", refused.stderr);
    assert!(refused.stderr.contains("guard: G37 "), "{}", refused.stderr);
    assert_eq!(lab.writable_hosts(), ["db2"], "nothing was touched");
}
