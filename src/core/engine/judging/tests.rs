//! Stories of hosts: each way from one state to another.

use std::collections::BTreeMap;

use super::*;
use crate::core::engine::Input;
use crate::core::engine::world::{HOSTS, TRAP, World};
use crate::core::rule::Rule;
use crate::core::standing::Mode;

use CheckKind::{Mysql, Ping, RepBacklog, RepThreads};

#[test]
fn hosts_met_for_the_first_time_are_online_or_what_they_fail_at() {
    let mut world = World::unseen(|_| {});
    world.fails("db2", RepThreads);
    world.fails("db3", RepBacklog);
    world.second();
    assert_eq!(world.state("db1"), HostState::Online);
    assert_eq!(
        world.rule("db2"),
        HostRule::H03,
        "no verdict before the trap period"
    );
    world.pass(TRAP);
    assert_eq!(
        HOSTS.map(|host| world.state(host)),
        [
            HostState::Online,
            HostState::ReplicationFail,
            HostState::ReplicationDelay
        ]
    );
    let mut world = World::unseen(|_| {});
    world.second();
    assert_eq!(HOSTS.map(|host| world.state(host)), [HostState::Online; 3]);
}

#[test]
fn a_silent_server_is_hard_offline_after_the_trap_period_and_a_silent_ping_is_not() {
    let mut world = World::settled();
    world.fails("db2", Ping);
    world.fails("db3", Mysql);
    world.pass(TRAP);
    assert_eq!(world.state("db3"), HostState::Online);
    world.second();
    assert_eq!(world.state("db3"), HostState::HardOffline);
    assert_eq!(
        world.record("db3").because,
        "H05: its server does not answer: bad"
    );
    world.pass(300);
    assert_eq!(world.state("db2"), HostState::Online);
}

#[test]
fn probes_that_cannot_tell_move_nothing() {
    let mut world = World::settled();
    world.fails("db3", RepThreads);
    world.pass(TRAP + 1);
    for host in HOSTS {
        for kind in CheckKind::ALL {
            world
                .sick
                .insert((host, kind), CheckResult::Unknown("limits".into()));
        }
    }
    world.pass(300);
    let states = HOSTS.map(|host| world.state(host));
    assert_eq!(
        states,
        [HostState::Online, HostState::Online, HostState::ReplicationFail]
    );
}

#[test]
fn the_writer_is_exempt_from_replication_and_online_as_soon_as_it_answers() {
    let mut world = World::settled();
    world.fails("db1", RepThreads);
    world.fails("db1", RepBacklog);
    world.pass(300);
    assert_eq!(world.rule("db1"), HostRule::H07);
    world.blinks("db1");
    world.second();
    assert_eq!(world.state("db1"), HostState::Online);
}

#[test]
fn broken_wins_over_lagging_and_both_must_be_well_again() {
    let mut world = World::settled();
    world.fails("db2", RepBacklog);
    world.pass(TRAP + 1);
    assert_eq!(world.state("db2"), HostState::ReplicationDelay);
    world.fails("db2", RepThreads);
    world.pass(TRAP + 1);
    assert_eq!(world.state("db2"), HostState::ReplicationFail);
    world.mends("db2", RepThreads);
    world.second();
    assert_eq!(world.state("db2"), HostState::ReplicationDelay);
    world.mends("db2", RepBacklog);
    world.second();
    assert_eq!(
        (world.state("db2"), world.rule("db2")),
        (HostState::Online, HostRule::H09)
    );
}

#[test]
fn a_replica_that_stops_is_broken_and_not_lagging_first() {
    let mut world = World::settled();
    world.fails("db2", RepBacklog);
    world.second();
    world.fails("db2", RepThreads);
    world.pass(TRAP);
    assert_eq!(world.state("db2"), HostState::Online);
    world.second();
    assert_eq!(world.state("db2"), HostState::ReplicationFail);
    // With threads that were only in doubt, it is a lag.
    let mut world = World::settled();
    world.fails("db2", RepBacklog);
    world.fails("db2", RepThreads);
    world.second();
    world.mends("db2", RepThreads);
    world.pass(TRAP);
    assert_eq!(world.state("db2"), HostState::ReplicationDelay);
}

#[test]
fn a_peer_that_has_just_come_online_excuses_replication_for_a_minute() {
    let mut world = World::unseen(|_| {});
    world.pass(5);
    world.fails("db2", RepThreads);
    world.pass(50);
    assert_eq!(world.rule("db2"), HostRule::H12);
    world.pass(10);
    assert_eq!(world.state("db2"), HostState::ReplicationFail);
}

#[test]
fn a_host_that_has_just_become_the_writer_excuses_those_who_follow_another_still() {
    let mut world = World::settled();
    world.dies("db1", &["db2", "db3"]);
    world.pass(TRAP + 1);
    world.stands(|standing, _| standing.writer = Some("db2".into()));
    world.pass(30);
    assert_eq!(
        (world.state("db2"), world.rule("db3")),
        (HostState::Online, HostRule::H12)
    );
    world.pass(40);
    assert_eq!(world.state("db3"), HostState::ReplicationFail);
}

