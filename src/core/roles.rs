//! Which host should hold which floating address. Sticky: what a healthy host holds it keeps, unless the spread of a
//! balanced role is uneven by more than one.
//!
//! Weights are MMM's: one for each address, half for the writer's.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::cluster::{Cluster, HostName, RoleMode};

/// Who holds what: every floating address of the cluster that has a holder.
pub type Holders = BTreeMap<IpAddr, HostName>;

/// The assignment wanted, given the writer, the hosts that may hold roles now, and who holds what already.
///
/// The writer address always belongs to `writer`, whatever its health: only an operation moves it. Other addresses
/// belong to hosts in `online`, or to nobody.
pub fn wanted(cluster: &Cluster, writer: Option<&HostName>, online: &[HostName], held: &Holders) -> Holders {
    let mut holders = Holders::new();
    if let (Some(address), Some(writer)) = (cluster.writer_address(), writer) {
        holders.insert(address, writer.clone());
    }
    for mode in [RoleMode::Exclusive, RoleMode::Balanced] {
        for role in cluster
            .roles
            .iter()
            .filter(|role| role.mode == mode && role.name != cluster.writer_role)
        {
            let eligible: Vec<&HostName> = role.hosts.iter().filter(|host| online.contains(host)).collect();
            for address in &role.addresses {
                if let Some(holder) = held.get(address).filter(|holder| eligible.contains(holder)) {
                    holders.insert(*address, holder.clone());
                }
            }
            for address in &role.addresses {
                if holders.contains_key(address) {
                    continue;
                }
                let preferred = role.prefer.as_ref().filter(|host| eligible.contains(host));
                if let Some(host) = preferred.or_else(|| lightest(cluster, &eligible, &holders)) {
                    holders.insert(*address, host.clone());
                }
            }
            if mode == RoleMode::Balanced {
                balance(cluster, &role.addresses, &eligible, &mut holders);
            }
        }
    }
    holders
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

fn lightest<'a>(cluster: &Cluster, eligible: &[&'a HostName], holders: &Holders) -> Option<&'a HostName> {
    eligible
        .iter()
        .copied()
        .min_by_key(|host| weight(cluster, host, holders))
}

/// Moves one address at a time from the heaviest to the lightest holder while they differ by more than one.
fn balance(cluster: &Cluster, addresses: &[IpAddr], eligible: &[&HostName], holders: &mut Holders) {
    for _ in 0..addresses.len() {
        let movable = |host: &HostName, holders: &Holders| {
            addresses
                .iter()
                .copied()
                .find(|address| holders.get(address) == Some(host))
        };
        let heaviest = eligible
            .iter()
            .filter(|host| movable(host, holders).is_some())
            .max_by_key(|host| weight(cluster, host, holders));
        let (Some(heaviest), Some(lightest)) = (heaviest, lightest(cluster, eligible, holders)) else {
            return;
        };
        if weight(cluster, heaviest, holders) <= weight(cluster, lightest, holders) + 2 {
            return;
        }
        if let Some(address) = movable(heaviest, holders) {
            holders.insert(address, (*lightest).clone());
        }
    }
}
