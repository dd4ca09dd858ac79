//! What a playbook says: duties for one host, operations across hosts, and the words of each server dialect.
//! Plain values, already validated; templates in them are still text.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Everything a box knows how to do: the shipped playbooks with an operator's overrides laid over them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Playbook {
    /// Duties by name.
    pub duties: BTreeMap<String, Duty>,
    /// Operations by name.
    pub operations: BTreeMap<String, Operation>,
    /// Dialects by name: `mariadb`, `mysql`.
    pub dialects: BTreeMap<String, Dialect>,
    /// SHA-1 of all files it was read from, in hexadecimal: tells whether two boxes, or two moments, have the same one.
    pub text_hash: String,
}

/// A step list for one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Duty {
    /// Its name, which is also the name of its file.
    pub name: String,
    /// One sentence for people; a template.
    pub says: String,
    /// Names its templates use that only some callers can provide: `address`, `source`, or registered values.
    pub needs: Vec<String>,
    /// It declares that it changes nothing: when the connection dies in the middle, nothing can have happened.
    pub only_asks: bool,
    /// What takes it back; `None` when it may never stand in a `prepare` section.
    pub undo: Option<Undo>,
    /// Deadline of each step that has none of its own.
    pub within: Option<Duration>,
    /// When this holds, no step is performed; `verify` still is.
    pub unless: Option<Check>,
    /// In order; a failed one ends the duty.
    pub steps: Vec<Step>,
    /// What must hold at the end.
    pub verify: Option<Check>,
}

impl Duty {
    /// The names of the duties whose steps stand in it.
    pub fn nested(&self) -> impl Iterator<Item = &str> {
        self.steps.iter().filter_map(|step| match &step.action {
            Action::Duty(name) => Some(name.as_str()),
            _ => None,
        })
    }
}

/// What takes a duty back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Undo {
    /// It needs no taking back.
    Nothing,
    /// The duty of that name takes it back.
    Duty(String),
}

/// One step of a duty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What people see while it runs.
    pub name: String,
    /// What it does.
    pub action: Action,
    /// Performed as root through `sudo -n`; only for one simple command.
    pub sudo: bool,
    /// Started and not waited for; its outcome is not known.
    pub background: bool,
    /// An expression over the context; false leaves the step out of the script.
    pub when: Option<String>,
    /// When this holds, the step is already done.
    pub unless: Option<Check>,
    /// Looked at after the action; while it does not hold, the action is performed again until the deadline.
    pub until: Option<Check>,
    /// What the answer of the action must be.
    pub expect: Option<Expect>,
    /// SQL error codes, or exit statuses, that count as done.
    pub tolerate: Vec<u16>,
    /// The first column of each row of the answer is a statement, and is performed too.
    pub run_rows: bool,
    /// Values that later duties may use.
    pub register: Register,
    /// Its own deadline.
    pub within: Option<Duration>,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// POSIX shell.
    Run(String),
    /// One SQL statement.
    Sql(Sql),
    /// Another duty's steps, in place.
    Duty(String),
    /// Nothing but waiting for `until`.
    Wait,
}

/// One SQL statement, by name or literally.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sql {
    /// A word of the server's dialect.
    Word(String),
    /// The statement itself; a template.
    Literal(String),
}

/// A look at the host that changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// How to look.
    pub look: Look,
    /// What must be seen. Without it a command must exit with 0 and a statement must answer `1`.
    pub expect: Option<Expect>,
    /// Pairs of columns of the answer that must be equal.
    pub same: BTreeMap<String, String>,
    /// No row, or one of these errors, is as good as what is expected; `None` when it is not.
    pub or_none: Option<Vec<u16>>,
}

/// How a check looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// POSIX shell.
    Run(String),
    /// One SQL statement.
    Sql(Sql),
}

/// What an answer must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// The whole output, trimmed, or the first column of the only row; empty means no output or no row. A template.
    Answer(String),
    /// Columns of the only row, by the names the dialect gives them, and what they must hold; templates.
    Columns(BTreeMap<String, String>),
}

/// Which values of an answer are kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Register {
    /// None.
    #[default]
    Nothing,
    /// The whole output, trimmed, or the first column of the only row.
    Answer(String),
    /// Registered name → column of the only row; of a command, `output` or `status`.
    Columns(BTreeMap<String, String>),
}

