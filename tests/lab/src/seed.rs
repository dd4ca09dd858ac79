//! The files a host starts its life with: its own users, keys, names, database settings, laid over the machine's.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::accounts::ACCOUNTS;
use crate::command::tool;
use crate::flavour::Server;
use crate::place::Place;
use crate::roster::{Entry, Purpose};
use crate::server;
use crate::service::{Readiness, UNITS_FILE, Unit, restart_file};
use crate::sudo::{SSH_USER, sudoers};

/// Where the box keeps the passwords of the accounts.
pub const PASSWORDS: &str = "/etc/mmm";
/// Where the client keeps the password of the application's account.
pub const APP_PASSWORD: &str = "/etc/mmm-lab/app.password";
/// How Debian's unit restarts a crashed server.
pub const RESTART_DELAY_MS: u64 = 5000;
/// What of the machine a host does not see: it starts with an empty directory there.
const HIDDEN: [&str; 11] = [
    "/root",
    "/home",
    "/srv",
    "/mnt",
    "/etc/ssh",
    "/etc/mysql",
    "/etc/systemd/system",
    "/etc/sudoers.d",
    "/var/lib/mysql",
    "/var/tmp",
    "/var/cache",
];
/// Hidden as well when the machine has it: another mmm.
const HIDDEN_IF_THERE: [&str; 2] = ["/etc/mmm", "/var/lib/mmm"];
/// What a Debian system has at its top; whatever else a machine has there is its own business and hidden too.
const TOP: [&str; 21] = [
    "bin",
    "boot",
    "dev",
    "etc",
    "home",
    "lib",
    "lib32",
    "lib64",
    "libx32",
    "lost+found",
    "media",
    "mnt",
    "opt",
    "proc",
    "root",
    "run",
    "sbin",
    "srv",
    "sys",
    "tmp",
    "usr",
];

/// Makes what all hosts of a lab share: passwords, and a key for each host.
pub fn secrets(place: &Place) -> Result<()> {
    for account in ACCOUNTS {
        write(&place.secret(account), &(random_word()? + "\n"), 0o600)?;
    }
    let keys = place.state().join("keys");
    crate::place::private_directory(&keys)?;
    for name in place.roster().map(|entry| entry.name).chain(["identity"]) {
        let file = keys.join(name).to_string_lossy().into_owned();
        tool(
            "ssh-keygen",
            ["-q", "-t", "ed25519", "-N", "", "-C", name, "-f", &file],
        )?;
    }
    Ok(())
}

/// The password of an account, by the account's short name.
pub fn password(place: &Place, account: &str) -> Result<String> {
    let path = place.secret(account);
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
    Ok(text.trim_end().to_owned())
}

/// Paths that are hidden from hosts on this machine.
pub fn hidden() -> Vec<String> {
    let there = HIDDEN_IF_THERE
        .into_iter()
        .filter(|path| Path::new(path).is_dir());
    let mut paths: Vec<String> = HIDDEN.into_iter().chain(there).map(str::to_owned).collect();
    for entry in fs::read_dir("/").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let plain = name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
        if plain && entry.path().is_dir() && !TOP.contains(&name.as_str()) && name != "var" {
            paths.push(format!("/{name}"));
        }
    }
    paths
}

/// Writes the files of one host.
pub fn plant(place: &Place, entry: &Entry) -> Result<()> {
    let root = place.seed(entry.name);
    let keys = place.state().join("keys");
    write(&root.join("etc/hostname"), &format!("{}\n", entry.name), 0o644)?;
    write(&root.join("etc/hosts"), &hosts_file(place), 0o644)?;
    write(
        &root.join("etc/sudoers"),
        &sudoers(place.flavour()?.server(entry).unit()),
        0o440,
    )?;
    write(
        &root.join("usr/bin/systemctl"),
        "#!/bin/sh\nexec /usr/local/bin/mmm-lab systemctl \"$@\"\n",
        0o755,
    )?;
    users(&root)?;
    ssh(place, &root, &keys, entry)?;
    let mut units = vec![ssh_unit()];
    match entry.purpose {
        Purpose::Database { server_id, mode, .. } => {
            let flavour = place.flavour()?;
            let database = flavour.server(entry);
            units.push(server::unit(database)?);
            write(
                &root.join("etc/mysql/my.cnf"),
                &server::settings(flavour, entry, server_id, mode),
                0o644,
            )?;
            own_programs(&root, database)?;
        }
        Purpose::Monitor => {
            for account in ["monitor", "agent", "replication"] {
                let file = root.join(&PASSWORDS[1..]).join(format!("{account}.password"));
                write(&file, &(password(place, account)? + "\n"), 0o600)?;
            }
        }
        Purpose::Client => {
            write(
                &root.join(&APP_PASSWORD[1..]),
                &(password(place, "app")? + "\n"),
                0o600,
            )?;
        }
    }
    for unit in &units {
        let file = restart_file(&unit.name);
        write(
            &root.join(file.strip_prefix("/")?),
            &format!("{RESTART_DELAY_MS}\n"),
            0o644,
        )?;
    }
    let file = root.join(Path::new(UNITS_FILE).strip_prefix("/")?);
    write(&file, &serde_json::to_string_pretty(&units)?, 0o644)
}

fn hosts_file(place: &Place) -> String {
    let mut text = String::from("127.0.0.1 localhost\n");
    for entry in place.roster() {
        text.push_str(&format!("{} {}\n", entry.address(), entry.name));
    }
    text
}

