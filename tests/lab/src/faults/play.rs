//! Plays one scenario under one policy, in a lab of its own, and judges what came of it.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::alone::{self, Alone, Holdings};
use super::scenario::Act;
use super::stage::{ACTS_WITHIN, Stage};
use super::told::{self, Told, View};
use super::{Decided, Expected, Policy, Row, Scenario};
use crate::command::Output;
use crate::host::Host;
use crate::inventory;
use crate::judge::{Expect, Report};
use crate::lab::{Lab, Options};
use crate::load::Load;
use crate::roster::WRITER_ADDRESS;
use crate::wait;
use crate::writer::Writers;

/// Between two looks at what is being decided.
const PAUSE: Duration = Duration::from_millis(500);
/// Whoever wrote last must have been writing for so many rows before all ends.
const ROWS_AT_THE_END: usize = 50;

/// Plays a scenario with this `mmm`. What is not as expected stands in the row; `chatter` gets what mmm said.
///
/// # Errors
/// The lab could not be brought up, or is broken.
pub fn play(scenario: &Scenario, policy: Policy, mmm: &Path, chatter: &mut String) -> Result<Row> {
    let lab = Lab::up(Options::for_test())?;
    lab.install_on_box(mmm)?;
    lab.install_power_duty()?;
    let keys = format!("{}{}", policy.keys(), scenario.keys);
    lab.write_inventory(&inventory::yaml_with(&keys))?;
    let stage = Stage::set(&lab)?;
    let mut row = Row::of(scenario, policy);
    let expected = (scenario.expect)(policy);
    let outcome = perform(&stage, scenario, &expected, &mut row);
    stage.end_all();
    *chatter = stage.chatter();
    if let Err(error) = outcome {
        row.wrong.push(format!("{error:#}"));
    }
    Ok(row)
}

/// What the fault led to, and what was seen on the way.
struct Seen {
    decided: Decided,
    by: String,
    rung: Option<String>,
    /// What `show` told while the fault lasted.
    view: View,
}

fn perform(stage: &Stage<'_>, scenario: &Scenario, expected: &Expected, row: &mut Row) -> Result<()> {
    let lab = stage.lab;
    (scenario.prepare)(stage).context("preparing")?;
    let load = lab.start_load(Writers::default())?;
    let before = stage.said().len();
    let struck = Instant::now();
    (scenario.strike)(stage).context("striking")?;
    let seen = match scenario.act {
        Act::Watch => watched(stage, before, struck, scenario.lasts)?,
        Act::Switchover => switched(stage, &lab.box_().mmm(["switchover", "--to", "db2"])?)?,
        Act::SwitchoverCutAt(step) => switched(stage, &stage.switch_cut_at(step)?)?,
    };
    row.decided = seen.decided.to_string();
    row.by.clone_from(&seen.by);
    row.rung = seen.rung.clone().unwrap_or_else(|| "—".to_owned());
    if !expected.decided.contains(&seen.decided) {
        row.wrong.push(format!("expected {:?}", expected.decided));
    }
    if !expected.by.is_empty() && !expected.by.iter().any(|by| seen.by.contains(by)) {
        row.wrong
            .push(format!("expected by {}", expected.by.join(" or ")));
    }
    if !seen.view.warns(expected.says) && !expected.says.is_empty() {
        row.wrong.push(format!(
            "`show` does not say `{}`: {:?}",
            expected.says, seen.view.warnings
        ));
    }
    for warning in seen
        .view
        .warnings
        .iter()
        .filter(|warning| warning.what.contains(" holds "))
    {
        if warning.hint.is_empty() {
            row.wrong
                .push(format!("`show` says nothing that lifts `{}`", warning.what));
        }
    }
    stage.until_it_lasted(struck, scenario.lasts)?;
    (scenario.relieve)(stage).context("relieving")?;
    stage.end_all();
    let calm = comes_to_order(stage, &load)?;
    let took_over = calm.writer.as_deref() == Some("db2");
    judge(stage, load, &calm, took_over, expected, row)
}

