//! Reads the steps of the site around operations: `site_steps` in the inventory.

use std::time::Duration;

use super::reader::{Reader, Section};
use super::tree::{Node, Value};
use crate::core::playbook::Seat;
use crate::core::site::{OPERATIONS, Occasion, OnFailure, SiteAct, SiteStep, SiteSteps};

/// A site step without a deadline of its own is ended after this.
const USUAL_WITHIN: Duration = Duration::from_secs(10);
/// No site step may take longer: the cluster's lock is held meanwhile.
const WITHIN_AT_MOST: Duration = Duration::from_secs(300);

/// What was said: operation → occasion → steps.
pub type Said = SiteSteps;

/// Reads `site_steps`.
pub fn read(r: &mut Reader<'_>, parent: &mut Section<'_>) -> Said {
    let mut said = Said::default();
    for (operation, section) in r.named_sections(parent, "site_steps") {
        let Some(mut section) = section else { continue };
        if !OPERATIONS.contains(&operation.value.as_str()) {
            let known: Vec<String> = OPERATIONS.iter().map(|known| format!("`{known}`")).collect();
            r.error(
                &operation.span,
                format!("there is no operation `{}` to stand around", operation.value),
                "site steps belong to an operation",
                format!("write one of {}", known.join(", ")),
            );
        }
        let around = said.0.entry(operation.value).or_default();
        for (key, occasion) in [
            ("before", Occasion::Before),
            ("after", Occasion::After),
            ("on_stuck", Occasion::OnStuck),
        ] {
            if let Some(node) = section.get(key) {
                around.insert(occasion, steps(r, node, &section, key, occasion));
            }
        }
        r.close(section);
    }
    said
}

/// The nearer level's steps of an operation and occasion replace the farther one's; an empty list is none.
pub fn resolve(near: &Said, far: &Said) -> SiteSteps {
    let mut steps = far.clone();
    for (operation, around) in &near.0 {
        let all = steps.0.entry(operation.clone()).or_default();
        all.extend(around.iter().map(|(occasion, steps)| (*occasion, steps.clone())));
    }
    steps
}

fn steps(
    r: &mut Reader<'_>,
    node: &Node,
    parent: &Section<'_>,
    key: &'static str,
    occasion: Occasion,
) -> Vec<SiteStep> {
    let Value::List(items) = &node.value else {
        r.wrong_type(node, "a list of steps, each with `run` or `duty`");
        return Vec::new();
    };
    let read = |item| step(r, item, parent, key, occasion);
    items.iter().filter_map(read).collect()
}

fn step(
    r: &mut Reader<'_>,
    node: &Node,
    parent: &Section<'_>,
    key: &'static str,
    occasion: Occasion,
) -> Option<SiteStep> {
    let mut section = r.item(node, parent, key)?;
    let name = section.get("name").map(|node| r.text(node));
    if name.is_none() {
        let hint = "add `name: …` to the step";
        r.missing(&section, "name", "people must see what is being done", hint);
    }
    let within = within(r, &mut section);
    let on_failure = section.get("on_failure").and_then(|node| {
        let choices = [("stop", OnFailure::Stop), ("go_on", OnFailure::GoOn)];
        let given = r.choice(node, &choices)?;
        if occasion != Occasion::Before && given.value == OnFailure::Stop {
            r.error(
                &given.span,
                format!("a step of `{key}` stops nothing"),
                "what it could stop has ended by then",
                "remove it, or move the step to `before`",
            );
        }
        Some(given.value)
    });
    let act = act(r, &mut section);
    let owner = section.owner.clone();
    r.close(section);
    let act = match act {
        Ok(act) => act,
        Err(because) => {
            let hint = "write `run: COMMAND`, performed on this box, or `duty: NAME` with `at: SEAT`";
            r.error(&owner, "a step does one thing", because, hint);
            None
        }
    };
    Some(SiteStep {
        name: name??.value,
        act: act?,
        within,
        on_failure,
    })
}

/// The deadline of a command of the site.
pub fn within(r: &mut Reader<'_>, section: &mut Section<'_>) -> Duration {
    let Some(given) = section.get("within").and_then(|node| r.duration(node)) else {
        return USUAL_WITHIN;
    };
    if given.value > WITHIN_AT_MOST {
        r.error(
            &given.span,
            "this is too long",
            "the cluster waits meanwhile: five minutes are the most",
            "let the command start what takes longer, and end itself",
        );
    }
    given.value
}

/// What a step does; `Ok(None)` when that was given and is unusable, which has been reported.
fn act(r: &mut Reader<'_>, section: &mut Section<'_>) -> Result<Option<SiteAct>, &'static str> {
    let run = section.get("run");
    let duty = section.get("duty");
    let at = section.get("at").map(|node| {
        let seats = [
            ("outgoing", Seat::Outgoing),
            ("incoming", Seat::Incoming),
            ("replicas", Seat::Replicas),
            ("monitor", Seat::Monitor),
        ];
        r.choice(node, &seats)
    });
    let with = r.text_map(section, "with");
    match (run, duty, at) {
        (Some(_), Some(_), _) => Err("both `run` and `duty` stand there"),
        (None, None, _) => Err("neither `run` nor `duty` stands there"),
        (Some(_), None, Some(_)) => Err("a command runs on this box, so `at` has no effect on it"),
        (Some(_), None, None) if !with.is_empty() => {
            Err("`with` is for duties; a command is told everything by its environment")
        }
        (Some(node), None, None) => Ok(r.script(node).map(|given| SiteAct::Run(given.value))),
        (None, Some(_), None) => Err("where the duty is to be performed is not said"),
        (None, Some(node), Some(at)) => Ok(r.name(node).zip(at).map(|(name, at)| SiteAct::Duty {
            name: name.value,
            at: at.value,
            with,
        })),
    }
}
