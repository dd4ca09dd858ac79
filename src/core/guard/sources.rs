//! Who else may be the writer: whom a host follows, and who was not seen to refuse writes.

use super::{Facts, Guard, another_writable, possible_writers};
use crate::core::cluster::{Cluster, HostName};
use crate::core::losses;
use crate::core::settlement::Doubt;
use crate::core::trouble::Trouble;

/// The host of the writer role other than `outgoing` that `incoming` follows, unless it was seen to refuse writes: whoever
/// acts on an old record would otherwise take the death of an earlier writer for that of the writer.
pub(super) fn follows_a_possible_writer(
    cluster: &Cluster,
    facts: &Facts,
    outgoing: Option<&HostName>,
    incoming: &HostName,
) -> Option<HostName> {
    let sources = &facts.get(incoming)?.mysql.up()?.replicas;
    let follows = |host: &HostName| {
        let address = cluster.host(host).map(|host| host.address.to_string());
        sources
            .iter()
            .any(|channel| Some(&channel.source_host) == address.as_ref())
    };
    possible_writers(cluster, facts, incoming)
        .into_iter()
        .find(|host| Some(host) != outgoing && follows(host))
}

/// Whoever did not watch all the time may have an old record: a host that it holds to be the writer is opened again only
/// when every other one that could have been made the writer since is seen to refuse writes.
///
/// # Errors
/// Refused, with the first host that may be the writer.
pub fn could_not_have_been_replaced(
    cluster: &Cluster,
    facts: &Facts,
    writer: &HostName,
) -> Result<(), Trouble> {
    let refuse = |guard: Guard, because: String| {
        Err(
            Trouble::refused(guard, format!("`{writer}` was not opened again"), because)
                .hint(guard.lifted_for(writer)),
        )
    };
    if let Some(other) = another_writable(facts, writer) {
        return refuse(Guard::G08, format!("`{other}` accepts writes"));
    }
    if let Some(other) = possible_writers(cluster, facts, writer).first() {
        return refuse(
            Guard::G63,
            format!("`{other}` does not say that it refuses writes"),
        );
    }
    let server = |host: &HostName| facts.get(host).and_then(|facts| facts.mysql.up());
    let Some(leading) = server(writer) else {
        return Ok(());
    };
    let roles = cluster
        .writer()
        .map(|role| role.hosts.as_slice())
        .unwrap_or_default();
    let mut others = roles.iter().filter(|host| *host != writer);
    let wrote = others.find_map(|host| {
        let seen = server(host)?;
        Some((host, losses::strayed(seen, &leading.history(seen))?))
    });
    match wrote {
        None => Ok(()),
        Some((host, last)) => refuse(
            Guard::G63,
            format!(
                "`{host}` made transactions that `{writer}` has not, {last}: it may have been the writer since"
            ),
        ),
    }
}

