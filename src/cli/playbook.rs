//! `mmm playbook list|show|lint|run`: the playbooks in use, what is wrong with them, and a single duty by hand.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::args::{DutyArguments, PlanArguments, Planned, PlaybookArguments, PlaybookVerb, Settings};
use super::by_hand::Wanted;
use super::{plan, setting};
use crate::config::diagnostic::{Diagnostic, closest, render_all};
use crate::config::inventory::{ClusterEntry, HostEntry, Inventory, Service};
use crate::config::playbook::{Listed, is_wrong, lint, listed};
use crate::core::proposal::Proposal;
use crate::core::script::{DutyOutcome, DutyReport, StepOutcome};
use crate::core::site::SiteAct;
use crate::core::trouble::{Kind, Trouble};
use crate::io::conductor::describe;
use crate::io::operation::uses_gtid;
use crate::report::reporter::{Output, out, talk};

/// Does what was asked for.
pub async fn run(settings: &Settings, what: &PlaybookArguments) -> Result<u8, Trouble> {
    match &what.verb {
        PlaybookVerb::List => list(settings),
        PlaybookVerb::Show { name } => show(settings, name),
        PlaybookVerb::Lint { directory } => say_all(settings, directory.as_deref()),
        PlaybookVerb::Run { duty, plan: true, .. } => {
            let planned = PlanArguments {
                what: Planned::Duty(duty.clone()),
                save: None,
            };
            plan::run(settings, &planned).await
        }
        PlaybookVerb::Run { duty, lock_wait, .. } => {
            let inventory = setting::inventory(settings)?;
            let entry = setting::cluster(settings, &inventory, None)?;
            perform(settings, &inventory, entry, duty, *lock_wait, None).await
        }
    }
}

/// The inventory's directory of playbooks. Without an inventory the shipped ones are meant.
fn own_directory(settings: &Settings) -> Result<Option<PathBuf>, Trouble> {
    if !settings.inventory.exists() {
        talk(&format!(
            "there is no inventory `{}`: these are the shipped playbooks",
            settings.inventory.display()
        ));
        return Ok(None);
    }
    let inventory = setting::inventory(settings)?;
    Ok(setting::cluster(settings, &inventory, None)?.playbooks.clone())
}

fn in_use(settings: &Settings) -> Result<Vec<Listed>, Trouble> {
    listed(own_directory(settings)?.as_deref()).map_err(|findings| unreadable(&findings))
}

fn unreadable(findings: &[Diagnostic]) -> Trouble {
    Trouble::new(Kind::Usage, "the playbooks cannot be read", render_all(findings))
}

fn list(settings: &Settings) -> Result<u8, Trouble> {
    let all = in_use(settings)?;
    match settings.output {
        Output::Json => out(&setting::json(&serde_json::json!({ "playbooks": all }))),
        Output::Text => {
            for one in &all {
                let from = match (one.is_own, one.overrides) {
                    (false, _) => "shipped".to_owned(),
                    (true, true) => format!("{} instead of the shipped one", one.file.display()),
                    (true, false) => one.file.display().to_string(),
                };
                out(&format!("{:<10} {:<22} {from}", one.kind, one.name));
            }
        }
    }
    Ok(0)
}

fn show(settings: &Settings, name: &str) -> Result<u8, Trouble> {
    let all = in_use(settings)?;
    let meant: Vec<&Listed> = all.iter().filter(|one| one.name == name).collect();
    if meant.is_empty() {
        let near = closest(name, all.iter().map(|one| one.name.as_str()));
        let hint = near.map_or_else(
            || "`mmm playbook list` names all".to_owned(),
            |near| format!("did you mean `{near}`?"),
        );
        let what = format!("there is no playbook `{name}`");
        return Err(Trouble::new(Kind::Usage, what, "no file in use has that name").hint(hint));
    }
    for one in meant {
        match settings.output {
            Output::Text => {
                let shipped = if one.is_own { "" } else { "shipped, " };
                out(&format!("# {} ({shipped}{})", one.kind, one.file.display()));
                out(one.text.trim_end());
            }
            Output::Json => out(&setting::json(&serde_json::json!({
                "kind": one.kind, "name": one.name, "file": one.file, "is_own": one.is_own,
                "overrides": one.overrides, "text": one.text,
            }))),
        }
    }
    Ok(0)
}

/// The duties that a cluster's hosts name in the inventory.
fn named_duties(entry: &ClusterEntry) -> impl Iterator<Item = String> {
    fn of(host: &HostEntry) -> Vec<String> {
        let mut names: Vec<String> = [&host.fence, &host.rebuild]
            .into_iter()
            .flatten()
            .map(|fence| fence.duty.clone())
            .collect();
        if let Service::Duties {
            keep_stopped,
            allow_start,
        } = &host.service
        {
            names.extend([keep_stopped.clone(), allow_start.clone()]);
        }
        names
    }
    let of_the_site = entry.site.all().filter_map(|step| match &step.act {
        SiteAct::Duty { name, .. } => Some(name.clone()),
        SiteAct::Run(_) => None,
    });
    entry.hosts.values().flat_map(of).chain(of_the_site)
}

