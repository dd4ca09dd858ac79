//! One cluster's monitor as a value: inputs with their moment go in, effects come out. It keeps no secrets from
//! `show` and never waits.

mod complaining;
mod electing;
mod hearing;
mod judging;
mod maintaining;
mod outlasting;
mod picturing;
mod placing;
mod remembering;
mod reopening;
mod tending;
mod waiting;
mod weighing;
#[cfg(test)]
mod world;

pub use weighing::Guard;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::core::cluster::{CheckKind, Cluster, HostName};
use crate::core::electorate::Memory;
use crate::core::event::Event;
use crate::core::evidence::{Evidence, Means, Rung};
use crate::core::facts::{EventScheduler, HostFacts};
use crate::core::guard;
use crate::core::hosts::{HostRecord, HostState, Records};
use crate::core::latch::{CheckResult, Latch};
use crate::core::losses::Seen;
use crate::core::maintenance::Restraint;
use crate::core::moment::Moment;
use crate::core::rule::{self, NetworkPicture, Rule, Verb, WriterPicture};
use crate::core::standing::Standing;
use crate::core::testimony::Circumstances;
use crate::core::trouble::Trouble;

/// Pause before evidence about the same writer is gathered again after a refusal.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(2);
/// The same before the trap period has passed, while nothing listens at the writer's port.
const PROVE_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Pause between attempts to bring a replaced writer in, or to open a read-only one.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(2);
/// Pause between attempts to settle a stuck run whose hosts answer again.
const SETTLE_AGAIN_AFTER: Duration = Duration::from_secs(5);
/// Pause between attempts to make a replaced writer harmless; other work gets its turn in between.
const QUARANTINE_AGAIN_AFTER: Duration = Duration::from_millis(400);

/// What the engine is told.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "inputs are few, and none is kept")]
pub enum Input {
    /// A probe returned.
    Checked {
        /// The host probed.
        host: HostName,
        /// By which check.
        kind: CheckKind,
        /// What it said.
        result: CheckResult,
    },
    /// A host was looked at.
    Looked(HostName, Box<HostFacts>),
    /// The standing was read from disk, or changed by an operation.
    Stands(Standing),
    /// Evidence about a suspected writer is in.
    Evidence {
        /// Whom it is about.
        suspect: HostName,
        /// The evidence.
        evidence: Evidence,
        /// What else is known.
        circumstances: Circumstances,
    },
    /// The network of a host that holds an address was asked who else does.
    Heard {
        /// The host.
        host: HostName,
        /// The address.
        address: IpAddr,
        /// Whether somebody answered.
        answered: bool,
    },
    /// What was started came to nothing, and why.
    Failed(Trouble),
    /// What was started has ended.
    Finished,
    /// Whether any of the addresses that tell this box's own network answers.
    Network {
        /// One does.
        answers: bool,
    },
    /// Time passed.
    Tick,
}

/// What the engine wants done. At most one effect other than [`Effect::Tell`] and [`Effect::Remember`] is under way at a
/// time.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Gather evidence about this writer.
    AskEvidence(HostName),
    /// Replace the writer.
    FailOver {
        /// The dead writer.
        outgoing: HostName,
        /// Who takes over.
        incoming: HostName,
        /// How the dead writer is held down.
        rung: Rung,
        /// Whether events ran on it when it last answered.
        events: Option<bool>,
        /// What is remembered of the time when it last answered.
        memory: Box<Memory>,
    },
    /// Let this writer take writes again.
    Reopen(HostName),
    /// Take the only host that accepts writes for the writer, after a look at all of them.
    Adopt,
    /// Make this replaced writer, which has just been met, harmless.
    Quarantine(HostName),
    /// Put back what is out of place.
    Repair,
    /// Hand the writer role to this host, which it prefers.
    SwitchOver(HostName),
    /// Compare this quarantined writer, and let it follow if it has nothing extra.
    Rejoin(HostName),
    /// The masters that were waited for are there: go from wait to active mode.
    Activate {
        /// What made it so.
        because: String,
    },
    /// Write down what the next monitor should know of the hosts; one that is newer replaces it.
    Remember(Box<Records>),
    /// Tell people.
    Tell(Event),
}

