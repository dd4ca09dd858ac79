//! Replication channels of a host that are not managed: from another cluster, say. They are never touched; here stands what
//! they mean for what is decided. Pure.

use std::fmt;

use super::cluster::{Cluster, HostMode, HostName};
use super::facts::{Flavour, MysqlFacts, ReplicationFacts, SqlThread};
use super::gtid::{History, Uuid};
use super::guard::Facts;

/// A channel in words: `channel \`x\` from 10.0.0.9:3306`.
pub struct Named<'c>(pub &'c ReplicationFacts);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Named(channel) = self;
        match channel.channel.as_str() {
            "" => f.write_str("the channel without a name")?,
            name => write!(f, "channel `{name}`")?,
        }
        write!(f, " from {}:{}", channel.source_host, channel.source_port)
    }
}

/// The channel over which a host goes on writing when it refuses the writes of clients: what is applied is not stopped by
/// `read_only`.
pub fn writes_on(mysql: &MysqlFacts) -> Option<&ReplicationFacts> {
    mysql.foreign.iter().find(|channel| channel.sql == SqlThread::Yes)
}

/// Whether servers of that version know channels by name at all.
pub fn are_known_to(mysql: &MysqlFacts) -> bool {
    mysql.version.flavour == Flavour::Mariadb || mysql.version.numbers >= (5, 7, 6)
}

/// What a host has, without what it alone was meant to have: what servers outside of the cluster made, and came over its
/// other channels. Only of a host that is never the writer: elsewhere the cluster is meant to have it too. What such a
/// server only passed on counts as the host's, since nothing tells where it is from.
pub fn left_out(cluster: &Cluster, facts: &Facts, host: &HostName, has: History) -> History {
    let mode = cluster.host(host).map(|host| host.mode);
    let own = facts.get(host).and_then(|facts| facts.mysql.up());
    let Some(own) = own.filter(|_| mode == Some(HostMode::Slave)) else {
        return has;
    };
    let outside = own
        .foreign
        .iter()
        .filter(|channel| !leads_to_a_member(cluster, facts, own, channel));
    match has {
        History::Mariadb {
            server,
            state,
            applied,
        } => History::Mariadb {
            server,
            state: outside
                .filter_map(|channel| channel.source_server_id)
                .fold(state, |state, id| state.without(id)),
            applied,
        },
        History::Mysql { server, executed } => History::Mysql {
            server,
            executed: outside
                .filter_map(|channel| channel.source_uuid)
                .fold(executed, |set, uuid| set.difference(&set.of_server(uuid))),
        },
        other => other,
    }
}

