//! A run: one operation being performed, as a fold over what came of its steps.
//!
//! Place gives meaning. `prepare` is reversible, `commit` is forward only and settled by looking, `secure` must come
//! true and is retried, `finish` is best effort. The fold says what to do next; it never does anything, so the same
//! value serves a live run, a run found open in the journal, and a test.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::cluster::HostName;
use super::playbook::{Seat, Section};

/// One step of an operation with its seat filled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    /// The section it stands in.
    pub section: Section,
    /// What it does, in words: "Refuse new writes".
    pub name: String,
    /// The seat it is performed at.
    pub seat: Seat,
    /// The hosts that fill the seat; several only for replicas, then performed at once. For the box's own seat: the
    /// host it is about.
    pub hosts: Vec<HostName>,
    /// The duty it performs there.
    pub duty: String,
    /// The host that the duty follows, waits for, or asks about.
    pub source: Option<HostName>,
    /// Values the duty sees as `vars.NAME`.
    pub with: BTreeMap<String, String>,
    /// How long the stage may take.
    pub within: Duration,
    /// The duty that takes it back; none when there is nothing to take back, or it must not be.
    pub undo: Option<String>,
    /// Worth trying, and no reason to stop when it fails: something later makes sure.
    pub if_possible: bool,
}

/// What came of doing a stage, over all its hosts: the worst counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is verified to hold.
    Done,
    /// It is verified not to hold, or was refused; why.
    Failed(String),
    /// The connection died in the middle: it may have happened, or happen still; why.
    Unknown(String),
}

/// What looking found, after the old shell and its SQL connection were verified gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Settled {
    /// The stage has happened.
    Happened,
    /// It has not, and cannot any more.
    DidNotHappen,
    /// The old shell may still be alive, or nothing answers.
    CannotTell,
}

/// Something that happened to a run; the journal is a list of these.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Happening {
    /// Stage `n` (counted from 0) is about to be done.
    Doing(usize),
    /// Stage `n` ended so.
    Did(usize, Outcome),
    /// The unknown or failed stage `n` was looked into.
    Looked(usize, Settled),
    /// Stage `n` is about to be taken back.
    Undoing(usize),
    /// Taking stage `n` back ended so.
    Undid(usize, Outcome),
    /// A person has looked after the run got stuck: what could not be told or taken back is looked into again.
    Cleared,
}

/// What the run needs next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Do stage `n`.
    Do(usize),
    /// Verify that the old shell of stage `n` is gone, then look whether it happened.
    Look(usize),
    /// Take stage `n` back.
    Undo(usize),
    /// Nothing more.
    End(Ending),
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// Everything that had to come true did; best-effort stages that failed are listed.
    Done {
        /// Stages of `finish` that failed, in words.
        warnings: Vec<String>,
    },
    /// It failed before its commit took place, and everything was taken back.
    Undone {
        /// What failed, in words.
        because: String,
    },
    /// It can go neither forward nor back; a person is needed.
    Stuck {
        /// What could not be made true, in words.
        because: String,
    },
}

/// How often a stage that must come true is tried.
const TRIES_TO_SECURE: u32 = 5;
/// How often an undo is tried.
const TRIES_TO_UNDO: u32 = 3;

/// A run as a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    stages: Vec<Stage>,
    next: Next,
    /// Stages whose effect may exist and would be undone, oldest first.
    touched: Vec<usize>,
    /// Set once a commit stage is verified to have happened: no way back.
    committed: bool,
    tries: u32,
    failure: Option<String>,
    insecure: Vec<String>,
    warnings: Vec<String>,
}

impl Run {
    /// A run that has not begun.
    pub fn new(stages: Vec<Stage>) -> Run {
        let mut run = Run {
            stages,
            next: Next::End(Ending::Done { warnings: Vec::new() }),
            touched: Vec::new(),
            committed: false,
            tries: 0,
            failure: None,
            insecure: Vec::new(),
            warnings: Vec::new(),
        };
        run.next = run.advance_to(0);
        run
    }

