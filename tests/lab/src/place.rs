//! Where a lab keeps its things, and what its parts are called, so that its leftovers can be found by name alone.

use std::fs::{self, File};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::flavour::Flavour;
use crate::process::Identity;
use crate::roster::{Entry, ROSTER, SECOND_PAIR};

/// State of all labs: small files and sockets.
pub const STATE_ROOT: &str = "/run/mmm-lab";
/// Disks of all labs: large files.
pub const DISK_ROOT: &str = "/var/tmp/mmm-lab";
/// The machine's file system in memory.
pub const MEMORY: &str = "/dev/shm";
/// Disks of the labs that keep them in memory.
pub const MEMORY_DISK_ROOT: &str = "/dev/shm/mmm-lab";
/// Set to `memory` to have the disks of new labs kept in memory: `fsync` then costs nothing, so labs beside each other do not
/// wait for the machine's one disk. Everything else about the disks stays real; figures are taken without it.
pub const DISKS_VARIABLE: &str = "MMM_LAB_DISKS";
/// What all labs of the machine share: disk images that are used again, and locks.
pub const CACHE_ROOT: &str = "/var/cache/mmm-lab";
/// Network namespaces of labs are called `mmm-lab.LAB.HOST`.
pub const NAMESPACE_PREFIX: &str = "mmm-lab.";
/// The switch's part in the names of namespaces.
pub const SWITCH: &str = "switch";

/// Where the disks of a lab are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disks {
    /// Where [`DISKS_VARIABLE`] says.
    Usual,
    /// On the machine's disk, where `fsync` takes its time.
    OnDisk,
}

/// The places of one lab.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    name: String,
}

impl Place {
    /// Checks the name: it becomes part of file and namespace names.
    pub fn new(name: &str) -> Result<Self> {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || name.len() > 32 || name.starts_with('-') || !name.chars().all(fits) {
            bail!("`{name}` cannot name a lab: use up to 32 of `a-z`, `0-9` and `-`, not starting with `-`");
        }
        Ok(Self {
            name: name.to_owned(),
        })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn state(&self) -> PathBuf {
        Path::new(STATE_ROOT).join(&self.name)
    }

    /// Where this lab's disks are.
    pub fn disks(&self) -> PathBuf {
        let [on_disk, in_memory] = self.disk_directories();
        if in_memory.exists() { in_memory } else { on_disk }
    }

    /// Where a lab's disks can be, whether they are there or not.
    pub fn disk_directories(&self) -> [PathBuf; 2] {
        [DISK_ROOT, MEMORY_DISK_ROOT].map(|root| Path::new(root).join(&self.name))
    }

    pub fn image(&self, host: &str) -> PathBuf {
        self.disks().join(format!("{host}.img"))
    }

    pub fn seed(&self, host: &str) -> PathBuf {
        self.state().join("seed").join(host)
    }

    pub fn console(&self, host: &str) -> PathBuf {
        self.state().join(format!("{host}.console"))
    }

    pub fn pid_file(&self, host: &str) -> PathBuf {
        self.state().join(format!("{host}.pid"))
    }

    /// An empty directory on which hosts mount their disks, each in its own mount namespace.
    pub fn mount_point(&self) -> PathBuf {
        self.state().join("mnt")
    }

    pub fn secret(&self, account: &str) -> PathBuf {
        self.state().join("secrets").join(format!("{account}.password"))
    }

    /// The lab's own program, as bound into every host.
    pub fn program(&self) -> PathBuf {
        self.state().join("mmm-lab")
    }

    pub fn boot_script(&self) -> PathBuf {
        self.state().join("boot.sh")
    }

    pub fn namespace(&self, part: &str) -> String {
        format!("{NAMESPACE_PREFIX}{}.{part}", self.name)
    }

    pub fn namespace_path(&self, part: &str) -> PathBuf {
        Path::new("/run/netns").join(self.namespace(part))
    }

    /// Makes the directories; refuses when a lab of this name is there already.
    pub fn create(&self, disks: Disks) -> Result<()> {
        private_directory(Path::new(STATE_ROOT))?;
        let [on_disk, in_memory] = self.disk_directories();
        let disks = match (disks, std::env::var(DISKS_VARIABLE).as_deref()) {
            (Disks::OnDisk, _) | (Disks::Usual, Err(_)) => on_disk,
            (Disks::Usual, Ok("memory")) => in_memory,
            (Disks::Usual, Ok(other)) => {
                bail!("`{DISKS_VARIABLE}` is `{other}`: only `memory` means something")
            }
        };
        let state = self.state();
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&state)
            .with_context(|| {
                format!(
                    "a lab called `{}` is there already (`cargo lab down --name {}` takes it down)",
                    self.name, self.name
                )
            })?;
        for directory in [
            disks,
            self.mount_point(),
            state.join("secrets"),
            state.join("seed"),
        ] {
            private_directory(&directory)?;
        }
        Ok(())
    }

