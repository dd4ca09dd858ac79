//! A command of the site on this box: its environment, its standard input, its deadline, and what it printed last.
//!
//! It is the leader of a process group of its own, and whatever of that group is left at the deadline is ended. Secrets
//! that the inventory takes from the environment of this program are not passed on.

use std::collections::BTreeMap;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// How long a command that was asked to end may take before it is killed.
const ENDS_WITHIN: Duration = Duration::from_millis(500);
/// How long what a command printed is waited for once it has ended: what it started may hold its output open.
const LAST_WORDS_WITHIN: Duration = Duration::from_millis(200);
/// As much of what a command prints is kept, from its end.
const KEPT_BYTES: usize = 8 * 1024;
/// As many lines of that are told.
const KEPT_LINES: usize = 3;

/// A command to be run by `sh` on this box.
#[derive(Debug, Clone, Copy)]
pub struct Order<'o> {
    /// The command.
    pub command: &'o str,
    /// What is added to its environment.
    pub environment: &'o BTreeMap<String, String>,
    /// Variables of our own environment that it does not get.
    pub hidden: &'o [String],
    /// What stands on its standard input.
    pub input: &'o [u8],
    /// When it is ended.
    pub within: Duration,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// Why it did not end well; none when it did.
    pub failed: Option<String>,
    /// The last lines it printed, joined by `; `.
    pub last_words: String,
}

/// A process group that does not outlive whoever waits for it.
struct Group {
    child: Child,
    leader: Option<Pid>,
    /// Its leader has been waited for.
    over: bool,
}

impl Group {
    fn signal(&self, signal: Signal) {
        let Some(leader) = self.leader else { return };
        if let Err(error) = kill_process_group(leader, signal) {
            tracing::debug!("process group {leader:?} is gone already: {error}");
        }
    }

    /// Asks the whole group to end, then kills what is left of it.
    async fn end(&mut self) {
        self.signal(Signal::TERM);
        // As long as its leader has not been waited for, its number cannot be another's.
        sleep(ENDS_WITHIN).await;
        self.signal(Signal::KILL);
        if timeout(ENDS_WITHIN, self.child.wait()).await.is_ok() {
            self.over = true;
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if !self.over {
            self.signal(Signal::KILL);
        }
    }
}

/// Runs a command to its end or to its deadline. Returns within the deadline and about a second.
pub async fn run(order: Order<'_>) -> Ran {
    let deadline = Instant::now() + order.within;
    let mut command = Command::new("/bin/sh");
    command
        .arg("-c")
        .arg(order.command)
        .envs(order.environment)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    for name in order.hidden {
        command.env_remove(name);
    }
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return failed(format!("it could not be started: {error}"), String::new()),
    };
    let streams = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (Some(mut stdin), Some(stdout), Some(stderr)) = streams else {
        return failed("it has no standard streams".to_owned(), String::new());
    };
    let leader = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    let mut group = Group {
        child,
        leader,
        over: false,
    };
    let (mut said, mut complained) = (Vec::new(), Vec::new());
    let outcome = {
        // A command that does not read its input is within its rights.
        let feeding = async {
            if let Err(error) = stdin.write_all(order.input).await {
                tracing::debug!("a command did not read its input: {error}");
            }
            drop(stdin);
        };
        let reading = async { tokio::join!(keep(stdout, &mut said), keep(stderr, &mut complained)) };
        let talking = async { tokio::join!(feeding, reading) };
        let mut talking = std::pin::pin!(talking);
        let mut is_silent = false;
        let waited = timeout_at(deadline, async {
            loop {
                tokio::select! {
                    status = group.child.wait() => return status,
                    _ = &mut talking, if !is_silent => is_silent = true,
                }
            }
        })
        .await;
        if let Ok(Ok(_)) = waited {
            group.over = true;
            let until = (Instant::now() + LAST_WORDS_WITHIN).min(deadline);
            // What it started in the background may go on, and is not listened to.
            if !is_silent && timeout_at(until, &mut talking).await.is_err() {
                tracing::debug!("a command left something behind that holds its output open");
            }
        }
        waited
    };
    if !group.over {
        group.end().await;
    }
    said.extend_from_slice(&complained);
    let last_words = last_lines(&String::from_utf8_lossy(&said));
    match outcome {
        Err(_) => failed(
            format!(
                "it did not end within {} ms, and was ended",
                order.within.as_millis()
            ),
            last_words,
        ),
        Ok(Err(error)) => failed(format!("its end could not be waited for: {error}"), last_words),
        Ok(Ok(status)) => Ran {
            failed: (!status.success()).then(|| how(status)),
            last_words,
        },
    }
}

