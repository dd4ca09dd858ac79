//! Commands on a connection: how they end, how they are ended, how many at a time, and talking to one.

use std::fs;
use std::time::{Duration, Instant};

use mmm::io::ssh::{ExitStatus, Link, SshErrorKind, Stream, Target};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

use crate::sshd::{Sshd, eventually, refused, runs};

const SOON: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn status_signal_and_both_outputs_come_back() {
    let _alone = MEMORY.lock().await;
    let sshd = Sshd::start();
    let link = sshd.link().await;
    let output = link
        .exec("cat; echo warning >&2; exit 7", b"to be echoed", SOON)
        .await
        .unwrap();
    assert_eq!(output.status, ExitStatus::Code(7));
    assert_eq!(
        (&output.stdout[..], &output.stderr[..]),
        (&b"to be echoed"[..], &b"warning\n"[..])
    );
    let output = link.exec("kill -TERM $$; sleep 5", b"", SOON).await.unwrap();
    assert_eq!(output.status, ExitStatus::Signal("TERM".into()));
    assert!(!output.status.success());
    let output = link.exec("/no/such/program", b"", SOON).await.unwrap();
    assert_eq!(output.status, ExitStatus::Code(127));
    // One that ends without reading what it is given.
    let output = link
        .exec("true", &vec![b'x'; 8 * 1024 * 1024], SOON)
        .await
        .unwrap();
    assert!(output.status.success());
    let output = link
        .exec("wc -c", &vec![b'x'; 8 * 1024 * 1024], SOON)
        .await
        .unwrap();
    assert_eq!(output.stdout, b"8388608\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_background_child_does_not_hold_the_result_back() {
    let sshd = Sshd::start();
    let link = sshd.link().await;
    let start = Instant::now();
    let output = link.exec("sleep 600 & echo $!", b"", SOON).await.unwrap();
    assert!(output.status.success() && start.elapsed() < Duration::from_secs(5));
    let child = String::from_utf8(output.stdout).unwrap();
    crate::sshd::signal(child.trim().parse().unwrap(), "KILL");
}

/// The pid that a command wrote into this file.
async fn pid_in(sshd: &Sshd, name: &str) -> u32 {
    let path = sshd.path(name);
    let read = || fs::read_to_string(&path).ok().filter(|t| t.ends_with('\n'));
    eventually("the command writes its pid", SOON, || read().is_some()).await;
    read().unwrap().trim().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_ends_the_remote_process_and_frees_its_place() {
    let sshd = Sshd::start();
    let link = sshd.link().await;
    for i in 0..15 {
        let command = format!(
            "echo $$ > {}; exec sleep 600",
            sshd.path(&format!("pid{i}")).display()
        );
        let error = refused(
            link.exec(&command, b"", Duration::from_millis(300)).await,
            SshErrorKind::Deadline,
        );
        assert!(error.outcome_unknown());
        let pid = pid_in(&sshd, &format!("pid{i}")).await;
        eventually("the process is gone", Duration::from_secs(2), || !runs(pid)).await;
    }
    assert!(link.exec("true", b"", SOON).await.unwrap().status.success());
    assert!(link.is_alive());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_ignores_term_is_killed_and_a_dropped_call_ends_its_process() {
    let sshd = Sshd::start();
    let link = sshd.link().await;
    let stubborn = format!(
        "trap '' TERM; echo $$ > {}; sleep 600",
        sshd.path("stubborn").display()
    );
    refused(
        link.exec(&stubborn, b"", Duration::from_millis(300)).await,
        SshErrorKind::Deadline,
    );
    let pid = pid_in(&sshd, "stubborn").await;
    eventually("KILL follows", Duration::from_secs(4), || !runs(pid)).await;

    let command = format!("echo $$ > {}; exec sleep 600", sshd.path("dropped").display());
    let call = tokio::spawn({
        let link = link.clone();
        async move { link.exec(&command, b"", SOON).await }
    });
    let pid = pid_in(&sshd, "dropped").await;
    call.abort();
    eventually("the process is gone", Duration::from_secs(2), || !runs(pid)).await;
    assert!(link.is_alive());
}

#[tokio::test(flavor = "multi_thread")]
async fn thirty_at_once_share_ten_sessions() {
    let sshd = Sshd::start_with(&["ed25519"], "MaxSessions 10");
    for max_channels in [4, 30] {
        let link = Link::open(&Target {
            max_channels,
            ..sshd.target()
        })
        .await
        .unwrap();
        let start = Instant::now();
        let calls: Vec<_> = (0..30)
            .map(|i| {
                let link = link.clone();
                tokio::spawn(async move { link.exec(&format!("echo {i}"), b"", SOON).await.unwrap().stdout })
            })
            .collect();
        for (i, call) in calls.into_iter().enumerate() {
            assert_eq!(call.await.unwrap(), format!("{i}\n").into_bytes());
        }
        println!("30 at once over {max_channels} channels: {:?}", start.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_gets_no_place_was_not_started() {
    let sshd = Sshd::start_with(&["ed25519"], "MaxSessions 1");
    let link = Link::open(&Target {
        max_channels: 1,
        ..sshd.target()
    })
    .await
    .unwrap();
    let mut busy = link.stream("read line").await.unwrap();
    let short = Duration::from_millis(200);
    let error = refused(
        link.exec(&mark(&sshd), b"", short).await,
        SshErrorKind::ChannelRefused,
    );
    assert!(
        !error.outcome_unknown() && error.because().contains("busy"),
        "{error}"
    );
    busy.write_all(b"\n").await.unwrap();
    busy.ended().await.unwrap();

    // The same when it is the host that has no place.
    let link = Link::open(&Target {
        max_channels: 2,
        ..sshd.target()
    })
    .await
    .unwrap();
    let mut busy = link.stream("read line").await.unwrap();
    let error = refused(
        link.exec(&mark(&sshd), b"", short).await,
        SshErrorKind::ChannelRefused,
    );
    assert!(!error.outcome_unknown(), "{error}");
    busy.write_all(b"\n").await.unwrap();
    busy.ended().await.unwrap();
    assert!(link.exec("true", b"", SOON).await.unwrap().status.success());
    assert!(!sshd.path("mark").exists());
}

fn mark(sshd: &Sshd) -> String {
    format!("touch {}", sshd.path("mark").display())
}

/// Held by the tests that use much memory, as one of them measures it.
static MEMORY: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// The most memory this process ever had resident, in MiB.
fn peak_mib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

#[tokio::test(flavor = "multi_thread")]
async fn big_output_is_bounded_and_its_end_is_kept() {
    let _alone = MEMORY.lock().await;
    let sshd = Sshd::start();
    let link = sshd.link().await;
    let before = peak_mib();
    let start = Instant::now();
    let command = "head -c 67108864 /dev/zero; head -c 1000000 /dev/zero >&2; echo the end";
    let output = link.exec(command, b"", SOON).await.unwrap();
    assert_eq!(
        output.stdout.len() as u64 + output.stdout_dropped,
        64 * 1024 * 1024 + 8
    );
    assert!(output.stdout.ends_with(b"the end\n") && output.stdout.len() == 1024 * 1024);
    assert_eq!(output.stderr.len() as u64 + output.stderr_dropped, 1_000_000);
    println!(
        "64 MiB: {:?}, peak {before} -> {} MiB",
        start.elapsed(),
        peak_mib()
    );
    assert!(peak_mib() < before + 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unread_stream_is_ended_and_does_not_hold_up_the_connection() {
    let _alone = MEMORY.lock().await;
    let sshd = Sshd::start();
    let link = sshd.link().await;
    let mut flood = link.stream("exec cat /dev/zero").await.unwrap();
    for _ in 0..20 {
        assert!(link.exec("true", b"", SOON).await.unwrap().status.success());
    }
    let error = refused(
        tokio::time::timeout(SOON, flood.ended()).await.unwrap(),
        SshErrorKind::Overflow,
    );
    assert!(error.outcome_unknown());
    let mut read = Vec::new();
    assert!(flood.read_to_end(&mut read).await.is_err());
    assert!(!read.is_empty() && read.len() <= mmm::io::ssh::STREAM_UNREAD_BYTES);
}

async fn round_trip(shell: &mut BufReader<Stream>, line: &str) -> String {
    shell.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(SOON, shell.read_line(&mut answer))
        .await
        .unwrap()
        .unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warm_shell_answers_a_thousand_times() {
    let sshd = Sshd::start();
    let link = sshd.link().await;
    let mut shell = BufReader::new(link.stream("exec sh").await.unwrap());
    let mut times = Vec::new();
    for i in 0..1000 {
        let start = Instant::now();
        assert_eq!(
            round_trip(&mut shell, &format!("echo {i}")).await,
            format!("{i}\n")
        );
        times.push(start.elapsed());
    }
    times.sort();
    println!(
        "warm shell: median {:?}, 99th of 100 {:?}, longest {:?}",
        times[500], times[990], times[999]
    );

    round_trip(&mut shell, "echo oops >&2; echo").await;
    eventually("standard error arrives", SOON, || {
        shell.get_ref().stderr() == b"oops\n"
    })
    .await;
    assert!(shell.get_ref().status().is_none());
    let pid: u32 = round_trip(&mut shell, "echo $$").await.trim().parse().unwrap();
    assert!(runs(pid));
    let ended = shell.into_inner().kill(Duration::from_secs(1)).await.unwrap();
    assert_eq!(ended, Some(ExitStatus::Signal("TERM".into())));
    assert!(!runs(pid));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_its_process_or_takes_it_along() {
    let sshd = Sshd::start();
    let link = sshd.link().await;
    let mut shell = link.stream("exec sh").await.unwrap();
    shell.write_all(b"echo last words; exit 3\n").await.unwrap();
    let mut text = String::new();
    shell.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "last words\n");
    assert_eq!(shell.ended().await.unwrap(), ExitStatus::Code(3));
    assert!(shell.write_all(b"echo\n").await.is_err());

    let mut shell = link.stream("exec sh").await.unwrap();
    shell.shutdown().await.unwrap();
    assert_eq!(shell.ended().await.unwrap(), ExitStatus::Code(0));

    let command = format!("echo $$ > {}; exec sleep 600", sshd.path("pid").display());
    let stream = link.stream(&command).await.unwrap();
    let pid = pid_in(&sshd, "pid").await;
    drop(stream);
    eventually("the process goes with its stream", Duration::from_secs(2), || {
        !runs(pid)
    })
    .await;

    // A half-sent line must not run when the shell is ended.
    let mut shell = link.stream("exec sh").await.unwrap();
    shell
        .write_all(format!("touch {}", sshd.path("half").display()).as_bytes())
        .await
        .unwrap();
    shell.kill(Duration::from_secs(1)).await.unwrap();
    assert!(!sshd.path("half").exists());
}
