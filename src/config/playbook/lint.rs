//! Looks for everything that is wrong or doubtful in a directory of playbooks, all at once. Loading stops at the first
//! file that cannot be read; here unknown keys are passed over once they are told, so that the rest is checked too.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::grammar::DutyFile;
use super::keys::Form;
use super::page::Page;
use super::{File, Written, fences, read_directory, read_one, rules, shipped_files};
use crate::config::diagnostic::{Diagnostic, Severity, Source, closest};
use crate::config::inventory::tree::{self, Entry, Node, Value};
use crate::core::playbook::{Action, Duty, Playbook, Register, Step, Undo};

/// What is said in words, and stands quoted for that reason: YAML 1.1 reads these otherwise.
const READ_OTHERWISE: [&str; 6] = ["yes", "no", "on", "off", "true", "false"];
/// Keys whose value may be of several forms, so that the reader of the form refuses `on`, and reads no further.
const OF_SEVERAL_FORMS: [&str; 6] = ["expect", "register", "unless", "until", "verify", "with"];
/// Keys whose value is `true` or `false`, or a list of numbers.
const NO_TEXT: [&str; 6] = [
    "sudo",
    "background",
    "run_rows",
    "or_fenced",
    "if_possible",
    "tolerate",
];
/// Keys below which names are free.
const FREE: [&str; 6] = ["expect", "register", "same", "columns", "with", "tolerate"];

/// Everything found in the files of `directory`, laid over the shipped ones; in the shipped ones without it. `called` are
/// the duties that the inventory names; none when no inventory was read, and then duties that nothing reaches are only
/// warned of.
///
/// # Errors
/// When the directory or a file in it cannot be read.
pub fn lint(
    directory: Option<&Path>,
    called: Option<&BTreeSet<String>>,
) -> Result<Vec<Diagnostic>, Vec<Diagnostic>> {
    let mut files = shipped_files();
    let own: BTreeSet<PathBuf> = match directory {
        None => files.keys().cloned().collect(),
        Some(directory) => {
            let mut own = BTreeSet::new();
            for (path, file) in read_directory(directory)? {
                own.insert(path.clone());
                files.insert(path, file);
            }
            own
        }
    };
    let mut playbook = Playbook::default();
    let mut pages = Vec::new();
    for (path, file) in &files {
        let looked = look(path, file);
        let mut page = Page::with_gaps(&file.shown, &file.text, looked.cleaned);
        page.findings = looked.findings;
        let written = read_one(&mut page, path, &mut playbook);
        if written.is_none() {
            stand_in(path, looked.registers, &mut playbook);
        }
        pages.push((path, page, written));
    }
    for (_, page, written) in &mut pages {
        match written {
            Some(Written::Duty(file)) => {
                if let Some(duty) = playbook.duties.get(&file.duty.value) {
                    rules::check_duty(page, file, duty, &playbook);
                }
            }
            Some(Written::Operation(file)) => rules::check_operation(page, file, &playbook),
            Some(Written::Dialect) | None => {}
        }
    }
    let reached = reached(&playbook, called);
    let mut findings = Vec::new();
    for (path, mut page, written) in pages {
        if let Some(Written::Duty(file)) = &written {
            doubts(&mut page, file, &playbook, &reached, called.is_some());
        }
        if let Some(Written::Operation(file)) = &written {
            fences::doubt(&mut page, file);
        }
        if own.contains(path) {
            findings.extend(once_a_place(page.findings));
        }
    }
    Ok(findings)
}

/// What one file's tree shows.
struct Looked {
    findings: Vec<Diagnostic>,
    /// The text with everything unknown blanked out, byte for byte as long.
    cleaned: String,
    /// What it registers, for others that need it.
    registers: BTreeSet<String>,
}

struct Walk<'s, 't> {
    source: &'s Source<'t>,
    findings: Vec<Diagnostic>,
    unknown: Vec<Range<usize>>,
    registers: BTreeSet<String>,
}

fn look(path: &Path, file: &File) -> Looked {
    let mut source = Source::new(&file.shown, &file.text);
    // What is wrong with the YAML itself is told by the reader of the form.
    let root = tree::parse(&mut source, &mut Vec::new());
    let mut walk = Walk {
        source: &source,
        findings: Vec::new(),
        unknown: Vec::new(),
        registers: BTreeSet::new(),
    };
    let form = if path.starts_with("duties") {
        Form::Duty
    } else if path.starts_with("operations") {
        Form::Operation
    } else {
        Form::Dialect
    };
    if let Some(root) = &root {
        walk.form(root, form);
    }
    let cleaned = blanked(&file.text, &walk.unknown);
    Looked {
        findings: walk.findings,
        cleaned,
        registers: walk.registers,
    }
}

