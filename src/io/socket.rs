//! The monitor's door for other commands: one JSON line in, one JSON line out, over a Unix socket only its user can open.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::unix::OwnedWriteHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::core::guard::Guard;
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
    /// A cluster's standing was changed on disk: read it now.
    Stands {
        /// The cluster.
        cluster: String,
        /// The change that was written.
        generation: u64,
    },
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
    /// The change of the standing that the cluster's monitor works from now.
    Stands {
        /// Not older than the one that was asked about, unless it could not be read.
        generation: u64,
    },
    /// The cluster asked about is none of this monitor's.
    NotWatched,
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
        Trouble::refused(
            Guard::G61,
            format!("the monitor's socket `{}` cannot be made", path.display()),
            error,
        )
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
    let (read, write) = stream.into_split();
    let mut line = String::new();
    let mut limited = BufReader::new(tokio::io::AsyncReadExt::take(read, MOST_BYTES as u64));
    let length = limited.read_line(&mut line).await?;
    if length == MOST_BYTES && !line.ends_with('\n') {
        return tell(
            write,
            &Answer::Refused(format!("a request has at most {MOST_BYTES} bytes")),
        )
        .await;
    }
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
        Ok(Ask::Stands { cluster, .. }) => match clusters.get(&cluster) {
            Some(door) => stands(door).await,
            None => Answer::NotWatched,
        },
        Err(error) => Answer::Refused(format!("not understood: {error}")),
    };
    tell(write, &answer).await
}

async fn tell(mut write: OwnedWriteHalf, answer: &Answer) -> std::io::Result<()> {
    let mut text = serde_json::to_vec(answer)?;
    text.push(b'\n');
    write.write_all(&text).await
}

async fn stands(door: &mpsc::Sender<Question>) -> Answer {
    let (to, from) = oneshot::channel();
    let asked = timeout(EXCHANGE_WITHIN / 2, async {
        door.send(Question::Stands(to)).await.ok()?;
        from.await.ok()
    });
    match asked.await {
        Ok(Some(generation)) => Answer::Stands { generation },
        Ok(None) | Err(_) => Answer::Refused("the cluster's loop did not answer".to_owned()),
    }
}

/// All clusters are asked at once: one that is stuck delays the answer, and keeps none of the others back.
async fn ask_all<T>(
    clusters: &BTreeMap<String, mpsc::Sender<Question>>,
    question: impl Fn(oneshot::Sender<T>) -> Question,
) -> Vec<T> {
    let asked = clusters.iter().map(|(name, door)| {
        let (to, from) = oneshot::channel();
        let question = question(to);
        async move {
            let answered = timeout(EXCHANGE_WITHIN / 2, async {
                door.send(question).await.ok()?;
                from.await.ok()
            });
            let answer = answered.await.ok().flatten();
            if answer.is_none() {
                tracing::warn!("cluster {name} did not answer");
            }
            answer
        }
    });
    join_all(asked).await.into_iter().flatten().collect()
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

/// What came of telling a monitor that a standing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Nudged {
    /// It works from the change now.
    Taken,
    /// One runs, and reads the standing by itself within a second, unless it is stuck.
    NotYet,
    /// None runs, or it does not watch the cluster.
    NobodyWatches,
}

