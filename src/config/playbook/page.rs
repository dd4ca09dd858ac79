//! A playbook file while it is read: its text, its places, and what was found wrong in it.

use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use serde_yaml::{Location, Spanned};

use crate::config::diagnostic::{Diagnostic, Severity, Source, closest};
use crate::config::duration;

/// A file being read.
pub struct Page<'t> {
    source: Source<'t>,
    /// What is read instead of the text: the same with gaps where something unknown stands.
    with_gaps: Option<String>,
    /// What was found so far.
    pub findings: Vec<Diagnostic>,
}

impl<'t> Page<'t> {
    /// A file of that name and text.
    pub fn new(file: &Path, text: &'t str) -> Self {
        Page {
            source: Source::new(file, text),
            with_gaps: None,
            findings: Vec::new(),
        }
    }

    /// As [`Page::new`]; what is read has gaps, and each byte of it stands where it stands in `text`.
    pub fn with_gaps(file: &Path, text: &'t str, with_gaps: String) -> Self {
        Page {
            with_gaps: Some(with_gaps),
            ..Page::new(file, text)
        }
    }

    /// Reads the written form; a structural error is a finding.
    pub fn parse<T: serde::de::DeserializeOwned>(&mut self) -> Option<T> {
        let read = self.with_gaps.as_deref().unwrap_or(self.source.text());
        match serde_yaml::from_str(read) {
            Ok(value) => Some(value),
            Err(error) => {
                let at = error.location().map_or(0..0, |location| bytes(&location));
                let message = error.without_snippet().to_string();
                let line = message.lines().next().unwrap_or_default();
                // The place stands before the finding already.
                let what = line.split(" at line ").next().unwrap_or(line).to_owned();
                self.report(
                    at,
                    what,
                    "the keys and types of a playbook are closed",
                    "compare with the shipped playbooks",
                );
                None
            }
        }
    }

    /// Reports an error about a value.
    pub fn error<T>(
        &mut self,
        at: &Spanned<T>,
        what: impl Into<String>,
        because: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.report(bytes(&at.referenced), what, because, hint);
    }

    /// Reports a doubt about a value.
    pub fn warning<T>(
        &mut self,
        at: &Spanned<T>,
        what: impl Into<String>,
        because: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.error(at, what, because, hint);
        if let Some(last) = self.findings.last_mut() {
            last.severity = Severity::Warning;
        }
    }

    /// Reports an error about the first place inside `at` where `part` stands.
    pub fn error_in<T>(
        &mut self,
        at: &Spanned<T>,
        part: &str,
        what: impl Into<String>,
        because: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let whole = bytes(&at.referenced);
        let text = self.source.text();
        let found = text.get(whole.clone()).and_then(|inside| inside.find(part));
        let range = found.map_or(whole.clone(), |offset| {
            whole.start + offset..whole.start + offset + part.len()
        });
        self.report(range, what, because, hint);
    }

    /// Reports that `name` is unknown, with the closest known one as a hint.
    pub fn unknown<'c, T>(
        &mut self,
        at: &Spanned<T>,
        kind: &str,
        name: &str,
        known: impl IntoIterator<Item = &'c str> + Clone,
    ) {
        let hint = match closest(name, known.clone()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known: {}", known.into_iter().collect::<Vec<_>>().join(", ")),
        };
        self.error_in(
            at,
            name,
            format!("unknown {kind} `{name}`"),
            format!("there is no such {kind}"),
            hint,
        );
    }

    /// A file is found by its name, so it must be called what it says.
    pub fn named_as(&mut self, name: &Spanned<String>, stem: &str) {
        if name.value != stem {
            let what = format!("`{}` stands in a file called `{stem}.yaml`", name.value);
            self.error(
                name,
                what,
                "a file is named after what is in it",
                "rename one of them",
            );
        }
    }

    /// Reads a duration; an error is a finding.
    pub fn duration(&mut self, text: &Spanned<String>) -> Option<Duration> {
        match duration::parse(&text.value) {
            Ok(value) if !value.is_zero() => Some(value),
            Ok(_) => {
                self.error(
                    text,
                    "a deadline of zero",
                    "nothing can be done in no time",
                    "write for instance `2s`",
                );
                None
            }
            Err(why) => {
                let what = format!("`{}` is no duration", text.value);
                self.error(
                    text,
                    what,
                    why.to_string(),
                    "write for instance `500ms`, `2s` or `1m 30s`",
                );
                None
            }
        }
    }

    fn report(
        &mut self,
        at: Range<usize>,
        what: impl Into<String>,
        because: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let finding = self.source.error(&at, what, because, hint);
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }
}

fn bytes(location: &Location) -> Range<usize> {
    let span = location.span();
    match (span.byte_offset(), span.byte_len()) {
        (Some(start), Some(length)) => {
            let start = usize::try_from(start).unwrap_or(0);
            start..start + usize::try_from(length).unwrap_or(0)
        }
        _ => 0..0,
    }
}
