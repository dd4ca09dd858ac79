//! `mmm failover --if-dead`, for cron and scripts: nothing while the writer serves; a failover once it is proven dead, or
//! has been silent for as long as a monitor would wait.

use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::args::{FailoverArguments, Settings};
use super::setting;
use crate::core::cluster::{Cluster, HostName, OnProof};
use crate::core::event::Event;
use crate::core::evidence::{self, Decision, EvidenceRule, Rung};
use crate::core::guard::{self, Facts, Guard};
use crate::core::maintenance;
use crate::core::run::Ending;
use crate::core::standing::Standing;
use crate::core::trouble::{Kind, Trouble};
use crate::io::operation::{Performed, Performer, Request};
use crate::io::{clock, inquest, journal, monitor, records, watch_sign};
use crate::report::reporter::{Output, out};

/// How long another operation is waited for.
const LOCK_WAIT: Duration = Duration::from_secs(10);
/// Between two looks at a writer that does not answer.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(500);
/// The exit code of a failover that was carried out.
const FAILED_OVER: u8 = 10;

/// What came of it.
enum Outcome {
    /// The writer serves; nothing was done.
    Serves(HostName),
    /// The writer had come back read-only, and was to be opened again.
    Opened(Performed),
    /// It was to be replaced.
    Replaced(Performed),
}

/// Comes by once: 0 when the writer serves, 10 after a failover, otherwise the usual exit codes.
pub async fn run(settings: &Settings, what: &FailoverArguments) -> Result<u8, Trouble> {
    let inventory = setting::inventory(settings)?;
    let entry = setting::cluster(settings, &inventory, what.name.as_deref())?;
    let fleet = setting::fleet(entry).await?;
    let (teller, reporting) = setting::telling(settings, &entry.cluster.name);
    let mut performer = setting::performer(settings, &inventory, &fleet, teller, LOCK_WAIT);
    performer.by_itself = true;
    let outcome = come_by(&performer, &inventory.monitor.state_dir).await;
    drop(performer);
    setting::all_told(reporting).await;
    match outcome? {
        Outcome::Serves(writer) => {
            match settings.output {
                Output::Text if settings.quiet => {}
                Output::Text => out(&format!(
                    "`{writer}` is the writer and takes writes; nothing was done"
                )),
                Output::Json => out(&setting::json(&serde_json::json!({
                    "cluster": entry.cluster.name, "writer": writer, "serves": true
                }))),
            }
            Ok(0)
        }
        Outcome::Opened(performed) => setting::concluded(&inventory, entry, Ok(performed)).await,
        Outcome::Replaced(performed) => {
            let is_done = matches!(performed.report.ending, Ending::Done { .. });
            let code = setting::concluded(&inventory, entry, Ok(performed)).await?;
            Ok(if is_done { FAILED_OVER } else { code })
        }
    }
}

