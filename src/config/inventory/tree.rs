//! YAML text → a tree in which every key and value knows the bytes it stands in.
//!
//! The tree is built from parser events and not through serde, because serde stops at its first error and an
//! operator should see them all at once. Scalars keep the text as written: nothing turns `no` into false here.

use std::collections::HashMap;
use std::ops::Range;

use serde_yaml::granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError, Span};

use super::mask;
use crate::config::diagnostic::{Diagnostic, Source};

/// A value and where it stands.
#[derive(Debug, Clone)]
pub struct Node {
    /// The bytes it stands in; for an empty value those of its key.
    pub span: Range<usize>,
    /// The value.
    pub value: Value,
}

/// What a node holds.
#[derive(Debug, Clone)]
pub enum Value {
    /// Nothing, `~` or `null`.
    Empty,
    /// Text as written, after YAML's escapes.
    Scalar {
        /// The text.
        text: String,
        /// Whether it stood in quotes or a block, so that it can only be text.
        quoted: bool,
    },
    /// A list.
    List(Vec<Node>),
    /// Keys with their values.
    Map {
        /// In file order, each key once.
        entries: Vec<Entry>,
        /// What was reported and left out, for instance a key's second value; it may hold secrets.
        dropped: Vec<Entry>,
    },
}

/// A key and its value.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The key's text.
    pub key: String,
    /// The bytes the key stands in.
    pub key_span: Range<usize>,
    /// The value.
    pub value: Node,
}

/// Nodes a file may unfold to; far beyond any inventory, and a stop for aliases that multiply.
const MOST_NODES: usize = 100_000;

/// Levels of nesting that are followed.
const DEEPEST: usize = 32;

/// Builds the tree. Everything found wrong on the way goes to `findings`; `None` when no tree came of it.
pub fn parse(source: &mut Source<'_>, findings: &mut Vec<Diagnostic>) -> Option<Node> {
    let text = source.text();
    let (events, failure) = events_of(text);
    if let Some(failure) = failure {
        mask::hide_by_sight(source);
        syntax_findings(source, &failure, findings);
        return None;
    }
    let mut builder = Builder {
        events: &events,
        at: 0,
        anchors: HashMap::new(),
        nodes: 0,
        flaws: Vec::new(),
    };
    let root = builder.document();
    match &root {
        Some(root) => mask::hide_secrets(source, root),
        None => mask::hide_by_sight(source),
    }
    findings.extend(
        builder
            .flaws
            .into_iter()
            .map(|flaw| source.error(&flaw.at, flaw.what, flaw.because, flaw.hint)),
    );
    root
}

/// The parser's events up to its first failure, which ends them.
fn events_of(text: &str) -> (Vec<(Event<'_>, Range<usize>)>, Option<ScanError>) {
    let mut events = Vec::new();
    for next in Parser::new_from_str(text) {
        match next {
            Ok((event, span)) => {
                let bytes = bytes_of(&span, text);
                events.push((event, bytes));
            }
            Err(failure) => return (events, Some(failure)),
        }
    }
    (events, None)
}

fn bytes_of(span: &Span, text: &str) -> Range<usize> {
    span.byte_range()
        .filter(|range| range.end <= text.len())
        .unwrap_or(0..0)
}

/// A flaw found before the source's secrets are known, so not yet rendered.
struct Flaw {
    at: Range<usize>,
    what: String,
    because: &'static str,
    hint: String,
}

/// Why a key cannot count, and what to do about it.
const NO_WORD: (&str, &str) = ("every key of an inventory is a word", "write `key: value`");
const MERGE_KEY: (&str, &str) = (
    "they hide from the reader which value counts",
    "put what hosts have in common into `defaults`",
);
const TWICE: (&str, &str) = (
    "only one of the two could count, and which one is a guess",
    "remove one of them",
);

struct Builder<'e> {
    events: &'e [(Event<'e>, Range<usize>)],
    at: usize,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    flaws: Vec<Flaw>,
}

