//! The written form of a playbook file: closed keys, and every text with the place it stands in.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor, value::MapAccessDeserializer};
use serde_yaml::Spanned;

use crate::core::playbook::Seat;

/// A text and its place.
pub type Text = Spanned<String>;

/// `duties/NAME.yaml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DutyFile {
    pub duty: Text,
    pub says: Text,
    #[serde(default)]
    pub needs: Vec<Text>,
    pub changes: Option<Text>,
    pub undo: Option<Text>,
    pub within: Option<Text>,
    pub unless: Option<Spanned<CheckText>>,
    pub steps: Vec<Spanned<StepText>>,
    pub verify: Option<Spanned<CheckText>>,
}

/// One step of a duty.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepText {
    pub name: Text,
    pub run: Option<Text>,
    pub sql: Option<Text>,
    pub duty: Option<Text>,
    pub sudo: Option<Spanned<bool>>,
    pub background: Option<Spanned<bool>>,
    pub when: Option<Text>,
    pub unless: Option<Spanned<CheckText>>,
    pub until: Option<Spanned<CheckText>>,
    pub expect: Option<Spanned<OneOrColumns>>,
    pub tolerate: Option<Spanned<Vec<u16>>>,
    pub run_rows: Option<Spanned<bool>>,
    pub register: Option<Spanned<OneOrColumns>>,
    pub within: Option<Text>,
}

/// A check: a command, or a mapping with `run` or `sql` and what to expect.
#[derive(Debug, Clone)]
pub enum CheckText {
    Command(String),
    Full(Box<FullCheck>),
}

/// The long form of a check.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FullCheck {
    pub run: Option<Text>,
    pub sql: Option<Text>,
    pub expect: Option<Spanned<OneOrColumns>>,
    #[serde(default)]
    pub same: BTreeMap<String, String>,
    pub or_none: Option<Spanned<Vec<u16>>>,
}

/// One value, or a value for each column.
#[derive(Debug, Clone)]
pub enum OneOrColumns {
    One(String),
    Columns(BTreeMap<String, String>),
}

/// `operations/NAME.yaml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperationFile {
    pub operation: Text,
    pub says: Text,
    #[serde(default)]
    pub given: Vec<Text>,
    #[serde(default)]
    pub prepare: Vec<OperationStepText>,
    #[serde(default)]
    pub commit: Vec<OperationStepText>,
    #[serde(default)]
    pub secure: Vec<OperationStepText>,
    #[serde(default)]
    pub finish: Vec<OperationStepText>,
}

/// One duty at one seat.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperationStepText {
    pub name: Text,
    pub at: Seat,
    pub duty: Text,
    pub within: Text,
    pub source: Option<Seat>,
    pub when: Option<Text>,
    pub or_fenced: Option<bool>,
    pub if_possible: Option<bool>,
    #[serde(default)]
    pub with: BTreeMap<String, Scalar>,
}

/// `dialects/NAME.yaml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DialectFile {
    pub dialect: Text,
    pub words: BTreeMap<String, Vec<Spanned<WordingText>>>,
}

/// One way to say a word.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WordingText {
    pub since: Text,
    pub sql: Text,
    #[serde(default)]
    pub columns: BTreeMap<String, String>,
}

/// A text or a number; `yes` and `no` must be quoted.
#[derive(Debug, Clone)]
pub struct Scalar(pub String);

struct ScalarVisitor;

impl Visitor<'_> for ScalarVisitor {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or a number (quote `yes`, `no`, `true` and `false`)")
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Scalar, E> {
        Ok(Scalar(value.to_owned()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Scalar, E> {
        Ok(Scalar(value.to_string()))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Scalar, E> {
        Ok(Scalar(value.to_string()))
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct CheckVisitor;

impl<'de> Visitor<'de> for CheckVisitor {
    type Value = CheckText;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a command, or a mapping with `run` or `sql`")
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<CheckText, E> {
        Ok(CheckText::Command(value.to_owned()))
    }

    fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<CheckText, M::Error> {
        FullCheck::deserialize(MapAccessDeserializer::new(map)).map(|full| CheckText::Full(Box::new(full)))
    }
}

impl<'de> Deserialize<'de> for CheckText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CheckVisitor)
    }
}

struct OneOrColumnsVisitor;

impl<'de> Visitor<'de> for OneOrColumnsVisitor {
    type Value = OneOrColumns;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a number, or a mapping of columns (quote `yes`, `no`, `true` and `false`)")
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<OneOrColumns, E> {
        Ok(OneOrColumns::One(value.to_owned()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<OneOrColumns, E> {
        Ok(OneOrColumns::One(value.to_string()))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<OneOrColumns, E> {
        Ok(OneOrColumns::One(value.to_string()))
    }

    fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<OneOrColumns, M::Error> {
        let columns = BTreeMap::<String, Scalar>::deserialize(MapAccessDeserializer::new(map))?;
        Ok(OneOrColumns::Columns(
            columns
                .into_iter()
                .map(|(column, value)| (column, value.0))
                .collect(),
        ))
    }
}

impl<'de> Deserialize<'de> for OneOrColumns {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneOrColumnsVisitor)
    }
}
