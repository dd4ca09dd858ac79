//! Settles runs that were cut off: whoever starts next reads the journal, looks at the hosts, and brings the run to an
//! end before anything else is done.
//!
//! The only writable host is the writer. When none is writable, the journal decides: before the commit was begun
//! everything is taken back, afterwards the commit is looked for and, when it provably did not happen, taken back too.

use std::time::Duration;

use crate::core::cluster::HostName;
use crate::core::event::Event;
use crate::core::guard::{self, Facts, Guard};
use crate::core::run::{Ending, Happening, Next, Run};
use crate::core::settlement::{self, CutOff, Sight, Verdict};
use crate::core::standing::{Owed, Standing};
use crate::core::trouble::{Kind, Trouble};
use crate::io::clock;
use crate::io::conductor::RunReport;
use crate::io::journal::{self, Entry, Journal, OpenRun};
use crate::io::operation::{Performer, Prepared, uses_gtid};

/// Settles every run without an end, oldest first, and gives what the hosts show afterwards. Called with the lock held.
/// After a run got stuck nothing is settled until the hosts that it waits for answer, or a person has looked. Whoever acts
/// makes replaced writers harmless that have come back since, first of all: perhaps nobody else waits for them.
///
/// # Errors
/// Stuck, when a run cannot be settled; the standing then says hands off.
pub async fn open_runs(
    performer: &Performer<'_>,
    standing: &mut Standing,
    facts: Facts,
) -> Result<Facts, Trouble> {
    let facts = performer.close_returned(standing, facts).await;
    if standing.hands_off.is_some() {
        if !guard::may_be_settled(standing, &facts) {
            return Ok(facts);
        }
        standing.get_unstuck();
        // The journal still holds what is to be settled; whoever reads the standing next must not be held off by it.
        performer.remember(standing);
    }
    let open = journal::open_runs(&performer.dir).map_err(|error| {
        Trouble::refused(Guard::G05, "the journals of earlier runs cannot be read", error)
    })?;
    let mut facts = facts;
    for run in open {
        settle(performer, run, standing, &facts).await?;
        facts = performer.fleet.look_everywhere().await;
        if standing.writer.is_none() {
            standing.writer = guard::observed_writer(&performer.fleet.entry().cluster, &facts);
            performer.remember(standing);
        }
    }
    Ok(facts)
}

async fn settle(
    performer: &Performer<'_>,
    open: OpenRun,
    standing: &mut Standing,
    facts: &Facts,
) -> Result<(), Trouble> {
    let name = open.opening.run.clone();
    let how = if open.stuck { "got stuck" } else { "was cut off" };
    performer.teller.tell(Event::Alarm {
        what: format!("run {name} {how}; it is settled first"),
        hint: String::new(),
    });
    if open.happenings.is_empty() {
        return close_untouched(performer, &open, standing);
    }
    let mut journal = Journal::reopen(&open.path).map_err(|error| {
        Trouble::refused(
            Guard::G05,
            format!("the journal of run {name} cannot be continued"),
            error,
        )
    })?;
    if open.opening.address.is_some() {
        // Wherever the address stands now, repairs put it where it belongs, and no host waits for that.
        let because = "it was cut off; repairs go on from what they find".to_owned();
        journal.append(Entry::End(Ending::Undone {
            because,
            untouched: false,
        }));
        return Ok(());
    }
    let mut run = Run::replay(open.opening.stages.clone(), &open.happenings);
    let is_over = open.stuck && run.is_committed();
    if open.stuck {
        journal.append(Entry::Step(Happening::Cleared));
        run.record(&Happening::Cleared);
    }
    if is_over && let Next::End(_) = run.next() {
        // Everything that could be done for it was done, and asked; the rest is for people and repairs.
        journal.append(Entry::End(Ending::Done { warnings: Vec::new() }));
        return Ok(());
    }
    let prepared = Prepared {
        opening: open.opening.clone(),
        address: performer.fleet.entry().cluster.writer_address(),
        gtid: uses_gtid(facts),
        given: open.registered.clone(),
        shells: Vec::new(),
    };
    match verdict(performer, &open, &run, facts).await {
        Verdict::Overtaken(because) => {
            journal.append(Entry::End(Ending::Undone {
                because: because.clone(),
                untouched: false,
            }));
            performer.teller.tell(Event::Alarm {
                what: format!("run {name} is closed: {because}"),
                hint: String::new(),
            });
            standing.writer = None;
            performer.remember(standing);
            return Ok(());
        }
        Verdict::Stuck(because, awaits) => {
            journal.append(Entry::End(Ending::Stuck {
                because: because.clone(),
                awaits: awaits.clone(),
            }));
            if run.is_in_doubt() {
                standing.writer = None;
            }
            standing.get_stuck(format!("run {name}: {because}"), &awaits);
            performer.remember(standing);
            return Err(
                Trouble::new(Kind::Stuck, format!("run {name} cannot be settled"), because)
                    .hint("make sure by hand that one host at most takes writes, then `mmm clear`"),
            );
        }
        Verdict::GoOn(happenings) => {
            for happening in happenings {
                journal.append(Entry::Step(happening.clone()));
                run.record(&happening);
            }
        }
    }
    let report = performer
        .conduct_with(&prepared, run, open.registered.clone(), journal)
        .await;
    let to_follow = standing.to_follow.clone();
    conclude(&open, &report, standing);
    if is_over {
        // Nobody was told anew whom to follow.
        standing.to_follow = to_follow;
    }
    if open.opening.rung.is_some() {
        let seen = performer.planner().sights().seen_by_monitor();
        performer
            .tell_loss(&open.opening, &report, seen.as_ref(), standing)
            .await;
    }
    performer.remember(standing);
    match report.ending {
        Ending::Stuck { because, .. } => {
            Err(
                Trouble::new(Kind::Stuck, format!("run {name} cannot be settled"), because)
                    .hint("make sure by hand that one host at most takes writes, then `mmm clear`"),
            )
        }
        Ending::Done { .. } | Ending::Undone { .. } => Ok(()),
    }
}

