//! The fold: forward, back, looked into, stuck.

use proptest::prelude::*;

use super::*;

fn stage(section: Section, name: &str, undo: Option<&str>) -> Stage {
    Stage {
        section,
        name: name.into(),
        seat: Seat::Outgoing,
        hosts: vec!["db1".into()],
        duty: name.into(),
        source: None,
        with: BTreeMap::new(),
        within: Duration::from_secs(1),
        undo: undo.map(Into::into),
        undo_if_possible: false,
        only_asks: false,
        if_possible: false,
    }
}

fn switchover() -> Vec<Stage> {
    vec![
        stage(Section::Prepare, "deny", Some("allow")),
        stage(Section::Prepare, "catch-up", None),
        stage(Section::Prepare, "address", Some("remove")),
        stage(Section::Commit, "allow", None),
        stage(Section::Secure, "announce", None),
        stage(Section::Finish, "follow", None),
    ]
}

fn failed() -> Outcome {
    Outcome::Failed("no".into())
}
fn unknown() -> Outcome {
    Outcome::Unknown("link died".into())
}

fn run_until(stages: Vec<Stage>, outcomes: &[(usize, Outcome)]) -> Run {
    let mut run = Run::new(stages);
    for (stage, outcome) in outcomes {
        run.record(&Happening::Did(*stage, outcome.clone()));
    }
    run
}

#[test]
fn goes_through_in_order() {
    let all: Vec<_> = (0..6).map(|stage| (stage, Outcome::Done)).collect();
    let run = run_until(switchover(), &all);
    assert_eq!(run.next(), &Next::End(Ending::Done { warnings: vec![] }));
    assert!(run.is_committed());
}

#[test]
fn a_failure_in_prepare_undoes_newest_first_including_the_failed_stage() {
    let mut run = run_until(
        switchover(),
        &[(0, Outcome::Done), (1, Outcome::Done), (2, failed())],
    );
    assert_eq!(run.next(), &Next::Undo(2));
    run.record(&Happening::Undid(2, Outcome::Done));
    assert_eq!(run.next(), &Next::Undo(0));
    run.record(&Happening::Undid(0, Outcome::Done));
    assert!(
        matches!(run.next(), Next::End(Ending::Undone { because, untouched: false }) if because.contains("\"address\""))
    );
}

#[test]
fn what_takes_too_long_is_given_up_until_the_commit_is_begun_and_not_after() {
    let overdue = |stage| Happening::Overdue(stage, "10 s are over".into());
    let mut run = run_until(switchover(), &[(0, Outcome::Done)]);
    assert!(run.may_be_overdue());
    run.record(&overdue(1));
    assert_eq!(run.next(), &Next::Undo(0), "the stage itself was not begun");
    run.record(&Happening::Undid(0, Outcome::Done));
    assert!(
        matches!(run.next(), Next::End(Ending::Undone { because, untouched: false }) if because.contains("10 s are over"))
    );

    let prepared: Vec<_> = (0..3).map(|stage| (stage, Outcome::Done)).collect();
    let mut run = run_until(switchover(), &prepared);
    assert!(run.may_be_overdue(), "the commit is next, and not begun");
    let mut begun = run.clone();
    run.record(&overdue(3));
    assert_eq!(run.next(), &Next::Undo(2));

    begun.record(&Happening::Doing(3));
    assert!(!begun.may_be_overdue());
    begun.record(&overdue(3));
    assert_eq!(begun.next(), &Next::Do(3));
    begun.record(&Happening::Did(3, Outcome::Done));
    assert!(!begun.may_be_overdue());
}

#[test]
fn an_unknown_stage_is_looked_into_before_anything_else_happens() {
    let mut run = run_until(switchover(), &[(0, unknown())]);
    assert_eq!(run.next(), &Next::Look(0));
    run.record(&Happening::Looked(0, Settled::CannotTell));
    assert!(matches!(run.next(), Next::End(Ending::Stuck { .. })));
}

