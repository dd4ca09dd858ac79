//! The file under a journal: whole lines alone, in order, each synced before it counts. A part of a line, as a full disk or
//! a crash leaves it, is cut off before anything is written behind it; what could not be written goes first the next time.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// Whoever only asks whether somebody writes holds the file for no longer than this.
const ASKING_TAKES: Duration = Duration::from_millis(200);

/// A file of whole lines that grows at its end.
#[derive(Debug)]
pub(super) struct Lines {
    file: File,
    /// How many of its bytes are whole lines.
    whole: u64,
    /// Behind those stands what must be cut off first.
    is_torn: bool,
    /// Lines that are not on disk yet, oldest first.
    unwritten: Vec<u8>,
}

impl Lines {
    /// A new file without a line.
    ///
    /// # Errors
    /// When there is one already, or it cannot be made.
    pub(super) fn create(path: &Path) -> std::io::Result<Lines> {
        let file = OpenOptions::new()
            .create_new(true)
            .append(true)
            // What a person gave a duty stands in it.
            .mode(0o600)
            .open(path)?;
        Ok(Lines {
            file,
            whole: 0,
            is_torn: false,
            unwritten: Vec::new(),
        })
    }

    /// A file that is there, cut to its last line that `is_whole`. Only for whoever may write to it alone.
    ///
    /// # Errors
    /// When it cannot be read, or a torn tail not be cut off; when another program keeps it for itself.
    pub(super) fn reopen(path: &Path, is_whole: impl Fn(&[u8]) -> bool) -> std::io::Result<Lines> {
        let mut file = OpenOptions::new().read(true).append(true).open(path)?;
        if Lines::are_kept(path).is_ok_and(|kept| kept) {
            return Err(at_work());
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let mut read = 0;
        let mut whole = 0;
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            read += line.len();
            if is_whole(line.trim_ascii_end()) {
                whole = read;
            }
        }
        let mut lines = Lines {
            file,
            whole: bytes[..whole].len() as u64,
            is_torn: whole < bytes.len(),
            unwritten: Vec::new(),
        };
        lines.cut()?;
        if whole > 0 && bytes[whole - 1] != b'\n' {
            lines.append(b"\n")?;
        }
        Ok(lines)
    }

    /// Keeps the file for this program for as long as it is open. The kernel gives it back when the program dies.
    ///
    /// # Errors
    /// When it cannot be locked, or another program has it.
    pub(super) fn keep(&self) -> std::io::Result<()> {
        let deadline = Instant::now() + ASKING_TAKES;
        loop {
            match self.file.try_lock() {
                Ok(()) => return Ok(()),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(2));
                }
                Err(TryLockError::WouldBlock) => return Err(at_work()),
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
    }

    /// Whether a program keeps that file for itself.
    ///
    /// # Errors
    /// When that cannot be asked.
    pub(super) fn are_kept(path: &Path) -> std::io::Result<bool> {
        let file = OpenOptions::new().read(true).open(path)?;
        match file.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Writes one line, behind those that could not be written before, and syncs it.
    ///
    /// # Errors
    /// When it cannot be written; it is kept until it can.
    pub(super) fn append(&mut self, line: &[u8]) -> std::io::Result<()> {
        self.unwritten.extend_from_slice(line);
        self.cut()?;
        self.is_torn = true;
        let written = self.file.write_all(&self.unwritten);
        match written.and_then(|()| self.file.sync_data()) {
            Ok(()) => {
                self.is_torn = false;
                self.whole += self.unwritten.len() as u64;
                self.unwritten.clear();
                Ok(())
            }
            Err(error) => {
                // Where that fails too, whoever writes or reopens it next does it.
                if let Err(uncut) = self.cut() {
                    tracing::warn!("a torn line of a journal could not be cut off: {uncut}");
                }
                Err(error)
            }
        }
    }

    /// Takes away what stands behind the last whole line.
    fn cut(&mut self) -> std::io::Result<()> {
        if self.is_torn {
            self.file.set_len(self.whole)?;
            self.file.sync_all()?;
            self.is_torn = false;
        }
        Ok(())
    }
}

fn at_work() -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::WouldBlock, "another program is at work on it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_behind_the_last_whole_line_is_cut_off_before_anything_is_added() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lines");
        let is_whole = |line: &[u8]| line.ends_with(b".");
        for (left, then) in [
            (&b"one.\ntw"[..], "one.\nthree.\n"),
            (b"one.\n\0\0\0\0", "one.\nthree.\n"),
            (b"one.\n\0\0\n\0", "one.\nthree.\n"),
            (b"one.", "one.\nthree.\n"),
            (b"one.\ntw\ntwo.\n", "one.\ntw\ntwo.\nthree.\n"),
            (b"", "three.\n"),
        ] {
            std::fs::write(&path, left).unwrap();
            assert!(!Lines::are_kept(&path).unwrap());
            let mut lines = Lines::reopen(&path, is_whole).unwrap();
            lines.append(b"three.\n").unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), then, "{left:?}");
            assert!(!Lines::are_kept(&path).unwrap());
            lines.keep().unwrap();
            assert!(Lines::are_kept(&path).unwrap());
            let second = Lines::reopen(&path, is_whole).unwrap_err();
            assert_eq!(second.kind(), std::io::ErrorKind::WouldBlock);
        }
    }
}
