//! One connection to a server. The driver's connections are not safe to use after an abandoned question: the next
//! one would get the old answer. So asking takes the connection, and only a complete answer gives it back.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, DriverError, Error, IoError, Opts, OptsBuilder, Value};
use secrecy::ExposeSecret;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::core::facts::Version;
use crate::core::reach::{Failure, Mishap, Stage};
use crate::sql::row::Row;

use super::Login;

/// Large enough for any answer to a probe; told to the driver so that it does not ask the server.
const MAX_PACKET_BYTES: usize = 16 << 20;

/// An open connection with nothing on its way.
pub(super) struct Conversation {
    conn: Conn,
    /// Whom it is with.
    pub(super) address: SocketAddr,
    /// Filled in by whoever asks for it first.
    pub(super) version: Option<Version>,
}

impl Conversation {
    /// Connects and logs in.
    pub(super) async fn open(address: SocketAddr, login: &Login, deadline: Instant) -> Result<Self, Failure> {
        let started = Instant::now();
        let connecting = Conn::new(options(address, login));
        tokio::pin!(connecting);
        let done = |result: Result<Conn, Error>| match result {
            Ok(conn) => Ok(Conversation {
                conn,
                address,
                version: None,
            }),
            Err(error) => Err(failed_to_open(address, login, &error)),
        };
        // The driver does not tell whether the port took the connection. Whoever is slow is asked that separately,
        // while waiting goes on; the usual quick answer is not bothered with a second connection.
        let patience = started + deadline.saturating_duration_since(started) / 2;
        if let Ok(result) = timeout_at(patience, &mut connecting).await {
            return done(result);
        }
        let knocking = TcpStream::connect(address);
        tokio::pin!(knocking);
        let mut knocked = None;
        loop {
            tokio::select! {
                biased;
                result = &mut connecting => return done(result),
                answer = &mut knocking, if knocked.is_none() => knocked = Some(answer),
                () = sleep_until(deadline) => break,
            }
        }
        Err(ran_out(address, knocked, started.elapsed()))
    }

    /// Asks one question. The connection comes back when the server gave its whole answer, be it an error.
    pub(super) async fn ask(
        mut self,
        sql: &str,
        deadline: Instant,
    ) -> (Option<Self>, Result<Vec<Row>, Failure>) {
        let started = Instant::now();
        let asked = timeout_at(deadline, rows_of(&mut self.conn, sql)).await;
        let fail = |mishap, why: String| {
            let text = format!("`{}` did not answer `{sql}`: {why}", self.address);
            Failure {
                stage: Stage::Asking,
                mishap,
                text,
            }
        };
        match asked {
            Err(_) => {
                let failure = fail(
                    Mishap::TimedOut,
                    format!("time ran out after {}", millis(started.elapsed())),
                );
                (None, Err(failure))
            }
            Ok(Ok(rows)) => (Some(self), Ok(rows)),
            Ok(Err(Error::Server(error))) => {
                let failure = fail(
                    Mishap::Server(error.code),
                    format!("error {}: {}", error.code, error.message),
                );
                // The server ends the session with these.
                let over = matches!(error.code, 1053 | 1927 | 3169 | 4031);
                ((!over).then_some(self), Err(failure))
            }
            Ok(Err(error)) => {
                let mishap = mishap_of(&error);
                let failure = fail(mishap, error.to_string());
                (None, Err(failure))
            }
        }
    }

    /// Says goodbye, so that the server need not notice by itself. What goes wrong now does not matter any more.
    pub(super) async fn hang_up(self, deadline: Instant) {
        if let Ok(Err(error)) = timeout_at(deadline, self.conn.disconnect()).await {
            tracing::debug!(address = %self.address, %error, "the connection was gone already");
        }
    }
}

impl fmt::Debug for Conversation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conversation")
            .field("address", &self.address)
            .field("version", &self.version)
            .finish()
    }
}

fn options(address: SocketAddr, login: &Login) -> Opts {
    OptsBuilder::default()
        .ip_or_hostname(address.ip().to_string())
        .tcp_port(address.port())
        // Told here so that the driver never resolves anything.
        .resolved_ips(Some(vec![address.ip()]))
        .user(Some(login.user.as_str()))
        .pass(Some(login.password.expose_secret()))
        // The driver would otherwise read the server's socket path and connect to that path on this box.
        .prefer_socket(false)
        .stmt_cache_size(0)
        .tcp_keepalive(Some(Duration::from_secs(10)))
        // Given, these two save a question at every connect.
        .max_allowed_packet(Some(MAX_PACKET_BYTES))
        .wait_timeout(Some(28_800))
        .into()
}

