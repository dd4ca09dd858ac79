//! The site's own steps, as a plan shows them.

use super::plan::span;
use crate::core::proposal::PlannedSiteStep;
use crate::core::site::{Occasion, SiteAct};

/// The steps around an operation; empty when there are none.
pub fn planned(steps: &[PlannedSiteStep]) -> String {
    let mut text = String::new();
    for occasion in Occasion::ALL {
        let now: Vec<_> = steps.iter().filter(|step| step.occasion == occasion).collect();
        if now.is_empty() {
            continue;
        }
        text.push_str(&format!("\n  {occasion:<9} {}\n", meaning(occasion)));
        for step in now {
            text.push_str(&format!(
                "       {:<10} {:<44} within {}{}\n",
                seat(step),
                step.name,
                span(step.within_ms),
                policy(step)
            ));
            let (word, what) = match &step.act {
                SiteAct::Run(command) => ("do", command.clone()),
                SiteAct::Duty { name, .. } => ("duty", name.clone()),
            };
            for (at, line) in what.lines().enumerate() {
                text.push_str(&format!(
                    "            {:<7} {line}\n",
                    if at == 0 { word } else { "" }
                ));
            }
        }
    }
    text
}

fn meaning(occasion: Occasion) -> &'static str {
    match occasion {
        Occasion::Before => "the site's own, with nothing touched yet; then everything is looked at again",
        Occasion::After => "the site's own, once the run has ended, whichever way",
        Occasion::OnStuck => "the site's own, when the run gets stuck",
    }
}

fn seat(step: &PlannedSiteStep) -> String {
    match &step.act {
        SiteAct::Run(_) => "box".to_owned(),
        SiteAct::Duty { at, .. } => at.to_string(),
    }
}

fn policy(step: &PlannedSiteStep) -> &'static str {
    match (step.occasion, step.stops) {
        (Occasion::Before, true) => "; its failure stops the operation",
        (Occasion::Before, false) => "; the operation goes on without it",
        (Occasion::After | Occasion::OnStuck, _) => "",
    }
}
