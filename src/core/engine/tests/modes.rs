//! What each mode lets the engine do, how a wait ends, and what happens while this box may be cut off.

use super::*;
use crate::core::mode::Deed;

/// A standing in `mode` with this writer.
fn standing(mode: Mode, writer: &str) -> Standing {
    Standing {
        mode,
        writer: Some(writer.into()),
        ..Standing::default()
    }
}

fn owing(mode: Mode, progress: Return) -> Standing {
    let mut standing = standing(mode, "db2");
    let owed = Owed {
        progress,
        ..Owed::now(Moment(1), "r", Rung::Silence)
    };
    standing.owed.insert("db1".into(), owed);
    standing
}

/// A cluster that stands so, where every check is fine.
fn well(standing: Standing) -> Story {
    let mut story = Story::new(standing);
    story.pass(1);
    for host in ["db1", "db2", "db3"] {
        for kind in CheckKind::ALL {
            story.check(host, kind, CheckResult::Ok("fine".into()));
        }
    }
    story
}

/// Facts of a host whose replication was stopped.
fn stopped() -> HostFacts {
    let mut facts = facts(false, &[]);
    if let Reach::Up(mysql) = &mut facts.mysql {
        mysql.replicas[0].io = IoThread::No;
        mysql.replicas[0].sql = SqlThread::No;
    }
    facts
}

/// Everything asked for in a situation that calls for this deed.
fn provoked(deed: Deed, mode: Mode) -> Vec<Effect> {
    let mut done = Vec::new();
    match deed {
        Deed::Adopt => {
            let mut story = well(Standing {
                mode,
                ..Standing::default()
            });
            done.extend(story.look("db1", facts(true, &[WRITER_ADDRESS])));
        }
        Deed::Quarantine => {
            let mut story = well(owing(mode, Return::Awaited));
            done.extend(story.look("db1", facts(true, &[WRITER_ADDRESS])));
            done.extend(story.pass(5));
        }
        Deed::Repair => {
            let mut story = well(standing(mode, "db1"));
            done.extend(story.look("db1", facts(true, &[])));
            done.extend(story.look("db2", facts(true, &[WRITER_ADDRESS])));
            done.extend(story.look("db3", facts(true, &[])));
            done.extend(story.pass(5));
        }
        Deed::Rejoin => {
            let mut story = well(owing(mode, Return::Quarantined));
            done.extend(story.look("db2", facts(true, &[WRITER_ADDRESS])));
            done.extend(story.look("db3", facts(false, &[])));
            done.extend(story.look("db1", stopped()));
            done.extend(story.pass(5));
        }
        Deed::Reopen => {
            let mut story = well(standing(mode, "db1"));
            done.extend(story.look("db2", facts(false, &[])));
            done.extend(story.look("db1", facts(false, &[WRITER_ADDRESS])));
            done.extend(story.pass(5));
        }
        Deed::FailOver => {
            let mut story = well(standing(mode, "db1"));
            story.look("db1", facts(true, &[WRITER_ADDRESS]));
            story.look("db2", facts(false, &[]));
            story.look("db3", facts(false, &[]));
            done.extend(story.check("db1", CheckKind::Mysql, CheckResult::Error("refused".into())));
            done.extend(story.pass(4));
            // It may have been asked for before the mode was changed.
            done.extend(story.evidence(MysqlView::PortClosed, HostView::ServerGone, WitnessView::Seen));
        }
        // The engine asks for neither: what was cut off is settled by whoever takes the lock.
        Deed::Settle | Deed::FailBack => {}
    }
    deeds(done)
        .into_iter()
        .filter(|effect| !matches!(effect, Effect::Activate { .. }))
        .collect()
}