/// Waits until the monitor has decided: a run has ended, or nothing has been done for as long as the fault lasts.
fn watched(stage: &Stage<'_>, before: usize, struck: Instant, lasts: Duration) -> Result<Seen> {
    wait::until_some(ACTS_WITHIN.max(lasts * 2), "a decision", || {
        std::thread::sleep(PAUSE);
        let runs = told::runs(stage.lab)?;
        let view = View::of(stage.lab)?;
        let said = stage.said();
        let rule = told::last_evidence_rule(said.get(before..).unwrap_or_default());
        if let Some(run) = runs.last().filter(|run| run.ending.is_some())
            && let Some(decided) = ended(run)
        {
            let by = if decided == Decided::Reopened {
                Some("R08".to_owned())
            } else {
                rule
            };
            return Ok(Some(Seen {
                decided,
                by: by.unwrap_or_else(|| view.rule.clone()),
                rung: run.rung.clone(),
                view,
            }));
        }
        let is_at_work =
            ["R05", "R06", "R08", "R10", "R16"].contains(&view.rule.as_str()) && view.guard().is_none();
        let is_open = runs.last().is_some_and(|run| run.ending.is_none());
        if struck.elapsed() < lasts || is_at_work || is_open {
            return Ok(None);
        }
        let held = view
            .guard()
            .map(str::to_owned)
            .or_else(|| (view.rule == "R07").then(|| view.rule.clone()));
        Ok(Some(Seen {
            decided: if held.is_some() {
                Decided::Held
            } else {
                Decided::Stays
            },
            by: held.unwrap_or_else(|| view.rule.clone()),
            rung: None,
            view,
        }))
    })
    .with_context(|| format!("the monitor said: {}", stage.said()))
}

/// What a run of the monitor has decided, once it has ended well; one that was undone is tried again.
fn ended(run: &Told) -> Option<Decided> {
    match (run.ending.as_deref()?, run.operation.as_str()) {
        ("done", "failover") => Some(Decided::Replaced),
        ("done", "reopen") => Some(Decided::Reopened),
        ("done", _) => Some(Decided::Moved),
        ("stuck", _) => Some(Decided::Stuck),
        _ => None,
    }
}

/// How a planned move ended, and what stood in its way.
fn switched(stage: &Stage<'_>, output: &Output) -> Result<Seen> {
    stage.saw(output);
    let decided = match output.code {
        0 => Decided::Moved,
        4 => Decided::Refused,
        5 => Decided::Undone,
        6 => Decided::Stuck,
        code => anyhow::bail!(
            "`mmm switchover` ended with {code}: {}{}",
            output.stdout,
            output.stderr
        ),
    };
    let text = format!("{}\n{}", output.stdout, output.stderr);
    let because = || {
        let line = text
            .lines()
            .find_map(|line| line.trim().strip_prefix("because: "));
        line.unwrap_or("—").chars().take(120).collect::<String>()
    };
    let guards: Vec<String> = told::guards(&text).into_iter().collect();
    let by = match (decided, guards.as_slice()) {
        (Decided::Moved, _) => "—".to_owned(),
        (_, []) => because(),
        (_, guards) => format!("{}: {}", guards.join(", "), because()),
    };
    Ok(Seen {
        decided,
        by,
        rung: None,
        view: View::of(stage.lab)?,
    })
}

/// After the fault: one writer with its address, rows flow, whoever was replaced has been compared, and whatever is not
/// well is named.
fn comes_to_order(stage: &Stage<'_>, load: &Load<'_>) -> Result<View> {
    let lab = stage.lab;
    let calm = wait::until_some(ACTS_WITHIN, "the cluster to come to order", || {
        std::thread::sleep(PAUSE);
        let view = View::of(lab)?;
        let writer = view.writer.clone().context("no writer is known")?;
        let is_one =
            lab.writable_hosts() == [writer.as_str()] && lab.who_has(WRITER_ADDRESS)? == [writer.as_str()];
        let is_named = |host: &told::HostView| {
            host.state == "ONLINE" || view.surplus_of(&host.name).is_some() || view.log_is_cut(&host.name)
        };
        let is_calm = ["R03", "R04"].contains(&view.rule.as_str()) && !view.awaits_a_return();
        let everybody =
            view.hosts.iter().all(is_named) || view.warns("kept out") || view.warns("does not follow");
        if is_one && is_calm && everybody {
            return Ok(Some(view));
        }
        anyhow::bail!("writable: {:?}, shown: {view:?}", lab.writable_hosts())
    })?;
    let writer = calm.writer.clone().unwrap_or_default();
    // A server whose disk was full looks again once a minute.
    load.until_acknowledged(&writer, ROWS_AT_THE_END, ACTS_WITHIN)?;
    Ok(calm)
}

