//! How far a remote command has come, how it ended, and what that means to whoever wanted it.

use std::fmt;

use russh::Sig;

use super::error::{SshError, SshErrorKind};

/// How a remote command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExitStatus {
    /// By itself, with this status; 0 is success.
    Code(u32),
    /// By a signal, named without `SIG`.
    Signal(String),
}

impl ExitStatus {
    /// Whether it ended with status 0.
    pub fn success(&self) -> bool {
        *self == ExitStatus::Code(0)
    }
}

impl From<Sig> for ExitStatus {
    fn from(signal: Sig) -> Self {
        ExitStatus::Signal(match signal {
            Sig::Custom(name) => name,
            other => format!("{other:?}"),
        })
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExitStatus::Code(code) => write!(f, "exit status {code}"),
            ExitStatus::Signal(name) => write!(f, "signal {name}"),
        }
    }
}

/// How far a command has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Phase {
    /// Waiting for one of the connection's places.
    Queued,
    /// Waiting for the host to give a channel.
    Opening,
    /// Sent; from here on it may have done something.
    Sent,
    /// The host said that it runs.
    Running,
    Ended(End),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    Exited(ExitStatus),
    /// Ended by us, and the host confirmed that it is gone.
    Killed,
    /// Ended by us, but the host did not confirm it.
    NotConfirmed,
    Overflow,
    /// Nothing was started.
    NotStarted(SshErrorKind, String),
    Lost(String),
}

/// Turns an end without an exit status into the error its caller sees.
pub(super) fn end_error(host: &str, end: End) -> SshError {
    match end {
        End::NotStarted(kind, because) => {
            let what = format!("cannot start a command on `{host}`");
            SshError::new(kind, what, because).hint("nothing was started")
        }
        End::Lost(because) => SshError::lost(host, because),
        End::Overflow => SshError::new(
            SshErrorKind::Overflow,
            format!("ended the command on `{host}`"),
            "it wrote more output than is allowed to wait unread",
        )
        .hint("what it did is unknown: look at the host before repeating it"),
        End::NotConfirmed => SshError::lost(
            host,
            "it was told to end, and the host did not confirm that it did",
        ),
        End::Exited(status) => SshError::lost(host, format!("it ended early ({status})")),
        End::Killed => SshError::lost(host, "it ended without an exit status"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_sent_can_have_an_unknown_outcome() {
        let not_started = End::NotStarted(SshErrorKind::ChannelRefused, "x".into());
        assert!(!end_error("db1", not_started).outcome_unknown());
        for end in [
            End::Lost("x".into()),
            End::NotConfirmed,
            End::Killed,
            End::Overflow,
        ] {
            assert!(end_error("db1", end).outcome_unknown());
        }
    }
}
