//! What mmm tells and writes down, read as a stranger would: `show --output json`, and the journals of its runs.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::inventory::CLUSTER;
use crate::lab::Lab;

/// What `show` says of a replaced writer that has been met, and not yet compared.
const COMPARED: &str = " is back and being compared with the writer";
/// Why that comes to nothing where its disk has forgotten what it had called safe.
const CUT: &str = "the log was cut by a crash or reset";

/// What `mmm show` tells of the lab's cluster, as far as a scenario looks at it.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct View {
    pub monitored: bool,
    pub rule: String,
    pub writer: Option<String>,
    pub warnings: Vec<Warning>,
    pub hosts: Vec<HostView>,
}

/// Something wrong, and what lifts it.
#[derive(Clone, Debug, Deserialize)]
pub struct Warning {
    pub what: String,
    pub hint: String,
}

#[derive(Clone, Debug, Deserialize)]
pub struct HostView {
    pub name: String,
    pub state: String,
}

impl View {
    /// Asks `mmm show`.
    pub fn of(lab: &Lab) -> Result<View> {
        let output = lab.box_().mmm(["show", "--output", "json"])?;
        let mut told: serde_json::Value = serde_json::from_str(&output.stdout)
            .with_context(|| format!("`mmm show` says: {}{}", output.stdout, output.stderr))?;
        serde_json::from_value(told["clusters"][0].take()).context("`mmm show` tells of no cluster")
    }

    pub fn is_well(&self) -> bool {
        self.monitored
            && self.rule == "R03"
            && self.warnings.is_empty()
            && self.hosts.iter().all(|host| host.state == "ONLINE")
    }

    pub fn warns(&self, words: &str) -> bool {
        self.warnings.iter().any(|warning| warning.what.contains(words))
    }

    /// The rule that holds a failover back.
    pub fn guard(&self) -> Option<&str> {
        let found = self
            .warnings
            .iter()
            .find(|warning| warning.what.contains(" holds failover back"));
        found.and_then(|warning| warning.what.split(' ').next())
    }

    /// The transactions for which a host is kept out.
    pub fn surplus_of(&self, name: &str) -> Option<&str> {
        let words = format!("{name} is kept out: it has transactions that the writer has not: ");
        self.warnings
            .iter()
            .find_map(|warning| warning.what.strip_prefix(&words))
    }

    /// A replaced writer that has not been met, or not been compared yet.
    pub fn awaits_a_return(&self) -> bool {
        let awaits = |what: &str| {
            what.contains("it has not been met since") || what.contains(COMPARED) && !what.contains(CUT)
        };
        self.warnings.iter().any(|warning| awaits(&warning.what))
    }

    /// A replaced writer whose log has lost what the new one received of it, so that they cannot be compared.
    pub fn log_is_cut(&self, name: &str) -> bool {
        let is_told = |what: &str| what.starts_with(&format!("{name}{COMPARED}")) && what.contains(CUT);
        self.warnings.iter().any(|warning| is_told(&warning.what))
    }

    pub fn is_online(&self, name: &str) -> bool {
        self.hosts
            .iter()
            .any(|host| host.name == name && host.state == "ONLINE")
    }
}

/// A run, as its journal tells it.
#[derive(Clone, Debug)]
pub struct Told {
    pub operation: String,
    pub rung: Option<String>,
    /// The last stage that was begun, counted from 0.
    pub began: Option<usize>,
    /// `done`, `undone` or `stuck`; none while it is under way.
    pub ending: Option<String>,
    /// How many transactions the run had lost at least, as told right after it; none when that was not told, or not known.
    pub lost_at_least: Option<u64>,
    /// How many it had lost exactly, as told once the old writer was back.
    pub lost_exactly: Option<u64>,
}

/// The newest failover that came to its end.
pub fn failover(lab: &Lab) -> Result<Option<Told>> {
    let mut runs = runs(lab)?;
    runs.retain(|run| run.operation == "failover" && run.ending.as_deref() == Some("done"));
    Ok(runs.pop())
}

/// How many transactions a line of a journal says are lost.
fn lost(line: &serde_json::Value) -> Option<u64> {
    let found = line.get("found")?;
    if found == "nothing" {
        return Some(0);
    }
    let ranges = found.get("extra")?.get("mariadb")?.as_array()?;
    ranges.iter().try_fold(0, |sum, range| {
        Some(sum + range.get("to")?.as_u64()? - range.get("from")?.as_u64()? + 1)
    })
}

