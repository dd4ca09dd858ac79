//! The state on disk outlives its writer: a process that changes it without a pause is killed at any moment, and what
//! it leaves is whole and never older than what it has reported as written.
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
use mmm::core::standing::Standing;
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
