//! A run that was cut off or got stuck, and goes on because a person wants it to.

use super::{Ending, Next, Run, Stage};
use crate::core::playbook::{Seat, Section};

/// The duty that brings an address up.
const BRINGS_ADDRESS: &str = "add-address";

impl Run {
    /// True while the host that gives the role away has been told to refuse writes, and nothing is on record that would
    /// have let it take them again.
    pub fn has_refused_writes(&self) -> bool {
        let is_at =
            |stage: usize| matches!(self.next, Next::Do(at) | Next::Look(at) | Next::Undo(at) if at == stage);
        let refuses = |stage: &usize| self.stages[*stage].refuses_writes() && !is_at(*stage);
        !self.may_have_reopened && self.touched.iter().any(refuses)
    }

    /// True while something was begun whose undo lets the host that gives the role away take writes again.
    pub fn would_reopen(&self) -> bool {
        let reopens = |stage: &usize| {
            let stage = &self.stages[*stage];
            stage.refuses_writes() && stage.undo.is_some()
        };
        !self.committed && self.touched.iter().any(reopens)
    }

    /// True for a stage that was begun before the run was resumed.
    pub fn was_begun_before(&self, stage: usize) -> bool {
        self.begun_before.contains(&stage)
    }

    /// Before the commit it goes on from its first stage, because what was asked and noted may not be true any more, and
    /// what was done may have been undone by somebody: each duty finds by itself what still holds. At another host than
    /// the one that gives the role away only the last thing that was begun is done again; what came before is where that
    /// started from. After the commit what must come true is tried once more.
    pub(super) fn resume(&mut self) {
        if self.is_in_doubt() {
            return;
        }
        self.given_up = false;
        self.asks_again = false;
        self.unanswered.clear();
        if self.committed {
            if matches!(self.next, Next::End(Ending::Stuck { .. })) {
                self.insecure.clear();
                self.insecure_at.clear();
                self.needs_judgement = false;
                let after_commit = |stage: &Stage| stage.section > Section::Commit;
                let from = self.stages.iter().position(after_commit);
                self.next = self.advance_to(from.unwrap_or(self.stages.len()));
            }
            return;
        }
        self.may_have_reopened |= !self.has_refused_writes();
        self.begun_before.extend(self.touched.iter().copied());
        let is_superseded = |stage: usize| {
            // An address may be gone since, and is brought up where it stands already.
            self.stages[stage].seat != Seat::Outgoing
                && self.stages[stage].duty != BRINGS_ADDRESS
                && self
                    .touched
                    .iter()
                    .any(|later| *later > stage && self.stages[*later].hosts == self.stages[stage].hosts)
        };
        self.superseded = self
            .touched
            .iter()
            .copied()
            .filter(|stage| is_superseded(*stage))
            .collect();
        self.failure = None;
        self.kept.clear();
        self.next = self.advance_to(0);
    }
}
