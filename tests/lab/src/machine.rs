//! The machine the lab runs on: whether it can, and the Debian packages that it needs there.
//!
//! The machine's own services stay as they are: what a package would start is not started, and not enabled.

use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::command::{run, tool};
use crate::place::{MEMORY, MachineLock};
use crate::process::group_root;
use crate::progress::Progress;

const PACKAGES: [&str; 16] = [
    "openssh-server",
    "openssh-client",
    "mariadb-server",
    "mariadb-client",
    "iproute2",
    "iputils-arping",
    "iputils-ping",
    "ndisc6",
    "tcpdump",
    "nftables",
    "procps",
    "psmisc",
    "sudo",
    "tini",
    "util-linux",
    "e2fsprogs",
];
/// Services that the packages above bring, by package.
const SERVICES: [(&str, &str); 3] = [
    ("openssh-server", "ssh.service"),
    ("mariadb-server", "mariadb.service"),
    ("nftables", "nftables.service"),
];
const INSTALL_LIMIT: Duration = Duration::from_secs(900);
const POLICY: &str = "/usr/sbin/policy-rc.d";
const POLICY_ASIDE: &str = "/usr/sbin/policy-rc.d.before-mmm-lab";

/// Why the lab does not work here, and what would help.
#[derive(Debug)]
pub struct Refusal {
    pub what: String,
    pub because: String,
    pub hint: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}\n  because: {}\n  hint: {}",
            self.what, self.because, self.hint
        )
    }
}

impl std::error::Error for Refusal {}

fn refuse<T>(what: &str, because: impl Into<String>, hint: &str) -> Result<T> {
    Err(Refusal {
        what: what.to_owned(),
        because: because.into(),
        hint: hint.to_owned(),
    }
    .into())
}

/// Refuses a user who is not root: everything the lab does needs it.
pub fn require_root() -> Result<()> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    refuse(
        "the lab needs root",
        "it makes network namespaces, mounts and loop devices",
        "run it as root: `sudo -E cargo lab …`",
    )
}

/// Makes the machine ready: refuses politely what cannot work, and installs the packages that are missing.
pub fn prepare(progress: &Progress) -> Result<()> {
    require_root()?;
    require_debian()?;
    require_kernel()?;
    let _one_at_a_time = MachineLock::take("packages")?;
    settle_policy()?;
    let missing = missing_packages()?;
    if !missing.is_empty() {
        install(&missing, progress)?;
    }
    Ok(())
}

fn require_debian() -> Result<()> {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let ids = release
        .lines()
        .filter_map(|line| line.strip_prefix("ID=").or_else(|| line.strip_prefix("ID_LIKE=")));
    if ids
        .flat_map(|ids| ids.trim_matches('"').split(' '))
        .any(|id| id == "debian")
        && Path::new("/usr/bin/dpkg").exists()
    {
        return Ok(());
    }
    refuse(
        "the lab does not know this system",
        "it installs its servers with `apt-get`, and `/etc/os-release` does not name Debian",
        "run it on Debian 12 or later, a container with root on it will do when it may mount",
    )
}

fn require_kernel() -> Result<()> {
    let filesystems = fs::read_to_string("/proc/filesystems").context("cannot read `/proc/filesystems`")?;
    for needed in ["overlay", "ext4", "tmpfs"] {
        let known = |text: &str| {
            text.lines()
                .any(|line| line.split_whitespace().last() == Some(needed))
        };
        // A file system that is a module appears only once it has been loaded.
        if !known(&filesystems)
            && (tool("modprobe", [needed]).is_err()
                || !known(&fs::read_to_string("/proc/filesystems").unwrap_or_default()))
        {
            return refuse(
                "the lab cannot make its hosts",
                format!("this kernel has no `{needed}` file system"),
                "use a kernel that has it (every Debian kernel does)",
            );
        }
    }
    if !Path::new("/dev/loop-control").exists() {
        // Where loop is a module, asking for it is how the device appears; the check below decides.
        let _absent = tool("modprobe", ["loop"]);
    }
    if !Path::new("/dev/loop-control").exists() {
        return refuse(
            "the lab cannot make its disks",
            "`/dev/loop-control` is missing",
            "load the module `loop`, or give the container the machine's loop devices",
        );
    }
    if let Err(error) = group_root() {
        return refuse(
            "the lab cannot keep its processes apart",
            format!("{error:#}"),
            "mount the control groups",
        );
    }
    let trial = tool(
        "unshare",
        [
            "--mount", "--uts", "--ipc", "--pid", "--net", "--fork", "ip", "link", "add", "name", "br0",
            "type", "bridge",
        ],
    );
    match trial {
        Ok(_) => Ok(()),
        Err(error) if Path::new("/usr/sbin/ip").exists() || Path::new("/sbin/ip").exists() => refuse(
            "the lab cannot make its network",
            format!("a bridge in a namespace of its own was refused: {error:#}"),
            "the kernel needs namespaces and `bridge`, and a container needs CAP_SYS_ADMIN and CAP_NET_ADMIN",
        ),
        // `ip` comes with the packages; the first lab shows whether the kernel can.
        Err(_) => Ok(()),
    }
}

