//! Short stories of one cluster: what goes in, second by second, and what must come out.

mod modes;

use std::collections::BTreeMap;

use super::*;
use crate::core::cluster::Unfenced;
use crate::core::evidence::EvidenceRule;
use crate::core::evidence::{HostView, MysqlView, PingView, WitnessView};
use crate::core::facts::{IoThread, Reach, SqlThread};
use crate::core::samples::{WRITER_ADDRESS, cluster, facts};
use crate::core::standing::{Mode, Owed, Return};
use crate::core::trouble::Kind;

/// An engine and the seconds that have passed.
struct Story {
    engine: Engine,
    now_ms: u64,
}

impl Story {
    fn new(standing: Standing) -> Story {
        let means = Means {
            fence: false,
            unfenced: Unfenced::IfSilentToAll,
        };
        let means: BTreeMap<HostName, Means> = ["db1", "db2", "db3"]
            .into_iter()
            .map(|host| (HostName::from(host), means))
            .collect();
        Story {
            engine: Engine::new(cluster(), means, standing),
            now_ms: 1_000_000,
        }
    }

    /// db1 writes, everybody is well.
    fn healthy() -> Story {
        let mut story = Story::new(Standing {
            writer: Some("db1".into()),
            ..Standing::default()
        });
        story.pass(1);
        for host in ["db1", "db2", "db3"] {
            for kind in CheckKind::ALL {
                story.check(host, kind, CheckResult::Ok("fine".into()));
            }
        }
        story.look("db1", facts(true, &[WRITER_ADDRESS]));
        story.look("db2", facts(false, &[]));
        story.look("db3", facts(false, &[]));
        assert_eq!(story.engine.rule(), Rule::R03);
        story
    }

    fn give(&mut self, input: Input) -> Vec<Effect> {
        self.engine.step(Moment(self.now_ms), input)
    }

    fn pass(&mut self, seconds: u64) -> Vec<Effect> {
        self.now_ms += seconds * 1000;
        self.give(Input::Tick)
    }

    fn check(&mut self, host: &str, kind: CheckKind, result: CheckResult) -> Vec<Effect> {
        self.give(Input::Checked {
            host: host.into(),
            kind,
            result,
        })
    }

    fn look(&mut self, host: &str, facts: HostFacts) -> Vec<Effect> {
        self.now_ms += 1;
        self.give(Input::Looked(host.into(), Box::new(facts)))
    }

    /// The writer's check fails for the trap period; returns what is then asked for.
    fn writer_dies(&mut self) -> Vec<Effect> {
        self.check("db1", CheckKind::Mysql, CheckResult::Error("refused".into()));
        assert_eq!(self.engine.rule(), Rule::R05);
        self.pass(4)
    }

    fn evidence(&mut self, mysql: MysqlView, host: HostView, witnesses: WitnessView) -> Vec<Effect> {
        let evidence = Evidence {
            mysql,
            ping: PingView::Silent,
            host,
            witnesses,
        };
        self.give(Input::Evidence {
            circumstances: Default::default(),
            suspect: "db1".into(),
            evidence,
        })
    }
}

/// Effects other than telling and remembering.
fn deeds(effects: Vec<Effect>) -> Vec<Effect> {
    effects
        .into_iter()
        .filter(|effect| !matches!(effect, Effect::Tell(_) | Effect::Remember(_)))
        .collect()
}

#[test]
fn a_dead_writer_on_an_obeying_host_is_replaced_after_the_trap_period() {
    let mut story = Story::healthy();
    assert_eq!(deeds(story.writer_dies()), [Effect::AskEvidence("db1".into())]);
    let asked = deeds(story.evidence(MysqlView::PortClosed, HostView::ServerGone, WitnessView::Seen));
    let [
        Effect::FailOver {
            outgoing,
            incoming,
            rung,
            events,
            memory,
        },
    ] = asked.as_slice()
    else {
        unreachable!("{asked:?}");
    };
    assert_eq!((outgoing.as_str(), incoming.as_str()), ("db1", "db2"));
    assert_eq!((*rung, *events), (Rung::Demote, Some(true)));
    assert_eq!(
        memory.seen.as_ref().map(|seen| seen.host.as_str()),
        Some("db1"),
        "the last that was seen of it"
    );
    assert_eq!(deeds(story.pass(60)), [], "one thing at a time");
}

