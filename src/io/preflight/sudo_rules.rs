//! What a host's SSH user must be allowed to run as root, gathered for `mmm sudoers`. Changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use super::{LOOK_WITHIN, rights};
use crate::core::cluster::HostName;
use crate::core::script::DutyOutcome;
use crate::core::trouble::{Kind, Trouble};
use crate::io::conductor::describe;
use crate::io::context::Errands;
use crate::io::fleet::Fleet;

/// What the duties of the playbooks in use run as root on one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootCommands {
    /// The user that logs in.
    pub user: String,
    /// Each command, as a shell would read it, without `sudo -n`.
    pub commands: BTreeSet<String>,
    /// Where its programs stand; what is missing here is not installed.
    pub paths: BTreeMap<String, String>,
    /// Duties that cannot be made ready for this host, and why.
    pub unready: Vec<(String, String)>,
}

/// Asks a host who its SSH user is and where programs stand, and lists what duties run there as root.
///
/// # Errors
/// The host cannot be asked.
pub async fn root_commands(fleet: &Fleet, host: &HostName) -> Result<RootCommands, Trouble> {
    let what = || format!("what `{host}` must allow is not known");
    let Some(entry) = fleet.entry().hosts.get(host) else {
        return Err(Trouble::new(
            Kind::Usage,
            what(),
            "the inventory does not name it",
        ));
    };
    // The version of its server decides on some commands.
    fleet.ask(host).await;
    let (commands, unready) = rights::root_commands(fleet, entry);
    let programs: BTreeSet<&str> = commands.iter().filter_map(|command| program(command)).collect();
    let programs: Vec<&str> = programs.into_iter().collect();
    let with = BTreeMap::from([("programs".to_owned(), programs.join("\n"))]);
    let errand = Errands {
        with: Some(&with),
        ..Errands::default()
    };
    let report = fleet.glance(host, "root-paths", &errand, LOOK_WITHIN).await?;
    if !matches!(report.outcome, DutyOutcome::Done) {
        return Err(Trouble::new(Kind::Wrong, what(), describe(&report)));
    }
    let value = |name: &str| report.registered.get(name).cloned().unwrap_or_default();
    let paths = value("paths");
    let paths = paths.lines().filter(|path| path.starts_with('/'));
    Ok(RootCommands {
        user: value("user").trim().to_owned(),
        commands,
        paths: paths
            .filter_map(|path| Some((path.rsplit('/').next()?.to_owned(), path.to_owned())))
            .collect(),
        unready,
    })
}

fn program(command: &str) -> Option<&str> {
    command.split_whitespace().next()
}
