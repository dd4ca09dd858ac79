//! What is asked of a server to know its facts, and how the answers are read. Nothing here changes a server.

use std::time::Duration;

use crate::core::facts::{EventScheduler, Flavour, GtidFacts, GtidMode, MysqlFacts, Version};
use crate::core::gtid::MysqlSet;

use super::filters;
use super::replication;
use super::row::{Misread, Row};
use super::semi_sync;
use super::version;

/// The variables that facts need, asked for in a way that no version refuses: unknown ones are left out.
pub const VARIABLES: &str = "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('server_id', 'server_uuid', 'hostname', \
    'read_only', 'super_read_only', 'log_bin', 'log_slave_updates', 'log_replica_updates', 'event_scheduler', \
    'rpl_semi_sync_master_enabled', 'rpl_semi_sync_source_enabled', \
    'rpl_semi_sync_slave_enabled', 'rpl_semi_sync_replica_enabled', \
    'replicate_do_db', 'replicate_ignore_db', 'replicate_do_table', 'replicate_ignore_table', \
    'replicate_wild_do_table', 'replicate_wild_ignore_table', 'replicate_rewrite_db')";

/// The counters that facts need.
pub const STATUS: &str = "SHOW GLOBAL STATUS WHERE Variable_name IN ('Uptime', \
    'Rpl_semi_sync_master_status', 'Rpl_semi_sync_source_status', \
    'Rpl_semi_sync_slave_status', 'Rpl_semi_sync_replica_status', \
    'Rpl_semi_sync_master_clients', 'Rpl_semi_sync_source_clients')";

/// The prepared XA transactions, one a row.
pub const PREPARED_XA: &str = "XA RECOVER";

/// The statements that only some versions know, chosen for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Questions {
    /// Every replication channel.
    pub replicas: &'static str,
    /// The end of the binary log.
    pub binlog: &'static str,
    /// GTIDs, where there are any.
    pub gtids: Option<&'static str>,
}

/// The questions for a version.
pub fn questions(version: Version) -> Questions {
    Questions {
        replicas: version::replica_status(version),
        binlog: version::binlog_status(version),
        gtids: version::gtids(version),
    }
}

/// All answers of one server, as they came.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answers {
    /// To [`VARIABLES`].
    pub variables: Vec<Row>,
    /// To [`STATUS`].
    pub status: Vec<Row>,
    /// To [`Questions::gtids`].
    pub gtids: Vec<Row>,
    /// To [`Questions::replicas`].
    pub replicas: Vec<Row>,
    /// To [`Questions::binlog`]; `None` when the privilege is missing.
    pub binlog: Option<Vec<Row>>,
    /// To [`PREPARED_XA`]; `None` when the privilege is missing.
    pub prepared_xa: Option<Vec<Row>>,
}

/// The facts in a server's answers, when the channel of that name is the managed one.
///
/// # Errors
/// A value is missing or of an unknown form.
pub fn facts(version: Version, answers: &Answers, channel: &str) -> Result<MysqlFacts, Misread> {
    let variables = pivot(&answers.variables);
    let status = pivot(&answers.status);
    let channels = replication::channels(version, &answers.replicas, channel)?;
    let binlog = answers.binlog.as_ref().and_then(|rows| rows.first());
    Ok(MysqlFacts {
        version,
        server_id: variables.read(&["server_id"])?,
        server_uuid: variables.maybe(&["server_uuid"])?,
        hostname: variables.get(&["hostname"]).unwrap_or_default().to_owned(),
        read_only: switch(&variables, &["read_only"])?
            .ok_or_else(|| Misread::new(&["read_only"], "it is missing"))?,
        super_read_only: switch(&variables, &["super_read_only"])?,
        uptime: Duration::from_secs(status.read(&["Uptime"])?),
        log_bin: switch(&variables, &["log_bin"])?.unwrap_or(false),
        log_slave_updates: switch(&variables, &["log_replica_updates", "log_slave_updates"])?
            .unwrap_or(false),
        binlog: binlog
            .map(|row| replication::position(row, &["File"], &["Position"]))
            .transpose()?
            .flatten(),
        gtid: gtid(version, answers.gtids.first())?,
        channel: channel.to_owned(),
        replicas: channels.managed,
        foreign: channels.foreign,
        event_scheduler: event_scheduler(&variables)?,
        semi_sync: semi_sync::read(version, &variables, &status)?,
        prepared_xa: answers.prepared_xa.as_ref().map(|rows| rows.len() as u64),
        filters: Some(filters::filters(
            version,
            &variables,
            (channel, replication::row_of(&answers.replicas, channel)),
            binlog,
        )),
    })
}

