//! The state of each host, in MMM's words.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::cluster::HostName;
use super::latch::Verdict;
use super::moment::Moment;
use super::standing::{Owed, Return};

/// A host's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum HostState {
    /// Not judged yet.
    Unknown,
    /// Healthy: may hold roles.
    Online,
    /// Its server does not answer.
    HardOffline,
    /// Answers again, and must be compared or released before it may hold roles.
    AwaitingRecovery,
    /// Its replication lags.
    ReplicationDelay,
    /// Its replication is broken.
    ReplicationFail,
}

impl fmt::Display for HostState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            HostState::Unknown => "UNKNOWN",
            HostState::Online => "ONLINE",
            HostState::HardOffline => "HARD_OFFLINE",
            HostState::AwaitingRecovery => "AWAITING_RECOVERY",
            HostState::ReplicationDelay => "REPLICATION_DELAY",
            HostState::ReplicationFail => "REPLICATION_FAIL",
        })
    }
}

/// A host's state and how it came about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostRecord {
    /// The host.
    pub host: HostName,
    /// Its state.
    pub state: HostState,
    /// Since when.
    pub since: Moment,
    /// Why.
    pub because: String,
}

/// The verdicts a state rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdicts {
    /// Of `mysql`.
    pub mysql: Verdict,
    /// Of `rep_threads`.
    pub rep_threads: Verdict,
    /// Of `rep_backlog`.
    pub rep_backlog: Verdict,
}

/// The state a host is in, and why. Ping is evidence about a failed server, never a reason by itself.
pub fn state(verdicts: &Verdicts, is_writer: bool, owed: Option<&Owed>) -> (HostState, String) {
    match (verdicts.mysql, owed) {
        (Verdict::Failed, _) => (HostState::HardOffline, "its server does not answer".to_owned()),
        (Verdict::Untested, _) => (HostState::Unknown, "it has not been asked yet".to_owned()),
        (
            Verdict::Ok,
            Some(Owed {
                progress: Return::KeptOut { surplus },
                ..
            }),
        ) => (
            HostState::AwaitingRecovery,
            format!("kept out: it has transactions that the writer has not ({surplus})"),
        ),
        (Verdict::Ok, Some(_)) => (
            HostState::AwaitingRecovery,
            "it was replaced as writer and must be compared first".to_owned(),
        ),
        (Verdict::Ok, None) if is_writer => (HostState::Online, "it is the writer and answers".to_owned()),
        (Verdict::Ok, None) => match (verdicts.rep_threads, verdicts.rep_backlog) {
            (Verdict::Failed, _) => (
                HostState::ReplicationFail,
                "its replication does not run".to_owned(),
            ),
            (Verdict::Ok | Verdict::Untested, Verdict::Failed) => (
                HostState::ReplicationDelay,
                "its replication lags too far behind".to_owned(),
            ),
            (Verdict::Ok | Verdict::Untested, Verdict::Ok | Verdict::Untested) => {
                (HostState::Online, "all its checks are fine".to_owned())
            }
        },
    }
}
