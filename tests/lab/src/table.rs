//! `cargo lab faults`: plays the scenarios of the table of faults, one lab after the other, and writes the table.

use std::fmt::Write as _;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use lab::faults::{Policy, Row, SCENES, Scenario, markdown, play};
use lab::machine;
use lab::progress::Progress;

use crate::built;

/// Which scenarios, and where the table goes.
#[derive(clap::Args)]
pub struct FaultsArgs {
    /// Only these; `NAME/POLICY` plays one row of it.
    names: Vec<String>,
    /// List the scenarios and their policies instead.
    #[arg(long)]
    list: bool,
    /// Write the table to this file, too, after each row.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Show what the monitor said in each row, not only in those that are wrong.
    #[arg(long)]
    chatter: bool,
}

impl FaultsArgs {
    /// Plays them; the exit code is a failure as soon as one row is not as expected.
    pub fn run(self) -> Result<ExitCode> {
        let rows = self.chosen()?;
        if self.list {
            say(&list(&rows))?;
            return Ok(ExitCode::SUCCESS);
        }
        let progress = Progress::Lines;
        machine::prepare(&progress)?;
        let mmm = built::mmm()?;
        let mut table = Vec::new();
        for (number, (scenario, policy)) in rows.iter().enumerate() {
            let started = Instant::now();
            progress.note(&format!(
                "{}/{}: {}/{policy}",
                number + 1,
                rows.len(),
                scenario.name
            ));
            let mut said = String::new();
            let row = play(scenario, *policy, &mmm, &mut said).unwrap_or_else(|error| Row {
                wrong: vec![format!("it could not be played: {error:#}")],
                ..Row::of(scenario, *policy)
            });
            if self.chatter || !row.is_right() {
                say(&said)?;
            }
            say(markdown(std::slice::from_ref(&row))
                .lines()
                .last()
                .unwrap_or_default())?;
            progress.done(&format!("{}/{policy} is played", scenario.name), started);
            table.push(row);
            if let Some(out) = &self.out {
                fs::write(out, markdown(&table))
                    .with_context(|| format!("cannot write `{}`", out.display()))?;
            }
        }
        say(&format!("\n{}", markdown(&table)))?;
        let wrong = table.iter().filter(|row| !row.is_right()).count();
        say(&format!("{} rows, {wrong} not as expected", table.len()))?;
        Ok(if wrong == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }

    /// The rows asked for, in the table's order.
    fn chosen(&self) -> Result<Vec<(&'static Scenario, Policy)>> {
        let all = || {
            SCENES
                .iter()
                .flat_map(|scenario| scenario.under.iter().map(move |policy| (scenario, *policy)))
        };
        let is_meant = |name: &str, scenario: &Scenario, policy: Policy| {
            name == scenario.name || name == format!("{}/{policy}", scenario.name)
        };
        for name in &self.names {
            if !all().any(|(scenario, policy)| is_meant(name, scenario, policy)) {
                bail!(
                    "no scenario is called `{name}`; there are:\n{}",
                    list(&all().collect::<Vec<_>>())
                );
            }
        }
        let wanted = |(scenario, policy): &(&'static Scenario, Policy)| {
            self.names.is_empty() || self.names.iter().any(|name| is_meant(name, scenario, *policy))
        };
        Ok(all().filter(wanted).collect())
    }
}

fn list(rows: &[(&Scenario, Policy)]) -> String {
    let mut text = String::new();
    for (scenario, policy) in rows {
        // Writing to a string never fails.
        let _always = writeln!(
            text,
            "  {:32} {}",
            format!("{}/{policy}", scenario.name),
            scenario.says
        );
    }
    text
}

fn say(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")
        .and_then(|()| out.flush())
        .context("cannot write to standard output")
}
