//! What has to leave a host that is out of service, and what has to start on one that comes back. Pure: what stands and what
//! was seen goes in, fixes and duties come out.

use std::net::IpAddr;
use std::time::Duration;

use super::cluster::{Cluster, HostName};
use super::facts::{IoThread, MysqlFacts, ReplicationFacts, SqlThread};
use super::guard::Facts;
use super::mending::Call;
use super::release::{Entering, Way};
use super::repair::{self, Fix};
use super::roles::Eligible;
use super::standing::Standing;

/// Starting or stopping replication may take so long.
pub const REPLICATION_WITHIN: Duration = Duration::from_secs(10);

/// What leaves a host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Clearing {
    /// What takes its addresses away and gives them to others, in order.
    pub fixes: Vec<Fix>,
    /// The addresses it holds, and where each goes; none while nobody may hold it.
    pub moved: Vec<(IpAddr, Option<HostName>)>,
    /// It replicates from somebody, so that has to stop.
    pub replicates: bool,
}

/// What leaves `host` once it is out of service, while the hosts `online` may hold roles.
pub fn clearing(
    cluster: &Cluster,
    standing: &Standing,
    host: &HostName,
    online: &[HostName],
    facts: &Facts,
) -> Clearing {
    let seen = facts.get(host);
    let held: Vec<IpAddr> = cluster
        .roles
        .iter()
        .flat_map(|role| role.addresses.iter().copied())
        .filter(|ip| seen.is_some_and(|seen| repair::holds(seen, *ip)))
        .collect();
    let eligible = without(host, cluster, online, standing);
    // What else is out of place is not this command's business.
    let mut fixes: Vec<Fix> = repair::fixes(cluster, standing, &eligible, facts)
        .into_iter()
        .filter(|fix| fix.address().is_some_and(|ip| held.contains(&ip)))
        .collect();
    for ip in &held {
        let leaves = Fix::RemoveAddress(host.clone(), *ip);
        if !fixes.contains(&leaves) {
            fixes.push(leaves);
        }
    }
    let to = |ip: &IpAddr| {
        let others = fixes
            .iter()
            .filter(|fix| fix.address() == Some(*ip) && fix.host() != host);
        let mut arrivals = others.filter(|fix| !matches!(fix, Fix::RemoveAddress(..)));
        arrivals.next().map(|fix| fix.host().clone())
    };
    let moved = held.iter().map(|ip| (*ip, to(ip))).collect();
    let mysql = seen.and_then(|seen| seen.mysql.up());
    let replicates = mysql.is_some_and(|mysql| mysql.replicas.iter().any(is_at_work));
    Clearing {
        fixes,
        moved,
        replicates,
    }
}

/// The duty that stops a host's replication.
pub fn stop(host: &HostName) -> Call<'_> {
    Call::plain(host, "stop-replication", REPLICATION_WITHIN)
}

/// What has to be put right so that `host` follows whom it should, and the duty that starts what it has; neither when it is only
/// let in.
pub fn starting<'a>(
    host: &'a HostName,
    entering: Entering,
    way: &Way,
    seen: Option<&MysqlFacts>,
) -> (Option<Fix>, Option<Call<'a>>) {
    if entering != Entering::Start {
        return (None, None);
    }
    match way {
        Way::Follow(writer) => (Some(Fix::Follow(host.clone(), writer.clone())), None),
        Way::AsItIs if seen.is_some_and(|mysql| !mysql.replicas.is_empty()) => (
            None,
            Some(Call::plain(host, "start-replication", REPLICATION_WITHIN)),
        ),
        Way::AsItIs => (None, None),
    }
}

/// Who may hold and keep addresses once `host` is out of service.
fn without(host: &HostName, cluster: &Cluster, online: &[HostName], standing: &Standing) -> Eligible {
    let is_out = |name: &HostName| {
        name == host || standing.offline.contains_key(name) || standing.owed.contains_key(name)
    };
    let all = cluster.hosts.iter().map(|host| &host.name);
    Eligible {
        to_hold: online.iter().filter(|name| !is_out(name)).cloned().collect(),
        to_keep: all.filter(|name| !is_out(name)).cloned().collect(),
        ..Eligible::default()
    }
}

/// Whether a channel has a thread that is not stopped.
pub fn is_at_work(channel: &ReplicationFacts) -> bool {
    channel.io != IoThread::No || channel.sql != SqlThread::No
}
