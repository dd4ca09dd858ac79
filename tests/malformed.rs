//! Malformed inventories and playbooks as an operator meets them: `mmm validate` never panics, exits with 2, and names file,
//! line and column. The texts are mutations of good ones; always the same, so that a failure can be looked at.

#![expect(clippy::unwrap_used, reason = "whatever fails here is a failed test")]

use std::fs;
use std::path::Path;
use std::process::Command;

/// How many of each are tried; a thousand in all with `MMM_LONG=1`.
fn rounds() -> u64 {
    if std::env::var_os("MMM_LONG").is_some() {
        500
    } else {
        40
    }
}

/// The example, which names a directory of playbooks and duties in it that are not there, without them.
fn example(playbooks: &str) -> String {
    const THERE: [&str; 5] = [
        "note-handover",
        "fence:\n",
        "fence: {",
        "fence-switch-port",
        "sw1.example.com",
    ];
    let lines = include_str!("../inventory.example.yaml").split_inclusive('\n');
    let is_there = |line: &&str| THERE.iter().any(|words| line.contains(words));
    let text: Vec<&str> = lines.filter(|line| !is_there(line)).map(str::trim_end).collect();
    text.join("\n")
        .replace("    playbooks: /etc/mmm/playbooks", playbooks)
}

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % most.max(1)
    }
}

/// A text with a few of its lines, or of its characters, changed.
fn mutated(text: &str, dice: &mut Dice) -> String {
    const PIECES: [&str; 12] = [
        "", ":", "x: ", "- ", "{", "[", "'", "*a", "{{ x }}", "null", "9e9", "\t",
    ];
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for _ in 0..=dice.below(3) {
        let at = dice.below(lines.len());
        let piece = PIECES[dice.below(PIECES.len())];
        match dice.below(3) {
            0 => {
                lines.remove(at);
            }
            1 => lines.insert(at, format!("{}{piece}", lines[at])),
            _ => {
                let characters: Vec<char> = lines[at].chars().collect();
                let place = dice.below(characters.len() + 1);
                let (before, after) = characters.split_at(place);
                lines[at] = before.iter().chain(after.iter().skip(1)).collect::<String>();
                lines[at].push_str(piece);
            }
        }
    }
    lines.join("\n")
}

/// What `mmm validate` makes of a directory with an inventory, and perhaps playbooks. Whether it refused.
fn judged(directory: &Path, seed: u64) -> bool {
    let output = Command::new(env!("CARGO_BIN_EXE_mmm"))
        .args(["--inventory", "inventory.yaml", "validate"])
        .current_dir(directory)
        .env_remove("MMM_INVENTORY")
        .env("HOME", "/root")
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let code = output.status.code();
    assert!(!said.contains("panicked"), "{seed}: {said}");
    if code == Some(0) {
        return false;
    }
    assert_eq!(code, Some(2), "{seed}: {said}");
    let places: Vec<&str> = said
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("--> "))
        .collect();
    assert!(!places.is_empty(), "{seed}: no place in {said}");
    for place in places {
        let mut parts = place.rsplit(':');
        let numbers =
            [parts.next(), parts.next()].map(|part| part.and_then(|part| part.parse::<usize>().ok()));
        assert!(
            matches!(numbers, [Some(1..), Some(1..)]) && place.contains(".yaml:"),
            "{seed}: `{place}` is no file:line:column"
        );
    }
    true
}

#[test]
fn malformed_inventories_are_refused_in_their_place() {
    let mut refused = 0;
    for seed in 0..rounds() {
        let directory = tempfile::tempdir().unwrap();
        let text = mutated(&example("    # none"), &mut Dice(seed));
        fs::write(directory.path().join("inventory.yaml"), text).unwrap();
        refused += u64::from(judged(directory.path(), seed));
    }
    assert!(refused * 2 > rounds(), "only {refused} were malformed");
}

#[test]
fn malformed_playbooks_are_refused_in_their_place() {
    let mut refused = 0;
    for seed in 0..rounds() {
        let mut dice = Dice(seed + 1_000_000);
        let directory = tempfile::tempdir().unwrap();
        let inventory = example("    playbooks: playbooks");
        fs::write(directory.path().join("inventory.yaml"), inventory).unwrap();
        let (path, text) = mmm::config::playbook::FILES[dice.below(mmm::config::playbook::FILES.len())];
        let place = directory.path().join("playbooks").join(path);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(place, mutated(text, &mut dice)).unwrap();
        refused += u64::from(judged(directory.path(), seed));
    }
    assert!(refused * 3 > rounds(), "only {refused} were malformed");
}
