//! A warm shell on a host: opened once, then given duties, one round trip each.
//!
//! It works over any stream to the standard input and output of [`crate::core::wire::remote_command`]. Whatever goes
//! wrong with the stream or the clock makes the outcome *unknown* and the shell unusable; its [`Trace`] then tells
//! what has to be verified gone before anybody may look.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

use crate::core::script::{DutyOutcome, DutyReport, Failure, Script, StepOutcome, StepReport};
use crate::core::wire::{self, Decoder, Ending, Frame, SqlLogin, Uptime};

/// How much of a step's output is kept, from its end.
const KEPT_OUTPUT_BYTES: usize = 64 * 1024;

/// How much longer than its deadline a step or a duty is listened to before it counts as lost; for the way back.
const GRACE: Duration = Duration::from_millis(500);

/// What remains to be found of a shell whose end was not seen; belongs into the journal before the shell is used.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace {
    /// The session all its processes are in.
    pub session: u32,
    /// What stands as `MMM_SHELL` in the environment of everything it started.
    pub tag: String,
    /// The server's id of its SQL connection, once there is one.
    pub connection: Option<u64>,
    /// Whether that connection holds the lock that tells it from later ones of its number.
    #[serde(default)]
    pub marked: bool,
    /// When the session's leader started, in the kernel's ticks since boot; 0 when that is not known.
    #[serde(default)]
    pub started: u64,
    /// What the kernel called the run of the system it was opened in; empty when that is not known.
    #[serde(default)]
    pub boot: String,
}

/// Why a shell cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShellError {
    /// It did not greet in time.
    #[error("the shell on the host did not answer in time")]
    Silent,
    /// The stream ended or broke.
    #[error("the shell on the host ended: {0}")]
    Ended(String),
    /// The SQL client could not be opened; the shell itself is well.
    #[error("the SQL client on the host cannot sign in: {0}")]
    Sql(String),
}

/// A warm shell.
pub struct Shell<S> {
    stream: S,
    decoder: Decoder,
    frames: std::collections::VecDeque<Frame>,
    trace: Trace,
    /// The host's clock when it was last told, and when that arrived here. The way takes time, so the host is later.
    clock: (Uptime, Instant),
    duties: u64,
    /// Why it cannot be used any more.
    lost: Option<String>,
}

impl<S> std::fmt::Debug for Shell<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shell")
            .field("trace", &self.trace)
            .field("lost", &self.lost)
            .finish_non_exhaustive()
    }
}

