//! Performs a run: asks the fold what is next, does it, writes it down, tells it.
//!
//! The conductor reaches outside through [`Hands`] alone. The real hands use SSH and files; the simulated ones in the
//! tests use a small model of hosts, so that the same conductor is shown to keep the laws in worlds full of faults.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;

use crate::core::cluster::HostName;
use crate::core::event::{Event, StepEnd};
use crate::core::evidence::Rung;
use crate::core::playbook::Section;
use crate::core::run::{Ending, Happening, Next, Outcome, Run, Settled, Stage};
use crate::core::script::{DutyOutcome, DutyReport, StepReport};
use crate::io::journal::{Entry, Opening};

/// Values registered by duties, by name.
pub type Registered = BTreeMap<String, String>;

/// What is known of a run before its next step.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Past {
    /// Values that are given, or that its duties registered before it was cut off.
    pub registered: Registered,
    /// For how long writes had been refused when it was gone on with; none when they were not.
    pub refused_for: Option<Duration>,
}

/// One duty to perform at one host.
#[derive(Debug, Clone)]
pub struct Errand<'a> {
    /// The stage it belongs to.
    pub stage: &'a Stage,
    /// The host it is about.
    pub host: &'a HostName,
    /// The duty: the stage's own, or the one that takes it back.
    pub duty: &'a str,
    /// What earlier duties registered.
    pub registered: &'a Registered,
}

