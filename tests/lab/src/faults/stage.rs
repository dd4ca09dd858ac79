//! What a scenario acts on: the lab, its monitor, and whatever the scenario has set going.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::told::{self, View};
use crate::background::Background;
use crate::command::Output;
use crate::host::Host;
use crate::lab::Lab;
use crate::wait;

/// What the monitor needs, at most, to notice and to act, on a machine with other work.
pub const ACTS_WITHIN: Duration = Duration::from_secs(90);
/// What anything else may take.
pub const SOON: Duration = Duration::from_secs(30);

/// A lab with a monitor at work.
pub struct Stage<'l> {
    pub lab: &'l Lab,
    monitor: Background,
    /// Ended with the scenario.
    set_going: RefCell<Vec<Background>>,
    /// What people saw.
    seen: RefCell<String>,
}

impl<'l> Stage<'l> {
    /// Starts the monitor and waits until it finds all well.
    pub fn set(lab: &'l Lab) -> Result<Self> {
        let stage = Self {
            lab,
            monitor: lab.box_().spawn_mmm(["monitor"])?,
            set_going: RefCell::default(),
            seen: RefCell::default(),
        };
        stage.until_shown("all to be well", View::is_well)?;
        Ok(stage)
    }

    pub fn db1(&self) -> &Host {
        self.lab.db1()
    }

    pub fn db2(&self) -> &Host {
        self.lab.db2()
    }

    pub fn db3(&self) -> &Host {
        self.lab.db3()
    }

    /// Everything the monitor has said.
    pub fn said(&self) -> String {
        self.monitor.stderr()
    }

    /// What people saw, and what the monitor said.
    pub fn chatter(&self) -> String {
        format!("{}{}", self.seen.borrow(), self.said())
    }

    /// Keeps what a command printed.
    pub fn saw(&self, output: &Output) {
        *self.seen.borrow_mut() += &format!("{}{}", output.stderr, output.stdout);
    }

    /// Waits until what `mmm show` tells is as wanted.
    pub fn until_shown(&self, what: &str, wanted: impl Fn(&View) -> bool) -> Result<View> {
        wait::until_some(ACTS_WITHIN, what, || {
            let view = View::of(self.lab)?;
            if wanted(&view) {
                return Ok(Some(view));
            }
            bail!("shown: {view:?}")
        })
    }

    /// Runs a shell line on a host until the scenario is over.
    pub fn set_going(&self, host: &Host, line: &str) -> Result<()> {
        let running = host.spawn(["sh", "-c", line])?;
        self.set_going.borrow_mut().push(running);
        Ok(())
    }

    /// Ends whatever the scenario has set going.
    pub fn end_all(&self) {
        self.set_going.borrow_mut().clear();
    }

    /// Waits until a failover has begun.
    pub fn until_a_failover_begins(&self) -> Result<()> {
        wait::until_some(ACTS_WITHIN, "a failover to begin", || {
            let begun = told::runs(self.lab)?;
            Ok(begun.iter().any(|run| run.operation == "failover").then_some(()))
        })
    }

    /// A switchover during which the box's link is down for a while, from the moment on at which this step has begun.
    pub fn switch_cut_at(&self, step: usize) -> Result<Output> {
        const DARK: Duration = Duration::from_secs(8);
        let box_ = self.lab.box_();
        let run = box_.spawn_mmm(["switchover", "--to", "db2"])?;
        let what = format!("step {step} to begin");
        wait::until_some(SOON, &what, || {
            let runs = told::runs(self.lab)?;
            let newest = runs.iter().rfind(|run| run.operation == "switchover");
            Ok(newest.filter(|run| run.began >= Some(step - 1)).map(drop))
        })?;
        box_.link_down()?;
        let dark = Instant::now();
        self.until_it_lasted(dark, DARK)?;
        box_.link_up()?;
        run.wait(ACTS_WITHIN * 2)
    }

    /// Waits until a count of rows on a host is more than so many.
    pub fn until_more_than(&self, host: &Host, query: &str, rows: u64) -> Result<()> {
        wait::until_some(SOON, query, || {
            Ok((host.value(query)?.parse::<u64>()? > rows).then_some(()))
        })
    }

    /// Waits until it is so long since a moment, and meanwhile lets the load go on.
    pub fn until_it_lasted(&self, since: Instant, lasts: Duration) -> Result<()> {
        wait::until(lasts + SOON, "the fault to have lasted", || {
            since.elapsed() >= lasts
        })
    }
}
