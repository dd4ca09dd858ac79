//! A monitor's log: events and diagnostics, as lines for people or JSON objects, on stderr, in the journal, or in a file.
//!
//! Everything goes through `tracing`; what belongs to a cluster is inside its span, which is how each cluster has its own
//! level. Lines are written by a thread of their own, so that a full disk, a slow one, or a reader that has stopped
//! never holds the monitor up.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id};
use tracing::subscriber::Interest;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::line;
use super::reporter::talk;
use crate::core::event::{Event, StepEnd, Told};
use crate::core::moment::Moment;
use crate::core::run::Ending;

/// The span of everything that belongs to one cluster; its field `name` says which.
pub const CLUSTER_SPAN: &str = "cluster";
/// Where events of the core come from, as opposed to diagnostics.
const TOLD: &str = "mmm::told";
/// Lines that may wait to be written; more are counted and dropped.
const MOST_WAITING: usize = 4096;
/// How long the end of a program waits for its last lines.
const FLUSH_WITHIN: Duration = Duration::from_secs(1);
/// The permissions of a new log file.
const FILE_MODE: u32 = 0o640;

/// What is wanted of a log.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The file; stderr when there is none.
    pub file: Option<PathBuf>,
    /// JSON objects instead of lines for people.
    pub json: bool,
    /// The quietest level that is written.
    pub level: Level,
    /// The same for single clusters.
    pub clusters: BTreeMap<String, Level>,
}

/// A log that was started.
#[derive(Debug)]
pub struct Log(SyncSender<Errand>);

#[derive(Debug)]
enum Errand {
    Write(Vec<u8>),
    Flush(SyncSender<()>),
}

/// Starts the log of this process.
pub fn start(wanted: Wanted) -> Log {
    let (to, errands) = sync_channel(MOST_WAITING);
    let file = wanted.file.clone();
    let writer = std::thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || write_all(&errands, file));
    if let Err(error) = writer {
        talk(&format!("the log could not be started: {error}"));
    }
    let layer = ToLog {
        is_journal: wanted.file.is_none() && !wanted.json && stderr_is_journal(),
        wanted,
        to: to.clone(),
        lost: AtomicU64::new(0),
    };
    if let Err(error) = tracing_subscriber::registry().with(layer).try_init() {
        talk(&format!("logging could not be started: {error}"));
    }
    Log(to)
}

impl Log {
    /// Waits, for a moment at most, until everything has been written.
    pub fn flush(&self) {
        let (done, is_done) = sync_channel(1);
        let began = std::time::Instant::now();
        while self.0.try_send(Errand::Flush(done.clone())).is_err() {
            if began.elapsed() > FLUSH_WITHIN {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _last_lines_may_be_lost = is_done.recv_timeout(FLUSH_WITHIN);
    }
}

/// Writes an event of the core into the log.
pub fn told(told: &Told) {
    let Some(words) = line::words(told) else { return };
    let lines: Vec<&str> = words
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let words = lines.join("; ");
    let value = serde_json::to_string(told).unwrap_or_default();
    let value = value.as_str();
    let span = tracing::error_span!("cluster", name = told.cluster.as_str());
    span.in_scope(|| match level(&told.event) {
        Level::ERROR => tracing::error!(target: TOLD, told = value, "{words}"),
        Level::WARN => tracing::warn!(target: TOLD, told = value, "{words}"),
        _ => tracing::info!(target: TOLD, told = value, "{words}"),
    });
}

/// How loud an event is in the log. As with MMM, every change of a host's state is loud.
fn level(event: &Event) -> Level {
    match event {
        Event::Alarm { .. } => Level::ERROR,
        Event::Lost { count: Some(0), .. } => Level::INFO,
        Event::Lost { .. } => Level::ERROR,
        Event::StateChanged { to, .. } if to == "HARD_OFFLINE" || to == "REPLICATION_FAIL" => Level::ERROR,
        Event::StateChanged { .. } => Level::WARN,
        Event::CheckChanged { ok: false, .. } => Level::ERROR,
        Event::RunEnded { ending, .. } => match ending {
            Ending::Done { warnings } if warnings.is_empty() => Level::INFO,
            Ending::Done { .. } | Ending::Undone { .. } | Ending::Failed { .. } => Level::WARN,
            Ending::Stuck { .. } => Level::ERROR,
        },
        Event::StepEnded {
            ended: StepEnd::Failed | StepEnd::Unknown,
            ..
        } => Level::WARN,
        Event::SiteStep {
            ended: StepEnd::Failed | StepEnd::Unknown,
            ..
        } => Level::WARN,
        _ => Level::INFO,
    }
}

/// Whether stderr is the journal, as the service manager says.
fn stderr_is_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else {
        return false;
    };
    let stderr = fs::metadata("/proc/self/fd/2");
    stderr.is_ok_and(|stderr| stream == format!("{}:{}", stderr.dev(), stderr.ino()))
}

/// The layer that turns what is traced into lines.
struct ToLog {
    wanted: Wanted,
    is_journal: bool,
    to: SyncSender<Errand>,
    lost: AtomicU64,
}

/// The name of a cluster, kept with its span.
struct ClusterName(String);

impl ToLog {
    fn limit(&self, cluster: Option<&str>) -> Level {
        let own = cluster.and_then(|cluster| self.wanted.clusters.get(cluster));
        *own.unwrap_or(&self.wanted.level)
    }

