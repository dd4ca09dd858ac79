//! A finding about a text file: where, what, because, hint; rendered with its source line and a caret.
//!
//! Passwords may stand in such a file. Ranges given to [`Source::hide`] are shown as asterisks wherever their
//! line is shown, so a finding can be printed and logged.

use std::fmt::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// How serious a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// The file can be used, and should be mended.
    Warning,
}

/// Where in a file, and the line that stands there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// Line, counted from 1.
    pub line: usize,
    /// First column in the file, counted in characters from 1.
    pub column: usize,
    /// The line as it may be shown: secrets masked, tabs and control characters as single spaces.
    pub text: String,
    /// How many characters of `text` stand before the caret.
    pub indent: usize,
    /// How many characters the caret underlines; at least 1.
    pub width: usize,
}

/// One finding about one place of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// The file as it was named.
    pub file: PathBuf,
    /// Where; `None` for a finding about the file as a whole.
    pub place: Option<Place>,
    /// What is wrong, names in backticks.
    pub what: String,
    /// Why that is wrong.
    pub because: String,
    /// What to do about it.
    pub hint: String,
}

impl Diagnostic {
    /// An error about a file as a whole, for instance one that cannot be read.
    pub fn about_file(file: &Path, what: String, because: String, hint: String) -> Self {
        Self {
            severity: Severity::Error,
            file: file.to_owned(),
            place: None,
            what,
            because,
            hint,
        }
    }

    /// The finding as text of several lines, ending in a line feed.
    pub fn render(&self) -> String {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let mut out = String::new();
        let _ = writeln!(out, "{severity}: {}", self.what);
        // Writing into a `String` cannot fail.
        match &self.place {
            None => {
                let _ = writeln!(out, " --> {}", self.file.display());
            }
            Some(place) => {
                let number = place.line.to_string();
                let gutter = " ".repeat(number.len());
                let (line, indent, width) = place.window();
                let (file, column) = (self.file.display(), place.column);
                let _ = writeln!(out, "{gutter}--> {file}:{number}:{column}");
                let _ = writeln!(out, "{gutter} |");
                let _ = writeln!(out, "{}", format!("{number} | {line}").trim_end());
                let _ = writeln!(out, "{gutter} | {}{}", " ".repeat(indent), "^".repeat(width));
            }
        }
        let _ = writeln!(out, "  because: {}", self.because);
        let _ = writeln!(out, "  hint: {}", self.hint);
        out
    }
}

/// Characters of a source line that are shown at most; a longer line is cropped around the caret.
const SHOWN_CHARS: usize = 120;

impl Place {
    /// The part of the line worth showing, with the caret's indent and width in it.
    fn window(&self) -> (String, usize, usize) {
        let length = self.text.chars().count();
        if length <= SHOWN_CHARS {
            return (self.text.trim_end().to_owned(), self.indent, self.width);
        }
        let skipped = self.indent.saturating_sub(SHOWN_CHARS / 3);
        let mut line: String = self.text.chars().skip(skipped).take(SHOWN_CHARS).collect();
        let (mut indent, width) = (
            self.indent - skipped,
            self.width.min(SHOWN_CHARS - (self.indent - skipped)),
        );
        if skipped > 0 {
            line.insert(0, '…');
            indent += 1;
        }
        if skipped + SHOWN_CHARS < length {
            line.push('…');
        }
        (line, indent, width.max(1))
    }
}

/// Renders several findings with an empty line between them, in the order of their places.
pub fn render_all(findings: &[Diagnostic]) -> String {
    let mut sorted: Vec<&Diagnostic> = findings.iter().collect();
    sorted.sort_by_key(|finding| finding.place.as_ref().map(|place| (place.line, place.column)));
    sorted
        .iter()
        .map(|finding| finding.render())
        .collect::<Vec<_>>()
        .join("\n")
}

/// A text with its file name, able to say where a range of its bytes stands.
#[derive(Debug)]
pub struct Source<'t> {
    file: PathBuf,
    text: &'t str,
    hidden: Vec<Range<usize>>,
}

impl<'t> Source<'t> {
    /// A text and the name of the file it came from.
    pub fn new(file: &Path, text: &'t str) -> Self {
        Self {
            file: file.to_owned(),
            text,
            hidden: Vec::new(),
        }
    }

