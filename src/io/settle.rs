//! Settles runs that were cut off: whoever starts next reads the journal, looks at the hosts, and brings the run to an
//! end before anything else is done.
//!
//! The only writable host is the writer. When none is writable, the journal decides: before the commit was begun
//! everything is taken back, afterwards the commit is looked for and, when it provably did not happen, taken back too.
//! That is the safe direction for whoever comes next; a person may want a run to go on, or back (`resume`).

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;

use crate::core::cluster::HostName;
use crate::core::event::Event;
use crate::core::guard::{self, Facts, Guard};
use crate::core::history::OVERTAKEN;
use crate::core::maintenance::Automatic;
use crate::core::run::{Ending, Happening, Next, Run};
use crate::core::settlement::{self, CutOff, Sight, Verdict, Wish};
use crate::core::standing::{Owed, Standing};
use crate::core::trouble::{Kind, Trouble};
use crate::io::clock;
use crate::io::conductor::{Past, RunReport};
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
        settle(performer, run, standing, &facts, Wish::Settle).await?;
        facts = performer.fleet.look_everywhere().await;
        if standing.writer.is_none() {
            standing.writer = guard::observed_writer(&performer.fleet.entry().cluster, &facts);
            performer.remember(standing);
        }
    }
    Ok(facts)
}

/// Brings one run to its end, as the wish has it: by itself, or on a person's word.
///
/// # Errors
/// Stuck, when it cannot be settled. Refused, and nothing was touched, when what a person wants cannot be.
pub(super) async fn settle(
    performer: &Performer<'_>,
    open: OpenRun,
    standing: &mut Standing,
    facts: &Facts,
    wish: Wish,
) -> Result<Settlement, Trouble> {
    let name = open.opening.run.clone();
    if wish == Wish::Settle {
        let how = if open.stuck { "got stuck" } else { "was cut off" };
        performer.teller.tell(Event::Alarm {
            what: format!("run {name} {how}; it is settled first"),
            hint: String::new(),
        });
    }
    if open.happenings.is_empty() {
        match wish {
            Wish::GoOn => performer.site_was_had(&open)?,
            Wish::Settle | Wish::TakeBack => return close_untouched(performer, &open, standing).await,
        }
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
        return Ok(closed(performer, &open, &mut journal, because).await);
    }
    let mut run = Run::replay(open.opening.stages.clone(), &open.happenings);
    let mut happenings = Vec::new();
    let is_over = open.stuck && run.is_committed();
    if open.stuck && (!is_over || wish == Wish::Settle) {
        happenings.push(Happening::Cleared);
        run.record(&Happening::Cleared);
    }
    if is_over
        && wish == Wish::Settle
        && let Next::End(_) = run.next()
    {
        // Everything that could be done for it was done, and asked; the rest is for people and repairs.
        journal.append(Entry::Step(Happening::Cleared));
        let ending = Ending::Done { warnings: Vec::new() };
        journal.append(Entry::End(ending.clone()));
        let report = RunReport {
            committed: true,
            ..untouched_now(&open, ending)
        };
        performer.site_after(&open.opening, &report).await;
        return Ok(Settlement::Closed(None));
    }
    let (verdict, facts) = verdict(performer, &open, &run, facts, wish).await;
    match verdict {
        Verdict::Irrevocable(writer) => return Err(irrevocable(performer, &open, &writer)),
        Verdict::Overtaken(because) => {
            standing.get_unstuck();
            standing.writer = None;
            performer.remember(standing);
            performer.teller.tell(Event::Alarm {
                what: format!("run {name} is closed: {because}"),
                hint: String::new(),
            });
            let because = format!("{OVERTAKEN}{because}");
            return Ok(closed(performer, &open, &mut journal, because).await);
        }
        Verdict::Stuck(because, awaits) => {
            let ending = Ending::Stuck {
                because: because.clone(),
                awaits: awaits.clone(),
            };
            journal.append(Entry::End(ending.clone()));
            if run.is_in_doubt() {
                standing.writer = None;
            }
            standing.get_stuck(format!("run {name}: {because}"), &awaits);
            performer.remember(standing);
            // Of one that has been stuck all along the site has been told.
            if !open.stuck {
                let report = RunReport {
                    committed: run.is_committed(),
                    in_doubt: run.is_in_doubt(),
                    ..untouched_now(&open, ending)
                };
                performer.site_after(&open.opening, &report).await;
            }
            return Err(stuck(&name, because));
        }
        Verdict::GoOn(more) => {
            for happening in &more {
                run.record(happening);
            }
            happenings.extend(more);
        }
    }
    if happenings.contains(&Happening::Resumed) && !run.is_committed() {
        performer.may_go_on(&open.opening, standing, &facts).await?;
    }
    for happening in happenings {
        journal.append(Entry::Step(happening));
    }
    standing.get_unstuck();
    if let (Some(rung), Some(outgoing)) = (open.opening.rung, &open.opening.outgoing) {
        // On disk before anybody is opened: whoever comes next makes the old writer harmless.
        let owed = || Owed::now(clock::now(), &open.opening.run, rung);
        standing.owed.entry(outgoing.clone()).or_insert_with(owed);
        performer.remember(standing);
    }
    let report = go_on(performer, &open, run, journal, &facts).await;
    let to_follow = standing.to_follow.clone();
    conclude(&open, &report, standing);
    // A person who lets it go on has looked.
    if open.opening.automatic && report.committed && !is_over && wish != Wish::GoOn {
        standing.automatic = Some(Automatic {
            run: name.clone(),
            at: clock::now(),
        });
    }
    if is_over && wish == Wish::Settle {
        // Nobody was told anew whom to follow.
        standing.to_follow = to_follow;
    }
    if open.opening.rung.is_some() {
        let outgoing = open.opening.outgoing.as_ref();
        let seen = performer.planner().sights().memory(outgoing).seen;
        performer
            .tell_loss(&open.opening, &report, seen.as_ref(), standing)
            .await;
    }
    performer.remember(standing);
    performer.site_after(&open.opening, &report).await;
    match (&report.ending, wish) {
        (Ending::Stuck { because, .. }, Wish::Settle) => Err(stuck(&name, because.clone())),
        _ => Ok(Settlement::Ended(report)),
    }
}

