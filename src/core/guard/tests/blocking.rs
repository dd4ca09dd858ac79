//! Each guard of this room blocks, and its refusal carries its number and what lifts it.

use super::*;
use crate::core::evidence::Rung;
use crate::core::facts::{GtidFacts, MysqlFacts};
use crate::core::gtid::{self, MariaPosition};
use crate::core::hosts::HostState;
use crate::core::standing::Owed;

fn standing() -> Standing {
    Standing {
        writer: Some("db1".into()),
        ..Standing::default()
    }
}

/// All is well, but for what is done to the facts of one server.
fn seen_but(host: &str, change: impl FnOnce(&mut MysqlFacts)) -> Facts {
    let mut seen = seen(true);
    if let Reach::Up(mysql) = &mut seen.get_mut(host).unwrap().mysql {
        change(mysql);
    }
    seen
}

fn without_ssh(host: &str, writer_answers: bool) -> Facts {
    let mut seen = seen(writer_answers);
    seen.get_mut(host).unwrap().ssh = Reach::Silent("no answer".into());
    seen
}

fn owed(progress: Return) -> Standing {
    let owed = Owed {
        progress,
        ..Owed::now(Moment(1), "r", Rung::Silence)
    };
    Standing {
        owed: [("db2".into(), owed)].into(),
        ..standing()
    }
}

type Change = fn(&mut MysqlFacts);

fn blocks<T: std::fmt::Debug>(answer: Result<T, Trouble>, guard: Guard) {
    let refused = answer.unwrap_err();
    assert_eq!(
        (refused.kind, refused.guard),
        (Kind::Refused, Some(guard)),
        "{refused}"
    );
    assert!(!refused.hint.is_empty(), "{refused}");
    let shown = refused.to_string();
    assert!(
        shown.contains(&format!("\nguard: {guard} {}", guard.sentence())),
        "{shown}"
    );
    let json = serde_json::to_value(&refused).unwrap();
    assert_eq!(json["guard"], guard.to_string());
}

fn over(standing: &Standing, facts: &Facts) -> Result<(), Trouble> {
    switchover(
        &cluster(),
        standing,
        facts,
        &"db1".into(),
        &"db2".into(),
        &Memory::default(),
    )
}

fn fail(standing: &Standing, facts: &Facts) -> Result<(), Trouble> {
    remembering(standing, facts, &Memory::default())
}

fn remembering(standing: &Standing, facts: &Facts, memory: &Memory) -> Result<(), Trouble> {
    failover(
        &cluster(),
        standing,
        facts,
        Some(&"db1".into()),
        &"db2".into(),
        memory,
    )
}

#[test]
fn what_stops_every_operation() {
    let stuck = Standing {
        hands_off: Some("run r: it got stuck".into()),
        ..standing()
    };
    blocks(hands_off(&cluster(), &stuck), Guard::G01);
    blocks(over(&stuck, &seen(true)), Guard::G01);
    let nobody = Standing {
        writer: None,
        ..owed(Return::Awaited)
    };
    blocks(rejoin(&cluster(), &nobody, &"db2".into()), Guard::G06);
}

#[test]
fn what_stops_a_switchover() {
    assert_eq!(over(&standing(), &seen(true)), Ok(()));
    let open = |mysql: &mut MysqlFacts| mysql.read_only = false;
    blocks(over(&standing(), &seen_but("db3", open)), Guard::G08);
    blocks(over(&standing(), &without_ssh("db1", true)), Guard::G09);
    blocks(over(&standing(), &seen(false)), Guard::G15);
    blocks(
        over(&standing(), &seen_but("db1", |mysql| mysql.read_only = true)),
        Guard::G16,
    );
    let elsewhere = |mysql: &mut MysqlFacts| mysql.replicas[0].source_server_id = Some(9);
    blocks(over(&standing(), &seen_but("db2", elsewhere)), Guard::G34);
    let stopped = |mysql: &mut MysqlFacts| mysql.replicas[0].io = crate::core::facts::IoThread::No;
    blocks(over(&standing(), &seen_but("db2", stopped)), Guard::G35);
    let lags = |mysql: &mut MysqlFacts| mysql.replicas[0].lag = Some(Duration::from_secs(11));
    blocks(over(&standing(), &seen_but("db2", lags)), Guard::G36);
    let another = |mysql: &mut MysqlFacts| mysql.foreign = mysql.replicas.clone();
    blocks(over(&standing(), &seen_but("db1", another)), Guard::G39);
    assert_eq!(over(&standing(), &seen_but("db2", another)), Ok(()));
}

