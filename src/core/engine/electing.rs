//! Who would take over from the writer, and whether a failover would work.

use super::Engine;
use crate::core::cluster::HostName;
use crate::core::electorate::{Candidate, Electorate};
use crate::core::facts::HostFacts;
use crate::core::readiness::{self, Readiness};

impl Engine {
    /// Who could take over.
    pub(super) fn successor(&self, outgoing: Option<&HostName>) -> Option<HostName> {
        self.electorate(outgoing).successor()
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
        electorate.candidates()
    }

    /// Whether a failover would work now, as far as it shows while the writer answers.
    pub fn readiness(&self) -> Readiness {
        let writer = self.standing.writer.as_ref();
        let means = writer.and_then(|writer| self.means.get(writer));
        readiness::of_election(&self.electorate(writer), means, &self.candidates())
    }

    /// Remembers what matters for an election once a host cannot be asked any more.
    pub(super) fn remember_for_elections(&mut self, host: &HostName, facts: &HostFacts) {
        if let Some(mysql) = facts.mysql.up() {
            self.memory
                .note(host, self.standing.writer.as_ref() == Some(host), mysql);
        }
    }
}
