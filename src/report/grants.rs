//! The statements that make `mmm`'s accounts, as `mmm grants` prints them. `mmm` itself never sends them.

use crate::core::facts::Version;
use crate::core::preflight::{AccountKind, for_the_read_lock, needs};

/// The three accounts, in the order in which they are explained.
const KINDS: [AccountKind; 3] = [AccountKind::Monitor, AccountKind::Agent, AccountKind::Replication];

/// Statements for a server of that version. `user` gives each account's name; with `read_lock` a switchover takes the read
/// lock. Passwords are left to whoever runs them.
pub fn text(version: Version, read_lock: bool, user: impl Fn(AccountKind) -> String) -> String {
    // Each server gets its accounts by itself, so they must not come from another one as well.
    let mut text = "SET SESSION sql_log_bin = 0;\n".to_owned();
    for kind in KINDS {
        let account = format!("'{}'@'%'", user(kind).replace('\\', "\\\\").replace('\'', "''"));
        let mut privileges: Vec<&str> = Vec::new();
        for need in needs(kind, version) {
            let least = need.any_of.first().copied().unwrap_or_default();
            if !privileges.contains(&least) {
                privileges.push(least);
            }
        }
        if kind == AccountKind::Agent && read_lock {
            privileges.extend(for_the_read_lock().any_of.first());
        }
        text.push_str(&format!(
            "CREATE USER {account} IDENTIFIED BY '<password of {kind}>';\nGRANT {} ON *.* TO {account};\n",
            privileges.join(", ")
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::facts::Flavour;
    use crate::core::golden;

    /// The lab makes its accounts with exactly these files.
    #[test]
    fn each_family_has_its_own() {
        for (name, flavour, numbers) in [
            ("mariadb-10.4", Flavour::Mariadb, (10, 4, 0)),
            ("mariadb-10.11", Flavour::Mariadb, (10, 11, 0)),
            ("mariadb-11.8", Flavour::Mariadb, (11, 8, 0)),
            ("mysql-5.6", Flavour::Mysql, (5, 6, 24)),
            ("mysql-8.0", Flavour::Mysql, (8, 0, 40)),
            ("mysql-9.7", Flavour::Mysql, (9, 7, 4)),
        ] {
            let user = |kind| match kind {
                AccountKind::Monitor => "mmm_monitor".to_owned(),
                AccountKind::Agent => "mmm_agent".to_owned(),
                AccountKind::Replication => "mmm_repl".to_owned(),
            };
            let version = Version { flavour, numbers };
            let with_lock = text(version, true, user);
            golden::check(&format!("tests/golden/grants/{name}.sql"), &with_lock);
            let without = text(version, false, user);
            assert_eq!(without, with_lock.replace(", RELOAD ON", " ON"));
        }
    }

    #[test]
    fn a_name_cannot_end_its_quotes() {
        let version = Version {
            flavour: Flavour::Mysql,
            numbers: (5, 6, 24),
        };
        assert!(text(version, true, |_| "o'h\\".to_owned()).contains("'o''h\\\\'@'%'"));
    }
}
