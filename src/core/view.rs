//! What `show` and `checks` tell: an engine's knowledge as plain values, the same for people, JSON and the socket.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::cluster::{CheckKind, FailBack, HostMode, HostName, Role};
use super::election::Barred;
use super::engine::Engine;
use super::facts::UsingGtid;
use super::gtid::Compared;
use super::guard::Guard;
use super::hosts::{HostRule, HostState};
use super::latch::{CheckResult, Verdict};
use super::losses;
use super::moment::Moment;
use super::readiness::Obstacle;
use super::repair;
use super::rule::Rule;
use super::sign;
use super::standing::{Mode, NAMED, Return};
use super::trouble::Trouble;

/// One cluster as `show` tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterView {
    /// Its name.
    pub cluster: String,
    /// What the monitor may do.
    pub mode: Mode,
    /// Why, where that is not plain: one line a cause, or a table of who claims what.
    #[serde(default)]
    pub mode_because: Vec<String>,
    /// Whether a monitor told this; otherwise it was looked up at once.
    pub monitored: bool,
    /// The rule in force.
    pub rule: String,
    /// Its sentence.
    pub sentence: String,
    /// The host that takes writes, as far as operations know.
    pub writer: Option<HostName>,
    /// Everything that is wrong, and what lifts it.
    pub warnings: Vec<Warning>,
    /// What replaced writers had and the writer has not, as far as it is known.
    #[serde(default)]
    pub losses: Vec<LossView>,
    /// Its hosts by name.
    pub hosts: Vec<HostView>,
    /// Where the roles that prefer a host are.
    #[serde(default)]
    pub preferences: Vec<Preference>,
}

/// What a replaced writer had and the writer has not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LossView {
    /// The replaced writer.
    pub host: HostName,
    /// The run that replaced it.
    pub run: String,
    /// Whether the old writer itself was asked; otherwise more may be missing.
    pub exact: bool,
    /// How many transactions, at least where it is not exact; none when that is not known.
    pub count: Option<u64>,
    /// Which.
    pub transactions: Option<String>,
    /// When the old writer was looked at; none when nobody had.
    pub seen_at: Option<Moment>,
    /// All of that in words.
    pub sentence: String,
}

/// A role that prefers a host, and where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preference {
    /// The role.
    pub role: String,
    /// The host it prefers.
    pub prefer: HostName,
    /// Who holds its address; none when nobody was seen to.
    pub holder: Option<HostName>,
}

/// Something wrong, and what lifts it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// What is wrong.
    pub what: String,
    /// What lifts it; empty when the other words say it.
    pub hint: String,
}

/// One host as `show` tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostView {
    /// Its name.
    pub name: HostName,
    /// Its own address.
    pub address: IpAddr,
    /// Master or slave.
    pub mode: HostMode,
    /// Its state.
    pub state: HostState,
    /// Since when it is in that state; none while it was not judged.
    #[serde(default)]
    pub since: Option<Moment>,
    /// Why it is in that state.
    pub because: String,
    /// Whether it takes writes; none when it could not be asked.
    pub writable: Option<bool>,
    /// The roles whose addresses were seen on it, by name, then address.
    pub roles: Vec<HeldRole>,
}

/// An address seen on a host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HeldRole {
    /// The role it belongs to.
    pub role: String,
    /// The address.
    pub address: IpAddr,
}

/// One check of one host as `checks` tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckView {
    /// The cluster.
    pub cluster: String,
    /// The host.
    pub host: HostName,
    /// The check.
    pub check: CheckKind,
    /// The verdict in force.
    pub verdict: Verdict,
    /// When the verdict last changed.
    pub changed_at: Option<Moment>,
    /// What the newest probe said.
    pub last: Option<CheckResult>,
}

/// What `show` tells of an engine's cluster.
pub fn cluster(engine: &Engine, monitored: bool) -> ClusterView {
    let cluster = engine.cluster();
    let standing = engine.standing();
    let mut hosts: Vec<HostView> = cluster.hosts.iter().map(|host| host_view(engine, host)).collect();
    hosts.sort_by(|one, other| one.name.cmp(&other.name));
    ClusterView {
        cluster: cluster.name.clone(),
        mode: standing.mode,
        mode_because: standing.mode_because.clone(),
        monitored,
        rule: engine.rule().to_string(),
        sentence: engine.rule().sentence().to_owned(),
        writer: standing.writer.clone(),
        warnings: warnings(engine),
        losses: known_losses(engine),
        hosts,
        preferences: preferences(engine),
    }
}

