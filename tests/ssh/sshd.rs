//! A real sshd for one test: everything it needs is in a directory that goes away with it.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mmm::io::ssh::{Identity, Link, SshError, SshErrorKind, Target, Timing};
use tempfile::TempDir;

pub struct Sshd {
    pub dir: TempDir,
    pub port: u16,
    daemon: Child,
}

/// Makes key `name` in `dir` and returns its path.
pub fn keygen(dir: &Path, name: &str, kind: &str, passphrase: &str) -> PathBuf {
    let path = dir.join(name);
    let mut command = Command::new("ssh-keygen");
    command
        .args(["-q", "-t", kind, "-N", passphrase, "-C", name, "-f"])
        .arg(&path);
    if kind == "rsa" {
        command.args(["-b", "2048"]);
    }
    run(&mut command);
    path
}

/// Runs a program that must succeed and returns its output.
pub fn run(command: &mut Command) -> String {
    let output = command
        .stdin(Stdio::null())
        .output()
        .expect("the program is installed");
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Polls until `condition` holds.
pub async fn eventually(what: &str, within: Duration, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < within, "not within {within:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

impl Sshd {
    /// An sshd with an ed25519 host key that lets the key `user` in.
    pub fn start() -> Sshd {
        Sshd::start_with(&["ed25519"], "")
    }

    /// An sshd with host keys of these types (named `host_TYPE`) and more configuration.
    pub fn start_with(host_keys: &[&str], config: &str) -> Sshd {
        Sshd::start_in(tempfile::tempdir().unwrap(), host_keys, config)
    }

    /// `dir` may hold host keys already, and what `config` names.
    pub fn start_in(dir: TempDir, host_keys: &[&str], config: &str) -> Sshd {
        assert!(
            Path::new("/usr/sbin/sshd").exists(),
            "these tests need openssh-server"
        );
        fs::create_dir_all("/run/sshd").ok();
        let at = dir.path();
        let mut text = String::new();
        for kind in host_keys {
            let path = at.join(format!("host_{kind}"));
            if !path.exists() {
                keygen(at, &format!("host_{kind}"), kind, "");
            }
            text.push_str(&format!("HostKey {}\n", path.display()));
        }
        keygen(at, "user", "ed25519", "");
        fs::copy(at.join("user.pub"), at.join("authorized_keys")).unwrap();
        let port = TcpListener::bind(("127.0.0.1", 0))
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let at = at.display();
        // The start-up files of whoever runs the tests are kept out by another home.
        // The first value of a keyword counts, so `config` comes first.
        let text = format!(
            "{config}\n{text}Port {port}\nListenAddress 127.0.0.1\nPidFile none\nAuthorizedKeysFile {at}/authorized_keys\n\
             UsePAM no\nUseDNS no\nStrictModes no\nPermitRootLogin yes\nPasswordAuthentication no\n\
             KbdInteractiveAuthentication no\nMaxStartups 100\nLogLevel VERBOSE\n\
             SetEnv HOME={at}\n"
        );
        fs::write(dir.path().join("sshd_config"), text).unwrap();
        let log = File::create(dir.path().join("log")).unwrap();
        let daemon = Command::new("/usr/sbin/sshd")
            .args(["-D", "-e", "-f"])
            .arg(dir.path().join("sshd_config"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let sshd = Sshd { dir, port, daemon };
        let start = Instant::now();
        while !sshd.log().contains("Server listening") {
            assert!(
                start.elapsed() < Duration::from_secs(10),
                "sshd does not start: {}",
                sshd.log()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        sshd
    }

    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.path("log")).unwrap()).into_owned()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Lets another public key in.
    pub fn authorize(&self, public: &Path) {
        let mut keys = fs::read_to_string(self.path("authorized_keys")).unwrap();
        keys.push_str(&fs::read_to_string(public).unwrap());
        fs::write(self.path("authorized_keys"), keys).unwrap();
    }

    /// The name its host key is filed under.
    pub fn key_name(&self) -> String {
        format!("[127.0.0.1]:{}", self.port)
    }

    /// Writes a known-hosts file from lines in which `{key}` stands for its key of that type, and `{name}` for its name.
    pub fn known(&self, kind: &str, lines: &str) -> PathBuf {
        self.record("known_hosts", kind, lines)
    }

    fn record(&self, file: &str, kind: &str, lines: &str) -> PathBuf {
        let key = fs::read_to_string(self.path(&format!("host_{kind}.pub"))).unwrap();
        let fields: Vec<&str> = key.split_whitespace().take(2).collect();
        let text = lines
            .replace("{key}", &fields.join(" "))
            .replace("{name}", &self.key_name());
        let path = self.path(file);
        fs::write(&path, text + "\n").unwrap();
        path
    }

    /// A target that is let in, with the ed25519 host key on record.
    pub fn target(&self) -> Target {
        let mut target = Target::new("db1", "127.0.0.1", user());
        target.port = self.port;
        target.identities = vec![Identity::new(self.path("user"), None)];
        if self.path("host_ed25519.pub").exists() {
            target.known_hosts = vec![self.record("right_key", "ed25519", "{name} {key}")];
        }
        target.timing = Timing {
            connect: Duration::from_secs(20),
            keepalive_interval: Duration::from_secs(2),
            keepalive_max: 5,
        };
        target
    }

    /// A target that is let in with this key.
    pub fn target_with(&self, identity: Identity) -> Target {
        Target {
            identities: vec![identity],
            ..self.target()
        }
    }

    pub async fn link(&self) -> Link {
        Link::open(&self.target()).await.unwrap()
    }

    /// The processes that serve connections, without the listener.
    pub fn serving(&self) -> Vec<u32> {
        let mut found = vec![self.daemon.id()];
        let mut next = 0;
        while next < found.len() {
            found.extend(children(found[next]));
            next += 1;
        }
        found.split_off(1)
    }

    /// How many connections it has taken.
    pub fn connections(&self) -> usize {
        self.log().matches("Connection from").count()
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        for pid in self.serving() {
            signal(pid, "KILL");
        }
        self.daemon.kill().ok();
        self.daemon.wait().ok();
    }
}

pub fn user() -> String {
    run(Command::new("id").arg("-un")).trim().to_string()
}

pub fn signal(pid: u32, name: &str) {
    Command::new("kill")
        .args(["-s", name, &pid.to_string()])
        .stderr(Stdio::null())
        .status()
        .unwrap();
}

/// Whether a process runs; a zombie does not.
pub fn runs(pid: u32) -> bool {
    stat(pid).is_some_and(|fields| fields[0] != "Z")
}

fn children(parent: u32) -> Vec<u32> {
    let pids = fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|e| e.file_name().to_str()?.parse().ok());
    pids.filter(|pid| stat(*pid).is_some_and(|f| f[1] == parent.to_string()))
        .collect()
}

/// State and parent of a process.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(") ")?;
    Some(rest.split(' ').take(2).map(str::to_string).collect())
}

/// The error of something that must fail, which must be of this kind and tell all three parts.
pub fn refused<T: std::fmt::Debug>(result: Result<T, SshError>, kind: SshErrorKind) -> SshError {
    let error = result.expect_err("it must be refused");
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.what().contains("`db1`"), "{error}");
    assert!(
        !error.because().is_empty() && error.suggestion().is_some(),
        "{error}"
    );
    error
}
