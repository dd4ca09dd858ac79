//! Decides on fresh evidence about a writer that failed: replace it, or say what holds that back.

use super::{ASK_AGAIN_AFTER, Effect, Engine};
use crate::core::cluster::HostName;
use crate::core::event::Event;
use crate::core::evidence::{self, Decision, Evidence, EvidenceRule};
use crate::core::moment::Moment;
use crate::core::rule::{self, Rule};
use crate::core::sign::{self, Sign};

/// Why nothing is done about a writer that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guard {
    /// The rule that blocks.
    pub rule: EvidenceRule,
    /// Whom it is about.
    pub suspect: HostName,
    /// The evidence it rests on.
    pub evidence: Evidence,
    /// What the host shows of why.
    pub signs: Vec<Sign>,
    /// Since when.
    pub since: Moment,
}

impl Engine {
    /// Decides on fresh evidence.
    pub(super) fn weigh(
        &mut self,
        now: Moment,
        suspect: HostName,
        evidence: Evidence,
        signs: Vec<Sign>,
        effects: &mut Vec<Effect>,
    ) {
        self.busy = false;
        self.ask_again_at = now.after(ASK_AGAIN_AFTER);
        let current = rule::decide(&self.picture(now));
        if self.standing.writer.as_ref() != Some(&suspect) || current != Rule::R06 {
            return;
        }
        let Some(means) = self.means.get(&suspect) else {
            return;
        };
        let (rule, decision) = evidence::decide(&evidence, means);
        let incoming = self.successor(Some(&suspect));
        match (decision, incoming) {
            (Decision::Replace(rung), Some(incoming)) => {
                self.guard = None;
                effects.push(Effect::Tell(Event::RuleChanged {
                    rule: rule.to_string(),
                    sentence: format!("{}{}", rule.sentence(), sign::said(&signs)),
                }));
                let events = self.events;
                let seen = self
                    .seen
                    .clone()
                    .filter(|seen| seen.host == suspect)
                    .map(Box::new);
                self.start(
                    Effect::FailOver {
                        outgoing: suspect,
                        incoming,
                        rung,
                        events,
                        seen,
                    },
                    effects,
                );
            }
            (Decision::Replace(_), None) => {}
            (Decision::Leave | Decision::Refuse, _) => {
                if self.guard.as_ref().map(|guard| guard.rule) != Some(rule) {
                    effects.push(Effect::Tell(held_back(rule, &suspect, &signs)));
                    self.guard = Some(Guard {
                        rule,
                        suspect,
                        evidence,
                        signs,
                        since: now,
                    });
                }
            }
        }
    }
}

/// What people are told about a failed writer that keeps its role. One that answers again wakes nobody.
fn held_back(rule: EvidenceRule, suspect: &HostName, signs: &[Sign]) -> Event {
    if rule == EvidenceRule::R20 {
        return Event::RuleChanged {
            rule: rule.to_string(),
            sentence: rule.sentence().to_owned(),
        };
    }
    Event::Alarm {
        what: format!("{rule}: {suspect}: {}{}", rule.sentence(), sign::said(signs)),
        hint: rule.lifted_by().to_owned(),
    }
}
