//! Load on a lab: writers in the client host, a sampler in each database host, and the judge over all they recorded.
//!
//! ```no_run
//! # fn story(lab: &lab::Lab) -> anyhow::Result<()> {
//! use lab::judge::Expect;
//! use lab::writer::Writers;
//! let load = lab.start_load(Writers { pool: 50, ..Writers::default() })?;
//! // … hand the writer over …
//! let report = load.stop_and_judge(&[lab.db1(), lab.db2(), lab.db3()], Expect::default())?;
//! assert_eq!(report.verdict(), [], "{report}");
//! # Ok(())
//! # }
//! ```

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use crate::accounts::SAMPLER;
use crate::background::Background;
use crate::clock::monotonic_ns;
use crate::host::Host;
use crate::judge::{Evidence, Expect, HostSamples, Report, Row, Table, WriterLog, judge};
use crate::lab::Lab;
use crate::roster::{Purpose, WRITER_ADDRESS};
use crate::sampler::{Sample, Span, State};
use crate::wait;
use crate::writer::log::whole_lines;
use crate::writer::{SCHEMA, Writers};

/// The lab's program inside each host.
const PROGRAM: &str = "/usr/local/bin/mmm-lab";
const PASSWORD_FILE: &str = "/root/app.password";
const END_LIMIT: Duration = Duration::from_secs(10);
const CATCH_UP_LIMIT: Duration = Duration::from_secs(20);

/// Writers and samplers at work; they end when it is dropped.
pub struct Load<'a> {
    lab: &'a Lab,
    writers: Background,
    watches: Vec<Watch>,
    /// Every row of this load has an id from here on.
    first_id: u64,
}

impl Lab {
    /// Makes the table on the server that can be written, starts a sampler in every database host and the writers in
    /// the client host, and waits for the first acknowledged rows.
    pub fn start_load(&self, writers: Writers) -> Result<Load<'_>> {
        let [writer] = self.writable_hosts()[..] else {
            bail!(
                "load needs one writable server; writable are: {}",
                self.writable_hosts().join(", ")
            )
        };
        self.host(writer)?.sql(&SCHEMA.join(";\n"))?;
        let watches = self.databases().map(Watch::start).collect();
        self.client()
            .write(PASSWORD_FILE, &format!("{}\n", self.password("app")?))?;
        let first_id = monotonic_ns();
        let few = if writers.every > Duration::from_millis(100) {
            3
        } else {
            50
        };
        let writers = self.client().spawn(arguments(&writers))?;
        let load = Load {
            lab: self,
            writers,
            watches,
            first_id,
        };
        load.until_acknowledged(writer, few, Duration::from_secs(20))?;
        Ok(load)
    }
}

fn arguments(writers: &Writers) -> Vec<String> {
    let ms = |time: Duration| time.as_millis().to_string();
    let mut words = vec![PROGRAM.to_owned(), "writer".to_owned()];
    let mut add = |option: &str, value: &dyn Display| words.push(format!("--{option}={value}"));
    add("address", &format!("{WRITER_ADDRESS}:3306"));
    add("password-file", &PASSWORD_FILE);
    add("every-ms", &ms(writers.every));
    add("anew-every-ms", &ms(writers.anew_every));
    add("pool", &writers.pool);
    for address in &writers.pinned {
        add("pinned", address);
    }
    let flags = [(writers.keep, "--keep"), (writers.anew, "--anew")];
    words.extend(
        flags
            .into_iter()
            .filter(|(wanted, _)| *wanted)
            .map(|(_, flag)| flag.to_owned()),
    );
    words
}

impl Load<'_> {
    /// What the writers recorded so far.
    pub fn log(&self) -> Result<WriterLog> {
        WriterLog::read(&self.writers.stdout())
    }

    /// Waits until the server of this host has acknowledged so many rows more than now.
    pub fn until_acknowledged(&self, host: &str, rows: usize, limit: Duration) -> Result<()> {
        let server = server_id(self.lab.host(host)?)?;
        let seen = self.writers.stdout().rfind('\n').map_or(0, |at| at + 1);
        wait::until_some(limit, &format!("`{host}` to acknowledge {rows} rows"), || {
            let text = self.writers.stdout();
            let acks = WriterLog::acks_of(text.get(seen..).unwrap_or_default(), server)?;
            if acks == 0 && !self.writers.stderr().is_empty() {
                bail!("the writers say: {}", self.writers.stderr().trim());
            }
            Ok((acks >= rows).then_some(()))
        })
    }

    /// Ends the writers and the samplers, waits until the tables of `hosts` are equal (at most 20 s: if they never
    /// are, the report says in what they differ), and judges. Give the hosts that should hold everything.
    pub fn stop_and_judge(self, hosts: &[&Host], expect: Expect) -> Result<Report> {
        Ok(judge(&self.stop(hosts, expect)?))
    }

    /// The same, but gives what was recorded.
    pub fn stop(self, hosts: &[&Host], expect: Expect) -> Result<Evidence> {
        let output = self.writers.stop(END_LIMIT).context("cannot end the writers")?;
        if output.code != 0 {
            bail!("the writers failed: {}", output.stderr.trim());
        }
        let samples: Vec<HostSamples> = self.watches.into_iter().map(Watch::stop).collect::<Result<_>>()?;
        self.lab.client().sh(&format!("rm -f {PASSWORD_FILE}"))?.ok()?;
        let deadline = Instant::now() + CATCH_UP_LIMIT;
        let tables = loop {
            let read = hosts
                .iter()
                .map(|host| table(host, self.first_id))
                .collect::<Result<Vec<_>>>()?;
            let equal = read.windows(2).all(|pair| pair[0].rows == pair[1].rows);
            if equal || Instant::now() >= deadline {
                break read;
            }
            sleep(Duration::from_millis(100));
        };
        Ok(Evidence {
            logs: vec![WriterLog::read(&output.stdout)?],
            tables,
            samples,
            expect,
        })
    }
}

