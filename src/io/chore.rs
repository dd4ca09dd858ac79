//! Work by hand while it is performed: each duty is written down before it is begun and when it has ended, so that whoever
//! comes after a program that was killed in the middle knows how far it came. What becomes of it then is `settle`'s.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::core::chore;
use crate::core::cluster::HostName;
use crate::core::guard::{Facts, Guard};
use crate::core::mending::Call;
use crate::core::playbook::{Seat, Section};
use crate::core::proposal::{PlannedStage, Wish};
use crate::core::run::{Ending, Happening, Outcome, Stage};
use crate::core::script::{DutyOutcome, DutyReport};
use crate::core::trouble::{Kind, Trouble};
use crate::io::conductor::{describe, outcome_of};
use crate::io::context::Errands;
use crate::io::journal::{Entry, Journal, Opening};
use crate::io::operation::{Performer, SingleDuty, run_stamp};
use crate::io::settle;
use crate::io::shell::Trace;

/// One duty of the work: where, its name, the address it is about.
type Piece = (HostName, String, Option<IpAddr>);

/// Work by hand on one host, being performed.
#[derive(Debug)]
pub(super) struct Chore {
    name: String,
    journal: Journal,
    /// What is to be done, in order; empty once it was begun.
    pieces: Vec<Option<Piece>>,
    /// The shells that the record names.
    traces: Vec<(HostName, Trace)>,
    /// The hosts at which no shell could be had, and why: what a shell without a record did could never be settled.
    unreachable: BTreeMap<HostName, String>,
    /// A connection died in the middle of a duty, so it has no end yet.
    is_unknown: bool,
}

impl Performer<'_> {
    /// Begins its record, with nothing done yet. `planned` is what would be shown of it, duty by duty.
    ///
    /// # Errors
    /// Refused: its own host cannot be reached, or the record cannot be written; nothing was touched.
    pub(super) async fn begin_chore(
        &self,
        wanted: Wish,
        section: Section,
        planned: &[PlannedStage],
        calls: &[Call<'_>],
        facts: &Facts,
    ) -> Result<Chore, Trouble> {
        let Some((name, host)) = chore::name(&wanted).zip(chore::host(&wanted)) else {
            let what = "an operation was taken for work by hand";
            return Err(Trouble::new(Kind::Bug, what, "it has stages of its own"));
        };
        let what = format!("{name} of `{host}`");
        settle::nothing_left_at(self, &what, &[host])?;
        let is_on_box = matches!(wanted, Wish::Duty { on_box: true, .. });
        let mut stages: Vec<Stage> = planned.iter().map(|stage| stage.performed_in(section)).collect();
        if is_on_box {
            stages.iter_mut().for_each(|stage| stage.seat = Seat::Monitor);
        }
        let mut unreachable = BTreeMap::new();
        let mut traces: Vec<(HostName, Trace)> = Vec::new();
        for at in stages
            .iter()
            .filter(|stage| stage.seat != Seat::Monitor)
            .flat_map(|stage| &stage.hosts)
        {
            if traces.iter().any(|(known, _)| known == at) || unreachable.contains_key(at) {
                continue;
            }
            match self.shell_at(at, facts).await {
                Ok(trace) => traces.push((at.clone(), trace)),
                Err(trouble) if at == host => return Err(trouble),
                Err(trouble) => {
                    unreachable.insert(at.clone(), format!("{}: {}", trouble.what, trouble.because));
                }
            }
        }
        let pieces = match calls {
            [] => stages
                .iter()
                .map(|stage| Some((host.clone(), stage.duty.clone(), None)))
                .collect(),
            calls => calls.iter().map(piece).map(Some).collect(),
        };
        let opening = Opening {
            run: format!("{name}-{}", run_stamp()),
            operation: name.to_owned(),
            outgoing: Some(host.clone()),
            incoming: None,
            rung: None,
            automatic: false,
            address: None,
            write_refused_max: None,
            chore: Some(wanted.clone()),
            stages,
        };
        let mut journal = self.begin_journal(&opening)?;
        for (host, trace) in &traces {
            journal.append(Entry::Shell(host.clone(), trace.clone()));
        }
        Ok(Chore {
            traces,
            name: opening.run,
            journal,
            pieces,
            unreachable,
            is_unknown: false,
        })
    }

    /// A shell there that the record can name, with its connection to the server where that is up.
    pub(super) async fn shell_at(&self, host: &HostName, facts: &Facts) -> Result<Trace, Trouble> {
        if facts.get(host).is_some_and(|seen| seen.mysql.up().is_some())
            && let Ok(trace) = self.fleet.warm(host).await
        {
            return Ok(trace);
        }
        self.fleet.warm_shell(host).await
    }
}