async fn come_by(performer: &Performer<'_>, state_dir: &Path) -> Result<Outcome, Trouble> {
    let fleet = performer.fleet;
    let cluster = &fleet.entry().cluster;
    let mut standing = performer.dir.load()?;
    let mut facts = fleet.look_everywhere().await;
    if let Some(writer) = serves(&standing, &facts)
        && is_settled(performer, &standing)?
    {
        note_look(state_dir, cluster, &standing, &writer, &facts);
        can_be_reached(cluster, &facts, &writer)?;
        return Ok(Outcome::Serves(writer));
    }
    // Whoever watches sees to everything, and knows of hosts what this box does not.
    if let Err(watched) = nobody_watches(performer).await {
        return match guard::observed_writer(cluster, &facts) {
            Some(writer) => Ok(Outcome::Serves(writer)),
            None => Err(watched),
        };
    }
    standing = performer.take_stock().await?;
    facts = fleet.look_everywhere().await;
    guard::hands_off(cluster, &standing)?;
    if let Some(writer) = serves(&standing, &facts) {
        note_look(state_dir, cluster, &standing, &writer, &facts);
        can_be_reached(cluster, &facts, &writer)?;
        return Ok(Outcome::Serves(writer));
    }
    nobody_watches(performer).await?;
    let known = standing.writer.clone();
    standing.writer = known.or_else(|| guard::holder_of_writer_address(cluster, &facts));
    let Some(writer) = standing.writer.clone() else {
        return Err(Trouble::refused(
            Guard::G06,
            format!("failover of `{}` was not begun", cluster.name),
            "no host is known to be the writer, on this box or by what the hosts show",
        ));
    };
    let is_up = |facts: &Facts| facts.get(&writer).is_some_and(|seen| seen.mysql.up().is_some());
    let rung = if is_up(&facts) {
        None
    } else {
        watch(performer, &writer).await?
    };
    let facts = match rung {
        Some(_) => fleet.look_except(std::slice::from_ref(&writer)).await,
        None => fleet.look_everywhere().await,
    };
    let Some(rung) = rung else {
        if let Some(writer) = serves(&standing, &facts) {
            return Ok(Outcome::Serves(writer));
        }
        if is_up(&facts) {
            guard::could_not_have_been_replaced(cluster, &facts, &writer)?;
            let request = Request::Reopen { writer: Some(writer) };
            return performer.perform(&request).await.map(Outcome::Opened);
        }
        return Err(Trouble::new(
            Kind::Wrong,
            format!("`{writer}` is in trouble and lives"),
            "it answers on its own host, refuses connections, or is heard by another host, so it keeps its role",
        )
        .hint("`mmm show` and `mmm checks` say what is wrong with it"));
    };
    maintenance::automatic_failover(cluster, &standing, clock::now())?;
    let memory = performer.planner().sights().memory(Some(&writer), &standing);
    let incoming = guard::target(cluster, &standing, &facts, None, &memory)?;
    let request = Request::Failover {
        outgoing: Some(writer),
        incoming,
        rung,
        events: None,
        memory: Some(Box::new(memory)),
        allow_loss: false,
        automatic: true,
    };
    performer.perform(&request).await.map(Outcome::Replaced)
}

/// Leaves to the next one who comes by what an election would have to know of this moment. That it cannot be kept keeps
/// nothing from being done.
fn note_look(state_dir: &Path, cluster: &Cluster, standing: &Standing, writer: &HostName, facts: &Facts) {
    if let Err(trouble) = records::note_look(state_dir, cluster, standing, writer, facts) {
        tracing::warn!("{}: {}", trouble.what, trouble.because);
    }
}

/// The writer on record, when it takes writes and nobody else does.
fn serves(standing: &Standing, facts: &Facts) -> Option<HostName> {
    let writer = standing.writer.as_ref()?;
    let takes_writes = facts
        .get(writer)
        .and_then(|facts| facts.mysql.up())
        .is_some_and(|mysql| mysql.is_writable());
    (takes_writes && guard::another_writable(facts, writer).is_none()).then(|| writer.clone())
}

/// That clients reach the writer: nobody repairs addresses where no monitor watches.
fn can_be_reached(cluster: &Cluster, facts: &Facts, writer: &HostName) -> Result<(), Trouble> {
    let Some(address) = cluster.writer_address() else {
        return Ok(());
    };
    let lacks_it = facts
        .get(writer)
        .and_then(|facts| facts.ssh.up())
        .is_some_and(|shell| !shell.holds(address));
    if !lacks_it {
        return Ok(());
    }
    Err(Trouble::new(
        Kind::Wrong,
        format!("`{writer}` takes writes, and clients do not reach it"),
        format!("it does not hold the writer's address {address}"),
    )
    .hint("a monitor puts it back: start one, or add the address by hand"))
}