impl Walk<'_, '_> {
    fn form(&mut self, node: &Node, form: Form) {
        let Value::Map { entries, .. } = &node.value else {
            return;
        };
        for entry in entries {
            if !form.keys().contains(&entry.key.as_str()) {
                self.unknown_key(entry, form);
                continue;
            }
            match (form, entry.key.as_str()) {
                (Form::Duty, "steps") => self.each(&entry.value, Form::Step),
                (Form::Duty, "unless" | "verify") | (Form::Step, "unless" | "until") => {
                    self.value(entry);
                    self.form(&entry.value, Form::Check);
                }
                (Form::Operation, "prepare" | "commit" | "secure" | "finish") => {
                    self.each(&entry.value, Form::OperationStep);
                }
                (Form::Dialect, "words") => {
                    if let Value::Map { entries, .. } = &entry.value.value {
                        for word in entries {
                            self.each(&word.value, Form::Wording);
                        }
                    }
                }
                (Form::Step, "register") => {
                    self.registers.extend(names(&entry.value));
                    self.value(entry);
                }
                (_, key) if NO_TEXT.contains(&key) => {}
                _ => self.value(entry),
            }
        }
    }

    fn each(&mut self, node: &Node, form: Form) {
        if let Value::List(items) = &node.value {
            for item in items {
                self.form(item, form);
            }
        }
    }

    fn unknown_key(&mut self, entry: &Entry, form: Form) {
        let known = form.keys();
        let hint = match closest(&entry.key, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known here: {}", known.join(", ")),
        };
        self.findings.push(self.source.error(
            &entry.key_span,
            format!("unknown key `{}`", entry.key),
            "the keys of a playbook are closed",
            hint,
        ));
        self.unknown
            .push(entry.key_span.start..entry.value.span.end.max(entry.key_span.end));
    }

    /// Text must be text for every reader of YAML, and must be there.
    fn value(&mut self, entry: &Entry) {
        self.text(entry, OF_SEVERAL_FORMS.contains(&entry.key.as_str()));
    }

    fn text(&mut self, entry: &Entry, is_of_several_forms: bool) {
        match &entry.value.value {
            Value::Empty => self.findings.push(self.source.error(
                &entry.value.span,
                format!("`{}` has no value", entry.key),
                "it would count as left out",
                "give it a value, or leave the key out",
            )),
            Value::Scalar { text, quoted: false } if is_read_otherwise(text) => {
                self.findings.push(self.source.error(
                    &entry.value.span,
                    format!("`{text}` without quotes"),
                    "readers of YAML disagree about whether that is text",
                    format!("write `'{text}'`"),
                ));
                if is_of_several_forms {
                    self.unknown.push(entry.key_span.start..entry.value.span.end);
                }
            }
            Value::Scalar { .. } => {}
            Value::List(items) => {
                for item in items {
                    self.item(entry, item);
                }
            }
            Value::Map { entries, .. } if FREE.contains(&entry.key.as_str()) => {
                for inner in entries {
                    self.text(inner, is_of_several_forms);
                }
            }
            Value::Map { .. } => {}
        }
    }

    fn item(&mut self, owner: &Entry, item: &Node) {
        let entry = Entry {
            key: owner.key.clone(),
            key_span: owner.key_span.clone(),
            value: item.clone(),
        };
        self.value(&entry);
    }
}

/// Whether some reader of YAML takes that for something else than text, or for a number that loses its form.
fn is_read_otherwise(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
    let is_word = READ_OTHERWISE.contains(&text.to_lowercase().as_str());
    let is_fraction = text
        .split_once('.')
        .is_some_and(|(whole, rest)| digits(whole) && digits(rest));
    let is_octal = text.len() > 1 && text.starts_with('0') && digits(text);
    let is_sexagesimal = text
        .split_once(':')
        .is_some_and(|(minutes, seconds)| digits(minutes) && digits(seconds));
    is_word || is_fraction || is_octal || is_sexagesimal
}

fn names(node: &Node) -> Vec<String> {
    match &node.value {
        Value::Scalar { text, .. } => vec![text.clone()],
        Value::Map { entries, .. } => entries.iter().map(|entry| entry.key.clone()).collect(),
        Value::Empty | Value::List(_) => Vec::new(),
    }
}

