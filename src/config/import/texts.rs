//! The texts of MMM's files, and values that know where they were said.
//!
//! A password may stand on any line, mistyped keys included: what follows a word that looks like one is never shown.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::diagnostic::{Diagnostic, Source};

/// A file as it was found. Passwords stand in it, so it is not `Debug`, nor is what is made of it.
#[derive(Clone)]
pub struct File {
    /// As it is named in messages.
    pub path: PathBuf,
    /// The same for the same file however it was reached: tells loops.
    pub identity: PathBuf,
    /// What stands in it.
    pub bytes: Vec<u8>,
    /// Its permission bits.
    pub mode: Option<u32>,
}

/// Where something was said: a file, by its number, and the bytes there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At {
    pub file: usize,
    pub span: Range<usize>,
}

/// Something that was said, and where.
#[derive(Clone, PartialEq, Eq)]
pub struct Said {
    pub text: String,
    pub at: At,
}

/// All texts that were read, each file once.
#[derive(Default)]
pub struct Texts {
    files: Vec<Kept>,
}

struct Kept {
    path: PathBuf,
    identity: PathBuf,
    mode: Option<u32>,
    text: Arc<str>,
    hidden: Vec<Range<usize>>,
}

impl Texts {
    /// Keeps a file and gives its number; with the byte at which it stops being text, if it does.
    pub fn keep(&mut self, file: File) -> (usize, Option<usize>) {
        if let Some(known) = self.numbered(&file.identity) {
            return (known, None);
        }
        let (text, broken) = match String::from_utf8(file.bytes) {
            Ok(text) => (text, None),
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                (String::from_utf8_lossy(error.as_bytes()).into_owned(), Some(at))
            }
        };
        self.files.push(Kept {
            path: file.path,
            identity: file.identity,
            mode: file.mode,
            hidden: hidden(&text),
            text: text.into(),
        });
        (self.files.len() - 1, broken)
    }

    /// The number of a file that was read already.
    pub fn numbered(&self, identity: &Path) -> Option<usize> {
        self.files.iter().position(|file| file.identity == identity)
    }

    /// The text of a file.
    pub fn text(&self, file: usize) -> Arc<str> {
        self.files
            .get(file)
            .map_or_else(|| Arc::from(""), |kept| kept.text.clone())
    }

    /// The name of a file.
    pub fn path(&self, file: usize) -> &Path {
        self.files.get(file).map_or(Path::new(""), |kept| &kept.path)
    }

    /// The permission bits of a file, where they are known.
    pub fn mode(&self, file: usize) -> Option<u32> {
        self.files.get(file).and_then(|kept| kept.mode)
    }

    /// The line of a place, counted from 1.
    pub fn line(&self, at: &At) -> usize {
        self.source(at.file).place(&at.span).line
    }

    /// `FILE:LINE` for a message.
    pub fn place(&self, at: &At) -> String {
        format!("{}:{}", self.path(at.file).display(), self.line(at))
    }

    /// As [`Texts::place`], without the directory.
    pub fn short_place(&self, at: &At) -> String {
        let name = self.path(at.file).file_name().unwrap_or_default();
        format!("{}:{}", name.to_string_lossy(), self.line(at))
    }

    /// Whether these bytes must not be quoted.
    pub fn hides(&self, at: &At) -> bool {
        self.source(at.file).hides(&at.span)
    }

    /// An error about what was said somewhere.
    pub fn error(
        &self,
        at: &At,
        what: impl Into<String>,
        because: impl Into<String>,
        hint: impl Into<String>,
    ) -> Diagnostic {
        self.source(at.file).error(&at.span, what, because, hint)
    }

    fn source(&self, file: usize) -> Source<'_> {
        let Some(kept) = self.files.get(file) else {
            return Source::new(Path::new(""), "");
        };
        let mut source = Source::new(&kept.path, &kept.text);
        for range in &kept.hidden {
            source.hide(range.clone());
        }
        source
    }
}

/// What may be a password: all that follows a key that looks like one on its line, or the line below a key that
/// stands alone.
fn hidden(text: &str) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let (mut start, mut lone) = (0, false);
    for line in text.split_inclusive('\n') {
        let end = start + line.trim_end().len();
        let from = start + (line.len() - line.trim_start().len());
        let word_end = text[from.min(end)..end]
            .find(char::is_whitespace)
            .map_or(end, |at| from + at);
        let word = text[from.min(end)..word_end].to_ascii_lowercase();
        let secretive = SECRETIVE.iter().filter_map(|part| word.find(part)).min();
        if lone && from < end {
            ranges.push(from..end);
        }
        // A value that sticks to its key is behind these letters.
        lone = match secretive {
            Some(_) if word_end < end => {
                let value = text[word_end..end].trim_start();
                ranges.push(end - value.len()..end);
                false
            }
            Some(at) if !KEYS.iter().any(|key| word.ends_with(key)) => {
                ranges.push((from + at).min(end)..end);
                true
            }
            Some(_) => true,
            None => false,
        };
        start += line.len();
    }
    ranges
}

/// What a word that announces a secret has in it.
const SECRETIVE: [&str; 3] = ["pas", "pwd", "secret"];

/// How a key that is written well ends.
const KEYS: [&str; 1] = ["_password"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown_even_beside_mistyped_keys() {
        for line in [
            "agent_password hunter2",
            "agent_pasword   hunter2 zebra",
            "\tPASSWORD hunter2",
            "agent_passwordhunter2",
            "agent_password=hunter2",
            "agent_password\nhunter2",
            "secret\thunter2",
        ] {
            let mut texts = Texts::default();
            let bytes = format!("this db1\n{line}\nthis db2\n").into_bytes();
            let path = PathBuf::from("f");
            let (file, _) = texts.keep(File {
                identity: path.clone(),
                path,
                bytes,
                mode: None,
            });
            for span in [9..20, 24..30, 9..10, 25..26] {
                let shown = texts.error(&At { file, span }, "w", "b", "h").render();
                assert!(!shown.contains("hunter2") && !shown.contains("zebra"), "{shown}");
            }
            let first = texts.error(&At { file, span: 0..4 }, "w", "b", "h").render();
            assert!(first.contains("this db1"), "{first}");
        }
    }
}
