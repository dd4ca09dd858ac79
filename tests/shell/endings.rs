//! How shells and steps end: too late, cut off, killed, left behind.

use super::*;

#[tokio::test]
async fn nothing_starts_after_its_expiry_on_the_hosts_clock() {
    for name in SHELLS {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("f").display().to_string();
        let (mut shell_, child) = open(name, "t7", &nowhere()).await;
        // The whole host stands still while the duty is on its way, and wakes up after the expiry.
        let group = format!("-{}", child.id().unwrap());
        let signal = |signal: &str| {
            let status = std::process::Command::new("kill")
                .args([signal, "--", &group])
                .status()
                .unwrap();
            assert!(status.success());
        };
        signal("-STOP");
        let deadline = Instant::now() + Duration::from_millis(300);
        let report = shell_
            .run(&script(vec![run(&format!("echo late >{file}"))]), deadline)
            .await;
        assert!(
            matches!(report.outcome, DutyOutcome::Unknown { .. }),
            "{report:?}"
        );
        tokio::time::sleep_until(deadline + Duration::from_millis(50)).await;
        signal("-CONT");
        // The stream still works, so what the shell says afterwards can be waited for; it must say that it is late.
        let again = shell_.run(&script(vec![run("true")]), soon()).await;
        assert!(
            matches!(again.outcome, DutyOutcome::Unknown { .. }),
            "a lost shell was used again"
        );
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(
            !std::path::Path::new(&file).exists(),
            "{name}: it ran after its expiry"
        );

        let (mut shell_, _child) = open(name, "t7", &nowhere()).await;
        let deadline = Instant::now() + Duration::from_millis(300);
        let report = shell_
            .run(&script(vec![run("sleep 0.4"), run("true")]), deadline)
            .await;
        assert_eq!(
            report.outcome,
            DutyOutcome::Expired {
                step: "true".to_owned()
            },
            "{report:?}"
        );
        assert!(shell_.lost().is_none());
    }
}

#[tokio::test]
async fn a_cut_script_never_begins() {
    for name in SHELLS {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("f").display().to_string();
        let mut child = tokio::process::Command::new("setsid")
            .args(["sh", "-c", &wire::remote_command_for(name, "t8")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let whole = wire::script(
            &script(vec![run(&format!("echo x >>{file}")), run("true")]),
            1,
            wire::Uptime(u64::MAX / 4),
        );
        let mut stdin = child.stdin.take().unwrap();
        use tokio::io::AsyncWriteExt;
        stdin.write_all(&wire::opening(MARKER, &nowhere())).await.unwrap();
        stdin.write_all(&whole[..whole.len() - 3]).await.unwrap();
        drop(stdin);
        child.wait().await.unwrap();
        assert!(!std::path::Path::new(&file).exists(), "{name}");
    }
}

#[tokio::test]
async fn a_shell_that_ends_is_unknown_and_takes_its_sql_connection_along() {
    let server = Server::start(1);
    for name in SHELLS {
        let (mut shell_, mut child) = open(name, "t9", &login(&server)).await;
        let connection = shell_.warm_sql(soon()).await.unwrap();
        let report = shell_.run(&script(vec![run("kill -9 $PPID $$")]), soon()).await;
        assert!(
            matches!(report.outcome, DutyOutcome::Unknown { .. }),
            "{name}: {report:?}"
        );
        assert_eq!(outcomes(&report), [StepOutcome::Unknown]);
        child.wait().await.unwrap();
        server::wait_for("the end of the connection", || {
            server.sql(&format!(
                "SELECT COUNT(*) FROM information_schema.processlist WHERE id = {connection}"
            )) == "0"
        });
    }
}

#[tokio::test]
async fn a_background_step_keeps_nothing_open() {
    let server = Server::start(1);
    for name in SHELLS {
        let (mut shell_, mut child) = open(name, "t10", &login(&server)).await;
        let connection = shell_.warm_sql(soon()).await.unwrap();
        let began = Instant::now();
        let report = shell_
            .run(&script(vec![step("bg", Act::Start(shell("sleep 5")))]), soon())
            .await;
        assert_eq!(report.outcome, DutyOutcome::Done);
        assert!(began.elapsed() < Duration::from_secs(1));
        drop(shell_);
        let ended = tokio::time::timeout(Duration::from_secs(2), child.wait()).await;
        assert!(ended.is_ok(), "{name}: the shell did not end with its stream");
        server::wait_for("the end of the connection", || {
            server.sql(&format!(
                "SELECT COUNT(*) FROM information_schema.processlist WHERE id = {connection}"
            )) == "0"
        });
    }
}
