//! The small world: hosts that take writes or refuse them, and everything that goes wrong on the way.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Duration;

use mmm::core::cluster::HostName;
use mmm::core::event::Event;
use mmm::core::playbook::{Action, Sql};
use mmm::core::run::{Happening, Settled};
use mmm::core::script::{DutyOutcome, DutyReport, Failure};
use mmm::io::conductor::{Errand, Hands, Registered};
use mmm::io::journal::Entry;

use super::PLAYBOOK;

pub const OUTGOING: &str = "db1";
pub const INCOMING: &str = "db2";
/// What cuts the outgoing host off, where it does not obey.
pub const FENCE: &str = "fence-ipmi";

/// How a world goes wrong: one byte for each moment at which something may. When they are used up, all goes well, so a
/// failing world shrinks to the few faults that matter.
pub struct Dice(pub std::vec::IntoIter<u8>);

impl Dice {
    /// One of `faces`; 0 is the face on which all goes well.
    pub fn roll(&mut self, faces: u8) -> u8 {
        self.0.next().map_or(0, |byte| byte % faces)
    }
}

/// What a duty does to who takes writes, read from its own steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    Opens,
    Closes,
    None,
}

fn effect(duty: &str) -> Effect {
    // The only duties that close a host without a word to its server.
    if ["keep-stopped", "server-is-gone", FENCE].contains(&duty) {
        return Effect::Closes;
    }
    let steps = &PLAYBOOK.duties[duty].steps;
    let effects = steps.iter().map(|step| match &step.action {
        Action::Sql(Sql::Word(word)) if word == "allow_writes" => Effect::Opens,
        Action::Sql(Sql::Word(word)) if word == "deny_writes" => Effect::Closes,
        Action::Duty(nested) => effect(nested),
        _ => Effect::None,
    });
    effects
        .into_iter()
        .find(|effect| *effect != Effect::None)
        .unwrap_or(Effect::None)
}

pub struct Model {
    pub dice: Dice,
    pub writable: BTreeSet<HostName>,
    /// How many transactions the outgoing host has, and how many of them the incoming one.
    pub written: u32,
    pub arrived: u32,
    /// What was noted of the outgoing host.
    pub noted: Option<u32>,
    /// Sent and neither seen to end nor known to be gone: it may happen at any moment.
    pub late: Vec<(HostName, String)>,
    pub journal: Vec<Happening>,
    /// With so many lines in the journal the disk is full, until its program has ended.
    pub full_with: Option<usize>,
    /// Something did not fit.
    pub lost_lines: bool,
    pub registered: Registered,
    /// Every change, for the message of a failure.
    pub story: Vec<String>,
}

impl Model {
    fn is_full(&self) -> bool {
        self.full_with.is_some_and(|lines| self.journal.len() >= lines)
    }
}

/// The world as the conductor reaches it.
pub struct World {
    pub model: RefCell<Model>,
}

impl World {
    pub fn tell_story(&self, line: String) {
        self.model.borrow_mut().story.push(line);
    }

    /// Time passes: clients write, perhaps past `read_only`, and what was on its way may arrive.
    pub fn passes(&self) {
        let mut model = self.model.borrow_mut();
        let open = model.writable.contains(&HostName::from(OUTGOING));
        if open || model.dice.roll(40) == 39 && !model.writable.contains(&HostName::from(INCOMING)) {
            model.written += 1;
        }
        if !model.late.is_empty() && model.dice.roll(3) == 2 {
            let (host, duty) = model.late.remove(0);
            drop(model);
            self.apply(&host, &duty, "late");
        }
    }

    pub fn apply(&self, host: &HostName, duty: &str, how: &str) {
        let mut model = self.model.borrow_mut();
        model.story.push(format!("{how}: {duty} at {host}"));
        match effect(duty) {
            Effect::Opens => drop(model.writable.insert(host.clone())),
            Effect::Closes => drop(model.writable.remove(host)),
            Effect::None => {}
        }
        match duty {
            "catch-up" | "drain" => model.arrived = model.written,
            "read-position" => model.noted = Some(model.written),
            _ => {}
        }
        assert!(
            model.writable.len() <= 1,
            "two writers: {:?}\n{}",
            model.writable,
            model.story.join("\n")
        );
    }

    /// Whether a duty that only looks would be content.
    fn is_content(&self, duty: &str) -> bool {
        let model = self.model.borrow();
        match duty {
            "position-unmoved" | "own-unmoved" => model.noted == Some(model.written),
            "fallen-silent" => !model.writable.contains(&HostName::from(OUTGOING)),
            _ => true,
        }
    }

