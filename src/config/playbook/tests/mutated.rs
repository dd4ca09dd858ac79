//! Whatever is done to a shipped playbook: no panic, and every finding has its place inside the file.

use std::sync::LazyLock;

use proptest::prelude::*;

use crate::config::playbook::*;

static SHIPPED: LazyLock<Playbook> = LazyLock::new(|| load(None).unwrap());

/// What is found in one file that takes the place of a shipped one.
fn findings(path: &str, text: &str) -> Vec<Diagnostic> {
    let mut playbook = SHIPPED.clone();
    let file = File {
        shown: Path::new("playbooks").join(path),
        text: text.to_owned(),
    };
    let mut page = page::Page::new(&file.shown, &file.text);
    match read_one(&mut page, Path::new(path), &mut playbook) {
        Some(Written::Duty(written)) => {
            if let Some(duty) = playbook.duties.get(&written.duty.value) {
                rules::check_duty(&mut page, &written, duty, &playbook);
            }
        }
        Some(Written::Operation(written)) => rules::check_operation(&mut page, &written, &playbook),
        Some(Written::Dialect) | None => {}
    }
    page.findings
}

fn judge(path: &str, text: &str) -> Result<(), TestCaseError> {
    let lines = text.split('\n').count();
    for finding in findings(path, text) {
        prop_assert!(!finding.what.is_empty() && !finding.because.is_empty() && !finding.hint.is_empty());
        let place = finding.place.as_ref();
        prop_assert!(
            place.is_some_and(|at| (1..=lines).contains(&at.line) && at.column >= 1 && at.width >= 1),
            "{}",
            finding.render()
        );
    }
    Ok(())
}

fn mutate(text: &str, at: usize, length: usize, with: &str) -> String {
    let characters: Vec<char> = text.chars().collect();
    if characters.is_empty() {
        return with.to_owned();
    }
    let at = at % characters.len();
    let end = (at + length).min(characters.len());
    let (before, after) = (&characters[..at], &characters[end..]);
    before
        .iter()
        .copied()
        .chain(with.chars())
        .chain(after.iter().copied())
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn a_mutated_playbook_never_panics(
        file in 0..FILES.len(),
        changes in proptest::collection::vec(
            (any::<usize>(), 0usize..40, prop_oneof![
                "[-a-z0-9:{},&*!|>'\"# \n\t\\[\\]%]{0,8}",
                "\\PC{0,4}",
                Just("{{ ".to_owned()), Just(" }}".to_owned()), Just("{% if".to_owned()), Just("<<: *a".to_owned()),
                Just("---\n".to_owned()), Just("null".to_owned()), Just("99999999999999999999".to_owned()),
            ]),
            1..6,
        ),
    ) {
        let (path, text) = FILES[file];
        let text = changes.iter().fold(text.to_owned(), |text, (at, length, with)| mutate(&text, *at, *length, with));
        judge(path, &text)?;
    }

    /// Whole lines gone or doubled keep the text YAML more often, so that the later stages are reached.
    #[test]
    fn a_playbook_with_lines_gone_or_doubled_never_panics(
        file in 0..FILES.len(),
        changes in proptest::collection::vec((any::<usize>(), any::<bool>()), 1..5),
    ) {
        let (path, text) = FILES[file];
        let mut lines: Vec<&str> = text.lines().collect();
        for (at, double) in changes {
            if lines.is_empty() { break }
            let at = at % lines.len();
            let twice = if double { vec![lines[at]; 2] } else { Vec::new() };
            lines.splice(at..=at, twice);
        }
        judge(path, &lines.join("\n"))?;
    }
}

/// And the one that looks at everything at once stands it too.
#[test]
fn lint_stands_files_that_are_cut_off_anywhere() {
    for (number, (path, text)) in FILES.iter().enumerate().step_by(12) {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join(path);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        let most = text.len() * (number % 7 + 1) / 8;
        let end = (0..=most).rev().find(|at| text.is_char_boundary(*at)).unwrap();
        fs::write(place, &text[..end]).unwrap();
        lint(Some(directory.path()), None).unwrap();
    }
}