#[test]
fn what_stops_a_failover() {
    assert_eq!(fail(&standing(), &seen(false)), Ok(()));
    blocks(fail(&standing(), &without_ssh("db2", false)), Guard::G09);
    blocks(fail(&standing(), &seen(true)), Guard::G12);
    let moved = Standing {
        writer: Some("db3".into()),
        ..standing()
    };
    blocks(fail(&moved, &seen(false)), Guard::G13);
    let (db1, db2): (HostName, HostName) = ("db1".into(), "db2".into());
    let itself = failover(
        &cluster(),
        &standing(),
        &seen(false),
        Some(&db1),
        &db1,
        &Memory::default(),
    );
    blocks(itself, Guard::G14);
    let mut open = seen(false);
    open.insert("db3".into(), facts(true, &[]));
    blocks(fail(&standing(), &open), Guard::G08);
    blocks(fail(&owed(Return::Awaited), &seen(false)), Guard::G22);
    assert_eq!(
        crate::core::election::barred(&standing(), &seen(false), &db2),
        None
    );
}

#[test]
fn a_standby_that_was_broken_before_the_writer_died_replaces_it_only_where_a_person_accepts_the_loss() {
    let mut memory = Memory::default();
    memory.states.insert("db2".into(), HostState::ReplicationFail);
    memory.lags.insert("db2".into(), Duration::from_secs(7200));
    let asked = |memory: &Memory| {
        let nobody = target(&cluster(), &standing(), &seen(false), None, memory);
        (nobody, remembering(&standing(), &seen(false), memory))
    };
    let (nobody, refused) = asked(&memory);
    assert!(nobody.unwrap_err().because.contains("db2: G33: "));
    blocks(refused, Guard::G33);
    assert_eq!(asked(&memory.clone().weighed(true)), (Ok("db2".into()), Ok(())));
    // Its state lets it, and it was too far behind.
    let mut cluster = cluster();
    cluster.failover.max_behind = Some(Duration::from_secs(60));
    memory.states.insert("db2".into(), HostState::ReplicationDelay);
    let mut late = seen(false);
    if let Reach::Up(mysql) = &mut late.get_mut("db2").unwrap().mysql {
        mysql.replicas[0].lag = None;
    }
    let asked = |memory: &Memory| {
        failover(
            &cluster,
            &standing(),
            &late,
            Some(&"db1".into()),
            &"db2".into(),
            memory,
        )
    };
    blocks(asked(&memory), Guard::G31);
    assert_eq!(asked(&memory.weighed(true)), Ok(()));
}

#[test]
fn a_move_among_the_living_goes_to_no_host_that_a_monitor_holds_to_be_unfit() {
    let mut memory = Memory::default();
    memory.states.insert("db2".into(), HostState::AwaitingRecovery);
    let (db1, db2) = ("db1".into(), "db2".into());
    let asked = |memory: &Memory| switchover(&cluster(), &standing(), &seen(true), &db1, &db2, memory);
    blocks(asked(&memory), Guard::G33);
    let nobody = target(&cluster(), &standing(), &seen(true), None, &memory);
    blocks(nobody, Guard::G20);
    memory.states.insert("db2".into(), HostState::Online);
    assert_eq!(asked(&memory), Ok(()));
}

#[test]
fn what_keeps_the_writer_from_being_opened_again() {
    let closed = |facts: &mut Facts| {
        facts.insert("db1".into(), super::facts(false, &[WRITER_ADDRESS]));
    };
    let open = |change: &dyn Fn(&mut Facts), standing: &Standing| {
        let mut facts = seen(true);
        closed(&mut facts);
        change(&mut facts);
        reopen(&cluster(), standing, &facts, &"db1".into())
    };
    assert_eq!(open(&|_| {}, &standing()), Ok(()));
    let moved = Standing {
        writer: Some("db2".into()),
        ..standing()
    };
    blocks(open(&|_| {}, &moved), Guard::G17);
    let writes = |facts: &mut Facts| {
        facts.insert("db3".into(), super::facts(true, &[]));
    };
    blocks(open(&writes, &standing()), Guard::G08);
    let holds = |facts: &mut Facts| {
        facts.insert("db2".into(), super::facts(false, &[WRITER_ADDRESS]));
    };
    blocks(open(&holds, &standing()), Guard::G18);
}

#[test]
fn what_keeps_a_host_from_taking_over() {
    let surplus = "1 transaction".to_owned();
    for (standing, guard) in [
        (standing_without("db2"), Guard::G21),
        (owed(Return::Quarantined), Guard::G22),
        (owed(Return::KeptOut { surplus, rows: None }), Guard::G23),
    ] {
        blocks(over(&standing, &seen(true)), guard);
        blocks(fail(&standing, &seen(false)), guard);
    }
    let mut silent = seen(true);
    silent.insert("db2".into(), Default::default());
    blocks(over(&standing(), &silent), Guard::G24);
    let cases: [(Change, Guard); 3] = [
        (|mysql| mysql.replicas.clear(), Guard::G25),
        (
            |mysql| mysql.replicas[0].sql = crate::core::facts::SqlThread::No,
            Guard::G26,
        ),
        (|mysql| mysql.log_bin = false, Guard::G27),
    ];
    for (change, guard) in cases {
        let facts = seen_but("db2", change);
        blocks(over(&standing(), &facts), guard);
        let nobody = target(&cluster(), &standing(), &facts, None, &Memory::default());
        let because = nobody.clone().unwrap_err().because;
        assert!(because.contains(&format!("db2: {guard}: ")), "{because}");
        blocks(nobody, Guard::G20);
    }
}

