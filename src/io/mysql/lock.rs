//! The lock that a run holds on a server, with `GET_LOCK`: the server gives it back when our connection dies.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};

use crate::core::reach::{Failure, Mishap, Stage};
use crate::sql::row::Row;

use super::conversation::Conversation;
use super::{Login, Server};

/// After this long without a word from us the server ends the session and gives the lock back: a lost box must not
/// keep a cluster locked for the hours that are the default.
pub const FORGOTTEN_AFTER_S: u32 = 10;
/// How often the session is used so that the server does not forget it.
const PING_EVERY: Duration = Duration::from_secs(2);

/// What came of trying to take a lock.
#[derive(Debug)]
pub enum Taking {
    /// It is ours.
    Taken(Lock),
    /// Someone else has it. Who, when the server tells.
    Held(Option<Holder>),
}

/// Who holds a lock on a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The connection's number.
    pub connection: u64,
    /// Its account; `None` when our own account may not see it.
    pub user: Option<String>,
    /// Where it comes from: `address:port`.
    pub client: Option<String>,
    /// It comes from the address that we come from.
    pub is_from_here: bool,
    /// How long it has not said a word; a living holder is never silent for long.
    pub silent_for: Duration,
}

/// A lock held on a server for as long as this value lives and its connection with it.
#[derive(Debug)]
pub struct Lock {
    name: LockName,
    address: SocketAddr,
    /// The connection's number on the server.
    connection: u64,
    /// `None` once the connection, and so the lock, is gone.
    session: Arc<Mutex<Option<Conversation>>>,
    pinging: JoinHandle<()>,
}

/// A session of its own in which a lock can be taken.
#[derive(Debug)]
pub struct Dialled {
    address: SocketAddr,
    login: Login,
    session: Conversation,
}

impl Dialled {
    /// Opens it.
    ///
    /// # Errors
    /// The server did not let us in within `timeout`.
    pub async fn open(
        address: IpAddr,
        port: u16,
        login: Login,
        timeout: Duration,
    ) -> Result<Dialled, Failure> {
        let address = SocketAddr::new(address, port);
        let session = Conversation::open(address, &login, Instant::now() + timeout).await?;
        Ok(Dialled {
            address,
            login,
            session,
        })
    }

    /// Takes the lock, waiting up to `wait` (whole seconds) for its holder to give it back; `timeout` is for everything
    /// else.
    ///
    /// # Errors
    /// The server did not answer in time, or with an error, or the name is not made of letters, digits and `_.:@-`.
    pub async fn take(self, name: &str, wait: Duration, timeout: Duration) -> Result<Taking, Failure> {
        let Dialled {
            address,
            login,
            session,
        } = self;
        let name = LockName::new(name).ok_or_else(|| nameless(address, name))?;
        let forget = format!("SET SESSION wait_timeout = {FORGOTTEN_AFTER_S}");
        let (session, _) = ask(session, &forget, Instant::now() + timeout).await?;
        let deadline = Instant::now() + wait + timeout;
        let take = format!("SELECT GET_LOCK({}, {})", name.quoted(), wait.as_secs());
        let (session, answer) = ask(session, &take, deadline).await?;
        match answer.as_deref() {
            Some("1") => {
                let (session, number) = ask(session, "SELECT CONNECTION_ID()", deadline).await?;
                let connection = number.and_then(|number| number.parse().ok()).unwrap_or_default();
                Ok(Taking::Taken(Lock::keep(name, address, connection, session)))
            }
            Some("0") => {
                let mut asker = Server::carrying(address, login, session);
                let holder = holder(&mut asker, &name.0, timeout).await.unwrap_or(None);
                asker.hang_up(timeout).await;
                Ok(Taking::Held(holder))
            }
            _ => Err(Failure {
                stage: Stage::Asking,
                mishap: Mishap::Unintelligible,
                text: format!("`{address}` neither gave nor denied the lock `{}`", name.0),
            }),
        }
    }
}

impl Lock {
    /// Takes the lock on its own connection: [`Dialled::open`] and [`Dialled::take`].
    ///
    /// # Errors
    /// Those of the two.
    pub async fn take(
        address: IpAddr,
        port: u16,
        login: Login,
        name: &str,
        wait: Duration,
        timeout: Duration,
    ) -> Result<Taking, Failure> {
        let dialled = Dialled::open(address, port, login, timeout).await?;
        dialled.take(name, wait, timeout).await
    }

    /// Whether the server still says that the lock is ours. False also when it cannot be asked in time: the connection
    /// is then given up, and the lock with it.
    pub async fn still_held(&self, timeout: Duration) -> bool {
        is_ours(&self.session, &self.name, Instant::now() + timeout).await
    }

    /// The lock's name.
    pub fn name(&self) -> &str {
        &self.name.0
    }

    /// The server it is held on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The number of the connection that holds it.
    pub fn connection(&self) -> u64 {
        self.connection
    }

