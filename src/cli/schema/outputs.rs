//! The schemas of what is printed: every verb has one that the story of outputs or a test holds its output against, each
//! says its version, and each can fail.

use serde_json::{Value, json};

use super::SCHEMAS;
use super::strict::Schema;
use crate::core::event::{Event, StepEnd, Told};
use crate::core::guard::Guard;
use crate::core::mode::Mode;
use crate::core::moment::Moment;
use crate::core::playbook::Section;
use crate::core::printed::{OUTPUT_VERSION, Printed};
use crate::core::run::Ending;
use crate::core::script::{DutyOutcome, DutyReport, Failure, StepOutcome, StepReport};
use crate::core::site::Occasion;
use crate::core::trouble::{Kind, Trouble};

/// The story that holds what every command prints against its schema, with real hosts.
const STORY: &str = include_str!("../../../tests/it/outputs.rs");

/// The tests of what is printed without hosts.
const TESTS: &str = include_str!("../../../tests/import.rs");

/// Schemas of what is printed.
fn printed() -> impl Iterator<Item = (&'static str, &'static str, Value)> {
    let printed = SCHEMAS
        .iter()
        .filter(|(name, _, _)| name.starts_with("output-") || *name == "plan");
    printed.map(|(name, says, text)| (*name, *says, serde_json::from_str(text).unwrap()))
}

fn strict(name: &str) -> Schema {
    let (_, _, schema) = printed().find(|(known, _, _)| *known == name).unwrap();
    Schema::strict(schema).unwrap()
}

/// That what is printed is valid, and would not be if any of its fields were called otherwise.
#[track_caller]
fn holds(name: &str, what: &impl serde::Serialize) {
    let schema = strict(name);
    let value: Value = serde_json::to_value(Printed::of(what)).unwrap();
    assert_eq!(value["version"], OUTPUT_VERSION);
    assert_eq!(schema.wrong(&value), None, "{value:#}");
    assert_eq!(schema.takes_misspelt(&value), Vec::<String>::new(), "{value:#}");
}

/// Every verb, as it is written.
fn verbs() -> Vec<String> {
    fn below(command: &clap::Command, so_far: &str, found: &mut Vec<String>) {
        let mut inner = command
            .get_subcommands()
            .filter(|verb| verb.get_name() != "help")
            .peekable();
        if inner.peek().is_none() {
            found.push(so_far.trim_start().to_owned());
        }
        for verb in inner {
            below(verb, &format!("{so_far} {}", verb.get_name()), found);
        }
    }
    let mut found = Vec::new();
    below(
        &<crate::cli::args::Arguments as clap::CommandFactory>::command(),
        "",
        &mut found,
    );
    found
}

#[test]
fn every_verb_has_a_schema_and_somebody_holds_its_output_against_it() {
    let all: Vec<(&str, &str, Value)> = printed().collect();
    let verbs = verbs();
    assert!(verbs.len() > 35, "{verbs:?}");
    // As it would stand on one line.
    let story = STORY
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .replace("[ ", "[");
    for verb in &verbs {
        // The plan of each operation is a plan.
        let named = if verb.starts_with("plan ") {
            "plan"
        } else {
            verb.as_str()
        };
        let quoted = format!("`{named}");
        let has_schema = all.iter().any(|(_, says, _)| {
            says.match_indices(&quoted)
                .any(|(at, _)| says[at + quoted.len()..].starts_with(['`', ' ']))
        });
        assert!(has_schema, "no schema is about `{verb}`");
        let words: Vec<String> = verb.split(' ').map(|word| format!("\"{word}\"")).collect();
        let is_tried = story.contains(&format!("[{}", words.join(", ")));
        assert!(
            is_tried || TESTS.contains(&format!("--output json {verb}")),
            "nobody holds what `{verb}` prints against its schema"
        );
    }
    for (name, _, _) in all.iter().filter(|(name, _, _)| *name != "output-events") {
        let is_tried = STORY.contains(&format!("\"{name}\"")) || TESTS.contains(&format!("\"{name}\""));
        assert!(is_tried, "nothing is held against `{name}`");
    }
}

