//! What makes a replaced writer harmless before it is compared: no address, read-only, its replication stopped.

use std::net::IpAddr;
use std::time::Duration;

use crate::config::inventory::{ClusterEntry, Service};
use crate::core::cluster::HostName;
use crate::core::guard::Guard;
use crate::core::trouble::Trouble;

/// Closing a host may take so long.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);
/// Starting a server that was kept stopped may take so long: it recovers first.
const START_WITHIN: Duration = Duration::from_secs(60);

/// A duty that is performed there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Measure<'e> {
    /// Its name.
    pub(crate) duty: &'e str,
    /// The address it is about.
    pub(crate) address: Option<IpAddr>,
    /// It has ended after so long.
    pub(crate) within: Duration,
}

/// What is done with a host, in order, and why that is not enough, where it is not. A server that was kept stopped is
/// started, read-only.
pub(crate) fn measures<'e>(
    entry: &'e ClusterEntry,
    host: &HostName,
    server_is_up: bool,
) -> (Vec<Measure<'e>>, Option<Trouble>) {
    let all = entry.cluster.roles.iter().flat_map(|role| &role.addresses);
    let mut measures: Vec<Measure<'_>> = all
        .map(|ip| Measure {
            duty: "drop-address",
            address: Some(*ip),
            within: CLOSE_WITHIN,
        })
        .collect();
    let then = |duty, within| Measure {
        duty,
        address: None,
        within,
    };
    match entry.hosts.get(host).map(|host| &host.service) {
        _ if server_is_up => measures.push(then("demote-server", CLOSE_WITHIN)),
        Some(Service::Systemd { .. }) => measures.push(then("start-demoted", START_WITHIN)),
        Some(Service::Duties { allow_start, .. }) => {
            measures.push(then(allow_start, START_WITHIN));
            measures.push(then("demote-server", START_WITHIN));
        }
        Some(Service::None) | None => {
            let because = "its server is stopped, and the inventory declares nothing that starts it";
            let trouble = could_not(host, because).hint("start it by hand, read-only");
            return (measures, Some(trouble));
        }
    }
    (measures, None)
}

/// That it was tried in vain.
pub(crate) fn could_not(host: &HostName, because: impl std::fmt::Display) -> Trouble {
    Trouble::refused(
        Guard::G44,
        format!("`{host}` could not be made harmless"),
        because,
    )
}