fn failed(why: String, last_words: String) -> Ran {
    Ran {
        failed: Some(why),
        last_words,
    }
}

fn how(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("it ended with status {code}"),
        None => format!("it was ended by a signal: {status}"),
    }
}

/// Reads to the end, and keeps the last of it.
async fn keep(mut stream: impl AsyncRead + Unpin, kept: &mut Vec<u8>) {
    let mut bytes = vec![0; 4 * 1024];
    loop {
        match stream.read(&mut bytes).await {
            Ok(0) => return,
            Ok(length) => kept.extend_from_slice(&bytes[..length]),
            Err(error) => return tracing::debug!("what a command printed could not be read: {error}"),
        }
        if kept.len() > KEPT_BYTES {
            kept.drain(..kept.len() - KEPT_BYTES);
        }
    }
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    lines[lines.len().saturating_sub(KEPT_LINES)..].join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ran(command: &str, within_ms: u64) -> Ran {
        let environment = BTreeMap::from([("MMM_RUN".to_owned(), "it's one".to_owned())]);
        run(Order {
            command,
            environment: &environment,
            hidden: &["PATH_THAT_IS_HIDDEN".to_owned()],
            input: b"{}\n",
            within: Duration::from_millis(within_ms),
        })
        .await
    }

    #[tokio::test]
    async fn it_has_its_environment_and_its_input_and_is_told_about() {
        let good = ran("cat; echo \"$MMM_RUN\"; echo aside >&2", 5_000).await;
        assert_eq!(good.failed, None);
        assert_eq!(good.last_words, "{}; it's one; aside");
        let bad = ran("seq 1 9; exit 3", 5_000).await;
        assert_eq!(bad.failed.as_deref(), Some("it ended with status 3"));
        assert_eq!(bad.last_words, "7; 8; 9");
        let missing = ran("/no/such/command", 5_000).await;
        assert_eq!(missing.failed.as_deref(), Some("it ended with status 127"));
    }

    #[tokio::test]
    async fn secrets_of_our_own_environment_stay_here() {
        let environment = BTreeMap::new();
        let shown = |hidden: &'static [String]| Order {
            command: "echo \"[$PATH]\"",
            environment: &environment,
            hidden,
            input: b"",
            within: Duration::from_secs(5),
        };
        let hidden: &'static [String] = Box::leak(Box::new(["PATH".to_owned()]));
        let seen = run(shown(&[])).await.last_words;
        let not_seen = run(shown(hidden)).await.last_words;
        // A shell without a path takes one of its own.
        assert_ne!(seen, not_seen);
    }

    #[tokio::test]
    async fn what_hangs_is_ended_with_all_it_started() {
        let dir = tempfile::tempdir().unwrap();
        let pids = dir.path().join("pids");
        // One that ignores being asked, and one below it.
        let command = format!(
            "trap '' TERM; echo waiting; sleep 60 & echo $$ $! >{}; wait; sleep 60",
            pids.display()
        );
        let began = Instant::now();
        let ran = ran(&command, 300).await;
        assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
        let why = ran.failed.unwrap();
        assert!(why.starts_with("it did not end within 300 ms"), "{why}");
        assert_eq!(ran.last_words, "waiting");
        for pid in std::fs::read_to_string(pids).unwrap().split_whitespace() {
            let stat = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            // One that nobody has waited for yet is dead all the same.
            let is_dead = |stat: String| stat.is_empty() || stat.contains(") Z ");
            for _ in 0..100 {
                if is_dead(stat()) {
                    break;
                }
                sleep(Duration::from_millis(10)).await;
            }
            assert!(is_dead(stat()), "{}", stat());
        }
    }

    #[tokio::test]
    async fn what_stays_in_the_background_is_not_waited_for() {
        let began = Instant::now();
        let ran = ran("sleep 5 & echo started", 4_000).await;
        assert_eq!((ran.failed, ran.last_words.as_str()), (None, "started"));
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn much_output_neither_fills_the_memory_nor_blocks() {
        let ran = ran("seq 1 200000; echo end >&2", 20_000).await;
        assert_eq!(ran.failed, None);
        assert!(ran.last_words.ends_with("200000; end"), "{}", ran.last_words);
    }
}
