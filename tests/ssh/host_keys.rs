//! Who the host is: unknown, changed and revoked keys are refused, known ones found in every form.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use mmm::io::ssh::{Link, SshErrorKind, Target};

use crate::keys::sign;
use crate::sshd::{Sshd, keygen, refused, run};

const UNKNOWN: SshErrorKind = SshErrorKind::HostKeyUnknown;
const ANOTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB9dG4kjRhQTtWTVzd2t27+t0DEHBPW7iOD23TUiYLio";

fn knowing(sshd: &Sshd, known_hosts: Vec<PathBuf>) -> Target {
    Target {
        known_hosts,
        ..sshd.target()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_changed_and_revoked_host_keys_are_refused() {
    let sshd = Sshd::start();
    for known in [
        vec![],
        vec![sshd.path("missing")],
        vec![sshd.path("authorized_keys")],
    ] {
        let error = refused(Link::open(&knowing(&sshd, known)).await, UNKNOWN);
        assert!(error.because().contains("SHA256:"), "{error}");
        assert!(error.suggestion().unwrap().contains(&sshd.key_name()), "{error}");
    }

    let file = sshd.known("ed25519", &format!("# first\n{{name}} {ANOTHER}"));
    let error = refused(
        Link::open(&knowing(&sshd, vec![file])).await,
        SshErrorKind::HostKeyChanged,
    );
    assert!(error.because().contains("known_hosts:2"), "{error}");
    assert!(error.suggestion().unwrap().contains("ssh-keygen -R"), "{error}");

    let file = sshd.known("ed25519", "{name} {key}\n@revoked * {key}");
    refused(
        Link::open(&knowing(&sshd, vec![file])).await,
        SshErrorKind::HostKeyRevoked,
    );

    let mut listed = knowing(&sshd, vec![sshd.known("ed25519", "{name} {key}")]);
    listed.revoked_host_keys = vec![sshd.path("host_ed25519.pub")];
    refused(Link::open(&listed).await, SshErrorKind::HostKeyRevoked);

    // A refused host never sees an attempt to log in.
    assert!(
        !sshd.log().contains("Accepted") && !sshd.log().contains("Failed publickey"),
        "{}",
        sshd.log()
    );

    listed.revoked_host_keys = vec![sshd.path("user.pub")];
    Link::open(&listed).await.unwrap();
    for broken in ["missing", "sshd_config"] {
        listed.revoked_host_keys = vec![sshd.path(broken)];
        refused(Link::open(&listed).await, SshErrorKind::KnownHostsUnreadable);
    }

    let unreadable = sshd.dir.path().to_path_buf();
    refused(
        Link::open(&knowing(&sshd, vec![unreadable])).await,
        SshErrorKind::KnownHostsUnreadable,
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn known_host_keys_are_found_in_every_form() {
    let sshd = Sshd::start();
    for lines in [
        "{name} {key}",
        "other,{name}\t{key} a comment",
        "[127.0.0.*]:* {key}",
        "127.0.0.? {key}",
        &format!("{{name}} {ANOTHER}\n{{name}} {{key}}"),
    ] {
        let file = sshd.known("ed25519", lines);
        Link::open(&knowing(&sshd, vec![file])).await.expect(lines);
    }
    let file = sshd.known("ed25519", "*,![127.0.0.1]:* {key}");
    Link::open(&knowing(&sshd, vec![file]))
        .await
        .expect("the negation is about the name with its port only");
    let file = sshd.known("ed25519", "[127.*]:*,!*.1]:* {key}");
    refused(Link::open(&knowing(&sshd, vec![file])).await, UNKNOWN);

    let file = sshd.known("ed25519", "{name} {key}");
    run(Command::new("ssh-keygen").args(["-q", "-H", "-f"]).arg(&file));
    assert!(fs::read_to_string(&file).unwrap().starts_with("|1|"));
    Link::open(&knowing(&sshd, vec![sshd.path("missing"), file]))
        .await
        .unwrap();

    let mut aliased = knowing(&sshd, vec![sshd.known("ed25519", "cluster01 {key}")]);
    refused(Link::open(&aliased).await, UNKNOWN);
    aliased.host_key_alias = Some("cluster01".into());
    Link::open(&aliased).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_known_by_one_of_its_keys_offers_that_one() {
    let sshd = Sshd::start_with(&["ed25519", "rsa", "ecdsa"], "");
    for kind in ["rsa", "ecdsa", "ed25519"] {
        let file = sshd.known(kind, "{name} {key}");
        Link::open(&knowing(&sshd, vec![file])).await.expect(kind);
    }
    let only_rsa = Sshd::start_with(&["rsa"], "");
    let mut target = only_rsa.target();
    target.known_hosts = vec![only_rsa.known("rsa", &format!("{{name}} {ANOTHER}"))];
    let error = refused(Link::open(&target).await, UNKNOWN);
    assert!(error.because().contains("other types"), "{error}");
}

/// An sshd with a host certificate made with these options, and its authority's name beside.
fn with_certificate(kind: &str, options: &[&str]) -> Sshd {
    let dir = tempfile::tempdir().unwrap();
    let authority = keygen(dir.path(), "host_ca", "ed25519", "");
    let name = format!("host_{kind}");
    let key = keygen(dir.path(), &name, kind, "");
    sign(&authority, &key, &[&["-h"], options].concat());
    let config = format!("HostCertificate {}/{name}-cert.pub", dir.path().display());
    Sshd::start_in(dir, &[kind], &config)
}

#[tokio::test(flavor = "multi_thread")]
async fn host_certificates_are_judged_by_authority_name_and_time() {
    for kind in ["ed25519", "rsa", "ecdsa"] {
        let sshd = with_certificate(kind, &["-n", "127.0.0.1,db1.example.net"]);
        // The file `host_ca.pub` is the authority's key.
        let file = sshd.known("ca", "@cert-authority {name} {key}");
        Link::open(&knowing(&sshd, vec![file])).await.expect(kind);
        let file = sshd.known("ca", "@cert-authority *.example.net {key}");
        refused(Link::open(&knowing(&sshd, vec![file])).await, UNKNOWN);
        let file = sshd.known("ca", "@cert-authority * {key}\n@revoked * {key}");
        refused(
            Link::open(&knowing(&sshd, vec![file])).await,
            SshErrorKind::HostKeyRevoked,
        );
        let mut elsewhere = knowing(&sshd, vec![sshd.known("ca", "@cert-authority * {key}")]);
        elsewhere.host_key_alias = Some("db2.example.net".into());
        let error = refused(Link::open(&elsewhere).await, UNKNOWN);
        assert!(error.because().contains("db1.example.net"), "{error}");
        // Another authority is trusted, but the bare key is on record.
        fs::write(sshd.path("both"), format!("@cert-authority * {ANOTHER}\n")).unwrap();
        let file = sshd.known(kind, "{name} {key}");
        Link::open(&knowing(&sshd, vec![sshd.path("both"), file]))
            .await
            .expect(kind);
        refused(
            Link::open(&knowing(&sshd, vec![sshd.path("both")])).await,
            UNKNOWN,
        );
    }
    let sshd = with_certificate("ed25519", &["-n", "127.0.0.1", "-V", "20200101:20210101"]);
    let file = sshd.known("ca", "@cert-authority * {key}");
    let error = refused(Link::open(&knowing(&sshd, vec![file])).await, UNKNOWN);
    assert!(error.because().contains("expired"), "{error}");
}
