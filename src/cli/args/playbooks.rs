//! Arguments of `playbook` and `schema`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::DutyArguments;

/// Arguments of `playbook`.
#[derive(Debug, Clone, Args)]
pub struct PlaybookArguments {
    /// What to do.
    #[command(subcommand)]
    pub verb: PlaybookVerb,
}

/// What can be done with playbooks.
#[derive(Debug, Clone, Subcommand)]
pub enum PlaybookVerb {
    /// List the duties, operations and dialects in use, and where each comes from.
    List,
    /// Print what stands in use under a name.
    Show {
        /// A duty, an operation or a dialect.
        name: String,
    },
    /// Say everything that is wrong or doubtful: unknown keys, undefined names, a missing undo or deadline, values that want
    /// quotes, duties that nothing performs. Exit code 2 when there is anything.
    Lint {
        /// A directory of playbooks, laid over the shipped ones [default: the inventory's, or the shipped ones].
        #[arg(value_name = "DIR")]
        directory: Option<PathBuf>,
    },
    /// Perform a single duty at one host, under the cluster's lock, or show what it would do.
    ///
    /// What opens a server for writes, runs events or touches the writer's address is left to operations and refused here,
    /// because only they look first whether another host writes. No journal is kept: what fails half-way is not taken back, and
    /// the exit code is 3; it is 6 when whether it was done is not known.
    Run {
        /// What to perform.
        #[command(flatten)]
        duty: DutyArguments,
        /// Only show it.
        #[arg(long)]
        plan: bool,
        /// How long to wait for another operation to end.
        #[arg(long, value_name = "SPAN", default_value = "10s", value_parser = super::span)]
        lock_wait: Duration,
    },
}

impl PlaybookVerb {
    /// Whether nothing is changed by it, so that it can be given up at any moment.
    pub fn only_looks(&self) -> bool {
        match self {
            PlaybookVerb::List | PlaybookVerb::Show { .. } | PlaybookVerb::Lint { .. } => true,
            PlaybookVerb::Run { plan, .. } => *plan,
        }
    }
}

/// Arguments of `schema`.
#[derive(Debug, Clone, Args)]
pub struct SchemaArguments {
    /// Of what; all names without it.
    pub name: Option<String>,
}
