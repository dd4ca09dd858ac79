//! Rules over all files together: names resolve, values are there when they are needed, what is reversible says how.

use std::collections::{BTreeMap, BTreeSet};

use serde_yaml::Spanned;

use super::grammar::{CheckText, DutyFile, OneOrColumns, OperationFile, OperationStepText, Text};
use super::opens::step_that_lets_write;
use super::page::Page;
use super::{called, fences};
use crate::config::template;
use crate::core::playbook::{Dialect, Duty, Playbook, Section, Undo};
use crate::core::run::{REFUSES_WRITES, TAKES_WRITES_AGAIN};

/// What every template can name.
pub const ALWAYS: [&str; 19] = [
    "cluster.name",
    "dialect",
    "host.address",
    "host.interface",
    "host.name",
    "host.port",
    "lock.connection",
    "lock.name",
    "replication.channel",
    "replication.gtid",
    "replication.password",
    "replication.user",
    "role",
    "service.manager",
    "spared_users",
    "switchover.max_write_s",
    "switchover.read_lock",
    "with",
    "within",
];

/// Groups that only some callers can provide, with their fields.
const GROUPS: [(&str, &[&str]); 4] = [
    ("address", &["ip", "prefix", "version"]),
    ("source", &["name", "address", "port"]),
    ("service", &["unit"]),
    (
        "old",
        &["session", "tag", "connection", "marked", "started", "boot"],
    ),
];

/// What the sentence and step names of an operation can name besides.
const SEATS: [&str; 4] = ["outgoing", "incoming", "role", "cluster.name"];

/// Whether `path` has a value in a duty that needs `needs`.
fn has_value(path: &str, needs: &[String]) -> bool {
    let (root, field) = path.split_once('.').unwrap_or((path, ""));
    let group = GROUPS.iter().find(|(name, _)| *name == root);
    let needed = needs.iter().any(|need| need == root);
    ALWAYS.contains(&path)
        || ["vars", "with"].contains(&root)
        || match group {
            Some((_, fields)) => needed && (field.is_empty() || fields.contains(&field)),
            None => needed && field.is_empty(),
        }
}

/// Everything of a duty that refers to something else.
pub fn check_duty(page: &mut Page<'_>, file: &DutyFile, duty: &Duty, playbook: &Playbook) {
    check_needs(page, file, playbook);
    called::check_look(page, file, duty);
    let scope = Scope {
        needs: &duty.needs,
        playbook,
    };
    scope.template(page, &file.says, false);
    for check in file.unless.iter().chain(&file.verify) {
        scope.check(page, check);
    }
    for Spanned { value: step, .. } in &file.steps {
        scope.template(page, &step.name, false);
        if let Some(run) = &step.run {
            scope.template(page, run, false);
        }
        if let Some(sql) = &step.sql {
            scope.sql(page, sql);
            let columns = step
                .expect
                .iter()
                .flat_map(|expect| columns_of(&expect.value, false));
            let kept = step
                .register
                .iter()
                .flat_map(|register| columns_of(&register.value, true));
            scope.columns(page, sql, columns.chain(kept).collect());
        }
        if let Some(when) = &step.when
            && let Ok(names) = template::expression_variables(&when.value)
        {
            scope.names(page, when, names);
        }
        for check in step.unless.iter().chain(&step.until) {
            scope.check(page, check);
        }
        if let Some(expect) = &step.expect {
            scope.expectation(page, expect);
        }
        if let Some(nested) = &step.duty {
            scope.nested(page, nested);
        }
    }
    if let (Some(Undo::Duty(name)), Some(text)) = (&duty.undo, &file.undo) {
        check_undo(page, text, name, duty, playbook);
        let is_known = duty.name == REFUSES_WRITES || name == TAKES_WRITES_AGAIN;
        if !is_known && step_that_lets_write(playbook, name).is_some() {
            page.error(
                text,
                format!("duty `{}` is undone by letting a server take writes again", duty.name),
                format!(
                    "the time in which nobody can write is counted from `{REFUSES_WRITES}` on, or from a duty that \
                     `{TAKES_WRITES_AGAIN}` undoes, and before that another writer is looked for; of others neither is known"
                ),
                format!("let `{TAKES_WRITES_AGAIN}` undo it; a file `duties/{TAKES_WRITES_AGAIN}.yaml` stands for the shipped one"),
            );
        }
    }
    if let Some(cycle) = cycle_from(&duty.name, playbook) {
        let what = format!("duty `{}` contains itself", duty.name);
        page.error(
            &file.duty,
            what,
            format!("it goes round: {cycle}"),
            "take one of these steps out",
        );
    }
}

