//! A run's record: one append-only file of JSON lines, each synced before the thing it announces is done. Whoever finds
//! a run without an end line knows how far it came.

mod lines;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::cluster::HostName;
use crate::core::evidence::Rung;
use crate::core::history::{Mark, Record};
use crate::core::losses::Loss;
use crate::core::moment::Moment;
use crate::core::playbook::Section;
use crate::core::proposal::Wish;
use crate::core::run::{Ending, Happening, Outcome, Settled, Stage};
use crate::core::site::Occasion;
use crate::io::clock;
use crate::io::shell::Trace;
use crate::io::standing::StateDir;
use lines::Lines;

/// The operation by which a replaced writer comes back.
pub const REJOIN: &str = "rejoin";

/// What a run is: written before anything is touched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opening {
    /// The run's name: operation and moment.
    pub run: String,
    /// The operation.
    pub operation: String,
    /// The host that gives the role away.
    pub outgoing: Option<HostName>,
    /// The host that takes it.
    pub incoming: Option<HostName>,
    /// What held the outgoing host down, in a failover.
    pub rung: Option<Rung>,
    /// Whether it is a failover that no person asked for.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub automatic: bool,
    /// The floating address it moves, when that is not the writer's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// For how long writes may be refused, in a planned move of the writer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write_refused_max: Option<Duration>,
    /// What a person asked for, where it is no operation of the playbooks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chore: Option<Wish>,
    /// Every stage.
    pub stages: Vec<Stage>,
}

impl Opening {
    /// Whether it decides who takes writes.
    pub fn moves_writer(&self) -> bool {
        self.operation != REJOIN && self.address.is_none() && self.chore.is_none()
    }
}

/// One line of a journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// When it was written.
    pub at: Moment,
    /// What it says.
    #[serde(flatten)]
    pub entry: Entry,
}

/// What a line says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// The first line.
    Open(Opening),
    /// A shell was opened on this host; this is what would be left of it.
    Shell(HostName, Trace),
    /// What was left of that shell is verified gone.
    Gone(HostName, Trace),
    /// Something happened to a stage.
    Step(Happening),
    /// A value was registered that later stages use.
    Value(String, String),
    /// A step of the site is about to begin, or has ended.
    Site(SiteRecord),
    /// What the new writer lacks of the one it replaced; behind the end, and once more when it is known exactly.
    Lost(Loss),
    /// The last line of the run itself.
    End(Ending),
}

/// A step of the site around a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteRecord {
    /// When it is performed.
    pub occasion: Occasion,
    /// Its place among those of its occasion, counted from 0.
    pub number: usize,
    /// What it does, in words.
    pub name: String,
    /// The hosts it is performed at; none for the box.
    pub hosts: Vec<HostName>,
    /// How it ended; none when it is about to begin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub came: Option<Outcome>,
}

/// A journal being written.
#[derive(Debug)]
pub struct Journal {
    /// `None` when the state directory could not be written and a failover goes on in memory.
    lines: Option<Lines>,
    /// Why not everything is on disk, while it is not.
    trouble: Option<String>,
}

impl Journal {
    /// Begins the journal of a run. A chore may take long, without the cluster's lock: while its program lives, nobody takes
    /// it for one that was cut off.
    ///
    /// # Errors
    /// When the file cannot be created or synced; the caller decides whether to go on without one.
    pub fn begin(dir: &StateDir, opening: Opening) -> std::io::Result<Journal> {
        let lines = Lines::create(&path_of(dir, &opening.run))?;
        if opening.chore.is_some() {
            lines.keep()?;
        }
        let mut journal = Journal {
            lines: Some(lines),
            trouble: None,
        };
        journal.try_append(Entry::Open(opening))?;
        File::open(dir.path().join("runs"))?.sync_all()?;
        Ok(journal)
    }

    /// A journal that keeps nothing, for a failover that must go on although nothing can be written.
    pub fn in_memory(why: String) -> Journal {
        Journal {
            lines: None,
            trouble: Some(why),
        }
    }

