//! `cargo lab demo`: what mmm does, before the reader's eyes, on real servers: a planned hand-over and the death of
//! the writer, both under write load, and what the judges of the lab say to it.

use std::io::Write;
use std::process::{ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use lab::command::wait_for_exit;
use lab::judge::{Expect, Report, Violation};
use lab::place::Disks;
use lab::progress::Progress;
use lab::roster::WRITER_ADDRESS;
use lab::writer::Writers;
use lab::{Background, Flavour, Host, Lab, Load, Options, leftovers, wait};

use crate::built;

/// For the acts that wait for the monitor.
const PATIENCE: Duration = Duration::from_secs(90);
const COMMAND_LIMIT: Duration = Duration::from_secs(60);
/// More than the writers can write in a second: between two moves of the address clients believe no announcement for
/// that long.
const ROWS_OF_A_SECOND: usize = 700;
/// The idle connections of an application's pool.
const POOL: usize = 50;

/// Plays it all in a lab of its own; fails when a row was lost without mmm saying so, or two servers were writers at once.
pub fn run() -> Result<ExitCode> {
    let started = Instant::now();
    act("mmm is built and installed on one box; the database hosts get nothing but an SSH user")?;
    let mmm = built::mmm()?;
    let name = format!("demo-{}", std::process::id());
    take_down_when_interrupted(&name);
    let lab = Lab::up(Options {
        name,
        owned: true,
        progress: Progress::shown(),
        second_pair: false,
        flavour: Flavour::default(),
        disks: Disks::OnDisk,
    })?;
    lab.install_on_box(&mmm)?;
    lab.write_inventory(&lab.inventory_yaml())?;
    let (report, named) = story(&lab)?;
    let verdict = conclude(&report, named)?;
    lab.down()?;
    say(&format!(
        "\nThe lab is down; nothing is left of it. {:.0} s in all.",
        started.elapsed().as_secs_f64()
    ))?;
    Ok(verdict)
}

/// What the judges found, and how many transactions mmm named that only the killed server has; none when there are none.
fn story(lab: &Lab) -> Result<(Report, Option<usize>)> {
    act(&format!(
        "Three MariaDB servers: db1 and db2 replicate from each other, db3 from db1; clients write to {WRITER_ADDRESS}"
    ))?;
    mmm(lab, &["show"])?;

    act(&format!(
        "Load: one client writes a row every 2 ms, one connects anew every 10 ms, {POOL} more connections wait in a pool"
    ))?;
    let load = lab.start_load(Writers {
        pool: POOL,
        ..Writers::default()
    })?;
    load.until_acknowledged("db1", ROWS_OF_A_SECOND, PATIENCE)?;
    say("rows are being written")?;

    act("A planned hand-over, from db1 to db2")?;
    mmm(lab, &["switchover", "--to", "db2"])?;
    load.until_acknowledged("db2", ROWS_OF_A_SECOND, PATIENCE)?;
    wait::until(PATIENCE, "replication to run everywhere", || {
        lab.replication_runs()
    })?;

    act(
        "Now the monitor watches, and db2's server is killed with kill -9. Nobody touches anything after that",
    )?;
    let monitor = Monitor::start(lab)?;
    load.until_acknowledged("db2", ROWS_OF_A_SECOND, PATIENCE)?;
    let killed = Instant::now();
    lab.db2().kill_mysqld()?;
    say("      lab: kill -9 of mysqld on db2")?;
    failed_over(&load, &monitor, killed)?;
    let named = came_back(lab, &monitor, killed)?;
    monitor.catch_up()?;

    act("The cluster afterwards")?;
    mmm(lab, &["show"])?;
    monitor.stop()?;
    let has_all = |host: &&Host| named.is_none() || host.name() != "db2";
    let hosts: Vec<&Host> = lab.databases().filter(has_all).collect();
    let expect = Expect {
        handovers: 2,
        ..Expect::default()
    };
    Ok((load.stop_and_judge(&hosts, expect)?, named))
}

/// Waits until writes go on at db1, while the monitor's words are shown.
fn failed_over(load: &Load<'_>, monitor: &Monitor, killed: Instant) -> Result<()> {
    const TURN: Duration = Duration::from_millis(300);
    while load.until_acknowledged("db1", 1, TURN).is_err() {
        monitor.catch_up()?;
        if killed.elapsed() > PATIENCE {
            bail!("nobody took the writes over within {PATIENCE:?}");
        }
    }
    monitor.catch_up()?;
    say(&format!(
        "      lab: writes go on at db1, {:.1} s after the kill",
        killed.elapsed().as_secs_f64()
    ))
}

/// Waits until db2 replicates again and refuses writes, or is kept out: replication is asynchronous, and what it
/// acknowledged last may have reached nobody. Gives how many transactions of it are named then.
fn came_back(lab: &Lab, monitor: &Monitor, killed: Instant) -> Result<Option<usize>> {
    let is_settled = |shown: &str| {
        let mut hosts = shown.lines().skip(1);
        shown.contains(" R03 ") && hosts.all(|line| line.contains("/ONLINE"))
    };
    loop {
        let shown = lab.box_().mmm(["show"])?.stdout;
        if lab.replication_runs() && lab.writable_hosts() == ["db1"] && is_settled(&shown) {
            break;
        }
        if let Some(named) = named_loss(&shown) {
            monitor.catch_up()?;
            say(&format!(
                "      lab: db2 had written what no other host had received, acknowledged or not: mmm names it ({named} in number) and keeps db2 out"
            ))?;
            return Ok(Some(named));
        }
        monitor.catch_up()?;
        if killed.elapsed() > PATIENCE {
            bail!("db2 did not come back as a replica within {PATIENCE:?}");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    monitor.catch_up()?;
    say(&format!(
        "      lab: db2 is back as a replica, {:.1} s after the kill",
        killed.elapsed().as_secs_f64()
    ))?;
    Ok(None)
}

/// How many transactions `show` names that only db2 has: `# Loss: db1 lacks 3 transactions of db2: …`.
fn named_loss(shown: &str) -> Option<usize> {
    shown
        .lines()
        .filter_map(|line| line.strip_prefix("# Loss: db1 lacks "))
        .find(|rest| rest.contains(" of db2: "))?
        .split(' ')
        .next()?
        .parse()
        .ok()
}

/// Says what the judges found.
fn conclude(report: &Report, named: Option<usize>) -> Result<ExitCode> {
    act("What the clients and a sampler inside each host recorded")?;
    let gaps: Vec<String> = report
        .handover_gaps
        .iter()
        .map(|gap| format!("{:.1} ms", gap.gap_ms))
        .collect();
    say(&format!(
        "longest time without a write: {} (planned), {} (kill -9)",
        gaps.first().map_or("unknown", String::as_str),
        gaps.get(1).map_or("unknown", String::as_str)
    ))?;
    say(&format!(
        "rows: {} acknowledged, {} lost, {} duplicated",
        report.acknowledged,
        report.lost(),
        report.duplicated()
    ))?;
    say(if report.overlap() {
        "two servers were writers at the same time"
    } else {
        "never two writers: by the clients' acknowledgements and by the samplers"
    })?;
    say(&format!("\n{report}"))?;
    let is_named = |violation: &Violation| {
        matches!(violation, Violation::Missing(..)) && named.is_some_and(|named| report.lost() <= named)
    };
    Ok(if report.verdict().iter().all(is_named) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Runs mmm on the box, as an operator would see it.
fn mmm(lab: &Lab, arguments: &[&str]) -> Result<()> {
    say(&format!("box# mmm {}", arguments.join(" ")))?;
    let words = std::iter::once("mmm").chain(arguments.iter().copied());
    let mut child = lab
        .box_()
        .command(words)?
        .stdin(Stdio::null())
        .spawn()
        .context("cannot start mmm on the box")?;
    let Some(status) = wait_for_exit(&mut child, Instant::now() + COMMAND_LIMIT)? else {
        // What failed is told below; a process that is gone needs no end.
        let _gone = child.kill();
        bail!("mmm did not end within {COMMAND_LIMIT:?}");
    };
    // 3: it looked, and something is wrong; what, it has said.
    if !matches!(status.code(), Some(0 | 3)) {
        bail!("mmm {} ended with {status}", arguments.join(" "));
    }
    Ok(())
}

/// The monitor on the box, whose words are shown as they come.
struct Monitor {
    running: Background,
    shown: std::cell::Cell<usize>,
}

impl Monitor {
    fn start(lab: &Lab) -> Result<Self> {
        say("box# mmm monitor &")?;
        let running = lab.box_().spawn_mmm(["monitor"])?;
        wait::until_some(COMMAND_LIMIT, "the monitor to answer", || {
            Ok(lab.box_().mmm(["ping"])?.success().then_some(()))
        })?;
        let monitor = Self {
            running,
            shown: std::cell::Cell::new(0),
        };
        monitor.catch_up()?;
        Ok(monitor)
    }

    /// Shows what it has said since the last time, whole lines only.
    fn catch_up(&self) -> Result<()> {
        let said = self.running.stderr();
        let new = said.get(self.shown.get()..).unwrap_or_default();
        let Some(end) = new.rfind('\n') else { return Ok(()) };
        self.shown.set(self.shown.get() + end + 1);
        new[..end]
            .lines()
            .try_for_each(|line| say(&format!("  monitor: {line}")))
    }

    fn stop(self) -> Result<()> {
        self.running.stop(COMMAND_LIMIT)?.ok()?;
        Ok(())
    }
}

/// A person who has seen enough leaves no lab behind either.
fn take_down_when_interrupted(name: &str) {
    let name = name.to_owned();
    std::thread::spawn(move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
            return;
        };
        if runtime.block_on(tokio::signal::ctrl_c()).is_ok() {
            let outcome = leftovers::remove(&name);
            // Nobody can be told that standard error is closed.
            let _closed = match outcome {
                Ok(()) => writeln!(std::io::stderr(), "\ninterrupted; the lab is down"),
                Err(error) => writeln!(std::io::stderr(), "\ninterrupted; {error:#}"),
            };
            #[expect(clippy::exit, reason = "the main thread waits for a lab that is gone")]
            std::process::exit(130);
        }
    });
}

fn act(title: &str) -> Result<()> {
    say(&format!("\n== {title}"))
}

fn say(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")
        .and_then(|()| out.flush())
        .context("cannot write to standard output")
}
