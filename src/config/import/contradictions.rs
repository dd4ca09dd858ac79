//! No address stands for two things, in one cluster or across all that are imported together.

use std::collections::HashMap;
use std::net::IpAddr;

use super::meaning::Cluster;
use super::texts::{At, Said, Texts};
use crate::config::diagnostic::Diagnostic;

/// Reports every address that two hosts, two roles, or a host and a role have.
pub fn check(clusters: &[Cluster], texts: &Texts, findings: &mut Vec<Diagnostic>) {
    let mut taken: HashMap<IpAddr, (String, &At)> = HashMap::new();
    for cluster in clusters {
        let of = |kind: &str, name: &Said| match clusters {
            [_] => format!("{kind} `{}`", name.text),
            _ => format!("{kind} `{}` of `{}`", name.text, cluster.name),
        };
        let hosts = cluster
            .hosts
            .iter()
            .map(|host| (of("host", &host.name), &host.address));
        let roles = cluster.roles.iter();
        let roles = roles.flat_map(|role| {
            role.addresses
                .iter()
                .map(|address| (of("role", &role.name), address))
        });
        for (owner, said) in hosts.chain(roles) {
            let Ok(address) = said.text.parse::<IpAddr>() else {
                continue;
            };
            let address = address.to_canonical();
            let Some((first, at)) = taken.get(&address) else {
                taken.insert(address, (owner, &said.at));
                continue;
            };
            findings.push(texts.error(
                &said.at,
                format!(
                    "`{address}` of {owner} already belongs to {first} ({})",
                    texts.place(at)
                ),
                "MMM took that; an address that two hold reaches one of them by chance",
                "give each its own address",
            ));
        }
    }
}
