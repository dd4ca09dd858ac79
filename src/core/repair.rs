//! Desired against observed: what is out of place, and the small fixes that put it back.
//!
//! A fix never opens a host for writes. Fixes are found twice from the same function: once by the engine to see that
//! something is wrong, once under the lock from fresh facts to see what still is.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use super::cluster::{Cluster, HostName};
use super::facts::{HostFacts, IoThread, MysqlFacts, SqlThread, UsingGtid};
use super::foreign;
use super::gtid::{self, Compared};
use super::roles::{self, Eligible, Held};
use super::standing::{Return, Standing};

/// One thing to put right on one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fix {
    /// A replaced writer was met: make it read-only and stop its replication, before anything else.
    Quarantine(HostName),
    /// A host that is not the writer accepts writes: close it.
    DenyWrites(HostName),
    /// An address stands where it does not belong: take it away.
    RemoveAddress(HostName, IpAddr),
    /// An address is missing where it belongs: bring it up and announce it.
    AddAddress(HostName, IpAddr),
    /// As [`Fix::AddAddress`], while a host that could hold it cannot be looked at: not if somebody answers for it.
    AddAddressIfFree(HostName, IpAddr),
    /// An address was on two hosts: its holder says again where it is, or clients would go on asking the other.
    Announce(HostName, IpAddr),
    /// A host still follows somebody else, and has nothing that the writer lacks: point it to the writer.
    Follow(HostName, HostName),
    /// A host still receives from this replaced writer, and cannot follow the writer of today: it receives nothing more,
    /// or it would take up what only the replaced one has.
    StopReceiving(HostName, HostName),
}

impl Fix {
    /// The host it is done on.
    pub fn host(&self) -> &HostName {
        match self {
            Fix::Quarantine(host)
            | Fix::DenyWrites(host)
            | Fix::RemoveAddress(host, _)
            | Fix::AddAddress(host, _)
            | Fix::AddAddressIfFree(host, _)
            | Fix::Announce(host, _)
            | Fix::Follow(host, _)
            | Fix::StopReceiving(host, _) => host,
        }
    }
}

impl Fix {
    /// The floating address it is about.
    pub fn address(&self) -> Option<IpAddr> {
        match self {
            Fix::RemoveAddress(_, ip)
            | Fix::AddAddress(_, ip)
            | Fix::AddAddressIfFree(_, ip)
            | Fix::Announce(_, ip) => Some(*ip),
            Fix::Quarantine(_) | Fix::DenyWrites(_) | Fix::Follow(..) | Fix::StopReceiving(..) => None,
        }
    }
}

impl fmt::Display for Fix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fix::Quarantine(_) => {
                f.write_str("made the replaced writer read-only and stopped its replication")
            }
            Fix::DenyWrites(_) => f.write_str("refused writes, since it is not the writer"),
            Fix::RemoveAddress(_, ip) => write!(f, "took {ip} away, since it belongs elsewhere"),
            Fix::AddAddress(_, ip) | Fix::AddAddressIfFree(_, ip) => {
                write!(f, "brought {ip} up, since it was missing")
            }
            Fix::Announce(_, ip) => write!(f, "announced {ip}, since another host held it too"),
            Fix::StopReceiving(_, from) => {
                write!(
                    f,
                    "stopped its replication from {from}, which was replaced as writer"
                )
            }
            Fix::Follow(_, writer) => write!(f, "made it follow the writer {writer}, since it did not"),
        }
    }
}

/// Who holds which floating address, as seen over SSH.
pub fn held(cluster: &Cluster, facts: &BTreeMap<HostName, HostFacts>) -> Held {
    let mut held = Held::new();
    for address in cluster.roles.iter().flat_map(|role| &role.addresses) {
        let holders = facts.iter().filter(|(_, facts)| holds(facts, *address));
        let holders: Vec<HostName> = holders.map(|(host, _)| host.clone()).collect();
        if !holders.is_empty() {
            held.insert(*address, holders);
        }
    }
    held
}

/// Whether a host was seen to hold an address.
pub fn holds(facts: &HostFacts, address: IpAddr) -> bool {
    facts.ssh.up().is_some_and(|shell| shell.holds(address))
}

/// What is held, with what was last seen on hosts that cannot be looked at now: one whose server answers has not lost
/// its addresses because SSH to it has.
fn held_or_last_seen(cluster: &Cluster, eligible: &Eligible, facts: &BTreeMap<HostName, HostFacts>) -> Held {
    let mut held = held(cluster, facts);
    for (address, hosts) in &eligible.last_seen {
        for host in hosts.iter().filter(|host| !is_seen(facts, host)) {
            held.entry(*address).or_default().push(host.clone());
        }
    }
    held
}