/// The text without those ranges, and without the comma that a gap in a list of keys would leave doubled.
fn blanked(text: &str, gaps: &[Range<usize>]) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for gap in gaps {
        for byte in bytes.get_mut(gap.clone()).unwrap_or_default() {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        let is_blank = |byte: u8| byte.is_ascii_whitespace();
        let after = (gap.end..bytes.len()).find(|at| !is_blank(bytes[*at]));
        let before = (0..gap.start).rev().find(|at| !is_blank(bytes[*at]));
        match (before, after) {
            (_, Some(at)) if bytes[at] == b',' => bytes[at] = b' ',
            (Some(at), _) if bytes[at] == b',' => bytes[at] = b' ',
            _ => {}
        }
    }
    // Whole characters were replaced, so it is text still.
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

/// A file that cannot be read has a name all the same, so that others which name it are not blamed.
fn stand_in(path: &Path, registers: BTreeSet<String>, playbook: &mut Playbook) {
    let Some(stem) = path.file_stem().and_then(|stem| stem.to_str()) else {
        return;
    };
    if !path.starts_with("duties") {
        return;
    }
    let columns: BTreeMap<String, String> = registers
        .into_iter()
        .map(|name| (name, "output".to_owned()))
        .collect();
    let step = Step {
        name: String::new(),
        action: Action::Wait,
        sudo: false,
        background: false,
        when: None,
        unless: None,
        until: None,
        expect: None,
        tolerate: Vec::new(),
        run_rows: false,
        register: Register::Columns(columns),
        within: None,
    };
    let duty = Duty {
        name: stem.to_owned(),
        says: String::new(),
        needs: Vec::new(),
        only_asks: false,
        undo: Some(Undo::Nothing),
        within: None,
        unless: None,
        steps: vec![step],
        verify: None,
    };
    playbook.duties.entry(stem.to_owned()).or_insert(duty);
}

/// The duties that something performs: operations, the program itself, the inventory, and what those nest or undo by.
fn reached(playbook: &Playbook, called: Option<&BTreeSet<String>>) -> BTreeSet<String> {
    let steps = playbook
        .operations
        .values()
        .flat_map(|operation| operation.steps());
    let mut open: Vec<String> = steps.map(|(_, step)| step.duty.clone()).collect();
    open.extend(
        super::called::BY_THE_PROGRAM
            .iter()
            .map(|name| (*name).to_owned()),
    );
    open.extend(called.into_iter().flatten().cloned());
    let mut reached = BTreeSet::new();
    while let Some(name) = open.pop() {
        if !reached.insert(name.clone()) {
            continue;
        }
        if let Some(duty) = playbook.duties.get(&name) {
            open.extend(duty.nested().map(str::to_owned));
            if let Some(Undo::Duty(undo)) = &duty.undo {
                open.push(undo.clone());
            }
        }
    }
    reached
}

/// What can be used and is doubtful.
fn doubts(
    page: &mut Page<'_>,
    file: &DutyFile,
    playbook: &Playbook,
    reached: &BTreeSet<String>,
    is_inventory_known: bool,
) {
    let name = &file.duty.value;
    let Some(duty) = playbook.duties.get(name) else {
        return;
    };
    let is_reached = reached.contains(name);
    if !is_reached {
        let hint = "name it in a step, in another duty, or in the inventory as `fence`, `rebuild` or `service`; or remove it";
        let what = format!("nothing performs duty `{name}`");
        let because = "no operation reaches it";
        if is_inventory_known {
            page.error(&file.duty, what, because, hint);
        } else {
            page.warning(&file.duty, what, because, hint);
        }
    }
    if duty.undo.is_none() && !is_reached {
        page.error(
            &file.duty,
            format!("duty `{name}` does not say how it is undone"),
            "so it could never stand in `prepare`",
            "give it `undo: NAME` or `undo: nothing`, or `changes: nothing` when it only looks",
        );
    }
}

/// One finding for each place: what a key means twice is told once, by whoever knew best.
fn once_a_place(findings: Vec<Diagnostic>) -> Vec<Diagnostic> {
    let mut kept: Vec<Diagnostic> = Vec::new();
    for finding in findings {
        let is_told = kept
            .iter()
            .any(|other| other.place == finding.place && other.what == finding.what);
        if !is_told {
            kept.push(finding);
        }
    }
    kept.sort_by_key(|finding| finding.place.as_ref().map(|place| (place.line, place.column)));
    kept
}

/// Whether anything found keeps the playbooks from being used as they stand.
pub fn is_wrong(findings: &[Diagnostic]) -> bool {
    findings.iter().any(|finding| finding.severity == Severity::Error)
}

#[cfg(test)]
mod tests;
