//! A long-lived remote command to talk to, such as a warm shell.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::timeout;

use super::ending::{End, ExitStatus, end_error};
use super::error::SshError;
use super::remote::{Remote, Writer};

/// Reads its standard output and writes its standard input; the tail of its standard error is kept aside.
///
/// Its output is taken off the connection at once, read or not. Dropping it ends the remote process: TERM, then KILL.
/// When the connection dies, reading fails with an [`SshError`] inside the `io::Error`; the end of the output without an
/// error means that the process closed it.
pub struct Stream {
    host: String,
    remote: Remote,
    writer: Writer,
}

impl Stream {
    pub(super) fn new(host: String, remote: Remote, writer: Writer) -> Self {
        Stream { host, remote, writer }
    }

    /// How it ended, when it has.
    pub fn status(&self) -> Option<Result<ExitStatus, SshError>> {
        self.remote.shared.end().map(|end| self.outcome(end))
    }

    /// Waits until it has ended by itself.
    pub async fn ended(&self) -> Result<ExitStatus, SshError> {
        let end = self.remote.ended().await;
        self.outcome(end)
    }

    /// The last 64 KiB of its standard error.
    pub fn stderr(&self) -> Vec<u8> {
        self.remote.shared.state().stderr.bytes.iter().copied().collect()
    }

    /// Sends TERM, after `grace` KILL, and waits for the host to say that the process is gone.
    ///
    /// `Ok` means that the process which was started is gone for certain, with its status if the host told one; what it
    /// left behind as another user or in another session may go on. Any error means that it, too, may still run.
    pub async fn kill(mut self, grace: Duration) -> Result<Option<ExitStatus>, SshError> {
        self.remote.kill(grace);
        match timeout(Remote::kill_takes(grace), self.remote.ended()).await {
            Ok(End::Exited(status)) => Ok(Some(status)),
            Ok(End::Killed | End::Overflow) => Ok(None),
            Ok(end) => Err(end_error(&self.host, end)),
            Err(_) => Err(end_error(&self.host, End::NotConfirmed)),
        }
    }

    fn outcome(&self, end: End) -> Result<ExitStatus, SshError> {
        match end {
            End::Exited(status) => Ok(status),
            end => Err(end_error(&self.host, end)),
        }
    }
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream")
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut state = self.remote.shared.state();
        if !state.stdout.bytes.is_empty() {
            let (front, _) = state.stdout.bytes.as_slices();
            let n = front.len().min(buf.remaining());
            buf.put_slice(&front[..n]);
            state.stdout.bytes.drain(..n);
            return Poll::Ready(Ok(()));
        }
        // The waker is left before looking at the end, so an end in between still wakes.
        state.reader = Some(cx.waker().clone());
        let at_end = state.stdout_at_end;
        drop(state);
        match self.remote.shared.end() {
            Some(End::Exited(_) | End::Killed) => Poll::Ready(Ok(())),
            Some(end) => Poll::Ready(Err(broken(end_error(&self.host, end)))),
            None if at_end => Poll::Ready(Ok(())),
            None => Poll::Pending,
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.remote.shared.state().writer = Some(cx.waker().clone());
        if let Some(end) = self.remote.shared.end() {
            return Poll::Ready(Err(broken(end_error(&self.host, end))));
        }
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.writer.as_mut().poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer.as_mut().poll_shutdown(cx)
    }
}

fn broken(error: SshError) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, error)
}
