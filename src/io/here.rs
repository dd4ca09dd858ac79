//! A warm shell on the box itself, for duties that are performed here, such as a fence.

use std::pin::Pin;
use std::process::Stdio;
use std::task::{Context, Poll};
use std::time::Duration;

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

/// A local process as a stream; it is killed when the stream is dropped.
#[derive(Debug)]
pub struct LocalStream {
    stdin: ChildStdin,
    stdout: ChildStdout,
    _child: Child,
}

/// Starts a shell on this box.
///
/// # Errors
/// Refused: it cannot be started or does not answer.
pub async fn shell(login: &SqlLogin) -> Result<Shell<LocalStream>, Trouble> {
    let what = "no shell on this box";
    let failed = |error: &dyn std::fmt::Display| Trouble::refused(Guard::G05, what, error);
    let tag = random_word()?;
    let mut child = Command::new("/bin/sh")
        .arg("-c")
        .arg(wire::remote_command(&tag))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(&error))?;
    let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(failed(&"it has no standard input or output"));
    };
    let stream = LocalStream {
        stdin,
        stdout,
        _child: child,
    };
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
