//! Findings about floating addresses: each on one host, and the writer's on the host that takes writes.

use std::net::IpAddr;

use crate::core::cluster::Cluster;

use super::{Finding, Name, Severity, Subject};

/// Where the floating addresses are. Hosts that could not be looked at have findings of their own.
pub(super) fn check(cluster: &Cluster, hosts: &[Subject], findings: &mut Vec<Finding>) {
    for role in &cluster.roles {
        for address in &role.addresses {
            let holders = holders(hosts, *address);
            if let [first, others @ ..] = holders.as_slice() {
                for subject in others {
                    findings.push(subject.finding(
                        Name::AddressHeldTwice,
                        Severity::Error,
                        format!(
                            "it holds the {} address {address}, and so does `{}`",
                            role.name, first.host.name
                        ),
                        "which of the two a client reaches is chance",
                        format!("`ip address flush to {address}` on the host that should not hold it"),
                    ));
                }
            }
        }
    }
    if let Some(address) = cluster.writer_address() {
        writer(address, hosts, findings);
    }
}

fn writer(address: IpAddr, hosts: &[Subject], findings: &mut Vec<Finding>) {
    let holders = holders(hosts, address);
    for subject in holders
        .iter()
        .filter(|one| one.facts().is_some_and(|facts| !facts.is_writable()))
    {
        findings.push(subject.finding(
            Name::WriterAddressMisplaced,
            Severity::Error,
            format!("it holds the writer address {address} and does not take writes"),
            "every write that applications send there is refused",
            "let the monitor repair it, or find out why this server is read-only".to_owned(),
        ));
    }
    let writable = hosts
        .iter()
        .find(|one| one.facts().is_some_and(|facts| facts.is_writable()));
    let all_seen = hosts
        .iter()
        .all(|one| one.shell().is_some_and(|seen| seen.held.is_ok()));
    if let (Some(subject), true, true) = (writable, holders.is_empty(), all_seen) {
        findings.push(subject.finding(
            Name::WriterAddressAbsent,
            Severity::Warning,
            format!("it takes writes, and nobody holds the writer address {address}"),
            "applications that use the address reach nobody",
            "start the monitor: it brings the address up".to_owned(),
        ));
    }
}

fn holders<'h, 's>(hosts: &'h [Subject<'s>], address: IpAddr) -> Vec<&'h Subject<'s>> {
    hosts
        .iter()
        .filter(|one| {
            one.shell()
                .is_some_and(|seen| seen.held.as_ref().is_ok_and(|held| held.contains(&address)))
        })
        .collect()
}
