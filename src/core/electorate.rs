//! Whom the writer role would go to: everybody who may have it, what bars each, and who comes first.
//!
//! When the writer is dead, whoever received most comes first, because the rest would be lost. When it lives, nothing is
//! lost whoever takes over, so only a host that lags comes later. Then the inventory decides: `promotion`, the role's
//! `prefer`, the order of the role's hosts.

mod memory;

use std::collections::BTreeMap;
use std::time::Duration;

use super::cluster::{Cluster, HostName, MixedVersions, Promotion};
use super::election::{self, Barred};
use super::facts::{GtidFacts, HostFacts, MysqlFacts, ReceivedGtid, UsingGtid, Version};
use super::gtid::{BinlogPosition, MariaPosition, MysqlSet};
use super::hosts::HostState;
use super::losses;
use super::standing::Standing;

pub use memory::Memory;

/// In a planned move a host counts as caught up when it is not further behind than this.
const CAUGHT_UP: Duration = Duration::from_secs(1);

/// What an election rests on.
#[derive(Debug, Clone, Copy)]
pub struct Electorate<'a> {
    /// The cluster.
    pub cluster: &'a Cluster,
    /// What stands.
    pub standing: &'a Standing,
    /// What was seen.
    pub facts: &'a BTreeMap<HostName, HostFacts>,
    /// Who gives the role away, if anybody has it.
    pub outgoing: Option<&'a HostName>,
    /// What was seen before.
    pub memory: &'a Memory,
}

/// A host that may be the writer, and what bars it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The host.
    pub host: HostName,
    /// Why it cannot take over; none when it can.
    pub barred: Option<Barred>,
}

impl Electorate<'_> {
    /// Why `host` cannot take over; `None` when it can.
    pub fn barred(&self, host: &HostName) -> Option<Barred> {
        let known = self.cluster.host(host);
        if known.is_some_and(|known| known.promotion == Promotion::Never) {
            return Some(Barred::NeverPromoted);
        }
        if let Some(barred) = election::barred(self.standing, self.facts, host) {
            return Some(barred);
        }
        let own = self.up(host)?;
        if !own.log_slave_updates {
            return Some(Barred::NoSlaveUpdates);
        }
        self.strayed(own)
            .or_else(|| self.filters(host, own))
            .or_else(|| self.versions(host, own))
            .or_else(|| self.behind(host, own))
            .or_else(|| self.state(host, own))
    }

    /// Everybody who may be the writer, but for the outgoing one: first those who can take over, the best one first, then
    /// the others, in the role's order.
    pub fn candidates(&self) -> Vec<Candidate> {
        let Some(role) = self.cluster.writer() else {
            return Vec::new();
        };
        let hosts = role.hosts.iter().filter(|host| Some(*host) != self.outgoing);
        let judged = hosts.map(|host| Candidate {
            host: host.clone(),
            barred: self.barred(host),
        });
        let (able, unable): (Vec<_>, Vec<_>) = judged.partition(|one| one.barred.is_none());
        let mut able: Vec<HostName> = able.into_iter().map(|one| one.host).collect();
        // The inventory's wish first, in a stable order; then whoever nobody else is ahead of, again and again.
        able.sort_by_key(|host| {
            let promotion = self.cluster.host(host).map(|host| host.promotion);
            (
                promotion != Some(Promotion::Prefer),
                role.prefer.as_ref() != Some(host),
            )
        });
        let mut ranked = Vec::new();
        while !able.is_empty() {
            let is_behind = |host: &HostName| able.iter().any(|other| self.is_ahead(other, host));
            let best = able.iter().position(|host| !is_behind(host)).unwrap_or(0);
            ranked.push(Candidate {
                host: able.remove(best),
                barred: None,
            });
        }
        ranked.extend(unable);
        ranked
    }

    /// Who would take over.
    pub fn successor(&self) -> Option<HostName> {
        let first = self.candidates().into_iter().next();
        first.filter(|one| one.barred.is_none()).map(|one| one.host)
    }

    fn up(&self, host: &HostName) -> Option<&MysqlFacts> {
        self.facts.get(host).and_then(|facts| facts.mysql.up())
    }

    fn writer(&self) -> Option<&MysqlFacts> {
        self.outgoing.and_then(|host| self.up(host))
    }

    fn is_ahead(&self, one: &HostName, other: &HostName) -> bool {
        let (Some(one), Some(other)) = (self.up(one), self.up(other)) else {
            return false;
        };
        if self.writer().is_some() {
            let caught_up = |mysql: &MysqlFacts| {
                let lag = mysql.replicas.first().and_then(|channel| channel.lag);
                lag.is_some_and(|lag| lag <= CAUGHT_UP)
            };
            return caught_up(one) && !caught_up(other);
        }
        received(one).is_past(&received(other))
    }

    /// What somebody wrote on it while the writer served shows beside a dead writer only by what that was seen to have.
    fn strayed(&self, own: &MysqlFacts) -> Option<Barred> {
        let seen = self.memory.seen.as_ref();
        let seen = seen.filter(|seen| Some(&seen.host) == self.outgoing && self.writer().is_none())?;
        losses::strayed(own, &seen.history).map(Barred::Strayed)
    }

    /// What keeps a host from it is more than its facts of this moment: a standby whose replication was broken before does
    /// not become fit because the writer died.
    fn state(&self, host: &HostName, own: &MysqlFacts) -> Option<Barred> {
        match self.memory.states.get(host) {
            Some(state) => (!may_take_over(*state)).then_some(Barred::State(*state)),
            // A living writer is asked how far it is ahead.
            None if self.writer().is_some() => None,
            None => election::had_stopped(self.facts, host, own),
        }
    }

    /// Filters that differ from the writer's. Where nobody knows those any more, one that leaves nothing out is fine, and
    /// others are compared with the other masters.
    fn filters(&self, host: &HostName, own: &MysqlFacts) -> Option<Barred> {
        let own = own.filters.as_ref()?;
        let remembered = || {
            self.memory
                .writer
                .as_ref()
                .and_then(|(_, filters)| filters.as_ref())
        };
        let of_writer = match self.writer() {
            Some(writer) => writer.filters.as_ref(),
            None => remembered(),
        };
        let of_another = || {
            let role = self.cluster.writer().filter(|_| !own.is_empty())?;
            let mut others = role.hosts.iter().filter(|other| *other != host);
            others.find_map(|other| self.up(other)?.filters.as_ref())
        };
        let wanted = of_writer.or_else(of_another)?;
        own.differs_from(wanted).map(Barred::Filters)
    }

    /// A server replicates from one of its own series or an older one; nobody vouches for the other way round. What is so
    /// already under the writer bars nobody.
    fn versions(&self, host: &HostName, own: &MysqlFacts) -> Option<Barred> {
        if self.cluster.failover.mixed_versions == MixedVersions::Accept {
            return None;
        }
        let remembered = || self.memory.writer.as_ref().map(|(version, _)| *version);
        let writers = self.writer().map(|writer| writer.version).or_else(remembered);
        if let Some(writers) = writers.filter(|writers| !own.version.may_follow(*writers)) {
            return Some(Barred::Version(format!(
                "it runs {}, and the writer {writers}",
                own.version
            )));
        }
        let follows = |other: &&HostName| {
            *other != host
                && !self.standing.owed.contains_key(*other)
                && !self.standing.offline.contains_key(*other)
        };
        let hosts = self.cluster.hosts.iter().map(|host| &host.name).filter(follows);
        let followers: Vec<(&HostName, Version)> = hosts
            .filter_map(|other| Some((other, self.up(other)?.version)))
            .collect();
        let is_new = |follower: Version| match writers {
            Some(writers) => follower.may_follow(writers),
            // Nobody knows: the one that stands alone is taken for the new one.
            None => !followers.iter().any(|(_, other)| other.may_follow(own.version)),
        };
        let mut older = followers
            .iter()
            .filter(|(_, version)| !version.may_follow(own.version));
        let (other, version) = older.find(|(_, version)| is_new(*version))?;
        Some(Barred::Version(format!(
            "`{other}` runs {version}, and would replicate from {}",
            own.version
        )))
    }

    fn behind(&self, host: &HostName, own: &MysqlFacts) -> Option<Barred> {
        let at_most = self.cluster.failover.max_behind?;
        let told = own.replicas.first().and_then(|channel| channel.lag);
        let lag = told.or_else(|| self.memory.lags.get(host).copied())?;
        (lag > at_most).then_some(Barred::Behind { lag, at_most })
    }
}