#[test]
fn a_writer_that_comes_back_within_the_trap_period_keeps_its_role() {
    let mut story = Story::healthy();
    story.check("db1", CheckKind::Mysql, CheckResult::Error("refused".into()));
    story.pass(3);
    story.check("db1", CheckKind::Mysql, CheckResult::Ok("fine".into()));
    assert_eq!(story.engine.rule(), Rule::R03);
    assert_eq!(deeds(story.pass(10)), []);
}

#[test]
fn being_cut_off_ourselves_is_refused_named_and_asked_about_again() {
    let mut story = Story::healthy();
    story.writer_dies();
    let asked = deeds(story.evidence(MysqlView::Silent, HostView::NotReached, WitnessView::Seen));
    assert_eq!(asked, []);
    assert_eq!(
        story.engine.guard().map(|guard| guard.rule),
        Some(EvidenceRule::R27)
    );
    assert_eq!(deeds(story.pass(3)), [Effect::AskEvidence("db1".into())]);
    // The network heals: nothing was done, and the guard is gone.
    story.evidence(MysqlView::Answers, HostView::ServerAnswers, WitnessView::Seen);
    story.check("db1", CheckKind::Mysql, CheckResult::Ok("fine".into()));
    assert_eq!(story.engine.guard(), None);
    assert_eq!(story.engine.rule(), Rule::R03);
}

#[test]
fn refused_connections_never_start_a_failover() {
    let mut story = Story::healthy();
    for _ in 0..100 {
        story.check(
            "db1",
            CheckKind::Mysql,
            CheckResult::Unknown("too many connections".into()),
        );
        assert_eq!(deeds(story.pass(1)), []);
    }
    assert_eq!(story.engine.rule(), Rule::R03);
}

#[test]
fn a_standby_that_does_not_apply_is_not_promoted() {
    let mut story = Story::healthy();
    let mut broken = facts(false, &[]);
    if let Reach::Up(mysql) = &mut broken.mysql {
        mysql.replicas[0].sql = SqlThread::No;
    }
    story.look("db2", broken);
    assert_eq!(story.engine.rule(), Rule::R04);
    assert_eq!(deeds(story.writer_dies()), []);
    assert_eq!(story.engine.rule(), Rule::R07);
}

#[test]
fn a_writer_found_read_only_is_opened_again() {
    let mut story = Story::healthy();
    let asked = deeds(story.look("db1", facts(false, &[WRITER_ADDRESS])));
    assert_eq!(asked, [Effect::Reopen("db1".into())]);
}

#[test]
fn old_facts_never_reopen_a_writer_that_has_just_been_opened() {
    let mut story = Story::healthy();
    story.writer_dies();
    story.evidence(MysqlView::PortClosed, HostView::ServerGone, WitnessView::Seen);
    story.now_ms += 100;
    story.give(Input::Stands(Standing {
        writer: Some("db2".into()),
        generation: 1,
        ..Standing::default()
    }));
    assert_eq!(
        deeds(story.give(Input::Finished)),
        [],
        "db2 was read-only when it was last looked at"
    );
    assert_eq!(deeds(story.look("db2", facts(true, &[WRITER_ADDRESS]))), []);
}

