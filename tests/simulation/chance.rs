//! What may go wrong at each moment of a simulated world, and what a shipped duty does there when it goes well.

use std::sync::LazyLock;

use mmm::config::playbook;
use mmm::core::playbook::{Action, Playbook, Sql};

/// As shipped.
pub static PLAYBOOK: LazyLock<Playbook> = LazyLock::new(|| playbook::load(None).unwrap());

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
pub enum Effect {
    Opens,
    Closes,
    None,
}

pub fn effect(duty: &str) -> Effect {
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