/// The machine's users without their passwords, and the ordinary user for SSH.
fn users(root: &Path) -> Result<()> {
    let read = |path: &str| fs::read_to_string(path).with_context(|| format!("cannot read `{path}`"));
    let passwd = read("/etc/passwd")?;
    let group = read("/etc/group")?;
    let others = |text: &str| -> String {
        let lines = text
            .lines()
            .filter(|line| line.split(':').next() != Some(SSH_USER));
        lines.map(|line| format!("{line}\n")).collect()
    };
    let taken = |id: &u32| {
        passwd
            .lines()
            .chain(group.lines())
            .any(|line| line.split(':').nth(2) == Some(&id.to_string()))
    };
    let id = (20_770..)
        .find(|id| !taken(id))
        .context("every user id is taken")?;
    let home = format!("/home/{SSH_USER}");
    write(
        &root.join("etc/passwd"),
        &format!("{}{SSH_USER}:x:{id}:{id}::{home}:/bin/sh\n", others(&passwd)),
        0o644,
    )?;
    write(
        &root.join("etc/group"),
        &format!("{}{SSH_USER}:x:{id}:\n", others(&group)),
        0o644,
    )?;
    let names = passwd
        .lines()
        .filter_map(|line| line.split(':').next())
        .chain([SSH_USER]);
    // `*` is no password, and unlike `!` it does not lock the account for keys.
    let shadow: String = names
        .map(|name| format!("{name}:*:19000:0:99999:7:::\n"))
        .collect();
    write(&root.join("etc/shadow"), &shadow, 0o640)?;
    let home = root.join(&home[1..]);
    fs::create_dir_all(home.join(".ssh")).context("cannot write a seed")?;
    for directory in [home.join(".ssh"), home] {
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).context("cannot write a seed")?;
        chown(&directory, Some(id), Some(id)).context("cannot write a seed")?;
    }
    Ok(())
}

fn ssh(place: &Place, root: &Path, keys: &Path, entry: &Entry) -> Result<()> {
    let read = |name: String| {
        fs::read_to_string(keys.join(&name)).with_context(|| format!("cannot read the key `{name}`"))
    };
    let settings = "Port 22\nHostKey /etc/ssh/ssh_host_ed25519_key\nUsePAM no\nUseDNS no\nPasswordAuthentication no\n\
                    KbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\nPrintMotd no\n\
                    Subsystem sftp internal-sftp\n";
    write(&root.join("etc/ssh/sshd_config"), settings, 0o644)?;
    write(
        &root.join("etc/ssh/ssh_host_ed25519_key"),
        &read(entry.name.to_owned())?,
        0o600,
    )?;
    write(
        &root.join("etc/ssh/ssh_host_ed25519_key.pub"),
        &read(format!("{}.pub", entry.name))?,
        0o644,
    )?;
    let home = root.join("home").join(SSH_USER).join(".ssh/authorized_keys");
    write(&home, &read("identity.pub".to_owned())?, 0o600)?;
    let owner = fs::metadata(root.join("home").join(SSH_USER)).context("cannot read a seed")?;
    use std::os::unix::fs::MetadataExt;
    chown(&home, Some(owner.uid()), Some(owner.gid())).context("cannot write a seed")?;
    fs::create_dir_all(root.join("root")).context("cannot write a seed")?;
    fs::set_permissions(root.join("root"), fs::Permissions::from_mode(0o700))
        .context("cannot write a seed")?;
    if entry.purpose == Purpose::Monitor {
        let mut known = String::new();
        for other in place.roster() {
            let key = read(format!("{}.pub", other.name))?;
            let key: Vec<&str> = key.split_whitespace().take(2).collect();
            known.push_str(&format!("{},{} {}\n", other.name, other.address(), key.join(" ")));
        }
        write(&root.join("root/.ssh/known_hosts"), &known, 0o600)?;
        write(
            &root.join("root/.ssh/id_ed25519"),
            &read("identity".to_owned())?,
            0o600,
        )?;
        write(
            &root.join("root/.ssh/id_ed25519.pub"),
            &read("identity.pub".to_owned())?,
            0o644,
        )?;
        fs::set_permissions(root.join("root/.ssh"), fs::Permissions::from_mode(0o700))
            .context("cannot write a seed")?;
    }
    Ok(())
}

/// The server's programs at their usual places.
fn own_programs(root: &Path, database: Server) -> Result<()> {
    for (usual, real) in server::programs(database) {
        write(
            &root.join(&usual[1..]),
            &format!("#!/bin/sh\nexec {real} \"$@\"\n"),
            0o755,
        )?;
    }
    Ok(())
}

fn ssh_unit() -> Unit {
    Unit {
        name: "ssh.service".to_owned(),
        aliases: vec!["sshd.service".to_owned()],
        user: 0,
        group: 0,
        exec: vec!["/usr/sbin/sshd".to_owned(), "-D".to_owned()],
        ready: Readiness::Notify,
    }
}

/// Writes a file of a seed with its mode, whatever the umask is; directories on the way are made.
fn write(path: &Path, text: &str, mode: u32) -> Result<()> {
    let shown = path.display();
    let mut missing: Vec<PathBuf> = Vec::new();
    let mut directory = path.parent();
    while let Some(parent) = directory.filter(|parent| !parent.exists()) {
        missing.push(parent.to_owned());
        directory = parent.parent();
    }
    for parent in missing.iter().rev() {
        fs::create_dir(parent).with_context(|| format!("cannot make `{}`", parent.display()))?;
        fs::set_permissions(parent, fs::Permissions::from_mode(0o755))
            .with_context(|| format!("mode of `{shown}`"))?;
    }
    fs::write(path, text).with_context(|| format!("cannot write `{shown}`"))?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).with_context(|| format!("mode of `{shown}`"))
}

fn random_word() -> Result<String> {
    let mut bytes = [0_u8; 16];
    std::io::Read::read_exact(
        &mut fs::File::open("/dev/urandom").context("cannot open `/dev/urandom`")?,
        &mut bytes,
    )
    .context("cannot read `/dev/urandom`")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
