//! Idle connections, as an application's pool holds them. Each waits for its socket to become readable, without
//! a query: on an idle connection that means an error packet, an end or a reset, so it is gone.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::net::{TcpStream, UnixListener};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::Target;
use super::log::{Entry, Log};
use super::session::Session;
use crate::clock::monotonic_ns;

/// Keeps one connection open until told to stop, opening another whenever it is gone.
pub(super) async fn hold(
    slot: usize,
    socket: PathBuf,
    target: Arc<Target>,
    log: Arc<Log>,
    mut stop: watch::Receiver<bool>,
) {
    tokio::select! {
        biased;
        _ = stop.wait_for(|&stop| stop) => {}
        () = hold_forever(slot, &socket, &target, &log) => {}
    }
}

async fn hold_forever(slot: usize, socket: &Path, target: &Target, log: &Log) {
    const BEFORE_RECONNECTING: Duration = Duration::from_millis(20);
    loop {
        if let Ok(Ok(idle)) = timeout(target.connect_within * 5, Idle::open(target, socket)).await {
            let (opened_ns, server) = (idle.opened_ns, idle.session.server);
            log.add(&Entry::Opened {
                slot,
                at_ns: opened_ns,
                server,
            });
            idle.gone().await;
            log.add(&Entry::Closed {
                slot,
                opened_ns,
                at_ns: monotonic_ns(),
                server,
            });
        }
        sleep(BEFORE_RECONNECTING).await;
    }
}

/// A logged-in connection of which we hold the socket ourselves.
struct Idle {
    stream: TcpStream,
    session: Session,
    opened_ns: u64,
}

impl Idle {
    /// The client library does not show its socket, so it logs in through a local one that is joined to ours
    /// and left behind once the login is over.
    async fn open(target: &Target, socket: &Path) -> Result<Idle> {
        let mut stream = timeout(target.connect_within, TcpStream::connect(target.address))
            .await
            .context("no answer")??;
        stream.set_nodelay(true)?;
        if socket.exists() {
            std::fs::remove_file(socket)?;
        }
        let listener = UnixListener::bind(socket)?;
        let join = async {
            let (mut near, _) = listener.accept().await?;
            tokio::io::copy_bidirectional(&mut near, &mut stream).await?;
            anyhow::bail!("the server ended the login")
        };
        let options = target.login.options().socket(socket.to_str());
        let session = tokio::select! {
            ended = join => return ended,
            session = Session::greet(options) => session?,
        };
        Ok(Idle {
            stream,
            session,
            opened_ns: monotonic_ns(),
        })
    }

    async fn gone(&self) {
        loop {
            if self.stream.readable().await.is_err() {
                return;
            }
            match self.stream.try_read(&mut [0; 64]) {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Ok(_) | Err(_) => return,
            }
        }
    }
}
