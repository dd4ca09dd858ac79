//! Style as a test: what a reviewer would otherwise have to remember. Each finding names its file and line and says
//! what is wrong; the last test proves that each rule bites.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

/// Which room may speak of which; the program's shape (see `src/lib.rs`).
const MAY_USE: [(&str, &[&str]); 6] = [
    ("core", &["core"]),
    ("config", &["config", "core"]),
    ("sql", &["sql", "core"]),
    ("io", &["io", "core", "config", "sql"]),
    ("report", &["report", "core"]),
    ("cli", &["cli", "io", "report", "core", "config", "sql"]),
];

/// What the core has no business with: it decides, and time and facts are handed to it.
const NOT_IN_CORE: [&str; 12] = [
    "tokio",
    "std::fs",
    "std::env",
    "std::process",
    "std::thread",
    "std::io",
    "TcpStream",
    "UdpSocket",
    "::now()",
    "tracing::",
    "println!",
    "rand::",
];

/// Only `cli` and `report` speak to people; `io` sends events.
const NOT_IN_IO: [&str; 5] = ["println!", "print!(", "eprint", "io::stdout", "io::stderr"];

/// What changes a host stands in the playbooks, where an operator can read and override it.
const ONLY_IN_PLAYBOOKS: [&str; 9] = [
    "SET GLOBAL",
    "CHANGE MASTER",
    "CHANGE REPLICATION",
    "STOP SLAVE",
    "START SLAVE",
    "ip address add",
    "ip address del",
    "arping -",
    "systemctl ",
];

/// Plans are made here, through what can only look: nothing that acts is within reach.
const PLANS: [&str; 4] = [
    "io/sights.rs",
    "io/operation/planner.rs",
    "cli/plan.rs",
    "cli/by_hand.rs",
];

/// What acts, or holds something that does. `io/sights.rs` alone holds a fleet, and gives it to nobody.
const ACTS: [&str; 12] = [
    "Performer",
    "Fleet",
    "StateDir",
    "Hold",
    "Journal",
    "Shell",
    ".act(",
    ".act_on_box(",
    ".warm(",
    ".conduct",
    ".perform(",
    ".save(",
];

/// Nowhere, tests included. Split here, or this file would find itself.
const NOWHERE: [&str; 6] = [
    concat!("todo", "!("),
    concat!("unimplemented", "!("),
    concat!("dbg", "!("),
    concat!("#[al", "low("),
    concat!("#![al", "low("),
    concat!("super::sup", "er::"),
];

/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 7] = ["util", "utils", "common", "helper", "manager", "handler", "types"];

/// Compiled for tests only, as `#[cfg(test)]` says where they are named.
const TEST_ONLY: [&str; 5] = [
    "src/cli/schema/outputs.rs",
    "src/cli/schema/strict.rs",
    "src/core/golden.rs",
    "src/core/samples.rs",
    "src/core/engine/world.rs",
];

const LINES_AT_MOST: usize = 500;

/// Longer files, their length at most, and the reason why each is not split.
const LONGER: &[(&str, usize, &str)] = &[];

#[test]
fn the_project_is_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut findings = Vec::new();
    let mut files = 0;
    for path in sources(root) {
        files += 1;
        let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
        findings.extend(look(&name, &fs::read_to_string(&path).unwrap()));
    }
    for (name, _, _) in LONGER {
        let lines = fs::read_to_string(root.join(name)).map_or(0, |text| text.lines().count());
        if lines <= LINES_AT_MOST {
            findings.push(format!(
                "{name}: has {lines} lines and needs no exception any more"
            ));
        }
    }
    assert!(files > 100, "only {files} files were looked at");
    assert!(
        findings.is_empty(),
        "{} findings\n{}",
        findings.len(),
        findings.join("\n")
    );
}

