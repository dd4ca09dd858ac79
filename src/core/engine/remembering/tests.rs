//! Stories across restarts of the monitor, and what no order of events may bring about.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::core::cluster::{CheckKind, Cluster, HostName};
use crate::core::engine::Input;
use crate::core::engine::world::{HOSTS, TRAP, World};
use crate::core::event::Event;
use crate::core::evidence::Rung;
use crate::core::hosts::{Flaps, HostRule, HostState};
use crate::core::latch::{CheckResult, Verdict};
use crate::core::samples::cluster;
use crate::core::standing::{Owed, Return, Standing};

use CheckKind::{Mysql, Ping, RepBacklog, RepThreads};

#[test]
fn a_host_that_leaves_online_too_often_is_kept_out_across_a_restart_until_a_person_lets_it_in() {
    let mut world = World::settled();
    for _ in 0..3 {
        world.blinks("db3");
        world.pass(5);
        assert_eq!(world.state("db3"), HostState::Online);
    }
    assert_eq!(world.alarms(), 0);
    world.restart(2);
    world.blinks("db3");
    world.pass(5);
    assert_eq!((world.rule("db3"), world.alarms()), (HostRule::H24, 1));
    world.restart(30);
    world.pass(300);
    assert_eq!(world.rule("db3"), HostRule::H24);
    world.set_online("db3");
    assert_eq!(world.state("db3"), HostState::Online);
    assert_eq!(world.record("db3").flaps, Flaps::default());
}

#[test]
fn a_quiet_period_ends_flapping_and_a_change_begins_it_anew() {
    let mut world = World::settled_with(|cluster| {
        cluster.recovery.flapping.within = Duration::from_secs(200);
        cluster.recovery.auto_set_online = Some(Duration::from_secs(1));
    });
    for _ in 0..4 {
        world.blinks("db3");
        world.pass(5);
    }
    assert_eq!(world.rule("db3"), HostRule::H24);
    world.pass(150);
    world.fails("db3", RepBacklog);
    world.pass(TRAP + 1);
    world.mends("db3", RepBacklog);
    world.pass(199);
    assert_eq!(world.rule("db3"), HostRule::H24);
    world.pass(2);
    assert_eq!(world.state("db3"), HostState::Online);
}

#[test]
fn a_host_whose_pings_never_answer_or_come_and_go_ends_flapping_all_the_same() {
    for comes_back in [false, true] {
        let mut world = World::settled_with(|cluster| {
            cluster.recovery.flapping.within = Duration::from_secs(200);
            cluster.recovery.auto_set_online = Some(Duration::from_secs(1));
        });
        world.fails("db3", Ping);
        for _ in 0..4 {
            world.blinks("db3");
            world.pass(5);
        }
        assert_eq!(world.rule("db3"), HostRule::H24);
        world.pass(150);
        if comes_back {
            world.mends("db3", Ping);
        }
        world.pass(60);
        assert_eq!(world.state("db3"), HostState::Online);
    }
}

#[test]
fn replication_that_comes_and_goes_is_flapping_too_and_a_count_of_zero_never_is() {
    for (count, rule) in [(3, HostRule::H24), (0, HostRule::H09)] {
        let mut world = World::settled_with(|cluster| cluster.recovery.flapping.count = count);
        for _ in 0..4 {
            world.fails("db3", RepThreads);
            world.pass(TRAP + 1);
            assert_eq!(world.state("db3"), HostState::ReplicationFail);
            world.mends("db3", RepThreads);
            world.pass(2);
        }
        assert_eq!(world.rule("db3"), rule);
    }
}

#[test]
fn a_monitor_that_restarts_soon_does_not_wait_the_trap_period_anew() {
    let mut world = World::settled();
    world.fails("db3", Mysql);
    world.pass(3);
    world.restart(1);
    world.second();
    assert_eq!(world.state("db3"), HostState::HardOffline);
    let changes = |world: &World| {
        let is_change =
            |event: &&Event| matches!(event, Event::StateChanged { .. } | Event::CheckChanged { .. });
        world.told.iter().filter(is_change).count()
    };
    world.restart(1);
    let told = changes(&world);
    assert_eq!(world.state("db3"), HostState::HardOffline);
    world.pass(10);
    assert_eq!(changes(&world), told, "nothing has changed, so nothing is told");
    world.returns("db3");
    world.second();
    assert!(changes(&world) > told, "its recovery is told");
}

#[test]
fn a_record_from_long_ago_fails_no_check_by_itself() {
    let mut world = World::settled();
    world.fails("db1", Mysql);
    world.pass(TRAP - 1);
    world.restart(100_000);
    world.give(Input::Tick);
    assert_eq!(world.state("db1"), HostState::Online, "not before a probe");
    world.pass(TRAP);
    assert_eq!(
        world.state("db1"),
        HostState::Online,
        "the trap period begins anew"
    );
    world.second();
    assert_eq!(world.state("db1"), HostState::HardOffline);
    world.restart(100_000);
    world.give(Input::Tick);
    let mysql = world.engine.latch(&"db1".into(), Mysql).unwrap();
    assert_eq!(mysql.verdict, Verdict::Untested, "nobody has asked yet");
    assert_eq!(world.state("db1"), HostState::HardOffline);
}

