//! `mmm plan switchover|failover`: every step as it would run now, secrets masked, nothing touched.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use super::args::{PlanArguments, Planned, Settings};
use super::setting;
use crate::config::{duration, template};
use crate::core::election::Barred;
use crate::core::evidence::Rung;
use crate::core::guard::{self, Guard};
use crate::core::losses::{self, Outlook, Seen};
use crate::core::plan::Seats;
use crate::core::playbook::Section;
use crate::core::run::Stage;
use crate::core::script::{Act, Script, ScriptStep};
use crate::core::trouble::{Kind, Trouble};
use crate::io::clock;
use crate::io::context::Errands;
use crate::io::fleet::Fleet;
use crate::io::journal::Opening;
use crate::io::operation::Prepared;
use crate::io::standing::StateDir;
use crate::report;
use crate::report::reporter::{Output, out};

/// Prints the plan; 4 when the guards would refuse it now.
pub async fn run(settings: &Settings, what: &PlanArguments) -> Result<u8, Trouble> {
    let inventory = setting::inventory(settings)?;
    let entry = setting::cluster(settings, &inventory, what.name.as_deref())?;
    let cluster = &entry.cluster;
    let fleet = setting::fleet(entry).await?;
    let mut standing = StateDir::of(&inventory.monitor.state_dir, &cluster.name).load()?;
    let facts = fleet.look_everywhere().await;
    if standing.writer.is_none() {
        standing.writer = guard::observed_writer(cluster, &facts);
        if what.operation == Planned::Failover && standing.writer.is_none() {
            standing.writer = guard::holder_of_writer_address(cluster, &facts);
        }
    }
    let incoming = guard::target(cluster, &standing, &facts, what.to.as_deref())?;
    let Some(outgoing) = standing.writer.clone().filter(|writer| *writer != incoming) else {
        return Err(Trouble::refused(
            Guard::G14,
            "there is nothing to plan",
            format!("`{incoming}` is the writer already, or no writer is known"),
        ));
    };
    let (name, rung, refusal) = match what.operation {
        Planned::Switchover => (
            "switchover",
            None,
            guard::switchover(cluster, &standing, &facts, &outgoing, &incoming).err(),
        ),
        Planned::Failover => {
            let accepted = what.allow_loss.then(|| losses::as_if_applied(&facts, &incoming));
            let judged = accepted.as_ref().unwrap_or(&facts);
            let refusal = guard::failover(cluster, &standing, judged, Some(&outgoing), &incoming).err();
            ("failover", Some(Rung::Demote), refusal)
        }
    };
    let (teller, reporting) = setting::telling(settings, &cluster.name);
    let performer = setting::performer(settings, &inventory, &fleet, teller, Duration::ZERO);
    let outlook = match what.operation {
        Planned::Switchover => Outlook::default(),
        Planned::Failover => {
            // A writer that answers is asked itself; otherwise the last monitor may have seen it.
            let seen = match facts.get(&outgoing).and_then(|facts| facts.mysql.up()) {
                Some(mysql) => Some(Seen::of(&outgoing, clock::now(), mysql)),
                None => performer.seen_by_monitor(),
            };
            losses::outlook(
                cluster,
                &standing,
                &facts,
                Some(&outgoing),
                &incoming,
                seen.as_ref(),
            )
        }
    };
    let strayed = outlook.strayed.clone().filter(|_| !what.allow_loss);
    let refusal = refusal.or_else(|| {
        let what = format!("failover of `{}` to `{incoming}` was not begun", cluster.name);
        strayed.map(|last| Barred::Strayed(last).refusal(what, &incoming))
    });
    let notes = outlook.sentences(Some(&outgoing), &incoming);
    let replicas = cluster
        .hosts
        .iter()
        .map(|host| host.name.clone())
        .filter(|host| *host != outgoing && *host != incoming && !standing.owed.contains_key(host))
        .filter(|host| !standing.offline.contains_key(host))
        .filter(|host| outlook.apart.iter().all(|ahead| ahead.host != *host))
        .collect();
    let seats = Seats {
        outgoing: Some(outgoing),
        incoming: Some(incoming),
        replicas,
        donor: outlook.donor.as_ref().map(|donor| donor.host.clone()),
    };
    let operation = performer.operation(name)?;
    let prepared = performer.prepare(operation, &seats, rung, &facts, standing.events, what.allow_loss)?;
    let scripts = render(&fleet, &prepared).await?;
    let site = &entry.site;
    drop(performer);
    setting::all_told(reporting).await;
    match settings.output {
        Output::Text => {
            let planned = text(&prepared, &scripts, &notes, refusal.as_ref());
            out(&format!(
                "{planned}{}",
                report::site::planned(site, &prepared.opening.operation)
            ));
        }
        Output::Json => {
            let mut told = as_json(&prepared, &scripts, refusal.as_ref());
            told["site_steps"] = report::site::as_json(site, &prepared.opening.operation);
            told["transactions"] = json!({ "outlook": outlook, "sentences": notes });
            out(&setting::json(&told));
        }
    }
    Ok(if refusal.is_some() {
        Kind::Refused.exit_code()
    } else {
        0
    })
}

