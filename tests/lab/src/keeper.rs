//! Keeping one unit of a host: starting and stopping its process, and starting it again after a crash as the
//! distribution's units do.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::Signal;

use crate::process::send;
use crate::service::{Readiness, Unit, restart_file};
use crate::unit_files;

/// How long a unit may take until it is ready.
pub const START_LIMIT: Duration = Duration::from_secs(90);

/// What a unit is doing, in the words of systemd.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub active: &'static str,
    pub sub: &'static str,
    pub main_pid: u32,
    pub restarts: u32,
    pub result: &'static str,
    /// The number of the job that is under way.
    pub job: Option<u32>,
}

/// What a unit can be told.
pub enum Order {
    Start(Sender<Answer>),
    Stop(Sender<Answer>),
    Restart(Sender<Answer>),
    ResetFailed(Sender<Answer>),
    Ready,
    Exited(u32, ExitStatus),
}

/// `Err` says why the job failed.
pub type Answer = Result<(), String>;

/// A unit as others see it.
pub struct Handle {
    pub unit: Unit,
    orders: Sender<Order>,
    snapshot: Arc<Mutex<Snapshot>>,
}

impl Handle {
    pub fn snapshot(&self) -> Snapshot {
        self.snapshot
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Gives an order and hands out where its answer will come.
    pub fn order(&self, make: impl FnOnce(Sender<Answer>) -> Order) -> Receiver<Answer> {
        let (sender, receiver) = mpsc::channel();
        // A unit's thread lives as long as the host; were it gone, the receiver would say so.
        let _gone = self.orders.send(make(sender));
        receiver
    }
}

/// Starts the thread that keeps a unit; the unit itself is not started yet.
pub fn launch(unit: Unit) -> Result<Handle> {
    let (orders, inbox) = mpsc::channel();
    let snapshot = Arc::new(Mutex::new(Snapshot {
        active: "inactive",
        sub: "dead",
        main_pid: 0,
        restarts: 0,
        result: "success",
        job: None,
    }));
    let notify = PathBuf::from(format!("/run/lab/notify.{}", unit.name));
    let keeper = Keeper {
        unit: unit.clone(),
        notify: notify.clone(),
        orders: orders.clone(),
        snapshot: Arc::clone(&snapshot),
        phase: Phase::Down,
        generation: 0,
        restarts: 0,
        jobs: 0,
        result: "success",
        start_waiters: Vec::new(),
        stop_waiters: Vec::new(),
        start_after_stop: false,
    };
    let socket = UnixDatagram::bind(&notify).context("cannot make a notify socket")?;
    fs::set_permissions(&notify, fs::Permissions::from_mode(0o777))
        .context("cannot open the notify socket")?;
    keeper.listen_for_readiness(socket);
    std::thread::spawn(move || keeper.run(&inbox));
    Ok(Handle {
        unit,
        orders,
        snapshot,
    })
}

/// Where a unit is in its life.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    Down,
    Failed,
    Starting { pid: u32, until: Instant },
    Up { pid: u32 },
    Stopping { pid: u32 },
    Waiting { until: Instant },
}

/// The thread that owns one unit: everything that happens to it passes here, one thing after the other.
struct Keeper {
    unit: Unit,
    notify: PathBuf,
    orders: Sender<Order>,
    snapshot: Arc<Mutex<Snapshot>>,
    phase: Phase,
    /// Counts starts, so that the end of an earlier process is not taken for that of the present one.
    generation: u32,
    restarts: u32,
    jobs: u32,
    result: &'static str,
    start_waiters: Vec<Sender<Answer>>,
    stop_waiters: Vec<Sender<Answer>>,
    start_after_stop: bool,
}

impl Keeper {
    fn listen_for_readiness(&self, socket: UnixDatagram) {
        let orders = self.orders.clone();
        std::thread::spawn(move || {
            let mut buffer = [0_u8; 4096];
            while let Ok(length) = socket.recv(&mut buffer) {
                let text = String::from_utf8_lossy(buffer.get(..length).unwrap_or_default()).into_owned();
                if text.lines().any(|line| line == "READY=1") && orders.send(Order::Ready).is_err() {
                    break;
                }
            }
        });
    }