/// Told of each step as it goes.
pub enum Progress<'r> {
    /// The step of that index begins.
    Begins(usize),
    /// It ended.
    Ended(usize, &'r StepReport),
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Shell<S> {
    /// Teaches a fresh remote shell and waits for its greeting. `marker` must be random letters and digits, at most 40,
    /// that nobody on the host can know; `tag` is what [`wire::remote_command`] was given.
    ///
    /// # Errors
    /// When the greeting does not come before `deadline`, or the stream ends.
    pub async fn open(
        stream: S,
        marker: &str,
        tag: &str,
        login: &SqlLogin,
        deadline: Instant,
    ) -> Result<Self, ShellError> {
        let mut shell = Shell {
            stream,
            decoder: Decoder::new(marker),
            frames: Default::default(),
            trace: Trace {
                session: 0,
                tag: tag.to_owned(),
                connection: None,
                marked: false,
                started: 0,
                boot: String::new(),
            },
            clock: (Uptime(0), Instant::now()),
            duties: 0,
            lost: None,
        };
        shell.send(&wire::opening(marker, login), deadline).await?;
        let mut noise = Vec::new();
        loop {
            match shell.next(deadline).await {
                Ok(Frame::Hello {
                    session,
                    started,
                    uptime,
                    boot,
                }) => {
                    shell.trace = Trace {
                        session,
                        started,
                        boot,
                        ..shell.trace
                    };
                    shell.clock = (uptime, Instant::now());
                    return Ok(shell);
                }
                Ok(Frame::Output(bytes)) => keep_tail(&mut noise, &bytes),
                Ok(_) => {}
                Err(ShellError::Ended(why)) if !noise.is_empty() => {
                    let said = String::from_utf8_lossy(&noise).trim().to_owned();
                    return Err(ShellError::Ended(format!("{why}; it said: {said}")));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Ends it: its input is closed, and its end is waited for, so that no SQL session stays behind.
    pub async fn close(mut self, within: Duration) {
        let deadline = Instant::now() + within;
        let ending = async {
            self.stream.shutdown().await?;
            let mut bytes = vec![0; 4 * 1024];
            while self.stream.read(&mut bytes).await? > 0 {}
            Ok::<(), std::io::Error>(())
        };
        if !matches!(timeout_at(deadline, ending).await, Ok(Ok(()))) {
            tracing::debug!("a shell did not end in time; dropping its stream ends it");
        }
    }

    /// What remains to be found of it.
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Why it cannot be used any more.
    pub fn lost(&self) -> Option<&str> {
        self.lost.as_deref()
    }

    /// Opens its SQL client ahead of the first statement.
    ///
    /// # Errors
    /// When the client cannot sign in, or the shell is lost.
    pub async fn warm_sql(&mut self, deadline: Instant) -> Result<u64, ShellError> {
        self.duties += 1;
        let report = self
            .perform(
                wire::warming(self.duties),
                &Script::default(),
                deadline,
                &mut |_| {},
            )
            .await;
        match (report.outcome, self.trace.connection) {
            (DutyOutcome::Done, Some(connection)) => Ok(connection),
            (DutyOutcome::Failed { why, .. }, _) => Err(ShellError::Sql(why.to_string())),
            (DutyOutcome::Unknown { why }, _) => Err(ShellError::Ended(why)),
            _ => Err(ShellError::Sql("it told no connection id".to_owned())),
        }
    }

    /// Performs a duty. None of its steps starts after `deadline`, by the host's own clock; what is not heard of half a
    /// second later is unknown.
    pub async fn run(&mut self, script: &Script, deadline: Instant) -> DutyReport {
        self.run_watched(script, deadline, &mut |_| {}).await
    }

    /// As [`Shell::run`], telling of each step.
    pub async fn run_watched(
        &mut self,
        script: &Script,
        deadline: Instant,
        watch: &mut (dyn FnMut(Progress<'_>) + Send),
    ) -> DutyReport {
        self.duties += 1;
        let (uptime, told) = self.clock;
        let limit = uptime.plus(deadline.saturating_duration_since(told));
        self.perform(wire::script(script, self.duties, limit), script, deadline, watch)
            .await
    }

    async fn perform(
        &mut self,
        bytes: Vec<u8>,
        script: &Script,
        deadline: Instant,
        watch: &mut (dyn FnMut(Progress<'_>) + Send),
    ) -> DutyReport {
        let started = Instant::now();
        let mut record = Record::new(script);
        // A step may start until the deadline; how it ended is still listened for.
        let deadline = deadline + GRACE;
        let ended = match &self.lost {
            Some(why) => Err(format!("the shell was lost before: {why}")),
            None => {
                // Should this future be dropped half-way, nobody may use the shell again.
                self.lost = Some("a duty was given up half-way".to_owned());
                self.talk(&bytes, deadline, &mut record, watch).await
            }
        };
        match ended {
            Ok(()) => self.lost = None,
            Err(why) => {
                record.unknown(why.clone());
                self.lost = Some(why);
            }
        }
        record.report(script, started.elapsed())
    }

    /// Sends and listens until the duty is done. An error is why its outcome is unknown.
    async fn talk(
        &mut self,
        bytes: &[u8],
        deadline: Instant,
        record: &mut Record<'_>,
        watch: &mut (dyn FnMut(Progress<'_>) + Send),
    ) -> Result<(), String> {
        self.send(bytes, deadline)
            .await
            .map_err(|error| error.to_string())?;
        loop {
            let until = record.step_limit().map_or(deadline, |limit| limit.min(deadline));
            let frame = match self.next(until).await {
                Ok(frame) => frame,
                Err(ShellError::Silent) => return Err(record.silence(until < deadline)),
                Err(error) => return Err(error.to_string()),
            };
            match frame {
                Frame::Sql { connection, marked } => {
                    self.trace.connection = Some(connection);
                    self.trace.marked = marked;
                }
                Frame::Done(id, uptime) if id == self.duties => {
                    self.clock = (uptime, Instant::now());
                    return Ok(());
                }
                frame => record.take(frame, watch),
            }
        }
    }

    async fn send(&mut self, bytes: &[u8], deadline: Instant) -> Result<(), ShellError> {
        let sending = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        match timeout_at(deadline, sending).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(ShellError::Ended(error.to_string())),
            Err(_) => Err(ShellError::Silent),
        }
    }

    async fn next(&mut self, deadline: Instant) -> Result<Frame, ShellError> {
        let mut bytes = vec![0; 16 * 1024];
        loop {
            if let Some(frame) = self.frames.pop_front() {
                return Ok(frame);
            }
            match timeout_at(deadline, self.stream.read(&mut bytes)).await {
                Err(_) => return Err(ShellError::Silent),
                Ok(Ok(0)) => {
                    let last = String::from_utf8_lossy(self.decoder.rest()).trim().to_owned();
                    let why = if last.is_empty() {
                        "its stream ended".to_owned()
                    } else {
                        last
                    };
                    return Err(ShellError::Ended(why));
                }
                Ok(Ok(length)) => self.frames.extend(self.decoder.push(&bytes[..length])),
                Ok(Err(error)) => return Err(ShellError::Ended(error.to_string())),
            }
        }
    }
}

/// What is known of a duty while it runs.
struct Record<'s> {
    script: &'s Script,
    steps: Vec<StepReport>,
    registered: BTreeMap<String, String>,
    outcome: DutyOutcome,
    running: Option<Running>,
    /// Noise between steps, for the last words of a shell that ended.
    stray: Vec<u8>,
}

struct Running {
    index: usize,
    since: Instant,
    output: Vec<u8>,
}

impl<'s> Record<'s> {
    fn new(script: &'s Script) -> Self {
        Record {
            script,
            steps: Vec::new(),
            registered: BTreeMap::new(),
            outcome: DutyOutcome::Done,
            running: None,
            stray: Vec::new(),
        }
    }

    fn name(&self, index: usize) -> String {
        self.script
            .steps
            .get(index)
            .map_or_else(|| format!("step {index}"), |step| step.name.clone())
    }

    /// When the running step counts as lost.
    fn step_limit(&self) -> Option<Instant> {
        let running = self.running.as_ref()?;
        let within = self.script.steps.get(running.index)?.within;
        running.since.checked_add(within + GRACE)
    }

    fn silence(&self, step_is_late: bool) -> String {
        match (&self.running, step_is_late) {
            (Some(running), true) => format!("step `{}` did not end in time", self.name(running.index)),
            (Some(running), false) => {
                format!(
                    "the duty's time passed during step `{}`",
                    self.name(running.index)
                )
            }
            (None, _) => "the shell did not answer in time".to_owned(),
        }
    }

    fn take(&mut self, frame: Frame, watch: &mut (dyn FnMut(Progress<'_>) + Send)) {
        match frame {
            Frame::Output(bytes) => match &mut self.running {
                Some(running) => keep_tail(&mut running.output, &bytes),
                None => keep_tail(&mut self.stray, &bytes),
            },
            Frame::Begin(index) => {
                self.running = Some(Running {
                    index,
                    since: Instant::now(),
                    output: Vec::new(),
                });
                watch(Progress::Begins(index));
            }
            Frame::Skip(index) => self.end(index, StepOutcome::Already, watch),
            Frame::Expired(index) => {
                self.outcome = DutyOutcome::Expired {
                    step: self.name(index),
                };
                self.end(index, StepOutcome::Expired, watch);
            }
            Frame::End(index, Ending::Done) => self.end(index, StepOutcome::Done, watch),
            Frame::End(index, Ending::Already) => self.end(index, StepOutcome::Already, watch),
            Frame::End(index, Ending::Failed(why)) => {
                let why = match why {
                    Failure::Sql(line) => Failure::Sql(self.script.mask(&line)),
                    Failure::Unexpected(answer) => Failure::Unexpected(self.script.mask(&answer)),
                    other => other,
                };
                self.outcome = DutyOutcome::Failed {
                    step: self.name(index),
                    why,
                };
                self.end(index, StepOutcome::Failed, watch);
            }
            Frame::Value(name, value) => {
                self.registered.insert(name, value);
            }
            Frame::Hello { .. } | Frame::Sql { .. } | Frame::Duty(_) | Frame::Done(..) => {}
        }
    }

    fn end(&mut self, index: usize, outcome: StepOutcome, watch: &mut (dyn FnMut(Progress<'_>) + Send)) {
        let running = self.running.take();
        let report = StepReport {
            name: self.name(index),
            outcome,
            took: running
                .as_ref()
                .map_or(Duration::ZERO, |running| running.since.elapsed()),
            output: running.map_or_else(String::new, |running| self.script.mask(&shown(&running.output))),
        };
        watch(Progress::Ended(index, &report));
        self.steps.push(report);
    }

    fn unknown(&mut self, why: String) {
        if let Some(running) = self.running.take() {
            self.steps.push(StepReport {
                name: self.name(running.index),
                outcome: StepOutcome::Unknown,
                took: running.since.elapsed(),
                output: self.script.mask(&shown(&running.output)),
            });
        }
        let said = shown(&self.stray);
        let why = if said.is_empty() {
            why
        } else {
            format!("{why}; it said: {said}")
        };
        self.outcome = DutyOutcome::Unknown { why };
    }

    fn report(self, script: &Script, took: Duration) -> DutyReport {
        DutyReport {
            duty: script.duty.clone(),
            outcome: self.outcome,
            steps: self.steps,
            registered: self.registered,
            took,
        }
    }
}

fn shown(output: &[u8]) -> String {
    String::from_utf8_lossy(output).trim_matches('\n').to_owned()
}

fn keep_tail(kept: &mut Vec<u8>, bytes: &[u8]) {
    kept.extend_from_slice(bytes);
    if kept.len() > KEPT_OUTPUT_BYTES {
        kept.drain(..kept.len() - KEPT_OUTPUT_BYTES);
    }
}
