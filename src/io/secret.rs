//! Turns the name of a secret's source into the secret: environment, file, or command on this box.
//!
//! No error here quotes anything that came out of the source, not even what a command wrote to stderr.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use secrecy::SecretString;
use secrecy::zeroize::{Zeroize as _, Zeroizing};
use tokio::io::AsyncReadExt as _;

use crate::config::inventory::SecretSource;

/// Bytes a secret may have at most, with everything a command prints after it.
const MOST_BYTES: usize = 64 * 1024;

/// Why a secret could not be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The environment variable is absent or not text.
    #[error("the environment variable `{0}` is not set, or is not text; set it for this process")]
    Env(String),
    /// The file cannot be read.
    #[error("cannot read the secret in `{path}`: {because}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        because: std::io::Error,
    },
    /// Everyone on the box may read the file.
    #[error(
        "`{path}` is readable by everyone (mode {mode:04o}), so what it holds is no secret; `chmod 600` it"
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is a directory, a pipe or a device.
    #[error("`{0}` is not a regular file, so reading it may never end; name a file, or use `command`")]
    NotAFile(PathBuf),
    /// The command could not be started or read.
    #[error("cannot run `{command}`: {because}")]
    Run {
        /// The command.
        command: String,
        /// What the system said.
        because: std::io::Error,
    },
    /// The command did not succeed.
    #[error("`{command}` ended with {status}; run it by hand to see what it says")]
    Failed {
        /// The command.
        command: String,
        /// How it ended.
        status: ExitStatus,
    },
    /// The command, or the file, took too long.
    #[error("{what} gave no secret within {} ms; it must not wait for a person", within.as_millis())]
    TooSlow {
        /// The source in words.
        what: String,
        /// The time it had.
        within: Duration,
    },
    /// The source holds nothing, too much, or bytes that are no text.
    #[error("{what} holds no usable secret: {because}")]
    Unusable {
        /// The source in words.
        what: String,
        /// What is wrong with it.
        because: &'static str,
    },
}

/// Fetches a secret within the given time.
///
/// # Errors
/// Says which source failed and how, never what it holds.
pub async fn resolve(source: &SecretSource, within: Duration) -> Result<SecretString, SecretError> {
    let what = match source {
        SecretSource::Literal(secret) => return Ok(secret.clone()),
        SecretSource::Env(name) => {
            let value = std::env::var(name).map_err(|_| SecretError::Env(name.clone()))?;
            return finish(
                format!("the environment variable `{name}`"),
                &Zeroizing::new(value.into_bytes()),
                false,
            );
        }
        SecretSource::File(path) => format!("`{}`", path.display()),
        SecretSource::Command(command) => format!("`{command}`"),
    };
    let read = async {
        match source {
            SecretSource::File(path) => read_file(path).await,
            SecretSource::Command(command) => run(command).await,
            SecretSource::Literal(_) | SecretSource::Env(_) => Ok(Zeroizing::default()),
        }
    };
    let bytes = tokio::time::timeout(within, read)
        .await
        .map_err(|_| SecretError::TooSlow {
            what: what.clone(),
            within,
        })??;
    finish(what, &bytes, matches!(source, SecretSource::Command(_)))
}

async fn read_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    let failed = |because| SecretError::File {
        path: path.to_owned(),
        because,
    };
    // Asked before opening: opening a pipe waits for its writer.
    let before = tokio::fs::metadata(path).await.map_err(failed)?;
    if !before.is_file() {
        return Err(SecretError::NotAFile(path.to_owned()));
    }
    let file = tokio::fs::File::open(path).await.map_err(failed)?;
    let mode = file.metadata().await.map_err(failed)?.permissions().mode() & 0o7777;
    if mode & 0o004 != 0 {
        return Err(SecretError::Exposed {
            path: path.to_owned(),
            mode,
        });
    }
    read_bounded(file).await.map_err(failed)
}

async fn run(command: &str) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    let failed = |because| SecretError::Run {
        command: command.to_owned(),
        because,
    };
    let mut child = tokio::process::Command::new("/bin/sh")
        .arg("-c")
        .arg(command)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        // A group of its own, so that giving up ends what the command started as well.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let group = GroupEnd(child.id().and_then(|id| i32::try_from(id).ok()));
    let Some(stdout) = child.stdout.take() else {
        return Err(failed(std::io::Error::other("its output could not be taken")));
    };
    let bytes = read_bounded(stdout).await.map_err(failed)?;
    let status = child.wait().await.map_err(failed)?;
    // The group's number may be anyone's from here on.
    group.disarm();
    if status.success() {
        Ok(bytes)
    } else {
        Err(SecretError::Failed {
            command: command.to_owned(),
            status,
        })
    }
}

/// Ends a process group when dropped, which is what a timeout does.
struct GroupEnd(Option<i32>);

