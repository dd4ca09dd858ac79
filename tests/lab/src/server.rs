//! What a database server needs on its host: its unit, its settings, a fresh data directory, and programs at their
//! usual places.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::command::{run, tool};
use crate::disk::user_ids;
use crate::flavour::{Flavour, Places, Server};
use crate::roster::{Entry, Mode};
use crate::service::{Readiness, Unit};
use crate::stock::{home, program};

const INSTALL_LIMIT: Duration = Duration::from_secs(120);
const PID_FILE: &str = "/run/mysqld/mysqld.pid";

/// The unit that runs a server.
pub fn unit(server: Server) -> Result<Unit> {
    let (user, group) = user_ids("mysql")?;
    let aliases: &[&str] = if server.is_mysql() {
        &["mysqld.service"]
    } else {
        &["mysql.service", "mysqld.service"]
    };
    Ok(Unit {
        name: server.unit().to_owned(),
        aliases: aliases.iter().map(|alias| (*alias).to_owned()).collect(),
        user,
        group,
        exec: vec![
            program(server, server.process()).to_string_lossy().into_owned(),
            "--defaults-file=/etc/mysql/my.cnf".to_owned(),
        ],
        // The oldest one does not know the protocol of the service manager.
        ready: match server {
            Server::Mysql5_6 => Readiness::PidFile(PID_FILE.into()),
            _ => Readiness::Notify,
        },
    })
}

/// The programs that a host with this server has at their usual places: what stands there, and where it really is.
pub fn programs(server: Server) -> Vec<(&'static str, String)> {
    let at = |name: &str| program(server, name).to_string_lossy().into_owned();
    match server {
        Server::Mariadb10_11 => Vec::new(),
        Server::Mariadb11_8 => vec![
            ("/usr/sbin/mariadbd", at("mariadbd")),
            ("/usr/bin/mariadb", at("mariadb")),
        ],
        // Its package has no client; MariaDB's, which stays, can talk to it.
        Server::Mysql5_6 => vec![("/usr/sbin/mysqld", at("mysqld"))],
        Server::Mysql9_7 => vec![
            ("/usr/sbin/mysqld", at("mysqld")),
            ("/usr/bin/mysql", at("mysql")),
            ("/usr/bin/mysqlbinlog", at("mysqlbinlog")),
        ],
    }
}

/// Programs of the machine that a host with this server does not have.
pub fn absent_programs(server: Server) -> &'static [&'static str] {
    match server {
        Server::Mariadb10_11 | Server::Mariadb11_8 => &[],
        Server::Mysql5_6 => &["/usr/sbin/mariadbd"],
        Server::Mysql9_7 => &[
            "/usr/sbin/mariadbd",
            "/usr/bin/mariadb",
            "/usr/bin/mariadb-binlog",
        ],
    }
}

/// The configuration file of a host.
pub fn settings(flavour: Flavour, entry: &Entry, server_id: u32, mode: Mode) -> String {
    let server = flavour.server(entry);
    let offset = match mode {
        // The one has the odd numbers, the other the even ones.
        Mode::Master { .. } => (server_id + 1) % 2 + 1,
        Mode::Slave => 1,
    };
    let log = if server.is_mysql() { "mysql" } else { "mariadb" };
    format!(
        "[client]
socket = /run/mysqld/mysqld.sock
[mysqld]
user = mysql
socket = /run/mysqld/mysqld.sock
datadir = /var/lib/mysql
pid_file = {PID_FILE}
log_error = /var/lib/mysql/error.log
bind_address = 0.0.0.0
port = 3306
skip_name_resolve = ON
max_connections = 200
event_scheduler = ON
server_id = {server_id}
report_host = {host}
# A server that comes back from a crash must not come back as a writer.
read_only = ON
log_bin = {log}-bin
relay_log = {log}-relay-bin
log_slave_updates = ON
binlog_format = ROW
sync_binlog = 1
innodb_flush_log_at_trx_commit = 1
relay_log_recovery = ON
auto_increment_increment = 2
auto_increment_offset = {offset}
slave_net_timeout = 10
innodb_buffer_pool_size = 16M
performance_schema = OFF
key_buffer_size = 1M
{}{}",
        own_settings(server, flavour.places),
        directories(server),
        host = entry.name
    )
    // What the newest one does not know under its old name.
    .replace_for(server)
}

