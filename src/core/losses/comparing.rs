//! What one replica has more than another that is to take over. By file and position a server does not tell the GTIDs that
//! it has received, so how far both received the log of their common source counts too.

use super::newest;
use crate::core::facts::{MysqlFacts, ReceivedGtid, ReplicationFacts, SqlThread, UsingGtid};
use crate::core::gtid::{self, BinlogPosition, Compared, History, MariaRange, Surplus};

/// What `mysql` has, or has received and can apply, that is `has`, beyond `reach`, which is that of `taking`. Where what was received is
/// not told by GTID, both must follow the same source, whose files are then compared.
pub(super) fn more(
    mysql: &MysqlFacts,
    taking: &MysqlFacts,
    has: &History,
    reach: &History,
) -> Option<Surplus> {
    let ahead = files_ahead(mysql, taking);
    if let Compared::Extra(surplus) = gtid::lacking(has, reach)
        && !matches!(surplus, Surplus::Files { .. })
        && let Some(surplus) = match ahead {
            // What came from the source of both has been received as well, and will be applied.
            Some(FilesAhead::Not) => made_by(mysql.server_id, surplus),
            _ => Some(surplus),
        }
    {
        // The number of the last one before is known: all are of one history until now.
        return match Compared::Extra(surplus).since(newest(reach).as_ref()) {
            Compared::Extra(surplus) => Some(surplus),
            Compared::Nothing | Compared::Unknown(_) => None,
        };
    }
    match ahead? {
        FilesAhead::By { from, to } => Some(Surplus::Files { from, to }),
        FilesAhead::Not => None,
    }
}

/// What a host made itself of a surplus; none when that is nothing.
fn made_by(server: u32, surplus: Surplus) -> Option<Surplus> {
    let Surplus::Mariadb(ranges) = surplus else {
        return Some(surplus);
    };
    let own: Vec<MariaRange> = ranges
        .into_iter()
        .filter(|range| range.server == server)
        .collect();
    (!own.is_empty()).then_some(Surplus::Mariadb(own))
}

/// Whether a host received more of the source that both follow by file and position.
enum FilesAhead {
    By {
        from: BinlogPosition,
        to: BinlogPosition,
    },
    Not,
}

/// Compares what two hosts received from the source that both follow; none where files do not tell it, or the host that is
/// to take over cannot apply what it received.
fn files_ahead(mysql: &MysqlFacts, taking: &MysqlFacts) -> Option<FilesAhead> {
    let (theirs, ours) = (mysql.replicas.first()?, taking.replicas.first()?);
    let has_gtids = matches!(
        taking.history(taking),
        History::Mysql { .. } | History::Mariadb { .. }
    );
    // Of a channel that goes by file and position MariaDB does not tell the GTIDs that it has received.
    let goes_by_files =
        |channel: &ReplicationFacts| channel.using_gtid == UsingGtid::No && !tells_received(channel);
    if has_gtids && !(goes_by_files(theirs) && goes_by_files(ours)) {
        return None;
    }
    if theirs.source_server_id.is_none() || theirs.source_server_id != ours.source_server_id {
        return None;
    }
    let (from, to) = (ours.received.clone()?, theirs.received.clone()?);
    if from < to {
        return Some(FilesAhead::By { from, to });
    }
    (ours.sql == SqlThread::Yes || super::stands_still(taking)).then_some(FilesAhead::Not)
}

/// Whether a channel tells which transactions it has received.
fn tells_received(channel: &ReplicationFacts) -> bool {
    match &channel.received_gtid {
        ReceivedGtid::Mariadb(received) => !received.is_empty(),
        ReceivedGtid::Mysql(_) => true,
        ReceivedGtid::None => false,
    }
}
