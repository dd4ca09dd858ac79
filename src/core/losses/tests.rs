//! Who has more than the host that is to take over, what of that is handed over, and what is known to be lost.

use super::*;
use crate::core::facts::UsingGtid;
use crate::core::gtid::MariaState;
use crate::core::samples::{cluster, facts};

/// A host that replicates from db1 by GTID, with what it logged and what it received.
fn replica(server: u32, state: &str, received: &str) -> MysqlFacts {
    let mut mysql = facts(false, &[]).mysql.up().cloned().unwrap();
    mysql.server_id = server;
    let state: MariaState = state.parse().unwrap();
    mysql.gtid = GtidFacts::Mariadb {
        binlog_pos: state.newest(),
        slave_pos: state.newest(),
        current_pos: state.newest(),
        binlog_state: state,
        domain_id: 0,
        strict: false,
    };
    mysql.replicas[0].received_gtid = ReceivedGtid::Mariadb(received.parse().unwrap());
    mysql
}

fn seen(state: &str) -> Seen {
    let mut writer = replica(1, state, "");
    writer.replicas.clear();
    Seen::of(&"db1".into(), Moment(5), &writer)
}

fn world(db2: MysqlFacts, db3: MysqlFacts) -> Facts {
    let up = |mysql| {
        let mut seen = facts(false, &[]);
        seen.mysql = Reach::Up(mysql);
        seen
    };
    let mut gone = facts(true, &[]);
    gone.mysql = Reach::Down("closed".into());
    [
        ("db1".into(), gone),
        ("db2".into(), up(db2)),
        ("db3".into(), up(db3)),
    ]
    .into()
}

fn look(facts: &Facts, seen: Option<&Seen>) -> Outlook {
    let (standing, db1) = (Standing::default(), "db1".into());
    outlook(&cluster(), &standing, facts, Some(&db1), &"db2".into(), seen)
}

#[test]
fn a_replica_that_received_more_hands_it_over() {
    let facts = world(replica(2, "0-1-100", "0-1-100"), replica(3, "0-1-150", "0-1-200"));
    for seen in [None, Some(seen("0-1-210"))] {
        let found = look(&facts, seen.as_ref());
        let donor = found.donor.as_ref().unwrap();
        assert_eq!(
            (donor.host.as_str(), donor.surplus.to_string()),
            ("db3", "0-1-101..200".into())
        );
        assert_eq!(found.apart, []);
        let loss = found.loss.map(|loss| loss.transactions());
        assert_eq!(
            loss,
            seen.map(|_| Some("0-1-201..210".to_owned())),
            "what nobody received"
        );
    }
    let found = look(&facts, Some(&seen("0-1-190")));
    assert_eq!(
        found.loss.unwrap().found,
        Compared::Nothing,
        "seen before the last ones arrived"
    );
    let received = world(replica(2, "0-1-100", "0-1-200"), replica(3, "0-1-150", "0-1-200"));
    assert_eq!(
        look(&received, None),
        Outlook::default(),
        "what was received is applied first"
    );
}

#[test]
fn who_cannot_hand_over_stays_apart_and_is_named_with_the_reason() {
    let db2 = || replica(2, "0-1-100", "0-1-100");
    let db3 = || replica(3, "0-1-200", "0-1-200");
    let why = |facts: Facts| {
        let found = look(&facts, Some(&seen("0-1-200")));
        assert_eq!(found.donor, None);
        let [ahead] = found.apart.as_slice() else {
            unreachable!("{found:?}")
        };
        assert_eq!(ahead.host.as_str(), "db3");
        assert!(ahead.sentence(&"db2".into()).contains("0-1-101..200"));
        ahead.kept.clone().unwrap()
    };
    let mut by_position = db3();
    by_position.replicas[0].using_gtid = UsingGtid::No;
    assert!(why(world(db2(), by_position)).contains("position"));
    let mut silent = db3();
    silent.log_slave_updates = false;
    assert!(why(world(db2(), silent)).contains("does not log"));
    let mut elsewhere = db3();
    let outside = ReplicationFacts {
        channel: "reports".into(),
        source_server_id: Some(90),
        ..elsewhere.replicas[0].clone()
    };
    elsewhere.foreign.push(outside);
    assert!(why(world(db2(), elsewhere)).contains("from outside of the cluster"));
    let mut stopped = db3();
    stopped.replicas[0].sql = SqlThread::No;
    assert!(why(world(db2(), stopped)).contains("SQL thread"));
    let mut deaf = world(db2(), db3());
    deaf.get_mut(&HostName::from("db3")).unwrap().ssh = Reach::Silent("no answer".into());
    assert!(why(deaf).contains("SSH"));
    let mut unable = db2();
    unable.replicas[0].sql = SqlThread::No;
    assert!(why(world(unable, db3())).contains("db2 cannot apply"));
}