/// Names that a release took away.
trait ReplaceFor {
    fn replace_for(self, server: Server) -> String;
}

impl ReplaceFor for String {
    fn replace_for(self, server: Server) -> String {
        match server {
            Server::Mysql9_7 => self
                .replace("log_slave_updates", "log_replica_updates")
                .replace("slave_net_timeout", "replica_net_timeout")
                .replace("binlog_format = ROW\n", ""),
            _ => self,
        }
    }
}

/// What only this server has.
fn own_settings(server: Server, places: Places) -> String {
    let gtid = match places {
        Places::Gtid => "gtid_mode = ON\nenforce_gtid_consistency = ON\n",
        Places::Files => "gtid_mode = OFF\n",
    };
    match server {
        Server::Mariadb10_11 | Server::Mariadb11_8 => {
            "innodb_log_file_size = 16M\ngtid_strict_mode = OFF\naria_pagecache_buffer_size = 1M\n".to_owned()
        }
        // Where a replica stands is kept in tables, or a crash would leave it behind what it applied.
        Server::Mysql5_6 => format!(
            "innodb_log_file_size = 16M\nexplicit_defaults_for_timestamp = ON\n\
             master_info_repository = TABLE\nrelay_log_info_repository = TABLE\n{gtid}"
        ),
        Server::Mysql9_7 => {
            format!("innodb_redo_log_capacity = 16M\nmysqlx = OFF\nsecure_file_priv = NULL\n{gtid}")
        }
    }
}

/// Where a server that is not installed has its files.
fn directories(server: Server) -> String {
    directory_options(server)
        .into_iter()
        .map(|(option, path)| format!("{option} = {path}\n"))
        .collect()
}

fn directory_options(server: Server) -> Vec<(&'static str, String)> {
    let Some(home) = home(server) else {
        return Vec::new();
    };
    let inside = |path: &str| home.join(path).to_string_lossy().into_owned();
    let messages = |share: &str| {
        vec![
            ("lc_messages_dir", inside(share)),
            ("character_sets_dir", inside(&format!("{share}/charsets"))),
        ]
    };
    match server {
        Server::Mariadb10_11 => Vec::new(),
        Server::Mariadb11_8 => messages("usr/share/mariadb"),
        Server::Mysql5_6 => messages("package/server/share"),
        Server::Mysql9_7 => {
            let mut options = messages("usr/share/mysql");
            options.push(("plugin_dir", inside("usr/lib/mysql/plugin")));
            options
        }
    }
}

/// What a fresh data directory of this server is called: another version has another one.
pub fn label(server: Server) -> Result<String> {
    let path = program(server, server.process()).to_string_lossy().into_owned();
    let text = tool(&path, ["--no-defaults", "--version"])?.stdout;
    let version = text.split_whitespace().skip_while(|word| *word != "Ver").nth(1);
    let Some(version) = version else {
        bail!("`{path} --version` says something unknown: {text}")
    };
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || ".-".contains(c) {
            c
        } else {
            '_'
        }
    };
    let version: String = version.chars().map(plain).collect();
    Ok(if server.is_mysql() {
        format!("mysql-{version}")
    } else {
        version
    })
}

