//! Two real MariaDB servers on loopback that replicate from each other, an address that can be moved between them
//! (a relay that opens each new connection to the current one), and the lab's own processes beside them.

use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use lab::judge::{Evidence, Expect, HostSamples, Report, Table, WriterLog, judge};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

const PASSWORD: &str = "not a secret";

/// Waits until `condition` holds; panics with `what` after 20 s.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "waited 20 s in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A child process that ends with its owner.
pub struct Process(Child);

impl Process {
    fn start(command: &mut Command) -> Process {
        Process(command.stdin(Stdio::null()).spawn().expect("the program starts"))
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.0.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Ends it with SIGTERM and expects a clean end.
    pub fn stop(mut self) {
        self.signal(Signal::TERM);
        assert!(
            self.0.wait().unwrap().success(),
            "the process did not stop cleanly"
        );
    }

    pub fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already, which is what is wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub struct Server {
    pub name: &'static str,
    pub id: u32,
    pub port: u16,
    directory: PathBuf,
    process: Mutex<Option<Process>>,
}

impl Server {
    fn new(name: &'static str, id: u32, home: &Path) -> Server {
        let directory = home.join(name);
        let copied = Command::new("cp")
            .arg("-a")
            .arg(template())
            .arg(&directory)
            .status()
            .unwrap();
        assert!(copied.success());
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let server = Server {
            name,
            id,
            port,
            directory,
            process: Mutex::new(None),
        };
        server.start();
        server
    }

    pub fn start(&self) {
        let said = fs::File::create(self.directory.join("said")).unwrap();
        let mut command = Command::new("mariadbd");
        command
            .args([
                "--no-defaults",
                "--user=root",
                "--skip-name-resolve",
                "--log-bin=bin",
                "--read-only",
            ])
            .args([
                "--binlog-format=ROW",
                "--log-slave-updates",
                "--performance-schema=OFF",
            ])
            .args([
                "--innodb-buffer-pool-size=16M",
                "--bind-address=127.0.0.1",
                "--max-connections=400",
            ])
            .arg(format!("--datadir={}", self.directory.display()))
            .arg(format!("--socket={}", self.socket().display()))
            .arg(format!("--pid-file={}", self.directory.join("pid").display()))
            .arg(format!("--port={}", self.port))
            .arg(format!("--server-id={}", self.id))
            .stderr(said);
        *self.process.lock().unwrap() = Some(Process::start(&mut command));
        until("the server answers", || {
            assert!(
                self.runs(),
                "{} ended: {}",
                self.name,
                fs::read_to_string(self.directory.join("said")).unwrap()
            );
            self.ask("SELECT 1").status.success()
        });
    }

    pub fn signal(&self, signal: Signal) {
        self.process
            .lock()
            .unwrap()
            .as_ref()
            .expect("the server runs")
            .signal(signal);
    }

    fn runs(&self) -> bool {
        self.process
            .lock()
            .unwrap()
            .as_mut()
            .is_some_and(|process| process.0.try_wait().unwrap().is_none())
    }

    /// Ends it as `kill -9` does.
    pub fn kill(&self) {
        drop(self.process.lock().unwrap().take());
    }

    pub fn socket(&self) -> PathBuf {
        self.directory.join("socket")
    }

    fn ask(&self, statements: &str) -> Output {
        let mut command = Command::new("mariadb");
        command
            .args(["--no-defaults", "-uroot", "-N", "-B", "-S"])
            .arg(self.socket());
        command
            .args(["-e", statements])
            .output()
            .expect("the package mariadb-client is installed")
    }

    pub fn sql(&self, statements: &str) -> String {
        let answer = self.ask(statements);
        let (said, wrong) = (
            String::from_utf8_lossy(&answer.stdout),
            String::from_utf8_lossy(&answer.stderr),
        );
        assert!(answer.status.success(), "{}: {statements}: {wrong}", self.name);
        said.trim_end().to_owned()
    }

    pub fn allow_writes(&self, allowed: bool) {
        self.sql(&format!("SET GLOBAL read_only = {}", u8::from(!allowed)));
    }

    /// Waits until everything that `other` has committed is here.
    pub fn catch_up_with(&self, other: &Server) {
        let position = other.sql("SELECT @@gtid_binlog_pos");
        assert_eq!(
            self.sql(&format!("SELECT MASTER_GTID_WAIT('{position}', 20)")),
            "0",
            "{}",
            self.name
        );
    }

    fn replicate_from(&self, other: &Server) {
        self.sql(&format!(
            "CHANGE MASTER TO master_host='127.0.0.1', master_port={}, master_user='repl', \
             master_password='{PASSWORD}', master_use_gtid=slave_pos, master_connect_retry=1; START SLAVE",
            other.port
        ));
    }

    fn end_sessions_of_app(&self) {
        self.sql("KILL USER app");
    }

    fn table(&self) -> Table {
        Table::read(self.name, self.id, &self.sql(Table::QUERY)).unwrap()
    }
}

/// A data directory that is made once, kept with the build, and copied for each server.
fn template() -> &'static Path {
    static TEMPLATE: OnceLock<PathBuf> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let template = kept.join("mariadb-data");
        if !template.exists() {
            let being_made = tempfile::tempdir_in(kept).unwrap();
            let data = being_made.path().join("data");
            let made = Command::new("mariadb-install-db")
                .args([
                    "--no-defaults",
                    "--user=root",
                    "--skip-test-db",
                    "--innodb-log-file-size=16M",
                ])
                .arg("--auth-root-authentication-method=normal")
                .arg(format!("--datadir={}", data.display()))
                .output()
                .expect("the package mariadb-server is installed");
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
            fs::rename(data, &template).unwrap();
        }
        template
    })
}

