//! The site's own steps, as a plan shows them.

use serde_json::json;

use crate::core::site::{Occasion, SiteAct, SiteStep, SiteSteps};

/// The steps around an operation; empty when there are none.
pub fn planned(site: &SiteSteps, operation: &str) -> String {
    let mut text = String::new();
    for occasion in Occasion::ALL {
        let steps = site.of(operation, occasion);
        if steps.is_empty() {
            continue;
        }
        text.push_str(&format!("\n\n  {occasion:<9} {}", meaning(occasion)));
        for step in steps {
            text.push_str(&format!(
                "\n       {:<10} {:<44} within {} ms{}",
                seat(step),
                step.name,
                step.within.as_millis(),
                policy(step, operation, occasion)
            ));
            let (word, what) = match &step.act {
                SiteAct::Run(command) => ("do", command.clone()),
                SiteAct::Duty { name, .. } => ("duty", name.clone()),
            };
            for (at, line) in what.lines().enumerate() {
                text.push_str(&format!(
                    "\n            {:<7} {line}",
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

fn seat(step: &SiteStep) -> String {
    match &step.act {
        SiteAct::Run(_) => "box".to_owned(),
        SiteAct::Duty { at, .. } => at.to_string(),
    }
}

fn policy(step: &SiteStep, operation: &str, occasion: Occasion) -> &'static str {
    match (occasion, step.stops(operation, occasion)) {
        (Occasion::Before, true) => "; its failure stops the operation",
        (Occasion::Before, false) => "; the operation goes on without it",
        (Occasion::After | Occasion::OnStuck, _) => "",
    }
}

/// The same for programs.
pub fn as_json(site: &SiteSteps, operation: &str) -> serde_json::Value {
    let steps = |occasion: Occasion| -> Vec<serde_json::Value> {
        let steps = site.of(operation, occasion).iter();
        let told = steps.map(|step| {
            json!({
                "name": step.name,
                "act": step.act,
                "within_ms": u64::try_from(step.within.as_millis()).unwrap_or(u64::MAX),
                "stops": step.stops(operation, occasion),
            })
        });
        told.collect()
    };
    json!({
        "before": steps(Occasion::Before),
        "after": steps(Occasion::After),
        "on_stuck": steps(Occasion::OnStuck),
    })
}
