//! The steps of the site around a run: commands on this box, and duties at its seats. Before it nothing has been touched;
//! behind it nothing depends on them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::{Performer, Request};
use crate::core::cluster::HostName;
use crate::core::event::{Event, StepEnd};
use crate::core::evidence::Rung;
use crate::core::guard::{Facts, Guard};
use crate::core::plan::Seats;
use crate::core::playbook::Seat;
use crate::core::run::{Ending, Outcome, Settled};
use crate::core::script::DutyOutcome;
use crate::core::site::{CameOut, Occasion, SiteAct, SiteStep, Situation, environment};
use crate::core::standing::Standing;
use crate::core::trouble::Trouble;
use crate::io::command::{self, Order};
use crate::io::conductor::{RunReport, describe};
use crate::io::context::Errands;
use crate::io::journal::{Entry, Journal, OpenRun, Opening, SiteRecord};
use crate::io::operation::Prepared;

/// How a step of the site ended, and what it printed last.
struct Came {
    outcome: Outcome,
    output: String,
}

impl Came {
    fn failed(why: impl Into<String>) -> Came {
        Came {
            outcome: Outcome::Failed(why.into()),
            output: String::new(),
        }
    }
}

/// What the steps of one occasion have in common.
struct Round<'r> {
    opening: &'r Opening,
    occasion: Occasion,
    environment: BTreeMap<String, String>,
    /// Hosts that did not answer at the last look, where there was one.
    facts: Option<&'r Facts>,
}