/// Whether a channel's source is of this cluster, or could be taken for one that is: by its address, or by what it calls
/// itself.
fn leads_to_a_member(cluster: &Cluster, facts: &Facts, own: &MysqlFacts, channel: &ReplicationFacts) -> bool {
    let by_address = cluster
        .hosts
        .iter()
        .any(|host| host.address.to_string() == channel.source_host);
    let is_same = |id: Option<u32>, uuid: Option<Uuid>| {
        id.is_some() && id == channel.source_server_id || uuid == channel.source_uuid && uuid.is_some()
    };
    let mut members = facts.values().filter_map(|facts| facts.mysql.up());
    by_address
        || members.any(|member| is_same(Some(member.server_id), member.server_uuid))
        || own
            .replicas
            .iter()
            .any(|managed| is_same(managed.source_server_id, managed.source_uuid))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::facts::{GtidFacts, GtidMode, Reach, Version};
    use crate::core::gtid::{self, Compared, MariaPosition, MariaState};
    use crate::core::samples::{cluster, facts};

    const OUTSIDE: &str = "9c61fa47-71ca-11e1-9e33-c80aa9429562";

    fn server<'f>(facts: &'f mut Facts, host: &str) -> &'f mut MysqlFacts {
        match facts.get_mut(host).map(|facts| &mut facts.mysql) {
            Some(Reach::Up(mysql)) => mysql,
            other => unreachable!("{other:?}"),
        }
    }

    /// A channel of that name from a server outside.
    fn outside(mysql: &MysqlFacts) -> ReplicationFacts {
        ReplicationFacts {
            channel: "reports".to_owned(),
            source_host: "10.9.0.1".to_owned(),
            source_server_id: Some(90),
            source_uuid: OUTSIDE.parse().ok(),
            ..mysql.replicas[0].clone()
        }
    }

    fn mariadb(state: &str) -> GtidFacts {
        let state: MariaState = state.parse().unwrap();
        GtidFacts::Mariadb {
            binlog_pos: state.newest(),
            slave_pos: MariaPosition::default(),
            current_pos: state.newest(),
            binlog_state: state,
            domain_id: 0,
            strict: false,
        }
    }

    /// db1 writes; `host` has all of it, and 7 transactions from outside over another channel.
    fn beside(host: &str, is_mysql: bool) -> Facts {
        let mut all: Facts = ["db1", "db2", "db3"]
            .map(|name| (HostName::from(name), facts(name == "db1", &[])))
            .into();
        for (id, name) in [(1, "db1"), (2, "db2"), (3, "db3")] {
            let mysql = server(&mut all, name);
            mysql.server_id = id;
            let is_beside = name == host;
            mysql.gtid = mariadb(if is_beside { "0-1-10,9-90-7" } else { "0-1-10" });
            if is_mysql {
                let ours = "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-10";
                let set = if is_beside {
                    format!("{ours},{OUTSIDE}:1-7")
                } else {
                    ours.to_owned()
                };
                mysql.version = Version {
                    flavour: Flavour::Mysql,
                    numbers: (8, 4, 0),
                };
                mysql.gtid = GtidFacts::Mysql {
                    mode: GtidMode::On,
                    executed: set.parse().unwrap(),
                    purged: Default::default(),
                };
            }
            if is_beside {
                mysql.foreign = vec![outside(mysql)];
            }
        }
        all
    }

    fn surplus(all: &Facts, host: &str) -> Option<String> {
        let up = |name: &str| all[name].mysql.up().unwrap();
        let (own, leading) = (up(host), up("db1"));
        let has = left_out(&cluster(), all, &host.into(), own.history(leading));
        match gtid::compare(&has, &leading.history(own)) {
            Compared::Nothing => None,
            Compared::Extra(surplus) => Some(surplus.to_string()),
            Compared::Unknown(why) => unreachable!("{why}"),
        }
    }

    #[test]
    fn what_came_from_outside_is_no_surplus_of_a_replica() {
        assert_eq!(surplus(&beside("db3", false), "db3"), None);
        assert_eq!(surplus(&beside("db3", true), "db3"), None);
    }

    #[test]
    fn of_a_master_it_is() {
        assert_eq!(
            surplus(&beside("db2", false), "db2").as_deref(),
            Some("9-90-1..7")
        );
        assert_eq!(
            surplus(&beside("db2", true), "db2"),
            Some(format!("{OUTSIDE}:1-7"))
        );
    }

    #[test]
    fn what_others_made_still_is() {
        for is_mysql in [false, true] {
            let mut all = beside("db3", is_mysql);
            server(&mut all, "db3").foreign[0].source_server_id = Some(91);
            server(&mut all, "db3").foreign[0].source_uuid = None;
            assert!(surplus(&all, "db3").is_some(), "it only passed them on");
        }
    }

    #[test]
    fn a_channel_from_within_the_cluster_hides_nothing() {
        for change in [
            (|channel| channel.source_host = "10.0.0.2".to_owned()) as fn(&mut ReplicationFacts),
            |channel| channel.source_server_id = Some(2),
        ] {
            let mut all = beside("db3", false);
            server(&mut all, "db3").gtid = mariadb("0-1-10,0-2-12,9-90-7");
            let foreign = &mut server(&mut all, "db3").foreign;
            foreign[0].source_server_id = Some(2);
            change(&mut foreign[0]);
            assert!(surplus(&all, "db3").is_some_and(|found| found.contains("0-2-1..12")));
        }
    }

    #[test]
    fn only_what_applies_goes_on_writing() {
        let mut all = beside("db1", false);
        let told = writes_on(server(&mut all, "db1")).map(|channel| Named(channel).to_string());
        assert_eq!(told.as_deref(), Some("channel `reports` from 10.9.0.1:3306"));
        server(&mut all, "db1").foreign[0].sql = SqlThread::No;
        assert_eq!(writes_on(server(&mut all, "db1")), None);
    }
}
