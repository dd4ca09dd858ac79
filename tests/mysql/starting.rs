//! How a monitor begins beside real servers: what they claim, and that passive mode touches nothing. Nobody answers over
//! SSH here, so no host is known to hold the writer address.

use std::path::Path;
use std::time::Duration;

use mmm::config::inventory::ClusterEntry;
use mmm::config::playbook;
use mmm::core::cluster::HostName;
use mmm::core::event::Event;
use mmm::core::evidence::Rung;
use mmm::core::guard::Guard;
use mmm::core::moment::Moment;
use mmm::core::roles::Eligible;
use mmm::core::standing::{Mode, Owed, Return, Standing};
use mmm::io::fleet::Fleet;
use mmm::io::network::Network;
use mmm::io::operation::{Performer, Request};
use mmm::io::standing::StateDir;
use mmm::io::teller::Teller;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::server::{HOME, Mariadbd, SOON};

/// Two masters on these servers, and what the inventory says about the start.
fn entry(dir: &Path, servers: [&Mariadbd; 2], start: &str) -> ClusterEntry {
    let account = |user: &str, password: &str| format!("{{ user: {user}, password: {password} }}");
    let yaml = format!(
        "defaults:
  interface: lo
  ssh: {{ user: nobody, port: 1, use_ssh_config: false, known_hosts: {} }}
  credentials:
    monitor: {}
    agent: {}
    replication: {}
  service: none
clusters:
  pair:
    hosts:
      db1: {{ address: 127.0.0.1, mode: master, peer: db2, mysql: {{ port: {} }} }}
      db2: {{ address: 127.0.0.2, mode: master, peer: db1, mysql: {{ port: {} }} }}
    roles:
      writer: {{ mode: exclusive, hosts: [db1, db2], addresses: [192.0.2.100] }}
    start: {start}
",
        dir.join("known_hosts").display(),
        account("monitor", "looks only"),
        account("admin", "of the house"),
        account("repl", "copies"),
        servers[0].port,
        servers[1].port,
    );
    let file = dir.join("inventory.yaml");
    std::fs::write(&file, yaml).unwrap();
    std::fs::write(dir.join("known_hosts"), "").unwrap();
    let inventory = mmm::io::inventory::load(&file).unwrap_or_else(|found| panic!("{found:?}"));
    let mut entry = inventory.clusters[0].clone();
    // The servers of these tests listen on one address only.
    for host in entry.hosts.values_mut() {
        host.address = HOME;
    }
    entry
}

/// A monitor's hands on the two servers.
pub struct Stage {
    pub fleet: Fleet,
    dir: tempfile::TempDir,
}

impl Stage {
    pub async fn new(servers: [&Mariadbd; 2], start: &str) -> Stage {
        let dir = tempfile::tempdir().unwrap();
        let playbook = std::sync::Arc::new(playbook::load(None).unwrap());
        let fleet = Fleet::new(entry(dir.path(), servers, start), playbook)
            .await
            .unwrap();
        Stage { fleet, dir }
    }

    pub fn state(&self) -> StateDir {
        StateDir::of(&self.dir.path().join("state"), "pair")
    }

    pub fn stands(&self, standing: &Standing) {
        self.state().prepare().unwrap();
        self.state().save(standing).unwrap();
    }

    pub fn performer(&self, by_itself: bool, network: Network) -> (Performer<'_>, Told) {
        let (teller, events) = Teller::new("pair");
        let performer = Performer {
            fleet: &self.fleet,
            dir: self.state(),
            teller,
            lock_wait: Duration::from_secs(1),
            network,
            by_itself,
            begin_by: None,
            monitor_at: None,
            expects: None,
        };
        (performer, Told(events))
    }

    pub fn monitor(&self) -> (Performer<'_>, Told) {
        self.performer(true, Network::default())
    }
}

pub struct Told(UnboundedReceiver<mmm::core::event::Told>);

impl Told {
    fn all(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.0.try_recv().ok().map(|told| told.event)).collect()
    }
}