#[test]
fn every_schema_of_what_is_printed_says_its_version_and_leaves_nothing_open() {
    for (name, _, schema) in printed() {
        assert_eq!(schema["$id"], format!("mmm:{name}:{OUTPUT_VERSION}"));
        let choices = ["oneOf", "anyOf"].iter().find_map(|word| schema[word].as_array());
        for shape in choices.unwrap_or(&vec![schema.clone()]) {
            assert_eq!(
                shape["properties"]["version"],
                json!({ "const": OUTPUT_VERSION }),
                "{name}"
            );
            let required = shape["required"].as_array().unwrap();
            assert!(required.contains(&json!("version")), "{name}");
        }
        let open = open(&schema, "");
        assert_eq!(open, Vec::<String>::new(), "{name} says nothing about these");
    }
}

/// The places where anything would do.
fn open(schema: &Value, place: &str) -> Vec<String> {
    let mut found = Vec::new();
    match schema {
        Value::Bool(true) => found.push(place.to_owned()),
        Value::Object(said) => {
            let is_object = said.get("type").is_some_and(|kind| kind == "object");
            let has_fields = said.contains_key("properties") || said.contains_key("additionalProperties");
            if is_object && !has_fields {
                found.push(place.to_owned());
            }
            let is_list = said.get("type").is_some_and(|kind| kind == "array");
            if is_list && !said.contains_key("items") {
                found.push(place.to_owned());
            }
            for (word, inner) in said.iter().filter(|(word, _)| *word != "const") {
                found.extend(open(inner, &format!("{place}/{word}")));
            }
        }
        Value::Array(inner) => {
            for (at, inner) in inner.iter().enumerate() {
                found.extend(open(inner, &format!("{place}/{at}")));
            }
        }
        _ => {}
    }
    found
}

/// One event of each kind that is not told like the one before; the match makes sure that no kind is forgotten.
fn events() -> Vec<Event> {
    let step = |ended| Event::StepEnded {
        step: 1,
        of: 2,
        hosts: vec!["db1".into()],
        name: "n".into(),
        section: Section::Prepare,
        ended,
        took_ms: 3,
        note: Some("why".into()),
    };
    let run_ended = |ending, address: Option<&str>| Event::RunEnded {
        run: "r".into(),
        operation: "switchover".into(),
        ending,
        writer: address.is_none().then(|| "db1".into()),
        address: address.map(|address| address.parse().unwrap()),
        holder: address.map(|_| "db2".into()),
        write_refused_ms: Some(3.5),
        took_ms: 9,
    };
    let stuck = Ending::Stuck {
        because: "b".into(),
        awaits: vec!["db1".into()],
    };
    let undone = Ending::Undone {
        because: "b".into(),
        untouched: true,
    };
    let failed = Ending::Failed { because: "b".into() };
    let done = Ending::Done {
        warnings: vec!["w".into()],
    };
    let all = vec![
        Event::RunStarted {
            run: "r".into(),
            operation: "switchover".into(),
            outgoing: None,
            incoming: Some("db2".into()),
            stages: 19,
        },
        Event::StepStarted {
            step: 1,
            of: 2,
            hosts: vec![],
            name: "n".into(),
        },
        step(StepEnd::Done),
        step(StepEnd::Retried),
        step(StepEnd::Failed),
        step(StepEnd::Unknown),
        step(StepEnd::Waived),
        step(StepEnd::Undone),
        run_ended(done, None),
        run_ended(undone, Some("10.0.0.1")),
        run_ended(failed, None),
        run_ended(stuck, None),
        Event::SiteStep {
            run: "r".into(),
            occasion: Occasion::OnStuck,
            hosts: vec![],
            name: "n".into(),
            ended: StepEnd::Failed,
            took_ms: 3,
            note: None,
            output: String::new(),
        },
        Event::StateChanged {
            host: "db1".into(),
            from: "ONLINE".into(),
            to: "HARD_OFFLINE".into(),
            because: "b".into(),
        },
        Event::CheckChanged {
            host: "db1".into(),
            check: "rep_threads".into(),
            ok: true,
            message: "m".into(),
        },
        Event::RuleChanged {
            rule: "R03".into(),
            sentence: "s".into(),
        },
        Event::WriterChanged {
            from: None,
            to: Some("db2".into()),
            run: Some("r".into()),
        },
        Event::ModeChanged {
            from: Mode::Wait,
            to: Mode::Active,
            by: "b".into(),
        },
        Event::DowntimeChanged {
            host: None,
            until: Some(Moment(1)),
            reason: "r".into(),
            by: "b".into(),
        },
        Event::NetworkChanged { answers: false },
        Event::Repaired {
            host: "db1".into(),
            what: "w".into(),
        },
        Event::Lost {
            run: "r".into(),
            host: "db1".into(),
            writer: "db2".into(),
            exact: true,
            count: Some(1),
            transactions: Some("0-1-1".into()),
            seen_at: None,
            sentence: "s".into(),
        },
        Event::Noted { what: "w".into() },
        Event::Alarm {
            what: "w".into(),
            hint: "h".into(),
        },
    ];
    for event in &all {
        match event {
            Event::RunStarted { .. }
            | Event::StepStarted { .. }
            | Event::StepEnded { .. }
            | Event::RunEnded { .. }
            | Event::SiteStep { .. }
            | Event::StateChanged { .. }
            | Event::CheckChanged { .. }
            | Event::RuleChanged { .. }
            | Event::WriterChanged { .. }
            | Event::ModeChanged { .. }
            | Event::DowntimeChanged { .. }
            | Event::NetworkChanged { .. }
            | Event::Repaired { .. }
            | Event::Lost { .. }
            | Event::Noted { .. }
            | Event::Alarm { .. } => {}
        }
    }
    all
}