/// Whether a host in that state may become the writer without a person. A lag is caught up with first; one that is not
/// known yet is judged by its facts alone.
/// Whether a host in that state may be given the writer role.
pub fn may_take_over(state: HostState) -> bool {
    match state {
        HostState::Online | HostState::ReplicationDelay | HostState::Unknown => true,
        HostState::AdminOffline
        | HostState::HardOffline
        | HostState::AwaitingRecovery
        | HostState::ReplicationFail => false,
    }
}

/// How far a server has received what the writer wrote, applied or not: it applies the rest before it is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// In MariaDB's GTIDs.
    Mariadb(MariaPosition),
    /// In MySQL's GTIDs.
    Mysql(MysqlSet),
    /// In the log of the server of this id.
    File(u32, BinlogPosition),
    /// Nobody can tell.
    Untold,
}

impl Received {
    /// Whether it holds all that the other does, for certain.
    pub fn covers(&self, other: &Received) -> bool {
        match (self, other) {
            (Received::Mariadb(one), Received::Mariadb(other)) => one.reaches(other),
            (Received::Mysql(one), Received::Mysql(other)) => one.contains(other),
            (Received::File(source, one), Received::File(same, other)) => source == same && one >= other,
            _ => false,
        }
    }

    /// Whether it holds more than the other, for certain.
    fn is_past(&self, other: &Received) -> bool {
        match (self, other) {
            (Received::Mariadb(one), Received::Mariadb(other)) => one.reaches(other) && !other.reaches(one),
            (Received::Mysql(one), Received::Mysql(other)) => one.contains(other) && !other.contains(one),
            (Received::File(source, one), Received::File(same, other)) => source == same && one > other,
            _ => false,
        }
    }
}

/// How far a server has received.
pub fn received(mysql: &MysqlFacts) -> Received {
    let Some(channel) = mysql.replicas.first() else {
        return Received::Untold;
    };
    match (&mysql.gtid, &channel.received_gtid) {
        (GtidFacts::Mariadb { slave_pos, .. }, gtid) if channel.using_gtid != UsingGtid::No => match gtid {
            ReceivedGtid::Mariadb(position) => Received::Mariadb(slave_pos.or_later(position)),
            ReceivedGtid::Mysql(_) | ReceivedGtid::None => Received::Mariadb(slave_pos.clone()),
        },
        (GtidFacts::Mysql { executed, .. }, gtid) if channel.using_gtid != UsingGtid::No => match gtid {
            ReceivedGtid::Mysql(set) => Received::Mysql(executed.union(set)),
            ReceivedGtid::Mariadb(_) | ReceivedGtid::None => Received::Mysql(executed.clone()),
        },
        _ => match (channel.source_server_id, &channel.received) {
            (Some(source), Some(position)) => Received::File(source, position.clone()),
            _ => Received::Untold,
        },
    }
}

#[cfg(test)]
mod tests;