/// The script of each stage, as its first host would run it.
async fn render(fleet: &Fleet, prepared: &Prepared) -> Result<Vec<Option<Script>>, Trouble> {
    // What earlier stages will register is only known at that moment; its name stands in its place.
    let names = fleet
        .playbook()
        .duties
        .values()
        .flat_map(|duty| &duty.steps)
        .flat_map(|step| step.register.names());
    let registered: BTreeMap<String, String> = names
        .map(|name| (name.to_owned(), template::not_known_yet(name)))
        .collect();
    let mut scripts = Vec::new();
    for stage in &prepared.opening.stages {
        let Some(host) = stage.hosts.first() else {
            scripts.push(None);
            continue;
        };
        let errand = Errands {
            address: prepared.address,
            source: stage.source.as_ref(),
            registered: Some(&registered),
            with: Some(&stage.with),
            gtid: prepared.gtid,
            environment: None,
            old: None,
        };
        scripts.push(Some(fleet.ready(host, &stage.duty, &errand, stage.within).await?));
    }
    Ok(scripts)
}

fn text(
    prepared: &Prepared,
    scripts: &[Option<Script>],
    notes: &[String],
    refusal: Option<&Trouble>,
) -> String {
    let opening = &prepared.opening;
    let name = |host: &Option<crate::core::cluster::HostName>| {
        host.as_ref().map(ToString::to_string).unwrap_or_default()
    };
    let mut text = format!(
        "{}: {} → {}\nnothing is changed by this command\n",
        opening.operation,
        name(&opening.outgoing),
        name(&opening.incoming)
    );
    let mut section = None;
    for (number, (stage, script)) in opening.stages.iter().zip(scripts).enumerate() {
        if section != Some(stage.section) {
            section = Some(stage.section);
            text.push_str(&format!("\n  {:<9} {}\n", stage.section, meaning(stage.section)));
        }
        text.push_str(&stage_text(number, stage, script.as_ref()));
    }
    if opening.rung.is_none() {
        text.push_str(&format!(
            "\nwrites are refused for at most {}\n",
            duration::format(refused_at_most(opening))
        ));
    }
    if !notes.is_empty() {
        text.push_str(&format!("\ntransactions: {}\n", notes.join("\n              ")));
    }
    if let Some(refusal) = refusal {
        text.push_str(&format!("\nit would be refused now: {}", refusal.reason()));
    }
    text.trim_end().to_owned()
}

fn stage_text(number: usize, stage: &Stage, script: Option<&Script>) -> String {
    let hosts: Vec<&str> = stage.hosts.iter().map(|host| host.as_str()).collect();
    let mut text = format!(
        "  {:>3}  {:<10} {:<44} within {}\n",
        number + 1,
        if hosts.is_empty() {
            "nobody".to_owned()
        } else {
            hosts.join(",")
        },
        stage.name,
        duration::format(stage.within)
    );
    for step in script.iter().flat_map(|script| &script.steps) {
        text.push_str(&step_text(step));
    }
    if let Some(undo) = &stage.undo {
        text.push_str(&format!("            undo    duty `{undo}`\n"));
    }
    text
}

fn step_text(step: &ScriptStep) -> String {
    let mut text = String::new();
    let mut line = |word: &str, command: &str| {
        for (at, part) in command.trim_end().lines().enumerate() {
            text.push_str(&format!(
                "            {:<7} {part}\n",
                if at == 0 { word } else { "" }
            ));
        }
    };
    if let Some(unless) = &step.unless {
        line("unless", &unless.command.to_string());
    }
    match &step.act {
        Act::Perform(command) => line("do", &command.to_string()),
        Act::PerformRows(command) => line("do each", &command.to_string()),
        Act::Start(command) => line("start", &command.to_string()),
        Act::Verify(looking) => line("verify", &looking.command.to_string()),
        Act::SkipIf(looking, steps) => line("unless", &format!("{}   (leaves out {steps})", looking.command)),
        Act::Wait => {}
    }
    if let Some(until) = &step.until {
        line("until", &until.command.to_string());
    }
    text
}

fn meaning(section: Section) -> &'static str {
    match section {
        Section::Prepare => "reversible: a failure here undoes every step, newest first",
        Section::Commit => "forward only",
        Section::Secure => "must come true: retried, otherwise the run is stuck",
        Section::Finish => "best effort: reported, changes nothing above",
    }
}

/// From the first step that refuses writes to the end of the commit. What takes longer than it may is given up before the
/// commit, whose own time comes on top.
fn refused_at_most(opening: &Opening) -> Duration {
    let window = opening
        .stages
        .iter()
        .skip_while(|stage| stage.duty != "deny-writes")
        .take_while(|stage| stage.section <= Section::Commit);
    let (commit, before): (Vec<_>, Vec<_>) = window.partition(|stage| stage.section == Section::Commit);
    let sum = |stages: Vec<&Stage>| stages.into_iter().map(|stage| stage.within).sum::<Duration>();
    let before = sum(before);
    let longest = opening.write_refused_max.unwrap_or(before);
    before.min(longest) + sum(commit)
}

fn as_json(prepared: &Prepared, scripts: &[Option<Script>], refusal: Option<&Trouble>) -> serde_json::Value {
    let stages: Vec<serde_json::Value> = prepared
        .opening
        .stages
        .iter()
        .zip(scripts)
        .map(|(stage, script)| {
            let steps: Vec<serde_json::Value> = script
                .iter()
                .flat_map(|script| &script.steps)
                .map(|step| json!({ "name": step.name, "text": step_text(step) }))
                .collect();
            json!({
                "section": stage.section, "name": stage.name, "hosts": stage.hosts, "duty": stage.duty,
                "within_ms": stage.within.as_millis(), "undo": stage.undo, "steps": steps,
            })
        })
        .collect();
    json!({
        "operation": prepared.opening.operation,
        "outgoing": prepared.opening.outgoing,
        "incoming": prepared.opening.incoming,
        "write_refused_at_most_ms": refused_at_most(&prepared.opening).as_millis(),
        "stages": stages,
        "refused_because": refusal.map(|refusal| &refusal.because),
        "guard": refusal.and_then(|refusal| refusal.guard),
    })
}