#[test]
fn a_second_writable_host_is_repaired_and_repair_waits_for_fresh_facts_of_all() {
    let mut story = Story::healthy();
    assert_eq!(deeds(story.look("db2", facts(true, &[]))), [Effect::Repair]);
    assert_eq!(deeds(story.give(Input::Finished)), []);
    assert_eq!(
        deeds(story.look("db2", facts(true, &[]))),
        [],
        "db1 and db3 have not been looked at since"
    );
    story.look("db1", facts(true, &[WRITER_ADDRESS]));
    assert_eq!(deeds(story.look("db3", facts(false, &[]))), [Effect::Repair]);
}

#[test]
fn passive_mode_and_hands_off_do_nothing_whatever_happens() {
    for standing in [
        Standing {
            writer: Some("db1".into()),
            mode: Mode::Passive,
            ..Standing::default()
        },
        Standing {
            writer: Some("db1".into()),
            hands_off: Some("stuck".into()),
            ..Standing::default()
        },
    ] {
        let mut story = Story::new(standing);
        let mut done = Vec::new();
        for host in ["db1", "db2", "db3"] {
            done.extend(deeds(story.look(host, facts(true, &[WRITER_ADDRESS]))));
            done.extend(deeds(story.check(
                host,
                CheckKind::Mysql,
                CheckResult::Error("gone".into()),
            )));
        }
        done.extend(deeds(story.pass(100)));
        assert_eq!(done, []);
    }
}

#[test]
fn manual_mode_repairs_but_leaves_a_failover_to_a_person() {
    let standing = Standing {
        writer: Some("db1".into()),
        mode: Mode::Manual,
        ..Standing::default()
    };
    let mut story = Story::healthy();
    story.give(Input::Stands(standing));
    assert_eq!(deeds(story.writer_dies()), []);
    assert_eq!(story.engine.rule(), Rule::R11);
}

#[test]
fn a_replaced_writer_is_quarantined_first_and_then_compared() {
    let mut story = Story::healthy();
    let owed = Owed::now(Moment(1), "r", Rung::Silence);
    let mut standing = Standing {
        writer: Some("db2".into()),
        generation: 2,
        ..Standing::default()
    };
    standing.owed.insert("db1".into(), owed.clone());
    story.give(Input::Stands(standing.clone()));
    story.look("db2", facts(true, &[WRITER_ADDRESS]));
    story.look("db3", facts(false, &[]));
    story.give(Input::Finished);
    story.look("db2", facts(true, &[WRITER_ADDRESS]));
    story.look("db3", facts(false, &[]));
    story.now_ms += 1_000;
    assert_eq!(
        deeds(story.look("db1", facts(true, &[WRITER_ADDRESS]))),
        [Effect::Quarantine("db1".into())]
    );
    standing.owed.insert(
        "db1".into(),
        Owed {
            progress: Return::Quarantined,
            ..owed
        },
    );
    story.give(Input::Stands(standing));
    story.give(Input::Finished);
    let mut quarantined = facts(false, &[]);
    if let Reach::Up(mysql) = &mut quarantined.mysql {
        mysql.replicas[0].io = IoThread::No;
        mysql.replicas[0].sql = SqlThread::No;
    }
    story.now_ms += 5_000;
    story.look("db2", facts(true, &[WRITER_ADDRESS]));
    story.look("db3", facts(false, &[]));
    assert_eq!(
        deeds(story.look("db1", quarantined)),
        [Effect::Rejoin("db1".into())]
    );
}

