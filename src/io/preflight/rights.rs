//! Which commands the duties of a playbook will run as root on a host, so that sudo can be asked about each.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::inventory::{HostEntry, Service};
use crate::config::playbook;
use crate::core::playbook::Duty;
use crate::core::script::Command;
use crate::io::context::Errands;
use crate::io::fleet::{self, Fleet};
use crate::io::shell::Trace;

/// The commands that duties will run as root on a host, and the duties for which that cannot be told.
pub(super) fn root_commands(fleet: &Fleet, entry: &HostEntry) -> (BTreeSet<String>, Vec<(String, String)>) {
    let mut commands = BTreeSet::new();
    let mut unready = Vec::new();
    for duty in fleet
        .playbook()
        .duties
        .values()
        .filter(|duty| concerns(fleet, entry, duty))
    {
        let with = said_with(fleet, &duty.name);
        for errand in errands(fleet, entry, duty, &with) {
            match as_root(fleet, entry, duty, &errand) {
                Ok(found) => commands.extend(found.iter().map(ToString::to_string)),
                Err(why) => {
                    unready.push((duty.name.clone(), why));
                    break;
                }
            }
        }
    }
    (commands, unready)
}

fn as_root(
    fleet: &Fleet,
    entry: &HostEntry,
    duty: &Duty,
    errand: &Errands<'_>,
) -> Result<Vec<Command>, String> {
    let context = fleet
        .context(&entry.name, errand)
        .map_err(|trouble| trouble.because)?;
    playbook::root_commands(fleet.playbook(), &duty.name, &context).map_err(|error| error.to_string())
}

/// Whether a duty may be performed on that host: fences are the box's, and each host has its own service manager.
fn concerns(fleet: &Fleet, entry: &HostEntry, duty: &Duty) -> bool {
    let hosts = || fleet.entry().hosts.values();
    let names = |service: &Service| match service {
        Service::Duties {
            keep_stopped,
            allow_start,
        } => [keep_stopped, allow_start].contains(&&duty.name),
        Service::Systemd { .. } | Service::None => false,
    };
    let is_fence = hosts().any(|host| host.fence.as_ref().is_some_and(|fence| fence.duty == duty.name));
    let is_elsewhere = hosts().any(|host| names(&host.service)) && !names(&entry.service);
    let wants_unit = duty.needs.iter().any(|need| need == "service");
    !is_fence && !is_elsewhere && (!wants_unit || matches!(entry.service, Service::Systemd { .. }))
}

/// What operations give a duty besides.
fn said_with(fleet: &Fleet, duty: &str) -> BTreeMap<String, String> {
    let steps = fleet
        .playbook()
        .operations
        .values()
        .flat_map(|operation| operation.steps());
    steps
        .filter(|(_, step)| step.duty == duty)
        .flat_map(|(_, step)| step.with.clone())
        .collect()
}

/// The errands on which a duty may be sent to a host: each address it may hold, each host it may be told about.
fn errands<'a>(
    fleet: &'a Fleet,
    entry: &HostEntry,
    duty: &Duty,
    with: &'a BTreeMap<String, String>,
) -> Vec<Errands<'a>> {
    let cluster = &fleet.entry().cluster;
    let needs = |name: &str| duty.needs.iter().any(|need| need == name);
    let mut errands = vec![Errands {
        with: Some(with),
        old: needs("old").then(|| fleet::old(&Trace::default())),
        ..Errands::default()
    }];
    if needs("address") {
        let roles = cluster
            .roles
            .iter()
            .filter(|role| role.hosts.contains(&entry.name));
        let addresses = roles.flat_map(|role| &role.addresses);
        errands = addresses
            .flat_map(|address| {
                errands.iter().cloned().map(|errand| Errands {
                    address: Some(*address),
                    ..errand
                })
            })
            .collect();
    }
    if needs("source") {
        let others = cluster.hosts.iter().filter(|other| other.name != entry.name);
        errands = others
            .flat_map(|other| {
                errands.iter().cloned().map(|errand| Errands {
                    source: Some(&other.name),
                    ..errand
                })
            })
            .collect();
    }
    errands
}