impl Performer<'_> {
    /// What the site wants done before the run, with nothing touched yet. As long as that takes the world may change, so
    /// the hosts are looked at again, and everything must be as it was. The journal, where one was begun.
    ///
    /// # Errors
    /// Refused: a step failed that was to stop the run, or the guards do not let it be begun any more.
    pub(super) async fn site_before(
        &self,
        request: &Request,
        absent: &[HostName],
        standing: &Standing,
        prepared: &Prepared,
        (seats, rung): (&Seats, Option<Rung>),
    ) -> Result<Option<Journal>, Trouble> {
        let opening = &prepared.opening;
        let steps = self.fleet.entry().site.of(&opening.operation, Occasion::Before);
        if steps.is_empty() {
            return Ok(None);
        }
        let mut journal = self.begin_journal(opening)?;
        let facts = self.fleet.look_except(absent).await;
        let round = Round {
            opening,
            occasion: Occasion::Before,
            environment: environment(&self.situation(opening), Occasion::Before, None),
            facts: Some(&facts),
        };
        for (number, step) in steps.iter().enumerate() {
            let outcome = self.site_step(&round, number, step, &mut journal).await;
            if let Outcome::Failed(why) | Outcome::Unknown(why) = outcome
                && step.stops(&opening.operation, Occasion::Before)
            {
                let what = format!(
                    "{} of `{}` was not begun",
                    opening.operation,
                    self.fleet.entry().cluster.name
                );
                let trouble = Trouble::refused(
                    Guard::G80,
                    what,
                    format!("the site's step `{}`: {why}", step.name),
                );
                return Err(self.site_refused(Some(journal), opening, trouble).await);
            }
        }
        let as_it_was = self.still(request, absent, standing, (seats, rung)).await;
        match as_it_was {
            Ok(()) => Ok(Some(journal)),
            Err(trouble) => Err(self.site_refused(Some(journal), opening, trouble).await),
        }
    }

    /// A run that is not begun after steps of the site were performed: its journal is ended, and the site is told. Gives
    /// the trouble back.
    pub(super) async fn site_refused(
        &self,
        journal: Option<Journal>,
        opening: &Opening,
        trouble: Trouble,
    ) -> Trouble {
        let Some(mut journal) = journal else {
            return trouble;
        };
        journal.append(Entry::End(Ending::Undone {
            because: trouble.because.clone(),
            untouched: true,
        }));
        let situation = self.situation(opening);
        let came_out = CameOut::refused(&trouble.reason(), &situation);
        self.site_round(opening, Occasion::After, &situation, &came_out, &mut journal)
            .await;
        trouble
    }

    /// What the site wants done now that a run has ended or got stuck.
    pub(in crate::io) async fn site_after(&self, opening: &Opening, report: &RunReport) {
        let occasion = match report.ending {
            Ending::Stuck { .. } => Occasion::OnStuck,
            Ending::Done { .. } | Ending::Undone { .. } | Ending::Failed { .. } => Occasion::After,
        };
        let steps = self.fleet.entry().site.of(&opening.operation, occasion);
        if steps.is_empty() {
            return;
        }
        let situation = self.situation(opening);
        let committed = Some(report.committed).filter(|committed| *committed || !report.in_doubt);
        let came_out = CameOut::of(&report.ending, committed, &situation);
        let mut journal = match Journal::of_run(&self.dir, &opening.run) {
            Ok(journal) => journal,
            Err(error) => {
                tracing::warn!("the journal of run {} cannot be added to: {error}", opening.run);
                Journal::in_memory(error.to_string())
            }
        };
        self.site_round(opening, occasion, &situation, &came_out, &mut journal)
            .await;
    }

    /// As [`Performer::site_after`], for a run that was cut off before its first stage: perhaps while the site's own steps
    /// ran.
    pub(in crate::io) async fn site_closed(&self, opening: &Opening, report: &RunReport) {
        let before = self.fleet.entry().site.of(&opening.operation, Occasion::Before);
        if !before.is_empty() {
            self.site_after(opening, report).await;
        }
    }

    /// That a run that was cut off before its first stage may go on without the site's steps before it: all of them have
    /// ended, and none that was to stop it failed. They are not performed a second time.
    ///
    /// # Errors
    /// Refused: which was not had.
    pub(in crate::io) fn site_was_had(&self, open: &OpenRun) -> Result<(), Trouble> {
        let opening = &open.opening;
        let steps = self.fleet.entry().site.of(&opening.operation, Occasion::Before);
        let was_had = |number: usize, step: &SiteStep| {
            let mut records = open.site.iter().filter(|record| record.number == number);
            records.any(|record| match &record.came {
                Some(Outcome::Done) => true,
                Some(_) => !step.stops(&opening.operation, Occasion::Before),
                None => false,
            })
        };
        let mut steps = steps.iter().enumerate();
        match steps.find(|(number, step)| !was_had(*number, step)) {
            None => Ok(()),
            Some((_, step)) => Err(Trouble::refused(
                Guard::G73,
                format!("run {} was not gone on with", opening.run),
                format!("the site's step `{}` before it has not ended well", step.name),
            )
            .hint(format!(
                "nothing was touched: `mmm undo {}`, then begin anew",
                opening.run
            ))),
        }
    }

    async fn site_round(
        &self,
        opening: &Opening,
        occasion: Occasion,
        situation: &Situation,
        came_out: &CameOut,
        journal: &mut Journal,
    ) {
        let round = Round {
            opening,
            occasion,
            environment: environment(situation, occasion, Some(came_out)),
            facts: None,
        };
        let steps = self.fleet.entry().site.of(&opening.operation, occasion);
        for (number, step) in steps.iter().enumerate() {
            self.site_step(&round, number, step, journal).await;
        }
    }

    /// One step: written down, performed, written down, told.
    async fn site_step(
        &self,
        round: &Round<'_>,
        number: usize,
        step: &SiteStep,
        journal: &mut Journal,
    ) -> Outcome {
        let hosts = match &step.act {
            SiteAct::Duty { at, .. } if *at != Seat::Monitor => seats_of(round.opening).hosts(*at),
            SiteAct::Duty { .. } | SiteAct::Run(_) => Vec::new(),
        };
        let mut record = SiteRecord {
            occasion: round.occasion,
            number,
            name: step.name.clone(),
            hosts: hosts.clone(),
            came: None,
        };
        journal.append(Entry::Site(record.clone()));
        let began = Instant::now();
        let came = match &step.act {
            SiteAct::Run(command) => self.site_command(round, command, step.within).await,
            SiteAct::Duty { name, at, with } => self.site_duty(round, step, name, *at, with, &hosts).await,
        };
        record.came = Some(came.outcome.clone());
        journal.append(Entry::Site(record));
        let goes_on =
            if round.occasion == Occasion::Before && !step.stops(&round.opening.operation, round.occasion) {
                "; the operation goes on"
            } else {
                ""
            };
        let (ended, note) = match &came.outcome {
            Outcome::Done => (StepEnd::Done, None),
            Outcome::Failed(why) => (StepEnd::Failed, Some(format!("{why}{goes_on}"))),
            Outcome::Unknown(why) => (StepEnd::Unknown, Some(format!("{why}{goes_on}"))),
        };
        self.teller.tell(Event::SiteStep {
            run: round.opening.run.clone(),
            occasion: round.occasion,
            hosts,
            name: step.name.clone(),
            ended,
            took_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
            note,
            output: came.output,
        });
        came.outcome
    }

    async fn site_command(&self, round: &Round<'_>, command: &str, within: Duration) -> Came {
        let ran = command::run(Order {
            command,
            environment: &round.environment,
            hidden: &self.fleet.entry().secret_variables,
            input: b"",
            within,
        })
        .await;
        let said = if ran.last_words.is_empty() {
            String::new()
        } else {
            format!(" ({})", ran.last_words)
        };
        Came {
            outcome: match ran.failed {
                None => Outcome::Done,
                Some(why) => Outcome::Failed(format!("{why}{said}")),
            },
            output: ran.last_words,
        }
    }

    async fn site_duty(
        &self,
        round: &Round<'_>,
        step: &SiteStep,
        duty: &str,
        at: Seat,
        with: &BTreeMap<String, String>,
        hosts: &[HostName],
    ) -> Came {
        let errand = Errands {
            address: round
                .opening
                .address
                .or(self.fleet.entry().cluster.writer_address()),
            with: Some(with),
            environment: Some(&round.environment),
            ..Errands::default()
        };
        if at == Seat::Monitor {
            let about = seats_of(round.opening).hosts(at).into_iter().next();
            let Some(about) = about else {
                return Came::failed("no host is part of the operation");
            };
            let performed = self.fleet.act_on_box(&about, duty, &errand, step.within).await;
            return match performed.map(|report| (describe(&report), report)) {
                Ok((_, report)) if report.outcome == DutyOutcome::Done => Came {
                    outcome: Outcome::Done,
                    output: String::new(),
                },
                Ok((why, _)) => Came::failed(why),
                Err(trouble) => Came::failed(format!("{}: {}", trouble.what, trouble.because)),
            };
        }
        if hosts.is_empty() {
            return Came {
                outcome: Outcome::Done,
                output: "nobody has that seat".to_owned(),
            };
        }
        let performed = hosts
            .iter()
            .map(|host| self.site_duty_at(round, step, duty, &errand, host));
        let failed: Vec<String> = join_all(performed).await.into_iter().flatten().collect();
        if failed.is_empty() {
            Came {
                outcome: Outcome::Done,
                output: String::new(),
            }
        } else {
            Came::failed(failed.join("; "))
        }
    }

    /// Why a duty of the site did not end well on a host. What it left running there is ended: whatever comes next must
    /// not meet it.
    async fn site_duty_at(
        &self,
        round: &Round<'_>,
        step: &SiteStep,
        duty: &str,
        errand: &Errands<'_>,
        host: &HostName,
    ) -> Option<String> {
        let seen = round.facts.map(|facts| facts.get(host));
        if seen.is_some_and(|facts| facts.is_none_or(|facts| facts.ssh.up().is_none())) {
            return Some(format!("{host}: it cannot be managed over SSH"));
        }
        match self.fleet.act(host, duty, errand, step.within).await {
            Ok(report) => match &report.outcome {
                DutyOutcome::Done => None,
                DutyOutcome::Unknown { why } => {
                    match self.fleet.settle(host, duty, errand, step.within).await {
                        Settled::Happened => None,
                        Settled::DidNotHappen => {
                            Some(format!("{host}: {why}; what it left running was ended"))
                        }
                        Settled::CannotTell => Some(format!("{host}: {why}; it may still run there")),
                    }
                }
                _ => Some(format!("{host}: {}", describe(&report))),
            },
            Err(trouble) => Some(format!("{host}: {}: {}", trouble.what, trouble.because)),
        }
    }

    /// What the site is told of a run.
    fn situation(&self, opening: &Opening) -> Situation {
        let entry = self.fleet.entry();
        let with_address = |host: &Option<HostName>| {
            let host = host.clone()?;
            let address = entry.hosts.get(&host)?.address;
            Some((host, address))
        };
        Situation {
            cluster: entry.cluster.name.clone(),
            operation: opening.operation.clone(),
            run: opening.run.clone(),
            outgoing: with_address(&opening.outgoing),
            incoming: with_address(&opening.incoming),
            replicas: seats_of(opening).replicas,
            address: opening.address.or(entry.cluster.writer_address()),
            by_itself: self.by_itself,
        }
    }
}

/// Who has which seat, as a run's journal tells.
fn seats_of(opening: &Opening) -> Seats {
    let mut seats = Seats {
        outgoing: opening.outgoing.clone(),
        incoming: opening.incoming.clone(),
        ..Seats::default()
    };
    for stage in opening.stages.iter().filter(|stage| stage.seat == Seat::Replicas) {
        for host in &stage.hosts {
            if !seats.replicas.contains(host) {
                seats.replicas.push(host.clone());
            }
        }
    }
    seats
}
