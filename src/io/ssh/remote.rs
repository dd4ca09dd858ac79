//! One remote command from asking for a channel until it is seen to have ended.
//!
//! A task of its own owns the channel: it always drains it (one undrained channel stops a whole connection), and when
//! the owner of the command goes away it ends the remote process before it gives the channel's place back. Nothing
//! is sent to close a channel while its process lives: the library would then hide the server's answer, and the server
//! would keep the place occupied.
//!
//! Each command tells its process group before anything else, on a line of standard error that is taken out again: sshd
//! ignores requests to signal when the user is root, and before 7.9 always, so `kill` on a second channel helps.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use russh::client::Msg;
use russh::{ChannelMsg, ChannelOpenFailure, ChannelReadHalf, ChannelWriteHalf, Sig};
use tokio::io::AsyncWrite;
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::ending::{End, ExitStatus, Phase};
use super::error::SshErrorKind;
use super::link::Connection;
use super::output::{Output, announcing, take_announcement};

/// Between TERM and KILL for a command whose owner went away.
const GRACE: Duration = Duration::from_secs(1);
/// How long after KILL the host may take to report the end.
const AFTER_KILL: Duration = Duration::from_secs(5);
/// After which a signal sent over the channel itself was evidently ignored.
const SIGNAL_WORKS: Duration = Duration::from_millis(100);
/// Silence after an exit status until the channel is given up: a background child may hold its output open for ever.
const LINGER: Duration = Duration::from_secs(1);

/// What becomes of standard output beyond the bound, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Keep {
    /// Only the end is kept.
    Tail(usize),
    /// Everything counts: who does not read loses the command.
    All(usize),
}

const STDERR_TAIL_BYTES: usize = 64 * 1024;

#[derive(Debug, Default)]
pub(super) struct State {
    pub stdout: Output,
    pub stdout_at_end: bool,
    pub stderr: Output,
    pub group: Option<u32>,
    pub reader: Option<Waker>,
    pub writer: Option<Waker>,
}

/// What the owner of a command and its task share.
#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    phase: watch::Sender<Phase>,
    group_known: Notify,
}

impl Shared {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // Every critical section is a few moves that cannot leave the state half-changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase.borrow().clone()
    }

    /// The end, when it has come.
    pub(super) fn end(&self) -> Option<End> {
        match &*self.phase.borrow() {
            Phase::Ended(end) => Some(end.clone()),
            _ => None,
        }
    }

    /// The process group on the host; waits until the command has told it.
    async fn group(&self) -> u32 {
        loop {
            // A notification is kept until the next wait, so one in between is not missed.
            if let Some(group) = self.state().group {
                return group;
            }
            self.group_known.notified().await;
        }
    }

    fn enter(&self, phase: Phase) {
        self.phase.send_replace(phase);
        let mut state = self.state();
        let wakers = [state.reader.take(), state.writer.take()];
        drop(state);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}

pub(super) type Writer = Pin<Box<dyn AsyncWrite + Send>>;

/// The owner's side of a command. Dropping it ends the remote process.
pub(super) struct Remote {
    pub shared: Arc<Shared>,
    kill: Option<oneshot::Sender<Duration>>,
    writer: oneshot::Receiver<Writer>,
}