#[test]
fn those_who_lose_their_source_stay_online_whichever_check_notices_first() {
    for quick in [RepThreads, Mysql] {
        let mut world = World::settled_with(|cluster| match quick {
            RepThreads => cluster.checks.rep_threads.trap_after = Duration::from_secs(1),
            _ => cluster.checks.mysql.trap_after = Duration::from_secs(1),
        });
        world.dies("db1", &["db2", "db3"]);
        for _ in 0..100 {
            world.second();
            assert_eq!(world.state("db2"), HostState::Online);
            assert_eq!(world.state("db3"), HostState::Online);
        }
        assert_eq!(world.rule("db2"), HostRule::H11);
        assert_eq!(world.state("db1"), HostState::HardOffline);
    }
    // The source's probe hangs until its deadline, while its followers see at once that it is gone.
    let mut world = World::settled_with(|cluster| {
        cluster.checks.rep_threads.trap_after = Duration::from_secs(1);
    });
    world.dies("db1", &["db2"]);
    world
        .sick
        .insert(("db1", Mysql), CheckResult::Unknown("not back yet".into()));
    world.pass(3);
    assert_eq!(world.state("db2"), HostState::Online);
}

#[test]
fn a_standby_that_was_broken_is_not_promoted_because_its_peer_dies() {
    let mut world = World::settled();
    world.stands(|standing, _| standing.mode = Mode::Active);
    world.fails("db2", RepThreads);
    world.pass(TRAP + 1);
    assert_eq!(world.state("db2"), HostState::ReplicationFail);
    assert_eq!(world.engine.rule(), Rule::R04);
    world.dies("db1", &["db2", "db3"]);
    for _ in 0..100 {
        world.second();
        assert_eq!(world.state("db2"), HostState::ReplicationFail);
        assert_ne!(world.engine.rule(), Rule::R06);
    }
    assert_eq!(world.engine.rule(), Rule::R07);
}

#[test]
fn a_standby_that_merely_lost_its_source_or_lagged_may_be_promoted() {
    for lagging in [false, true] {
        let mut world = World::settled();
        world.stands(|standing, _| standing.mode = Mode::Active);
        if lagging {
            world.fails("db2", RepBacklog);
            world.pass(TRAP + 1);
            assert_eq!(world.state("db2"), HostState::ReplicationDelay);
        }
        world.dies("db1", &["db2", "db3"]);
        world.pass(TRAP);
        // What was asked for has come to nothing in this world, so it is asked again.
        world.engine.step(Moment(world.now_s * 1000 + 500), Input::Tick);
        let asked = world.engine.step(Moment(world.now_s * 1000 + 1000), Input::Tick);
        assert!(
            world.engine.rule() == Rule::R10 || asked.contains(&Effect::AskEvidence("db1".into())),
            "{:?} {asked:?}",
            world.engine.rule()
        );
    }
}

#[test]
fn a_monitor_without_records_that_finds_the_writer_dead_judges_the_standby_by_its_facts() {
    let mut world = World::unseen(|_| {});
    world.stands(|standing, _| standing.mode = Mode::Active);
    world.dies("db1", &["db2", "db3"]);
    world.pass(TRAP);
    assert_eq!(
        (world.state("db2"), world.rule("db2")),
        (HostState::Unknown, HostRule::H03)
    );
    let asked = world.engine.step(Moment(world.now_s * 1000 + 1000), Input::Tick);
    assert!(asked.contains(&Effect::AskEvidence("db1".into())), "{asked:?}");
    assert_eq!(world.rule("db2"), HostRule::H11);
}

#[test]
fn nothing_is_put_right_before_everybody_has_been_asked() {
    let mut world = World::unseen(|_| {});
    let mut cluster = world.engine.cluster().clone();
    cluster.roles.push(crate::core::cluster::Role {
        name: "reader".into(),
        mode: crate::core::cluster::RoleMode::Exclusive,
        hosts: vec!["db2".into(), "db3".into()],
        addresses: vec!["10.0.0.101".parse().unwrap()],
        prefer: None,
        fail_back: crate::core::cluster::FailBack::CaughtUp,
    });
    world.engine = Engine::new(cluster, BTreeMap::new(), world.standing.clone());
    let mut asked = Vec::new();
    for host in HOSTS {
        let facts = Box::new(world.facts(host));
        asked.extend(
            world
                .engine
                .step(Moment(world.now_s * 1000), Input::Looked(host.into(), facts)),
        );
    }
    let checks = HOSTS
        .into_iter()
        .flat_map(|host| CheckKind::ALL.map(|kind| (host, kind)));
    let mut checks: Vec<_> = checks.collect();
    let last = checks.pop().unwrap();
    let mut check = |(host, kind): (&str, CheckKind)| {
        let (host, result) = (host.into(), CheckResult::Ok("fine".into()));
        world
            .engine
            .step(Moment(world.now_s * 1000), Input::Checked { host, kind, result })
    };
    for one in checks {
        asked.extend(check(one));
    }
    assert!(!asked.contains(&Effect::Repair), "{asked:?}");
    assert!(check(last).contains(&Effect::Repair));
}

