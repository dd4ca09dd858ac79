//! Playbooks: the shipped files, an operator's directory laid over them, and the rules they keep.

mod called;
mod fences;
mod grammar;
mod keys;
mod lint;
mod opens;
mod page;
mod reading;
mod render;
mod rights;
mod rules;
mod scene;
mod shipped;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use sha1::{Digest as _, Sha1};

use crate::config::diagnostic::Diagnostic;
use crate::core::playbook::Playbook;

pub use called::BY_THE_PROGRAM;
pub use fences::no_fence;
pub use keys::Form;
pub use lint::{is_wrong, lint};
pub use opens::{opening_step, step_that_brings_up, step_that_lets_write, takes_addresses_away};
pub use render::{RenderError, Speaks, render, session};
pub use rights::root_commands;
pub use rules::missing_words;
pub use scene::{AddressScene, HostScene, LockScene, OldShell, ReplicationScene, Scene, SourceScene};
pub use shipped::FILES;

/// The three folders of a playbook directory.
const FOLDERS: [&str; 3] = ["duties", "operations", "dialects"];

/// Reads the shipped playbooks, with the files of `directory` (when given) added or replacing those of the same name.
///
/// # Errors
/// Everything found wrong, in all files, each with its place.
pub fn load(directory: Option<&Path>) -> Result<Playbook, Vec<Diagnostic>> {
    read(&files(directory)?)
}

/// The shipped files with those of `directory` laid over them, by their path below it.
fn files(directory: Option<&Path>) -> Result<BTreeMap<PathBuf, File>, Vec<Diagnostic>> {
    let mut files = shipped_files();
    if let Some(directory) = directory {
        files.extend(read_directory(directory)?);
    }
    Ok(files)
}

fn shipped_files() -> BTreeMap<PathBuf, File> {
    let file = |(path, text): &(&str, &str)| {
        let file = File {
            shown: Path::new("playbooks").join(path),
            text: (*text).to_owned(),
        };
        (PathBuf::from(path), file)
    };
    FILES.iter().map(file).collect()
}

/// A playbook file in use, for people.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Listed {
    /// `duty`, `operation` or `dialect`.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// Where it is; below `playbooks/` for a shipped one.
    pub file: PathBuf,
    /// Whether it stands in the operator's directory.
    pub is_own: bool,
    /// Whether it takes the place of a shipped one.
    pub overrides: bool,
    /// Its text.
    #[serde(skip)]
    pub text: String,
}

/// Every file in use, by its kind and name.
///
/// # Errors
/// When the directory or a file in it cannot be read.
pub fn listed(directory: Option<&Path>) -> Result<Vec<Listed>, Vec<Diagnostic>> {
    let kind = |path: &Path| match path.iter().next().and_then(|folder| folder.to_str()) {
        Some("duties") => "duty",
        Some("operations") => "operation",
        _ => "dialect",
    };
    let shipped = shipped_files();
    let own = |path: &Path| directory.is_some_and(|directory| directory.join(path).exists());
    let files = files(directory)?;
    let listed = files.into_iter().map(|(path, file)| Listed {
        kind: kind(&path),
        name: path
            .file_stem()
            .map(|stem| stem.to_string_lossy().into_owned())
            .unwrap_or_default(),
        file: file.shown,
        is_own: own(&path),
        overrides: own(&path) && shipped.contains_key(&path),
        text: file.text,
    });
    Ok(listed.collect())
}

/// One file of a playbook directory.
struct File {
    /// The path people see.
    shown: PathBuf,
    text: String,
}

