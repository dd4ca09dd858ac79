//! What every verb needs first: inventory, playbooks, the cluster meant, its hosts within reach, somebody who tells.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tracing_subscriber::EnvFilter;

use super::args::Settings;
use crate::config::diagnostic::render_all;
use crate::config::inventory::{ClusterEntry, Inventory};
use crate::config::playbook::{no_fence, opening_step, step_that_brings_up};
use crate::core::cluster::HostName;
use crate::core::guard::Guard;
use crate::core::playbook::Playbook;
use crate::core::printed::Printed;
use crate::core::run::Ending;
use crate::core::site::SiteAct;
use crate::core::trouble::{Kind, Trouble};
use crate::io::fleet::Fleet;
use crate::io::network::Network;
use crate::io::notify::Notifier;
use crate::io::operation::{Performed, Performer};
use crate::io::socket::{Nudged, nudge};
use crate::io::standing::StateDir;
use crate::io::teller::Teller;
use crate::report::line;
use crate::report::reporter::{Output, report, talk};

/// Diagnostics go to stderr; `MMM_LOG` names a filter as `RUST_LOG` would.
pub fn start_logging(verbose: u8) {
    let default = match verbose {
        0 => "mmm=error,russh=off",
        1 => "mmm=info,russh=warn",
        _ => "mmm=debug,russh=info",
    };
    let filter = EnvFilter::try_from_env("MMM_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let started = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .try_init();
    if let Err(error) = started {
        talk(&format!("logging could not be started: {error}"));
    }
}

/// Reads the inventory; its warnings are told.
///
/// # Errors
/// Usage: everything wrong with it.
pub fn inventory(settings: &Settings) -> Result<Inventory, Trouble> {
    let inventory = crate::io::inventory::load(&settings.inventory).map_err(|findings| {
        Trouble::new(
            Kind::Usage,
            format!("the inventory `{}` cannot be used", settings.inventory.display()),
            format!(
                "{} found\n\n{}",
                count(findings.len(), "thing"),
                render_all(&findings)
            ),
        )
    })?;
    if settings.output == Output::Text && !settings.quiet && !inventory.warnings.is_empty() {
        talk(render_all(&inventory.warnings).trim_end());
    }
    Ok(inventory)
}

/// Reads the playbooks of a cluster.
///
/// # Errors
/// Usage: everything wrong with them.
pub fn playbook(entry: &ClusterEntry) -> Result<Arc<Playbook>, Trouble> {
    let playbook = crate::config::playbook::load(entry.playbooks.as_deref()).map_err(|findings| {
        Trouble::new(
            Kind::Usage,
            format!("the playbooks of `{}` cannot be used", entry.cluster.name),
            format!(
                "{} found\n\n{}",
                count(findings.len(), "thing"),
                render_all(&findings)
            ),
        )
    })?;
    fence_duties(entry, &playbook)?;
    site_duties(entry, &playbook)?;
    Ok(Arc::new(playbook))
}

/// The duties that the inventory names as fences are there, and prove what they have done.
fn fence_duties(entry: &ClusterEntry, playbook: &Playbook) -> Result<(), Trouble> {
    for (host, settings) in &entry.hosts {
        let named = settings.fence.as_ref();
        let Some(because) = named.and_then(|fence| no_fence(playbook, &fence.duty)) else {
            continue;
        };
        let what = format!("`{host}` of `{}` cannot be fenced", entry.cluster.name);
        let hint = "`fence` in the inventory names it; put it into the directory that `playbooks` names, with an `until` \
                    or a `verify` that asks whoever cut the host off, as `mmm playbook show fence-ipmi` has it";
        return Err(Trouble::new(Kind::Usage, what, because).hint(hint));
    }
    Ok(())
}

/// The duties that the inventory names for its own steps around operations are there, and need nothing that only a stage
/// of an operation has.
fn site_duties(entry: &ClusterEntry, playbook: &Playbook) -> Result<(), Trouble> {
    for step in entry.site.all() {
        let SiteAct::Duty { name, .. } = &step.act else {
            continue;
        };
        let because = match playbook.duties.get(name) {
            None => format!("the playbooks have no duty `{name}`"),
            Some(duty) => match duty
                .needs
                .iter()
                .find(|need| *need != "address" && *need != "with")
            {
                Some(need) => format!("the duty `{name}` needs `{need}`, which no step of the site can give"),
                None => match second_writer(playbook, name) {
                    Some(because) => because,
                    None => continue,
                },
            },
        };
        let what = format!(
            "the site's step `{}` of `{}` cannot be performed",
            step.name, entry.cluster.name
        );
        let hint =
            "`site_steps` in the inventory names it; put the duty into the directory that `playbooks` names";
        return Err(Trouble::new(Kind::Usage, what, because).hint(hint));
    }
    Ok(())
}

/// How a duty beside the operation's own steps could make a second writer.
fn second_writer(playbook: &Playbook, duty: &str) -> Option<String> {
    let opens = opening_step(playbook, duty)
        .map(|step| format!("its step `{step}` would let a server take writes, or events run"));
    let brings = step_that_brings_up(playbook, duty)
        .map(|step| format!("its step `{step}` would bring the writer's address up"));
    let because = opens.or(brings)?;
    Some(format!(
        "{because}: that is left to the operation's own steps, behind its guards"
    ))
}

/// The cluster meant: the one named, or the only one.
///
/// # Errors
/// Usage: there is none of that name, or several to choose from.
pub fn cluster<'i>(
    settings: &Settings,
    inventory: &'i Inventory,
    named: Option<&str>,
) -> Result<&'i ClusterEntry, Trouble> {
    let names = || {
        inventory
            .clusters
            .iter()
            .map(|entry| format!("`{}`", entry.cluster.name))
            .collect::<Vec<_>>()
            .join(", ")
    };
    match (
        named.or(settings.cluster.as_deref()),
        inventory.clusters.as_slice(),
    ) {
        (Some(name), _) => inventory.cluster(name).ok_or_else(|| {
            Trouble::new(
                Kind::Usage,
                format!("there is no cluster `{name}`"),
                format!("the inventory has {}", names()),
            )
        }),
        (None, [only]) => Ok(only),
        (None, _) => Err(Trouble::new(
            Kind::Usage,
            "no cluster was named",
            format!("the inventory has {}", names()),
        )
        .hint("name one, for instance `mmm show CLUSTER`, or `mmm @CLUSTER show`")),
    }
}