async fn rows_of(conn: &mut Conn, sql: &str) -> Result<Vec<Row>, Error> {
    let rows: Vec<mysql_async::Row> = conn.query(sql).await?;
    Ok(rows.into_iter().map(named).collect())
}

fn named(row: mysql_async::Row) -> Row {
    let columns = row.columns();
    let values = row.unwrap();
    Row(columns
        .iter()
        .zip(values)
        .map(|(column, value)| (column.name_str().into_owned(), text(value)))
        .collect())
}

/// The text protocol sends everything as text; the other forms are printed for completeness.
fn text(value: Value) -> Option<String> {
    match value {
        Value::NULL => None,
        Value::Bytes(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        Value::Int(number) => Some(number.to_string()),
        Value::UInt(number) => Some(number.to_string()),
        other => Some(other.as_sql(true)),
    }
}

fn failed_to_open(address: SocketAddr, login: &Login, error: &Error) -> Failure {
    let mishap = mishap_of(error);
    let stage = match mishap {
        Mishap::Refused | Mishap::Unreachable | Mishap::Ours | Mishap::TimedOut => Stage::Dialling,
        Mishap::Server(_) | Mishap::Lost | Mishap::Unintelligible => Stage::LoggingIn,
    };
    let text = match error {
        Error::Server(error) => {
            format!(
                "`{address}` does not let `{}` in: error {}: {}",
                login.user, error.code, error.message
            )
        }
        Error::Io(IoError::Io(error)) => format!("cannot connect to `{address}`: {error}"),
        error => format!("cannot connect to `{address}`: {error}"),
    };
    Failure { stage, mishap, text }
}

/// Time ran out while connecting; `knocked` is what a bare connection to the port met meanwhile.
fn ran_out(address: SocketAddr, knocked: Option<io::Result<TcpStream>>, waited: Duration) -> Failure {
    let waited = millis(waited);
    match knocked {
        Some(Ok(_)) => Failure {
            stage: Stage::LoggingIn,
            mishap: Mishap::TimedOut,
            text: format!("`{address}` takes the connection but its server says nothing within {waited}"),
        },
        Some(Err(error)) => Failure {
            stage: Stage::Dialling,
            mishap: mishap_of_io(&error),
            text: format!("cannot connect to `{address}`: {error}"),
        },
        None => Failure {
            stage: Stage::Dialling,
            mishap: Mishap::TimedOut,
            text: format!("nothing answers at `{address}` within {waited}"),
        },
    }
}

fn mishap_of(error: &Error) -> Mishap {
    match error {
        Error::Server(error) => Mishap::Server(error.code),
        Error::Io(IoError::Io(error)) => mishap_of_io(error),
        Error::Driver(DriverError::ConnectionClosed) => Mishap::Lost,
        Error::Io(_) | Error::Driver(_) | Error::Other(_) | Error::Url(_) => Mishap::Unintelligible,
    }
}

fn mishap_of_io(error: &io::Error) -> Mishap {
    use io::ErrorKind::{
        AddrNotAvailable, BrokenPipe, ConnectionAborted, ConnectionRefused, ConnectionReset, HostUnreachable,
        InvalidData, NetworkUnreachable, NotConnected, OutOfMemory, PermissionDenied, TimedOut,
        UnexpectedEof,
    };
    match error.kind() {
        ConnectionRefused => Mishap::Refused,
        HostUnreachable => Mishap::Unreachable,
        TimedOut => Mishap::TimedOut,
        ConnectionReset | ConnectionAborted | BrokenPipe | NotConnected | UnexpectedEof => Mishap::Lost,
        InvalidData => Mishap::Unintelligible,
        NetworkUnreachable | AddrNotAvailable | PermissionDenied | OutOfMemory => Mishap::Ours,
        // Descriptors or buffers used up, and whatever else the kernel of this box says about itself.
        _ => Mishap::Ours,
    }
}

fn millis(span: Duration) -> String {
    format!("{} ms", span.as_millis())
}
