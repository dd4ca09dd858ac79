//! The program under test, built by cargo beside this one.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::test::{cargo, root};

/// Builds `mmm` and says where it is.
pub fn mmm() -> Result<PathBuf> {
    let built = cargo()
        .args(["build", "--package", "mmm"])
        .status()
        .context("cannot start `cargo build`")?;
    if !built.success() {
        bail!("mmm could not be built");
    }
    // Beside this one, wherever cargo's target directory is.
    let own = std::env::current_exe().context("cannot find this program's own file")?;
    let beside = own.with_file_name("mmm");
    let usual = root().join("target/debug/mmm");
    [beside, usual]
        .into_iter()
        .find(|path| path.is_file())
        .context("cargo built `mmm`, but it is not beside the lab's program")
}
