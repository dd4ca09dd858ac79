//! The one list of what the hosts' SSH user may do as root, as on hosts that an administrator has prepared for mmm.

use crate::host::PATH;

/// The ordinary user over whom every duty on a host runs.
pub const SSH_USER: &str = "mmm";

/// Commands that need no password, in the words of sudoers.
pub const COMMANDS: [&str; 15] = [
    "/usr/sbin/ip address *",
    "/sbin/ip address *",
    "/usr/bin/ip address *",
    "/bin/ip address *",
    "/usr/bin/arping *",
    "/usr/sbin/arping *",
    "/usr/bin/ndisc6 *",
    "/usr/sbin/sysctl -q -w net/ipv6/conf/*",
    "/sbin/sysctl -q -w net/ipv6/conf/*",
    "/usr/bin/systemctl start mariadb.service",
    "/usr/bin/systemctl stop mariadb.service",
    "/usr/bin/systemctl mask --runtime mariadb.service",
    "/usr/bin/systemctl mask --runtime --now mariadb.service",
    "/usr/bin/systemctl unmask --runtime mariadb.service",
    "/usr/bin/systemctl kill --signal=KILL mariadb.service",
];

/// The whole `/etc/sudoers` of a host.
pub fn sudoers() -> String {
    let mut text =
        format!("Defaults env_reset, !lecture, !syslog, secure_path=\"{PATH}\"\nroot ALL=(ALL:ALL) ALL\n");
    for command in COMMANDS {
        text.push_str(&format!("{SSH_USER} ALL=(root) NOPASSWD: {command}\n"));
    }
    text
}
