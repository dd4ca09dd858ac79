//! The four checks against real servers.

use std::time::Duration;

use mmm::core::latch::CheckResult;
use rustix::process::Signal;

use crate::server::{Mariadbd, SOON, eventually};

const LIMIT: Duration = Duration::from_secs(60);

#[tokio::test]
async fn checks_of_a_replica_through_its_day() {
    let (source, replica) = tokio::join!(Mariadbd::start(1), Mariadbd::start(2));
    let mut monitor = replica.as_user("monitor");
    assert!(matches!(monitor.check_mysql(SOON).await, CheckResult::Ok(_)));
    let unset = monitor.check_rep_threads(SOON).await;
    assert_eq!(unset, CheckResult::Error("replication is not set up".to_owned()));

    replica.follow(&source).await;
    assert!(eventually(async || matches!(monitor.check_rep_threads(SOON).await, CheckResult::Ok(_))).await);
    assert!(matches!(
        monitor.check_rep_backlog(SOON, LIMIT).await,
        CheckResult::Ok(_)
    ));

    source.signal(Signal::KILL);
    let connecting =
        |result: &CheckResult| matches!(result, CheckResult::Error(text) if text.contains("connecting"));
    assert!(eventually(async || connecting(&monitor.check_rep_threads(SOON).await)).await);
    let backlog = monitor.check_rep_backlog(SOON, LIMIT).await;
    assert!(
        matches!(backlog, CheckResult::Error(_)),
        "a backlog that is not told is not zero: {backlog:?}"
    );

    replica.run(&["STOP SLAVE"]).await;
    let stopped = monitor.check_rep_threads(SOON).await;
    assert_eq!(
        stopped,
        CheckResult::Error("replication does not apply".to_owned())
    );

    replica.freeze().await;
    assert!(matches!(
        monitor.check_mysql(LIMIT / 200).await,
        CheckResult::Error(_)
    ));
    assert!(matches!(
        monitor.check_rep_threads(LIMIT / 200).await,
        CheckResult::Unknown(_)
    ));
}

#[tokio::test]
async fn whoever_may_not_look_knows_nothing() {
    let server = Mariadbd::start(1).await;
    assert!(matches!(
        server.as_user("nobody").check_mysql(SOON).await,
        CheckResult::Unknown(_)
    ));
    assert!(matches!(
        server.as_user("nobody").check_rep_threads(SOON).await,
        CheckResult::Unknown(_)
    ));
    let forbidden = server.as_user("bare").check_rep_threads(SOON).await;
    assert!(
        matches!(&forbidden, CheckResult::Unknown(text) if text.contains("1227")),
        "{forbidden:?}"
    );
}