impl Builder<'_> {
    fn document(&mut self) -> Option<Node> {
        let mut root = None;
        while let Some((event, span)) = self.events.get(self.at) {
            match event {
                Event::DocumentStart(..) if root.is_some() => {
                    self.flaws.push(Flaw {
                        at: span.clone(),
                        what: "a second document begins here".to_owned(),
                        because: "an inventory is one document, and what follows `---` would be ignored",
                        hint: "remove the `---` line".to_owned(),
                    });
                    break;
                }
                Event::Scalar(..)
                | Event::SequenceStart(..)
                | Event::MappingStart(..)
                | Event::Alias(_)
                | Event::UnresolvedAlias(_) => root = Some(self.node(0)?),
                _ => self.at += 1,
            }
        }
        root
    }

    /// The node that begins at the current event. `None` once the file is too large or too deep to follow.
    fn node(&mut self, depth: usize) -> Option<Node> {
        let (event, span) = self.events.get(self.at)?;
        self.at += 1;
        self.nodes += 1;
        if depth > DEEPEST || self.nodes > MOST_NODES {
            self.too_much(span);
            return None;
        }
        let tag = match event {
            Event::Scalar(_, _, _, tag)
            | Event::SequenceStart(_, _, tag)
            | Event::MappingStart(_, _, tag) => tag.as_ref(),
            _ => None,
        };
        if let Some(tag) = tag {
            self.flaws.push(Flaw {
                at: span.clone(),
                what: format!("the tag `{}` has no meaning here", tag.original()),
                because: "types follow from the keys, and tags would only contradict them",
                hint: "remove the tag".to_owned(),
            });
        }
        let (node, anchor) = match event {
            Event::Scalar(text, style, anchor, _) => (scalar(text, *style, span), *anchor),
            Event::SequenceStart(_, anchor, _) => (self.list(span, depth)?, *anchor),
            Event::MappingStart(_, anchor, _) => (self.map(span, depth)?, *anchor),
            Event::Alias(id) => (self.alias(*id, span)?, 0),
            _ => (
                Node {
                    span: span.clone(),
                    value: Value::Empty,
                },
                0,
            ),
        };
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Some(node)
    }

    fn list(&mut self, start: &Range<usize>, depth: usize) -> Option<Node> {
        let mut items = Vec::new();
        loop {
            match self.events.get(self.at)? {
                (Event::SequenceEnd, end) => {
                    self.at += 1;
                    return Some(Node {
                        span: start.start..end.end,
                        value: Value::List(items),
                    });
                }
                _ => items.push(self.node(depth + 1)?),
            }
        }
    }

    fn map(&mut self, start: &Range<usize>, depth: usize) -> Option<Node> {
        let (mut entries, mut dropped): (Vec<Entry>, Vec<Entry>) = (Vec::new(), Vec::new());
        loop {
            if let (Event::MappingEnd, end) = self.events.get(self.at)? {
                self.at += 1;
                return Some(Node {
                    span: start.start..end.end,
                    value: Value::Map { entries, dropped },
                });
            }
            let key = self.node(depth + 1)?;
            let mut value = self.node(depth + 1)?;
            if matches!(value.value, Value::Empty) && value.span.is_empty() {
                value.span = key.span.clone();
            }
            let Value::Scalar { text, .. } = &key.value else {
                self.flaw_of_key(&key.span, "this key is not plain text", NO_WORD);
                let unnamed = |value: Node| Entry {
                    key: "secret".to_owned(),
                    key_span: key.span.clone(),
                    value,
                };
                dropped.extend([unnamed(value), unnamed(key.clone())]);
                continue;
            };
            let entry = Entry {
                key: text.clone(),
                key_span: key.span.clone(),
                value,
            };
            if self.usable(&entry, &entries) {
                entries.push(entry)
            } else {
                dropped.push(entry)
            }
        }
    }

    /// Whether an entry can count beside those before it.
    fn usable(&mut self, entry: &Entry, before: &[Entry]) -> bool {
        if entry.key == "<<" {
            self.flaw_of_key(&entry.key_span, "merge keys (`<<`) are not read", MERGE_KEY);
            return false;
        }
        if before.iter().any(|earlier| earlier.key == entry.key) {
            // Not quoted: whether the key is a misplaced secret is not known yet.
            self.flaw_of_key(&entry.key_span, "this key is given twice", TWICE);
            return false;
        }
        true
    }

    fn flaw_of_key(&mut self, at: &Range<usize>, what: &str, (because, hint): (&'static str, &str)) {
        self.flaws.push(Flaw {
            at: at.clone(),
            what: what.to_owned(),
            because,
            hint: hint.to_owned(),
        });
    }

    fn alias(&mut self, id: usize, span: &Range<usize>) -> Option<Node> {
        let Some(node) = self.anchors.get(&id).cloned() else {
            self.flaws.push(Flaw {
                at: span.clone(),
                what: "this alias names a value that is not complete yet".to_owned(),
                because: "a value cannot contain itself",
                hint: "write the value out".to_owned(),
            });
            return Some(Node {
                span: span.clone(),
                value: Value::Empty,
            });
        };
        self.nodes += size(&node);
        if self.nodes > MOST_NODES {
            self.too_much(span);
            return None;
        }
        Some(node)
    }

    fn too_much(&mut self, span: &Range<usize>) {
        self.flaws.push(Flaw {
            at: span.clone(),
            what: "the file is too large or too deeply nested from here on".to_owned(),
            because: "no inventory unfolds to that much; aliases may multiply it",
            hint: "write values out instead of nesting aliases".to_owned(),
        });
    }
}

