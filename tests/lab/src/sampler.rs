//! The sampler: a process inside a database host that asks its own server every few milliseconds whether it can
//! be written, through the socket, so that no cut link hides the answer.
//!
//! The server itself says when it looked: the statement begins with `NOW(6)` (its own beginning) and ends with
//! `SYSDATE(6)` (this very moment), and `@@global.read_only` was read between the two. A sample is therefore a
//! few microseconds long even when this process had to wait for a processor. Runs of equal answers are kept as
//! one line each, with the longest time between two samples in it: a judge must know where it was blind.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, DriverError};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::clock::{LEAD_ERROR_NS, monotonic_ns, realtime_lead_ns};
use crate::login::Login;
use crate::writer::log::{Fields, Log, whole_lines};
use crate::writer::{append_to, until_stopped};

/// What a server said of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Writable,
    ReadOnly,
    /// It is there and did not say in time (it may be stopped, and may go on later).
    Silent,
    /// It does not take a connection.
    Down,
    /// Its host has no power. No sampler can say so; the lab does.
    Off,
}

/// Consecutive equal samples. Each end of a span is itself an interval: the sample lies somewhere in it.
/// Times are nanoseconds of CLOCK_MONOTONIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    pub state: State,
    /// `@@server_id`; 0 when nobody answered.
    pub server: u32,
    pub first: Sample,
    pub last: Sample,
    pub samples: u64,
    /// The longest time between two samples of this span.
    pub longest_gap_ns: u64,
}

/// When one sample was taken: not before `from_ns`, not after `to_ns`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    pub from_ns: u64,
    pub to_ns: u64,
}

impl Span {
    pub(crate) fn begin(state: State, server: u32, sample: Sample) -> Span {
        Span {
            state,
            server,
            first: sample,
            last: sample,
            samples: 1,
            longest_gap_ns: 0,
        }
    }

    pub(crate) fn extend(&mut self, sample: Sample) {
        self.longest_gap_ns = self
            .longest_gap_ns
            .max(sample.from_ns.saturating_sub(self.last.to_ns));
        self.last = sample;
        self.samples += 1;
    }
}

impl State {
    fn word(self) -> &'static str {
        match self {
            State::Writable => "writable",
            State::ReadOnly => "read-only",
            State::Silent => "silent",
            State::Down => "down",
            State::Off => "off",
        }
    }
}

impl FromStr for State {
    type Err = anyhow::Error;

    fn from_str(word: &str) -> Result<State> {
        let known = [
            State::Writable,
            State::ReadOnly,
            State::Silent,
            State::Down,
            State::Off,
        ];
        known
            .into_iter()
            .find(|state| state.word() == word)
            .with_context(|| format!("`{word}` is no state"))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Span {
            state,
            server,
            first,
            last,
            samples,
            longest_gap_ns,
        } = self;
        let (state, gap) = (state.word(), longest_gap_ns);
        let (from, to) = (first.from_ns, first.to_ns);
        write!(
            out,
            "{state} {server} {from} {to} {} {} {samples} {gap}",
            last.from_ns, last.to_ns
        )
    }
}

impl FromStr for Span {
    type Err = anyhow::Error;

    fn from_str(line: &str) -> Result<Span> {
        let mut fields = Fields(line.split(' '));
        let span = Span {
            state: fields.word()?.parse()?,
            server: fields.number()?,
            first: Sample {
                from_ns: fields.number()?,
                to_ns: fields.number()?,
            },
            last: Sample {
                from_ns: fields.number()?,
                to_ns: fields.number()?,
            },
            samples: fields.number()?,
            longest_gap_ns: fields.number()?,
        };
        fields.finish()?;
        Ok(span)
    }
}

/// Reads a sampler's file. A span that is still growing is written again and again; the last line of it counts.
pub fn read(text: &str) -> Result<Vec<Span>> {
    let mut spans: Vec<Span> = Vec::new();
    for (index, line) in whole_lines(text).enumerate() {
        let span: Span = line
            .parse()
            .with_context(|| format!("line {} of the samples", index + 1))?;
        match spans.last_mut() {
            Some(last) if last.first == span.first => *last = span,
            _ => spans.push(span),
        }
    }
    Ok(spans)
}

