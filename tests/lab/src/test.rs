//! `cargo lab test`: every test of the project, in the order in which a failure says most.
//!
//! The program of the lab runs from `target/` while cargo builds there. That works because `cargo run` has given its
//! build lock back before it starts a program, and cargo replaces a program's file rather than writing into it.

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context, Result};
use lab::machine;
use lab::progress::Progress;

use crate::stories::{self, Telling};

/// Set for the tests when the repeated runs are wanted.
pub const LONG_VARIABLE: &str = "MMM_LONG";

/// Which tests.
#[derive(clap::Args)]
pub struct TestArgs {
    /// Repeat the stories under load as often as the figures are published for.
    #[arg(long)]
    long: bool,
    /// Only tests whose name contains this.
    filter: Option<String>,
}

impl TestArgs {
    /// Runs them; the exit code is a failure as soon as one test failed, after all have run.
    pub fn run(self) -> Result<ExitCode> {
        let started = Instant::now();
        let progress = Progress::Lines;
        machine::prepare(&progress)?;
        let filter = self.filter.as_deref();
        let everywhere = cargo_test(&["--workspace"], self.long, filter)?;
        let stories = stories::tell(Telling {
            long: self.long,
            filter,
        })?;
        let outcome = match (everywhere, stories) {
            (true, true) => "all tests passed",
            (false, true) => "tests outside the lab failed, the stories in the lab passed",
            (true, false) => "stories in the lab failed, the other tests passed",
            (false, false) => "tests failed, in the lab and outside",
        };
        progress.done(outcome, started);
        Ok(if everywhere && stories {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}

/// Runs `cargo test`, which prints its own lines; whether all passed.
fn cargo_test(what: &[&str], long: bool, filter: Option<&str>) -> Result<bool> {
    let mut command = cargo();
    command.args(["test", "--no-fail-fast"]).args(what);
    if long {
        command.env(LONG_VARIABLE, "1");
    }
    if filter.is_some() {
        command.arg("--").args(filter);
    }
    let status = command.status().context("cannot start `cargo test`")?;
    Ok(status.success())
}

/// Cargo, the one that runs us, at the root of the project.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    // `cargo run` tells us about our own package; dependencies whose build scripts watch these would be built anew.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command
}

/// The project's root directory.
pub fn root() -> PathBuf {
    let own = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    PathBuf::from(own).join("../..")
}
