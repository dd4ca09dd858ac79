//! What a failover would lose, and what it has lost: transactions that the old writer acknowledged and the new one lacks,
//! as far as anybody can know. Pure: what was seen goes in, sets and counts come out.
//!
//! Before it, three things are known: what the writer had when it was last looked at, what each host has received, and
//! what of that it can apply. Afterwards, once the old writer is back, its own log gives the exact set.

mod comparing;
mod handing_over;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use comparing::more;
use handing_over::cannot_hand_over;

use super::cluster::{Cluster, HostName};
use super::facts::{
    GtidFacts, GtidMode, IoThread, MysqlFacts, Reach, ReceivedGtid, ReplicationFacts, SqlThread,
};
use super::foreign;
use super::gtid::{self, Compared, History, MariaGtid, MariaPosition, MariaRange, Surplus};
use super::guard::Facts;
use super::moment::Moment;
use super::standing::Standing;

/// What a writer had when it was last looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The writer.
    pub host: HostName,
    /// When.
    pub at: Moment,
    /// Its transactions.
    pub history: History,
}

impl Seen {
    /// From the facts of a host that took writes.
    pub fn of(host: &HostName, at: Moment, mysql: &MysqlFacts) -> Seen {
        Seen {
            host: host.clone(),
            at,
            history: mysql.history(mysql),
        }
    }
}

/// What is known of the transactions that a replaced writer had and the new one lacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// Whether the old writer itself was asked afterwards; otherwise what it acknowledged after `seen_at` is not counted.
    pub is_exact: bool,
    /// When the old writer was looked at; none when nobody had.
    pub seen_at: Option<Moment>,
    /// What it had then and the new writer lacks.
    pub found: Compared,
}

impl Loss {
    /// Of a writer of which nothing is known.
    pub fn unseen() -> Loss {
        Loss {
            is_exact: false,
            seen_at: None,
            found: Compared::Unknown("nobody had looked at it while it took writes".to_owned()),
        }
    }

    /// Of a writer that has just been replaced.
    pub fn estimate(seen: Option<&Seen>, writer: &History, fork: Option<&MariaPosition>) -> Loss {
        seen.map_or_else(Loss::unseen, |seen| Loss {
            is_exact: false,
            seen_at: Some(seen.at),
            found: gtid::lacking(&seen.history, writer).since(fork),
        })
    }

    /// How many transactions; none when that is not known. Of an estimate, how many at least.
    pub fn count(&self) -> Option<u64> {
        match &self.found {
            Compared::Nothing => Some(0),
            Compared::Extra(surplus) => surplus.at_most(),
            Compared::Unknown(_) => None,
        }
    }

    /// Which transactions, where some are known to be missing.
    pub fn transactions(&self) -> Option<String> {
        match &self.found {
            Compared::Extra(surplus) => Some(surplus.to_string()),
            Compared::Nothing | Compared::Unknown(_) => None,
        }
    }

    /// In words, of `host` that was replaced by `writer`.
    pub fn sentence(&self, host: &HostName, writer: &HostName) -> String {
        let at = self.seen_at.map_or(String::new(), |at| format!(" at {at}"));
        let later = format!("what {host} acknowledged after that is told once it is back");
        match (&self.found, self.is_exact) {
            (Compared::Nothing, true) => {
                format!("nothing was lost: {host} has no transaction that {writer} has not")
            }
            (Compared::Nothing, false) => {
                format!("{writer} has all that {host} was seen to have{at}; {later}")
            }
            (Compared::Extra(surplus), true) => {
                format!("{writer} lacks {} of {host}: {surplus}", transactions(surplus))
            }
            (Compared::Extra(surplus), false) => {
                let some = transactions(surplus);
                format!("{writer} lacks at least {some} that {host} was seen to have{at}: {surplus}; {later}")
            }
            (Compared::Unknown(why), _) => {
                format!("what {writer} lacks of {host} is not known: {why}")
            }
        }
    }
}

/// That somebody wrote on a host that is not the writer.
pub fn strayed_words(last: &str) -> String {
    format!("has transactions that the writer never had, {last}: somebody wrote there")
}