fn known_losses(engine: &Engine) -> Vec<LossView> {
    let standing = engine.standing();
    let Some(writer) = &standing.writer else {
        return Vec::new();
    };
    let known = standing.owed.iter().filter_map(|(host, owed)| {
        let loss = owed.loss.as_ref()?;
        Some(LossView {
            host: host.clone(),
            run: owed.run.clone(),
            exact: loss.is_exact,
            count: loss.count(),
            transactions: loss.transactions(),
            seen_at: loss.seen_at,
            sentence: loss.sentence(host, writer),
        })
    });
    known.collect()
}

fn preferences(engine: &Engine) -> Vec<Preference> {
    let held = repair::held(engine.cluster(), engine.facts());
    let holder = |role: &Role| {
        role.addresses
            .iter()
            .find_map(|address| held.get(address)?.first())
            .cloned()
    };
    let roles = engine.cluster().roles.iter();
    roles
        .filter_map(|role| {
            Some(Preference {
                role: role.name.clone(),
                prefer: role.prefer.clone()?,
                holder: holder(role),
            })
        })
        .collect()
}

/// What `checks` tells of an engine's cluster, hosts in inventory order.
pub fn checks(engine: &Engine) -> Vec<CheckView> {
    let cluster = engine.cluster();
    let mut views = Vec::new();
    for host in &cluster.hosts {
        for check in CheckKind::ALL {
            let Some(latch) = engine.latch(&host.name, check) else {
                continue;
            };
            views.push(CheckView {
                cluster: cluster.name.clone(),
                host: host.name.clone(),
                check,
                verdict: latch.verdict,
                changed_at: latch.changed_at,
                last: latch.last.clone(),
            });
        }
    }
    views
}

fn host_view(engine: &Engine, host: &super::cluster::Host) -> HostView {
    let facts = engine.facts().get(&host.name);
    let mut roles: Vec<HeldRole> = Vec::new();
    for role in &engine.cluster().roles {
        for address in &role.addresses {
            if facts
                .and_then(|facts| facts.ssh.up())
                .is_some_and(|shell| shell.holds(*address))
            {
                roles.push(HeldRole {
                    role: role.name.clone(),
                    address: *address,
                });
            }
        }
    }
    roles.sort_by_key(|held| (held.role.clone(), held.address.to_string()));
    let record = engine.record(&host.name);
    HostView {
        name: host.name.clone(),
        address: host.address,
        mode: host.mode,
        state: record.map_or(HostState::Unknown, |record| record.state),
        since: record.map(|record| record.since),
        because: record.map(|record| record.because.clone()).unwrap_or_default(),
        writable: facts
            .and_then(|facts| facts.mysql.up())
            .map(|mysql| mysql.is_writable()),
        roles,
    }
}

