//! What is asked before writes are refused, and who is kept from writing, on a real server.

use mmm::core::script::{DutyOutcome, Failure};

use super::duties::Host;
use super::server::wait_for;

#[tokio::test]
async fn a_long_write_is_found_before_anything_is_refused_and_a_lock_stops_root() {
    let mut host = Host::start(1).await;
    host.server
        .sql("CREATE TABLE test.t (id INT AUTO_INCREMENT PRIMARY KEY, v INT) ENGINE=InnoDB");
    let socket = host.server.socket();
    let session = |sql: &str| {
        std::process::Command::new("mariadb")
            .args(["--no-defaults", "-uroot", "-S", &socket, "-e", sql])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap()
    };
    // Who looks into `innodb_trx` more than ten times a second is shown what it held before.
    let sleeping = |host: &Host, said: &str, seconds: u64| {
        let age = format!("SELECT MAX(time) FROM information_schema.processlist WHERE info = '{said}'");
        wait_for("a session to have been there long enough", || {
            host.server
                .sql(&age)
                .parse::<u64>()
                .is_ok_and(|age| age >= seconds)
        });
    };
    // One that only reads is in nobody's way.
    let mut reader = session("START TRANSACTION; SELECT * FROM test.t; SELECT SLEEP(601)");
    sleeping(&host, "SELECT SLEEP(601)", 3);
    host.done("can-refuse-writes").await;
    let mut writer = session("START TRANSACTION; INSERT INTO test.t (v) VALUES (1); SELECT SLEEP(602)");
    sleeping(&host, "SELECT SLEEP(602)", 3);
    let report = host.perform("can-refuse-writes").await;
    assert!(
        matches!(
            &report.outcome,
            DutyOutcome::Failed { why: Failure::Unexpected(said), .. } if said.contains("of root has been writing for")
        ),
        "{report:#?}"
    );
    host.done("kill-clients").await;
    writer.wait().unwrap();
    reader.wait().unwrap();

    host.server
        .sql("XA START 'x'; INSERT INTO test.t (v) VALUES (2); XA END 'x'; XA PREPARE 'x'");
    let report = host.perform("can-refuse-writes").await;
    assert!(
        matches!(report.outcome, DutyOutcome::Failed { .. }),
        "{report:#?}"
    );
    host.server.sql("XA ROLLBACK 'x'");
    host.done("can-refuse-writes").await;

    host.done("lock-tables").await;
    let mut stopped = session("INSERT INTO test.t (v) VALUES (3)");
    wait_for("root to wait", || {
        host.server.sql(
            "SELECT COUNT(*) FROM information_schema.processlist WHERE state LIKE 'Waiting for%lock' AND user = 'root'",
        ) == "1"
    });
    host.done("unlock-tables").await;
    assert!(stopped.wait().unwrap().success());
    assert_eq!(host.server.sql("SELECT v FROM test.t"), "3");
}