    /// Hands a line over, without waiting; whether there was room for it.
    fn send(&self, line: String) -> bool {
        let mut bytes = line.into_bytes();
        bytes.push(b'\n');
        self.to.try_send(Errand::Write(bytes)).is_ok()
    }

    fn line(&self, level: Level, cluster: Option<&str>, said: &Said) -> String {
        let at = said.at.unwrap_or_else(now);
        if self.wanted.json {
            return said.as_json(at, level, cluster).to_string();
        }
        let cluster = cluster.map(|cluster| format!("{cluster} ")).unwrap_or_default();
        let words = said.words();
        if self.is_journal {
            // The journal keeps the time itself, and takes the number for the line's priority.
            return format!("<{}>{level} {cluster}{words}", priority(level));
        }
        format!("{at} {level:<5} {cluster}{words}")
    }
}

impl<S: Subscriber + for<'l> LookupSpan<'l>> Layer<S> for ToLog {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        // Whether something is written depends on the cluster it is about, so it is asked each time.
        Interest::sometimes()
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        let loudest = self.wanted.clusters.values().chain([&self.wanted.level]).max();
        loudest.map(|level| LevelFilter::from_level(*level))
    }

    fn enabled(&self, metadata: &Metadata<'_>, context: Context<'_, S>) -> bool {
        if metadata.is_span() {
            return metadata.name() == CLUSTER_SPAN && metadata.target().starts_with("mmm");
        }
        let limit = self.limit(cluster_of(&context).as_deref());
        if metadata.target().starts_with("mmm") {
            return *metadata.level() <= limit;
        }
        // Libraries speak of what our own errors say better.
        limit >= Level::DEBUG && *metadata.level() <= Level::WARN
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut said = Said::default();
        attributes.record(&mut said);
        if let (Some(span), Some(name)) = (context.span(id), said.take("name")) {
            span.extensions_mut().insert(ClusterName(name));
        }
    }

