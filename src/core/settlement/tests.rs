//! What becomes of runs that were cut off, by what their hosts show.

use std::time::Duration;

use super::*;
use crate::core::playbook::Seat;
use crate::core::run::Stage;

fn run(happenings: &[Happening]) -> Run {
    let stage = |section, duty: &str, undo: Option<&str>| Stage {
        section,
        name: duty.into(),
        seat: Seat::Outgoing,
        hosts: vec!["db1".into()],
        duty: duty.into(),
        source: None,
        with: BTreeMap::new(),
        within: Duration::from_secs(1),
        undo: undo.map(Into::into),
        undo_if_possible: false,
        only_asks: false,
        if_possible: false,
    };
    let stages = vec![
        stage(Section::Prepare, "deny-writes", Some("allow")),
        stage(Section::Commit, "allow", None),
        stage(Section::Secure, "announce", None),
    ];
    Run::replay(stages, happenings)
}

fn verdict(happenings: &[Happening], db1: Sight, db2: Sight) -> Verdict {
    wanted(Wish::Settle, None, happenings, db1, db2)
}

fn wanted(
    wish: Wish,
    moved_since: Option<&str>,
    happenings: &[Happening],
    db1: Sight,
    db2: Sight,
) -> Verdict {
    seen(wish, (moved_since, None), happenings, db1, db2)
}

fn seen(
    wish: Wish,
    (moved_since, held_elsewhere): (Option<&str>, Option<&str>),
    happenings: &[Happening],
    db1: Sight,
    db2: Sight,
) -> Verdict {
    let run = run(happenings);
    let (outgoing, incoming) = (HostName::from("db1"), HostName::from("db2"));
    let cut = CutOff {
        run: &run,
        moves_writer: true,
        is_failover: false,
        outgoing: Some(&outgoing),
        incoming: Some(&incoming),
        wish,
        moved_since,
        held_elsewhere,
        doubt: None,
    };
    settle(
        cut,
        &BTreeMap::from([(outgoing.clone(), db1), (incoming.clone(), db2)]),
    )
}

const DENIED: [Happening; 2] = [Happening::Doing(0), Happening::Did(0, Outcome::Done)];

fn after_denying(more: &[Happening]) -> Vec<Happening> {
    [&DENIED, more].concat()
}

#[test]
fn before_the_commit_everything_is_taken_back_even_when_the_incoming_host_is_silent() {
    for incoming in [Sight::ReadOnly, Sight::Unseen] {
        let verdict = verdict(&DENIED, Sight::ReadOnly, incoming);
        assert!(
            matches!(&verdict, Verdict::GoOn(steps) if steps.len() == 3),
            "{verdict:?}"
        );
    }
}

#[test]
fn a_commit_in_doubt_is_settled_by_what_the_incoming_host_shows_and_by_nothing_else() {
    let begun = after_denying(&[Happening::Doing(1)]);
    let went = verdict(&begun, Sight::ReadOnly, Sight::Writable);
    assert_eq!(went, Verdict::GoOn(vec![Happening::Did(1, Outcome::Done)]));
    let not = verdict(&begun, Sight::ReadOnly, Sight::ReadOnly);
    assert!(
        matches!(not, Verdict::GoOn(steps) if steps.contains(&Happening::Looked(1, Settled::DidNotHappen)))
    );
    for outgoing in [Sight::ReadOnly, Sight::Unseen, Sight::Writable] {
        assert!(matches!(
            verdict(&begun, outgoing, Sight::Unseen),
            Verdict::Stuck(..)
        ));
    }
}

