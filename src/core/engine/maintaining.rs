//! What people have arranged: downtimes, which end by themselves, and acknowledgements that are waited for.

use super::{Effect, Engine};
use crate::core::cluster::HostName;
use crate::core::event::Event;
use crate::core::maintenance;
use crate::core::moment::Moment;
use crate::core::rule::Rule;
use crate::core::standing::Standing;

/// Whoever announced a downtime of a host is not woken about it.
pub(super) fn quietly(standing: &Standing, host: &HostName, event: Event) -> Event {
    match event {
        Event::Alarm { what, .. } if standing.is_in_downtime(host) => Event::Noted { what },
        event => event,
    }
}

impl Engine {
    /// Takes a standing over, and tells of downtimes that began or ended with it, and of what outlasts them.
    pub(super) fn take_standing(&mut self, now: Moment, mut standing: Standing, effects: &mut Vec<Effect>) {
        standing.expire(now);
        let changes = maintenance::changes(&self.standing, &standing, now);
        effects.extend(changes.into_iter().map(Effect::Tell));
        let before = std::mem::replace(&mut self.standing, standing);
        self.tell_what_outlasts(&before, effects);
    }

    /// Nobody need come to end a downtime.
    pub(super) fn let_downtimes_end(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        if self.standing.downtime.is_none() && self.standing.downtimes.is_empty() {
            return;
        }
        let mut standing = self.standing.clone();
        standing.expire(now);
        if standing != self.standing {
            self.take_standing(now, standing, effects);
        }
    }

    /// A writer that is not replaced because nobody has looked is nothing to learn of by chance.
    pub(super) fn call_for_acknowledgement(&self, now: Moment, effects: &mut Vec<Effect>) {
        let min_interval = self.cluster.failover.min_interval;
        let last = self.standing.unacknowledged(min_interval, now);
        if let Some(last) = last.filter(|_| self.rule == Rule::R19) {
            effects.push(Effect::Tell(Event::Alarm {
                what: format!(
                    "{}: {}: {}",
                    Rule::R19,
                    Rule::R19.sentence(),
                    maintenance::unacknowledged_words(&self.cluster, last)
                ),
                hint: format!("look what happened, then `mmm ack {}`", last.run),
            }));
        }
    }
}