/// One cluster's monitor.
#[derive(Debug, Clone)]
pub struct Engine {
    cluster: Cluster,
    means: BTreeMap<HostName, Means>,
    standing: Standing,
    latches: BTreeMap<(HostName, CheckKind), Latch>,
    records: BTreeMap<HostName, HostRecord>,
    /// The writer when hosts were last judged, and when it became one.
    known_writer: Option<HostName>,
    writer_since: Option<Moment>,
    /// What was last asked to be written down, and when.
    remembered: Option<Records>,
    remembered_at: Option<Moment>,
    facts: BTreeMap<HostName, HostFacts>,
    memory: Memory,
    /// Which of our addresses each host held when it could last be looked at.
    last_seen: BTreeMap<HostName, Vec<IpAddr>>,
    /// Addresses for which another machine answers too, and since when.
    answered_for: BTreeMap<IpAddr, Moment>,
    /// When each host's replication last heard from the writer.
    heard_at: BTreeMap<HostName, Moment>,
    /// When each host was last looked at.
    looked_at: BTreeMap<HostName, Moment>,
    /// When the last effect ended: only facts from after it count.
    settled_at: Moment,
    busy: bool,
    /// Whether this box's own network answers; until told otherwise it does.
    network: NetworkPicture,
    /// Since when the masters have been waited for.
    waiting_since: Option<Moment>,
    rule: Rule,
    /// What people have arranged, when the rule was found.
    restraint: Restraint,
    /// The rule that people were told of last: an operation in between is told of by itself.
    told_rule: Rule,
    guard: Option<Guard>,
    /// Whether events ran on the writer when it last answered.
    events: Option<bool>,
    /// The writer that this monitor itself saw take writes since it began.
    met: Option<HostName>,
    /// The last trouble that was alarmed about.
    complaint: Option<Trouble>,
    /// Whether what is under way is a failover.
    fails_over: bool,
    /// Whether what is under way has failed already.
    has_failed: bool,
    ask_again_at: Moment,
    prove_again_at: Moment,
    try_again_at: Moment,
    quarantine_again_at: Moment,
    follow_again_at: Moment,
    place_again_at: Moment,
    fail_back_at: Moment,
    /// Attempts to hand the writer role back since it last moved.
    fail_back_tries: u32,
}

impl Engine {
    /// A monitor that knows nothing yet but the standing on disk.
    pub fn new(cluster: Cluster, means: BTreeMap<HostName, Means>, standing: Standing) -> Engine {
        let latches = cluster
            .hosts
            .iter()
            .flat_map(|host| CheckKind::ALL.map(|kind| ((host.name.clone(), kind), Latch::default())))
            .collect();
        Engine {
            cluster,
            means,
            standing,
            latches,
            records: BTreeMap::new(),
            known_writer: None,
            writer_since: None,
            remembered: None,
            remembered_at: None,
            facts: BTreeMap::new(),
            memory: Memory::default(),
            last_seen: BTreeMap::new(),
            answered_for: BTreeMap::new(),
            heard_at: BTreeMap::new(),
            looked_at: BTreeMap::new(),
            settled_at: Moment(0),
            busy: false,
            network: NetworkPicture::Answers,
            waiting_since: None,
            rule: Rule::R09,
            restraint: Restraint::Free,
            told_rule: Rule::R09,
            guard: None,
            events: None,
            met: None,
            complaint: None,
            fails_over: false,
            has_failed: false,
            ask_again_at: Moment(0),
            prove_again_at: Moment(0),
            try_again_at: Moment(0),
            quarantine_again_at: Moment(0),
            follow_again_at: Moment(0),
            place_again_at: Moment(0),
            fail_back_at: Moment(0),
            fail_back_tries: 0,
        }
    }

    /// The same while something is being done already, so that it only answers.
    pub fn at_work(mut self) -> Engine {
        self.busy = true;
        self.rule = Rule::R10;
        self
    }

    /// Takes in one input and says what is to be done.
    pub fn step(&mut self, now: Moment, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        match input {
            // What looks dead may only be cut off from this box.
            Input::Checked { .. } if self.is_cut_off() => {}
            Input::Checked { host, kind, result } => self.check(now, &host, kind, result, &mut effects),
            Input::Looked(host, facts) => {
                if self.standing.writer.as_ref() == Some(&host)
                    && let Some(mysql) = facts.mysql.up().filter(|mysql| mysql.is_writable())
                {
                    self.events = Some(mysql.event_scheduler == EventScheduler::On);
                    self.memory.seen = Some(Seen::of(&host, now, mysql));
                    self.met = Some(host.clone());
                }
                self.remember_addresses(&host, &facts);
                self.remember_for_elections(&host, &facts);
                self.remember_what_was_heard(now, &host, &facts);
                self.looked_at.insert(host.clone(), now);
                self.facts.insert(host, *facts);
            }
            Input::Stands(standing) => {
                if standing.writer != self.standing.writer {
                    // What this monitor does itself is told as a run.
                    if !self.busy {
                        effects.push(Effect::Tell(Event::WriterChanged {
                            from: self.standing.writer.clone(),
                            to: standing.writer.clone(),
                            run: standing.made_by().map(str::to_owned),
                        }));
                    }
                    self.guard = None;
                    self.memory.writer = None;
                    self.heard_at.clear();
                    self.writer_moved(now);
                }
                if standing.generation != self.standing.generation {
                    // What was seen before may show the hosts as they were before that change.
                    self.settled_at = now;
                }
                if standing.mode != self.standing.mode {
                    effects.push(Effect::Tell(Event::ModeChanged {
                        from: self.standing.mode,
                        to: standing.mode,
                        by: standing.mode_by.clone(),
                    }));
                }
                self.take_standing(now, standing, &mut effects);
            }
            Input::Evidence {
                suspect,
                evidence,
                circumstances,
            } => self.weigh(now, suspect, evidence, circumstances, &mut effects),
            Input::Heard {
                host,
                address,
                answered,
            } => self.heard(now, &host, address, answered, &mut effects),
            Input::Failed(trouble) => self.complain(&trouble, &mut effects),
            Input::Finished => {
                if !std::mem::take(&mut self.has_failed) {
                    self.complaint = None;
                }
                self.busy = false;
                self.settled_at = now;
                if std::mem::take(&mut self.fails_over) {
                    // What made it come to nothing may be mended until then.
                    self.ask_again_at = self.ask_again_at.max(now.after(ASK_AGAIN_AFTER));
                }
            }
            Input::Network { answers } => self.hear_network(now, answers, &mut effects),
            Input::Tick => {}
        }
        self.let_downtimes_end(now, &mut effects);
        if !self.is_cut_off() {
            self.trap(now, &mut effects);
            self.judge_hosts(now, &mut effects);
        }
        self.consider(now, &mut effects);
        self.remember(now, &mut effects);
        effects
    }