/// Opens each new connection to the server that holds the address at that time.
pub struct Address {
    pub at: SocketAddr,
    holder: Arc<Mutex<u16>>,
    _runtime: tokio::runtime::Runtime,
}

impl Address {
    fn held_by(server: &Server) -> Address {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let holder = Arc::new(Mutex::new(server.port));
        let current = Arc::clone(&holder);
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
            .unwrap();
        let at = listener.local_addr().unwrap();
        runtime.spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let port = *current.lock().unwrap();
                tokio::spawn(async move {
                    let mut far = tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
                    near.set_nodelay(true)?;
                    far.set_nodelay(true)?;
                    tokio::io::copy_bidirectional(&mut near, &mut far).await
                });
            }
        });
        Address {
            at,
            holder,
            _runtime: runtime,
        }
    }

    pub fn move_to(&self, server: &Server) {
        *self.holder.lock().unwrap() = server.port;
    }
}

/// Both servers; `db1` is the writer to begin with.
pub struct Pair {
    pub db1: Server,
    pub db2: Server,
    pub address: Address,
    home: TempDir,
}

impl Pair {
    pub fn start() -> Pair {
        let home = tempfile::tempdir().unwrap();
        let (db1, db2) = (
            Server::new("db1", 1, home.path()),
            Server::new("db2", 2, home.path()),
        );
        db1.sql(&format!(
            "CREATE USER app@'127.0.0.1' IDENTIFIED BY '{PASSWORD}'; \
             CREATE USER repl@'127.0.0.1' IDENTIFIED BY '{PASSWORD}'; \
             GRANT SELECT, INSERT ON app.* TO app@'127.0.0.1'; \
             GRANT REPLICATION SLAVE ON *.* TO repl@'127.0.0.1'"
        ));
        lab::writer::SCHEMA
            .iter()
            .for_each(|statement| drop(db1.sql(statement)));
        db2.replicate_from(&db1);
        db2.catch_up_with(&db1);
        db1.replicate_from(&db2);
        db1.allow_writes(true);
        Pair {
            address: Address::held_by(&db1),
            db1,
            db2,
            home,
        }
    }

    /// Make before break: refuse, end sessions, catch up, allow. The address moves in between.
    pub fn hand_over(&self, from: &Server, to: &Server) {
        from.allow_writes(false);
        from.end_sessions_of_app();
        to.catch_up_with(from);
        self.address.move_to(to);
        to.allow_writes(true);
        from.end_sessions_of_app();
    }

    /// Starts the writers with `arguments` and a sampler for each server.
    pub fn load(&self, arguments: &[&str]) -> Load<'_> {
        let password = self.file("password");
        let mut file = fs::OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .mode(0o600)
            .open(&password)
            .unwrap();
        writeln!(file, "{PASSWORD}").unwrap();
        let sample = |server: &Server| {
            let mut sampler = Command::new(env!("CARGO_BIN_EXE_lab"));
            sampler.arg("sampler").arg("--socket").arg(server.socket());
            Process::start(
                sampler
                    .arg("--log")
                    .arg(self.file(server.name).with_extension("samples")),
            )
        };
        let samplers = vec![sample(&self.db1), sample(&self.db2)];
        let mut writer = Command::new(env!("CARGO_BIN_EXE_lab"));
        writer
            .args([
                "writer",
                "--address",
                &self.address.at.to_string(),
                "--password-file",
            ])
            .arg(password);
        let writer = Process::start(writer.arg("--log").arg(self.file("writer.log")).args(arguments));
        let load = Load {
            pair: self,
            writer: Some(writer),
            samplers,
        };
        load.until_acknowledged(1, 100);
        load
    }

    fn file(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }
}

/// Running writers and samplers.
pub struct Load<'a> {
    pair: &'a Pair,
    pub writer: Option<Process>,
    samplers: Vec<Process>,
}

impl Load<'_> {
    pub fn log(&self) -> WriterLog {
        WriterLog::read(&fs::read_to_string(self.pair.file("writer.log")).unwrap_or_default()).unwrap()
    }

    pub fn samples(&self, server: &Server) -> HostSamples {
        let text = fs::read_to_string(self.pair.file(server.name).with_extension("samples")).unwrap();
        HostSamples::read(server.name, &text).unwrap()
    }

    /// Waits for so many more rows acknowledged by this server.
    pub fn until_acknowledged(&self, server: u32, rows: usize) {
        let count = || self.log().acks.iter().filter(|ack| ack.server == server).count();
        let wanted = count() + rows;
        until("rows are acknowledged", || count() >= wanted);
    }

    /// Ends everything, waits until both servers have all rows, and lets `break_it` spoil them before they are judged.
    pub fn stop_and_judge(mut self, expect: Expect, break_it: impl FnOnce(&Pair)) -> Report {
        if let Some(writer) = self.writer.take() {
            writer.stop();
        }
        self.samplers.drain(..).for_each(Process::stop);
        let (log, samples) = (
            self.log(),
            vec![self.samples(&self.pair.db1), self.samples(&self.pair.db2)],
        );
        let Pair { db1, db2, .. } = self.pair;
        db2.catch_up_with(db1);
        db1.catch_up_with(db2);
        break_it(self.pair);
        let report = judge(&Evidence {
            logs: vec![log],
            tables: vec![db1.table(), db2.table()],
            samples,
            expect,
        });
        eprintln!("{report}");
        report
    }
}