/// Rows of name and value as one row of columns.
pub fn pivot(rows: &[Row]) -> Row {
    let pairs = rows.iter().filter_map(|row| match row.0.as_slice() {
        [(_, Some(name)), (_, value)] => Some((name.clone(), value.clone())),
        _ => None,
    });
    Row(pairs.collect())
}

/// `None` where the server has no such variable. MariaDB 12's degrees of `read_only` all count as on.
pub(super) fn switch(variables: &Row, names: &[&str]) -> Result<Option<bool>, Misread> {
    match variables.get(names).map(str::to_ascii_uppercase).as_deref() {
        None => Ok(None),
        Some("ON" | "1" | "NO_LOCK" | "NO_LOCK_NO_ADMIN") => Ok(Some(true)),
        Some("OFF" | "0") => Ok(Some(false)),
        Some(other) => Err(Misread::new(names, format!("`{other}` is neither on nor off"))),
    }
}

fn event_scheduler(variables: &Row) -> Result<EventScheduler, Misread> {
    match variables
        .need(&["event_scheduler"])?
        .to_ascii_uppercase()
        .as_str()
    {
        "ON" | "1" => Ok(EventScheduler::On),
        "OFF" | "0" => Ok(EventScheduler::Off),
        "DISABLED" => Ok(EventScheduler::Disabled),
        other => Err(Misread::new(
            &["event_scheduler"],
            format!("`{other}` is unknown"),
        )),
    }
}

fn gtid(version: Version, row: Option<&Row>) -> Result<GtidFacts, Misread> {
    let Some(row) = row else {
        return Ok(GtidFacts::None);
    };
    match version.flavour {
        Flavour::Mariadb => Ok(GtidFacts::Mariadb {
            binlog_pos: row.maybe(&["binlog_pos"])?.unwrap_or_default(),
            slave_pos: row.maybe(&["slave_pos"])?.unwrap_or_default(),
            current_pos: row.maybe(&["current_pos"])?.unwrap_or_default(),
            binlog_state: row.maybe(&["binlog_state"])?.unwrap_or_default(),
            domain_id: row.read(&["domain_id"])?,
            strict: row.need(&["strict_mode"])? == "1",
        }),
        Flavour::Mysql => {
            let set = |name| row.maybe::<MysqlSet>(&[name]).map(Option::unwrap_or_default);
            Ok(GtidFacts::Mysql {
                mode: gtid_mode(row)?,
                executed: set("executed")?,
                purged: set("purged")?,
            })
        }
    }
}

