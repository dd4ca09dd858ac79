//! A real MariaDB server in a directory of its own, on a socket of its own.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The agent's password in every test: everything that quoting could get wrong.
pub const PASSWORD: &str = r##"p'w"\n# $x `y`; é"##;

pub struct Server {
    pub directory: tempfile::TempDir,
    child: Child,
    pub id: u32,
    pub port: u16,
}

impl Server {
    /// Starts a fresh server; with a port it also listens on loopback.
    pub fn start(id: u32) -> Server {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("data");
        let copied = Command::new("cp")
            .arg("-a")
            .arg(template())
            .arg(&data)
            .status()
            .unwrap();
        assert!(copied.success());
        let port = free_port();
        let child = spawn(directory.path(), id, port);
        let server = Server {
            directory,
            child,
            id,
            port,
        };
        server.wait_until_up();
        let escaped = PASSWORD.replace('\\', "\\\\").replace('\'', "''");
        server.sql(&format!(
            "SET sql_log_bin = 0; CREATE USER agent@'%' IDENTIFIED BY '{escaped}'; GRANT ALL ON *.* TO agent@'%' WITH GRANT OPTION;
             CREATE USER repl@'%' IDENTIFIED BY 'replicate'; GRANT REPLICATION SLAVE ON *.* TO repl@'%';
             CREATE USER client@'%' IDENTIFIED BY 'c'; CREATE DATABASE IF NOT EXISTS test; GRANT ALL ON test.* TO client@'%'"
        ));
        server
    }

    pub fn socket(&self) -> String {
        self.directory.path().join("s").display().to_string()
    }

    /// Runs statements as root and gives the answer.
    pub fn sql(&self, statements: &str) -> String {
        let output = Command::new("mariadb")
            .args(["--no-defaults", "-uroot", "-N", "-B", "-S"])
            .arg(self.directory.path().join("s"))
            .args(["-e", statements])
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{statements}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub fn restart(&mut self) {
        self.child = spawn(self.directory.path(), self.id, self.port);
        self.wait_until_up();
    }

    fn wait_until_up(&self) {
        wait_for("the server", || {
            Command::new("mariadb")
                .args(["--no-defaults", "-uroot", "-S"])
                .arg(self.directory.path().join("s"))
                .args(["-e", "SELECT 1"])
                .output()
                .is_ok_and(|output| output.status.success())
        });
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A fresh data directory, made once and kept between runs.
fn template() -> PathBuf {
    static ONCE: std::sync::OnceLock<PathBuf> = std::sync::OnceLock::new();
    let make = || {
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mariadb-data");
        if kept.exists() {
            return kept;
        }
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let installed = Command::new("mariadb-install-db")
            .args([
                "--no-defaults",
                "--auth-root-authentication-method=normal",
                "--user=root",
                "--skip-test-db",
            ])
            .args(["--innodb-log-file-size=16M", "--innodb-buffer-pool-size=16M"])
            .arg(format!("--datadir={}", directory.path().display()))
            .output()
            .unwrap();
        assert!(
            installed.status.success(),
            "{}",
            String::from_utf8_lossy(&installed.stderr)
        );
        // Another run may have been faster; then its directory is as good.
        let _ = std::fs::rename(directory.path(), &kept);
        kept
    };
    ONCE.get_or_init(make).clone()
}

fn spawn(directory: &Path, id: u32, port: u16) -> Child {
    let path = |name: &str| -> PathBuf { directory.join(name) };
    Command::new("mariadbd")
        .args([
            "--no-defaults",
            "--user=root",
            "--bind-address=127.0.0.1",
            "--log-bin=bin",
            "--binlog-format=ROW",
            "--log-slave-updates",
        ])
        .args([
            "--performance-schema=OFF",
            "--innodb-buffer-pool-size=16M",
            "--innodb-log-file-size=16M",
        ])
        .args([
            "--innodb-flush-log-at-trx-commit=1",
            "--skip-slave-start",
            "--slave-net-timeout=5",
        ])
        .arg(format!("--datadir={}", path("data").display()))
        .arg(format!("--socket={}", path("s").display()))
        .arg(format!("--pid-file={}", path("pid").display()))
        // A server that starts removes what looks like an old temporary table, another one's in the same place as well.
        .arg(format!("--tmpdir={}", directory.display()))
        .arg(format!("--port={port}"))
        .arg(format!("--server-id={id}"))
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(path("log")).unwrap())
        .spawn()
        .unwrap()
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

pub fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "{what} did not come");
        std::thread::sleep(Duration::from_millis(10));
    }
}
