//! Who can hand over what only it has received, before anybody is promoted.

use crate::core::facts::{MysqlFacts, SqlThread, UsingGtid};
use crate::core::gtid::{History, Surplus};

use super::Seen;

/// Why a host cannot hand over what it has more; none when it can.
pub(super) fn cannot_hand_over(
    mysql: &MysqlFacts,
    taking: &MysqlFacts,
    has_shell: bool,
    surplus: &Surplus,
    writer: Option<&Seen>,
) -> Option<String> {
    let by_gtid = |mysql: &MysqlFacts| {
        let mut channels = mysql.replicas.iter();
        channels.any(|channel| channel.using_gtid != UsingGtid::No)
    };
    let is_writers = |surplus: &Surplus| match (surplus, writer.map(|seen| &seen.history)) {
        (Surplus::Mariadb(ranges), Some(History::Mariadb { server, .. })) => {
            ranges.iter().all(|range| range.server == *server)
        }
        (
            Surplus::Mysql(set),
            Some(History::Mysql {
                server: Some(uuid), ..
            }),
        ) => set.difference(&set.of_server(*uuid)).is_empty(),
        // Nobody saw the writer: it is the source that both follow.
        (Surplus::Mariadb(ranges), None) => {
            let source = taking
                .replicas
                .first()
                .and_then(|channel| channel.source_server_id);
            ranges.iter().all(|range| Some(range.server) == source)
        }
        (Surplus::Mysql(set), None) => {
            let source = taking.replicas.first().and_then(|channel| channel.source_uuid);
            source.is_some_and(|uuid| set.difference(&set.of_server(uuid)).is_empty())
        }
        _ => false,
    };
    let is_stretch = matches!(surplus, Surplus::Files { .. });
    let why = if is_stretch || !by_gtid(mysql) || !by_gtid(taking) {
        "it replicates by file and position"
    } else if !has_shell {
        "it cannot be reached over SSH"
    } else if !mysql.foreign.is_empty() {
        // By GTID a host hands over all that it logged and the other lacks.
        "it also replicates from outside of the cluster, and would hand that over too"
    } else if !mysql.log_bin || !mysql.log_slave_updates {
        "it does not log what it replicates"
    } else if mysql.replicas.iter().any(|channel| channel.sql == SqlThread::No) {
        "its SQL thread is stopped"
    } else if !is_writers(surplus) {
        "not all of them came from the writer: somebody wrote elsewhere"
    } else {
        return None;
    };
    Some(why.to_owned())
}
