//! Reads typed values out of the tree and collects every error on the way, instead of stopping at the first.
//!
//! A section learns its keys from being asked for them: what was never asked for is unknown. The paths asked for
//! are kept, so that a test can hold the example file against them.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::PathBuf;

use super::keys;
use super::tree::{Entry, Node, Value};
use crate::config::diagnostic::{Diagnostic, Severity, Source, closest};

/// A value that was given, and where.
#[derive(Debug, Clone)]
pub struct Given<T> {
    /// The value.
    pub value: T,
    /// The bytes it stands in.
    pub span: Range<usize>,
}

/// A mapping being read.
#[derive(Debug)]
pub struct Section<'n> {
    /// The bytes of the key that names it.
    pub owner: Range<usize>,
    path: String,
    entries: &'n [Entry],
    asked: BTreeSet<&'static str>,
}

impl<'n> Section<'n> {
    /// The value of a key; asking makes the key known.
    pub fn get(&mut self, key: &'static str) -> Option<&'n Node> {
        self.asked.insert(key);
        self.entries
            .iter()
            .find(|entry| entry.key == key)
            .map(|entry| &entry.value)
    }

    /// Its keys with their values, for a section whose keys are the operator's own.
    pub fn entries(&self) -> &'n [Entry] {
        self.entries
    }

    /// Whether a key stands here, be it misspelt: what it lacks then is reported there already.
    pub fn mentions(&self, key: &str) -> bool {
        self.entries
            .iter()
            .any(|entry| entry.key == key || keys::former_name_of(key, &entry.key).is_some())
            || self
                .entries
                .iter()
                .any(|entry| closest(&entry.key, [key]).is_some())
    }

    /// The path of one of its keys, for instance `clusters.*.hosts`.
    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }
}

/// Collects what is wrong while values are read.
#[derive(Debug)]
pub struct Reader<'s> {
    /// The text and its places.
    pub source: &'s Source<'s>,
    /// What was found so far.
    pub findings: Vec<Diagnostic>,
    /// The directory relative paths start from.
    pub directory: PathBuf,
    /// What `~/` stands for.
    pub home: Option<PathBuf>,
    /// Where a secret was written out instead of being named.
    pub literal_secrets: Vec<Range<usize>>,
    /// Every path of keys that was asked for.
    pub known: BTreeSet<String>,
}

impl Reader<'_> {
    /// Reports an error.
    pub fn error(
        &mut self,
        at: &Range<usize>,
        what: impl Into<String>,
        because: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let finding = self.source.error(at, what, because, hint);
        self.note(finding);
    }

    /// Reports something that should be mended, but may stay.
    pub fn warning(
        &mut self,
        at: &Range<usize>,
        what: impl Into<String>,
        because: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let finding = self.source.error(at, what, because, hint);
        self.note(Diagnostic {
            severity: Severity::Warning,
            ..finding
        });
    }

    /// What defaults spread over several hosts is reported once.
    fn note(&mut self, finding: Diagnostic) {
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }

    /// The root mapping.
    pub fn root<'n>(&mut self, node: &'n Node) -> Option<Section<'n>> {
        self.mapping(node, node.span.start..node.span.start, String::new())
    }

    /// The mapping under `key`; `None` when it is absent or no mapping.
    pub fn section<'n>(&mut self, parent: &mut Section<'n>, key: &'static str) -> Option<Section<'n>> {
        let node = parent.get(key)?;
        self.section_at(node, parent, key)
    }

    /// The mapping `node` found under `key`, for values that may be something else as well.
    pub fn section_at<'n>(&mut self, node: &'n Node, parent: &Section<'n>, key: &str) -> Option<Section<'n>> {
        let owner = parent
            .entries
            .iter()
            .find(|entry| entry.key == key)?
            .key_span
            .clone();
        self.mapping(node, owner, parent.path_of(key))
    }

    /// The mappings under `key`, each named by the operator, in file order; `None` for what is no mapping.
    pub fn named_sections<'n>(
        &mut self,
        parent: &mut Section<'n>,
        key: &'static str,
    ) -> Vec<(Given<String>, Option<Section<'n>>)> {
        let Some(outer) = self.section(parent, key) else {
            return Vec::new();
        };
        let path = format!("{}.*", outer.path);
        if outer.entries.is_empty() {
            let hint = format!("add at least one to `{key}`");
            self.error(
                &outer.owner,
                format!("`{key}` is empty"),
                "at least one is needed",
                hint,
            );
        }
        let mut sections = Vec::new();
        for entry in outer.entries {
            self.check_name(&entry.key, &entry.key_span);
            let name = Given {
                value: entry.key.clone(),
                span: entry.key_span.clone(),
            };
            sections.push((
                name,
                self.mapping(&entry.value, entry.key_span.clone(), path.clone()),
            ));
        }
        sections
    }

    /// The mapping that is an item of the list under `key`.
    pub fn item<'n>(&mut self, node: &'n Node, parent: &Section<'n>, key: &str) -> Option<Section<'n>> {
        let start = node.span.start;
        self.mapping(node, start..start + 1, format!("{}.*", parent.path_of(key)))
    }

    fn mapping<'n>(&mut self, node: &'n Node, owner: Range<usize>, path: String) -> Option<Section<'n>> {
        match &node.value {
            Value::Map { entries, .. } => Some(Section {
                owner,
                path,
                entries,
                asked: BTreeSet::new(),
            }),
            Value::Empty => {
                self.error(
                    &node.span,
                    "nothing stands here",
                    "keys with values are expected below",
                    "fill it in or remove it",
                );
                None
            }
            _ => {
                self.wrong_type(node, "keys with values");
                None
            }
        }
    }

    /// Ends a section: every key nobody asked for is unknown.
    pub fn close(&mut self, section: Section<'_>) {
        for key in &section.asked {
            self.known.insert(section.path_of(key));
        }
        for entry in section
            .entries
            .iter()
            .filter(|entry| !section.asked.contains(entry.key.as_str()))
        {
            let what = if self.source.hides(&entry.key_span) {
                "unknown key".to_owned()
            } else {
                format!("unknown key `{}`", entry.key)
            };
            let because = format!("no key of that name exists {}", keys::where_it_is(&section.path));
            let hint = keys::unknown_key_hint(&entry.key, &section.path, &section.asked);
            self.error(&entry.key_span, what, because, hint);
        }
    }

    /// Reports a key that must be there.
    pub fn missing(&mut self, section: &Section<'_>, key: &str, because: &str, hint: &str) {
        if section.mentions(key) {
            return;
        }
        self.error(
            &section.owner.clone(),
            format!("`{key}` is missing"),
            because,
            hint,
        );
    }
}