impl GroupEnd {
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for GroupEnd {
    fn drop(&mut self) {
        if let Some(group) = self.0.and_then(rustix::process::Pid::from_raw) {
            // It may have ended just now, and nothing can be done about any other failure.
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
    }
}

/// Reads to the end, or one byte beyond the limit.
async fn read_bounded(reader: impl tokio::io::AsyncRead + Unpin) -> std::io::Result<Zeroizing<Vec<u8>>> {
    // Room for everything from the start: a growing buffer would leave copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MOST_BYTES + 1));
    reader.take(MOST_BYTES as u64 + 1).read_to_end(&mut bytes).await?;
    Ok(bytes)
}

fn finish(what: String, bytes: &[u8], first_line: bool) -> Result<SecretString, SecretError> {
    let unusable = |because| {
        Err(SecretError::Unusable {
            what: what.clone(),
            because,
        })
    };
    if bytes.len() > MOST_BYTES {
        return unusable("it is longer than 64 KiB");
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return unusable("it is not UTF-8 text");
    };
    let text = if first_line {
        text.split('\n').next().unwrap_or_default()
    } else {
        text
    };
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() {
        return unusable("it is empty");
    }
    if text.contains(['\n', '\r', '\0']) {
        return unusable("it has more than one line");
    }
    let mut text = text.to_owned();
    let secret = SecretString::from(text.as_str());
    text.zeroize();
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use secrecy::ExposeSecret as _;

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    async fn from_command(command: &str, within: Duration) -> Result<String, SecretError> {
        let source = SecretSource::Command(command.to_owned());
        resolve(&source, within)
            .await
            .map(|secret| secret.expose_secret().to_owned())
    }

    fn file(mode: u32, content: &[u8]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        file
    }

    #[tokio::test]
    async fn a_file_loses_its_last_line_end_only() {
        for content in ["s3cret \n", "s3cret \r\n", "s3cret "] {
            let file = file(0o640, content.as_bytes());
            let secret = resolve(&SecretSource::File(file.path().to_owned()), SOON)
                .await
                .unwrap();
            assert_eq!(secret.expose_secret(), "s3cret ");
        }
    }

    #[tokio::test]
    async fn a_file_everyone_may_read_is_refused() {
        let file = file(0o604, b"hunter2\n");
        let error = resolve(&SecretSource::File(file.path().to_owned()), SOON)
            .await
            .unwrap_err();
        assert!(
            matches!(error, SecretError::Exposed { mode: 0o604, .. }),
            "{error}"
        );
    }

    #[tokio::test]
    async fn what_is_no_secret_is_refused() {
        for content in [
            &b"\n"[..],
            b"",
            b"two\nlines\n",
            b"\xff\xfe",
            &[b'x'; MOST_BYTES + 1],
        ] {
            let file = file(0o600, content);
            let error = resolve(&SecretSource::File(file.path().to_owned()), SOON)
                .await
                .unwrap_err();
            assert!(matches!(error, SecretError::Unusable { .. }), "{error}");
        }
        let error = resolve(&SecretSource::File("/nonexistent/secret".into()), SOON)
            .await
            .unwrap_err();
        assert!(matches!(error, SecretError::File { .. }), "{error}");
        let error = resolve(&SecretSource::File("/tmp".into()), SOON)
            .await
            .unwrap_err();
        assert!(matches!(error, SecretError::NotAFile(_)), "{error}");
        let error = resolve(&SecretSource::Env("MMM_NO_SUCH_VARIABLE".into()), SOON)
            .await
            .unwrap_err();
        assert!(matches!(error, SecretError::Env(_)), "{error}");
    }

    #[tokio::test]
    async fn a_command_gives_its_first_line() {
        assert_eq!(from_command("echo one; echo two", SOON).await.unwrap(), "one");
        // It cannot wait for a person: nothing is on its stdin.
        assert_eq!(from_command("cat; echo done", SOON).await.unwrap(), "done");
        let error = from_command("echo hunter2; echo hunter2 >&2; exit 3", SOON)
            .await
            .unwrap_err();
        assert!(matches!(&error, SecretError::Failed { status, .. } if status.code() == Some(3)));
    }

    #[tokio::test]
    async fn a_command_that_hangs_is_ended_with_its_children() {
        let directory = tempfile::tempdir().unwrap();
        let pid_file = directory.path().join("pid");
        let command = format!("sleep 60 & echo $! > {}; wait", pid_file.display());
        let started = Instant::now();
        let error = from_command(&command, Duration::from_millis(500))
            .await
            .unwrap_err();
        assert!(matches!(error, SecretError::TooSlow { .. }), "{error}");
        assert!(started.elapsed() < Duration::from_secs(5));

        let pid = std::fs::read_to_string(&pid_file).unwrap();
        let stat = PathBuf::from(format!("/proc/{}/stat", pid.trim()));
        // Gone, or dead and not yet reaped by whoever inherited it.
        let gone = || std::fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z "));
        while !gone() {
            assert!(started.elapsed() < SOON, "the child outlived its command");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    #[test]
    fn debug_does_not_tell() {
        let source = SecretSource::Literal(SecretString::from("hunter2"));
        assert!(!format!("{source:?}").contains("hunter2"));
    }
}
