//! What an election knows of the time before: whoever looks while the writer serves leaves it for when hosts cannot be
//! asked any more. A monitor writes its states down, one look without a monitor only what it saw.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::cluster::HostName;
use crate::core::facts::{Filters, MysqlFacts, Version};
use crate::core::guard::Facts;
use crate::core::hosts::HostState;
use crate::core::losses::Seen;
use crate::core::moment::Moment;

/// What is written down this lately was written by somebody who still looks.
const CURRENT_FOR: Duration = Duration::from_secs(15);

/// What is remembered for when a host cannot be asked any more.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// What the writer had when it last answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<Seen>,
    /// How far behind each host last said it was.
    #[serde(default)]
    pub lags: BTreeMap<HostName, Duration>,
    /// The writer's version and filters when it last answered.
    #[serde(default)]
    pub writer: Option<(Version, Option<Filters>)>,
    /// How each host is held to be, by whoever judged it last.
    #[serde(default)]
    pub states: BTreeMap<HostName, HostState>,
    /// Since when replication on a host was not seen to run, where only single looks tell.
    #[serde(default)]
    pub stopped: BTreeMap<HostName, Moment>,
}

impl Memory {
    /// Takes in what a server said of itself.
    pub fn note(&mut self, host: &HostName, is_writer: bool, mysql: &MysqlFacts) {
        if is_writer {
            self.writer = Some((mysql.version, mysql.filters.clone()));
        }
        match mysql.replicas.first().map(|channel| channel.lag) {
            Some(Some(lag)) => {
                self.lags.insert(host.clone(), lag);
            }
            // A source that is gone leaves no lag to tell: the last one counts.
            Some(None) => {}
            None => {
                self.lags.remove(host);
            }
        }
    }

    /// What is remembered after one look at a writer that serves, by somebody who does not watch. Replication that did
    /// not run at two looks, `trap_after` or more apart, counts as broken: nobody has judged it in between.
    pub fn after_look(
        mut self,
        writer: &HostName,
        now: Moment,
        facts: &Facts,
        trap_after: Duration,
    ) -> Memory {
        let states = std::mem::take(&mut self.states);
        // Only whoever is seen to replicate is not broken any more.
        let is_up = |host: &HostName| facts.get(host).is_some_and(|seen| seen.mysql.up().is_some());
        let broken = states
            .iter()
            .filter(|(host, state)| **state == HostState::ReplicationFail && !is_up(host));
        self.states
            .extend(broken.map(|(host, state)| (host.clone(), *state)));
        for (host, mysql) in facts
            .iter()
            .filter_map(|(host, seen)| Some((host, seen.mysql.up()?)))
        {
            self.note(host, host == writer, mysql);
            if host == writer {
                self.seen = Some(Seen::of(host, now, mysql));
            }
            let is_broken = mysql.replicas.iter().any(|channel| !channel.is_running());
            if host == writer || !is_broken {
                self.stopped.remove(host);
                continue;
            }
            let since = *self.stopped.entry(host.clone()).or_insert(now);
            let was_broken = states.get(host) == Some(&HostState::ReplicationFail);
            if was_broken || now.since(since) >= trap_after {
                self.states.insert(host.clone(), HostState::ReplicationFail);
            }
        }
        self
    }

    /// What counts of it about hosts that answer: the states, where somebody judges them now.
    pub fn current(self, now: Moment) -> Memory {
        let is_current = |seen: &Seen| now.since(seen.at) <= CURRENT_FOR;
        let states = if self.seen.as_ref().is_some_and(is_current) {
            self.states
        } else {
            BTreeMap::new()
        };
        Memory {
            states,
            ..Memory::default()
        }
    }

    /// What counts of it in a failover. Where a person accepts that transactions are lost, only what replication itself
    /// would not bear.
    pub fn weighed(self, allow_loss: bool) -> Memory {
        if !allow_loss {
            return self;
        }
        Memory {
            writer: self.writer.map(|(version, _)| (version, None)),
            ..Memory::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::facts::{IoThread, Reach};
    use crate::core::samples;

    const TRAP: Duration = Duration::from_secs(4);

    fn looked(memory: Memory, at: u64, io: IoThread) -> Memory {
        let mut db2 = samples::facts(false, &[]);
        if let Reach::Up(mysql) = &mut db2.mysql {
            mysql.replicas[0].io = io;
            mysql.replicas[0].lag = Some(Duration::from_secs(7)).filter(|_| io == IoThread::Yes);
        }
        let facts = Facts::from([("db1".into(), samples::facts(true, &[])), ("db2".into(), db2)]);
        memory.after_look(&"db1".into(), Moment(at), &facts, TRAP)
    }

    #[test]
    fn replication_that_runs_at_neither_of_two_looks_is_broken_and_runs_again_once_it_is_seen_to() {
        let well = looked(Memory::default(), 0, IoThread::Yes);
        assert_eq!((well.states.len(), well.stopped.len()), (0, 0));
        assert_eq!(well.seen.as_ref().map(|seen| seen.at), Some(Moment(0)));
        assert!(well.writer.is_some());
        let once = looked(well, 60_000, IoThread::No);
        assert_eq!(once.states.len(), 0, "it may have been restarted at that moment");
        let twice = looked(once, 120_000, IoThread::Connecting);
        assert_eq!(twice.states[&HostName::from("db2")], HostState::ReplicationFail);
        assert_eq!(twice.lags[&HostName::from("db2")], Duration::from_secs(7));
        let mended = looked(twice.clone(), 180_000, IoThread::Yes);
        assert_eq!((mended.states.len(), mended.stopped.len()), (0, 0));
        // What a monitor had found broken stays so; what else it held is for a monitor to judge.
        let mut left = Memory::default();
        left.states.insert("db2".into(), HostState::ReplicationFail);
        assert_eq!(looked(left.clone(), 0, IoThread::No).states, left.states);
        // One that cannot be asked for a moment is not mended by that.
        let facts = Facts::from([("db1".into(), samples::facts(true, &[]))]);
        let unseen = left.clone().after_look(&"db1".into(), Moment(0), &facts, TRAP);
        assert_eq!(unseen.states, left.states);
        left.states.insert("db2".into(), HostState::AwaitingRecovery);
        assert_eq!(looked(left, 0, IoThread::No).states.len(), 0);
    }

    #[test]
    fn states_count_for_the_living_only_while_somebody_judges_them() {
        let mut memory = looked(Memory::default(), 0, IoThread::Yes);
        memory.states.insert("db2".into(), HostState::AwaitingRecovery);
        assert_eq!(memory.clone().current(Moment(15_000)).states, memory.states);
        assert_eq!(memory.clone().current(Moment(15_001)), Memory::default());
        let accepted = memory.weighed(true);
        assert!(accepted.states.is_empty() && accepted.seen.is_none() && accepted.writer.is_some());
    }
}
