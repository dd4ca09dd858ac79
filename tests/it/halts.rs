//! Playbooks laid over the shipped ones, in which an operation halts at one of its steps until the test lets it go on.

use std::fmt;
use std::fs;
use std::time::Duration;

use lab::background::Background;
use lab::lab::Options;
use lab::steps::{Mishap, edit, shipped};
use lab::{Flavour, Lab, wait};
use mmm::config::playbook;
use mmm::config::template;
use mmm::core::playbook::{Seat, Section};

use super::cluster::install;

/// Where the box looks for playbooks of its own.
pub const FOLDER: &str = lab::inventory::PLAYBOOKS;
/// Stands on a host while a step halts there; removing it lets the step go on.
pub const HALTED: &str = "/tmp/halted-for-the-test";
/// The duty that halts.
const HALTING: &str = "duties/halt.yaml";
const REACHED_WITHIN: Duration = Duration::from_secs(30);

/// One step of a shipped operation.
#[derive(Debug, Clone)]
pub struct Step {
    pub operation: &'static str,
    /// Its place among the operation's steps, counted from 1.
    number: usize,
    pub section: Section,
    pub seat: Seat,
    pub name: String,
    pub duty: String,
    /// By then it must have begun, or it never does.
    pub within: Duration,
    /// It is no reason to stop when it fails.
    pub if_possible: bool,
}

impl Step {
    /// The playbook of its operation.
    fn file(&self) -> String {
        format!("operations/{}.yaml", self.operation)
    }

    /// What the lab calls it.
    fn named(&self) -> String {
        format!("{}/{}", self.operation, self.number)
    }

    /// The host that performs it when `db1` hands over to `db2`.
    pub fn host(&self) -> &'static str {
        host_at(self.seat)
    }
}

fn host_at(seat: Seat) -> &'static str {
    match seat {
        Seat::Outgoing => "db1",
        Seat::Incoming => "db2",
        Seat::Replicas | Seat::Donor => "db3",
        Seat::Monitor => "box",
    }
}

/// Every step that a switchover takes in the lab, whose servers replicate by GTID and whose inventory asks for no lock.
pub fn steps() -> Vec<Step> {
    steps_of("switchover")
}

/// Every step that an operation takes in the lab; nobody waits for replicas there, a failover has
/// no donor, and its writer's host obeys.
pub fn steps_of(operation: &'static str) -> Vec<Step> {
    let playbook = playbook::load(None).unwrap();
    let mut context = template::Context::default();
    context
        .set("replication", serde_json::json!({ "gtid": true }))
        .set("switchover", serde_json::json!({ "read_lock": false }))
        .set("donor", "")
        .set("allow_loss", "no")
        .set("outgoing_obeyed", "yes")
        .set("semi_sync", "no")
        .set("standby_stopped", "no")
        .set("strays", "no");
    let is_taken = |when: &str| template::holds(when, &context).unwrap();
    let every = playbook.operations[operation].steps().enumerate();
    every
        .filter(|(_, (_, step))| step.when.as_deref().is_none_or(is_taken))
        .map(|(before, (section, step))| Step {
            operation,
            number: before + 1,
            section,
            seat: step.at,
            name: step.name.clone(),
            duty: step.duty.clone(),
            within: step.within,
            if_possible: step.if_possible,
        })
        .collect()
}

/// The first step with that duty.
pub fn step(duty: &str) -> Step {
    step_of("switchover", duty)
}

/// The first step of an operation with that duty.
pub fn step_of(operation: &'static str, duty: &str) -> Step {
    let found = steps_of(operation).into_iter().find(|step| step.duty == duty);
    found.unwrap_or_else(|| panic!("the shipped {operation} has no step `{duty}`"))
}

/// Where a switchover halts.
#[derive(Debug, Clone)]
pub enum Halt {
    /// Before the step is sent to its host.
    Before(Step),
    /// On the step's host, after it was sent and before it changes anything.
    Within(Step),
}

impl fmt::Display for Halt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Halt::Before(step) => write!(f, "before `{}` at {}", step.duty, step.seat),
            Halt::Within(step) => write!(f, "within `{}` at {}", step.duty, step.seat),
        }
    }
}