fn missing_packages() -> Result<Vec<&'static str>> {
    let mut query = Command::new("dpkg-query");
    query
        .args(["--show", "--showformat", "${Package} ${db:Status-Status}\n"])
        .args(PACKAGES);
    // It fails when it does not know a package, and still lists the others.
    let listed = run(&mut query, None, Duration::from_secs(30))?.stdout;
    let installed = |package: &str| listed.lines().any(|line| line == format!("{package} installed"));
    Ok(PACKAGES
        .into_iter()
        .filter(|package| !installed(package))
        .collect())
}

fn install(packages: &[&'static str], progress: &Progress) -> Result<()> {
    progress.note(&format!("installing Debian packages: {}", packages.join(" ")));
    let policy = Policy::forbid_starting()?;
    progress.step("installing packages");
    if apt_get(&["install", "--yes", "--no-install-recommends"], packages).is_err() {
        progress.step("updating the package lists");
        apt_get(&["update"], &[])?;
        progress.step("installing packages");
        apt_get(&["install", "--yes", "--no-install-recommends"], packages)?;
    }
    drop(policy);
    for (_, service) in SERVICES.iter().filter(|(package, _)| packages.contains(package)) {
        // Nobody asked for this service on the machine itself: it is not to start at the next boot either.
        if Path::new("/usr/bin/systemctl").exists() {
            tool("systemctl", ["disable", service])?;
            progress.note(&format!(
                "`{service}` is installed for the lab and stays disabled on this machine"
            ));
        }
    }
    settle_policy()
}

fn apt_get(verb: &[&str], packages: &[&str]) -> Result<()> {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
        .args(["-o", "DPkg::Lock::Timeout=300", "-q"])
        .args(verb)
        .args(packages);
    run(&mut command, None, INSTALL_LIMIT)?
        .ok()
        .with_context(|| format!("`apt-get {}` failed", verb.join(" ")))?;
    Ok(())
}

/// While this lives, packages start no service.
struct Policy;

impl Policy {
    fn forbid_starting() -> Result<Self> {
        if Path::new(POLICY).exists() {
            fs::rename(POLICY, POLICY_ASIDE).context("cannot set the machine's `policy-rc.d` aside")?;
        }
        fs::write(
            POLICY,
            "#!/bin/sh\n# Written by the lab of mmm while it installs packages.\nexit 101\n",
        )
        .with_context(|| format!("cannot write `{POLICY}`"))?;
        fs::set_permissions(POLICY, fs::Permissions::from_mode(0o755))
            .with_context(|| format!("cannot make `{POLICY}` executable"))?;
        Ok(Self)
    }
}

impl Drop for Policy {
    fn drop(&mut self) {
        // `settle_policy` reports what goes wrong here, now and on every later run.
        let _retried = settle_policy();
    }
}

/// Puts the machine's `policy-rc.d` back, also after a run that was killed in between.
fn settle_policy() -> Result<()> {
    let ours = fs::read_to_string(POLICY).is_ok_and(|text| text.contains("Written by the lab of mmm"));
    if Path::new(POLICY_ASIDE).exists() {
        fs::rename(POLICY_ASIDE, POLICY).context("cannot put the machine's `policy-rc.d` back")?;
    } else if ours {
        fs::remove_file(POLICY).context("cannot remove the lab's `policy-rc.d`")?;
    }
    Ok(())
}
/// Whether the disks of several labs beside each other fit in memory, beside their servers.
pub fn has_room_for_disks_in_memory() -> Result<bool> {
    // Four labs with three database disks each, full, and as many servers of the largest kind.
    const DISKS_BYTES: u64 = 6 << 30;
    const ALL_BYTES: u64 = 12 << 30;
    let Ok(room) = rustix::fs::statvfs(MEMORY) else {
        return Ok(false);
    };
    let table = fs::read_to_string("/proc/meminfo").context("cannot read `/proc/meminfo`")?;
    let available = table.lines().find_map(|line| {
        let kilobytes = line.strip_prefix("MemAvailable:")?.trim().strip_suffix(" kB")?;
        kilobytes.parse::<u64>().ok()
    });
    let available = available.context("`/proc/meminfo` does not say what is available")? << 10;
    Ok(room.f_bavail * room.f_frsize >= DISKS_BYTES && available >= ALL_BYTES)
}

/// What the machine was short of in the last minute, in a line each; empty where the kernel does not say.
pub fn pressure() -> String {
    let mut lines = String::new();
    for what in ["cpu", "io", "memory"] {
        let Ok(text) = fs::read_to_string(format!("/proc/pressure/{what}")) else {
            continue;
        };
        let some = text.lines().next().unwrap_or_default();
        lines.push_str(&format!("machine: waiting for {what}: {some}\n"));
    }
    lines
}