#[test]
fn what_somebody_wrote_on_a_replica_is_never_handed_over() {
    let facts = world(
        replica(2, "0-1-100", "0-1-100"),
        replica(3, "0-1-200,0-3-201", "0-1-200"),
    );
    let found = look(&facts, Some(&seen("0-1-200")));
    assert_eq!(found.donor, None);
    assert!(
        found.apart[0].kept.as_ref().unwrap().contains("somebody wrote"),
        "{found:?}"
    );
    // Out of service, it has no part in it.
    let standing = Standing {
        offline: [("db3".into(), Moment(1))].into(),
        ..Standing::default()
    };
    let found = outlook(
        &cluster(),
        &standing,
        &facts,
        Some(&"db1".into()),
        &"db2".into(),
        None,
    );
    assert_eq!(found, Outlook::default());
}

#[test]
fn what_was_received_and_cannot_be_applied_is_named() {
    let mut db2 = replica(2, "0-1-100", "0-1-150");
    assert_eq!(
        look(&world(db2.clone(), replica(3, "0-1-100", "0-1-100")), None).unapplied,
        None
    );
    db2.replicas[0].sql = SqlThread::No;
    let facts = world(db2, replica(3, "0-1-100", "0-1-100"));
    let found = look(&facts, Some(&seen("0-1-160")));
    assert_eq!(found.unapplied.as_ref().unwrap().to_string(), "0-1-101..150");
    assert_eq!(found.loss.as_ref().unwrap().count(), Some(60));
    let told = found.sentences(Some(&"db1".into()), &"db2".into());
    assert!(
        told[0].contains("50 transactions") && told[1].contains("at least 60"),
        "{told:?}"
    );
    let accepted = as_if_applied(&facts, &"db2".into());
    let db2 = accepted[&HostName::from("db2")].mysql.up().unwrap();
    assert_eq!(db2.replicas[0].sql, SqlThread::Yes);
}

#[test]
fn without_gtids_files_of_one_source_are_compared() {
    let by_files = |server: u32, received: &str, executed: &str| {
        let mut mysql = replica(server, "", "");
        mysql.gtid = GtidFacts::None;
        mysql.replicas[0].received = received.parse().ok();
        mysql.replicas[0].executed = executed.parse().ok();
        mysql
    };
    let db2 = by_files(2, "bin.000002:100", "bin.000002:90");
    let waiting = unapplied(&db2, &db2.replicas[0]).unwrap();
    assert_eq!(waiting.to_string(), "bin.000002:90 to bin.000002:100");
    let found = look(&world(db2, by_files(3, "bin.000002:400", "bin.000002:400")), None);
    assert_eq!((found.donor, found.apart.len()), (None, 1));
    assert_eq!(found.apart[0].surplus.at_most(), None);
    assert!(found.apart[0].kept.as_ref().unwrap().contains("position"));
}

#[test]
fn what_a_replica_of_mariadb_received_by_position_and_has_not_applied_counts_too() {
    let by_position = |server: u32, state: &str, received: &str| {
        let mut mysql = replica(server, state, "");
        mysql.replicas[0].using_gtid = UsingGtid::No;
        mysql.replicas[0].received = received.parse().ok();
        mysql
    };
    let db2 = || by_position(2, "0-1-100", "bin.000002:100");
    let level = by_position(3, "0-1-90", "bin.000002:100");
    assert_eq!(look(&world(db2(), level), None), Outlook::default());
    let found = look(&world(db2(), by_position(3, "0-1-100", "bin.000002:400")), None);
    assert_eq!((found.donor, found.apart.len()), (None, 1));
    assert_eq!(
        (found.apart[0].host.as_str(), found.apart[0].surplus.at_most()),
        ("db3", None)
    );
    // Who is quicker to apply has no more for that, unless it wrote something itself.
    let quick = by_position(3, "0-1-150", "bin.000002:100");
    assert_eq!(look(&world(db2(), quick.clone()), None), Outlook::default());
    let mut unable = db2();
    unable.replicas[0].sql = SqlThread::No;
    assert_eq!(look(&world(unable, quick), None).apart.len(), 1);
    let found = look(
        &world(db2(), by_position(3, "0-1-150,0-3-151", "bin.000002:100")),
        None,
    );
    assert_eq!(found.apart[0].surplus.to_string(), "0-3-101..151");
    // Of what was applied the transactions are known.
    let found = look(&world(db2(), by_position(3, "0-1-150", "bin.000002:400")), None);
    assert_eq!(found.apart[0].surplus.to_string(), "0-1-101..150");
    // A channel that goes by GTID tells what it received; places in files say nothing more then.
    let mut by_gtid = replica(3, "0-1-100", "0-1-100");
    by_gtid.replicas[0].received = "bin.000002:400".parse().ok();
    let mut taking = replica(2, "0-1-100", "0-1-100");
    taking.replicas[0].received = "bin.000002:100".parse().ok();
    assert_eq!(look(&world(taking, by_gtid), None), Outlook::default());
}

