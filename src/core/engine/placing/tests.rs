//! Stories of the preferred writer, of hosts that cannot be looked at, and of strangers who answer for our addresses.

use std::collections::BTreeMap;

use super::*;
use crate::core::cluster::{CheckKind, RoleMode};
use crate::core::cluster::{Cluster, HostName};
use crate::core::engine::Input;
use crate::core::facts::Reach;
use crate::core::latch::CheckResult;
use crate::core::repair::Fix;
use crate::core::samples::{WRITER_ADDRESS, cluster, facts};
use crate::core::standing::Standing;

/// db2 is the writer, and the role prefers db1.
struct Story {
    engine: Engine,
    now_ms: u64,
    facts: BTreeMap<&'static str, HostFacts>,
}

fn prefers_db1() -> Cluster {
    let mut cluster = cluster();
    cluster.roles[0].prefer = Some("db1".into());
    cluster
}

fn written_by_db2() -> Standing {
    Standing {
        writer: Some("db2".into()),
        ..Standing::default()
    }
}

impl Story {
    fn new(cluster: Cluster, standing: Standing) -> Story {
        Story {
            engine: Engine::new(cluster, BTreeMap::new(), standing),
            now_ms: 1_000_000,
            facts: BTreeMap::from([
                ("db1", facts(false, &[])),
                ("db2", facts(true, &[WRITER_ADDRESS])),
                ("db3", facts(false, &[])),
            ]),
        }
    }

    /// One second with a look at and a check of everybody; what is to be done, each ended at once.
    fn second(&mut self) -> Vec<Effect> {
        self.now_ms += 1000;
        let mut effects = Vec::new();
        for (host, facts) in self.facts.clone() {
            for kind in CheckKind::ALL {
                effects.extend(self.give(Input::Checked {
                    host: host.into(),
                    kind,
                    result: CheckResult::Ok("fine".into()),
                }));
            }
            effects.extend(self.give(Input::Looked(host.into(), Box::new(facts))));
        }
        effects
    }

    fn give(&mut self, input: Input) -> Vec<Effect> {
        let effects = self.engine.step(Moment(self.now_ms), input);
        let deeds: Vec<Effect> = effects
            .into_iter()
            .filter(|effect| !matches!(effect, Effect::Tell(_) | Effect::Remember(_)))
            .collect();
        for _ in &deeds {
            self.engine.step(Moment(self.now_ms), Input::Finished);
        }
        deeds
    }

    fn pass(&mut self, seconds: u64) -> Vec<Effect> {
        (0..seconds).flat_map(|_| self.second()).collect()
    }

    fn lag(&mut self, host: &'static str, seconds: u64) {
        if let Some(Reach::Up(mysql)) = self.facts.get_mut(host).map(|facts| &mut facts.mysql) {
            mysql.replicas[0].lag = Some(Duration::from_secs(seconds));
        }
    }
}

#[test]
fn the_writer_goes_back_when_the_preferred_host_has_caught_up_and_not_again_at_once() {
    let mut story = Story::new(prefers_db1(), written_by_db2());
    story.lag("db1", 3);
    assert_eq!(story.pass(20), []);
    story.lag("db1", 0);
    let back = Effect::SwitchOver("db1".into());
    assert_eq!(story.pass(2), std::slice::from_ref(&back));
    // It did not get there: another try is made a minute later, and the next after two.
    assert_eq!(story.pass(55), []);
    assert_eq!(story.pass(8), std::slice::from_ref(&back));
    assert_eq!(story.pass(110), []);
    assert_eq!(story.pass(15), std::slice::from_ref(&back));
    // Once it has moved, whoever moved it, a minute is enough again.
    story.give(Input::Stands(Standing {
        writer: Some("db1".into()),
        ..Standing::default()
    }));
    story.give(Input::Stands(written_by_db2()));
    assert_eq!(story.pass(65), [back]);
}

#[test]
fn after_any_move_of_the_writer_it_stays_for_a_minute() {
    let standing = Standing {
        writer: Some("db1".into()),
        ..Standing::default()
    };
    let mut story = Story::new(prefers_db1(), standing);
    story.give(Input::Stands(written_by_db2()));
    assert_eq!(story.pass(55), []);
    assert_eq!(story.pass(8), [Effect::SwitchOver("db1".into())]);
}

