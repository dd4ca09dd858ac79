//! A run: one operation being performed, as a fold over what came of its steps.
//!
//! Place gives meaning. `prepare` is reversible, `commit` is forward only and settled by looking, `secure` must come
//! true and is retried, `finish` is best effort. The fold says what to do next; it never does anything, so the same
//! value serves a live run, a run found open in the journal, and a test.

mod resuming;
mod saying;

use std::collections::{BTreeMap, BTreeSet};
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
    /// Taking it back is tried once, and what fails is only told: nothing that follows rests on it.
    #[serde(default)]
    pub undo_if_possible: bool,
    /// It changes nothing, so nothing of it can be left behind or happen late.
    #[serde(default)]
    pub only_asks: bool,
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
    /// Stage `n` was not begun, because what came before took too long; why.
    Overdue(usize, String),
    /// The unknown or failed stage `n` was looked into.
    Looked(usize, Settled),
    /// The program that did it is gone, and another brings the run to its end: before the commit, only back.
    GivenUp,
    /// Stage `n` is about to be taken back.
    Undoing(usize),
    /// Taking stage `n` back ended so.
    Undid(usize, Outcome),
    /// A person has looked after the run got stuck, or its hosts answer again: what could not be told or taken back is
    /// looked into again, and after the commit, what nobody answered is asked again.
    Cleared,
    /// A person wants the run to go on although it was cut off, or stuck: forward, whatever it was at.
    Resumed,
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
        /// Nothing had been touched yet: a question before the first change was answered with no.
        #[serde(default)]
        untouched: bool,
    },
    /// Work by hand that did not come to its end: what was done of it stays, and nobody goes on with it.
    Failed {
        /// What failed, in words.
        because: String,
    },
    /// It can go neither forward nor back for now.
    Stuck {
        /// What could not be made true, in words.
        because: String,
        /// The hosts that could not be asked or did not obey: once they answer, the run can be settled. None when
        /// something was found that only a person can judge.
        #[serde(default)]
        awaits: Vec<HostName>,
    },
}

/// The duty with which the time begins in which nobody can write.
pub const REFUSES_WRITES: &str = "deny-writes";
/// The duty that ends it again, when it is undone.
pub const TAKES_WRITES_AGAIN: &str = "reopen-writes";

impl Stage {
    /// Whether the time in which nobody can write begins with it: by its own name, or by what undoes it.
    pub fn refuses_writes(&self) -> bool {
        self.duty == REFUSES_WRITES || self.undo.as_deref() == Some(TAKES_WRITES_AGAIN)
    }
}

/// How often a stage that must come true is tried.
const TRIES_TO_SECURE: u32 = 5;
/// How often an undo is tried.
pub const TRIES_TO_UNDO: u32 = 3;

/// A run as a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    stages: Vec<Stage>,
    next: Next,
    /// Stages whose effect may exist and would be undone, oldest first.
    touched: Vec<usize>,
    /// Stages that were begun before the run was resumed: done again, they find their own work.
    begun_before: BTreeSet<usize>,
    /// Stages that are not done again after the run was resumed.
    superseded: BTreeSet<usize>,
    /// It was resumed while writes were being refused or allowed again, and has not refused them since.
    may_have_reopened: bool,
    /// Set once a commit stage is verified to have happened: no way back.
    committed: bool,
    /// True until a stage is begun that changes something.
    untouched: bool,
    tries: u32,
    failure: Option<String>,
    insecure: Vec<String>,
    /// The hosts at which something could not be made to come true, unless a person must judge what was found.
    insecure_at: BTreeSet<HostName>,
    /// Nothing before the commit is merely tried any more: what does not hold is taken back.
    given_up: bool,
    /// Questions after the commit that nobody answered, while they are still to be asked.
    unanswered: BTreeSet<usize>,
    /// Only those are left to be done.
    asks_again: bool,
    needs_judgement: bool,
    /// What could not be given back, and how a person does it.
    kept: Vec<String>,
    warnings: Vec<String>,
}

