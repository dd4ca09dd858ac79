//! MMM's configuration files: found where MMM looked for them, and what is made of them written for nobody else to
//! read. What they mean is decided in `config::import`.

use std::fs::{DirBuilder, File as Handle, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::config::import::{File, Files, Refusal, file_name};
use crate::core::trouble::{Kind, Trouble};

/// Where MMM looked, in its order; the first file that can be read counts.
const MMM_DIRS: [&str; 3] = ["/etc", "/etc/mmm", "/etc/mysql-mmm"];

/// Bytes that a file of MMM's may have at most.
const MOST_BYTES: u64 = 1024 * 1024;

/// Where files are looked for.
#[derive(Debug)]
pub struct Search {
    mmm: Vec<PathBuf>,
    from: Option<PathBuf>,
}

impl Search {
    /// In the directories that MMM searched, and in another one.
    pub fn new(from: Option<PathBuf>) -> Self {
        Self {
            mmm: MMM_DIRS.map(PathBuf::from).to_vec(),
            from,
        }
    }

    /// The monitors' files of all clusters, sorted by name; in `from` alone if it is given.
    ///
    /// # Errors
    /// `from` cannot be listed.
    pub fn monitors(&self) -> Result<Vec<PathBuf>, Trouble> {
        let dirs = match &self.from {
            Some(from) => std::slice::from_ref(from),
            None => self.mmm.as_slice(),
        };
        let mut found: Vec<(String, PathBuf)> = Vec::new();
        for dir in dirs {
            let entries = match std::fs::read_dir(dir) {
                Ok(entries) => entries,
                Err(error) if self.from.is_none() && error.kind() == ErrorKind::NotFound => continue,
                Err(error) => {
                    let what = format!("the directory `{}` cannot be listed", dir.display());
                    return Err(Trouble::new(Kind::Usage, what, error));
                }
            };
            for entry in entries {
                let entry = entry.map_err(|error| {
                    Trouble::new(
                        Kind::Usage,
                        format!("`{}` cannot be listed", dir.display()),
                        error,
                    )
                })?;
                let Ok(name) = entry.file_name().into_string() else {
                    continue;
                };
                if is_monitor(&name) && !found.iter().any(|(known, _)| *known == name) {
                    found.push((name, entry.path()));
                }
            }
        }
        found.sort();
        Ok(found.into_iter().map(|(_, path)| path).collect())
    }

    /// The directories in which `from` includes files: MMM's own order for a file that lies where MMM found it, else
    /// its own directory first, because it was copied from somewhere.
    fn directories(&self, from: &Path) -> Vec<PathBuf> {
        let own = from.parent().map(Path::to_path_buf);
        let in_place = own.as_ref().is_some_and(|own| self.mmm.contains(own));
        let mut dirs: Vec<PathBuf> = Vec::new();
        let first = own.filter(|_| !in_place).into_iter().chain(self.from.clone());
        let (first, mmm) = (first.collect::<Vec<_>>(), self.mmm.clone());
        let order = if in_place { [mmm, first] } else { [first, mmm] };
        for dir in order.into_iter().flatten() {
            if !dirs.contains(&dir) {
                dirs.push(dir);
            }
        }
        dirs
    }
}

impl Files for Search {
    fn include(&mut self, name: &str, from: &Path) -> Result<File, Refusal> {
        let name = file_name(name);
        let dirs = self.directories(from);
        let mut unreadable = None;
        for path in dirs.iter().map(|dir| dir.join(&name)) {
            match read(&path) {
                Ok(file) => return Ok(file),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => {
                    unreadable.get_or_insert(Refusal {
                        because: format!("`{}`: {error}", path.display()),
                        hint: "let this user read it, or copy it elsewhere and say `--from DIR`".to_owned(),
                    });
                }
            }
        }
        let dirs: Vec<String> = dirs.iter().map(|dir| dir_name(dir)).collect();
        Err(unreadable.unwrap_or(Refusal {
            because: format!("there is no `{name}` in {}", dirs.join(", ")),
            hint: "say where it is with `--from DIR`".to_owned(),
        }))
    }
}

fn dir_name(dir: &Path) -> String {
    match dir.as_os_str().is_empty() {
        true => "`.`".to_owned(),
        false => format!("`{}`", dir.display()),
    }
}

/// Whether a file is a monitor's, and not the configuration of its log.
fn is_monitor(name: &str) -> bool {
    let Some(stem) = name
        .strip_suffix(".conf")
        .and_then(|stem| stem.strip_prefix("mmm_mon"))
    else {
        return false;
    };
    let is_log = stem == "_log" || stem.starts_with("_log_");
    !is_log && (stem.is_empty() || (stem.starts_with('_') && stem.len() > 1))
}

/// Reads one file.
///
/// # Errors
/// It is not there, cannot be read, is no regular file, or too large.
pub fn read(path: &Path) -> std::io::Result<File> {
    // Asked before opening: opening a pipe waits for its writer.
    if !std::fs::metadata(path)?.is_file() {
        return Err(std::io::Error::other("it is not a regular file"));
    }
    let handle = Handle::open(path)?;
    let mode = handle.metadata()?.permissions().mode() & 0o7777;
    let mut bytes = Vec::new();
    handle.take(MOST_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(std::io::Error::other(
            "it is larger than 1 MiB, so it is no file of MMM's",
        ));
    }
    Ok(File {
        path: path.to_owned(),
        identity: std::fs::canonicalize(path)?,
        bytes,
        mode: Some(mode),
    })
}

/// Files written for their owner alone. Those written before one that failed are removed again.
#[derive(Debug, Default)]
pub struct Private {
    written: Vec<PathBuf>,
}

impl Private {
    /// Makes a directory for its owner alone, unless there is one of that name.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn directory(&self, dir: &Path) -> Result<(), Trouble> {
        match DirBuilder::new().mode(0o700).create(dir) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                let what = format!("the directory `{}` cannot be made", dir.display());
                Err(Trouble::new(Kind::Usage, what, error))
            }
            _ => Ok(()),
        }
    }

    /// Writes a new file of mode 0600.
    ///
    /// # Errors
    /// It exists already, or cannot be written.
    pub fn write(&mut self, path: &Path, content: &str) -> Result<(), Trouble> {
        let written = self.try_write(path, content);
        written.map_err(|error| {
            self.undo();
            let what = format!("`{}` cannot be written", path.display());
            let (kind, hint) = match error.kind() {
                ErrorKind::AlreadyExists => (
                    Kind::Refused,
                    "nothing is overwritten: remove it, or name another",
                ),
                _ => (Kind::Usage, "nothing was left behind"),
            };
            Trouble::new(kind, what, error).hint(hint)
        })
    }

    fn try_write(&mut self, path: &Path, content: &str) -> std::io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        self.written.push(path.to_owned());
        file.write_all(content.as_bytes())?;
        file.sync_all()
    }

    fn undo(&mut self) {
        for path in self.written.drain(..) {
            if let Err(error) = std::fs::remove_file(&path) {
                tracing::error!("`{}` could not be removed again: {error}", path.display());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            std::fs::write(dir.path().join(file), file).unwrap();
        }
        dir
    }

    fn included(search: &mut Search, name: &str, from: &Path) -> Result<PathBuf, String> {
        let file = search.include(name, from).map_err(|refusal| refusal.because)?;
        Ok(file.path)
    }

    #[test]
    fn monitors_are_found_and_log_configurations_are_not() {
        let first = directory(&[
            "mmm_mon_b.conf",
            "mmm_mon_log.conf",
            "mmm_mon_log_b.conf",
            "mmm_common.conf",
        ]);
        let second = directory(&[
            "mmm_mon.conf",
            "mmm_mon_b.conf",
            "mmm_mon_.conf",
            "mmm_monitor.conf",
            "mmm_mon_c",
        ]);
        let mut search = Search {
            mmm: vec![first.path().into(), "/nonexistent".into(), second.path().into()],
            from: None,
        };
        let found = search.monitors().unwrap();
        assert_eq!(
            found,
            [
                second.path().join("mmm_mon.conf"),
                first.path().join("mmm_mon_b.conf")
            ]
        );
        search.from = Some(second.path().into());
        assert_eq!(search.monitors().unwrap().len(), 2);
        search.from = Some("/nonexistent".into());
        assert_eq!(search.monitors().unwrap_err().kind, Kind::Usage);
    }

    #[test]
    fn includes_are_found_as_mmm_found_them_unless_the_file_was_copied() {
        let first = directory(&["mmm_common.conf"]);
        let second = directory(&["mmm_common.conf", "mmm_mon.conf", "other.conf"]);
        let copied = directory(&["mmm_common.conf", "mmm_mon.conf"]);
        let mut search = Search {
            mmm: vec![first.path().into(), second.path().into()],
            from: None,
        };
        let in_place = second.path().join("mmm_mon.conf");
        let copy = copied.path().join("mmm_mon.conf");
        let common = |dir: &tempfile::TempDir| Ok(dir.path().join("mmm_common.conf"));
        assert_eq!(included(&mut search, "mmm_common", &in_place), common(&first));
        assert_eq!(included(&mut search, "mmm_common.conf", &copy), common(&copied));
        assert_eq!(
            included(&mut search, "other", &copy),
            Ok(second.path().join("other.conf"))
        );
        let missing = included(&mut search, "nothing", &copy).unwrap_err();
        assert!(
            missing.starts_with("there is no `nothing.conf` in `"),
            "{missing}"
        );
        std::fs::create_dir(copied.path().join("dir.conf")).unwrap();
        let missing = included(&mut search, "dir", &copy).unwrap_err();
        assert!(missing.ends_with("it is not a regular file"), "{missing}");
    }

    #[test]
    fn what_is_written_is_private_new_and_undone_when_another_fails() {
        let dir = tempfile::tempdir().unwrap();
        let (secrets, path) = (dir.path().join("secrets"), dir.path().join("a"));
        let mut private = Private::default();
        private.directory(&secrets).unwrap();
        private.directory(&secrets).unwrap();
        private.write(&path, "text").unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&secrets)), (0o600, 0o700));

        std::fs::write(dir.path().join("b"), "mine").unwrap();
        let trouble = private.write(&dir.path().join("b"), "text").unwrap_err();
        assert!(trouble.hint.contains("nothing is overwritten"), "{trouble}");
        assert!(!path.exists(), "what was written before is removed");
        assert_eq!(std::fs::read_to_string(dir.path().join("b")).unwrap(), "mine");
    }
}
