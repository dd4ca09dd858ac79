//! Whether a service could be asked, and what a failure to ask says about it. A limit, a wrong password or a missing
//! privilege means *alive*: no failover may ever start from them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Whether a service on a host could be asked. Only `Down` and `Silent` speak against it, and only `Down` was
/// said by the host itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach<T> {
    /// It answered.
    Up(T),
    /// It is alive and will not talk to us.
    Refusing {
        /// Why, as a closed word.
        reason: Refusal,
        /// Why, in its own words.
        text: String,
    },
    /// The port takes connections but no answer comes in time.
    Hung(String),
    /// The host's kernel says that nothing listens there.
    Down(String),
    /// Nothing came back at all: the host or the way to it is gone.
    Silent(String),
    /// The question could not be put, for reasons on our own side. Says nothing about the host.
    Unasked(String),
}

impl<T> Default for Reach<T> {
    fn default() -> Self {
        Reach::Unasked("not asked yet".to_owned())
    }
}

impl<T> Reach<T> {
    /// What it answered, when it did.
    pub fn up(&self) -> Option<&T> {
        match self {
            Reach::Up(facts) => Some(facts),
            _ => None,
        }
    }

    /// Whether it certainly lives: it answered or refused in person.
    pub fn is_alive(&self) -> bool {
        matches!(self, Reach::Up(_) | Reach::Refusing { .. })
    }

    /// Why it could not be asked; `None` when it answered.
    pub fn trouble(&self) -> Option<&str> {
        match self {
            Reach::Up(_) => None,
            Reach::Refusing { text, .. } => Some(text),
            Reach::Hung(text) | Reach::Down(text) | Reach::Silent(text) | Reach::Unasked(text) => Some(text),
        }
    }

    /// The same outcome with the answer turned into something else.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Reach<U> {
        match self {
            Reach::Up(facts) => Reach::Up(change(facts)),
            Reach::Refusing { reason, text } => Reach::Refusing { reason, text },
            Reach::Hung(text) => Reach::Hung(text),
            Reach::Down(text) => Reach::Down(text),
            Reach::Silent(text) => Reach::Silent(text),
            Reach::Unasked(text) => Reach::Unasked(text),
        }
    }
}

/// Why a living server would not talk to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// A limit is used up: connections, an account's resources, memory.
    Limits,
    /// It does not let this account or this address in.
    Login,
    /// The account may not ask this.
    Privilege,
    /// It is on its way down or still starting.
    Stopping,
    /// It answers, but what we asked waits behind something else, as replication status does behind `STOP SLAVE`.
    Busy,
    /// It answered with another error.
    Other,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Refusal::Limits => "a limit is used up",
            Refusal::Login => "it does not let us in",
            Refusal::Privilege => "a privilege is missing",
            Refusal::Stopping => "it is stopping or starting",
            Refusal::Busy => "a question waits behind something else",
            Refusal::Other => "it answered with an error",
        })
    }
}

/// How far a conversation had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// The port has not accepted yet.
    Dialling,
    /// The port accepted; the login is not through.
    LoggingIn,
    /// Logged in; an answer is awaited.
    Asking,
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mishap {
    /// The server said so: its error number.
    Server(u16),
    /// The kernel of the host refused the connection.
    Refused,
    /// The other side closed or reset the connection.
    Lost,
    /// Time ran out.
    TimedOut,
    /// Time ran out for this question, while the server had just answered another.
    Waiting,
    /// The network says that the host is not there.
    Unreachable,
    /// What came is not what a server of this protocol says.
    Unintelligible,
    /// Our own side cannot ask: no descriptors, no route, no permission.
    Ours,
}

/// What went wrong, when, and in which words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// How far the conversation had come.
    pub stage: Stage,
    /// What went wrong.
    pub mishap: Mishap,
    /// The words to show a person.
    pub text: String,
}

