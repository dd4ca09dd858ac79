//! Holds what was said against itself: peers, roles, addresses, timing.

use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::Range;
use std::time::Duration;

use super::log;
use super::reader::{Given, Reader};
use super::said::{Cluster, File, Host, Role, Timing};
use crate::config::diagnostic::closest;
use crate::config::duration;
use crate::core::cluster::{HostMode, Promotion, RoleMode};

/// The writer role's name when the cluster does not say it.
pub const WRITER_ROLE: &str = "writer";

/// Reports everything in the file that contradicts something else in it.
pub fn check(r: &mut Reader<'_>, file: &File) {
    for (name, cluster) in &file.clusters {
        peers(r, cluster);
        for (role_name, role) in &cluster.roles {
            role_hosts(r, cluster, role_name, role);
            role_shape(r, role_name, role);
            fail_back(r, role);
        }
        writer(r, name, cluster);
    }
    addresses(r, file);
    let names: Vec<&str> = file
        .clusters
        .iter()
        .map(|(name, _)| name.value.as_str())
        .collect();
    log::check(r, &file.monitor.log, &names);
}

fn host<'c>(cluster: &'c Cluster, name: &str) -> Option<&'c Host> {
    cluster
        .hosts
        .iter()
        .find(|(host, _)| host.value == name)
        .map(|(_, host)| host)
}

fn is(host: &Host, mode: HostMode) -> bool {
    host.mode.as_ref().is_some_and(|given| given.value == mode)
}

fn unknown_host(r: &mut Reader<'_>, cluster: &Cluster, name: &Given<String>) {
    let names = || cluster.host_names.iter().map(String::as_str);
    // A host that is there but unusable, or a cluster without hosts, is reported where it stands.
    if cluster.host_names.is_empty() || names().any(|known| known == name.value) {
        return;
    }
    let hint = closest(&name.value, names()).map_or_else(
        || {
            format!(
                "hosts of this cluster: {}",
                names().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ")
            )
        },
        |near| format!("did you mean `{near}`?"),
    );
    r.error(
        &name.span,
        format!("`{}` is not a host of this cluster", name.value),
        "every host must be described under `hosts`",
        hint,
    );
}

/// Of two masters each is the other's peer; where there are more, they need none, and all follow the writer. Slaves have
/// none, and are never promoted anyway.
fn peers(r: &mut Reader<'_>, cluster: &Cluster) {
    let masters = cluster
        .hosts
        .iter()
        .filter(|(_, said)| is(said, HostMode::Master))
        .count();
    for (_, said) in &cluster.hosts {
        if let Some(promotion) = &said.promotion
            && is(said, HostMode::Slave)
        {
            r.error(
                &promotion.span,
                "a slave has a `promotion`",
                "only masters may become the writer",
                "remove `promotion`, or make it `mode: master`",
            );
        }
    }
    for (name, said) in &cluster.hosts {
        let Some(peer) = &said.peer else {
            if is(said, HostMode::Master) && masters < 3 {
                r.error(
                    &name.span,
                    format!("master `{}` has no `peer`", name.value),
                    "masters replicate in pairs, and the writer moves between the two",
                    "add `peer: …` with the other master's name, or make it `mode: slave`",
                );
            }
            continue;
        };
        if is(said, HostMode::Slave) {
            r.error(
                &peer.span,
                format!("slave `{}` has a `peer`", name.value),
                "slaves follow whoever is the writer, so a peer would have no effect",
                "remove `peer`, or make it `mode: master`",
            );
        } else if peer.value == name.value {
            r.error(
                &peer.span,
                format!("`{}` is its own peer", name.value),
                "the writer would have nowhere to move",
                "name the other master",
            );
        } else if let Some(other) = host(cluster, &peer.value) {
            if is(other, HostMode::Slave) {
                r.error(
                    &peer.span,
                    format!("peer `{}` is a slave", peer.value),
                    "a peer must be able to become the writer",
                    "name the other master",
                );
            } else if let Some(back) = &other.peer
                && back.value != name.value
                && back.value != peer.value
                && host(cluster, &back.value).is_some_and(|host| !is(host, HostMode::Slave))
            {
                r.error(
                    &peer.span,
                    format!(
                        "`{}` names `{}` as its peer, which names `{}`",
                        name.value, peer.value, back.value
                    ),
                    "peers are pairs: each names the other",
                    "make the two name each other",
                );
            }
        } else {
            unknown_host(r, cluster, peer);
        }
    }
}

