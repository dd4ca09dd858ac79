//! What stands in a binary log behind a known place: transactions, or only what a server writes there by itself.

use crate::core::gtid::BinlogPosition;

use super::row::{Misread, Row};

/// The files of the binary log, oldest first.
pub const FILES: &str = "SHOW BINARY LOGS";

/// Events that a server writes without anybody writing anything: at the beginning and the end of a file.
const BY_ITSELF: [&str; 8] = [
    "Format_desc",
    "Previous_gtids",
    "Gtid_list",
    "Binlog_checkpoint",
    "Start_encryption",
    "Rotate",
    "Stop",
    "Heartbeat",
];

/// Few files begin or end with more events than this that are no transaction; whatever comes after counts as one.
const EVENTS_AT_MOST: usize = 20;

/// The files in the answer to [`FILES`] that reach behind `place`, each with the offset to read it from.
pub fn files(listed: &[Row], place: &BinlogPosition) -> Vec<(String, u64)> {
    let names = listed.iter().filter_map(|row| row.get(&["Log_name"]));
    names
        .filter_map(|name| {
            let start = BinlogPosition::new(name, 4).ok()?;
            if name == place.file() {
                Some((name.to_owned(), place.position))
            } else {
                (start > *place).then(|| (name.to_owned(), start.position))
            }
        })
        .collect()
}

/// The question for the events of a file from an offset on.
pub fn events(file: &str, from: u64) -> String {
    let file = file.replace('\\', "\\\\").replace('\'', "''");
    format!("SHOW BINLOG EVENTS IN '{file}' FROM {from} LIMIT {EVENTS_AT_MOST}")
}

/// The offset of the first event that belongs to a transaction, in the answer to [`events`].
///
/// # Errors
/// The answer has other columns.
pub fn first_transaction(events: &[Row]) -> Result<Option<u64>, Misread> {
    for (index, event) in events.iter().enumerate() {
        let by_itself = BY_ITSELF.contains(&event.need(&["Event_type"])?);
        if !by_itself || index + 1 == EVENTS_AT_MOST {
            return event.read(&["Pos"]).map(Some);
        }
    }
    Ok(None)
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

    #[test]
    fn the_rest_of_one_file_and_all_of_the_later_ones_are_read() {
        let listed = ["bin.999998", "bin.999999", "bin.1000000"].map(|name| row(&[("Log_name", name)]));
        let place = "bin.999999:700".parse().unwrap();
        assert_eq!(
            files(&listed, &place),
            [("bin.999999".to_owned(), 700), ("bin.1000000".to_owned(), 4)]
        );
        assert_eq!(
            events("o'bin.1", 4),
            "SHOW BINLOG EVENTS IN 'o''bin.1' FROM 4 LIMIT 20"
        );
    }

    #[test]
    fn what_a_server_writes_by_itself_is_no_transaction() {
        let event = |kind: &str| row(&[("Pos", "120"), ("Event_type", kind)]);
        assert_eq!(first_transaction(&[event("Stop")]), Ok(None));
        assert_eq!(
            first_transaction(&[event("Format_desc"), event("Previous_gtids"), event("Rotate")]),
            Ok(None)
        );
        assert_eq!(first_transaction(&[event("Format_desc"), event("Query")]), Ok(Some(120)));
        // A kind that nobody knows might be a write.
        assert_eq!(first_transaction(&[event("Anonymous_Gtid")]), Ok(Some(120)));
        assert!(first_transaction(&[row(&[("Pos", "4")])]).is_err());
        assert_eq!(first_transaction(&vec![event("Rotate"); EVENTS_AT_MOST]), Ok(Some(120)));
    }
}