impl Run {
    /// A run that has not begun.
    pub fn new(stages: Vec<Stage>) -> Run {
        let mut run = Run {
            stages,
            next: Next::End(Ending::Done { warnings: Vec::new() }),
            touched: Vec::new(),
            begun_before: BTreeSet::new(),
            superseded: BTreeSet::new(),
            may_have_reopened: false,
            committed: false,
            untouched: true,
            tries: 0,
            failure: None,
            insecure: Vec::new(),
            insecure_at: BTreeSet::new(),
            given_up: false,
            unanswered: BTreeSet::new(),
            asks_again: false,
            needs_judgement: false,
            kept: Vec::new(),
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
            (Happening::Overdue(stage, why), Next::Do(wanted))
                if *stage == wanted && self.may_be_overdue() =>
            {
                self.blame(*stage, why);
                self.next = self.undo_newest();
            }
            (Happening::Looked(stage, settled), Next::Look(wanted)) if *stage == wanted => {
                self.next = self.after_looking(*stage, *settled);
            }
            (Happening::Undid(stage, outcome), Next::Undo(wanted)) if *stage == wanted => {
                self.next = self.after_undoing(*stage, outcome);
            }
            (Happening::GivenUp, _) => self.given_up = true,
            (Happening::Cleared, Next::End(Ending::Stuck { .. })) if !self.committed => {
                self.given_up = true;
                self.tries = 0;
                self.next = match self.touched.last() {
                    Some(stage) => Next::Look(*stage),
                    None => self.undo_newest(),
                };
            }
            (Happening::Resumed, _) => self.resume(),
            (Happening::Cleared, Next::End(Ending::Stuck { .. })) if !self.needs_judgement => {
                self.asks_again = true;
                self.insecure.clear();
                self.insecure_at.clear();
                self.next = self.advance_to(0);
            }
            _ => {}
        }
    }

    /// True while the next stage may still be given up for the time that those before it took: the commit was not begun.
    pub fn may_be_overdue(&self) -> bool {
        let Next::Do(stage) = self.next else { return false };
        self.stages[stage].section <= Section::Commit && !self.committed && !self.is_in_doubt()
    }

    fn touch(&mut self, stage: usize) {
        if self.stages[stage].only_asks {
            return;
        }
        self.untouched = false;
        // Done again after it was resumed, it stands in its place already.
        if let Err(place) = self.touched.binary_search(&stage) {
            self.touched.insert(place, stage);
        }
    }

    fn after_doing(&mut self, stage: usize, outcome: &Outcome) -> Next {
        let section = self.stages[stage].section;
        match (section, outcome) {
            (_, Outcome::Done) => self.after_done(stage),
            // The host is about to be opened: whatever is left there must be known to be gone.
            (Section::Prepare, Outcome::Unknown(why)) if self.may_haunt_the_opened(stage) => {
                self.blame(stage, why);
                Next::Look(stage)
            }
            (Section::Prepare, _) if self.is_only_tried(stage) => self.advance_to(stage + 1),
            (Section::Prepare, Outcome::Failed(why)) => {
                self.blame(stage, why);
                self.undo_newest()
            }
            (Section::Prepare, Outcome::Unknown(why)) if self.stages[stage].only_asks => {
                self.blame(stage, why);
                self.undo_newest()
            }
            (Section::Prepare, Outcome::Unknown(why))
            | (Section::Commit, Outcome::Failed(why) | Outcome::Unknown(why)) => {
                self.blame(stage, why);
                Next::Look(stage)
            }
            (Section::Secure, Outcome::Failed(why) | Outcome::Unknown(why))
                if self.stages[stage].if_possible =>
            {
                self.warn(stage, why);
                self.advance_to(stage + 1)
            }
            // Asked again, it would say the same.
            (Section::Secure, Outcome::Failed(why)) if self.stages[stage].only_asks => {
                let sentence = self.sentence(stage, why);
                self.insecure.push(sentence);
                self.needs_judgement = true;
                self.advance_to(stage + 1)
            }
            (Section::Secure, Outcome::Failed(why) | Outcome::Unknown(why)) => {
                self.tries += 1;
                if self.tries < TRIES_TO_SECURE {
                    return Next::Do(stage);
                }
                if self.stages[stage].only_asks {
                    self.unanswered.insert(stage);
                }
                let sentence = self.sentence(stage, why);
                self.insecure.push(sentence);
                self.insecure_at.extend(self.stages[stage].hosts.iter().cloned());
                self.advance_to(stage + 1)
            }
            (Section::Finish, Outcome::Failed(why) | Outcome::Unknown(why)) => {
                self.warn(stage, why);
                self.advance_to(stage + 1)
            }
        }
    }

