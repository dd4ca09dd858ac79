//! The records of a cluster's hosts on disk: `hosts.json` beside the standing, replaced as a whole. Whoever holds the
//! monitor's claim writes them, everybody may read them. They are timers, not the truth: without them a monitor starts
//! anew. What an election needs to know of the time before stands there too.

use std::fs;
use std::path::Path;
use std::time::Duration;

use tokio::sync::watch;

use crate::core::cluster::{Cluster, HostName};
use crate::core::guard::{Facts, Guard};
use crate::core::hosts::{RECORDS_VERSION, Records};
use crate::core::standing::Standing;
use crate::core::trouble::{Kind, Trouble};
use crate::io::clock;
use crate::io::monitor::OnlyMonitor;
use crate::io::standing::StateDir;

const FILE: &str = "hosts.json";
const HINT: &str =
    "nothing is lost but how long hosts have been in their states; the next monitor writes it anew";

/// The records on disk; none when there are none yet.
///
/// # Errors
/// When they cannot be read, or are of another version.
pub fn load(dir: &StateDir) -> Result<Option<Records>, Trouble> {
    let path = dir.path().join(FILE);
    let trouble = |because: String| {
        let what = format!("the records of the hosts in `{}` cannot be used", path.display());
        Trouble::new(Kind::Wrong, what, because).hint(HINT)
    };
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(trouble(error.to_string())),
    };
    // The version first: another one may have other fields.
    let form: Form = serde_json::from_slice(&text).map_err(|error| trouble(error.to_string()))?;
    if form.version != RECORDS_VERSION {
        let version = form.version;
        return Err(trouble(format!(
            "they have version {version}, this program writes {RECORDS_VERSION}"
        )));
    }
    let records = serde_json::from_slice(&text).map_err(|error| trouble(error.to_string()))?;
    Ok(Some(records))
}

#[derive(serde::Deserialize)]
struct Form {
    version: u32,
}

/// Replaces the records; returns once they are on disk.
///
/// # Errors
/// When they cannot be written; the old ones are then still there.
pub fn save(dir: &StateDir, records: &Records) -> Result<(), Trouble> {
    let path = dir.path().join(FILE);
    let attempt = || -> std::io::Result<()> {
        fs::create_dir_all(dir.path())?;
        dir.replace(FILE, &serde_json::to_vec_pretty(records)?)
    };
    attempt().map_err(|error| {
        let what = format!(
            "the records of the hosts in `{}` cannot be written",
            path.display()
        );
        Trouble::new(Kind::Wrong, what, error).hint("free some space, or make the directory writable")
    })
}

/// Writes down what one look at a writer that serves has shown. A monitor of this box writes more than that by itself, and
/// is left alone.
///
/// # Errors
/// When they cannot be written, or it cannot be told whether a monitor runs.
pub fn note_look(
    state_dir: &Path,
    cluster: &Cluster,
    standing: &Standing,
    writer: &HostName,
    facts: &Facts,
) -> Result<(), Trouble> {
    let _claim = match OnlyMonitor::claim(state_dir, Duration::ZERO) {
        Ok(claim) => claim,
        Err(trouble) if trouble.guard == Some(Guard::G60) => return Ok(()),
        Err(trouble) => return Err(trouble),
    };
    let dir = StateDir::of(state_dir, &cluster.name);
    let left = load(&dir).unwrap_or_else(|trouble| {
        tracing::warn!("{}: {}", trouble.what, trouble.because);
        None
    });
    let trap_after = cluster.checks.rep_threads.trap_after;
    save(
        &dir,
        &Records::after_look(left, standing, writer, clock::now(), facts, trap_after),
    )
}

