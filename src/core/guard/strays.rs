//! The writer's address left over on other hosts while nobody may write, as a box leaves it that dies in the middle of a
//! switchover.

use super::{Facts, another_writable};
use crate::core::cluster::{Cluster, HostName};
use crate::core::facts::HostFacts;
use crate::core::gtid::{self, Compared};
use crate::core::standing::Standing;

/// Hosts other than the writer on record that hold its address.
pub(super) fn holders(cluster: &Cluster, facts: &Facts, writer: &HostName) -> Vec<HostName> {
    let Some(address) = cluster.writer_address() else {
        return Vec::new();
    };
    let holds = |facts: &HostFacts| facts.ssh.up().is_some_and(|shell| shell.holds(address));
    facts
        .iter()
        .filter(|(host, facts)| *host != writer && holds(facts))
        .map(|(host, _)| host.clone())
        .collect()
}

/// Those of them from which the address may be taken, so that the writer on record can be opened again: all of them, or
/// none. Each host of the cluster must be seen, over SSH as well, and refuse writes; none may be owed, and none may have
/// anything that the writer has not. Then whoever held the role meanwhile has written nothing that would be left behind.
pub fn strays(cluster: &Cluster, standing: &Standing, facts: &Facts, writer: &HostName) -> Vec<HostName> {
    let server = |host: &HostName| {
        let seen = facts.get(host)?;
        seen.ssh.up().and(seen.mysql.up())
    };
    let Some(leading) = server(writer).filter(|seen| !seen.is_writable()) else {
        return Vec::new();
    };
    let has_nothing_extra = |host: &HostName| {
        server(host).is_some_and(|seen| {
            gtid::compare(&seen.history(leading), &leading.history(seen)) == Compared::Nothing
        })
    };
    let mut others = cluster
        .hosts
        .iter()
        .map(|host| &host.name)
        .filter(|host| *host != writer);
    let is_safe = standing.owed.is_empty()
        && another_writable(facts, writer).is_none()
        && others.all(has_nothing_extra);
    if is_safe {
        holders(cluster, facts, writer)
    } else {
        Vec::new()
    }
}

/// Who holds the writer's address while nobody takes writes, without having a part in a run that has come past its commit,
/// in words: somebody has moved the role since.
pub fn held_by_a_stranger(
    cluster: &Cluster,
    facts: &Facts,
    (outgoing, incoming): (Option<&HostName>, Option<&HostName>),
) -> Option<String> {
    let holders = holders(cluster, facts, incoming?);
    let stranger = holders.into_iter().find(|host| Some(host) != outgoing)?;
    Some(format!(
        "{stranger} holds the writer's address, which has no part in it"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::evidence::Rung;
    use crate::core::facts::{MysqlFacts, Reach};
    use crate::core::guard::{Guard, reopen};
    use crate::core::moment::Moment;
    use crate::core::samples::{self, WRITER_ADDRESS, cluster};
    use crate::core::standing::Owed;

    fn on_record() -> Standing {
        Standing {
            writer: Some("db1".into()),
            ..Standing::default()
        }
    }

    /// A switchover was cut off: nobody writes, and both masters hold the address.
    fn cut_off() -> Facts {
        let seen = |server_id, addresses: &[&str]| {
            let mut facts = samples::facts(false, addresses);
            if let Reach::Up(mysql) = &mut facts.mysql {
                mysql.server_id = server_id;
                state(mysql, "0-1-10");
            }
            facts
        };
        [
            ("db1".into(), seen(1, &[WRITER_ADDRESS])),
            ("db2".into(), seen(2, &[WRITER_ADDRESS])),
            ("db3".into(), seen(3, &[])),
        ]
        .into()
    }

    fn state(mysql: &mut MysqlFacts, state: &str) {
        mysql.gtid = samples::logged(state);
    }

    #[test]
    fn what_a_dead_box_left_is_taken_away_and_the_writer_on_record_opened() {
        let (cluster, standing, facts) = (cluster(), on_record(), cut_off());
        let db1 = "db1".into();
        assert_eq!(strays(&cluster, &standing, &facts, &db1), [HostName::from("db2")]);
        assert_eq!(reopen(&cluster, &standing, &facts, &db1), Ok(()));
    }

    #[test]
    fn any_doubt_leaves_it_to_a_person() {
        let (cluster, db1) = (cluster(), HostName::from("db1"));
        let refused = |standing: &Standing, facts: &Facts| {
            assert_eq!(strays(&cluster, standing, facts, &db1), []);
            reopen(&cluster, standing, facts, &db1).unwrap_err().guard
        };
        let server = |facts: &mut Facts, host: &str, change: &dyn Fn(&mut MysqlFacts)| {
            if let Reach::Up(mysql) = &mut facts.get_mut(host).unwrap().mysql {
                change(mysql);
            }
        };
        for host in ["db2", "db3"] {
            let mut extra = cut_off();
            server(&mut extra, host, &|mysql| state(mysql, "0-1-10,0-2-11"));
            assert_eq!(refused(&on_record(), &extra), Some(Guard::G18), "{host} wrote");
            let mut untold = cut_off();
            server(&mut untold, host, &|mysql| mysql.log_bin = false);
            assert_eq!(refused(&on_record(), &untold), Some(Guard::G18));
            let mut open = cut_off();
            server(&mut open, host, &|mysql| mysql.read_only = false);
            assert_eq!(refused(&on_record(), &open), Some(Guard::G08));
            let mut silent = cut_off();
            silent.get_mut(host).unwrap().mysql = Reach::Silent("no answer".into());
            assert_eq!(refused(&on_record(), &silent), Some(Guard::G18));
        }
        let mut unmanaged = cut_off();
        unmanaged.get_mut("db3").unwrap().ssh = Reach::Silent("no answer".into());
        assert_eq!(refused(&on_record(), &unmanaged), Some(Guard::G18));
        let mut gone = cut_off();
        gone.remove("db3");
        assert_eq!(refused(&on_record(), &gone), Some(Guard::G18));
        let owed = Standing {
            owed: [("db2".into(), Owed::now(Moment(1), "r", Rung::Silence))].into(),
            ..on_record()
        };
        assert_eq!(refused(&owed, &cut_off()), Some(Guard::G18));
    }
}