    /// Whether the run goes on before its commit whatever comes of that stage.
    fn is_only_tried(&self, stage: usize) -> bool {
        let stage = &self.stages[stage];
        stage.section == Section::Prepare && stage.if_possible && !self.given_up
    }

    /// Whether something that is only tried may still go on at the host that is to be opened.
    fn may_haunt_the_opened(&self, stage: usize) -> bool {
        let at = &self.stages[stage];
        self.is_only_tried(stage) && at.seat == Seat::Incoming && !at.only_asks
    }

    fn after_done(&mut self, stage: usize) -> Next {
        self.may_have_reopened &= !self.stages[stage].refuses_writes();
        if self.stages[stage].section == Section::Commit {
            self.committed = true;
        }
        self.failure = None;
        self.advance_to(stage + 1)
    }

    fn after_looking(&mut self, stage: usize, settled: Settled) -> Next {
        let section = self.stages[stage].section;
        match settled {
            Settled::CannotTell => self.stuck_at(stage, self.because()),
            Settled::Happened if section == Section::Commit => self.after_done(stage),
            Settled::Happened | Settled::DidNotHappen if self.is_only_tried(stage) => self.after_done(stage),
            Settled::DidNotHappen if section == Section::Commit && self.committed => {
                self.tries += 1;
                if self.tries < TRIES_TO_SECURE {
                    Next::Do(stage)
                } else {
                    self.stuck_at(stage, self.because())
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
            Outcome::Failed(why) | Outcome::Unknown(why) if self.stages[stage].undo_if_possible => {
                self.keep(stage, why);
                self.touched.pop();
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
                self.stuck_at(stage, because)
            }
        }
    }

    /// The next stage that somebody fills, or the end.
    fn advance_to(&mut self, from: usize) -> Next {
        self.tries = 0;
        let is_due = |stage: &usize| {
            !self.stages[*stage].hosts.is_empty()
                && !self.superseded.contains(stage)
                && (!self.asks_again || self.unanswered.contains(stage))
        };
        match (from..self.stages.len()).find(is_due) {
            Some(stage) => Next::Do(stage),
            None if self.insecure.is_empty() => Next::End(Ending::Done {
                warnings: self.warnings.clone(),
            }),
            None => Next::End(Ending::Stuck {
                because: self.insecure.join("; "),
                awaits: if self.needs_judgement {
                    Vec::new()
                } else {
                    self.insecure_at.iter().cloned().collect()
                },
            }),
        }
    }

    /// Stuck until the hosts of that stage answer.
    fn stuck_at(&self, stage: usize, because: String) -> Next {
        Next::End(Ending::Stuck {
            because,
            awaits: self.stages[stage].hosts.clone(),
        })
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
        let because = std::iter::once(self.because()).chain(self.kept.iter().cloned());
        Next::End(Ending::Undone {
            because: because.collect::<Vec<_>>().join("; "),
            untouched: self.untouched,
        })
    }
}

#[cfg(test)]
mod tests;
