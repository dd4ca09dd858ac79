//! One operation or repair at a time: a lock file on this box, and GET_LOCK on every server that answers, for other
//! boxes. The kernel gives the first back when the process dies, the servers the second when its sessions end.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::time::{Duration, Instant};

use crate::core::guard::Guard;
use crate::core::trouble::Trouble;
use crate::io::standing::StateDir;

/// The lock of one cluster on this box; given back when dropped.
#[derive(Debug)]
pub struct LocalLock {
    file: File,
}

impl LocalLock {
    /// Takes the lock, waiting up to `patience`. `purpose` is what others are told while it is held.
    ///
    /// # Errors
    /// Refused: another process holds it (and for what), or the lock file cannot be opened.
    pub async fn take(dir: &StateDir, purpose: &str, patience: Duration) -> Result<LocalLock, Trouble> {
        let path = dir.path().join("lock");
        let open = || {
            OpenOptions::new()
                .create(true)
                .truncate(false)
                .read(true)
                .write(true)
                .open(&path)
        };
        let mut file = open().map_err(|error| {
            Trouble::refused(
                Guard::G05,
                format!("the lock file `{}` cannot be opened", path.display()),
                error,
            )
            .hint("make the state directory writable for the user that runs `mmm`")
        })?;
        let deadline = Instant::now() + patience;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(TryLockError::WouldBlock) => {
                    let mut holder = String::new();
                    // What the holder wrote is only for people; without it the refusal still stands.
                    let _unreadable = file.read_to_string(&mut holder);
                    return Err(Trouble::refused(
                        Guard::G04,
                        "another operation holds the cluster's lock",
                        if holder.is_empty() {
                            "another process is at work"
                        } else {
                            holder.trim()
                        },
                    ));
                }
                Err(TryLockError::Error(error)) => {
                    return Err(Trouble::refused(
                        Guard::G05,
                        format!("the lock file `{}` cannot be locked", path.display()),
                        error,
                    ));
                }
            }
        }
        let note = format!("{purpose}, by process {}\n", std::process::id());
        let written = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(note.as_bytes()));
        if let Err(error) = written {
            tracing::warn!("the lock is held, but its purpose could not be noted: {error}");
        }
        Ok(LocalLock { file })
    }

    /// Whether somebody on this box holds it now. What cannot be asked is held by nobody.
    pub fn is_held(dir: &StateDir) -> bool {
        let file = OpenOptions::new().read(true).open(dir.path().join("lock"));
        file.is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }
}

impl Drop for LocalLock {
    fn drop(&mut self) {
        // Closing the file unlocks it as well; unlocking first only makes it sooner.
        let _closing_unlocks = self.file.unlock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_second_taker_is_told_who_holds_it() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::of(dir.path(), "test");
        state.prepare().unwrap();
        let held = LocalLock::take(&state, "switchover to db2", Duration::ZERO)
            .await
            .unwrap();
        let refused = LocalLock::take(&state, "repair", Duration::from_millis(30))
            .await
            .unwrap_err();
        assert_eq!(refused.guard, Some(Guard::G04));
        assert!(refused.because.contains("switchover to db2"), "{refused}");
        assert!(LocalLock::is_held(&state));
        drop(held);
        assert!(!LocalLock::is_held(&state));
        LocalLock::take(&state, "repair", Duration::ZERO).await.unwrap();
    }
}
