//! The state of each host, in MMM's words, and what is remembered about how it came about. Timers are moments, so they
//! go on across a restart of the monitor.

mod records;
mod rule;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use records::{HostMemory, RECORDS_VERSION, Records};
pub use rule::{Comeback, HostPicture, HostRule, Part, Peer, Replication, Server, Word, decide};

use super::cluster::{Flapping, HostName};
use super::moment::Moment;

/// A host's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum HostState {
    /// Not judged yet.
    Unknown,
    /// Healthy: may hold roles.
    Online,
    /// A person took it out of service.
    AdminOffline,
    /// Its server does not answer.
    HardOffline,
    /// Answers again, and must be compared or released before it may hold roles.
    AwaitingRecovery,
    /// Its replication lags.
    ReplicationDelay,
    /// Its replication is broken.
    ReplicationFail,
}

impl HostState {
    /// Every state.
    pub const ALL: [HostState; 7] = [
        HostState::Unknown,
        HostState::Online,
        HostState::AdminOffline,
        HostState::HardOffline,
        HostState::AwaitingRecovery,
        HostState::ReplicationDelay,
        HostState::ReplicationFail,
    ];
}

impl fmt::Display for HostState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            HostState::Unknown => "UNKNOWN",
            HostState::Online => "ONLINE",
            HostState::AdminOffline => "ADMIN_OFFLINE",
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
    /// The rule that says so.
    pub rule: HostRule,
    /// Why, in words.
    pub because: String,
    /// When it last became ONLINE.
    pub online_since: Option<Moment>,
    /// When it last left ONLINE or went HARD_OFFLINE: a person's word that is older does not let it back in.
    pub out_since: Option<Moment>,
    /// How long its system had been up when it was last ONLINE and answered.
    pub uptime: Option<Duration>,
    /// When that was seen.
    #[serde(default)]
    pub uptime_at: Option<Moment>,
    /// How often it left ONLINE lately.
    pub flaps: Flaps,
}

/// How often a host left ONLINE lately.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Flaps {
    /// When the counting began.
    pub counted_since: Option<Moment>,
    /// How often since then.
    pub count: u32,
    /// Since when that has been too often; none while it has not.
    pub flapping_since: Option<Moment>,
}

impl Flaps {
    /// Counts one more; true when it has now become too often.
    fn count(&mut self, now: Moment, policy: &Flapping) -> bool {
        let goes_on = self
            .counted_since
            .is_some_and(|since| now.since(since) <= policy.within);
        if goes_on {
            self.count += 1;
        } else {
            self.counted_since = Some(now);
            self.count = 1;
        }
        if policy.count == 0 || self.count <= policy.count {
            return false;
        }
        *self = Flaps {
            flapping_since: self.flapping_since.or(Some(now)),
            ..Flaps::default()
        };
        self.flapping_since == Some(now)
    }
}

impl HostRecord {
    /// A host nobody knows anything about.
    pub fn unknown(host: HostName, now: Moment) -> HostRecord {
        HostRecord {
            host,
            state: HostState::Unknown,
            since: now,
            rule: HostRule::H03,
            because: HostRule::H03.sentence().to_owned(),
            online_since: None,
            out_since: None,
            uptime: None,
            uptime_at: None,
            flaps: Flaps::default(),
        }
    }

    /// Everything but what changes by itself all the time.
    pub fn outline(&self) -> (HostState, Moment, HostRule, Option<Moment>, Option<Moment>, Flaps) {
        (
            self.state,
            self.since,
            self.rule,
            self.online_since,
            self.out_since,
            self.flaps,
        )
    }

    /// Enters another state; true when that is once too often.
    pub fn enter(&mut self, now: Moment, state: HostState, policy: &Flapping) -> bool {
        let left_online = self.state == HostState::Online;
        self.state = state;
        self.since = now;
        match state {
            HostState::Online => self.online_since = Some(now),
            HostState::HardOffline => self.out_since = Some(now),
            _ if left_online || self.out_since.is_none() => self.out_since = Some(now),
            _ => {}
        }
        left_online && state != HostState::AdminOffline && self.flaps.count(now, policy)
    }
}

#[cfg(test)]
mod tests;