fn check_needs(page: &mut Page<'_>, file: &DutyFile, playbook: &Playbook) {
    let mut known: BTreeSet<&str> = GROUPS.iter().map(|(name, _)| *name).collect();
    known.extend(
        playbook
            .duties
            .values()
            .flat_map(|duty| duty.steps.iter().flat_map(|step| step.register.names())),
    );
    known.extend(
        playbook
            .operations
            .values()
            .flat_map(|operation| operation.given.iter().map(String::as_str)),
    );
    for need in &file.needs {
        if !known.contains(need.value.as_str()) {
            page.unknown(need, "value", &need.value, known.iter().copied());
        }
    }
}

fn check_undo(page: &mut Page<'_>, text: &Text, name: &str, duty: &Duty, playbook: &Playbook) {
    let Some(undo) = playbook.duties.get(name) else {
        return page.unknown(text, "duty", name, playbook.duties.keys().map(String::as_str));
    };
    let registered = registered(duty, playbook);
    for need in undo
        .needs
        .iter()
        .filter(|need| !duty.needs.contains(need) && !registered.contains(need.as_str()))
    {
        let what = format!("the undo `{name}` needs `{need}`");
        page.error(
            text,
            what,
            "this duty neither needs nor registers it",
            format!("add `{need}` to `needs`"),
        );
    }
}

/// The names a duty registers, nested ones included.
fn registered<'p>(duty: &'p Duty, playbook: &'p Playbook) -> BTreeSet<&'p str> {
    let mut names: BTreeSet<&str> = BTreeSet::new();
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    let mut open = vec![duty];
    while let Some(duty) = open.pop() {
        if !seen.insert(&duty.name) {
            continue;
        }
        names.extend(duty.steps.iter().flat_map(|step| step.register.names()));
        open.extend(duty.nested().filter_map(|name| playbook.duties.get(name)));
    }
    names
}

/// The way round from a duty back to itself.
fn cycle_from(name: &str, playbook: &Playbook) -> Option<String> {
    fn walk<'p>(at: &'p str, goal: &str, playbook: &'p Playbook, path: &mut Vec<&'p str>) -> bool {
        let Some(duty) = playbook.duties.get(at) else {
            return false;
        };
        for next in duty.nested() {
            let known = path.contains(&next);
            path.push(next);
            if next == goal || (!known && walk(next, goal, playbook, path)) {
                return true;
            }
            path.pop();
        }
        false
    }
    let mut path = vec![name];
    walk(name, name, playbook, &mut path).then(|| path.join(" → "))
}

fn columns_of(value: &OneOrColumns, kept: bool) -> Vec<String> {
    match value {
        OneOrColumns::One(_) => Vec::new(),
        OneOrColumns::Columns(columns) if kept => columns.values().cloned().collect(),
        OneOrColumns::Columns(columns) => columns.keys().cloned().collect(),
    }
}

/// What a duty's templates may name.
struct Scope<'a> {
    needs: &'a [String],
    playbook: &'a Playbook,
}