#[test]
fn a_commit_that_did_not_happen_is_undone_and_one_that_did_goes_on() {
    let before: Vec<_> = (0..3).map(|stage| (stage, Outcome::Done)).collect();
    for (settled, expected) in [
        (Settled::DidNotHappen, Next::Undo(2)),
        (Settled::Happened, Next::Do(4)),
    ] {
        let mut run = run_until(switchover(), &before);
        run.record(&Happening::Did(3, unknown()));
        assert_eq!(run.next(), &Next::Look(3));
        run.record(&Happening::Looked(3, settled));
        assert_eq!(run.next(), &expected);
    }
}

#[test]
fn secure_is_retried_then_stuck_but_the_rest_is_still_done() {
    let before: Vec<_> = (0..4).map(|stage| (stage, Outcome::Done)).collect();
    let mut run = run_until(switchover(), &before);
    for _ in 0..TRIES_TO_SECURE {
        assert_eq!(run.next(), &Next::Do(4));
        run.record(&Happening::Did(4, failed()));
    }
    assert_eq!(run.next(), &Next::Do(5));
    run.record(&Happening::Did(5, Outcome::Done));
    assert!(matches!(run.next(), Next::End(Ending::Stuck { .. })));
}

#[test]
fn a_stuck_run_that_a_person_has_looked_after_is_looked_into_again() {
    let mut doubtful = run_until(
        switchover(),
        &[(0, Outcome::Done), (1, Outcome::Done), (2, Outcome::Done)],
    );
    doubtful.record(&Happening::Did(3, unknown()));
    doubtful.record(&Happening::Looked(3, Settled::CannotTell));
    assert!(doubtful.is_in_doubt());
    doubtful.record(&Happening::Cleared);
    assert_eq!(doubtful.next(), &Next::Look(3));

    let mut undoing = run_until(switchover(), &[(0, failed())]);
    for _ in 0..TRIES_TO_UNDO {
        undoing.record(&Happening::Undid(0, failed()));
    }
    undoing.record(&Happening::Cleared);
    undoing.record(&Happening::Looked(0, Settled::DidNotHappen));
    assert_eq!(undoing.next(), &Next::Undo(0));
}

#[test]
fn finish_only_warns() {
    let before: Vec<_> = (0..5).map(|stage| (stage, Outcome::Done)).collect();
    let mut run = run_until(switchover(), &before);
    run.record(&Happening::Did(5, failed()));
    assert!(matches!(run.next(), Next::End(Ending::Done { warnings }) if warnings.len() == 1));
}

#[test]
fn a_failed_undo_is_stuck() {
    let mut run = run_until(switchover(), &[(0, failed())]);
    for _ in 0..TRIES_TO_UNDO {
        assert_eq!(run.next(), &Next::Undo(0));
        run.record(&Happening::Undid(0, failed()));
    }
    assert!(matches!(run.next(), Next::End(Ending::Stuck { .. })));
}

#[test]
fn what_need_not_be_given_back_is_tried_once_and_a_person_is_told_how() {
    let stages = || {
        let mut stages = switchover();
        stages[0].undo_if_possible = true;
        stages
    };
    for lost in [failed(), unknown()] {
        let mut run = run_until(stages(), &[(0, Outcome::Done), (1, failed())]);
        assert_eq!(run.next(), &Next::Undo(0));
        run.record(&Happening::Undid(0, lost));
        let Next::End(Ending::Undone { because, .. }) = run.next() else {
            panic!("{:?}", run.next())
        };
        assert!(because.contains("\"catch-up\": no"), "{because}");
        assert!(because.contains("`mmm playbook run allow --at db1`"), "{because}");
        run.record(&Happening::Resumed);
        assert_eq!(run.next(), &Next::Do(0));
    }
    let mut run = run_until(stages(), &[(0, Outcome::Done), (1, failed())]);
    run.record(&Happening::Undid(0, Outcome::Done));
    assert!(matches!(run.next(), Next::End(Ending::Undone { because, .. }) if !because.contains("playbook")));
}