#[test]
fn who_was_opened_by_somebody_else_overtakes() {
    assert!(matches!(
        verdict(&DENIED, Sight::ReadOnly, Sight::Writable),
        Verdict::Overtaken(_)
    ));
    let undoing = after_denying(&[
        Happening::Doing(1),
        Happening::Did(1, Outcome::Failed("no".into())),
        Happening::Looked(1, Settled::DidNotHappen),
    ]);
    assert!(matches!(
        verdict(&undoing, Sight::ReadOnly, Sight::Writable),
        Verdict::Overtaken(_)
    ));
    let committed = after_denying(&[Happening::Doing(1), Happening::Did(1, Outcome::Done)]);
    assert!(matches!(
        verdict(&committed, Sight::Writable, Sight::ReadOnly),
        Verdict::Overtaken(_)
    ));
}

#[test]
fn what_was_only_tried_when_the_program_died_is_no_reason_to_go_on() {
    let mut stages = run(&[]).stages().to_vec();
    stages.insert(
        1,
        Stage {
            if_possible: true,
            ..stages[0].clone()
        },
    );
    let begun = [&DENIED[..], &[Happening::Doing(1)]].concat();
    let mut run = Run::replay(stages, &begun);
    for happening in giving_up(&run) {
        run.record(&happening);
    }
    assert_eq!(run.next(), &Next::Undo(1));
}

#[test]
fn behind_the_commit_no_address_is_brought_up_that_somebody_else_holds_while_nobody_writes() {
    use Sight::{ReadOnly, Writable};
    let committed = after_denying(&[Happening::Doing(1), Happening::Did(1, Outcome::Done)]);
    for wish in [Wish::Settle, Wish::GoOn] {
        let held = |db2| seen(wish, (None, Some("db3 holds it")), &committed, ReadOnly, db2);
        assert_eq!(
            held(ReadOnly),
            Verdict::Overtaken("db3 holds it".into()),
            "{wish:?}"
        );
        // Whoever writes is the writer, and repairs put its address where it belongs.
        assert!(matches!(held(Writable), Verdict::GoOn(_)), "{wish:?}");
        let free = seen(wish, (None, None), &committed, ReadOnly, ReadOnly);
        assert!(matches!(free, Verdict::GoOn(_)), "{wish:?}");
    }
}

#[test]
fn two_writers_are_never_judged() {
    assert!(matches!(
        verdict(&DENIED, Sight::Writable, Sight::Writable),
        Verdict::Stuck(..)
    ));
}

#[test]
fn a_person_may_let_it_go_on_or_take_it_back_until_the_commit_has_happened() {
    use Sight::{ReadOnly, Unseen, Writable};
    let begun = after_denying(&[Happening::Doing(1)]);
    let Verdict::GoOn(steps) = wanted(Wish::GoOn, None, &begun, ReadOnly, ReadOnly) else {
        panic!("a commit that did not happen is as if it had not been begun")
    };
    assert_eq!(steps.last(), Some(&Happening::Resumed));
    let mut resumed = run(&begun);
    steps.iter().for_each(|step| resumed.record(step));
    assert_eq!(resumed.next(), &Next::Do(0), "it begins with what it had done");
    for wish in [Wish::Settle, Wish::TakeBack] {
        let Verdict::GoOn(steps) = wanted(wish, None, &begun, ReadOnly, ReadOnly) else {
            panic!("{wish:?}")
        };
        let mut back = run(&begun);
        steps.iter().for_each(|step| back.record(step));
        assert_eq!(back.next(), &Next::Undo(0), "{wish:?}");
    }
    let committed = after_denying(&[Happening::Doing(1), Happening::Did(1, Outcome::Done)]);
    for happened in [&begun, &committed] {
        assert_eq!(
            wanted(Wish::TakeBack, None, happened, ReadOnly, Writable),
            Verdict::Irrevocable("db2".into())
        );
        assert!(matches!(
            wanted(Wish::GoOn, None, happened, ReadOnly, Writable),
            Verdict::GoOn(_)
        ));
    }
    for wish in [Wish::GoOn, Wish::TakeBack] {
        let unseen = wanted(wish, None, &begun, ReadOnly, Unseen);
        assert!(matches!(unseen, Verdict::Stuck(..)), "{wish:?}: {unseen:?}");
    }
}

