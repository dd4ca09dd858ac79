//! Playbooks: the shipped files, an operator's directory laid over them, and the rules they keep.

mod grammar;
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

use crate::config::diagnostic::Diagnostic;
use crate::core::playbook::Playbook;

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
    let mut files: BTreeMap<PathBuf, File> = BTreeMap::new();
    for (path, text) in FILES {
        let file = File {
            shown: Path::new("playbooks").join(path),
            text: (*text).to_owned(),
        };
        files.insert(PathBuf::from(path), file);
    }
    if let Some(directory) = directory {
        for (path, file) in read_directory(directory)? {
            files.insert(path, file);
        }
    }
    read(&files)
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
    if findings.is_empty() {
        Ok(playbook)
    } else {
        Err(findings)
    }
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
