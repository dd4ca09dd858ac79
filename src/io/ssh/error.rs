//! What can go wrong over SSH, told in three parts: what happened, because of what, and what to do about it.

use std::fmt;

/// What went wrong, as far as a caller must tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SshErrorKind {
    /// No TCP connection, no jump host, or no proxy command that works.
    Unreachable,
    /// The connection was not ready to use within its deadline.
    ConnectTimeout,
    /// The other side answered but ended the conversation before it was known who we are.
    HandshakeFailed,
    /// No known host key, or none of the offered type, is on record.
    HostKeyUnknown,
    /// Another key of the same type is on record.
    HostKeyChanged,
    /// The key, or the authority that signed it, is marked as revoked.
    HostKeyRevoked,
    /// A file of known host keys exists but cannot be read.
    KnownHostsUnreadable,
    /// Every key was tried and none was accepted.
    AuthRefused,
    /// An identity file is missing, unreadable or not a key.
    KeyUnreadable,
    /// An identity file is encrypted and there is neither a passphrase nor an agent that holds the key.
    KeyEncrypted,
    /// The passphrase does not open the identity file.
    BadPassphrase,
    /// The agent's socket does not answer.
    AgentUnavailable,
    /// The connection had already ended: nothing was started, and a new connection may be tried.
    Closed,
    /// The host or this program's own limit gave no channel: nothing was started.
    ChannelRefused,
    /// The host refused to run the command: nothing was started.
    ExecRefused,
    /// The connection died, or the host never told how the command ended: the outcome is unknown.
    Lost,
    /// The command did not end in time and is being ended: the outcome is unknown.
    Deadline,
    /// A stream's output was not read and grew beyond its bound: it was ended, the outcome is unknown.
    Overflow,
    /// The settings cannot be turned into a target.
    Config,
}

/// A failure on one host. Cheap to clone; never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshError {
    kind: SshErrorKind,
    what: String,
    because: String,
    hint: Option<String>,
}

impl SshError {
    pub(super) fn new(kind: SshErrorKind, what: impl Into<String>, because: impl Into<String>) -> Self {
        SshError {
            kind,
            what: what.into(),
            because: because.into(),
            hint: None,
        }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The connection to `host` died while a command was under way.
    pub(super) fn lost(host: &str, because: impl Into<String>) -> Self {
        SshError::new(
            SshErrorKind::Lost,
            format!("lost the command on `{host}`"),
            because,
        )
        .hint("what it did is unknown: look at the host before repeating it")
    }

    /// What went wrong, for code.
    pub fn kind(&self) -> SshErrorKind {
        self.kind
    }

    /// What happened, with the host's name in backticks.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// The cause as far as it is known.
    pub fn because(&self) -> &str {
        &self.because
    }

    /// What to do about it.
    pub fn suggestion(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Whether a command may have changed the host before this error: it was sent, and its end was not seen.
    pub fn outcome_unknown(&self) -> bool {
        matches!(
            self.kind,
            SshErrorKind::Lost | SshErrorKind::Deadline | SshErrorKind::Overflow
        )
    }

    /// Whether a person has to change something first; trying again soon cannot help, and sshd punishes it.
    pub fn needs_a_person(&self) -> bool {
        use SshErrorKind::*;
        matches!(
            self.kind,
            HostKeyUnknown
                | HostKeyChanged
                | HostKeyRevoked
                | KnownHostsUnreadable
                | AuthRefused
                | KeyUnreadable
                | KeyEncrypted
                | BadPassphrase
                | AgentUnavailable
                | Config
        )
    }
}

impl fmt::Display for SshError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.because)?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for SshError {}
