//! Reads single values: text, numbers, durations, addresses, paths, lists. One function for each type.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::mask;
use super::reader::{Given, Reader, Section};
use super::tree::{Node, Value};
use crate::config::diagnostic::closest;
use crate::config::duration::{self, BadDuration};

impl Reader<'_> {
    /// A single value and whether it was quoted; `wanted` says what it should be.
    pub fn scalar<'n>(&mut self, node: &'n Node, wanted: &str) -> Option<(&'n str, bool)> {
        match &node.value {
            Value::Scalar { text, quoted } => Some((text, *quoted)),
            _ => {
                self.wrong_type(node, wanted);
                None
            }
        }
    }

    /// Text in one line, as written; never empty.
    pub fn text(&mut self, node: &Node) -> Option<Given<String>> {
        let (text, _) = self.scalar(node, "text")?;
        if text.is_empty() {
            self.error(
                &node.span,
                "this text is empty",
                "an empty value says nothing",
                "fill it in or remove it",
            );
            return None;
        }
        if text.chars().any(char::is_control) {
            self.error(
                &node.span,
                "this text has line breaks or control characters in it",
                "it becomes part of commands and messages",
                "write it in one line",
            );
            return None;
        }
        Some(Given {
            value: text.to_owned(),
            span: node.span.clone(),
        })
    }

    /// A command for `sh`, in one line or several.
    pub fn script(&mut self, node: &Node) -> Option<Given<String>> {
        let (text, _) = self.scalar(node, "a command")?;
        let text = text.trim();
        if text.is_empty() || text.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
            self.error(
                &node.span,
                "this is no command",
                "it is empty, or has control characters in it",
                "write a command as for `sh -c`",
            );
            return None;
        }
        Some(Given {
            value: text.to_owned(),
            span: node.span.clone(),
        })
    }

    /// Text that becomes one word of a command line: no blanks, no leading `-`.
    pub fn word(&mut self, node: &Node) -> Option<Given<String>> {
        let text = self.text(node)?;
        if text.value.starts_with('-') || text.value.chars().any(char::is_whitespace) {
            self.error(
                &text.span,
                format!("`{}` begins with `-` or has blanks in it", text.value),
                "it becomes one word of a command line, where that would mean something else",
                "write a plain word",
            );
            return None;
        }
        Some(text)
    }

    /// A name of a host, role, cluster or duty.
    pub fn name(&mut self, node: &Node) -> Option<Given<String>> {
        let text = self.text(node)?;
        self.check_name(&text.value, &text.span).then_some(text)
    }

    pub fn check_name(&mut self, name: &str, span: &Range<usize>) -> bool {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        let good = !name.is_empty()
            && name.len() <= 64
            && name.chars().all(allowed)
            && !name.starts_with(['-', '.']);
        if !good {
            self.error(
                span,
                format!("`{name}` cannot be a name"),
                "names stand in commands, file names and templates: at most 64 letters, digits, `_`, `-` and `.`, \
                 the first neither `-` nor `.`",
                "choose a name of those characters",
            );
        }
        good
    }

    /// `true` or `false`, nothing else.
    pub fn flag(&mut self, node: &Node) -> Option<Given<bool>> {
        let (text, quoted) = self.scalar(node, "`true` or `false`")?;
        let value = match text {
            "true" if !quoted => true,
            "false" if !quoted => false,
            _ => {
                let hint = match text.to_lowercase().as_str() {
                    "yes" | "on" | "true" | "1" => "write `true`, without quotes",
                    "no" | "off" | "false" | "0" => "write `false`, without quotes",
                    _ => "write `true` or `false`, without quotes",
                };
                self.error(
                    &node.span,
                    format!("`{text}` is neither `true` nor `false`"),
                    "YAML versions disagree about yes, no, on and off, so only these two words count",
                    hint,
                );
                return None;
            }
        };
        Some(Given {
            value,
            span: node.span.clone(),
        })
    }

    /// A whole number within bounds.
    pub fn number(&mut self, node: &Node, least: u32, most: u32) -> Option<Given<u32>> {
        let wanted = format!("a whole number from {least} to {most}");
        let (text, quoted) = self.scalar(node, &wanted)?;
        let plain =
            !quoted && text.chars().all(|c| c.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
        match text.parse::<u32>() {
            Ok(value) if plain && (least..=most).contains(&value) => Some(Given {
                value,
                span: node.span.clone(),
            }),
            _ => {
                let found = if quoted {
                    "in quotes it is text"
                } else {
                    "the value is out of range or no number"
                };
                self.error(
                    &node.span,
                    format!("`{text}` is not {wanted}"),
                    found,
                    format!("write {wanted}, without quotes, unit or leading zero"),
                );
                None
            }
        }
    }

    /// A TCP port.
    pub fn port(&mut self, node: &Node) -> Option<Given<u16>> {
        let number = self.number(node, 1, 65_535)?;
        let value = u16::try_from(number.value).ok()?;
        Some(Given {
            value,
            span: number.span,
        })
    }

    /// A duration that may be zero, where that switches something off.
    pub fn duration_or_zero(&mut self, node: &Node) -> Option<Given<Duration>> {
        let (text, _) = self.scalar(node, "a duration such as `0s` or `2s`")?;
        match duration::parse(text) {
            Ok(value) if value.is_zero() => Some(Given {
                value,
                span: node.span.clone(),
            }),
            _ => self.duration(node),
        }
    }

    /// A duration above zero.
    pub fn duration(&mut self, node: &Node) -> Option<Given<Duration>> {
        let (text, _) = self.scalar(node, "a duration such as `500ms` or `2s`")?;
        let (because, hint) = match duration::parse(text) {
            Ok(value) if value.is_zero() => (
                "no wait can last no time at all".to_owned(),
                "write at least `1ms`".to_owned(),
            ),
            Ok(value) => {
                return Some(Given {
                    value,
                    span: node.span.clone(),
                });
            }
            Err(error @ BadDuration::NoUnit(_)) => (
                error.to_string(),
                format!("say which unit: `{text}s` or `{text}ms`"),
            ),
            Err(error @ BadDuration::UnknownUnit(_)) => {
                (error.to_string(), "units are `ms`, `s`, `m` and `h`".to_owned())
            }
            Err(error) => (
                error.to_string(),
                "write it like `500ms`, `2s` or `1m 30s`".to_owned(),
            ),
        };
        self.error(
            &node.span,
            format!("`{text}` is not a usable duration"),
            because,
            hint,
        );
        None
    }

    /// The address of one host, without prefix length.
    pub fn address(&mut self, node: &Node) -> Option<Given<IpAddr>> {
        let (text, _) = self.scalar(node, "an IP address")?;
        let (because, hint) = match text.parse::<IpAddr>() {
            Ok(value) if value.is_unspecified() || value.is_multicast() || is_broadcast(&value) => {
                ("no single host can have it", "write the address of one host")
            }
            Ok(value) => {
                return Some(Given {
                    value,
                    span: node.span.clone(),
                });
            }
            Err(_)
                if text
                    .split_once('/')
                    .is_some_and(|(address, _)| address.parse::<IpAddr>().is_ok()) =>
            {
                (
                    "it has a prefix length, and addresses are brought up as host routes",
                    "remove the `/…`",
                )
            }
            Err(_) if text.chars().all(|c| c.is_ascii_digit() || c == '.') => (
                "an IPv4 address is four numbers from 0 to 255",
                "write it like `10.0.0.11`",
            ),
            Err(_) => (
                "names are not looked up: a failover must not wait for a name server",
                "write an IPv4 or IPv6 address such as `10.0.0.11`",
            ),
        };
        self.error(
            &node.span,
            format!("`{text}` is not a usable address"),
            because,
            hint,
        );
        None
    }

    /// A path on this box: `~/` is the home directory, and relative paths start from the inventory's directory.
    pub fn path(&mut self, node: &Node) -> Option<Given<PathBuf>> {
        let text = self.text(node)?;
        let value = match text.value.strip_prefix("~/") {
            None if text.value.starts_with('~') => {
                self.error(
                    &text.span,
                    format!("`{}` is not a usable path", text.value),
                    "only `~/` is understood, not other users' homes",
                    "write the path out",
                );
                return None;
            }
            None => self.directory.join(&text.value),
            Some(rest) => match &self.home {
                Some(home) => home.join(rest),
                None => {
                    self.error(
                        &text.span,
                        format!("`{}` cannot be resolved", text.value),
                        "the home directory is not known here",
                        "write the path out",
                    );
                    return None;
                }
            },
        };
        Some(Given {
            value,
            span: text.span,
        })
    }

    /// A path on a host, which must be absolute.
    pub fn remote_path(&mut self, node: &Node) -> Option<Given<PathBuf>> {
        let text = self.text(node)?;
        if !Path::new(&text.value).is_absolute() {
            self.error(
                &text.span,
                format!("`{}` is not an absolute path", text.value),
                "it is a path on the host, where no directory is the natural start",
                "begin it with `/`",
            );
            return None;
        }
        Some(Given {
            value: PathBuf::from(text.value),
            span: text.span,
        })
    }

    /// A list whose items are read by `item`; an unusable item is `None`, so that counting still works.
    pub fn list<T>(
        &mut self,
        node: &Node,
        wanted: &str,
        mut item: impl FnMut(&mut Self, &Node) -> Option<T>,
    ) -> Option<Vec<Option<T>>> {
        match &node.value {
            Value::List(items) => Some(items.iter().map(|node| item(self, node)).collect()),
            _ => {
                self.wrong_type(node, &format!("a list of {wanted} in `[` and `]`"));
                None
            }
        }
    }

    /// Names with text, for templates; numbers are taken as written.
    pub fn text_map(&mut self, parent: &mut Section<'_>, key: &'static str) -> BTreeMap<String, String> {
        let mut values = BTreeMap::new();
        let Some(section) = self.section(parent, key) else {
            return values;
        };
        for entry in section.entries() {
            if !mask::is_variable(&entry.key) {
                self.error(
                    &entry.key_span,
                    format!("`{}` cannot name a value", entry.key),
                    "templates read it by name: letters, digits and `_`, not beginning with a digit",
                    "choose another name",
                );
            } else if let Some((text, _)) = self.scalar(&entry.value, "text") {
                values.insert(entry.key.clone(), text.to_owned());
            }
        }
        values
    }

    /// One word out of several.
    pub fn choice<T: Copy>(&mut self, node: &Node, words: &[(&str, T)]) -> Option<Given<T>> {
        let wanted = words
            .iter()
            .map(|(word, _)| format!("`{word}`"))
            .collect::<Vec<_>>()
            .join(" or ");
        let (text, _) = self.scalar(node, &wanted)?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Some(Given {
                value: *value,
                span: node.span.clone(),
            });
        }
        let near = closest(text, words.iter().map(|(word, _)| *word));
        let hint = near.map_or_else(
            || format!("write {wanted}"),
            |near| format!("did you mean `{near}`?"),
        );
        self.error(
            &node.span,
            format!("`{text}` is not {wanted}"),
            "only these words have a meaning here",
            hint,
        );
        None
    }

    pub fn wrong_type(&mut self, node: &Node, wanted: &str) {
        let found = match &node.value {
            Value::Empty => "nothing",
            Value::Scalar { .. } => "a single value",
            Value::List(_) => "a list",
            Value::Map { .. } => "keys with values",
        };
        self.error(
            &node.span,
            format!("{found} where {wanted} should stand"),
            "the value has the wrong type",
            format!("write {wanted}"),
        );
    }
}

fn is_broadcast(address: &IpAddr) -> bool {
    matches!(address, IpAddr::V4(address) if address.is_broadcast())
}
