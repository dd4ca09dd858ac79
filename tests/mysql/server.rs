//! Real MariaDB servers on this machine's loopback, each in a directory of its own, gone with the test.

use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use mmm::io::mysql::{Login, Server};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

pub const HOME: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
pub const SOON: Duration = Duration::from_secs(5);

/// Accounts that every server of these tests has; `bare` has no privilege at all.
const ACCOUNTS: &str = "\
CREATE USER admin@'127.0.0.1' IDENTIFIED BY 'of the house';
GRANT ALL ON *.* TO admin@'127.0.0.1' WITH GRANT OPTION;
CREATE USER monitor@'127.0.0.1' IDENTIFIED BY 'looks only';
GRANT SLAVE MONITOR, BINLOG MONITOR, PROCESS ON *.* TO monitor@'127.0.0.1';
CREATE USER bare@'127.0.0.1' IDENTIFIED BY 'nothing';
CREATE USER repl@'127.0.0.1' IDENTIFIED BY 'copies';
GRANT REPLICATION SLAVE ON *.* TO repl@'127.0.0.1';
";

/// One server.
pub struct Mariadbd {
    dir: TempDir,
    pub id: u32,
    pub port: u16,
    child: Child,
}

impl Mariadbd {
    /// Starts it and waits until it answers.
    pub async fn start(id: u32) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("mmm-mariadbd-")
            .tempdir()
            .unwrap();
        let copied = Command::new("cp")
            .arg("-a")
            .arg(template())
            .arg(dir.path().join("data"))
            .status()
            .unwrap();
        assert!(copied.success(), "the template could not be copied");
        // Free now; nobody else on loopback is likely to take it within the second.
        let port = TcpListener::bind((HOME, 0)).unwrap().local_addr().unwrap().port();
        let child = launch(dir.path(), id, port);
        let server = Mariadbd { dir, id, port, child };
        server.wait_until_up().await;
        server
    }

    /// Starts it again on the same data and port, after it died.
    pub async fn restart(&mut self) {
        self.child.wait().unwrap();
        self.child = launch(self.dir.path(), self.id, self.port);
        self.wait_until_up().await;
    }

    /// A connection to it.
    pub fn as_user(&self, user: &str) -> Server {
        Server::new(HOME, self.port, login(user))
    }

    /// Runs statements as its administrator.
    pub async fn run(&self, statements: &[&str]) {
        let mut admin = self.as_user("admin");
        for sql in statements {
            admin.query(sql, SOON).await.unwrap();
        }
        admin.hang_up(SOON).await;
    }

    /// Makes it follow another one by GTID.
    pub async fn follow(&self, source: &Mariadbd) {
        let change = format!(
            "CHANGE MASTER TO master_host = '127.0.0.1', master_port = {}, master_user = 'repl', \
             master_password = 'copies', master_use_gtid = slave_pos, master_connect_retry = 1",
            source.port
        );
        self.run(&[&change, "START SLAVE"]).await;
    }

    /// Stops every thread of it, as a hung machine would: the port still takes connections.
    pub async fn freeze(&self) {
        self.signal(Signal::STOP);
        let tasks = format!("/proc/{}/task", self.child.id());
        let stopped = |task: &Path| {
            let stat = std::fs::read_to_string(task.join("stat")).unwrap_or_default();
            stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'))
        };
        let all = eventually(async || {
            std::fs::read_dir(&tasks)
                .unwrap()
                .all(|task| stopped(&task.unwrap().path()))
        });
        assert!(all.await, "the server does not stop");
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    async fn wait_until_up(&self) {
        let log = self.dir.path().join("log");
        let mut server = self.as_user("monitor");
        let up = eventually(async || server.answers(SOON).await.up().is_some()).await;
        assert!(
            up,
            "the server did not start: {}",
            std::fs::read_to_string(log).unwrap_or_default()
        );
        server.hang_up(SOON).await;
    }
}

impl Drop for Mariadbd {
    fn drop(&mut self) {
        // It may be stopped; SIGKILL works all the same. Nothing can be done about a failure here.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The password of each of the accounts.
pub fn login(user: &str) -> Login {
    let password = match user {
        "admin" => "of the house",
        "monitor" => "looks only",
        "bare" => "nothing",
        _ => "wrong",
    };
    Login {
        user: user.to_owned(),
        password: password.to_owned().into(),
    }
}

/// Whether a condition comes true within 20 s.
pub async fn eventually(mut condition: impl AsyncFnMut() -> bool) -> bool {
    let deadline = Instant::now() + Duration::from_secs(20);
    while Instant::now() < deadline {
        if condition().await {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    false
}

/// An initialised data directory, made once a build directory.
fn template() -> &'static Path {
    static TEMPLATE: OnceLock<PathBuf> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let built = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let data = built.join("mariadb-data");
        if data.exists() {
            return data;
        }
        let dir = TempDir::new_in(built).unwrap();
        let fresh = dir.path().join("data");
        let made = Command::new("mariadb-install-db")
            .args([
                "--no-defaults",
                "--skip-test-db",
                "--auth-root-authentication-method=normal",
            ])
            .arg(format!("--datadir={}", fresh.display()))
            .output()
            .expect("these tests need a real server: install the package `mariadb-server`");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        // Another test program may have been quicker; then its directory serves both.
        if std::fs::rename(&fresh, &data).is_err() {
            assert!(
                data.exists(),
                "the template could not be moved to `{}`",
                data.display()
            );
        }
        data
    })
}

fn launch(dir: &Path, id: u32, port: u16) -> Child {
    let accounts = dir.join("accounts.sql");
    let first = !accounts.exists();
    if first {
        // Not logged, or every server would begin with transactions of its own.
        std::fs::write(&accounts, format!("SET sql_log_bin = 0;\n{ACCOUNTS}")).unwrap();
    }
    let path = |name: &str| dir.join(name).display().to_string();
    let mut command = Command::new("mariadbd");
    command
        .arg("--no-defaults")
        .args([
            format!("--datadir={}", path("data")),
            format!("--socket={}", path("socket")),
        ])
        .args([
            format!("--pid-file={}", path("pid")),
            // A server that starts removes what looks like an old temporary table, another one's in the same place too.
            format!("--tmpdir={}", dir.display()),
            format!("--port={port}"),
            format!("--server-id={id}"),
        ])
        .args([
            "--bind-address=127.0.0.1",
            "--skip-name-resolve",
            "--performance-schema=OFF",
        ])
        .args(["--innodb-buffer-pool-size=16M", "--innodb-log-file-size=16M"])
        .args([
            "--log-bin=mysql-bin",
            "--log-slave-updates",
            "--slave-net-timeout=4",
        ]);
    if rustix::process::geteuid().is_root() {
        command.arg("--user=root");
    }
    if first {
        command.arg(format!("--init-file={}", accounts.display()));
    }
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(dir.join("log"))
        .unwrap();
    command
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("install the package `mariadb-server`")
}
