//! What a host has on disk about its units: masks and which do not start with the host.
//!
//! Masking is what it is on a real host: a link to `/dev/null` in `/etc/systemd/system` or `/run/systemd/system`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

const DISABLED: &str = "/etc/mmm-lab/disabled";

fn mask_link(unit: &str, runtime: bool) -> PathBuf {
    Path::new(if runtime {
        "/run/systemd/system"
    } else {
        "/etc/systemd/system"
    })
    .join(unit)
}

/// Whether a unit may not be started.
pub fn is_masked(unit: &str) -> bool {
    [true, false].into_iter().any(|runtime| {
        mask_link(unit, runtime)
            .read_link()
            .is_ok_and(|to| to == Path::new("/dev/null"))
    })
}

/// Whether a unit is started when the host boots.
pub fn starts_with_host(unit: &str) -> bool {
    !is_masked(unit) && !Path::new(DISABLED).join(unit).exists()
}

/// The unit file's state, as `systemctl is-enabled` calls it.
pub fn file_state(unit: &str) -> &'static str {
    match (
        is_masked(unit),
        mask_link(unit, false).exists(),
        starts_with_host(unit),
    ) {
        (true, true, _) => "masked",
        (true, false, _) => "masked-runtime",
        (false, _, true) => "enabled",
        (false, _, false) => "disabled",
    }
}

/// Masks a unit, until the next boot (`runtime`) or for good.
pub fn link_mask(unit: &str, runtime: bool) -> Result<()> {
    let link = mask_link(unit, runtime);
    let directory = link.parent().context("a link has a directory")?;
    fs::create_dir_all(directory).with_context(|| format!("cannot make `{}`", directory.display()))?;
    if link.symlink_metadata().is_ok() {
        fs::remove_file(&link).with_context(|| format!("cannot replace `{}`", link.display()))?;
    }
    std::os::unix::fs::symlink("/dev/null", &link)
        .with_context(|| format!("cannot make `{}`", link.display()))
}

/// Takes a mask of that kind back, if there is one.
pub fn unlink_mask(unit: &str, runtime: bool) -> Result<()> {
    let link = mask_link(unit, runtime);
    if link.symlink_metadata().is_ok() {
        fs::remove_file(&link).with_context(|| format!("cannot remove `{}`", link.display()))?;
    }
    Ok(())
}

/// Says whether the unit is to start when the host boots.
pub fn disable(unit: &str, disabled: bool) -> Result<()> {
    let marker = Path::new(DISABLED).join(unit);
    fs::create_dir_all(DISABLED).with_context(|| format!("cannot make `{DISABLED}`"))?;
    match (disabled, marker.exists()) {
        (true, false) => fs::write(&marker, "").context("cannot disable the unit"),
        (false, true) => fs::remove_file(&marker).context("cannot enable the unit"),
        _ => Ok(()),
    }
}
