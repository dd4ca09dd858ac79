//! The stories: what a monitor sees, second by second, and everything it then does, in files that a person can read
//! aloud. The real core decides; the hosts and the ends of operations are told by the story.
//!
//! A file is a story. Each of its paragraphs says what happens, one thing a line; below `----` stands everything that
//! came of it, up to the next empty line, or `ok` when nothing did. That text is compared exactly; `MMM_BLESS=1 cargo
//! test --test scenarios` writes it anew, and the difference is a changed decision that a person reviews.
//!
//! - [`paragraphs`]: the files · [`story`]: what a line means · [`hosts`]: what a host shows
//! - [`beginning`]: a monitor starts · [`deeds`]: how what it started ends
//! - [`setting`]: the cluster before the story begins · [`words`]: what came of it, in plain words
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod beginning;
mod deeds;
mod hosts;
mod paragraphs;
mod setting;
mod story;
mod words;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use mmm::core::explain;

use paragraphs::Paragraph;
use story::Story;

/// Rules that no story need meet, each with the reason.
const NOT_TOLD: &[(&str, &str)] = &[];

fn files() -> Vec<PathBuf> {
    let room = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut files: Vec<PathBuf> = fs::read_dir(room)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    files.sort();
    files
}

/// Plays a story; what came of each paragraph stands in `came`. Returns the rules that were in force.
fn play(paragraphs: &mut [Paragraph]) -> BTreeSet<String> {
    let mut story = Story::default();
    for paragraph in paragraphs {
        let lines = paragraph.commands.iter().flat_map(|command| story.tell(command));
        paragraph.came = lines.collect();
        if paragraph.came.is_empty() {
            paragraph.came.push("ok".to_owned());
        }
    }
    story.rules_met()
}

/// What differs from the expected text, with file and line.
fn differences(file: &str, paragraphs: &[Paragraph]) -> Vec<String> {
    let mut found = Vec::new();
    // What means nothing is never right, also where it was blessed.
    let is_meaningless = |told: &Paragraph| told.came.iter().any(|line| line.starts_with("??"));
    let is_wrong = |told: &&Paragraph| told.came != told.expected || is_meaningless(told);
    for paragraph in paragraphs.iter().filter(is_wrong) {
        found.push(format!(
            "{file}:{}: after `{}`\n  expected\n    {}\n  came\n    {}",
            paragraph.line,
            paragraph.commands.join("; "),
            paragraph.expected.join("\n    "),
            paragraph.came.join("\n    "),
        ));
    }
    found
}

#[test]
fn every_story_ends_as_it_is_written() {
    let mut found = Vec::new();
    let mut met = BTreeSet::new();
    let mut told = 0;
    for path in files() {
        let file = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).unwrap();
        assert!(
            text.starts_with("# "),
            "{file}: a story says first what it is about"
        );
        let mut paragraphs = paragraphs::read(&file, &text);
        met.extend(play(&mut paragraphs));
        told += 1;
        if std::env::var_os("MMM_BLESS").is_some() {
            fs::write(&path, paragraphs::write(&text, &paragraphs)).unwrap();
            continue;
        }
        found.extend(differences(&file, &paragraphs));
    }
    // Guards refuse what is asked for: `tests/guards.rs` says where each is seen to block.
    for rule in explain::all()
        .into_iter()
        .filter(|rule| !rule.number.starts_with('G'))
    {
        let excused = NOT_TOLD.iter().any(|(number, _)| *number == rule.number);
        match (met.contains(&rule.number), excused) {
            (false, false) => found.push(format!("{}: no story meets it: {}", rule.number, rule.sentence)),
            (true, true) => found.push(format!("{}: is met and needs no excuse any more", rule.number)),
            (true, false) | (false, true) => {}
        }
    }
    assert!(told >= 40, "only {told} stories are told");
    assert!(
        found.is_empty(),
        "{} differences; MMM_BLESS=1 accepts what came\n{}",
        found.len(),
        found.join("\n")
    );
}

/// A paragraph played by itself, as it would be in a file.
fn came(text: &str) -> Vec<String> {
    let mut paragraphs = paragraphs::read("here", text);
    play(&mut paragraphs);
    paragraphs.last().unwrap().came.clone()
}

#[test]
fn a_story_whose_end_changes_is_found_and_blessed() {
    let text = "# It dies.\ndb1 writes and all is well\n----\nok\n\ndb1 is down \"gone\"\n----\nnothing at all\n\n# End.\n";
    let mut paragraphs = paragraphs::read("here", text);
    play(&mut paragraphs);
    let found = differences("here", &paragraphs);
    assert!(
        matches!(found.as_slice(), [one] if one.starts_with("here:6: after `db1 is down \"gone\"`")),
        "{found:?}"
    );
    let nonsense = "db1 is blue\n----\n?? `blue` is nothing that a host can be\n";
    let mut nonsense = paragraphs::read("here", nonsense);
    play(&mut nonsense);
    assert_eq!(differences("here", &nonsense).len(), 1, "{:?}", nonsense[0].came);
    let blessed = paragraphs::write(text, &paragraphs);
    let mut again = paragraphs::read("here", &blessed);
    play(&mut again);
    assert_eq!(differences("here", &again), Vec::<String>::new());
    assert!(
        blessed.starts_with("# It dies.\n") && blessed.ends_with("\n\n# End.\n"),
        "{blessed}"
    );
}

#[test]
fn what_a_story_cannot_mean_is_said_and_not_passed_over() {
    for (text, expected) in [
        ("db9 is down", "is no command"),
        ("db1 is blue", "is nothing that a host can be"),
        ("the failover succeeds", "nothing is under way"),
        ("check db1 mysql sulks", "ok, fails or unknown"),
        ("after forever", "is no time"),
    ] {
        let came = came(&format!("db1 writes and all is well\n{text}\n----\nok\n"));
        assert!(
            came.iter()
                .any(|line| line.starts_with("??") && line.contains(expected)),
            "{text}: {came:?}"
        );
    }
}
