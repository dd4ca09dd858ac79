//! The written form of one file → values, with the rules that need no other file.

use std::time::Duration;

use serde_yaml::Spanned;

use super::grammar::{
    CheckText, DialectFile, DutyFile, OneOrColumns, OperationFile, OperationStepText, StepText, Text,
};
use super::page::Page;
use crate::config::template;
use crate::core::playbook::{
    Action, Check, Dialect, Duty, Expect, Look, Operation, OperationStep, Register, Release, Sql, Step, Undo,
    Wording,
};

/// Characters that make a command more than a simple one.
const COMPOUND: [char; 10] = ['!', '|', '&', ';', '<', '>', '(', ')', '$', '`'];

/// A duty; rules broken are findings on the page.
pub fn duty(page: &mut Page<'_>, file: &DutyFile) -> Duty {
    template_text(page, &file.says);
    let within = file.within.as_ref().and_then(|text| page.duration(text));
    let only_asks = only_asks(page, file);
    let undo = match &file.undo {
        Some(undo) if undo.value != "nothing" => Some(Undo::Duty(undo.value.clone())),
        Some(_) => Some(Undo::Nothing),
        None => only_asks.then_some(Undo::Nothing),
    };
    if file.steps.is_empty() && file.verify.is_none() {
        page.error(
            &file.duty,
            "a duty without steps",
            "it would do nothing",
            "add `steps`",
        );
    }
    if file.verify.is_some() && within.is_none() {
        page.error(
            &file.duty,
            "no deadline for `verify`",
            "nothing may wait without end",
            "add `within` to the duty",
        );
    }
    let steps = file
        .steps
        .iter()
        .map(|step| read_step(page, step, within))
        .collect();
    Duty {
        name: file.duty.value.clone(),
        says: file.says.value.clone(),
        needs: file.needs.iter().map(|name| name.value.clone()).collect(),
        only_asks,
        undo,
        within,
        unless: file.unless.as_ref().map(|check| read_check(page, check)),
        steps,
        verify: file.verify.as_ref().map(|check| read_check(page, check)),
    }
}

/// Whether the duty declares with `changes: nothing` that it only asks. Then there is nothing to take back, and `undo`
/// would say the opposite.
fn only_asks(page: &mut Page<'_>, file: &DutyFile) -> bool {
    let Some(changes) = &file.changes else {
        return false;
    };
    if changes.value != "nothing" {
        page.error(
            changes,
            format!("`changes: {}` is not understood", changes.value),
            "a duty that changes something says how it is undone",
            "write `changes: nothing`, or `undo`",
        );
    }
    if let Some(undo) = &file.undo {
        page.error(
            undo,
            "a duty that changes nothing has an `undo`",
            "there is nothing to take back",
            "leave one of the two out",
        );
    }
    true
}

fn read_step(page: &mut Page<'_>, spanned: &Spanned<StepText>, duty_within: Option<Duration>) -> Step {
    let text = &spanned.value;
    template_text(page, &text.name);
    let action = read_action(page, text);
    let within = text.within.as_ref().and_then(|text| page.duration(text));
    let nested = matches!(action, Action::Duty(_));
    if text.within.is_none() && duty_within.is_none() && !nested {
        let what = format!("step `{}` has no deadline", text.name.value);
        page.error(
            &text.name,
            what,
            "nothing may wait without end",
            "add `within` to the step or to the duty",
        );
    }
    if let Some(when) = &text.when
        && let Err(error) = template::expression_variables(&when.value)
    {
        page.error(
            when,
            error.to_string(),
            "it is no expression",
            "write for instance `replication.gtid`",
        );
    }
    let flag = |flag: &Option<Spanned<bool>>| flag.as_ref().is_some_and(|flag| flag.value);
    let step = Step {
        name: text.name.value.clone(),
        action,
        sudo: flag(&text.sudo),
        background: flag(&text.background),
        when: text.when.as_ref().map(|when| when.value.clone()),
        unless: text.unless.as_ref().map(|check| read_check(page, check)),
        until: text.until.as_ref().map(|check| read_check(page, check)),
        expect: text.expect.as_ref().map(|expect| read_expect(&expect.value)),
        tolerate: text
            .tolerate
            .as_ref()
            .map(|codes| codes.value.clone())
            .unwrap_or_default(),
        run_rows: flag(&text.run_rows),
        register: text
            .register
            .as_ref()
            .map_or(Register::Nothing, |register| match &register.value {
                OneOrColumns::One(name) => Register::Answer(name.clone()),
                OneOrColumns::Columns(columns) => Register::Columns(columns.clone()),
            }),
        within,
    };
    fitting_keys(page, text, &step);
    step
}

