//! A run that was cut off, or got stuck, goes on or is taken back on a person's word. The same rules hold as when the next
//! command settles it by itself; before the commit the person chooses the direction.

use crate::core::cluster::HostName;
use crate::core::electorate::Memory;
use crate::core::event::Event;
use crate::core::evidence::{self, Decision, EvidenceRule, Rung};
use crate::core::guard::{self, Facts, Guard};
use crate::core::losses;
use crate::core::settlement::Wish;
use crate::core::standing::Standing;
use crate::core::trouble::{Kind, Trouble};
use crate::io::conductor::RunReport;
use crate::io::hold::Hold;
use crate::io::inquest;
use crate::io::journal::{self, Found, Opening, REJOIN};
use crate::io::lock::LocalLock;
use crate::io::monitor;
use crate::io::operation::{Performed, Performer, Request};
use crate::io::settle::{self, Settlement};
use crate::io::standing::StateDir;
use crate::io::tending::Returning;

/// Stands for the newest run.
pub const LATEST: &str = "latest";

/// The run of that name; an unmistakable beginning of it, or `latest`, will do.
///
/// # Errors
/// Usage: none, or several, are called so. Refused: the journals cannot be read.
pub fn find(dir: &StateDir, name: &str) -> Result<Found, Trouble> {
    let mut runs = journal::runs(dir).map_err(|error| {
        Trouble::refused(Guard::G05, "the journals of earlier runs cannot be read", error)
    })?;
    let what = format!("there is no run `{name}`");
    let hint = "`mmm history` shows the runs";
    if name == LATEST {
        let newest = runs.pop();
        return newest.ok_or_else(|| Trouble::new(Kind::Usage, what, "there has been none").hint(hint));
    }
    let is_whole = runs.iter().any(|run| run.opening.run == name);
    runs.retain(|run| {
        let known = &run.opening.run;
        if is_whole {
            known == name
        } else {
            known.starts_with(name)
        }
    });
    match runs.len() {
        1 => runs
            .pop()
            .ok_or_else(|| Trouble::new(Kind::Bug, what, "it has just been there")),
        0 => Err(Trouble::new(Kind::Usage, what, "none of them begins so").hint(hint)),
        several => {
            let names: Vec<String> = runs.iter().map(|run| format!("`{}`", run.opening.run)).collect();
            let because = format!("{several} runs begin so: {}", names.join(", "));
            Err(
                Trouble::new(Kind::Usage, format!("`{name}` could be several runs"), because)
                    .hint("write more of its name, or `latest`"),
            )
        }
    }
}

/// The runs that somebody should know of: they have not come to their end, and nobody is at work on them.
///
/// # Errors
/// When the journals cannot be read.
pub fn left_open(dir: &StateDir) -> std::io::Result<Vec<journal::OpenRun>> {
    let open = journal::open_runs(dir)?;
    // Whoever holds the lock is performing one, or is about to settle it.
    if open.is_empty() || LocalLock::is_held(dir) {
        return Ok(Vec::new());
    }
    Ok(open)
}

