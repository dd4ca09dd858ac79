//! Decides on fresh evidence about a writer that failed: replace it, or say what holds that back.

use super::{ASK_AGAIN_AFTER, Effect, Engine, PROVE_AGAIN_AFTER};
use crate::core::cluster::{HostName, OnProof};
use crate::core::event::Event;
use crate::core::evidence::{self, Decision, Evidence, EvidenceRule};
use crate::core::facts::{HostFacts, Reach};
use crate::core::latch::Latch;
use crate::core::moment::Moment;
use crate::core::rule::{self, Rule};
use crate::core::testimony::Circumstances;

/// Why nothing is done about a writer that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guard {
    /// The rule that blocks.
    pub rule: EvidenceRule,
    /// Whom it is about.
    pub suspect: HostName,
    /// The evidence it rests on.
    pub evidence: Evidence,
    /// What else is known.
    pub circumstances: Circumstances,
    /// Since when.
    pub since: Moment,
}

impl Engine {
    /// Whether nothing listened at the writer's port when it was last looked at, with no good probe since, and proof of
    /// its death need not wait.
    pub(super) fn may_be_proved_dead(&self, writer: &HostName, check: &Latch) -> bool {
        let is_closed = |facts: &HostFacts| matches!(facts.mysql, Reach::Down(_));
        self.cluster.failover.on_proof == OnProof::Immediate
            && self.is_fresh(writer)
            && self.looked_at.get(writer).copied() > check.ok_at
            && self.facts.get(writer).is_some_and(is_closed)
    }

    /// Decides on fresh evidence.
    pub(super) fn weigh(
        &mut self,
        now: Moment,
        suspect: HostName,
        evidence: Evidence,
        circumstances: Circumstances,
        effects: &mut Vec<Effect>,
    ) {
        self.busy = false;
        if self.standing.writer.as_ref() != Some(&suspect) {
            return;
        }
        match rule::decide(&self.picture(now)) {
            Rule::R06 => self.ask_again_at = now.after(ASK_AGAIN_AFTER),
            Rule::R16 => {
                self.prove_again_at = now.after(PROVE_AGAIN_AFTER);
                // Anything less than proof waits for the trap period, and is asked for again until then.
                if !evidence.is_proof() {
                    return;
                }
            }
            _ => return,
        }
        let Some(means) = self.means.get(&suspect) else {
            return;
        };
        let (rule, decision) = evidence::decide(&evidence, means);
        let circumstances = self.remembered(circumstances);
        let incoming = self.successor(Some(&suspect));
        match (decision, incoming) {
            (Decision::Replace(rung), Some(incoming)) => {
                self.guard = None;
                effects.push(Effect::Tell(Event::RuleChanged {
                    rule: rule.to_string(),
                    sentence: format!("{}{circumstances}", rule.sentence()),
                }));
                self.fails_over = true;
                let events = self.events;
                let memory = Box::new(self.memory.clone());
                self.start(
                    Effect::FailOver {
                        outgoing: suspect,
                        incoming,
                        rung,
                        events,
                        memory,
                    },
                    effects,
                );
            }
            (Decision::Replace(_), None) => {}
            (Decision::Leave | Decision::Refuse, _) => {
                let told = self.guard.as_ref().filter(|guard| guard.rule == rule);
                let since = told.map(|guard| guard.since);
                if since.is_none() {
                    effects.push(Effect::Tell(held_back(rule, &suspect, &circumstances)));
                }
                self.guard = Some(Guard {
                    rule,
                    suspect,
                    evidence,
                    circumstances,
                    since: since.unwrap_or(now),
                });
            }
        }
    }
}

/// What people are told about a failed writer that keeps its role. One that answers again wakes nobody.
fn held_back(rule: EvidenceRule, suspect: &HostName, circumstances: &Circumstances) -> Event {
    if rule == EvidenceRule::R20 {
        return Event::RuleChanged {
            rule: rule.to_string(),
            sentence: rule.sentence().to_owned(),
        };
    }
    Event::Alarm {
        what: format!("{rule}: {suspect}: {}{circumstances}", rule.sentence()),
        hint: rule.lifted_by().to_owned(),
    }
}
