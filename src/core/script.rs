//! A duty made ready for one host: every template filled, every deadline settled. This is both what a plan shows and
//! what runs.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A duty made ready for one host.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Script {
    /// The duty's name.
    pub duty: String,
    /// One sentence for people.
    pub says: String,
    /// In order, nested duties already in place.
    pub steps: Vec<ScriptStep>,
}

impl Script {
    /// Whether any step asks the database server.
    pub fn needs_sql(&self) -> bool {
        self.steps.iter().any(|step| {
            let looks = [&step.unless, &step.until];
            step.act.language() == Some(Language::Sql)
                || looks
                    .into_iter()
                    .flatten()
                    .any(|look| look.command.language == Language::Sql)
        })
    }
}

impl Script {
    /// The same with variables in the environment of each of its shell commands, and of nothing else.
    pub fn within_environment(mut self, environment: &BTreeMap<String, String>) -> Script {
        let mut export = Vec::new();
        for (name, value) in environment {
            export.push(Part::Plain(format!("export {name}=")));
            export.push(Part::Quoted(value.clone()));
            export.push(Part::Plain("; ".to_owned()));
        }
        let add = |command: &mut Command| {
            if command.language == Language::Shell {
                command.parts.splice(0..0, export.iter().cloned());
            }
        };
        for step in &mut self.steps {
            match &mut step.act {
                Act::Perform(command) | Act::PerformRows(command) | Act::Start(command) => add(command),
                Act::Verify(looking) | Act::SkipIf(looking, _) => add(&mut looking.command),
                Act::Wait => {}
            }
            for looking in step.unless.iter_mut().chain(&mut step.until) {
                add(&mut looking.command);
            }
        }
        self
    }

    /// What a host said, with the secrets of this script masked. A syntax error quotes the statement from anywhere
    /// on, perhaps from the middle of a secret, so of that only the code is left.
    pub fn mask(&self, said: &str) -> String {
        let mut masked = said.to_owned();
        let mut any = false;
        for secret in self.secrets().filter(|secret| !secret.is_empty()) {
            any = true;
            let quoted = quote(Language::Sql, secret);
            for form in [quoted.trim_matches('\''), secret] {
                masked = masked.replace(form, "***");
            }
        }
        match masked.find(": ") {
            Some(end) if any && masked.starts_with("ERROR 1064 ") => masked[..end].to_owned(),
            _ => masked,
        }
    }

    fn secrets(&self) -> impl Iterator<Item = &str> {
        let commands = self.steps.iter().flat_map(|step| {
            let looks = step
                .unless
                .iter()
                .chain(&step.until)
                .map(|looking| &looking.command);
            step.act.command().into_iter().chain(looks)
        });
        commands
            .flat_map(|command| &command.parts)
            .filter_map(|part| match part {
                Part::Secret(value) => Some(value.as_str()),
                Part::Plain(_) | Part::Quoted(_) => None,
            })
    }
}

/// One step of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptStep {
    /// What people see.
    pub name: String,
    /// The step must have ended this long after it began.
    pub within: Duration,
    /// When this holds, the step is already done.
    pub unless: Option<Looking>,
    /// What it does.
    pub act: Act,
    /// Repeats the action until it holds or the deadline passes.
    pub until: Option<Looking>,
    /// What the answer must be.
    pub expect: Expected,
    /// SQL error codes, or exit statuses, that count as done.
    pub tolerate: Vec<u16>,
    /// Registered name → which part of the answer.
    pub register: BTreeMap<String, Field>,
}

/// What a script's step does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Perform it and wait for its end; its language says where.
    Perform(Command),
    /// Ask for rows and perform the first column of each as a statement.
    PerformRows(Command),
    /// Start it and do not wait.
    Start(Command),
    /// Look; the step fails unless it holds.
    Verify(Looking),
    /// When it holds, leave out so many following steps.
    SkipIf(Looking, usize),
    /// Nothing but waiting for `until`.
    Wait,
}

impl Act {
    /// Its command; a wait has none.
    pub fn command(&self) -> Option<&Command> {
        match self {
            Act::Perform(command) | Act::PerformRows(command) | Act::Start(command) => Some(command),
            Act::Verify(looking) | Act::SkipIf(looking, _) => Some(&looking.command),
            Act::Wait => None,
        }
    }

    /// The language of its command.
    pub fn language(&self) -> Option<Language> {
        self.command().map(|command| command.language)
    }
}

/// A look that changes nothing, and what must be seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Looking {
    /// How to look.
    pub command: Command,
    /// What must be seen.
    pub expect: Expected,
    /// No row, or one of these errors of the server, is as good; `None` when it is not.
    pub or_none: Option<Vec<u16>>,
}

/// What must be seen in an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// That it came without an error.
    Anything,
    /// This text: the trimmed output, or the first column of the only row; empty means none.
    Answer(String),
    /// These values in these columns of the only row, and these pairs of columns equal.
    Columns {
        /// Column → value.
        values: BTreeMap<String, String>,
        /// Pairs of columns that must hold the same.
        same: BTreeMap<String, String>,
    },
}

/// Which part of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field {
    /// The trimmed output, or the first column of the only row.
    Answer,
    /// The exit status of the command.
    Status,
    /// A column of the only row, by the server's name for it.
    Column(String),
}

/// What a command is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// POSIX shell.
    Shell,
    /// SQL.
    Sql,
}

