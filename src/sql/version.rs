//! Which server answers, and how it wants to be asked. A version newer than any known is taken for the newest known.

use crate::core::facts::{Flavour, Version};

use super::row::Misread;

/// The statement whose answer [`parse`] reads.
pub const ASK: &str = "SELECT @@version AS version, @@version_comment AS comment";

/// From `@@version` and `@@version_comment`.
///
/// # Errors
/// The version does not start with a number.
pub fn parse(version: &str, comment: &str) -> Result<Version, Misread> {
    let says_mariadb = |text: &str| text.to_ascii_lowercase().contains("mariadb");
    let flavour = if says_mariadb(version) || says_mariadb(comment) {
        Flavour::Mariadb
    } else {
        Flavour::Mysql
    };
    // MariaDB 10 used to put this in front so that old replicas would read its version as 5.5.
    let plain = match flavour {
        Flavour::Mariadb => version.strip_prefix("5.5.5-").unwrap_or(version),
        Flavour::Mysql => version,
    };
    let digits = plain
        .split(|letter: char| !letter.is_ascii_digit() && letter != '.')
        .next()
        .unwrap_or_default();
    let mut numbers = digits.split('.').map(str::parse::<u16>);
    let unreadable = || {
        Misread::new(
            &["version"],
            format!("`{version}` does not start with a version number"),
        )
    };
    let major = numbers.next().and_then(Result::ok).ok_or_else(unreadable)?;
    let mut next = || numbers.next().and_then(Result::ok).unwrap_or(0);
    Ok(Version {
        flavour,
        numbers: (major, next(), next()),
    })
}

/// How to ask for every replication channel.
pub fn replica_status(version: Version) -> &'static str {
    match version.flavour {
        Flavour::Mariadb => "SHOW ALL SLAVES STATUS",
        Flavour::Mysql if version.numbers >= (8, 0, 22) => "SHOW REPLICA STATUS",
        Flavour::Mysql => "SHOW SLAVE STATUS",
    }
}

/// How to ask for the end of the binary log.
pub fn binlog_status(version: Version) -> &'static str {
    match version.flavour {
        Flavour::Mysql if version.numbers >= (8, 2, 0) => "SHOW BINARY LOG STATUS",
        Flavour::Mysql | Flavour::Mariadb => "SHOW MASTER STATUS",
    }
}

/// How to ask for GTIDs; `None` where there are none. Not read from `SHOW VARIABLES`, which cuts long values.
pub fn gtids(version: Version) -> Option<&'static str> {
    match version.flavour {
        Flavour::Mariadb if version.numbers >= (10, 0, 0) => Some(
            "SELECT @@global.gtid_binlog_pos AS binlog_pos, @@global.gtid_slave_pos AS slave_pos, \
             @@global.gtid_current_pos AS current_pos, @@global.gtid_binlog_state AS binlog_state, \
             @@global.gtid_domain_id AS domain_id, @@global.gtid_strict_mode AS strict_mode",
        ),
        Flavour::Mysql if version.numbers >= (5, 6, 5) => Some(
            "SELECT @@global.gtid_mode AS mode, @@global.gtid_executed AS executed, @@global.gtid_purged AS purged",
        ),
        Flavour::Mariadb | Flavour::Mysql => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Flavour::{Mariadb, Mysql};

    #[test]
    fn versions_as_servers_print_them() {
        for (version, comment, flavour, numbers) in [
            (
                "10.11.19-MariaDB-0+deb12u1-log",
                "Debian 12",
                Mariadb,
                (10, 11, 19),
            ),
            ("5.5.5-10.1.48-MariaDB", "", Mariadb, (10, 1, 48)),
            (
                "10.6.18-14-MariaDB-enterprise",
                "MariaDB Enterprise Server",
                Mariadb,
                (10, 6, 18),
            ),
            ("11.8.2", "mariadb.org binary distribution", Mariadb, (11, 8, 2)),
            ("5.6.24", "MySQL Community Server (GPL)", Mysql, (5, 6, 24)),
            ("5.7.44-log", "MySQL Community Server (GPL)", Mysql, (5, 7, 44)),
            ("8.0.36-28", "Percona Server (GPL), Release 28", Mysql, (8, 0, 36)),
            ("8.4.0", "", Mysql, (8, 4, 0)),
            ("26.10.0", "MySQL Community Server - GPL", Mysql, (26, 10, 0)),
            ("9.7", "", Mysql, (9, 7, 0)),
        ] {
            assert_eq!(
                parse(version, comment).unwrap(),
                Version { flavour, numbers },
                "{version}"
            );
        }
        assert!(parse("unknown", "").is_err());
    }

    #[test]
    fn statements_follow_the_version() {
        let mysql = |numbers| Version {
            flavour: Mysql,
            numbers,
        };
        let mariadb = Version {
            flavour: Mariadb,
            numbers: (10, 11, 19),
        };
        assert_eq!(replica_status(mysql((5, 6, 24))), "SHOW SLAVE STATUS");
        assert_eq!(replica_status(mysql((8, 0, 21))), "SHOW SLAVE STATUS");
        assert_eq!(replica_status(mysql((8, 0, 22))), "SHOW REPLICA STATUS");
        assert_eq!(replica_status(mysql((26, 10, 0))), "SHOW REPLICA STATUS");
        assert_eq!(replica_status(mariadb), "SHOW ALL SLAVES STATUS");
        assert_eq!(binlog_status(mysql((8, 1, 0))), "SHOW MASTER STATUS");
        assert_eq!(binlog_status(mysql((8, 2, 0))), "SHOW BINARY LOG STATUS");
        assert_eq!(binlog_status(mariadb), "SHOW MASTER STATUS");
        assert_eq!(gtids(mysql((5, 5, 62))), None);
        assert!(gtids(mysql((8, 4, 0))).is_some_and(|sql| sql.contains("gtid_executed")));
        assert!(gtids(mariadb).is_some_and(|sql| sql.contains("gtid_binlog_state")));
    }
}