    /// Gives it back. When that cannot be said in time the connection is closed, which tells the server the same.
    pub async fn release(&self, timeout: Duration) {
        let deadline = Instant::now() + timeout;
        let Ok(mut session) = timeout_at(deadline, self.session.lock()).await else {
            return;
        };
        let Some(session) = session.take() else { return };
        let release = format!("SELECT RELEASE_LOCK({})", self.name.quoted());
        if let (Some(session), _) = session.ask(&release, deadline).await {
            session.hang_up(deadline).await;
        }
    }

    fn keep(name: LockName, address: SocketAddr, connection: u64, session: Conversation) -> Self {
        let session = Arc::new(Mutex::new(Some(session)));
        let pinging = tokio::spawn(keep_alive(Arc::clone(&session), name.clone(), address));
        Lock {
            name,
            address,
            connection,
            session,
            pinging,
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.pinging.abort();
    }
}

/// Who holds the named lock on a server.
pub(super) async fn holder(
    server: &mut Server,
    name: &str,
    timeout: Duration,
) -> Result<Option<Holder>, Failure> {
    let deadline = Instant::now() + timeout;
    let name = LockName::new(name).ok_or_else(|| nameless(server.address(), name))?;
    let rows = server
        .ask(&format!("SELECT IS_USED_LOCK({})", name.quoted()), deadline)
        .await?;
    let Some(connection) = rows.first().and_then(Row::first).and_then(|id| id.parse().ok()) else {
        return Ok(None);
    };
    let find = format!(
        "SELECT user, host, time, SUBSTRING_INDEX(USER(), '@', -1) AS here FROM information_schema.processlist \
         WHERE id = {connection}"
    );
    let rows = server.ask(&find, deadline).await?;
    let column = |name| rows.first().and_then(|row| row.get(&[name])).map(str::to_owned);
    let client = column("host");
    let is_from_here = client
        .as_deref()
        .and_then(|client| client.rsplit_once(':'))
        .is_some_and(|(address, _port)| column("here").as_deref() == Some(address));
    let silent_s = column("time")
        .and_then(|time| time.parse().ok())
        .unwrap_or_default();
    Ok(Some(Holder {
        silent_for: Duration::from_secs(silent_s),
        connection,
        user: column("user"),
        client,
        is_from_here,
    }))
}

/// A name that needs no escaping in any SQL mode. 64 characters is what servers take.
#[derive(Debug, Clone)]
struct LockName(String);

impl LockName {
    fn new(name: &str) -> Option<Self> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:@-".contains(&byte);
        ((1..=64).contains(&name.len()) && name.bytes().all(plain)).then(|| LockName(name.to_owned()))
    }

    fn quoted(&self) -> String {
        format!("'{}'", self.0)
    }
}

fn nameless(address: SocketAddr, name: &str) -> Failure {
    Failure {
        stage: Stage::Dialling,
        mishap: Mishap::Ours,
        text: format!(
            "`{name}` cannot be the name of a lock on `{address}`: 1 to 64 letters, digits or `_.:@-`"
        ),
    }
}

async fn keep_alive(session: Arc<Mutex<Option<Conversation>>>, name: LockName, address: SocketAddr) {
    loop {
        sleep(PING_EVERY).await;
        if !is_ours(&session, &name, Instant::now() + PING_EVERY).await {
            tracing::warn!(lock = name.0, %address, "the lock is lost");
            return;
        }
    }
}

async fn is_ours(session: &Mutex<Option<Conversation>>, name: &LockName, deadline: Instant) -> bool {
    let Ok(mut session) = timeout_at(deadline, session.lock()).await else {
        return false;
    };
    // Taken out while asking: if this is abandoned, the connection and the lock go with it.
    let Some(asked) = session.take() else { return false };
    let sql = format!("SELECT IS_USED_LOCK({}) = CONNECTION_ID()", name.quoted());
    match ask(asked, &sql, deadline).await {
        Ok((kept, answer)) => {
            *session = Some(kept);
            answer.as_deref() == Some("1")
        }
        Err(_) => false,
    }
}

/// Asks for one value on a session that must not be replaced by another.
async fn ask(
    session: Conversation,
    sql: &str,
    deadline: Instant,
) -> Result<(Conversation, Option<String>), Failure> {
    let address = session.address;
    let (kept, answer) = session.ask(sql, deadline).await;
    let value = answer?.first().and_then(Row::first).map(str::to_owned);
    let kept = kept.ok_or_else(|| Failure {
        stage: Stage::Asking,
        mishap: Mishap::Lost,
        text: format!("`{address}` ended the session"),
    })?;
    Ok((kept, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_need_escaping_are_refused() {
        assert!(LockName::new("mmm:test_mmm").is_some());
        for name in ["", "a'b", "a\\b", "a b", "ä", &"x".repeat(65)] {
            assert!(LockName::new(name).is_none(), "{name}");
        }
    }
}
