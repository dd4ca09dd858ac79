//! What is said to the verbs that scripts call.

use std::time::Duration;

use clap::Args;

use super::span;

/// Arguments of `ensure-writer`.
#[derive(Debug, Clone, Args)]
#[command(override_usage = "mmm ensure-writer [OPTIONS] [CLUSTER] <HOST>")]
pub struct EnsureWriterArguments {
    /// The cluster, where the inventory has several, and the host.
    #[arg(required = true, num_args = 1..=2, value_names = ["CLUSTER", "HOST"])]
    pub names: Vec<String>,
    /// How long to wait for another operation to end.
    #[arg(long, value_name = "SPAN", default_value = "10s", value_parser = span)]
    pub lock_wait: Duration,
    /// For how long nobody may be able to write; what takes longer is undone [default: the inventory's].
    #[arg(long, value_name = "SPAN", value_parser = span)]
    pub write_refused_max: Option<Duration>,
}

impl EnsureWriterArguments {
    /// The cluster, if one is named, and the host.
    pub fn said(&self) -> (Option<&str>, &str) {
        match self.names.as_slice() {
            [cluster, host, ..] => (Some(cluster), host),
            [host] => (None, host),
            [] => (None, ""),
        }
    }
}

/// Arguments of `sudoers`.
#[derive(Debug, Clone, Args)]
pub struct SudoersArguments {
    /// The cluster.
    #[arg(value_name = "CLUSTER")]
    pub name: Option<String>,
    /// This host's rules alone, ready for its /etc/sudoers.d.
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,
}