fn read_action(page: &mut Page<'_>, text: &StepText) -> Action {
    let given = [text.run.is_some(), text.sql.is_some(), text.duty.is_some()];
    match given.iter().filter(|given| **given).count() {
        0 if text.until.is_some() => return Action::Wait,
        1 => {}
        count => {
            let what = format!("step `{}` has {count} actions", text.name.value);
            page.error(
                &text.name,
                what,
                "a step does one thing",
                "give one of `run`, `sql`, `duty`, or only `until`",
            );
        }
    }
    if let Some(run) = &text.run {
        shell_text(page, run);
        Action::Run(run.value.clone())
    } else if let Some(sql) = &text.sql {
        Action::Sql(read_sql(page, sql))
    } else if let Some(duty) = &text.duty {
        Action::Duty(duty.value.clone())
    } else {
        Action::Wait
    }
}

/// Keys that make no sense together are errors, so that none is silently without effect.
fn fitting_keys(page: &mut Page<'_>, text: &StepText, step: &Step) {
    let name = &text.name;
    let is_sql = matches!(step.action, Action::Sql(_));
    let is_run = matches!(step.action, Action::Run(_));
    let mut refuse = |wrong: bool, key: &str, because: &str| {
        if wrong {
            let what = format!("`{key}` does not fit step `{}`", name.value);
            page.error(name, what, because, format!("leave `{key}` out"));
        }
    };
    refuse(step.sudo && !is_run, "sudo", "it is for `run` only");
    refuse(step.background && !is_run, "background", "it is for `run` only");
    refuse(step.run_rows && !is_sql, "run_rows", "it is for `sql` only");
    refuse(
        !step.tolerate.is_empty() && !is_sql && !is_run,
        "tolerate",
        "it lists SQL error codes or exit statuses",
    );
    let columns = matches!(step.expect, Some(Expect::Columns(_)));
    refuse(columns && !is_sql, "columns", "only an SQL answer has columns");
    if let (Register::Columns(columns), true) = (&step.register, is_run) {
        let known = |column: &String| column == "output" || column == "status";
        refuse(
            !columns.values().all(known),
            "register",
            "of a command only `output` and `status` can be kept",
        );
    }
    let acts = is_sql || is_run;
    let answerless = !acts || step.background || step.run_rows;
    refuse(
        step.expect.is_some() && answerless,
        "expect",
        "this step has no answer to compare",
    );
    refuse(
        step.register != Register::Nothing && answerless,
        "register",
        "this step has no answer to keep",
    );
    refuse(
        step.background && step.until.is_some(),
        "until",
        "nobody waits for a background step",
    );
    let nested = matches!(step.action, Action::Duty(_));
    refuse(
        nested && (step.unless.is_some() || step.until.is_some()),
        "unless/until",
        "they belong into the nested duty",
    );
    if step.sudo
        && let Some(run) = &text.run
    {
        simple_command(page, run);
    }
}

