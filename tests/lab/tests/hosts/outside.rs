//! Looking at a lab from outside its hosts, as the tests do.

use std::time::Duration;

use lab::{Host, Lab, Options, wait};

pub const SOON: Duration = Duration::from_secs(20);

pub fn up() -> Lab {
    Lab::up(Options::for_test()).unwrap()
}

/// How a TCP connection from the box to a port ends: `open`, `refused` or `silent`.
pub fn connection(lab: &Lab, address: &str, port: u16) -> &'static str {
    let line = format!("timeout 0.5 bash -c '</dev/tcp/{address}/{port}'");
    match lab.box_().sh(&line).unwrap() {
        output if output.code == 0 => "open",
        output if output.code == 124 => "silent",
        output if output.stderr.contains("refused") => "refused",
        output => panic!("a connection ended in an unknown way: {output:?}"),
    }
}

pub fn pings(lab: &Lab, from: &Host, to: &Host) -> bool {
    lab.answers(from.name(), &to.address(), Duration::from_millis(300))
        .unwrap()
}

/// A neighbour that did not answer is asked again after a second.
pub fn wait_for_ping(lab: &Lab, from: &Host, to: &Host) {
    wait::until(SOON, &format!("`{}` to answer", to.name()), || {
        pings(lab, from, to)
    })
    .unwrap();
}

pub fn wait_for_server(host: &Host) {
    wait::until(SOON, &format!("the server of `{}`", host.name()), || {
        host.unit_state("mariadb").unwrap() == "active"
    })
    .unwrap();
}
