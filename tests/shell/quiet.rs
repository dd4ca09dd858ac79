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
    let two_seconds = |host: &Host, written: u8| {
        let age = format!(
            "SELECT MAX(TIMESTAMPDIFF(SECOND, trx_started, NOW())) FROM information_schema.innodb_trx \
             WHERE trx_rows_modified = {written}"
        );
        wait_for("two seconds", || {
            host.server
                .sql(&age)
                .parse::<u64>()
                .is_ok_and(|seconds| seconds >= 2)
        });
    };
    // One that only reads is in nobody's way.
    let mut reader = session("START TRANSACTION; SELECT * FROM test.t; SELECT SLEEP(60)");
    two_seconds(&host, 0);
    host.done("can-refuse-writes").await;
    let mut writer = session("START TRANSACTION; INSERT INTO test.t (v) VALUES (1); SELECT SLEEP(60)");
    two_seconds(&host, 1);
    let report = host.perform("can-refuse-writes").await;
    assert!(
        matches!(
            &report.outcome,
            DutyOutcome::Failed { why: Failure::Unexpected(said), .. } if said.contains("of root has been writing for")
        ),
        "{report:#?}"
    );
    writer.kill().unwrap();
    writer.wait().unwrap();
    reader.kill().unwrap();
    reader.wait().unwrap();
    wait_for("the sessions to end", || {
        host.server
            .sql("SELECT COUNT(*) FROM information_schema.innodb_trx")
            == "0"
    });

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
