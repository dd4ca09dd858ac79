//! What a monitor remembers of the hosts from one start to the next.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{HostRecord, HostState};
use crate::core::cluster::{CheckKind, HostName};
use crate::core::electorate::{Memory, may_take_over};
use crate::core::guard::Facts;
use crate::core::latch::Latch;
use crate::core::moment::Moment;
use crate::core::standing::Standing;

/// The version of the persisted form.
pub const RECORDS_VERSION: u32 = 1;

/// Everything remembered of one cluster's hosts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Records {
    /// The version of this form.
    pub version: u32,
    /// Who was the writer.
    pub writer: Option<HostName>,
    /// Since when, where a monitor saw it become one.
    pub writer_since: Option<Moment>,
    /// The run in which its time began, where this box knows it: who was the writer before as well had another time then.
    #[serde(default)]
    pub since_run: Option<String>,
    /// What an election needs to know of the time of that writer.
    #[serde(default)]
    pub memory: Memory,
    /// Each host.
    pub hosts: BTreeMap<HostName, HostMemory>,
}

/// What is remembered of one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostMemory {
    /// Its state and timers.
    pub record: HostRecord,
    /// Its checks.
    pub checks: BTreeMap<CheckKind, Latch>,
}

impl Records {
    /// What is remembered of the time when `writer` was the writer. Of another time nothing counts but what a host had,
    /// which names its host.
    pub fn memory_under(self, writer: Option<&HostName>, standing: &Standing) -> Memory {
        if writer.is_some() && self.writer.as_ref() == writer && self.is_of_now(standing) {
            let mut memory = self.memory;
            // That a host was well says nothing of the time since; who is out of service, what stands tells.
            memory.states.retain(|host, state| {
                let out_since = self.hosts.get(host).and_then(|known| known.record.out_since);
                let is_let_in = match (standing.released.get(host), out_since) {
                    (Some(released), Some(out)) => *state == HostState::AwaitingRecovery && *released >= out,
                    _ => false,
                };
                !may_take_over(*state) && *state != HostState::AdminOffline && !is_let_in
            });
            return memory;
        }
        Memory {
            seen: self.memory.seen,
            ..Memory::default()
        }
    }

    /// Whether nobody has been made the writer since, as far as this box knows.
    fn is_of_now(&self, standing: &Standing) -> bool {
        standing.writer != self.writer || standing.since_run == self.since_run
    }

    /// The records after one look at a writer that serves, by somebody who does not watch: the hosts' timers stay as the
    /// last monitor left them.
    pub fn after_look(
        left: Option<Records>,
        standing: &Standing,
        writer: &HostName,
        now: Moment,
        facts: &Facts,
        trap_after: Duration,
    ) -> Records {
        let left = left.unwrap_or_else(|| Records {
            version: RECORDS_VERSION,
            writer: Some(writer.clone()),
            writer_since: None,
            since_run: None,
            memory: Memory::default(),
            hosts: BTreeMap::new(),
        });
        let since_run = standing.since_run.clone();
        let since_run = since_run.filter(|_| standing.writer.as_ref() == Some(writer));
        let is_new = left.writer.as_ref() != Some(writer) || !left.is_of_now(standing);
        let memory = left.clone().memory_under(Some(writer), standing);
        Records {
            writer: Some(writer.clone()),
            writer_since: if is_new { Some(now) } else { left.writer_since },
            since_run,
            memory: memory.after_look(writer, now, facts, trap_after),
            ..left
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn that_a_host_was_well_once_lets_it_take_over_no_more() {
        use HostState::{AdminOffline, AwaitingRecovery, Online, ReplicationDelay, ReplicationFail};
        let states = [
            Online,
            ReplicationDelay,
            ReplicationFail,
            AwaitingRecovery,
            AdminOffline,
        ];
        let states = states
            .into_iter()
            .enumerate()
            .map(|(number, state)| (HostName(format!("db{number}")), state));
        let records = Records {
            version: RECORDS_VERSION,
            writer: Some("db9".into()),
            writer_since: None,
            since_run: Some("2".to_owned()),
            memory: Memory {
                states: states.collect(),
                ..Memory::default()
            },
            hosts: BTreeMap::new(),
        };
        let made = |run: &str, writer: &str| Standing {
            writer: Some(writer.into()),
            since_run: Some(run.to_owned()),
            ..Standing::default()
        };
        let left = |writer: &str, standing: &Standing| -> Vec<HostState> {
            let memory = records.clone().memory_under(Some(&writer.into()), standing);
            memory.states.into_values().collect()
        };
        let mut standing = made("2", "db9");
        assert_eq!(left("db9", &standing), [ReplicationFail, AwaitingRecovery]);
        assert_eq!(left("db8", &made("3", "db8")), []);
        // It was the writer before, another was in between: what was seen before that is of another time.
        assert_eq!(left("db9", &made("4", "db9")), []);
        // Who was let in by a person since may take over again; what is broken that does not mend.
        let mut record = HostRecord::unknown("db3".into(), Moment(5));
        record.out_since = Some(Moment(7));
        let mut known = records.clone();
        let checks = BTreeMap::new();
        known.hosts.insert("db3".into(), HostMemory { record, checks });
        for (released, expected) in [
            (6, vec![ReplicationFail, AwaitingRecovery]),
            (8, vec![ReplicationFail]),
        ] {
            for host in ["db2", "db3"] {
                standing.released.insert(host.into(), Moment(released));
            }
            let memory = known.clone().memory_under(Some(&"db9".into()), &standing);
            assert_eq!(memory.states.into_values().collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn a_writer_that_is_opened_again_is_in_the_same_time_and_one_that_was_another_meanwhile_is_not() {
        let (db1, db2) = (HostName::from("db1"), HostName::from("db2"));
        let mut standing = Standing::default();
        let mut times = Vec::new();
        for (run, writer) in [("1", &db1), ("2", &db1), ("3", &db2), ("4", &db1), ("5", &db1)] {
            standing.make_writer(Some(writer), run);
            times.push(standing.since_run.clone().unwrap_or_default());
        }
        assert_eq!(times, ["", "", "3", "4", "4"]);
        assert_eq!(standing.made_by(), Some("5"));
        // Nobody knows what a run in doubt has made of it; what is remembered goes on to count.
        standing.writer = None;
        standing.make_writer(Some(&db1), "6");
        assert_eq!(standing.since_run.as_deref(), Some("4"));
    }

    #[test]
    fn a_look_is_of_the_time_of_the_run_that_made_the_writer() {
        let db1 = HostName::from("db1");
        let mut standing = Standing {
            writer: Some(db1.clone()),
            ..Standing::default()
        };
        let look = |left, standing: &Standing, at| {
            Records::after_look(left, standing, &db1, Moment(at), &Facts::new(), Duration::ZERO)
        };
        let mut first = look(None, &standing, 1);
        first.memory.lags.insert("db2".into(), Duration::from_secs(9));
        let again = look(Some(first), &standing, 2);
        assert_eq!((again.memory.lags.len(), again.since_run.clone()), (1, None));
        standing.since_run = Some("7".to_owned());
        let later = look(Some(again), &standing, 3);
        assert_eq!(
            (later.memory.lags.len(), later.since_run.as_deref()),
            (0, Some("7"))
        );
        assert_eq!(later.writer_since, Some(Moment(3)));
    }
}