/// What a conductor reaches outside through.
pub trait Hands {
    /// Performs a duty and reports; never longer than the stage's deadline and a little.
    fn perform(&self, errand: Errand<'_>) -> impl Future<Output = DutyReport>;
    /// Verifies that whatever an earlier attempt left running is gone, then looks whether the duty's end holds.
    fn look(&self, errand: Errand<'_>) -> impl Future<Output = Settled>;
    /// Why a host must not be opened now: a lock of the operation is lost, so somebody else may act.
    fn lost_lock(&self) -> impl Future<Output = Option<String>>;
    /// What a host that was fenced still answers to this box; none when it is silent.
    fn still_answers(&self, fenced: &HostName) -> impl Future<Output = Option<String>>;
    /// Why this host must not take writes again: looks, with the lock held or had back, for another that accepts them.
    fn rival(&self, host: &HostName) -> impl Future<Output = Option<String>>;
    /// Why a dead writer may have been replaced by somebody else meanwhile; none when nobody can have done so.
    fn replaced(&self, writer: &HostName) -> impl Future<Output = Option<String>>;
    /// Writes down, synced, before anything follows from it.
    fn note(&self, entry: Entry);
    /// Why not everything that was noted is on disk; none when it is.
    fn unwritten(&self) -> Option<String>;
    /// Tells people.
    fn tell(&self, event: Event);
    /// Time since some fixed moment; never goes back.
    fn elapsed(&self) -> Duration;
    /// Lets time pass between two tries.
    fn pause(&self, span: Duration) -> impl Future<Output = ()>;
}

/// How a run went.
#[derive(Debug, Clone, PartialEq)]
pub struct RunReport {
    /// How it ended.
    pub ending: Ending,
    /// Whether the incoming host was opened.
    pub committed: bool,
    /// Whether it may have been opened without anybody knowing.
    pub in_doubt: bool,
    /// From the moment writes began to be refused to the moment a host took them again.
    pub write_refused: Option<Duration>,
    /// What duties registered.
    pub registered: Registered,
    /// Hosts that could not be pointed to the writer.
    pub not_following: Vec<HostName>,
}

/// Pause before a stage that must come true is tried again.
const BEFORE_RETRY: Duration = Duration::from_millis(250);

/// Performs a run from where it stands to its end.
pub async fn conduct(hands: &impl Hands, opening: &Opening, run: Run, past: Past) -> RunReport {
    let began = hands.elapsed();
    let mut conduct = Conduct {
        hands,
        run,
        registered: past.registered,
        is_planned: opening.rung.is_none(),
        write_refused_max: opening.write_refused_max,
        fenced: opening
            .outgoing
            .clone()
            .filter(|_| opening.rung == Some(Rung::Fence)),
        refused_at: past.refused_for.map(|_| began),
        opened_at: None,
        last_failed: None,
        not_following: Vec::new(),
    };
    for (name, value) in &conduct.registered {
        hands.note(Entry::Value(name.clone(), value.clone()));
    }
    hands.tell(Event::RunStarted {
        run: opening.run.clone(),
        operation: opening.operation.clone(),
        outgoing: opening.outgoing.clone(),
        incoming: opening.incoming.clone(),
        stages: conduct.run.stages().len(),
    });
    let ending = loop {
        match conduct.run.next().clone() {
            Next::Do(stage) => conduct.perform(stage).await,
            Next::Look(stage) => conduct.look(stage).await,
            Next::Undo(stage) => conduct.undo(stage).await,
            Next::End(ending) => break ending,
        }
    };
    hands.note(Entry::End(ending.clone()));
    let committed = conduct.run.is_committed();
    let write_refused = conduct.refused_at.map(|from| {
        conduct
            .opened_at
            .unwrap_or_else(|| hands.elapsed())
            .saturating_sub(from)
            + past.refused_for.unwrap_or_default()
    });
    let writer = match (&ending, committed) {
        (_, true) => opening.incoming.clone(),
        (Ending::Stuck { .. }, false) => None,
        (_, false) => opening.outgoing.clone(),
    };
    let (writer, holder) = match opening.address {
        None => (writer, None),
        Some(_) => (None, writer),
    };
    hands.tell(Event::RunEnded {
        run: opening.run.clone(),
        operation: opening.operation.clone(),
        ending: ending.clone(),
        writer,
        address: opening.address,
        holder,
        write_refused_ms: write_refused.map(|span| span.as_secs_f64() * 1000.0),
        took_ms: ms(hands.elapsed().saturating_sub(began)),
    });
    RunReport {
        ending,
        committed,
        in_doubt: conduct.run.is_in_doubt(),
        write_refused,
        registered: conduct.registered,
        not_following: conduct.not_following,
    }
}

/// A run under way.
struct Conduct<'h, H> {
    hands: &'h H,
    run: Run,
    registered: Registered,
    /// Whether nobody is missed when it is not done; a failover goes on whatever cannot be written.
    is_planned: bool,
    /// The host that a fence has taken out of service, by what the fence says.
    fenced: Option<HostName>,
    /// For how long writes may be refused.
    write_refused_max: Option<Duration>,
    /// When writes began to be refused.
    refused_at: Option<Duration>,
    /// When a host took writes again.
    opened_at: Option<Duration>,
    /// The stage whose last try failed, to pause before the next.
    last_failed: Option<usize>,
    /// Hosts that could not be pointed to the writer.
    not_following: Vec<HostName>,
}

impl<H: Hands> Conduct<'_, H> {
    async fn perform(&mut self, number: usize) {
        if self.last_failed == Some(number) {
            self.hands.pause(BEFORE_RETRY).await;
        }
        let mut stage = self.run.stages()[number].clone();
        match self.time_left() {
            Some(left) if left.is_zero() => return self.overdue(number),
            // What opens a host is given its time: cut short, nobody would know whether it did.
            Some(left) if stage.section == Section::Prepare => stage.within = stage.within.min(left),
            _ => {}
        }
        self.happens(Happening::Doing(number));
        self.tell_start(number, &stage);
        let began = self.hands.elapsed();
        let (reports, outcome) = match self.barred(&stage).await {
            Some(why) => (Vec::new(), Outcome::Failed(why)),
            None => {
                if stage.refuses_writes() {
                    self.refused_at.get_or_insert(began);
                }
                let reports = self.everywhere(&stage, &stage.duty).await;
                let outcome = worst(&reports);
                (reports, outcome)
            }
        };
        self.register(number, &reports);
        if stage.section == Section::Finish && stage.source.is_some() {
            let failed = reports
                .iter()
                .filter(|(_, report)| report.outcome != DutyOutcome::Done);
            self.not_following.extend(failed.map(|(host, _)| host.clone()));
        }
        let was_committed = self.run.is_committed();
        self.happens(Happening::Did(number, outcome.clone()));
        if self.run.is_committed() && !was_committed {
            self.opened_at = Some(self.hands.elapsed());
        }
        self.last_failed = (outcome != Outcome::Done).then_some(number);
        let again = *self.run.next() == Next::Do(number);
        let ended = match &outcome {
            Outcome::Done => StepEnd::Done,
            Outcome::Failed(_) | Outcome::Unknown(_) if again => StepEnd::Retried,
            Outcome::Failed(_) | Outcome::Unknown(_) if stage.if_possible => StepEnd::Waived,
            Outcome::Failed(_) => StepEnd::Failed,
            Outcome::Unknown(_) => StepEnd::Unknown,
        };
        let note = match outcome {
            Outcome::Done => None,
            Outcome::Failed(why) | Outcome::Unknown(why) => Some(why),
        };
        self.tell_end(number, &stage, ended, began, note);
    }