    fn on_event(&self, event: &tracing::Event<'_>, context: Context<'_, S>) {
        let mut said = Said::default();
        event.record(&mut said);
        said.unfold();
        let lost = self.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let gap = Said::of(format!("{lost} lines could not be written in time and are lost"));
            if !self.send(self.line(Level::WARN, None, &gap)) {
                self.lost.fetch_add(lost, Ordering::Relaxed);
            }
        }
        let cluster = cluster_of(&context);
        if !self.send(self.line(*event.metadata().level(), cluster.as_deref(), &said)) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn cluster_of<S: Subscriber + for<'l> LookupSpan<'l>>(context: &Context<'_, S>) -> Option<String> {
    let span = context.lookup_current()?;
    let mut around = span.scope();
    around.find_map(|span| span.extensions().get::<ClusterName>().map(|name| name.0.clone()))
}

fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

fn now() -> Moment {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Moment(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// The fields of something traced.
#[derive(Debug, Default)]
struct Said {
    message: String,
    fields: Map<String, Value>,
    at: Option<Moment>,
}

impl Said {
    fn of(message: String) -> Said {
        Said {
            message,
            ..Said::default()
        }
    }

    fn take(&mut self, field: &str) -> Option<String> {
        self.fields.remove(field)?.as_str().map(str::to_owned)
    }

    /// An event of the core brings its own fields and its own moment.
    fn unfold(&mut self) {
        let Some(Ok(Value::Object(told))) = self.take("told").map(|told| serde_json::from_str(&told)) else {
            return;
        };
        self.at = told
            .get("at")
            .and_then(|at| serde_json::from_value(at.clone()).ok());
        self.fields = told;
    }

    fn is_event(&self) -> bool {
        self.fields.contains_key("event")
    }

    fn words(&self) -> String {
        let mut words = self.message.replace('\n', "; ");
        if !self.is_event() {
            for (name, value) in &self.fields {
                words.push_str(&format!(" {name}={value}"));
            }
        }
        words
    }

    fn as_json(&self, at: Moment, level: Level, cluster: Option<&str>) -> Value {
        let mut object = Map::new();
        object.insert("at".to_owned(), json!(at.to_string()));
        object.insert("level".to_owned(), json!(level.as_str().to_lowercase()));
        object.insert("cluster".to_owned(), json!(cluster));
        object.insert("message".to_owned(), json!(self.message));
        for (name, value) in &self.fields {
            object.entry(name.clone()).or_insert_with(|| value.clone());
        }
        Value::Object(object)
    }
}

impl Visit for Said {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            self.fields.insert(field.name().to_owned(), json!(value));
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

/// The writing thread, until every sender is gone.
fn write_all(errands: &Receiver<Errand>, path: Option<PathBuf>) {
    let mut sink = Sink {
        path,
        file: None,
        has_complained: false,
    };
    while let Ok(errand) = errands.recv() {
        match errand {
            Errand::Write(line) => sink.write(&line),
            Errand::Flush(done) => {
                let _nobody_waits_any_more = done.try_send(());
            }
        }
    }
}

/// Where lines end up: a file, and stderr when there is none or it cannot be written.
struct Sink {
    path: Option<PathBuf>,
    file: Option<File>,
    has_complained: bool,
}

impl Sink {
    fn write(&mut self, line: &[u8]) {
        let Some(path) = self.path.clone() else {
            return to_stderr(line);
        };
        match self.append(&path, line) {
            Ok(()) => self.has_complained = false,
            Err(error) => {
                self.file = None;
                if !std::mem::replace(&mut self.has_complained, true) {
                    let path = path.display();
                    to_stderr(
                        format!("ALARM the log `{path}` cannot be written: {error}; it goes on here\n")
                            .as_bytes(),
                    );
                }
                to_stderr(line);
            }
        }
    }

    /// Appends to the file of that name as it is now: one that was moved away or removed is made anew.
    fn append(&mut self, path: &Path, line: &[u8]) -> io::Result<()> {
        let is_there = |file: &File| -> io::Result<bool> {
            let (open, named) = (file.metadata()?, fs::metadata(path)?);
            Ok((open.dev(), open.ino()) == (named.dev(), named.ino()))
        };
        if !self
            .file
            .as_ref()
            .is_some_and(|file| is_there(file).unwrap_or(false))
        {
            let file = File::options()
                .create(true)
                .append(true)
                .mode(FILE_MODE)
                .open(path)?;
            self.file = Some(file);
        }
        match &mut self.file {
            Some(file) => file.write_all(line),
            None => Ok(()),
        }
    }
}

fn to_stderr(line: &[u8]) {
    let _reader_may_be_gone = io::stderr().lock().write_all(line);
}

#[cfg(test)]
mod tests;