async fn is_writable(server: &Mariadbd) -> bool {
    let facts = server.as_user("monitor").facts(SOON).await;
    facts.up().unwrap().is_writable()
}

fn on_record(writer: &str, mode: Mode) -> Standing {
    Standing {
        writer: Some(writer.into()),
        mode,
        ..Standing::default()
    }
}

#[tokio::test]
async fn two_writable_servers_make_a_careful_start_passive_and_then_nothing_is_touched() {
    let servers = [Mariadbd::start(1).await, Mariadbd::start(2).await];
    let stage = Stage::new([&servers[0], &servers[1]], "{}").await;
    stage.stands(&on_record("db1", Mode::Active));
    let (monitor, mut told) = stage.monitor();
    let standing = monitor.start_up().await.unwrap();
    assert_eq!(
        (standing.mode, standing.writer),
        (Mode::Passive, Some(HostName::from("db1")))
    );
    assert_eq!(
        standing.mode_because,
        [
            "S01 more than one host accepts writes when the monitor started",
            "Host  Writable  Address  Stored    Followed by",
            "db1   yes       ?        yes       -",
            "db2   yes       ?        no        -",
        ]
    );
    let events = told.all();
    assert!(
        events
            .iter()
            .any(|event| matches!(event, Event::Alarm { what, .. } if what.starts_with("S01"))),
        "{events:?}"
    );
    let changed = Event::ModeChanged {
        from: Mode::Active,
        to: Mode::Passive,
        by: "the start of the monitor".into(),
    };
    assert!(events.contains(&changed), "{events:?}");
    // The next monitor finds it so; and whatever a monitor would still have under way does nothing any more.
    let path = stage.state().path().join("standing.json");
    let written = std::fs::read(&path).unwrap();
    assert_eq!(monitor.start_up().await.unwrap(), stage.state().load().unwrap());
    let hosts = [HostName::from("db1"), HostName::from("db2")];
    let eligible = Eligible {
        to_hold: hosts.to_vec(),
        ..Eligible::default()
    };
    monitor.repair(&eligible).await.unwrap();
    monitor.quarantine_met(&hosts[1]).await.unwrap();
    monitor.adopt().await.unwrap();
    monitor.activate("somebody came").await.unwrap();
    for refused in [
        monitor
            .perform(&Request::Reopen { writer: None })
            .await
            .unwrap_err(),
        monitor
            .perform(&Request::Switchover {
                to: Some("db2".into()),
                write_refused_max: None,
            })
            .await
            .unwrap_err(),
        monitor.take_back(&hosts[1]).await.unwrap_err(),
    ] {
        assert_eq!(refused.guard, Some(Guard::G03));
        assert!(refused.because.contains("passive mode"), "{refused}");
    }
    assert_eq!(told.all(), []);
    assert_eq!(std::fs::read(&path).unwrap(), written);
    assert!(is_writable(&servers[0]).await && is_writable(&servers[1]).await);
}

#[tokio::test]
async fn who_is_on_record_and_who_accepts_writes_are_weighed_against_each_other() {
    let servers = [Mariadbd::start(1).await, Mariadbd::start(2).await];
    let both = [&servers[0], &servers[1]];
    // Without care the record decides between two that accept writes, and the other one is to be compared.
    let stage = Stage::new(both, "{ careful: false }").await;
    stage.stands(&on_record("db2", Mode::Active));
    let (monitor, _told) = stage.monitor();
    let standing = monitor.start_up().await.unwrap();
    assert_eq!(
        (standing.mode, standing.writer),
        (Mode::Active, Some(HostName::from("db2")))
    );
    assert_eq!(
        standing
            .owed
            .get(&HostName::from("db1"))
            .map(|owed| &owed.progress),
        Some(&Return::Awaited)
    );
    servers[0].run(&["SET GLOBAL read_only = ON"]).await;
    // One accepts writes, the other is on record.
    let stage = Stage::new(both, "{}").await;
    stage.stands(&on_record("db1", Mode::Manual));
    let (monitor, _told) = stage.monitor();
    let standing = monitor.start_up().await.unwrap();
    assert_eq!(standing.mode, Mode::Passive);
    assert!(standing.mode_because[0].starts_with("S04"), "{standing:?}");
    // None is on record.
    let stage = Stage::new(both, "{}").await;
    let (monitor, _told) = stage.monitor();
    let standing = monitor.start_up().await.unwrap();
    assert_eq!(
        (standing.mode, standing.writer.clone()),
        (Mode::Active, Some(HostName::from("db2")))
    );
    assert_eq!(standing, stage.state().load().unwrap());
}

