//! Tests of the log, through real `tracing` calls, threads and files.

use std::os::unix::fs::PermissionsExt as _;

use super::*;
use tracing_subscriber::registry::Registry;

/// What is written while `work` runs, with these wishes.
fn written(
    json: bool,
    is_journal: bool,
    level: Level,
    clusters: &[(&str, Level)],
    work: impl FnOnce(),
) -> String {
    let (to, errands) = sync_channel(64);
    let layer = ToLog {
        wanted: Wanted {
            file: None,
            json,
            level,
            clusters: clusters
                .iter()
                .map(|(name, level)| ((*name).to_owned(), *level))
                .collect(),
        },
        is_journal,
        to,
        lost: AtomicU64::new(0),
    };
    tracing::subscriber::with_default(Registry::default().with(layer), work);
    let lines = errands.try_iter().filter_map(|errand| match errand {
        Errand::Write(line) => String::from_utf8(line).ok(),
        Errand::Flush(_) => None,
    });
    lines.collect()
}

fn changed(cluster: &str, to: &str) -> Told {
    Told {
        at: Moment(0),
        cluster: cluster.to_owned(),
        event: Event::StateChanged {
            host: "db1".into(),
            from: "ONLINE".to_owned(),
            to: to.to_owned(),
            because: "its server does not answer".to_owned(),
        },
    }
}

#[test]
fn one_change_is_one_line_with_both_states_and_the_reason() {
    let text = written(false, false, Level::INFO, &[], || {
        told(&changed("c", "HARD_OFFLINE"))
    });
    assert_eq!(
        text,
        "1970-01-01T00:00:00.000Z ERROR c db1 changed from ONLINE to HARD_OFFLINE: its server does not answer\n"
    );
    let text = written(false, true, Level::INFO, &[], || {
        told(&changed("c", "AWAITING_RECOVERY"))
    });
    assert!(
        text.starts_with("<4>WARN c db1 changed from ONLINE to AWAITING_RECOVERY: "),
        "{text}"
    );
    let text = written(true, false, Level::INFO, &[], || {
        told(&changed("c", "HARD_OFFLINE"))
    });
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        value,
        json!({
            "at": "1970-01-01T00:00:00.000Z", "level": "error", "cluster": "c", "event": "state_changed",
            "host": "db1", "from": "ONLINE", "to": "HARD_OFFLINE", "because": "its server does not answer",
            "message": "db1 changed from ONLINE to HARD_OFFLINE: its server does not answer",
        })
    );
}

#[test]
fn an_event_of_several_lines_is_one_line() {
    let stuck = Told {
        at: Moment(0),
        cluster: "c".to_owned(),
        event: Event::RunEnded {
            run: "r".to_owned(),
            operation: "switchover".to_owned(),
            ending: Ending::Stuck {
                because: "db2 died".to_owned(),
                awaits: Vec::new(),
            },
            writer: None,
            address: None,
            holder: None,
            write_refused_ms: None,
            took_ms: 1,
        },
    };
    let text = written(false, false, Level::INFO, &[], || told(&stuck));
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(
        text.contains(" ERROR c STUCK") && text.contains("; hint: "),
        "{text}"
    );
}

#[test]
fn each_cluster_has_its_own_level() {
    let levels = [("loud", Level::DEBUG), ("quiet", Level::ERROR)];
    let text = written(false, false, Level::INFO, &levels, || {
        for name in ["loud", "quiet", "other"] {
            let span = tracing::error_span!("cluster", name);
            span.in_scope(|| {
                tracing::debug!(target: "mmm::io", "whisper");
                tracing::warn!(target: "mmm::io", host = "db1", "talk");
                tracing::error!(target: "mmm::io", "shout");
            });
            told(&changed(name, "AWAITING_RECOVERY"));
        }
        tracing::info!(target: "mmm::io", "of the whole program");
        tracing::error!(target: "russh", "of a library");
    });
    let heard: Vec<&str> = text.lines().map(|line| line.split_once(' ').unwrap().1).collect();
    assert_eq!(
        heard,
        [
            "DEBUG loud whisper",
            "WARN  loud talk host=\"db1\"",
            "ERROR loud shout",
            "WARN  loud db1 changed from ONLINE to AWAITING_RECOVERY: its server does not answer",
            "ERROR quiet shout",
            "WARN  other talk host=\"db1\"",
            "ERROR other shout",
            "WARN  other db1 changed from ONLINE to AWAITING_RECOVERY: its server does not answer",
            "INFO  of the whole program",
        ]
    );
}

#[test]
fn a_log_that_is_behind_drops_lines_and_says_how_many() {
    let (to, errands) = sync_channel(2);
    let layer = ToLog {
        wanted: Wanted {
            file: None,
            json: false,
            level: Level::INFO,
            clusters: BTreeMap::new(),
        },
        is_journal: true,
        to,
        lost: AtomicU64::new(0),
    };
    let mut seen = Vec::new();
    let mut take = || seen.extend(errands.try_iter());
    tracing::subscriber::with_default(Registry::default().with(layer), || {
        for number in 0..5 {
            tracing::info!(target: "mmm::io", "{number}");
        }
        take();
        tracing::info!(target: "mmm::io", "again");
    });
    take();
    let lines: Vec<String> = seen
        .into_iter()
        .filter_map(|errand| match errand {
            Errand::Write(line) => String::from_utf8(line).ok(),
            Errand::Flush(_) => None,
        })
        .collect();
    assert_eq!(
        lines,
        [
            "<6>INFO 0\n",
            "<6>INFO 1\n",
            "<4>WARN 3 lines could not be written in time and are lost\n",
            "<6>INFO again\n"
        ]
    );
}

#[test]
fn a_file_is_appended_to_rotated_and_survives_being_unwritable() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("monitor.log");
    let mut sink = Sink {
        path: Some(path.clone()),
        file: None,
        has_complained: false,
    };
    fs::write(&path, "older\n").unwrap();
    sink.write(b"one\n");
    let rotated = directory.path().join("monitor.log.1");
    fs::rename(&path, &rotated).unwrap();
    sink.write(b"two\n");
    assert_eq!(fs::read_to_string(&rotated).unwrap(), "older\none\n");
    assert_eq!(fs::read_to_string(&path).unwrap(), "two\n");
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        FILE_MODE & !umask()
    );
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    sink.write(b"nowhere but on stderr\n");
    assert!(sink.has_complained);
    fs::remove_dir(&path).unwrap();
    sink.write(b"three\n");
    assert!(!sink.has_complained, "the next trouble is told again");
    assert_eq!(fs::read_to_string(&path).unwrap(), "three\n");
}

/// What the environment of the test takes from permissions.
fn umask() -> u32 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("Umask:"))
        .unwrap();
    u32::from_str_radix(line.trim(), 8).unwrap()
}

#[test]
fn a_full_disk_is_told_once_and_stops_nobody() {
    let mut sink = Sink {
        path: Some("/dev/full".into()),
        file: None,
        has_complained: false,
    };
    for _ in 0..3 {
        sink.write(b"a line for a full disk\n");
        assert!(sink.has_complained);
    }
}