/// How a host comes back that has what the writer has not.
pub fn ways_out(host: &HostName, rows: Option<&str>) -> String {
    let rows = rows.map_or(String::new(), |file| format!("their rows are in `{file}`; "));
    format!(
        "{rows}apply by hand on the writer what you need of them, then rebuild {host} from the writer and `mmm rejoin {host}`; \
         `mmm rejoin {host} --discard` rebuilds it by the `rebuild` duty of the inventory, and they are gone; or leave it out"
    )
}

/// `1 transaction`, `12 transactions`, or `transactions` where they cannot be counted.
pub fn transactions(surplus: &Surplus) -> String {
    match surplus.at_most() {
        Some(1) => "1 transaction".to_owned(),
        Some(count) => format!("{count} transactions"),
        None => "transactions".to_owned(),
    }
}

/// A host that has more than the one that is to take over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ahead {
    /// Which host.
    pub host: HostName,
    /// What it has more.
    pub surplus: Surplus,
    /// Why it cannot hand that over; none when it can.
    pub kept: Option<String>,
}

impl Ahead {
    /// In words.
    pub fn sentence(&self, incoming: &HostName) -> String {
        let (host, surplus) = (&self.host, &self.surplus);
        let some = transactions(surplus);
        match &self.kept {
            None => {
                format!("{host} has {some} that {incoming} has not, and hands them over first: {surplus}")
            }
            Some(why) => format!(
                "{host} has {some} that {incoming} has not, and cannot hand them over since {why}; it stays apart: {surplus}"
            ),
        }
    }
}

/// What a failover to a host would do to transactions, as far as it is known beforehand.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Outlook {
    /// What the host has received and cannot apply.
    pub unapplied: Option<Surplus>,
    /// What the host has that the writer was not seen to have, and did not come from it: somebody wrote there.
    pub strayed: Option<String>,
    /// The host that hands over first what it has more.
    pub donor: Option<Ahead>,
    /// Hosts that have more afterwards, and stay apart.
    pub apart: Vec<Ahead>,
    /// What the writer had when it was last seen and the host will lack.
    pub loss: Option<Loss>,
}

impl Outlook {
    /// Everything worth knowing before, in words; empty when nothing is known to be lost or handed over.
    pub fn sentences(&self, outgoing: Option<&HostName>, incoming: &HostName) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(surplus) = &self.unapplied {
            lines.push(format!(
                "{incoming} has received {} that it cannot apply, and would lose them: {surplus}",
                transactions(surplus)
            ));
        }
        if let Some(last) = &self.strayed {
            lines.push(format!("{incoming} {}", strayed_words(last)));
        }
        lines.extend(
            self.donor
                .iter()
                .chain(&self.apart)
                .map(|ahead| ahead.sentence(incoming)),
        );
        if let (Some(loss), Some(outgoing)) = (&self.loss, outgoing) {
            lines.push(loss.sentence(outgoing, incoming));
        }
        lines
    }
}

/// The facts as they would be if the host applied what it received: for whoever goes on although it does not.
pub fn as_if_applied(facts: &Facts, incoming: &HostName) -> Facts {
    let mut facts = facts.clone();
    if let Some(Reach::Up(mysql)) = facts.get_mut(incoming).map(|facts| &mut facts.mysql) {
        for channel in &mut mysql.replicas {
            channel.sql = SqlThread::Yes;
        }
    }
    facts
}

/// The facts as they would be if the host had caught up: for whoever waits for that first.
pub fn as_if_caught_up(facts: &Facts, host: &HostName) -> Facts {
    let mut facts = facts.clone();
    if let Some(Reach::Up(mysql)) = facts.get_mut(host).map(|facts| &mut facts.mysql) {
        for channel in &mut mysql.replicas {
            channel.io = IoThread::Yes;
            channel.sql = SqlThread::Yes;
            channel.lag = Some(Duration::ZERO);
        }
    }
    facts
}