#[test]
fn the_estimate_counts_from_where_the_histories_parted() {
    let writer = replica(2, "0-1-100,0-2-170", "").history(&replica(2, "", ""));
    let fork = "0-2-150".parse().ok();
    let loss = Loss::estimate(Some(&seen("0-1-160,0-2-150")), &writer, fork.as_ref());
    assert_eq!(
        (loss.count(), loss.transactions()),
        (Some(10), Some("0-1-151..160".into()))
    );
    let (db1, db2) = ("db1".into(), "db2".into());
    assert!(loss.sentence(&db1, &db2).contains("at least 10 transactions"));
    let exact = Loss {
        is_exact: true,
        ..loss
    };
    assert_eq!(
        exact.sentence(&db1, &db2),
        "db2 lacks 10 transactions of db1: 0-1-151..160"
    );
    let unknown = Loss::estimate(None, &writer, None);
    assert_eq!(unknown.count(), None);
    assert!(unknown.sentence(&db1, &db2).contains("nobody had looked"));
    let none = Loss::estimate(Some(&seen("0-1-90")), &writer, None);
    assert!(
        none.sentence(&db1, &db2)
            .contains("has all that db1 was seen to have")
    );
}

#[test]
fn what_somebody_wrote_on_a_standby_keeps_it_from_promotion() {
    let mut writer = replica(1, "0-1-200", "");
    writer.read_only = false;
    let with_writer = |db2: MysqlFacts| {
        let mut facts = world(db2, replica(3, "0-1-200", "0-1-200"));
        facts.get_mut(&HostName::from("db1")).unwrap().mysql = Reach::Up(writer.clone());
        facts
    };
    let (db1, db2) = (HostName::from("db1"), HostName::from("db2"));
    // Looked at a moment later, it has more of the writer's: that is nothing.
    let ahead = with_writer(replica(2, "0-1-210", "0-1-210"));
    assert_eq!(strayed_from(&ahead, &db1, &db2), None);
    // Who wrote before the writer was rebuilt is none of its concern.
    let old = with_writer(replica(2, "0-1-200,0-5-50", "0-1-200"));
    assert_eq!(strayed_from(&old, &db1, &db2), None);
    let written = with_writer(replica(2, "0-1-199,0-2-200", "0-1-199"));
    assert_eq!(strayed_from(&written, &db1, &db2), Some("up to 0-2-200".into()));
    let standing = Standing {
        writer: Some(db1.clone()),
        ..Standing::default()
    };
    let barred = crate::core::election::barred(&standing, &written, &db2).unwrap();
    assert!(barred.to_string().contains("somebody wrote there"), "{barred}");
    assert_eq!(barred.guard(), crate::core::guard::Guard::G38);
    assert!(barred.lifted_by(&db2).contains("rebuild db2"));
    assert_eq!(crate::core::election::barred(&standing, &ahead, &db2), None);
    // With the writer gone, what was last seen of it counts.
    let gone = world(
        replica(2, "0-1-199,0-2-200", "0-1-199"),
        replica(3, "0-1-200", "0-1-200"),
    );
    let found = look(&gone, Some(&seen("0-1-200")));
    assert_eq!(found.strayed.as_deref(), Some("up to 0-2-200"));
    assert!(found.sentences(Some(&db1), &db2)[0].contains("somebody wrote there"));
}
