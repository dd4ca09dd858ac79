//! Everything is found at once, in its place, and nothing is found in the shipped files.

use super::*;
use std::fs;

fn linted(files: &[(&str, &str)], called: Option<&[&str]>) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let file = directory.path().join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
    let called: Option<BTreeSet<String>> =
        called.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
    let findings = lint(Some(directory.path()), called.as_ref()).unwrap();
    let mut lines: Vec<String> = findings
        .iter()
        .map(|finding| {
            let place = finding.place.as_ref().unwrap();
            let stem = finding.file.file_stem().unwrap().to_string_lossy();
            format!("{stem}:{}:{} {}", place.line, place.column, finding.what)
        })
        .collect();
    lines.sort();
    lines
}

#[test]
fn nothing_is_found_in_the_shipped_playbooks() {
    let found = lint(None, Some(&BTreeSet::new())).unwrap();
    assert!(
        found.is_empty(),
        "{}",
        crate::config::diagnostic::render_all(&found)
    );
}

#[test]
fn all_kinds_of_findings_come_at_once_from_all_files() {
    let broken = "duty: broken\nsays: look at {{ host.nam }}\nundoo: nothing\nwithin: 1s\nsteps:\n  - name: a\n    run: x\n    expect: on\n  - { name: b, rum: y, run: 'true {{ nowhere }}' }\n";
    let user = "duty: user\nsays: s\nundo: nothing\nneeds: [told]\nsteps:\n  - name: no deadline\n    run: echo {{ told }}\n  - name: nested\n    duty: brocken\n";
    let told = "duty: told\nsays: s\nundo: nothing\nwithin: 1s\nsteps:\n  - { name: n, run: x, register: told, surplus: 1 }\n";
    let found = linted(
        &[
            ("duties/broken.yaml", broken),
            ("duties/user.yaml", user),
            ("duties/told.yaml", told),
        ],
        Some(&["user", "told"]),
    );
    assert_eq!(
        found,
        [
            "broken:1:7 duty `broken` does not say how it is undone",
            "broken:1:7 nothing performs duty `broken`",
            "broken:2:18 `host.nam` has no value here",
            "broken:3:1 unknown key `undoo`",
            "broken:8:13 `on` without quotes",
            "broken:9:16 unknown key `rum`",
            "broken:9:38 `nowhere` has no value here",
            "told:6:40 unknown key `surplus`",
            "user:6:11 step `no deadline` has no deadline",
            "user:9:11 unknown duty `brocken`",
        ]
    );
}

#[test]
fn a_duty_that_only_an_inventory_could_name_is_a_warning_without_one() {
    let fence = "duty: cut\nsays: s\nundo: nothing\nwithin: 1s\nsteps:\n  - { name: n, run: x }\n";
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir_all(directory.path().join("duties")).unwrap();
    fs::write(directory.path().join("duties/cut.yaml"), fence).unwrap();
    let found = |called: Option<&[&str]>| {
        let called: Option<BTreeSet<String>> =
            called.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
        let found = lint(Some(directory.path()), called.as_ref()).unwrap();
        (found.len(), is_wrong(&found))
    };
    assert_eq!(found(None), (1, false));
    assert_eq!(found(Some(&[])), (1, true));
    assert_eq!(found(Some(&["cut"])), (0, false));
}

#[test]
fn what_no_fence_stands_in_for_is_told() {
    let failover = |step: &str| {
        format!(
            "operation: failover\nsays: s\nprepare:\n  - {{ name: Away, duty: drop-address, within: 3s, {step} }}\ncommit:\n  \
             - {{ name: Open, at: incoming, duty: allow-writes, within: 3s }}\n"
        )
    };
    let found = |step: &str| linted(&[("operations/failover.yaml", &failover(step))], Some(&[]));
    assert_eq!(
        found("at: outgoing"),
        ["failover:4:13 nothing may stand in for step `Away`"]
    );
    assert!(found("at: outgoing, or_fenced: true").is_empty());
    assert!(found("at: outgoing, if_possible: true").is_empty());
    assert_eq!(
        found("at: incoming, or_fenced: true"),
        ["failover:4:13 `or_fenced` does not fit step `Away`"]
    );
}

#[test]
fn values_that_some_reader_takes_for_something_else_want_quotes() {
    for text in ["yes", "No", "ON", "10.10", "007", "1:30"] {
        assert!(is_read_otherwise(text), "{text}");
    }
    for text in ["1", "0", "Yes please", "db1", "10.0.0.1", "2s", "nothing"] {
        assert!(!is_read_otherwise(text), "{text}");
    }
}
