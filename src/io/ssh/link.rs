//! One authenticated connection to a host, kept alive and shared by everything that talks to that host.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use russh::client::Handle;
use russh::{ChannelMsg, Disconnect};
use tokio::io::AsyncWriteExt;
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout, timeout_at};

use super::connect::{self, Client};
use super::ending::{End, ExitStatus, Phase, end_error};
use super::error::{SshError, SshErrorKind};
use super::proxy::Proxy;
use super::remote::{Keep, Remote};
use super::stream::Stream;
use super::target::{Target, Timing};

/// How much of each output [`Link::exec`] keeps, in bytes: the end of it.
pub const EXEC_OUTPUT_BYTES: usize = 1024 * 1024;
/// How much output of a [`Stream`] may wait unread, in bytes.
pub const STREAM_UNREAD_BYTES: usize = 16 * 1024 * 1024;

/// A connection. Clones share it; it ends when the last one, and the last command on it, is gone.
#[derive(Clone)]
pub struct Link {
    connection: Arc<Connection>,
}

/// What all clones and all commands on a connection share.
pub(super) struct Connection {
    pub host: String,
    pub handle: Handle<Client>,
    pub channels: Arc<Semaphore>,
    pub max_channels: usize,
    pub timing: Timing,
    /// Why the connection ended, once it has.
    pub closed: watch::Receiver<Option<String>>,
    /// Why it must not be used for anything new although it is open.
    pub condemned: OnceLock<String>,
    /// What carries it: a jump host's connection, or a proxy command.
    pub carrier: Mutex<Option<Carrier>>,
}

#[expect(dead_code, reason = "held only so that it lives as long as what it carries")]
pub(super) enum Carrier {
    Jump(Link),
    Proxy(Proxy),
}

impl Connection {
    pub(super) fn why_closed(&self) -> Option<String> {
        let ended = self.closed.borrow().clone();
        ended.or_else(|| {
            self.handle
                .is_closed()
                .then(|| "the connection ended".to_string())
        })
    }

    pub(super) fn why_closed_or(&self, error: russh::Error) -> String {
        self.why_closed().unwrap_or_else(|| error.to_string())
    }

    /// Sends a signal to a process group on the host with `kill`, beside the commands that `channels` counts.
    pub(super) fn signal_group(self: &Arc<Self>, group: u32, signal: &'static str) {
        let connection = self.clone();
        tokio::spawn(async move {
            let kill = async {
                let mut channel = loop {
                    match connection.handle.channel_open_session().await {
                        Ok(channel) => break channel,
                        Err(russh::Error::ChannelOpenFailure(_)) => sleep(Duration::from_millis(50)).await,
                        Err(_) => return,
                    }
                };
                if channel
                    .exec(true, format!("exec sh -c 'kill -s {signal} -- -{group}'"))
                    .await
                    .is_ok()
                {
                    while let Some(message) = channel.wait().await {
                        if let ChannelMsg::ExitStatus { exit_status } = message {
                            tracing::debug!(group, signal, exit_status, "signalled a remote command");
                        }
                    }
                }
            };
            // Whether it helped shows on the command's own channel.
            if timeout(Duration::from_secs(5), kill).await.is_err() {
                connection.condemn("it had no answer for `kill`");
            }
        });
    }

    /// No new command goes over this connection; those under way may end.
    pub(super) fn condemn(&self, because: &str) {
        tracing::debug!(host = %self.host, because, "condemned an SSH connection");
        let _ = self.condemned.set(because.to_string());
    }
}

/// What a command left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecOutput {
    /// How it ended.
    pub status: ExitStatus,
    /// The last [`EXEC_OUTPUT_BYTES`] of its standard output.
    pub stdout: Vec<u8>,
    /// The last 64 KiB of its standard error.
    pub stderr: Vec<u8>,
    /// How much of standard output, before what is kept, was let go, in bytes.
    pub stdout_dropped: u64,
    /// The same for standard error.
    pub stderr_dropped: u64,
}

impl Link {
    /// Connects, checks the host key, and authenticates, each hop within [`Timing::connect`].
    pub async fn open(target: &Target) -> Result<Link, SshError> {
        let mut via = None;
        if target.proxy_command.is_none() {
            for hop in &target.jump {
                via = Some(Link::open_bastion(hop, via).await?);
            }
        }
        Link::open_via(target, via).await
    }

    /// One hop, through `via` if there is one.
    pub(super) async fn open_via(target: &Target, via: Option<Link>) -> Result<Link, SshError> {
        let connection = timeout(target.timing.connect, connect::connect(target, via))
            .await
            .map_err(|_| {
                SshError::new(
                    SshErrorKind::ConnectTimeout,
                    format!("cannot connect to `{}` over SSH", target.name),
                    format!(
                        "no usable connection to {}:{} within {:?}",
                        target.address, target.port, target.timing.connect
                    ),
                )
                .hint("is the host up, is a firewall dropping packets, is sshd overloaded?")
            })??;
        tracing::debug!(host = %target.name, "opened an SSH connection");
        Ok(Link {
            connection: Arc::new(connection),
        })
    }

