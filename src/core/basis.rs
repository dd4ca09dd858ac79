//! What a plan rests on: facts that must be the same when it is carried out, and bounds within which the rest may move.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::cluster::{Cluster, HostName};
use super::facts::{GtidFacts, HostFacts, MysqlFacts, Reach, ReplicationFacts, ShellFacts};
use super::gtid::{self, Compared, History};
use super::guard::Facts;
use super::losses::{self, Outlook};
use super::standing::Standing;

/// A host that lags may do so by that much more than when the plan was made, or the guards of an operation let it.
const LAG_LEEWAY: Duration = Duration::from_secs(10);

/// The subject of what is no host's alone.
const CLUSTER: &str = "cluster";

/// What a plan rests on.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Basis {
    /// What must be the same: subject (`cluster`, or a host's name) → name → value.
    pub exact: BTreeMap<String, BTreeMap<String, String>>,
    /// What may move within bounds, by host.
    pub bounds: BTreeMap<HostName, Bound>,
}

/// What may have moved on a host, and how far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bound {
    /// It lags no more than this, in milliseconds; none when it did not say how much it lags.
    pub lag_at_most_ms: Option<u64>,
    /// The lag it had, in milliseconds.
    pub lag_ms: Option<u64>,
    /// Its transactions: it still has all of them.
    pub has_at_least: History,
}

impl Basis {
    /// What is known of a cluster now.
    pub fn of(cluster: &Cluster, standing: &Standing, facts: &Facts, outlook: &Outlook) -> Basis {
        let mut basis = Basis::default();
        basis
            .exact
            .insert(CLUSTER.to_owned(), of_cluster(standing, outlook));
        for host in &cluster.hosts {
            let Some(seen) = facts.get(&host.name) else {
                continue;
            };
            let mut exact = of_host(cluster, seen);
            exact.insert(
                "surplus".to_owned(),
                surplus(standing, facts, &host.name).unwrap_or_else(|| "none is known".to_owned()),
            );
            basis.exact.insert(host.name.to_string(), exact);
            if let Some(mysql) = seen.mysql.up() {
                basis.bounds.insert(host.name.clone(), Bound::of(mysql));
            }
        }
        basis
    }

    /// The same without what is known of one host: for what it was let change.
    #[must_use]
    pub fn without(mut self, host: &HostName) -> Basis {
        self.exact.remove(host.as_str());
        self.bounds.remove(host);
        self
    }

    /// In which ways `now` is not what the plan rests on; none when it can be carried out.
    pub fn differences(&self, now: &Basis) -> Vec<String> {
        let mut found = Vec::new();
        let nothing = BTreeMap::new();
        let mut subjects: Vec<&String> = self.exact.keys().chain(now.exact.keys()).collect();
        subjects.sort();
        subjects.dedup();
        for subject in subjects {
            let (was, is) = (
                self.exact.get(subject).unwrap_or(&nothing),
                now.exact.get(subject).unwrap_or(&nothing),
            );
            let mut names: Vec<&String> = was.keys().chain(is.keys()).collect();
            names.sort();
            names.dedup();
            for name in names.into_iter().filter(|name| was.get(*name) != is.get(*name)) {
                let value = |side: &BTreeMap<String, String>| {
                    side.get(name).cloned().unwrap_or("not known".to_owned())
                };
                found.push(format!(
                    "`{subject}`: {name} was `{}` and is `{}`",
                    value(was),
                    value(is)
                ));
            }
        }
        for (host, bound) in &self.bounds {
            // A server that does not answer any more differs already.
            if let Some(now) = now.bounds.get(host) {
                found.extend(bound.broken_by(now).map(|why| format!("`{host}`: {why}")));
            }
        }
        found
    }
}

impl Bound {
    fn of(mysql: &MysqlFacts) -> Bound {
        let ms = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        let lag = mysql.replicas.iter().filter_map(|channel| channel.lag).max();
        Bound {
            lag_at_most_ms: lag.map(|lag| ms(lag + LAG_LEEWAY)),
            lag_ms: lag.map(ms),
            has_at_least: mysql.history(mysql),
        }
    }

