//! What a run says of its stages: what failed, what is left, what a person can do about it.

use super::Run;

impl Run {
    pub(super) fn warn(&mut self, stage: usize, why: &str) {
        let sentence = self.sentence(stage, why);
        self.warnings.push(sentence);
    }

    /// What could not be given back, with a person's way to do it.
    pub(super) fn keep(&mut self, stage: usize, why: &str) {
        let at = &self.stages[stage];
        let by_hand = at.undo.iter().flat_map(|undo| {
            let hosts = at.hosts.iter();
            hosts.map(move |host| format!("`mmm playbook run {undo} --at {host}`"))
        });
        let sentence = format!(
            "\"{}\" could not be taken back: {why}; {} does it by hand",
            at.name,
            by_hand.collect::<Vec<_>>().join(", ")
        );
        self.kept.push(sentence);
    }

    pub(super) fn blame(&mut self, stage: usize, why: &str) {
        self.failure = Some(self.sentence(stage, why));
    }

    pub(super) fn because(&self) -> String {
        self.failure
            .clone()
            .unwrap_or_else(|| "nothing is known to have failed".to_owned())
    }

    pub(super) fn sentence(&self, stage: usize, why: &str) -> String {
        format!("step {}, \"{}\": {why}", stage + 1, self.stages[stage].name)
    }
}
