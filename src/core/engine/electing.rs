//! Who would take over from the writer, and whether a failover would work.

use super::Engine;
use crate::core::cluster::HostName;
use crate::core::electorate::{Candidate, Electorate};
use crate::core::facts::HostFacts;
use crate::core::hosts::HostState;
use crate::core::losses;
use crate::core::readiness::{self, Readiness};

impl Engine {
    /// Who could take over. What keeps a host from it is more than its facts of this moment: a standby whose replication
    /// was broken before does not become fit because the writer died.
    pub(super) fn successor(&self, outgoing: Option<&HostName>) -> Option<HostName> {
        // What somebody wrote on a standby shows only beside what the writer had.
        let seen = self.seen.as_ref().filter(|seen| Some(&seen.host) == outgoing);
        let has_strayed = |host: &HostName| {
            let mysql = self.facts.get(host).and_then(|facts| facts.mysql.up());
            seen.zip(mysql)
                .is_some_and(|(seen, mysql)| losses::strayed(mysql, &seen.history).is_some())
        };
        self.electorate(outgoing).successor(|host| {
            if has_strayed(host) {
                HostState::AwaitingRecovery
            } else {
                self.state_of(host)
            }
        })
    }

    /// What an election rests on, with what is remembered of hosts that cannot be asked now.
    pub(super) fn electorate<'a>(&'a self, outgoing: Option<&'a HostName>) -> Electorate<'a> {
        Electorate {
            cluster: &self.cluster,
            standing: &self.standing,
            facts: &self.facts,
            outgoing,
            memory: &self.memory,
        }
    }

    /// Everybody who may take over from the writer, the best one first, and what bars the others.
    pub fn candidates(&self) -> Vec<Candidate> {
        let electorate = self.electorate(self.standing.writer.as_ref());
        electorate.candidates(|host| self.state_of(host))
    }

    /// Whether a failover would work now, as far as it shows while the writer answers.
    pub fn readiness(&self) -> Readiness {
        let writer = self.standing.writer.as_ref();
        let means = writer.and_then(|writer| self.means.get(writer));
        readiness::of_election(&self.electorate(writer), means, &self.candidates())
    }

    /// Remembers what matters for an election once a host cannot be asked any more.
    pub(super) fn remember_for_elections(&mut self, host: &HostName, facts: &HostFacts) {
        let Some(mysql) = facts.mysql.up() else { return };
        if self.standing.writer.as_ref() == Some(host) {
            self.memory.writer = Some((mysql.version, mysql.filters.clone()));
        }
        match mysql.replicas.first().map(|channel| channel.lag) {
            Some(Some(lag)) => {
                self.memory.lags.insert(host.clone(), lag);
            }
            // A source that is gone leaves no lag to tell: the last one counts.
            Some(None) => {}
            None => {
                self.memory.lags.remove(host);
            }
        }
    }
}