impl Chore {
    /// Performs the duty of that place, counted from 0.
    ///
    /// # Errors
    /// It was not begun, and why.
    pub(super) async fn perform(
        &mut self,
        performer: &Performer<'_>,
        number: usize,
        single: &SingleDuty<'_>,
    ) -> Result<DutyReport, Trouble> {
        if let Some(piece) = self.pieces.get_mut(number) {
            *piece = None;
        }
        let what = || format!("duty `{}` at `{}` was not begun", single.duty, single.at);
        if let Some(why) = self.unreachable.get(single.at).filter(|_| !single.on_box) {
            let trouble = Trouble::refused(Guard::G09, what(), why);
            self.note(Happening::Did(number, Outcome::Failed(trouble.because.clone())));
            return Err(trouble);
        }
        self.note(Happening::Doing(number));
        if let Some(why) = self.journal.trouble() {
            let because = format!("its record cannot be written: {why}");
            return Err(Trouble::refused(Guard::G05, what(), because));
        }
        let report = match self.is_recorded(performer, single).await {
            Ok(()) => performer.send(single).await,
            Err(trouble) => Err(trouble),
        };
        let outcome = match &report {
            Ok(report) => {
                for (name, value) in &report.registered {
                    self.journal.append(Entry::Value(name.clone(), value.clone()));
                }
                outcome_of(single.at, report)
            }
            Err(trouble) => Outcome::Failed(format!("{}: {}", trouble.what, trouble.because)),
        };
        self.is_unknown |= matches!(outcome, Outcome::Unknown(_));
        self.note(Happening::Did(number, outcome));
        report
    }

    /// That the shell which performs a duty is named in the record: one that was lost is opened anew.
    async fn is_recorded(
        &mut self,
        performer: &Performer<'_>,
        single: &SingleDuty<'_>,
    ) -> Result<(), Trouble> {
        if single.on_box {
            return Ok(());
        }
        let shell = (single.at.clone(), performer.fleet.warm_shell(single.at).await?);
        if !self.traces.contains(&shell) {
            self.journal
                .append(Entry::Shell(shell.0.clone(), shell.1.clone()));
            if let Some(why) = self.journal.trouble() {
                let what = format!("duty `{}` at `{}` was not begun", single.duty, single.at);
                let because = format!("its record cannot be written: {why}");
                return Err(Trouble::refused(Guard::G05, what, because));
            }
            self.traces.push(shell);
        }
        Ok(())
    }

    /// Performs that duty, which is one of those it was begun with, and says why it did not end well.
    pub(super) async fn call(&mut self, performer: &Performer<'_>, call: &Call<'_>) -> Result<(), String> {
        let wanted = Some(piece(call));
        let Some(number) = self.pieces.iter().position(|piece| *piece == wanted) else {
            return Err(format!("`{}` at {} was not announced", call.duty, call.host));
        };
        let single = SingleDuty {
            duty: call.duty,
            at: call.host,
            on_box: false,
            within: call.within,
            errand: Errands::of(call),
        };
        match self.perform(performer, number, &single).await {
            Ok(report) if report.outcome == DutyOutcome::Done => Ok(()),
            Ok(report) => Err(describe(&report)),
            Err(trouble) => Err(format!("{}: {}", trouble.what, trouble.because)),
        }
    }

    /// Ends its record, unless it is not known what came of it: then whoever comes next settles it.
    pub(super) fn end(mut self, performer: &Performer<'_>, ending: Ending) {
        if self.is_unknown {
            return;
        }
        self.journal.append(Entry::End(ending));
        if let Some(why) = self.journal.trouble() {
            let what = format!("the record of {} cannot be ended", self.name);
            performer
                .alarm(&Trouble::new(Kind::Wrong, what, why).hint("free some space in the state directory"));
        }
    }

    /// Whether it is not known what came of one of its duties.
    pub(super) fn is_unknown(&self) -> bool {
        self.is_unknown
    }

    /// Its name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    fn note(&mut self, happening: Happening) {
        self.journal.append(Entry::Step(happening));
    }
}

fn piece(call: &Call<'_>) -> Piece {
    (call.host.clone(), call.duty.to_owned(), call.address)
}
