//! The address duties with the real `ip`, `arping` and `sudo`, in a network namespace of their own. Needs root.

use std::collections::BTreeMap;
use std::time::Duration;

use mmm::config::playbook::{
    self, AddressScene, HostScene, LockScene, ReplicationScene, Scene, SourceScene, Speaks,
};
use mmm::core::playbook::Release;
use mmm::core::script::{DutyOutcome, DutyReport, Failure, StepOutcome};
use mmm::core::wire;
use tokio::process::Child;

use super::{Local, nowhere, open_with, soon};

/// Two interfaces that are each other's wire.
const NETWORK: &str = "ip link set lo up && ip link add eth0 type veth peer name eth1 && ip link set eth0 up && ip link set eth1 up \
    && ip address add 10.9.9.1/24 dev eth0 && exec setsid sh -c \"$0\"";

async fn host(shell: &str, tag: &str) -> (Local, Child) {
    host_with_path(shell, tag, &std::env::var("PATH").unwrap()).await
}

async fn host_with_path(shell: &str, tag: &str, path: &str) -> (Local, Child) {
    let command = wire::remote_command_for(shell, tag);
    open_with(
        &[
            "unshare",
            "--net",
            "env",
            &format!("PATH={path}"),
            "sh",
            "-c",
            NETWORK,
            &command,
        ],
        tag,
        &nowhere(),
    )
    .await
}

fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("skipped: a network namespace needs root");
    }
    root
}

async fn perform(shell: &mut Local, duty: &str) -> DutyReport {
    perform_for(shell, duty, "10.9.9.9").await
}

async fn perform_for(shell: &mut Local, duty: &str, address: &str) -> DutyReport {
    let playbook = playbook::load(None).unwrap();
    let scene = Scene {
        cluster: "test".to_owned(),
        role: "writer".to_owned(),
        host: HostScene {
            name: "db1".to_owned(),
            address: "10.9.9.1".parse().unwrap(),
            interface: "eth0".to_owned(),
            port: 3306,
        },
        address: Some(AddressScene::floating(address.parse().unwrap())),
        source: Some(SourceScene {
            name: "db2".to_owned(),
            address: "10.9.9.2".parse().unwrap(),
            port: 3306,
        }),
        replication: ReplicationScene {
            user: "repl".to_owned(),
            password: "r".to_owned().into(),
            gtid: true,
            channel: String::new(),
        },
        unit: None,
        lock: LockScene::default(),
        max_write_s: 2,
        spared_users: Vec::new(),
        old: None,
        registered: BTreeMap::new(),
        vars: BTreeMap::new(),
        with: BTreeMap::new(),
    };
    let speaks = Speaks {
        dialect: "mariadb".to_owned(),
        release: Release(10, 11, 6),
    };
    let script =
        playbook::render(&playbook, duty, &speaks, &scene.context(), Duration::from_secs(5)).unwrap();
    shell.run(&script, soon()).await
}

async fn done(shell: &mut Local, duty: &str) -> DutyReport {
    let report = perform(shell, duty).await;
    assert_eq!(report.outcome, DutyOutcome::Done, "{duty}: {report:#?}");
    report
}

#[tokio::test]
async fn an_address_comes_and_goes_everywhere() {
    if !is_root() {
        return;
    }
    for name in super::SHELLS {
        let (mut shell, _child) = host(name, "a1").await;
        let report = perform(&mut shell, "announce").await;
        assert_eq!(
            report.outcome,
            DutyOutcome::Failed {
                step: "Verify announce".to_owned(),
                why: Failure::Unexpected(String::new())
            }
        );
        done(&mut shell, "remove-address").await;
        let report = done(&mut shell, "add-address").await;
        assert_eq!(report.steps[0].outcome, StepOutcome::Done);
        println!("{name}: added in {:?}", report.took);
        let report = done(&mut shell, "add-address").await;
        assert_eq!(report.steps[0].outcome, StepOutcome::Already);
        let report = done(&mut shell, "announce").await;
        assert!(
            report.took < Duration::from_millis(500),
            "somebody waited for arping: {:?}",
            report.took
        );
        let facts = done(&mut shell, "facts").await;
        assert!(facts.registered["addresses"].contains("10.9.9.9/32"), "{facts:?}");
        assert!(facts.registered["uptime"].parse::<f64>().is_ok());

        // A stray copy with another prefix on another interface goes as well.
        let stray = super::run("ip address add 10.9.9.9/24 dev eth1");
        shell.run(&super::script(vec![stray]), soon()).await;
        done(&mut shell, "remove-address").await;
        let left = super::run("! ip -o address show | grep '10[.]9[.]9[.]9/'");
        assert_eq!(
            shell.run(&super::script(vec![left]), soon()).await.outcome,
            DutyOutcome::Done
        );
    }
}

