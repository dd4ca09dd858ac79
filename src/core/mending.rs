//! The duties each fix is made of, in order: what a monitor has performed, and what a plan shows.

use std::net::IpAddr;
use std::time::Duration;

use super::cluster::{Cluster, HostMode, HostName};
use super::repair::Fix;

/// One fix may take so long.
pub const FIX_WITHIN: Duration = Duration::from_secs(5);
/// Pointing a host to the writer may take so long: it connects first.
const FOLLOW_WITHIN: Duration = Duration::from_secs(15);
/// Asks whether another machine answers for an address.
pub const IS_IT_FREE: &str = "probe-duplicate";

/// One duty at one host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call<'a> {
    /// Where.
    pub host: &'a HostName,
    /// Its name.
    pub duty: &'static str,
    /// The address it is about.
    pub address: Option<IpAddr>,
    /// Whom the host follows from then on, by GTID.
    pub source: Option<&'a HostName>,
    /// It has ended after so long.
    pub within: Duration,
}

impl<'a> Call<'a> {
    /// A duty that needs nothing but its host.
    pub fn plain(host: &'a HostName, duty: &'static str, within: Duration) -> Call<'a> {
        Call {
            host,
            duty,
            address: None,
            source: None,
            within,
        }
    }
}

impl Fix {
    /// The duties it is made of.
    pub fn calls(&self, cluster: &Cluster) -> Vec<Call<'_>> {
        let plain = |host, duty| Call::plain(host, duty, FIX_WITHIN);
        let about = |host, duty, ip| Call {
            address: Some(ip),
            ..Call::plain(host, duty, FIX_WITHIN)
        };
        match self {
            Fix::Quarantine(host) => vec![plain(host, "demote-server")],
            Fix::DenyWrites(host) => vec![plain(host, "close-server")],
            Fix::RemoveAddress(host, ip) => vec![about(host, "remove-address", *ip)],
            Fix::StopReceiving(host, _) => vec![plain(host, "stop-replication")],
            Fix::Announce(host, ip) => vec![about(host, "announce", *ip)],
            Fix::AddAddress(host, ip) => {
                vec![about(host, "add-address", *ip), about(host, "announce", *ip)]
            }
            Fix::AddAddressIfFree(host, ip) => {
                let duties = [IS_IT_FREE, "add-address", "announce"];
                duties.map(|duty| about(host, duty, *ip)).to_vec()
            }
            Fix::Follow(host, writer) => {
                let is_master = cluster
                    .host(host)
                    .is_some_and(|host| host.mode == HostMode::Master);
                let duty = if is_master { "follow-demoted" } else { "follow" };
                vec![Call {
                    source: Some(writer),
                    ..Call::plain(host, duty, FOLLOW_WITHIN)
                }]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::samples;

    #[test]
    fn an_address_is_announced_once_it_is_up_and_asked_for_where_it_may_be_taken() {
        let cluster = samples::cluster();
        let ip: IpAddr = samples::WRITER_ADDRESS.parse().unwrap();
        let duties = |fix: Fix| -> Vec<&str> { fix.calls(&cluster).iter().map(|call| call.duty).collect() };
        assert_eq!(
            duties(Fix::AddAddress("db3".into(), ip)),
            ["add-address", "announce"]
        );
        assert_eq!(
            duties(Fix::AddAddressIfFree("db3".into(), ip)),
            ["probe-duplicate", "add-address", "announce"]
        );
        assert_eq!(
            duties(Fix::Follow("db2".into(), "db1".into())),
            ["follow-demoted"]
        );
        assert_eq!(duties(Fix::Follow("db3".into(), "db1".into())), ["follow"]);
    }
}
