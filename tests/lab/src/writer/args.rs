//! The writer as a process: `mmm-lab writer …`, started in the client host.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::{Target, Writers, run};
use crate::login::Login;

/// Arguments of the hidden subcommand.
#[derive(clap::Args, Clone, Debug)]
pub struct WriterArgs {
    /// The writer address and port.
    #[arg(long)]
    pub address: SocketAddr,
    #[arg(long, default_value = "app")]
    pub user: String,
    /// A file (mode 0600) with the password on its first line.
    #[arg(long)]
    pub password_file: Option<PathBuf>,
    #[arg(long, default_value = "app.writes")]
    pub table: String,
    /// Milliseconds between two writes of one writer.
    #[arg(long, default_value_t = 2)]
    pub every_ms: u64,
    /// Run the writer that keeps its connection.
    #[arg(long)]
    pub keep: bool,
    /// Run the writer that connects anew for each write.
    #[arg(long)]
    pub anew: bool,
    /// Milliseconds between two writes of the writer that connects anew.
    #[arg(long, default_value_t = 10)]
    pub anew_every_ms: u64,
    /// Run a writer that stays with this server's own address (may be given several times).
    #[arg(long)]
    pub pinned: Vec<SocketAddr>,
    /// Hold this many idle connections.
    #[arg(long, default_value_t = 0)]
    pub pool: usize,
    #[arg(long, default_value_t = 200)]
    pub connect_within_ms: u64,
    #[arg(long, default_value_t = 500)]
    pub write_within_ms: u64,
    /// Stop after this many milliseconds; without it on SIGTERM or SIGINT only.
    #[arg(long)]
    pub for_ms: Option<u64>,
    /// The log to append to; standard output without it.
    #[arg(long)]
    pub log: Option<PathBuf>,
}

impl WriterArgs {
    /// Runs the writers until told to stop; ends with a summary on standard error.
    pub fn run(self) -> Result<()> {
        let login = match &self.password_file {
            Some(file) => Login::from_file(&self.user, file)?,
            None => Login::without_password(&self.user),
        };
        let target = Target {
            address: self.address,
            login,
            table: self.table,
            connect_within: Duration::from_millis(self.connect_within_ms),
            write_within: Duration::from_millis(self.write_within_ms),
        };
        let writers = Writers {
            every: Duration::from_millis(self.every_ms),
            keep: self.keep,
            anew: self.anew,
            anew_every: Duration::from_millis(self.anew_every_ms),
            pinned: self.pinned,
            pool: self.pool,
        };
        let out = append_to(self.log)?;
        let summary = until_stopped(self.for_ms, |stop| run(writers, target, out, stop))?;
        writeln!(std::io::stderr(), "{summary}").context("cannot write the summary")
    }
}

/// The file to append to, or standard output.
pub(crate) fn append_to(file: Option<PathBuf>) -> Result<Box<dyn Write + Send>> {
    let Some(path) = file else {
        return Ok(Box::new(std::io::stdout()));
    };
    let opened = std::fs::OpenOptions::new().create(true).append(true).open(&path);
    Ok(Box::new(opened.with_context(|| {
        format!("cannot append to `{}`", path.display())
    })?))
}

/// Runs `work` on one thread; the receiver it is given becomes true after `for_ms` or on SIGTERM or SIGINT.
pub(crate) fn until_stopped<T, F>(
    for_ms: Option<u64>,
    work: impl FnOnce(watch::Receiver<bool>) -> F,
) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let (tell, stop) = watch::channel(false);
        let mut terminated = signal(SignalKind::terminate())?;
        let mut interrupted = signal(SignalKind::interrupt())?;
        let asked = async {
            let out_of_time = async {
                match for_ms {
                    Some(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = terminated.recv() => {}
                _ = interrupted.recv() => {}
                () = out_of_time => {}
            }
            tell.send_replace(true);
        };
        // The work ends by itself once it was told to.
        let mut work = pin!(work(stop));
        tokio::select! {
            done = &mut work => done,
            () = asked => work.await,
        }
    })
}
