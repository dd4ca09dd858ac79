//! What a program that was cut off has left: shells and connections on hosts, and what it had only sent.

use std::time::Duration;

use crate::core::cluster::HostName;
use crate::core::event::Event;
use crate::core::guard::Facts;
use crate::core::run::{Next, Run};
use crate::io::clock;
use crate::io::journal::OpenRun;
use crate::io::operation::Performer;

/// Verifies that the shells of the cut-off run are gone from every host that answers, and gives the hosts that do not, or
/// that have no part in who takes writes and where that is not known.
pub(super) async fn bury(
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
        let Err(why) = performer.fleet.bury(host, trace).await else {
            continue;
        };
        let because = format!("what it left running on {host} is not known to be gone: {why}");
        // A host that the run opens or closes for nobody holds nothing up.
        if ![&open.opening.outgoing, &open.opening.incoming].contains(&&Some(host.clone())) {
            performer.teller.tell(Event::Alarm {
                what: format!("run {}: {because}", open.opening.run),
                hint: String::new(),
            });
            haunted.push(host.clone());
            continue;
        }
        return Err((because, host.clone()));
    }
    Ok(haunted)
}

/// Nothing that the old process sent can start later than its stage's deadline on the host's clock. After the commit
/// nobody is opened any more, and what may come late is only what is done again now.
pub(super) async fn wait_for_expiry(open: &OpenRun, run: &Run) {
    if !run.is_committed()
        && let Next::Do(stage) | Next::Undo(stage) = run.next()
        && let Some(stage) = run.stages().get(*stage)
    {
        let passed = clock::now().since(open.last_at);
        let margin = stage.within + Duration::from_secs(1);
        tokio::time::sleep(margin.saturating_sub(passed)).await;
    }
}