    /// Makes this a lab that has the second pair, too; before anything else is put here.
    pub fn add_second_pair(&self) -> Result<()> {
        fs::write(self.second_pair_file(), "").context("cannot record that the lab has a second pair")
    }

    /// Records what the database hosts of this lab run; before anything else is put here.
    pub fn write_flavour(&self, flavour: Flavour) -> Result<()> {
        fs::write(self.flavour_file(), flavour.to_string()).context("cannot record the lab's flavour")
    }

    /// What the database hosts of this lab run.
    pub fn flavour(&self) -> Result<Flavour> {
        let path = self.flavour_file();
        fs::read_to_string(&path)
            .with_context(|| format!("cannot read `{}`", path.display()))?
            .parse()
    }

    fn flavour_file(&self) -> PathBuf {
        self.state().join("flavour")
    }

    fn second_pair_file(&self) -> PathBuf {
        self.state().join("second-pair")
    }

    /// Everybody in this lab.
    pub fn roster(&self) -> impl Iterator<Item = &'static Entry> + use<> {
        let pair = if self.second_pair_file().exists() {
            &SECOND_PAIR[..]
        } else {
            &[]
        };
        ROSTER.iter().chain(pair)
    }

    pub fn exists(&self) -> bool {
        self.state().join("up").exists()
    }

    /// Records the process that this lab lives and dies with, or none when it stays until it is taken down.
    pub fn write_owner(&self, owner: Option<&Identity>) -> Result<()> {
        let text = owner.map(ToString::to_string).unwrap_or_default();
        fs::write(self.state().join("owner"), text).context("cannot record the owner of the lab")
    }

    /// The live process that uses this lab now.
    pub fn live_owner(&self) -> Option<Identity> {
        let text = fs::read_to_string(self.state().join("owner")).ok()?;
        text.parse::<Identity>().ok().filter(Identity::is_alive)
    }
}

/// A lock among all labs of the machine, held until dropped.
#[derive(Debug)]
pub struct MachineLock(#[expect(dead_code, reason = "the lock lasts as long as the open file")] File);

impl MachineLock {
    pub fn path(what: &str) -> PathBuf {
        Path::new(CACHE_ROOT).join(format!("{what}.lock"))
    }

    pub fn take(what: &str) -> Result<Self> {
        let path = Self::path(what);
        fs::create_dir_all(CACHE_ROOT).with_context(|| format!("cannot make `{CACHE_ROOT}`"))?;
        let file = File::options().create(true).append(true).mode(0o600).open(&path);
        let file = file.with_context(|| format!("cannot open the lock `{}`", path.display()))?;
        file.lock()
            .with_context(|| format!("cannot lock `{}`", path.display()))?;
        Ok(Self(file))
    }
}

/// Makes a directory that only root can enter, with its parents; one that exists is left as it is.
pub fn private_directory(path: &Path) -> Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("cannot make the directory `{}`", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_their_directory_are_refused() {
        for bad in ["", "..", "a/b", "a.b", "A", "-x", "a b"] {
            assert!(Place::new(bad).is_err(), "`{bad}` was taken");
        }
        assert!(Place::new("mmm-2").is_ok());
    }
}
