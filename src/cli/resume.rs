//! `mmm resume RUN` and `mmm undo RUN`: a run that was cut off or got stuck goes on, or is taken back.

use std::time::Duration;

use super::apply::asked_duty;
use super::args::{RejoinArguments, Settings};
use super::{playbook, rejoin, set_offline, set_online, setting};
use crate::config::inventory::{ClusterEntry, Inventory};
use crate::core::chore;
use crate::core::proposal::Wish as Wanted;
use crate::core::run::{Ending, Run};
use crate::core::settlement::{Wish, ways_out};
use crate::core::trouble::{Kind, Trouble};
use crate::io::resume;
use crate::io::standing::StateDir;
use crate::report::reporter::talk;

/// How long another operation is waited for.
const LOCK_WAIT: Duration = Duration::from_secs(10);

/// Performs it; the exit code says how it ended. Taken back on demand is no failure.
pub async fn run(settings: &Settings, run: &str, wish: Wish) -> Result<u8, Trouble> {
    let inventory = setting::inventory(settings)?;
    let entry = setting::cluster(settings, &inventory, None)?;
    // What cannot be found is said before any host is asked.
    let dir = StateDir::of(&inventory.monitor.state_dir, &entry.cluster.name);
    let found = resume::find(&dir, run)?;
    let wanted = found.opening.chore.clone();
    let name = found.opening.run;
    let fleet = setting::fleet(entry).await?;
    let (teller, reporting) = setting::telling(settings, &entry.cluster.name);
    let performer = setting::performer(settings, &inventory, &fleet, teller, LOCK_WAIT);
    if let Some(wanted) = wanted.filter(|_| wish == Wish::GoOn) {
        if let Wanted::Rejoin { host, .. } = &wanted {
            rejoin::confirm_discarding(settings, host)?;
        }
        let closed = performer.close_chore(&name).await;
        drop(performer);
        setting::all_told(reporting).await;
        closed?;
        let confirmed = Settings {
            yes: true,
            ..settings.clone()
        };
        return again(&confirmed, &inventory, entry, &wanted).await;
    }
    let performed = performer.bring_to_end(&name, wish).await;
    drop(performer);
    setting::all_told(reporting).await;
    let is_taken_back = performed
        .as_ref()
        .is_ok_and(|performed| matches!(performed.report.ending, Ending::Undone { .. }));
    let code = setting::concluded(&inventory, entry, performed).await?;
    Ok(if is_taken_back && wish == Wish::TakeBack {
        0
    } else {
        code
    })
}

/// Does anew what was cut off, and of which nothing is left.
async fn again(
    settings: &Settings,
    inventory: &Inventory,
    entry: &ClusterEntry,
    wanted: &Wanted,
) -> Result<u8, Trouble> {
    if let Some(asked) = asked_duty(wanted) {
        return playbook::perform(settings, inventory, entry, &asked, LOCK_WAIT, None).await;
    }
    match wanted {
        Wanted::SetOffline { host } => set_offline::run(settings, host.as_str()).await,
        Wanted::SetOnline { host } => set_online::run(settings, host.as_str()).await,
        Wanted::Rejoin { host, .. } => {
            let asked = RejoinArguments {
                host: host.to_string(),
                discard: true,
                rebuilt: false,
            };
            rejoin::run(settings, &asked).await
        }
        _ => Err(Trouble::new(
            Kind::Bug,
            "nothing was resumed",
            "an operation was written down as work by hand",
        )),
    }
}

/// Names the runs of these clusters that were cut off or got stuck, on stderr: whoever looks should know of them.
/// An inventory that cannot be read is for the verb itself to tell.
pub fn name_open_runs(settings: &Settings) {
    let Ok(inventory) = crate::io::inventory::load(&settings.inventory) else {
        return;
    };
    for entry in &inventory.clusters {
        for what in left_open(&StateDir::of(&inventory.monitor.state_dir, &entry.cluster.name)) {
            talk(&format!("note: {}: {what}", entry.cluster.name));
        }
    }
}

/// What to say of each run that was left open, with what can be done about it.
pub fn left_open(dir: &StateDir) -> Vec<String> {
    match resume::left_open(dir) {
        Ok(open) => open
            .into_iter()
            .map(|open| {
                let (opening, how) = (&open.opening, if open.stuck { "is stuck" } else { "was cut off" });
                let is_committed = Run::replay(opening.stages.clone(), &open.happenings).is_committed();
                let outgoing = opening.outgoing.as_ref();
                match &opening.chore {
                    Some(wanted) => {
                        format!(
                            "run {} {how}: {}",
                            opening.run,
                            chore::ways_out(&opening.run, wanted)
                        )
                    }
                    None => format!(
                        "run {} {how}: {}; whatever acts next settles it first",
                        opening.run,
                        ways_out(&opening.run, &opening.operation, outgoing, is_committed)
                    ),
                }
            })
            .collect(),
        Err(error) => vec![format!("the journals of earlier runs cannot be read: {error}")],
    }
}
