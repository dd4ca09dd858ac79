//! What bars a host from the writer role, as it shows in its own facts. [`electorate`](super::electorate) compares hosts.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::cluster::HostName;
use super::electorate::{self, Received};
use super::facts::{HostFacts, IoThread, MysqlFacts, Reach, ReplicationError, SqlThread};
use super::guard::Guard;
use super::hosts::HostState;
use super::losses;
use super::maintenance;
use super::standing::Standing;
use super::trouble::Trouble;

/// Why a host cannot be the next writer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Barred {
    /// A person took it out of service.
    OutOfService,
    /// Its server does not answer; why.
    Unanswered(String),
    /// It was replaced as writer and has not been compared since.
    Owed,
    /// It is kept out because of what only it has.
    KeptOut(String),
    /// A rebuild of it has not come to its end.
    HalfRebuilt,
    /// Somebody wrote on it what the writer never had.
    Strayed(String),
    /// It replicates from nobody, so nothing says that it has the writer's data.
    NotReplicating,
    /// It does not apply what it received.
    SqlThreadStopped(String),
    /// It had stopped receiving, by no error that a dead source causes, and the writer cannot be asked what it lacks.
    IoThreadStopped(String),
    /// Its binary log is off, so nobody could follow it.
    NoBinaryLog,
    /// What it applied is not in its binary log, so who follows would miss it.
    NoSlaveUpdates,
    /// It filters otherwise than the writer, so it may lack what the writer has; how.
    Filters(String),
    /// A server would replicate from a newer series, or from another family; which.
    Version(String),
    /// It was last seen further behind than the inventory allows.
    Behind {
        /// How far.
        lag: Duration,
        /// What the inventory allows.
        at_most: Duration,
    },
    /// Its trouble is expected for a while; until when, and why.
    Downtime(String),
    /// The inventory says so.
    NeverPromoted,
    /// The monitor holds it to be in a state in which it takes no role.
    State(HostState),
}

impl Barred {
    /// Its number.
    pub fn guard(&self) -> Guard {
        match self {
            Barred::OutOfService => Guard::G21,
            Barred::Owed => Guard::G22,
            Barred::KeptOut(_) => Guard::G23,
            Barred::HalfRebuilt => Guard::G49,
            Barred::Strayed(_) => Guard::G38,
            Barred::Unanswered(_) => Guard::G24,
            Barred::NotReplicating => Guard::G25,
            Barred::SqlThreadStopped(_) => Guard::G26,
            Barred::IoThreadStopped(_) => Guard::G35,
            Barred::NoBinaryLog => Guard::G27,
            Barred::NoSlaveUpdates => Guard::G28,
            Barred::Filters(_) => Guard::G29,
            Barred::Version(_) => Guard::G30,
            Barred::Behind { .. } => Guard::G31,
            Barred::Downtime(_) => Guard::G82,
            Barred::NeverPromoted => Guard::G32,
            Barred::State(_) => Guard::G33,
        }
    }

    /// What lifts it.
    pub fn lifted_by(&self, host: &HostName) -> String {
        self.guard().lifted_for(host)
    }

    /// The refusal of an operation that would let `host` take over.
    pub fn refusal(&self, what: impl Into<String>, host: &HostName) -> Trouble {
        Trouble::refused(self.guard(), what, format!("`{host}` cannot take over: {self}"))
            .hint(self.lifted_by(host))
    }
}

impl fmt::Display for Barred {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Barred::OutOfService => f.write_str("a person took it out of service"),
            Barred::Unanswered(why) => write!(f, "its server does not answer: {why}"),
            Barred::Owed => f.write_str("it was replaced as writer and has not been compared since"),
            Barred::KeptOut(surplus) => write!(f, "it has transactions that the writer has not: {surplus}"),
            Barred::HalfRebuilt => {
                f.write_str("its rebuild has not come to its end, so it may hold only a part")
            }
            Barred::Strayed(last) => f.write_str(&losses::strayed_words(last)),
            Barred::NotReplicating => f.write_str("it replicates from nobody"),
            Barred::SqlThreadStopped(why) if why.is_empty() => f.write_str("its SQL thread is stopped"),
            Barred::SqlThreadStopped(why) => write!(f, "its SQL thread is stopped: {why}"),
            Barred::IoThreadStopped(why) if why.is_empty() => {
                f.write_str("its IO thread is stopped, and since when is not known")
            }
            Barred::IoThreadStopped(why) => write!(f, "its IO thread had stopped: {why}"),
            Barred::NoBinaryLog => f.write_str("its binary log is off"),
            Barred::NoSlaveUpdates => f.write_str("its `log_slave_updates` is off"),
            Barred::Filters(how) => write!(f, "its filters differ: {how}"),
            Barred::Version(which) => f.write_str(which),
            Barred::Behind { lag, at_most } => write!(
                f,
                "it was last seen {} s behind, and `failover.max_behind` allows {} s",
                lag.as_secs(),
                at_most.as_secs()
            ),
            Barred::Downtime(why) => f.write_str(why),
            Barred::NeverPromoted => f.write_str("the inventory says `promotion: never`"),
            Barred::State(state) => write!(f, "it is {state}"),
        }
    }
}

