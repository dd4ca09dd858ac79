//! The schemas hold for the files they are about, refuse what the readers refuse, and know the same keys.

use std::collections::BTreeSet;

use serde_json::Value;

use super::SCHEMAS;
use super::strict::Schema;
use crate::config::inventory::known_keys;
use crate::config::playbook::{FILES, Form};

const EXAMPLE: &str = include_str!("../../../inventory.example.yaml");

fn schema(name: &str) -> Value {
    let (_, _, text) = SCHEMAS.iter().find(|(known, _, _)| *known == name).unwrap();
    serde_json::from_str(text).unwrap()
}

/// What is wrong with a value by a schema; none when nothing is.
fn wrong_by(name: &str, value: &Value) -> Option<String> {
    Schema::lenient(schema(name)).unwrap().wrong(value)
}

fn yaml(text: &str) -> Value {
    serde_yaml::from_str(text).unwrap()
}

#[test]
fn every_schema_is_one_and_says_its_name_and_version() {
    for (name, says, _) in SCHEMAS {
        let schema = schema(name);
        assert_eq!(
            schema["$schema"], "https://json-schema.org/draft/2020-12/schema",
            "{name}"
        );
        let id = schema["$id"].as_str().unwrap();
        assert!(id.starts_with(&format!("mmm:{name}:")), "{name}: {id}");
        assert!(!says.is_empty());
        wrong_by(name, &Value::Null).expect("null is no file of ours");
    }
}

#[test]
fn the_shipped_files_are_valid() {
    assert_eq!(wrong_by("inventory", &yaml(EXAMPLE)), None);
    for (path, text) in FILES {
        let name = match path.split('/').next() {
            Some("duties") => "duty",
            Some("operations") => "operation",
            _ => "dialect",
        };
        assert_eq!(wrong_by(name, &yaml(text)), None, "{path}");
    }
}

#[test]
fn what_the_readers_refuse_is_refused() {
    let duty = "duty: d\nsays: s\nwithin: 1s\n";
    for (name, text) in [
        (
            "duty",
            format!("{duty}steps: [{{ name: n, run: x, sudoo: true }}]"),
        ),
        ("duty", format!("{duty}steps: [{{ name: n }}]")),
        (
            "duty",
            format!("{duty}steps: [{{ name: n, run: x, expect: true }}]"),
        ),
        (
            "duty",
            format!("{duty}changes: nothing\nundo: x\nsteps: [{{ name: n, run: x }}]"),
        ),
        (
            "duty",
            "duty: d\nsays: s\nwithin: soon\nsteps: [{ name: n, run: x }]".to_owned(),
        ),
        ("operation", "operation: o\nsays: s".to_owned()),
        (
            "operation",
            "operation: o\nsays: s\ncommit: [{ name: n, at: nowhere, duty: d, within: 1s }]".to_owned(),
        ),
        (
            "dialect",
            "dialect: x\nwords: { a: [{ since: 10.10, sql: x }] }".to_owned(),
        ),
        ("inventory", "clusters: {}".to_owned()),
        ("inventory", EXAMPLE.replace("mode: exclusive", "mode: alone")),
        ("inventory", EXAMPLE.replace("every: 5s", "every: 5")),
        (
            "inventory",
            EXAMPLE.replace("automatic: true", "automatic: sometimes"),
        ),
        (
            "inventory",
            EXAMPLE.replace("writer_role: writer", "writer_rule: writer"),
        ),
    ] {
        assert!(wrong_by(name, &yaml(&text)).is_some(), "{name}: {text}");
    }
}

#[test]
fn schemas_and_readers_of_playbooks_know_the_same_keys() {
    for (form, name, place) in [
        (Form::Duty, "duty", ""),
        (Form::Step, "duty", "/$defs/step"),
        (Form::Check, "duty", "/$defs/check/oneOf/1"),
        (Form::Operation, "operation", ""),
        (Form::OperationStep, "operation", "/$defs/step"),
        (Form::Dialect, "dialect", ""),
        (Form::Wording, "dialect", "/$defs/wording"),
    ] {
        let schema = schema(name);
        let properties = schema.pointer(place).unwrap()["properties"].as_object().unwrap();
        let described: BTreeSet<&str> = properties.keys().map(String::as_str).collect();
        let known: BTreeSet<&str> = form.keys().iter().copied().collect();
        assert_eq!(described, known, "{form:?}");
    }
}

/// The paths of all closed keys of a schema, written as the inventory's reader writes them.
fn paths(root: &Value, node: &Value, path: &str, found: &mut BTreeSet<String>) {
    if let Some(to) = node["$ref"].as_str() {
        let to = root.pointer(to.trim_start_matches('#')).unwrap();
        return paths(root, to, path, found);
    }
    for choice in node["oneOf"].as_array().into_iter().flatten() {
        paths(root, choice, path, found);
    }
    for (key, value) in node["properties"].as_object().into_iter().flatten() {
        let inner = if path.is_empty() {
            key.clone()
        } else {
            format!("{path}.{key}")
        };
        paths(root, value, &inner, found);
        found.insert(inner);
    }
    if node["items"].is_object() {
        paths(root, &node["items"], &format!("{path}.*"), found);
    }
    if node["additionalProperties"].is_object() {
        paths(root, &node["additionalProperties"], &format!("{path}.*"), found);
    }
}

#[test]
fn schema_and_reader_of_the_inventory_know_the_same_keys() {
    let schema = schema("inventory");
    let mut described = BTreeSet::new();
    paths(&schema, &schema, "", &mut described);
    let known = known_keys(EXAMPLE);
    // Asked for where it has no effect, to say so.
    let refused = |path: &String| {
        let without = ["ping", "mysql", "rep_threads"];
        without
            .iter()
            .any(|check| path.ends_with(&format!("checks.{check}.max_backlog")))
    };
    let missing: Vec<&String> = known
        .difference(&described)
        .filter(|path| !refused(path))
        .collect();
    assert!(missing.is_empty(), "not in the schema: {missing:?}");
    // The example visits no section at every level where it may stand, but each at one.
    let bare = |path: &String| {
        let levels = [
            "clusters.*.hosts.*.",
            "clusters.*.defaults.",
            "clusters.*.",
            "defaults.",
        ];
        let level = levels.iter().find(|level| path.starts_with(**level));
        path[level.map_or(0, |level| level.len())..].to_owned()
    };
    let known: BTreeSet<String> = known.iter().map(bare).collect();
    let unknown: Vec<&String> = described
        .iter()
        .filter(|path| !known.contains(&bare(path)))
        .collect();
    assert!(
        unknown.is_empty(),
        "the reader asks for none of these: {unknown:?}"
    );
}
