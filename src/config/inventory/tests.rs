//! Tests of the whole way from text to inventory.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::path::{Path, PathBuf};

use super::{Inventory, Service, Surroundings, parse};
use crate::config::diagnostic::{Diagnostic, render_all};
use crate::core::cluster::HostName;

const EXAMPLE: &str = include_str!("../../../inventory.example.yaml");

fn surroundings() -> Surroundings {
    Surroundings {
        mode: Some(0o600),
        home: Some(PathBuf::from("/root")),
    }
}

fn read(text: &str) -> Result<Inventory, Vec<Diagnostic>> {
    parse(text, Path::new("inventory.yaml"), &surroundings())
}

#[test]
fn the_example_is_valid_and_means_what_it_says() {
    let inventory = read(EXAMPLE).unwrap_or_else(|found| panic!("{}", render_all(&found)));
    assert_eq!(render_all(&inventory.warnings), "");
    let cluster = inventory.cluster("test_mmm").unwrap();
    let of = |name: &str| cluster.host(&HostName::from(name)).unwrap();
    let (db1, db3) = (of("db1"), of("db3"));

    assert_eq!(db1.interface, "eth1", "the cluster wins over the top level");
    assert_eq!(
        (db1.ssh.address.as_str(), db3.ssh.address.as_str()),
        ("db1.example.com", "10.0.0.13")
    );
    assert_eq!(db1.ssh.known_hosts, [PathBuf::from("/root/.ssh/known_hosts")]);
    assert_eq!(db1.credentials.monitor.user, "test_monitor");
    assert_eq!(
        format!("{:?}", db1.credentials.monitor.password),
        r#"File("/etc/mmm/monitor.password")"#
    );
    let fence = db1.fence.as_ref().unwrap();
    assert_eq!(fence.duty, "fence-switch-port");
    assert_eq!(fence.with.get("port").unwrap(), "7");
    assert_eq!(fence.with.get("switch").unwrap(), "sw1.example.com");
    assert_eq!(db3.fence, None);
    assert!(matches!(&db3.service, Service::Duties { keep_stopped, .. } if keep_stopped == "stop-by-script"));
    assert_eq!(db1.vars.len(), 2);
    assert_eq!(cluster.cluster.checks.rep_backlog.max_backlog.as_secs(), 150);
    assert_eq!(cluster.cluster.checks.ping.every.as_secs(), 1);
    assert_eq!(inventory.text_hash.len(), 40);
}
