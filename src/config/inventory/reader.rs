//! Reads typed values out of the tree and collects every error on the way, instead of stopping at the first.
//!
//! A section learns its keys from being asked for them: what was never asked for is unknown. The paths asked for
//! are kept, so that a test can hold the example file against them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::tree::{Entry, Node, Value};
use crate::config::diagnostic::{Diagnostic, Severity, Source, closest};
use crate::config::duration::{self, BadDuration};

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

    /// Whether a key stands here, be it misspelt: what it lacks then is reported there already.
    pub fn mentions(&self, key: &str) -> bool {
        self.entries
            .iter()
            .any(|entry| entry.key == key || former_name_of(key, &entry.key).is_some())
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

    fn mapping<'n>(&mut self, node: &'n Node, owner: Range<usize>, path: String) -> Option<Section<'n>> {
        match &node.value {
            Value::Map(entries) => Some(Section {
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
            // `{ secret }` makes the secret a key.
            let nameless = matches!(entry.value.value, Value::Empty) && section.path.contains("pass");
            let what = if nameless {
                "unknown key".to_owned()
            } else {
                format!("unknown key `{}`", entry.key)
            };
            let because = format!("no key of that name exists {}", where_it_is(&section.path));
            let hint = unknown_key_hint(&entry.key, &section);
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

    fn wrong_type(&mut self, node: &Node, wanted: &str) {
        let found = match &node.value {
            Value::Empty => "nothing",
            Value::Scalar { .. } => "a single value",
            Value::List(_) => "a list",
            Value::Map(_) => "keys with values",
        };
        self.error(
            &node.span,
            format!("{found} where {wanted} should stand"),
            "the value has the wrong type",
            format!("write {wanted}"),
        );
    }

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

    fn check_name(&mut self, name: &str, span: &Range<usize>) -> bool {
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
        for entry in section.entries {
            let mut characters = entry.key.chars();
            let starts_well = characters
                .next()
                .is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
            if !starts_well || !characters.all(|c| c.is_ascii_alphanumeric() || c == '_') {
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
}

fn is_broadcast(address: &IpAddr) -> bool {
    matches!(address, IpAddr::V4(address) if address.is_broadcast())
}

/// What MMM called the keys of today.
const FORMER_KEYS: [(&str, &str); 22] = [
    ("ip", "address"),
    ("ips", "addresses"),
    ("cluster_interface", "interface"),
    ("active_master_role", "writer_role"),
    ("check_period", "every"),
    ("trap_period", "trap_after"),
    ("ping_ips", "ping_addresses"),
    ("mysql_port", "mysql: { port: … }"),
    ("ssh_port", "ssh: { port: … }"),
    ("ssh_user", "ssh: { user: … }"),
    ("monitor_user", "credentials: { monitor: { user: … } }"),
    ("monitor_password", "credentials: { monitor: { password: … } }"),
    ("agent_user", "credentials: { agent: { user: … } }"),
    ("agent_password", "credentials: { agent: { password: … } }"),
    ("replication_user", "credentials: { replication: { user: … } }"),
    (
        "replication_password",
        "credentials: { replication: { password: … } }",
    ),
    ("host", "hosts"),
    ("role", "roles"),
    ("check", "checks"),
    ("status_path", "state_dir"),
    ("pid_path", "state_dir"),
    ("port", "socket"),
];

/// How `key` is written today if `former` is what MMM called it, or something below it.
fn former_name_of(key: &str, former: &str) -> Option<&'static str> {
    let (_, now) = FORMER_KEYS
        .iter()
        .find(|(was, now)| *was == former && now.split(':').next() == Some(key))?;
    Some(now)
}

/// Where a section stands, in words.
fn where_it_is(path: &str) -> String {
    match path.strip_suffix(".*") {
        _ if path.is_empty() => "at the top of the file".to_owned(),
        Some(outer) => format!("in an entry of `{}`", outer.rsplit('.').next().unwrap_or(outer)),
        None => format!("in `{}`", path.rsplit('.').next().unwrap_or(path)),
    }
}

fn unknown_key_hint(key: &str, section: &Section<'_>) -> String {
    let asked = &section.asked;
    if let Some(now) = asked.iter().find_map(|known| former_name_of(known, key)) {
        return format!("what MMM called `{key}` is `{now}` here");
    }
    let in_cluster = [
        "service",
        "fence",
        "vars",
        "checks",
        "failover",
        "playbooks",
        "writer_role",
    ];
    if section.path.ends_with(".*.defaults") && in_cluster.contains(&key) {
        return format!("`{key}` stands in the cluster itself, beside `defaults`");
    }
    let in_defaults = ["interface", "ssh", "mysql", "credentials"];
    if section.path == "clusters.*" && in_defaults.contains(&key) {
        return format!("put `{key}` into the cluster's `defaults`, or into a host");
    }
    if let Some(near) = closest(key, asked.iter().copied()) {
        return format!("did you mean `{near}`?");
    }
    let all: Vec<String> = asked.iter().map(|key| format!("`{key}`")).collect();
    format!("known here: {}", all.join(", "))
}