/// Arguments of the hidden subcommand `mmm-lab sampler`, run inside a database host.
#[derive(clap::Args, Clone, Debug)]
pub struct SamplerArgs {
    /// The server's socket.
    #[arg(long, default_value = "/run/mysqld/mysqld.sock")]
    pub socket: PathBuf,
    #[arg(long, default_value = "root")]
    pub user: String,
    /// A file (mode 0600) with the password on its first line.
    #[arg(long)]
    pub password_file: Option<PathBuf>,
    /// Microseconds between two samples.
    #[arg(long, default_value_t = 2000)]
    pub every_us: u64,
    /// How long a server may take to answer before it counts as silent.
    #[arg(long, default_value_t = 100)]
    pub answer_within_ms: u64,
    /// Stop after this many milliseconds; without it on SIGTERM or SIGINT only.
    #[arg(long)]
    pub for_ms: Option<u64>,
    /// The file to append to; standard output without it.
    #[arg(long)]
    pub log: Option<PathBuf>,
}

impl SamplerArgs {
    /// Samples until told to stop.
    pub fn run(self) -> Result<()> {
        let login = match &self.password_file {
            Some(file) => Login::from_file(&self.user, file)?,
            None => Login::without_password(&self.user),
        };
        let every = Duration::from_micros(self.every_us.max(100));
        let server = Server {
            socket: self.socket,
            login,
            answer_within: Duration::from_millis(self.answer_within_ms),
            connection: None,
        };
        let log = Log::new(append_to(self.log)?);
        until_stopped(self.for_ms, |stop| run(server, every, log, stop))
    }
}

async fn run(mut server: Server, every: Duration, log: Log, mut stop: watch::Receiver<bool>) -> Result<()> {
    const BETWEEN_FLUSHES_NS: u64 = 20_000_000;
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut current: Option<Span> = None;
    let mut flushed_ns = 0;
    loop {
        tokio::select! {
            biased;
            _ = stop.wait_for(|&stop| stop) => break,
            _ = ticks.tick() => {}
        }
        let (state, id, sample) = server.sample().await?;
        let changed = match &mut current {
            Some(span) if span.state == state && span.server == id => {
                span.extend(sample);
                false
            }
            previous => {
                if let Some(span) = previous {
                    log.add(span);
                }
                *previous = Some(Span::begin(state, id, sample));
                true
            }
        };
        // The host may lose its power at any moment: what it last said must be in the file already.
        if changed || sample.to_ns.saturating_sub(flushed_ns) > BETWEEN_FLUSHES_NS {
            write_down(&log, current.as_ref())?;
            flushed_ns = sample.to_ns;
        }
    }
    write_down(&log, current.as_ref())
}

fn write_down(log: &Log, current: Option<&Span>) -> Result<()> {
    if let Some(span) = current {
        log.add(span);
    }
    log.flush().context("cannot write the samples")
}

/// The server of this host, and the connection to it while it lives.
struct Server {
    socket: PathBuf,
    login: Login,
    answer_within: Duration,
    connection: Option<Conn>,
}

impl Server {
    /// Errors: the account is refused, for then every answer would look like a dead server.
    async fn sample(&mut self) -> Result<(State, u32, Sample)> {
        let asked_ns = monotonic_ns();
        let connection = self.connection.take();
        let outcome = timeout(self.answer_within, ask(connection, &self.login, &self.socket)).await;
        let answered_ns = monotonic_ns();
        let asked = Sample {
            from_ns: asked_ns,
            to_ns: answered_ns,
        };
        Ok(match outcome {
            Ok(Ok((connection, answer))) => {
                self.connection = Some(connection);
                let state = if answer.read_only {
                    State::ReadOnly
                } else {
                    State::Writable
                };
                (state, answer.server, answer.narrow(asked, realtime_lead_ns()))
            }
            Ok(Err(error)) => match error.downcast_ref() {
                Some(mysql_async::Error::Server(said)) if ACCOUNT_REFUSED.contains(&said.code) => {
                    return Err(error.context("the server refuses the sampler's account"));
                }
                Some(mysql_async::Error::Driver(DriverError::UnknownAuthPlugin { .. })) => {
                    return Err(error.context("the sampler cannot log in the way this account asks for"));
                }
                Some(mysql_async::Error::Server(_)) => (State::Silent, 0, asked),
                _ => (State::Down, 0, asked),
            },
            Err(_late) => (State::Silent, 0, asked),
        })
    }
}

