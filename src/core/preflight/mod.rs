//! What stands in the way of a switchover or failover before anyone needs one. Facts of all hosts go in, named
//! findings with a hint each come out; whatever could not be asked is a finding too, never a silent pass.

mod accounts;
mod addresses;
mod grants;
mod pairing;
mod passed;
mod settings;
mod shell;
mod sudo;

use std::fmt;

use serde::{Deserialize, Serialize};

use super::cluster::{Cluster, Host, HostName};
use super::facts::{MysqlFacts, Reach, Refusal, Version};
use super::latch::CheckResult;

pub use grants::{AccountKind, Need, for_the_read_lock, needs};
pub use passed::{Passed, Topic, passed};
pub use shell::{NoShell, ShellSeen, Tmp, programs};
pub use sudo::SudoAnswer;

/// What findings about the box itself carry in place of a host's name.
pub const BOX: &str = "box";

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// A move could fail, or could lose or fork data.
    Error,
    /// Works, but will surprise someone one day.
    Warning,
}

/// What is wrong, as a stable name that scripts can match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "each name is its own sentence")]
pub enum Name {
    ServerNotReached,
    NotAsked,
    EqualServerIds,
    MixedFlavours,
    NoBinaryLog,
    ReplicatedWritesNotLogged,
    AutoIncrementClashes,
    BinlogFormatsDiffer,
    FiltersDiffer,
    RelayLogNotRecovered,
    NotCrashSafe,
    WritableAtStart,
    SeveralWriters,
    NoWriter,
    ReplicaWritable,
    NotReplicating,
    ReplicationStopped,
    WrongSource,
    ForeignChannel,
    ChannelsUnknown,
    NoGtid,
    PrivilegeMissing,
    ReplicationLoginRefused,
    AccountRefused,
    SshNotReached,
    SshHostKeyUnknown,
    SshHostKeyChanged,
    SshLoginRefused,
    ShellUnusable,
    ProgramMissing,
    WrongArping,
    DeviceMissing,
    TmpUnusable,
    UnitNotActive,
    SudoRefused,
    SudoWantsPassword,
    SudoWantsTerminal,
    ClockOff,
    AddressHeldTwice,
    WriterAddressMisplaced,
    WriterAddressAbsent,
    PingUnanswered,
    CannotPing,
    StateNotWritable,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The same words as in JSON.
        self.serialize(f)
    }
}

/// One thing that stands in the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Its stable name.
    pub name: Name,
    /// How much it matters.
    pub severity: Severity,
    /// The host it was found on; [`BOX`] for the box itself.
    pub host: HostName,
    /// What was seen.
    pub what: String,
    /// Why it matters.
    pub because: String,
    /// What to do about it.
    pub hint: String,
}

/// An answer that may be missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Asked<T> {
    /// The answer.
    Told(T),
    /// It was asked and did not come, and why.
    NotTold(String),
}

/// The variables that a healthy cluster must agree on.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Settings {
    /// `binlog_format`; MySQL 9 may have none any more.
    pub binlog_format: Option<String>,
    /// `auto_increment_increment`.
    pub auto_increment_increment: u64,
    /// `auto_increment_offset`.
    pub auto_increment_offset: u64,
    /// `relay_log_recovery`.
    pub relay_log_recovery: bool,
    /// `sync_binlog`.
    pub sync_binlog: u64,
    /// `innodb_flush_log_at_trx_commit`; `None` without InnoDB.
    pub flush_log_at_commit: Option<u64>,
    /// Filters that are set, as `name=value`, sorted: what is logged and what is applied.
    pub filters: Vec<String>,
}

/// Everything that was asked of one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inspected {
    /// The host.
    pub host: HostName,
    /// Its facts, asked by the monitor's account.
    pub facts: Reach<MysqlFacts>,
    /// Its version, which is told even when the facts are not, for want of a privilege.
    pub version: Option<Version>,
    /// Its variables.
    pub settings: Asked<Settings>,
    /// The global privileges of each account, as the server names them.
    pub grants: Vec<(AccountKind, Asked<Vec<String>>)>,
    /// `read_only` in its configuration files; the inner `None` when they do not mention it.
    pub read_only_at_start: Asked<Option<bool>>,
    /// Whether the replication account may log in here, tried from each of the other hosts.
    pub replication_logins: Vec<(HostName, Asked<LoginTrial>)>,
    /// Whether the agent account may log in, from the box, which takes the lock there, and from the host itself.
    pub agent_logins: Vec<(LoginFrom, Asked<LoginTrial>)>,
    /// What was seen over SSH.
    pub shell: Result<ShellSeen, NoShell>,
    /// What the check `ping` says.
    pub ping: CheckResult,
}

/// Where a login came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoginFrom {
    /// This box, over TCP.
    Box,
    /// The host itself, through the server's socket.
    ItsHost,
}

/// What came of trying to log in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoginTrial {
    /// It may.
    Accepted,
    /// It may not, in the server's words.
    Refused(String),
}

/// What one look at a whole cluster came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// The cluster's name.
    pub cluster: String,
    /// What is in order.
    pub passed: Vec<Passed>,
    /// What is not.
    pub findings: Vec<Finding>,
    /// How long looking took.
    pub took_ms: u64,
}