fn warnings(engine: &Engine) -> Vec<Warning> {
    let standing = engine.standing();
    let mut warnings = Vec::new();
    let mut warn = |what: String, hint: &str| {
        warnings.push(Warning {
            what,
            hint: hint.to_owned(),
        })
    };
    if let Some(because) = &standing.hands_off {
        let awaited: Vec<&str> = standing.hands_off_awaits.iter().map(HostName::as_str).collect();
        let by_itself = format!(
            "it is settled by a monitor or the next command once these answer: {}; or {}",
            awaited.join(", "),
            Rule::R02.lifted_by()
        );
        let hint = if awaited.is_empty() {
            Rule::R02.lifted_by()
        } else {
            &by_itself
        };
        warn(format!("hands off: {because}"), hint);
    }
    if let Some(guard) = engine.guard() {
        let what = format!(
            "{} holds failover back: {}: {}{}",
            guard.rule,
            guard.suspect,
            guard.rule.sentence(),
            sign::said(&guard.signs)
        );
        warn(what, guard.rule.lifted_by());
    } else if !engine.rule().lifted_by().is_empty() && engine.rule() != Rule::R02 {
        let rule = engine.rule();
        warn(format!("{rule}: {}", rule.sentence()), rule.lifted_by());
    }
    if let Some((what, hint)) = no_failover(engine) {
        warn(what, &hint);
    }
    if let Some((what, hint)) = no_fail_back(engine) {
        warn(what, &hint);
    }
    for host in &engine.cluster().hosts {
        for check in CheckKind::ALL {
            let blind = engine.latch(&host.name, check).filter(|latch| latch.is_blind());
            if let Some(latch) = blind {
                let why = latch.last.as_ref().map_or("", CheckResult::message);
                warn(
                    format!("check `{check}` of {} cannot tell: {why}", host.name),
                    "see `mmm check`",
                );
            }
        }
    }
    for host in &standing.to_follow {
        let channel = match engine.facts().get(host).and_then(|facts| facts.mysql.up()) {
            Some(mysql) => mysql.replicas.first(),
            None => None,
        };
        let by_position = channel.filter(|channel| channel.using_gtid == UsingGtid::No);
        let writer = standing
            .writer
            .as_ref()
            .and_then(|writer| engine.cluster().host(writer));
        let pointed = by_position
            .zip(writer)
            .is_some_and(|(channel, writer)| channel.source_host == writer.address.to_string());
        match by_position {
            None => warn(
                format!("{host} could not be pointed to the writer"),
                "a monitor does it as soon as the host answers",
            ),
            Some(_) if pointed => {}
            Some(_) => warn(
                format!(
                    "{host} is kept out: it did not apply just what the new writer had, and without GTIDs nobody knows where it should go on"
                ),
                "rebuild it from the writer, or point it to the writer by hand",
            ),
        }
    }
    for (host, owed) in &standing.owed {
        match &owed.progress {
            Return::Awaited if owed.run == NAMED => warn(
                format!(
                    "{host} has not been compared since a person named another writer at {}",
                    owed.since
                ),
                "a monitor makes it read-only and compares it after `mmm set-active`",
            ),
            Return::Awaited => warn(
                format!(
                    "{host} was replaced as writer at {} ({}); it has not been met since",
                    owed.since, owed.rung
                ),
                "it is made read-only and compared as soon as it answers; a monitor tries all the time",
            ),
            Return::Quarantined => {
                let about = |trouble: &&Trouble| trouble.what.contains(&format!("`{host}`"));
                let (why, hint) = engine
                    .complaint()
                    .filter(about)
                    .map_or_else(Default::default, |trouble| {
                        (
                            format!("; the last try came to nothing: {}", trouble.reason()),
                            trouble.hint.clone(),
                        )
                    });
                warn(
                    format!("{host} is back and being compared with the writer{why}"),
                    &hint,
                );
            }
            Return::KeptOut { surplus, rows } => warn(
                format!("{host} is kept out: it has transactions that the writer has not: {surplus}"),
                &losses::ways_out(host, rows.as_deref()),
            ),
        }
    }
    let is_left_to_a_person = engine.cluster().recovery.auto_set_online.is_none();
    for record in engine
        .cluster()
        .hosts
        .iter()
        .filter_map(|host| engine.record(&host.name))
    {
        let host = &record.host;
        if let Some(since) = record.flaps.flapping_since {
            warn(
                format!("{host} has left ONLINE too often, the last time at {since}"),
                "find out why, then `mmm set-online` it; a quiet period lets it back in as well",
            );
        } else if record.rule == HostRule::H23 && is_left_to_a_person {
            warn(
                format!("{host} answers and replicates again, and waits to be let back in"),
                "`mmm set-online` it; `recovery.auto_set_online` in the inventory lets hosts in by themselves",
            );
        }
    }
    for (host, facts) in engine.facts() {
        let writable = facts.mysql.up().is_some_and(|mysql| mysql.is_writable());
        if writable && standing.writer.as_ref().is_some_and(|writer| writer != host) {
            warn(
                format!("{host} accepts writes although it is not the writer"),
                "a monitor closes it; find out who opened it",
            );
        }
        for sign in facts.ssh.up().into_iter().flat_map(|shell| &shell.signs) {
            warn(format!("{host}: {sign}"), sign.lifted_by());
        }
        if let Some(trouble) = facts.ssh.trouble() {
            warn(
                format!("{host} cannot be managed over SSH: {trouble}"),
                "without SSH it cannot be demoted: see `mmm check`",
            );
        }
    }
    for host in engine.cluster().hosts.iter().map(|host| &host.name) {
        let Some(writer) = standing
            .writer
            .as_ref()
            .filter(|_| !standing.owed.contains_key(host))
        else {
            continue;
        };
        if let Some(Compared::Extra(surplus)) =
            repair::follows_another(engine.cluster(), writer, host, engine.facts())
        {
            warn(
                format!(
                    "{host} does not follow the writer {writer} and has transactions that it has not: {surplus}"
                ),
                "save what you need from it, then rebuild it from the writer",
            );
        }
    }
    for (host, last) in strayed(engine) {
        warn(
            format!("{host} {}", losses::strayed_words(&last)),
            "save what you need of them, then rebuild it from the writer; it never takes over like that",
        );
    }
    for (address, hosts) in duplicates(engine) {
        let names: Vec<&str> = hosts.iter().map(HostName::as_str).collect();
        warn(
            format!("{address} is on several hosts: {}", names.join(", ")),
            "a monitor takes it off the wrong ones",
        );
    }
    for (address, since) in engine.answered_for() {
        warn(
            format!("another machine on the network answers for {address} too, since {since}"),
            "find that machine (`arping`, or `ndisc6` for IPv6, shows its hardware address) and take the address off it",
        );
    }
    warnings
}