/// Who may have become the writer since a run was cut off, without anybody here knowing: of a planned one everybody of the
/// writer role, since another box may have acted; a failover opens nobody when it is taken back (its writer's leave to start
/// is given back by a look of its own), and only what it may itself have opened counts. A journal on a full disk ends before its run did.
pub fn doubt(
    cluster: &Cluster,
    facts: &Facts,
    (outgoing, incoming): (Option<&HostName>, Option<&HostName>),
    is_failover: bool,
) -> Option<Doubt> {
    let outgoing = outgoing?;
    let unseen = possible_writers(cluster, facts, outgoing);
    if is_failover {
        let opened = incoming.filter(|host| unseen.contains(host))?;
        return Some(Doubt {
            because: format!("`{opened}` does not say that it refuses writes"),
            awaits: vec![opened.clone()],
        });
    }
    let refused = could_not_have_been_replaced(cluster, facts, outgoing).err()?;
    Some(Doubt {
        because: refused.because,
        awaits: unseen,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::facts::Reach;
    use crate::core::guard::{self, Guard};
    use crate::core::samples;
    use crate::core::standing::Standing;

    /// db1 was the writer by an old record; db3 follows db2, which nobody sees.
    #[test]
    fn who_follows_another_possible_writer_is_not_opened_for_the_death_of_an_earlier_one() {
        let mut cluster = samples::cluster();
        cluster.roles[0].hosts.push("db3".into());
        let mut facts = Facts::new();
        let mut db3 = samples::facts(false, &[]);
        if let crate::core::facts::Reach::Up(mysql) = &mut db3.mysql {
            mysql.replicas[0].source_host = "10.0.0.2".into();
        }
        facts.insert("db3".into(), db3);
        let (db1, db3) = ("db1".into(), "db3".into());
        let found = follows_a_possible_writer(&cluster, &facts, Some(&db1), &db3);
        assert_eq!(found, Some("db2".into()));
        let standing = Standing {
            writer: Some("db1".into()),
            ..Standing::default()
        };
        let refused =
            guard::failover(&cluster, &standing, &facts, Some(&db1), &db3, &Default::default()).unwrap_err();
        assert_eq!(refused.guard, Some(Guard::G13));
        facts.insert("db2".into(), samples::facts(false, &[]));
        assert_eq!(
            follows_a_possible_writer(&cluster, &facts, Some(&db1), &db3),
            None
        );
    }

    #[test]
    fn a_run_is_taken_back_without_doubt_once_all_who_could_be_the_writer_refuse_writes() {
        let mut cluster = samples::cluster();
        cluster.roles[0].hosts.push("db3".into());
        let (db1, db2) = (HostName::from("db1"), HostName::from("db2"));
        let asked = |facts: &Facts, is_failover| {
            let doubt = doubt(&cluster, facts, (Some(&db1), Some(&db2)), is_failover);
            doubt.map(|doubt| doubt.awaits)
        };
        let mut facts = Facts::new();
        assert_eq!(asked(&facts, false), Some(vec!["db2".into(), "db3".into()]));
        assert_eq!(asked(&facts, true), Some(vec!["db2".into()]));
        facts.insert(db2.clone(), samples::facts(false, &[]));
        assert_eq!(asked(&facts, false), Some(vec!["db3".into()]));
        assert_eq!(asked(&facts, true), None);
        facts.insert("db3".into(), samples::facts(false, &[]));
        assert_eq!(asked(&facts, false), None);
    }

    #[test]
    fn a_writer_on_record_is_opened_again_only_when_nobody_else_could_have_become_it() {
        let cluster = samples::cluster();
        let asked = |facts: &Facts| could_not_have_been_replaced(&cluster, facts, &"db1".into());
        let mut facts = Facts::new();
        let refused = asked(&facts).unwrap_err();
        assert_eq!(refused.guard, Some(Guard::G63));
        assert!(refused.hint.contains("--to db1"), "{}", refused.hint);
        facts.insert("db2".into(), samples::facts(false, &[]));
        asked(&facts).unwrap();
        // It refuses writes now, and has made what the one on record never had.
        let with = |state: &str, server_id| {
            let mut facts = samples::facts(false, &[]);
            if let Reach::Up(mysql) = &mut facts.mysql {
                mysql.server_id = server_id;
                mysql.gtid = samples::logged(state);
            }
            facts
        };
        facts.insert("db1".into(), with("0-1-10", 1));
        facts.insert("db2".into(), with("0-1-10", 2));
        asked(&facts).unwrap();
        facts.insert("db2".into(), with("0-1-10,0-2-12", 2));
        let refused = asked(&facts).unwrap_err();
        assert_eq!(refused.guard, Some(Guard::G63));
        assert!(refused.because.contains("up to 0-2-12"), "{}", refused.because);
        facts.insert("db2".into(), samples::facts(true, &[]));
        assert_eq!(asked(&facts).unwrap_err().guard, Some(Guard::G08));
    }
}