impl Scope<'_> {
    fn template(&self, page: &mut Page<'_>, text: &Text, secrets: bool) {
        let Ok(names) = template::variables(&text.value) else {
            return;
        };
        if !secrets && names.contains("replication.password") {
            let because = "a command and a sentence can be seen by others; secrets travel in SQL only";
            page.error_in(
                text,
                "replication.password",
                "a secret would be seen",
                because,
                "use it in `sql`",
            );
        }
        self.names(page, text, names);
    }

    fn names<T>(&self, page: &mut Page<'_>, at: &Spanned<T>, names: BTreeSet<String>) {
        for name in names.iter().filter(|name| !has_value(name, self.needs)) {
            let root = name.split('.').next().unwrap_or(name);
            let group = GROUPS.iter().find(|(group, _)| *group == root);
            let hint = match group {
                Some((group, _)) if !self.needs.iter().any(|need| need == group) => {
                    format!("add `{group}` to `needs`")
                }
                Some((group, fields)) => format!("`{group}` has {}", fields.join(", ")),
                None => format!("add `{name}` to `needs` if an earlier duty registers it"),
            };
            page.error_in(
                at,
                name,
                format!("`{name}` has no value here"),
                "templates are strict",
                hint,
            );
        }
    }

    fn sql(&self, page: &mut Page<'_>, text: &Text) {
        let Some(word) = word_of(text) else {
            return self.template(page, text, true);
        };
        let spoken: Vec<&Dialect> = self
            .playbook
            .dialects
            .values()
            .filter(|dialect| dialect.words.contains_key(word))
            .collect();
        if spoken.is_empty() {
            let known: BTreeSet<&str> = self
                .playbook
                .dialects
                .values()
                .flat_map(|dialect| dialect.words.keys().map(String::as_str))
                .collect();
            return page.unknown(text, "word", word, known);
        }
        let wordings = spoken
            .iter()
            .flat_map(|dialect| dialect.words.get(word).into_iter().flatten());
        let names = wordings
            .filter_map(|wording| template::variables(&wording.sql).ok())
            .flatten()
            .collect();
        self.names(page, text, names);
    }

    fn columns(&self, page: &mut Page<'_>, text: &Text, columns: Vec<String>) {
        let Some(word) = word_of(text) else { return };
        for dialect in self.playbook.dialects.values() {
            for wording in dialect
                .words
                .get(word)
                .into_iter()
                .flatten()
                .filter(|wording| !wording.sql.is_empty())
            {
                for column in columns
                    .iter()
                    .filter(|column| !wording.columns.contains_key(*column))
                {
                    let what = format!("`{word}` has no column `{column}`");
                    let because = format!(
                        "dialect `{}`, since {}, does not name it",
                        dialect.name, wording.since
                    );
                    let known: Vec<&str> = wording.columns.keys().map(String::as_str).collect();
                    page.error(text, what, because, format!("its columns: {}", known.join(", ")));
                }
            }
        }
    }

    fn check(&self, page: &mut Page<'_>, check: &Spanned<CheckText>) {
        match &check.value {
            CheckText::Command(command) => {
                let text = Spanned::new(command.clone(), check.referenced, check.defined);
                self.template(page, &text, false);
            }
            CheckText::Full(full) => {
                if let Some(run) = &full.run {
                    self.template(page, run, false);
                }
                if let Some(sql) = &full.sql {
                    self.sql(page, sql);
                    let mut columns: Vec<String> = full
                        .same
                        .iter()
                        .flat_map(|(a, b)| [a.clone(), b.clone()])
                        .collect();
                    columns.extend(
                        full.expect
                            .iter()
                            .flat_map(|expect| columns_of(&expect.value, false)),
                    );
                    self.columns(page, sql, columns);
                }
                if let Some(expect) = &full.expect {
                    self.expectation(page, expect);
                }
            }
        }
    }

    fn expectation(&self, page: &mut Page<'_>, expect: &Spanned<OneOrColumns>) {
        let texts = match &expect.value {
            OneOrColumns::One(text) => vec![text.clone()],
            OneOrColumns::Columns(columns) => columns.values().cloned().collect(),
        };
        for text in texts {
            self.template(
                page,
                &Spanned::new(text, expect.referenced, expect.defined),
                false,
            );
        }
    }

    fn nested(&self, page: &mut Page<'_>, text: &Text) {
        let Some(nested) = self.playbook.duties.get(&text.value) else {
            return page.unknown(
                text,
                "duty",
                &text.value,
                self.playbook.duties.keys().map(String::as_str),
            );
        };
        for need in nested.needs.iter().filter(|need| !self.needs.contains(need)) {
            let what = format!("duty `{}` needs `{need}`", nested.name);
            page.error(
                text,
                what,
                "this duty does not have it",
                format!("add `{need}` to `needs`"),
            );
        }
    }
}

