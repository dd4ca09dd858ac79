//! Planned moves of the writer.

use super::cluster::{cluster, mmm};

#[test]
fn hands_the_writer_over_and_back() {
    let lab = cluster();
    let output = mmm(&lab, &["switchover", "--to", "db2"], 0);
    assert!(
        output
            .stdout
            .contains("db2 is the writer; writes were refused for"),
        "{}",
        output.stdout
    );
    assert_eq!(lab.writable_hosts(), ["db2"]);
    assert_eq!(lab.who_has("10.77.0.100").unwrap(), ["db2"]);
    mmm(&lab, &["switchover", "--to", "db2"], 4);
    mmm(&lab, &["switchover", "--to", "db1"], 0);
    assert_eq!(lab.writable_hosts(), ["db1"]);
    assert!(lab.replication_runs());
}