const ACCOUNT_REFUSED: [u16; 2] = [1045, 1698];

/// What the server answered; times are microseconds of CLOCK_REALTIME.
#[derive(Debug)]
struct Answer {
    server: u32,
    read_only: bool,
    began_us: u64,
    looked_us: u64,
}

impl Answer {
    /// Puts the server's own times in place of ours where they are believable: inside of them, in order.
    fn narrow(&self, asked: Sample, lead_ns: Option<u64>) -> Sample {
        let Some(lead_ns) = lead_ns else { return asked };
        let from_ns = (self.began_us * 1000)
            .saturating_sub(lead_ns + LEAD_ERROR_NS)
            .max(asked.from_ns);
        let to_ns = ((self.looked_us + 1) * 1000 + LEAD_ERROR_NS)
            .saturating_sub(lead_ns)
            .min(asked.to_ns);
        if from_ns <= to_ns {
            Sample { from_ns, to_ns }
        } else {
            asked
        }
    }
}

async fn ask(connection: Option<Conn>, login: &Login, socket: &Path) -> Result<(Conn, Answer)> {
    const QUESTION: &str =
        "SELECT UNIX_TIMESTAMP(NOW(6)), @@global.read_only, @@server_id, UNIX_TIMESTAMP(SYSDATE(6))";
    let mut connection = match connection {
        Some(connection) => connection,
        None => {
            let options = login.options().socket(socket.to_str());
            // A local time is not unique in the hour in which summer time ends.
            Conn::new(options.init(vec!["SET time_zone = '+00:00'"])).await?
        }
    };
    let row: Option<(String, String, u32, String)> = connection.query_first(QUESTION).await?;
    let (began, read_only, server, looked) = row.context("the server answered without a row")?;
    let read_only = match read_only.as_str() {
        "0" | "OFF" => false,
        "1" | "ON" => true,
        other => bail!("`{other}` is no value of read_only"),
    };
    let answer = Answer {
        server,
        read_only,
        began_us: microseconds(&began)?,
        looked_us: microseconds(&looked)?,
    };
    Ok((connection, answer))
}

/// `1700000000.123456` in microseconds.
fn microseconds(text: &str) -> Result<u64> {
    let (seconds, fraction) = text
        .split_once('.')
        .with_context(|| format!("`{text}` has no fraction"))?;
    Ok(seconds.parse::<u64>()? * 1_000_000 + format!("{fraction:0<6}")[..6].parse::<u64>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(from_ns: u64, to_ns: u64) -> Sample {
        Sample { from_ns, to_ns }
    }

    #[test]
    fn a_growing_span_is_read_once_and_its_longest_gap_is_kept() {
        let mut span = Span::begin(State::Writable, 1, sample(10, 12));
        let early = span.to_string();
        span.extend(sample(20, 21));
        span.extend(sample(22, 23));
        let after = Span::begin(State::ReadOnly, 1, sample(30, 31));
        let spans = read(&format!("{early}\n{span}\n{after}\nread-only 1 3")).unwrap();
        assert_eq!(spans, [span, after]);
        assert_eq!((spans[0].samples, spans[0].longest_gap_ns), (3, 8));
        assert!(read("open 1 2 3 4 5 6 7\n").is_err());
    }

    #[test]
    fn the_servers_times_narrow_ours_only_when_they_lie_inside() {
        let answer = Answer {
            server: 1,
            read_only: false,
            began_us: 1_000_100,
            looked_us: 1_000_120,
        };
        let asked = sample(50_000, 900_000);
        assert_eq!(answer.narrow(asked, Some(1_000_000_000)), sample(95_000, 126_000));
        // The clock was set between the question and the reading of the lead.
        assert_eq!(answer.narrow(asked, Some(2_000_000_000)), asked);
        assert_eq!(answer.narrow(asked, Some(0)), asked);
        assert_eq!(answer.narrow(asked, None), asked);
    }

    #[test]
    fn fractions_of_any_length_are_microseconds() {
        assert_eq!(microseconds("1.5").unwrap(), 1_500_000);
        assert_eq!(microseconds("1.000007").unwrap(), 1_000_007);
        assert!(microseconds("1").is_err());
    }
}
