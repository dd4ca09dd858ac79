//! Which duties let a server take writes, or events run: what only an operation may do, behind its guards.

use std::collections::BTreeSet;

use crate::core::playbook::{Action, Playbook, Sql};

/// How a statement reads, blanks aside, that lets a server take writes. A value filled in could be any.
const LETS_WRITE: [&str; 4] = ["read_only=0", "read_only=off", "read_only=false", "read_only={{"];
/// And one that lets events run.
const LETS_EVENTS_RUN: [&str; 4] = [
    "event_scheduler=on",
    "event_scheduler=1",
    "event_scheduler=true",
    "event_scheduler={{",
];
/// How a command reads that brings an address up, or takes one away; blanks count as one.
const BRINGS_UP: [&str; 4] = ["address add ", "addr add ", "address replace ", "addr replace "];
const TAKES_AWAY: [&str; 5] = [
    "address del ",
    "addr del ",
    "address delete ",
    "addr delete ",
    "address flush ",
];

/// The first step of a duty, nested ones included, that is written to open a server: to let it take writes, or events run.
/// None when there is none.
pub fn opening_step(playbook: &Playbook, duty: &str) -> Option<String> {
    first_step(playbook, duty, |text| {
        changes(text, &LETS_WRITE) || changes(text, &LETS_EVENTS_RUN)
    })
}

/// The first step that lets a server take writes.
pub fn step_that_lets_write(playbook: &Playbook, duty: &str) -> Option<String> {
    first_step(playbook, duty, |text| changes(text, &LETS_WRITE))
}

/// The first step that brings an address up, or says that it is up; none of a duty that only asks.
pub fn step_that_brings_up(playbook: &Playbook, duty: &str) -> Option<String> {
    if playbook.duties.get(duty).is_some_and(|duty| duty.only_asks) {
        return None;
    }
    first_step(playbook, duty, |text| runs(text, &BRINGS_UP))
}

/// Whether a duty takes an address away, and names no command that brings one up.
pub fn takes_addresses_away(playbook: &Playbook, duty: &str) -> bool {
    let names = |forms: &[&str]| first_step(playbook, duty, |text| runs(text, forms)).is_some();
    names(&TAKES_AWAY) && !names(&BRINGS_UP)
}

fn first_step(playbook: &Playbook, duty: &str, is_one: impl Fn(&str) -> bool) -> Option<String> {
    let mut seen = BTreeSet::new();
    let mut open = vec![duty];
    while let Some(name) = open.pop() {
        let Some(duty) = playbook.duties.get(name).filter(|_| seen.insert(name)) else {
            continue;
        };
        for step in &duty.steps {
            let is_it = match &step.action {
                Action::Run(text) | Action::Sql(Sql::Literal(text)) => is_one(text),
                Action::Sql(Sql::Word(word)) => playbook
                    .dialects
                    .values()
                    .filter_map(|dialect| dialect.words.get(word))
                    .flatten()
                    .any(|wording| is_one(&wording.sql)),
                Action::Duty(nested) => {
                    open.push(nested);
                    false
                }
                Action::Wait => false,
            };
            if is_it {
                return Some(step.name.clone());
            }
        }
    }
    None
}

fn changes(text: &str, forms: &[&str]) -> bool {
    let lower = text.to_lowercase();
    let only_asks = ["select", "show"]
        .iter()
        .any(|word| lower.trim_start().starts_with(word));
    let squeezed: String = lower.split_whitespace().collect();
    !only_asks && forms.iter().any(|form| squeezed.contains(form))
}

fn runs(text: &str, forms: &[&str]) -> bool {
    let words: Vec<&str> = text.split_whitespace().collect();
    let line = words.join(" ");
    forms.iter().any(|form| line.contains(form))
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
    fn exactly_these_shipped_duties_bring_addresses_up_or_take_them_away() {
        let playbook = crate::config::playbook::load(None).unwrap();
        let those = |is_one: &dyn Fn(&str) -> bool| -> Vec<String> {
            playbook
                .duties
                .keys()
                .filter(|duty| is_one(duty))
                .cloned()
                .collect()
        };
        assert_eq!(
            those(&|duty| step_that_brings_up(&playbook, duty).is_some()),
            ["add-address", "announce"]
        );
        assert_eq!(
            those(&|duty| takes_addresses_away(&playbook, duty)),
            ["drop-address", "remove-address"]
        );
        assert_eq!(
            those(&|duty| step_that_lets_write(&playbook, duty).is_some()),
            ["allow-writes", "reopen-writes"]
        );
    }

    #[test]
    fn a_look_opens_nothing_and_a_shell_may() {
        assert!(!changes("SELECT @@global.read_only = 0", &LETS_WRITE));
        assert!(changes("mariadb -e 'SET GLOBAL read_only = OFF'", &LETS_WRITE));
        assert!(changes(
            "SET GLOBAL super_read_only={{ with.value }}",
            &LETS_WRITE
        ));
        assert!(!changes("SET GLOBAL read_only = 1", &LETS_WRITE));
    }
}
