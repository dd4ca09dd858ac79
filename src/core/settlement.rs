//! What becomes of a run that was cut off: decided from its record and from what the hosts show now, once what the old
//! program had left running is gone and what it had sent has expired.

use std::collections::BTreeMap;

use super::cluster::HostName;
use super::playbook::Section;
use super::run::{Happening, Next, Outcome, Run, Settled};

/// What is written down of a stage whose program was cut off.
pub const CUT_OFF: &str = "the program that did it was cut off";

/// What a host shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// It takes writes.
    Writable,
    /// It refuses them, and nothing that the old program left there can open it any more.
    ReadOnly,
    /// It does not answer, or what was left there is not known to be gone.
    Unseen,
}

/// What is wanted of a run that was cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Whatever is safest, for whoever comes next: back before the commit, forward behind it.
    Settle,
    /// A person wants it to go on.
    GoOn,
    /// A person wants it taken back.
    TakeBack,
}

/// A run that was cut off.
#[derive(Debug, Clone, Copy)]
pub struct CutOff<'r> {
    /// As its record left it.
    pub run: &'r Run,
    /// Whether it moves the writer; false for one that opens nobody.
    pub moves_writer: bool,
    /// Whether it replaces a writer that was held to be dead.
    pub is_failover: bool,
    /// The host that gives the role away.
    pub outgoing: Option<&'r HostName>,
    /// The host that takes it.
    pub incoming: Option<&'r HostName>,
    /// What is wanted of it.
    pub wish: Wish,
    /// Who has written since, or holds the writer's address without having a part in the run, in words.
    pub moved_since: Option<&'r str>,
    /// Who holds the writer's address without having a part in the run, in words, whoever wants what: asked of a run that
    /// has come past its commit while nobody takes writes, before its address is brought up.
    pub held_elsewhere: Option<&'r str>,
}

/// What to do with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Record this, then perform the run from where it stands to its end: forward or back.
    GoOn(Vec<Happening>),
    /// Somebody has moved the role since: close it and touch nothing.
    Overtaken(String),
    /// It cannot be taken back any more, because this host takes writes: touch nothing.
    Irrevocable(HostName),
    /// Nothing can be concluded: close it, and nobody may act until these hosts answer, or, without any, until a person
    /// has judged.
    Stuck(String, Vec<HostName>),
}

/// Settles a run that was cut off. Nothing is taken back, and so nobody opened, unless the incoming host is seen to
/// refuse writes or was never told to take them.
pub fn settle(cut: CutOff<'_>, sights: &BTreeMap<HostName, Sight>) -> Verdict {
    if !cut.moves_writer {
        return Verdict::GoOn(giving_up(cut.run));
    }
    let writable: Vec<&HostName> = sights
        .iter()
        .filter(|(_, sight)| **sight == Sight::Writable)
        .map(|(host, _)| host)
        .collect();
    let incoming = cut
        .incoming
        .and_then(|host| sights.get(host))
        .copied()
        .unwrap_or(Sight::Unseen);
    let commit = commit(cut.run);
    match writable.as_slice() {
        [only] if Some(*only) == cut.incoming => match commit {
            Commit::InDoubt | Commit::Done if cut.wish == Wish::TakeBack => {
                Verdict::Irrevocable((*only).clone())
            }
            Commit::InDoubt => Verdict::GoOn(succeeding(cut.run)),
            Commit::Done => Verdict::GoOn(going_on(cut)),
            Commit::NotBegun => {
                Verdict::Overtaken(format!("{only} takes writes, which this run had not told it to"))
            }
        },
        [only] if Some(*only) != cut.outgoing => {
            Verdict::Overtaken(format!("{only} takes writes, which is neither of its hosts"))
        }
        [] | [_] => match (commit, incoming) {
            (Commit::NotBegun, _) | (Commit::InDoubt, Sight::ReadOnly) => {
                before_the_commit(cut, writable.first().copied())
            }
            (Commit::InDoubt, Sight::Unseen | Sight::Writable) => Verdict::Stuck(
                format!(
                    "{} was told to take writes, and it cannot be asked whether it does",
                    cut.incoming.map_or("the incoming host", HostName::as_str)
                ),
                cut.incoming.into_iter().cloned().collect(),
            ),
            (Commit::Done, _) => match writable.first() {
                None => match cut.held_elsewhere {
                    Some(because) => Verdict::Overtaken(because.to_owned()),
                    None => Verdict::GoOn(going_on(cut)),
                },
                Some(outgoing) if cut.is_failover => {
                    let because = format!("{outgoing}, which was replaced, takes writes again");
                    Verdict::Stuck(because, Vec::new())
                }
                Some(outgoing) => Verdict::Overtaken(format!("{outgoing} takes writes again")),
            },
        },
        several => {
            let names: Vec<&str> = several.iter().map(|host| host.as_str()).collect();
            let because = format!("several hosts accept writes: {}", names.join(", "));
            Verdict::Stuck(because, Vec::new())
        }
    }
}

/// Nobody was opened; `writable` is the host that gives the role away, when it takes writes.
fn before_the_commit(cut: CutOff<'_>, writable: Option<&HostName>) -> Verdict {
    match (cut.moved_since, writable) {
        (Some(because), None) => Verdict::Overtaken(because.to_owned()),
        (_, Some(outgoing)) if cut.wish == Wish::GoOn && cut.run.has_refused_writes() => Verdict::Overtaken(
            format!("{outgoing} takes writes again, which this run had told it to refuse"),
        ),
        _ => {
            let mut happenings = giving_up(cut.run);
            if cut.wish == Wish::GoOn {
                happenings.push(Happening::Resumed);
            }
            Verdict::GoOn(happenings)
        }
    }
}

/// Behind the commit: on to the end, and what could not be made to come true is tried again on a person's word.
fn going_on(cut: CutOff<'_>) -> Vec<Happening> {
    match (cut.run.next(), cut.wish) {
        (Next::End(_), Wish::GoOn) => vec![Happening::Resumed],
        _ => Vec::new(),
    }
}

/// How far the commit had come by the record.
enum Commit {
    /// The incoming host was never told to take writes, or was seen not to have done it.
    NotBegun,
    /// It was told; whether it did is not on record.
    InDoubt,
    Done,
}

fn commit(run: &Run) -> Commit {
    if run.is_committed() {
        return Commit::Done;
    }
    if run.is_in_doubt() {
        Commit::InDoubt
    } else {
        Commit::NotBegun
    }
}

/// The commit was begun and the incoming host was seen writable.
fn succeeding(run: &Run) -> Vec<Happening> {
    match *run.next() {
        Next::Do(stage) => vec![Happening::Did(stage, Outcome::Done)],
        Next::Look(stage) => vec![Happening::Looked(stage, Settled::Happened)],
        Next::Undo(_) | Next::End(_) => Vec::new(),
    }
}

/// The stage that was under way is given up, which takes back what was done. What comes after the commit, and taking
/// back itself, is simply gone on with.
fn giving_up(run: &Run) -> Vec<Happening> {
    match *run.next() {
        Next::Do(stage) if run.stages()[stage].section <= Section::Commit => vec![
            Happening::GivenUp,
            Happening::Did(stage, Outcome::Unknown(CUT_OFF.to_owned())),
            Happening::Looked(stage, Settled::DidNotHappen),
        ],
        Next::Look(stage) => vec![
            Happening::GivenUp,
            Happening::Looked(stage, Settled::DidNotHappen),
        ],
        Next::Do(_) | Next::Undo(_) | Next::End(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
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
}