/// A fresh data directory, as the package would make it: root through the socket, no passwords, no test schema.
pub fn install(server: Server, aside: &Path, data: &Path) -> Result<()> {
    let (user, group) = user_ids("mysql")?;
    // The installer runs as `mysql` and has to get there.
    fs::set_permissions(aside, fs::Permissions::from_mode(0o711)).context("cannot open the cache")?;
    fs::create_dir(data).context("cannot make the data directory")?;
    let own = || chown(data, Some(user), Some(group)).context("cannot give the data directory to `mysql`");
    own()?;
    match server {
        Server::Mariadb10_11 | Server::Mariadb11_8 => install_mariadb(server, data)?,
        Server::Mysql5_6 => install_shipped(server, data)?,
        Server::Mysql9_7 => {
            let mut install = installer(server, data);
            install.args(["--initialize-insecure", "--innodb-redo-log-capacity=16M"]);
            finish(&mut install, None)?;
            // Each copy is to be a server of its own.
            fs::remove_file(data.join("auto.cnf")).context("the new server has no identity")?;
        }
    }
    ensure!(
        data.join("mysql").is_dir(),
        "installing {server} left no system tables behind"
    );
    fs::set_permissions(data, fs::Permissions::from_mode(0o755)).context("cannot open the data directory")
}

fn install_mariadb(server: Server, data: &Path) -> Result<()> {
    let Some(home) = home(server) else {
        let mut install = Command::new("mariadb-install-db");
        install.args([
            "--no-defaults",
            "--user=mysql",
            "--skip-test-db",
            "--auth-root-authentication-method=socket",
            "--innodb-log-file-size=16M",
            "--innodb-buffer-pool-size=16M",
        ]);
        install.arg(format!("--datadir={}", data.display()));
        return finish(&mut install, None);
    };
    // What `mariadb-install-db` feeds to the server, which it would not find here.
    let mut sql = String::from(
        "CREATE DATABASE IF NOT EXISTS mysql;\nUSE mysql;\nSET @auth_root_socket = 'root';\n\
         SET @skip_auth_anonymous = 1;\n",
    );
    for name in [
        "mariadb_system_tables.sql",
        "mariadb_performance_tables.sql",
        "mariadb_system_tables_data.sql",
        "maria_add_gis_sp_bootstrap.sql",
        "mariadb_sys_schema.sql",
    ] {
        let path = home.join("usr/share/mariadb").join(name);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
        sql.push_str(&text);
        sql.push('\n');
    }
    fs::create_dir(data.join("mysql")).context("cannot make the data directory")?;
    let (user, group) = user_ids("mysql")?;
    chown(data.join("mysql"), Some(user), Some(group)).context("cannot make the data directory")?;
    let mut install = installer(server, data);
    install.args([
        "--bootstrap",
        "--enforce-storage-engine=",
        "--innodb-log-file-size=16M",
        "--innodb-buffer-pool-size=16M",
    ]);
    finish(&mut install, Some(sql.as_bytes()))
}

/// The data directory that the package ships, without its identity, its strangers and its test schema.
fn install_shipped(server: Server, data: &Path) -> Result<()> {
    let home = home(server).context("a shipped data directory has a home")?;
    let shipped = home.join("package/server/data/mysql/.");
    tool("cp", ["-a", &shipped.to_string_lossy(), &data.to_string_lossy()])?;
    fs::remove_file(data.join("auto.cnf")).context("the shipped data directory is not as it was")?;
    tool("chown", ["-R", "mysql:mysql", &data.to_string_lossy()])?;
    let sql = "DELETE FROM mysql.user WHERE user = '' OR host <> 'localhost';\nDELETE FROM mysql.db;\n";
    let mut install = installer(server, data);
    install.args([
        "--bootstrap",
        "--innodb-log-file-size=16M",
        "--innodb-buffer-pool-size=16M",
    ]);
    finish(&mut install, Some(sql.as_bytes()))
}

fn installer(server: Server, data: &Path) -> Command {
    let mut command = Command::new(program(server, server.process()));
    command.args(["--no-defaults", "--user=mysql"]);
    command.arg(format!("--datadir={}", data.display()));
    for (option, path) in directory_options(server) {
        command.arg(format!("--{option}={path}"));
    }
    command
}

fn finish(install: &mut Command, input: Option<&[u8]>) -> Result<()> {
    run(install, input, INSTALL_LIMIT)?
        .ok()
        .context("the server could not make its data directory")?;
    Ok(())
}
