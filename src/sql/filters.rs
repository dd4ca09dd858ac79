//! What a server leaves out of replication, read from its variables, a channel's status and the end of its binary log.

use std::collections::BTreeMap;

use crate::core::facts::{Filters, Flavour, Version};

use super::row::Row;

/// What a server may leave out of what it applies: MariaDB's variables, MySQL's columns of a channel.
const APPLIED: [&str; 7] = [
    "replicate_do_db",
    "replicate_ignore_db",
    "replicate_do_table",
    "replicate_ignore_table",
    "replicate_wild_do_table",
    "replicate_wild_ignore_table",
    "replicate_rewrite_db",
];

/// What a server may leave out of what it logs: columns of the end of its binary log.
const LOGGED: [&str; 2] = ["binlog_do_db", "binlog_ignore_db"];

/// The filters of a server over one channel. MariaDB tells those of its nameless connection in its variables, whether it
/// follows anybody or not; all others stand in the status of a channel only.
pub fn filters(
    version: Version,
    variables: &Row,
    (name, channel): (&str, Option<&Row>),
    binlog: Option<&Row>,
) -> Filters {
    Filters {
        applied: match version.flavour {
            Flavour::Mariadb if name.is_empty() => among(Some(variables), &APPLIED),
            Flavour::Mariadb | Flavour::Mysql => among(channel, &APPLIED),
        },
        logged: among(binlog, &LOGGED),
    }
}

/// The filters among a row's columns; `None` when it has none of these columns, or there is no row.
fn among(row: Option<&Row>, names: &[&str]) -> Option<BTreeMap<String, String>> {
    let row = row?;
    let told: Vec<(&str, &str)> = names
        .iter()
        .filter_map(|name| Some((*name, row.get(&[name])?)))
        .collect();
    let set = |(name, value): &(&str, &str)| (!value.is_empty()).then(|| ((*name).to_owned(), sorted(value)));
    (!told.is_empty()).then(|| told.iter().filter_map(set).collect())
}

/// A list whose order says nothing.
fn sorted(list: &str) -> String {
    let mut items: Vec<&str> = list.split(',').map(str::trim).collect();
    items.sort_unstable();
    items.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(columns: &[(&str, &str)]) -> Row {
        let cell = |(name, value): &(&str, &str)| ((*name).to_owned(), Some((*value).to_owned()));
        Row(columns.iter().map(cell).collect())
    }

    fn version(flavour: Flavour) -> Version {
        Version {
            flavour,
            numbers: (10, 11, 0),
        }
    }

    fn only(name: &str, value: &str) -> Option<BTreeMap<String, String>> {
        Some(BTreeMap::from([(name.to_owned(), value.to_owned())]))
    }

    #[test]
    fn mariadb_tells_of_it_in_variables_and_mysql_in_its_channel() {
        let variables = row(&[("replicate_ignore_db", "shop,app"), ("replicate_do_db", "")]);
        let channel = row(&[("Replicate_Do_DB", "app"), ("Replicate_Ignore_DB", "")]);
        let end = row(&[
            ("File", "bin.000001"),
            ("Binlog_Do_DB", ""),
            ("Binlog_Ignore_DB", "tmp"),
        ]);
        let mariadb = filters(version(Flavour::Mariadb), &variables, ("", Some(&channel)), None);
        assert_eq!(
            mariadb.applied,
            only("replicate_ignore_db", "app,shop"),
            "in any order"
        );
        assert_eq!(mariadb.logged, None);
        let connection = ("reports", Some(&channel));
        let named = filters(version(Flavour::Mariadb), &variables, connection, None);
        assert_eq!(
            named.applied,
            only("replicate_do_db", "app"),
            "a connection has its own"
        );
        let mysql = filters(
            version(Flavour::Mysql),
            &variables,
            ("", Some(&channel)),
            Some(&end),
        );
        assert_eq!(mysql.applied, only("replicate_do_db", "app"));
        assert_eq!(mysql.logged, only("binlog_ignore_db", "tmp"));
        let words = mysql.differs_from(&mariadb).unwrap();
        assert!(
            words.contains("`replicate_do_db` is `app` there, and nothing elsewhere"),
            "{words}"
        );
        // Of one that follows nobody nothing is known, and what is not known does not differ.
        let alone = filters(version(Flavour::Mysql), &variables, ("", None), Some(&end));
        assert_eq!(
            (alone.applied.is_none(), alone.differs_from(&mariadb)),
            (true, None)
        );
    }

    #[test]
    fn a_real_channel_of_mysql_that_leaves_nothing_out() {
        let text = include_str!("../../tests/golden/probes/mysql-5.6-replicas-running.json");
        let rows: Vec<Row> = serde_json::from_str(text).unwrap();
        let found = filters(
            version(Flavour::Mysql),
            &Row(Vec::new()),
            ("", rows.first()),
            None,
        );
        assert!(found.applied.is_some() && found.is_empty());
    }
}