impl Checked {
    /// How many findings are of that severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.findings
            .iter()
            .filter(|finding| finding.severity == severity)
            .count()
    }
}

/// Everything that stands in the way, errors first, in inventory order.
pub fn evaluate(cluster: &Cluster, inspected: &[Inspected]) -> Vec<Finding> {
    let hosts: Vec<Subject> = cluster
        .hosts
        .iter()
        .filter_map(|host| {
            inspected
                .iter()
                .find(|one| one.host == host.name)
                .map(|seen| Subject {
                    host,
                    seen,
                    read_lock: cluster.switchover.read_lock,
                })
        })
        .collect();
    let mut findings = Vec::new();
    for host in &cluster.hosts {
        if !hosts.iter().any(|subject| subject.host.name == host.name) {
            findings.push(not_asked(&host.name, "this host", "nobody asked it"));
        }
    }
    for subject in &hosts {
        reached(subject, &mut findings);
        shell::check(subject, &mut findings);
        settings::alone(subject, &mut findings);
        accounts::check(subject, &mut findings);
        grants::check(subject, &mut findings);
        pairing::logins(subject, &mut findings);
    }
    settings::together(&hosts, &mut findings);
    pairing::check(&hosts, &mut findings);
    addresses::check(cluster, &hosts, &mut findings);
    echoes(&hosts, &mut findings);
    findings.sort_by_key(|finding| finding.severity);
    findings
}

/// A host of the inventory and what it said.
struct Subject<'a> {
    host: &'a Host,
    seen: &'a Inspected,
    /// A switchover takes the read lock of the outgoing host.
    read_lock: bool,
}

impl Subject<'_> {
    fn facts(&self) -> Option<&MysqlFacts> {
        self.seen.facts.up()
    }

    fn shell(&self) -> Option<&ShellSeen> {
        self.seen.shell.as_ref().ok()
    }

    fn settings(&self) -> Option<&Settings> {
        match &self.seen.settings {
            Asked::Told(settings) => Some(settings),
            Asked::NotTold(_) => None,
        }
    }

    fn finding(&self, name: Name, severity: Severity, what: String, because: &str, hint: String) -> Finding {
        Finding {
            name,
            severity,
            host: self.host.name.clone(),
            what,
            because: because.to_owned(),
            hint,
        }
    }
}

fn not_asked(host: &HostName, what: &str, why: &str) -> Finding {
    Finding {
        name: Name::NotAsked,
        severity: Severity::Error,
        host: host.clone(),
        what: format!("{what} could not be looked at: {why}"),
        because: "what was not looked at may be wrong".to_owned(),
        hint: "mend the reason and check again".to_owned(),
    }
}

fn reached(subject: &Subject, findings: &mut Vec<Finding>) {
    let (what, hint) = match &subject.seen.facts {
        Reach::Up(_) => return,
        Reach::Refusing {
            reason: Refusal::Login,
            text,
        } => {
            findings.push(accounts::refused(subject, AccountKind::Monitor, "this box", text));
            return;
        }
        Reach::Refusing { reason, text } => (
            format!("its server refuses us ({reason}): {text}"),
            "mend the account or the limit that the message names",
        ),
        Reach::Hung(text) => (
            format!("its server hangs: {text}"),
            "look at the server's process and its disk",
        ),
        Reach::Down(text) => (
            format!("its server is down: {text}"),
            "start it, or look at `bind_address` and the port",
        ),
        Reach::Silent(text) => (
            format!("it is silent: {text}"),
            "look at the host, the network and its firewall",
        ),
        Reach::Unasked(text) => (
            format!("it was not asked: {text}"),
            "look at this box's own network",
        ),
    };
    let because = "a server that cannot be asked cannot be watched or moved to";
    findings.push(subject.finding(
        Name::ServerNotReached,
        Severity::Error,
        what,
        because,
        hint.to_owned(),
    ));
}

/// Silence matters only on a host that answers otherwise; being unable to ask is the box's own trouble, told once.
fn echoes(hosts: &[Subject], findings: &mut Vec<Finding>) {
    for subject in hosts {
        if let (CheckResult::Error(text), true) = (&subject.seen.ping, subject.seen.facts.is_alive()) {
            findings.push(subject.finding(
                Name::PingUnanswered,
                Severity::Warning,
                format!("its server answers and ping does not: {text}"),
                "the check `ping` would call it failed",
                "let ICMP echo requests from this box through".to_owned(),
            ));
        }
    }
    let forbidden = hosts.iter().find_map(|subject| match &subject.seen.ping {
        CheckResult::Unknown(text) => Some((subject, text)),
        _ => None,
    });
    if let Some((subject, text)) = forbidden {
        findings.push(Finding {
            host: BOX.into(),
            ..subject.finding(
                Name::CannotPing,
                Severity::Warning,
                text.clone(),
                "the check `ping` can tell nothing",
                "`setcap cap_net_raw+ep` on the program, or widen `net.ipv4.ping_group_range`".to_owned(),
            )
        });
    }
}

#[cfg(test)]
mod tests;
