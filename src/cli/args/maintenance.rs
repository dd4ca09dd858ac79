//! Arguments of `downtime` and `ack`.

use std::time::Duration;

use clap::Args;

use super::span;

/// Arguments of `downtime`.
#[derive(Debug, Clone, Args)]
pub struct DowntimeArguments {
    /// A host, or a cluster; the only cluster otherwise.
    #[arg(value_name = "HOST|CLUSTER")]
    pub name: Option<String>,
    /// How long; it ends by itself then. Said again, it counts from now.
    #[arg(long = "for", value_name = "SPAN", value_parser = span, required_unless_present = "end")]
    pub length: Option<Duration>,
    /// Why, for whoever reads `show`.
    #[arg(long, value_name = "TEXT", required_unless_present = "end")]
    pub reason: Option<String>,
    /// End it now.
    #[arg(long, conflicts_with_all = ["length", "reason"])]
    pub end: bool,
}

/// Arguments of `ack`.
#[derive(Debug, Clone, Args)]
pub struct AckArguments {
    /// The run, as `mmm show` names it.
    pub run: String,
}
