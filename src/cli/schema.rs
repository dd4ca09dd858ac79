//! `mmm schema [NAME]`: JSON Schemas (draft 2020-12) of the files that `mmm` reads, for editors, and of what it prints.

use super::args::Settings;
use super::setting;
use crate::config::diagnostic::closest;
use crate::core::trouble::{Kind, Trouble};
use crate::report::reporter::{Output, out};

/// Lists schemas by name, each a file beside this one.
macro_rules! schemas {
    ($($name:literal $says:literal),* $(,)?) => {
        /// Name, sentence and text of each schema.
        pub const SCHEMAS: &[(&str, &str, &str)] = &[
            $(($name, $says, include_str!(concat!("schemas/", $name, ".json")))),*
        ];
    };
}

schemas![
    "inventory" "the inventory",
    "duty" "a duty: playbooks/duties/*.yaml",
    "operation" "an operation: playbooks/operations/*.yaml",
    "dialect" "a dialect: playbooks/dialects/*.yaml",
    "plan" "a plan, as `plan --output json` prints and `--save` keeps it",
    "output-error" "what is printed with --output json: what kept a command from being performed, as its last line",
    "output-validate" "what is printed with --output json: `validate`",
    "output-check" "what is printed with --output json: `check`",
    "output-readiness" "what is printed with --output json: `check --readiness`",
    "output-show" "what is printed with --output json: `show`",
    "output-checks" "what is printed with --output json: `checks`",
    "output-mode" "what is printed with --output json: `mode`",
    "output-changed" "what is printed with --output json: `set-online`, `set-offline`, `set-ip`, `set-active`, `set-manual`, `set-passive`, `clear`",
    "output-grants" "what is printed with --output json: `grants`",
    "output-serves" "what is printed with --output json: `ensure-writer`, `failover --if-dead`, when nothing has to be done",
    "output-sudoers" "what is printed with --output json: `sudoers`",
    "output-explain" "what is printed with --output json: `explain`",
    "output-import" "what is printed with --output json: `import`",
    "output-ping" "what is printed with --output json: `ping`",
    "output-playbooks" "what is printed with --output json: `playbook list`",
    "output-schemas" "what is printed with --output json: `schema`",
    "output-playbook" "what is printed with --output json: `playbook show`",
    "output-lint" "what is printed with --output json: `playbook lint`",
    "output-duty" "what is printed with --output json: `playbook run`",
    "output-downtime" "what is printed with --output json: `downtime`",
    "output-ack" "what is printed with --output json: `ack`",
    "output-history" "what is printed with --output json: `history`",
    "output-events" "what is printed with --output json, a line an event: `switchover`, `failover`, `move-role`, `rejoin`, `resume`, `undo`, `apply`, `monitor`; others before their own line",
];

/// Prints one, or the names of all. A schema is JSON whatever was asked for, and no object of ours: its `$id` has a version.
pub fn run(settings: &Settings, name: Option<&str>) -> Result<u8, Trouble> {
    let Some(name) = name else {
        if settings.output == Output::Json {
            out(&setting::json(&names()));
            return Ok(0);
        }
        for (name, says, _) in SCHEMAS {
            out(&format!("{name:<20} {says}"));
        }
        return Ok(0);
    };
    match SCHEMAS.iter().find(|(known, _, _)| *known == name) {
        Some((_, _, text)) => out(text.trim_end()),
        None => {
            let known = SCHEMAS.iter().map(|(known, _, _)| *known);
            let hint = closest(name, known).map_or_else(
                || "`mmm schema` names all".to_owned(),
                |near| format!("did you mean `{near}`?"),
            );
            let what = format!("there is no schema `{name}`");
            return Err(Trouble::new(Kind::Usage, what, "nothing has that name").hint(hint));
        }
    }
    Ok(0)
}

/// The names of all, for programs.
fn names() -> serde_json::Value {
    let all = SCHEMAS
        .iter()
        .map(|(name, says, _)| serde_json::json!({ "name": name, "says": says }));
    serde_json::json!({ "schemas": all.collect::<Vec<_>>() })
}

#[cfg(test)]
mod outputs;
#[cfg(test)]
mod strict;
#[cfg(test)]
mod tests;
