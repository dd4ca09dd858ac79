//! Reads the commands that tell people what happens: `notify` in the inventory.

use std::collections::BTreeSet;

use super::reader::{Reader, Section};
use super::site;
use crate::core::notice::{Notice, Topic};

/// What was said: one entry a name, in file order.
pub type Said = Vec<Entry>;

/// One entry.
#[derive(Debug, Clone)]
pub struct Entry {
    name: String,
    /// None for `events: []`, which takes back what a farther level says.
    notice: Option<Notice>,
}

/// Reads `notify`.
pub fn read(r: &mut Reader<'_>, parent: &mut Section<'_>) -> Said {
    let mut said = Vec::new();
    for (name, section) in r.named_sections(parent, "notify") {
        let Some(mut section) = section else { continue };
        let topics = section.get("events").and_then(|node| {
            let read = |r: &mut Reader<'_>, node: &_| r.choice(node, &Topic::ALL);
            r.list(node, "topics", read)
        });
        let run = section.get("run").map(|node| r.script(node));
        let within = site::within(r, &mut section);
        let is_none = topics.as_ref().is_some_and(Vec::is_empty);
        if run.is_none() && !is_none {
            let because = "somebody must be told by something";
            r.missing(
                &section,
                "run",
                because,
                "add `run: COMMAND`, performed on this box",
            );
        }
        r.close(section);
        let topics: BTreeSet<Topic> = match topics {
            Some(topics) => topics.into_iter().flatten().map(|given| given.value).collect(),
            None => Topic::USUAL.into(),
        };
        let run = run.flatten().filter(|_| !is_none);
        let notice = run.map(|run| Notice {
            name: name.value.clone(),
            topics,
            run: run.value,
            within,
        });
        said.push(Entry {
            name: name.value,
            notice,
        });
    }
    said
}

/// The nearer level adds to the farther one, and replaces what has the same name.
pub fn resolve(near: &Said, far: &Said) -> Vec<Notice> {
    let is_near = |name: &str| near.iter().any(|said| said.name == name);
    far.iter()
        .filter(|said| !is_near(&said.name))
        .chain(near)
        .filter_map(|said| said.notice.clone())
        .collect()
}
