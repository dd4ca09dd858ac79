//! A replica that was away while the writer changed.

use std::time::Duration;

use lab::wait::until;

use super::cluster::{cluster, mmm};

const SOON: Duration = Duration::from_secs(40);

#[test]
fn a_replica_that_was_away_is_pointed_to_the_writer_of_today() {
    let lab = cluster();
    lab.db3().power_off().unwrap();
    let output = mmm(&lab, &["switchover", "--to", "db2"], 0);
    assert!(
        output.stdout.contains("WARN") && output.stdout.contains("db3"),
        "{}",
        output.stdout
    );
    let monitor = lab.box_().spawn_mmm(["monitor"]).unwrap();
    lab.db3().boot().unwrap();
    let follows_db2 = || {
        let source = lab.db3().replication().ok().flatten().map(|status| status.source);
        source.as_deref() == Some("10.77.0.12") && lab.replication_runs()
    };
    until(SOON, "db3 to follow db2", follows_db2).unwrap();
    lab.db2()
        .sql("CREATE TABLE app.away (id INT) SELECT 1 AS id")
        .unwrap();
    lab.wait_for_equal_tables("app.away", &["db1", "db2", "db3"], SOON)
        .unwrap();
    drop(monitor);
}