#[test]
fn a_replaced_writer_is_made_harmless_whatever_else_is_wrong_and_the_writer_itself_never() {
    let owed = Owed::now(Moment(1), "r", Rung::Silence);
    let mut standing = Standing {
        writer: Some("db2".into()),
        generation: 2,
        ..Standing::default()
    };
    standing.owed.insert("db1".into(), owed.clone());
    let mut story = Story::new(standing.clone());
    story.check("db2", CheckKind::Mysql, CheckResult::Error("gone".into()));
    story.pass(10);
    assert_eq!(story.engine.rule(), Rule::R07);
    // Nobody else has been looked at.
    assert_eq!(
        deeds(story.look("db1", facts(true, &[]))),
        [Effect::Quarantine("db1".into())]
    );
    // It did not obey: another attempt at once would leave no turn to anything else.
    story.give(Input::Finished);
    assert_eq!(deeds(story.look("db1", facts(true, &[]))), []);
    assert_eq!(deeds(story.pass(1)), [Effect::Quarantine("db1".into())]);
    // Nor does a stuck run keep it open beside the new writer.
    let mut story = Story::new(Standing {
        hands_off: Some("stuck".into()),
        ..standing.clone()
    });
    assert_eq!(
        deeds(story.look("db1", facts(true, &[]))),
        [Effect::Quarantine("db1".into())]
    );
    // A run that was cut off may still owe the return of the host that stayed the writer.
    standing.owed.insert("db2".into(), owed);
    standing.owed.remove(&HostName::from("db1"));
    let mut story = Story::new(standing);
    assert_eq!(deeds(story.look("db2", facts(true, &[WRITER_ADDRESS]))), []);
}

#[test]
fn a_stuck_run_is_settled_once_the_hosts_that_it_waits_for_answer() {
    let mut stuck = Standing {
        writer: Some("db1".into()),
        ..Standing::default()
    };
    stuck.get_stuck("run r".to_owned(), &["db2".into()]);
    let mut story = Story::new(stuck.clone());
    assert_eq!(deeds(story.look("db1", facts(true, &[WRITER_ADDRESS]))), []);
    assert_eq!(story.engine.rule(), Rule::R02);
    assert_eq!(deeds(story.look("db2", facts(false, &[]))), [Effect::Repair]);
    // It did not work out: not again at once, and only after another look.
    story.give(Input::Finished);
    assert_eq!(deeds(story.look("db2", facts(false, &[]))), []);
    assert_eq!(deeds(story.pass(5)), [Effect::Repair]);

    // In passive mode, or where a person must judge, it stays.
    stuck.mode = Mode::Passive;
    let mut story = Story::new(stuck.clone());
    assert_eq!(deeds(story.look("db2", facts(false, &[]))), []);
    stuck.mode = Mode::Active;
    stuck.hands_off_awaits.clear();
    let mut story = Story::new(stuck);
    assert_eq!(deeds(story.look("db2", facts(false, &[]))), []);
    assert_eq!(deeds(story.pass(20)), []);
}

#[test]
fn a_monitor_that_began_before_its_servers_learns_who_the_writer_is() {
    let mut story = Story::new(Standing::default());
    assert_eq!(deeds(story.pass(10)), []);
    assert_eq!(story.engine.rule(), Rule::R09);
    assert_eq!(deeds(story.look("db2", facts(false, &[]))), []);
    assert_eq!(
        deeds(story.look("db1", facts(true, &[WRITER_ADDRESS]))),
        [Effect::Adopt]
    );
    // Two would be one too many.
    let mut story = Story::new(Standing::default());
    story.look("db1", facts(true, &[WRITER_ADDRESS]));
    story.give(Input::Finished);
    story.look("db2", facts(true, &[]));
    assert_eq!(deeds(story.pass(10)), []);
}

#[test]
fn the_same_trouble_is_alarmed_about_once_until_something_succeeds() {
    let mut story = Story::healthy();
    let trouble = Trouble::new(Kind::Refused, "it failed", "because");
    let alarms = |effects: Vec<Effect>| {
        effects
            .iter()
            .filter(|effect| matches!(effect, Effect::Tell(Event::Alarm { .. })))
            .count()
    };
    assert_eq!(alarms(story.give(Input::Failed(trouble.clone()))), 1);
    story.give(Input::Finished);
    assert_eq!(alarms(story.give(Input::Failed(trouble.clone()))), 0);
    story.give(Input::Finished);
    story.give(Input::Finished);
    assert_eq!(alarms(story.give(Input::Failed(trouble))), 1);
}
