//! What stands in a binary log behind a known place: transactions, or only what a server writes there by itself.

use crate::core::gtid::{BinlogPosition, MysqlSet};

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

/// How many events one answer to [`events`] has at most.
const PAGE: usize = 500;

/// The files in the answer to [`FILES`] that reach behind `place`, each with the offset to read it from; none when the
/// file of `place` itself is gone, so that nobody knows what stood in it.
pub fn files(listed: &[Row], place: &BinlogPosition) -> Option<Vec<(String, u64)>> {
    let names = || listed.iter().filter_map(|row| row.get(&["Log_name"]));
    if !names().any(|name| name == place.file()) {
        return None;
    }
    let behind = names()
        .filter_map(|name| {
            let start = BinlogPosition::new(name, 4).ok()?;
            if name == place.file() {
                Some((name.to_owned(), place.position))
            } else {
                (start > *place).then(|| (name.to_owned(), start.position))
            }
        })
        .collect();
    Some(behind)
}

/// The question for the events of a file from an offset on.
pub fn events(file: &str, from: u64) -> String {
    let file = file.replace('\\', "\\\\").replace('\'', "''");
    format!("SHOW BINLOG EVENTS IN '{file}' FROM {from} LIMIT {PAGE}")
}

/// The question for the set of transactions that stand before a file of a MySQL server.
pub fn before(file: &str) -> String {
    let file = file.replace('\\', "\\\\").replace('\'', "''");
    format!("SHOW BINLOG EVENTS IN '{file}' LIMIT 2")
}

/// What stands before a file, from the answer to [`before`]; none where the server wrote no set down.
///
/// # Errors
/// The answer has other columns, or the set cannot be read.
pub fn set_before(events: &[Row]) -> Result<Option<MysqlSet>, Misread> {
    for event in events {
        if event.need(&["Event_type"])? == "Previous_gtids" {
            return Ok(Some(event.maybe(&["Info"])?.unwrap_or_default()));
        }
    }
    Ok(None)
}

/// What an answer to [`events`] comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// A transaction that is not the writer's begins or goes on at this offset.
    Transaction(u64),
    /// None so far; read on from this offset.
    More(u64),
    /// None in this file.
    Nothing,
}

/// Looks for an event of a transaction in the answer to [`events`]. What the server of that id wrote came from it, so it
/// is left out: a server that restarts replicates by itself until somebody stops it.
///
/// # Errors
/// The answer has other columns.
pub fn look(events: &[Row], writer: u32) -> Result<Found, Misread> {
    for event in events {
        let by_itself = BY_ITSELF.contains(&event.need(&["Event_type"])?);
        if !by_itself && event.read::<u32>(&["Server_id"])? != writer {
            return event.read(&["Pos"]).map(Found::Transaction);
        }
    }
    match events.last() {
        Some(last) if events.len() == PAGE => last.read(&["End_log_pos"]).map(Found::More),
        _ => Ok(Found::Nothing),
    }
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
            files(&listed, &place).unwrap(),
            [("bin.999999".to_owned(), 700), ("bin.1000000".to_owned(), 4)]
        );
        let purged = "bin.999997:700".parse().unwrap();
        assert_eq!(files(&listed, &purged), None, "what stood in it is not known");
        assert_eq!(
            events("o'bin.1", 4),
            "SHOW BINLOG EVENTS IN 'o''bin.1' FROM 4 LIMIT 500"
        );
    }

    #[test]
    fn a_file_tells_what_stands_before_it() {
        let event = |kind: &str, info: &str| row(&[("Event_type", kind), ("Info", info)]);
        let set = "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5";
        let told = [event("Format_desc", "Server ver"), event("Previous_gtids", set)];
        assert_eq!(set_before(&told).unwrap(), Some(set.parse().unwrap()));
        let first = [event("Format_desc", ""), event("Previous_gtids", "")];
        assert_eq!(set_before(&first).unwrap(), Some(MysqlSet::default()));
        assert_eq!(set_before(&[event("Format_desc", "")]).unwrap(), None);
        assert!(set_before(&[event("Previous_gtids", "nonsense")]).is_err());
        assert_eq!(before("o'bin.1"), "SHOW BINLOG EVENTS IN 'o''bin.1' LIMIT 2");
    }

    #[test]
    fn what_a_server_writes_by_itself_or_has_from_the_writer_is_nothing_extra() {
        let event = |kind: &str, server: &str| {
            row(&[
                ("Pos", "120"),
                ("Event_type", kind),
                ("Server_id", server),
                ("End_log_pos", "154"),
            ])
        };
        let nothing = [
            event("Format_desc", "1"),
            event("Previous_gtids", "1"),
            event("Stop", "1"),
        ];
        assert_eq!(look(&nothing, 2), Ok(Found::Nothing));
        assert_eq!(
            look(&[event("Format_desc", "1"), event("Query", "2")], 2),
            Ok(Found::Nothing)
        );
        assert_eq!(
            look(&[event("Query", "2"), event("Query", "1")], 2),
            Ok(Found::Transaction(120))
        );
        // A kind that nobody knows might be a write.
        assert_eq!(
            look(&[event("Anonymous_Gtid", "1")], 2),
            Ok(Found::Transaction(120))
        );
        assert_eq!(look(&vec![event("Xid", "2"); PAGE], 2), Ok(Found::More(154)));
        assert!(look(&[row(&[("Pos", "4")])], 2).is_err());
    }
}
