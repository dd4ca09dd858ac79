//! The shipped duties on real servers that replicate from each other.

use std::collections::BTreeMap;
use std::time::Duration;

use mmm::config::playbook::{
    self, HostScene, LockScene, OldShell, ReplicationScene, Scene, SourceScene, Speaks,
};
use mmm::core::playbook::{Playbook, Release};
use mmm::core::script::{DutyOutcome, DutyReport, Failure, Script};
use tokio::process::Child;

use super::server::{Server, wait_for};
use super::{Local, login, open, soon};

/// A server with a warm shell beside it.
pub struct Host {
    pub server: Server,
    pub shell: Local,
    _child: Child,
    registered: BTreeMap<String, String>,
    source: Option<SourceScene>,
    pub old: Option<OldShell>,
}

fn speaks() -> Speaks {
    Speaks {
        dialect: "mariadb".to_owned(),
        release: Release(10, 11, 6),
    }
}

impl Host {
    pub async fn start(id: u32) -> Host {
        let server = Server::start(id);
        let (shell, child) = open(
            if id.is_multiple_of(2) { "dash" } else { "bash" },
            &format!("h{id}"),
            &login(&server),
        )
        .await;
        Host {
            server,
            shell,
            _child: child,
            registered: BTreeMap::new(),
            source: None,
            old: None,
        }
    }

    fn as_source(&self) -> SourceScene {
        SourceScene {
            name: format!("db{}", self.server.id),
            address: "127.0.0.1".parse().unwrap(),
            port: self.server.port,
        }
    }

    fn script(&self, playbook: &Playbook, duty: &str, within: Duration) -> Script {
        let scene = Scene {
            cluster: "test".to_owned(),
            role: "writer".to_owned(),
            host: HostScene {
                name: format!("db{}", self.server.id),
                address: "127.0.0.1".parse().unwrap(),
                interface: "lo".to_owned(),
                port: self.server.port,
            },
            address: None,
            source: self.source.clone(),
            replication: ReplicationScene {
                user: "repl".to_owned(),
                password: "replicate".to_owned().into(),
                gtid: true,
                channel: String::new(),
            },
            unit: None,
            lock: LockScene::default(),
            max_write_s: 2,
            spared_users: ["agent", "repl", "monitor"].map(str::to_owned).to_vec(),
            old: self.old.clone(),
            registered: self.registered.clone(),
            vars: BTreeMap::new(),
            with: BTreeMap::new(),
        };
        playbook::render(playbook, duty, &speaks(), &scene.context(), within).unwrap()
    }

    pub async fn perform(&mut self, duty: &str) -> DutyReport {
        let playbook = playbook::load(None).unwrap();
        let script = self.script(&playbook, duty, Duration::from_secs(8));
        let report = self.shell.run(&script, soon()).await;
        assert!(
            !format!("{report:?} {script:?}").contains("replicate'"),
            "a secret is shown"
        );
        self.registered.extend(report.registered.clone());
        report
    }

    pub async fn done(&mut self, duty: &str) -> DutyReport {
        let report = self.perform(duty).await;
        assert_eq!(
            report.outcome,
            DutyOutcome::Done,
            "{duty} on db{}: {report:#?}",
            self.server.id
        );
        report
    }
}

/// Two masters that replicate from each other, and a replica of the first.
async fn trio() -> [Host; 3] {
    let mut hosts = [Host::start(1).await, Host::start(2).await, Host::start(3).await];
    let (first, second) = (hosts[0].as_source(), hosts[1].as_source());
    for (at, source) in [(1, first.clone()), (2, first), (0, second)] {
        hosts[at].source = Some(source);
        hosts[at].done("follow").await;
    }
    for at in [1, 2] {
        hosts[at].server.sql("SET GLOBAL read_only = 1");
    }
    hosts[0]
        .server
        .sql("CREATE TABLE test.t (id INT AUTO_INCREMENT PRIMARY KEY, v INT) ENGINE=InnoDB");
    hosts
}

fn hand_over(from: usize, to: usize, hosts: &mut [Host; 3]) {
    let registered = hosts[from].registered.clone();
    hosts[to].registered.extend(registered);
}

