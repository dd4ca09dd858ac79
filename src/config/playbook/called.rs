//! The duties that the program performs by name, outside of any operation.

use super::grammar::DutyFile;
use super::page::Page;
use crate::core::playbook::Duty;

/// Looked with, so each must declare that it changes nothing.
pub const LOOKS: [&str; 14] = [
    "account-rights",
    "decode-surplus",
    "facts",
    "fallen-silent",
    "preflight",
    "root-paths",
    "server-answers",
    "server-process",
    "server-signs",
    "sudo-rights",
    "unit-job",
    "unit-signs",
    "unit-state",
    "witness",
];

/// Every duty that is performed by name.
pub const BY_THE_PROGRAM: [&str; 31] = [
    "account-rights",
    "add-address",
    "announce",
    "close-server",
    "decode-surplus",
    "demote-server",
    "drop-address",
    "facts",
    "fallen-silent",
    "follow",
    "follow-demoted",
    "keep-stopped",
    "preflight",
    "probe-duplicate",
    "remove-address",
    "root-paths",
    "server-answers",
    "server-is-gone",
    "server-process",
    "server-signs",
    "settle-shell",
    "settle-sql",
    "start-demoted",
    "start-replication",
    "stop-replication",
    "sudo-rights",
    "unit-job",
    "unit-signs",
    "unit-state",
    "witness",
    // Named by an inventory, and shipped for that.
    "fence-ipmi",
];

/// A duty that is looked with must promise to change nothing, or nobody could look at a host without touching it.
pub fn check_look(page: &mut Page<'_>, file: &DutyFile, duty: &Duty) {
    if LOOKS.contains(&duty.name.as_str()) && !duty.only_asks {
        page.error(
            &file.duty,
            format!("duty `{}` does not say `changes: nothing`", duty.name),
            "hosts are looked at with it, also where nothing may be touched",
            "write `changes: nothing` instead of `undo`, and let it only look",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_only_looked_with_says_so() {
        let playbook = crate::config::playbook::load(None).unwrap();
        for name in LOOKS {
            assert!(playbook.duties[name].only_asks, "{name}");
            assert!(BY_THE_PROGRAM.contains(&name), "{name}");
        }
    }
}