/// What a failure says about the server.
pub fn judge<T>(failure: Failure) -> Reach<T> {
    let Failure { stage, mishap, text } = failure;
    match (mishap, stage) {
        (Mishap::Server(number), _) => Reach::Refusing {
            reason: refusal(number),
            text,
        },
        (Mishap::Waiting, _) => Reach::Refusing {
            reason: Refusal::Busy,
            text,
        },
        (Mishap::Ours, _) => Reach::Unasked(text),
        (Mishap::Refused, _) => Reach::Down(text),
        (Mishap::TimedOut | Mishap::Unreachable | Mishap::Lost, Stage::Dialling) => Reach::Silent(text),
        (Mishap::Unreachable, _) => Reach::Silent(text),
        (Mishap::TimedOut | Mishap::Lost, _) => Reach::Hung(text),
        (Mishap::Unintelligible, _) => Reach::Refusing {
            reason: Refusal::Other,
            text,
        },
    }
}

/// Why a living server refuses, from its error number.
pub fn refusal(number: u16) -> Refusal {
    match number {
        // Too many connections; out of memory; no thread; the account's connections, per hour or at once.
        1040 | 1037 | 1038 | 1041 | 1135 | 1203 | 1226 => Refusal::Limits,
        // Bad host, handshake, database, password; host blocked or not allowed; authentication methods that do not
        // match; insecure transport prohibited; password expired; account locked.
        1042..=1045 | 1129 | 1130 | 1251 | 1275 | 1524 | 1698 | 1862 | 2049 | 3118 | 3159 | 3955 | 4151 => {
            Refusal::Login
        }
        // No such grant: on a statement, a table, a column, a routine, a database, in general.
        1142 | 1143 | 1227 | 1370 | 1410 => Refusal::Privilege,
        // Shutdown in progress, shutdown in effect, killed by an administrator, server starting or not ready.
        1053 | 1077 | 1079 | 3168 | 3169 | 1927 => Refusal::Stopping,
        _ => Refusal::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(stage: Stage, mishap: Mishap) -> Reach<()> {
        judge(Failure {
            stage,
            mishap,
            text: "words".to_owned(),
        })
    }

    #[test]
    fn an_error_of_the_server_means_that_it_lives() {
        for number in [
            1040, 1042, 1043, 1044, 1045, 1129, 1130, 1203, 1226, 1227, 1251, 1275, 9999,
        ] {
            for stage in [Stage::Dialling, Stage::LoggingIn, Stage::Asking] {
                assert!(judged(stage, Mishap::Server(number)).is_alive(), "{number}");
            }
        }
    }

    #[test]
    fn reasons_are_told_apart() {
        for (number, reason) in [
            (1040, Refusal::Limits),
            (1203, Refusal::Limits),
            (1226, Refusal::Limits),
            (1045, Refusal::Login),
            (1129, Refusal::Login),
            (1130, Refusal::Login),
            (1227, Refusal::Privilege),
            (1053, Refusal::Stopping),
            (1064, Refusal::Other),
        ] {
            assert_eq!(refusal(number), reason, "{number}");
        }
    }

    #[test]
    fn only_a_refused_connection_is_down() {
        let text = || "words".to_owned();
        assert_eq!(judged(Stage::Dialling, Mishap::Refused), Reach::Down(text()));
        assert_eq!(judged(Stage::Dialling, Mishap::TimedOut), Reach::Silent(text()));
        assert_eq!(
            judged(Stage::Dialling, Mishap::Unreachable),
            Reach::Silent(text())
        );
        assert_eq!(judged(Stage::LoggingIn, Mishap::TimedOut), Reach::Hung(text()));
        assert_eq!(judged(Stage::LoggingIn, Mishap::Lost), Reach::Hung(text()));
        assert_eq!(judged(Stage::Asking, Mishap::TimedOut), Reach::Hung(text()));
        assert!(judged(Stage::Asking, Mishap::Waiting).is_alive());
        assert_eq!(judged(Stage::Dialling, Mishap::Ours), Reach::Unasked(text()));
    }
}
