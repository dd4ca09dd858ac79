//! What the tables prove. Each row is known by its writer and id. One server is the reference: the others should
//! hold just what it holds.
//!
//! - missing on a server: acknowledged to a writer, and not there; missing on the reference is *lost*.
//! - surplus on a server: there more often than on the reference.
//! - duplicated on a server: there more than once.
//! - written though refused: the server answered with an error, and the row is there all the same.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::Violation;
use super::acks::through_the_address;
use super::evidence::{Evidence, Table};
use crate::writer::log::Attempt;

/// How many rows, and the first of them by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RowSet {
    pub count: usize,
    /// Up to ten, as `writer/id`.
    pub examples: Vec<String>,
}

/// One server's table against the acknowledgements and the reference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ServerRows {
    pub host: String,
    pub server: u32,
    pub rows: usize,
    pub missing: RowSet,
    pub surplus: RowSet,
    pub duplicated: RowSet,
    pub written_though_refused: RowSet,
}

/// All tables.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Rows {
    /// `@@server_id` of the reference; `None` when no table was read.
    pub reference: Option<u32>,
    pub servers: Vec<ServerRows>,
}

type Key<'a> = (&'a str, u64);

/// Compares each table with the acknowledgements and with the reference's.
pub fn compare(evidence: &Evidence, acks: &[&Attempt]) -> Rows {
    if evidence.tables.is_empty() {
        return Rows::default();
    }
    let last = acks
        .iter()
        .filter(|ack| through_the_address(ack))
        .max_by_key(|ack| ack.sent_ns);
    let reference = evidence.expect.reference.or(last.map(|ack| ack.server));
    let reference = reference.unwrap_or(evidence.tables[0].server);
    let reference_rows = evidence
        .tables
        .iter()
        .find(|table| table.server == reference)
        .map(counted);

    let acknowledged: BTreeSet<Key> = acks.iter().map(|ack| key(ack)).collect();
    let refused: BTreeSet<Key> = evidence
        .logs
        .iter()
        .flat_map(|log| &log.refused)
        .map(key)
        .collect();
    let servers = evidence.tables.iter().map(|table| {
        let rows = counted(table);
        let more_than = |other: &BTreeMap<Key, usize>| {
            rows.iter()
                .filter(|(key, count)| other.get(*key) < Some(count))
                .map(|(key, _)| *key)
                .collect()
        };
        ServerRows {
            host: table.host.clone(),
            server: table.server,
            rows: table.rows.len(),
            missing: acknowledged
                .iter()
                .filter(|key| !rows.contains_key(*key))
                .copied()
                .collect(),
            surplus: reference_rows.as_ref().map(more_than).unwrap_or_default(),
            duplicated: rows
                .iter()
                .filter(|(_, count)| **count > 1)
                .map(|(key, _)| *key)
                .collect(),
            written_though_refused: refused
                .iter()
                .filter(|key| rows.contains_key(*key))
                .copied()
                .collect(),
        }
    });
    Rows {
        reference: Some(reference),
        servers: servers.collect(),
    }
}

fn key(attempt: &Attempt) -> Key<'_> {
    (&attempt.writer, attempt.id)
}

fn counted(table: &Table) -> BTreeMap<Key<'_>, usize> {
    let mut counts = BTreeMap::new();
    for row in &table.rows {
        *counts.entry((row.writer.as_str(), row.id)).or_insert(0) += 1;
    }
    counts
}

impl<'a> FromIterator<Key<'a>> for RowSet {
    fn from_iter<I: IntoIterator<Item = Key<'a>>>(keys: I) -> RowSet {
        let mut set = RowSet::default();
        for (writer, id) in keys {
            set.count += 1;
            if set.examples.len() < 10 {
                set.examples.push(format!("{writer}/{id}"));
            }
        }
        set
    }
}

impl Rows {
    /// Acknowledged rows that the reference does not have.
    pub fn lost(&self) -> usize {
        let reference = self
            .servers
            .iter()
            .find(|server| Some(server.server) == self.reference);
        reference.map_or(0, |server| server.missing.count)
    }

    /// Rows that stand on some server more than once.
    pub fn duplicated(&self) -> usize {
        self.servers
            .iter()
            .map(|server| server.duplicated.count)
            .max()
            .unwrap_or(0)
    }

    pub(super) fn violations(&self) -> Vec<Violation> {
        let mut found = Vec::new();
        if let Some(reference) = self.reference
            && !self.servers.iter().any(|server| server.server == reference)
        {
            found.push(Violation::ReferenceNotRead { server: reference });
        }
        for server in &self.servers {
            let host = || server.host.clone();
            let sets = [
                (
                    &server.missing,
                    Violation::Missing as fn(String, RowSet) -> Violation,
                ),
                (&server.surplus, Violation::Surplus),
                (&server.duplicated, Violation::Duplicated),
                (&server.written_though_refused, Violation::WrittenThoughRefused),
            ];
            let broken = sets.into_iter().filter(|(set, _)| set.count > 0);
            found.extend(broken.map(|(set, violation)| violation(host(), set.clone())));
        }
        found
    }
}