    /// A hop to go through. sshd turns Nagle's algorithm off only once a session runs: without one, every round trip
    /// through the hop would wait for delayed acknowledgements.
    pub(super) async fn open_bastion(hop: &Target, via: Option<Link>) -> Result<Link, SshError> {
        let link = Link::open_via(hop, via).await?;
        if let Err(error) = link.exec("true", b"", Duration::from_secs(1)).await {
            tracing::debug!(%error, "a jump host that runs nothing is slower but does");
        }
        Ok(link)
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The host's name, as in [`Target::name`].
    pub fn host(&self) -> &str {
        &self.connection.host
    }

    /// Whether new commands can go over it. A dead peer is noticed within [`Timing::silence`].
    pub fn is_alive(&self) -> bool {
        self.why_closed().is_none()
    }

    /// Why it cannot be used any more; `None` while it can.
    pub fn why_closed(&self) -> Option<String> {
        self.connection
            .why_closed()
            .or_else(|| self.connection.condemned.get().cloned())
    }

    /// Waits until the connection has ended, and says why.
    pub async fn closed(&self) -> String {
        let mut closed = self.connection.closed.clone();
        let ended = closed.wait_for(Option::is_some).await;
        ended
            .ok()
            .and_then(|reason| reason.clone())
            .unwrap_or_else(|| "the connection ended".into())
    }

    /// Runs `command` in `sh` with `stdin`, and waits for its end.
    ///
    /// After `deadline`, or when this future is dropped, the remote process group is ended (TERM, then KILL) and its place
    /// is free once the host says that it is gone. Processes of another user, such as under `sudo`, are out of reach:
    /// they need a limit of their own.
    pub async fn exec(
        &self,
        command: &str,
        stdin: &[u8],
        deadline: Duration,
    ) -> Result<ExecOutput, SshError> {
        let until = tokio::time::Instant::now() + deadline;
        let mut remote = Remote::start(self.connection.clone(), command, Keep::Tail(EXEC_OUTPUT_BYTES));
        let shared = remote.shared.clone();
        let work = async {
            if !stdin.is_empty() {
                feed(&mut remote, stdin).await;
            } else if let Ok(mut writer) = remote.writer().await {
                let _ = writer.shutdown().await;
            }
            remote.ended().await
        };
        let end = match timeout_at(until, work).await {
            Ok(end) => end,
            Err(_) => return Err(self.too_late(shared.phase(), deadline)),
        };
        let End::Exited(status) = end else {
            return Err(end_error(self.host(), end));
        };
        let mut state = shared.state();
        let (stdout, stderr) = (
            std::mem::take(&mut state.stdout),
            std::mem::take(&mut state.stderr),
        );
        drop(state);
        Ok(ExecOutput {
            status,
            stdout: stdout.bytes.into(),
            stderr: stderr.bytes.into(),
            stdout_dropped: stdout.dropped,
            stderr_dropped: stderr.dropped,
        })
    }

    /// Starts `command` and returns once the host says that it runs, within [`Timing::connect`].
    pub async fn stream(&self, command: &str) -> Result<Stream, SshError> {
        let deadline = self.connection.timing.connect;
        let mut remote = Remote::start(self.connection.clone(), command, Keep::All(STREAM_UNREAD_BYTES));
        let phase = match timeout(deadline, remote.reached(|phase| *phase == Phase::Running)).await {
            Ok(phase) => phase,
            Err(_) => return Err(self.too_late(remote.shared.phase(), deadline)),
        };
        match (phase, remote.writer().await) {
            // A command that has ended already still has output to read.
            (Phase::Running | Phase::Ended(End::Exited(_) | End::Killed), Ok(writer)) => {
                Ok(Stream::new(self.host().to_string(), remote, writer))
            }
            (Phase::Ended(end), _) => Err(end_error(self.host(), end)),
            (_, _) => Err(SshError::lost(self.host(), "the channel's task died")),
        }
    }

    /// Says goodbye and waits a moment for the connection to end. Commands under way are lost.
    pub async fn close(self) {
        let _ = timeout(Duration::from_secs(1), async {
            // An error means that it is closed already.
            let _ = self
                .connection
                .handle
                .disconnect(Disconnect::ByApplication, "", "")
                .await;
            self.closed().await
        })
        .await;
        self.connection.condemn("it was closed");
    }

    fn too_late(&self, phase: Phase, deadline: Duration) -> SshError {
        let host = self.host();
        let not_started =
            |because: String| end_error(host, End::NotStarted(SshErrorKind::ChannelRefused, because));
        match phase {
            Phase::Queued => not_started(format!(
                "all {} channels of the connection were busy for {deadline:?}",
                self.connection.max_channels
            )),
            Phase::Opening => not_started(format!("the host gave no channel within {deadline:?}")),
            Phase::Sent | Phase::Running | Phase::Ended(_) => SshError::new(
                SshErrorKind::Deadline,
                format!("gave up on the command on `{host}`"),
                format!("it had not ended after {deadline:?}"),
            )
            .hint("it is being ended; what it did is unknown: look at the host before repeating it"),
        }
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link")
            .field("host", &self.host())
            .field("closed", &self.why_closed())
            .finish()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Ending the carrier here, and not only by counting, keeps the order: first the connection, then what carries it.
        self.carrier.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// Writes `stdin` and its end, for as long as the command wants it: one that ends without reading all of it is not stuck.
async fn feed(remote: &mut Remote, stdin: &[u8]) {
    let Ok(mut writer) = remote.writer().await else {
        return;
    };
    let write = async {
        if writer.write_all(stdin).await.is_ok() {
            let _ = writer.shutdown().await;
        }
    };
    tokio::select! {
        () = write => {}
        _ = remote.ended() => {}
    }
}