fn is(effect: &Effect, deed: Deed) -> bool {
    match deed {
        Deed::Adopt => matches!(effect, Effect::Adopt),
        Deed::Quarantine => matches!(effect, Effect::Quarantine(_)),
        Deed::Repair => matches!(effect, Effect::Repair),
        Deed::Rejoin => matches!(effect, Effect::Rejoin(_)),
        Deed::Reopen => matches!(effect, Effect::Reopen(_)),
        Deed::FailOver => matches!(effect, Effect::AskEvidence(_) | Effect::FailOver { .. }),
        Deed::Settle | Deed::FailBack => false,
    }
}

#[test]
fn the_engine_does_what_its_mode_allows_and_passive_does_nothing() {
    let provoking = [
        Deed::Adopt,
        Deed::Quarantine,
        Deed::Repair,
        Deed::Rejoin,
        Deed::Reopen,
        Deed::FailOver,
    ];
    for deed in provoking {
        for mode in [Mode::Active, Mode::Manual, Mode::Passive] {
            let done = provoked(deed, mode);
            let does_it = done.iter().any(|effect| is(effect, deed));
            assert_eq!(does_it, mode.allows(deed), "{deed:?} in {mode}: {done:?}");
            if mode == Mode::Passive {
                assert_eq!(done, [], "{deed:?}");
            }
        }
    }
    // With one master down, so that the wait goes on.
    let mut story = Story::new(standing(Mode::Wait, "db1"));
    story.look("db1", facts(false, &[WRITER_ADDRESS]));
    assert_eq!(deeds(story.pass(5)), [], "it is not opened again");
    assert_eq!(story.engine.rule(), Rule::R15);
    story.check("db1", CheckKind::Mysql, CheckResult::Error("refused".into()));
    assert_eq!(deeds(story.pass(4)), []);
    assert_eq!(story.engine.rule(), Rule::R14);
}

/// In wait mode, with db1 as the writer and these hosts ONLINE; the others do not answer.
fn waiting(online: &[&str]) -> Story {
    let mut story = Story::new(standing(Mode::Wait, "db1"));
    story.pass(1);
    for host in ["db1", "db2"] {
        if !online.contains(&host) {
            story.check(host, CheckKind::Mysql, CheckResult::Error("refused".into()));
        }
    }
    story.pass(4);
    for host in online {
        for kind in CheckKind::ALL {
            story.check(host, kind, CheckResult::Ok("fine".into()));
        }
        story.look(host, facts(*host == "db1", &[]));
    }
    story
}

fn activated(effects: Vec<Effect>) -> Option<String> {
    deeds(effects).into_iter().find_map(|effect| match effect {
        Effect::Activate { because } => Some(because),
        _ => None,
    })
}

#[test]
fn both_masters_end_the_wait_at_once() {
    let mut story = Story::new(standing(Mode::Wait, "db1"));
    let mut done = story.pass(1);
    for kind in CheckKind::ALL {
        story.check("db1", kind, CheckResult::Ok("fine".into()));
    }
    story.look("db1", facts(true, &[]));
    for kind in CheckKind::ALL {
        done.extend(story.check("db2", kind, CheckResult::Ok("fine".into())));
    }
    assert_eq!(activated(done.clone()), None, "nobody has looked at it yet");
    done.extend(story.look("db2", facts(false, &[])));
    assert_eq!(activated(done).as_deref(), Some("db1 and db2 are ONLINE"));
    assert_eq!(deeds(story.pass(60)), [], "one thing at a time");
    // What the switch came to is told when it stands.
    let told = story.give(Input::Stands(Standing {
        mode_by: "the monitor".into(),
        ..standing(Mode::Active, "db1")
    }));
    let changed = Event::ModeChanged {
        from: Mode::Wait,
        to: Mode::Active,
        by: "the monitor".into(),
    };
    assert_eq!(
        told.iter()
            .filter(|effect| matches!(effect, Effect::Tell(Event::ModeChanged { .. })))
            .collect::<Vec<_>>(),
        [&Effect::Tell(changed)]
    );
    story.give(Input::Finished);
    assert_eq!(activated(story.pass(600)), None, "the wait is over");
}