    /// Waits until the process has written its id down; a file that an earlier one left has another id.
    fn look_for_pid(&self, path: PathBuf, pid: u32) {
        let orders = self.orders.clone();
        std::thread::spawn(move || {
            let until = Instant::now() + START_LIMIT;
            while Instant::now() < until {
                let written = fs::read_to_string(&path).unwrap_or_default();
                if written.trim() == pid.to_string() {
                    // A unit that is gone by now does not want to know.
                    let _gone = orders.send(Order::Ready);
                    return;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        });
    }

    fn run(mut self, inbox: &Receiver<Order>) {
        loop {
            self.publish();
            let due = match self.phase {
                Phase::Starting { until, .. } | Phase::Waiting { until } => {
                    until.saturating_duration_since(Instant::now())
                }
                _ => Duration::from_secs(3600),
            };
            match inbox.recv_timeout(due) {
                Ok(order) => self.take(order),
                Err(RecvTimeoutError::Timeout) => self.time_is_up(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn take(&mut self, order: Order) {
        match order {
            Order::Start(waiter) => self.start(waiter),
            Order::Stop(waiter) => {
                self.start_after_stop = false;
                self.stop(waiter);
            }
            Order::Restart(waiter) => match self.phase {
                Phase::Starting { .. } | Phase::Up { .. } => {
                    let (ignored, _) = mpsc::channel();
                    self.stop(ignored);
                    self.start_after_stop = true;
                    self.start_waiters.push(waiter);
                }
                _ => self.start(waiter),
            },
            Order::ResetFailed(waiter) => {
                if self.phase == Phase::Failed {
                    self.phase = Phase::Down;
                    self.result = "success";
                }
                settle(vec![waiter], &Ok(()));
            }
            Order::Ready => {
                if let Phase::Starting { pid, .. } = self.phase {
                    self.phase = Phase::Up { pid };
                    settle(std::mem::take(&mut self.start_waiters), &Ok(()));
                }
            }
            Order::Exited(generation, status) => {
                if generation == self.generation {
                    self.exited(status);
                }
            }
        }
    }

    fn start(&mut self, waiter: Sender<Answer>) {
        self.jobs += 1;
        match self.phase {
            Phase::Up { .. } => settle(vec![waiter], &Ok(())),
            Phase::Starting { .. } => self.start_waiters.push(waiter),
            Phase::Stopping { .. } => {
                self.start_after_stop = true;
                self.start_waiters.push(waiter);
            }
            Phase::Down | Phase::Failed | Phase::Waiting { .. } => {
                self.start_waiters.push(waiter);
                self.restarts = 0;
                self.spawn();
            }
        }
    }

    fn spawn(&mut self) {
        if unit_files::is_masked(&self.unit.name) {
            self.phase = if matches!(self.phase, Phase::Waiting { .. }) {
                Phase::Failed
            } else {
                self.phase
            };
            let because = format!("Unit {} is masked.", self.unit.name);
            return settle(std::mem::take(&mut self.start_waiters), &Err(because));
        }
        let Some((program, arguments)) = self.unit.exec.split_first() else {
            return self.give_up("no program");
        };
        let mut command = Command::new(program);
        command
            .args(arguments)
            .uid(self.unit.user)
            .gid(self.unit.group)
            .process_group(0);
        command.env("NOTIFY_SOCKET", &self.notify).stdin(Stdio::null());
        match command.spawn() {
            Err(error) => self.give_up(&error.to_string()),
            Ok(mut child) => {
                self.generation += 1;
                self.phase = Phase::Starting {
                    pid: child.id(),
                    until: Instant::now() + START_LIMIT,
                };
                if let Readiness::PidFile(path) = &self.unit.ready {
                    self.look_for_pid(path.clone(), child.id());
                }
                let (orders, generation) = (self.orders.clone(), self.generation);
                std::thread::spawn(move || {
                    child
                        .wait()
                        .map(|status| orders.send(Order::Exited(generation, status)))
                });
            }
        }
    }

    fn give_up(&mut self, because: &str) {
        self.phase = Phase::Failed;
        self.result = "resources";
        settle(std::mem::take(&mut self.start_waiters), &Err(because.to_owned()));
    }

    fn stop(&mut self, waiter: Sender<Answer>) {
        self.jobs += 1;
        match self.phase {
            Phase::Down | Phase::Failed => settle(vec![waiter], &Ok(())),
            Phase::Waiting { .. } => {
                self.phase = Phase::Down;
                settle(vec![waiter], &Ok(()));
            }
            Phase::Stopping { .. } => self.stop_waiters.push(waiter),
            Phase::Starting { pid, .. } | Phase::Up { pid } => {
                self.phase = Phase::Stopping { pid };
                self.stop_waiters.push(waiter);
                settle(
                    std::mem::take(&mut self.start_waiters),
                    &Err("the start was canceled".to_owned()),
                );
                // As systemd does: a stopped process is woken so that it can end. One that has just ended is no error.
                for signal in [Signal::TERM, Signal::CONT] {
                    let _ended = send(pid, signal);
                }
            }
        }
    }

    /// The process ended: by order, by itself, or by a crash after which it is to be started again.
    fn exited(&mut self, status: ExitStatus) {
        let ordered = matches!(self.phase, Phase::Stopping { .. });
        let clean_signal = status
            .signal()
            .is_some_and(|signal| [1, 2, 13, 15].contains(&signal));
        let crashed = status.signal().is_some() && !clean_signal;
        self.result = match (crashed, status.code()) {
            (true, _) => "signal",
            (false, Some(0) | None) => "success",
            (false, Some(_)) => "exit-code",
        };
        let failed = self.result != "success";
        self.phase = if failed { Phase::Failed } else { Phase::Down };
        if ordered {
            settle(std::mem::take(&mut self.stop_waiters), &Ok(()));
            if std::mem::take(&mut self.start_after_stop) {
                self.restarts = 0;
                self.spawn();
            }
            return;
        }
        let why = format!("the process ended with {status}");
        settle(std::mem::take(&mut self.start_waiters), &Err(why));
        if let Some(delay) = restart_delay(&self.unit.name).filter(|_| crashed) {
            self.phase = Phase::Waiting {
                until: Instant::now() + delay,
            };
        }
    }

    fn time_is_up(&mut self) {
        match self.phase {
            Phase::Waiting { .. } => {
                self.restarts += 1;
                self.spawn();
            }
            Phase::Starting { pid, .. } => {
                self.result = "timeout";
                settle(
                    std::mem::take(&mut self.start_waiters),
                    &Err("it was not ready in time".to_owned()),
                );
                self.phase = Phase::Stopping { pid };
                let _ended = send(pid, Signal::KILL);
            }
            _ => {}
        }
    }

    fn publish(&self) {
        let (active, sub, main_pid) = match self.phase {
            Phase::Down => ("inactive", "dead", 0),
            Phase::Failed => ("failed", "failed", 0),
            Phase::Starting { pid, .. } => ("activating", "start", pid),
            Phase::Up { pid } => ("active", "running", pid),
            Phase::Stopping { pid } => ("deactivating", "stop-sigterm", pid),
            Phase::Waiting { .. } => ("activating", "auto-restart", 0),
        };
        let busy = matches!(self.phase, Phase::Stopping { .. }) || !self.start_waiters.is_empty();
        let job = busy.then_some(self.jobs);
        *self.snapshot.lock().unwrap_or_else(PoisonError::into_inner) = Snapshot {
            active,
            sub,
            main_pid,
            restarts: self.restarts,
            result: self.result,
            job,
        };
    }
}

fn settle(waiters: Vec<Sender<Answer>>, answer: &Answer) {
    for waiter in waiters {
        // Whoever asked may have gone away meanwhile.
        let _gone = waiter.send(answer.clone());
    }
}

/// The unit's restart delay now; `None` when a crashed service stays down.
fn restart_delay(unit: &str) -> Option<Duration> {
    let text = fs::read_to_string(restart_file(unit)).ok()?;
    text.trim().parse().ok().map(Duration::from_millis)
}
