//! A page of YAML that remembers which of MMM's words each of its values came from.

use super::texts::{At, Said};

/// The page being written.
#[derive(Default)]
pub struct Page {
    text: String,
    line: usize,
    /// Where the current line begins.
    line_start: usize,
    origins: Vec<Origin>,
}

struct Origin {
    line: usize,
    column: usize,
    at: At,
}

/// Columns after which a comment is broken.
const COMMENT_COLUMNS: usize = 110;

impl Page {
    /// The whole text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The whole text.
    pub fn into_text(self) -> String {
        self.text
    }

    /// Begins a line.
    pub fn begin(&mut self, indent: usize) -> &mut Self {
        self.put(&" ".repeat(indent))
    }

    /// Adds text that needs no quotes.
    pub fn put(&mut self, text: &str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    /// Adds text that came from `at`.
    pub fn put_from(&mut self, text: &str, at: &At) -> &mut Self {
        self.origins.push(Origin {
            line: self.line,
            column: self.text[self.line_start..].chars().count(),
            at: at.clone(),
        });
        self.put(text)
    }

    /// Adds a value as it was said, in quotes if it needs them.
    pub fn said(&mut self, said: &Said) -> &mut Self {
        self.put_from(&scalar(&said.text), &said.at)
    }

    /// Adds a list of values.
    pub fn list(&mut self, items: &[Said]) -> &mut Self {
        self.put("[");
        for (number, item) in items.iter().enumerate() {
            self.put(if number > 0 { ", " } else { "" }).said(item);
        }
        self.put("]")
    }

    /// Ends a line.
    pub fn end(&mut self) {
        self.text.push('\n');
        self.line += 1;
        self.line_start = self.text.len();
    }

    /// An empty line, unless there is one.
    pub fn gap(&mut self) {
        if !self.text.ends_with("\n\n") && !self.text.is_empty() {
            self.end();
        }
    }

    /// A comment, in as many lines as it needs. What stands in backticks stays on one line.
    pub fn comment(&mut self, indent: usize, text: &str) {
        let mut line = String::new();
        for word in words(text) {
            let length = indent + 2 + line.chars().count() + 1 + word.chars().count();
            if length > COMMENT_COLUMNS && !line.is_empty() {
                self.commented(indent, &std::mem::take(&mut line));
            }
            line.push_str(if line.is_empty() { "" } else { " " });
            line.push_str(word);
        }
        self.commented(indent, &line);
    }

    /// One line as a comment, its blanks as they are.
    pub fn commented(&mut self, indent: usize, line: &str) {
        let line: String = line.chars().map(printable).collect();
        self.begin(indent).put("# ").put(line.trim_end()).end();
    }

    /// What the value at a line and column, both counted from 1, came from; if it came from nothing, what stands
    /// nearest before it.
    pub fn origin(&self, line: usize, column: usize) -> Option<&At> {
        let before = |origin: &&Origin| (origin.line + 1, origin.column + 1) <= (line, column);
        let on_line = |origin: &&Origin| origin.line + 1 == line;
        self.origins
            .iter()
            .rfind(before)
            .filter(on_line)
            .or_else(|| self.origins.iter().find(on_line))
            .or_else(|| self.origins.iter().rfind(before))
            .map(|origin| &origin.at)
    }
}

/// Words at whose ends a line may be broken.
fn words(text: &str) -> Vec<&str> {
    let mut quoted = false;
    let breaks = |c: char| {
        quoted ^= c == '`';
        c == ' ' && !quoted
    };
    text.split(breaks).filter(|word| !word.is_empty()).collect()
}

/// Text as a YAML value that is read back as that text, by this program and any other.
pub fn scalar(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/');
    let starts_well = text.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '_' | '/'));
    let reserved = RESERVED.iter().any(|word| text.eq_ignore_ascii_case(word));
    let is_address = text.parse::<std::net::Ipv4Addr>().is_ok();
    if is_address || (starts_well && text.chars().all(plain) && !reserved) {
        text.to_owned()
    } else {
        quoted(text)
    }
}

/// Text in double quotes.
pub fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            c if c == ' ' || c.is_ascii_graphic() || (!c.is_ascii() && c.is_alphanumeric()) => out.push(c),
            c => out.push_str(&format!("\\U{:08X}", u32::from(c))),
        }
    }
    out.push('"');
    out
}

/// Words that some YAML reads as something else than text.
const RESERVED: [&str; 9] = ["null", "true", "false", "yes", "no", "on", "off", "y", "n"];

/// A character as a comment may hold it.
fn printable(c: char) -> char {
    if c == ' ' || c.is_ascii_graphic() || (!c.is_ascii() && c.is_alphanumeric()) {
        c
    } else {
        '?'
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_back(text in "\\PC{0,20}|[ -~]{0,12}|.{0,8}") {
            for written in [scalar(&text), quoted(&text)] {
                let read: String = serde_yaml::from_str(&written).unwrap();
                prop_assert_eq!(&read, &text, "{}", written);
                let list: Vec<String> = serde_yaml::from_str(&format!("[{written}, x]")).unwrap();
                prop_assert_eq!(&list[0], &text, "{}", written);
            }
        }

        #[test]
        fn a_comment_stays_a_comment(text in ".{0,300}") {
            let mut page = Page::default();
            page.comment(2, &text);
            prop_assert!(page.text().lines().all(|line| line.starts_with("  #")), "{}", page.text());
            prop_assert!(page.text().ends_with('\n'));
        }
    }

    #[test]
    fn words_that_yaml_would_change_are_quoted() {
        for (text, written) in [
            ("eth0", "eth0"),
            ("10.0.0.1", "10.0.0.1"),
            ("no", "\"no\""),
            ("Null", "\"Null\""),
            ("0123", "\"0123\""),
            ("fd00::1", "\"fd00::1\""),
            ("a: b # \"c\\", "\"a: b # \\\"c\\\\\""),
            ("", "\"\""),
        ] {
            assert_eq!(scalar(text), written);
        }
    }
}