#[test]
fn a_stage_that_was_begun_and_never_ended_counts_as_touched() {
    let mut run = Run::replay(switchover(), &[Happening::Doing(0)]);
    assert_eq!(run.next(), &Next::Do(0));
    run.record(&Happening::Did(0, unknown()));
    assert_eq!(run.next(), &Next::Look(0));
}

/// Any world at all: each step's outcome, look and undo is drawn at random.
fn any_outcome() -> impl Strategy<Value = (Outcome, Settled, Outcome)> {
    let outcome = prop_oneof![Just(Outcome::Done), Just(failed()), Just(unknown())];
    let settled = prop_oneof![
        Just(Settled::Happened),
        Just(Settled::DidNotHappen),
        Just(Settled::CannotTell)
    ];
    (outcome.clone(), settled, outcome)
}

proptest! {
    #[test]
    fn never_undoes_after_the_commit_and_always_ends(world in prop::collection::vec(any_outcome(), 200)) {
        let mut run = Run::new(switchover());
        let mut steps = world.into_iter();
        loop {
            let Some((outcome, settled, undone)) = steps.next() else { panic!("does not end") };
            let happening = match run.next().clone() {
                Next::Do(stage) => Happening::Did(stage, outcome),
                Next::Look(stage) => Happening::Looked(stage, settled),
                Next::Undo(stage) => {
                    prop_assert!(!run.is_committed());
                    Happening::Undid(stage, undone)
                }
                Next::End(ending) => {
                    if run.is_committed() {
                        let undone = matches!(ending, Ending::Undone { .. });
                        prop_assert!(!undone);
                    } else {
                        let done = matches!(ending, Ending::Done { .. });
                        prop_assert!(!done);
                    }
                    break;
                }
            };
            run.record(&happening);
        }
    }
}

fn asks(section: Section, name: &str) -> Stage {
    Stage {
        only_asks: true,
        ..stage(section, name, None)
    }
}

#[test]
fn a_question_whose_answer_is_lost_is_not_looked_into_and_only_what_came_before_is_undone() {
    let stages = || {
        vec![
            asks(Section::Prepare, "may it"),
            stage(Section::Prepare, "deny", Some("allow")),
            asks(Section::Prepare, "unmoved"),
            stage(Section::Commit, "allow", None),
        ]
    };
    let run = run_until(stages(), &[(0, unknown())]);
    assert!(matches!(
        run.next(),
        Next::End(Ending::Undone { untouched: true, .. })
    ));
    let mut run = run_until(
        stages(),
        &[(0, Outcome::Done), (1, Outcome::Done), (2, unknown())],
    );
    assert_eq!(run.next(), &Next::Undo(1));
    run.record(&Happening::Undid(1, Outcome::Done));
    assert!(matches!(
        run.next(),
        Next::End(Ending::Undone { untouched: false, .. })
    ));
}

#[test]
fn a_question_is_not_asked_again_after_the_commit_and_what_is_only_tried_is_a_warning() {
    let stages = vec![
        stage(Section::Commit, "allow", None),
        asks(Section::Secure, "unmoved"),
        Stage {
            if_possible: true,
            ..stage(Section::Secure, "announce", None)
        },
    ];
    let mut run = run_until(stages.clone(), &[(0, Outcome::Done), (1, failed())]);
    assert_eq!(run.next(), &Next::Do(2));
    run.record(&Happening::Did(2, unknown()));
    assert!(
        matches!(run.next(), Next::End(Ending::Stuck { because, awaits }) if because.contains("unmoved") && awaits.is_empty())
    );
    let run = run_until(stages, &[(0, Outcome::Done), (1, Outcome::Done), (2, failed())]);
    assert!(matches!(run.next(), Next::End(Ending::Done { warnings }) if warnings.len() == 1));
}