/// Writes the newest records whenever there are new ones, on a thread that may wait for the disk: deciding never does.
/// Ends when nobody can send any more. `complain` is told of the first failure, and of the next after a success.
pub async fn keep(
    dir: StateDir,
    mut newest: watch::Receiver<Option<Box<Records>>>,
    complain: impl Fn(&Trouble),
) {
    let mut failed = false;
    while newest.changed().await.is_ok() {
        let Some(records) = newest.borrow_and_update().clone() else {
            continue;
        };
        let dir = dir.clone();
        let written = match tokio::task::spawn_blocking(move || save(&dir, &records)).await {
            Ok(written) => written,
            Err(error) => Err(Trouble::new(
                Kind::Bug,
                "the records of the hosts were not written",
                error,
            )),
        };
        match written {
            Ok(()) => failed = false,
            Err(trouble) => {
                if !std::mem::replace(&mut failed, true) {
                    complain(&trouble);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Mutex;

    use super::*;
    use crate::core::cluster::CheckKind;
    use crate::core::hosts::{HostMemory, HostRecord};
    use crate::core::latch::{CheckResult, Latch};
    use crate::core::moment::Moment;

    fn records(writer: &str) -> Records {
        let mut latch = Latch::default();
        latch.observe(
            Moment(7),
            CheckResult::Error("gone".into()),
            std::time::Duration::ZERO,
        );
        let memory = HostMemory {
            record: HostRecord::unknown("db1".into(), Moment(5)),
            checks: BTreeMap::from([(CheckKind::RepThreads, latch)]),
        };
        Records {
            version: RECORDS_VERSION,
            writer: Some(writer.into()),
            writer_since: Some(Moment(3)),
            since_run: None,
            memory: Default::default(),
            hosts: BTreeMap::from([("db1".into(), memory)]),
        }
    }

    #[test]
    fn what_is_saved_is_loaded_and_what_cannot_be_used_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::of(dir.path(), "test");
        assert_eq!(load(&state).unwrap(), None);
        save(&state, &records("db1")).unwrap();
        assert_eq!(load(&state).unwrap(), Some(records("db1")));
        for (text, because) in [
            ("{\"version\": 9, \"later\": true}", "version 9"),
            ("{\"version\": 1}", "missing field"),
            ("", "EOF"),
        ] {
            fs::write(state.path().join(FILE), text).unwrap();
            let trouble = load(&state).unwrap_err();
            assert!(trouble.what.contains(FILE), "{trouble}");
            assert!(trouble.because.contains(because), "{trouble}");
        }
    }

    #[test]
    fn one_look_leaves_what_it_saw_and_the_timers_of_the_last_monitor_and_nothing_while_one_runs() {
        use crate::core::samples;
        let root = tempfile::tempdir().unwrap();
        let cluster = samples::cluster();
        let state = StateDir::of(root.path(), &cluster.name);
        let (db1, db2) = (HostName::from("db1"), HostName::from("db2"));
        let standing = Standing::default();
        let mut facts = Facts::from([
            ("db1".into(), samples::facts(true, &[])),
            ("db2".into(), samples::facts(false, &[])),
        ]);
        save(&state, &records("db1")).unwrap();
        note_look(root.path(), &cluster, &standing, &db1, &facts).unwrap();
        let left = load(&state).unwrap().unwrap();
        assert_eq!(
            (left.hosts.clone(), left.writer_since),
            (records("db1").hosts, Some(Moment(3)))
        );
        let seen = left.memory.seen.clone().unwrap();
        assert_eq!((seen.host, left.memory.lags.len()), (db1.clone(), 2));
        // Of another's time nothing counts but what that host had.
        assert_eq!(left.memory_under(Some(&db2), &standing).lags.len(), 0);
        facts.insert("db2".into(), samples::facts(true, &[]));
        let claim = OnlyMonitor::claim(root.path(), Duration::ZERO).unwrap();
        note_look(root.path(), &cluster, &standing, &db2, &facts).unwrap();
        assert_eq!(load(&state).unwrap().unwrap().writer, Some(db1));
        drop(claim);
        note_look(root.path(), &cluster, &standing, &db2, &facts).unwrap();
        assert_eq!(load(&state).unwrap().unwrap().writer, Some(db2));
    }

    #[tokio::test]
    async fn a_disk_that_refuses_is_complained_about_once() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::of(dir.path(), "test");
        // A file stands where the directory should be.
        fs::write(state.path(), "").unwrap();
        let (send, newest) = watch::channel(None);
        let complaints = Mutex::new(0);
        let sent = async {
            for writer in ["db1", "db2", "db1"] {
                send.send_replace(Some(Box::new(records(writer))));
                tokio::time::timeout(std::time::Duration::from_secs(10), async {
                    while *complaints.lock().unwrap() == 0 {
                        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
                    }
                })
                .await
                .unwrap();
            }
            drop(send);
        };
        let kept = keep(state.clone(), newest, |_| *complaints.lock().unwrap() += 1);
        tokio::join!(sent, kept);
        assert_eq!(*complaints.lock().unwrap(), 1);
    }
}