#[tokio::test]
async fn a_writer_is_handed_over_and_back() {
    let mut hosts = trio().await;
    hosts[0].server.sql("SET GLOBAL event_scheduler = ON");
    for round in 0..6 {
        let (from, to) = (round % 2, 1 - round % 2);
        // In the last rounds nobody writes, so the newest transaction came from the incoming host itself.
        let quiet = round > 3;
        if !quiet {
            hosts[from]
                .server
                .sql("INSERT INTO test.t (v) SELECT seq FROM test.seq_1_to_50");
        }
        let target = hosts[from].as_source();
        hosts[to].source = Some(target);
        hosts[from].done("deny-writes").await;
        assert_eq!(hosts[from].server.sql("SELECT @@event_scheduler"), "OFF");
        hosts[from].done("kill-clients").await;
        hosts[from].done("read-position").await;
        hand_over(from, to, &mut hosts);
        hosts[to].done("catch-up").await;
        hosts[to].done("read-start-position").await;
        hosts[from].done("position-unmoved").await;
        hosts[to].done("allow-writes").await;
        hosts[to].done("restore-events").await;
        assert_eq!(hosts[to].server.sql("SELECT @@event_scheduler"), "ON");
        if !quiet {
            hosts[to].server.sql("INSERT INTO test.t (v) VALUES (1)");
        }
        hosts[from].done("own-unmoved").await;
        let target = hosts[to].as_source();
        hosts[2].source = Some(target.clone());
        hosts[from].source = Some(target);
        let report = hosts[2].done("follow").await;
        assert!(report.steps.len() > 4, "it had nothing to do: {report:?}");
        hosts[from].done("follow-demoted").await;
        let sum = hosts[to].server.sql("CHECKSUM TABLE test.t");
        for at in [from, 2] {
            wait_for("equal tables", || {
                hosts[at].server.sql("CHECKSUM TABLE test.t") == sum
            });
        }
    }
}

#[tokio::test]
async fn what_slips_past_read_only_is_noticed() {
    let mut hosts = trio().await;
    hosts[0].done("deny-writes").await;
    hosts[0].done("read-position").await;
    hosts[0].done("position-unmoved").await;
    hosts[0].server.sql("INSERT INTO test.t (v) VALUES (1)");
    for duty in ["position-unmoved", "own-unmoved"] {
        let report = hosts[0].perform(duty).await;
        assert!(
            matches!(
                report.outcome,
                DutyOutcome::Failed {
                    why: Failure::Unexpected(_),
                    ..
                }
            ),
            "{report:?}"
        );
    }
    hosts[0].done("reopen-writes").await;
    assert_eq!(hosts[0].server.sql("SELECT @@read_only"), "0");
}

#[tokio::test]
async fn prepared_transactions_and_locks_stop_it_in_time() {
    let mut hosts = [Host::start(1).await];
    hosts[0].server.sql("CREATE TABLE test.t (id INT PRIMARY KEY)");
    hosts[0]
        .server
        .sql("XA START 'x'; INSERT INTO test.t VALUES (1); XA END 'x'; XA PREPARE 'x'");
    let report = hosts[0].perform("deny-writes").await;
    assert!(
        matches!(&report.outcome, DutyOutcome::Failed { step, .. } if step.contains("XA")),
        "{report:?}"
    );
    hosts[0].server.sql("XA ROLLBACK 'x'");

    let socket = hosts[0].server.socket();
    let mut holder = std::process::Command::new("mariadb")
        .args([
            "--no-defaults",
            "-uclient",
            "-pc",
            "-S",
            &socket,
            "-e",
            "LOCK TABLES test.t WRITE; SELECT SLEEP(60)",
        ])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    wait_for("the lock", || {
        hosts[0].server.sql("SHOW PROCESSLIST").contains("SLEEP")
    });
    let report = hosts[0].perform("deny-writes").await;
    assert!(
        matches!(&report.outcome, DutyOutcome::Failed { why: Failure::Sql(line), .. } if line.starts_with("ERROR 1205")),
        "{report:?}"
    );
    assert!(report.took < Duration::from_secs(3));
    hosts[0].done("kill-clients").await;
    hosts[0].done("deny-writes").await;
    assert!(!holder.wait().unwrap().success());
}

#[tokio::test]
async fn a_dead_writers_last_words_are_applied() {
    let mut hosts = trio().await;
    hosts[1].server.sql("STOP SLAVE SQL_THREAD");
    hosts[0]
        .server
        .sql("INSERT INTO test.t (v) SELECT seq FROM test.seq_1_to_3000");
    let end = hosts[0]
        .server
        .sql("SHOW MASTER STATUS")
        .split('\t')
        .nth(1)
        .unwrap()
        .to_owned();
    wait_for("the relay log", || {
        hosts[1].server.sql("SHOW SLAVE STATUS").split('\t').nth(6) == Some(&end)
    });
    hosts[0].server.kill();
    let report = hosts[1].perform("drain").await;
    assert!(
        matches!(report.outcome, DutyOutcome::Failed { .. }),
        "its SQL thread does not run: {report:?}"
    );
    hosts[1].server.sql("START SLAVE SQL_THREAD");
    hosts[1].done("drain").await;
    assert_eq!(hosts[1].server.sql("SELECT COUNT(*) FROM test.t"), "3000");
    hosts[1].done("stop-replication").await;
    hosts[1].done("stop-replication").await;
    // A box that died here is followed by another, which sees for itself that everything is applied.
    hosts[1].done("start-applying").await;
    hosts[1].done("drain").await;
    hosts[1].done("stop-replication").await;
    assert_eq!(hosts[1].server.sql("SELECT COUNT(*) FROM test.t"), "3000");
    // Taken back while the source is dead, and done again.
    hosts[1].done("resume-replication").await;
    assert!(
        hosts[1]
            .server
            .sql("SHOW SLAVE STATUS")
            .contains("\tConnecting\tYes\t")
    );
    hosts[1].done("stop-replication").await;
    hosts[1].done("allow-writes").await;
    hosts[1].server.sql("INSERT INTO test.t (v) VALUES (1)");
    let target = hosts[1].as_source();
    hosts[2].source = Some(target.clone());
    hosts[2].done("follow").await;
    // It comes back writable and replicating, as after a boot; then it rejoins.
    hosts[0].server.restart();
    hosts[0].server.sql("START SLAVE");
    hosts[0].source = Some(target);
    let report = hosts[0].perform("demote-server").await;
    // The first attempt may meet the SQL client that died with the server; that is said and the next one works.
    if report.outcome != DutyOutcome::Done {
        hosts[0].done("demote-server").await;
    }
    assert_eq!(hosts[0].server.sql("SELECT @@read_only"), "1");
    assert!(hosts[0].server.sql("SHOW SLAVE STATUS").contains("\tNo\tNo\t"));
    hosts[0].done("follow-demoted").await;
    hosts[1].done("start-replication").await;
    let sum = hosts[1].server.sql("CHECKSUM TABLE test.t");
    for at in [0, 2] {
        wait_for("equal tables", || {
            hosts[at].server.sql("CHECKSUM TABLE test.t") == sum
        });
    }
}

