//! Settles runs that were cut off: whoever starts next reads the journal, looks at the hosts, and brings the run to an
//! end before anything else is done.
//!
//! The only writable host is the writer. When none is writable, the journal decides: before the commit was begun
//! everything is taken back, afterwards the commit is looked for and, when it provably did not happen, taken back too.

use std::time::Duration;

use crate::core::cluster::HostName;
use crate::core::event::Event;
use crate::core::guard::Facts;
use crate::core::playbook::Section;
use crate::core::run::{Ending, Happening, Next, Outcome, Run, Settled};
use crate::core::standing::{Owed, Return, Standing};
use crate::core::trouble::{Kind, Trouble};
use crate::io::clock;
use crate::io::journal::{self, Entry, Journal, OpenRun};
use crate::io::operation::{Performer, Prepared, uses_gtid};

/// Settles every run without an end, oldest first. Called with the lock held.
///
/// # Errors
/// Stuck, when a run cannot be settled; the standing then says hands off.
pub async fn open_runs(
    performer: &Performer<'_>,
    standing: &mut Standing,
    facts: &Facts,
) -> Result<(), Trouble> {
    let open = journal::open_runs(&performer.dir).map_err(|error| {
        Trouble::new(
            Kind::Refused,
            "the journals of earlier runs cannot be read",
            error,
        )
    })?;
    for run in open {
        settle(performer, run, standing, facts).await?;
    }
    Ok(())
}

async fn settle(
    performer: &Performer<'_>,
    open: OpenRun,
    standing: &mut Standing,
    facts: &Facts,
) -> Result<(), Trouble> {
    let name = open.opening.run.clone();
    performer.teller.tell(Event::Alarm {
        what: format!("run {name} was cut off; it is settled first"),
        hint: String::new(),
    });
    let prepared = Prepared {
        opening: open.opening.clone(),
        address: performer.fleet.entry().cluster.writer_address(),
        gtid: uses_gtid(facts),
        given: open.registered.clone(),
        shells: Vec::new(),
    };
    if open.happenings.is_empty() {
        return close_untouched(performer, &open, standing);
    }
    let mut journal = Journal::reopen(&open.path).map_err(|error| {
        Trouble::new(
            Kind::Refused,
            format!("the journal of run {name} cannot be continued"),
            error,
        )
    })?;
    let writable: Vec<&HostName> = facts
        .iter()
        .filter(|(_, facts)| facts.mysql.up().is_some_and(|mysql| mysql.is_writable()))
        .map(|(host, _)| host)
        .collect();
    let mut verdict = judge(&open, &writable);
    if let Err(because) = bury(performer, &open, facts).await {
        verdict = Verdict::Stuck(because);
    }
    let mut run = Run::replay(open.opening.stages.clone(), &open.happenings);
    match verdict {
        Verdict::Overtaken(because) => {
            journal.append(Entry::End(Ending::Undone {
                because: because.clone(),
            }));
            performer.teller.tell(Event::Alarm {
                what: format!("run {name} is closed: {because}"),
                hint: String::new(),
            });
            if let [only] = writable.as_slice() {
                standing.writer = Some((*only).clone());
            }
            performer.remember(standing);
            return Ok(());
        }
        Verdict::Stuck(because) => {
            journal.append(Entry::End(Ending::Stuck {
                because: because.clone(),
            }));
            standing.hands_off = Some(format!("run {name}: {because}"));
            performer.remember(standing);
            return Err(
                Trouble::new(Kind::Stuck, format!("run {name} cannot be settled"), because)
                    .hint("make sure by hand that one host at most takes writes, then `mmm clear`"),
            );
        }
        Verdict::Committed => {
            wait_for_expiry(&open, &run).await;
            bring_to_commit(&mut run, &mut journal);
        }
        Verdict::NotCommitted => {
            wait_for_expiry(&open, &run).await;
            give_up_current(&mut run, &mut journal);
        }
    }
    let report = performer
        .conduct_with(&prepared, run, open.registered.clone(), journal)
        .await;
    conclude(&open, &report.ending, report.committed, standing);
    performer.remember(standing);
    match report.ending {
        Ending::Stuck { because } => Err(Trouble::new(
            Kind::Stuck,
            format!("run {name} cannot be settled"),
            because,
        )),
        Ending::Done { .. } | Ending::Undone { .. } => Ok(()),
    }
}

/// A run that was cut off before its first step: nothing was touched.
fn close_untouched(
    performer: &Performer<'_>,
    open: &OpenRun,
    standing: &mut Standing,
) -> Result<(), Trouble> {
    let mut journal = Journal::reopen(&open.path).map_err(|error| {
        Trouble::new(
            Kind::Refused,
            format!("the journal of run {} cannot be ended", open.opening.run),
            error,
        )
    })?;
    let ending = Ending::Undone {
        because: "it was cut off before its first step".to_owned(),
    };
    journal.append(Entry::End(ending.clone()));
    conclude(open, &ending, false, standing);
    performer.remember(standing);
    Ok(())
}

/// Verifies that the shells of the cut-off run are gone from every host that answers.
async fn bury(performer: &Performer<'_>, open: &OpenRun, facts: &Facts) -> Result<(), String> {
    for (host, trace) in &open.shells {
        if facts.get(host).is_some_and(|facts| facts.ssh.up().is_some()) {
            performer
                .fleet
                .bury(host, trace)
                .await
                .map_err(|why| format!("what it left running on {host} is not known to be gone: {why}"))?;
        }
    }
    Ok(())
}

