//! `mmm validate`: says everything that is wrong with the inventory and the playbooks.

use super::args::Settings;
use super::setting::{self, count};
use crate::core::trouble::Trouble;
use crate::report::reporter::{Output, out};

/// Reads everything and touches nothing.
pub async fn run(settings: &Settings) -> Result<u8, Trouble> {
    let inventory = setting::inventory(settings)?;
    for entry in &inventory.clusters {
        setting::playbook(entry)?;
    }
    let hosts: usize = inventory.clusters.iter().map(|entry| entry.hosts.len()).sum();
    match settings.output {
        Output::Text => out(&format!(
            "`{}` is valid: {}, {}",
            inventory.file.display(),
            count(inventory.clusters.len(), "cluster"),
            count(hosts, "host")
        )),
        Output::Json => out(&setting::json(&serde_json::json!({
            "valid": true,
            "clusters": inventory.clusters.len(),
            "hosts": hosts,
            "warnings": inventory.warnings,
        }))),
    }
    Ok(0)
}