impl Remote {
    /// Queues the command. Nothing is sent if the owner goes away before its turn comes.
    pub(super) fn start(connection: Arc<Connection>, command: &str, keep: Keep) -> Remote {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            phase: watch::Sender::new(Phase::Queued),
            group_known: Notify::new(),
        });
        let (kill, killed) = oneshot::channel();
        let (writer_out, writer) = oneshot::channel();
        let task = Task {
            connection,
            shared: shared.clone(),
            keep,
        };
        tokio::spawn(task.run(command.to_string(), killed, writer_out));
        Remote {
            shared,
            kill: Some(kill),
            writer,
        }
    }

    /// Waits until `wanted` holds or the command has ended, and says which phase that is.
    pub(super) async fn reached(&self, wanted: impl Fn(&Phase) -> bool) -> Phase {
        let mut phase = self.shared.phase.subscribe();
        let reached = phase
            .wait_for(|p| wanted(p) || matches!(p, Phase::Ended(_)))
            .await;
        match reached {
            Ok(phase) => phase.clone(),
            // The task always ends with a phase; a panic in it is the one way to get here.
            Err(_) => Phase::Ended(End::Lost("the channel's task died".into())),
        }
    }

    /// Waits for the end.
    pub(super) async fn ended(&self) -> End {
        match self.reached(|_| false).await {
            Phase::Ended(end) => end,
            _ => End::Lost("the channel's task died".into()),
        }
    }

    /// Where to write its standard input; given out once.
    pub(super) async fn writer(&mut self) -> Result<Writer, io::Error> {
        (&mut self.writer)
            .await
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    /// Asks for TERM now and KILL after `grace`.
    pub(super) fn kill(&mut self, grace: Duration) {
        if let Some(kill) = self.kill.take() {
            // The task is gone when the command has ended, and then there is nothing to kill.
            let _ = kill.send(grace);
        }
    }

    /// How long an end that was asked for can take.
    pub(super) fn kill_takes(grace: Duration) -> Duration {
        grace + AFTER_KILL + Duration::from_secs(1)
    }
}

struct Task {
    connection: Arc<Connection>,
    shared: Arc<Shared>,
    keep: Keep,
}

impl Task {
    async fn run(
        self,
        command: String,
        mut kill: oneshot::Receiver<Duration>,
        writer: oneshot::Sender<Writer>,
    ) {
        let permit = tokio::select! {
            permit = self.connection.channels.clone().acquire_owned() => permit.ok(),
            _ = &mut kill => None,
        };
        let end = if permit.is_some() {
            self.open(command, &mut kill, writer).await
        } else {
            End::NotStarted(SshErrorKind::ChannelRefused, "no longer wanted".into())
        };
        if end == End::NotConfirmed {
            self.connection.condemn("a remote command could not be ended");
        }
        // The place is free before anyone learns of the end, so that the next command finds it.
        drop(permit);
        self.shared.enter(Phase::Ended(end));
    }