    /// A run as the journal left it.
    pub fn replay<'a>(stages: Vec<Stage>, happenings: impl IntoIterator<Item = &'a Happening>) -> Run {
        let mut run = Run::new(stages);
        for happening in happenings {
            run.record(happening);
        }
        run
    }

    /// What is needed next.
    pub fn next(&self) -> &Next {
        &self.next
    }

    /// The stages, in order.
    pub fn stages(&self) -> &[Stage] {
        &self.stages
    }

    /// True once the commit is verified: the incoming host is the writer.
    pub fn is_committed(&self) -> bool {
        self.committed
    }

    /// True when the incoming host was told to take writes and it is not known whether it does.
    pub fn is_in_doubt(&self) -> bool {
        let opens = |stage: &usize| self.stages[*stage].section == Section::Commit;
        !self.committed && self.touched.iter().any(opens)
    }

    /// Takes in what happened. Happenings that do not fit what is needed next are ignored: they can only
    /// come from a journal whose tail was cut off and written again.
    pub fn record(&mut self, happening: &Happening) {
        match (happening, self.next.clone()) {
            (Happening::Doing(stage), Next::Do(wanted)) if *stage == wanted => self.touch(*stage),
            (Happening::Did(stage, outcome), Next::Do(wanted)) if *stage == wanted => {
                self.touch(*stage);
                self.next = self.after_doing(*stage, outcome);
            }
            (Happening::Looked(stage, settled), Next::Look(wanted)) if *stage == wanted => {
                self.next = self.after_looking(*stage, *settled);
            }
            (Happening::Undid(stage, outcome), Next::Undo(wanted)) if *stage == wanted => {
                self.next = self.after_undoing(*stage, outcome);
            }
            (Happening::Cleared, Next::End(Ending::Stuck { .. })) if !self.committed => {
                self.tries = 0;
                self.next = match self.touched.last() {
                    Some(stage) => Next::Look(*stage),
                    None => self.undo_newest(),
                };
            }
            _ => {}
        }
    }

    fn touch(&mut self, stage: usize) {
        if self.touched.last() != Some(&stage) {
            self.touched.push(stage);
        }
    }

    fn after_doing(&mut self, stage: usize, outcome: &Outcome) -> Next {
        let section = self.stages[stage].section;
        match (section, outcome) {
            (_, Outcome::Done) => self.after_done(stage),
            (Section::Prepare, _) if self.stages[stage].if_possible => self.advance_to(stage + 1),
            (Section::Prepare, Outcome::Failed(why)) => {
                self.blame(stage, why);
                self.undo_newest()
            }
            (Section::Prepare, Outcome::Unknown(why))
            | (Section::Commit, Outcome::Failed(why) | Outcome::Unknown(why)) => {
                self.blame(stage, why);
                Next::Look(stage)
            }
            (Section::Secure, Outcome::Failed(why) | Outcome::Unknown(why)) => {
                self.tries += 1;
                if self.tries < TRIES_TO_SECURE {
                    return Next::Do(stage);
                }
                let sentence = self.sentence(stage, why);
                self.insecure.push(sentence);
                self.advance_to(stage + 1)
            }
            (Section::Finish, Outcome::Failed(why) | Outcome::Unknown(why)) => {
                let sentence = self.sentence(stage, why);
                self.warnings.push(sentence);
                self.advance_to(stage + 1)
            }
        }
    }

    fn after_done(&mut self, stage: usize) -> Next {
        if self.stages[stage].section == Section::Commit {
            self.committed = true;
        }
        self.failure = None;
        self.advance_to(stage + 1)
    }

    fn after_looking(&mut self, stage: usize, settled: Settled) -> Next {
        let section = self.stages[stage].section;
        match settled {
            Settled::CannotTell => Next::End(Ending::Stuck {
                because: self.because(),
            }),
            Settled::Happened if section == Section::Commit => self.after_done(stage),
            Settled::DidNotHappen if section == Section::Commit && self.committed => {
                self.tries += 1;
                if self.tries < TRIES_TO_SECURE {
                    Next::Do(stage)
                } else {
                    Next::End(Ending::Stuck {
                        because: self.because(),
                    })
                }
            }
            Settled::Happened | Settled::DidNotHappen => self.undo_newest(),
        }
    }

    fn after_undoing(&mut self, stage: usize, outcome: &Outcome) -> Next {
        match outcome {
            Outcome::Done => {
                self.touched.pop();
                self.tries = 0;
                self.undo_newest()
            }
            Outcome::Failed(why) | Outcome::Unknown(why) => {
                self.tries += 1;
                if self.tries < TRIES_TO_UNDO {
                    return Next::Undo(stage);
                }
                let because = format!(
                    "{}; taking back \"{}\" failed: {why}",
                    self.because(),
                    self.stages[stage].name
                );
                Next::End(Ending::Stuck { because })
            }
        }
    }

    /// The next stage that somebody fills, or the end.
    fn advance_to(&mut self, from: usize) -> Next {
        self.tries = 0;
        match (from..self.stages.len()).find(|stage| !self.stages[*stage].hosts.is_empty()) {
            Some(stage) => Next::Do(stage),
            None if self.insecure.is_empty() => Next::End(Ending::Done {
                warnings: self.warnings.clone(),
            }),
            None => Next::End(Ending::Stuck {
                because: self.insecure.join("; "),
            }),
        }
    }

    /// The newest touched stage that has something to take back, or the end.
    fn undo_newest(&mut self) -> Next {
        self.tries = 0;
        while let Some(stage) = self.touched.last().copied() {
            if self.stages[stage].undo.is_some() {
                return Next::Undo(stage);
            }
            self.touched.pop();
        }
        Next::End(Ending::Undone {
            because: self.because(),
        })
    }

    fn blame(&mut self, stage: usize, why: &str) {
        self.failure = Some(self.sentence(stage, why));
    }

    fn because(&self) -> String {
        self.failure
            .clone()
            .unwrap_or_else(|| "nothing is known to have failed".to_owned())
    }

    fn sentence(&self, stage: usize, why: &str) -> String {
        format!("step {}, \"{}\": {why}", stage + 1, self.stages[stage].name)
    }
}

#[cfg(test)]
mod tests {
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
            matches!(run.next(), Next::End(Ending::Undone { because }) if because.contains("\"address\""))
        );
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
}
