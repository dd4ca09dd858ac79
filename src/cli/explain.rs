//! `mmm explain [RULE]`: what a rule's number means and what lifts it.

use super::args::Settings;
use super::setting;
use crate::core::explain;
use crate::core::trouble::{Kind, Trouble};
use crate::report::reporter::{Output, out};

/// Prints one rule, or all.
pub fn run(settings: &Settings, number: Option<&str>) -> Result<u8, Trouble> {
    let rules = match number {
        None => explain::all(),
        Some(number) => {
            let rule = explain::one(number).ok_or_else(|| {
                Trouble::new(
                    Kind::Usage,
                    format!("there is no rule `{number}`"),
                    "rules have numbers such as R03, about the cluster, or H05, about a host; guards such as G21",
                )
                .hint("`mmm explain` lists them all")
            })?;
            vec![rule]
        }
    };
    for rule in rules {
        match settings.output {
            Output::Json => out(&setting::json(&rule)),
            Output::Text => {
                out(&format!("{} {}", rule.number, rule.sentence));
                if !rule.lifted_by.is_empty() {
                    out(&format!("    what lifts it: {}", rule.lifted_by));
                }
            }
        }
    }
    Ok(0)
}
