//! Which host should hold which floating address. Sticky: what a host holds it keeps while it may, unless a person or
//! `prefer` put it elsewhere, or the spread of the balanced roles is uneven by more than one.
//!
//! Weights are MMM's: one for each address, half for the writer's.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::cluster::{Cluster, FailBack, HostName, Role, RoleMode};

/// Who should hold what; an address that nobody can hold is not in it.
pub type Holders = BTreeMap<IpAddr, HostName>;

/// Who was seen to hold what: normally one host each.
pub type Held = BTreeMap<IpAddr, Vec<HostName>>;

/// What hosts may do about roles now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Eligible {
    /// Hosts that may be given addresses.
    pub to_hold: Vec<HostName>,
    /// Hosts that may keep what they hold; whoever may hold may keep.
    pub to_keep: Vec<HostName>,
    /// Hosts to which a role that prefers them goes back.
    pub to_return: Vec<HostName>,
    /// What hosts held when they could last be looked at. It counts while such a host cannot be looked at and may keep
    /// what it holds.
    pub last_seen: Held,
    /// The writer has failed and is to be replaced, which is held back: what has to do with its role is left alone.
    pub writer_in_doubt: bool,
    /// It has failed, and nobody could take over: no failover is held up by a host that takes writes, which may be how a
    /// person helps himself.
    pub nobody_to_open: bool,
}

impl Eligible {
    fn holds(&self, role: &Role, host: &HostName) -> bool {
        role.hosts.contains(host) && self.to_hold.contains(host)
    }

    fn keeps(&self, role: &Role, host: &HostName) -> bool {
        role.hosts.contains(host) && (self.to_keep.contains(host) || self.to_hold.contains(host))
    }
}

/// The assignment wanted, given the writer, what hosts may do, who holds what already, and where a person put addresses.
///
/// The writer address always belongs to `writer`, whatever its health: only an operation moves it. Other addresses
/// belong to hosts that may have them, or to nobody.
pub fn wanted(
    cluster: &Cluster,
    writer: Option<&HostName>,
    eligible: &Eligible,
    held: &Held,
    placed: &Holders,
) -> Holders {
    let mut holders = Holders::new();
    if let (Some(address), Some(writer)) = (cluster.writer_address(), writer) {
        holders.insert(address, writer.clone());
    }
    let others = |mode: RoleMode| {
        let roles = cluster.roles.iter();
        roles.filter(move |role| role.mode == mode && role.name != cluster.writer_role)
    };
    let all = || others(RoleMode::Exclusive).chain(others(RoleMode::Balanced));
    for role in all() {
        for address in &role.addresses {
            if let Some(host) = settled(role, *address, eligible, held, placed) {
                holders.insert(*address, host.clone());
            }
        }
    }
    for role in all() {
        for address in &role.addresses {
            if holders.contains_key(address) {
                continue;
            }
            let preferred = role.prefer.as_ref().filter(|host| eligible.holds(role, host));
            if let Some(host) = preferred.or_else(|| lightest(cluster, role, eligible, &holders)) {
                holders.insert(*address, host.clone());
            }
        }
    }
    // Spreading one role shifts the weights that another looks at. Each move makes the weights more equal, so it ends.
    while others(RoleMode::Balanced).any(|role| balance_one(cluster, role, eligible, placed, &mut holders)) {}
    holders
}

/// Where an address is put or stays before anything is spread.
fn settled<'a>(
    role: &'a Role,
    address: IpAddr,
    eligible: &Eligible,
    held: &'a Held,
    placed: &'a Holders,
) -> Option<&'a HostName> {
    let holders = || held.get(&address).into_iter().flatten();
    let by_a_person = placed.get(&address).filter(|host| {
        eligible.holds(role, host) || holders().any(|holder| holder == *host && eligible.keeps(role, host))
    });
    let preferred = role.prefer.as_ref().filter(|host| {
        role.fail_back == FailBack::CaughtUp
            && eligible.holds(role, host)
            && eligible.to_return.contains(host)
    });
    let best = || holders().find(|host| eligible.holds(role, host));
    let kept = || holders().find(|host| eligible.keeps(role, host));
    by_a_person.or(preferred).or_else(best).or_else(kept)
}

/// Twice the weight, to stay with whole numbers.
fn weight(cluster: &Cluster, host: &HostName, holders: &Holders) -> usize {
    let writer_address = cluster.writer_address();
    holders
        .iter()
        .filter(|(_, holder)| *holder == host)
        .map(|(address, _)| if Some(*address) == writer_address { 1 } else { 2 })
        .sum()
}

/// The first listed of the lightest hosts that may hold the role.
fn lightest<'a>(
    cluster: &Cluster,
    role: &'a Role,
    eligible: &Eligible,
    holders: &Holders,
) -> Option<&'a HostName> {
    let hosts = role.hosts.iter().filter(|host| eligible.holds(role, host));
    hosts.min_by_key(|host| weight(cluster, host, holders))
}

/// Moves one address of the role from the heaviest host that can give one to the lightest, if they differ by more than
/// one. What a person placed stays.
fn balance_one(
    cluster: &Cluster,
    role: &Role,
    eligible: &Eligible,
    placed: &Holders,
    holders: &mut Holders,
) -> bool {
    let movable = |host: &HostName, holders: &Holders| {
        let mut addresses = role.addresses.iter().copied();
        addresses.find(|address| holders.get(address) == Some(host) && placed.get(address) != Some(host))
    };
    let givers = role.hosts.iter().filter(|host| eligible.holds(role, host));
    let heaviest = givers
        .filter_map(|host| Some((host, movable(host, holders)?)))
        .max_by_key(|(host, _)| weight(cluster, host, holders));
    let (Some((heaviest, address)), Some(lightest)) = (heaviest, lightest(cluster, role, eligible, holders))
    else {
        return false;
    };
    if weight(cluster, heaviest, holders) <= weight(cluster, lightest, holders) + 2 {
        return false;
    }
    holders.insert(address, lightest.clone());
    true
}

#[cfg(test)]
mod tests;