fn is_seen(facts: &BTreeMap<HostName, HostFacts>, host: &HostName) -> bool {
    facts.get(host).is_some_and(|facts| facts.ssh.up().is_some())
}

/// Everything out of place on the hosts that could be looked at, in the order in which it must be mended: hosts are
/// closed first, then the writer address leaves where it does not belong, then the others move. Nothing while no
/// writer is known.
pub fn fixes(
    cluster: &Cluster,
    standing: &Standing,
    eligible: &Eligible,
    facts: &BTreeMap<HostName, HostFacts>,
) -> Vec<Fix> {
    let Some(writer) = &standing.writer else {
        return Vec::new();
    };
    let mut fixes = Vec::new();
    for (host, seen) in facts {
        if must_be_quarantined(standing, host, seen) {
            fixes.push(Fix::Quarantine(host.clone()));
        }
        let is_due = standing.owed.contains_key(host);
        if !is_due && host != writer && seen.mysql.up().is_some_and(|mysql| mysql.is_writable()) {
            fixes.push(Fix::DenyWrites(host.clone()));
        }
    }
    fixes.extend(misplaced(cluster, standing, writer, eligible, facts));
    for (host, seen) in facts {
        let kept_out = standing.owed.contains_key(host) || standing.offline.contains_key(host);
        let reached = seen.ssh.up().is_some() && !kept_out;
        let compared = if standing.to_follow.contains(host) {
            compared(cluster, writer, host, facts)
        } else {
            follows_another(cluster, writer, host, facts)
        };
        if reached && compared == Some(Compared::Nothing) {
            fixes.push(Fix::Follow(host.clone(), writer.clone()));
        } else if reached
            && host != writer
            && compared != Some(Compared::Nothing)
            && let Some(from) = receives_from_replaced(cluster, standing, seen, compared.is_some())
        {
            fixes.push(Fix::StopReceiving(host.clone(), from));
        }
    }
    if eligible.writer_in_doubt {
        fixes.retain(|fix| !is_about_writer_role(cluster, fix));
    }
    if eligible.nobody_to_open {
        fixes.retain(|fix| !matches!(fix, Fix::DenyWrites(_)));
    }
    fixes
}

/// Whether a fix touches the writer's address, or a host that could be the writer because it accepts writes. While the
/// writer on record is dead, somebody may have opened another one, or have taken the address from the dead one: a failover
/// sees to that by its own guards, or a person.
fn is_about_writer_role(cluster: &Cluster, fix: &Fix) -> bool {
    let could_be = |host: &HostName| cluster.writer().is_some_and(|role| role.hosts.contains(host));
    match fix {
        Fix::DenyWrites(host) => could_be(host),
        fix => fix.address().is_some() && fix.address() == cluster.writer_address(),
    }
}

/// The replaced writer that a host still receives from, or tries to; by GTID only once it is `known` that the host cannot
/// follow the writer.
fn receives_from_replaced(
    cluster: &Cluster,
    standing: &Standing,
    seen: &HostFacts,
    known: bool,
) -> Option<HostName> {
    let mysql = seen.mysql.up()?;
    let is_settled = |using: UsingGtid| known || using == UsingGtid::No;
    let mut receiving = mysql
        .replicas
        .iter()
        .filter(|channel| channel.io != IoThread::No && is_settled(channel.using_gtid));
    let replaced = || {
        cluster
            .hosts
            .iter()
            .filter(|host| standing.owed.contains_key(&host.name))
    };
    receiving.find_map(|channel| {
        let mut sources = replaced();
        let source = sources.find(|host| host.address.to_string() == channel.source_host)?;
        Some(source.name.clone())
    })
}

