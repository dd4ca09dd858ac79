//! Replication status, read by column names in the spelling of any version.

use std::time::Duration;

use crate::core::facts::{
    Flavour, IoThread, ReceivedGtid, ReplicationError, ReplicationFacts, SqlThread, UsingGtid, Version,
};
use crate::core::gtid::BinlogPosition;

use super::row::{Misread, Row};

/// The channels of a server: the one that is managed, and its others.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Channels {
    /// The one of the name that was asked for; none when there is no such one.
    pub managed: Vec<ReplicationFacts>,
    /// All others.
    pub foreign: Vec<ReplicationFacts>,
}

/// The channels in the rows of the replication status, when the one named `managed` is ours.
///
/// # Errors
/// As [`channel`].
pub fn channels(version: Version, rows: &[Row], managed: &str) -> Result<Channels, Misread> {
    let mut channels = Channels::default();
    for row in rows {
        if let Some(one) = channel(version, row)? {
            if is_named(&one.channel, managed) {
                channels.managed.push(one);
            } else {
                channels.foreign.push(one);
            }
        }
    }
    Ok(channels)
}

/// The row of the channel of that name.
pub fn row_of<'r>(rows: &'r [Row], managed: &str) -> Option<&'r Row> {
    rows.iter().find(|row| is_named(name(row), managed))
}

/// Servers do not tell names by their case.
fn is_named(channel: &str, name: &str) -> bool {
    channel.eq_ignore_ascii_case(name)
}

fn name(row: &Row) -> &str {
    row.get(&["Channel_Name", "Connection_name"]).unwrap_or_default()
}

/// One channel, from its row of the replication status. `None` for the empty shell of a channel: MySQL keeps
/// a row without a source after some resets.
///
/// # Errors
/// A column is missing or its value is of an unknown form.
pub fn channel(version: Version, row: &Row) -> Result<Option<ReplicationFacts>, Misread> {
    let source_host = row.need(&["Source_Host", "Master_Host"])?;
    if source_host.is_empty() {
        return Ok(None);
    }
    Ok(Some(ReplicationFacts {
        channel: name(row).to_owned(),
        source_host: source_host.to_owned(),
        source_port: row.read(&["Source_Port", "Master_Port"])?,
        source_user: row
            .get(&["Source_User", "Master_User"])
            .unwrap_or_default()
            .to_owned(),
        source_server_id: row
            .maybe(&["Source_Server_Id", "Master_Server_Id"])?
            .filter(|id| *id != 0),
        source_uuid: row.maybe(&["Source_UUID", "Master_UUID"])?,
        io: io_thread(row)?,
        sql: sql_thread(row)?,
        lag: row
            .maybe(&["Seconds_Behind_Source", "Seconds_Behind_Master"])?
            .map(Duration::from_secs),
        io_error: error(row, "Last_IO_Errno", "Last_IO_Error")?,
        sql_error: error(row, "Last_SQL_Errno", "Last_SQL_Error")?,
        using_gtid: using_gtid(row)?,
        received: position(
            row,
            &["Source_Log_File", "Master_Log_File"],
            &["Read_Source_Log_Pos", "Read_Master_Log_Pos"],
        )?,
        executed: position(
            row,
            &["Relay_Source_Log_File", "Relay_Master_Log_File"],
            &["Exec_Source_Log_Pos", "Exec_Master_Log_Pos"],
        )?,
        received_gtid: received_gtid(version, row)?,
        heartbeats: row.maybe(&["Slave_received_heartbeats"])?,
        relay_log_bytes: row.maybe(&["Relay_Log_Space"])?.unwrap_or(0),
        delay: Duration::from_secs(row.maybe(&["SQL_Delay"])?.unwrap_or(0)),
    }))
}

fn io_thread(row: &Row) -> Result<IoThread, Misread> {
    let names = &["Replica_IO_Running", "Slave_IO_Running"];
    match row.need(names)? {
        "Yes" => Ok(IoThread::Yes),
        "Connecting" | "Preparing" => Ok(IoThread::Connecting),
        "No" => Ok(IoThread::No),
        other => Err(Misread::new(
            names,
            format!("`{other}` is none of `Yes`, `Connecting`, `Preparing`, `No`"),
        )),
    }
}

fn sql_thread(row: &Row) -> Result<SqlThread, Misread> {
    let names = &["Replica_SQL_Running", "Slave_SQL_Running"];
    match row.need(names)? {
        "Yes" => Ok(SqlThread::Yes),
        "No" => Ok(SqlThread::No),
        other => Err(Misread::new(
            names,
            format!("`{other}` is neither `Yes` nor `No`"),
        )),
    }
}

fn error(row: &Row, number: &str, text: &str) -> Result<Option<ReplicationError>, Misread> {
    let number = row.maybe(&[number])?.unwrap_or(0);
    let text = row.get(&[text]).unwrap_or_default().to_owned();
    Ok((number != 0).then_some(ReplicationError { number, text }))
}