    async fn open(
        &self,
        command: String,
        kill: &mut oneshot::Receiver<Duration>,
        writer: oneshot::Sender<Writer>,
    ) -> End {
        self.shared.enter(Phase::Opening);
        let mut pause = Duration::from_millis(5);
        let channel = loop {
            // Not to be given up half-way: a channel that is confirmed later would stay open unknown to anyone.
            let opened = self.connection.handle.channel_open_session().await;
            let unwanted = !matches!(kill.try_recv(), Err(oneshot::error::TryRecvError::Empty));
            match opened {
                Ok(channel) if unwanted => {
                    let _ = channel.close().await;
                    return End::NotStarted(SshErrorKind::ChannelRefused, "no longer wanted".into());
                }
                Ok(channel) => break channel,
                // sshd frees places late, so this refusal passes; nothing was started.
                Err(russh::Error::ChannelOpenFailure(ChannelOpenFailure::ConnectFailed)) if !unwanted => {
                    sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_millis(100));
                }
                Err(russh::Error::ChannelOpenFailure(reason)) => {
                    return End::NotStarted(
                        SshErrorKind::ChannelRefused,
                        format!("the host gives no session channel ({reason:?})"),
                    );
                }
                Err(e) => return End::NotStarted(SshErrorKind::Closed, self.connection.why_closed_or(e)),
            }
        };
        if let Err(e) = channel.exec(true, announcing(&command)).await {
            return End::NotStarted(SshErrorKind::Closed, self.connection.why_closed_or(e));
        }
        self.shared.enter(Phase::Sent);
        let (read, write) = channel.split();
        // Nobody may be there any more to take it; the kill is then on its way.
        let _ = writer.send(Box::pin(write.make_writer()));
        self.pump(read, write, kill).await
    }

    async fn pump(
        &self,
        mut read: ChannelReadHalf,
        write: ChannelWriteHalf<Msg>,
        kill: &mut oneshot::Receiver<Duration>,
    ) -> End {
        let overflow = Notify::new();
        let ending = async {
            let grace = tokio::select! {
                grace = kill => grace.unwrap_or(GRACE),
                () = overflow.notified() => GRACE,
            };
            self.end_process(&write, grace).await;
        };
        tokio::pin!(ending);
        let mut status = None;
        let mut overflowed = false;
        let mut silent_at: Option<Instant> = None;
        loop {
            tokio::select! {
                message = read.wait() => {
                    if silent_at.is_some() {
                        silent_at = Some(Instant::now() + LINGER);
                    }
                    match message {
                        None => {
                            return status.map(End::Exited).unwrap_or_else(|| {
                                End::Lost(self.connection.why_closed().unwrap_or("the connection ended".into()))
                            });
                        }
                        Some(ChannelMsg::Close) if overflowed => return End::Overflow,
                        Some(ChannelMsg::Close) => return self.closed(status),
                        Some(ChannelMsg::Failure) => {
                            let _ = write.close().await;
                            return End::NotStarted(SshErrorKind::ExecRefused, "the host does not run commands".into());
                        }
                        Some(ChannelMsg::ExitStatus { exit_status }) => {
                            status = Some(ExitStatus::Code(exit_status));
                            silent_at = Some(Instant::now() + LINGER);
                        }
                        Some(ChannelMsg::ExitSignal { signal_name, .. }) => {
                            status = Some(ExitStatus::from(signal_name));
                            silent_at = Some(Instant::now() + LINGER);
                        }
                        Some(other) => {
                            if !self.take(other) && !overflowed {
                                overflowed = true;
                                overflow.notify_one();
                            }
                        }
                    }
                }
                () = &mut ending => {
                    let _ = write.close().await;
                    return status.map_or(End::NotConfirmed, End::Exited);
                }
                () = sleep_until(silent_at.unwrap_or_else(Instant::now)), if silent_at.is_some() => {
                    let _ = write.close().await;
                    return self.closed(status);
                }
            }
        }
    }

    /// TERM, then KILL. Returns only when the host had every chance to report the end and did not.
    ///
    /// Its standard input is not closed first: a shell would take a half-sent line for a whole one and run it.
    async fn end_process(&self, write: &ChannelWriteHalf<Msg>, grace: Duration) {
        let start = Instant::now();
        // Failures to send mean that the connection is dead, which the reading side learns of too.
        let _ = write.signal(Sig::TERM).await;
        sleep(SIGNAL_WORKS.min(grace)).await;
        if let Ok(group) = timeout_at(start + grace, self.shared.group()).await {
            self.connection.signal_group(group, "TERM");
        }
        sleep_until(start + grace).await;
        let _ = write.signal(Sig::KILL).await;
        let group = self.shared.state().group;
        if let Some(group) = group {
            self.connection.signal_group(group, "KILL");
        }
        sleep(AFTER_KILL).await;
    }

    /// The channel is closed: the process is gone, whether or not its status came.
    fn closed(&self, status: Option<ExitStatus>) -> End {
        status.map_or(End::Killed, End::Exited)
    }

    /// Keeps output; `false` when there is more of it than allowed.
    fn take(&self, message: ChannelMsg) -> bool {
        let mut state = self.shared.state();
        let mut fits = true;
        match message {
            ChannelMsg::Success => {
                drop(state);
                self.shared.enter(Phase::Running);
                return true;
            }
            ChannelMsg::Data { data } => match self.keep {
                Keep::Tail(limit) => state.stdout.keep_tail(&data, limit),
                Keep::All(limit) if state.stdout.bytes.len() + data.len() > limit => fits = false,
                Keep::All(_) => state.stdout.bytes.extend(&data[..]),
            },
            ChannelMsg::ExtendedData { data, ext: 1 } => {
                state.stderr.keep_tail(&data, STDERR_TAIL_BYTES);
                if state.group.is_none() && state.stderr.dropped == 0 {
                    state.group = take_announcement(&mut state.stderr.bytes);
                    if state.group.is_some() {
                        self.shared.group_known.notify_one();
                    }
                }
            }
            ChannelMsg::Eof => state.stdout_at_end = true,
            _ => return true,
        }
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
        fits
    }
}
