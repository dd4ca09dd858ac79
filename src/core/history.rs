//! A run as it went, for people who read it afterwards: a fold over its record into spans of time.

mod axis;

use std::net::IpAddr;
use std::time::Duration;

use serde::Serialize;

use super::cluster::HostName;
use super::losses::Loss;
use super::moment::Moment;
use super::playbook::{Seat, Section};
use super::proposal::Wish;
use super::run::{Ending, Happening, Outcome, Run, Settled, Stage};
use super::settlement::CUT_OFF;

pub use axis::Axis;

/// How the reason begins for which a run was closed that somebody had overtaken.
pub const OVERTAKEN: &str = "it was overtaken: ";

/// What a run is by its record.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Its name.
    pub run: String,
    /// The operation.
    pub operation: String,
    /// The host that gives the role away.
    pub outgoing: Option<HostName>,
    /// The host that takes it.
    pub incoming: Option<HostName>,
    /// The address it moves, when that is not the writer's.
    pub address: Option<IpAddr>,
    /// What a person asked for, where it is no operation of the playbooks.
    pub chore: Option<Wish>,
    /// Whether a program is at work on it.
    pub is_at_work: bool,
    /// Every stage.
    pub stages: Vec<Stage>,
    /// When it was begun.
    pub began: Moment,
    /// What was written down about it, in order.
    pub marks: Vec<(Moment, Mark)>,
}

impl Record {
    /// Whether it has come past its commit.
    fn is_committed(&self) -> bool {
        let steps = self.marks.iter().filter_map(|(_, mark)| match mark {
            Mark::Step(happening) => Some(happening),
            Mark::Lost(_) | Mark::End(_) => None,
        });
        Run::replay(self.stages.clone(), steps).is_committed()
    }
}

/// One thing that was written down about a run.
#[derive(Debug, Clone, PartialEq)]
pub enum Mark {
    /// Something happened to a stage.
    Step(Happening),
    /// What the new writer lacks of the old one.
    Lost(Loss),
    /// It came to an end, for good or for now.
    End(Ending),
}

/// How a run has ended so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It did what it was for.
    Done,
    /// It failed, and everything was taken back.
    Undone,
    /// A first question was answered with no; nothing was touched.
    Refused,
    /// Somebody else had moved the role meanwhile; it was closed.
    Overtaken,
    /// It did not come to its end, and what was done of it stays.
    Failed,
    /// It can go neither forward nor back for now.
    Stuck,
    /// A program is at work on it.
    AtWork,
    /// It has not come to an end.
    Open,
}

/// A run as it went.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct History {
    /// Its name.
    pub run: String,
    /// The operation.
    pub operation: String,
    /// The host that gives the role away.
    pub outgoing: Option<HostName>,
    /// The host that takes it.
    pub incoming: Option<HostName>,
    /// The address it moved, when that is not the writer's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// When it was begun.
    pub began: Moment,
    /// When the last line was written that belongs to the run itself.
    pub until: Moment,
    /// How it ended.
    pub verdict: Verdict,
    /// Why, when it did not do what it was for.
    pub because: Option<String>,
    /// What did not work at its end, and changed nothing above.
    pub warnings: Vec<String>,
    /// When writes began to be refused by its doing, and until when; several where it was resumed after it had been undone.
    pub write_refused: Vec<Window>,
    /// For how long in all, in milliseconds; none when writes were never refused by it.
    pub write_refused_ms: Option<u64>,
    /// When it was gone on with after it had been cut off or stuck.
    pub resumed: Vec<Moment>,
    /// What the new writer lacks of the old one, in words.
    pub lost: Option<String>,
    /// What was done, in order.
    pub spans: Vec<Span>,
    /// Whether it has come past its commit by its record.
    #[serde(skip)]
    pub committed: bool,
    /// What a person asked for, where it is no operation of the playbooks.
    #[serde(skip)]
    pub chore: Option<Wish>,
}

/// A span of time in which nobody could write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Window {
    /// Its beginning.
    pub from: Moment,
    /// Its end; none while it has not ended.
    pub to: Option<Moment>,
}

/// One stage being done, or taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Span {
    /// The stage's place, counted from 1.
    pub step: usize,
    /// Out of how many.
    pub of: usize,
    /// What it does.
    pub name: String,
    /// The section it stands in.
    pub section: Section,
    /// Who plays the part.
    pub seat: Seat,
    /// Where.
    pub hosts: Vec<HostName>,
    /// Whether it was taken back here.
    pub undo: bool,
    /// When it began.
    pub began: Moment,
    /// When it ended; none when it was cut off.
    pub ended: Option<Moment>,
    /// How it ended.
    pub end: SpanEnd,
    /// Why, when not well.
    pub note: Option<String>,
}

/// How a span ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SpanEnd {
    /// It held.
    Done,
    /// It failed.
    Failed,
    /// The connection died in the middle.
    Unknown,
    /// The program that did it was cut off.
    CutOff,
}