    /// Opens the journal of an unfinished run that nobody is at work on to end it; a line of it that was not written whole is taken away. With the
    /// cluster's lock held: whoever is at work on a run writes to it.
    ///
    /// # Errors
    /// When the file cannot be opened, or not be mended.
    pub fn reopen(path: &Path) -> std::io::Result<Journal> {
        Ok(Journal {
            // A newer program may have written what this one does not know: whole it is all the same.
            lines: Some(Lines::reopen(path, |line| {
                serde_json::from_slice::<serde::de::IgnoredAny>(line).is_ok()
            })?),
            trouble: None,
        })
    }

    /// Opens the journal of a run of that name, to add what became known later. With the cluster's lock held.
    ///
    /// # Errors
    /// When there is none, or it cannot be opened.
    pub fn of_run(dir: &StateDir, run: &str) -> std::io::Result<Journal> {
        Journal::reopen(&path_of(dir, run))
    }

    /// Writes one line and syncs it. What cannot be written is kept, and goes first with the next line: whether the run
    /// may go on without it is for whoever performs it to say.
    pub fn append(&mut self, entry: Entry) {
        if self.lines.is_some() {
            self.trouble = self.try_append(entry).err().map(|error| error.to_string());
        }
    }

    /// Why not everything is on disk; none when it is.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    fn try_append(&mut self, entry: Entry) -> std::io::Result<()> {
        let Some(lines) = &mut self.lines else {
            return Ok(());
        };
        let mut line = serde_json::to_vec(&Line {
            at: clock::now(),
            entry,
        })?;
        line.push(b'\n');
        lines.append(&line)
    }
}

/// Whether a run of that name has a journal.
pub fn is_known(dir: &StateDir, run: &str) -> bool {
    path_of(dir, run).is_file()
}

fn path_of(dir: &StateDir, run: &str) -> PathBuf {
    dir.path().join("runs").join(format!("{run}.jsonl"))
}

/// A run found in the journals without an end.
#[derive(Debug, Clone)]
pub struct OpenRun {
    /// Its file.
    pub path: PathBuf,
    /// What it is.
    pub opening: Opening,
    /// What happened, in order.
    pub happenings: Vec<Happening>,
    /// The values that were registered.
    pub registered: BTreeMap<String, String>,
    /// The shells it had open.
    pub shells: Vec<(HostName, Trace)>,
    /// The site's steps before it: begun, and ended.
    pub site: Vec<SiteRecord>,
    /// Whether it got stuck, and nobody has gone on with it since.
    pub stuck: bool,
    /// When its last line was written.
    pub last_at: Moment,
    /// Since when nobody could write by its doing; none while somebody could.
    pub refused_since: Option<Moment>,
}

/// A run found in the journals.
#[derive(Debug, Clone)]
pub struct Found {
    /// Its file.
    pub path: PathBuf,
    /// What it is.
    pub opening: Opening,
    /// What its lines say, in order.
    pub lines: Vec<Line>,
}

/// Every run of the cluster, oldest first. A file whose first line was not written whole is no run: nothing was done.
///
/// # Errors
/// When the directory or a file in it cannot be read.
pub fn runs(dir: &StateDir) -> std::io::Result<Vec<Found>> {
    let mut runs = Vec::new();
    let entries = match fs::read_dir(dir.path().join("runs")) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(runs),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "jsonl") {
            runs.extend(read(path)?);
        }
    }
    runs.sort_by_key(|run: &Found| (run.lines.first().map(|line| line.at), run.opening.run.clone()));
    Ok(runs)
}

/// A line that is not whole says nothing: it was never acted on, because acting waits for the sync. A crashed disk may leave
/// anything behind the last one.
fn read(path: PathBuf) -> std::io::Result<Option<Found>> {
    let bytes = fs::read(&path)?;
    let lines: Vec<Line> = bytes.split(|byte| *byte == b'\n').filter_map(line_of).collect();
    let Some(Entry::Open(opening)) = lines.first().map(|line| line.entry.clone()) else {
        return Ok(None);
    };
    Ok(Some(Found { path, opening, lines }))
}

/// Whether a program keeps that journal for itself. What cannot be asked may be.
fn is_at_work(path: &Path) -> bool {
    Lines::are_kept(path).unwrap_or(true)
}

fn line_of(bytes: &[u8]) -> Option<Line> {
    serde_json::from_slice(bytes).ok()
}

