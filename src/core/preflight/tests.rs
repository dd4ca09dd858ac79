//! The preflight findings, each provoked by one change to a cluster as it should be.

use std::time::Duration;

use super::*;
use crate::core::cluster::{
    CheckTiming, Checks, FailBack, FailoverPolicy, HostMode, Recovery, Role, RoleMode, StartPolicy,
    SwitchoverPolicy, Unfenced,
};
use crate::core::facts::{
    EventScheduler, Flavour, GtidFacts, IoThread, ReceivedGtid, Refusal, ReplicationFacts, SqlThread,
    UsingGtid, Version,
};

pub(super) fn cluster() -> Cluster {
    let second = Duration::from_secs(1);
    let timing = CheckTiming {
        every: second,
        trap_after: second,
        timeout: second,
        max_backlog: second,
    };
    let host = |name: &str, address: &str, mode, peer: Option<&str>| Host {
        name: name.into(),
        address: address.parse().unwrap(),
        mode,
        peer: peer.map(HostName::from),
        promotion: Default::default(),
    };
    Cluster {
        name: "test_mmm".to_owned(),
        hosts: vec![
            host("db1", "10.0.0.1", HostMode::Master, Some("db2")),
            host("db2", "10.0.0.2", HostMode::Master, Some("db1")),
            host("db3", "10.0.0.3", HostMode::Slave, None),
        ],
        roles: vec![Role {
            name: "writer".to_owned(),
            mode: RoleMode::Exclusive,
            hosts: vec!["db1".into(), "db2".into()],
            addresses: vec!["10.0.0.10".parse().unwrap()],
            prefer: None,
            fail_back: FailBack::CaughtUp,
        }],
        writer_role: "writer".to_owned(),
        checks: Checks {
            ping: timing,
            mysql: timing,
            rep_threads: timing,
            rep_backlog: timing,
        },
        switchover: SwitchoverPolicy::default(),
        failover: FailoverPolicy {
            unfenced: Unfenced::Never,
            automatic: false,
            ..FailoverPolicy::default()
        },
        start: StartPolicy::default(),
        recovery: Recovery::default(),
    }
}

fn channel(source: u32) -> ReplicationFacts {
    ReplicationFacts {
        channel: String::new(),
        source_host: format!("10.0.0.{source}"),
        source_port: 3306,
        source_user: "repl".to_owned(),
        source_server_id: Some(source),
        source_uuid: None,
        io: IoThread::Yes,
        sql: SqlThread::Yes,
        lag: Some(Duration::ZERO),
        io_error: None,
        sql_error: None,
        using_gtid: UsingGtid::SlavePos,
        received: None,
        executed: None,
        received_gtid: ReceivedGtid::None,
        heartbeats: None,
        relay_log_bytes: 0,
        delay: Duration::ZERO,
    }
}

/// A host of a cluster in which nothing is wrong; `db1` writes.
fn healthy(id: u32, source: u32) -> Inspected {
    let all = |kind| {
        let version = Version {
            flavour: Flavour::Mariadb,
            numbers: (10, 11, 19),
        };
        let held = needs(kind, version)
            .iter()
            .map(|need| need.any_of[0].to_owned())
            .collect();
        (kind, Asked::Told(held))
    };
    Inspected {
        host: format!("db{id}").as_str().into(),
        facts: Reach::Up(MysqlFacts {
            version: Version {
                flavour: Flavour::Mariadb,
                numbers: (10, 11, 19),
            },
            server_id: id,
            server_uuid: None,
            hostname: format!("db{id}"),
            read_only: id != 1,
            super_read_only: None,
            uptime: Duration::from_secs(100),
            log_bin: true,
            log_slave_updates: true,
            binlog: None,
            gtid: GtidFacts::None,
            channel: String::new(),
            foreign: Vec::new(),
            replicas: vec![channel(source)],
            event_scheduler: EventScheduler::Off,
            semi_sync: None,
            prepared_xa: Some(0),
            filters: None,
        }),
        version: None,
        settings: Asked::Told(Settings {
            binlog_format: Some("ROW".to_owned()),
            auto_increment_increment: 2,
            auto_increment_offset: u64::from(id),
            relay_log_recovery: true,
            sync_binlog: 1,
            flush_log_at_commit: Some(1),
            filters: Vec::new(),
        }),
        grants: vec![
            all(AccountKind::Monitor),
            all(AccountKind::Agent),
            all(AccountKind::Replication),
        ],
        read_only_at_start: Asked::Told(Some(true)),
        replication_logins: vec![("db3".into(), Asked::Told(LoginTrial::Accepted))],
        agent_logins: vec![
            (LoginFrom::Box, Asked::Told(LoginTrial::Accepted)),
            (LoginFrom::ItsHost, Asked::Told(LoginTrial::Accepted)),
        ],
        shell: Ok(shell(id)),
        ping: CheckResult::Ok("0.1 ms".to_owned()),
    }
}

