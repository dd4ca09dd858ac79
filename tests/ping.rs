//! Pings in a network of their own, where nobody but this machine answers.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "whatever fails here is a failed test"
)]

use std::process::Command;
use std::time::{Duration, Instant};

use mmm::core::checks::Echo;
use mmm::io::ping::ping;

const BRIEF: Duration = Duration::from_millis(300);

/// A link to nowhere.
const NETWORK: &str = "ip link set lo up && ip link add here type veth peer name there \
                       && ip address add 192.0.2.1/24 dev here && ip link set here up && ip link set there up";

/// Runs one of the ignored tests below in a network namespace of its own.
fn inside(test: &str, with: &str) {
    let this = std::env::current_exe().unwrap();
    let script = format!("{NETWORK} && exec {with} \"$0\" --exact {test} --ignored");
    let ran = Command::new("unshare")
        .args(["--map-root-user", "--net", "sh", "-c", &script])
        .arg(this)
        .output()
        .expect("this test needs `unshare` of util-linux");
    assert!(
        ran.status.success(),
        "{}{}",
        String::from_utf8_lossy(&ran.stdout),
        String::from_utf8_lossy(&ran.stderr)
    );
}

#[test]
fn answers_silence_and_no_way_are_told_apart() {
    inside("in_a_network_of_its_own", "");
}

#[test]
fn a_missing_right_is_not_silence() {
    inside(
        "without_the_right_to_ping",
        "setpriv --bounding-set=-net_raw --inh-caps=-net_raw",
    );
}

#[tokio::test]
#[ignore = "runs in a network of its own"]
async fn in_a_network_of_its_own() {
    let here = ping("192.0.2.1".parse().unwrap(), BRIEF).await;
    assert!(matches!(here, Echo::Answered(rtt) if rtt < BRIEF), "{here:?}");
    let also = ping("::1".parse().unwrap(), BRIEF).await;
    assert!(matches!(also, Echo::Answered(_)), "{also:?}");

    let started = Instant::now();
    assert!(matches!(
        ping("192.0.2.9".parse().unwrap(), BRIEF).await,
        Echo::NoAnswer(_)
    ));
    assert!(started.elapsed() < BRIEF * 2);

    let elsewhere = ping("198.51.100.1".parse().unwrap(), BRIEF).await;
    assert!(
        matches!(elsewhere, Echo::CannotPing { .. }),
        "no route is our own fault: {elsewhere:?}"
    );

    let (one, two) = tokio::join!(
        ping("127.0.0.1".parse().unwrap(), BRIEF),
        ping("127.0.0.1".parse().unwrap(), BRIEF)
    );
    assert!(
        matches!((one, two), (Echo::Answered(_), Echo::Answered(_))),
        "echoes are told apart"
    );
}

#[tokio::test]
#[ignore = "runs in a network of its own"]
async fn without_the_right_to_ping() {
    let echo = ping("127.0.0.1".parse().unwrap(), BRIEF).await;
    let Echo::CannotPing { hint, .. } = &echo else {
        unreachable!("{echo:?}")
    };
    assert!(hint.contains("CAP_NET_RAW"));
}