    /// The whole text.
    pub fn text(&self) -> &'t str {
        self.text
    }

    /// The file as it was named.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Never show these bytes.
    pub fn hide(&mut self, range: Range<usize>) {
        self.hidden.push(range);
    }

    /// Whether these bytes must not be shown, and so not be quoted either.
    pub fn hides(&self, range: &Range<usize>) -> bool {
        self.hidden
            .iter()
            .any(|hidden| hidden.start < range.end && range.start < hidden.end)
    }

    /// An error about a range of bytes.
    pub fn error(
        &self,
        at: &Range<usize>,
        what: impl Into<String>,
        because: impl Into<String>,
        hint: impl Into<String>,
    ) -> Diagnostic {
        Diagnostic {
            severity: Severity::Error,
            file: self.file.clone(),
            place: Some(self.place(at)),
            what: what.into(),
            because: because.into(),
            hint: hint.into(),
        }
    }

    /// Where a range of bytes stands. A range over several lines is cut at the end of its first.
    pub fn place(&self, range: &Range<usize>) -> Place {
        let start = self.boundary(range.start);
        let line_start = self.text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = self.text[start..]
            .find('\n')
            .map_or(self.text.len(), |at| start + at);
        let content_end = line_start + self.text[line_start..line_end].trim_end().len();
        let end = self.boundary(range.end).clamp(start, content_end.max(start));

        let mut place = Place {
            line: self.text[..start].matches('\n').count() + 1,
            column: self.text[line_start..start].chars().count() + 1,
            text: String::new(),
            indent: 0,
            width: 0,
        };
        let mut masked = false;
        for (offset, character) in self.text[line_start..line_end].char_indices() {
            let at = line_start + offset;
            let hidden = self.hidden.iter().any(|range| range.contains(&at));
            // Three asterisks whatever the length, so that not even the length is told.
            let shown = match (hidden, masked) {
                (true, false) => "***".to_owned(),
                (true, true) => String::new(),
                (false, _) if character.is_control() => " ".to_owned(),
                (false, _) => character.to_string(),
            };
            masked = hidden;
            let width = shown.chars().count();
            if at < start {
                place.indent += width;
            } else if at < end {
                place.width += width;
            }
            place.text.push_str(&shown);
        }
        place.width = place.width.max(1);
        place
    }

    /// The nearest character boundary at or before `at`.
    fn boundary(&self, at: usize) -> usize {
        let at = at.min(self.text.len());
        (0..=at)
            .rev()
            .find(|at| self.text.is_char_boundary(*at))
            .unwrap_or(0)
    }
}

/// The candidate that a mistyped name most likely meant.
pub fn closest<'c>(name: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let name = name.to_lowercase().replace('-', "_");
    let tolerated = (name.chars().count() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .map(|candidate| {
            (
                distance(&name, &candidate.to_lowercase().replace('-', "_")),
                candidate,
            )
        })
        .filter(|(distance, _)| *distance <= tolerated)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Edits between two words: insertions, deletions, replacements, and swaps of neighbours.
fn distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in to.iter().enumerate() {
            let mut best = (last[j] + usize::from(a != b))
                .min(last[j + 1] + 1)
                .min(row[j] + 1);
            if i > 0 && j > 0 && *a == to[j - 1] && from[i - 1] == *b {
                best = best.min(before_last[j - 1] + 1);
            }
            row.push(best);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn carets_stand_under_their_range_after_masked_and_wide_text() {
        let text = "a: 1\nkey: héllo  # tail\n\tpassword: hunter2, user: x\n";
        let mut source = Source::new(Path::new("f.yaml"), text);
        let at = text.find("héllo").unwrap_or(0);
        let place = source.place(&(at..at + "héllo".len()));
        assert_eq!(
            (place.line, place.column, place.indent, place.width),
            (2, 6, 5, 5)
        );

        let secret = text.find("hunter2").unwrap_or(0);
        source.hide(secret..secret + 7);
        let at = text.find("x\n").unwrap_or(0);
        let place = source.place(&(at..at + 1));
        assert_eq!(place.text, " password: ***, user: x");
        assert_eq!(
            (place.line, place.column, place.indent, place.width),
            (3, 27, 22, 1)
        );
        assert_eq!(source.place(&(secret..secret + 7)).width, 3);
    }

    #[test]
    fn any_range_has_a_place() {
        let text = "äö\r\n\n";
        let source = Source::new(Path::new("f"), text);
        for start in 0..10 {
            for end in 0..10 {
                let place = source.place(&(start..end));
                assert!(place.line >= 1 && place.column >= 1 && place.width >= 1);
            }
        }
    }

    #[test]
    fn long_lines_are_cropped_around_the_caret() {
        let text = format!("{}bad{}", "x".repeat(300), "y".repeat(300));
        let source = Source::new(Path::new("f"), &text);
        let shown = source.error(&(300..303), "w", "b", "h").render();
        let lines: Vec<&str> = shown.lines().collect();
        let (line, caret) = (lines[3], lines[4]);
        let under: String = line
            .chars()
            .zip(caret.chars())
            .filter(|(_, c)| *c == '^')
            .map(|(l, _)| l)
            .collect();
        assert_eq!(under, "bad");
        assert!(line.chars().count() < 140);
    }

    #[test]
    fn suggestions_are_near_or_absent() {
        let keys = ["address", "addresses", "interface", "mode"];
        assert_eq!(closest("adress", keys), Some("address"));
        assert_eq!(closest("mdoe", keys), Some("mode"));
        assert_eq!(closest("Interface", keys), Some("interface"));
        assert_eq!(closest("zebra", keys), None);
    }
}