#[test]
fn every_event_is_what_its_schema_says() {
    for event in events() {
        let told = Told {
            at: Moment(1),
            cluster: "c".into(),
            event,
        };
        holds("output-events", &told);
    }
    // A kind that it does not know is wrong for us, and right for a reader.
    let unknown = json!({ "version": 1, "at": 1, "cluster": "c", "event": "moon_rose", "phase": "full" });
    assert!(strict("output-events").wrong(&unknown).is_some());
    let (_, _, schema) = printed().find(|(name, _, _)| *name == "output-events").unwrap();
    assert_eq!(Schema::lenient(schema).unwrap().wrong(&unknown), None);
}

#[test]
fn troubles_and_duties_are_what_their_schemas_say() {
    for trouble in [
        Trouble::new(Kind::Usage, "what", "because"),
        Trouble::refused(Guard::G21, "what", "because"),
    ] {
        holds("output-error", &json!({ "error": trouble }));
        holds("output-sudoers", &json!({ "host": "db1", "error": trouble }));
        holds(
            "output-show",
            &json!({ "clusters": [{ "cluster": "c", "error": trouble }] }),
        );
        holds(
            "output-readiness",
            &json!({ "clusters": [{ "cluster": "c", "error": trouble }] }),
        );
        holds("output-checks", &json!({ "checks": [], "errors": [trouble] }));
    }
    let failed = |why| DutyOutcome::Failed {
        step: "s".into(),
        why,
    };
    for outcome in [
        DutyOutcome::Done,
        failed(Failure::Status(-1)),
        failed(Failure::Sql("e".into())),
        failed(Failure::Unexpected("e".into())),
        failed(Failure::Late),
        failed(Failure::Waited("e".into())),
        DutyOutcome::Expired { step: "s".into() },
        DutyOutcome::Unknown { why: "w".into() },
    ] {
        let step = StepReport {
            name: "s".into(),
            outcome: StepOutcome::Already,
            took: std::time::Duration::from_millis(3),
            output: "o".into(),
        };
        let report = DutyReport {
            duty: "d".into(),
            outcome,
            steps: vec![step],
            registered: [("any.name".to_owned(), "value".to_owned())].into(),
            took: std::time::Duration::from_millis(4),
        };
        let shown = crate::cli::playbook::as_json("db1", &report);
        assert_eq!(
            (&shown["took_ms"], &shown["steps"][0]["took_ms"]),
            (&json!(4), &json!(3))
        );
        holds("output-duty", &shown);
    }
}

#[test]
fn the_names_of_the_schemas_are_what_their_schema_says() {
    holds("output-schemas", &super::names());
}