/// Hosts that somebody wrote on although they are not the writer, both looked at since the last change. What a replaced
/// writer has is compared by itself, and so is who follows somebody else.
fn strayed(engine: &Engine) -> Vec<(HostName, String)> {
    let (standing, facts) = (engine.standing(), engine.facts());
    let Some(writer) = standing.writer.as_ref().filter(|writer| engine.is_fresh(writer)) else {
        return Vec::new();
    };
    let hosts = facts.keys().filter(|host| {
        let is_told_elsewhere = standing.owed.contains_key(*host)
            || repair::follows_another(engine.cluster(), writer, host, facts).is_some();
        engine.is_fresh(host) && !is_told_elsewhere
    });
    hosts
        .filter_map(|host| Some((host.clone(), losses::strayed_from(facts, writer, host)?)))
        .collect()
}

/// While nothing is wrong with the writer, or nothing could take over from it: the guards that block a failover, in one
/// line, and what lifts the first.
fn no_failover(engine: &Engine) -> Option<(String, String)> {
    let is_about_standbys = matches!(engine.rule(), Rule::R03 | Rule::R04 | Rule::R07);
    if !is_about_standbys || !engine.has_looked_everywhere() {
        return None;
    }
    let readiness = engine.readiness();
    // About a writer that has failed, evidence decides.
    let has_failed = engine.rule() == Rule::R07;
    let blocks = |one: &&Obstacle| !has_failed || one.guard == Guard::G20;
    let blocked: Vec<&Obstacle> = readiness.blocked.iter().filter(blocks).collect();
    let first = blocked.first()?;
    let guards: Vec<String> = blocked
        .iter()
        .map(|one| format!("{} {}", one.guard, one.what))
        .collect();
    Some((
        format!("a failover would not work now: {}", guards.join("; ")),
        first.lifted_by.clone(),
    ))
}

/// What its own facts say against the host that the writer role prefers, where it should go back to it by itself.
fn no_fail_back(engine: &Engine) -> Option<(String, String)> {
    let role = engine.cluster().writer()?;
    let host = role
        .prefer
        .as_ref()
        .filter(|_| role.fail_back == FailBack::CaughtUp)?;
    let barred = engine
        .candidates()
        .into_iter()
        .find(|one| one.host == *host)?
        .barred?;
    // These are told of by themselves.
    let is_told = matches!(
        barred,
        Barred::OutOfService
            | Barred::Owed
            | Barred::KeptOut(_)
            | Barred::Strayed(_)
            | Barred::Unanswered(_)
            | Barred::State(_)
    );
    (!is_told && engine.has_looked_everywhere() && engine.rule() == Rule::R03).then(|| {
        (
            format!(
                "the writer role does not go back to {host}: {} {barred}",
                barred.guard()
            ),
            barred.lifted_by(host),
        )
    })
}

fn duplicates(engine: &Engine) -> Vec<(IpAddr, Vec<HostName>)> {
    let held = repair::held(engine.cluster(), engine.facts());
    held.into_iter().filter(|(_, hosts)| hosts.len() > 1).collect()
}

#[cfg(test)]
mod tests;