fn read_directory(directory: &Path) -> Result<Vec<(PathBuf, File)>, Vec<Diagnostic>> {
    let mut files = Vec::new();
    let mut findings = Vec::new();
    let unreadable = |path: &Path, error: &std::io::Error| {
        let what = format!("cannot read `{}`", path.display());
        Diagnostic::about_file(
            path,
            what,
            error.to_string(),
            "mend `playbooks` in the inventory".to_owned(),
        )
    };
    if let Err(error) = fs::read_dir(directory) {
        return Err(vec![unreadable(directory, &error)]);
    }
    for folder in FOLDERS {
        let folder_path = directory.join(folder);
        if !folder_path.exists() {
            continue;
        }
        let entries = match fs::read_dir(&folder_path).and_then(Iterator::collect::<Result<Vec<_>, _>>) {
            Ok(entries) => entries,
            Err(error) => {
                findings.push(unreadable(&folder_path, &error));
                continue;
            }
        };
        for path in entries
            .iter()
            .map(fs::DirEntry::path)
            .filter(|path| path.extension().is_some_and(|e| e == "yaml"))
        {
            match (fs::read_to_string(&path), path.file_name()) {
                (Ok(text), Some(name)) => {
                    files.push((
                        Path::new(folder).join(name),
                        File {
                            shown: path.clone(),
                            text,
                        },
                    ));
                }
                (Err(error), _) => findings.push(unreadable(&path, &error)),
                (Ok(_), None) => {}
            }
        }
    }
    if findings.is_empty() {
        Ok(files)
    } else {
        Err(findings)
    }
}

/// A file in its written form.
enum Written {
    Duty(Box<grammar::DutyFile>),
    Operation(Box<grammar::OperationFile>),
    Dialect,
}

fn read(files: &BTreeMap<PathBuf, File>) -> Result<Playbook, Vec<Diagnostic>> {
    let mut playbook = Playbook::default();
    let mut pages = Vec::new();
    for (path, file) in files {
        let mut page = page::Page::new(&file.shown, &file.text);
        let written = read_one(&mut page, path, &mut playbook);
        pages.push((page, written));
    }
    // Names can only be resolved once every file could be read.
    if pages.iter().all(|(_, written)| written.is_some()) {
        for (page, written) in &mut pages {
            match written {
                Some(Written::Duty(file)) => {
                    if let Some(duty) = playbook.duties.get(&file.duty.value) {
                        rules::check_duty(page, file, duty, &playbook);
                    }
                }
                Some(Written::Operation(file)) => rules::check_operation(page, file, &playbook),
                Some(Written::Dialect) | None => {}
            }
        }
    }
    let findings: Vec<Diagnostic> = pages.into_iter().flat_map(|(page, _)| page.findings).collect();
    playbook.text_hash = hash(files);
    if findings.is_empty() {
        Ok(playbook)
    } else {
        Err(findings)
    }
}

/// SHA-1 over the names and texts of all files, wherever they lie.
fn hash(files: &BTreeMap<PathBuf, File>) -> String {
    let mut hash = Sha1::new();
    for (path, file) in files {
        for part in [path.to_string_lossy().as_bytes(), file.text.as_bytes()] {
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(part);
        }
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn read_one(page: &mut page::Page<'_>, path: &Path, playbook: &mut Playbook) -> Option<Written> {
    let stem = path
        .file_stem()
        .and_then(|stem| stem.to_str())
        .unwrap_or_default();
    if path.starts_with("duties") {
        let file: grammar::DutyFile = page.parse()?;
        page.named_as(&file.duty, stem);
        let duty = reading::duty(page, &file);
        playbook.duties.insert(duty.name.clone(), duty);
        Some(Written::Duty(Box::new(file)))
    } else if path.starts_with("operations") {
        let file: grammar::OperationFile = page.parse()?;
        page.named_as(&file.operation, stem);
        let operation = reading::operation(page, &file);
        playbook.operations.insert(operation.name.clone(), operation);
        Some(Written::Operation(Box::new(file)))
    } else {
        let file: grammar::DialectFile = page.parse()?;
        page.named_as(&file.dialect, stem);
        let dialect = reading::dialect(page, &file);
        playbook.dialects.insert(dialect.name.clone(), dialect);
        Some(Written::Dialect)
    }
}

#[cfg(test)]
mod tests;