/// A command under `sudo` must be one simple command, or the sudoers rule for it could not be exact.
fn simple_command(page: &mut Page<'_>, run: &Text) {
    let plain = without_placeholders(&run.value);
    let because = "`sudo -n` is put before exactly one command, and the sudoers rule names exactly that";
    let hint = "split it into steps, and move conditions into `unless`";
    if let Some(found) = plain.chars().find(|c| COMPOUND.contains(c)) {
        page.error_in(
            run,
            &found.to_string(),
            format!("`{found}` in a `sudo` command"),
            because,
            hint,
        );
    } else if plain.trim().contains('\n') {
        page.error(run, "several lines in a `sudo` command", because, hint);
    } else if plain.trim().starts_with("sudo ") {
        page.error(
            run,
            "`sudo` written out",
            because,
            "leave it out; `sudo: true` says it",
        );
    } else if plain
        .split_whitespace()
        .next()
        .is_none_or(|word| word.contains('='))
    {
        page.error(
            run,
            "a `sudo` command must begin with the program's name",
            because,
            hint,
        );
    }
}

/// The text with `{{ … }}` and `{% … %}` taken out.
fn without_placeholders(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some(start) = ["{{", "{%"].iter().filter_map(|open| rest.find(open)).min() {
        plain.push_str(&rest[..start]);
        let close = if rest[start..].starts_with("{{") {
            "}}"
        } else {
            "%}"
        };
        // A value stands where a placeholder stood, a tag leaves nothing.
        plain.push_str(if close == "}}" { "x" } else { "" });
        rest = rest[start..]
            .find(close)
            .map_or("", |end| &rest[start + end + 2..]);
    }
    plain + rest
}

fn read_check(page: &mut Page<'_>, spanned: &Spanned<CheckText>) -> Check {
    match &spanned.value {
        CheckText::Command(command) => {
            let text = Spanned::new(command.clone(), spanned.referenced, spanned.defined);
            shell_text(page, &text);
            Check {
                look: Look::Run(command.clone()),
                expect: None,
                same: Default::default(),
                or_none: None,
            }
        }
        CheckText::Full(full) => {
            let look = match (&full.run, &full.sql) {
                (Some(run), None) => {
                    shell_text(page, run);
                    Look::Run(run.value.clone())
                }
                (None, Some(sql)) => Look::Sql(read_sql(page, sql)),
                _ => {
                    page.error(
                        spanned,
                        "a check needs one of `run` and `sql`",
                        "it looks one way",
                        "give exactly one",
                    );
                    Look::Run("false".to_owned())
                }
            };
            let expect = full.expect.as_ref().map(|expect| read_expect(&expect.value));
            let columns =
                matches!(expect, Some(Expect::Columns(_))) || !full.same.is_empty() || full.or_none.is_some();
            if columns && matches!(look, Look::Run(_)) {
                page.error(
                    spanned,
                    "columns or rows of a command",
                    "only an SQL answer has columns and rows",
                    "expect a text",
                );
            }
            if !full.same.is_empty() && matches!(expect, Some(Expect::Answer(_))) {
                page.error(
                    spanned,
                    "`same` beside a single answer",
                    "`same` compares columns",
                    "expect columns",
                );
            }
            Check {
                look,
                expect,
                same: full.same.clone(),
                or_none: full.or_none.as_ref().map(|errors| errors.value.clone()),
            }
        }
    }
}

fn read_expect(text: &OneOrColumns) -> Expect {
    match text {
        OneOrColumns::One(answer) => Expect::Answer(answer.clone()),
        OneOrColumns::Columns(columns) => Expect::Columns(columns.clone()),
    }
}

/// A bare identifier is a word of the dialect, everything else the statement itself.
fn read_sql(page: &mut Page<'_>, text: &Text) -> Sql {
    let bare = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if text.value.chars().all(bare) && !text.value.is_empty() {
        return Sql::Word(text.value.clone());
    }
    statement_text(page, text);
    Sql::Literal(text.value.clone())
}

/// One statement: the client splits at `;`, and the answers would be counted wrongly.
fn statement_text(page: &mut Page<'_>, text: &Text) {
    command_text(page, text);
    if text.value.contains(';') {
        let hint = "make several steps of it, and leave the last `;` out";
        page.error_in(
            text,
            ";",
            "`;` in a statement",
            "a step sends one statement",
            hint,
        );
    }
}

