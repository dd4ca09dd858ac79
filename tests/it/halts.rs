//! Playbooks laid over the shipped ones, in which a switchover halts at one of its steps until the test lets it go on.

use std::fmt;
use std::fs;
use std::time::Duration;

use lab::{Host, Lab, wait};
use mmm::config::playbook::{self, FILES};
use mmm::config::template;
use mmm::core::playbook::{Seat, Section};

use super::cluster::cluster_with;

/// Where the box looks for playbooks of its own.
const FOLDER: &str = "/etc/mmm/playbooks";
/// Stands on a host while a step halts there; removing it lets the step go on.
const HALTED: &str = "/tmp/halted-for-the-test";
const REACHED_WITHIN: Duration = Duration::from_secs(30);

/// One step of the shipped switchover.
#[derive(Debug, Clone)]
pub struct Step {
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
    let playbook = playbook::load(None).unwrap();
    let mut context = template::Context::default();
    context
        .set("replication", serde_json::json!({ "gtid": true }))
        .set("switchover", serde_json::json!({ "read_lock": false }));
    let is_taken = |when: &str| template::holds(when, &context).unwrap();
    let every = playbook.operations["switchover"].steps().enumerate();
    every
        .filter(|(_, (_, step))| step.when.as_deref().is_none_or(is_taken))
        .map(|(line, (section, step))| Step {
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
    let found = steps().into_iter().find(|step| step.duty == duty);
    found.unwrap_or_else(|| panic!("the shipped switchover has no step `{duty}`"))
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

    /// Waits until the switchover halts here.
    pub fn until_reached(&self, lab: &Lab) {
        let mark = lab.host(self.host()).unwrap().path(HALTED).unwrap();
        wait::until(REACHED_WITHIN, &format!("the switchover to halt {self}"), || {
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
    let lab = cluster_with(&|yaml| {
        yaml.replace(
            "    writer_role:",
            &format!("    playbooks: {FOLDER}\n    writer_role:"),
        )
    });
    let box_ = lab.box_();
    box_.sh(&format!("mkdir -p {FOLDER}/duties {FOLDER}/operations"))
        .unwrap()
        .ok()
        .unwrap();
    let operation = shipped("operations/switchover.yaml");
    let step = halt.step();
    match halt {
        Halt::Before(_) => {
            let seat = if step.seat == Seat::Outgoing {
                Seat::Incoming
            } else {
                Seat::Outgoing
            };
            write(
                box_,
                "operations/switchover.yaml",
                &with_line_before(operation, step, seat),
            );
            write(box_, "duties/halt.yaml", &halting_duty(&waiting()));
        }
        Halt::Within(_) => {
            write(
                box_,
                "operations/switchover.yaml",
                &with_duty_halted(operation, step),
            );
            write(
                box_,
                &format!("duties/halted-{}.yaml", step.duty),
                &halted_duty(&step.duty, &waiting()),
            );
        }
    }
    lab
}

/// Lets no switchover halt any more. The names stay: a run that was cut off is settled with the steps it was begun with.
pub fn lift(lab: &Lab, halt: &Halt) {
    let box_ = lab.box_();
    let done = box_.sh(&format!("rm -f {FOLDER}/operations/switchover.yaml"));
    done.unwrap().ok().unwrap();
    match halt {
        Halt::Before(_) => write(box_, "duties/halt.yaml", &halting_duty("true")),
        Halt::Within(Step { duty, .. }) => {
            write(
                box_,
                &format!("duties/halted-{duty}.yaml"),
                &halted_duty(duty, "true"),
            );
        }
    }
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