    fn broken_by(&self, now: &Bound) -> Option<String> {
        if let (Some(most), Some(lag)) = (self.lag_at_most_ms, now.lag_ms)
            && lag > most
        {
            return Some(format!(
                "it lags {lag} ms, more than the {most} ms that the plan allows"
            ));
        }
        match (&self.has_at_least, &now.has_at_least) {
            // Its own log only grows; a shorter or another one is that of another server.
            (History::Files { end: Some(was), .. }, History::Files { end: Some(is), .. }) => {
                let still_there = matches!(was.partial_cmp(is), Some(Ordering::Less | Ordering::Equal));
                (!still_there).then(|| format!("its log ended at {was} and ends at {is}"))
            }
            (was, is) => match gtid::lacking(was, is) {
                Compared::Extra(lost) => Some(format!("it has no longer what it had: {lost}")),
                Compared::Nothing | Compared::Unknown(_) => None,
            },
        }
    }
}

fn of_cluster(standing: &Standing, outlook: &Outlook) -> BTreeMap<String, String> {
    let hosts = |hosts: &mut dyn Iterator<Item = &HostName>| {
        let names: Vec<&str> = hosts.map(HostName::as_str).collect();
        if names.is_empty() {
            "none".to_owned()
        } else {
            names.join(", ")
        }
    };
    let ahead = outlook.apart.iter().map(|ahead| &ahead.host);
    let entries = [
        ("writer", hosts(&mut standing.writer.iter())),
        ("mode", standing.mode.to_string()),
        (
            "hands off",
            standing.hands_off.clone().unwrap_or_else(|| "no".to_owned()),
        ),
        ("not compared yet", hosts(&mut standing.owed.keys())),
        ("out of service", hosts(&mut standing.offline.keys())),
        ("donor", hosts(&mut outlook.donor.iter().map(|donor| &donor.host))),
        ("has more and stays apart", hosts(&mut ahead.into_iter())),
    ];
    entries
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

fn of_host(cluster: &Cluster, seen: &HostFacts) -> BTreeMap<String, String> {
    let mut exact = BTreeMap::new();
    let mut set = |name: &str, value: String| {
        exact.insert(name.to_owned(), value);
    };
    set("server", reached(&seen.mysql).to_owned());
    set("ssh", reached(&seen.ssh).to_owned());
    if let Some(shell) = seen.ssh.up() {
        set("addresses", addresses(cluster, shell));
    }
    let Some(mysql) = seen.mysql.up() else {
        return exact;
    };
    set("version", mysql.version.to_string());
    set("server id", mysql.server_id.to_string());
    set("read_only", on(mysql.read_only));
    if let Some(super_read_only) = mysql.super_read_only {
        set("super_read_only", on(super_read_only));
    }
    set(
        "event_scheduler",
        format!("{:?}", mysql.event_scheduler).to_uppercase(),
    );
    set("log_bin", on(mysql.log_bin));
    set("log_slave_updates", on(mysql.log_slave_updates));
    if let GtidFacts::Mysql { mode, .. } = &mysql.gtid {
        set("gtid_mode", format!("{mode:?}"));
    }
    if let Some(filters) = mysql.filters.as_ref().filter(|filters| !filters.is_empty()) {
        set("filters", format!("{:?} {:?}", filters.applied, filters.logged));
    }
    let mut sources: Vec<String> = mysql.replicas.iter().map(source).collect();
    let mut threads: Vec<String> = mysql.replicas.iter().map(threads_of).collect();
    sources.sort();
    threads.sort();
    let none = |all: Vec<String>| {
        if all.is_empty() {
            "none".to_owned()
        } else {
            all.join("; ")
        }
    };
    set("sources", none(sources));
    set("threads", none(threads));
    exact
}

fn on(flag: bool) -> String {
    if flag { "ON" } else { "OFF" }.to_owned()
}

fn reached<T>(reach: &Reach<T>) -> &'static str {
    match reach {
        Reach::Up(_) => "answers",
        Reach::Refusing { .. } => "refuses",
        Reach::Hung(_) => "hangs",
        Reach::Down(_) => "is down",
        // One that was silent is not waited for a second time, and so is not asked.
        Reach::Silent(_) | Reach::Unasked(_) => "does not answer",
    }
}

/// The floating addresses it holds.
fn addresses(cluster: &Cluster, shell: &ShellFacts) -> String {
    let all = cluster.roles.iter().flat_map(|role| &role.addresses);
    let held: Vec<String> = all
        .filter(|ip| shell.holds(**ip))
        .map(ToString::to_string)
        .collect();
    if held.is_empty() {
        "none".to_owned()
    } else {
        held.join(", ")
    }
}