#[test]
fn what_somebody_wrote_or_opened_since_overtakes_whatever_is_wanted() {
    use Sight::{ReadOnly, Writable};
    for wish in [Wish::Settle, Wish::GoOn, Wish::TakeBack] {
        let since = wanted(wish, Some("db2 has written"), &DENIED, ReadOnly, ReadOnly);
        assert_eq!(since, Verdict::Overtaken("db2 has written".into()), "{wish:?}");
    }
    let opened = |wish| wanted(wish, None, &DENIED, Writable, ReadOnly);
    assert!(matches!(opened(Wish::GoOn), Verdict::Overtaken(_)));
    assert!(matches!(opened(Wish::TakeBack), Verdict::GoOn(_)));
    // It had only begun to refuse: the host takes writes because it was never closed.
    let begun = [Happening::Doing(0)];
    assert!(matches!(
        wanted(Wish::GoOn, None, &begun, Writable, ReadOnly),
        Verdict::GoOn(_)
    ));
}

#[test]
fn without_a_person_nobody_is_opened_again_who_may_have_been_replaced_since() {
    use Sight::{ReadOnly, Unseen, Writable};
    let doubt = Doubt {
        because: "db2 does not say that it refuses writes".into(),
        awaits: vec!["db2".into()],
    };
    let judged = |happenings: &[Happening], is_failover, wish, db1, db2| {
        let run = run(happenings);
        let (outgoing, incoming) = (HostName::from("db1"), HostName::from("db2"));
        let cut = CutOff {
            run: &run,
            moves_writer: true,
            is_failover,
            outgoing: Some(&outgoing),
            incoming: Some(&incoming),
            wish,
            moved_since: None,
            held_elsewhere: None,
            doubt: Some(&doubt),
        };
        let sights = BTreeMap::from([(outgoing.clone(), db1), (incoming.clone(), db2)]);
        settle(cut, &sights)
    };
    let settled = |happenings: &[Happening], db1, db2| judged(happenings, false, Wish::Settle, db1, db2);
    assert_eq!(
        settled(&DENIED, ReadOnly, Unseen),
        Verdict::Doubtful(doubt.clone())
    );
    assert_eq!(settled(&DENIED, Unseen, Unseen), Verdict::Doubtful(doubt.clone()));
    // A person may judge; and who never was closed is not opened.
    let on_word = judged(&DENIED, false, Wish::TakeBack, ReadOnly, Unseen);
    assert!(matches!(on_word, Verdict::GoOn(_)), "{on_word:?}");
    assert!(matches!(settled(&DENIED, Writable, Unseen), Verdict::GoOn(_)));
    // A failover opens nobody when it is taken back, but the old writer would be on record again.
    let failover = judged(&DENIED, true, Wish::Settle, Unseen, Unseen);
    assert_eq!(failover, Verdict::Doubtful(doubt.clone()));
    // Behind the commit it only goes on.
    let committed = after_denying(&[Happening::Doing(1), Happening::Did(1, Outcome::Done)]);
    assert!(matches!(settled(&committed, ReadOnly, Unseen), Verdict::GoOn(_)));
}

#[test]
fn what_an_undo_had_opened_is_not_taken_for_somebody_elses_however_often_it_is_resumed() {
    use Sight::{ReadOnly, Writable};
    let undoing = after_denying(&[
        Happening::Doing(1),
        Happening::Did(1, Outcome::Failed("no".into())),
        Happening::Looked(1, Settled::DidNotHappen),
        Happening::Undoing(0),
        Happening::Resumed,
    ]);
    let seen = |happenings: &[Happening]| wanted(Wish::GoOn, None, happenings, Writable, ReadOnly);
    assert!(matches!(seen(&undoing), Verdict::GoOn(_)));
    // Once it has refused writes again, only somebody else can have let them in.
    let refused = [undoing, DENIED.to_vec()].concat();
    assert!(matches!(seen(&refused), Verdict::Overtaken(_)));
}
