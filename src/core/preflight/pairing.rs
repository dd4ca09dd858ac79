//! Findings about who writes, who follows whom, and whether they may.

use crate::core::cluster::{HostMode, HostName};
use crate::core::facts::{Flavour, MysqlFacts, ReplicationFacts, UsingGtid};
use crate::core::foreign;

use super::{Asked, Finding, LoginTrial, Name, Severity, Subject, not_asked};

/// Who writes and who follows whom.
pub(super) fn check(hosts: &[Subject], findings: &mut Vec<Finding>) {
    writers(hosts, findings);
    for subject in hosts {
        channels(subject, findings);
        following(subject, hosts, findings);
    }
}

/// Whether the replication account gets in from where it will come.
pub(super) fn logins(subject: &Subject, findings: &mut Vec<Finding>) {
    for (from, trial) in &subject.seen.replication_logins {
        match trial {
            Asked::Told(LoginTrial::Accepted) => {}
            Asked::Told(LoginTrial::Refused(text)) => findings.push(subject.finding(
                Name::ReplicationLoginRefused,
                Severity::Error,
                format!("the replication account may not log in from `{from}`: {text}"),
                "after a move that host could not follow this one",
                format!("create the account for the address of `{from}`, with the password of the inventory"),
            )),
            Asked::NotTold(why) => {
                let what = format!("the replication account's login from `{from}`");
                findings.push(not_asked(&subject.host.name, &what, why));
            }
        }
    }
}

fn writers(hosts: &[Subject], findings: &mut Vec<Finding>) {
    let writable = |subject: &&Subject| subject.facts().is_some_and(|facts| facts.is_writable());
    let masters: Vec<&Subject> = hosts
        .iter()
        .filter(|one| one.host.mode == HostMode::Master)
        .collect();
    let open: Vec<&&Subject> = masters.iter().filter(|one| writable(one)).collect();
    if let [first, others @ ..] = open.as_slice() {
        for subject in others {
            findings.push(subject.finding(
                Name::SeveralWriters,
                Severity::Error,
                format!("it takes writes, and so does `{}`", first.host.name),
                "two writers fork the data",
                "find out which one the applications use, and set `read_only` on the other".to_owned(),
            ));
        }
    } else if let (Some(first), true) = (masters.first(), masters.iter().all(|one| one.facts().is_some())) {
        findings.push(first.finding(
            Name::NoWriter,
            Severity::Warning,
            "no master takes writes".to_owned(),
            "nobody serves the applications",
            "let the monitor choose a writer".to_owned(),
        ));
    }
    for subject in hosts
        .iter()
        .filter(|one| one.host.mode == HostMode::Slave && writable(one))
    {
        findings.push(subject.finding(
            Name::ReplicaWritable,
            Severity::Warning,
            "it takes writes though it only ever follows".to_owned(),
            "a stray write would make it differ from its source",
            "set `read_only` on it, now and in its configuration".to_owned(),
        ));
    }
}

/// Channels beside the managed one, and servers that know none.
fn channels(subject: &Subject, findings: &mut Vec<Finding>) {
    let Some(facts) = subject.facts() else { return };
    if !facts.channel.is_empty() && !foreign::are_known_to(facts) {
        findings.push(subject.finding(
            Name::ChannelsUnknown,
            Severity::Error,
            format!(
                "the inventory names the channel `{}`, and {} knows no channels",
                facts.channel, facts.version
            ),
            "it replicates over its only channel, which has no name",
            "leave `mysql.channel` out for it, or upgrade it".to_owned(),
        ));
    }
    let mut others = facts.foreign.iter();
    if let Some(channel) = others.next().filter(|_| subject.host.mode == HostMode::Master) {
        findings.push(subject.finding(
            Name::ForeignChannel,
            Severity::Warning,
            format!("it also follows {}", foreign::Named(channel)),
            "`read_only` does not stop what comes over it: while it runs on the writer, a switchover is refused",
            "let a host follow that source that is never the writer".to_owned(),
        ));
    }
}

