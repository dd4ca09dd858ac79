//! Playbooks laid over the shipped ones, in which an operation halts at one of its steps until the test lets it go on, or
//! in which that step fails, takes too long, or loses its connection.

use std::fmt;
use std::fs;
use std::time::Duration;

use lab::lab::Options;
use lab::{Flavour, Host, Lab, wait};
use mmm::config::playbook::{self, FILES};
use mmm::config::template;
use mmm::core::playbook::{Seat, Section};

use super::cluster::install;

/// Where the box looks for playbooks of its own.
pub const FOLDER: &str = "/etc/mmm/playbooks";
/// Stands on a host while a step halts there; removing it lets the step go on.
const HALTED: &str = "/tmp/halted-for-the-test";
const REACHED_WITHIN: Duration = Duration::from_secs(30);

/// One step of a shipped operation.
#[derive(Debug, Clone)]
pub struct Step {
    pub operation: &'static str,
    /// Its place among the operation's lines.
    line: usize,
    pub section: Section,
    pub seat: Seat,
    pub name: String,
    pub duty: String,
    /// By then it must have begun, or it never does.
    pub within: Duration,
}

impl Step {
    /// The playbook of its operation.
    fn file(&self) -> String {
        format!("operations/{}.yaml", self.operation)
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
        .set("semi_sync", "no");
    let is_taken = |when: &str| template::holds(when, &context).unwrap();
    let every = playbook.operations[operation].steps().enumerate();
    every
        .filter(|(_, (_, step))| step.when.as_deref().is_none_or(is_taken))
        .map(|(line, (section, step))| Step {
            operation,
            line,
            section,
            seat: step.at,
            name: step.name.clone(),
            duty: step.duty.clone(),
            within: step.within,
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

/// What goes wrong with a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Fails,
    TakesTooLong,
    LosesItsConnection,
}

impl Fault {
    pub const ALL: [Fault; 3] = [Fault::Fails, Fault::TakesTooLong, Fault::LosesItsConnection];

    /// What does it, on the step's own host. The shell's parent is the server's end of the connection.
    fn command(self) -> &'static str {
        match self {
            Fault::Fails => "false",
            Fault::TakesTooLong => "sleep 100",
            Fault::LosesItsConnection => "kill -9 $PPID; sleep 20",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fault::Fails => "fails",
            Fault::TakesTooLong => "takes too long",
            Fault::LosesItsConnection => "loses its connection",
        })
    }
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

    /// Waits until the operation halts here.
    pub fn until_reached(&self, lab: &Lab) {
        let mark = lab.host(self.host()).unwrap().path(HALTED).unwrap();
        wait::until(REACHED_WITHIN, &format!("the operation to halt {self}"), || {
            mark.exists()
        })
        .unwrap();
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
    let folder = format!("    playbooks: {FOLDER}\n    writer_role:");
    install(&lab, &lab.inventory_yaml().replace("    writer_role:", &folder));
    lab.box_()
        .sh(&format!("mkdir -p {FOLDER}/duties {FOLDER}/operations"))
        .unwrap()
        .ok()
        .unwrap();
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
            let operation = with_line_before(shipped(&step.file()), step, seat);
            write(box_, &step.file(), &operation);
            write(box_, "duties/halt.yaml", &halting_duty(&waiting()));
        }
        Halt::Within(step) => lay_over(lab, step, &waiting()),
    }
}

/// Lets that step go wrong from now on.
pub fn inject(lab: &Lab, step: &Step, fault: Fault) {
    lay_over(lab, step, fault.command());
}

/// The step begins with that command.
fn lay_over(lab: &Lab, step: &Step, command: &str) {
    let duty = halted_duty(&step.duty, command);
    write(lab.box_(), &format!("duties/halted-{}.yaml", step.duty), &duty);
    write(
        lab.box_(),
        &step.file(),
        &with_duty_halted(shipped(&step.file()), step),
    );
}

/// Lets no operation halt any more. The names stay: a run that was cut off is settled with the steps it was begun with.
pub fn lift(lab: &Lab, halt: &Halt) {
    match halt {
        Halt::Before(step) => {
            lift_from(lab, step);
            write(lab.box_(), "duties/halt.yaml", &halting_duty("true"));
        }
        Halt::Within(step) => mend(lab, step),
    }
}

/// Lets that step go well again, also for a run that was begun before.
pub fn mend(lab: &Lab, step: &Step) {
    lift_from(lab, step);
    let duty = halted_duty(&step.duty, "true");
    write(lab.box_(), &format!("duties/halted-{}.yaml", step.duty), &duty);
}

fn lift_from(lab: &Lab, step: &Step) {
    let done = lab.box_().sh(&format!("rm -f {FOLDER}/{}", step.file()));
    done.unwrap().ok().unwrap();
}

fn write(host: &Host, file: &str, text: &str) {
    host.write(&format!("{FOLDER}/{file}"), text).unwrap();
}

fn shipped(file: &str) -> &'static str {
    let found = FILES.iter().find(|(path, _)| *path == file);
    found.unwrap_or_else(|| panic!("no shipped playbook `{file}`")).1
}

fn waiting() -> String {
    format!("touch {HALTED}; while [ -e {HALTED} ]; do sleep 0.05; done")
}

fn halting_duty(run: &str) -> String {
    format!(
        "duty: halt\nsays: wait\nundo: nothing\nwithin: 15s\nsteps:\n  - {{ name: Wait, run: '{run}' }}\n"
    )
}

/// The shipped duty with the wait in front of its steps, which are performed even if there is nothing to do.
fn halted_duty(name: &str, run: &str) -> String {
    let text = shipped(&format!("duties/{name}.yaml"));
    let text = text.replace(&format!("duty: {name}\n"), &format!("duty: halted-{name}\n"));
    let text = text.replacen("\nunless: &", "\nverify: &", 1);
    text.replacen(
        "steps:\n",
        &format!("steps:\n  - {{ name: Wait, run: '{run}', within: 60s }}\n"),
        1,
    )
}

fn with_duty_halted(operation: &str, step: &Step) -> String {
    let named = format!("duty: {},", step.duty);
    edit(operation, step, |line| {
        assert!(line.contains(&named), "{line}");
        line.replace(&named, &format!("duty: halted-{},", step.duty))
    })
}

/// In front of the step; the commit section keeps its one step, so there it goes to the end of the section before.
fn with_line_before(operation: &str, step: &Step, seat: Seat) -> String {
    let halt = format!("  - {{ name: Wait, at: {seat}, duty: halt, within: 15s }}\n");
    if step.section == Section::Commit {
        operation.replacen("commit:", &format!("{halt}commit:"), 1)
    } else {
        edit(operation, step, |line| format!("{halt}{line}"))
    }
}

fn edit(operation: &str, step: &Step, change: impl Fn(&str) -> String) -> String {
    let mut seen = 0;
    let mut text = String::new();
    for line in operation.lines() {
        let is_step = line.starts_with("  - {");
        if is_step && seen == step.line {
            text.push_str(&change(line));
        } else {
            text.push_str(line);
        }
        seen += usize::from(is_step);
        text.push('\n');
    }
    text
}
