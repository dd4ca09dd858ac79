//! What a command was refused for is kept for `mmm show`: perhaps nobody reads what cron's command said.

use std::ffi::OsString;
use std::path::PathBuf;

use super::args::{Arguments, Verb};
use crate::core::refusal::Refusal;
use crate::core::trouble::Trouble;
use crate::io::standing::StateDir;
use crate::io::{clock, inventory, refusals};

/// What was asked for, of which clusters.
pub struct Asked {
    words: String,
    inventory: PathBuf,
    named: Option<String>,
    /// Nothing is kept of what only looks.
    acts: bool,
}

impl Asked {
    /// As it was typed.
    pub fn of(words: &[OsString], arguments: &Arguments) -> Asked {
        let words = words.iter().skip(1).map(|word| word.to_string_lossy());
        Asked {
            words: words.collect::<Vec<_>>().join(" "),
            inventory: arguments.settings.inventory.clone(),
            named: named(&arguments.verb).or_else(|| arguments.settings.cluster.clone()),
            acts: !arguments.verb.only_looks(),
        }
    }

    /// Keeps a refusal for each cluster that the command was about.
    pub fn keep(&self, trouble: &Trouble) {
        let Some(refusal) = Refusal::of(clock::now(), &self.words, trouble).filter(|_| self.acts) else {
            return;
        };
        // Whoever was refused by a guard has an inventory.
        let Ok(inventory) = inventory::load(&self.inventory) else {
            return;
        };
        let names = inventory.clusters.iter().map(|entry| &entry.cluster.name);
        for cluster in names.filter(|name| self.named.as_ref().is_none_or(|named| named == *name)) {
            refusals::keep(&StateDir::of(&inventory.monitor.state_dir, cluster), &refusal);
        }
    }
}

/// The cluster that a verb names itself.
fn named(verb: &Verb) -> Option<String> {
    match verb {
        Verb::Switchover(what) => what.name.clone(),
        Verb::Failover(what) => what.name.clone(),
        Verb::EnsureWriter(what) => what.said().0.map(str::to_owned),
        Verb::SetActive(which) | Verb::SetManual(which) | Verb::SetPassive(which) | Verb::Clear(which) => {
            which.name.clone()
        }
        _ => None,
    }
}