/// What a failover from `outgoing` to `incoming` would do to transactions.
pub fn outlook(
    cluster: &Cluster,
    standing: &Standing,
    facts: &Facts,
    outgoing: Option<&HostName>,
    incoming: &HostName,
    seen: Option<&Seen>,
) -> Outlook {
    let server = |host: &HostName| facts.get(host).and_then(|facts| facts.mysql.up());
    let Some(taking) = server(incoming) else {
        return Outlook::default();
    };
    let stopped = taking
        .replicas
        .iter()
        .filter(|channel| channel.sql == SqlThread::No);
    let unapplied = stopped.filter_map(|channel| unapplied(taking, channel)).next();
    let mut reach = reach(taking);
    let others = cluster.hosts.iter().map(|host| &host.name).filter(|host| {
        let is_elsewhere = standing.owed.contains_key(*host) || standing.offline.contains_key(*host);
        Some(*host) != outgoing && *host != incoming && !is_elsewhere
    });
    let others: Vec<(&HostName, &MysqlFacts)> =
        others.filter_map(|host| Some((host, server(host)?))).collect();
    let writer = outgoing.and_then(|outgoing| seen.filter(|seen| seen.host == *outgoing));
    let ahead = |reach: &History| -> Vec<Ahead> {
        let more = others.iter().filter_map(|(host, mysql)| {
            let has = foreign::left_out(cluster, facts, host, self::reach(mysql));
            let surplus = more(mysql, taking, &has, reach)?;
            let has_shell = facts.get(*host).is_some_and(|facts| facts.ssh.up().is_some());
            let kept = cannot_hand_over(mysql, taking, has_shell, &surplus, writer);
            Some(Ahead {
                host: (*host).clone(),
                surplus,
                kept,
            })
        });
        more.collect()
    };
    let applies = |channel: &ReplicationFacts| channel.sql == SqlThread::Yes;
    let can_apply = taking.replicas.iter().all(applies) || stands_still(taking);
    let able = ahead(&reach)
        .into_iter()
        .filter(|ahead| can_apply && ahead.kept.is_none());
    let donor = able.max_by_key(|ahead| ahead.surplus.at_most());
    if let Some(giving) = donor.as_ref().and_then(|donor| server(&donor.host)) {
        reach = joined(reach, self::reach(giving));
    }
    let apart = ahead(&reach).into_iter().map(|ahead| Ahead {
        kept: ahead
            .kept
            .or_else(|| Some(format!("{incoming} cannot apply them"))),
        ..ahead
    });
    let apart = apart.filter(|ahead| donor.as_ref().is_none_or(|donor| donor.host != ahead.host));
    let loss = writer.map(|seen| Loss {
        is_exact: false,
        seen_at: Some(seen.at),
        found: gtid::lacking(&seen.history, &reach).since(newest(&reach).as_ref()),
    });
    Outlook {
        unapplied,
        strayed: writer.and_then(|seen| strayed(taking, &seen.history)),
        apart: apart.collect(),
        donor,
        loss,
    }
}

/// What a host made itself and its writer lacks: somebody wrote there. What others made does not count: the two were not
/// looked at in the same instant, and a writer that was once rebuilt need not know who wrote before. The last one is
/// named; how many there are before it is not known.
pub fn strayed(host: &MysqlFacts, writer: &History) -> Option<String> {
    match gtid::lacking(&host.history(host), writer) {
        Compared::Extra(Surplus::Mariadb(ranges)) => {
            let own = ranges.iter().filter(|range| range.server == host.server_id);
            let last: Vec<String> = own
                .map(|range| format!("{}-{}-{}", range.domain, range.server, range.to))
                .collect();
            (!last.is_empty()).then(|| format!("up to {}", last.join(", ")))
        }
        Compared::Extra(Surplus::Mysql(set)) => {
            let own = set.of_server(host.server_uuid?);
            (!own.is_empty()).then(|| own.to_string())
        }
        _ => None,
    }
}

/// As [`strayed`], of a host beside a writer that answers, both as they were looked at.
pub fn strayed_from(facts: &Facts, writer: &HostName, host: &HostName) -> Option<String> {
    let server = |host: &HostName| facts.get(host).and_then(|facts| facts.mysql.up());
    let (leading, standby) = (server(writer)?, server(host)?);
    if host == writer || !leading.is_writable() {
        return None;
    }
    strayed(standby, &leading.history(leading))
}

