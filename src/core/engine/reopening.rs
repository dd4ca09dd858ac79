//! When a writer that refuses writes is opened again without anybody being asked.

use super::{Effect, Engine, TRY_AGAIN_AFTER};
use crate::core::cluster::HostName;
use crate::core::guard;
use crate::core::moment::Moment;

impl Engine {
    /// Opens the writer again. A record alone may be older than what another box did while nobody watched here, so unless
    /// this monitor itself saw that host take writes, all others of the writer role must be seen to refuse them.
    pub(super) fn reopen(&mut self, now: Moment, writer: HostName, effects: &mut Vec<Effect>) {
        if self.met.as_ref() != Some(&writer) {
            let role = self
                .cluster
                .writer()
                .map(|role| role.hosts.as_slice())
                .unwrap_or_default();
            if !role.iter().all(|host| self.facts.contains_key(host)) {
                return;
            }
            if let Err(trouble) = guard::could_not_have_been_replaced(&self.cluster, &self.facts, &writer) {
                self.try_again_at = now.after(TRY_AGAIN_AFTER);
                self.complain(&trouble, effects);
                return;
            }
        }
        self.try_again_at = now.after(TRY_AGAIN_AFTER);
        self.start(Effect::Reopen(writer), effects);
    }
}