fn scalar(text: &str, style: ScalarStyle, span: &Range<usize>) -> Node {
    let quoted = style != ScalarStyle::Plain;
    let empty = !quoted && matches!(text, "" | "~" | "null" | "Null" | "NULL");
    let value = if empty {
        Value::Empty
    } else {
        Value::Scalar {
            text: text.to_owned(),
            quoted,
        }
    };
    Node {
        span: span.clone(),
        value,
    }
}

fn size(node: &Node) -> usize {
    1 + match &node.value {
        Value::List(items) => items.iter().map(size).sum(),
        Value::Map { entries, dropped } => entries
            .iter()
            .chain(dropped)
            .map(|entry| size(&entry.value))
            .sum(),
        _ => 0,
    }
}

/// What kept the text from being YAML. Tabs are all shown; anything else ends at the first.
fn syntax_findings(source: &Source<'_>, failure: &ScanError, findings: &mut Vec<Diagnostic>) {
    let mut start = 0;
    for line in source.text().split_inclusive('\n') {
        let blank = line.len() - line.trim_start_matches([' ', '\t']).len();
        if line[..blank].contains('\t') && !line.trim().is_empty() {
            findings.push(source.error(
                &(start..start + blank),
                "this line is indented with a tab",
                "YAML allows only spaces there",
                "replace the tab by spaces",
            ));
        }
        start += line.len();
    }
    if !findings.is_empty() {
        return;
    }
    if matches!(failure.kind(), ErrorKind::UnknownAnchor) {
        let at = failure.marker().byte_offset().unwrap_or(0);
        findings.push(source.error(
            &(at..at + 1),
            "this alias names nothing above it",
            "a word that begins with `*` stands for a value marked `&` before",
            "mark the value with `&`, or quote the text if it should begin with `*`",
        ));
        return;
    }
    let at = failure.marker().byte_offset().unwrap_or(0);
    // At the end of the file nothing stands under the caret; the last line with text says more.
    let at = if at >= source.text().len() {
        source.text().trim_end().len().saturating_sub(1)
    } else {
        at
    };
    findings.push(source.error(
        &(at..at + 1),
        "this is not YAML",
        failure.kind().to_string(),
        "look at the indentation, quotes, brackets and the blank after each `:` here and in the line above",
    ));
}
