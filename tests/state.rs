//! The state on disk outlives its writer: a process that changes it without a pause is killed at any moment, and what
//! it leaves is whole and never older than what it has reported as written. A journal stays whole on a disk that is full.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking; its child talks on stdout"
)]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mmm::core::hosts::{HostMemory, HostRecord, RECORDS_VERSION, Records};
use mmm::core::moment::Moment;
use mmm::core::run::{Ending, Happening};
use mmm::core::standing::Standing;
use mmm::io::journal::{self, Entry, Journal, Opening};
use mmm::io::records;
use mmm::io::standing::StateDir;

/// Tells the child where to write.
const DIRECTORY: &str = "MMM_STATE_TEST_DIRECTORY";
const KILLS: u64 = 100;
/// Enough that a file is written in several pieces, were it written in place.
const HOSTS: usize = 200;

/// The state as it is in its `generation`.
fn state(generation: u64) -> (Standing, Records) {
    let names = || (0..HOSTS).map(|number| format!("host{number}"));
    let standing = Standing {
        generation,
        mode_because: names().collect(),
        ..Standing::default()
    };
    let at = Moment(generation);
    let memory = |name: &str| HostMemory {
        record: HostRecord::unknown(name.into(), at),
        checks: Default::default(),
    };
    let records = Records {
        version: RECORDS_VERSION,
        writer: Some("host0".into()),
        writer_since: Some(at),
        since_run: None,
        memory: Default::default(),
        hosts: names()
            .map(|name| (name.as_str().into(), memory(&name)))
            .collect(),
    };
    (standing, records)
}

/// The child's part: writes one generation after the other and says which are on disk.
fn write_for_ever(dir: &StateDir, first: u64) {
    for generation in first.. {
        let (standing, hosts) = state(generation);
        dir.save(&standing).unwrap();
        records::save(dir, &hosts).unwrap();
        println!("\nwritten {generation}");
    }
}

fn start_child(directory: &Path, first: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "what_a_killed_writer_leaves_is_whole", "--nocapture"])
        .env(DIRECTORY, format!("{first} {}", directory.display()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The generations that were reported, as they come, until the child is killed after `lives`.
fn last_reported(mut child: Child, lives: Duration) -> Option<u64> {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let reported =
        |line: std::io::Result<String>| line.unwrap().strip_prefix("written ")?.parse::<u64>().ok();
    // The first one takes as long as a process takes to start.
    let first = lines.by_ref().find_map(reported);
    let until = Instant::now() + lives;
    while Instant::now() < until {
        std::hint::spin_loop();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    lines.filter_map(reported).last().or(first)
}

#[test]
fn what_a_killed_writer_leaves_is_whole() {
    if let Ok(text) = std::env::var(DIRECTORY) {
        let (first, directory) = text.split_once(' ').unwrap();
        write_for_ever(
            &StateDir::of(Path::new(directory), "test"),
            first.parse().unwrap(),
        );
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let dir = StateDir::of(directory.path(), "test");
    dir.prepare().unwrap();
    let mut newest = 0;
    for kill in 0..KILLS {
        // Spread over some whole rounds of writing, in steps that are no multiple of one.
        let lives = Duration::from_micros(kill * 379 % 20_011);
        let reported = last_reported(start_child(directory.path(), newest + 1), lives).unwrap();
        let (standing, hosts) = (dir.load().unwrap(), records::load(&dir).unwrap().unwrap());
        for (generation, whole) in [
            (standing.generation, state(standing.generation).0 == standing),
            (
                hosts.writer_since.unwrap().0,
                state(hosts.writer_since.unwrap().0).1 == hosts,
            ),
        ] {
            assert!(whole, "{generation} is not whole");
            assert!(
                [reported, reported + 1].contains(&generation),
                "{generation} after {reported}"
            );
        }
        newest = standing.generation;
    }
    let files = || std::fs::read_dir(dir.path()).unwrap().count();
    println!("{KILLS} kills, {newest} generations, {} files", files());
    // The standing, the records, and the runs' own directory.
    dir.sweep(Duration::ZERO).unwrap();
    assert_eq!(files(), 3);
}

/// No file of this process may grow beyond that: a real write then stops in the middle of a line, as on a full disk.
fn limit(bytes: Option<u64>) {
    let limit = rustix::process::Rlimit {
        current: bytes,
        maximum: None,
    };
    rustix::process::setrlimit(rustix::process::Resource::Fsize, limit).unwrap();
}

/// The child's part: writes a journal on a disk that is full for a while.
fn write_on_a_full_disk(dir: &StateDir) {
    let opening = Opening {
        run: "a".into(),
        operation: "switchover".into(),
        outgoing: Some("db1".into()),
        incoming: Some("db2".into()),
        rung: None,
        automatic: false,
        address: None,
        chore: None,
        write_refused_max: None,
        stages: vec![],
    };
    let known = || journal::open_runs(dir).unwrap().remove(0).happenings;
    let mut journal = Journal::begin(dir, opening).unwrap();
    journal.append(Entry::Step(Happening::Doing(0)));
    assert_eq!(journal.trouble(), None);
    let length = std::fs::metadata(dir.path().join("runs/a.jsonl")).unwrap().len();
    limit(Some(length + 7));
    for happening in [Happening::Overdue(0, "late".into()), Happening::GivenUp] {
        journal.append(Entry::Step(happening));
        assert!(journal.trouble().is_some(), "nobody would know");
        assert_eq!(known(), [Happening::Doing(0)]);
    }
    let left = std::fs::metadata(dir.path().join("runs/a.jsonl")).unwrap().len();
    assert_eq!(left, length, "no part of a line is left");
    limit(None);
    journal.append(Entry::Step(Happening::Undoing(0)));
    assert_eq!(journal.trouble(), None);
    let all = [
        Happening::Doing(0),
        Happening::Overdue(0, "late".into()),
        Happening::GivenUp,
        Happening::Undoing(0),
    ];
    assert_eq!(known(), all, "nothing is missing, and all is in order");
    journal.append(Entry::End(Ending::Done { warnings: vec![] }));
    assert!(journal::open_runs(dir).unwrap().is_empty());
}

#[test]
fn a_journal_on_a_full_disk_stays_whole_and_says_that_it_is_behind() {
    if let Ok(directory) = std::env::var(DIRECTORY) {
        return write_on_a_full_disk(&StateDir::of(Path::new(&directory), "test"));
    }
    let directory = tempfile::tempdir().unwrap();
    StateDir::of(directory.path(), "test").prepare().unwrap();
    // The signal that such a write sends is left out of account, or it would end the child.
    let output = Command::new("sh")
        .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "a_journal_on_a_full_disk_stays_whole_and_says_that_it_is_behind",
        ])
        .env(DIRECTORY, directory.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{output:?}");
}