fn word_of(text: &Text) -> Option<&str> {
    let bare = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    (!text.value.is_empty() && text.value.chars().all(bare)).then_some(text.value.as_str())
}

/// Everything of an operation that refers to something else.
pub fn check_operation(page: &mut Page<'_>, file: &OperationFile, playbook: &Playbook) {
    let mut available: BTreeSet<String> = file.given.iter().map(|name| name.value.clone()).collect();
    available.extend(["address", "service"].map(str::to_owned));
    sentence(page, &file.says);
    let sections = [
        (Section::Prepare, &file.prepare),
        (Section::Commit, &file.commit),
        (Section::Secure, &file.secure),
        (Section::Finish, &file.finish),
    ];
    for (section, steps) in sections {
        for step in steps {
            sentence(page, &step.name);
            fences::check_step(page, file, step);
            check_operation_step(page, section, step, &mut available, playbook);
        }
    }
}

fn sentence(page: &mut Page<'_>, text: &Text) {
    let Ok(names) = template::variables(&text.value) else {
        return;
    };
    for name in names.iter().filter(|name| !SEATS.contains(&name.as_str())) {
        let hint = format!("an operation can name {}", SEATS.join(", "));
        page.error_in(
            text,
            name,
            format!("`{name}` has no value here"),
            "templates are strict",
            hint,
        );
    }
}

fn check_operation_step(
    page: &mut Page<'_>,
    section: Section,
    step: &OperationStepText,
    available: &mut BTreeSet<String>,
    playbook: &Playbook,
) {
    let text = &step.duty;
    let Some(duty) = playbook.duties.get(&text.value) else {
        return page.unknown(
            text,
            "duty",
            &text.value,
            playbook.duties.keys().map(String::as_str),
        );
    };
    if section == Section::Prepare && duty.undo.is_none() {
        let what = format!("duty `{}` does not say how it is undone", duty.name);
        page.error(
            text,
            what,
            "every step of `prepare` can be taken back",
            "give the duty `undo: NAME` or `undo: nothing`",
        );
    }
    for need in &duty.needs {
        let there = available.contains(need) || (need == "source" && step.source.is_some());
        if !there {
            let what = format!("duty `{}` needs `{need}`", duty.name);
            let hint = match need.as_str() {
                "source" => "add `source: SEAT` to the step".to_owned(),
                _ => format!("register `{need}` in an earlier step, or add it to `given`"),
            };
            page.error(text, what, "nothing before this step provides it", hint);
        }
    }
    if let Some(when) = &step.when {
        match template::expression_variables(&when.value) {
            Err(error) => page.error(
                when,
                error.to_string(),
                "it is no expression",
                "write for instance `replication.gtid`",
            ),
            Ok(names) => {
                let needs: Vec<String> = available.iter().cloned().collect();
                Scope {
                    needs: &needs,
                    playbook,
                }
                .names(page, when, names);
            }
        }
    }
    available.extend(registered(duty, playbook).into_iter().map(str::to_owned));
}

/// Words that one dialect knows and another does not, as (word, dialect that lacks it).
pub fn missing_words(playbook: &Playbook) -> Vec<(String, String)> {
    let all: BTreeMap<&str, ()> = playbook
        .dialects
        .values()
        .flat_map(|dialect| dialect.words.keys().map(|word| (word.as_str(), ())))
        .collect();
    let lacks = |dialect: &Dialect, word: &str| !dialect.words.contains_key(word);
    all.keys()
        .flat_map(|word| {
            playbook
                .dialects
                .values()
                .filter(|d| lacks(d, word))
                .map(|d| ((*word).to_owned(), d.name.clone()))
        })
        .collect()
}