/// Tells a running monitor to read a changed standing at once, and waits until it has.
pub async fn nudge(path: &Path, cluster: &str, generation: u64) -> Nudged {
    let question = Ask::Stands {
        cluster: cluster.to_owned(),
        generation,
    };
    match ask(path, &question).await {
        Ok(Some(Answer::Stands { generation: taken })) if taken >= generation => Nudged::Taken,
        Ok(Some(Answer::NotWatched) | None) => Nudged::NobodyWatches,
        Ok(Some(_)) | Err(_) => Nudged::NotYet,
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;
    use tokio::io::AsyncReadExt as _;

    #[tokio::test]
    async fn a_door_that_cannot_be_made_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        // A file stands where its directory should be.
        fs::write(dir.path().join("run"), "").unwrap();
        let path = dir.path().join("run/mmm.sock");
        let refused = serve(&path, String::new(), BTreeMap::new()).await.unwrap_err();
        assert_eq!(refused.guard, Some(Guard::G61), "{refused}");
    }

    /// A door served for real, before a cluster whose loop answers every question with generation 7.
    async fn served(directory: &Path) -> PathBuf {
        let path = directory.join("mmm.sock");
        let (door, mut questions) = mpsc::channel(4);
        tokio::spawn(async move {
            while let Some(question) = questions.recv().await {
                match question {
                    Question::Stands(to) => drop(to.send(7)),
                    Question::Checks(to) => drop(to.send(Vec::new())),
                    Question::Show(_never_answered) => {}
                }
            }
        });
        let doors = BTreeMap::from([("c".to_owned(), door)]);
        let at = path.clone();
        tokio::spawn(async move { serve(&at, "hash".to_owned(), doors).await });
        let began = tokio::time::Instant::now();
        while UnixStream::connect(&path).await.is_err() {
            assert!(began.elapsed() < Duration::from_secs(5), "nobody listens");
            tokio::task::yield_now().await;
        }
        path
    }

    /// What comes back to these bytes; the asker's side is closed for writing when `half_closed`.
    async fn answered(path: &Path, bytes: &[u8], half_closed: bool) -> String {
        let mut stream = UnixStream::connect(path).await.unwrap();
        // The door may close before it has read everything.
        let _may_be_cut = stream.write_all(bytes).await;
        if half_closed {
            stream.shutdown().await.unwrap();
        }
        let mut text = String::new();
        let read = timeout(Duration::from_secs(10), stream.read_to_string(&mut text)).await;
        let _may_be_cut = read.unwrap();
        text
    }

    async fn lives(path: &Path) -> bool {
        matches!(ask(path, &Ask::Ping).await, Ok(Some(Answer::Pong { .. })))
    }

    #[tokio::test]
    async fn a_changed_standing_is_taken_before_the_asker_goes_on() {
        let directory = tempfile::tempdir().unwrap();
        let path = served(directory.path()).await;
        assert_eq!(nudge(&path, "c", 7).await, Nudged::Taken);
        assert_eq!(nudge(&path, "c", 8).await, Nudged::NotYet);
        assert_eq!(nudge(&path, "other", 7).await, Nudged::NobodyWatches);
        assert_eq!(
            nudge(&directory.path().join("none.sock"), "c", 7).await,
            Nudged::NobodyWatches
        );
    }

    #[tokio::test]
    async fn no_request_hurts_the_monitor() {
        let directory = tempfile::tempdir().unwrap();
        let path = served(directory.path()).await;
        for request in [
            "\n",
            " \n",
            "{}\n",
            "\"none\"\n",
            "[[[[\n",
            "{\"stands\":{}}\n",
            "\0\0\n",
        ] {
            let answer = answered(&path, request.as_bytes(), false).await;
            assert!(answer.contains("refused"), "{request:?}: {answer}");
        }
        let answer = answered(&path, b"\"ping\"", true).await;
        assert!(
            answer.contains("pong"),
            "half-closed, without a line's end: {answer}"
        );
        assert_eq!(answered(&path, b"\xff\xfe\n", false).await, "", "no text");
        let huge = vec![b'x'; 4 * MOST_BYTES];
        answered(&path, &huge, true).await;
        let exact = answered(&path, &vec![b'x'; MOST_BYTES], false).await;
        assert!(exact.contains("at most"), "{exact}");
        assert!(lives(&path).await);
    }

    #[tokio::test]
    async fn slow_askers_and_silent_clusters_keep_nobody_waiting() {
        let directory = tempfile::tempdir().unwrap();
        let path = served(directory.path()).await;
        let mut idle = Vec::new();
        for _ in 0..64 {
            let mut stream = UnixStream::connect(&path).await.unwrap();
            stream.write_all(b"\"pi").await.unwrap();
            idle.push(stream);
        }
        let began = tokio::time::Instant::now();
        assert!(lives(&path).await);
        assert!(
            began.elapsed() < Duration::from_secs(1),
            "behind {} slow ones",
            idle.len()
        );
        let shown = ask(&path, &Ask::Show).await;
        assert_eq!(
            shown,
            Ok(Some(Answer::Show(Vec::new()))),
            "a cluster that is silent is left out"
        );
        let mut cut_off = String::new();
        let mut first = idle.remove(0);
        let closed = timeout(EXCHANGE_WITHIN * 2, first.read_to_string(&mut cut_off)).await;
        assert!(closed.is_ok(), "a slow one is let go");
    }
}
