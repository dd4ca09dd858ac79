//! The stories of `cargo lab test`: each in a process of its own, so that one that hangs ends alone and what one says is
//! not mixed with another's words.
//!
//! Stories wait for real servers on a machine that may be busy with something else. One that failed while another ran
//! beside it is therefore told once more, alone, and the closing lines name it. What the judges hold to be unsafe
//! (rows lost, two writers) is final: there is no second chance for that, and none when many stories fail.

use std::collections::VecDeque;
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use lab::flavour::Server;
use lab::judge::UNSAFE;
use lab::place::DISKS_VARIABLE;
use lab::progress::Progress;
use lab::{machine, stock, wait};

use crate::test::{LONG_VARIABLE, cargo, root};

/// More stories than this do not fail because the machine is busy.
const SECOND_CHANCES: usize = 12;
/// Three servers each, of which a large one takes half a gigabyte.
const AT_ONCE_AT_MOST: usize = 4;
/// As much of a failed story's complaint is repeated at the end.
const COMPLAINT_LINES: usize = 3;
/// What one story may take.
const LIMIT: Duration = Duration::from_secs(8 * 60);
/// The same for one that repeats itself for figures.
const LONG_LIMIT: Duration = Duration::from_secs(60 * 60);

/// How stories are told.
#[derive(Debug, Clone, Copy)]
pub struct Telling<'a> {
    /// As often as the figures are published for, one story at a time: figures want the machine for themselves.
    pub long: bool,
    /// Only stories whose name contains this.
    pub filter: Option<&'a str>,
}

/// Tells all stories; whether none failed in the end.
pub fn tell(telling: Telling<'_>) -> Result<bool> {
    let program = build()?;
    let names = names(&program, telling)?;
    let count = names.len();
    if names.iter().any(|name| name.starts_with("families::")) {
        fetch_servers();
    }
    let at_once = if telling.long { 1 } else { at_once() };
    let manner = Manner {
        long: telling.long,
        disks_in_memory: at_once > 1 && machine::has_room_for_disks_in_memory()?,
    };
    let told = tell_each(&program, names, manner, at_once)?;
    let again = if at_once > 1 {
        second_chances(&told)
    } else {
        VecDeque::new()
    };
    let mut passed_alone = Vec::new();
    let mut still_failed: Vec<Told> = told.into_iter().filter(|story| !story.passed).collect();
    let passed = count - still_failed.len();
    if !again.is_empty() {
        say(&format!("\nonce more, one at a time: {}\n", listed(&again)));
        let second = tell_each(&program, again, manner, 1)?;
        passed_alone.extend(
            second
                .into_iter()
                .filter(|story| story.passed)
                .map(|story| story.name),
        );
        still_failed.retain(|story| !passed_alone.contains(&story.name));
    }
    say("\n");
    for name in &passed_alone {
        say(&format!("failed beside another story and passed alone: {name}\n"));
    }
    for story in &still_failed {
        say(&format!("failed: {}: {}\n", story.name, complaint(&story.said)));
    }
    say(&format!(
        "stories: {} passed, {} failed\n",
        passed + passed_alone.len(),
        still_failed.len()
    ));
    Ok(still_failed.is_empty())
}

/// How many stories are told beside each other: they wait for most of their time, so one more than there are cores, but
/// never so many that their servers lack memory.
fn at_once() -> usize {
    thread::available_parallelism()
        .map_or(2, |cores| cores.get() + 1)
        .min(AT_ONCE_AT_MOST)
}

/// Fetches what stories need before their time runs. What cannot be had is said here, and fails the stories that need it.
fn fetch_servers() {
    for server in Server::ALL {
        if let Err(error) = stock::provide(server, &Progress::Lines) {
            say(&format!("{error:#}\n"));
        }
    }
}

/// What a failed story says is wrong, in a line or two: the closing lines are what people read first, and sometimes all they have.
fn complaint(said: &str) -> String {
    let mut lines = said.lines().skip_while(|line| !line.contains("panicked at"));
    let place = lines.next().unwrap_or("it does not say why");
    let message: Vec<&str> = lines
        .take_while(|line| !line.trim().is_empty())
        .take(COMPLAINT_LINES)
        .collect();
    format!("{place} {}", message.join(" | "))
}

/// The failed stories that are told once more.
fn second_chances(told: &[Told]) -> VecDeque<String> {
    let failed: Vec<&Told> = told.iter().filter(|story| !story.passed).collect();
    if failed.len() > SECOND_CHANCES {
        return VecDeque::new();
    }
    failed
        .iter()
        .filter(|story| !story.said.contains(UNSAFE))
        .map(|story| story.name.clone())
        .collect()
}

/// One story, told.
struct Told {
    name: String,
    passed: bool,
    said: String,
}

/// What is the same for all stories of a telling.
#[derive(Debug, Clone, Copy)]
struct Manner {
    long: bool,
    disks_in_memory: bool,
}

fn tell_each(program: &Path, names: VecDeque<String>, manner: Manner, at_once: usize) -> Result<Vec<Told>> {
    let queue = Mutex::new(names);
    let told = Mutex::new(Vec::new());
    let next = || locked(&queue).pop_front();
    let work = || -> Result<()> {
        while let Some(name) = next() {
            let story = tell_one(program, name, manner)?;
            locked(&told).push(story);
        }
        Ok(())
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..at_once).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            match worker.join() {
                Ok(outcome) => outcome?,
                Err(_) => bail!("a thread that tells stories died"),
            }
        }
        Ok(())
    })?;
    Ok(told.into_inner().unwrap_or_else(PoisonError::into_inner))
}