#[tokio::test]
async fn the_inventory_names_the_mode_and_a_wait_ends_only_from_wait() {
    let servers = [Mariadbd::start(1).await, Mariadbd::start(2).await];
    let both = [&servers[0], &servers[1]];
    let stage = Stage::new(both, "{ mode: passive }").await;
    stage.stands(&on_record("db1", Mode::Active));
    let (monitor, mut told) = stage.monitor();
    let standing = monitor.start_up().await.unwrap();
    assert_eq!(standing.mode, Mode::Passive);
    assert_eq!(
        told.all(),
        [Event::ModeChanged {
            from: Mode::Active,
            to: Mode::Passive,
            by: "`start.mode` in the inventory".into(),
        }],
        "two accept writes, and nobody looked"
    );

    servers[1].run(&["SET GLOBAL read_only = ON"]).await;
    let stage = Stage::new(both, "{ mode: wait }").await;
    stage.stands(&on_record("db1", Mode::Passive));
    let (monitor, _told) = stage.monitor();
    assert_eq!(monitor.start_up().await.unwrap().mode, Mode::Wait);
    monitor.activate("db1 and db2 are ONLINE").await.unwrap();
    let standing = stage.state().load().unwrap();
    assert_eq!(standing.mode, Mode::Active);
    assert!(
        standing.mode_by.contains("db1 and db2 are ONLINE"),
        "{standing:?}"
    );
    // A person was quicker.
    stage.stands(&on_record("db1", Mode::Manual));
    monitor.activate("db1 and db2 are ONLINE").await.unwrap();
    assert_eq!(stage.state().load().unwrap().mode, Mode::Manual);
}

#[tokio::test]
async fn nothing_is_begun_while_no_ping_address_answers() {
    let servers = [Mariadbd::start(1).await, Mariadbd::start(2).await];
    let stage = Stage::new([&servers[0], &servers[1]], "{}").await;
    stage.stands(&on_record("db1", Mode::Active));
    // Discarded by routers, and without a route here. Unprivileged builds may not ask at all.
    let Ok(network) = Network::of(&["100::1".parse().unwrap()]) else {
        return;
    };
    let (person, _told) = stage.performer(false, network);
    let requests = [
        Request::Switchover {
            to: Some("db2".into()),
            write_refused_max: None,
        },
        Request::Reopen { writer: None },
        Request::Rejoin { host: "db2".into() },
    ];
    for request in requests {
        let refused = person.perform(&request).await.unwrap_err();
        assert_eq!(refused.guard, Some(Guard::G02));
        assert!(refused.because.contains("ping addresses"), "{refused}");
    }
    assert!(
        !stage.state().path().join("lock").exists(),
        "not even the lock was taken"
    );
}

#[tokio::test]
async fn a_replaced_writer_that_cannot_be_made_harmless_is_not_taken_back() {
    let servers = [Mariadbd::start(1).await, Mariadbd::start(2).await];
    let stage = Stage::new([&servers[0], &servers[1]], "{}").await;
    let owed = Owed::now(Moment(1), "r", Rung::Silence);
    let standing = Standing {
        owed: [("db2".into(), owed)].into(),
        ..on_record("db1", Mode::Active)
    };
    stage.stands(&standing);
    let (person, _told) = stage.performer(false, Network::default());
    let refused = person.take_back(&"db2".into()).await.unwrap_err();
    assert_eq!(refused.guard, Some(Guard::G44), "{refused}");
    assert_eq!(stage.state().load().unwrap(), standing, "it is owed as before");
}