    /// The rule in force.
    pub fn rule(&self) -> Rule {
        self.rule
    }

    /// What people have arranged that holds the monitor back.
    pub fn restraint(&self) -> Restraint {
        self.restraint
    }

    /// What blocks a failover, while one is blocked.
    pub fn guard(&self) -> Option<&Guard> {
        self.guard.as_ref()
    }

    /// What could be done about each host that does not obey.
    pub fn means(&self) -> &BTreeMap<HostName, Means> {
        &self.means
    }

    /// The standing.
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// The cluster.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The newest facts.
    pub fn facts(&self) -> &BTreeMap<HostName, HostFacts> {
        &self.facts
    }

    /// One check of one host.
    pub fn latch(&self, host: &HostName, kind: CheckKind) -> Option<&Latch> {
        self.latches.get(&(host.clone(), kind))
    }

    /// The state of one host.
    pub fn record(&self, host: &HostName) -> Option<&HostRecord> {
        self.records.get(host)
    }

    /// The hosts that may hold roles now.
    pub fn online(&self) -> Vec<HostName> {
        self.cluster
            .hosts
            .iter()
            .filter(|host| self.state_of(&host.name) == HostState::Online)
            .map(|host| host.name.clone())
            .collect()
    }

    fn state_of(&self, host: &HostName) -> HostState {
        self.records
            .get(host)
            .map_or(HostState::Unknown, |record| record.state)
    }

    /// Draws the picture, finds the rule, and asks for what it says.
    fn consider(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        let picture = self.picture(now);
        self.restraint = picture.restraint;
        let rule = rule::decide(&picture);
        // Nothing is missing that has only not been looked for yet.
        if rule != Rule::R04 || self.has_looked_everywhere() {
            self.rule = rule;
        }
        if self.rule != self.told_rule && self.rule != Rule::R10 && !self.is_premature() {
            self.told_rule = self.rule;
            effects.push(Effect::Tell(Event::RuleChanged {
                rule: self.rule.to_string(),
                sentence: self.rule.sentence().to_owned(),
            }));
            self.call_for_acknowledgement(now, effects);
        }
        let writer_failed = self
            .standing
            .writer
            .as_ref()
            .is_some_and(|writer| self.writer_picture(writer) == WriterPicture::Failed);
        if !writer_failed {
            self.guard = None;
        }
        if let Some(host) = self.returning().filter(|_| now >= self.quarantine_again_at) {
            self.quarantine_again_at = now.after(QUARANTINE_AGAIN_AFTER);
            self.start(Effect::Quarantine(host), effects);
            return;
        }
        if let Some(because) = self.awaited(now, rule) {
            self.try_again_at = now.after(TRY_AGAIN_AFTER);
            self.start(Effect::Activate { because }, effects);
            return;
        }
        if rule == Rule::R02 && !self.busy && now >= self.try_again_at && self.may_settle() {
            self.try_again_at = now.after(SETTLE_AGAIN_AFTER);
            // Repairs settle first of all what was cut off or got stuck.
            self.start(Effect::Repair, effects);
            return;
        }
        match rule.verb() {
            Verb::Watch => {}
            Verb::Tend => self.tend(now, effects),
            Verb::Adopt => {
                let is_shown = guard::observed_writer(&self.cluster, &self.facts).is_some();
                if is_shown && now >= self.try_again_at {
                    self.try_again_at = now.after(TRY_AGAIN_AFTER);
                    self.start(Effect::Adopt, effects);
                }
            }
            Verb::AskEvidence => {
                let ask_at = match rule {
                    Rule::R16 => self.prove_again_at,
                    _ => self.ask_again_at,
                };
                if let Some(writer) = self.standing.writer.clone().filter(|_| now >= ask_at) {
                    self.start(Effect::AskEvidence(writer), effects);
                } else if rule == Rule::R06 {
                    // The evidence holds a failover back, or the last one came to nothing.
                    self.tend(now, effects);
                }
            }
            Verb::Reopen => {
                if let Some(writer) = self.standing.writer.clone().filter(|_| now >= self.try_again_at) {
                    self.reopen(now, writer, effects);
                }
            }
        }
    }

    fn start(&mut self, effect: Effect, effects: &mut Vec<Effect>) {
        self.busy = true;
        effects.push(effect);
    }
}

#[cfg(test)]
mod tests;
