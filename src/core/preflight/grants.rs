//! Which privileges each account needs on which server.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::core::facts::{Flavour, Version};

use super::{Asked, Finding, Name, Severity, Subject, not_asked};

/// The three accounts on a database server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccountKind {
    /// Watches.
    Monitor,
    /// Changes the server during duties.
    Agent,
    /// Replicates.
    Replication,
}

impl fmt::Display for AccountKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            AccountKind::Monitor => "monitor",
            AccountKind::Agent => "agent",
            AccountKind::Replication => "replication",
        })
    }
}

/// A privilege that an account needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    /// Any one of these is enough; the first is the least, and the one to grant.
    pub any_of: &'static [&'static str],
    /// What cannot be done without it.
    pub to: &'static str,
    /// What its absence means.
    pub severity: Severity,
}

const fn must(any_of: &'static [&'static str], to: &'static str) -> Need {
    Need {
        any_of,
        to,
        severity: Severity::Error,
    }
}

const fn should(any_of: &'static [&'static str], to: &'static str) -> Need {
    Need {
        any_of,
        to,
        severity: Severity::Warning,
    }
}

const SEE_REPLICATION: &str = "see replication";
const SEE_LOG: &str = "see the end of the binary log";
const READ_LOG: &str = "compare a replaced writer where replication runs without GTIDs";
const SEE_SESSIONS: &str = "see other sessions";
const SET_READ_ONLY: &str = "set `read_only`";
const REPOINT: &str = "stop, repoint and start replication";
const KILL: &str = "end other sessions";
const SEMI_SYNC: &str = "move the source's side of semi-synchronous replication";
const LOCK: &str = "take the read lock of `switchover.read_lock`";
const EVENTS: &str = "turn events off and on";

/// What an account needs on a server of that version.
pub fn needs(account: AccountKind, version: Version) -> Vec<Need> {
    let fine = version.is_since(Flavour::Mariadb, (10, 5, 2));
    // From MariaDB 11.0.1 on `SUPER` no longer stands for the privileges that were taken out of it (MDEV-29668).
    let is_super_bare = version.is_since(Flavour::Mariadb, (11, 0, 1));
    let with_super = |names: &'static [&'static str]| match names {
        [others @ .., "SUPER"] if is_super_bare => others,
        names => names,
    };
    match account {
        AccountKind::Replication => {
            vec![must(&["REPLICATION SLAVE", "REPLICATION REPLICA"], "replicate")]
        }
        AccountKind::Monitor if fine => vec![
            must(
                with_super(&["SLAVE MONITOR", "REPLICA MONITOR", "SUPER"]),
                SEE_REPLICATION,
            ),
            should(
                with_super(&["BINLOG MONITOR", "REPLICATION CLIENT", "SUPER"]),
                SEE_LOG,
            ),
        ],
        AccountKind::Monitor if version.flavour == Flavour::Mysql => vec![
            must(&["REPLICATION CLIENT", "SUPER"], SEE_REPLICATION),
            should(&["REPLICATION SLAVE", "REPLICATION REPLICA"], READ_LOG),
        ],
        AccountKind::Monitor => vec![must(&["REPLICATION CLIENT", "SUPER"], SEE_REPLICATION)],
        AccountKind::Agent if fine => {
            let read_only: &[&str] = if version.numbers >= (10, 11, 0) {
                &["READ_ONLY ADMIN", "READ ONLY ADMIN"]
            } else {
                &["READ_ONLY ADMIN", "READ ONLY ADMIN", "SUPER"]
            };
            vec![
                must(read_only, SET_READ_ONLY),
                must(
                    with_super(&["REPLICATION SLAVE ADMIN", "REPLICATION REPLICA ADMIN", "SUPER"]),
                    REPOINT,
                ),
                must(
                    with_super(&["SLAVE MONITOR", "REPLICA MONITOR", "SUPER"]),
                    SEE_REPLICATION,
                ),
                must(
                    with_super(&["BINLOG MONITOR", "REPLICATION CLIENT", "SUPER"]),
                    SEE_LOG,
                ),
                must(with_super(&["CONNECTION ADMIN", "SUPER"]), KILL),
                must(&["PROCESS"], SEE_SESSIONS),
                must(with_super(&["REPLICATION MASTER ADMIN", "SUPER"]), SEMI_SYNC),
                should(&["SUPER"], EVENTS),
            ]
        }
        AccountKind::Agent if version.is_since(Flavour::Mysql, (8, 0, 0)) => vec![
            must(&["SYSTEM_VARIABLES_ADMIN", "SUPER"], SET_READ_ONLY),
            must(&["REPLICATION_SLAVE_ADMIN", "SUPER"], REPOINT),
            must(&["REPLICATION CLIENT", "SUPER"], SEE_REPLICATION),
            must(&["CONNECTION_ADMIN", "SUPER"], KILL),
            must(&["PROCESS"], SEE_SESSIONS),
            should(&["XA_RECOVER_ADMIN"], "see prepared XA transactions"),
            should(&["SYSTEM_USER"], "end sessions of system accounts"),
        ],
        AccountKind::Agent => vec![
            must(
                &["SUPER"],
                "set `read_only`, repoint replication and end other sessions",
            ),
            must(&["REPLICATION CLIENT", "SUPER"], SEE_REPLICATION),
            must(&["PROCESS"], SEE_SESSIONS),
        ],
    }
}

