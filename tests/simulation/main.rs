//! The shipped operations, performed by the real conductor in a small world full of faults: duties that fail, or whose
//! end is not known, or that happen late; looks that tell nothing; programs killed at any moment and runs settled by
//! whoever comes next. Whatever happens, two hosts never take writes at once.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod world;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use futures_util::FutureExt as _;
use mmm::config::{playbook, template};
use mmm::core::cluster::HostName;
use mmm::core::evidence::Rung;
use mmm::core::plan::{self, FenceDuty, Seats};
use mmm::core::playbook::Playbook;
use mmm::core::run::{Ending, Happening, Run, Stage};
use mmm::core::settlement::{self, CutOff, Sight, Verdict, Wish};
use mmm::io::conductor::{Hands as _, Past, Registered, RunReport, conduct};
use mmm::io::journal::{Entry, Opening};
use proptest::prelude::*;
use world::{Dice, FENCE, INCOMING, Model, OUTGOING, World};

/// As shipped.
static PLAYBOOK: LazyLock<Playbook> = LazyLock::new(|| playbook::load(None).unwrap());

/// An operation with its seats filled.
fn opening(operation: &str, rung: Option<Rung>, gtid: bool) -> Opening {
    let seats = Seats {
        outgoing: (operation != "reopen").then(|| OUTGOING.into()),
        incoming: Some(INCOMING.into()),
        replicas: vec!["db3".into()],
        donor: rung.map(|_| "db3".into()),
    };
    let mut context = template::Context::default();
    context.set("replication", serde_json::json!({ "gtid": gtid }));
    context.set("switchover", serde_json::json!({ "read_lock": true }));
    let obeyed = rung != Some(Rung::Fence);
    context
        .set("outgoing_obeyed", if obeyed { "yes" } else { "no" })
        .set("event_scheduler", "ON");
    context.set("allow_loss", "no").set("semi_sync", "yes");
    context.set("donor", rung.map_or("", |_| "db3"));
    for name in ["standby_stopped", "strays"] {
        context.set(name, "no");
    }
    let holds = |when: &str| template::holds(when, &context).unwrap();
    let keep = |step: &mmm::core::playbook::OperationStep| step.when.as_deref().is_none_or(holds);
    let played = &PLAYBOOK.operations[operation];
    let fence = FenceDuty {
        duty: FENCE.to_owned(),
        with: BTreeMap::new(),
    };
    Opening {
        run: "simulated".to_owned(),
        operation: operation.to_owned(),
        outgoing: seats.outgoing.clone(),
        incoming: seats.incoming.clone(),
        rung,
        automatic: false,
        address: None,
        chore: None,
        write_refused_max: None,
        stages: plan::stages(&PLAYBOOK, played, &seats, rung, Some(&fence), keep).unwrap(),
    }
}

/// Settles what was cut off, as the next program does, or as a person wants it; `None` when nobody may act any more.
fn settled(world: &World, opening: &Opening, stuck: bool) -> Option<Run> {
    world.model.borrow_mut().full_with = None;
    let mut run = Run::replay(opening.stages.clone(), &world.model.borrow().journal);
    if stuck {
        world.note(Entry::Step(Happening::Cleared));
        run.record(&Happening::Cleared);
    }
    // What still lived has been ended where the host answers, and what was sent has expired everywhere.
    world.passes();
    let sights = {
        let mut model = world.model.borrow_mut();
        model.late.clear();
        let hosts = [OUTGOING, INCOMING, "db3"].map(HostName::from);
        let see = |host: HostName| {
            let sight = match (model.dice.roll(8), model.writable.contains(&host)) {
                (7, _) => Sight::Unseen,
                (_, true) => Sight::Writable,
                (_, false) => Sight::ReadOnly,
            };
            (host, sight)
        };
        hosts.map(see).into_iter().collect::<BTreeMap<_, _>>()
    };
    let wish = world.model.borrow_mut().dice.roll(3);
    let wish = [Wish::Settle, Wish::GoOn, Wish::TakeBack][usize::from(wish)];
    world.tell_story(format!("{wish:?}: {sights:?} next {:?}", run.next()));
    let cut = |wish| CutOff {
        run: &run,
        wish,
        moved_since: None,
        held_elsewhere: None,
        doubt: None,
        moves_writer: opening.moves_writer(),
        is_failover: opening.rung.is_some(),
        outgoing: opening.outgoing.as_ref(),
        incoming: opening.incoming.as_ref(),
    };
    let verdict = match settlement::settle(cut(wish), &sights) {
        Verdict::Irrevocable(host) => {
            assert_eq!(host.as_str(), INCOMING);
            settlement::settle(cut(Wish::GoOn), &sights)
        }
        verdict => verdict,
    };
    match verdict {
        Verdict::Irrevocable(_) => panic!("only what is to be taken back can be irrevocable"),
        // The host was opened again by an undo that could not be written down.
        Verdict::Overtaken(_)
            if world.model.borrow().lost_lines
                && world.model.borrow().writable == BTreeSet::from([OUTGOING.into()]) =>
        {
            None
        }
        Verdict::Overtaken(because) => {
            // Nobody else acts in this world, so only the incoming host can have been opened, and only by this run.
            panic!("overtaken: {because}\n{}", world.model.borrow().story.join("\n"))
        }
        Verdict::Stuck(..) | Verdict::Doubtful(_) => None,
        Verdict::GoOn(happenings) => {
            for happening in happenings {
                world.note(Entry::Step(happening.clone()));
                run.record(&happening);
            }
            Some(run)
        }
    }
}