#[test]
fn nobody_is_sent_back_on_command_only_in_manual_mode_or_while_owed_or_out_of_service() {
    let mut on_command = prefers_db1();
    on_command.roles[0].fail_back = FailBack::OnCommand;
    let mut not_by_itself = prefers_db1();
    not_by_itself.failover.automatic = false;
    let manual = Standing {
        mode: Mode::Manual,
        ..written_by_db2()
    };
    let mut out = written_by_db2();
    out.offline.insert("db1".into(), Moment(1));
    for (cluster, standing) in [
        (on_command, written_by_db2()),
        (not_by_itself, written_by_db2()),
        (prefers_db1(), manual),
        (prefers_db1(), out),
    ] {
        let mut story = Story::new(cluster, standing);
        assert_eq!(story.pass(90), []);
    }
}

const READER: &str = "10.0.0.101";

fn with_reader() -> Cluster {
    let mut cluster = cluster();
    let mut reader = cluster.roles[0].clone();
    reader.name = "reader".into();
    reader.mode = RoleMode::Balanced;
    reader.hosts = ["db1", "db2", "db3"].map(HostName::from).to_vec();
    reader.addresses = vec![READER.parse().unwrap()];
    cluster.roles.push(reader);
    cluster
}

#[test]
fn a_host_whose_server_answers_does_not_lose_its_addresses_because_ssh_to_it_has_failed() {
    let mut story = Story::new(with_reader(), written_by_db2());
    story.facts.insert("db3", facts(false, &[READER]));
    assert_eq!(story.pass(5), []);
    story.facts.get_mut("db3").unwrap().ssh = Reach::Silent("no route".into());
    assert_eq!(story.pass(30), []);
    // Nobody has seen where it is: it is brought up only if nobody answers for it, and not in every round.
    story.engine.last_seen.clear();
    assert_eq!(story.pass(8), [Effect::Repair]);
    let eligible = story.engine.eligible();
    let seen = story.engine.facts().clone();
    let fixes = repair::fixes(story.engine.cluster(), story.engine.standing(), &eligible, &seen);
    assert_eq!(
        fixes,
        [Fix::AddAddressIfFree("db1".into(), READER.parse().unwrap())]
    );
}

#[test]
fn a_reader_is_up_at_its_new_place_before_it_leaves_the_old_and_the_writer_address_never() {
    let mut story = Story::new(with_reader(), written_by_db2());
    story.facts.insert("db3", facts(false, &[READER, WRITER_ADDRESS]));
    story.facts.insert("db2", facts(true, &[]));
    story.second();
    let mut eligible = story.engine.eligible();
    eligible.to_hold = vec!["db1".into(), "db2".into()];
    eligible.to_keep.clear();
    let seen = story.engine.facts().clone();
    let fixes = repair::fixes(story.engine.cluster(), story.engine.standing(), &eligible, &seen);
    let (writer, reader) = (WRITER_ADDRESS.parse().unwrap(), READER.parse().unwrap());
    assert_eq!(
        fixes,
        [
            Fix::RemoveAddress("db3".into(), writer),
            Fix::AddAddress("db2".into(), writer),
            Fix::Announce("db2".into(), writer),
            Fix::AddAddress("db1".into(), reader),
            Fix::RemoveAddress("db3".into(), reader),
            Fix::Announce("db1".into(), reader),
        ]
    );
}

#[test]
fn a_stranger_who_answers_for_an_address_is_alarmed_about_once_until_he_is_gone() {
    let mut story = Story::new(cluster(), written_by_db2());
    story.pass(3);
    let address: IpAddr = WRITER_ADDRESS.parse().unwrap();
    assert_eq!(story.engine.addresses_at_rest(), [("db2".into(), address)]);
    let mut hear = |host: &str, answered: bool| {
        let heard = Input::Heard {
            host: host.into(),
            address,
            answered,
        };
        let effects = story.engine.step(Moment(story.now_ms), heard);
        let is_alarm = |effect: &&Effect| matches!(effect, Effect::Tell(Event::Alarm { .. }));
        effects.iter().filter(is_alarm).count()
    };
    assert_eq!(hear("db1", true), 0, "db1 asked before the address moved");
    assert_eq!((hear("db2", true), hear("db2", true)), (1, 0));
    assert_eq!((hear("db2", false), hear("db2", true)), (0, 1));
    assert_eq!(story.engine.answered_for().count(), 1);
}
