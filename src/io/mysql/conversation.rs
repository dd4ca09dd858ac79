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
        match or_knock(address, Conn::new(options(address, login)), deadline).await {
            Ok(Ok(conn)) => Ok(Conversation {
                conn,
                address,
                version: None,
            }),
            Ok(Err(error)) => Err(failed_to_open(address, login, &error)),
            Err(port) => Err(ran_out(address, port, Stage::LoggingIn, started.elapsed())),
        }
    }

    /// Asks one question. The connection comes back when the server gave its whole answer, be it an error.
    pub(super) async fn ask(
        mut self,
        sql: &str,
        deadline: Instant,
    ) -> (Option<Self>, Result<Vec<Row>, Failure>) {
        let started = Instant::now();
        let asked = or_knock(self.address, rows_of(&mut self.conn, sql), deadline).await;
        let fail = |mishap, why: String| {
            let text = format!("`{}` did not answer `{sql}`: {why}", self.address);
            Failure {
                stage: Stage::Asking,
                mishap,
                text,
            }
        };
        match asked {
            Err(port) => (
                None,
                Err(ran_out(self.address, port, Stage::Asking, started.elapsed())),
            ),
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
    let values = mysql_async::Row::unwrap(row);
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
        Mishap::Server(_) | Mishap::Lost | Mishap::Waiting | Mishap::Unintelligible => Stage::LoggingIn,
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

/// What a bare connection to a port met; `None` is nothing at all.
type Port = Option<io::Result<TcpStream>>;

/// Awaits `work`. When half the time is gone, the port is asked separately whether it takes connections at all, while
/// waiting goes on: the driver does not tell, and a kept connection to a host without power looks just like a
/// hung server. Whatever answers quickly is not bothered with a second connection.
async fn or_knock<T>(
    address: SocketAddr,
    work: impl Future<Output = T>,
    deadline: Instant,
) -> Result<T, Port> {
    tokio::pin!(work);
    let now = Instant::now();
    let patience = now + deadline.saturating_duration_since(now) / 2;
    if let Ok(done) = timeout_at(patience, &mut work).await {
        return Ok(done);
    }
    let knocking = TcpStream::connect(address);
    tokio::pin!(knocking);
    let mut port = None;
    loop {
        tokio::select! {
            biased;
            done = &mut work => return Ok(done),
            answer = &mut knocking, if port.is_none() => port = Some(answer),
            () = sleep_until(deadline) => return Err(port),
        }
    }
}

/// Time ran out at `stage`, unless the port tells that it is worse.
fn ran_out(address: SocketAddr, port: Port, stage: Stage, waited: Duration) -> Failure {
    let waited = format!("{} ms", waited.as_millis());
    match port {
        Some(Ok(_)) => Failure {
            stage,
            mishap: Mishap::TimedOut,
            text: format!("`{address}` takes connections but its server says nothing within {waited}"),
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
