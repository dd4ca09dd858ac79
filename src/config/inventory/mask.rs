//! Finds the secrets in a text, so that no finding shows one.

use super::tree::{Entry, Node, Value};
use crate::config::diagnostic::{Source, closest};

/// Hides every literal under a secretive key: it may stand in a line that is shown for another reason.
pub fn hide_secrets(source: &mut Source<'_>, root: &Node) {
    hide_below(source, root, false);
}

/// Hides what follows a secretive key on its line and on deeper lines below, for a text that has no tree.
pub fn hide_by_sight(source: &mut Source<'_>) {
    let mut start = 0;
    let mut secret_indent = None;
    for line in source.text().split_inclusive('\n') {
        let indent = line.len() - line.trim_start().len();
        let end = line.trim_end().len();
        let lower = line.to_ascii_lowercase();
        let key = SECRETIVE.iter().filter_map(|part| lower.find(part)).min();
        if let Some(value) = key.and_then(|key| lower[key..].find(':').map(|colon| key + colon + 1)) {
            let value = value + (end.max(value) - value - line[value..end.max(value)].trim_start().len());
            source.hide(start + value..start + end.max(value));
            secret_indent = Some(indent);
        } else if secret_indent.is_some_and(|secret| deeper(line, indent, secret) || indent >= end) {
            source.hide(start + indent.min(end)..start + end);
        } else {
            secret_indent = None;
        }
        start += line.len();
    }
}

/// Whether a key's value is likely a secret, mistyped keys included.
fn secretive(key: &str) -> bool {
    let key = key.to_lowercase();
    SECRETIVE.iter().any(|part| key.contains(part))
}

/// What a key that holds a secret has in its name.
const SECRETIVE: [&str; 4] = ["pas", "pwd", "secret", "token"];

/// The keys that name where a secret comes from.
const SOURCES: [&str; 3] = ["env", "file", "command"];

fn hide_below(source: &mut Source<'_>, node: &Node, secret: bool) {
    match &node.value {
        Value::Scalar { .. } if secret => source.hide(node.span.clone()),
        Value::List(items) => items.iter().for_each(|item| hide_below(source, item, secret)),
        Value::Map { entries, dropped } => {
            for entry in entries.iter().chain(dropped) {
                // `{ secret }` and `{secret: …}` make the secret a key.
                if secret && closest(&entry.key, SOURCES).is_none() {
                    source.hide(entry.key_span.clone());
                }
                let empty = matches!(entry.value.value, Value::Empty);
                let holds = secretive(&entry.key) && !empty;
                hide_below(source, &entry.value, (secret && !names_a_source(entry)) || holds);
            }
        }
        _ => {}
    }
}

/// Whether an entry names where a secret comes from, which is worth showing.
fn names_a_source(entry: &Entry) -> bool {
    match (entry.key.as_str(), &entry.value.value) {
        ("env", Value::Scalar { text, .. }) => is_variable(text),
        ("file" | "command", _) => true,
        _ => false,
    }
}

/// Whether a text can name an environment variable.
pub fn is_variable(text: &str) -> bool {
    let starts_well = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    starts_well && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Whether a line belongs below a key at `key_indent`: lists may stand as deep as their key, and how deep a tab
/// is, nobody knows.
fn deeper(line: &str, indent: usize, key_indent: usize) -> bool {
    let list = indent == key_indent && line[indent..].starts_with('-');
    indent > key_indent || list || line[..indent].contains('\t')
}
