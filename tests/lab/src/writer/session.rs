//! One connection of a writer, and what became of one row sent through it.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, OptsBuilder};
use tokio::time::timeout;

use super::Target;

/// What is known of a row after it was sent.
pub(super) enum Outcome {
    Acknowledged,
    /// The server answered with this error and wrote nothing.
    Refused(u16),
    /// No answer, or one that says nothing about the row.
    Unknown(u16),
}

/// A connection and the server at its other end, which cannot change while it lives.
pub(super) struct Session {
    connection: Conn,
    pub(super) server: u32,
}

impl Session {
    /// Connects; the error is the server's code or 0.
    pub(super) async fn open(target: &Target) -> Result<Session, u16> {
        let options = target
            .login
            .options()
            .ip_or_hostname(target.address.ip().to_string())
            .tcp_port(target.address.port());
        match timeout(target.connect_within, Session::greet(options)).await {
            Ok(Ok(session)) => Ok(session),
            Ok(Err(error)) => Err(code_of(&error)),
            Err(_late) => Err(0),
        }
    }

    /// Connects without a deadline and asks who answers.
    pub(super) async fn greet(options: OptsBuilder) -> Result<Session, Error> {
        let mut connection = Conn::new(options).await?;
        let server: Option<u32> = connection.query_first("SELECT @@server_id").await?;
        Ok(Session {
            connection,
            server: server.unwrap_or(0),
        })
    }

    /// Sends one row. The session comes back only when its connection is known to be in order: after a timeout
    /// the next query on it would be given this one's answer.
    pub(super) async fn insert(
        mut self,
        target: &Target,
        writer: &str,
        id: u64,
    ) -> (Outcome, Option<Session>) {
        let (table, server) = (&target.table, self.server);
        let statement =
            format!("INSERT INTO {table} (id, writer, server_id) VALUES ({id}, '{writer}', {server})");
        match timeout(target.write_within, self.connection.query_drop(statement)).await {
            Ok(Ok(())) => (Outcome::Acknowledged, Some(self)),
            Ok(Err(Error::Server(error))) if !ENDS_A_SESSION.contains(&error.code) => {
                (Outcome::Refused(error.code), Some(self))
            }
            Ok(Err(error)) => (Outcome::Unknown(code_of(&error)), None),
            Err(_late) => (Outcome::Unknown(0), None),
        }
    }
}

/// Shutdown in progress, query interrupted, connection killed (MariaDB's word, MySQL's), disconnected: the session is over or may be, and the server
/// may give these after the row was committed.
const ENDS_A_SESSION: [u16; 5] = [1053, 1317, 1927, 3169, 4031];

fn code_of(error: &Error) -> u16 {
    match error {
        Error::Server(error) => error.code,
        _ => 0,
    }
}
