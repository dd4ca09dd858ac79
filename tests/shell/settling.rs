//! What a lost shell left is ended and verified gone; what has its numbers by now is left alone.

use std::time::Duration;

use mmm::config::playbook::OldShell;
use mmm::core::script::DutyOutcome;
use mmm::io::shell::Trace;

use super::duties::Host;
use super::server::wait_for;
use super::{Local, login, open, soon};

#[tokio::test]
async fn a_lost_shell_is_settled() {
    let mut host = Host::start(1).await;
    let (mut lost, mut child) = open("dash", "lost1", &login(&host.server)).await;
    let connection = lost.warm_sql(soon()).await.unwrap();
    let step = super::run("sleep 1000");
    let deadline = tokio::time::Instant::now() + Duration::from_millis(200);
    let report = lost.run(&super::script(vec![step]), deadline).await;
    assert!(
        matches!(report.outcome, DutyOutcome::Unknown { .. }),
        "{report:?}"
    );
    let trace = lost.trace().clone();
    assert_eq!(trace.connection, Some(connection));
    host.old = Some(old(&trace));
    let members = |session: u32| {
        let all = std::process::Command::new("ps")
            .args(["-e", "-o", "sid=,stat="])
            .output()
            .unwrap();
        String::from_utf8_lossy(&all.stdout)
            .lines()
            .filter(|line| line.trim().starts_with(&format!("{session} ")) && !line.contains('Z'))
            .count()
    };
    assert!(members(trace.session) > 2);
    let settled = host.done("settle-shell").await;
    println!("settled in {:?}", settled.took);
    assert_eq!(members(trace.session), 0);
    host.done("settle-sql").await;
    let left = host.server.sql(&format!(
        "SELECT COUNT(*) FROM information_schema.processlist WHERE id = {connection}"
    ));
    assert_eq!(left, "0");
    child.wait().await.unwrap();
}

#[tokio::test]
async fn settling_ends_a_connection_whose_shell_cannot_be_seen() {
    let mut host = Host::start(1).await;
    let (mut lost, _child) = open("bash", "lost2", &login(&host.server)).await;
    lost.warm_sql(soon()).await.unwrap();
    host.old = Some(old(lost.trace()));
    host.done("settle-sql").await;
    host.done("settle-sql").await;
    let report = lost
        .run(&super::script(vec![super::tell("SELECT 1")]), soon())
        .await;
    assert!(matches!(report.outcome, DutyOutcome::Failed { .. }), "{report:?}");
}

/// What a journal would hold of a shell.
fn old(trace: &Trace) -> OldShell {
    OldShell {
        session: trace.session,
        tag: trace.tag.clone(),
        connection: trace.connection.unwrap_or(0),
        marked: u8::from(trace.marked),
        started: trace.started,
        boot: trace.boot.clone(),
    }
}

#[tokio::test]
async fn numbers_that_are_used_again_are_not_taken_for_what_was_lost() {
    let mut host = Host::start(1).await;
    let (mut other, _child) = open("dash", "other", &login(&host.server)).await;
    let connection = other.warm_sql(soon()).await.unwrap();
    let trace = other.trace().clone();
    assert!(
        trace.marked && trace.started > 0 && !trace.boot.is_empty(),
        "{trace:?}"
    );
    let own = host.shell.warm_sql(soon()).await.unwrap();
    let lives = async |other: &mut Local| {
        let both = super::script(vec![super::tell("SELECT 1"), super::run("true")]);
        let report = other.run(&both, soon()).await;
        assert_eq!(report.outcome, DutyOutcome::Done, "{report:?}");
        assert_eq!(other.trace().connection, Some(connection), "the same one");
    };

    // After the server was started anew: another shell of ours, of this box or another, has the number, or the one that asks.
    for (connection, marked) in [(connection, 1), (own, 0), (own, 1)] {
        host.old = Some(OldShell {
            tag: "lost3".to_owned(),
            connection,
            marked,
            ..old(&trace)
        });
        host.done("settle-sql").await;
        lives(&mut other).await;
    }
    // An application has it.
    let socket = host.server.socket();
    let mut client = std::process::Command::new("mariadb")
        .args(["--no-defaults", "-uclient", "-pc", "-S", &socket])
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let number = "SELECT MAX(id) FROM information_schema.processlist WHERE user = 'client'";
    wait_for("the client", || host.server.sql(number) != "NULL");
    let application = host.server.sql(number).parse().unwrap();
    host.old = Some(OldShell {
        connection: application,
        marked: 0,
        ..old(&trace)
    });
    host.done("settle-sql").await;
    assert_eq!(
        host.server.sql(number),
        application.to_string(),
        "it is not ended"
    );
    client.kill().unwrap();
    client.wait().unwrap();

    // After the system was started anew, or in the place of a leader that has ended.
    for (boot, started) in [
        ("another", trace.started),
        (trace.boot.as_str(), trace.started - 1),
    ] {
        host.old = Some(OldShell {
            boot: boot.to_owned(),
            started,
            ..old(&trace)
        });
        host.done("settle-shell").await;
        lives(&mut other).await;
    }
}
