//! Maintenance that people announce: downtimes that end by themselves, and failovers that wait for somebody to have looked
//! at the one before.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::cluster::{Cluster, HostName};
use super::event::Event;
use super::guard::Guard;
use super::mode::Deed;
use super::moment::Moment;
use super::standing::Standing;
use super::trouble::Trouble;

/// A time in which trouble is expected: of a host, or of a whole cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Downtime {
    /// When it began.
    pub since: Moment,
    /// When it ends by itself.
    pub until: Moment,
    /// Who announced it.
    pub by: String,
    /// Why.
    pub reason: String,
}

impl Downtime {
    /// It takes the place of another that stands: then trouble has been expected since that began.
    pub fn instead_of(self, standing: Option<&Downtime>) -> Downtime {
        let since = standing.map_or(self.since, |standing| standing.since.min(self.since));
        Downtime { since, ..self }
    }
}

/// The last failover that no person asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Automatic {
    /// Its run.
    pub run: String,
    /// When it ended.
    pub at: Moment,
}

/// What keeps a monitor from acting by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restraint {
    /// Nothing.
    Free,
    /// The cluster is in downtime.
    Downtime,
    /// The writer is in downtime.
    WriterDowntime,
    /// Nobody has acknowledged the last automatic failover, which is not long ago.
    Unacknowledged,
}

impl Standing {
    /// Ends every downtime whose time has come.
    pub fn expire(&mut self, now: Moment) {
        let is_over = |downtime: &Downtime| downtime.until <= now;
        if self.downtime.as_ref().is_some_and(is_over) {
            self.downtime = None;
        }
        self.downtimes.retain(|_, downtime| !is_over(downtime));
    }

    /// Whether trouble of this host is expected now.
    pub fn is_in_downtime(&self, host: &HostName) -> bool {
        self.downtime.is_some() || self.downtimes.contains_key(host)
    }

    /// Whether a monitor may do this by itself. In a downtime of the cluster it only makes a replaced writer harmless,
    /// because two writers are nobody's maintenance.
    pub fn allows(&self, deed: Deed) -> bool {
        self.mode.allows(deed) && (self.downtime.is_none() || deed == Deed::Quarantine)
    }

    /// The last automatic failover, while another one waits for somebody to acknowledge it.
    pub fn unacknowledged(&self, min_interval: Duration, now: Moment) -> Option<&Automatic> {
        self.automatic
            .as_ref()
            .filter(|last| now.since(last.at) < min_interval)
    }

    /// What keeps a monitor from replacing the writer.
    pub fn restraint(&self, min_interval: Duration, now: Moment) -> Restraint {
        let writer_rests = self
            .writer
            .as_ref()
            .is_some_and(|writer| self.downtimes.contains_key(writer));
        if self.downtime.is_some() {
            Restraint::Downtime
        } else if writer_rests {
            Restraint::WriterDowntime
        } else if self.unacknowledged(min_interval, now).is_some() {
            Restraint::Unacknowledged
        } else {
            Restraint::Free
        }
    }
}

/// Whether the writer may be replaced now without a person's word: what a monitor asks, and a command that is run by
/// cron. The expired downtimes must have been taken out of the standing.
///
/// # Errors
/// Refused: the cluster or its writer is in downtime, or the last automatic failover is not acknowledged.
pub fn automatic_failover(cluster: &Cluster, standing: &Standing, now: Moment) -> Result<(), Trouble> {
    let refuse = |guard, because| {
        let what = format!("failover of `{}` was not begun", cluster.name);
        Err(Trouble::refused(guard, what, because))
    };
    match standing.restraint(cluster.failover.min_interval, now) {
        Restraint::Free => Ok(()),
        Restraint::Downtime => refuse(
            Guard::G81,
            standing
                .downtime
                .as_ref()
                .map(|downtime| words("the cluster", downtime))
                .unwrap_or_default(),
        ),
        Restraint::WriterDowntime => {
            let writer = standing.writer.as_ref();
            let downtime = writer.and_then(|writer| standing.downtimes.get(writer).map(|of| (writer, of)));
            let because = downtime.map(|(writer, downtime)| words(&format!("`{writer}`"), downtime));
            let refused = refuse(Guard::G82, because.unwrap_or_default());
            refused.map_err(|trouble: Trouble| match writer {
                Some(writer) => trouble.hint(Guard::G82.lifted_for(writer)),
                None => trouble,
            })
        }
        Restraint::Unacknowledged => {
            let last = standing.unacknowledged(cluster.failover.min_interval, now);
            let refused = refuse(
                Guard::G83,
                last.map(|last| unacknowledged_words(cluster, last))
                    .unwrap_or_default(),
            );
            refused.map_err(|trouble: Trouble| match last {
                Some(last) => trouble.hint(format!("look what happened, then `mmm ack {}`", last.run)),
                None => trouble,
            })
        }
    }
}

/// A downtime in words; `whose` is a host, or the cluster.
pub fn words(whose: &str, downtime: &Downtime) -> String {
    format!(
        "{whose} is in downtime until {}, by {}: {}",
        downtime.until, downtime.by, downtime.reason
    )
}