/// Every run that moved, or was to move, the writer on this box, the oldest first.
pub fn runs(lab: &Lab) -> Result<Vec<Told>> {
    let folder = lab.box_().path(&format!("/var/lib/mmm/{CLUSTER}/runs"))?;
    let Ok(listed) = fs::read_dir(folder) else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for entry in listed {
        let path = entry?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let moves = ["switchover-", "failover-", "reopen-"];
        if !moves.iter().any(|operation| name.starts_with(operation)) {
            continue;
        }
        let text = fs::read_to_string(&path)?;
        let lines = || {
            text.lines()
                .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        };
        let Some(open) = lines().find_map(|mut line| line.get_mut("open").map(serde_json::Value::take))
        else {
            continue;
        };
        let began = lines()
            .filter_map(|line| line.get("step")?.get("doing")?.as_u64())
            .next_back();
        let losses = |exact: bool| {
            let told = lines().filter_map(move |mut line| line.get_mut("lost").map(serde_json::Value::take));
            told.filter(move |loss| loss["is_exact"] == exact)
        };
        let ending = lines().find_map(|line| line.get("end")?.as_object()?.keys().next().cloned());
        found.push((
            name.split_once('-').map(|(_, stamp)| stamp.to_owned()),
            Told {
                operation: open["operation"].as_str().unwrap_or_default().to_owned(),
                rung: open["rung"].as_str().map(str::to_owned),
                began: began.and_then(|stage| usize::try_from(stage).ok()),
                ending,
                lost_at_least: losses(false).next().and_then(|loss| lost(&loss)),
                lost_exactly: losses(true).next_back().and_then(|loss| lost(&loss)),
            },
        ));
    }
    found.sort_by(|one, other| one.0.cmp(&other.0));
    Ok(found.into_iter().map(|(_, run)| run).collect())
}

/// The last rule about a writer's death that a text names.
pub fn last_evidence_rule(text: &str) -> Option<String> {
    words(text).rfind(|word| word.starts_with("R2") || word.starts_with("R3"))
}

/// The guards that a text names.
pub fn guards(text: &str) -> BTreeSet<String> {
    words(text).filter(|word| word.starts_with('G')).collect()
}

/// Words like `R27` or `G07`.
fn words(text: &str) -> impl DoubleEndedIterator<Item = String> {
    let is_number = |word: &&str| {
        word.len() == 3 && word.starts_with(['R', 'G']) && word[1..].bytes().all(|byte| byte.is_ascii_digit())
    };
    let separate = |c: char| !c.is_ascii_alphanumeric();
    text.split(separate).filter(is_number).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writer_whose_log_was_cut_is_not_waited_for() {
        let view = |what: &str| View {
            warnings: vec![Warning {
                what: what.to_owned(),
                hint: String::new(),
            }],
            ..View::default()
        };
        let comparing =
            view("db1 is back and being compared with the writer; the last try came to nothing: no answer");
        assert!(comparing.awaits_a_return() && !comparing.log_is_cut("db1"));
        let cut = view(
            "db1 is back and being compared with the writer; the last try came to nothing: its own log ends at `0-1-5` \
             but the writer holds its `0-1-6`: the log was cut by a crash or reset",
        );
        assert!(!cut.awaits_a_return() && cut.log_is_cut("db1") && !cut.log_is_cut("db2"));
    }

    #[test]
    fn losses_are_counted_as_journals_have_them() {
        let line = |found: &str| lost(&serde_json::from_str(&format!("{{\"found\":{found}}}")).unwrap());
        let range = r#"{"domain":0,"server":1,"from":103,"to":105}"#;
        assert_eq!(
            line(&format!(r#"{{"extra":{{"mariadb":[{range},{range}]}}}}"#)),
            Some(6)
        );
        assert_eq!(line("\"nothing\""), Some(0));
        assert_eq!(line(r#"{"unknown":"nobody looked"}"#), None);
    }

    #[test]
    fn rules_are_found_among_other_words() {
        let text = "warn test_mmm: R06 the writer failed\nR27: db1: silent; R3x, XR28";
        assert_eq!(last_evidence_rule(text).as_deref(), Some("R27"));
        assert_eq!(
            guards("refused: G07, G7 and G123")
                .into_iter()
                .collect::<Vec<_>>(),
            ["G07"]
        );
    }
}
