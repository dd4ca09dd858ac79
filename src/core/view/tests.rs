//! What `show` says of guards: what blocks a failover or the way back, by number, with what lifts it.

use super::*;
use crate::core::engine::Input;
use crate::core::evidence::Means;
use crate::core::facts::{HostFacts, MysqlFacts, Reach, SqlThread};
use crate::core::samples::{self, WRITER_ADDRESS};
use crate::core::standing::Standing;

/// db1 writes; the facts are changed before they are seen.
fn warnings_of(prefer: Option<&str>, change: &dyn Fn(&str, &mut HostFacts)) -> Vec<Warning> {
    let mut cluster = samples::cluster();
    cluster.roles[0].prefer = prefer.map(Into::into);
    if prefer.is_some() {
        cluster.hosts[2].mode = HostMode::Master;
        cluster.roles[0].hosts.push("db3".into());
    }
    let means = Means {
        fence: false,
        unfenced: cluster.failover.unfenced,
    };
    let means = cluster
        .hosts
        .iter()
        .map(|host| (host.name.clone(), means))
        .collect();
    let standing = Standing {
        writer: Some("db1".into()),
        ..Standing::default()
    };
    let mut engine = Engine::new(cluster.clone(), means, standing);
    let mut now = 1_000_000;
    for _ in 0..5 {
        for host in &cluster.hosts {
            now += 200;
            let name = host.name.as_str();
            let mut facts = match name {
                "db1" => samples::facts(true, &[WRITER_ADDRESS]),
                _ => samples::facts(false, &[]),
            };
            change(name, &mut facts);
            engine.step(Moment(now), Input::Looked(host.name.clone(), Box::new(facts)));
            for kind in CheckKind::ALL {
                let result = CheckResult::Ok(String::new());
                engine.step(
                    Moment(now),
                    Input::Checked {
                        host: host.name.clone(),
                        kind,
                        result,
                    },
                );
            }
        }
        engine.step(Moment(now), Input::Finished);
    }
    super::cluster(&engine, true).warnings
}

fn server(facts: &mut HostFacts) -> &mut MysqlFacts {
    match &mut facts.mysql {
        Reach::Up(mysql) => mysql,
        other => unreachable!("{other:?}"),
    }
}

fn said(warnings: &[Warning], words: &str) -> String {
    let found = warnings.iter().find(|warning| warning.what.contains(words));
    found
        .map(|warning| warning.hint.clone())
        .unwrap_or_else(|| unreachable!("{words}: {warnings:#?}"))
}

#[test]
fn nothing_is_said_while_a_failover_would_work() {
    assert_eq!(warnings_of(None, &|_, _| {}), []);
    assert_eq!(warnings_of(Some("db2"), &|_, _| {}), []);
}

#[test]
fn the_guard_that_blocks_a_failover_is_named_with_what_lifts_it() {
    let warnings = warnings_of(None, &|host, facts| {
        if host == "db2" {
            server(facts).replicas[0].sql = SqlThread::No;
        }
    });
    let hint = said(
        &warnings,
        "a failover would not work now: G20 G26 db2: its SQL thread is stopped",
    );
    assert_eq!(hint, Guard::G26.lifted_for(&"db2".into()));
    let warnings = warnings_of(None, &|host, facts| {
        if host == "db1" {
            facts.ssh = Reach::Silent("no answer".into());
        }
    });
    let hint = said(
        &warnings,
        "a failover would not work now: G11 R26: `db1` cannot be managed over SSH",
    );
    assert!(hint.contains("fence"), "{hint}");
}

#[test]
fn the_guard_that_keeps_the_role_from_going_back_is_named_with_what_lifts_it() {
    // db3 could take over, so that a failover would work.
    let warnings = warnings_of(Some("db2"), &|host, facts| {
        if host == "db2" {
            server(facts).log_slave_updates = false;
        }
    });
    let words = "the writer role does not go back to db2: G28 its `log_slave_updates` is off";
    assert_eq!(said(&warnings, words), Guard::G28.lifted_by());
}
