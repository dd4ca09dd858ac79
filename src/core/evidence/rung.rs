//! How a writer held to be dead is held down while another host is opened.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Decision, EvidenceRule};

/// How the outgoing writer is taken out of service before another host is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rung {
    /// The host obeys: server stopped for good and address taken away over SSH, both verified.
    Demote,
    /// The inventory's fence duty, verified by silence.
    Fence,
    /// Nothing but silence to everyone who can be asked.
    Silence,
    /// A person's word that it cannot write, against the rule that refused.
    Word(EvidenceRule),
}

/// What a person pays who goes on without a fence and is wrong.
pub const UNFENCED_PRICE: &str =
    "If the old writer still runs there will be two writers, and what it acknowledges will be lost";

impl Rung {
    /// Whether a run that was begun on this rung may still go on, now that the evidence says so. Whoever gave his word
    /// has given it for a host that does not answer, whatever else is seen of it; nobody has given any for the others.
    pub fn still_stands(self, now: Decision) -> bool {
        match (self, now) {
            (Rung::Word(_), Decision::Refuse | Decision::Replace(Rung::Silence)) => true,
            (rung, Decision::Replace(now)) => rung == now,
            (_, Decision::Refuse | Decision::Leave) => false,
        }
    }
}

impl fmt::Display for Rung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rung::Demote => f.write_str("demoted over SSH"),
            Rung::Fence => f.write_str("fenced"),
            Rung::Silence => f.write_str("not fenced, only silent to every host that could be asked"),
            Rung::Word(rule) => write!(f, "not fenced, on a person's word against {rule}"),
        }
    }
}