/// Performs the run from where it stands to its end, with shells of its own that the journal knows.
async fn go_on(
    performer: &Performer<'_>,
    open: &OpenRun,
    run: Run,
    journal: Journal,
    facts: &Facts,
) -> RunReport {
    let hosts: BTreeSet<&HostName> = run.stages().iter().flat_map(|stage| &stage.hosts).collect();
    let warmed = hosts.into_iter().map(|host| async {
        let seen = facts.get(host).filter(|facts| facts.ssh.up().is_some())?;
        let warmed = match seen.mysql.up() {
            Some(_) => performer.fleet.warm(host).await,
            None => performer.fleet.warm_shell(host).await,
        };
        match warmed {
            Ok(trace) => Some((host.clone(), trace)),
            Err(trouble) => {
                tracing::warn!("{}: {}", trouble.what, trouble.because);
                None
            }
        }
    });
    let shells = join_all(warmed).await.into_iter().flatten().collect();
    let prepared = Prepared {
        opening: open.opening.clone(),
        address: performer.fleet.entry().cluster.writer_address(),
        gtid: uses_gtid(facts),
        given: open.registered.clone(),
        shells,
    };
    let refused_since = open.refused_since.filter(|_| !run.is_committed());
    let past = Past {
        registered: open.registered.clone(),
        refused_for: refused_since.map(|since| clock::now().since(since)),
    };
    performer.conduct_with(&prepared, run, past, journal).await
}

/// What came of settling a run.
#[derive(Debug)]
pub(super) enum Settlement {
    /// Nothing was done for it, and why; it is over.
    Closed(Option<String>),
    /// It was cut off before its first step, so nothing had to be taken back; it is over.
    Untouched(RunReport),
    /// It was performed to its end.
    Ended(RunReport),
}