fn say_all(settings: &Settings, directory: Option<&Path>) -> Result<u8, Trouble> {
    let mut findings = Vec::new();
    let mut linted: Vec<Option<PathBuf>> = Vec::new();
    let mut called: Option<BTreeSet<String>> = None;
    if settings.inventory.exists() {
        let inventory = setting::inventory(settings)?;
        called = Some(inventory.clusters.iter().flat_map(named_duties).collect());
        if directory.is_none() {
            for entry in setting::clusters(settings, &inventory, None)? {
                if !linted.contains(&entry.playbooks) {
                    linted.push(entry.playbooks.clone());
                }
            }
        }
    }
    match directory {
        Some(directory) => linted.push(Some(directory.to_owned())),
        None if linted.is_empty() => linted.push(None),
        None => {}
    }
    for directory in &linted {
        match lint(directory.as_deref(), called.as_ref()) {
            Ok(found) => findings.extend(found),
            Err(unread) => return Err(unreadable(&unread)),
        }
    }
    match settings.output {
        Output::Json => out(&setting::json(&serde_json::json!({ "findings": findings }))),
        Output::Text => {
            // In the order of the files: places alone would mix them.
            for file in findings
                .iter()
                .map(|finding| &finding.file)
                .collect::<BTreeSet<_>>()
            {
                let of_file: Vec<Diagnostic> = findings
                    .iter()
                    .filter(|finding| finding.file == *file)
                    .cloned()
                    .collect();
                out(&render_all(&of_file));
            }
            let names = linted.iter().map(|directory| match directory {
                Some(directory) => format!("`{}`", directory.display()),
                None => "the shipped playbooks".to_owned(),
            });
            let names: Vec<String> = names.collect();
            let count = setting::count(findings.len(), "finding");
            out(&format!("{count} in {}", names.join(", ")));
        }
    }
    Ok(if is_wrong(&findings) {
        Kind::Usage.exit_code()
    } else {
        0
    })
}

/// Performs a single duty, by a kept plan where there is one; the exit code says how it ended.
pub(super) async fn perform(
    settings: &Settings,
    inventory: &Inventory,
    entry: &ClusterEntry,
    asked: &DutyArguments,
    lock_wait: Duration,
    expects: Option<Box<Proposal>>,
) -> Result<u8, Trouble> {
    let fleet = setting::fleet(entry).await?;
    let wanted = Wanted::read(entry, fleet.playbook(), asked)?;
    let facts = fleet.look_everywhere().await;
    let (teller, reporting) = setting::telling(settings, &entry.cluster.name);
    let mut performer = setting::performer(settings, inventory, &fleet, teller, lock_wait);
    performer.expects = expects;
    let single = wanted.single(uses_gtid(&facts));
    let performed = performer
        .by_hand(&single, wanted.wish(), |standing| wanted.allowed(entry, standing))
        .await;
    drop(performer);
    setting::all_told(reporting).await;
    let report = performed?;
    match settings.output {
        Output::Json => out(&setting::json(&as_json(&asked.at, &report))),
        Output::Text => words(&report),
    }
    let what = format!("duty `{}` at `{}`", asked.duty, asked.at);
    match &report.outcome {
        DutyOutcome::Done => Ok(0),
        DutyOutcome::Failed { .. } | DutyOutcome::Expired { .. } => Err(Trouble::new(
            Kind::Wrong,
            format!("{what} failed"),
            describe(&report),
        )
        .hint("what its earlier steps did stays done; `mmm playbook show` says what takes it back")),
        DutyOutcome::Unknown { .. } => Err(Trouble::new(
            Kind::Stuck,
            format!("whether {what} was performed is not known"),
            describe(&report),
        )
        .hint("`mmm show` names the run; `mmm resume RUN` makes sure that nothing of it is left, and performs it again")),
    }
}

/// How a duty went, for programs: times in milliseconds.
pub(super) fn as_json(at: &str, report: &DutyReport) -> serde_json::Value {
    let ms = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    let steps = report.steps.iter().map(|step| {
        serde_json::json!({
            "name": step.name, "outcome": step.outcome, "took_ms": ms(step.took), "output": step.output,
        })
    });
    serde_json::json!({
        "duty": report.duty,
        "at": at,
        "outcome": report.outcome,
        "steps": steps.collect::<Vec<_>>(),
        "registered": report.registered,
        "took_ms": ms(report.took),
    })
}

fn ended(outcome: StepOutcome) -> &'static str {
    match outcome {
        StepOutcome::Done => "DONE",
        StepOutcome::Already => "ALREADY",
        StepOutcome::Failed => "FAILED",
        StepOutcome::Expired => "TOO LATE",
        StepOutcome::Unknown => "UNKNOWN",
    }
}

fn words(report: &DutyReport) {
    for step in &report.steps {
        talk(&format!("{:>10} {}", ended(step.outcome), step.name));
    }
    for (name, value) in &report.registered {
        out(&format!("{name}: {}", value.trim_end()));
    }
}
