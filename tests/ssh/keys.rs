//! Who we are: keys of each type, encrypted ones, an agent, certificates, and being refused.

use std::fs;
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mmm::io::ssh::{Agent, Identity, Link, SshErrorKind, Target};

use crate::sshd::{Sshd, keygen, refused, run, user};

const SECOND: Duration = Duration::from_secs(10);

async fn works(target: &Target) {
    let link = Link::open(target).await.unwrap();
    let output = link.exec("echo hello", b"", SECOND).await.unwrap();
    assert_eq!(output.stdout, b"hello\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_each_type_are_accepted() {
    let sshd = Sshd::start();
    for kind in ["ed25519", "rsa", "ecdsa"] {
        let key = keygen(sshd.dir.path(), kind, kind, "");
        sshd.authorize(&key.with_extension("pub"));
        works(&sshd.target_with(Identity::new(key, None))).await;
    }
    // An old PEM file, too.
    let key = keygen(sshd.dir.path(), "pem", "rsa", "");
    run(Command::new("ssh-keygen")
        .args(["-q", "-p", "-m", "PEM", "-N", "", "-f"])
        .arg(&key));
    sshd.authorize(&key.with_extension("pub"));
    works(&sshd.target_with(Identity::new(key, None))).await;
    assert!(
        sshd.log().contains("rsa-sha2-512") || !sshd.log().contains("ssh-rsa "),
        "{}",
        sshd.log()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encrypted_key_needs_its_passphrase_and_is_decrypted_once() {
    let sshd = Sshd::start();
    let key = keygen(sshd.dir.path(), "secret", "ed25519", "open sesame");
    sshd.authorize(&key.with_extension("pub"));

    let right = sshd.target_with(Identity::new(&key, Some("open sesame".into())));
    works(&right).await;
    let start = Instant::now();
    works(&right).await;
    println!("second connection with an encrypted key: {:?}", start.elapsed());
    assert!(!format!("{right:?}").contains("sesame"));

    let wrong = sshd.target_with(Identity::new(&key, Some("open barley".into())));
    let error = refused(Link::open(&wrong).await, SshErrorKind::BadPassphrase);
    assert!(!error.to_string().contains("barley"), "{error}");
    refused(
        Link::open(&sshd.target_with(Identity::new(&key, None))).await,
        SshErrorKind::KeyEncrypted,
    );
    refused(
        Link::open(&sshd.target_with(Identity::new("/no/key", None))).await,
        SshErrorKind::KeyUnreadable,
    );
    let garbage = sshd.path("garbage");
    fs::write(&garbage, "not a key").unwrap();
    refused(
        Link::open(&sshd.target_with(Identity::new(garbage, None))).await,
        SshErrorKind::KeyUnreadable,
    );

    // Old formats tell in another way that they are encrypted.
    for format in ["PEM", "PKCS8"] {
        let key = keygen(sshd.dir.path(), format, "rsa", "open sesame");
        run(Command::new("ssh-keygen")
            .args([
                "-q",
                "-p",
                "-m",
                format,
                "-P",
                "open sesame",
                "-N",
                "open sesame",
                "-f",
            ])
            .arg(&key));
        sshd.authorize(&key.with_extension("pub"));
        works(&sshd.target_with(Identity::new(&key, Some("open sesame".into())))).await;
        let wrong = sshd.target_with(Identity::new(&key, Some("open barley".into())));
        refused(Link::open(&wrong).await, SshErrorKind::BadPassphrase);
        refused(
            Link::open(&sshd.target_with(Identity::new(&key, None))).await,
            SshErrorKind::KeyEncrypted,
        );
    }
}

/// An agent of our own that ends with the test.
struct TestAgent {
    child: Child,
    socket: PathBuf,
}

impl TestAgent {
    fn start(dir: &Path) -> TestAgent {
        let socket = dir.join("agent");
        let mut child = Command::new("ssh-agent")
            .args(["-D", "-a"])
            .arg(&socket)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // Its first line says that the socket is there.
        let mut line = String::new();
        std::io::BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        TestAgent { child, socket }
    }

    fn add(&self, key: &Path) {
        run(Command::new("ssh-add")
            .arg("-q")
            .arg(key)
            .env("SSH_AUTH_SOCK", &self.socket));
    }
}

impl Drop for TestAgent {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_signs_with_keys_of_each_type() {
    let sshd = Sshd::start();
    let agent = TestAgent::start(sshd.dir.path());
    let mut target = Target {
        identities: vec![],
        ..sshd.target()
    };
    target.agent = Agent::Socket(agent.socket.clone());
    refused(Link::open(&target).await, SshErrorKind::AuthRefused);
    for kind in ["ed25519", "rsa", "ecdsa"] {
        let key = keygen(sshd.dir.path(), kind, kind, "");
        agent.add(&key);
        fs::write(sshd.path("authorized_keys"), "").unwrap();
        sshd.authorize(&key.with_extension("pub"));
        works(&target).await;
    }

    // An encrypted file without a passphrase names the key, the agent signs.
    let key = keygen(sshd.dir.path(), "plain", "ed25519", "");
    agent.add(&key);
    sshd.authorize(&key.with_extension("pub"));
    run(Command::new("ssh-keygen")
        .args(["-q", "-p", "-N", "open sesame", "-f"])
        .arg(&key));
    target.identities = vec![Identity::new(key, None)];
    target.identities_only = true;
    works(&target).await;

    target.identities = vec![];
    target.agent = Agent::Socket(sshd.path("nobody"));
    refused(Link::open(&target).await, SshErrorKind::AgentUnavailable);
}

/// Signs `key` with `authority`; `options` are ssh-keygen's.
pub fn sign(authority: &Path, key: &Path, options: &[&str]) {
    let public = key.with_extension("pub");
    run(Command::new("ssh-keygen")
        .args(["-q", "-I", "id", "-s"])
        .arg(authority)
        .args(options)
        .arg(public));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_certificate_beside_the_key_lets_us_in() {
    let dir = tempfile::tempdir().unwrap();
    let authority = keygen(dir.path(), "ca", "ed25519", "");
    let config = format!("TrustedUserCAKeys {}.pub", authority.display());
    let sshd = Sshd::start_in(dir, &["ed25519"], &config);
    for kind in ["ed25519", "rsa", "ecdsa"] {
        let key = keygen(sshd.dir.path(), kind, kind, "");
        let target = sshd.target_with(Identity::new(&key, None));
        refused(Link::open(&target).await, SshErrorKind::AuthRefused);
        sign(&authority, &key, &["-n", &user()]);
        works(&sshd.target_with(Identity::new(&key, None))).await;
    }
    assert!(
        sshd.log().contains("Accepted certificate ID") || sshd.log().contains("-CERT"),
        "{}",
        sshd.log()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_key_is_told_and_few_keys_are_tried() {
    let sshd = Sshd::start();
    let stranger = keygen(sshd.dir.path(), "stranger", "ed25519", "");
    let target = sshd.target_with(Identity::new(&stranger, None));
    let error = refused(Link::open(&target).await, SshErrorKind::AuthRefused);
    assert!(
        error.because().contains("stranger") && error.needs_a_person(),
        "{error}"
    );

    let strangers =
        (0..9).map(|i| Identity::new(keygen(sshd.dir.path(), &format!("s{i}"), "ed25519", ""), None));
    let target = Target {
        identities: strangers.collect(),
        ..sshd.target()
    };
    let error = refused(Link::open(&target).await, SshErrorKind::AuthRefused);
    assert!(error.because().contains("4 more not tried"), "{error}");

    let target = Target {
        identities: vec![],
        ..sshd.target()
    };
    let error = refused(Link::open(&target).await, SshErrorKind::AuthRefused);
    assert!(error.because().contains("no key to offer"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_ends_during_authentication_is_not_a_refused_key() {
    let sshd = Sshd::start_with(&["ed25519"], "MaxAuthTries 1");
    let strangers =
        (0..3).map(|i| Identity::new(keygen(sshd.dir.path(), &format!("s{i}"), "ed25519", ""), None));
    let target = Target {
        identities: strangers.collect(),
        ..sshd.target()
    };
    let error = refused(Link::open(&target).await, SshErrorKind::HandshakeFailed);
    assert!(
        error.because().contains("Too many authentication failures"),
        "{error}"
    );
}
