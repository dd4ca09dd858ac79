//! The inventory: what the operator says about monitor, clusters and hosts, and what it means.
//!
//! Text becomes a tree (`tree`, its secrets masked by `mask`). The tree becomes what was said (`said`), read by
//! `reading` and `settings` with the tools of `reader`, `values` and `keys`. That is held against itself (`crosscheck`)
//! and becomes what it means (`resolve` → `resolved`). Every stage reports all it finds.

mod crosscheck;
mod keys;
mod log;
mod mask;
mod notify;
mod reader;
mod reading;
mod resolve;
mod resolved;
mod said;
mod settings;
mod site;
pub(in crate::config) mod tree;
mod values;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use sha1::{Digest as _, Sha1};

pub use resolved::{
    Account, ClusterEntry, Credentials, Fence, HostEntry, Inventory, Log, Monitor, MysqlSettings,
    SecretSource, Service, SshSettings,
};

use crate::config::diagnostic::{Diagnostic, Severity, Source};
use reader::Reader;

/// What the text itself does not tell.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// The file's permission bits.
    pub mode: Option<u32>,
    /// What `~/` in a path stands for.
    pub home: Option<PathBuf>,
}

/// Makes an inventory out of its text. `file` names it in messages and is where relative paths start from.
///
/// # Errors
/// Everything found wrong, each with its place, warnings included; in file order.
pub fn parse(text: &str, file: &Path, surroundings: &Surroundings) -> Result<Inventory, Vec<Diagnostic>> {
    parse_noting_keys(text, file, surroundings).0
}

/// The finding about a file whose bytes are no text from `valid_up_to` on.
pub fn not_text(bytes: &[u8], valid_up_to: usize, file: &Path) -> Diagnostic {
    let text = String::from_utf8_lossy(bytes);
    let mut source = Source::new(file, &text);
    mask::hide_by_sight(&mut source);
    source.error(
        &(valid_up_to..valid_up_to + 1),
        "the file is not UTF-8 text",
        "the bytes from here on are no characters",
        "save it as UTF-8",
    )
}

/// As [`parse`], with the paths of all keys that were asked for.
fn parse_noting_keys(
    text: &str,
    file: &Path,
    surroundings: &Surroundings,
) -> (Result<Inventory, Vec<Diagnostic>>, BTreeSet<String>) {
    let mut source = Source::new(file, text);
    let mut findings = Vec::new();
    let Some(root) = tree::parse(&mut source, &mut findings) else {
        if findings.is_empty() {
            findings.push(source.error(
                &(0..0),
                "the inventory is empty",
                "it must name at least one cluster",
                "start from `inventory.example.yaml`",
            ));
        }
        return (Err(findings), BTreeSet::new());
    };
    let mut reader = Reader {
        source: &source,
        findings,
        directory: file.parent().map(Path::to_path_buf).unwrap_or_default(),
        home: surroundings.home.clone(),
        literal_secrets: Vec::new(),
        known: BTreeSet::new(),
    };
    let said = reading::read(&mut reader, &root);
    crosscheck::check(&mut reader, &said);
    let monitor = resolve::monitor(&said.monitor);
    let mut clusters: Vec<Option<ClusterEntry>> = said
        .clusters
        .into_iter()
        .map(|(name, cluster)| resolve::cluster(&mut reader, &said.defaults, name, cluster))
        .collect();
    resolved::hide_secrets(&mut clusters);
    warn_of_literals(&mut reader, surroundings);

    let Reader {
        mut findings, known, ..
    } = reader;
    findings.sort_by_key(|finding| finding.place.as_ref().map(|place| (place.line, place.column)));
    let failed = findings.iter().any(|finding| finding.severity == Severity::Error);
    let result = match clusters.into_iter().collect::<Option<Vec<_>>>() {
        Some(clusters) if !failed => Ok(Inventory {
            file: file.to_owned(),
            text_hash: Sha1::digest(text)
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect(),
            monitor,
            clusters,
            warnings: findings,
        }),
        _ => Err(findings),
    };
    (result, known)
}

/// The paths of all keys that reading `text` asks for.
#[cfg(test)]
pub(crate) fn known_keys(text: &str) -> BTreeSet<String> {
    let surroundings = Surroundings {
        mode: Some(0o600),
        home: Some(PathBuf::from("/root")),
    };
    parse_noting_keys(text, Path::new("inventory.yaml"), &surroundings).1
}

/// A password in the text is as secret as the file is.
fn warn_of_literals(reader: &mut Reader<'_>, surroundings: &Surroundings) {
    let Some(mode) = surroundings.mode.filter(|mode| mode & 0o044 != 0) else {
        return;
    };
    for at in std::mem::take(&mut reader.literal_secrets) {
        reader.warning(
            &at,
            "a password stands in a file that others can read",
            format!("the file's mode is {:04o}", mode & 0o7777),
            "name an `env`, `file` or `command` instead, or `chmod 600` the file",
        );
    }
}
