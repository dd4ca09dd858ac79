//! A proxy command: a local program whose standard input and output are the connection.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncReadExt, Join, join};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::target::Target;

/// How much of its standard error is kept, in bytes.
const STDERR_BYTES: usize = 1024;

/// The running program; it ends with this value.
pub(super) struct Proxy {
    _child: Child,
    stderr: JoinHandle<String>,
}

impl Proxy {
    /// Starts `command` with `/bin/sh`.
    pub(super) fn start(
        command: &str,
        target: &Target,
    ) -> io::Result<(Join<ChildStdout, ChildStdin>, Proxy)> {
        let mut child = Command::new("/bin/sh")
            .args(["-c", &format!("exec {}", expand(command, target))])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let (Some(stdin), Some(stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(io::Error::other("it has no pipes"));
        };
        let stderr = tokio::spawn(drain(stderr));
        Ok((
            join(stdout, stdin),
            Proxy {
                _child: child,
                stderr,
            },
        ))
    }

    /// What it said on standard error, if it has ended.
    pub(super) async fn last_words(&mut self) -> Option<String> {
        let said = timeout(Duration::from_millis(200), &mut self.stderr)
            .await
            .ok()?
            .ok()?;
        Some(match said.trim() {
            "" => "the proxy command ended and said nothing".into(),
            said => format!("the proxy command ended: {said}"),
        })
    }
}

async fn drain(mut stderr: ChildStderr) -> String {
    let mut kept = Vec::new();
    let mut buffer = [0; 512];
    // A read error ends it as the end does: there is nothing more to tell.
    while let Ok(n @ 1..) = stderr.read(&mut buffer).await {
        kept.extend_from_slice(&buffer[..n]);
        kept.drain(..kept.len().saturating_sub(STDERR_BYTES));
    }
    String::from_utf8_lossy(&kept).into_owned()
}

/// Fills in OpenSSH's tokens of a proxy command.
fn expand(command: &str, target: &Target) -> String {
    let mut expanded = String::with_capacity(command.len());
    let mut chars = command.chars();
    while let Some(c) = chars.next() {
        match (c, c == '%') {
            (_, true) => match chars.next() {
                Some('h') => expanded.push_str(&target.address),
                Some('p') => expanded.push_str(&target.port.to_string()),
                Some('r') => expanded.push_str(&target.user),
                Some('n') => expanded.push_str(&target.name),
                Some('%') => expanded.push('%'),
                Some(other) => expanded.extend(['%', other]),
                None => expanded.push('%'),
            },
            (c, false) => expanded.push(c),
        }
    }
    expanded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxy_tokens() {
        let mut target = Target::new("db1", "10.0.0.1", "root");
        target.port = 2222;
        assert_eq!(
            expand("nc -X %% %h:%p %r %n %z %", &target),
            "nc -X % 10.0.0.1:2222 root db1 %z %"
        );
    }
}
