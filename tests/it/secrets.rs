//! No password is visible anywhere while mmm works: not in a process's arguments or environment on any host, not in a
//! file left there, not in what mmm prints, writes down or plans.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use lab::Lab;

use super::cluster::{cluster, mmm};

/// Where something could be left on a host, if only for a moment.
const PLACES: [&str; 4] = ["tmp", "var/tmp", "run", "dev/shm"];
/// Where something could be left for longer. The machine's own files can be seen there too, so it takes a while.
const HOMES: [&str; 4] = ["root", "home", "var/log", "var/lib/mmm"];
const FILE_AT_MOST: u64 = 4 << 20;

/// The passwords mmm works with, by account.
fn passwords(lab: &Lab) -> Vec<(&'static str, String)> {
    ["monitor", "agent", "replication"]
        .into_iter()
        .map(|account| (account, lab.password(account).unwrap()))
        .collect()
}

/// Which passwords stand in some bytes.
fn found_in(bytes: &[u8], passwords: &[(&'static str, String)]) -> Vec<&'static str> {
    let contains = |secret: &str| {
        bytes
            .windows(secret.len())
            .any(|window| window == secret.as_bytes())
    };
    let found = passwords.iter().filter(|(_, secret)| contains(secret));
    found.map(|(account, _)| *account).collect()
}

/// The processes of the whole machine, and with them those of every host, that show a password.
fn in_processes(passwords: &[(&'static str, String)]) -> Vec<String> {
    let mut findings = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        for file in ["cmdline", "environ"] {
            // A process that has ended meanwhile shows nothing.
            let Ok(bytes) = fs::read(entry.path().join(file)) else {
                continue;
            };
            for account in found_in(&bytes, passwords) {
                let command = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
                findings.push(format!("{account}: {file} of {} ({name})", command.trim()));
            }
        }
    }
    findings
}

/// The files of a directory, and below it, that hold a password. Files from before the lab are left out.
fn in_files(
    directory: &Path,
    since: SystemTime,
    passwords: &[(&'static str, String)],
    findings: &mut Vec<String>,
) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        // A file that is gone meanwhile holds nothing; pipes and sockets would be waited for.
        let Ok(metadata) = entry.metadata() else { continue };
        if metadata.is_dir() {
            in_files(&path, since, passwords, findings);
        } else if metadata.is_file()
            && metadata.len() <= FILE_AT_MOST
            && metadata.modified().is_ok_and(|modified| modified >= since)
        {
            let bytes = fs::read(&path).unwrap_or_default();
            for account in found_in(&bytes, passwords) {
                findings.push(format!("{account}: {}", path.display()));
            }
        }
    }
}

/// A search over every host of a lab.
struct Search<'a> {
    lab: &'a Lab,
    since: SystemTime,
    passwords: Vec<(&'static str, String)>,
}

impl Search<'_> {
    fn new(lab: &Lab, since: SystemTime) -> Search<'_> {
        Search {
            lab,
            since,
            passwords: passwords(lab),
        }
    }

    /// What shows a password now.
    fn at_once(&self) -> Vec<String> {
        let mut findings = in_processes(&self.passwords);
        self.below(&PLACES, &mut findings);
        findings
    }

    /// And what is left for longer.
    fn everywhere(&self) -> Vec<String> {
        let mut findings = self.at_once();
        self.below(&HOMES, &mut findings);
        findings
    }

    fn below(&self, places: &[&str], findings: &mut Vec<String>) {
        for host in self.lab.hosts() {
            for place in places {
                let directory = host.path(place).unwrap();
                in_files(&directory, self.since, &self.passwords, findings);
            }
        }
    }
}

/// Ends the search, also when a command failed.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn no_password_is_visible_anywhere() {
    let since = SystemTime::now();
    let lab = cluster();
    let search = Search::new(&lab, since);
    assert_eq!(search.everywhere(), Vec::<String>::new(), "before anything ran");

    let done = AtomicBool::new(false);
    let (rounds, seen, said) = std::thread::scope(|scope| {
        let watching = scope.spawn(|| {
            let (mut rounds, mut seen) = (0, Vec::new());
            while !done.load(Ordering::Relaxed) {
                seen.extend(search.at_once());
                rounds += 1;
            }
            (rounds, seen)
        });
        let ended = Ends(&done);
        let mut said = String::new();
        let commands: [(&[&str], i32); 7] = [
            (
                &[
                    "-vv",
                    "plan",
                    "switchover",
                    "--to",
                    "db2",
                    "--save",
                    "/root/kept.json",
                ],
                0,
            ),
            (
                &[
                    "-vv",
                    "playbook",
                    "run",
                    "follow",
                    "--at",
                    "db3",
                    "--set",
                    "source=db1",
                    "--plan",
                ],
                0,
            ),
            (
                &["-vv", "--output", "json", "plan", "switchover", "--to", "db2"],
                0,
            ),
            (&["-vv", "switchover", "--to", "db2"], 0),
            (&["-vv", "--output", "json", "switchover", "--to", "db1"], 0),
            (&["-vv", "checks"], 0),
            (&["-vv", "validate"], 0),
        ];
        for (arguments, code) in commands {
            let output = mmm(&lab, arguments, code);
            said.push_str(&output.stdout);
            said.push_str(&output.stderr);
        }
        drop(ended);
        let (rounds, seen) = watching.join().unwrap();
        (rounds, seen, said)
    });
    assert_eq!(seen, Vec::<String>::new(), "while mmm ran");
    assert_eq!(
        found_in(said.as_bytes(), &search.passwords),
        Vec::<&str>::new(),
        "{said}"
    );
    assert_eq!(search.everywhere(), Vec::<String>::new(), "after everything ran");
    assert!(rounds >= 10, "looked {rounds} times only");
    assert!(said.len() > 1000, "mmm said little: {said}");
    eprintln!("looked {rounds} times at every process and every place where something could be left");
}

#[test]
fn the_search_finds_what_is_there() {
    let since = SystemTime::now();
    let lab = cluster();
    let search = Search::new(&lab, since);
    let secret = &search.passwords[1].1;
    let _process = lab.db2().spawn(["sh", "-c", "sleep 60; true", secret]).unwrap();
    let text = format!("password={secret}\n");
    lab.db3().write("/var/tmp/left", &text).unwrap();
    lab.client().write("/root/left-at-home", &text).unwrap();
    lab::wait::until(super::cluster::SOON, "the process to be found", || {
        search.at_once().join("\n").contains("agent: cmdline of sh")
    })
    .unwrap();
    let found = search.everywhere().join("\n");
    assert!(
        found.contains("var/tmp/left") && found.contains("root/left-at-home"),
        "{found}"
    );
}
