//! What was looked at and is in order: one line a host and topic.

use serde::{Deserialize, Serialize};

use crate::core::cluster::{Cluster, HostName};

use super::{Asked, Finding, Inspected, LoginFrom, LoginTrial, Name, ShellSeen};

/// What findings are about. A topic that has a finding did not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each name is its own sentence")]
pub enum Topic {
    Ping,
    Ssh,
    Programs,
    Sudo,
    Service,
    Tmp,
    Clock,
    Server,
    Accounts,
    Privileges,
    Settings,
    ReadOnlyAtStart,
    Replication,
    ReplicationLogin,
    Addresses,
    State,
}

impl Name {
    /// What it is about; `None` when that can be anything.
    pub fn topic(self) -> Option<Topic> {
        Some(match self {
            Name::NotAsked => return None,
            Name::PingUnanswered | Name::CannotPing => Topic::Ping,
            Name::SshNotReached
            | Name::SshHostKeyUnknown
            | Name::SshHostKeyChanged
            | Name::SshLoginRefused
            | Name::ShellUnusable => Topic::Ssh,
            Name::ProgramMissing | Name::WrongArping => Topic::Programs,
            Name::SudoRefused | Name::SudoWantsPassword | Name::SudoWantsTerminal => Topic::Sudo,
            Name::UnitNotActive => Topic::Service,
            Name::TmpUnusable => Topic::Tmp,
            Name::ClockOff => Topic::Clock,
            Name::ServerNotReached | Name::MixedFlavours => Topic::Server,
            Name::AccountRefused => Topic::Accounts,
            Name::PrivilegeMissing => Topic::Privileges,
            Name::EqualServerIds
            | Name::NoBinaryLog
            | Name::ReplicatedWritesNotLogged
            | Name::AutoIncrementClashes
            | Name::BinlogFormatsDiffer
            | Name::FiltersDiffer
            | Name::RelayLogNotRecovered
            | Name::NotCrashSafe => Topic::Settings,
            Name::WritableAtStart => Topic::ReadOnlyAtStart,
            Name::SeveralWriters
            | Name::NoWriter
            | Name::ReplicaWritable
            | Name::NotReplicating
            | Name::ReplicationStopped
            | Name::WrongSource
            | Name::ForeignChannel
            | Name::ChannelsUnknown
            | Name::NoGtid => Topic::Replication,
            Name::ReplicationLoginRefused => Topic::ReplicationLogin,
            Name::DeviceMissing
            | Name::AddressHeldTwice
            | Name::WriterAddressMisplaced
            | Name::WriterAddressAbsent => Topic::Addresses,
            Name::StateNotWritable => Topic::State,
        })
    }
}

/// Something that was looked at and is in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passed {
    /// The host; [`BOX`](super::BOX) for the box itself.
    pub host: HostName,
    /// What it is about.
    pub topic: Topic,
    /// What was seen.
    pub what: String,
}

/// Everything that was looked at and has no finding, in inventory order.
pub fn passed(cluster: &Cluster, inspected: &[Inspected], findings: &[Finding]) -> Vec<Passed> {
    let clean = |host: &HostName, topic: Topic| {
        !findings
            .iter()
            .any(|finding| finding.host == *host && finding.name.topic() == Some(topic))
    };
    let of_host = |host: &HostName| inspected.iter().find(|one| one.host == *host);
    cluster
        .hosts
        .iter()
        .filter_map(|host| of_host(&host.name))
        .flat_map(|seen| {
            let from_server = server(seen);
            let from_shell = seen.shell.iter().flat_map(|shell| over_ssh(seen, shell));
            from_shell
                .chain(from_server)
                .map(|(topic, what)| Passed {
                    host: seen.host.clone(),
                    topic,
                    what,
                })
                .collect::<Vec<_>>()
        })
        .filter(|one| clean(&one.host, one.topic))
        .collect()
}

fn over_ssh(seen: &Inspected, shell: &ShellSeen) -> Vec<(Topic, String)> {
    let mut lines = vec![
        (
            Topic::Ssh,
            "SSH lets us in, its host key is known, and its shell takes duties".to_owned(),
        ),
        (
            Topic::Programs,
            format!("every program of the duties is there; {}", shell.arping),
        ),
        (Topic::Tmp, "its `/tmp` can be written".to_owned()),
        (Topic::Clock, "its clock agrees with that of this box".to_owned()),
    ];
    if let Asked::Told(answers) = &shell.sudo {
        let what = format!("sudo allows each of the {} commands of the duties", answers.len());
        lines.push((Topic::Sudo, what));
    }
    if let Some((unit, Asked::Told(state))) = &shell.unit {
        lines.push((Topic::Service, format!("the unit `{unit}` is {state}")));
    }
    if let Asked::Told(Some(true)) = seen.read_only_at_start {
        let what = "its configuration files make its server start read-only".to_owned();
        lines.push((Topic::ReadOnlyAtStart, what));
    }
    if shell.held.is_ok() {
        let what = format!(
            "no floating address is out of place, and `{}` can carry them",
            shell.device.0
        );
        lines.push((Topic::Addresses, what));
    }
    lines
}

fn server(seen: &Inspected) -> Vec<(Topic, String)> {
    let mut lines = Vec::new();
    if let super::CheckResult::Ok(text) = &seen.ping {
        lines.push((Topic::Ping, format!("it answers ping: {text}")));
    }
    let Some(facts) = seen.facts.up() else {
        return lines;
    };
    lines.push((
        Topic::Server,
        format!("its server, {}, answers the monitor account", facts.version),
    ));
    let agent = |from: LoginFrom| {
        seen.agent_logins
            .contains(&(from, Asked::Told(LoginTrial::Accepted)))
    };
    if agent(LoginFrom::Box) && agent(LoginFrom::ItsHost) {
        let what = "the agent account gets in from this box and through the socket".to_owned();
        lines.push((Topic::Accounts, what));
    }
    let judged: Vec<String> = seen
        .grants
        .iter()
        .filter(|(_, held)| matches!(held, Asked::Told(_)))
        .map(|(account, _)| account.to_string())
        .collect();
    if judged.len() >= 2 && judged.len() == seen.grants.len() {
        let what = format!("what these accounts must do, they may: {}", judged.join(", "));
        lines.push((Topic::Privileges, what));
    }
    if let Asked::Told(_) = seen.settings {
        lines.push((Topic::Settings, "its settings suit a cluster".to_owned()));
    }
    lines.push((
        Topic::Replication,
        "it writes or follows as the inventory says".to_owned(),
    ));
    let from: Vec<&str> = seen
        .replication_logins
        .iter()
        .filter(|(_, trial)| *trial == Asked::Told(LoginTrial::Accepted))
        .map(|(from, _)| from.as_str())
        .collect();
    if !from.is_empty() && from.len() == seen.replication_logins.len() {
        let what = format!("the replication account gets in from {}", from.join(", "));
        lines.push((Topic::ReplicationLogin, what));
    }
    lines
}