fn role_hosts(r: &mut Reader<'_>, cluster: &Cluster, name: &Given<String>, role: &Role) {
    let Some(listed) = &role.hosts else { return };
    if listed.is_empty() {
        let hint = "list the hosts that may hold its addresses";
        r.error(
            &name.span,
            format!("role `{}` has no hosts", name.value),
            "its addresses could go nowhere",
            hint,
        );
    }
    let mut seen: Vec<&str> = Vec::new();
    for given in listed.iter().flatten() {
        if seen.contains(&given.value.as_str()) {
            let hint = "remove one of them";
            r.error(
                &given.span,
                format!("`{}` is listed twice", given.value),
                "a host counts once",
                hint,
            );
        } else if host(cluster, &given.value).is_none() {
            unknown_host(r, cluster, given);
        }
        seen.push(&given.value);
    }
    let Some(prefer) = &role.prefer else { return };
    if host(cluster, &prefer.value).is_none() {
        unknown_host(r, cluster, prefer);
    } else if !seen.contains(&prefer.value.as_str()) && listed.iter().all(Option::is_some) {
        r.error(
            &prefer.span,
            format!(
                "role `{}` prefers `{}`, which is not among its hosts",
                name.value, prefer.value
            ),
            "it could never go there",
            "add the host to the role's `hosts`, or prefer one of them",
        );
    }
}

fn role_shape(r: &mut Reader<'_>, name: &Given<String>, role: &Role) {
    let count = role.addresses.as_ref().map(Vec::len);
    match (role.mode.as_ref().map(|mode| mode.value), count) {
        (Some(RoleMode::Exclusive), Some(count)) if count != 1 => r.error(
            &name.span,
            format!("exclusive role `{}` has {count} addresses", name.value),
            "one host holds an exclusive role, by exactly one address",
            "give it one address, or make the role `mode: balanced`",
        ),
        (Some(RoleMode::Balanced), Some(0)) => r.error(
            &name.span,
            format!("role `{}` has no addresses", name.value),
            "there would be nothing to spread",
            "add `addresses: [ … ]`",
        ),
        _ => {}
    }
    if let (
        Some(Given {
            value: RoleMode::Balanced,
            ..
        }),
        Some(prefer),
    ) = (&role.mode, &role.prefer)
    {
        r.error(
            &prefer.span,
            "`prefer` has no effect on a balanced role",
            "balanced addresses are spread over all healthy hosts",
            "remove `prefer`, or make the role `mode: exclusive`",
        );
    }
}

/// Going back somewhere needs a somewhere.
fn fail_back(r: &mut Reader<'_>, role: &Role) {
    if let (Some(fail_back), None) = (&role.fail_back, &role.prefer) {
        r.error(
            &fail_back.span,
            "`fail_back` without `prefer`",
            "it says when the role goes back to the host it prefers",
            "add `prefer: HOST`, or remove `fail_back`",
        );
    }
}

