//! What a host shows to whoever looks at it, told in words.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use mmm::core::checks::{self, Echo};
use mmm::core::cluster::{CheckKind, Cluster, Host};
use mmm::core::facts::{
    AddressFact, EventScheduler, Flavour, GtidFacts, HostFacts, IoThread, MysqlFacts, Reach, ReceivedGtid,
    Refusal, ReplicationError, ReplicationFacts, ShellFacts, SqlThread, UsingGtid, Version,
};
use mmm::core::gtid::MariaPosition;
use mmm::core::latch::CheckResult;
use mmm::core::moment::Moment;

use crate::words;

/// A host of the story.
#[derive(Debug, Clone)]
pub struct Stage {
    /// What its server says when it answers.
    pub server: MysqlFacts,
    /// Why its server does not answer.
    pub mute: Option<Reach<()>>,
    /// Why it does not obey over SSH.
    pub deaf: Option<String>,
    /// Whether it answers echo requests.
    pub echoes: bool,
    /// The floating addresses it holds.
    pub holds: Vec<IpAddr>,
    /// When its kernel started.
    pub booted: Moment,
    /// Checks whose result the story dictates.
    pub dictated: BTreeMap<CheckKind, CheckResult>,
}

impl Stage {
    /// A host that is well, read-only, and has been up for ten days; it follows its peer, or the first host.
    pub fn new(cluster: &Cluster, host: &Host, now: Moment) -> Stage {
        let first = cluster
            .hosts
            .iter()
            .find(|other| other.name != host.name)
            .unwrap();
        let source = host
            .peer
            .as_ref()
            .map_or(first, |peer| cluster.host(peer).unwrap());
        let state = GtidFacts::Mariadb {
            binlog_pos: MariaPosition::default(),
            slave_pos: MariaPosition::default(),
            current_pos: MariaPosition::default(),
            binlog_state: "0-1-10".parse().unwrap(),
            domain_id: 0,
            strict: false,
        };
        Stage {
            server: MysqlFacts {
                version: Version {
                    flavour: Flavour::Mariadb,
                    numbers: (10, 11, 6),
                },
                server_id: server_id(host),
                server_uuid: None,
                hostname: host.name.to_string(),
                read_only: true,
                super_read_only: None,
                uptime: Duration::from_secs(864_000),
                log_bin: true,
                log_slave_updates: true,
                binlog: None,
                gtid: state,
                channel: String::new(),
                foreign: Vec::new(),
                replicas: vec![channel(source)],
                event_scheduler: EventScheduler::On,
                semi_sync: None,
                prepared_xa: Some(0),
                filters: None,
            },
            mute: None,
            deaf: None,
            echoes: true,
            holds: Vec::new(),
            booted: Moment(now.0 - 864_000_000),
            dictated: BTreeMap::new(),
        }
    }

    /// What a look at it shows.
    pub fn facts(&self, now: Moment) -> HostFacts {
        let address = |ip: &IpAddr| AddressFact {
            ip: *ip,
            prefix: 32,
            device: "eth0".into(),
            expires_in: None,
        };
        HostFacts {
            mysql: self.server(),
            ssh: match &self.deaf {
                Some(why) => Reach::Silent(why.clone()),
                None => Reach::Up(ShellFacts {
                    addresses: self.holds.iter().map(address).collect(),
                    uptime: now.since(self.booted),
                    signs: Vec::new(),
                }),
            },
        }
    }

    fn server(&self) -> Reach<MysqlFacts> {
        match self.mute.clone() {
            None => Reach::Up(self.server.clone()),
            Some(Reach::Refusing { reason, text }) => Reach::Refusing { reason, text },
            Some(Reach::Hung(text)) => Reach::Hung(text),
            Some(Reach::Down(text)) => Reach::Down(text),
            Some(Reach::Silent(text)) => Reach::Silent(text),
            Some(Reach::Up(()) | Reach::Unasked(_)) => unreachable!("a story tells neither"),
        }
    }

    /// What a probe of it says: what the story dictates, or what comes of what it shows.
    pub fn probe(&self, cluster: &Cluster, kind: CheckKind) -> CheckResult {
        if let Some(result) = self.dictated.get(&kind) {
            return result.clone();
        }
        let replication = self.server().map(|server| server.replicas);
        match kind {
            CheckKind::Ping if self.echoes => checks::ping(&Echo::Answered(Duration::from_millis(1))),
            CheckKind::Ping => checks::ping(&Echo::NoAnswer(Duration::from_secs(1))),
            CheckKind::Mysql => checks::mysql(&self.server()),
            CheckKind::RepThreads => checks::rep_threads(&replication),
            CheckKind::RepBacklog => checks::rep_backlog(&replication, cluster.checks.of(kind).max_backlog),
        }
    }