impl Register {
    /// The names it registers.
    pub fn names(&self) -> Vec<&str> {
        match self {
            Register::Nothing => Vec::new(),
            Register::Answer(name) => vec![name],
            Register::Columns(columns) => columns.keys().map(String::as_str).collect(),
        }
    }
}

/// Duties across hosts, in four sections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Its name, which is also the name of its file.
    pub name: String,
    /// One sentence for people; a template over the names of the seats and the role.
    pub says: String,
    /// Values that whoever starts the operation must bring.
    pub given: Vec<String>,
    /// Reversible: a failure undoes every step, newest first.
    pub prepare: Vec<OperationStep>,
    /// Forward only, the fewest steps that can be.
    pub commit: Vec<OperationStep>,
    /// Must come true: retried, else the run is stuck.
    pub secure: Vec<OperationStep>,
    /// Best effort: reported, changes nothing above.
    pub finish: Vec<OperationStep>,
}

impl Operation {
    /// All steps with their sections, in the order in which they are performed.
    pub fn steps(&self) -> impl Iterator<Item = (Section, &OperationStep)> {
        self.prepare
            .iter()
            .map(|step| (Section::Prepare, step))
            .chain(self.commit.iter().map(|step| (Section::Commit, step)))
            .chain(self.secure.iter().map(|step| (Section::Secure, step)))
            .chain(self.finish.iter().map(|step| (Section::Finish, step)))
    }
}

/// The four sections of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Section {
    /// Reversible.
    Prepare,
    /// Forward only.
    Commit,
    /// Must come true.
    Secure,
    /// Best effort.
    Finish,
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Section::Prepare => "prepare",
            Section::Commit => "commit",
            Section::Secure => "secure",
            Section::Finish => "finish",
        })
    }
}

/// Who plays which part in an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Seat {
    /// The host that gives the role away.
    Outgoing,
    /// The host that takes it.
    Incoming,
    /// Every other host that is to follow; the duty runs on all of them at once.
    Replicas,
    /// The one of the replicas that has more than the incoming host, and hands it over first.
    Donor,
    /// The box itself.
    Monitor,
}

impl Seat {
    /// Every seat.
    pub const ALL: [Seat; 5] = [
        Seat::Outgoing,
        Seat::Incoming,
        Seat::Replicas,
        Seat::Donor,
        Seat::Monitor,
    ];
}

impl fmt::Display for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Seat::Outgoing => "outgoing",
            Seat::Incoming => "incoming",
            Seat::Replicas => "replicas",
            Seat::Donor => "donor",
            Seat::Monitor => "monitor",
        })
    }
}

/// One duty at one seat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperationStep {
    /// What people see while it runs.
    pub name: String,
    /// Whose host performs it.
    pub at: Seat,
    /// The duty.
    pub duty: String,
    /// Deadline of the whole duty; no step of it starts later.
    pub within: Duration,
    /// The seat whose host the duty follows, waits for, or asks about; it becomes `source` in templates.
    pub source: Option<Seat>,
    /// An expression over the context; false leaves the step out.
    pub when: Option<String>,
    /// A verified fence, or the declared exception to it, may stand in for the step when the host cannot be asked.
    pub or_fenced: bool,
    /// Tried once; a failure is reported and passed over.
    pub if_possible: bool,
    /// Values the duty sees as `with.NAME`.
    pub with: BTreeMap<String, String>,
}

/// The statements that change or ask one family of servers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dialect {
    /// `mariadb` or `mysql`.
    pub name: String,
    /// Each word with its wordings, oldest first.
    pub words: BTreeMap<String, Vec<Wording>>,
}

impl Dialect {
    /// How `word` is said to a server of that release: the newest wording that is not newer than it.
    pub fn wording(&self, word: &str, release: Release) -> Option<&Wording> {
        self.words
            .get(word)?
            .iter()
            .rev()
            .find(|wording| wording.since <= release)
    }
}

/// One way to say a word, and the first release that understands it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wording {
    /// The first release that understands it.
    pub since: Release,
    /// The statement; a template. Empty when this family needs no statement for the word.
    pub sql: String,
    /// Our name of a column → the server's.
    pub columns: BTreeMap<String, String>,
}

/// A server release such as 10.11.6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Release(pub u16, pub u16, pub u16);

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}