/// Whether nothing waits on this box to be brought to its end.
fn is_settled(performer: &Performer<'_>, standing: &Standing) -> Result<bool, Trouble> {
    let open = journal::open_runs(&performer.dir).map_err(|error| {
        Trouble::refused(Guard::G05, "the journals of earlier runs cannot be read", error)
    })?;
    // Work by hand on one host decides nothing about the writer.
    let is_settled = open.iter().all(|run| run.opening.chore.is_some());
    Ok(is_settled && standing.owed.is_empty() && standing.hands_off.is_none())
}

/// That no monitor watches the cluster, here or on another box.
async fn nobody_watches(performer: &Performer<'_>) -> Result<(), Trouble> {
    match watch_sign::seen(performer.fleet).await {
        None => Ok(()),
        Some(whence) => Err(Trouble::refused(
            Guard::G62,
            format!(
                "failover of `{}` was not begun",
                performer.fleet.entry().cluster.name
            ),
            format!("the monitor on {whence} watches it"),
        )),
    }
}

/// Watches a writer that does not answer until it is proven dead, or has been silent for the trap period. None when it
/// turned out to live.
async fn watch(performer: &Performer<'_>, writer: &HostName) -> Result<Option<Rung>, Trouble> {
    let fleet = performer.fleet;
    let cluster = &fleet.entry().cluster;
    let Some(means) = monitor::means(fleet.entry()).remove(writer) else {
        return Err(Trouble::new(
            Kind::Usage,
            format!("failover of `{}` was not begun", cluster.name),
            format!("the inventory does not name the writer `{writer}`"),
        ));
    };
    let trap = cluster.checks.mysql.trap_after;
    let began = Instant::now();
    let mut told = None;
    loop {
        let found = inquest::gather(fleet, writer).await;
        let (rule, decision) = evidence::decide(&found, &means);
        if told.replace(rule) != Some(rule) {
            performer.teller.tell(Event::RuleChanged {
                rule: rule.to_string(),
                sentence: rule.sentence().to_owned(),
            });
        }
        let is_proved = found.is_proof() && cluster.failover.on_proof == OnProof::Immediate;
        let has_waited = began.elapsed() >= trap;
        // What was still on its way when a server died may be received a moment later.
        if rule == EvidenceRule::R32 && !has_waited {
            sleep(LOOK_AGAIN_AFTER).await;
            continue;
        }
        match next(decision, is_proved || has_waited) {
            Next::Leave => return Ok(None),
            Next::Replace(rung) => return Ok(Some(rung)),
            Next::Wait => sleep(LOOK_AGAIN_AFTER).await,
            Next::Refuse => {
                return Err(Trouble::refused(
                    Guard::G11,
                    format!("failover of `{}` was not begun", cluster.name),
                    format!("{rule}: `{writer}`: {}", rule.sentence()),
                )
                .hint(rule.lifted_by()));
            }
        }
    }
}

/// What one look at a writer that does not answer leads to.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Leave,
    Wait,
    Replace(Rung),
    Refuse,
}

/// Proof is acted on at once, where the inventory wants that; everything else must last as long as a monitor would wait.
fn next(decision: Decision, is_due: bool) -> Next {
    match decision {
        Decision::Leave => Next::Leave,
        Decision::Replace(rung) if is_due => Next::Replace(rung),
        Decision::Refuse if is_due => Next::Refuse,
        Decision::Replace(_) | Decision::Refuse => Next::Wait,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_replaced_or_refused_before_it_is_due_and_a_living_writer_never() {
        for rung in [Rung::Demote, Rung::Fence, Rung::Silence] {
            assert_eq!(next(Decision::Replace(rung), false), Next::Wait);
            assert_eq!(next(Decision::Replace(rung), true), Next::Replace(rung));
        }
        assert_eq!(next(Decision::Refuse, false), Next::Wait);
        assert_eq!(next(Decision::Refuse, true), Next::Refuse);
        assert_eq!(next(Decision::Leave, true), Next::Leave);
    }
}
