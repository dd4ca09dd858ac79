//! Arguments of the verbs about runs.

use std::path::PathBuf;

use clap::Args;

/// A run of the cluster.
#[derive(Debug, Clone, Args)]
pub struct RunArgument {
    /// The run: its name, an unmistakable beginning of it, or `latest`.
    #[arg(value_name = "RUN", default_value = "latest")]
    pub run: String,
}

/// Arguments of `history`.
#[derive(Debug, Clone, Args)]
pub struct HistoryArguments {
    /// One run: its name, an unmistakable beginning of it, or `latest`; every run when left out.
    #[arg(value_name = "RUN")]
    pub run: Option<String>,
    /// Write the run as one page with a picture into this file instead; `-` is stdout.
    #[arg(long, value_name = "FILE", requires = "run")]
    pub html: Option<PathBuf>,
}