impl Halt {
    pub fn step(&self) -> &Step {
        match self {
            Halt::Before(step) | Halt::Within(step) => step,
        }
    }

    /// The host on which it halts; never the step's own when it has not been sent.
    fn host(&self) -> &'static str {
        match self {
            Halt::Within(step) => step.host(),
            Halt::Before(step) if step.seat == Seat::Outgoing => "db2",
            Halt::Before(_) => "db1",
        }
    }

    /// Waits until the operation that `run` performs halts here; what it said instead is shown.
    pub fn until_reached(&self, lab: &Lab, run: &Background) {
        let mark = lab.host(self.host()).unwrap().path(HALTED).unwrap();
        let reached = wait::until(REACHED_WITHIN, &format!("the operation to halt {self}"), || {
            mark.exists()
        });
        if let Err(error) = reached {
            panic!(
                "{error:#}\n--- stdout\n{}\n--- stderr\n{}",
                run.stdout(),
                run.stderr()
            );
        }
    }

    /// Lets what halts here go on, if it still lives.
    pub fn release(&self, lab: &Lab) {
        fs::remove_file(lab.host(self.host()).unwrap().path(HALTED).unwrap()).unwrap();
    }
}

/// A cluster whose switchover halts there.
pub fn cluster_halting(halt: &Halt) -> Lab {
    let lab = cluster_of_halts(Flavour::default());
    halt_at(&lab, halt);
    lab
}

/// A cluster whose operations can be made to halt, one after the other.
pub fn cluster_of_halts(flavour: Flavour) -> Lab {
    let lab = Lab::up(Options {
        flavour,
        ..Options::for_test()
    })
    .unwrap();
    install(&lab, &lab.inventory_yaml());
    lab.use_own_playbooks().unwrap();
    lab
}

/// Lets the operation halt there from now on.
pub fn halt_at(lab: &Lab, halt: &Halt) {
    let box_ = lab.box_();
    for host in lab.databases().chain([box_]) {
        host.sh(&format!("rm -f {HALTED}")).unwrap().ok().unwrap();
    }
    let step = halt.step();
    match halt {
        Halt::Before(_) => {
            let seat = if step.seat == Seat::Outgoing {
                Seat::Incoming
            } else {
                Seat::Outgoing
            };
            let operation = with_line_before(&shipped(&step.file()).unwrap(), step, seat);
            lab.write_playbook(&step.file(), &operation).unwrap();
            lab.write_playbook(HALTING, &halting_duty(&waiting())).unwrap();
        }
        Halt::Within(step) => lab.step_begins_with(&step.named(), &waiting()).unwrap(),
    }
}

/// Lets that step go wrong from now on, at the host that performs it.
pub fn inject(lab: &Lab, step: &Step, mishap: Mishap) {
    lab.fault(mishap.name(), step.host(), Some(&step.named()))
        .unwrap();
}

/// Lets no operation halt any more. The names stay: a run that was cut off is settled with the steps it was begun with.
pub fn lift(lab: &Lab, halt: &Halt) {
    match halt {
        Halt::Before(step) => {
            let done = lab.box_().sh(&format!("rm -f {FOLDER}/{}", step.file()));
            done.unwrap().ok().unwrap();
            lab.write_playbook(HALTING, &halting_duty("true")).unwrap();
        }
        Halt::Within(_) => lab.mend_steps().unwrap(),
    }
}

/// The command that halts.
pub fn waiting() -> String {
    format!("touch {HALTED}; while [ -e {HALTED} ]; do sleep 0.05; done")
}

fn halting_duty(run: &str) -> String {
    format!(
        "duty: halt\nsays: wait\nundo: nothing\nwithin: 15s\nsteps:\n  - {{ name: Wait, run: '{run}' }}\n"
    )
}

/// In front of the step; the commit section keeps its one step, so there it goes to the end of the section before.
fn with_line_before(operation: &str, step: &Step, seat: Seat) -> String {
    let halt = format!("  - {{ name: Wait, at: {seat}, duty: halt, within: 15s }}\n");
    if step.section == Section::Commit {
        return operation.replacen("commit:", &format!("{halt}commit:"), 1);
    }
    edit(operation, |number, line| {
        let before = if number == step.number { halt.as_str() } else { "" };
        format!("{before}{line}")
    })
}