    /// Why a stage that was announced must not be done. While there is a way back, a planned run does nothing that is not on
    /// disk: whoever found its journal would take it for less than it was.
    async fn barred(&self, stage: &Stage) -> Option<String> {
        if self.run.is_committed() || stage.section > Section::Commit {
            return None;
        }
        if self.is_planned
            && let Some(why) = self.hands.unwritten()
        {
            return Some(format!("not begun: the run's journal cannot be written: {why}"));
        }
        match stage.section {
            Section::Commit => self.must_not_open().await,
            _ => None,
        }
    }

    /// Why the host that takes over must not be opened.
    async fn must_not_open(&self) -> Option<String> {
        let (lost, answer) = tokio::join!(self.hands.lost_lock(), async {
            match &self.fenced {
                Some(fenced) => self.hands.still_answers(fenced).await,
                None => None,
            }
        });
        lost.or_else(|| Some(format!("{} was fenced, and {}", self.fenced.as_ref()?, answer?)))
    }

    /// For how long writes may still be refused, while that can be ended by going back.
    fn time_left(&self) -> Option<Duration> {
        let (refused_at, longest) = self.refused_at.zip(self.write_refused_max)?;
        let passed = self.hands.elapsed().saturating_sub(refused_at);
        self.run.may_be_overdue().then(|| longest.saturating_sub(passed))
    }

    fn overdue(&mut self, number: usize) {
        let longest = self.write_refused_max.unwrap_or_default();
        let why = format!(
            "not begun: writes have been refused for the {} ms that `write_refused_max` allows",
            longest.as_millis()
        );
        self.happens(Happening::Overdue(number, why));
    }

    async fn look(&mut self, number: usize) {
        let stage = self.run.stages()[number].clone();
        let looks = stage.hosts.iter().map(|host| {
            self.hands.look(Errand {
                stage: &stage,
                host,
                duty: &stage.duty,
                registered: &self.registered,
            })
        });
        let found = join_all(looks).await;
        let settled = if found.contains(&Settled::CannotTell) {
            Settled::CannotTell
        } else if found.iter().all(|settled| *settled == Settled::Happened) {
            Settled::Happened
        } else {
            Settled::DidNotHappen
        };
        let was_committed = self.run.is_committed();
        self.happens(Happening::Looked(number, settled));
        if self.run.is_committed() && !was_committed {
            self.opened_at = Some(self.hands.elapsed());
        }
    }

    async fn undo(&mut self, number: usize) {
        if self.last_failed == Some(number) {
            self.hands.pause(BEFORE_RETRY).await;
        }
        let stage = self.run.stages()[number].clone();
        let Some(duty) = stage.undo.clone() else {
            self.happens(Happening::Undid(number, Outcome::Done));
            return;
        };
        self.hands.note(Entry::Step(Happening::Undoing(number)));
        let began = self.hands.elapsed();
        let opens = stage.refuses_writes();
        let barred = if opens {
            self.rival(&stage).await
        } else if stage.undo_if_possible {
            self.replaced(&stage).await
        } else {
            None
        };
        let outcome = match barred {
            Some(why) => Outcome::Failed(why),
            None => worst(&self.everywhere(&stage, &duty).await),
        };
        if opens && outcome == Outcome::Done {
            self.opened_at = Some(self.hands.elapsed());
        }
        self.last_failed = (outcome != Outcome::Done).then_some(number);
        self.happens(Happening::Undid(number, outcome.clone()));
        let (ended, note) = match outcome {
            Outcome::Done => (StepEnd::Undone, None),
            Outcome::Failed(why) | Outcome::Unknown(why) => {
                (StepEnd::Failed, Some(format!("taking it back failed: {why}")))
            }
        };
        self.tell_end(number, &stage, ended, began, note);
    }