/// What such a host offers; `db1` holds the writer address.
fn shell(id: u32) -> ShellSeen {
    let programs = programs([]);
    let writer = "10.0.0.10".parse().unwrap();
    ShellSeen {
        wanted: programs.clone(),
        programs,
        arping: "arping from iputils 20221126".to_owned(),
        device: ("eth0".to_owned(), true),
        tmp: Tmp {
            room_kib: Some(1024),
            writable: true,
        },
        unit: Some(("mariadb.service".to_owned(), Asked::Told("active".to_owned()))),
        sudo: Asked::Told(vec![SudoAnswer {
            command: "ip address flush to 10.0.0.10/32".to_owned(),
            status: 0,
            said: "/usr/sbin/ip address flush to 10.0.0.10/32".to_owned(),
        }]),
        sudo_rules: String::new(),
        unready: Vec::new(),
        held: Ok((id == 1).then_some(writer).into_iter().collect()),
        clock_ahead_s: 0,
    }
}

pub(super) fn seen(one: &mut Inspected) -> &mut ShellSeen {
    one.shell.as_mut().unwrap()
}

pub(super) fn trio() -> Vec<Inspected> {
    vec![healthy(1, 2), healthy(2, 1), healthy(3, 1)]
}

fn facts(one: &mut Inspected) -> &mut MysqlFacts {
    match &mut one.facts {
        Reach::Up(facts) => facts,
        other => unreachable!("{other:?}"),
    }
}

fn settings(one: &mut Inspected) -> &mut Settings {
    match &mut one.settings {
        Asked::Told(settings) => settings,
        Asked::NotTold(why) => unreachable!("{why}"),
    }
}

/// What is found after one change: names and hosts, errors first.
pub(super) fn found(change: impl FnOnce(&mut Vec<Inspected>)) -> Vec<(Name, String)> {
    let mut inspected = trio();
    change(&mut inspected);
    let findings = evaluate(&cluster(), &inspected);
    assert!(
        findings
            .iter()
            .all(|finding| !finding.hint.is_empty() && !finding.because.is_empty())
    );
    findings
        .into_iter()
        .map(|finding| (finding.name, finding.host.0))
        .collect()
}

pub(super) fn only(name: Name, host: &str) -> Vec<(Name, String)> {
    vec![(name, host.to_owned())]
}

#[test]
fn a_healthy_cluster_has_no_findings() {
    assert_eq!(found(|_| ()), []);
}

#[test]
fn servers_must_be_told_apart() {
    assert_eq!(
        found(|all| {
            facts(&mut all[2]).server_id = 2;
        }),
        only(Name::EqualServerIds, "db3")
    );
    assert_eq!(
        found(|all| facts(&mut all[2]).version = Version {
            flavour: Flavour::Mysql,
            numbers: (5, 6, 24)
        }),
        // Its privileges are judged by what MySQL 5.6 calls them.
        [
            (Name::PrivilegeMissing, "db3".to_owned()),
            (Name::MixedFlavours, "db3".to_owned()),
            (Name::PrivilegeMissing, "db3".to_owned())
        ]
    );
}