/// What the hosts and the journal together say about a run that was cut off.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    /// The incoming host takes writes: go on.
    Committed,
    /// It does not, and cannot any more: take everything back.
    NotCommitted,
    /// Somebody else has moved the role since.
    Overtaken(String),
    /// Nothing can be concluded.
    Stuck(String),
}

fn judge(open: &OpenRun, writable: &[&HostName]) -> Verdict {
    let incoming = open.opening.incoming.as_ref();
    let outgoing = open.opening.outgoing.as_ref();
    let moves_writer = open.opening.operation != "rejoin";
    match writable {
        _ if !moves_writer => Verdict::NotCommitted,
        [only] if Some(*only) == incoming => Verdict::Committed,
        [only] if Some(*only) == outgoing => Verdict::NotCommitted,
        [only] => Verdict::Overtaken(format!("{only} takes writes, which is neither of its hosts")),
        [] => Verdict::NotCommitted,
        several => {
            let names: Vec<&str> = several.iter().map(|host| host.as_str()).collect();
            Verdict::Stuck(format!("several hosts accept writes: {}", names.join(", ")))
        }
    }
}

/// Nothing that the old process sent can start later than its stage's deadline on the host's clock.
async fn wait_for_expiry(open: &OpenRun, run: &Run) {
    if let Next::Do(stage) | Next::Undo(stage) = run.next()
        && let Some(stage) = run.stages().get(*stage)
    {
        let passed = clock::now().since(open.last_at);
        let margin = stage.within + Duration::from_secs(1);
        tokio::time::sleep(margin.saturating_sub(passed)).await;
    }
}

/// The incoming host was seen writable: the fold is told that everything up to the commit has happened.
fn bring_to_commit(run: &mut Run, journal: &mut Journal) {
    while !run.is_committed() {
        let happening = match run.next().clone() {
            Next::Do(stage) => Happening::Did(stage, Outcome::Done),
            Next::Look(stage) => Happening::Looked(stage, Settled::Happened),
            Next::Undo(_) | Next::End(_) => return,
        };
        journal.append(Entry::Step(happening.clone()));
        run.record(&happening);
    }
}

/// The stage that was under way is given up, which makes the fold take back what was done.
fn give_up_current(run: &mut Run, journal: &mut Journal) {
    let mut happen = |run: &mut Run, happening: Happening| {
        journal.append(Entry::Step(happening.clone()));
        run.record(&happening);
    };
    if let Next::Do(stage) = *run.next() {
        let before_secure = run
            .stages()
            .get(stage)
            .is_some_and(|stage| stage.section <= Section::Commit);
        if before_secure {
            happen(
                run,
                Happening::Did(
                    stage,
                    Outcome::Unknown("the program that did it was cut off".to_owned()),
                ),
            );
        }
    }
    if let Next::Look(stage) = *run.next() {
        happen(run, Happening::Looked(stage, Settled::DidNotHappen));
    }
}

/// What stands after the run was settled.
fn conclude(open: &OpenRun, ending: &Ending, committed: bool, standing: &mut Standing) {
    let opening = &open.opening;
    let moves_writer = opening.operation != "rejoin";
    if committed && moves_writer {
        standing.writer.clone_from(&opening.incoming);
    } else if moves_writer && opening.outgoing.is_some() && matches!(ending, Ending::Undone { .. }) {
        standing.writer.clone_from(&opening.outgoing);
    }
    if let (Some(rung), Some(outgoing)) = (opening.rung, &opening.outgoing) {
        if committed {
            standing.owed.entry(outgoing.clone()).or_insert_with(|| Owed {
                since: clock::now(),
                run: opening.run.clone(),
                rung,
                progress: Return::Awaited,
            });
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
    if let Ending::Stuck { because } = ending {
        standing.hands_off = Some(format!("run {}: {because}", opening.run));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::moment::Moment;
    use crate::io::conductor::Registered;
    use crate::io::journal::Opening;

    fn open(operation: &str) -> OpenRun {
        OpenRun {
            path: "/nonexistent".into(),
            opening: Opening {
                run: "r".into(),
                operation: operation.into(),
                outgoing: Some("db1".into()),
                incoming: Some("db2".into()),
                rung: None,
                stages: vec![],
            },
            happenings: vec![],
            registered: Registered::new(),
            shells: vec![],
            last_at: Moment(0),
        }
    }

    #[test]
    fn the_only_writable_host_is_the_writer() {
        let (db1, db2, db3) = (
            HostName::from("db1"),
            HostName::from("db2"),
            HostName::from("db3"),
        );
        assert_eq!(judge(&open("switchover"), &[&db2]), Verdict::Committed);
        assert_eq!(judge(&open("switchover"), &[&db1]), Verdict::NotCommitted);
        assert_eq!(judge(&open("switchover"), &[]), Verdict::NotCommitted);
        assert!(matches!(
            judge(&open("switchover"), &[&db3]),
            Verdict::Overtaken(_)
        ));
        assert!(matches!(
            judge(&open("switchover"), &[&db1, &db2]),
            Verdict::Stuck(_)
        ));
    }
}
