//! Asking the database servers of a lab: as root through the host's own socket, so it works without the network.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::accounts;
use crate::command::run;
use crate::flavour::{Places, Server};
use crate::host::Host;
use crate::process::state_of;
use crate::roster::{Purpose, find};
use crate::seed::password;

const SQL_LIMIT: Duration = Duration::from_secs(60);

/// A result with the names of its columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    pub columns: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// A value of the first row by the name of its column.
    pub fn first(&self, column: &str) -> Option<&str> {
        let index = self.columns.iter().position(|name| name == column)?;
        Some(self.rows.first()?.get(index)?.as_str())
    }
}

/// How a server replicates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replication {
    /// The source's address.
    pub source: String,
    pub io_running: String,
    pub sql_running: String,
    pub seconds_behind: Option<u64>,
    pub last_error: String,
}

impl Replication {
    pub fn is_running(&self) -> bool {
        self.io_running == "Yes" && self.sql_running == "Yes"
    }
}

impl Host {
    /// Runs statements as the server's root and gives the rows; NULL is the word `NULL`.
    pub fn sql(&self, statements: &str) -> Result<Vec<Vec<String>>> {
        Ok(self.query(statements, SQL_LIMIT)?.rows)
    }

    /// Like [`Host::sql`], with the names of the columns. Of several results only the first is named.
    pub fn table(&self, statement: &str) -> Result<Table> {
        self.query(statement, SQL_LIMIT)
    }

    /// The one value of a result.
    pub fn value(&self, statement: &str) -> Result<String> {
        let rows = self.sql(statement)?;
        let first = rows.first().and_then(|row| row.first());
        first
            .cloned()
            .with_context(|| format!("`{statement}` gave no value on `{}`", self.name()))
    }

    fn query(&self, statements: &str, limit: Duration) -> Result<Table> {
        let socket = self.path("/run/mysqld/mysqld.sock")?;
        // A server that stands still takes the connection and never says a word.
        if self.is_frozen() || self.database_pid()?.and_then(state_of) == Some('T') {
            bail!("the database server of `{}` stands still", self.name());
        }
        let mut client = Command::new("mariadb");
        client.args([
            "--no-defaults",
            "--batch",
            "--user=root",
            "--default-character-set=utf8mb4",
        ]);
        client
            .arg(format!("--socket={}", socket.display()))
            .env_remove("MYSQL_PWD");
        let output = run(&mut client, Some(statements.as_bytes()), limit)?.ok();
        let text = output
            .with_context(|| format!("SQL on `{}`", self.name()))?
            .stdout;
        let mut lines = text
            .lines()
            .map(|line| line.split('\t').map(unescape).collect::<Vec<_>>());
        Ok(Table {
            columns: lines.next().unwrap_or_default(),
            rows: lines.collect(),
        })
    }

    /// How the server replicates; `None` when it has no source.
    pub fn replication(&self) -> Result<Option<Replication>> {
        let (question, old) = match self.server() {
            Server::Mysql9_7 => ("SHOW REPLICA STATUS", false),
            _ => ("SHOW SLAVE STATUS", true),
        };
        let status = self.table(question)?;
        // By the names of today; the older servers have the older ones.
        let first = |column: &str| {
            if old {
                status.first(&column.replace("Source", "Master").replace("Replica", "Slave"))
            } else {
                status.first(column)
            }
        };
        let Some(source) = first("Source_Host") else {
            return Ok(None);
        };
        let get = |column: &str| first(column).unwrap_or_default().to_owned();
        let error = if get("Last_SQL_Error").is_empty() {
            get("Last_IO_Error")
        } else {
            get("Last_SQL_Error")
        };
        Ok(Some(Replication {
            source: source.to_owned(),
            io_running: get("Replica_IO_Running"),
            sql_running: get("Replica_SQL_Running"),
            seconds_behind: get("Seconds_Behind_Source").parse().ok(),
            last_error: error,
        }))
    }

    /// Whether the server takes writes: it runs and `read_only` is off.
    pub fn is_writable(&self) -> Result<bool> {
        Ok(self.value("SELECT @@global.read_only")? == "0")
    }

    /// The checksum of a table, for example `app.writes`.
    pub fn checksum(&self, table: &str) -> Result<String> {
        let rows = self.sql(&format!("CHECKSUM TABLE {table}"))?;
        match rows.first().map(Vec::as_slice) {
            Some([_, sum]) if sum != "NULL" => Ok(sum.clone()),
            _ => bail!("there is no table `{table}` on `{}`", self.name()),
        }
    }

    /// Makes the accounts of the lab on this server.
    pub(crate) fn make_accounts(&self) -> Result<()> {
        let statements = accounts::statements(self.server(), |account| password(&self.place, account))?;
        self.sql(&statements).map(drop)
    }

    /// Lets this server replicate from the host that the roster says.
    pub(crate) fn follow_roster(&self) -> Result<()> {
        let Purpose::Database { source, .. } = self.entry.purpose else {
            bail!("`{}` is no database host", self.name());
        };
        let source = find(source).context("the roster names a host that is not in it")?;
        let password = password(&self.place, "replication")?;
        let flavour = self.place.flavour()?;
        let sql = follow(
            self.server(),
            flavour.server(source),
            flavour.places,
            &source.address(),
            &password,
        );
        self.sql(&sql).map(drop)
    }
}

/// The statements that let a fresh server replicate from another fresh one: from the beginning of everything.
fn follow(server: Server, source: Server, places: Places, host: &str, password: &str) -> String {
    let place = match (server.is_mysql(), places) {
        (true, Places::Gtid) => "MASTER_AUTO_POSITION=1",
        (true, Places::Files) => "MASTER_AUTO_POSITION=0",
        (false, Places::Gtid) => "MASTER_USE_GTID=slave_pos",
        (false, Places::Files) => "MASTER_USE_GTID=no",
    };
    let text = format!(
        "CHANGE MASTER TO MASTER_HOST='{host}', MASTER_PORT=3306, MASTER_USER='mmm_repl', MASTER_PASSWORD='{password}', \
         {place}, MASTER_CONNECT_RETRY=1, MASTER_HEARTBEAT_PERIOD=1"
    );
    match server {
        Server::Mysql9_7 => format!(
            "{}, GET_SOURCE_PUBLIC_KEY=1;\nSTART REPLICA;",
            text.replace("CHANGE MASTER TO", "CHANGE REPLICATION SOURCE TO")
                .replace("MASTER_", "SOURCE_")
        ),
        // It wants TLS unless told otherwise; the older one has no certificate of its own making.
        Server::Mariadb11_8 if source == Server::Mariadb10_11 => {
            format!("{text}, MASTER_SSL=0;\nSTART SLAVE;")
        }
        _ => format!("{text};\nSTART SLAVE;"),
    }
}

/// Undoes what the client's batch mode does to values.
fn unescape(value: &str) -> String {
    let mut plain = String::with_capacity(value.len());
    let mut letters = value.chars();
    while let Some(letter) = letters.next() {
        match (letter == '\\').then(|| letters.next()).flatten() {
            Some('n') => plain.push('\n'),
            Some('t') => plain.push('\t'),
            Some('0') => plain.push('\0'),
            Some(other) => plain.push(other),
            None => plain.push(letter),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_as_they_were() {
        assert_eq!(unescape(r"a\tb\nc\\d"), "a\tb\nc\\d");
        assert_eq!(unescape("plain"), "plain");
    }
}
