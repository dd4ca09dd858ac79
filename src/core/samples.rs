//! A small cluster and its facts, for the tests of this room.

use std::time::Duration;

use super::cluster::{
    CheckTiming, Checks, Cluster, FailBack, FailoverPolicy, Host, HostMode, Recovery, Role, RoleMode,
    StartPolicy, SwitchoverPolicy, Unfenced,
};
use super::facts::{
    AddressFact, EventScheduler, Flavour, GtidFacts, HostFacts, IoThread, MysqlFacts, Reach, ReceivedGtid,
    ReplicationFacts, ShellFacts, SqlThread, UsingGtid, Version,
};
use super::gtid::MariaPosition;

/// The writer's floating address.
pub(crate) const WRITER_ADDRESS: &str = "10.0.0.100";

/// Two masters and a slave, one writer address.
pub(crate) fn cluster() -> Cluster {
    let timing = CheckTiming {
        every: Duration::from_secs(1),
        trap_after: Duration::from_secs(4),
        timeout: Duration::from_secs(1),
        max_backlog: Duration::from_secs(60),
    };
    let host = |name: &str, last: u8, mode, peer: Option<&str>| Host {
        name: name.into(),
        address: [10, 0, 0, last].into(),
        mode,
        peer: peer.map(Into::into),
        promotion: Default::default(),
    };
    Cluster {
        name: "c".into(),
        hosts: vec![
            host("db1", 1, HostMode::Master, Some("db2")),
            host("db2", 2, HostMode::Master, Some("db1")),
            host("db3", 3, HostMode::Slave, None),
        ],
        roles: vec![Role {
            name: "writer".into(),
            mode: RoleMode::Exclusive,
            hosts: vec!["db1".into(), "db2".into()],
            addresses: vec![WRITER_ADDRESS.parse().unwrap()],
            prefer: None,
            fail_back: FailBack::CaughtUp,
        }],
        writer_role: "writer".into(),
        checks: Checks {
            ping: timing,
            mysql: timing,
            rep_threads: timing,
            rep_backlog: timing,
        },
        switchover: SwitchoverPolicy::default(),
        failover: FailoverPolicy {
            unfenced: Unfenced::IfSilentToAll,
            ..FailoverPolicy::default()
        },
        start: StartPolicy::default(),
        recovery: Recovery::default(),
    }
}

/// A host that is up, with a running channel from server 1.
pub(crate) fn facts(writable: bool, addresses: &[&str]) -> HostFacts {
    let channel = ReplicationFacts {
        channel: String::new(),
        source_host: "10.0.0.1".into(),
        source_port: 3306,
        source_user: "repl".into(),
        source_server_id: Some(1),
        source_uuid: None,
        io: IoThread::Yes,
        sql: SqlThread::Yes,
        lag: Some(Duration::ZERO),
        io_error: None,
        sql_error: None,
        using_gtid: UsingGtid::SlavePos,
        received: None,
        executed: None,
        received_gtid: ReceivedGtid::None,
        heartbeats: None,
        relay_log_bytes: 0,
        delay: Duration::ZERO,
    };
    HostFacts {
        mysql: Reach::Up(MysqlFacts {
            version: Version {
                flavour: Flavour::Mariadb,
                numbers: (10, 11, 6),
            },
            server_id: 1,
            server_uuid: None,
            hostname: "h".into(),
            read_only: !writable,
            super_read_only: None,
            uptime: Duration::from_secs(100),
            log_bin: true,
            log_slave_updates: true,
            binlog: None,
            gtid: GtidFacts::None,
            channel: String::new(),
            foreign: Vec::new(),
            replicas: vec![channel],
            event_scheduler: EventScheduler::On,
            semi_sync: None,
            prepared_xa: Some(0),
            filters: None,
        }),
        ssh: Reach::Up(ShellFacts {
            addresses: addresses
                .iter()
                .map(|ip| AddressFact {
                    ip: ip.parse().unwrap(),
                    prefix: 32,
                    device: "eth0".into(),
                    expires_in: None,
                })
                .collect(),
            uptime: Duration::from_secs(1000),
            signs: Vec::new(),
        }),
    }
}

/// The GTIDs of a MariaDB server whose log has come to `state`.
pub(crate) fn logged(state: &str) -> GtidFacts {
    GtidFacts::Mariadb {
        binlog_pos: MariaPosition::default(),
        slave_pos: MariaPosition::default(),
        current_pos: MariaPosition::default(),
        binlog_state: state.parse().unwrap(),
        domain_id: 0,
        strict: false,
    }
}
