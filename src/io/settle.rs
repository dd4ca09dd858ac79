//! Settles runs that were cut off: whoever starts next reads the journal, looks at the hosts, and brings the run to an
//! end before anything else is done.
//!
//! The only writable host is the writer. When none is writable, the journal decides: before the commit was begun
//! everything is taken back, afterwards the commit is looked for and, when it provably did not happen, taken back too.
//! That is the safe direction for whoever comes next; a person may want a run to go on, or back (`resume`).

mod by_hand;
mod ending;
mod left_over;
mod openless;

use std::collections::BTreeSet;

use futures_util::future::join_all;

use crate::core::cluster::HostName;
use crate::core::event::Event;
use crate::core::guard::{self, Facts, Guard};
use crate::core::history::OVERTAKEN;
use crate::core::maintenance::Automatic;
use crate::core::run::{Ending, Happening, Next, Run};
use crate::core::settlement::{self, CutOff, Doubt, Sight, Verdict, Wish};
use crate::core::standing::{Owed, Standing};
use crate::core::trouble::{Kind, Trouble};
use crate::io::clock;
use crate::io::conductor::{Past, RunReport};
use crate::io::journal::{self, Entry, Journal, OpenRun, REJOIN};
use crate::io::operation::{Performer, Prepared, goes_by_gtid};
use ending::{close_untouched, closed, end, get_stuck, known_better, untouched_now};
use left_over::{bury, wait_for_expiry};

pub(super) use by_hand::{chores, let_go, nothing_left_at};
pub(super) use ending::Settlement;

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
        // Work by hand decides nothing about the writer, and holds up nobody.
        if run.opening.chore.is_some() {
            continue;
        }
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
    let mut run = Run::replay(open.opening.stages.clone(), &open.happenings);
    if standing.knows_commit_of(&name) && !run.is_committed() {
        return known_better(performer, &open, wish);
    }
    if wish == Wish::Settle {
        let how = if open.stuck { "got stuck" } else { "was cut off" };
        performer.teller.tell(Event::Alarm {
            what: format!("run {name} {how}; it is settled first"),
            hint: String::new(),
        });
    }
    if let Some(wanted) = open.opening.chore.clone() {
        return by_hand::settled(performer, &open, &wanted, standing, facts, wish).await;
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
    if let Some(settled) = openless::settled(performer, &open, &run, &mut journal, facts, wish).await? {
        return Ok(settled);
    }
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
        let is_ended = end(performer, &open, &mut journal, &ending);
        let report = RunReport {
            committed: true,
            ..untouched_now(&open, ending)
        };
        if is_ended {
            performer.site_after(&open.opening, &report).await;
        }
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
            get_stuck(
                performer,
                &open,
                (&run, &mut journal),
                standing,
                (&because, &awaits),
            )
            .await;
            return Err(stuck(&name, because));
        }
        Verdict::Doubtful(Doubt { because, awaits }) => {
            let because = format!("{because}, so it may have become the writer since");
            let way_out = format!("once you are sure that it has not, `mmm undo {name}` takes it back");
            let told = format!("{because}: {way_out}");
            get_stuck(performer, &open, (&run, &mut journal), standing, (&told, &awaits)).await;
            return Err(stuck(&name, because).hint(way_out));
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
        let seen = performer.planner().sights().memory(outgoing, standing).seen;
        performer
            .tell_loss(&open.opening, &report, seen.as_ref(), standing)
            .await;
    }
    performer.remember(standing);
    performer.tell_if_nobody_waits(&open.opening, &report).await;
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
        gtid: goes_by_gtid(&open.opening.operation, open.opening.rung, facts),
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
    let doubt = guard::doubt(cluster, &facts, parts, opening.rung.is_some());
    let cut = CutOff {
        run,
        moves_writer: opening.moves_writer(),
        is_failover: opening.rung.is_some(),
        outgoing: opening.outgoing.as_ref(),
        incoming: opening.incoming.as_ref(),
        wish,
        moved_since: moved_since.as_deref(),
        held_elsewhere: held_elsewhere.as_deref(),
        doubt: doubt.as_ref(),
    };
    (settlement::settle(cut, &sights), facts)
}

/// What stands after the run was settled.
fn conclude(open: &OpenRun, report: &RunReport, standing: &mut Standing) {
    let (ending, committed) = (&report.ending, report.committed);
    let opening = &open.opening;
    let moves_writer = opening.moves_writer();
    if committed && moves_writer {
        standing.make_writer(opening.incoming.as_ref(), &opening.run);
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
    if opening.operation == REJOIN
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
