//! The cluster reduced to the small picture that a decision rests on.

use super::Engine;
use crate::core::cluster::{CheckKind, HostName};
use crate::core::latch::Verdict;
use crate::core::moment::Moment;
use crate::core::rule::{Activity, Picture, Rule, StandbyPicture, WriterPicture};

impl Engine {
    /// Whether the rule rests on a writer that has not been looked at since the last effect ended: people are told when it
    /// has.
    pub(super) fn is_premature(&self) -> bool {
        let is_stale = |writer| !self.is_fresh(writer);
        matches!(self.rule, Rule::R03 | Rule::R04) && self.standing.writer.as_ref().is_some_and(is_stale)
    }

    /// The cluster as a decision sees it.
    pub(super) fn picture(&self, now: Moment) -> Picture {
        let writer = self.standing.writer.as_ref();
        let activity = if self.standing.hands_off.is_some() {
            Activity::HandsOff
        } else if self.busy {
            Activity::Busy
        } else {
            Activity::Idle
        };
        let successor = self.successor(writer);
        Picture {
            mode: self.standing.mode,
            automatic: self.cluster.failover.automatic,
            network: self.network,
            restraint: self.standing.restraint(self.cluster.failover.min_interval, now),
            activity,
            writer: writer.map_or(WriterPicture::NotKnown, |writer| self.writer_picture(writer)),
            standby: if successor.is_some() {
                StandbyPicture::Ready
            } else {
                StandbyPicture::Missing
            },
        }
    }

    /// Whether every host was looked at that somebody waits for.
    pub fn has_looked_everywhere(&self) -> bool {
        let mut hosts = self.cluster.hosts.iter().map(|host| &host.name);
        hosts.all(|host| self.looked_at.contains_key(host) || self.standing.owed.contains_key(host))
    }

    /// Whether a host was looked at since the last effect ended.
    pub(crate) fn is_fresh(&self, host: &HostName) -> bool {
        self.looked_at.get(host).is_some_and(|at| *at > self.settled_at)
    }

    /// The writer, by its checks and by what it shows.
    pub(super) fn writer_picture(&self, writer: &HostName) -> WriterPicture {
        let Some(latch) = self.latch(writer, CheckKind::Mysql) else {
            return WriterPicture::NotKnown;
        };
        // Facts from before the last effect ended may show the host as it was before that effect.
        let read_only = self.is_fresh(writer)
            && self
                .facts
                .get(writer)
                .and_then(|facts| facts.mysql.up())
                .is_some_and(|mysql| !mysql.is_writable());
        match latch.verdict {
            Verdict::Failed => WriterPicture::Failed,
            // A server that this monitor has not seen well may just be starting.
            Verdict::Ok if self.may_be_proved_dead(writer, latch) => WriterPicture::Closed,
            Verdict::Ok | Verdict::Untested if latch.is_failing_now() => WriterPicture::Suspect,
            Verdict::Ok | Verdict::Untested if read_only => WriterPicture::ReadOnly,
            Verdict::Ok | Verdict::Untested => WriterPicture::Serving,
        }
    }
}
