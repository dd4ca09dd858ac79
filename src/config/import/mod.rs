//! MMM's own configuration in, an inventory of ours out, with comments about what changed its meaning on the way.
//!
//! Lines become blocks whose values know their places (`texts`, `words`, `grammar` → `blocks`). Blocks become a cluster
//! (`meaning`, `timing`, with `remarks` about what cannot be carried over as it was), which is held against itself
//! (`contradictions`) and written (`page`, `writing`). What was written is read again as any inventory is: whatever
//! comes out of here is valid, or is refused at the place in MMM's files that is to blame.

mod blocks;
mod contradictions;
mod grammar;
mod meaning;
mod page;
mod remarks;
mod texts;
mod timing;
mod words;
mod writing;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use secrecy::SecretString;

pub use grammar::file_name;
pub use texts::File;

use crate::config::diagnostic::{Diagnostic, Severity};
use crate::config::inventory::{self, Surroundings};
use grammar::Reader;
use meaning::Cluster;
use page::Page;
use texts::{At, Texts};

/// Where included files come from.
pub trait Files {
    /// The file that `from` means by `include NAME`.
    ///
    /// # Errors
    /// Why it cannot be had.
    fn include(&mut self, name: &str, from: &Path) -> Result<File, Refusal>;
}

/// Why a file cannot be had.
#[derive(Debug)]
pub struct Refusal {
    /// The reason.
    pub because: String,
    /// What to do about it.
    pub hint: String,
}

/// One cluster to import.
pub struct Asked {
    /// What it will be called.
    pub name: String,
    /// Files of MMM's other programs; what they say fills gaps of the monitor's.
    pub aside: Vec<File>,
    /// The monitor's file.
    pub monitor: File,
}

/// What came of it. Passwords may stand in the inventory, so it is not `Debug`.
pub struct Imported {
    /// The inventory, valid.
    pub inventory: String,
    /// Files that the inventory names as sources of its passwords, to be written.
    pub secrets: Vec<SecretFile>,
    /// What changed its meaning; all of it stands in the inventory too, at more length.
    pub remarks: Vec<Told>,
    /// How many clusters it has.
    pub clusters: usize,
    /// How many hosts they have together.
    pub hosts: usize,
}

/// A password and the file it belongs into.
pub struct SecretFile {
    /// Where the inventory expects it.
    pub path: PathBuf,
    /// The password.
    pub value: SecretString,
}

/// A remark in one line.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Told {
    /// The file of MMM that is spoken of.
    pub file: PathBuf,
    /// Its line, counted from 1; `None` for the file as a whole.
    pub line: Option<usize>,
    /// What is to be known.
    pub what: String,
}

/// Imports clusters into one inventory. With `secrets_dir`, which must be absolute, passwords go into files there.
///
/// # Errors
/// Everything that keeps the files from becoming a valid inventory, each at its place.
pub fn import(
    asked: Vec<Asked>,
    files: &mut dyn Files,
    secrets_dir: Option<&str>,
) -> Result<Imported, Vec<Diagnostic>> {
    let mut texts = Texts::default();
    let mut findings: Vec<Diagnostic> = Vec::new();
    let mut clusters = Vec::new();
    for Asked { name, aside, monitor } in asked {
        let mut reader = Reader::new(&mut texts, files);
        for file in aside {
            reader.read(file);
        }
        reader.read(monitor);
        let (pages, found) = reader.end();
        findings.extend(found);
        // Where tags do not match, nothing said can be told from its opposite.
        if !pages.jumbled {
            clusters.extend(meaning::cluster(name, &pages, &texts, &mut findings));
        }
    }
    contradictions::check(&clusters, &texts, &mut findings);
    if !findings.is_empty() {
        return Err(in_order(findings));
    }
    let (page, secrets) = writing::inventory(&clusters, &texts, secrets_dir);
    prove(&page, &texts)?;
    Ok(Imported {
        secrets,
        remarks: told(&clusters, &texts),
        clusters: clusters.len(),
        hosts: clusters.iter().map(|cluster| cluster.hosts.len()).sum(),
        inventory: page.into_text(),
    })
}

/// Reads what was written as any inventory is read. What that refuses is said of MMM's own lines.
fn prove(page: &Page, texts: &Texts) -> Result<(), Vec<Diagnostic>> {
    let surroundings = Surroundings {
        mode: Some(0o600),
        home: None,
    };
    let Err(refused) = inventory::parse(page.text(), Path::new("inventory.yaml"), &surroundings) else {
        return Ok(());
    };
    let errors = refused
        .into_iter()
        .filter(|finding| finding.severity == Severity::Error);
    Err(in_order(
        errors
            .map(|finding| {
                let place = finding.place.as_ref().map(|place| (place.line, place.column));
                let at = place.and_then(|(line, column)| page.origin(line, column));
                let nowhere = At { file: 0, span: 0..0 };
                let said = [finding.what, finding.because, finding.hint];
                let [what, because, hint] = said.map(in_mmms_words);
                texts.error(at.unwrap_or(&nowhere), what, because, hint)
            })
            .collect(),
    ))
}

/// A message about the inventory, told with the words that stand in MMM's files.
fn in_mmms_words(message: String) -> String {
    const WORDS: [(&str, &str); 7] = [
        ("`every`", "`check_period`"),
        ("`trap_after`", "`trap_period`"),
        ("`addresses`", "`ips`"),
        ("`interface`", "`cluster_interface`"),
        ("`mode: ", "`mode "),
        ("`peer: ", "`peer "),
        ("`writer_role`", "`active_master_role`"),
    ];
    WORDS
        .iter()
        .fold(message, |message, (ours, former)| message.replace(ours, former))
}

/// What is to be known, in the order in which it was said, each once.
fn told(clusters: &[Cluster], texts: &Texts) -> Vec<Told> {
    let mut all: Vec<Told> = Vec::new();
    let mut remarks: Vec<_> = clusters.iter().flat_map(|cluster| &cluster.remarks).collect();
    remarks.sort_by_key(|(_, remark)| (remark.at.file, remark.at.span.start));
    for (_, remark) in remarks {
        let told = Told {
            file: texts.path(remark.at.file).to_owned(),
            line: remark.is_about_a_line().then(|| texts.line(&remark.at)),
            what: remark.what.clone(),
        };
        if !all.contains(&told) {
            all.push(told);
        }
    }
    all
}

/// By file and place, each once.
fn in_order(mut findings: Vec<Diagnostic>) -> Vec<Diagnostic> {
    let place = |finding: &Diagnostic| finding.place.as_ref().map(|place| (place.line, place.column));
    findings.sort_by(|a, b| a.file.cmp(&b.file).then(place(a).cmp(&place(b))));
    findings.dedup();
    findings
}
