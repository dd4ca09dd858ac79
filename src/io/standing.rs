//! A cluster's standing on disk: one small JSON file, replaced as a whole and synced, so that a crash leaves the old
//! one or the new one.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::core::guard::Guard;
use crate::core::standing::{STANDING_VERSION, Standing};
use crate::core::trouble::{Kind, Trouble};
use crate::io::clock;

/// How the names of files begin that are not whole yet.
const UNFINISHED: &str = ".unfinished-";

/// The directory of one cluster's state: standing, lock, journals. Clones share what could not be written.
#[derive(Debug, Clone)]
pub struct StateDir(PathBuf, Arc<Mutex<Option<Standing>>>);

impl StateDir {
    /// The directory of `cluster` below the inventory's `state_dir`; nothing is created yet.
    pub fn of(state_dir: &Path, cluster: &str) -> StateDir {
        StateDir(state_dir.join(cluster), Arc::default())
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Creates it and proves that a file can be written and synced in it.
    ///
    /// # Errors
    /// Refused, when it cannot: an operation without a journal could not be settled after a crash.
    pub fn prepare(&self) -> Result<(), Trouble> {
        let attempt = || -> std::io::Result<()> {
            fs::create_dir_all(self.0.join("runs"))?;
            let mut probe = self.unfinished()?;
            probe.write_all(b"can this be written?")?;
            probe.as_file().sync_all()
        };
        attempt().map_err(|error| {
            Trouble::refused(
                Guard::G05,
                format!("the state directory `{}` cannot be written", self.0.display()),
                error,
            )
            .hint("free some space, or make it writable for the user that runs `mmm`; `monitor.state_dir` in the inventory names it")
        })
    }

    /// The newest standing: on disk, or in memory when it could not be written there; a fresh one when there is none
    /// yet. A downtime whose time has come is not in it any more.
    ///
    /// # Errors
    /// When it cannot be read or is of another version.
    pub fn load(&self) -> Result<Standing, Trouble> {
        let on_disk = self.read();
        let newest = match self.unwritten().clone() {
            Some(kept)
                if on_disk
                    .as_ref()
                    .map_or(true, |read| read.generation < kept.generation) =>
            {
                Ok(kept)
            }
            Some(_) | None => on_disk,
        };
        newest.map(|mut standing| {
            standing.expire(clock::now());
            standing
        })
    }

    /// Whether the newest standing is not on disk.
    pub fn is_behind(&self) -> bool {
        self.unwritten().is_some()
    }

    /// Tries again to write what could not be written. Under the lock, like every change.
    ///
    /// # Errors
    /// When it still cannot be written.
    pub fn catch_up(&self) -> Result<(), Trouble> {
        let newest = self.load()?;
        self.save(&newest)
    }

    fn unwritten(&self) -> std::sync::MutexGuard<'_, Option<Standing>> {
        self.1.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn read(&self) -> Result<Standing, Trouble> {
        let path = self.0.join("standing.json");
        let what = || format!("the standing in `{}` cannot be used", path.display());
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Standing::default()),
            Err(error) => return Err(Trouble::new(Kind::Wrong, what(), error)),
        };
        let hint = "it says who the writer is: look at the hosts, then move the file away and name the writer with `mmm failover CLUSTER --to HOST`";
        let standing: Standing = serde_json::from_str(&text)
            .map_err(|error| Trouble::new(Kind::Wrong, what(), error).hint(hint))?;
        if standing.version != STANDING_VERSION {
            let because = format!(
                "it has version {}, this program writes {STANDING_VERSION}",
                standing.version
            );
            return Err(Trouble::new(Kind::Wrong, what(), because).hint(hint));
        }
        Ok(standing)
    }

    /// Replaces one of its files as a whole; returns once that is on disk. A crash leaves the old one or the new one.
    ///
    /// # Errors
    /// When it cannot be written; the old one is then still there.
    pub fn replace(&self, name: &str, text: &[u8]) -> std::io::Result<()> {
        let mut file = self.unfinished()?;
        file.write_all(text)?;
        file.as_file().sync_all()?;
        file.persist(self.0.join(name))?;
        File::open(&self.0)?.sync_all()
    }

    fn unfinished(&self) -> std::io::Result<tempfile::NamedTempFile> {
        tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(&self.0)
    }

    /// Removes what writers left that were killed before their file was whole. Give an age that no write reaches: a
    /// younger one may still be at work.
    ///
    /// # Errors
    /// When the directory cannot be read, or a file not be removed.
    pub fn sweep(&self, older_than: Duration) -> std::io::Result<()> {
        let entries = match fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            let is_unfinished = entry.file_name().to_string_lossy().starts_with(UNFINISHED);
            if !is_unfinished {
                continue;
            }
            match entry.metadata().and_then(|about| about.modified()) {
                // One from the future, by a clock that was set back, is swept some other time.
                Ok(written) if written.elapsed().is_ok_and(|age| age >= older_than) => {
                    fs::remove_file(entry.path())?;
                }
                Ok(_) => {}
                // Its writer has just finished it.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Replaces the standing; returns once it is on disk.
    ///
    /// # Errors
    /// When it cannot be written; the old one is then still there, and this process remembers the new one.
    pub fn save(&self, standing: &Standing) -> Result<(), Trouble> {
        let written = self.write(standing);
        *self.unwritten() = written.is_err().then(|| standing.clone());
        written
    }

    fn write(&self, standing: &Standing) -> Result<(), Trouble> {
        let path = self.0.join("standing.json");
        let attempt = || -> std::io::Result<()> {
            self.replace("standing.json", &serde_json::to_vec_pretty(standing)?)
        };
        attempt().map_err(|error| {
            Trouble::new(
                Kind::Wrong,
                format!("the standing in `{}` cannot be written", path.display()),
                error,
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_saved_is_loaded_and_garbage_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::of(dir.path(), "test");
        state.prepare().unwrap();
        assert_eq!(state.load().unwrap(), Standing::default());
        let standing = Standing {
            writer: Some("db1".into()),
            generation: 3,
            ..Standing::default()
        };
        state.save(&standing).unwrap();
        assert_eq!(state.load().unwrap(), standing);
        fs::write(state.path().join("standing.json"), "{\"version\": 9").unwrap();
        assert!(state.load().unwrap_err().what.contains("standing.json"));
    }

    #[test]
    fn a_place_that_cannot_be_written_refuses_operations() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::of(dir.path(), "test");
        // A file stands where the directory should be.
        fs::write(state.path(), "").unwrap();
        let refused = state.prepare().unwrap_err();
        assert_eq!(refused.guard, Some(Guard::G05), "{refused}");
    }

    #[test]
    fn what_killed_writers_left_is_swept_away_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::of(dir.path(), "test");
        state.sweep(Duration::ZERO).unwrap();
        state.prepare().unwrap();
        state.save(&Standing::default()).unwrap();
        state.unfinished().unwrap().keep().unwrap();
        let names = || {
            let entries = fs::read_dir(state.path()).unwrap();
            let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
            names.sort_unstable();
            names
        };
        state.sweep(Duration::from_secs(60)).unwrap();
        assert_eq!(names().len(), 3, "a writer may still be at work on it");
        state.sweep(Duration::ZERO).unwrap();
        assert_eq!(names(), ["runs", "standing.json"]);
    }

    #[test]
    fn what_cannot_be_written_is_remembered_until_it_can() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::of(dir.path(), "test");
        let standing = Standing {
            writer: Some("db2".into()),
            generation: 4,
            ..Standing::default()
        };
        state.save(&standing).unwrap_err();
        assert!(state.clone().is_behind());
        assert_eq!(state.clone().load().unwrap(), standing);
        state.prepare().unwrap();
        state.catch_up().unwrap();
        assert!(!state.is_behind());
        assert_eq!(StateDir::of(dir.path(), "test").load().unwrap(), standing);
    }
}