fn using_gtid(row: &Row) -> Result<UsingGtid, Misread> {
    if let Some(word) = row.get(&["Using_Gtid"]) {
        return match word.to_ascii_lowercase().as_str() {
            "no" => Ok(UsingGtid::No),
            "slave_pos" | "replica_pos" => Ok(UsingGtid::SlavePos),
            "current_pos" => Ok(UsingGtid::CurrentPos),
            _ => Err(Misread::new(&["Using_Gtid"], format!("`{word}` is unknown"))),
        };
    }
    Ok(if row.get(&["Auto_Position"]) == Some("1") {
        UsingGtid::AutoPosition
    } else {
        UsingGtid::No
    })
}

fn received_gtid(version: Version, row: &Row) -> Result<ReceivedGtid, Misread> {
    Ok(match version.flavour {
        Flavour::Mariadb => row
            .maybe(&["Gtid_IO_Pos"])?
            .map_or(ReceivedGtid::None, ReceivedGtid::Mariadb),
        Flavour::Mysql => row
            .maybe(&["Retrieved_Gtid_Set"])?
            .map_or(ReceivedGtid::None, ReceivedGtid::Mysql),
    })
}

/// `None` before the channel has ever connected, when the file is an empty text.
pub(super) fn position(row: &Row, file: &[&str], at: &[&str]) -> Result<Option<BinlogPosition>, Misread> {
    match row.get(file) {
        None | Some("") => Ok(None),
        Some(name) => BinlogPosition::new(name, row.read(at)?)
            .map(Some)
            .map_err(|wrong| Misread::new(file, wrong.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MYSQL_9: Version = Version {
        flavour: Flavour::Mysql,
        numbers: (9, 7, 4),
    };
    const MYSQL_5: Version = Version {
        flavour: Flavour::Mysql,
        numbers: (5, 6, 24),
    };

    fn row(pairs: &[(&str, &str)]) -> Row {
        Row(pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), Some((*value).to_owned())))
            .collect())
    }

    /// Column names as the MySQL 9 manual gives them.
    fn mysql_9() -> Vec<(&'static str, &'static str)> {
        vec![
            ("Replica_IO_State", "Waiting for source to send event"),
            ("Source_Host", "10.0.0.248"),
            ("Source_User", "repl"),
            ("Source_Port", "3306"),
            ("Source_Log_File", "binlog.000004"),
            ("Read_Source_Log_Pos", "1200"),
            ("Relay_Source_Log_File", "binlog.000003"),
            ("Replica_IO_Running", "Yes"),
            ("Replica_SQL_Running", "No"),
            ("Exec_Source_Log_Pos", "700"),
            ("Relay_Log_Space", "3000"),
            ("Seconds_Behind_Source", "7"),
            ("Last_IO_Errno", "0"),
            ("Last_SQL_Errno", "1062"),
            ("Last_SQL_Error", "Duplicate entry"),
            ("Source_Server_Id", "2"),
            ("SQL_Delay", "0"),
            ("Retrieved_Gtid_Set", "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5"),
            ("Auto_Position", "1"),
            ("Channel_Name", "backup"),
        ]
    }

    #[test]
    fn mysql_9_is_read_by_its_own_names() {
        let channel = channel(MYSQL_9, &row(&mysql_9())).unwrap().unwrap();
        assert_eq!((channel.channel.as_str(), channel.source_port), ("backup", 3306));
        assert_eq!(
            (channel.io, channel.sql, channel.lag),
            (IoThread::Yes, SqlThread::No, Some(Duration::from_secs(7)))
        );
        assert_eq!(channel.received.unwrap().to_string(), "binlog.000004:1200");
        assert_eq!(channel.executed.unwrap().to_string(), "binlog.000003:700");
        assert_eq!(
            channel.sql_error.unwrap().to_string(),
            "error 1062: Duplicate entry"
        );
        assert_eq!(
            (channel.using_gtid, channel.source_server_id),
            (UsingGtid::AutoPosition, Some(2))
        );
        assert!(matches!(channel.received_gtid, ReceivedGtid::Mysql(set) if set.count() == 5));
    }

    #[test]
    fn mysql_5_6_is_read_by_its_own_names() {
        let old = mysql_9().into_iter().map(|(name, value)| {
            (
                name.replace("Source", "Master").replace("Replica", "Slave"),
                value,
            )
        });
        let old: Vec<(String, &str)> = old.filter(|(name, _)| name != "Channel_Name").collect();
        let pairs: Vec<(&str, &str)> = old.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        let channel = channel(MYSQL_5, &row(&pairs)).unwrap().unwrap();
        assert_eq!(
            (channel.channel.as_str(), channel.source_host.as_str()),
            ("", "10.0.0.248")
        );
        assert_eq!(channel.received.unwrap().number(), 4);
    }

    #[test]
    fn an_unknown_thread_state_is_an_error_not_a_guess() {
        let mut pairs = mysql_9();
        pairs
            .iter_mut()
            .filter(|(name, _)| *name == "Replica_IO_Running")
            .for_each(|pair| pair.1 = "Perhaps");
        assert!(channel(MYSQL_9, &row(&pairs)).is_err());
    }

    #[test]
    fn a_shell_of_a_channel_is_none() {
        let mut pairs = mysql_9();
        pairs
            .iter_mut()
            .filter(|(name, _)| *name == "Source_Host")
            .for_each(|pair| pair.1 = "");
        assert_eq!(channel(MYSQL_9, &row(&pairs)).unwrap(), None);
    }
}