#[test]
fn one_master_ends_the_wait_after_its_time_and_none_never_does() {
    let mut story = waiting(&["db2"]);
    assert_eq!(story.engine.rule(), Rule::R14, "the writer is down");
    assert_eq!(activated(story.pass(119)), None);
    let because = activated(story.pass(2)).unwrap_or_default();
    assert!(
        because.contains("db2 is ONLINE") && because.contains("120 s"),
        "{because}"
    );
    // Zero waits for ever.
    let mut story = waiting(&["db2"]);
    story.engine.cluster.start.wait_for_other_master = Duration::ZERO;
    assert_eq!(activated(story.pass(100_000)), None);
    // Nobody at all is no reason to begin.
    assert_eq!(activated(waiting(&[]).pass(100_000)), None);
    // Nor does a wait end while nothing may be decided.
    let mut story = waiting(&["db1", "db2"]);
    story.give(Input::Finished);
    story.give(Input::Stands(Standing {
        hands_off: Some("stuck".into()),
        ..standing(Mode::Wait, "db1")
    }));
    assert_eq!(activated(story.pass(300)), None);
}

#[test]
fn being_online_before_the_wait_began_does_not_count() {
    let mut story = well(standing(Mode::Manual, "db1"));
    story.look("db2", facts(false, &[]));
    story.check("db1", CheckKind::Mysql, CheckResult::Error("refused".into()));
    story.pass(1_000);
    story.give(Input::Stands(standing(Mode::Wait, "db1")));
    assert_eq!(activated(story.pass(119)), None);
    assert!(activated(story.pass(2)).is_some());
}

/// How often a change of the network is told.
fn network_tales(effects: &[Effect]) -> usize {
    let is_tale = |effect: &&Effect| matches!(effect, Effect::Tell(Event::NetworkChanged { .. }));
    effects.iter().filter(is_tale).count()
}

#[test]
fn while_this_box_may_be_cut_off_nothing_is_judged_or_decided() {
    let mut story = Story::healthy();
    // It begins to look dead; then it turns out that everything does.
    story.check("db1", CheckKind::Mysql, CheckResult::Error("timeout".into()));
    let mut done = story.give(Input::Network { answers: false });
    assert_eq!(story.engine.rule(), Rule::R13);
    for _ in 0..100 {
        for host in ["db1", "db2", "db3"] {
            for kind in CheckKind::ALL {
                done.extend(story.check(host, kind, CheckResult::Error("timeout".into())));
            }
        }
        done.extend(story.give(Input::Network { answers: false }));
        done.extend(story.pass(1));
    }
    assert_eq!(network_tales(&done), 1, "told once");
    assert_eq!(deeds(done), []);
    assert_eq!(
        story.engine.record(&"db1".into()).map(|record| record.state),
        Some(HostState::Online)
    );
    // It is back: what failed before has to fail for the whole trap period again.
    let back = story.give(Input::Network { answers: true });
    assert_eq!(network_tales(&back), 1);
    story.check("db1", CheckKind::Mysql, CheckResult::Error("refused".into()));
    assert_eq!(deeds(story.pass(3)), []);
    assert_eq!(story.engine.rule(), Rule::R05);
    assert_eq!(deeds(story.pass(1)), [Effect::AskEvidence("db1".into())]);
    // Cut off again while evidence is gathered: it says nothing.
    story.give(Input::Network { answers: false });
    let weighed = story.evidence(MysqlView::Silent, HostView::NotReached, WitnessView::AllSilent);
    assert_eq!(deeds(weighed), []);
}

#[test]
fn a_replaced_writer_that_is_met_is_made_harmless_even_then() {
    let mut story = well(owing(Mode::Active, Return::Awaited));
    story.give(Input::Network { answers: false });
    assert_eq!(
        deeds(story.look("db1", facts(true, &[WRITER_ADDRESS]))),
        [Effect::Quarantine("db1".into())]
    );
}
