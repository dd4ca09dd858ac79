//! What `check` asks beyond facts: settings, privileges, and what the configuration files say of `read_only`.

use std::collections::BTreeSet;

use crate::core::preflight::Settings;

use super::probe::pivot;
use super::row::{Misread, Row};

/// The variables behind [`Settings`]; no version refuses the question.
pub const SETTINGS: &str = "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('binlog_format', \
    'auto_increment_increment', 'auto_increment_offset', 'relay_log_recovery', 'sync_binlog', \
    'innodb_flush_log_at_trx_commit', 'replicate_do_db', 'replicate_ignore_db', 'replicate_do_table', \
    'replicate_ignore_table', 'replicate_wild_do_table', 'replicate_wild_ignore_table', 'replicate_rewrite_db')";

/// The global privileges of the account that asks, one a row. Those that it has by a role alone are not among them.
pub const PRIVILEGES: &str = "SELECT privilege_type AS privilege FROM information_schema.user_privileges \
    WHERE grantee = CONCAT('''', LEFT(CURRENT_USER(), CHAR_LENGTH(CURRENT_USER()) \
    - CHAR_LENGTH(SUBSTRING_INDEX(CURRENT_USER(), '@', -1)) - 1), '''@''', \
    SUBSTRING_INDEX(CURRENT_USER(), '@', -1), '''')";

/// The settings in the answers to [`SETTINGS`], the replication status and the binary log status; the last two add
/// the filters that are not variables everywhere.
///
/// # Errors
/// A value is missing or of an unknown form.
pub fn settings(variables: &[Row], replicas: &[Row], binlog: &[Row]) -> Result<Settings, Misread> {
    let variables = pivot(variables);
    let rows = replicas.iter().chain(binlog).chain([&variables]);
    Ok(Settings {
        binlog_format: variables.get(&["binlog_format"]).map(str::to_owned),
        auto_increment_increment: variables.read(&["auto_increment_increment"])?,
        auto_increment_offset: variables.read(&["auto_increment_offset"])?,
        relay_log_recovery: matches!(variables.need(&["relay_log_recovery"])?, "ON" | "1"),
        sync_binlog: variables.read(&["sync_binlog"])?,
        flush_log_at_commit: variables.maybe(&["innodb_flush_log_at_trx_commit"])?,
        filters: rows
            .flat_map(filters)
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect(),
    })
}

/// The privileges in the answer to [`PRIVILEGES`].
pub fn privileges(rows: &[Row]) -> Vec<String> {
    rows.iter().filter_map(Row::first).map(str::to_owned).collect()
}

/// Whether the options that a server's `--print-defaults` printed make a server start read-only; `None` when they do not mention
/// it. The last mention counts, as it does for the server.
pub fn configured_read_only(printed: &str) -> Option<bool> {
    printed.split_whitespace().rev().find_map(read_only_option)
}

fn read_only_option(option: &str) -> Option<bool> {
    let (name, value) = match option.strip_prefix("--")?.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (option.strip_prefix("--")?, None),
    };
    let name = name.replace('_', "-").to_ascii_lowercase();
    let name = name.strip_prefix("loose-").unwrap_or(&name);
    match name {
        // On MySQL the second one implies the first.
        "read-only" | "super-read-only" | "enable-read-only" | "enable-super-read-only" => {
            let off = value
                .is_some_and(|value| matches!(value.to_ascii_uppercase().as_str(), "0" | "OFF" | "FALSE"));
            Some(!off)
        }
        "skip-read-only" | "disable-read-only" => Some(false),
        _ => None,
    }
}

fn filters(row: &Row) -> impl Iterator<Item = String> {
    row.0.iter().filter_map(|(column, value)| {
        let name = column.to_ascii_lowercase();
        let filter = name.starts_with("replicate_") || name == "binlog_do_db" || name == "binlog_ignore_db";
        let value = value.as_deref().filter(|value| !value.is_empty())?;
        filter.then(|| format!("{name}={value}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(pairs: &[(&str, &str)]) -> Row {
        Row(pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), Some((*value).to_owned())))
            .collect())
    }

    fn variables(extra: &[(&str, &str)]) -> Vec<Row> {
        let usual = [
            ("auto_increment_increment", "2"),
            ("auto_increment_offset", "1"),
            ("relay_log_recovery", "ON"),
            ("sync_binlog", "1"),
        ];
        usual
            .iter()
            .chain(extra)
            .map(|(name, value)| row(&[("Variable_name", name), ("Value", value)]))
            .collect()
    }

    #[test]
    fn filters_are_found_wherever_they_stand() {
        let replicas = [row(&[
            ("Master_Host", "db1"),
            ("Replicate_Do_DB", "shop"),
            ("Replicate_Ignore_DB", ""),
        ])];
        let binlog = [row(&[("File", "bin.000001"), ("Binlog_Ignore_DB", "scratch")])];
        let settings = settings(&variables(&[("replicate_do_db", "shop")]), &replicas, &binlog).unwrap();
        assert_eq!(
            settings.filters,
            ["binlog_ignore_db=scratch", "replicate_do_db=shop"]
        );
        assert!(settings.relay_log_recovery && settings.binlog_format.is_none());
    }

    #[test]
    fn a_missing_variable_is_an_error() {
        assert_eq!(
            settings(&variables(&[])[1..], &[], &[]).unwrap_err().column,
            "auto_increment_increment"
        );
    }

    #[test]
    fn the_last_mention_of_read_only_counts() {
        for (printed, expected) in [
            (
                "mariadbd would have been started with the following arguments:\n--socket=/run/s --read_only=1 ",
                Some(true),
            ),
            ("--read-only", Some(true)),
            ("--read_only=ON --read_only=0", Some(false)),
            ("--skip-read-only", Some(false)),
            ("--loose-super_read_only=ON", Some(true)),
            ("--innodb_read_only=1 --read_only_compressed=1", None),
            ("", None),
        ] {
            assert_eq!(configured_read_only(printed), expected, "{printed}");
        }
    }
}