/// That the cluster has a host of that name.
///
/// # Errors
/// Usage: it has none; which it has.
pub fn host(entry: &ClusterEntry, name: &HostName) -> Result<(), Trouble> {
    if entry.hosts.contains_key(name) {
        return Ok(());
    }
    let names: Vec<String> = entry.hosts.keys().map(|host| format!("`{host}`")).collect();
    Err(Trouble::new(
        Kind::Usage,
        format!("`{}` has no host `{name}`", entry.cluster.name),
        format!("its hosts are {}", names.join(", ")),
    ))
}

/// What a verb adds about the monitor that was told of its change.
pub fn about_monitor(nudged: Nudged) -> &'static str {
    match nudged {
        Nudged::Taken => "",
        Nudged::NotYet => " (the running monitor has not said that it knows; `mmm ping` asks it)",
        Nudged::NobodyWatches => " (no monitor runs)",
    }
}

/// The clusters meant: the one named, or all.
///
/// # Errors
/// Usage: there is none of that name.
pub fn clusters<'i>(
    settings: &Settings,
    inventory: &'i Inventory,
    named: Option<&str>,
) -> Result<Vec<&'i ClusterEntry>, Trouble> {
    match named.or(settings.cluster.as_deref()) {
        Some(_) => cluster(settings, inventory, named).map(|entry| vec![entry]),
        None => Ok(inventory.clusters.iter().collect()),
    }
}

/// A cluster's hosts within reach.
///
/// # Errors
/// Usage: playbooks, secrets or SSH settings that cannot be had.
pub async fn fleet(entry: &ClusterEntry) -> Result<Fleet, Trouble> {
    Fleet::new(entry.clone(), playbook(entry)?).await
}

/// Someone who tells the events of one command until its teller is gone.
pub fn telling(settings: &Settings, cluster: &str) -> (Teller, JoinHandle<()>) {
    let (teller, events) = Teller::new(cluster);
    (
        teller,
        tokio::spawn(report(events, settings.output, settings.quiet)),
    )
}

/// One command's way to act on a cluster.
pub fn performer<'f>(
    settings: &Settings,
    inventory: &Inventory,
    fleet: &'f Fleet,
    teller: Teller,
    lock_wait: Duration,
) -> Performer<'f> {
    let dir = StateDir::of(&inventory.monitor.state_dir, &fleet.entry().cluster.name);
    let notifier = Notifier::start(fleet.entry(), &dir, &teller, line::words);
    let teller = teller.notifying(notifier);
    Performer {
        fleet,
        dir,
        teller,
        lock_wait,
        network: network(inventory),
        by_itself: false,
        whatever_state: false,
        expects: None,
        monitor_at: Some(inventory.monitor.socket.clone()),
        begin_by: settings.timeout.and_then(|span| Instant::now().checked_add(span)),
    }
}

/// This box's own network, as far as it can be asked.
pub fn network(inventory: &Inventory) -> Network {
    Network::of(&inventory.monitor.ping_addresses).unwrap_or_else(|trouble| {
        talk(&format!("{trouble}"));
        Network::default()
    })
}