fn tell_one(program: &Path, name: String, manner: Manner) -> Result<Told> {
    let started = Instant::now();
    let mut said = tempfile::tempfile().context("cannot make a file for what a story says")?;
    let mut command = Command::new(program);
    command.args([name.as_str(), "--exact", "--nocapture", "--test-threads=1"]);
    command
        .current_dir(root())
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command.stderr(said.try_clone()?);
    // A story says in words what went wrong; a hundred frames of the test harness would only hide it.
    command.env("RUST_BACKTRACE", "0");
    if manner.long {
        command.env(LONG_VARIABLE, "1").arg("--include-ignored");
    }
    if manner.disks_in_memory {
        command.env(DISKS_VARIABLE, "memory");
    }
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot start the story `{name}`"))?;
    let limit = if manner.long { LONG_LIMIT } else { LIMIT };
    let status = until_it_ends(&mut child, limit)?;
    said.rewind()?;
    let mut bytes = Vec::new();
    said.read_to_end(&mut bytes)?;
    let mut said = String::from_utf8_lossy(&bytes).into_owned();
    if status.is_none() {
        said.push_str(&format!("it did not end within {} s\n", limit.as_secs()));
    }
    let passed = status.is_some_and(|status| status.success());
    let word = if passed { "ok" } else { "FAILED" };
    if !passed {
        said.push_str(&machine::pressure());
    }
    say(&format!(
        "story {name} ... {word} ({:.1} s)\n{said}",
        started.elapsed().as_secs_f64()
    ));
    Ok(Told { name, passed, said })
}

/// `None` when it had to be ended because its time was up. What it left running is found by `cargo lab down --all`.
fn until_it_ends(child: &mut Child, limit: Duration) -> Result<Option<ExitStatus>> {
    let waited = wait::until_some(limit, "a story to end", || Ok(child.try_wait()?));
    if let Ok(status) = waited {
        return Ok(Some(status));
    }
    child.kill().context("cannot end a story that hangs")?;
    child.wait().context("a story that hangs does not end")?;
    Ok(None)
}

/// Builds the stories and gives their program.
fn build() -> Result<PathBuf> {
    let mut command = cargo();
    command.args([
        "test",
        "--test",
        "it",
        "--no-run",
        "--message-format=json-render-diagnostics",
    ]);
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start `cargo test`")?;
    if !output.status.success() {
        bail!("the stories do not compile");
    }
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    let program = lines.lines().rev().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let is_theirs = message.pointer("/target/name")?.as_str()? == "it";
        let program = message.get("executable")?.as_str()?;
        is_theirs.then(|| PathBuf::from(program))
    });
    program.context("cargo does not say where the program of the stories is")
}

/// The stories to tell. Those marked as ignored are told by `--long` alone.
fn names(program: &Path, telling: Telling<'_>) -> Result<VecDeque<String>> {
    let wanted = |name: &String| telling.filter.is_none_or(|filter| name.contains(filter));
    let mut names = list(program, &[])?;
    if !telling.long {
        let left_out = list(program, &["--ignored"])?;
        names.retain(|name| !left_out.contains(name));
    }
    if names.is_empty() {
        bail!("`{}` does not list its stories", program.display());
    }
    Ok(names.into_iter().filter(wanted).collect())
}

fn list(program: &Path, which: &[&str]) -> Result<Vec<String>> {
    let output = Command::new(program)
        .args(["--list", "--format", "terse"])
        .args(which)
        .output()
        .context("cannot list the stories")?;
    if !output.status.success() {
        bail!("`{}` does not list its stories", program.display());
    }
    let list = String::from_utf8(output.stdout).context("the list of stories is no text")?;
    let names = list.lines().filter_map(|line| line.strip_suffix(": test"));
    Ok(names.map(str::to_owned).collect())
}

fn listed(names: &VecDeque<String>) -> String {
    names.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes a whole block at once, so that two stories do not mix.
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    // Nobody can be told that standard output is closed.
    let _closed = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn story(name: &str, passed: bool, said: &str) -> Told {
        Told {
            name: name.to_owned(),
            passed,
            said: said.to_owned(),
        }
    }

    #[test]
    fn what_was_late_is_told_again_and_what_was_unsafe_is_not() {
        let told = [
            story("fine", true, ""),
            story("late", false, "waited 30s for: db2 to be opened"),
            story("lost", false, &format!("WRONG: `db2` lacks 3 rows\n{UNSAFE}\n")),
        ];
        assert_eq!(second_chances(&told), ["late"]);
    }

    #[test]
    fn the_closing_lines_say_what_is_wrong() {
        let said = "thread 'late' (12) panicked at tests/it/late.rs:5:3:\nwaited 30s\nfor: db2\n\nframes";
        assert_eq!(
            complaint(&format!("== figures\n{said}")),
            "thread 'late' (12) panicked at tests/it/late.rs:5:3: waited 30s | for: db2"
        );
        assert!(complaint("nothing").starts_with("it does not say why"));
    }

    #[test]
    fn when_many_fail_it_is_not_the_machine() {
        let told: Vec<Told> = (0..=SECOND_CHANCES)
            .map(|number| story(&number.to_string(), false, "late"))
            .collect();
        assert_eq!(second_chances(&told[1..]).len(), SECOND_CHANCES);
        assert!(second_chances(&told).is_empty());
    }
}
