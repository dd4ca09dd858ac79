//! `mmm check`: looks at every host and account and says everything that would get in the way.

use super::args::Settings;
use super::setting;
use crate::core::trouble::{Kind, Trouble};
use crate::report::reporter::{Output, out};

/// Prints every finding; 3 when there is one.
pub async fn run(settings: &Settings, named: Option<&str>) -> Result<u8, Trouble> {
    let inventory = setting::inventory(settings)?;
    let mut findings = Vec::new();
    for entry in setting::clusters(settings, &inventory, named)? {
        let fleet = setting::fleet(entry).await?;
        findings.extend(crate::io::preflight::inspect(&fleet).await);
    }
    match settings.output {
        Output::Text => out(&crate::report::preflight::text(&findings)),
        Output::Json => out(&setting::json(&serde_json::json!({ "findings": findings }))),
    }
    let is_wrong = findings.iter().any(crate::core::preflight::Finding::is_error);
    Ok(if is_wrong { Kind::Wrong.exit_code() } else { 0 })
}