    /// Takes in one thing that the story says of it.
    pub fn is(&mut self, cluster: &Cluster, now: Moment, what: &str) -> Result<(), String> {
        let (words, quoted) = split_quoted(what);
        let because = |otherwise: &str| quoted.clone().unwrap_or_else(|| otherwise.to_owned());
        match words.as_slice() {
            ["writable"] => self.server.read_only = false,
            ["read-only"] => self.server.read_only = true,
            ["holds", "nothing"] => self.holds.clear(),
            ["holds", addresses @ ..] => {
                let addresses = addresses.iter().filter(|word| **word != "and");
                let parsed: Result<Vec<IpAddr>, _> = addresses.map(|ip| ip.parse()).collect();
                self.holds = parsed.map_err(|error| error.to_string())?;
            }
            ["follows", "nobody"] => self.server.replicas.clear(),
            ["follows", source] => {
                let source = cluster
                    .host(&(*source).into())
                    .ok_or("it follows an unknown host")?;
                self.server.replicas = vec![channel(source)];
            }
            ["has", state] => self.has(state)?,
            ["down"] => self.mute = Some(Reach::Down(because("connection refused"))),
            ["hung"] => self.mute = Some(Reach::Hung(because("no answer within 1 s"))),
            ["full"] => {
                self.mute = Some(Reach::Refusing {
                    reason: Refusal::Limits,
                    text: because("Too many connections"),
                });
            }
            ["silent"] => {
                self.mute = Some(Reach::Silent(because("no answer within 1 s")));
                self.deaf = Some(because("no answer within 1 s"));
                self.echoes = false;
            }
            ["deaf"] => self.deaf = Some(because("permission denied")),
            ["up"] => self.answers(),
            ["up", time] => {
                self.answers();
                self.booted = Moment(now.0.saturating_sub(words::span(time)?.as_millis() as u64));
            }
            // As the inventory demands of a server's configuration: it starts read-only, and its replication starts.
            ["rebooted"] => {
                self.answers();
                self.booted = now;
                self.server.read_only = true;
                self.holds.clear();
                self.each_channel(replicates);
            }
            ["restarted"] => {
                self.answers();
                self.server.read_only = true;
                self.each_channel(replicates);
            }
            _ => return self.replicates(&words, quoted.as_deref()),
        }
        Ok(())
    }

    fn replicates(&mut self, words: &[&str], quoted: Option<&str>) -> Result<(), String> {
        match words {
            ["replicates"] => self.each_channel(replicates),
            ["connecting"] => self.each_channel(|channel| {
                channel.io = IoThread::Connecting;
                channel.lag = None;
            }),
            ["does", "not", "replicate"] => self.each_channel(stop),
            ["does", "not", "receive"] => self.each_channel(|channel| {
                channel.io = IoThread::No;
                channel.io_error = quoted.map(error);
                channel.lag = None;
            }),
            ["does", "not", "apply"] => self.each_channel(|channel| {
                channel.sql = SqlThread::No;
                channel.sql_error = quoted.map(error);
                channel.lag = None;
            }),
            ["lags", "unknown"] => self.each_channel(|channel| channel.lag = None),
            ["lags", time] => {
                let lag = words::span(time)?;
                self.each_channel(|channel| channel.lag = Some(lag));
            }
            other => return Err(format!("`{}` is nothing that a host can be", other.join(" "))),
        }
        Ok(())
    }

    fn answers(&mut self) {
        self.mute = None;
        self.deaf = None;
        self.echoes = true;
    }

    fn has(&mut self, state: &str) -> Result<(), String> {
        let parsed = state
            .parse()
            .map_err(|_| format!("`{state}` is no `gtid_binlog_state`"))?;
        if let GtidFacts::Mariadb { binlog_state, .. } = &mut self.server.gtid {
            *binlog_state = parsed;
        }
        Ok(())
    }

    fn each_channel(&mut self, change: impl Fn(&mut ReplicationFacts)) {
        self.server.replicas.iter_mut().for_each(change);
    }

    /// Made harmless, as a quarantine leaves it.
    pub fn quarantine(&mut self) {
        self.server.read_only = true;
        self.holds.clear();
        self.each_channel(stop);
    }

    /// Its replication is stopped.
    pub fn stop_replicating(&mut self) {
        self.each_channel(stop);
    }

    /// Pointed to another host, and replicating.
    pub fn follow(&mut self, source: &Host) {
        self.server.replicas = vec![channel(source)];
    }
}

fn server_id(host: &Host) -> u32 {
    match host.address {
        IpAddr::V4(address) => u32::from(address.octets()[3]),
        IpAddr::V6(address) => u32::from(address.octets()[15]),
    }
}

fn channel(source: &Host) -> ReplicationFacts {
    ReplicationFacts {
        channel: String::new(),
        source_host: source.address.to_string(),
        source_port: 3306,
        source_user: "repl".into(),
        source_server_id: Some(server_id(source)),
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
    }
}

fn replicates(channel: &mut ReplicationFacts) {
    channel.io = IoThread::Yes;
    channel.sql = SqlThread::Yes;
    channel.lag = Some(Duration::ZERO);
    channel.io_error = None;
    channel.sql_error = None;
}

fn stop(channel: &mut ReplicationFacts) {
    channel.io = IoThread::No;
    channel.sql = SqlThread::No;
    channel.lag = None;
}

/// `1062 Duplicate entry`.
fn error(text: &str) -> ReplicationError {
    let (number, text) = text.split_once(' ').unwrap_or(("0", text));
    ReplicationError {
        number: number.parse().unwrap_or(0),
        text: text.to_owned(),
    }
}

/// The words of a line, and what stands in quotes in it.
pub fn split_quoted(line: &str) -> (Vec<&str>, Option<String>) {
    let mut parts = line.splitn(3, '"');
    let before = parts.next().unwrap_or_default();
    let quoted = parts.next().map(str::to_owned);
    let after = parts.next().unwrap_or_default();
    (
        before
            .split_whitespace()
            .chain(after.split_whitespace())
            .collect(),
        quoted,
    )
}