/// What the judges say.
fn judge(
    stage: &Stage<'_>,
    load: Load<'_>,
    calm: &View,
    took_over: bool,
    expected: &Expected,
    row: &mut Row,
) -> Result<()> {
    let lab = stage.lab;
    let writer = calm.writer.clone().unwrap_or_default();
    // Whoever has something extra and is named for it is no witness.
    let is_named = |name: &str| calm.warns(&format!("{name} does not follow the writer"));
    let sound: Vec<&Host> = lab
        .databases()
        .filter(|host| host.name() == writer || calm.is_online(host.name()) && !is_named(host.name()))
        .collect();
    let report = load.stop_and_judge(
        &sound,
        Expect {
            handovers: usize::from(took_over),
            idle_within: None,
            blind_at_most: Duration::from_secs(600),
            ..Expect::default()
        },
    )?;
    row.longest_gap_ms = Some(report.longest_gap_ms);
    row.lost = Some(report.lost());
    row.overlap_ms = Some(
        report
            .windows
            .touching
            .iter()
            .map(|touch| touch.for_ms)
            .fold(0.0, f64::max),
    );
    let reckoned = reckon(lab, calm, took_over, expected, row)?;
    told(lab, &reckoned, row)?;
    let named = reckoned.named;
    if (report.lost() as u64) > named {
        row.wrong
            .push(format!("{} rows are lost and {named} are named", report.lost()));
    }
    if !took_over && report.lost() > 0 {
        row.wrong
            .push(format!("{} rows are lost, and nobody took over", report.lost()));
    }
    row.wrong.extend(violations(&report, expected));
    Ok(())
}

/// What mmm says of those that the writer cannot go together with.
#[derive(Default)]
struct Reckoned {
    /// Transactions that it names.
    named: u64,
    /// The log of one is cut, so that nobody can tell what it had.
    is_cut: bool,
}

/// Compares what mmm names with what the old writer, and whoever else is named, has alone by its own log and table.
fn reckon(lab: &Lab, calm: &View, took_over: bool, expected: &Expected, row: &mut Row) -> Result<Reckoned> {
    let view = View::of(lab)?;
    let writer = calm.writer.as_deref().unwrap_or_default();
    let is_compared =
        |name: &str| view.surplus_of(name).is_some() || calm.log_is_cut(name) || took_over && name == "db1";
    let others = lab.databases().filter(|host| host.name() != writer);
    let compared: Vec<&Host> = others.filter(|host| is_compared(host.name())).collect();
    row.named = "0".to_owned();
    let mut reckoned = Reckoned::default();
    if compared.is_empty() {
        return Ok(reckoned);
    }
    let held = Holdings::of(lab.host(writer)?)?;
    let mut cells = Vec::new();
    for host in compared {
        let name = host.name();
        let named = view.surplus_of(name).map(alone::named).transpose()?;
        let (named, is_cut) = (named.unwrap_or_default(), calm.log_is_cut(name));
        let alone = Alone::of(&Holdings::of(host)?, &held);
        row.wrong
            .extend(alone.objections(name, &named, is_cut, expected.disk_fails));
        reckoned.named += named.len() as u64;
        reckoned.is_cut |= is_cut;
        if alone != Alone::default() || !named.is_empty() {
            cells.push(alone.cell(named.len()));
        }
    }
    if !cells.is_empty() {
        row.named = cells.join(" and ");
    }
    Ok(reckoned)
}

/// After a failover mmm tells at once how much is lost at least, and exactly once the old writer is back, unless its log
/// does not tell it any more.
fn told(lab: &Lab, reckoned: &Reckoned, row: &mut Row) -> Result<()> {
    row.told = "—".to_owned();
    let Some(failover) = told::failover(lab)? else {
        return Ok(());
    };
    match failover.lost_at_least {
        Some(least) => {
            row.told = least.to_string();
            if least > reckoned.named {
                row.wrong.push(format!(
                    "at least {least} were told to be lost, and {} are",
                    reckoned.named
                ));
            }
        }
        None => row
            .wrong
            .push("nothing was told right after the failover of what it lost".to_owned()),
    }
    let exactly = (!reckoned.is_cut).then_some(reckoned.named);
    if failover.lost_exactly != exactly {
        row.wrong.push(format!(
            "{:?} are written down as lost exactly, and {exactly:?} are named",
            failover.lost_exactly
        ));
    }
    Ok(())
}

/// What must never be, whatever was decided.
fn violations(report: &Report, expected: &Expected) -> Vec<String> {
    use crate::judge::Violation;
    let counts = |violation: &&Violation| match violation {
        // Counted by the row's own columns.
        Violation::Missing(..) | Violation::NoSamples { .. } => false,
        Violation::WritableTogether(_) | Violation::AcknowledgedByTwo { .. } => !expected.price,
        _ => true,
    };
    report
        .violations
        .iter()
        .filter(counts)
        .map(ToString::to_string)
        .collect()
}