/// Nothing is done for it any more: others have, or repairs will.
async fn closed(
    performer: &Performer<'_>,
    open: &OpenRun,
    journal: &mut Journal,
    because: String,
) -> Settlement {
    let ending = Ending::Undone {
        because: because.clone(),
        untouched: false,
    };
    journal.append(Entry::End(ending.clone()));
    let report = RunReport {
        in_doubt: true,
        ..untouched_now(open, ending)
    };
    performer.site_after(&open.opening, &report).await;
    Settlement::Closed(Some(because))
}

/// How a run ended for which no stage was performed any more.
fn untouched_now(open: &OpenRun, ending: Ending) -> RunReport {
    RunReport {
        ending,
        committed: false,
        in_doubt: false,
        write_refused: None,
        registered: open.registered.clone(),
        not_following: Vec::new(),
    }
}

fn stuck(run: &str, because: String) -> Trouble {
    Trouble::new(Kind::Stuck, format!("run {run} cannot be settled"), because)
        .hint("make sure by hand that one host at most takes writes, then `mmm clear`")
}

fn irrevocable(performer: &Performer<'_>, open: &OpenRun, writer: &HostName) -> Trouble {
    let opening = &open.opening;
    let back = match &opening.outgoing {
        Some(outgoing) => format!(
            "; `mmm switchover {} --to {outgoing}` leads back",
            performer.fleet.entry().cluster.name
        ),
        None => String::new(),
    };
    Trouble::refused(
        Guard::G71,
        format!("run {} was not taken back", opening.run),
        format!("`{writer}` takes writes by it already"),
    )
    .hint(format!("`mmm resume {}` brings it to its end{back}", opening.run))
}

/// What is to be done, found after everything of the old program is gone: what it had begun by ending it, what it had
/// only sent by waiting. Only then do the hosts show what will stay so.
async fn verdict(
    performer: &Performer<'_>,
    open: &OpenRun,
    run: &Run,
    facts: &Facts,
    wish: Wish,
) -> (Verdict, Facts) {
    let opening = &open.opening;
    if wish == Wish::TakeBack && run.is_committed() {
        let writer = opening
            .incoming
            .clone()
            .unwrap_or_else(|| HostName::from("nobody"));
        return (Verdict::Irrevocable(writer), facts.clone());
    }
    let haunted = match bury(performer, open, facts).await {
        Ok(haunted) => haunted,
        Err((because, host)) => return (Verdict::Stuck(because, vec![host]), facts.clone()),
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
    let parts = (opening.outgoing.as_ref(), opening.incoming.as_ref());
    let cluster = &performer.fleet.entry().cluster;
    // What a dead writer had is no measure of whether somebody has written since.
    let moved_since = match opening.rung {
        None => guard::moved_since(cluster, &facts, parts, wish),
        Some(_) => guard::held_by_another(cluster, &facts, parts, wish),
    };
    let held_elsewhere = guard::held_by_a_stranger(cluster, &facts, parts);
    let cut = CutOff {
        run,
        moves_writer: opening.moves_writer(),
        is_failover: opening.rung.is_some(),
        outgoing: opening.outgoing.as_ref(),
        incoming: opening.incoming.as_ref(),
        wish,
        moved_since: moved_since.as_deref(),
        held_elsewhere: held_elsewhere.as_deref(),
    };
    (settlement::settle(cut, &sights), facts)
}

/// A run that was cut off before its first step: nothing was touched.
async fn close_untouched(
    performer: &Performer<'_>,
    open: &OpenRun,
    standing: &mut Standing,
) -> Result<Settlement, Trouble> {
    let mut journal = Journal::reopen(&open.path).map_err(|error| {
        Trouble::refused(
            Guard::G05,
            format!("the journal of run {} cannot be ended", open.opening.run),
            error,
        )
    })?;
    let because = "it was cut off before its first step".to_owned();
    let ending = Ending::Undone {
        because,
        untouched: false,
    };
    journal.append(Entry::End(ending.clone()));
    let report = untouched_now(open, ending);
    conclude(open, &report, standing);
    performer.remember(standing);
    performer.site_closed(&open.opening, &report).await;
    Ok(Settlement::Untouched(report))
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
        let made = opening.incoming.clone();
        standing.made_writer = made.map(|writer| (opening.run.clone(), writer));
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