/// A command whose values are kept apart from its text, so that they are always quoted and secrets always masked.
#[derive(Clone, PartialEq, Eq)]
pub struct Command {
    /// What it is written in, hence how values are quoted.
    pub language: Language,
    /// In order.
    pub parts: Vec<Part>,
}

/// A piece of a command.
#[derive(Clone, PartialEq, Eq)]
pub enum Part {
    /// As it stands in the playbook.
    Plain(String),
    /// A value, to be quoted.
    Quoted(String),
    /// A value nobody may see, to be quoted.
    Secret(String),
}

impl Command {
    /// A command without values.
    pub fn plain(language: Language, text: impl Into<String>) -> Self {
        Command {
            language,
            parts: vec![Part::Plain(text.into())],
        }
    }

    /// The text that is sent, secrets included. Never show it.
    pub fn wire(&self) -> String {
        self.text(|secret| quote(self.language, secret))
    }

    fn text(&self, secret: impl Fn(&str) -> String) -> String {
        self.parts
            .iter()
            .map(|part| match part {
                Part::Plain(text) => text.clone(),
                Part::Quoted(value) => quote(self.language, value),
                Part::Secret(value) => secret(value),
            })
            .collect()
    }
}

/// The text with `***` for secrets.
impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(|_| "***".to_owned()))
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({self})", self.language)
    }
}

/// Quotes a value for one language.
pub fn quote(language: Language, value: &str) -> String {
    match language {
        Language::Shell => quote_shell(value),
        Language::Sql => format!("'{}'", value.replace('\\', "\\\\").replace('\'', "''")),
    }
}

/// Quotes a word for a POSIX shell; harmless words stay as they are, so that plans read well.
pub fn quote_shell(value: &str) -> String {
    let harmless = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+,".contains(c);
    if !value.is_empty() && value.chars().all(harmless) {
        return value.to_owned();
    }
    format!("'{}'", value.replace('\'', r"'\''"))
}

/// How a duty went on one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DutyReport {
    /// The duty's name.
    pub duty: String,
    /// How it ended as a whole.
    pub outcome: DutyOutcome,
    /// Each step that was announced, in order.
    pub steps: Vec<StepReport>,
    /// Values it registered.
    pub registered: BTreeMap<String, String>,
    /// From sending to the last word.
    pub took: Duration,
}

/// How a duty ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DutyOutcome {
    /// Every step is done and verified.
    Done,
    /// A step failed; the ones after it did not run.
    Failed {
        /// The step's name.
        step: String,
        /// Why, in words.
        why: Failure,
    },
    /// A step was not started because its time had passed on the host's own clock; nothing after it ran.
    Expired {
        /// The step's name.
        step: String,
    },
    /// Whether it happened is not known: the shell is lost, and may still be running it.
    Unknown {
        /// Why, in words.
        why: String,
    },
}

/// Why a step failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// The command exited with this status.
    Status(i32),
    /// The server, or its client, answered with this error line.
    Sql(String),
    /// The answer was not the expected one.
    Unexpected(String),
    /// What it waited for did not come true in time.
    Late,
    /// The same, with what it was told last.
    Waited(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Status(status) => write!(f, "exit status {status}"),
            Failure::Sql(error) => f.write_str(error),
            Failure::Unexpected(answer) if answer.is_empty() => f.write_str("it does not hold"),
            Failure::Unexpected(answer) => write!(f, "unexpected answer `{answer}`"),
            Failure::Late => f.write_str("it did not come true in time"),
            Failure::Waited(told) => write!(f, "it did not come true in time: {told}"),
        }
    }
}

/// How one step went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepReport {
    /// The step's name.
    pub name: String,
    /// How it ended.
    pub outcome: StepOutcome,
    /// From its begin to its end, as seen from the box.
    pub took: Duration,
    /// The end of its output.
    pub output: String,
}

/// How one step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepOutcome {
    /// Done.
    Done,
    /// There was nothing to do.
    Already,
    /// It failed.
    Failed,
    /// It was not started: too late on the host's clock.
    Expired,
    /// It began and its end was not seen.
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_in_what_a_host_says() {
        let secret = r"p'w\d";
        let command = Command {
            language: Language::Sql,
            parts: vec![Part::Secret(secret.to_owned())],
        };
        let step = ScriptStep {
            name: String::new(),
            within: Duration::ZERO,
            unless: None,
            act: Act::Perform(command),
            until: None,
            expect: Expected::Anything,
            tolerate: Vec::new(),
            register: BTreeMap::new(),
        };
        let script = Script {
            steps: vec![step],
            ..Script::default()
        };
        assert_eq!(
            script.mask(&format!("it says {secret} and {}", quote(Language::Sql, secret))),
            "it says *** and '***'"
        );
        assert_eq!(
            script.mask("ERROR 1064 (42000) at line 1: near 'p''w"),
            "ERROR 1064 (42000) at line 1"
        );
        assert_eq!(
            script.mask("ERROR 1198 (HY000) at line 1: stop it first"),
            "ERROR 1198 (HY000) at line 1: stop it first"
        );
        assert_eq!(
            Script::default().mask("ERROR 1064 (42000): near"),
            "ERROR 1064 (42000): near"
        );
    }

    #[test]
    fn shell_words_are_quoted_only_when_they_must_be() {
        assert_eq!(quote_shell("eth0"), "eth0");
        assert_eq!(quote_shell(""), "''");
        assert_eq!(quote_shell("it's $x"), r"'it'\''s $x'");
    }
}
