//! One kept connection per host: shared, opened anew, and never insisting where sshd refuses.

use std::time::{Duration, Instant};

use mmm::io::ssh::{Identity, Links, SshErrorKind, Target};

use crate::sshd::{Sshd, eventually, keygen, refused, runs, signal};

const SOON: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn many_share_one_connection_and_an_impatient_one_does_not_spoil_it() {
    let sshd = Sshd::start();
    let links = Links::new([sshd.target()]);
    assert!(links.peek("db1").is_none());
    let impatient = tokio::time::timeout(Duration::from_millis(2), links.get("db1")).await;
    assert!(impatient.is_err());
    let wishes: Vec<_> = (0..20)
        .map(|_| {
            let links = links.clone();
            tokio::spawn(async move { links.get("db1").await.unwrap() })
        })
        .collect();
    for wish in wishes {
        assert!(wish.await.unwrap().is_alive());
    }
    assert_eq!(sshd.connections(), 1);
    assert!(links.peek("db1").is_some());
    assert_eq!(links.get("db2").await.unwrap_err().kind(), SshErrorKind::Config);

    let serving = sshd.serving();
    links.close().await;
    eventually("sshd's processes end", SOON, || {
        serving.iter().all(|pid| !runs(*pid))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_connection_is_opened_anew() {
    let sshd = Sshd::start();
    let links = Links::new([sshd.target()]);
    let first = links.get("db1").await.unwrap();
    sshd.serving().iter().for_each(|pid| signal(*pid, "KILL"));
    tokio::time::timeout(SOON, first.closed()).await.unwrap();
    let second = links.get("db1").await.unwrap();
    assert!(second.exec("true", b"", SOON).await.unwrap().status.success());
    assert_eq!(sshd.connections(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_key_is_not_tried_again_and_again() {
    let sshd = Sshd::start();
    let stranger = Identity::new(keygen(sshd.dir.path(), "stranger", "ed25519", ""), None);
    let mut unreachable = Target {
        name: "db2".into(),
        ..sshd.target()
    };
    unreachable.port = 1;
    let links = Links::new([sshd.target_with(stranger), unreachable]);
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(2) {
        refused(links.get("db1").await, SshErrorKind::AuthRefused);
        assert_eq!(
            links.get("db2").await.unwrap_err().kind(),
            SshErrorKind::Unreachable
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(sshd.connections(), 1);
    links.try_again("db1");
    refused(links.get("db1").await, SshErrorKind::AuthRefused);
    assert_eq!(sshd.connections(), 2);
    // A mended host is asked at once.
    links.set(sshd.target());
    links.get("db1").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_host_holds_up_no_other() {
    let sshd = Sshd::start();
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let mut silent = Target {
        name: "db2".into(),
        ..sshd.target()
    };
    silent.port = listener.local_addr().unwrap().port();
    let links = Links::new([sshd.target(), silent]);
    let stuck = tokio::spawn({
        let links = links.clone();
        async move { links.get("db2").await }
    });
    tokio::task::yield_now().await;
    tokio::time::timeout(Duration::from_secs(10), links.get("db1"))
        .await
        .unwrap()
        .unwrap();
    assert!(!stuck.is_finished());
    stuck.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_behind_one_jump_host_share_its_connection() {
    let (bastion, host) = (Sshd::start(), Sshd::start());
    let gate = Target {
        name: "gate".into(),
        ..bastion.target()
    };
    let behind = |name: &str| Target {
        name: name.into(),
        jump: vec![gate.clone()],
        ..host.target()
    };
    let links = Links::new(["db1", "db2", "db3"].map(behind));
    let opened: Vec<_> = ["db1", "db2", "db3"]
        .map(|name| {
            let links = links.clone();
            tokio::spawn(async move { links.get(name).await.unwrap() })
        })
        .into();
    for link in opened {
        assert!(
            link.await
                .unwrap()
                .exec("true", b"", SOON)
                .await
                .unwrap()
                .status
                .success()
        );
    }
    assert_eq!((bastion.connections(), host.connections()), (1, 3));
    // The jump host comes back, and so do all behind it.
    bastion.serving().iter().for_each(|pid| signal(*pid, "KILL"));
    eventually("all notice", SOON, || {
        ["db1", "db2", "db3"].iter().all(|n| links.peek(n).is_none())
    })
    .await;
    links.get("db2").await.unwrap();
    assert_eq!(bastion.connections(), 2);
}
