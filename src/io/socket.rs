//! The monitor's door for other commands: one JSON line in, one JSON line out, over a Unix socket only its user can open.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::core::trouble::{Kind, Trouble};
use crate::core::view::{CheckView, ClusterView};
use crate::io::monitor::Question;

/// Longest request line.
const MOST_BYTES: usize = 64 * 1024;
/// One exchange may take so long, on either side.
const EXCHANGE_WITHIN: Duration = Duration::from_secs(3);

/// What another command asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Ask {
    /// A sign of life.
    Ping,
    /// What `show` tells, of every cluster.
    Show,
    /// What `checks` tells, of every cluster.
    Checks,
}

/// The monitor's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It lives.
    Pong {
        /// Its process.
        pid: u32,
        /// The hash of the inventory it works from.
        inventory_hash: String,
    },
    /// Every cluster.
    Show(Vec<ClusterView>),
    /// Every check of every cluster.
    Checks(Vec<CheckView>),
    /// The request was not understood.
    Refused(String),
}

/// Serves the socket until its task is ended.
///
/// # Errors
/// Refused: the socket cannot be made.
pub async fn serve(
    path: &Path,
    inventory_hash: String,
    clusters: BTreeMap<String, mpsc::Sender<Question>>,
) -> Result<std::convert::Infallible, Trouble> {
    let listener = listen(path).map_err(|error| {
        Trouble::new(
            Kind::Refused,
            format!("the monitor's socket `{}` cannot be made", path.display()),
            error,
        )
        .hint("`monitor.socket` in the inventory names it; its directory must be writable")
    })?;
    let clusters = Arc::new(clusters);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let (clusters, hash) = (clusters.clone(), inventory_hash.clone());
                tokio::spawn(async move {
                    match timeout(EXCHANGE_WITHIN, exchange(stream, hash, &clusters)).await {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => {
                            tracing::debug!("a question on the socket came to nothing: {error}")
                        }
                        Err(_) => tracing::debug!("a question on the socket took too long"),
                    }
                });
            }
            Err(error) => {
                tracing::warn!("the socket takes no connection: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// The claim to be the only monitor is held, so a socket file that is there was left by a dead one.
fn listen(path: &Path) -> std::io::Result<UnixListener> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

async fn exchange(
    stream: UnixStream,
    inventory_hash: String,
    clusters: &BTreeMap<String, mpsc::Sender<Question>>,
) -> std::io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    let mut limited = BufReader::new(tokio::io::AsyncReadExt::take(read, MOST_BYTES as u64));
    limited.read_line(&mut line).await?;
    let answer = match serde_json::from_str::<Ask>(&line) {
        Ok(Ask::Ping) => Answer::Pong {
            pid: std::process::id(),
            inventory_hash,
        },
        Ok(Ask::Show) => Answer::Show(ask_all(clusters, Question::Show).await),
        Ok(Ask::Checks) => Answer::Checks(
            ask_all(clusters, Question::Checks)
                .await
                .into_iter()
                .flatten()
                .collect(),
        ),
        Err(error) => Answer::Refused(format!("not understood: {error}")),
    };
    let mut text = serde_json::to_vec(&answer)?;
    text.push(b'\n');
    write.write_all(&text).await
}

async fn ask_all<T>(
    clusters: &BTreeMap<String, mpsc::Sender<Question>>,
    question: impl Fn(oneshot::Sender<T>) -> Question,
) -> Vec<T> {
    let mut answers = Vec::new();
    for (name, door) in clusters {
        let (to, from) = oneshot::channel();
        let asked = timeout(EXCHANGE_WITHIN / 2, async {
            door.send(question(to)).await.ok()?;
            from.await.ok()
        });
        match asked.await {
            Ok(Some(answer)) => answers.push(answer),
            Ok(None) | Err(_) => tracing::warn!("cluster {name} did not answer"),
        }
    }
    answers
}

/// Asks a running monitor; `None` when none runs on this socket.
///
/// # Errors
/// One runs, but does not answer as it should.
pub async fn ask(path: &Path, ask: &Ask) -> Result<Option<Answer>, Trouble> {
    let stream = match UnixStream::connect(path).await {
        Ok(stream) => stream,
        Err(error)
            if matches!(
                error.kind(),
                std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused
            ) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(unanswered(path, error)),
    };
    let asked = timeout(EXCHANGE_WITHIN, async {
        let (read, mut write) = stream.into_split();
        let mut text = serde_json::to_vec(ask)?;
        text.push(b'\n');
        write.write_all(&text).await?;
        let mut line = String::new();
        BufReader::new(read).read_line(&mut line).await?;
        serde_json::from_str::<Answer>(&line).map_err(std::io::Error::from)
    });
    match asked.await {
        Ok(Ok(answer)) => Ok(Some(answer)),
        Ok(Err(error)) => Err(unanswered(path, error)),
        Err(_) => Err(unanswered(
            path,
            format!("no answer within {} s", EXCHANGE_WITHIN.as_secs()),
        )),
    }
}

fn unanswered(path: &Path, because: impl std::fmt::Display) -> Trouble {
    Trouble::new(
        Kind::Wrong,
        format!("the monitor behind `{}` did not answer", path.display()),
        because,
    )
    .hint("it runs but is stuck, or belongs to another user")
}