#[test]
fn what_changes_is_to_be_remembered_at_once_and_the_rest_now_and_then() {
    let mut world = World::settled();
    let mut asked = |at: u64, input: Input| {
        let effects = world.engine.step(Moment(at), input);
        effects
            .iter()
            .filter(|effect| matches!(effect, Effect::Remember(_)))
            .count()
    };
    let ok = || Input::Checked {
        host: "db2".into(),
        kind: Ping,
        result: CheckResult::Ok("fine".into()),
    };
    let start = 20_000_000;
    assert_eq!(asked(start, ok()), 1);
    assert_eq!(asked(start + 300, ok()), 0);
    assert_eq!(asked(start + 600, Input::Tick), 0);
    assert_eq!(asked(start + 1_100, Input::Tick), 1);
    assert_eq!(asked(start + 5_000, Input::Tick), 0, "nothing is new");
    let failed = Input::Checked {
        host: "db2".into(),
        kind: Ping,
        result: CheckResult::Error("gone".into()),
    };
    assert_eq!(asked(start + 5_000, failed.clone()), 1);
    assert_eq!(asked(start + 5_001, failed), 0);
}

#[test]
fn one_look_from_the_records_shows_what_the_monitor_showed() {
    let mut world = World::settled();
    for _ in 0..4 {
        world.blinks("db3");
        world.pass(5);
    }
    world.fails("db2", RepThreads);
    world.pass(TRAP + 1);
    let shown = |world: &World| HOSTS.map(|host| (world.state(host), world.rule(host)));
    let by_monitor = shown(&world);
    assert_eq!(by_monitor[1].0, HostState::ReplicationFail);
    assert_eq!(by_monitor[2].1, HostRule::H24);
    // A command that looks once waits for no trap period.
    let mut once = world.clone();
    once.restart(3600 / 2);
    let mut cluster = once.engine.cluster().clone();
    for timing in [&mut cluster.checks.mysql, &mut cluster.checks.rep_threads] {
        timing.trap_after = Duration::ZERO;
    }
    once.engine = Engine::new(cluster, BTreeMap::new(), once.standing.clone()).resume(once.engine.records());
    once.second();
    once.give(Input::Finished);
    assert_eq!(shown(&once), by_monitor);
}

#[test]
fn hosts_that_left_the_inventory_are_forgotten() {
    let world = World::settled();
    let mut records = world.engine.records();
    let memory = records.hosts[&HostName::from("db3")].clone();
    records.hosts.insert("old".into(), memory);
    let engine = Engine::new(cluster(), BTreeMap::new(), Standing::default()).resume(records);
    let known: BTreeSet<HostName> = engine.records().hosts.into_keys().collect();
    assert_eq!(known, HOSTS.map(HostName::from).into());
}

/// One thing that may happen.
#[derive(Debug, Clone)]
enum Turn {
    Check(usize, CheckKind, u8),
    Look(usize, u64),
    Offline(usize),
    Online(usize),
    Writer(usize),
    Restart,
    Wait(u64),
}

fn turn() -> impl Strategy<Value = Turn> {
    let host = || 0..3_usize;
    let kind = prop::sample::select(CheckKind::ALL.to_vec());
    prop_oneof![
        8 => (host(), kind, 0..3_u8).prop_map(|(host, kind, result)| Turn::Check(host, kind, result)),
        2 => (host(), 0..2000_u64).prop_map(|(host, uptime)| Turn::Look(host, uptime)),
        1 => host().prop_map(Turn::Offline),
        1 => host().prop_map(Turn::Online),
        1 => host().prop_map(Turn::Writer),
        1 => Just(Turn::Restart),
        3 => (1..100_u64).prop_map(Turn::Wait),
    ]
}

fn soon_online(cluster: &mut Cluster) {
    cluster.recovery.auto_set_online = Some(Duration::from_secs(1));
}

static SETTLED: LazyLock<World> = LazyLock::new(|| World::settled_with(soon_online));

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_a_replaced_writer_is_never_online_before_it_was_compared(
        turns in prop::collection::vec(turn(), 1..80),
        begins_online in any::<bool>(),
    ) {
        let mut world = if begins_online { SETTLED.clone() } else { World::unseen(soon_online) };
        world.stands(|standing, now| {
            let owed = Owed { progress: Return::Quarantined, ..Owed::now(now, "r", Rung::Silence) };
            standing.owed.insert("db1".into(), owed);
        });
        for turn in turns {
            match turn {
                Turn::Check(host, kind, result) => {
                    let result = match result {
                        0 => CheckResult::Ok("fine".into()),
                        1 => CheckResult::Error("bad".into()),
                        _ => CheckResult::Unknown("limits".into()),
                    };
                    world.give(Input::Checked { host: HOSTS[host].into(), kind, result });
                }
                Turn::Look(host, uptime) => {
                    world.uptimes_s.insert(HOSTS[host], uptime);
                    let facts = Box::new(world.facts(HOSTS[host]));
                    world.give(Input::Looked(HOSTS[host].into(), facts));
                }
                Turn::Offline(host) => world.set_offline(HOSTS[host]),
                Turn::Online(host) => world.set_online(HOSTS[host]),
                Turn::Writer(host) => world.stands(|standing, _| standing.writer = Some(HOSTS[host].into())),
                Turn::Restart => {
                    world.restart(1);
                    world.give(Input::Tick);
                }
                Turn::Wait(seconds) => {
                    world.now_s += seconds;
                    world.give(Input::Tick);
                }
            }
            prop_assert_ne!(world.state("db1"), HostState::Online);
        }
    }
}