    /// Whether what a duty is for holds on the host.
    fn holds(&self, host: &HostName, duty: &str) -> bool {
        let writable = self.model.borrow().writable.contains(host);
        match effect(duty) {
            Effect::Opens => writable,
            Effect::Closes => !writable,
            Effect::None => self.model.borrow_mut().dice.roll(2) == 0,
        }
    }

    fn report(errand: &Errand<'_>, outcome: DutyOutcome, registered: Registered) -> DutyReport {
        DutyReport {
            duty: errand.duty.to_owned(),
            outcome,
            steps: Vec::new(),
            registered,
            took: Duration::ZERO,
        }
    }
}

impl Hands for World {
    async fn perform(&self, errand: Errand<'_>) -> DutyReport {
        self.passes();
        let failed = || DutyOutcome::Failed {
            step: errand.duty.to_owned(),
            why: Failure::Unexpected("no".to_owned()),
        };
        let unknown = || DutyOutcome::Unknown {
            why: "the link died".to_owned(),
        };
        let roll = self.model.borrow_mut().dice.roll(96);
        let late = || {
            self.tell_story(format!("sent: {} at {}", errand.duty, errand.host));
            self.model
                .borrow_mut()
                .late
                .push((errand.host.clone(), errand.duty.to_owned()));
        };
        let outcome = match roll {
            95 => failed(),
            94 => {
                self.apply(errand.host, errand.duty, "half");
                failed()
            }
            93 => unknown(),
            92 => {
                self.apply(errand.host, errand.duty, "unseen");
                unknown()
            }
            91 | 90 => {
                late();
                unknown()
            }
            // The program is killed: before, after, and while what it sent is on its way.
            89 => std::future::pending().await,
            88 => {
                self.apply(errand.host, errand.duty, "last");
                std::future::pending().await
            }
            87 => {
                late();
                std::future::pending().await
            }
            // It has cut off another machine, and says that it worked.
            80..87 if errand.duty == FENCE => DutyOutcome::Done,
            _ if !self.is_content(errand.duty) => failed(),
            _ => {
                self.apply(errand.host, errand.duty, "done");
                DutyOutcome::Done
            }
        };
        Self::report(&errand, outcome, Registered::new())
    }

    async fn look(&self, errand: Errand<'_>) -> Settled {
        self.passes();
        let roll = self.model.borrow_mut().dice.roll(8);
        match roll {
            7 => return Settled::CannotTell,
            6 => std::future::pending().await,
            _ => {}
        }
        // Nobody looks before the old shell is verified gone.
        self.model
            .borrow_mut()
            .late
            .retain(|(host, _)| host != errand.host);
        if self.holds(errand.host, errand.duty) {
            Settled::Happened
        } else {
            Settled::DidNotHappen
        }
    }

    async fn lost_lock(&self) -> Option<String> {
        self.passes();
        let is_lost = self.model.borrow_mut().dice.roll(32) == 31;
        is_lost.then(|| "the lock is lost".to_owned())
    }

    async fn still_answers(&self, fenced: &HostName) -> Option<String> {
        let answers = self.model.borrow().writable.contains(fenced);
        answers.then(|| "it still answers ping".to_owned())
    }

    async fn rival(&self, host: &HostName) -> Option<String> {
        let model = self.model.borrow();
        let rival = model.writable.iter().find(|other| *other != host)?;
        Some(format!("{rival} accepts writes meanwhile"))
    }

    async fn replaced(&self, writer: &HostName) -> Option<String> {
        self.rival(writer).await
    }

    fn note(&self, entry: Entry) {
        let mut model = self.model.borrow_mut();
        if model.is_full() {
            // Whoever comes next does not find the line that did not fit.
            model.lost_lines = true;
            return model.full_with = Some(0);
        }
        match entry {
            Entry::Step(happening) => model.journal.push(happening),
            Entry::Value(name, value) => drop(model.registered.insert(name, value)),
            Entry::Open(_)
            | Entry::Shell(..)
            | Entry::Gone(..)
            | Entry::Site(_)
            | Entry::Lost(_)
            | Entry::End(_) => {}
        }
    }

    fn unwritten(&self) -> Option<String> {
        let is_full = self.model.borrow().is_full();
        is_full.then(|| "the disk is full".to_owned())
    }

    fn tell(&self, _: Event) {}

    fn elapsed(&self) -> Duration {
        Duration::ZERO
    }

    async fn pause(&self, _: Duration) {
        self.passes();
    }
}
