//! The service manager inside a host: which units it has, and serving the `systemctl` of the host (`systemctl`).
//! Each unit has its own `keeper`.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::keeper::{Order, START_LIMIT, launch};
use crate::{systemctl, unit_files};

/// Which services a host has: a list of [`Unit`] in JSON.
pub const UNITS_FILE: &str = "/etc/mmm-lab/units.json";
pub const SOCKET: &str = "/run/lab/service.sock";
/// Appears when every service that starts with the host has started or failed.
pub const BOOTED_FILE: &str = "/run/lab/booted";

/// A service, as its unit file would say it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Unit {
    /// With its suffix, for example `mariadb.service`.
    pub name: String,
    pub aliases: Vec<String>,
    /// The user it runs as, by number.
    pub user: u32,
    pub group: u32,
    /// The program and its arguments.
    pub exec: Vec<String>,
    pub ready: Readiness,
}

/// How a service tells that it is ready.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Readiness {
    /// As services of `Type=notify` do.
    Notify,
    /// It writes its process id into this file, as services of `Type=forking` do.
    PidFile(PathBuf),
}

/// The file that says after how many milliseconds a crashed service is started again; `never` is a word of it too.
pub fn restart_file(unit: &str) -> PathBuf {
    Path::new("/etc/mmm-lab").join(format!("restart.{unit}"))
}

/// Runs the services of this host for ever.
pub fn serve() -> Result<()> {
    let text = fs::read_to_string(UNITS_FILE).with_context(|| format!("cannot read `{UNITS_FILE}`"))?;
    let units: Vec<Unit> =
        serde_json::from_str(&text).with_context(|| format!("`{UNITS_FILE}` is malformed"))?;
    let mut handles = BTreeMap::new();
    for unit in units {
        handles.insert(unit.name.clone(), Arc::new(launch(unit)?));
    }
    let listener = UnixListener::bind(SOCKET).with_context(|| format!("cannot listen on `{SOCKET}`"))?;
    // Everybody may ask; who may order is checked by the caller's user id.
    fs::set_permissions(SOCKET, fs::Permissions::from_mode(0o666))
        .context("cannot open the socket to everybody")?;
    let starting: Vec<_> = handles
        .values()
        .filter(|handle| unit_files::starts_with_host(&handle.unit.name))
        .map(|handle| (handle.unit.name.clone(), handle.order(Order::Start)))
        .collect();
    std::thread::spawn(move || {
        let mut report = String::new();
        for (name, answer) in starting {
            let outcome = answer
                .recv_timeout(START_LIMIT)
                .unwrap_or_else(|_| Err("no answer".to_owned()));
            report.push_str(&format!("{name}: {outcome:?}\n"));
        }
        fs::write(BOOTED_FILE, report)
    });
    let handles = Arc::new(handles);
    for connection in listener.incoming().flatten() {
        let handles = Arc::clone(&handles);
        std::thread::spawn(move || systemctl::answer(&connection, &handles));
    }
    Ok(())
}
