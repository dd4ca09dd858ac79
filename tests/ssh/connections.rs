//! Connections: jump hosts, proxy commands, hosts that are silent, frozen or cut off, and keeping one per host.

use std::time::{Duration, Instant};

use mmm::io::ssh::{Link, SshErrorKind, Target, Timing};
use tokio::io::AsyncReadExt;

use crate::sshd::{Sshd, eventually, refused, signal};

const SOON: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn a_jump_host_carries_the_connection() {
    let (bastion, inner, host) = (Sshd::start(), Sshd::start(), Sshd::start());
    let hop = |name: &str, sshd: &Sshd| Target {
        name: name.into(),
        ..sshd.target()
    };
    let target = Target {
        jump: vec![hop("bastion", &bastion), hop("inner", &inner)],
        ..host.target()
    };
    let link = Link::open(&target).await.unwrap();
    let mut times = Vec::new();
    for _ in 0..20 {
        let start = Instant::now();
        assert!(link.exec("true", b"", SOON).await.unwrap().status.success());
        times.push(start.elapsed());
    }
    times.sort();
    println!("true through two jump hosts: median {:?}", times[10]);
    assert!(
        times[10] < Duration::from_millis(35),
        "no delayed acknowledgements"
    );
    let output = link
        .exec("head -c 20000000 /dev/zero | wc -c", b"", SOON)
        .await
        .unwrap();
    assert_eq!(output.stdout, b"20000000\n");

    // What goes wrong names the hop it goes wrong at.
    let mut unknown = target.clone();
    unknown.jump[1].known_hosts.clear();
    let error = Link::open(&unknown).await.unwrap_err();
    assert!(
        error.kind() == SshErrorKind::HostKeyUnknown && error.what().contains("`inner`"),
        "{error}"
    );
    let mut beyond = target.clone();
    beyond.port = 1;
    let error = refused(Link::open(&beyond).await, SshErrorKind::Unreachable);
    assert!(error.because().contains("`inner`"), "{error}");

    // The connection inside dies with its carrier.
    for pid in bastion.serving() {
        signal(pid, "KILL");
    }
    tokio::time::timeout(Duration::from_secs(5), link.closed())
        .await
        .unwrap();
    assert!(!link.is_alive());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_command_carries_the_connection() {
    let sshd = Sshd::start();
    let relay = "import socket,sys,threading,os\ns=socket.create_connection((sys.argv[1],int(sys.argv[2])))\n\
                 def up():\n while True:\n  d=os.read(0,65536)\n  if not d: os._exit(0)\n  s.sendall(d)\n\
                 threading.Thread(target=up,daemon=True).start()\n\
                 while True:\n d=s.recv(65536)\n if not d: break\n os.write(1,d)\n";
    let script = sshd.path("relay.py");
    std::fs::write(&script, relay).unwrap();
    let mut target = sshd.target();
    target.proxy_command = Some(format!("python3 {} %h %p", script.display()));
    let link = Link::open(&target).await.unwrap();
    assert!(link.exec("true", b"", SOON).await.unwrap().status.success());

    target.proxy_command = Some("echo no proxy today >&2; false".into());
    let error = refused(Link::open(&target).await, SshErrorKind::Unreachable);
    assert!(error.because().contains("no proxy today"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_does_not_answer_is_told_from_one_that_refuses() {
    let sshd = Sshd::start();
    let mut target = sshd.target();
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    target.port = listener.local_addr().unwrap().port();
    target.timing.connect = Duration::from_millis(400);
    let start = Instant::now();
    refused(Link::open(&target).await, SshErrorKind::ConnectTimeout);
    assert!(start.elapsed() < Duration::from_secs(2));
    drop(listener);
    refused(Link::open(&target).await, SshErrorKind::Unreachable);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_host_is_noticed_in_time_and_what_runs_is_lost() {
    let sshd = Sshd::start();
    let timing = Timing {
        connect: SOON,
        keepalive_interval: Duration::from_millis(500),
        keepalive_max: 3,
    };
    let link = Link::open(&Target {
        timing,
        ..sshd.target()
    })
    .await
    .unwrap();
    let mut shell = link.stream("exec sh").await.unwrap();
    let call = tokio::spawn({
        let link = link.clone();
        async move { link.exec("sleep 600", b"", Duration::from_secs(60)).await }
    });
    link.exec("true", b"", SOON).await.unwrap();
    let frozen = sshd.serving();
    frozen.iter().for_each(|pid| signal(*pid, "STOP"));
    let start = Instant::now();
    let error = refused(call.await.unwrap(), SshErrorKind::Lost);
    let noticed = start.elapsed();
    println!(
        "frozen host noticed after {noticed:?}, told to expect {:?}",
        timing.silence()
    );
    assert!(
        error.outcome_unknown() && error.because().contains("keepalive"),
        "{error}"
    );
    assert!(noticed < timing.silence() + Duration::from_secs(1));
    assert!(!link.is_alive() && link.why_closed().unwrap().contains("keepalive"));
    assert!(shell.read_u8().await.is_err());
    let error = refused(link.exec("true", b"", SOON).await, SshErrorKind::Closed);
    assert!(!error.outcome_unknown());
    // Thawed, sshd would end and leave the command behind; so all of them end here.
    frozen.iter().for_each(|pid| signal(*pid, "KILL"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_stays_open() {
    let sshd = Sshd::start();
    let timing = Timing {
        connect: Duration::from_secs(2),
        keepalive_interval: Duration::from_millis(300),
        keepalive_max: 3,
    };
    let link = Link::open(&Target {
        timing,
        ..sshd.target()
    })
    .await
    .unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(7), link.closed()).await;
    assert!(ended.is_err(), "{ended:?}");
    assert!(link.exec("true", b"", SOON).await.unwrap().status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_cut_in_the_middle_leaves_an_unknown_outcome() {
    let sshd = Sshd::start();
    let link = sshd.link().await;
    let done = sshd.path("begun");
    let call = tokio::spawn({
        let (link, command) = (link.clone(), format!("touch {}; sleep 600", done.display()));
        async move { link.exec(&command, b"", Duration::from_secs(60)).await }
    });
    eventually("the command runs", SOON, || done.exists()).await;
    sshd.serving().iter().for_each(|pid| signal(*pid, "KILL"));
    let error = refused(call.await.unwrap(), SshErrorKind::Lost);
    assert!(error.outcome_unknown());
    assert!(!link.is_alive());
    refused(link.exec("true", b"", SOON).await, SshErrorKind::Closed);
}
