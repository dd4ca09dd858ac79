//! What files of MMM say, once read: blocks of keys with values.

use std::ops::Range;

use super::texts::{At, Said};
use super::words::{Kind, Shape};

/// A key with its value.
#[derive(Clone)]
pub struct Setting {
    pub key: &'static str,
    pub key_at: At,
    pub value: Said,
}

/// A block, all its repetitions merged; also the top of the files, which has no tag.
#[derive(Clone)]
pub struct Block {
    pub kind: Kind,
    pub name: Option<Said>,
    /// Its first tag.
    pub at: At,
    /// Each key once, with what was said last.
    pub settings: Vec<Setting>,
    /// Something in it could not be read, so what it lacks may have been meant there.
    pub broken: bool,
}

impl Block {
    /// A block in which nothing was said yet.
    pub fn new(kind: Kind, name: Option<Said>, at: At) -> Self {
        Self {
            kind,
            name,
            at,
            settings: Vec::new(),
            broken: false,
        }
    }

    /// What was said for a key.
    pub fn get(&self, key: &str) -> Option<&Said> {
        self.setting(key).map(|setting| &setting.value)
    }

    /// A key with its place and value.
    pub fn setting(&self, key: &str) -> Option<&Setting> {
        self.settings.iter().find(|setting| setting.key == key)
    }

    /// Its name; empty for what has none.
    pub fn name(&self) -> &str {
        self.name.as_ref().map_or("", |name| &name.text)
    }
}

/// Something said twice, of which the last counts.
pub struct Repeated {
    pub key: &'static str,
    pub first: At,
    pub last: At,
}

/// Everything that the files of one cluster say.
pub struct Pages {
    pub top: Block,
    pub blocks: Vec<Block>,
    pub repeated: Vec<Repeated>,
    /// The files, in the order in which they were opened.
    pub files: Vec<usize>,
    /// Tags do not match, so it cannot be told what belongs where.
    pub jumbled: bool,
}

/// The items of a list, or the one value; a comma at the end is harmless.
pub fn items(value: &Said, shape: Shape) -> Vec<Said> {
    if !shape.is_list() {
        return vec![value.clone()];
    }
    let mut items = Vec::new();
    let mut start = 0;
    let whole = value.text.trim_end_matches(|c: char| c == ',' || blank(c));
    for part in whole.split(',') {
        let span = trimmed(&value.text, start..start + part.len());
        start += part.len() + 1;
        items.push(Said {
            text: value.text[span.clone()].to_owned(),
            at: At {
                file: value.at.file,
                span: value.at.span.start + span.start..value.at.span.start + span.end,
            },
        });
    }
    items
}

/// What MMM takes for a blank.
pub fn blank(c: char) -> bool {
    c.is_ascii_whitespace() || c == '\u{b}'
}

/// A range of a text without the blanks around it.
pub fn trimmed(text: &str, range: Range<usize>) -> Range<usize> {
    let line = &text[range.clone()];
    let start = range.start + (line.len() - line.trim_start_matches(blank).len());
    start..start.max(range.start + line.trim_end_matches(blank).len())
}
