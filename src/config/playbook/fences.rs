//! What makes a duty a fence, and what a fence may stand in for.

use std::collections::BTreeSet;

use super::grammar::{OperationFile, OperationStepText};
use super::page::Page;
use crate::core::playbook::{Duty, Playbook, Seat};

/// The operation that replaces a writer, and so the only one in which a fence can stand in for a step.
const FAILOVER: &str = "failover";

/// Why a duty cannot be a fence: it must be there, and look at what it has done. An exit code of 0 proves nothing.
pub fn no_fence(playbook: &Playbook, name: &str) -> Option<String> {
    let Some(duty) = playbook.duties.get(name) else {
        return Some(format!("the playbooks have no duty `{name}`"));
    };
    let proves = looks_at_the_end(playbook, duty, &mut BTreeSet::new());
    (!proves).then(|| {
        format!(
            "the duty `{name}` never looks whether the host is cut off: it has neither `verify` nor `until`"
        )
    })
}

fn looks_at_the_end<'p>(playbook: &'p Playbook, duty: &'p Duty, seen: &mut BTreeSet<&'p str>) -> bool {
    if !seen.insert(&duty.name) {
        return false;
    }
    let nested: Vec<&Duty> = duty
        .nested()
        .filter_map(|name| playbook.duties.get(name))
        .collect();
    duty.verify.is_some()
        || duty.steps.iter().any(|step| step.until.is_some())
        || nested
            .into_iter()
            .any(|duty| looks_at_the_end(playbook, duty, seen))
}

/// Steps that no fence can stand in for, although they say so.
pub fn check_step(page: &mut Page<'_>, file: &OperationFile, step: &OperationStepText) {
    let is_possible = step.at == Seat::Outgoing && file.operation.value == FAILOVER;
    if step.or_fenced == Some(true) && !is_possible {
        page.error(
            &step.name,
            format!("`or_fenced` does not fit step `{}`", step.name.value),
            "a fence can stand in for what a failover does at the outgoing host, and for nothing else",
            "leave `or_fenced` out",
        );
    }
}

/// Steps of a failover that keep a host which does not obey from being replaced.
pub fn doubt(page: &mut Page<'_>, file: &OperationFile) {
    if file.operation.value != FAILOVER {
        return;
    }
    let sections = [&file.prepare, &file.commit, &file.secure, &file.finish];
    for step in sections
        .into_iter()
        .flatten()
        .filter(|step| step.at == Seat::Outgoing)
    {
        if step.or_fenced != Some(true) && step.if_possible != Some(true) {
            page.warning(
                &step.name,
                format!("nothing may stand in for step `{}`", step.name.value),
                "a host that does not obey cannot perform it, so such a host is never replaced, fenced or not",
                "say `or_fenced: true` if a fence, or the declared exception, may stand in for it",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fence_looks_at_what_it_has_done() {
        let mut playbook = crate::config::playbook::load(None).unwrap();
        assert_eq!(no_fence(&playbook, "fence-ipmi"), None);
        assert!(no_fence(&playbook, "cut").unwrap().contains("no duty `cut`"));
        let mut cut = playbook.duties["fence-ipmi"].clone();
        cut.name = "cut".to_owned();
        cut.steps.iter_mut().for_each(|step| step.until = None);
        playbook.duties.insert("cut".to_owned(), cut.clone());
        assert!(
            no_fence(&playbook, "cut")
                .unwrap()
                .contains("neither `verify` nor `until`")
        );
        // What it nests may look for it; what nests itself looks at nothing.
        cut.steps[0].action = crate::core::playbook::Action::Duty("cut".to_owned());
        playbook.duties.insert("cut".to_owned(), cut.clone());
        assert!(no_fence(&playbook, "cut").is_some());
        cut.steps[0].action = crate::core::playbook::Action::Duty("fence-ipmi".to_owned());
        playbook.duties.insert("cut".to_owned(), cut);
        assert_eq!(no_fence(&playbook, "cut"), None);
    }
}