/// Every run of the cluster that has no end or got stuck, oldest first, while nobody is at work on it.
///
/// # Errors
/// When the directory or a file in it cannot be read.
pub fn open_runs(dir: &StateDir) -> std::io::Result<Vec<OpenRun>> {
    let mut open = Vec::new();
    for left in runs(dir)?.into_iter().filter_map(Found::open) {
        if left.opening.chore.is_none() {
            open.push(left);
            continue;
        }
        if is_at_work(&left.path) {
            continue;
        }
        // It may have come to its end between being read and being asked about.
        open.extend(read(left.path)?.and_then(Found::open));
    }
    Ok(open)
}

impl Found {
    /// Whether a program is at work on it that need not hold the cluster's lock.
    pub fn is_at_work(&self) -> bool {
        self.opening.chore.is_some() && is_at_work(&self.path)
    }

    /// When it was begun.
    pub fn began(&self) -> Moment {
        self.lines.first().map_or(Moment(0), |line| line.at)
    }

    /// How it ended, as far as it did.
    pub fn ending(&self) -> Option<&Ending> {
        let ends = self.lines.iter().rev().map(|line| match &line.entry {
            Entry::End(ending) => Some(ending),
            _ => None,
        });
        ends.flatten().next()
    }

    /// The run for people who read it afterwards.
    pub fn record(&self) -> Record {
        let marks = self.lines.iter().filter_map(|line| {
            let mark = match &line.entry {
                Entry::Step(happening) => Mark::Step(happening.clone()),
                Entry::Lost(loss) => Mark::Lost(loss.clone()),
                Entry::End(ending) => Mark::End(ending.clone()),
                Entry::Open(_) | Entry::Shell(..) | Entry::Gone(..) | Entry::Value(..) | Entry::Site(_) => {
                    return None;
                }
            };
            Some((line.at, mark))
        });
        Record {
            run: self.opening.run.clone(),
            operation: self.opening.operation.clone(),
            outgoing: self.opening.outgoing.clone(),
            incoming: self.opening.incoming.clone(),
            address: self.opening.address,
            chore: self.opening.chore.clone(),
            stages: self.opening.stages.clone(),
            began: self.began(),
            is_at_work: self.is_at_work(),
            marks: marks.collect(),
        }
    }

    /// The run as one that is to be brought to its end; none when it has come to it.
    pub fn open(self) -> Option<OpenRun> {
        let mut open = OpenRun {
            path: self.path,
            opening: self.opening,
            happenings: Vec::new(),
            registered: BTreeMap::new(),
            shells: Vec::new(),
            site: Vec::new(),
            stuck: false,
            last_at: Moment(0),
            refused_since: None,
        };
        for line in self.lines {
            open.last_at = line.at;
            match line.entry {
                Entry::Shell(host, trace) => open.shells.push((host, trace)),
                Entry::Gone(host, trace) => open
                    .shells
                    .retain(|shell| *shell != (host.clone(), trace.clone())),
                Entry::Step(happening) => {
                    open.stuck = false;
                    open.count_refusal(line.at, &happening);
                    open.happenings.push(happening);
                }
                Entry::Value(name, value) => {
                    open.registered.insert(name, value);
                }
                Entry::Site(record) if record.occasion == Occasion::Before => open.site.push(record),
                Entry::Open(_) | Entry::Lost(_) | Entry::Site(_) => {}
                Entry::End(Ending::Stuck { .. }) => open.stuck = true,
                Entry::End(Ending::Done { .. } | Ending::Undone { .. } | Ending::Failed { .. }) => {
                    return None;
                }
            }
        }
        Some(open)
    }
}

impl OpenRun {
    fn count_refusal(&mut self, at: Moment, happening: &Happening) {
        let stage = |number: &usize| self.opening.stages.get(*number);
        let refuses = |number: &usize| stage(number).is_some_and(Stage::refuses_writes);
        let opens = |number: &usize| stage(number).is_some_and(|stage| stage.section == Section::Commit);
        match happening {
            Happening::Doing(number) if refuses(number) => {
                self.refused_since.get_or_insert(at);
            }
            Happening::Undid(number, Outcome::Done) if refuses(number) => self.refused_since = None,
            Happening::Did(number, Outcome::Done) | Happening::Looked(number, Settled::Happened)
                if opens(number) =>
            {
                self.refused_since = None;
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