fn shell_text(page: &mut Page<'_>, text: &Text) {
    command_text(page, text);
    if text.value.trim().is_empty() {
        page.error(text, "an empty command", "it would do nothing", "write a command");
    }
}

fn command_text(page: &mut Page<'_>, text: &Text) {
    template_text(page, text);
    if template::quoted_placeholder(&text.value).is_some() {
        let because = "every value is quoted already; a second pair of quotes would undo the first";
        page.error_in(
            text,
            "{{",
            "a `{{ … }}` inside quotes",
            because,
            "take the quotes away",
        );
    }
}

fn template_text(page: &mut Page<'_>, text: &Text) {
    if let Err(error) = template::variables(&text.value) {
        page.error(
            text,
            error.to_string(),
            "it is no template",
            "values are written `{{ group.name }}`",
        );
    }
}

/// An operation; rules broken are findings on the page.
pub fn operation(page: &mut Page<'_>, file: &OperationFile) -> Operation {
    template_text(page, &file.says);
    let mut section = |steps: &[OperationStepText]| -> Vec<OperationStep> {
        steps.iter().map(|step| read_operation_step(page, step)).collect()
    };
    let (prepare, commit) = (section(&file.prepare), section(&file.commit));
    let (secure, finish) = (section(&file.secure), section(&file.finish));
    if [&prepare, &commit, &secure, &finish]
        .iter()
        .all(|steps| steps.is_empty())
    {
        page.error(
            &file.operation,
            "an operation without steps",
            "it would do nothing",
            "add a section",
        );
    }
    Operation {
        name: file.operation.value.clone(),
        says: file.says.value.clone(),
        given: file.given.iter().map(|name| name.value.clone()).collect(),
        prepare,
        commit,
        secure,
        finish,
    }
}

fn read_operation_step(page: &mut Page<'_>, text: &OperationStepText) -> OperationStep {
    template_text(page, &text.name);
    OperationStep {
        name: text.name.value.clone(),
        at: text.at,
        duty: text.duty.value.clone(),
        within: page.duration(&text.within).unwrap_or(Duration::from_secs(1)),
        source: text.source,
        when: text.when.as_ref().map(|when| when.value.clone()),
        or_fenced: text.or_fenced.unwrap_or(false),
        if_possible: text.if_possible.unwrap_or(false),
        with: text
            .with
            .iter()
            .map(|(name, value)| (name.clone(), value.0.clone()))
            .collect(),
    }
}

/// A dialect; rules broken are findings on the page.
pub fn dialect(page: &mut Page<'_>, file: &DialectFile) -> Dialect {
    let mut dialect = Dialect {
        name: file.dialect.value.clone(),
        ..Dialect::default()
    };
    for (word, wordings) in &file.words {
        let mut read = Vec::new();
        for Spanned { value: wording, .. } in wordings {
            statement_text(page, &wording.sql);
            let Some(since) = release(&wording.since.value) else {
                let what = format!("`{}` is no release", wording.since.value);
                page.error(
                    &wording.since,
                    what,
                    "wordings are chosen by release",
                    "write for instance `'10.5.2'`",
                );
                continue;
            };
            read.push(Wording {
                since,
                sql: wording.sql.value.trim().to_owned(),
                columns: wording.columns.clone(),
            });
        }
        read.sort_by_key(|wording| wording.since);
        dialect.words.insert(word.clone(), read);
    }
    dialect
}

fn release(text: &str) -> Option<Release> {
    let mut numbers = text.split('.').map(|number| number.parse::<u16>().ok());
    let release = Release(
        numbers.next()??,
        numbers.next().unwrap_or(Some(0))?,
        numbers.next().unwrap_or(Some(0))?,
    );
    numbers.next().is_none().then_some(release)
}