/// What is to be done, found after everything of the old program is gone: what it had begun by ending it, what it had
/// only sent by waiting. Only then do the hosts show what will stay so.
async fn verdict(performer: &Performer<'_>, open: &OpenRun, run: &Run, facts: &Facts) -> Verdict {
    let haunted = match bury(performer, open, facts).await {
        Ok(haunted) => haunted,
        Err((because, host)) => return Verdict::Stuck(because, vec![host]),
    };
    wait_for_expiry(open, run).await;
    let facts = performer.fleet.look_everywhere().await;
    let sights = facts
        .iter()
        .map(|(host, facts)| {
            let sight = match facts.mysql.up() {
                Some(mysql) if mysql.is_writable() => Sight::Writable,
                Some(_) if !haunted.contains(host) => Sight::ReadOnly,
                Some(_) | None => Sight::Unseen,
            };
            (host.clone(), sight)
        })
        .collect();
    let opening = &open.opening;
    let cut = CutOff {
        run,
        moves_writer: opening.moves_writer(),
        is_failover: opening.rung.is_some(),
        outgoing: opening.outgoing.as_ref(),
        incoming: opening.incoming.as_ref(),
    };
    settlement::settle(cut, &sights)
}

/// A run that was cut off before its first step: nothing was touched.
fn close_untouched(
    performer: &Performer<'_>,
    open: &OpenRun,
    standing: &mut Standing,
) -> Result<(), Trouble> {
    let mut journal = Journal::reopen(&open.path).map_err(|error| {
        Trouble::refused(
            Guard::G05,
            format!("the journal of run {} cannot be ended", open.opening.run),
            error,
        )
    })?;
    let ending = Ending::Undone {
        because: "it was cut off before its first step".to_owned(),
        untouched: false,
    };
    journal.append(Entry::End(ending.clone()));
    let report = RunReport {
        ending,
        committed: false,
        in_doubt: false,
        write_refused: None,
        registered: open.registered.clone(),
        not_following: Vec::new(),
    };
    conclude(open, &report, standing);
    performer.remember(standing);
    Ok(())
}

/// Verifies that the shells of the cut-off run are gone from every host that answers, and gives the hosts that do not.
async fn bury(
    performer: &Performer<'_>,
    open: &OpenRun,
    facts: &Facts,
) -> Result<Vec<HostName>, (String, HostName)> {
    let mut haunted = Vec::new();
    for (host, trace) in &open.shells {
        if facts.get(host).is_none_or(|facts| facts.ssh.up().is_none()) {
            haunted.push(host.clone());
            continue;
        }
        performer.fleet.bury(host, trace).await.map_err(|why| {
            let because = format!("what it left running on {host} is not known to be gone: {why}");
            (because, host.clone())
        })?;
    }
    Ok(haunted)
}

/// Nothing that the old process sent can start later than its stage's deadline on the host's clock. After the commit
/// nobody is opened any more, and what may come late is only what is done again now.
async fn wait_for_expiry(open: &OpenRun, run: &Run) {
    if !run.is_committed()
        && let Next::Do(stage) | Next::Undo(stage) = run.next()
        && let Some(stage) = run.stages().get(*stage)
    {
        let passed = clock::now().since(open.last_at);
        let margin = stage.within + Duration::from_secs(1);
        tokio::time::sleep(margin.saturating_sub(passed)).await;
    }
}

/// What stands after the run was settled.
fn conclude(open: &OpenRun, report: &RunReport, standing: &mut Standing) {
    let (ending, committed) = (&report.ending, report.committed);
    let opening = &open.opening;
    let moves_writer = opening.moves_writer();
    if committed && moves_writer {
        standing.writer.clone_from(&opening.incoming);
        standing.to_follow = report.not_following.iter().cloned().collect();
    } else if report.in_doubt && moves_writer {
        standing.writer = None;
    } else if moves_writer && opening.outgoing.is_some() && matches!(ending, Ending::Undone { .. }) {
        standing.writer.clone_from(&opening.outgoing);
    }
    if let (Some(rung), Some(outgoing)) = (opening.rung, &opening.outgoing) {
        if committed {
            standing
                .owed
                .entry(outgoing.clone())
                .or_insert_with(|| Owed::now(clock::now(), &opening.run, rung));
        } else if matches!(ending, Ending::Undone { .. }) {
            standing.owed.remove(outgoing);
        }
    }
    if opening.operation == "rejoin"
        && committed
        && matches!(ending, Ending::Done { .. })
        && let Some(host) = &opening.outgoing
    {
        standing.owed.remove(host);
    }
    if let Ending::Stuck { because, awaits } = ending {
        standing.get_stuck(format!("run {}: {because}", opening.run), awaits);
    }
}