impl Performer<'_> {
    /// Lets a run go on, or takes it back. What was refused was not touched, and the run stays open.
    ///
    /// # Errors
    /// Usage or refused: nothing was touched, and why; also for a run that somebody has overtaken, which is closed as
    /// such. How a run that was gone on with ended is in the answer.
    pub async fn bring_to_end(&self, name: &str, wish: Wish) -> Result<Performed, Trouble> {
        let found = find(&self.dir, name)?;
        let verb = if wish == Wish::GoOn { "resume" } else { "undo" };
        let purpose = format!("{verb} of {}", found.opening.run);
        self.network.require(&purpose).await?;
        self.dir.prepare()?;
        let hold = Hold::take(self.fleet, &self.dir, &purpose, self.lock_wait).await?;
        let ended = self.bring_to_end_held(&found.opening.run, wish).await;
        self.fleet.cool().await;
        hold.release().await;
        ended
    }

    async fn bring_to_end_held(&self, name: &str, wish: Wish) -> Result<Performed, Trouble> {
        // Read again: until the lock was had somebody else may have been at work on it.
        let found = find(&self.dir, name)?;
        let opening = found.opening.clone();
        let open = left(found)?;
        let newer = journal::open_runs(&self.dir).unwrap_or_default();
        let moves = |run: &&journal::OpenRun| run.opening.chore.is_none() || run.opening.run == opening.run;
        let newest = newer.iter().rfind(moves);
        if let Some(newer) = newest.filter(|newer| newer.opening.run != opening.run) {
            let because = format!("run {} was begun after it, and is open too", newer.opening.run);
            return Err(Trouble::refused(
                Guard::G73,
                format!("run {} was not touched", opening.run),
                because,
            )
            .hint(format!(
                "begin with the newest: `mmm resume {0}` or `mmm undo {0}`",
                newer.opening.run
            )));
        }
        let mut standing = self.dir.load()?;
        let facts = self.fleet.look_everywhere().await;
        let verb = if wish == Wish::GoOn { "resume" } else { "undo" };
        self.in_time_for(&format!("{verb} of run {}", opening.run))?;
        let facts = self.close_returned(&mut standing, facts).await;
        match settle::settle(self, open, &mut standing, &facts, wish).await? {
            Settlement::Ended(report) => Ok(Performed { report, standing }),
            // Only what is to be taken back is closed like that, and that nothing had to be is what was asked for.
            Settlement::TakenBack(report) => {
                self.tell_taken_back(&opening, &report, &facts);
                Ok(Performed { report, standing })
            }
            Settlement::Closed(because) => match (address_wanted(&opening), &opening.outgoing) {
                (Some(request), _) if wish == Wish::GoOn => self.perform_held(&request, &[]).await,
                // A host that comes back is compared anew.
                (None, Some(host)) if wish == Wish::GoOn && opening.operation == REJOIN => {
                    self.take_back_held(host, Returning::Begun).await
                }
                _ => Err(closed(&opening, because)),
            },
        }
    }

    /// Ends what is left of work by hand, and closes the records of what cannot be seen: a person has looked after it.
    ///
    /// # Errors
    /// When the lock is held elsewhere, or a record cannot be read or ended.
    pub async fn look_after(&self) -> Result<(), Trouble> {
        self.under_lock("what was left behind", async {
            let standing = self.dir.load()?;
            let facts = self.fleet.look_everywhere().await;
            settle::let_go(self, &standing, &facts).await
        })
        .await
    }

    /// Ends what is left of work by hand that was cut off, and its record, so that it can be done anew.
    ///
    /// # Errors
    /// Usage or refused: there is none, it has come to its end, or something of it may still run.
    pub async fn close_chore(&self, name: &str) -> Result<(), Trouble> {
        self.under_lock(&format!("resume of {name}"), async {
            let open = left(find(&self.dir, name)?)?;
            let mut standing = self.dir.load()?;
            let facts = self.fleet.look_everywhere().await;
            settle::settle(self, open, &mut standing, &facts, Wish::GoOn).await?;
            Ok(())
        })
        .await
    }

    /// Tells of a run that is over although none of its steps was begun, as it is told of any other.
    fn tell_taken_back(&self, opening: &Opening, report: &RunReport, facts: &Facts) {
        let writer = guard::observed_writer(&self.fleet.entry().cluster, facts);
        self.teller.tell(Event::RunEnded {
            run: opening.run.clone(),
            operation: opening.operation.clone(),
            ending: report.ending.clone(),
            writer: writer.filter(|_| opening.address.is_none()),
            address: opening.address,
            holder: opening.outgoing.clone().filter(|_| opening.address.is_some()),
            write_refused_ms: None,
            took_ms: 0,
        });
    }

    /// Whether a run that was cut off before its commit may go on to it, from what the hosts show now.
    ///
    /// # Errors
    /// Refused: what stands in the way. The run stays open.
    pub(super) async fn may_go_on(
        &self,
        opening: &Opening,
        standing: &Standing,
        facts: &Facts,
    ) -> Result<(), Trouble> {
        let Some(incoming) = opening.incoming.as_ref().filter(|_| opening.moves_writer()) else {
            return Ok(());
        };
        let cluster = &self.fleet.entry().cluster;
        let what = || format!("run {} was not gone on with", opening.run);
        let or_undo = |trouble: Trouble| {
            let hint = format!("{}; or `mmm undo {}`", trouble.hint, opening.run);
            trouble.hint(hint)
        };
        if !self.fleet.holds_lock_of(incoming) {
            let why = self.fleet.why_no_lock(incoming);
            let because = format!("the cluster's lock on `{incoming}` could not be had{why}");
            return Err(or_undo(Trouble::refused(Guard::G19, what(), because)));
        }
        let mut standing = standing.clone();
        standing.get_unstuck();
        match (opening.rung, &opening.outgoing) {
            (Some(rung), outgoing) => {
                standing.writer.clone_from(outgoing);
                let facts = stopped_by_the_run(facts, incoming);
                // What was remembered was weighed when it was begun.
                let memory = Memory::default();
                guard::failover(cluster, &standing, &facts, outgoing.as_ref(), incoming, &memory)
                    .map_err(or_undo)?;
                match outgoing {
                    Some(outgoing) => self.is_still_dead(opening, outgoing, rung).await,
                    None => Ok(()),
                }
            }
            (None, Some(outgoing)) => {
                guard::resumed_switchover(cluster, &standing, facts, outgoing, incoming).map_err(or_undo)
            }
            (None, None) => {
                standing.writer = Some(incoming.clone());
                guard::reopen(cluster, &standing, facts, incoming).map_err(or_undo)
            }
        }
    }

    /// The evidence must say of the old writer what it said when the run was begun: its stages rest on that.
    async fn is_still_dead(&self, opening: &Opening, outgoing: &HostName, rung: Rung) -> Result<(), Trouble> {
        let found = inquest::gather(self.fleet, outgoing).await;
        let means = monitor::means(self.fleet.entry());
        let Some(means) = means.get(outgoing) else {
            let because = format!("the inventory does not name `{outgoing}` any more");
            return Err(Trouble::refused(
                Guard::G73,
                format!("run {} was not gone on with", opening.run),
                because,
            ));
        };
        let (rule, decision) = evidence::decide(&found, means);
        still_holds(opening, rung, rule, decision)
    }
}