fn gtid_mode(row: &Row) -> Result<GtidMode, Misread> {
    match row.need(&["mode"])?.to_ascii_uppercase().as_str() {
        "ON" => Ok(GtidMode::On),
        "ON_PERMISSIVE" | "UPGRADE_STEP_2" => Ok(GtidMode::OnPermissive),
        "OFF_PERMISSIVE" | "UPGRADE_STEP_1" => Ok(GtidMode::OffPermissive),
        "OFF" => Ok(GtidMode::Off),
        other => Err(Misread::new(
            &["mode"],
            format!("`{other}` is no value of `gtid_mode`"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::facts::{IoThread, ReceivedGtid, ReplicationFacts, SqlThread, UsingGtid};

    /// What a real server answered.
    macro_rules! captured {
        ($server:literal, $name:literal) => {
            serde_json::from_str::<Vec<Row>>(include_str!(concat!(
                "../../tests/golden/probes/",
                $server,
                "-",
                $name,
                ".json"
            )))
            .unwrap()
        };
    }

    /// All of its answers as facts.
    macro_rules! captured_facts {
        ($server:literal, $replicas:literal) => {
            captured_facts!($server, $replicas, "")
        };
        ($server:literal, $replicas:literal, $channel:literal) => {{
            let row = &captured!($server, "version")[0];
            let version =
                version::parse(row.need(&["version"]).unwrap(), row.need(&["comment"]).unwrap()).unwrap();
            let answers = Answers {
                variables: captured!($server, "variables"),
                status: captured!($server, "status"),
                gtids: captured!($server, "gtids"),
                replicas: captured!($server, $replicas),
                binlog: Some(captured!($server, "binlog")),
                prepared_xa: Some(Vec::new()),
            };
            facts(version, &answers, $channel).unwrap()
        }};
    }

    #[test]
    fn a_running_replica() {
        let facts = captured_facts!("mariadb-10.11", "replicas-running");
        assert!(facts.version.is_since(Flavour::Mariadb, (10, 11, 0)));
        assert_eq!(
            (facts.server_id, facts.read_only, facts.super_read_only),
            (2, false, None)
        );
        assert_eq!(facts.binlog.unwrap().file(), "mysql-bin.000001");
        assert!(
            matches!(&facts.gtid, GtidFacts::Mariadb { binlog_state, .. } if binlog_state.seq(0, 1) == 2)
        );
        assert_eq!(facts.semi_sync.map(|semi| semi.source_enabled), Some(false));
        let channel = &facts.replicas[0];
        assert!(channel.is_running());
        assert_eq!(
            (channel.lag, channel.source_server_id),
            (Some(Duration::ZERO), Some(1))
        );
        assert_eq!(channel.using_gtid, UsingGtid::SlavePos);
        assert_eq!(channel.received, channel.executed);
        assert!(
            matches!(&channel.received_gtid, ReceivedGtid::Mariadb(position) if position.to_string() == "0-1-2")
        );
    }

    #[test]
    fn a_broken_replica() {
        let facts = captured_facts!("mariadb-10.11", "replicas-broken");
        let channel = &facts.replicas[0];
        assert_eq!(
            (channel.io, channel.sql, channel.lag),
            (IoThread::Yes, SqlThread::No, None)
        );
        assert_eq!(channel.sql_error.as_ref().map(|error| error.number), Some(1146));
        assert!(channel.received > channel.executed);
    }

    #[test]
    fn a_replica_without_its_source() {
        let facts = captured_facts!("mariadb-10.11", "replicas-connecting");
        let channel = &facts.replicas[0];
        assert_eq!((channel.io, channel.lag), (IoThread::Connecting, None));
        let stopped = captured_facts!("mariadb-10.11", "replicas-stopped");
        assert_eq!(
            (stopped.replicas[0].io, stopped.replicas[0].sql),
            (IoThread::No, SqlThread::No)
        );
    }

    #[test]
    fn a_running_replica_of_mysql_5_6() {
        let facts = captured_facts!("mysql-5.6", "replicas-running");
        assert_eq!(
            facts.version,
            Version {
                flavour: Flavour::Mysql,
                numbers: (5, 6, 24)
            }
        );
        assert_eq!((facts.super_read_only, facts.semi_sync), (None, None));
        let GtidFacts::Mysql {
            mode: GtidMode::On,
            executed,
            ..
        } = &facts.gtid
        else {
            panic!("{:?}", facts.gtid)
        };
        assert_eq!(executed.count(), 3);
        let channel = &facts.replicas[0];
        assert!(channel.is_running());
        assert_eq!(
            (channel.using_gtid, channel.source_server_id),
            (UsingGtid::AutoPosition, Some(1))
        );
        assert_eq!(channel.received_gtid, ReceivedGtid::Mysql(executed.clone()));
    }

    #[test]
    fn a_running_replica_of_mariadb_11_8() {
        let facts = captured_facts!("mariadb-11.8", "replicas-running");
        assert!(facts.version.is_since(Flavour::Mariadb, (11, 8, 0)));
        assert_eq!(
            (facts.server_id, facts.read_only, facts.super_read_only),
            (3, true, None)
        );
        let channel = &facts.replicas[0];
        assert!(channel.is_running());
        assert_eq!(
            (channel.using_gtid, channel.source_server_id),
            (UsingGtid::SlavePos, Some(2))
        );
    }

    #[test]
    fn a_running_and_a_broken_replica_of_mysql_9_7() {
        let facts = captured_facts!("mysql-9.7", "replicas-running");
        assert!(facts.version.is_since(Flavour::Mysql, (9, 7, 0)));
        assert_eq!((facts.read_only, facts.super_read_only), (true, Some(false)));
        assert!(facts.log_bin && facts.log_slave_updates && facts.binlog.is_some());
        let GtidFacts::Mysql {
            mode: GtidMode::On,
            executed,
            ..
        } = &facts.gtid
        else {
            panic!("{:?}", facts.gtid)
        };
        let channel = &facts.replicas[0];
        assert!(channel.is_running());
        assert_eq!(
            (channel.channel.as_str(), channel.lag),
            ("", Some(Duration::ZERO))
        );
        assert_eq!(channel.received_gtid, ReceivedGtid::Mysql(executed.clone()));
        let broken = captured_facts!("mysql-9.7", "replicas-broken");
        let channel = &broken.replicas[0];
        assert_eq!((channel.io, channel.sql), (IoThread::Yes, SqlThread::No));
        assert_eq!(channel.sql_error.as_ref().map(|error| error.number), Some(1007));
        assert!(channel.received > channel.executed);
    }

    #[test]
    fn of_several_channels_the_one_of_the_name_is_managed() {
        let sources = |channels: &[ReplicationFacts]| -> Vec<String> {
            channels.iter().map(|one| one.source_host.clone()).collect()
        };
        let told = |facts: MysqlFacts| (sources(&facts.replicas), sources(&facts.foreign));
        let (one, other) = ("10.77.0.11".to_owned(), "10.77.0.12".to_owned());
        let both = (Vec::new(), vec![one.clone(), other.clone()]);
        let cluster = (vec![one.clone()], vec![other.clone()]);
        let reports = (vec![other], vec![one]);
        let mysql = captured_facts!("mysql-9.7", "replicas-two-channels", "cluster");
        assert!(
            mysql.channel == "cluster" && mysql.replicas[0].is_running() && mysql.foreign[0].is_running()
        );
        assert_eq!(told(mysql), cluster);
        let mysql = captured_facts!("mysql-9.7", "replicas-two-channels", "Reports");
        assert_eq!(told(mysql), reports, "whatever the case");
        assert_eq!(told(captured_facts!("mysql-9.7", "replicas-two-channels")), both);
        let mariadb = captured_facts!("mariadb-10.11", "replicas-two-connections", "cluster");
        assert!(mariadb.replicas[0].is_running() && mariadb.foreign[0].is_running());
        assert_eq!(told(mariadb), cluster);
        let mariadb = captured_facts!("mariadb-10.11", "replicas-two-connections", "REPORTS");
        assert_eq!(told(mariadb), reports);
        assert_eq!(
            told(captured_facts!("mariadb-10.11", "replicas-two-connections")),
            both
        );
        // A server that knows no channels has one without a name.
        let old = captured_facts!("mysql-5.6", "replicas-running", "cluster");
        assert_eq!((old.replicas.len(), old.foreign.len()), (0, 1));
    }

    fn pairs(text: &str) -> Vec<Row> {
        let cell = |text: &str| ("x".to_owned(), Some(text.to_owned()));
        text.split_whitespace()
            .map(|pair| {
                pair.split_once('=')
                    .map(|(name, value)| Row(vec![cell(name), cell(value)]))
                    .unwrap()
            })
            .collect()
    }

    #[test]
    fn mysql_by_the_names_in_its_manual() {
        let version = Version {
            flavour: Flavour::Mysql,
            numbers: (9, 7, 4),
        };
        let uuid = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
        let column = |name: &str, value: &str| (name.to_owned(), Some(value.to_owned()));
        let answers = Answers {
            variables: pairs(&format!(
                "server_id=2 server_uuid={uuid} hostname=db2 read_only=ON super_read_only=ON log_bin=ON \
                 log_replica_updates=ON event_scheduler=DISABLED rpl_semi_sync_source_enabled=ON"
            )),
            status: pairs("Uptime=12 Rpl_semi_sync_source_status=ON Rpl_semi_sync_source_clients=1"),
            gtids: vec![Row(vec![
                column("mode", "ON"),
                column("executed", &format!("{uuid}:1-5")),
                column("purged", ""),
            ])],
            binlog: Some(vec![Row(vec![
                column("File", "binlog.000004"),
                column("Position", "158"),
            ])]),
            ..Answers::default()
        };
        let facts = facts(version, &answers, "").unwrap();
        assert_eq!(
            (facts.super_read_only, facts.log_slave_updates),
            (Some(true), true)
        );
        assert_eq!(
            (facts.event_scheduler, facts.prepared_xa),
            (EventScheduler::Disabled, None)
        );
        assert!(
            facts
                .semi_sync
                .is_some_and(|semi| semi.source_active && semi.replicas == 1)
        );
        assert!(
            matches!(facts.gtid, GtidFacts::Mysql { mode: GtidMode::On, executed, .. } if executed.count() == 5)
        );
    }

    #[test]
    fn an_unknown_value_is_an_error_not_a_guess() {
        let version = Version {
            flavour: Flavour::Mariadb,
            numbers: (10, 11, 0),
        };
        for (variables, column) in [
            ("read_only=OFF event_scheduler=OFF", "server_id"),
            ("server_id=1 event_scheduler=OFF", "read_only"),
            ("server_id=1 read_only=MAYBE event_scheduler=OFF", "read_only"),
        ] {
            let answers = Answers {
                variables: pairs(variables),
                status: pairs("Uptime=1"),
                ..Answers::default()
            };
            assert_eq!(
                facts(version, &answers, "").unwrap_err().column,
                column,
                "{variables}"
            );
        }
    }

    #[test]
    fn the_new_degrees_of_read_only_are_on() {
        assert_eq!(
            switch(&pivot(&pairs("read_only=NO_LOCK")), &["read_only"]).unwrap(),
            Some(true)
        );
    }
}
