//! A warm shell on the box itself, for duties that are performed here, such as a fence.

use std::pin::Pin;
use std::process::Stdio;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::Instant;

use crate::core::guard::Guard;
use crate::core::trouble::Trouble;
use crate::core::wire::{self, SqlLogin};
use crate::io::fleet::random_word;
use crate::io::shell::Shell;

/// A shell here greets within this time.
const GREET_WITHIN: Duration = Duration::from_secs(2);

/// A local process as a stream; it is killed, with all it started, when the stream is dropped.
#[derive(Debug)]
pub struct LocalStream {
    stdin: ChildStdin,
    stdout: ChildStdout,
    child: Child,
}

impl Drop for LocalStream {
    /// Whatever it was doing ends with it.
    fn drop(&mut self) {
        let leader = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let Some(leader) = leader else { return };
        if let Err(error) = kill_process_group(leader, Signal::KILL) {
            tracing::debug!("the shell on this box had ended: {error}");
        }
    }
}

/// Starts a shell on this box, without those variables of our own environment.
///
/// # Errors
/// Refused: it cannot be started or does not answer.
pub async fn shell(login: &SqlLogin, hidden: &[String]) -> Result<Shell<LocalStream>, Trouble> {
    let what = "no shell on this box";
    let failed = |error: &dyn std::fmt::Display| Trouble::refused(Guard::G05, what, error);
    let tag = random_word()?;
    let mut command = Command::new("/bin/sh");
    for name in hidden {
        command.env_remove(name);
    }
    let mut child = command
        .arg("-c")
        .arg(wire::remote_command(&tag))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(&error))?;
    let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(failed(&"it has no standard input or output"));
    };
    let stream = LocalStream { stdin, stdout, child };
    Shell::open(
        stream,
        &random_word()?,
        &tag,
        login,
        Instant::now() + GREET_WITHIN,
    )
    .await
    .map_err(|error| failed(&error))
}

impl AsyncRead for LocalStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stdout).poll_read(cx, buf)
    }
}

impl AsyncWrite for LocalStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stdin).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stdin).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stdin).poll_shutdown(cx)
    }
}
