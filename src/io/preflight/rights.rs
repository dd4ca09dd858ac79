//! Which commands the duties of a playbook will run as root on a host, so that sudo can be asked about each.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::inventory::{HostEntry, Service};
use crate::config::playbook;
use crate::core::playbook::Duty;
use crate::core::script::Command;
use crate::core::site::SiteAct;
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
        let all_said = said_with(fleet, entry, &duty.name);
        let mut all = all_said.iter().flat_map(|with| errands(fleet, entry, duty, with));
        let failed = all.find_map(|errand| match as_root(fleet, entry, duty, &errand) {
            Ok(found) => {
                commands.extend(found.iter().map(ToString::to_string));
                None
            }
            Err(why) => Some((duty.name.clone(), why)),
        });
        unready.extend(failed);
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

/// What a duty is given besides: by each step of an operation that names it, by the host's own `rebuild`, by each step of
/// the site. One without anything where nobody gives it something.
fn said_with(fleet: &Fleet, entry: &HostEntry, duty: &str) -> Vec<BTreeMap<String, String>> {
    let operations = fleet.playbook().operations.values();
    let steps = operations.flat_map(|operation| operation.steps());
    let by_operations = steps
        .filter(|(_, step)| step.duty == duty)
        .map(|(_, step)| step.with.clone());
    let by_rebuild = entry.rebuild.iter().filter(|rebuild| rebuild.duty == duty);
    let by_site = fleet.entry().site.all().filter_map(|step| match &step.act {
        SiteAct::Duty { name, with, .. } if name == duty => Some(with.clone()),
        _ => None,
    });
    let all = by_operations
        .chain(by_rebuild.map(|rebuild| rebuild.with.clone()))
        .chain(by_site);
    let all: BTreeSet<BTreeMap<String, String>> = all.collect();
    if all.is_empty() {
        return vec![BTreeMap::new()];
    }
    all.into_iter().collect()
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
        // Whatever stands where it must not is taken away, also from a host that never holds it.
        let takes_away = playbook::takes_addresses_away(fleet.playbook(), &duty.name);
        let roles = cluster
            .roles
            .iter()
            .filter(|role| takes_away || role.hosts.contains(&entry.name));
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
