//! The one list of what the hosts' SSH user may do as root, as on hosts that an administrator has prepared for mmm.

use crate::host::PATH;

/// The ordinary user over whom every duty on a host runs.
pub const SSH_USER: &str = "mmm";

/// Commands that need no password, in the words of sudoers.
const COMMANDS: [&str; 9] = [
    "/usr/sbin/ip address *",
    "/sbin/ip address *",
    "/usr/bin/ip address *",
    "/bin/ip address *",
    "/usr/bin/arping *",
    "/usr/sbin/arping *",
    "/usr/bin/ndisc6 *",
    "/usr/sbin/sysctl -q -w net/ipv6/conf/*",
    "/sbin/sysctl -q -w net/ipv6/conf/*",
];

/// What may be done with the unit of the database server.
const VERBS: [&str; 6] = [
    "start",
    "stop",
    "mask --runtime",
    "mask --runtime --now",
    "unmask --runtime",
    "kill --signal=KILL",
];

/// The whole `/etc/sudoers` of a host whose database server runs in this unit.
pub fn sudoers(unit: &str) -> String {
    let mut text =
        format!("Defaults env_reset, !lecture, !syslog, secure_path=\"{PATH}\"\nroot ALL=(ALL:ALL) ALL\n");
    let verbs = VERBS.map(|verb| format!("/usr/bin/systemctl {verb} {unit}"));
    for command in COMMANDS.into_iter().map(str::to_owned).chain(verbs) {
        text.push_str(&format!("{SSH_USER} ALL=(root) NOPASSWD: {command}\n"));
    }
    text
}