/// All Rust files of the project, in a fixed order.
fn sources(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut rooms = vec![root.join("src"), root.join("tests")];
    while let Some(room) = rooms.pop() {
        for entry in fs::read_dir(&room).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                rooms.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Everything that is wrong with one file.
fn look(name: &str, text: &str) -> Vec<String> {
    let mut findings = Vec::new();
    let mut find = |line: usize, what: String| findings.push(format!("{name}:{line}: {what}"));
    if !text.starts_with("//!") {
        find(1, "opens without its charter (`//!`)".to_owned());
    }
    let stem = Path::new(name).file_stem().unwrap().to_string_lossy();
    if EMPTY_NAMES.contains(&stem.as_ref()) {
        find(1, format!("`{stem}` says nothing about what is inside"));
    }
    let at_most = LONGER
        .iter()
        .find(|(longer, _, _)| *longer == name)
        .map_or(LINES_AT_MOST, |(_, lines, _)| *lines);
    let lines = text.lines().count();
    if lines > at_most {
        find(
            lines,
            format!("has more than {at_most} lines: split it, or say in `tests/tidy.rs` why not"),
        );
    }
    for (number, line) in code(text) {
        for word in NOWHERE.iter().filter(|word| line.contains(**word)) {
            find(number, format!("`{word}` is used nowhere"));
        }
    }
    if let Some(room) = name.strip_prefix("src/") {
        let is_test_only =
            name.ends_with("/tests.rs") || name.contains("/tests/") || TEST_ONLY.contains(&name);
        for (number, line) in code(text).take_while(|(_, line)| !is_test_only && line.trim() != "mod tests {")
        {
            for what in in_the_program(room, line) {
                find(number, what);
            }
        }
    }
    findings
}

/// The lines that are no comments, with their numbers.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let numbered = text.lines().enumerate().map(|(at, line)| (at + 1, line));
    numbered.filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// What is wrong with one line of the program itself; `file` is its path below `src`.
fn in_the_program(file: &str, line: &str) -> Vec<String> {
    let mut findings = Vec::new();
    for word in [".unwrap()", ".expect(\"", "panic!("] {
        if line.contains(word) {
            findings.push(format!("`{word}` outside tests: return an error"));
        }
    }
    let room = file.split('/').next().unwrap_or_default();
    let holds_a_fleet = file == "io/sights.rs";
    for word in ACTS
        .iter()
        .filter(|word| PLANS.contains(&file) && line.contains(**word))
    {
        if !(holds_a_fleet && ["Fleet", "StateDir"].contains(word)) {
            findings.push(format!("`{word}` acts: a plan is made without it"));
        }
    }
    if holds_a_fleet
        && line.contains("pub fn")
        && (line.contains("-> &'f Fleet") || line.contains("-> &Fleet"))
    {
        findings.push("a fleet that is given away can act".to_owned());
    }
    if file == "main.rs" && line.contains("mmm::") && !line.contains("mmm::cli::") {
        findings.push("`main.rs` calls `cli` and nothing else".to_owned());
    }
    let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == room) else {
        return findings;
    };
    for (other, _) in MAY_USE.iter().filter(|(other, _)| !allowed.contains(other)) {
        if line.contains(&format!("crate::{other}")) {
            findings.push(format!("`{room}` may not use `{other}`"));
        }
    }
    let banned: &[&str] = match room {
        "core" => &NOT_IN_CORE,
        "io" => &NOT_IN_IO,
        _ => &[],
    };
    for word in banned.iter().filter(|word| line.contains(**word)) {
        findings.push(format!("`{word}` has no place in `{room}`"));
    }
    if ["io", "sql"].contains(&room) {
        for word in ONLY_IN_PLAYBOOKS.iter().filter(|word| line.contains(**word)) {
            findings.push(format!("`{word}` changes a host: it belongs in a playbook"));
        }
    }
    findings
}

#[test]
fn every_rule_bites() {
    let long = format!("//! x\n{}", "\n".repeat(LINES_AT_MOST));
    let cases = [
        (
            "src/core/a.rs",
            "use crate::io::clock;",
            "`core` may not use `io`",
        ),
        (
            "src/io/a.rs",
            "use crate::report::line;",
            "`io` may not use `report`",
        ),
        (
            "src/report/a.rs",
            "use crate::io::clock;",
            "`report` may not use `io`",
        ),
        (
            "src/sql/a.rs",
            "let x = crate::config::y();",
            "`sql` may not use `config`",
        ),
        (
            "src/config/a.rs",
            "use crate::sql::row;",
            "`config` may not use `sql`",
        ),
        (
            "src/main.rs",
            "    mmm::io::run()",
            "calls `cli` and nothing else",
        ),
        ("src/core/a.rs", "let t = Instant::now();", "no place in `core`"),
        ("src/core/a.rs", "std::fs::read(p)", "no place in `core`"),
        ("src/io/a.rs", "println!(\"x\");", "no place in `io`"),
        (
            "src/io/a.rs",
            "let s = \"SET GLOBAL read_only = 1\";",
            "belongs in a playbook",
        ),
        ("src/cli/a.rs", "x.unwrap();", "outside tests"),
        ("src/cli/a.rs", "x.expect(\"y\");", "outside tests"),
        ("tests/a.rs", concat!("dbg", "!(x);"), "is used nowhere"),
        ("tests/a.rs", concat!("#[al", "low(unused)]"), "is used nowhere"),
        ("src/io/util.rs", "", "says nothing"),
        (
            "src/cli/plan.rs",
            "let x = performer.act(y);",
            "a plan is made without it",
        ),
        (
            "src/io/operation/planner.rs",
            "use crate::io::fleet::Fleet;",
            "a plan is made without it",
        ),
        (
            "src/io/sights.rs",
            "    pub fn fleet(&self) -> &'f Fleet {",
            "given away can act",
        ),
    ];
    for (name, line, expected) in cases {
        let findings = look(name, &format!("//! Charter.\n{line}\n"));
        assert!(
            matches!(findings.as_slice(), [finding] if finding.contains(expected)),
            "{name}: {line}: {findings:?}"
        );
    }
    assert!(look("src/io/a.rs", "use x;\n")[0].contains("charter"));
    assert!(look("src/io/a.rs", &long)[0].contains("has more than"));
    let innocent = "//! Charter.\n// x.unwrap()\nmod tests {\n    x.unwrap();\n}\n";
    assert_eq!(look("src/io/a.rs", innocent), Vec::<String>::new());
}