/// Why another automatic failover waits.
pub fn unacknowledged_words(cluster: &Cluster, last: &Automatic) -> String {
    format!(
        "run {} of {} is not acknowledged, and `failover.min_interval` is {} s",
        last.run,
        last.at,
        cluster.failover.min_interval.as_secs_f64()
    )
}

/// What to tell of downtimes that differ between two standings. Of one that has ended nobody but the clock is known to
/// have said so, unless its time had not come.
pub fn changes(before: &Standing, after: &Standing, now: Moment) -> Vec<Event> {
    let mut changed = Vec::new();
    let mut compare = |host: Option<&HostName>, was: Option<&Downtime>, is: Option<&Downtime>| {
        let (until, said) = match (was, is) {
            (was, Some(is)) if was != Some(is) => (Some(is.until), is),
            (Some(was), None) => (None, was),
            _ => return,
        };
        let by = match until {
            Some(_) => said.by.clone(),
            None if said.until <= now => String::new(),
            None => "a person".to_owned(),
        };
        changed.push(Event::DowntimeChanged {
            host: host.cloned(),
            until,
            reason: said.reason.clone(),
            by,
        });
    };
    compare(None, before.downtime.as_ref(), after.downtime.as_ref());
    let mut hosts: Vec<&HostName> = before.downtimes.keys().chain(after.downtimes.keys()).collect();
    hosts.sort_unstable();
    hosts.dedup();
    for host in hosts {
        compare(Some(host), before.downtimes.get(host), after.downtimes.get(host));
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::samples::cluster;

    fn downtime(until: u64) -> Downtime {
        Downtime {
            since: Moment(0),
            until: Moment(until),
            by: "ann".into(),
            reason: "new disks".into(),
        }
    }

    fn standing() -> Standing {
        Standing {
            writer: Some("db1".into()),
            ..Standing::default()
        }
    }

    #[test]
    fn a_downtime_ends_by_itself_and_that_is_told_once() {
        let mut before = standing();
        before.downtime = Some(downtime(5_000));
        before.downtimes.insert("db2".into(), downtime(9_000));
        let mut after = before.clone();
        after.expire(Moment(4_999));
        assert_eq!(after, before);
        after.expire(Moment(5_000));
        let told = changes(&before, &after, Moment(5_000));
        assert!(
            matches!(told.as_slice(), [Event::DowntimeChanged { host: None, until: None, by, .. }] if by.is_empty()),
            "{told:?}"
        );
        assert!(after.is_in_downtime(&"db2".into()) && !after.is_in_downtime(&"db1".into()));
        let mut ended = after.clone();
        ended.downtimes.clear();
        let told = changes(&after, &ended, Moment(6_000));
        assert!(
            matches!(told.as_slice(), [Event::DowntimeChanged { host: Some(_), until: None, by, .. }] if by == "a person"),
            "{told:?}"
        );
        assert_eq!(changes(&ended, &ended.clone(), Moment(7_000)), []);
    }

    #[test]
    fn a_downtime_that_is_prolonged_goes_on_from_its_beginning() {
        let longer = Downtime {
            since: Moment(4_000),
            ..downtime(9_000)
        };
        assert_eq!(longer.clone().instead_of(None), longer);
        let prolonged = longer.instead_of(Some(&downtime(5_000)));
        assert_eq!(prolonged, downtime(9_000));
    }

    #[test]
    fn in_a_downtime_of_the_cluster_only_a_second_writer_is_dealt_with() {
        let mut standing = standing();
        assert!(Deed::ALL.into_iter().all(|deed| standing.allows(deed)));
        standing.downtime = Some(downtime(5_000));
        let allowed: Vec<Deed> = Deed::ALL
            .into_iter()
            .filter(|deed| standing.allows(*deed))
            .collect();
        assert_eq!(allowed, [Deed::Quarantine]);
    }

    #[test]
    fn nobody_fails_over_by_itself_in_a_downtime_or_twice_without_an_acknowledgement() {
        let cluster = cluster();
        let guard = |standing: &Standing, now: u64| {
            let refused = automatic_failover(&cluster, standing, Moment(now)).err()?;
            assert!(!refused.because.is_empty(), "{refused}");
            refused.guard
        };
        let mut held = standing();
        assert_eq!(guard(&held, 1), None);
        held.automatic = Some(Automatic {
            run: "failover-1".into(),
            at: Moment(1_000),
        });
        assert_eq!(guard(&held, 3_600_999), Some(Guard::G83));
        assert_eq!(guard(&held, 3_601_000), None);
        held.downtimes.insert("db1".into(), downtime(5_000));
        assert_eq!(guard(&held, 2_000), Some(Guard::G82));
        held.downtime = Some(downtime(5_000));
        assert_eq!(guard(&held, 2_000), Some(Guard::G81));
        let mut never = cluster.clone();
        never.failover.min_interval = Duration::ZERO;
        held.expire(Moment(6_000));
        assert!(automatic_failover(&never, &held, Moment(6_000)).is_ok());
    }
}
