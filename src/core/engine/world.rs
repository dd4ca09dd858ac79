//! A world for stories of hosts and their states: every check of every host answers once a second, and time passes.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Effect, Engine, Input};
use crate::core::cluster::{CheckKind, Cluster, HostName};
use crate::core::event::Event;
use crate::core::facts::{HostFacts, Reach};
use crate::core::hosts::{HostRecord, HostRule, HostState, Records};
use crate::core::latch::CheckResult;
use crate::core::moment::Moment;
use crate::core::samples::{WRITER_ADDRESS, cluster, facts};
use crate::core::standing::{Mode, Standing};

pub(super) const HOSTS: [&str; 3] = ["db1", "db2", "db3"];
pub(super) const TRAP: u64 = 4;

/// A cluster in manual mode, so that only the states move.
#[derive(Clone)]
pub(super) struct World {
    pub(super) engine: Engine,
    pub(super) standing: Standing,
    pub(super) now_s: u64,
    /// What a check says where it is not fine.
    pub(super) sick: BTreeMap<(&'static str, CheckKind), CheckResult>,
    pub(super) uptimes_s: BTreeMap<&'static str, u64>,
    pub(super) told: Vec<Event>,
}

impl World {
    /// Nothing has been probed.
    pub(super) fn unseen(change: impl Fn(&mut Cluster)) -> World {
        let mut cluster = cluster();
        change(&mut cluster);
        let standing = Standing {
            writer: Some("db1".into()),
            mode: Mode::Manual,
            ..Standing::default()
        };
        World {
            engine: Engine::new(cluster, BTreeMap::new(), standing.clone()),
            standing,
            now_s: 10_000,
            sick: BTreeMap::new(),
            uptimes_s: HOSTS.map(|host| (host, 5_000)).into(),
            told: Vec::new(),
        }
    }

    /// Everybody has been ONLINE for long.
    pub(super) fn settled_with(change: impl Fn(&mut Cluster)) -> World {
        let mut world = World::unseen(change);
        world.pass(100);
        for host in HOSTS {
            assert_eq!(world.state(host), HostState::Online);
        }
        world
    }

    pub(super) fn settled() -> World {
        World::settled_with(|_| {})
    }

    pub(super) fn give(&mut self, input: Input) {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            for effect in self.engine.step(Moment(self.now_s * 1000), input) {
                match effect {
                    Effect::Tell(event) => self.told.push(event),
                    Effect::Remember(_) => {}
                    _ => inputs.push(Input::Finished),
                }
            }
        }
    }

    pub(super) fn facts(&self, host: &str) -> HostFacts {
        let writable = host == "db1";
        let mut facts = facts(writable, if writable { &[WRITER_ADDRESS] } else { &[] });
        if let Reach::Up(shell) = &mut facts.ssh {
            shell.uptime = Duration::from_secs(self.uptimes_s[host]);
        }
        facts
    }

    pub(super) fn second(&mut self) {
        self.now_s += 1;
        for uptime in self.uptimes_s.values_mut() {
            *uptime += 1;
        }
        for host in HOSTS {
            self.give(Input::Looked(host.into(), Box::new(self.facts(host))));
            for kind in CheckKind::ALL {
                let fine = || CheckResult::Ok("fine".into());
                let result = self.sick.get(&(host, kind)).cloned().unwrap_or_else(fine);
                let host = host.into();
                self.give(Input::Checked { host, kind, result });
            }
        }
    }

    pub(super) fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.second();
        }
    }

    pub(super) fn fails(&mut self, host: &'static str, kind: CheckKind) {
        self.sick.insert((host, kind), CheckResult::Error("bad".into()));
    }

    pub(super) fn mends(&mut self, host: &'static str, kind: CheckKind) {
        self.sick.remove(&(host, kind));
    }

    /// Its server dies, and what replicates from it loses its source.
    pub(super) fn dies(&mut self, host: &'static str, followers: &[&'static str]) {
        self.fails(host, CheckKind::Mysql);
        for kind in [CheckKind::RepThreads, CheckKind::RepBacklog] {
            self.sick
                .insert((host, kind), CheckResult::Unknown("no server".into()));
            for follower in followers {
                self.fails(follower, kind);
            }
        }
    }

    pub(super) fn returns(&mut self, host: &'static str) {
        for kind in CheckKind::ALL {
            self.mends(host, kind);
        }
    }

    /// Down long enough to be noticed, and back.
    pub(super) fn blinks(&mut self, host: &'static str) {
        self.dies(host, &[]);
        self.pass(TRAP + 2);
        assert_eq!(self.state(host), HostState::HardOffline);
        self.returns(host);
    }

    pub(super) fn stands(&mut self, change: impl Fn(&mut Standing, Moment)) {
        change(&mut self.standing, Moment(self.now_s * 1000));
        self.standing.touch();
        self.give(Input::Stands(self.standing.clone()));
    }

    pub(super) fn set_offline(&mut self, host: &'static str) {
        self.stands(|standing, now| {
            standing.offline.insert(host.into(), now);
        });
    }

    pub(super) fn set_online(&mut self, host: &'static str) {
        self.stands(|standing, now| {
            standing.offline.remove(&HostName::from(host));
            standing.released.insert(host.into(), now);
        });
    }

    /// The monitor ends, and another begins after `away` seconds from what is on disk.
    pub(super) fn restart(&mut self, away: u64) {
        let text = serde_json::to_string(&self.engine.records()).unwrap();
        let records: Records = serde_json::from_str(&text).unwrap();
        self.engine = Engine::new(
            self.engine.cluster().clone(),
            BTreeMap::new(),
            self.standing.clone(),
        )
        .resume(records);
        self.now_s += away;
        for uptime in self.uptimes_s.values_mut() {
            *uptime += away;
        }
    }

    pub(super) fn record(&self, host: &str) -> &HostRecord {
        self.engine.record(&host.into()).unwrap()
    }
    pub(super) fn state(&self, host: &str) -> HostState {
        self.record(host).state
    }
    pub(super) fn rule(&self, host: &str) -> HostRule {
        self.record(host).rule
    }
    /// By which rule it came to its state.
    pub(super) fn came_by(&self, host: &str) -> &str {
        let because = self.told.iter().rev().find_map(|event| match event {
            Event::StateChanged {
                host: of, because, ..
            } if of.as_str() == host => Some(because),
            _ => None,
        });
        because.map_or("", |because| &because[..3])
    }
    pub(super) fn alarms(&self) -> usize {
        let alarms = self
            .told
            .iter()
            .filter(|event| matches!(event, Event::Alarm { .. }));
        alarms.count()
    }
}