/// A failover stops the replication of the host it opens, once everything received is applied: no reason then to bar it.
fn stopped_by_the_run(facts: &Facts, incoming: &HostName) -> Facts {
    let server = facts.get(incoming).and_then(|facts| facts.mysql.up());
    let waits = server.is_some_and(|mysql| {
        let mut channels = mysql.replicas.iter();
        channels.any(|channel| losses::unapplied(mysql, channel).is_some() || channel.sql_error.is_some())
    });
    if waits {
        facts.clone()
    } else {
        losses::as_if_applied(facts, incoming)
    }
}

fn still_holds(opening: &Opening, rung: Rung, rule: EvidenceRule, decision: Decision) -> Result<(), Trouble> {
    if rung.still_stands(decision) {
        return Ok(());
    }
    let because = format!(
        "the old writer was {rung} when it was begun, and now: {rule} {}",
        rule.sentence()
    );
    let hint = format!(
        "`mmm undo {}`, then `mmm failover` decides by what is seen now",
        opening.run
    );
    Err(Trouble::refused(
        Guard::G73,
        format!("run {} was not gone on with", opening.run),
        because,
    )
    .hint(hint))
}

/// A run about another address than the writer's is over once it is cut off; it goes where the person wants it by a new one.
fn address_wanted(opening: &Opening) -> Option<Request> {
    Some(Request::MoveAddress {
        address: opening.address?,
        to: opening.incoming.clone()?,
    })
}