#[test]
fn hosts_out_of_service_or_waiting_are_not_promoted() {
    let mut world = World::settled();
    world.set_offline("db2");
    world.second();
    assert_eq!(world.engine.rule(), Rule::R04);
    let mut world = World::settled();
    world.dies("db2", &[]);
    world.pass(TRAP + 2);
    world.uptimes_s.insert("db2", 0);
    world.returns("db2");
    world.pass(200);
    assert_eq!(world.state("db2"), HostState::AwaitingRecovery);
    assert_eq!(world.engine.rule(), Rule::R04);
}

#[test]
fn a_short_downtime_without_a_restart_of_the_system_lets_a_host_back_in() {
    let mut world = World::settled();
    world.blinks("db3");
    world.second();
    assert_eq!(world.state("db3"), HostState::AwaitingRecovery);
    world.second();
    assert_eq!(
        (world.state("db3"), world.came_by("db3")),
        (HostState::Online, "H21")
    );
}

#[test]
fn after_a_long_downtime_or_a_reboot_a_host_waits_for_a_person() {
    for reboots in [false, true] {
        let mut world = World::settled();
        world.dies("db3", &[]);
        world.pass(if reboots { 10 } else { 100 });
        if reboots {
            world.uptimes_s.insert("db3", 3);
        }
        world.returns("db3");
        world.pass(300);
        assert_eq!(
            (world.state("db3"), world.rule("db3")),
            (HostState::AwaitingRecovery, HostRule::H23)
        );
        world.set_online("db3");
        assert_eq!(world.came_by("db3"), "H20");
    }
}

#[test]
fn auto_set_online_lets_a_host_back_in_after_its_time_across_a_restart() {
    let mut world = World::settled_with(|cluster| {
        cluster.recovery.auto_set_online = Some(Duration::from_secs(30));
    });
    world.dies("db3", &[]);
    world.pass(100);
    world.returns("db3");
    world.pass(20);
    let since = world.record("db3").since;
    world.restart(5);
    world.second();
    assert_eq!(world.record("db3").since, since);
    assert_eq!(world.state("db3"), HostState::AwaitingRecovery);
    world.pass(5);
    assert_eq!(
        (world.state("db3"), world.rule("db3")),
        (HostState::Online, HostRule::H09)
    );
}

#[test]
fn a_host_that_is_back_must_be_seen_to_replicate_before_it_is_let_in() {
    let mut world = World::settled_with(|cluster| {
        cluster.recovery.auto_set_online = Some(Duration::from_secs(1));
    });
    world.blinks("db3");
    // Within the trap period the verdict is still the one from before it went.
    world.fails("db3", RepThreads);
    world.pass(100);
    assert_eq!(
        (world.state("db3"), world.rule("db3")),
        (HostState::AwaitingRecovery, HostRule::H19)
    );
    world.mends("db3", RepThreads);
    world.second();
    assert_eq!(world.state("db3"), HostState::Online);
}

#[test]
fn a_host_that_returns_with_broken_replication_is_that_only_while_its_source_is_there() {
    let broken_before_it_goes = |world: &mut World| {
        world.fails("db2", RepThreads);
        world.pass(TRAP + 1);
        world.fails("db2", Mysql);
        world.pass(TRAP + 1);
        assert_eq!(world.state("db2"), HostState::HardOffline);
    };
    let mut world = World::settled();
    broken_before_it_goes(&mut world);
    world.mends("db2", Mysql);
    world.second();
    assert_eq!(world.state("db2"), HostState::ReplicationFail);
    let mut world = World::settled();
    broken_before_it_goes(&mut world);
    world.dies("db1", &[]);
    world.pass(TRAP + 1);
    world.mends("db2", Mysql);
    world.second();
    assert_eq!(world.state("db2"), HostState::AwaitingRecovery);
}

#[test]
fn a_person_takes_a_host_out_and_lets_it_back_in() {
    let mut world = World::settled();
    world.set_offline("db3");
    assert_eq!(world.state("db3"), HostState::AdminOffline);
    world.dies("db3", &[]);
    world.pass(100);
    world.restart(60);
    world.pass(10);
    assert_eq!(world.rule("db3"), HostRule::H01, "it stays out, whatever it does");
    world.returns("db3");
    world.fails("db3", RepThreads);
    world.pass(10);
    world.set_online("db3");
    world.second();
    assert_eq!(
        world.state("db3"),
        HostState::AwaitingRecovery,
        "it does not replicate yet"
    );
    world.mends("db3", RepThreads);
    world.second();
    assert_eq!(
        (world.state("db3"), world.came_by("db3")),
        (HostState::Online, "H20")
    );
    // That word is spent: the next time it waits again.
    world.dies("db3", &[]);
    world.pass(100);
    world.returns("db3");
    world.pass(10);
    assert_eq!(world.rule("db3"), HostRule::H23);
}
