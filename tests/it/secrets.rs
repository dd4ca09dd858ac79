//! No password is visible anywhere while mmm works: not in a process's arguments or environment on any host, not in a
//! file left there, not in what mmm prints, writes down or plans.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use lab::Lab;

use super::cluster::{cluster, mmm};

/// Where something could be left on a host.
const PLACES: [&str; 7] = ["tmp", "var/tmp", "run", "root", "home", "var/log", "dev/shm"];
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

/// The files of a directory, and below it, that hold a password.
fn in_files(directory: &Path, passwords: &[(&'static str, String)], findings: &mut Vec<String>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        // A file that is gone meanwhile holds nothing; pipes and sockets would be waited for.
        let Ok(kind) = entry.metadata() else { continue };
        if kind.is_dir() {
            in_files(&path, passwords, findings);
        } else if kind.is_file() && kind.len() <= FILE_AT_MOST {
            let bytes = fs::read(&path).unwrap_or_default();
            for account in found_in(&bytes, passwords) {
                findings.push(format!("{account}: {}", path.display()));
            }
        }
    }
}

/// Everything on every host that shows a password.
fn anywhere(lab: &Lab, passwords: &[(&'static str, String)]) -> Vec<String> {
    let mut findings = in_processes(passwords);
    for host in lab.hosts() {
        for place in PLACES {
            in_files(&host.path(place).unwrap(), passwords, &mut findings);
        }
    }
    in_files(&lab.box_().path("var/lib").unwrap(), passwords, &mut findings);
    findings
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
    let lab = cluster();
    let passwords = passwords(&lab);
    assert_eq!(
        anywhere(&lab, &passwords),
        Vec::<String>::new(),
        "before anything ran"
    );

    let done = AtomicBool::new(false);
    let (rounds, seen, said) = std::thread::scope(|scope| {
        let watching = scope.spawn(|| {
            let (mut rounds, mut seen) = (0, Vec::new());
            while !done.load(Ordering::Relaxed) {
                seen.extend(anywhere(&lab, &passwords));
                rounds += 1;
            }
            (rounds, seen)
        });
        let ended = Ends(&done);
        let mut said = String::new();
        let commands: [(&[&str], i32); 6] = [
            (&["-vv", "plan", "switchover", "--to", "db2"], 0),
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
        found_in(said.as_bytes(), &passwords),
        Vec::<&str>::new(),
        "{said}"
    );
    assert_eq!(
        anywhere(&lab, &passwords),
        Vec::<String>::new(),
        "after everything ran"
    );
    assert!(rounds >= 10, "looked {rounds} times only");
    assert!(said.len() > 1000, "mmm said little: {said}");
    eprintln!("looked {rounds} times at every process and every place where something could be left");
}

#[test]
fn the_search_finds_what_is_there() {
    let lab = cluster();
    let passwords = passwords(&lab);
    let secret = &passwords[1].1;
    let _process = lab.db2().spawn(["sh", "-c", "sleep 60; true", secret]).unwrap();
    lab.db3()
        .write("/var/tmp/left", &format!("password={secret}\n"))
        .unwrap();
    lab::wait::until(super::cluster::SOON, "both to be found", || {
        let found = anywhere(&lab, &passwords).join("\n");
        found.contains("agent: cmdline of sh") && found.contains("var/tmp/left")
    })
    .unwrap();
}
