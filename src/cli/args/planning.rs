//! Arguments of `plan` and `apply`.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

/// Arguments of `plan`.
#[derive(Debug, Clone, Args)]
pub struct PlanArguments {
    /// What is planned.
    #[command(subcommand)]
    pub what: Planned,
    /// Keep the plan in a new file as well; `mmm apply FILE` carries it out.
    #[arg(long, global = true, value_name = "FILE")]
    pub save: Option<PathBuf>,
}

/// What can be planned.
#[derive(Debug, Clone, Subcommand)]
pub enum Planned {
    /// A planned move of the writer.
    Switchover {
        /// The cluster.
        #[arg(value_name = "CLUSTER")]
        name: Option<String>,
        /// The host that takes the role.
        #[arg(long, value_name = "HOST")]
        to: Option<String>,
        /// As with `switchover --write-refused-max`.
        #[arg(long, value_name = "SPAN", value_parser = super::span)]
        write_refused_max: Option<Duration>,
    },
    /// The replacement of a dead writer, or the opening of one that came back and refuses writes.
    Failover {
        /// The cluster.
        #[arg(value_name = "CLUSTER")]
        name: Option<String>,
        /// The host that takes the role.
        #[arg(long, value_name = "HOST")]
        to: Option<String>,
        /// As with `failover --allow-loss`.
        #[arg(long)]
        allow_loss: bool,
        /// As with `failover --allow-unfenced`.
        #[arg(long)]
        allow_unfenced: bool,
    },
    /// The return of a replaced writer.
    Rejoin {
        /// The replaced writer.
        host: String,
        /// As with `rejoin --discard`.
        #[arg(long)]
        discard: bool,
    },
    /// The move of a role's address to a host.
    #[command(name = "move-role", alias = "move_role")]
    MoveRole {
        /// The role.
        role: String,
        /// The host that takes it.
        host: String,
        /// Which address moves, of a balanced role.
        #[arg(long, value_name = "IP")]
        address: Option<IpAddr>,
        /// As with `move-role --force`.
        #[arg(long)]
        force: bool,
    },
    /// A host's way out of service: the writer's by a switchover first.
    #[command(name = "set-offline", alias = "set_offline")]
    SetOffline {
        /// The host.
        host: String,
    },
    /// A host's way back into service.
    #[command(name = "set-online", alias = "set_online")]
    SetOnline {
        /// The host.
        host: String,
    },
    /// A single duty at one host.
    Duty(DutyArguments),
}

/// A duty by hand.
#[derive(Debug, Clone, Args)]
pub struct DutyArguments {
    /// The duty.
    pub duty: String,
    /// The host that performs it.
    #[arg(long, value_name = "HOST")]
    pub at: String,
    /// Perform it on this box, about that host, as fences are.
    #[arg(long)]
    pub on_box: bool,
    /// A value that the duty needs: `address=IP`, `source=HOST`, `with.NAME=…`, or what an earlier duty would have
    /// registered.
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    pub set: Vec<(String, String)>,
    /// How long the whole duty may take.
    #[arg(long, value_name = "SPAN", default_value = "30s", value_parser = super::span)]
    pub within: Duration,
}

/// Arguments of `apply`.
#[derive(Debug, Clone, Args)]
pub struct ApplyArguments {
    /// A plan that `mmm plan … --save FILE` wrote.
    pub file: PathBuf,
    /// How long to wait for another operation to end.
    #[arg(long, value_name = "SPAN", default_value = "10s", value_parser = super::span)]
    pub lock_wait: Duration,
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write it as `name=value`".to_owned()),
    }
}