/// What the agent's account needs besides where a switchover takes the read lock.
pub fn for_the_read_lock() -> Need {
    must(&["RELOAD"], LOCK)
}

pub(super) fn check(subject: &Subject, findings: &mut Vec<Finding>) {
    let Some(version) = subject
        .facts()
        .map(|facts| facts.version)
        .or(subject.seen.version)
    else {
        return;
    };
    for (account, grants) in &subject.seen.grants {
        let held = match grants {
            Asked::Told(held) => held,
            Asked::NotTold(why) => {
                let what = format!("the privileges of the {account} account");
                findings.push(not_asked(&subject.host.name, &what, why));
                continue;
            }
        };
        let has = |need: &Need| {
            held.iter()
                .any(|have| need.any_of.iter().any(|one| one.eq_ignore_ascii_case(have)))
        };
        let mut wanted = needs(*account, version);
        if *account == AccountKind::Agent && subject.read_lock {
            wanted.push(for_the_read_lock());
        }
        // Where nobody waits for anybody, that is not moved.
        let uses_semi_sync = subject
            .facts()
            .and_then(|facts| facts.semi_sync)
            .is_some_and(|sides| sides.source_enabled || sides.replica_enabled);
        wanted.retain(|need| need.to != SEMI_SYNC || uses_semi_sync);
        for need in wanted.iter().filter(|need| !has(need)) {
            let least = need.any_of.first().copied().unwrap_or_default();
            findings.push(subject.finding(
                Name::PrivilegeMissing,
                need.severity,
                format!("the {account} account lacks the privilege `{least}`"),
                &format!("without it the account cannot {}", need.to),
                format!("`GRANT {least} ON *.* TO` that account"),
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::facts::{Reach, SemiSync};
    use crate::core::preflight::tests::found;

    #[test]
    fn from_mariadb_11_on_super_stands_for_nothing_else_and_semi_sync_needs_a_right_of_its_own() {
        let held = |names: &[&str]| Asked::Told(names.iter().map(|name| (*name).to_owned()).collect());
        let agent = ["READ_ONLY ADMIN", "PROCESS", "SUPER"];
        let missing = |numbers: (u16, u16, u16), waits: bool| {
            let told = found(|all| {
                for one in all.iter_mut() {
                    one.grants[1].1 = held(&agent);
                    let facts = match &mut one.facts {
                        Reach::Up(facts) => facts,
                        other => panic!("{other:?}"),
                    };
                    facts.version.numbers = numbers;
                    facts.semi_sync = waits.then_some(SemiSync {
                        source_enabled: true,
                        source_active: true,
                        replica_enabled: true,
                        replica_active: true,
                        replicas: 1,
                    });
                }
            });
            let lacks = told
                .iter()
                .filter(|(name, host)| *name == Name::PrivilegeMissing && host == "db1");
            lacks.count()
        };
        assert_eq!(missing((10, 11, 19), true), 0, "there SUPER is enough");
        // To repoint, to see replication and the log, to end sessions; and where commits wait, to switch that.
        assert_eq!(missing((11, 8, 9), false), 4);
        assert_eq!(missing((11, 8, 9), true), 5);
    }
}