/// The run as it went.
pub fn of(record: &Record) -> History {
    let mut history = History {
        run: record.run.clone(),
        operation: record.operation.clone(),
        outgoing: record.outgoing.clone(),
        incoming: record.incoming.clone(),
        address: record.address,
        began: record.began,
        until: record.began,
        verdict: Verdict::Open,
        because: None,
        warnings: Vec::new(),
        write_refused: Vec::new(),
        write_refused_ms: None,
        resumed: Vec::new(),
        lost: None,
        spans: Vec::new(),
        committed: record.is_committed(),
        chore: record.chore.clone(),
    };
    for (at, mark) in &record.marks {
        match mark {
            // It may be known exactly only days later.
            Mark::Lost(loss) => history.lose(record, loss),
            Mark::Step(happening) => {
                history.until = *at;
                (history.verdict, history.because) = (Verdict::Open, None);
                history.happen(&record.stages, *at, happening);
            }
            Mark::End(ending) => {
                history.until = *at;
                history.end(ending);
            }
        }
    }
    if history.verdict == Verdict::Open && record.is_at_work {
        history.verdict = Verdict::AtWork;
    }
    let spans = history.write_refused.iter();
    let spans = spans.map(|window| window.to.unwrap_or(history.until).since(window.from));
    let total: Duration = spans.sum();
    let is_known = !history.write_refused.is_empty();
    history.write_refused_ms = is_known.then(|| u64::try_from(total.as_millis()).unwrap_or(u64::MAX));
    history
}

impl History {
    fn lose(&mut self, record: &Record, loss: &Loss) {
        if let (Some(outgoing), Some(incoming)) = (&record.outgoing, &record.incoming) {
            self.lost = Some(loss.sentence(outgoing, incoming));
        }
    }

    fn end(&mut self, ending: &Ending) {
        (self.verdict, self.because) = match ending {
            Ending::Done { warnings } => {
                self.warnings.clone_from(warnings);
                (Verdict::Done, None)
            }
            Ending::Undone { because, .. } if because.starts_with(OVERTAKEN) => {
                (Verdict::Overtaken, Some(because.clone()))
            }
            Ending::Undone {
                because,
                untouched: true,
            } => (Verdict::Refused, Some(because.clone())),
            Ending::Undone { because, .. } => (Verdict::Undone, Some(because.clone())),
            Ending::Failed { because } => (Verdict::Failed, Some(because.clone())),
            Ending::Stuck { because, .. } => (Verdict::Stuck, Some(because.clone())),
        };
    }

    fn happen(&mut self, stages: &[Stage], at: Moment, happening: &Happening) {
        let refuses = |stage: usize| stages.get(stage).is_some_and(Stage::refuses_writes);
        let opens = |stage: usize| {
            stages
                .get(stage)
                .is_some_and(|stage| stage.section == Section::Commit)
        };
        match happening {
            Happening::Doing(stage) => {
                self.begin(stages, *stage, at, false);
                let is_open = self
                    .write_refused
                    .last()
                    .is_some_and(|window| window.to.is_none());
                if refuses(*stage) && !is_open {
                    self.write_refused.push(Window { from: at, to: None });
                }
            }
            Happening::Undoing(stage) => self.begin(stages, *stage, at, true),
            Happening::Did(stage, outcome) => {
                self.finish(*stage, at, outcome);
                if opens(*stage) && *outcome == Outcome::Done {
                    self.take_writes_again(at);
                }
            }
            Happening::Undid(stage, outcome) => {
                self.finish(*stage, at, outcome);
                if refuses(*stage) && *outcome == Outcome::Done {
                    self.take_writes_again(at);
                }
            }
            Happening::Looked(stage, Settled::Happened) if opens(*stage) => self.take_writes_again(at),
            Happening::Resumed => self.resumed.push(at),
            Happening::Overdue(..) | Happening::Looked(..) | Happening::Cleared | Happening::GivenUp => {}
        }
    }

    fn begin(&mut self, stages: &[Stage], number: usize, at: Moment, undo: bool) {
        let Some(stage) = stages.get(number) else { return };
        self.spans.push(Span {
            step: number + 1,
            of: stages.len(),
            name: stage.name.clone(),
            section: stage.section,
            seat: stage.seat,
            hosts: stage.hosts.clone(),
            undo,
            began: at,
            ended: None,
            end: SpanEnd::CutOff,
            note: None,
        });
    }

    fn finish(&mut self, number: usize, at: Moment, outcome: &Outcome) {
        let Some(span) = self.spans.last_mut().filter(|span| span.step == number + 1) else {
            return;
        };
        // What settles a cut-off stage writes down an end for it that nobody saw.
        if span.ended.is_some() || *outcome == Outcome::Unknown(CUT_OFF.to_owned()) {
            return;
        }
        span.ended = Some(at);
        (span.end, span.note) = match outcome {
            Outcome::Done => (SpanEnd::Done, None),
            Outcome::Failed(why) => (SpanEnd::Failed, Some(why.clone())),
            Outcome::Unknown(why) => (SpanEnd::Unknown, Some(why.clone())),
        };
    }