/// Waits until everything has been told.
pub async fn all_told(reporting: JoinHandle<()>) {
    if let Err(error) = reporting.await {
        talk(&format!("not everything could be told: {error}"));
    }
}

/// The exit code of a performed operation. What happened has been told by its events.
pub fn exit_code(performed: &Performed) -> u8 {
    match performed.report.ending {
        Ending::Done { .. } => 0,
        Ending::Undone { untouched: true, .. } => Kind::Refused.exit_code(),
        Ending::Undone { .. } => Kind::Undone.exit_code(),
        Ending::Failed { .. } => Kind::Wrong.exit_code(),
        Ending::Stuck { .. } => Kind::Stuck.exit_code(),
    }
}

/// What a performed operation comes to for whoever asked: its exit code, once a running monitor knows what it changed.
///
/// # Errors
/// Those of the operation.
pub async fn concluded(
    inventory: &Inventory,
    entry: &ClusterEntry,
    performed: Result<Performed, Trouble>,
) -> Result<u8, Trouble> {
    let performed = performed?;
    let generation = performed.standing.generation;
    let nudged = nudge(&inventory.monitor.socket, &entry.cluster.name, generation).await;
    tracing::debug!("the monitor, told of the change: {nudged:?}");
    Ok(exit_code(&performed))
}

/// Asks a person before something that cannot be had back. Without a terminal nobody is there to ask, and the flag that
/// was given is the answer; so it is with `--yes`.
///
/// # Errors
/// Refused: the answer was not yes.
pub fn confirm(settings: &Settings, what: &str) -> Result<(), Trouble> {
    let asks = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    if settings.yes || !asks {
        return Ok(());
    }
    talk(&format!("{what}. Type `yes` to go on:"));
    let mut answer = String::new();
    if let Err(error) = std::io::stdin().read_line(&mut answer) {
        talk(&format!("no answer could be read: {error}"));
    }
    is_yes(&answer)
}

fn is_yes(answer: &str) -> Result<(), Trouble> {
    if answer.trim() == "yes" {
        return Ok(());
    }
    Err(Trouble::refused(
        Guard::G65,
        "nothing was done",
        "the answer was not `yes`",
    ))
}

/// A value as one line of JSON for programs, with the version of what is printed.
pub fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(&Printed::of(value))
        .unwrap_or_else(|error| format!("{{\"error\":\"not JSON: {error}\"}}"))
}

/// "1 thing", "2 things".
pub fn count(number: usize, noun: &str) -> String {
    if number == 1 {
        format!("1 {noun}")
    } else {
        format!("{number} {noun}s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::inventory::{Surroundings, parse};

    #[test]
    fn what_could_make_a_second_writer_is_no_step_of_the_site() {
        let playbook = crate::config::playbook::load(None).unwrap();
        for (duty, why) in [
            ("allow-writes", "let a server take writes"),
            ("restore-events", "or events run"),
            ("add-address", "bring the writer's address up"),
            ("announce", "bring the writer's address up"),
        ] {
            let because = second_writer(&playbook, duty).unwrap_or_default();
            assert!(because.contains(why), "{duty}: {because}");
        }
        for duty in ["facts", "stop-replication", "drop-address"] {
            assert_eq!(second_writer(&playbook, duty), None);
        }
    }

    #[test]
    fn a_fence_that_is_not_there_or_proves_nothing_is_refused_before_it_is_needed() {
        let surroundings = Surroundings {
            mode: Some(0o600),
            home: Some("/root".into()),
        };
        let text = include_str!("../../inventory.example.yaml");
        let inventory = parse(text, std::path::Path::new("inventory.yaml"), &surroundings).unwrap();
        let entry = inventory.cluster("test_mmm").unwrap();
        let mut playbook = crate::config::playbook::load(None).unwrap();
        let refused = |playbook: &Playbook| fence_duties(entry, playbook).unwrap_err();
        assert!(refused(&playbook).because.contains("no duty `fence-switch-port`"));
        let mut fence = playbook.duties["fence-ipmi"].clone();
        fence.name = "fence-switch-port".to_owned();
        playbook.duties.insert(fence.name.clone(), fence.clone());
        fence_duties(entry, &playbook).unwrap();
        fence.steps.iter_mut().for_each(|step| step.until = None);
        playbook.duties.insert(fence.name.clone(), fence);
        let refused = refused(&playbook);
        assert!(
            refused.because.contains("never looks") && refused.hint.contains("`until`"),
            "{refused:?}"
        );
    }

    #[test]
    fn only_yes_is_yes() {
        is_yes("yes\n").unwrap();
        for answer in ["", "y\n", "no\n", "YES\n"] {
            assert_eq!(is_yes(answer).unwrap_err().guard, Some(Guard::G65));
        }
    }
}