fn server_id(host: &Host) -> Result<u32> {
    match host.entry.purpose {
        Purpose::Database { server_id, .. } => Ok(server_id),
        _ => bail!("`{}` is no database host", host.name()),
    }
}

fn table(host: &Host, first_id: u64) -> Result<Table> {
    let rows = host.sql(&format!(
        "{} WHERE id >= {first_id} ORDER BY id, writer",
        Table::QUERY
    ))?;
    let read = |row: Vec<String>| match row.as_slice() {
        [id, writer, server] => Ok(Row {
            id: id.parse()?,
            writer: writer.clone(),
            server: server.parse()?,
        }),
        _ => Err(anyhow!(
            "`{}` gave a row that is none of the writers'",
            host.name()
        )),
    };
    let rows = rows.into_iter().map(read).collect::<Result<_>>()?;
    Ok(Table {
        host: host.name().to_owned(),
        server: server_id(host)?,
        rows,
    })
}

/// A sampler that is started again whenever its host comes back, so that a server that returns is watched from its
/// first moment on.
struct Watch {
    host: String,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<String>>>,
}

impl Watch {
    fn start(host: &Host) -> Watch {
        let stop = Arc::new(AtomicBool::new(false));
        let (asked, watched) = (Arc::clone(&stop), host.clone());
        let thread = std::thread::spawn(move || watch(&watched, &asked));
        Watch {
            host: host.name().to_owned(),
            stop,
            thread: Some(thread),
        }
    }

    fn stop(mut self) -> Result<HostSamples> {
        self.stop.store(true, Ordering::Relaxed);
        let text = self.thread.take().map(JoinHandle::join);
        match text {
            Some(Ok(text)) => HostSamples::read(&self.host, &text?),
            _ => bail!("the thread that watches `{}` died", self.host),
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Everything that the samplers of one host printed, and when the host was without power.
fn watch(host: &Host, stop: &AtomicBool) -> Result<String> {
    const PAUSE: Duration = Duration::from_millis(10);
    let user = format!("--user={SAMPLER}");
    let mut records = String::new();
    let mut off: Option<Span> = None;
    while !stop.load(Ordering::Relaxed) {
        if !host.is_on() {
            let now = Sample {
                from_ns: monotonic_ns(),
                to_ns: monotonic_ns(),
            };
            off.get_or_insert(Span::begin(State::Off, 0, now)).extend(now);
            sleep(PAUSE);
            continue;
        }
        if let Some(off) = off.take() {
            records.push_str(&format!("{off}\n"));
        }
        // A frozen host starts no sampler; the gap in its samples shows it.
        let Ok(sampler) = host.spawn([PROGRAM, "sampler", &user]) else {
            sleep(PAUSE);
            continue;
        };
        let printed = until_it_ends(sampler, host, stop)?;
        // The line that a power-off cut short is left out.
        whole_lines(&printed).for_each(|line| records.push_str(&format!("{line}\n")));
    }
    Ok(records + &off.map(|off| format!("{off}\n")).unwrap_or_default())
}

/// Lets one sampler run until its host ends it or it is to stop; gives what it printed.
fn until_it_ends(mut sampler: Background, host: &Host, stop: &AtomicBool) -> Result<String> {
    while sampler.is_running() && !stop.load(Ordering::Relaxed) {
        sleep(Duration::from_millis(10));
    }
    if sampler.is_running() && host.is_frozen() {
        return Ok(sampler.stdout());
    }
    let output = if sampler.is_running() {
        sampler.stop(END_LIMIT)?
    } else {
        sampler.wait(END_LIMIT)?
    };
    if output.code == 1 && output.stderr.starts_with("error:") && host.is_on() {
        bail!(
            "the sampler of `{}` failed: {}",
            host.name(),
            output.stderr.trim()
        );
    }
    Ok(output.stdout)
}
