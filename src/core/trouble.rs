//! What people are told when something does not work: what, because, hint. Its kind picks the exit code.

use std::fmt;

use serde::Serialize;

use super::guard::Guard;

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
    /// The guard that refused, where one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guard: Option<Guard>,
}

impl Trouble {
    /// A trouble without a hint.
    pub fn new(kind: Kind, what: impl Into<String>, because: impl fmt::Display) -> Trouble {
        Trouble {
            kind,
            what: what.into(),
            because: because.to_string(),
            hint: String::new(),
            guard: None,
        }
    }

    /// Refused by a guard; what lifts it is the hint, unless something better is known.
    pub fn refused(guard: Guard, what: impl Into<String>, because: impl fmt::Display) -> Trouble {
        Trouble {
            guard: Some(guard),
            ..Trouble::new(Kind::Refused, what, because).hint(guard.lifted_by())
        }
    }

    /// The same as a refusal: nothing was touched because of it. The guard that it has already is kept.
    #[must_use]
    pub fn into_refusal(self, guard: Guard) -> Trouble {
        Trouble {
            kind: Kind::Refused,
            guard: self.guard.or(Some(guard)),
            ..self
        }
    }

    /// Why, with the number of the guard that refused.
    pub fn reason(&self) -> String {
        match self.guard {
            Some(guard) => format!("{} ({guard})", self.because),
            None => self.because.clone(),
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
        if let Some(guard) = self.guard {
            write!(f, "\nguard: {guard} {}", guard.sentence())?;
        }
        if !self.hint.is_empty() {
            write!(f, "\n\nhint: {}", self.hint)?;
        }
        Ok(())
    }
}

impl std::error::Error for Trouble {}