    /// Why the stage's own host must not be opened again.
    async fn rival(&self, stage: &Stage) -> Option<String> {
        let rivals = join_all(stage.hosts.iter().map(|host| self.hands.rival(host)));
        rivals.await.into_iter().flatten().next()
    }

    /// Why what was taken from a dead writer must not be given back: it may not be the writer any more.
    async fn replaced(&self, stage: &Stage) -> Option<String> {
        let all = join_all(stage.hosts.iter().map(|host| self.hands.replaced(host)));
        all.await.into_iter().flatten().next()
    }

    /// Performs a duty at every host of a stage at once.
    async fn everywhere(&self, stage: &Stage, duty: &str) -> Vec<(HostName, DutyReport)> {
        let errands = stage.hosts.iter().map(|host| async {
            let errand = Errand {
                stage,
                host,
                duty,
                registered: &self.registered,
            };
            (host.clone(), self.hands.perform(errand).await)
        });
        join_all(errands).await
    }

    /// What a duty that changes something notes first is what it found before it changed it; done again after the run was
    /// resumed, it would find its own work.
    fn register(&mut self, number: usize, reports: &[(HostName, DutyReport)]) {
        let was_begun_before = self.run.was_begun_before(number);
        for (name, value) in reports.iter().flat_map(|(_, report)| &report.registered) {
            if was_begun_before && self.registered.contains_key(name) {
                continue;
            }
            self.registered.insert(name.clone(), value.clone());
            self.hands.note(Entry::Value(name.clone(), value.clone()));
        }
    }

    fn happens(&mut self, happening: Happening) {
        self.hands.note(Entry::Step(happening.clone()));
        self.run.record(&happening);
    }

    fn tell_start(&self, number: usize, stage: &Stage) {
        self.hands.tell(Event::StepStarted {
            step: number + 1,
            of: self.run.stages().len(),
            hosts: stage.hosts.clone(),
            name: stage.name.clone(),
        });
    }

    fn tell_end(&self, number: usize, stage: &Stage, ended: StepEnd, began: Duration, note: Option<String>) {
        self.hands.tell(Event::StepEnded {
            step: number + 1,
            of: self.run.stages().len(),
            hosts: stage.hosts.clone(),
            name: stage.name.clone(),
            section: stage.section,
            ended,
            took_ms: ms(self.hands.elapsed().saturating_sub(began)),
            note,
        });
    }
}

/// The worst of several reports: unknown, then failed, then done.
fn worst(reports: &[(HostName, DutyReport)]) -> Outcome {
    let mut failed = None;
    for (host, report) in reports {
        match &report.outcome {
            DutyOutcome::Done => {}
            DutyOutcome::Failed { step, why } => {
                let said = report.steps.last().map(said).unwrap_or_default();
                failed.get_or_insert(format!("{host}: {step}: {why}{said}"));
            }
            DutyOutcome::Expired { step } => {
                failed.get_or_insert(format!("{host}: {step}: not started, its time had passed"));
            }
            DutyOutcome::Unknown { why } => return Outcome::Unknown(format!("{host}: {why}")),
        }
    }
    failed.map_or(Outcome::Done, Outcome::Failed)
}

/// What came of a duty by itself.
pub fn outcome_of(host: &HostName, report: &DutyReport) -> Outcome {
    worst(&[(host.clone(), report.clone())])
}

/// Why a duty did not end well, in words; empty when it did.
pub fn describe(report: &DutyReport) -> String {
    match outcome_of(&HostName::from(report.duty.as_str()), report) {
        Outcome::Done => String::new(),
        Outcome::Failed(why) | Outcome::Unknown(why) => why,
    }
}

/// The last lines a step printed, for a person.
fn said(step: &StepReport) -> String {
    let lines: Vec<&str> = step
        .output
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let tail = lines[lines.len().saturating_sub(3)..].join("; ");
    if tail.is_empty() {
        tail
    } else {
        format!(" ({tail})")
    }
}

fn ms(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
