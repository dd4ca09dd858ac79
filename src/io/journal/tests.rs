//! Journals that were cut off, torn, or ended.

use super::*;

fn opening(run: &str) -> Opening {
    Opening {
        run: run.into(),
        operation: "switchover".into(),
        outgoing: Some("db1".into()),
        incoming: Some("db2".into()),
        rung: None,
        automatic: false,
        address: None,
        chore: None,
        write_refused_max: None,
        stages: vec![],
    }
}

/// Leaves that at the end of a journal, as a crash does.
fn tear(state: &StateDir, run: &str, tail: &[u8]) {
    let mut file = fs::OpenOptions::new()
        .append(true)
        .open(path_of(state, run))
        .unwrap();
    std::io::Write::write_all(&mut file, tail).unwrap();
}

#[test]
fn an_unfinished_run_is_found_with_all_that_was_synced() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDir::of(dir.path(), "test");
    state.prepare().unwrap();
    let mut cut = Journal::begin(&state, opening("a")).unwrap();
    cut.append(Entry::Step(Happening::Doing(0)));
    cut.append(Entry::Step(Happening::Did(0, Outcome::Done)));
    tear(&state, "a", b"{\"at\": 12, \"st");
    let mut whole = Journal::begin(&state, opening("b")).unwrap();
    whole.append(Entry::End(Ending::Done { warnings: vec![] }));
    let open = open_runs(&state).unwrap();
    assert_eq!(open.len(), 1);
    assert_eq!(open[0].opening.run, "a");
    assert_eq!(
        open[0].happenings,
        vec![Happening::Doing(0), Happening::Did(0, Outcome::Done)]
    );
    assert!(
        Journal::begin(&state, opening("a")).is_err(),
        "a name is used once"
    );
}

#[test]
fn a_stuck_run_stays_open_until_it_has_come_to_an_end() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDir::of(dir.path(), "test");
    state.prepare().unwrap();
    let mut journal = Journal::begin(&state, opening("a")).unwrap();
    let stuck = |journal: &mut Journal, entry| {
        journal.append(entry);
        open_runs(&state).unwrap().first().map(|run| run.stuck)
    };
    let because = String::from("no answer");
    assert_eq!(
        stuck(
            &mut journal,
            Entry::End(Ending::Stuck {
                because,
                awaits: Vec::new()
            })
        ),
        Some(true)
    );
    assert_eq!(stuck(&mut journal, Entry::Step(Happening::Cleared)), Some(false));
    let because = String::from("no answer");
    assert_eq!(
        stuck(
            &mut journal,
            Entry::End(Ending::Undone {
                because,
                untouched: false
            })
        ),
        None
    );
}

#[test]
fn whoever_goes_on_behind_a_torn_tail_is_read() {
    for tail in [&b"{\"at\": 17, \"step\": {\"do"[..], &[0; 512], b"\n\n{\n"] {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::of(dir.path(), "test");
        state.prepare().unwrap();
        let mut cut = Journal::begin(&state, opening("a")).unwrap();
        cut.append(Entry::Step(Happening::Doing(0)));
        drop(cut);
        tear(&state, "a", tail);
        let mut again = Journal::of_run(&state, "a").unwrap();
        again.append(Entry::Step(Happening::GivenUp));
        assert_eq!(again.trouble(), None);
        let open = open_runs(&state).unwrap();
        assert_eq!(open[0].happenings, [Happening::Doing(0), Happening::GivenUp]);
        again.append(Entry::End(Ending::Done { warnings: vec![] }));
        assert!(open_runs(&state).unwrap().is_empty(), "{tail:?}");
    }
}

#[test]
fn a_line_that_is_not_whole_hides_none_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDir::of(dir.path(), "test");
    state.prepare().unwrap();
    drop(Journal::begin(&state, opening("a")).unwrap());
    tear(
        &state,
        "a",
        b"{\"at\": 17, \"st{\"at\":18,\"step\":\"given_up\"}\n",
    );
    let ended = Line {
        at: clock::now(),
        entry: Entry::End(Ending::Done { warnings: vec![] }),
    };
    tear(&state, "a", &serde_json::to_vec(&ended).unwrap());
    assert!(open_runs(&state).unwrap().is_empty());
}
