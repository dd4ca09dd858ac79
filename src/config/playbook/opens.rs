//! Which duties let a server take writes, or events run: what only an operation may do, behind its guards.

use std::collections::BTreeSet;

use crate::core::playbook::{Action, Playbook, Sql};

/// How a statement reads, blanks aside, that opens a server. A value filled in could be any.
const OPENS: [&str; 8] = [
    "read_only=0",
    "read_only=off",
    "read_only=false",
    "read_only={{",
    "event_scheduler=on",
    "event_scheduler=1",
    "event_scheduler=true",
    "event_scheduler={{",
];

/// The first step of a duty, nested ones included, that is written to open a server; none when there is none.
pub fn opening_step(playbook: &Playbook, duty: &str) -> Option<String> {
    let mut seen = BTreeSet::new();
    let mut open = vec![duty];
    while let Some(name) = open.pop() {
        let Some(duty) = playbook.duties.get(name).filter(|_| seen.insert(name)) else {
            continue;
        };
        for step in &duty.steps {
            let opens = match &step.action {
                Action::Run(text) | Action::Sql(Sql::Literal(text)) => opens(text),
                Action::Sql(Sql::Word(word)) => playbook
                    .dialects
                    .values()
                    .filter_map(|dialect| dialect.words.get(word))
                    .flatten()
                    .any(|wording| opens(&wording.sql)),
                Action::Duty(nested) => {
                    open.push(nested);
                    false
                }
                Action::Wait => false,
            };
            if opens {
                return Some(step.name.clone());
            }
        }
    }
    None
}

fn opens(text: &str) -> bool {
    let lower = text.to_lowercase();
    let only_asks = ["select", "show"]
        .iter()
        .any(|word| lower.trim_start().starts_with(word));
    let squeezed: String = lower.split_whitespace().collect();
    !only_asks && OPENS.iter().any(|form| squeezed.contains(form))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_these_shipped_duties_open_a_server() {
        let playbook = crate::config::playbook::load(None).unwrap();
        let found: Vec<&str> = playbook
            .duties
            .keys()
            .filter(|duty| opening_step(&playbook, duty).is_some())
            .map(String::as_str)
            .collect();
        assert_eq!(found, ["allow-writes", "reopen-writes", "restore-events"]);
    }

    #[test]
    fn a_look_opens_nothing_and_a_shell_may() {
        assert!(!opens("SELECT @@global.read_only = 0"));
        assert!(opens("mariadb -e 'SET GLOBAL read_only = OFF'"));
        assert!(opens("SET GLOBAL super_read_only={{ with.value }}"));
        assert!(!opens("SET GLOBAL read_only = 1"));
    }
}
