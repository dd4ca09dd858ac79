//! Facts, as real servers tell them.

use std::path::PathBuf;

use mmm::core::facts::{Flavour, GtidFacts, IoThread, MysqlFacts, SqlThread, UsingGtid};
use mmm::core::gtid::{Compared, compare};
use mmm::sql::row::Row;
use rustix::process::Signal;

use crate::server::{Mariadbd, SOON, eventually};

async fn facts(of: &Mariadbd) -> MysqlFacts {
    let reach = of.as_user("monitor").facts(SOON).await;
    reach
        .up()
        .cloned()
        .unwrap_or_else(|| panic!("{:?}", reach.trouble()))
}

/// Two servers that follow each other, with a table.
async fn ring() -> (Mariadbd, Mariadbd) {
    let (one, two) = tokio::join!(Mariadbd::start(1), Mariadbd::start(2));
    two.follow(&one).await;
    one.follow(&two).await;
    one.run(&["CREATE DATABASE shop", "CREATE TABLE shop.orders (id INT)"])
        .await;
    assert!(caught_up(&two, &one).await);
    (one, two)
}

async fn caught_up(replica: &Mariadbd, source: &Mariadbd) -> bool {
    let GtidFacts::Mariadb {
        binlog_pos: wanted, ..
    } = facts(source).await.gtid
    else {
        return false;
    };
    eventually(async || {
        let facts = facts(replica).await;
        matches!(facts.gtid, GtidFacts::Mariadb { current_pos, .. } if current_pos.reaches(&wanted))
    })
    .await
}

#[tokio::test]
async fn a_server_on_its_own() {
    let server = Mariadbd::start(7).await;
    let before = facts(&server).await;
    assert_eq!((before.version.flavour, before.server_id), (Flavour::Mariadb, 7));
    assert!(before.version.numbers >= (10, 5, 0));
    assert!(before.is_writable() && before.super_read_only.is_none());
    assert!(before.log_bin && before.log_slave_updates && before.replicas.is_empty());
    assert_eq!(before.prepared_xa, Some(0));

    server
        .run(&["CREATE DATABASE shop", "SET GLOBAL read_only = 1"])
        .await;
    let after = facts(&server).await;
    assert!(!after.is_writable());
    assert!(after.binlog > before.binlog);
    assert!(
        matches!(after.gtid, GtidFacts::Mariadb { binlog_state, .. } if binlog_state.to_string() == "0-7-1")
    );
}

#[tokio::test]
async fn prepared_transactions_are_counted() {
    let server = Mariadbd::start(1).await;
    server
        .run(&["CREATE DATABASE shop", "CREATE TABLE shop.orders (id INT)"])
        .await;
    let mut admin = server.as_user("admin");
    for sql in [
        "XA START 'x'",
        "INSERT INTO shop.orders VALUES (1)",
        "XA END 'x'",
        "XA PREPARE 'x'",
    ] {
        admin.query(sql, SOON).await.unwrap();
    }
    assert_eq!(facts(&server).await.prepared_xa, Some(1));
}

#[tokio::test]
async fn a_pair_that_follows_each_other() {
    let (one, two) = ring().await;
    let (first, second) = (facts(&one).await, facts(&two).await);
    let channel = second.following(1).unwrap();
    assert!(channel.is_running(), "{channel:?}");
    assert_eq!(
        (channel.source_host.as_str(), channel.source_port),
        ("127.0.0.1", one.port)
    );
    assert_eq!(channel.using_gtid, UsingGtid::SlavePos);
    assert_eq!(channel.received, first.binlog);
    assert!(first.following(2).unwrap().is_running());
    assert_eq!(
        compare(&first.history(&second), &second.history(&first)),
        Compared::Nothing
    );

    two.run(&["STOP SLAVE SQL_THREAD"]).await;
    let stopped = facts(&two).await;
    let channel = &stopped.replicas[0];
    assert_eq!(
        (channel.io, channel.sql, channel.lag),
        (IoThread::Yes, SqlThread::No, None)
    );
}

/// The case that every position hides: it replicates without an error and holds rows that nobody else has.
#[tokio::test]
async fn a_returning_writer_is_found_guilty() {
    let (mut one, two) = ring().await;
    two.run(&["STOP SLAVE IO_THREAD"]).await;
    let insert = "INSERT INTO shop.orders VALUES (1)";
    one.run(&[insert, insert, insert]).await;
    one.signal(Signal::KILL);
    two.run(&["STOP SLAVE", insert, insert]).await;
    one.restart().await;
    assert!(caught_up(&one, &two).await);

    let (returning, writer) = (facts(&one).await, facts(&two).await);
    assert!(returning.replicas[0].is_running(), "it looks healthy");
    let Compared::Extra(surplus) = compare(&returning.history(&writer), &writer.history(&returning)) else {
        panic!("the surplus was not found");
    };
    assert_eq!(surplus.to_string(), "0-1-3..5");
    assert_eq!(surplus.at_most(), Some(3));
}

/// Writes the answers that `sql`'s own tests read. Run it by hand when a newer server is to be covered:
/// `cargo test --test mysql -- --ignored captures_answers`.
#[tokio::test]
#[ignore = "rewrites the golden answers"]
async fn captures_answers() {
    let (one, two) = ring().await;
    let mut monitor = two.as_user("monitor");
    let mut capture = async |name: &str, sql: &str| {
        let rows = monitor.query(sql, SOON).await.unwrap();
        let file = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join(format!("tests/golden/probes/mariadb-10.11-{name}.json"));
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, written(&rows)).unwrap();
    };
    let replicas = "SHOW ALL SLAVES STATUS";
    capture("version", mmm::sql::version::ASK).await;
    capture("variables", mmm::sql::probe::VARIABLES).await;
    capture("status", mmm::sql::probe::STATUS).await;
    capture("binlog", "SHOW MASTER STATUS").await;
    capture("replicas-running", replicas).await;
    let version = mmm::core::facts::Version {
        flavour: Flavour::Mariadb,
        numbers: (10, 11, 0),
    };
    capture("gtids", mmm::sql::version::gtids(version).unwrap()).await;

    two.run(&["SET sql_log_bin = 0", "DROP TABLE shop.orders"]).await;
    one.run(&["INSERT INTO shop.orders VALUES (1)"]).await;
    assert!(eventually(async || facts(&two).await.replicas[0].sql == SqlThread::No).await);
    capture("replicas-broken", replicas).await;

    one.signal(Signal::KILL);
    assert!(eventually(async || facts(&two).await.replicas[0].io == IoThread::Connecting).await);
    capture("replicas-connecting", replicas).await;
    two.run(&["STOP SLAVE"]).await;
    capture("replicas-stopped", replicas).await;
}

/// As JSON with a column a line, so that a changed answer is a readable change.
fn written(rows: &[Row]) -> String {
    let columns = |row: &Row| {
        row.0
            .iter()
            .map(|column| serde_json::to_string(column).unwrap())
            .collect::<Vec<_>>()
            .join(",\n")
    };
    format!(
        "[[\n{}\n]]\n",
        rows.iter().map(columns).collect::<Vec<_>>().join("\n], [\n")
    )
}
