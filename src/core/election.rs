//! Who could take over the writer role.

use std::collections::BTreeMap;
use std::fmt;

use super::cluster::{Cluster, HostName};
use super::facts::{HostFacts, Reach, SqlThread};
use super::hosts::HostState;
use super::losses;
use super::standing::Standing;

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
    /// Somebody wrote on it what the writer never had.
    Strayed(String),
    /// It replicates from nobody, so nothing says that it has the writer's data.
    NotReplicating,
    /// It does not apply what it received.
    SqlThreadStopped(String),
    /// Its binary log is off, so nobody could follow it.
    NoBinaryLog,
}

impl Barred {
    /// What lifts it, or says more.
    pub fn lifted_by(&self, host: &HostName) -> String {
        match self {
            Barred::OutOfService => format!("`mmm set-online {host}` lets it back in"),
            Barred::Strayed(_) => format!("save what you need of them, then rebuild {host} from the writer"),
            Barred::SqlThreadStopped(_) => format!(
                "find out why and start it; where the writer is dead, `mmm failover --to {host} --allow-loss` goes on \
                 without what it has not applied"
            ),
            _ => "`mmm checks` says more".to_owned(),
        }
    }
}

impl fmt::Display for Barred {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Barred::OutOfService => f.write_str("a person took it out of service"),
            Barred::Unanswered(why) => write!(f, "its server does not answer: {why}"),
            Barred::Owed => f.write_str("it was replaced as writer and has not been compared since"),
            Barred::KeptOut(surplus) => write!(f, "it has transactions that the writer has not: {surplus}"),
            Barred::Strayed(last) => f.write_str(&losses::strayed_words(last)),
            Barred::NotReplicating => f.write_str("it replicates from nobody"),
            Barred::SqlThreadStopped(why) if why.is_empty() => f.write_str("its SQL thread is stopped"),
            Barred::SqlThreadStopped(why) => write!(f, "its SQL thread is stopped: {why}"),
            Barred::NoBinaryLog => f.write_str("its binary log is off"),
        }
    }
}

/// Why `host` cannot take over from `outgoing`; `None` when it can.
pub fn barred(standing: &Standing, facts: &BTreeMap<HostName, HostFacts>, host: &HostName) -> Option<Barred> {
    if standing.offline.contains_key(host) {
        return Some(Barred::OutOfService);
    }
    if let Some(owed) = standing.owed.get(host) {
        return Some(match &owed.progress {
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
    if channel.sql == SqlThread::No {
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

/// The hosts that may be the writer, other than `outgoing`, each with what bars it; in order of preference.
pub fn candidates(
    cluster: &Cluster,
    standing: &Standing,
    facts: &BTreeMap<HostName, HostFacts>,
    outgoing: Option<&HostName>,
) -> Vec<(HostName, Option<Barred>)> {
    let Some(role) = cluster.writer() else {
        return Vec::new();
    };
    let mut hosts: Vec<&HostName> = role.hosts.iter().filter(|host| Some(*host) != outgoing).collect();
    hosts.sort_by_key(|host| role.prefer.as_ref() != Some(*host));
    hosts
        .into_iter()
        .map(|host| (host.clone(), barred(standing, facts, host)))
        .collect()
}

/// The first host that a monitor may let take over by itself, given the states it knows.
pub fn successor(
    cluster: &Cluster,
    standing: &Standing,
    facts: &BTreeMap<HostName, HostFacts>,
    outgoing: Option<&HostName>,
    state_of: impl Fn(&HostName) -> HostState,
) -> Option<HostName> {
    candidates(cluster, standing, facts, outgoing)
        .into_iter()
        .find_map(|(host, barred)| (barred.is_none() && may_take_over(state_of(&host))).then_some(host))
}

/// Whether a host in that state may become the writer without a person. A lag is caught up with first; one that is not
/// known yet is judged by its facts alone.
fn may_take_over(state: HostState) -> bool {
    match state {
        HostState::Online | HostState::ReplicationDelay | HostState::Unknown => true,
        HostState::AdminOffline
        | HostState::HardOffline
        | HostState::AwaitingRecovery
        | HostState::ReplicationFail => false,
    }
}