#[tokio::test]
async fn a_torn_transaction_does_not_hold_up_the_drain() {
    for workers in [0, 2] {
        let mut hosts = trio().await;
        hosts[0].server.sql("CREATE TABLE test.big (v MEDIUMTEXT)");
        hosts[1].server.sql(&format!(
            "STOP SLAVE; SET GLOBAL slave_parallel_threads = {workers}; SET GLOBAL read_binlog_speed_limit = 300; START SLAVE"
        ));
        hosts[0].server.sql(
            "INSERT INTO test.t (v) VALUES (7); INSERT INTO test.big SELECT REPEAT('x', 100000) FROM test.seq_1_to_60",
        );
        wait_for("half of the transaction", || {
            let status = hosts[1].server.sql("SHOW SLAVE STATUS");
            status.split('\t').nth(6).unwrap().parse::<u64>().unwrap() > 1_500_000
        });
        hosts[0].server.kill();
        let report = hosts[1].perform("drain").await;
        assert_eq!(
            report.outcome,
            DutyOutcome::Done,
            "{report:#?}\n{}",
            hosts[1].server.sql("SHOW PROCESSLIST")
        );
        println!("drained in {:?}", report.took);
        let counts = hosts[1]
            .server
            .sql("SELECT (SELECT COUNT(*) FROM test.t), (SELECT COUNT(*) FROM test.big)");
        assert_eq!(counts, "1\t0");
        let report = hosts[1].done("stop-replication").await;
        println!("stopped in {:?}", report.took);
        hosts[1].done("allow-writes").await;
        hosts[1].server.sql("INSERT INTO test.t (v) VALUES (8)");
    }
}

#[tokio::test]
async fn a_refused_statement_shows_no_secret() {
    let mut host = Host::start(1).await;
    let playbook = playbook::load(None).unwrap();
    host.source = Some(host.as_source());
    let mut script = host.script(&playbook, "follow", Duration::from_secs(5));
    for step in &mut script.steps {
        if let mmm::core::script::Act::Perform(command) = &mut step.act {
            if let Some(mmm::core::script::Part::Plain(text)) = command.parts.last_mut() {
                text.push_str(" nonsense");
            }
            command
                .parts
                .insert(0, mmm::core::script::Part::Plain(String::new()));
        }
    }
    script.steps.retain(|step| step.name.starts_with("Point"));
    let report = host.shell.run(&script, soon()).await;
    assert!(
        matches!(&report.outcome, DutyOutcome::Failed { why: Failure::Sql(line), .. } if line.starts_with("ERROR 1064")),
        "{report:?}"
    );
    assert!(
        !format!("{report:?}{script:?}").contains("replicate'"),
        "{report:?}"
    );
}

#[tokio::test]
async fn fifty_idle_sessions_end_at_once() {
    let mut host = Host::start(1).await;
    let socket = host.server.socket();
    let count = "SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'client'";
    for round in 0..5 {
        let clients: Vec<_> = (0..50)
            .map(|_| {
                std::process::Command::new("mariadb")
                    .args(["--no-defaults", "-uclient", "-pc", "-S", &socket])
                    .stdin(std::process::Stdio::piped())
                    .stdout(std::process::Stdio::null())
                    .stderr(std::process::Stdio::null())
                    .spawn()
                    .unwrap()
            })
            .collect();
        wait_for("the clients", || host.server.sql(count) == "50");
        let report = host.done("kill-clients").await;
        println!("round {round}: fifty sessions ended in {:?}", report.took);
        assert_eq!(host.server.sql(count), "0");
        for mut client in clients {
            drop(client.stdin.take());
            client.wait().unwrap();
        }
    }
}