/// Whether a channel's server has certainly applied everything that it received.
pub fn has_applied_all(mysql: &MysqlFacts, channel: &ReplicationFacts) -> bool {
    let is_told = match (&mysql.gtid, &channel.received_gtid) {
        (GtidFacts::Mariadb { .. }, ReceivedGtid::Mariadb(received)) if !received.is_empty() => true,
        (
            GtidFacts::Mysql {
                mode: GtidMode::On, ..
            },
            ReceivedGtid::Mysql(received),
        ) if !received.is_empty() => true,
        _ => channel.executed.is_some() && channel.received.is_some(),
    };
    is_told && unapplied(mysql, channel).is_none()
}

/// Whether a server's replication was stopped, by no error of its own, with everything applied that it received: as a
/// failover leaves it that was cut off.
pub fn stands_still(mysql: &MysqlFacts) -> bool {
    mysql.replicas.first().is_some_and(|channel| {
        channel.io == IoThread::No
            && channel.sql == SqlThread::No
            && channel.sql_error.is_none()
            && has_applied_all(mysql, channel)
    })
}

/// What a channel received and its server has not applied; none when that is nothing or not known.
pub fn unapplied(mysql: &MysqlFacts, channel: &ReplicationFacts) -> Option<Surplus> {
    match (&mysql.gtid, &channel.received_gtid) {
        (
            GtidFacts::Mariadb {
                binlog_state,
                slave_pos,
                ..
            },
            ReceivedGtid::Mariadb(received),
        ) if !received.is_empty() => {
            let applied = |domain: u32| {
                let known = binlog_state.gtids().chain(slave_pos.gtids());
                let numbers = known.filter(|gtid| gtid.domain == domain).map(|gtid| gtid.seq);
                numbers.max().unwrap_or(0)
            };
            let waiting = received.gtids().filter(|gtid| gtid.seq > applied(gtid.domain));
            let ranges: Vec<MariaRange> = waiting
                .map(|gtid| MariaRange {
                    domain: gtid.domain,
                    server: gtid.server,
                    from: applied(gtid.domain) + 1,
                    to: gtid.seq,
                })
                .collect();
            (!ranges.is_empty()).then_some(Surplus::Mariadb(ranges))
        }
        (
            GtidFacts::Mysql {
                mode: GtidMode::On,
                executed,
                ..
            },
            ReceivedGtid::Mysql(received),
        ) => {
            let waiting = received.difference(executed);
            (!waiting.is_empty()).then_some(Surplus::Mysql(waiting))
        }
        _ => {
            let (from, to) = (channel.executed.clone()?, channel.received.clone()?);
            (from < to).then_some(Surplus::Files { from, to })
        }
    }
}

/// All that a server has, what it received and can apply counted in.
fn reach(mysql: &MysqlFacts) -> History {
    let running = mysql
        .replicas
        .iter()
        .filter(|channel| channel.sql == SqlThread::Yes);
    match mysql.history(mysql) {
        History::Mariadb {
            server,
            state,
            applied,
        } => {
            let received = running.filter_map(|channel| match &channel.received_gtid {
                ReceivedGtid::Mariadb(received) => Some(received.gtids()),
                ReceivedGtid::Mysql(_) | ReceivedGtid::None => None,
            });
            let more: Vec<MariaGtid> = received.flatten().chain(applied.gtids()).collect();
            History::Mariadb {
                server,
                state: state.with(more),
                applied,
            }
        }
        History::Mysql { server, executed } => {
            let received = running.filter_map(|channel| match &channel.received_gtid {
                ReceivedGtid::Mysql(received) => Some(received),
                ReceivedGtid::Mariadb(_) | ReceivedGtid::None => None,
            });
            History::Mysql {
                server,
                executed: received.fold(executed, |all, received| all.union(received)),
            }
        }
        other => other,
    }
}

/// What two servers have together.
fn joined(one: History, other: History) -> History {
    match (one, other) {
        (
            History::Mariadb {
                server,
                state,
                applied,
            },
            History::Mariadb { state: more, .. },
        ) => History::Mariadb {
            server,
            state: state.with(more.gtids().collect::<Vec<_>>()),
            applied,
        },
        (History::Mysql { server, executed }, History::Mysql { executed: more, .. }) => History::Mysql {
            server,
            executed: executed.union(&more),
        },
        (one, _) => one,
    }
}

/// The newest transaction of each domain.
fn newest(history: &History) -> Option<MariaPosition> {
    match history {
        History::Mariadb { state, .. } => Some(state.newest()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