/// Addresses that stand where they do not belong, or are missing where they do.
fn misplaced(
    cluster: &Cluster,
    standing: &Standing,
    writer: &HostName,
    eligible: &Eligible,
    facts: &BTreeMap<HostName, HostFacts>,
) -> Vec<Fix> {
    let mut eligible = eligible.clone();
    // What cannot be reached cannot be given anything.
    eligible.to_keep.extend(eligible.to_hold.clone());
    eligible.to_hold.retain(|host| is_seen(facts, host));
    let held = held_or_last_seen(cluster, &eligible, facts);
    let wanted = roles::wanted(cluster, Some(writer), &eligible, &held, &standing.placed);
    let mut roles: Vec<_> = cluster.roles.iter().collect();
    roles.sort_by_key(|role| role.name != cluster.writer_role);
    let mut fixes = Vec::new();
    for role in roles {
        for address in &role.addresses {
            let target = wanted.get(address);
            let strays: Vec<Fix> = facts
                .iter()
                .filter(|(host, seen)| holds(seen, *address) && target != Some(host))
                .map(|(host, _)| Fix::RemoveAddress(host.clone(), *address))
                .collect();
            let missing = target.filter(|host| {
                facts
                    .get(*host)
                    .is_some_and(|seen| seen.ssh.up().is_some() && !holds(seen, *address))
            });
            let all_seen = role.hosts.iter().all(|host| is_seen(facts, host));
            let arrival = missing.map(|host| {
                if all_seen {
                    Fix::AddAddress(host.clone(), *address)
                } else {
                    Fix::AddAddressIfFree(host.clone(), *address)
                }
            });
            let moves = !strays.is_empty();
            if role.name == cluster.writer_role || !all_seen {
                fixes.extend(strays);
                fixes.extend(arrival);
            } else {
                // An address that only reads is up at its new place before it leaves the old one.
                fixes.extend(arrival);
                fixes.extend(strays);
            }
            let holder = target.filter(|host| moves && is_seen(facts, host));
            fixes.extend(holder.map(|host| Fix::Announce(host.clone(), *address)));
        }
    }
    fixes
}

/// When `host` replicates by GTID from somebody who is not the writer: what it has that the writer has
/// not. A replica that was away during a failover would take up what only the old writer has.
pub fn follows_another(
    cluster: &Cluster,
    writer: &HostName,
    host: &HostName,
    facts: &BTreeMap<HostName, HostFacts>,
) -> Option<Compared> {
    let seen = |name: &HostName| facts.get(name).and_then(|facts| facts.mysql.up());
    let [channel] = seen(host)?.replicas.as_slice() else {
        return None;
    };
    let address = cluster.host(writer)?.address.to_string();
    let follows = channel.source_host == address || channel.source_server_id == Some(seen(writer)?.server_id);
    if follows {
        None
    } else {
        compared(cluster, writer, host, facts)
    }
}

/// What a host that replicates by GTID has and the writer has not; none when they cannot be compared now.
fn compared(
    cluster: &Cluster,
    writer: &HostName,
    host: &HostName,
    facts: &BTreeMap<HostName, HostFacts>,
) -> Option<Compared> {
    let seen = |name: &HostName| facts.get(name).and_then(|facts| facts.mysql.up());
    let (replica, leading) = (seen(host)?, seen(writer)?);
    let [channel] = replica.replicas.as_slice() else {
        return None;
    };
    if host == writer
        || replica.is_writable()
        || channel.using_gtid == UsingGtid::No
        || !leading.is_writable()
    {
        return None;
    }
    let has = foreign::left_out(cluster, facts, host, replica.history(leading));
    Some(gtid::compare(&has, &leading.history(replica)))
}

/// Whether this is a replaced writer that answers and has not been made harmless, or is harmless no more.
pub fn must_be_quarantined(standing: &Standing, host: &HostName, seen: &HostFacts) -> bool {
    let Some(owed) = standing
        .owed
        .get(host)
        .filter(|_| standing.writer.as_ref() != Some(host))
    else {
        return false;
    };
    if owed.rebuild.is_some() {
        // Its rebuild may well let it replicate; what writes is closed all the same.
        return seen.mysql.up().is_some_and(MysqlFacts::is_writable);
    }
    owed.progress == Return::Awaited && seen.mysql.up().is_some() || is_active(seen)
}

