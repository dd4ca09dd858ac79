//! `ssh_config` as OpenSSH itself reads it, with the inventory winning.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use mmm::io::ssh::{Agent, Identity, Link, SshErrorKind, Wanted};

use crate::sshd::{Sshd, keygen, refused, user};

const SOON: Duration = Duration::from_secs(20);

fn wanted(sshd: &Sshd, config: &str) -> Wanted {
    let file = sshd.path("ssh_config");
    fs::write(&file, config).unwrap();
    let mut wanted = Wanted::new("db1", "db1.cluster");
    wanted.config_file = Some(file);
    wanted.timing = sshd.target().timing;
    wanted
}

#[tokio::test(flavor = "multi_thread")]
async fn match_include_tokens_and_a_jump_host_lead_to_the_host() {
    let (bastion, host) = (Sshd::start(), Sshd::start());
    bastion.target();
    host.target();
    let (there, here) = (bastion.dir.path().display(), host.dir.path().display());
    fs::write(
        host.path("more"),
        format!("Host *.cluster\n  ProxyJump {}@gate\n", user()),
    )
    .unwrap();
    let config = format!(
        "Include {here}/more\n\
         Match originalhost db1.cluster\n  HostName 127.0.0.1\n  Port {}\n  UserKnownHostsFile {here}/none {here}/right_key\n\
         Host gate\n  HostName 127.0.0.1\n  Port {}\n  IdentityFile {there}/user\n  UserKnownHostsFile {there}/right_key\n\
         Host *.cluster !other.cluster\n  IdentityFile {here}/us%%er\n  IdentityFile {here}/%u-%n\n  IdentitiesOnly yes\n\
         Host *\n  User {}\n  IdentityAgent none\n  RevokedHostKeys {here}/user.pub\n  GlobalKnownHostsFile none\n",
        host.port,
        bastion.port,
        user()
    );
    let name = format!("{}-db1.cluster", user());
    let key = keygen(host.dir.path(), &name, "ed25519", "");
    host.authorize(&PathBuf::from(format!("{}.pub", key.display())));
    let target = wanted(&host, &config).resolve().await.unwrap();
    assert!(target.ssh_config_read && target.identities_only);
    assert_eq!((target.address.as_str(), target.port), ("127.0.0.1", host.port));
    assert_eq!(target.agent, Agent::None);
    assert_eq!(target.known_hosts, [host.path("none"), host.path("right_key")]);
    assert_eq!(target.revoked_host_keys, [host.path("user.pub")]);
    let files: Vec<_> = target.identities.iter().map(|i| i.path.clone()).collect();
    assert_eq!(files, [host.path("us%er"), key]);
    assert_eq!(target.jump.len(), 1);
    assert_eq!(
        (target.jump[0].name.as_str(), target.jump[0].port),
        ("gate", bastion.port)
    );

    let link = Link::open(&target).await.unwrap();
    assert!(link.exec("true", b"", SOON).await.unwrap().status.success());
    assert!(bastion.log().contains("Accepted publickey"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_inventory_wins_over_ssh_config() {
    let sshd = Sshd::start();
    let config = format!(
        "Host *\n  HostName 127.0.0.1\n  User nobody\n  Port 1\n  IdentityFile /no/key\n  ProxyJump nowhere\n\
         Match user {} \n  HostKeyAlias [127.0.0.1]:{}\n",
        user(),
        sshd.port
    );
    let mut wanted = wanted(&sshd, &config);
    wanted.port = Some(sshd.port);
    wanted.user = Some(user());
    wanted.identity = Some(Identity::new(sshd.path("user"), None));
    wanted.jump = Some("none".into());
    wanted.known_hosts = sshd.target().known_hosts;
    let target = wanted.resolve().await.unwrap();
    assert!(target.jump.is_empty() && target.identities.len() == 1);
    assert!(
        target.host_key_alias.is_some(),
        "`Match user` saw the inventory's user"
    );
    Link::open(&target).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_configuration_and_circles_are_told() {
    let sshd = Sshd::start();
    let broken = wanted(&sshd, "Host *\n  Prot 22\n");
    let error = refused(broken.resolve().await, SshErrorKind::Config);
    assert!(error.because().to_lowercase().contains("prot"), "{error}");
    let circle = wanted(
        &sshd,
        "Host a\n  ProxyJump b\nHost b\n  ProxyJump a\nHost db1.cluster\n  ProxyJump a\n",
    );
    let error = circle.resolve().await.unwrap_err();
    assert!(
        error.kind() == SshErrorKind::Config && error.because().contains("each other"),
        "{error}"
    );
    let mut nonsense = wanted(&sshd, "");
    nonsense.jump = Some("bastion:port".into());
    refused(nonsense.resolve().await, SshErrorKind::Config);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_command_comes_from_ssh_config() {
    let sshd = Sshd::start();
    let wanted = wanted(&sshd, "Host *\n  ProxyCommand relay %h %p\n");
    let target = wanted.resolve().await.unwrap();
    assert_eq!(target.proxy_command.as_deref(), Some("relay %h %p"));
    let error = refused(Link::open(&target).await, SshErrorKind::Unreachable);
    assert!(error.because().contains("relay"), "{error}");
}