#[tokio::test]
async fn who_answers_on_the_wire_is_told() {
    if !is_root() {
        return;
    }
    let (mut shell, _child) = host("dash", "a2").await;
    done(&mut shell, "probe-duplicate").await;
    done(&mut shell, "fallen-silent").await;
    let report = done(&mut shell, "witness").await;
    assert_eq!(
        (
            report.registered["witness_arp"].as_str(),
            report.registered["witness_ping"].as_str()
        ),
        ("0", "1")
    );
    // The other end of the wire answers for both addresses.
    let other = super::run(
        "unshare --net sleep 20 >/dev/null 2>&1 & pid=$!; other=\"nsenter -t $pid -n ip\"
        while [ \"$(readlink /proc/$pid/ns/net)\" = \"$(readlink /proc/self/ns/net)\" ]; do sleep 0.01; done
        ip link set eth1 netns $pid && $other link set eth1 up &&
        $other address add 10.9.9.9/24 dev eth1 && $other address add 10.9.9.2/24 dev eth1",
    );
    assert_eq!(
        shell.run(&super::script(vec![other]), soon()).await.outcome,
        DutyOutcome::Done
    );
    let report = perform(&mut shell, "probe-duplicate").await;
    assert!(
        matches!(
            report.outcome,
            DutyOutcome::Failed {
                why: Failure::Status(1),
                ..
            }
        ),
        "{report:?}"
    );
    let report = done(&mut shell, "witness").await;
    assert_eq!(report.registered["witness_arp"], "1");
    let report = perform(&mut shell, "fallen-silent").await;
    let answered = matches!(&report.outcome, DutyOutcome::Failed { step, .. } if step == "It answers no ARP");
    assert!(answered, "a fence that lied: {report:?}");
}

/// A filter between networks may keep ARP away.
#[tokio::test]
async fn a_fenced_host_that_answers_ping_alone_is_not_silent() {
    if !is_root() {
        return;
    }
    let (mut shell, _child) = host("dash", "a6").await;
    done(&mut shell, "fallen-silent").await;
    let answering =
        super::run("echo 1 > /proc/sys/net/ipv4/conf/all/arp_ignore && ip address add 10.9.9.2/32 dev lo");
    let report = shell.run(&super::script(vec![answering]), soon()).await;
    assert_eq!(report.outcome, DutyOutcome::Done);
    let report = perform(&mut shell, "fallen-silent").await;
    assert!(
        matches!(&report.outcome, DutyOutcome::Failed { why: Failure::Unexpected(what), .. } if what == "it answers ping"),
        "{report:?}"
    );
}

/// A server says something to whoever connects; where one is frozen, the kernel takes the connection and nothing comes.
#[tokio::test]
async fn a_server_that_greets_is_told_from_a_port_that_is_open() {
    if !is_root() {
        return;
    }
    let path = std::env::var("PATH").unwrap();
    // With the client of this machine, and with one that cannot run: then the shell itself listens.
    let broken = tempfile::tempdir().unwrap();
    let client = broken.path().join("mariadb");
    std::fs::write(&client, "#!/bin/sh\necho no library >&2\nexit 127\n").unwrap();
    std::fs::set_permissions(&client, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    for (tag, path) in [
        ("a7", path.clone()),
        ("a8", format!("{}:{path}", broken.path().display())),
    ] {
        greets(host_with_path("dash", tag, &path).await).await;
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn greets((mut shell, _child): (Local, Child)) {
    let script = tempfile::NamedTempFile::new().unwrap();
    // Whoever only looks whether it listens is gone before it is greeted.
    let listener = "import socket, sys\nlistening = socket.create_server(('10.9.9.2', 3306))\nlistening.settimeout(20)\n\
                    kept = []\nwhile True:\n    kept.append(listening.accept()[0])\n    try:\n        \
                    kept[-1].sendall(bytes.fromhex(''.join(sys.argv[1:])))\n    except OSError:\n        pass\n";
    std::fs::write(script.path(), listener).unwrap();
    answer(&mut shell, "ip address add 10.9.9.2/32 dev lo").await;
    let report = done(&mut shell, "witness").await;
    assert_eq!(report.registered["witness_port"], "", "{report:?}");
    // A server with too many connections says so instead of its version.
    let full = hexadecimal(b"\x17\0\0\0\xff\x10\x04Too many connections");
    // One that is slow, or told to be, says nothing more behind its version.
    let slow = hexadecimal(
        b"\x49\0\0\0\x0a8.0.1\0\x07\0\0\0abcdefgh\0\xff\xf7\x21\x02\0\xff\x81\x15\0\0\0\0\0\0\0\0\0\0\
        ijklmnopqrst\0mysql_native_password\0",
    );
    for (greeting, expected) in [
        ("", "open"),
        (full.as_str(), "open\ngreeted"),
        (slow.as_str(), "open\ngreeted"),
    ] {
        let listen = format!(
            "python3 {} {greeting} >/dev/null 2>&1 & until timeout 1 bash -c '</dev/tcp/10.9.9.2/3306' 2>/dev/null; \
             do sleep 0.05; done; echo $!",
            script.path().display()
        );
        let listener = answer(&mut shell, &listen).await;
        let report = done(&mut shell, "witness").await;
        assert_eq!(report.registered["witness_port"], expected, "{report:?}");
        // The next one cannot listen before this one is gone.
        let gone = "while timeout 1 bash -c '</dev/tcp/10.9.9.2/3306' 2>/dev/null; do sleep 0.05; done";
        answer(&mut shell, &format!("kill -9 {listener}; {gone}")).await;
    }
}

/// Takes the other end of the wire into a network of its own, a neighbour that believes an address to be elsewhere.
const NEIGHBOUR: &str = "unshare --net sleep 60 >/dev/null 2>&1 & pid=$!; other=\"nsenter -t $pid -n ip\"
    while [ \"$(readlink /proc/$pid/ns/net)\" = \"$(readlink /proc/self/ns/net)\" ]; do sleep 0.01; done
    ip link set eth1 netns $pid && $other link set eth1 up &&
    $other address add fd00::2/64 dev eth1 nodad && ip address add fd00::1/64 dev eth0 nodad && echo $pid > \"$0.pid\"";

async fn answer(shell: &mut Local, command: &str) -> String {
    let report = shell.run(&super::script(vec![super::run(command)]), soon()).await;
    assert_eq!(report.outcome, DutyOutcome::Done, "{command}: {report:#?}");
    report.steps[0].output.trim().to_owned()
}

#[tokio::test]
async fn an_ipv6_address_is_announced_by_the_kernel_when_it_is_told_to_and_not_before() {
    if !is_root() {
        return;
    }
    const IP: &str = "fd00::9";
    const WRONG: &str = "02:00:00:00:00:99";
    for (name, accept_dad) in super::SHELLS.iter().zip(["1", "2"]) {
        let (mut shell, _child) = host(name, "a3").await;
        let pid_file = tempfile::NamedTempFile::new().unwrap();
        let path = pid_file.path().display().to_string();
        let neighbour = NEIGHBOUR.replace("$0.pid", &path);
        answer(&mut shell, &neighbour).await;
        let pid = std::fs::read_to_string(&path).unwrap().trim().to_owned();
        let inside = format!("nsenter -t {pid} -n ip");
        let before = format!("{accept_dad} 0");
        let settings = "cd /proc/sys/net/ipv6/conf/eth0 && echo $(cat accept_dad ndisc_notify)";
        answer(
            &mut shell,
            &format!("sysctl -q -w net.ipv6.conf.eth0.accept_dad={accept_dad}"),
        )
        .await;
        let believes = format!("{inside} -6 neigh show {IP}");
        answer(
            &mut shell,
            &format!("{inside} neigh replace {IP} lladdr {WRONG} dev eth1 nud reachable"),
        )
        .await;

        let added = perform_for(&mut shell, "add-address", IP).await;
        assert_eq!(added.outcome, DutyOutcome::Done, "{added:#?}");
        assert!(
            answer(&mut shell, &believes).await.contains(WRONG),
            "told too early"
        );
        let here = answer(
            &mut shell,
            r"ip -o link show dev eth0 | sed 's/.*ether \([^ ]*\).*/\1/'",
        )
        .await;
        for _again in 0..2 {
            let began = std::time::Instant::now();
            let announced = perform_for(&mut shell, "announce", IP).await;
            assert_eq!(announced.outcome, DutyOutcome::Done, "{announced:#?}");
            let took = began.elapsed();
            while !answer(&mut shell, &believes).await.contains(&here) {
                assert!(
                    began.elapsed() < Duration::from_secs(1),
                    "the neighbour still believes it elsewhere"
                );
            }
            println!(
                "{name}: announced in {took:?}, believed after {:?}",
                began.elapsed()
            );
            assert_eq!(answer(&mut shell, settings).await, before);
            let up = answer(&mut shell, &format!("ip -o address show dev eth0 to {IP}/128")).await;
            assert!(!up.contains("tentative") && !up.contains("dadfailed"), "{up}");
            answer(
                &mut shell,
                &format!("{inside} neigh replace {IP} lladdr {WRONG} dev eth1 nud reachable"),
            )
            .await;
        }
        // The host itself does not answer the question who else does.
        let asked = perform_for(&mut shell, "probe-duplicate", IP).await;
        assert_eq!(asked.outcome, DutyOutcome::Done, "{asked:#?}");
        answer(
            &mut shell,
            &format!("{inside} address add {IP}/128 dev eth1 nodad"),
        )
        .await;
        let asked = perform_for(&mut shell, "probe-duplicate", IP).await;
        assert!(
            matches!(
                &asked.outcome,
                DutyOutcome::Failed { why: Failure::Unexpected(answer), .. } if answer.contains(':')
            ),
            "{asked:#?}"
        );
        let removed = perform_for(&mut shell, "remove-address", IP).await;
        assert_eq!(removed.outcome, DutyOutcome::Done, "{removed:#?}");
        answer(&mut shell, &format!("kill {pid}")).await;
    }
}