#[test]
fn who_could_not_be_asked_is_waited_for_and_what_was_found_wrong_is_not() {
    let awaited = |run: &Run| match run.next() {
        Next::End(Ending::Stuck { awaits, .. }) => awaits.clone(),
        other => panic!("{other:?}"),
    };
    let mut run = run_until(switchover(), &[(0, unknown())]);
    run.record(&Happening::Looked(0, Settled::CannotTell));
    assert_eq!(awaited(&run), ["db1".into()]);

    let mut run = run_until(switchover(), &[(0, failed())]);
    for _ in 0..TRIES_TO_UNDO {
        run.record(&Happening::Undid(0, unknown()));
    }
    assert_eq!(awaited(&run), ["db1".into()]);

    // One that does not obey is waited for, unless something else was found that only a person can judge.
    let does_not_obey = |stage: usize| vec![(stage, failed()); TRIES_TO_SECURE as usize];
    let stages = vec![
        stage(Section::Commit, "allow", None),
        stage(Section::Secure, "take away", None),
    ];
    let done = vec![(0, Outcome::Done)];
    let run = run_until(stages.clone(), &[done.clone(), does_not_obey(1)].concat());
    assert_eq!(awaited(&run), ["db1".into()]);
    let stages = [stages, vec![asks(Section::Secure, "unmoved")]].concat();
    let run = run_until(stages, &[done, does_not_obey(1), vec![(2, failed())]].concat());
    assert!(awaited(&run).is_empty());
}

#[test]
fn a_resumed_run_asks_and_does_everything_again_and_takes_back_each_thing_once() {
    let mut run = Run::new(switchover());
    for happening in [
        Happening::Did(0, Outcome::Done),
        Happening::Did(1, Outcome::Done),
        Happening::Doing(2),
        Happening::Resumed,
    ] {
        run.record(&happening);
    }
    assert_eq!(run.next(), &Next::Do(0));
    assert!(run.was_begun_before(0) && run.was_begun_before(2) && !run.was_begun_before(3));
    run.record(&Happening::Did(0, failed()));
    assert_eq!(
        run.next(),
        &Next::Undo(2),
        "what an earlier program had done as well"
    );
    run.record(&Happening::Undid(2, Outcome::Done));
    assert_eq!(run.next(), &Next::Undo(0));
    run.record(&Happening::Undid(0, Outcome::Done));
    assert!(matches!(
        run.next(),
        Next::End(Ending::Undone { untouched: false, .. })
    ));
}

#[test]
fn at_the_incoming_host_only_the_last_thing_that_was_begun_is_done_again() {
    let mut stages = switchover();
    for stage in &mut stages[..3] {
        stage.seat = Seat::Incoming;
        stage.hosts = vec!["db2".into()];
    }
    let mut run = Run::new(stages);
    run.record(&Happening::Did(0, Outcome::Done));
    run.record(&Happening::Did(1, Outcome::Done));
    run.record(&Happening::Resumed);
    assert_eq!(
        run.next(),
        &Next::Do(1),
        "what came before it is where it started from"
    );
}

#[test]
fn resumed_in_the_middle_of_going_back_it_goes_forward_and_in_doubt_it_goes_nowhere() {
    let mut run = run_until(switchover(), &[(0, Outcome::Done), (1, failed())]);
    run.record(&Happening::Looked(1, Settled::DidNotHappen));
    assert_eq!(run.next(), &Next::Undo(0));
    run.record(&Happening::Resumed);
    assert_eq!(run.next(), &Next::Do(0));
    let mut doubtful = run_until(
        switchover(),
        &[(0, Outcome::Done), (1, Outcome::Done), (2, Outcome::Done)],
    );
    doubtful.record(&Happening::Doing(3));
    doubtful.record(&Happening::Resumed);
    assert_eq!(doubtful.next(), &Next::Do(3));
    assert!(doubtful.is_in_doubt());
}

#[test]
fn a_stuck_run_behind_its_commit_tries_again_what_must_come_true() {
    let mut run = run_until(
        switchover(),
        &(0..4).map(|stage| (stage, Outcome::Done)).collect::<Vec<_>>(),
    );
    for _ in 0..TRIES_TO_SECURE {
        run.record(&Happening::Did(4, failed()));
    }
    run.record(&Happening::Did(5, Outcome::Done));
    assert!(matches!(run.next(), Next::End(Ending::Stuck { .. })));
    run.record(&Happening::Resumed);
    assert_eq!(run.next(), &Next::Do(4));
    run.record(&Happening::Did(4, Outcome::Done));
    run.record(&Happening::Did(5, Outcome::Done));
    assert!(matches!(run.next(), Next::End(Ending::Done { .. })));
}

