//! The inventory of a lab's cluster, as the box needs it.

use crate::flavour::{Flavour, Server};
use crate::roster::{
    Entry, INTERFACE, Mode, Purpose, READER_ADDRESSES, ROSTER, SECOND_PAIR, SECOND_WRITER_ADDRESS,
    WRITER_ADDRESS,
};
use crate::seed::PASSWORDS;
use crate::sudo::SSH_USER;

/// The cluster's name, the one of the article that the trio is from.
pub const CLUSTER: &str = "test_mmm";
/// The name of the second pair's cluster.
pub const SECOND_CLUSTER: &str = "second_mmm";

/// A directory of playbooks on the box, for duties of the lab's own.
pub const PLAYBOOKS: &str = "/etc/mmm/playbooks";
/// The keys of a cluster that is fenced by the lab's power strip; they need [`POWER_DUTY`] on the box.
pub const POWER_FENCE: &str = "    fence: { duty: cut-power }\n    playbooks: /etc/mmm/playbooks\n";
/// The duty that asks the power strip, as `duties/cut-power.yaml`. The strip answers when the host is off.
pub const POWER_DUTY: &str = "\
duty: cut-power
says: cut the power of {{ host.name }}
undo: nothing
within: 10s
steps:
  - name: Ask the power strip
    run: mmm-lab power off {{ host.name }}
verify: '[ \"$(mmm-lab power status {{ host.name }})\" = off ]'
";

/// The whole inventory as YAML.
pub fn yaml() -> String {
    yaml_with("")
}

/// The whole inventory for hosts of that flavour.
pub fn yaml_of(flavour: Flavour) -> String {
    yaml().replace(Server::Mariadb10_11.unit(), flavour.masters.unit())
}

/// The inventory with more keys in its cluster, written as whole lines and indented by four blanks,
/// for example `    failover: { unfenced: never }`.
pub fn yaml_with(keys: &str) -> String {
    let hosts = hosts(&ROSTER);
    // Stories do not wait for a person to let a host back in, unless they say so.
    let recovery = if keys.contains("    recovery:") {
        ""
    } else {
        "    recovery: { auto_set_online: 1s, flapping: { count: 0 } }\n"
    };
    let checks = if keys.contains("    checks:") {
        ""
    } else {
        "    checks: { default: { every: 1s, trap_after: 2s, timeout: 1s } }\n"
    };
    format!(
        "defaults:
  failover: {{ min_interval: 0s }}
  ssh: {{ user: {SSH_USER}, identity_file: /root/.ssh/id_ed25519 }}
  mysql: {{ port: 3306 }}
  interface: {INTERFACE}
  credentials:
    monitor: {{ user: mmm_monitor, password: {{ file: {PASSWORDS}/monitor.password }} }}
    agent: {{ user: mmm_agent, password: {{ file: {PASSWORDS}/agent.password }} }}
    replication: {{ user: mmm_repl, password: {{ file: {PASSWORDS}/replication.password }} }}
clusters:
  {CLUSTER}:
    writer_role: writer
    hosts:
{hosts}    roles:
      writer: {{ mode: exclusive, hosts: [db1, db2], addresses: [{WRITER_ADDRESS}] }}
      reader: {{ mode: balanced, hosts: [db1, db2, db3], addresses: [{}] }}
{checks}{recovery}    service: {{ manager: systemd, unit: mariadb.service }}
{keys}",
        READER_ADDRESSES.join(", ")
    )
}

/// The cluster of the second pair, to be put behind the lab's own.
pub fn second_cluster() -> String {
    format!(
        "  {SECOND_CLUSTER}:
    writer_role: writer
    hosts:
{}    roles:
      writer: {{ mode: exclusive, hosts: [db4, db5], addresses: [{SECOND_WRITER_ADDRESS}] }}
    checks:
      default: {{ every: 1s, trap_after: 2s, timeout: 1s }}
    recovery: {{ auto_set_online: 1s, flapping: {{ count: 0 }} }}
    service: {{ manager: systemd, unit: mariadb.service }}
",
        hosts(&SECOND_PAIR)
    )
}

/// The database hosts among these, a line each.
fn hosts(roster: &[Entry]) -> String {
    let mut lines = String::new();
    for entry in roster {
        let Purpose::Database { mode, .. } = entry.purpose else {
            continue;
        };
        let mode = match mode {
            Mode::Master { peer } => format!("mode: master, peer: {peer}"),
            Mode::Slave => "mode: slave".to_owned(),
        };
        lines.push_str(&format!(
            "      {}: {{ address: {}, {mode} }}\n",
            entry.name,
            entry.address()
        ));
    }
    lines
}
