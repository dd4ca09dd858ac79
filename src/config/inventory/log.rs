//! The section `monitor.log`: where a monitor's log goes, in which form, and how much of it.

use std::path::PathBuf;

use tracing::Level;

use super::reader::{Given, Reader, Section};
use super::resolved::Log;
use super::tree::Node;
use crate::config::diagnostic::closest;

/// The words for levels, the loudest first.
const LEVELS: [(&str, Level); 5] = [
    ("error", Level::ERROR),
    ("warn", Level::WARN),
    ("info", Level::INFO),
    ("debug", Level::DEBUG),
    ("trace", Level::TRACE),
];

/// What the section says.
#[derive(Debug, Default)]
pub struct Said {
    /// A file; stderr otherwise.
    file: Option<PathBuf>,
    json: Option<Given<bool>>,
    level: Option<Given<Level>>,
    clusters: Vec<(Given<String>, Given<Level>)>,
}

/// Reads the section.
pub fn read(r: &mut Reader<'_>, mut section: Section<'_>) -> Said {
    let file = section.get("to").and_then(|node| file(r, node));
    let json = section
        .get("format")
        .and_then(|node| r.choice(node, &[("text", false), ("json", true)]));
    let level = section.get("level").and_then(|node| r.choice(node, &LEVELS));
    let mut clusters = Vec::new();
    if let Some(levels) = r.section(&mut section, "clusters") {
        for entry in levels.entries() {
            if let Some(level) = r.choice(&entry.value, &LEVELS) {
                let name = Given {
                    value: entry.key.clone(),
                    span: entry.key_span.clone(),
                };
                clusters.push((name, level));
            }
        }
    }
    r.close(section);
    Said {
        file,
        json,
        level,
        clusters,
    }
}

/// `stderr`, or a file. A word without a slash is taken for a slip, not for a file beside the inventory.
fn file(r: &mut Reader<'_>, node: &Node) -> Option<PathBuf> {
    let text = r.text(node)?;
    if text.value == "stderr" {
        return None;
    }
    if !text.value.contains('/') {
        r.error(
            &text.span,
            format!("`{}` is no place for a log", text.value),
            "a log goes to `stderr` or to a file",
            "write `stderr`, or a path such as `/var/log/mmm/monitor.log`",
        );
        return None;
    }
    r.path(node).map(|path| path.value)
}

/// Every level must be of a cluster that exists.
pub fn check(r: &mut Reader<'_>, said: &Said, clusters: &[&str]) {
    for (name, _) in &said.clusters {
        if clusters.contains(&name.value.as_str()) {
            continue;
        }
        let hint = closest(&name.value, clusters.iter().copied()).map_or_else(
            || "name a cluster of this inventory".to_owned(),
            |near| format!("did you mean `{near}`?"),
        );
        r.error(
            &name.span,
            format!("there is no cluster `{}`", name.value),
            "a level is given for a cluster that is described under `clusters`",
            hint,
        );
    }
}

/// Fills in the defaults.
pub fn resolve(said: &Said) -> Log {
    Log {
        file: said.file.clone(),
        json: said.json.as_ref().is_some_and(|given| given.value),
        level: said.level.as_ref().map_or(Level::INFO, |given| given.value),
        clusters: said
            .clusters
            .iter()
            .map(|(name, level)| (name.value.clone(), level.value))
            .collect(),
    }
}