#[test]
fn a_question_that_nobody_answered_after_the_commit_is_asked_again_once_its_host_answers() {
    let stages = vec![
        stage(Section::Commit, "allow", None),
        asks(Section::Secure, "unmoved"),
        stage(Section::Secure, "announce", None),
        stage(Section::Finish, "follow", None),
    ];
    let lost = vec![(1, unknown()); TRIES_TO_SECURE as usize];
    let all = [
        vec![(0, Outcome::Done)],
        lost.clone(),
        vec![(2, Outcome::Done), (3, failed())],
    ]
    .concat();
    let stuck = run_until(stages.clone(), &all);
    assert!(matches!(stuck.next(), Next::End(Ending::Stuck { awaits, .. }) if *awaits == ["db1".into()]));
    let mut run = stuck.clone();
    run.record(&Happening::Cleared);
    assert_eq!(run.next(), &Next::Do(1));
    run.record(&Happening::Did(1, Outcome::Done));
    assert!(
        matches!(run.next(), Next::End(Ending::Done { .. })),
        "the rest was done"
    );
    // What it finds is for a person, who is not asked to look twice.
    let mut run = stuck;
    run.record(&Happening::Cleared);
    run.record(&Happening::Did(1, failed()));
    assert!(matches!(run.next(), Next::End(Ending::Stuck { awaits, .. }) if awaits.is_empty()));
    run.record(&Happening::Cleared);
    assert!(matches!(run.next(), Next::End(Ending::Stuck { .. })));
    // What could not be made true is left to repairs, as before.
    let does_not_obey = vec![(2, failed()); TRIES_TO_SECURE as usize];
    let mut run = run_until(
        stages,
        &[
            vec![(0, Outcome::Done), (1, Outcome::Done)],
            does_not_obey,
            vec![(3, Outcome::Done)],
        ]
        .concat(),
    );
    assert!(matches!(run.next(), Next::End(Ending::Stuck { .. })));
    run.record(&Happening::Cleared);
    assert!(matches!(run.next(), Next::End(Ending::Done { .. })));
}

#[test]
fn what_is_only_tried_on_the_host_to_be_opened_is_known_to_be_gone_before_that() {
    let tried = |seat| Stage {
        seat,
        if_possible: true,
        ..stage(Section::Prepare, "take over", None)
    };
    let stages = |seat| vec![tried(seat), stage(Section::Commit, "allow", None)];
    let unknown_at = |seat| run_until(stages(seat), &[(0, unknown())]);
    assert_eq!(unknown_at(Seat::Outgoing).next(), &Next::Do(1));
    assert_eq!(unknown_at(Seat::Donor).next(), &Next::Do(1));
    assert_eq!(
        run_until(stages(Seat::Incoming), &[(0, failed())]).next(),
        &Next::Do(1),
        "nothing is left of what has failed"
    );
    let look = unknown_at(Seat::Incoming);
    assert_eq!(look.next(), &Next::Look(0));
    for settled in [Settled::Happened, Settled::DidNotHappen] {
        let mut gone = look.clone();
        gone.record(&Happening::Looked(0, settled));
        assert_eq!(gone.next(), &Next::Do(1));
    }
    let mut haunted = look.clone();
    haunted.record(&Happening::Looked(0, Settled::CannotTell));
    assert!(matches!(haunted.next(), Next::End(Ending::Stuck { .. })));
    // Settled later, by whoever comes: only back.
    haunted.record(&Happening::Cleared);
    haunted.record(&Happening::Looked(0, Settled::DidNotHappen));
    assert!(matches!(haunted.next(), Next::End(Ending::Undone { .. })));
}