#[test]
fn logs_must_be_kept() {
    assert_eq!(
        found(|all| facts(&mut all[0]).log_bin = false),
        only(Name::NoBinaryLog, "db1")
    );
    assert_eq!(
        found(|all| facts(&mut all[1]).log_slave_updates = false),
        only(Name::ReplicatedWritesNotLogged, "db2")
    );
    assert_eq!(
        found(|all| settings(&mut all[2]).relay_log_recovery = false),
        only(Name::RelayLogNotRecovered, "db3")
    );
    assert_eq!(
        found(|all| settings(&mut all[0]).sync_binlog = 0),
        only(Name::NotCrashSafe, "db1")
    );
}

#[test]
fn settings_must_agree() {
    assert_eq!(
        found(|all| settings(&mut all[1]).auto_increment_offset = 1),
        only(Name::AutoIncrementClashes, "db2")
    );
    assert_eq!(
        found(|all| settings(&mut all[0]).auto_increment_increment = 1),
        only(Name::AutoIncrementClashes, "db2")
    );
    assert_eq!(
        found(|all| settings(&mut all[2]).auto_increment_increment = 1),
        [],
        "a slave never makes keys of its own"
    );
    assert_eq!(
        found(|all| settings(&mut all[2]).binlog_format = Some("MIXED".to_owned())),
        only(Name::BinlogFormatsDiffer, "db3")
    );
    assert_eq!(
        found(|all| settings(&mut all[2]).filters = vec!["replicate_do_db=shop".to_owned()]),
        only(Name::FiltersDiffer, "db3")
    );
}

#[test]
fn a_server_must_come_back_read_only() {
    for said in [None, Some(false)] {
        assert_eq!(
            found(|all| all[0].read_only_at_start = Asked::Told(said)),
            only(Name::WritableAtStart, "db1")
        );
    }
}

#[test]
fn one_master_writes() {
    assert_eq!(
        found(|all| facts(&mut all[1]).read_only = false),
        only(Name::SeveralWriters, "db2")
    );
    assert_eq!(
        found(|all| facts(&mut all[0]).read_only = true),
        [
            (Name::WriterAddressMisplaced, "db1".to_owned()),
            (Name::NoWriter, "db1".to_owned())
        ]
    );
    assert_eq!(
        found(|all| facts(&mut all[2]).read_only = false),
        only(Name::ReplicaWritable, "db3")
    );
}

#[test]
fn everyone_follows_as_the_inventory_says() {
    assert_eq!(
        found(|all| facts(&mut all[1]).replicas.clear()),
        only(Name::NotReplicating, "db2")
    );
    assert_eq!(
        found(|all| facts(&mut all[0]).replicas[0] = channel(3)),
        only(Name::WrongSource, "db1")
    );
    assert_eq!(
        found(|all| facts(&mut all[2]).replicas[0] = channel(2)),
        [],
        "a slave may follow either"
    );
    assert_eq!(
        found(|all| facts(&mut all[2]).replicas[0].sql = SqlThread::No),
        only(Name::ReplicationStopped, "db3")
    );
    assert_eq!(
        found(|all| facts(&mut all[2]).replicas[0].using_gtid = UsingGtid::No),
        only(Name::NoGtid, "db3")
    );
}

#[test]
fn other_channels_are_told_of() {
    let beside = |all: &mut Vec<Inspected>, host: usize| facts(&mut all[host]).foreign.push(channel(9));
    assert_eq!(found(|all| beside(all, 1)), only(Name::ForeignChannel, "db2"));
    assert_eq!(found(|all| beside(all, 2)), [], "it is never the writer");
    let elsewhere = |all: &mut Vec<Inspected>| {
        let db3 = facts(&mut all[2]);
        db3.channel = "cluster".to_owned();
        db3.foreign = std::mem::take(&mut db3.replicas);
    };
    assert_eq!(found(elsewhere), only(Name::NotReplicating, "db3"));
    let old = |all: &mut Vec<Inspected>| {
        for one in all {
            facts(one).channel = "cluster".to_owned();
            facts(one).version = Version {
                flavour: crate::core::facts::Flavour::Mysql,
                numbers: (5, 6, 24),
            };
        }
    };
    let unknown = found(old);
    let named = unknown.iter().filter(|(name, _)| *name == Name::ChannelsUnknown);
    assert_eq!(named.count(), 3, "{unknown:?}");
}