/// Those who go on receiving from whom this host did, and apply it.
fn fellows<'f>(
    facts: &'f BTreeMap<HostName, HostFacts>,
    host: &HostName,
    mysql: &MysqlFacts,
) -> Vec<&'f MysqlFacts> {
    let source = mysql.replicas.first().map(|channel| &channel.source_host);
    let follows = |other: &&MysqlFacts| {
        let channel = other.replicas.first();
        channel.is_some_and(|channel| {
            Some(&channel.source_host) == source
                && channel.io != IoThread::No
                && channel.sql == SqlThread::Yes
        })
    };
    let others = facts.iter().filter(|(other, _)| *other != host);
    others
        .filter_map(|(_, facts)| facts.mysql.up())
        .filter(follows)
        .collect()
}

/// Whether a host whose replication was stopped stands where it would if it had not been, as a failover leaves it that was
/// cut off: everything received is applied, and its fellows have received just as much. Less would mean that they were cut
/// off earlier, and tells nothing of the time since. A writer that answers may write more.
fn stands_level(facts: &BTreeMap<HostName, HostFacts>, host: &HostName, mysql: &MysqlFacts) -> bool {
    let fellows = fellows(facts, host, mysql);
    losses::stands_still(mysql)
        && !fellows.is_empty()
        && fellows.into_iter().all(|other| is_level(mysql, other))
}

fn is_level(one: &MysqlFacts, other: &MysqlFacts) -> bool {
    let (one, other) = (electorate::received(one), electorate::received(other));
    one.covers(&other) && other.covers(&one)
}

/// Whether a host that receives nothing lacks nothing for it: it has fellows, and these have received no more, or hand it
/// over by its GTIDs.
fn is_made_up_for(facts: &BTreeMap<HostName, HostFacts>, host: &HostName, mysql: &MysqlFacts) -> bool {
    let by_gtid = |mysql: &MysqlFacts| {
        matches!(
            electorate::received(mysql),
            Received::Mariadb(_) | Received::Mysql(_)
        )
    };
    let fellows = fellows(facts, host, mysql);
    let is_fine = |other: &MysqlFacts| is_level(mysql, other) || by_gtid(mysql) && by_gtid(other);
    !fellows.is_empty() && fellows.into_iter().all(is_fine)
}

/// Why `host` cannot take over from `outgoing`; `None` when it can.
pub fn barred(standing: &Standing, facts: &BTreeMap<HostName, HostFacts>, host: &HostName) -> Option<Barred> {
    if standing.offline.contains_key(host) {
        return Some(Barred::OutOfService);
    }
    if let Some(downtime) = standing.downtimes.get(host) {
        return Some(Barred::Downtime(maintenance::words("it", downtime)));
    }
    if let Some(owed) = standing.owed.get(host) {
        return Some(match &owed.progress {
            _ if owed.rebuild.is_some() => Barred::HalfRebuilt,
            super::standing::Return::KeptOut { surplus, .. } => Barred::KeptOut(surplus.clone()),
            _ => Barred::Owed,
        });
    }
    let mysql = match facts.get(host).map(|facts| &facts.mysql) {
        Some(Reach::Up(mysql)) => mysql,
        Some(other) => return Some(Barred::Unanswered(other.trouble().unwrap_or_default().to_owned())),
        None => return Some(Barred::Unanswered("it has not been asked".to_owned())),
    };
    if !mysql.log_bin {
        return Some(Barred::NoBinaryLog);
    }
    let writer = standing.writer.as_ref();
    if let Some(last) = writer.and_then(|writer| losses::strayed_from(facts, writer, host)) {
        return Some(Barred::Strayed(last));
    }
    let Some(channel) = mysql.replicas.first() else {
        return Some(Barred::NotReplicating);
    };
    let answers = |writer: &HostName| facts.get(writer).is_some_and(|facts| facts.mysql.up().is_some());
    let is_fit = || !writer.is_some_and(answers) && stands_level(facts, host, mysql);
    if channel.sql == SqlThread::No && !is_fit() {
        let error = channel.sql_error.as_ref().map(ToString::to_string);
        let waiting = losses::unapplied(mysql, channel).map(|surplus| {
            let some = losses::transactions(&surplus);
            format!("it has received {some} that it has not applied ({surplus})")
        });
        let why: Vec<String> = error.into_iter().chain(waiting).collect();
        return Some(Barred::SqlThreadStopped(why.join("; ")));
    }
    None
}

/// What bars a host that had stopped receiving before the writer died, of which nobody remembers anything: since when, and
/// so how much it lacks, nobody can tell.
pub fn had_stopped(
    facts: &BTreeMap<HostName, HostFacts>,
    host: &HostName,
    mysql: &MysqlFacts,
) -> Option<Barred> {
    let channel = mysql
        .replicas
        .first()
        .filter(|channel| channel.io == IoThread::No)?;
    let error = channel.io_error.as_ref();
    if error.is_some_and(ReplicationError::is_lost_source) || is_made_up_for(facts, host, mysql) {
        return None;
    }
    Some(Barred::IoThreadStopped(
        error.map(ToString::to_string).unwrap_or_default(),
    ))
}