/// A run that nobody is at work on and that has not come to its end.
///
/// # Errors
/// Refused: it has, or somebody is.
fn left(found: Found) -> Result<journal::OpenRun, Trouble> {
    let opening = found.opening.clone();
    if found.is_at_work() {
        let what = format!("run {} was not touched", opening.run);
        return Err(Trouble::refused(Guard::G04, what, "a program is at work on it"));
    }
    found.open().ok_or_else(|| ended_already(&opening))
}

fn ended_already(opening: &Opening) -> Trouble {
    Trouble::refused(
        Guard::G70,
        format!("run {} was not touched", opening.run),
        "it has come to its end already",
    )
    .hint(format!("`mmm history {}` shows how it went", opening.run))
}

fn closed(opening: &Opening, because: Option<String>) -> Trouble {
    let because = because.unwrap_or_else(|| "everything that could be done for it was done".to_owned());
    Trouble::refused(
        Guard::G72,
        format!("run {} is closed, and nothing was touched", opening.run),
        because,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::clock;

    fn opening(run: &str) -> Opening {
        Opening {
            run: run.into(),
            operation: "failover".into(),
            outgoing: Some("db1".into()),
            incoming: Some("db2".into()),
            rung: Some(Rung::Demote),
            automatic: false,
            address: None,
            chore: None,
            write_refused_max: None,
            stages: vec![],
        }
    }

    #[test]
    fn evidence_that_has_changed_holds_a_failover_back() {
        let judged = |rung, decision| still_holds(&opening("a"), rung, EvidenceRule::R20, decision);
        assert_eq!(judged(Rung::Demote, Decision::Replace(Rung::Demote)), Ok(()));
        let word = Rung::Word(EvidenceRule::R27);
        assert_eq!(judged(word, Decision::Refuse), Ok(()));
        assert_eq!(judged(word, Decision::Replace(Rung::Silence)), Ok(()));
        for (rung, decision) in [
            (Rung::Demote, Decision::Leave),
            (Rung::Silence, Decision::Leave),
            (word, Decision::Leave),
            (word, Decision::Replace(Rung::Demote)),
            (Rung::Silence, Decision::Refuse),
            (Rung::Demote, Decision::Refuse),
            (Rung::Demote, Decision::Replace(Rung::Silence)),
            (Rung::Silence, Decision::Replace(Rung::Demote)),
        ] {
            assert_eq!(
                judged(rung, decision).unwrap_err().guard,
                Some(Guard::G73),
                "{rung} {decision:?}"
            );
        }
    }

    #[test]
    fn runs_are_found_by_the_beginning_of_their_names_while_that_means_only_one() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::of(dir.path(), "test");
        state.prepare().unwrap();
        let found = |name: &str| find(&state, name).map(|found| found.opening.run);
        assert_eq!(found(LATEST).unwrap_err().kind, Kind::Usage);
        for run in [
            "switchover-20261122-1",
            "failover-20261122-12",
            "failover-20261122-1",
        ] {
            journal::Journal::begin(&state, opening(run)).unwrap();
            // Their order is that of their first lines, in milliseconds.
            let begun = clock::now();
            while clock::now() == begun {
                std::hint::spin_loop();
            }
        }
        assert_eq!(found("switch").unwrap(), "switchover-20261122-1");
        assert_eq!(
            found("failover-20261122-1").unwrap(),
            "failover-20261122-1",
            "a whole name is meant"
        );
        assert_eq!(found(LATEST).unwrap(), "failover-20261122-1");
        assert!(found("failover").unwrap_err().because.contains("2 runs begin so"));
        assert_eq!(found("rejoin").unwrap_err().kind, Kind::Usage);
    }
}