#[test]
fn what_keeps_a_replaced_writer_from_following() {
    let db2: HostName = "db2".into();
    let asked = |standing: &Standing| rejoin(&cluster(), standing, &db2);
    assert_eq!(asked(&owed(Return::Awaited)), Ok(()));
    blocks(asked(&standing()), Guard::G40);
    let at = |state: &str| {
        let mut facts = facts(false, &[]);
        if let Reach::Up(mysql) = &mut facts.mysql {
            mysql.gtid = crate::core::samples::logged(state);
        }
        facts
    };
    let compared = |own: HostFacts, by_gtid: bool| {
        let own = own.mysql.up().cloned();
        let leading = at("0-1-10").mysql.up().cloned();
        let compared = own
            .zip(leading)
            .map(|(own, leading)| gtid::compare(&own.history(&leading), &leading.history(&own)));
        follow_again(&cluster(), &db2, &"db1".into(), compared.as_ref(), by_gtid)
    };
    assert_eq!(compared(at("0-1-10"), true), Ok(()));
    blocks(compared(HostFacts::default(), true), Guard::G41);
    blocks(compared(at("0-1-10"), false), Guard::G42);
    blocks(compared(at("0-1-11"), true), Guard::G23);
    let mut unlogged = at("0-1-10");
    if let Reach::Up(mysql) = &mut unlogged.mysql {
        mysql.log_bin = false;
    }
    blocks(compared(unlogged, true), Guard::G43);
}

#[test]
fn a_standby_that_a_cut_off_failover_stopped_is_fit_where_it_stands_level_with_another_replica() {
    use crate::core::facts::{IoThread, ReceivedGtid, ReplicationError, SqlThread};
    let at = |facts: &mut Facts, host: &str, applied: &str, received: &str| {
        if let Reach::Up(mysql) = &mut facts.get_mut(host).unwrap().mysql {
            mysql.gtid = GtidFacts::Mariadb {
                binlog_pos: MariaPosition::default(),
                slave_pos: applied.parse().unwrap(),
                current_pos: MariaPosition::default(),
                binlog_state: Default::default(),
                domain_id: 0,
                strict: false,
            };
            mysql.replicas[0].received_gtid = ReceivedGtid::Mariadb(received.parse().unwrap());
        }
    };
    let stop = |facts: &mut Facts, host: &str| {
        if let Reach::Up(mysql) = &mut facts.get_mut(host).unwrap().mysql {
            mysql.replicas[0].io = IoThread::No;
            mysql.replicas[0].sql = SqlThread::No;
        }
    };
    let stopped = |db2: (&str, &str), db3: (&str, &str), change: &dyn Fn(&mut Facts)| {
        let mut facts = seen(false);
        at(&mut facts, "db2", db2.0, db2.1);
        at(&mut facts, "db3", db3.0, db3.1);
        stop(&mut facts, "db2");
        change(&mut facts);
        fail(&standing(), &facts)
    };
    let level = ("0-1-10", "0-1-10");
    assert_eq!(stopped(level, level, &|_| {}), Ok(()));
    // What the other one has received and not applied yet counts too, and less than both is no matter.
    assert_eq!(stopped(level, ("0-1-8", "0-1-10"), &|_| {}), Ok(()));
    let more = ("0-1-8", "0-1-11");
    blocks(stopped(level, more, &|_| {}), Guard::G26);
    // It was cut off earlier, and says nothing of what the writer did since.
    blocks(stopped(level, ("0-1-8", "0-1-9"), &|_| {}), Guard::G26);
    blocks(stopped(("0-1-9", "0-1-10"), level, &|_| {}), Guard::G26);
    blocks(stopped(level, level, &|facts| stop(facts, "db3")), Guard::G26);
    let nobody_else = |facts: &mut Facts| drop(facts.remove("db3"));
    blocks(stopped(level, level, &nobody_else), Guard::G26);
    let change = |change: &dyn Fn(&mut MysqlFacts)| {
        stopped(level, level, &|facts| {
            if let Reach::Up(mysql) = &mut facts.get_mut("db2").unwrap().mysql {
                change(mysql);
            }
        })
    };
    blocks(change(&|mysql| mysql.replicas[0].io = IoThread::Yes), Guard::G26);
    let error = ReplicationError {
        number: 1062,
        text: "Duplicate entry".into(),
    };
    blocks(
        change(&|mysql| mysql.replicas[0].sql_error = Some(error.clone())),
        Guard::G26,
    );
    blocks(
        change(&|mysql| mysql.replicas[0].received_gtid = ReceivedGtid::None),
        Guard::G26,
    );
    // While the writer answers it may write more.
    let mut lives = seen(true);
    at(&mut lives, "db2", level.0, level.1);
    at(&mut lives, "db3", level.0, level.1);
    stop(&mut lives, "db2");
    blocks(over(&standing(), &lives), Guard::G26);
}
