//! What `check` asks, of real servers.

use std::process::Command;

use mmm::core::facts::{Flavour, Version};
use mmm::core::playbook::Action;
use mmm::core::preflight::{AccountKind, needs};
use mmm::sql::preflight::configured_read_only;

use crate::server::{Mariadbd, SOON};

#[tokio::test]
async fn settings_and_filters() {
    let server = Mariadbd::start(1).await;
    let before = server.as_user("monitor").settings(SOON).await.unwrap();
    assert_eq!(
        (before.auto_increment_increment, before.auto_increment_offset),
        (1, 1)
    );
    assert_eq!(
        (before.binlog_format.as_deref(), before.filters.len()),
        (Some("MIXED"), 0)
    );
    server
        .run(&[
            "SET GLOBAL replicate_ignore_db = 'scratch'",
            "SET GLOBAL sync_binlog = 1",
        ])
        .await;
    let after = server.as_user("monitor").settings(SOON).await.unwrap();
    assert_eq!(
        (after.sync_binlog, after.filters),
        (1, vec!["replicate_ignore_db=scratch".to_owned()])
    );
}

#[tokio::test]
async fn privileges_are_the_accounts_own() {
    let server = Mariadbd::start(1).await;
    let mut held = server.as_user("monitor").privileges(SOON).await.unwrap();
    held.sort();
    assert_eq!(held, ["BINLOG MONITOR", "PROCESS", "SLAVE MONITOR"]);
    assert_eq!(server.as_user("bare").privileges(SOON).await.unwrap(), ["USAGE"]);
}

/// The table of needs names privileges as this server does, and an account with just these can do its work.
#[tokio::test]
async fn the_agents_needs_are_grantable_and_enough() {
    let server = Mariadbd::start(1).await;
    let version: Version = server.as_user("monitor").version(SOON).await.unwrap();
    assert_eq!(version.flavour, Flavour::Mariadb);
    let needed: Vec<&str> = needs(AccountKind::Agent, version)
        .iter()
        .map(|need| need.any_of[0])
        .collect();
    server
        .run(&[&format!("GRANT {} ON *.* TO bare@'127.0.0.1'", needed.join(", "))])
        .await;
    let mut held = server.as_user("bare").privileges(SOON).await.unwrap();
    held.sort();
    let mut expected: Vec<String> = needed.iter().map(|name| (*name).to_owned()).collect();
    expected.sort();
    assert_eq!(held, expected);
    let mut agent = server.as_user("bare");
    for sql in [
        "SET GLOBAL read_only = 1",
        "SET GLOBAL event_scheduler = 0",
        "SHOW ALL SLAVES STATUS",
        "SHOW MASTER STATUS",
        "STOP SLAVE",
        "SET GLOBAL gtid_slave_pos = ''",
    ] {
        assert!(agent.query(sql, SOON).await.is_ok(), "{sql}");
    }
}

#[test]
fn the_servers_own_program_prints_its_options() {
    let playbook = mmm::config::playbook::load(None).unwrap();
    let mut steps = playbook.duties["preflight"].steps.iter();
    let step = steps
        .find(|step| step.register.names().contains(&"configuration"))
        .unwrap();
    let Action::Run(line) = &step.action else {
        unreachable!("{step:?}")
    };
    let printed = Command::new("sh").args(["-c", line]).output().unwrap();
    assert!(printed.status.success());
    let text = String::from_utf8(printed.stdout).unwrap();
    assert!(text.contains("--"), "{text}");
    assert_eq!(configured_read_only(&format!("{text} --read_only=1")), Some(true));
}
