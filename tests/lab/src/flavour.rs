//! Which database servers a lab runs, and how its replicas find their place in their source's log.

use std::fmt;
use std::str::FromStr;

use anyhow::{Result, bail};

use crate::roster::{Entry, Mode, Purpose};

/// A database server that hosts of a lab can run. Where each comes from is the business of `stock`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Server {
    /// The machine's own package.
    Mariadb10_11,
    Mariadb11_8,
    Mysql5_6,
    Mysql9_7,
}

impl Server {
    pub const ALL: [Server; 4] = [
        Server::Mariadb10_11,
        Server::Mariadb11_8,
        Server::Mysql5_6,
        Server::Mysql9_7,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Server::Mariadb10_11 => "mariadb-10.11",
            Server::Mariadb11_8 => "mariadb-11.8",
            Server::Mysql5_6 => "mysql-5.6",
            Server::Mysql9_7 => "mysql-9.7",
        }
    }

    /// What its version begins with.
    pub fn version(self) -> &'static str {
        self.name().split_once('-').map_or("", |(_, version)| version)
    }

    pub fn is_mysql(self) -> bool {
        matches!(self, Server::Mysql5_6 | Server::Mysql9_7)
    }

    /// The name of its process.
    pub fn process(self) -> &'static str {
        if self.is_mysql() { "mysqld" } else { "mariadbd" }
    }

    /// The unit that runs it, as its distribution calls it.
    pub fn unit(self) -> &'static str {
        if self.is_mysql() {
            "mysql.service"
        } else {
            "mariadb.service"
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How replicas find their place in their source's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Places {
    #[default]
    Gtid,
    /// By file and position; MySQL then runs without GTIDs.
    Files,
}

/// What the database hosts of a lab run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flavour {
    pub masters: Server,
    pub slaves: Server,
    pub places: Places,
}

/// What a flavour's name ends with when replicas go by file and position.
const BY_POSITION: &str = "-by-position";
/// The masters an older MariaDB than the slave, as in the middle of an upgrade.
const MIXED: &str = "mixed";

impl Default for Flavour {
    fn default() -> Self {
        Self::of(Server::Mariadb10_11)
    }
}

impl Flavour {
    /// The same server everywhere, by GTID.
    pub fn of(server: Server) -> Self {
        Self {
            masters: server,
            slaves: server,
            places: Places::Gtid,
        }
    }

    /// The same servers by file and position.
    pub fn by_position(self) -> Self {
        Self {
            places: Places::Files,
            ..self
        }
    }

    /// MariaDB 10.11 as masters, 11.8 as slave.
    pub fn mixed() -> Self {
        Self {
            slaves: Server::Mariadb11_8,
            ..Self::default()
        }
    }

    /// The server that a host runs.
    pub fn server(self, entry: &Entry) -> Server {
        match entry.purpose {
            Purpose::Database {
                mode: Mode::Slave, ..
            } => self.slaves,
            _ => self.masters,
        }
    }

    /// Every server that some host runs.
    pub fn servers(self) -> Vec<Server> {
        let mut servers = vec![self.masters, self.slaves];
        servers.dedup();
        servers
    }
}

impl fmt::Display for Flavour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if self.masters == self.slaves {
            self.masters.name()
        } else {
            MIXED
        };
        let ending = match self.places {
            Places::Gtid => "",
            Places::Files => BY_POSITION,
        };
        write!(f, "{name}{ending}")
    }
}

impl FromStr for Flavour {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (name, places) = match text.strip_suffix(BY_POSITION) {
            Some(name) => (name, Places::Files),
            None => (text, Places::Gtid),
        };
        let servers = match Server::ALL.into_iter().find(|server| server.name() == name) {
            Some(server) => Self::of(server),
            None if name == MIXED => Self::mixed(),
            None => {
                let names = Server::ALL.map(Server::name).join("`, `");
                bail!(
                    "`{text}` is no flavour: there are `{names}` and `{MIXED}`, each also with `{BY_POSITION}` behind it"
                );
            }
        };
        Ok(Self { places, ..servers })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roster::find;

    #[test]
    fn flavours_are_read_as_they_are_written() {
        for text in [
            "mariadb-10.11",
            "mysql-9.7-by-position",
            "mixed",
            "mixed-by-position",
        ] {
            assert_eq!(text.parse::<Flavour>().unwrap().to_string(), text);
        }
        let error = "mysql-8.0".parse::<Flavour>().unwrap_err().to_string();
        assert!(error.contains("`mysql-5.6`"), "{error}");
    }

    #[test]
    fn in_a_mixed_lab_only_the_slave_is_newer() {
        let server = |name| Flavour::mixed().server(find(name).unwrap());
        assert_eq!(
            [server("db1"), server("db2"), server("db3")],
            [Server::Mariadb10_11, Server::Mariadb10_11, Server::Mariadb11_8]
        );
    }
}
