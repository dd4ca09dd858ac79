//! What stands in the way of a failover is named, and what it would lose is counted as far as it can be seen.

use super::*;
use crate::core::electorate::Memory;
use crate::core::facts::{HostFacts, Reach, ReceivedGtid, SemiSync, SqlThread, UsingGtid};
use crate::core::gtid::{BinlogPosition, MariaPosition};
use crate::core::samples::{WRITER_ADDRESS, cluster, facts};

fn seen() -> Facts {
    let mut writer = facts(true, &[WRITER_ADDRESS]);
    let standby = facts(false, &[]);
    if let Reach::Up(mysql) = &mut writer.mysql {
        mysql.replicas.clear();
    }
    Facts::from([
        ("db1".into(), writer),
        ("db2".into(), standby.clone()),
        ("db3".into(), standby),
    ])
}

fn server<'f>(facts: &'f mut Facts, host: &str) -> &'f mut MysqlFacts {
    match &mut facts.get_mut(host).unwrap().mysql {
        Reach::Up(mysql) => mysql,
        other => unreachable!("{other:?}"),
    }
}

fn asked(
    facts: &Facts,
    means: Means,
    decided: Option<(EvidenceRule, Decision)>,
    standing: &Standing,
) -> Readiness {
    let (cluster, memory) = (cluster(), Memory::default());
    let electorate = Electorate {
        cluster: &cluster,
        standing,
        facts,
        outgoing: standing.writer.as_ref(),
        memory: &memory,
    };
    let candidates = electorate.candidates();
    let seen = Seen {
        cluster: &cluster,
        standing,
        facts,
        means: Some(&means),
        circumstances: None,
        decided,
    };
    readiness(&seen, &candidates)
}

const PLAIN: Means = Means {
    fence: false,
    unfenced: Unfenced::IfSilentToAll,
};

fn standing() -> Standing {
    Standing {
        writer: Some("db1".into()),
        ..Standing::default()
    }
}

fn guards(readiness: &Readiness) -> Vec<Guard> {
    assert_eq!(readiness.ready, readiness.blocked.is_empty());
    readiness.blocked.iter().map(|one| one.guard).collect()
}

#[test]
fn all_is_well_and_the_policy_has_its_price() {
    let found = asked(&seen(), PLAIN, None, &standing());
    assert_eq!(guards(&found), []);
    assert_eq!(found.successor, Some("db2".into()));
    assert_eq!(found.rung, Some(Rung::Demote));
    assert!(found.price.is_some() && found.remarks.is_empty());
    let fenced = Means { fence: true, ..PLAIN };
    assert_eq!(asked(&seen(), fenced, None, &standing()).price, None);
    let never = Means {
        unfenced: Unfenced::Never,
        ..PLAIN
    };
    let found = asked(&seen(), never, None, &standing());
    assert!(found.ready && found.price.is_none());
    assert!(found.remarks[0].starts_with("R31"), "{:?}", found.remarks);
}

#[test]
fn what_stands_in_the_way_is_named() {
    let stuck = Standing {
        hands_off: Some("run r".into()),
        writer: None,
        ..standing()
    };
    assert_eq!(
        guards(&asked(&seen(), PLAIN, None, &stuck)),
        [Guard::G01, Guard::G06]
    );
    let mut broken = seen();
    server(&mut broken, "db2").replicas[0].sql = SqlThread::No;
    server(&mut broken, "db3").read_only = false;
    let found = asked(&broken, PLAIN, None, &standing());
    assert_eq!(guards(&found), [Guard::G08, Guard::G20]);
    assert!(found.blocked[1].what.contains("G26 db2"), "{:?}", found.blocked);
    let mut mute = seen();
    mute.get_mut("db2").unwrap().ssh = Reach::Silent("no answer".into());
    assert_eq!(guards(&asked(&mute, PLAIN, None, &standing())), [Guard::G09]);
}

#[test]
fn a_writer_that_does_not_obey_needs_a_fence() {
    let mut mute = seen();
    mute.get_mut("db1").unwrap().ssh = Reach::Silent("no answer".into());
    let found = asked(&mute, PLAIN, None, &standing());
    assert_eq!(guards(&found), [Guard::G11]);
    assert!(found.blocked[0].what.starts_with("R26"), "{:?}", found.blocked);
    let fenced = Means { fence: true, ..PLAIN };
    let found = asked(&mute, fenced, None, &standing());
    assert_eq!((guards(&found), found.rung), (vec![], Some(Rung::Fence)));
}

#[test]
fn evidence_about_a_writer_that_does_not_answer_decides() {
    let mut dead = seen();
    dead.insert("db1".into(), HostFacts::default());
    let with = |rule, decision| asked(&dead, PLAIN, Some((rule, decision)), &standing());
    let found = with(EvidenceRule::R30, Decision::Replace(Rung::Silence));
    assert_eq!((guards(&found), found.rung), (vec![], Some(Rung::Silence)));
    assert_eq!(guards(&with(EvidenceRule::R27, Decision::Refuse)), [Guard::G11]);
    assert_eq!(guards(&with(EvidenceRule::R22, Decision::Leave)), [Guard::G10]);
    assert!(
        with(EvidenceRule::R27, Decision::Refuse).blocked[0]
            .lifted_by
            .contains("network")
    );
}

#[test]
fn what_would_be_lost_is_counted_where_it_can_be_seen() {
    let mut facts = seen();
    let at = |position: &str| GtidFacts::Mariadb {
        binlog_pos: position.parse().unwrap(),
        slave_pos: position.parse().unwrap(),
        current_pos: MariaPosition::default(),
        binlog_state: Default::default(),
        domain_id: 0,
        strict: false,
    };
    server(&mut facts, "db1").gtid = at("0-1-12,1-1-4");
    server(&mut facts, "db2").gtid = at("0-1-9,1-1-4");
    server(&mut facts, "db2").replicas[0].received_gtid = ReceivedGtid::Mariadb("0-1-10".parse().unwrap());
    let loss = |facts: &Facts| asked(facts, PLAIN, None, &standing()).loss.unwrap();
    assert_eq!(loss(&facts).unreceived_transactions, Some(2));
    assert!(
        loss(&facts)
            .words()
            .starts_with("2 transactions have not been received")
    );
    server(&mut facts, "db1").semi_sync = Some(SemiSync {
        source_enabled: true,
        source_active: true,
        replica_enabled: false,
        replica_active: false,
        replicas: 1,
    });
    assert!(loss(&facts).words().starts_with("nothing that was acknowledged"));

    let mut by_file = seen();
    let place = |at| Some(BinlogPosition::new("bin.000002", at).unwrap());
    server(&mut by_file, "db1").binlog = place(900);
    let channel = &mut server(&mut by_file, "db2").replicas[0];
    channel.using_gtid = UsingGtid::No;
    channel.received = place(700);
    assert_eq!(loss(&by_file).unreceived_bytes, Some(200));
    by_file.insert("db1".into(), HostFacts::default());
    assert!(loss(&by_file).words().contains("cannot be told"));
}
