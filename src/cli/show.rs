//! `mmm show`: who holds which role and what is wrong, from the running monitor or looked up at once.

use super::args::Settings;
use super::known::{self, Known};
use super::setting;
use crate::config::inventory::{ClusterEntry, Inventory};
use crate::core::engine::{Engine, Input};
use crate::core::guard;
use crate::core::trouble::{Kind, Trouble};
use crate::core::view::ClusterView;
use crate::io::fleet::Fleet;
use crate::io::standing::StateDir;
use crate::io::{clock, monitor, records};
use crate::report::reporter::{Output, out, talk};
use crate::report::show;

/// Prints; 3 when something is wrong.
pub async fn run(settings: &Settings, named: Option<&str>) -> Result<u8, Trouble> {
    let inventory = setting::inventory(settings)?;
    let wanted = setting::clusters(settings, &inventory, named)?;
    let views = known::views(&inventory, &wanted).await;
    match settings.output {
        Output::Text => {
            let text: Vec<String> = views.iter().map(words).collect();
            out(text.join("\n").trim_end());
        }
        Output::Json => {
            let clusters: Vec<_> = views.iter().map(as_json).collect();
            out(&setting::json(&serde_json::json!({ "clusters": clusters })));
        }
    }
    let is_well = |view: &ClusterView| view.warnings.is_empty();
    let is_healthy = views.iter().all(|known| known.found.as_ref().is_ok_and(is_well));
    Ok(if is_healthy { 0 } else { Kind::Wrong.exit_code() })
}

fn words(known: &Known<ClusterView>) -> String {
    match &known.found {
        Ok(view) => show::cluster(view),
        Err(trouble) => show::unseen(&known.cluster, trouble),
    }
}

fn as_json(known: &Known<ClusterView>) -> serde_json::Value {
    match &known.found {
        Ok(view) => serde_json::json!(view),
        Err(trouble) => serde_json::json!({ "cluster": known.cluster, "error": trouble }),
    }
}

/// An engine that has looked once, as a monitor's would after its first round.
pub async fn look_once(inventory: &Inventory, entry: &ClusterEntry) -> Result<Engine, Trouble> {
    let fleet = setting::fleet(entry).await?;
    look_with(&fleet, inventory, entry).await
}

/// As [`look_once`], through a fleet that is there already.
pub async fn look_with(
    fleet: &Fleet,
    inventory: &Inventory,
    entry: &ClusterEntry,
) -> Result<Engine, Trouble> {
    let dir = StateDir::of(&inventory.monitor.state_dir, &entry.cluster.name);
    let mut standing = dir.load()?;
    let (facts, results) = tokio::join!(fleet.look_everywhere(), monitor::check_once(fleet));
    if standing.writer.is_none() {
        standing.writer = guard::observed_writer(&entry.cluster, &facts);
    }
    // A check that fails now counts as failed: nobody has waited for a trap period.
    let mut cluster = entry.cluster.clone();
    for timing in [
        &mut cluster.checks.ping,
        &mut cluster.checks.mysql,
        &mut cluster.checks.rep_threads,
        &mut cluster.checks.rep_backlog,
    ] {
        timing.trap_after = std::time::Duration::ZERO;
    }
    let mut engine = Engine::new(cluster, monitor::means(entry), standing);
    match records::load(&dir) {
        Ok(Some(records)) => engine = engine.resume(records),
        Ok(None) => {}
        Err(trouble) => talk(&format!("{}: {}", trouble.what, trouble.because)),
    }
    let now = clock::now();
    for (host, facts) in facts {
        engine.step(now, Input::Looked(host, Box::new(facts)));
    }
    for (host, kind, result) in results {
        engine.step(now, Input::Checked { host, kind, result });
    }
    // What the engine asked for meanwhile is nobody's to do here; the next steps show the rule in force. A state may
    // rest on that of a host judged later, and lead to another.
    for _ in 0..3 {
        engine.step(now, Input::Finished);
    }
    Ok(engine)
}
