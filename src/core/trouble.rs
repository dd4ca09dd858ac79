//! What people are told when something does not work: what, because, hint. Its kind picks the exit code.

use std::fmt;

use serde::Serialize;

/// What kind of end a command came to; each has its own exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A bug of ours: 1.
    Bug,
    /// Wrong usage or configuration: 2.
    Usage,
    /// Looked, and something is wrong: 3.
    Wrong,
    /// Refused; nothing was touched: 4.
    Refused,
    /// Failed, and was undone: 5.
    Undone,
    /// Stuck; a person is needed: 6.
    Stuck,
}

impl Kind {
    /// The exit code, documented and stable.
    pub fn exit_code(self) -> u8 {
        match self {
            Kind::Bug => 1,
            Kind::Usage => 2,
            Kind::Wrong => 3,
            Kind::Refused => 4,
            Kind::Undone => 5,
            Kind::Stuck => 6,
        }
    }
}

/// Why a command ended badly.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Trouble {
    /// Picks the exit code.
    pub kind: Kind,
    /// What did not work, as a lower-case fragment with names in backticks.
    pub what: String,
    /// Why.
    pub because: String,
    /// What to do about it; empty when nothing useful can be said.
    pub hint: String,
}

impl Trouble {
    /// A trouble without a hint.
    pub fn new(kind: Kind, what: impl Into<String>, because: impl fmt::Display) -> Trouble {
        Trouble {
            kind,
            what: what.into(),
            because: because.to_string(),
            hint: String::new(),
        }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Trouble {
        self.hint = hint.into();
        self
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.what)?;
        if !self.because.is_empty() {
            write!(f, "\nbecause: {}", self.because)?;
        }
        if !self.hint.is_empty() {
            write!(f, "\n\nhint: {}", self.hint)?;
        }
        Ok(())
    }
}

impl std::error::Error for Trouble {}