/// Whether a replaced writer could write or replicate: it restarted by itself after it had been made harmless.
fn is_active(seen: &HostFacts) -> bool {
    seen.mysql.up().is_some_and(|mysql| {
        mysql.is_writable()
            || mysql
                .replicas
                .iter()
                .any(|channel| channel.io != IoThread::No || channel.sql != SqlThread::No)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::evidence::Rung;
    use crate::core::facts::{GtidFacts, Reach};
    use crate::core::gtid::{MariaPosition, MariaState};
    use crate::core::moment::Moment;
    use crate::core::samples::{WRITER_ADDRESS, cluster, facts};
    use crate::core::standing::{Owed, Rebuild};

    #[test]
    fn while_nobody_could_take_over_nobody_is_closed_who_may_be_a_persons_way_out() {
        let standing = Standing {
            writer: Some("db1".into()),
            ..Standing::default()
        };
        let seen = BTreeMap::from([("db3".into(), facts(true, &[]))]);
        let found = |nobody_to_open| {
            let eligible = Eligible {
                writer_in_doubt: true,
                nobody_to_open,
                ..Eligible::default()
            };
            fixes(&cluster(), &standing, &eligible, &seen)
        };
        assert_eq!(found(false), [Fix::DenyWrites("db3".into())]);
        assert_eq!(found(true), []);
    }

    #[test]
    fn a_replaced_writer_is_made_harmless_and_one_that_is_being_rebuilt_only_kept_from_writing() {
        let mut standing = Standing {
            writer: Some("db2".into()),
            ..Standing::default()
        };
        let mut owed = Owed::now(Moment(1), "r", Rung::Silence);
        owed.progress = Return::KeptOut {
            surplus: "0-1-7".to_owned(),
            rows: None,
        };
        let replicates = facts(false, &[]);
        let asked =
            |standing: &Standing, seen: &HostFacts| must_be_quarantined(standing, &"db1".into(), seen);
        standing.owed.insert("db1".into(), owed.clone());
        assert!(asked(&standing, &replicates) && asked(&standing, &facts(true, &[])));
        owed.rebuild = Some(Rebuild {
            surplus: "0-1-7".to_owned(),
            rows: None,
        });
        standing.owed.insert("db1".into(), owed);
        assert!(!asked(&standing, &replicates) && asked(&standing, &facts(true, &[])));
    }

    #[test]
    fn a_host_that_follows_somebody_else_is_pointed_to_the_writer_unless_it_cannot_be_compared() {
        let with_gtid = |facts: HostFacts, state: &str, source: &str| {
            let mut facts = facts;
            if let Reach::Up(mysql) = &mut facts.mysql {
                mysql.gtid = GtidFacts::Mariadb {
                    binlog_pos: MariaPosition::default(),
                    slave_pos: MariaPosition::default(),
                    current_pos: MariaPosition::default(),
                    binlog_state: state.parse::<MariaState>().unwrap(),
                    domain_id: 0,
                    strict: false,
                };
                mysql.server_id = if source == "10.0.0.1" { 2 } else { 3 };
                mysql.replicas[0].source_host = source.into();
                mysql.replicas[0].source_server_id = Some(9);
            }
            facts
        };
        let in_service = Standing {
            writer: Some("db2".into()),
            ..Standing::default()
        };
        let found_by = |standing: &Standing, db3: HostFacts| {
            let seen = BTreeMap::from([
                (
                    "db2".into(),
                    with_gtid(facts(true, &[WRITER_ADDRESS]), "0-1-10,0-2-20", "10.0.0.1"),
                ),
                ("db3".into(), db3),
            ]);
            let eligible = Eligible {
                to_hold: vec!["db2".into(), "db3".into()],
                ..Eligible::default()
            };
            fixes(&cluster(), standing, &eligible, &seen)
        };
        let found = |db3: HostFacts| found_by(&in_service, db3);
        let behind = with_gtid(facts(false, &[]), "0-1-10", "10.0.0.9");
        assert_eq!(found(behind.clone()), [Fix::Follow("db3".into(), "db2".into())]);
        let out_of_service = Standing {
            offline: [("db3".into(), Moment(1))].into(),
            ..in_service.clone()
        };
        assert_eq!(found_by(&out_of_service, behind.clone()), []);
        let ahead = with_gtid(facts(false, &[]), "0-1-11", "10.0.0.9");
        assert_eq!(found(ahead.clone()), []);
        // From one that was replaced it must not take up more, when it cannot follow the writer.
        let replaced = Standing {
            owed: [("db1".into(), Owed::now(Moment(1), "r", Rung::Silence))].into(),
            ..in_service.clone()
        };
        let from_db1 = |mut facts: HostFacts, using: UsingGtid| {
            if let Reach::Up(mysql) = &mut facts.mysql {
                mysql.replicas[0].source_host = "10.0.0.1".into();
                mysql.replicas[0].using_gtid = using;
            }
            facts
        };
        let stop = [Fix::StopReceiving("db3".into(), "db1".into())];
        let gtid = UsingGtid::SlavePos;
        assert_eq!(found_by(&replaced, from_db1(ahead.clone(), gtid)), stop);
        assert_eq!(found_by(&replaced, from_db1(behind.clone(), UsingGtid::No)), stop);
        assert_eq!(
            found_by(&replaced, from_db1(behind, gtid)),
            [Fix::Follow("db3".into(), "db2".into())]
        );
        assert_eq!(found_by(&in_service, from_db1(ahead, gtid)), []);
        let follows = with_gtid(facts(false, &[]), "0-1-10", "10.0.0.2");
        assert_eq!(found(follows.clone()), []);
        // It names the right host already, but nobody knows how far the telling got.
        let half_way = Standing {
            to_follow: [HostName::from("db3")].into(),
            ..in_service.clone()
        };
        assert_eq!(
            found_by(&half_way, follows),
            [Fix::Follow("db3".into(), "db2".into())]
        );
    }
}
