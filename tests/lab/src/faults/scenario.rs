//! What a scenario is made of, and what may be expected of it.

use std::fmt;
use std::time::Duration;

use anyhow::Result;

use super::Stage;
use crate::inventory::POWER_FENCE;

/// What may be done about a writer that cannot be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// As an inventory without a word about it: `unfenced: if_silent_to_all`, no fence.
    Default,
    /// A fence duty that cuts the power, and nothing without it.
    Fence,
    /// `unfenced: never`, and no fence.
    Never,
}

impl Policy {
    pub const ALL: [Policy; 3] = [Policy::Default, Policy::Fence, Policy::Never];

    /// What the inventory's cluster says about it.
    pub fn keys(self) -> String {
        const NEVER: &str = "    failover: { unfenced: never }\n";
        match self {
            Policy::Default => String::new(),
            Policy::Fence => format!("{NEVER}{POWER_FENCE}"),
            Policy::Never => NEVER.to_owned(),
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Policy::Default => "default",
            Policy::Fence => "fence",
            Policy::Never => "never",
        })
    }
}

/// What was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decided {
    /// The writer went on, and nobody wanted to replace it.
    Stays,
    /// The writer had failed, and replacing it was held back.
    Held,
    /// The writer took writes again after it had restarted.
    Reopened,
    /// Another host took over from a writer held to be dead.
    Replaced,
    /// The writer was handed over as planned.
    Moved,
    /// A planned move was begun and taken back.
    Undone,
    /// A planned move was refused; nothing was touched.
    Refused,
    /// A person is needed.
    Stuck,
}

impl fmt::Display for Decided {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Decided::Stays => "the writer stays",
            Decided::Held => "held back",
            Decided::Reopened => "the writer is opened again",
            Decided::Replaced => "replaced",
            Decided::Moved => "moved",
            Decided::Undone => "undone",
            Decided::Refused => "refused",
            Decided::Stuck => "stuck",
        })
    }
}

/// What must come of a scenario; the row fails when it does not.
#[derive(Clone, Copy, Debug)]
pub struct Expected {
    /// Any of these.
    pub decided: &'static [Decided],
    /// By any of these rules, guards or words; empty where none is named.
    pub by: &'static [&'static str],
    /// Two hosts may take writes at once: the price of the default policy.
    pub price: bool,
    /// The old writer's disk fails: a transaction may be in its log without its rows, and it may forget what it had
    /// called safe.
    pub disk_fails: bool,
    /// What `show` must say while the fault lasts; empty when nothing is demanded.
    pub says: &'static str,
}

impl Expected {
    pub const fn new(decided: &'static [Decided], by: &'static [&'static str]) -> Expected {
        Expected {
            decided,
            by,
            price: false,
            disk_fails: false,
            says: "",
        }
    }

    /// The same, at the default policy's price.
    pub const fn at_a_price(self) -> Expected {
        Expected { price: true, ..self }
    }

    /// The same, of a writer whose disk fails.
    pub const fn on_a_failing_disk(self) -> Expected {
        Expected {
            disk_fails: true,
            ..self
        }
    }

    /// The same, and `show` says this meanwhile.
    pub const fn and_says(self, says: &'static str) -> Expected {
        Expected { says, ..self }
    }
}

/// What is done while the fault lasts.
#[derive(Clone, Copy, Debug)]
pub enum Act {
    /// Nothing: the monitor decides.
    Watch,
    /// A person runs `mmm switchover --to db2`.
    Switchover,
    /// The same, and the box's link is cut as soon as this step, counted from 1, has begun.
    SwitchoverCutAt(usize),
}

/// One scenario, as data.
pub struct Scenario {
    /// One word, for the command line.
    pub name: &'static str,
    /// What happens, for the table.
    pub says: &'static str,
    /// Under which policies it is played.
    pub under: &'static [Policy],
    /// More keys of the inventory's cluster.
    pub keys: &'static str,
    /// Before the load begins.
    pub prepare: fn(&Stage<'_>) -> Result<()>,
    /// The fault; `db1` is the writer.
    pub strike: fn(&Stage<'_>) -> Result<()>,
    /// What is done then.
    pub act: Act,
    /// The fault lasts at least so long.
    pub lasts: Duration,
    /// Takes the fault back.
    pub relieve: fn(&Stage<'_>) -> Result<()>,
    /// What must come of it.
    pub expect: fn(Policy) -> Expected,
}

impl fmt::Debug for Scenario {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "scenario `{}`", self.name)
    }
}