fn named(channel: &ReplicationFacts) -> String {
    if channel.channel.is_empty() {
        String::new()
    } else {
        format!("{}: ", channel.channel)
    }
}

fn source(channel: &ReplicationFacts) -> String {
    format!(
        "{}{}:{} as {}, by {:?}",
        named(channel),
        channel.source_host,
        channel.source_port,
        channel.source_user,
        channel.using_gtid
    )
}

fn threads_of(channel: &ReplicationFacts) -> String {
    format!("{}io {:?}, sql {:?}", named(channel), channel.io, channel.sql)
}

/// What only that host has, as far as it can be told from one look.
fn surplus(standing: &Standing, facts: &Facts, host: &HostName) -> Option<String> {
    let writer = standing.writer.as_ref()?;
    if !standing.owed.contains_key(host) {
        return losses::strayed_from(facts, writer, host);
    }
    let server = |host: &HostName| facts.get(host).and_then(|seen| seen.mysql.up());
    let (returning, leading) = (server(host)?, server(writer)?);
    match gtid::compare(&returning.history(leading), &leading.history(returning)) {
        Compared::Extra(surplus) => Some(surplus.to_string()),
        Compared::Nothing | Compared::Unknown(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::facts::{IoThread, Version};
    use crate::core::samples;

    fn seen() -> Facts {
        Facts::from([
            ("db1".into(), samples::facts(true, &[samples::WRITER_ADDRESS])),
            ("db2".into(), samples::facts(false, &[])),
        ])
    }

    fn standing() -> Standing {
        Standing {
            writer: Some("db1".into()),
            ..Standing::default()
        }
    }

    fn basis(standing: &Standing, facts: &Facts) -> Basis {
        Basis::of(&samples::cluster(), standing, facts, &Outlook::default())
    }

    fn server<'f>(facts: &'f mut Facts, host: &str) -> &'f mut MysqlFacts {
        match facts.get_mut(&HostName::from(host)).map(|seen| &mut seen.mysql) {
            Some(Reach::Up(mysql)) => mysql,
            _ => panic!("{host} is up in the sample"),
        }
    }

    #[test]
    fn each_fact_that_changed_is_named_with_both_values() {
        let planned = basis(&standing(), &seen());
        assert_eq!(planned.differences(&planned), Vec::<String>::new());
        type Change = fn(&mut Facts, &mut Standing);
        let changes: [(Change, &str); 8] = [
            (
                |_, standing| standing.writer = None,
                "`cluster`: writer was `db1` and is `none`",
            ),
            (
                |facts, _| server(facts, "db2").read_only = false,
                "`db2`: read_only was `ON` and is `OFF`",
            ),
            (
                |facts, _| server(facts, "db2").replicas[0].io = IoThread::No,
                "`db2`: threads was",
            ),
            (
                |facts, _| server(facts, "db2").replicas[0].source_host = "10.9.9.9".into(),
                "`db2`: sources was",
            ),
            (
                |facts, _| {
                    let version = server(facts, "db1").version;
                    server(facts, "db1").version = Version {
                        numbers: (99, 0, 0),
                        ..version
                    };
                },
                "`db1`: version was",
            ),
            (
                |facts, _| {
                    facts.insert("db2".into(), samples::facts(false, &[samples::WRITER_ADDRESS]));
                },
                "`db2`: addresses was `none` and is `10.0.0.100`",
            ),
            (
                |facts, _| {
                    facts.insert("db2".into(), HostFacts::default());
                },
                "`db2`: server was `answers` and is `does not answer`",
            ),
            (
                |facts, _| server(facts, "db2").replicas[0].lag = Some(Duration::from_secs(3600)),
                "`db2`: it lags 3600000 ms",
            ),
        ];
        for (change, expected) in changes {
            let (mut facts, mut standing) = (seen(), standing());
            change(&mut facts, &mut standing);
            let found = planned.differences(&basis(&standing, &facts));
            assert!(
                found.iter().any(|found| found.starts_with(expected)),
                "{expected}: {found:?}"
            );
        }
    }

    #[test]
    fn it_comes_back_from_a_file_as_it_was() {
        let planned = basis(&standing(), &seen());
        let text = serde_json::to_string(&planned).unwrap();
        assert_eq!(serde_json::from_str::<Basis>(&text).unwrap(), planned);
    }
}
