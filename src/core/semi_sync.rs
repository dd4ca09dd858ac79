//! Semi-synchronous replication: whether commits of the writer wait for replicas, and who could acknowledge to the next
//! one. Pure: what was seen goes in, one of three words comes out.

use super::cluster::HostName;
use super::facts::SemiSync;
use super::guard::Facts;

/// What an operation has to do about semi-synchronous replication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SemiSyncUse {
    /// Nothing: it is not used, or the coming writer does not have it.
    Unused,
    /// It is used, and nobody will be there who acknowledges: the coming writer may not wait.
    Alone,
    /// It is used, and somebody will acknowledge to the coming writer.
    Used,
}

impl SemiSyncUse {
    /// Of an operation on these hosts. A writer that is dead is not asked, and acknowledges nothing.
    pub fn of(
        facts: &Facts,
        outgoing: Option<&HostName>,
        incoming: Option<&HostName>,
        is_dead: bool,
    ) -> SemiSyncUse {
        let has = |host: Option<&HostName>| -> Option<SemiSync> {
            facts.get(host?).and_then(|facts| facts.mysql.up())?.semi_sync
        };
        let Some(taking) = has(incoming) else {
            return SemiSyncUse::Unused;
        };
        let leaving = has(outgoing).filter(|_| !is_dead);
        let others = || {
            let others = facts.keys().map(Some);
            others.filter(|host| *host != outgoing && *host != incoming)
        };
        let acknowledged = others().any(|host| has(host).is_some_and(|semi| semi.replica_enabled));
        let waited = match leaving {
            Some(leaving) => leaving.source_enabled || taking.source_enabled,
            None => taking.source_enabled || taking.replica_enabled || acknowledged,
        };
        match (waited, acknowledged || leaving.is_some()) {
            (false, _) => SemiSyncUse::Unused,
            (true, false) => SemiSyncUse::Alone,
            (true, true) => SemiSyncUse::Used,
        }
    }

    /// As playbooks read it.
    pub fn word(self) -> &'static str {
        match self {
            SemiSyncUse::Unused => "no",
            SemiSyncUse::Alone => "alone",
            SemiSyncUse::Used => "yes",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::facts::Reach;
    use crate::core::samples::facts;

    /// Three hosts: whether the source's and the replica's side are on; none where it is not installed.
    fn world(sides: [Option<(bool, bool)>; 3]) -> Facts {
        let hosts = ["db1", "db2", "db3"].into_iter().zip(sides);
        hosts
            .map(|(name, sides)| {
                let mut seen = facts(name == "db1", &[]);
                if let Reach::Up(mysql) = &mut seen.mysql {
                    mysql.semi_sync = sides.map(|(source, replica)| SemiSync {
                        source_enabled: source,
                        source_active: source,
                        replica_enabled: replica,
                        replica_active: replica,
                        replicas: 0,
                    });
                }
                (name.into(), seen)
            })
            .collect()
    }

    fn of(sides: [Option<(bool, bool)>; 3], is_dead: bool) -> &'static str {
        let (db1, db2) = ("db1".into(), "db2".into());
        SemiSyncUse::of(&world(sides), Some(&db1), Some(&db2), is_dead).word()
    }

    #[test]
    fn a_planned_move_takes_it_along_where_the_writer_waited() {
        let (off, source, replica) = (Some((false, false)), Some((true, false)), Some((false, true)));
        assert_eq!(of([source, replica, replica], false), "yes");
        assert_eq!(
            of([source, off, None], false),
            "yes",
            "the old writer acknowledges"
        );
        assert_eq!(of([off, replica, replica], false), "no", "it did not wait");
        assert_eq!(
            of([off, source, off], false),
            "yes",
            "the coming one would wait by itself"
        );
        assert_eq!(
            of([source, None, replica], false),
            "no",
            "the coming one does not have it"
        );
    }

    #[test]
    fn after_a_death_somebody_else_has_to_acknowledge() {
        let (off, source, replica) = (Some((false, false)), Some((true, false)), Some((false, true)));
        assert_eq!(of([source, replica, replica], true), "yes");
        assert_eq!(of([source, source, off], true), "alone");
        assert_eq!(of([source, replica, None], true), "alone");
        assert_eq!(of([source, off, off], true), "no");
    }
}
