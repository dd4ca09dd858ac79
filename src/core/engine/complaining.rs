//! What came to nothing: told once, and kept for whoever asks.

use super::{Effect, Engine};
use crate::core::event::Event;
use crate::core::trouble::Trouble;

impl Engine {
    /// Why what was tried last came to nothing, while it is not known to have passed.
    pub fn complaint(&self) -> Option<&Trouble> {
        self.complaint.as_ref()
    }

    /// Alarms once about the same trouble, however often it comes back.
    pub(super) fn complain(&mut self, trouble: &Trouble, effects: &mut Vec<Effect>) {
        self.has_failed = true;
        let what = format!("{}: {}", trouble.what, trouble.reason());
        if self.complaint.as_ref() != Some(trouble) {
            self.complaint = Some(trouble.clone());
            effects.push(Effect::Tell(Event::Alarm {
                what,
                hint: trouble.hint.clone(),
            }));
        }
    }
}