fn following(subject: &Subject, hosts: &[Subject], findings: &mut Vec<Finding>) {
    let Some(facts) = subject.facts() else { return };
    let masters = hosts
        .iter()
        .filter(|one| one.host.mode == HostMode::Master)
        .count();
    let wanted: Vec<&Subject> = match (subject.host.mode, &subject.host.peer) {
        (HostMode::Master, Some(peer)) if masters == 2 => {
            hosts.iter().filter(|one| one.host.name == *peer).collect()
        }
        (HostMode::Master, _) => hosts
            .iter()
            .filter(|one| one.host.mode == HostMode::Master && one.host.name != subject.host.name)
            .collect(),
        (HostMode::Slave, _) => hosts
            .iter()
            .filter(|one| one.host.mode == HostMode::Master)
            .collect(),
    };
    if wanted.is_empty() {
        return;
    }
    let names: Vec<&HostName> = wanted.iter().map(|one| &one.host.name).collect();
    let names = names
        .iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(" or ");
    let right = facts
        .replicas
        .iter()
        .find(|channel| wanted.iter().any(|source| leads_to(channel, source)));
    match (right, facts.replicas.first()) {
        (Some(channel), _) => health(subject, channel, findings),
        (None, Some(other)) => findings.push(subject.finding(
            Name::WrongSource,
            Severity::Error,
            format!(
                "it follows `{}:{}`, not {names}",
                other.source_host, other.source_port
            ),
            "it would not hold what the writer holds",
            format!("make it follow {names}, or mend the inventory"),
        )),
        (None, None) => findings.push(subject.finding(
            Name::NotReplicating,
            Severity::Error,
            format!(
                "it follows nobody{}; the inventory wants {names}",
                elsewhere(facts)
            ),
            "it does not get what the writer writes",
            format!("set up replication from {names}"),
        )),
    }
}

/// That a host follows somebody, but over another channel than the inventory says.
fn elsewhere(facts: &MysqlFacts) -> String {
    let Some(other) = facts.foreign.first() else {
        return String::new();
    };
    let managed = match facts.channel.as_str() {
        "" => "the channel without a name".to_owned(),
        name => format!("channel `{name}`"),
    };
    format!(
        " over {managed}, but it follows over {}; `mysql.channel` says which is meant",
        foreign::Named(other)
    )
}

/// By the id of the server it reached, else by its address; a name in place of an address is settled by the id alone.
fn leads_to(channel: &ReplicationFacts, source: &Subject) -> bool {
    let by_id = channel
        .source_server_id
        .zip(source.facts())
        .map(|(id, facts)| id == facts.server_id);
    by_id.unwrap_or_else(|| {
        channel
            .source_host
            .parse()
            .is_ok_and(|ip: std::net::IpAddr| ip == source.host.address)
    })
}

fn health(subject: &Subject, channel: &ReplicationFacts, findings: &mut Vec<Finding>) {
    if !channel.is_running() {
        let error = channel.sql_error.as_ref().or(channel.io_error.as_ref());
        let error = error.map_or(String::new(), |error| format!("; {error}"));
        findings.push(subject.finding(
            Name::ReplicationStopped,
            Severity::Error,
            format!(
                "its replication does not run: receiver {:?}, applier {:?}{error}",
                channel.io, channel.sql
            ),
            "it falls behind, and moving to it would lose writes",
            "mend what the error names and start replication".to_owned(),
        ));
    }
    if channel.using_gtid == UsingGtid::No {
        let mariadb = subject
            .facts()
            .is_some_and(|facts| facts.version.flavour == Flavour::Mariadb);
        let hint = if mariadb {
            "`STOP SLAVE; CHANGE MASTER TO MASTER_USE_GTID = slave_pos; START SLAVE`"
        } else {
            "turn `gtid_mode` on, and use automatic positions"
        };
        findings.push(subject.finding(
            Name::NoGtid,
            Severity::Warning,
            "it follows by file and position".to_owned(),
            "after an unplanned failover its place in another server's log can only be guessed",
            hint.to_owned(),
        ));
    }
}