#[test]
fn a_source_is_known_by_its_id_or_else_by_its_address() {
    let named =
        |all: &mut Vec<Inspected>| facts(&mut all[2]).replicas[0].source_host = "db1.example".to_owned();
    assert_eq!(found(named), []);
    let unconnected = |all: &mut Vec<Inspected>| facts(&mut all[2]).replicas[0].source_server_id = None;
    assert_eq!(found(unconnected), []);
    let neither = |all: &mut Vec<Inspected>| {
        named(all);
        unconnected(all);
    };
    assert_eq!(found(neither), only(Name::WrongSource, "db3"));
}

#[test]
fn accounts_must_be_able() {
    assert_eq!(
        found(|all| all[0].grants[0].1 = Asked::Told(vec!["BINLOG MONITOR".to_owned()])),
        only(Name::PrivilegeMissing, "db1")
    );
    let super_is_not_read_only_admin = |all: &mut Vec<Inspected>| {
        all[0].grants[1].1 = Asked::Told(vec!["SUPER".to_owned(), "PROCESS".to_owned()]);
    };
    assert_eq!(
        found(super_is_not_read_only_admin),
        only(Name::PrivilegeMissing, "db1")
    );
    assert_eq!(
        found(
            |all| all[1].replication_logins[0].1 = Asked::Told(LoginTrial::Refused("error 1045".to_owned()))
        ),
        only(Name::ReplicationLoginRefused, "db2")
    );
}

#[test]
fn a_privilege_that_hides_the_facts_is_named() {
    let blind = |all: &mut Vec<Inspected>| {
        all[2].version = all[2].facts.up().map(|facts| facts.version);
        all[2].facts = Reach::Refusing {
            reason: Refusal::Privilege,
            text: "error 1227".to_owned(),
        };
        all[2].grants[0].1 = Asked::Told(vec!["USAGE".to_owned()]);
    };
    let names: Vec<Name> = found(blind).into_iter().map(|(name, _)| name).collect();
    // The second privilege is one that it can do without.
    let missing = Name::PrivilegeMissing;
    assert_eq!(names, [Name::ServerNotReached, missing, missing]);
}

#[test]
fn what_was_not_asked_is_never_a_pass() {
    let why = || "no route".to_owned();
    assert_eq!(
        found(|all| {
            all.pop();
        }),
        only(Name::NotAsked, "db3")
    );
    assert_eq!(
        found(|all| all[0].settings = Asked::NotTold(why())),
        only(Name::NotAsked, "db1")
    );
    assert_eq!(
        found(|all| all[0].grants[0].1 = Asked::NotTold(why())),
        only(Name::NotAsked, "db1")
    );
    assert_eq!(
        found(|all| all[0].read_only_at_start = Asked::NotTold(why())),
        only(Name::NotAsked, "db1")
    );
    assert_eq!(
        found(|all| all[0].replication_logins[0].1 = Asked::NotTold(why())),
        only(Name::NotAsked, "db1")
    );
    assert_eq!(
        found(|all| all[2].facts = Reach::Refusing {
            reason: Refusal::Login,
            text: why()
        }),
        only(Name::AccountRefused, "db3")
    );
    assert_eq!(
        found(|all| all[2].facts = Reach::Down(why())),
        only(Name::ServerNotReached, "db3")
    );
    assert_eq!(
        found(|all| {
            all[1].read_only_at_start = Asked::NotTold(why());
            all[1].shell = Err(NoShell {
                name: Name::SshLoginRefused,
                what: why(),
                because: why(),
                hint: why(),
            });
        }),
        only(Name::SshLoginRefused, "db2")
    );
}

#[test]
fn names_are_the_same_words_everywhere() {
    assert_eq!(Name::EqualServerIds.to_string(), "equal-server-ids");
    assert_eq!(
        serde_json::to_string(&Name::EqualServerIds).unwrap(),
        "\"equal-server-ids\""
    );
}
