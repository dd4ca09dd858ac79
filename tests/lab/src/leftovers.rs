//! Taking labs down, and finding what labs that died half-way have left: only what carries a lab's name.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

use crate::command::tool;
use crate::disk::loops_on;
use crate::lab::one_at_a_time;
use crate::place::{CACHE_ROOT, DISK_ROOT, MEMORY_DISK_ROOT, NAMESPACE_PREFIX, Place, STATE_ROOT};
use crate::process::{Group, group_root, send};
use crate::wait;

const LIMIT: Duration = Duration::from_secs(20);

/// The names of all labs of which anything is there.
pub fn names() -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for root in [
        Path::new(STATE_ROOT),
        Path::new(DISK_ROOT),
        Path::new(MEMORY_DISK_ROOT),
        group_root()?.as_path(),
    ] {
        found.extend(
            entries(root)
                .filter(|(_, path)| path.is_dir())
                .map(|(name, _)| name),
        );
    }
    for (name, _) in entries(Path::new("/run/netns")) {
        let lab = name
            .strip_prefix(NAMESPACE_PREFIX)
            .and_then(|rest| rest.split('.').next());
        found.extend(lab.map(str::to_owned));
    }
    found.retain(|name| Place::new(name).is_ok());
    Ok(found)
}

/// Removes everything of one lab and verifies that nothing is left.
pub fn remove(name: &str) -> Result<()> {
    let _lock = one_at_a_time()?;
    let place = Place::new(name)?;
    let group = Group::new(name, None)?;
    group.kill_all()?;
    let namespaces: Vec<String> = namespaces(&place);
    wait::until(LIMIT, "the processes in the lab's network to end", || {
        let pids: Vec<u32> = namespaces
            .iter()
            .flat_map(|namespace| inhabitants(namespace))
            .collect();
        for pid in &pids {
            // Whoever ended meanwhile is what is wanted.
            let _gone = send(*pid, Signal::KILL);
        }
        pids.is_empty()
    })?;
    for namespace in &namespaces {
        tool("ip", ["netns", "delete", namespace])?;
    }
    for mount in mounts(&place)? {
        tool("umount", ["--lazy", &mount])?;
    }
    release_disks(&place)?;
    group.remove()?;
    for directory in place.disk_directories().into_iter().chain([place.state()]) {
        if directory.exists() {
            fs::remove_dir_all(&directory)
                .with_context(|| format!("cannot remove `{}`", directory.display()))?;
        }
    }
    for shared in [
        Path::new(STATE_ROOT),
        Path::new(DISK_ROOT),
        Path::new(MEMORY_DISK_ROOT),
        group_root()?.as_path(),
    ] {
        // Not empty means that another lab is there.
        let _in_use = fs::remove_dir(shared);
    }
    let left = remains(&place)?;
    if !left.is_empty() {
        bail!("the lab `{name}` left behind: {}", left.join(", "));
    }
    Ok(())
}

/// Removes every lab and leftover whose name is wanted, except labs whose owner (a running test, say) still lives;
/// gives what it did.
pub fn remove_all(wanted: impl Fn(&str) -> bool) -> Result<Vec<String>> {
    let mut report = Vec::new();
    for name in names()?.into_iter().filter(|name| wanted(name)) {
        if let Some(owner) = Place::new(&name)?.live_owner() {
            report.push(format!("`{name}` is in use by process {} and stays", owner.pid));
            continue;
        }
        remove(&name)?;
        report.push(format!("`{name}` is down"));
    }
    clear_unfinished_templates()?;
    Ok(report)
}

/// Whatever is still there of a lab, in words.
pub fn remains(place: &Place) -> Result<Vec<String>> {
    let mut left: Vec<String> = namespaces(place)
        .into_iter()
        .map(|name| format!("network namespace `{name}`"))
        .collect();
    let group = Group::new(place.name(), None)?;
    left.extend(group.members().into_iter().map(|pid| format!("process {pid}")));
    left.extend(mounts(place)?.into_iter().map(|path| format!("mount `{path}`")));
    let disks = place.disk_directories();
    left.extend(
        loops_on(|path| disks.iter().any(|directory| path.starts_with(directory)))
            .into_iter()
            .map(|name| format!("loop device `{name}`")),
    );
    let directories = disks
        .into_iter()
        .chain([place.state()])
        .filter(|path| path.exists());
    left.extend(directories.map(|path| format!("directory `{}`", path.display())));
    Ok(left)
}

fn namespaces(place: &Place) -> Vec<String> {
    let prefix = place.namespace("");
    entries(Path::new("/run/netns"))
        .map(|(name, _)| name)
        .filter(|name| name.starts_with(&prefix))
        .collect()
}

/// The processes in a network namespace; a name that is half-made has none.
fn inhabitants(namespace: &str) -> Vec<u32> {
    let listed = tool("ip", ["netns", "pids", namespace])
        .map(|output| output.stdout)
        .unwrap_or_default();
    listed
        .lines()
        .filter_map(|line| line.trim().parse().ok())
        .collect()
}

/// Mounts of the machine's own namespace below the lab's directories, the deepest first.
fn mounts(place: &Place) -> Result<Vec<String>> {
    let table = fs::read_to_string("/proc/self/mountinfo").context("cannot read the mount table")?;
    let [on_disk, in_memory] = place.disk_directories();
    let ours = [place.state(), on_disk, in_memory];
    let mut found: Vec<String> = table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .filter(|path| ours.iter().any(|root| Path::new(path).starts_with(root)))
        .map(str::to_owned)
        .collect();
    found.reverse();
    Ok(found)
}

/// Loop devices go away by themselves with the last mount; one that was set up and never mounted is detached.
fn release_disks(place: &Place) -> Result<()> {
    let disks = place.disk_directories();
    let left = || loops_on(|path| disks.iter().any(|directory| path.starts_with(directory)));
    if wait::until(Duration::from_secs(3), "the disks to be released", || {
        left().is_empty()
    })
    .is_ok()
    {
        return Ok(());
    }
    for name in left() {
        tool("losetup", ["--detach", &format!("/dev/{name}")])?;
    }
    wait::until(LIMIT, "the disks to be released", || left().is_empty())
}

/// A run that was killed while it made a disk image has left a directory in the cache.
fn clear_unfinished_templates() -> Result<()> {
    let _nobody_makes_one = crate::place::MachineLock::take("template")?;
    for (name, path) in entries(Path::new(CACHE_ROOT)) {
        if name.starts_with("making-") {
            fs::remove_dir_all(&path).with_context(|| format!("cannot remove `{}`", path.display()))?;
        }
    }
    Ok(())
}

fn entries(directory: &Path) -> impl Iterator<Item = (String, std::path::PathBuf)> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()))
}
