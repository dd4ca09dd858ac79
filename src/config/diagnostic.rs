//! A finding about a text file: where, what, because, hint; rendered with its source line and a caret.

use std::path::PathBuf;

/// How serious a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// The file can be used, and should be mended.
    Warning,
}

/// Where in a file, and the line that stands there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Line, counted from 1.
    pub line: usize,
    /// First column, counted in characters from 1.
    pub column: usize,
    /// How many characters the caret underlines; at least 1.
    pub width: usize,
    /// The source line without its line ending.
    pub text: String,
}

/// One finding about one place of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
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
