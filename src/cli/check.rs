//! `mmm check`: looks at every host and account and says everything that would get in the way. Changes nothing.

use super::args::{Form, Settings};
use super::setting;
use crate::core::preflight::Severity;
use crate::core::trouble::{Kind, Trouble};
use crate::report::junit;
use crate::report::preflight::text;
use crate::report::reporter::out;

/// Prints what is in order and what is not; 3 when something is wrong, 0 with warnings alone.
pub async fn run(settings: &Settings, named: Option<&str>) -> Result<u8, Trouble> {
    let inventory = setting::inventory(settings)?;
    let mut is_wrong = false;
    let mut all = Vec::new();
    for entry in setting::clusters(settings, &inventory, named)? {
        let fleet = setting::fleet(entry).await?;
        let checked = crate::io::preflight::inspect(&fleet, &inventory.monitor.state_dir).await;
        is_wrong |= checked.count(Severity::Error) > 0;
        match settings.form {
            Form::Text => out(&text(&checked)),
            Form::Json => out(&setting::json(&checked)),
            Form::Junit => all.push(checked),
        }
    }
    // One document, whatever the number of clusters.
    if settings.form == Form::Junit {
        out(&junit::checks(&all));
    }
    Ok(if is_wrong { Kind::Wrong.exit_code() } else { 0 })
}