/// What became of a run after all who came settled it.
enum End {
    Ended(RunReport),
    NobodyMayAct,
}

/// Performs a run to its end, settling it whenever its program is killed, and once more after it got stuck.
fn live_through(world: &World, opening: &Opening) -> End {
    let mut run = Run::new(opening.stages.clone());
    let mut cleared = 0;
    loop {
        let past = Past {
            registered: world.model.borrow().registered.clone(),
            refused_for: None,
        };
        let report = conduct(world, opening, run, past).now_or_never();
        let stuck = match report {
            None => false,
            Some(report) => {
                let again = matches!(report.ending, Ending::Stuck { .. }) && !report.committed && cleared < 2;
                if !again {
                    return End::Ended(report);
                }
                cleared += 1;
                true
            }
        };
        match settled(world, opening, stuck) {
            Some(next) => run = next,
            None => return End::NobodyMayAct,
        }
    }
}

fn world(operation: &str, dice: Vec<u8>) -> World {
    let open = (operation != "reopen").then(|| OUTGOING.into());
    World {
        model: RefCell::new(Model {
            dice: Dice(dice.into_iter()),
            writable: open.into_iter().collect(),
            written: 7,
            arrived: 7,
            noted: None,
            late: Vec::new(),
            journal: Vec::new(),
            full_with: None,
            lost_lines: false,
            registered: Registered::new(),
            story: Vec::new(),
        }),
    }
}

fn keeps_the_laws(operation: &str, rung: Option<Rung>, gtid: bool, dice: Vec<u8>) {
    lives_lawfully(world(operation, dice), operation, rung, gtid);
}

fn lives_lawfully(world: World, operation: &str, rung: Option<Rung>, gtid: bool) {
    let opening = opening(operation, rung, gtid);
    let end = live_through(&world, &opening);
    // Whatever is still on its way arrives.
    let late = std::mem::take(&mut world.model.borrow_mut().late);
    for (host, duty) in late {
        world.apply(&host, &duty, "at last");
    }
    let model = world.model.borrow();
    let story = model.story.join("\n");
    let End::Ended(report) = end else { return };
    let open = |host: &str| model.writable.contains(&HostName::from(host));
    match &report.ending {
        Ending::Done { .. } => {
            assert!(
                report.committed && open(INCOMING) && !open(OUTGOING),
                "{report:?}\n{story}"
            );
            let lost = operation == "switchover" && model.written != model.arrived;
            assert!(
                !lost,
                "{} transactions lost without a word\n{story}",
                model.written - model.arrived
            );
        }
        Ending::Undone { .. } => {
            assert!(!report.committed && !open(INCOMING), "{report:?}\n{story}");
            if rung.is_none() && opening.outgoing.is_some() {
                assert!(open(OUTGOING), "{report:?}\n{story}");
            }
        }
        Ending::Failed { because } => panic!("an operation is never left half done: {because}\n{story}"),
        Ending::Stuck { .. } => assert!(!(report.committed && open(OUTGOING)), "{report:?}\n{story}"),
    }
}

/// No stage of a run that reached its commit is ever taken back.
fn undone_after_commit(stages: &[Stage], journal: &[Happening]) -> bool {
    let mut run = Run::new(stages.to_vec());
    journal.iter().any(|happening| {
        run.record(happening);
        run.is_committed() && matches!(happening, Happening::Undoing(_) | Happening::Undid(..))
    })
}

fn dice() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..160)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_switchover_never_makes_two_writers(gtid in any::<bool>(), dice in dice()) {
        keeps_the_laws("switchover", None, gtid, dice);
    }

    #[test]
    fn a_switchover_whose_journal_cannot_be_written_never_makes_two_writers(lines in 0..60_usize, dice in dice()) {
        let world = world("switchover", dice);
        world.model.borrow_mut().full_with = Some(lines);
        lives_lawfully(world, "switchover", None, true);
    }

    #[test]
    fn a_failover_never_makes_two_writers(dice in dice()) {
        keeps_the_laws("failover", Some(Rung::Demote), true, dice);
    }

    #[test]
    fn a_fence_that_lies_never_makes_two_writers(dice in dice()) {
        keeps_the_laws("failover", Some(Rung::Fence), true, dice);
    }

    #[test]
    fn a_reopened_writer_is_the_only_one(dice in dice()) {
        keeps_the_laws("reopen", None, true, dice);
    }

    #[test]
    fn nothing_is_taken_back_after_the_commit(dice in dice()) {
            let opening = opening("switchover", None, true);
        let world = world("switchover", dice);
        let _how_it_ended_is_judged_elsewhere = live_through(&world, &opening);
        prop_assert!(!undone_after_commit(&opening.stages, &world.model.borrow().journal));
    }
}

#[test]
fn a_world_without_faults_hands_over() {
    let opening = opening("switchover", None, true);
    let world = world("switchover", Vec::new());
    let End::Ended(report) = live_through(&world, &opening) else {
        panic!("it was not cut off")
    };
    assert_eq!(report.ending, Ending::Done { warnings: vec![] });
    let writable = world.model.borrow().writable.clone();
    assert_eq!(writable, BTreeSet::from([HostName::from(INCOMING)]));
}

#[test]
fn a_refusal_that_was_only_begun_overtakes_no_run_that_is_resumed_twice() {
    let dice = [&[0; 7][..], &[185, 0, 0, 0, 190, 0, 0, 0, 0, 183, 0, 0, 0, 0, 43]].concat();
    keeps_the_laws("switchover", None, false, dice);
}