    fn take_writes_again(&mut self, at: Moment) {
        if let Some(window) = self.write_refused.last_mut() {
            window.to.get_or_insert(at);
        }
    }

    /// How long it took, from its beginning to its last line.
    pub fn took(&self) -> Duration {
        self.until.since(self.began)
    }
}

#[cfg(test)]
pub mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::core::run::REFUSES_WRITES;

    fn stage(section: Section, name: &str, seat: Seat, duty: &str) -> Stage {
        Stage {
            section,
            name: name.into(),
            seat,
            hosts: vec![if seat == Seat::Outgoing { "db1" } else { "db2" }.into()],
            duty: duty.into(),
            source: None,
            with: BTreeMap::new(),
            within: Duration::from_secs(1),
            undo: None,
            undo_if_possible: false,
            only_asks: false,
            if_possible: false,
        }
    }

    /// A switchover that is cut off while it waits, and gone on with an hour later.
    pub fn resumed() -> Record {
        let did = |stage| Mark::Step(Happening::Did(stage, Outcome::Done));
        let doing = |stage| Mark::Step(Happening::Doing(stage));
        const HOUR: u64 = 3_600_000;
        let marks = [
            (10, doing(0)),
            (13, did(0)),
            (14, doing(1)),
            (
                HOUR,
                Mark::Step(Happening::Did(1, Outcome::Unknown(CUT_OFF.into()))),
            ),
            (HOUR, Mark::Step(Happening::Resumed)),
            (HOUR + 10, doing(0)),
            (HOUR + 12, did(0)),
            (HOUR + 12, doing(1)),
            (HOUR + 30, did(1)),
            (HOUR + 31, doing(2)),
            (HOUR + 35, did(2)),
            (HOUR + 36, doing(3)),
            (
                HOUR + 50,
                Mark::Step(Happening::Did(3, Outcome::Failed("db2: no <arping>".into()))),
            ),
            (
                HOUR + 51,
                Mark::End(Ending::Done {
                    warnings: vec!["step 4, \"Announce\": db2: no <arping>".into()],
                }),
            ),
        ];
        let began = 1_764_000_000_000;
        Record {
            run: "switchover-20251124-160000-000".into(),
            operation: "switchover".into(),
            outgoing: Some("db1".into()),
            incoming: Some("db2".into()),
            address: None,
            chore: None,
            is_at_work: false,
            stages: vec![
                stage(
                    Section::Prepare,
                    "Refuse new writes",
                    Seat::Outgoing,
                    REFUSES_WRITES,
                ),
                stage(
                    Section::Prepare,
                    "Wait until everything has arrived",
                    Seat::Incoming,
                    "catch-up",
                ),
                stage(Section::Commit, "Accept writes", Seat::Incoming, "allow-writes"),
                stage(Section::Finish, "Announce", Seat::Incoming, "announce"),
            ],
            began: Moment(began),
            marks: marks
                .into_iter()
                .map(|(at, mark)| (Moment(began + at), mark))
                .collect(),
        }
    }

    #[test]
    fn writes_count_as_refused_until_somebody_takes_them_again_also_while_nobody_was_at_work() {
        let history = of(&resumed());
        assert_eq!(history.verdict, Verdict::Done);
        assert_eq!(history.write_refused_ms, Some(3_600_035 - 10));
        assert_eq!(history.resumed.len(), 1);
        assert_eq!(
            (history.spans[1].end, history.spans[1].ended),
            (SpanEnd::CutOff, None)
        );
        assert_eq!(history.spans.len(), 6);
        let axis = Axis::of(&history);
        assert!(axis.is_shortened);
        assert!(axis.place(history.began) < 0.001 && axis.place(history.until) > 0.999);
        assert!(axis.place(history.resumed[0]) > 0.9, "the hour is cut short");
    }

    #[test]
    fn a_run_without_an_end_is_open_and_an_overtaken_one_says_so() {
        let mut record = resumed();
        record.marks.truncate(3);
        let history = of(&record);
        assert_eq!(history.verdict, Verdict::Open);
        assert_eq!(history.spans[1].end, SpanEnd::CutOff);
        let undone = |because: &str, untouched| {
            let mut record = record.clone();
            let because = because.to_owned();
            record
                .marks
                .push((record.began, Mark::End(Ending::Undone { because, untouched })));
            of(&record).verdict
        };
        assert_eq!(
            undone("it was overtaken: db3 takes writes", false),
            Verdict::Overtaken
        );
        assert_eq!(undone("step 1: no", true), Verdict::Refused);
        assert_eq!(undone("step 1: no", false), Verdict::Undone);
    }
}