/// The writer role is exclusive and stays within one pair of masters.
fn writer(r: &mut Reader<'_>, cluster_name: &Given<String>, cluster: &Cluster) {
    let wanted = cluster
        .writer_role
        .as_ref()
        .map_or(WRITER_ROLE, |given| given.value.as_str());
    let Some((name, role)) = cluster.roles.iter().find(|(role, _)| role.value == wanted) else {
        if !cluster.roles.is_empty() {
            let near = closest(wanted, cluster.roles.iter().map(|(role, _)| role.value.as_str()));
            let hint = near.map_or_else(
                || "add the role, or say `writer_role: …`".to_owned(),
                |near| format!("did you mean `writer_role: {near}`?"),
            );
            r.error(
                &cluster
                    .writer_role
                    .as_ref()
                    .map_or(&cluster_name.span, |given| &given.span)
                    .clone(),
                format!("the writer role `{wanted}` does not exist"),
                "one role must decide who takes writes",
                hint,
            );
        }
        return;
    };
    if let Some(mode) = &role.mode
        && mode.value != RoleMode::Exclusive
    {
        r.error(
            &mode.span,
            format!("the writer role `{}` is balanced", name.value),
            "two hosts would take writes at a time",
            "make it `mode: exclusive`",
        );
    }
    let listed: Vec<(&Given<String>, &Host)> = role
        .hosts
        .iter()
        .flatten()
        .flatten()
        .filter_map(|given| host(cluster, &given.value).map(|said| (given, said)))
        .collect();
    for (given, said) in &listed {
        if is(said, HostMode::Slave) {
            r.error(
                &given.span,
                format!("the writer role names slave `{}`", given.value),
                "only masters may take writes",
                "remove it from the role, or make the host `mode: master` with a `peer`",
            );
        }
    }
    let masters: Vec<_> = listed
        .into_iter()
        .filter(|(_, said)| is(said, HostMode::Master))
        .collect();
    let preferred = role
        .prefer
        .as_ref()
        .and_then(|prefer| Some((prefer, host(cluster, &prefer.value)?)));
    if let Some((prefer, _)) = preferred.filter(|(_, said)| is_never_promoted(said)) {
        r.error(
            &prefer.span,
            format!(
                "the writer role prefers `{}`, which is never promoted",
                prefer.value
            ),
            "it would never go there",
            "prefer another host, or remove its `promotion: never`",
        );
    }
    let outside = masters.iter().skip(1).find(|(given, said)| {
        let first = masters[0].0;
        let is_of_a_pair = said.peer.as_ref().is_some_and(|peer| peer.value != first.value);
        given.value != first.value && masters.len() == 2 && is_of_a_pair
    });
    if let Some((given, _)) = outside {
        r.error(
            &given.span,
            format!(
                "`{}` and `{}` are not peers, yet both may be the writer",
                masters[0].0.value, given.value
            ),
            "the writer moves within one pair of masters that replicate from each other",
            "name only the two masters of one pair",
        );
    } else if let [(only, _)] = masters[..]
        && role.hosts.as_ref().is_some_and(|hosts| hosts.len() == 1)
    {
        r.warning(
            &only.span,
            format!("only `{}` may be the writer", only.value),
            "nothing could take over from it",
            "add its peer to the role's `hosts`",
        );
    }
}

fn is_never_promoted(said: &Host) -> bool {
    said.promotion
        .as_ref()
        .is_some_and(|given| given.value == Promotion::Never)
}

/// No address stands for two things anywhere in the file.
fn addresses(r: &mut Reader<'_>, file: &File) {
    let mut taken: HashMap<IpAddr, (String, Range<usize>)> = HashMap::new();
    let mut all: Vec<(String, &Given<IpAddr>)> = Vec::new();
    for (_, cluster) in &file.clusters {
        for (name, said) in &cluster.hosts {
            all.extend(
                said.address
                    .iter()
                    .map(|given| (format!("host `{}`", name.value), given)),
            );
        }
        for (name, role) in &cluster.roles {
            let given = role.addresses.iter().flatten().flatten();
            all.extend(given.map(|given| (format!("role `{}`", name.value), given)));
        }
    }
    for (owner, given) in all {
        let address = given.value.to_canonical();
        if let Some((first, at)) = taken.get(&address) {
            let line = r.source.place(at).line;
            r.error(
                &given.span,
                format!("`{address}` of {owner} already belongs to {first} (line {line})"),
                "an address that two hold reaches one of them by chance",
                "give each its own address",
            );
        } else {
            taken.insert(address, (owner, given.span.clone()));
        }
    }
    for given in &file.monitor.ping_addresses {
        if let Some((owner, _)) = taken.get(&given.value.to_canonical()) {
            r.warning(
                &given.span,
                format!("the ping address `{}` belongs to {owner}", given.value),
                "it should tell a failure of this box's network from a failure of the cluster",
                "name a gateway or another address outside the clusters",
            );
        }
    }
}

/// A probe must be able to end, and be repeated, before its failures count.
pub fn timing(r: &mut Reader<'_>, timing: &Timing, every: Duration, trap_after: Duration, timeout: Duration) {
    for (key, value, given) in [
        ("timeout", timeout, &timing.timeout),
        ("every", every, &timing.every),
    ] {
        let Some(at) = given
            .as_ref()
            .or(timing.trap_after.as_ref())
            .map(|given| given.span.clone())
        else {
            continue;
        };
        if value > trap_after {
            r.error(
                &at,
                format!(
                    "`{key}` ({}) is longer than `trap_after` ({})",
                    duration::format(value),
                    duration::format(trap_after)
                ),
                "a single probe would decide, and trapping is there so that it does not",
                format!("raise `trap_after`, or lower `{key}`"),
            );
        }
    }
}
