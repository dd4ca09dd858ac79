//! What `show` and `checks` tell: an engine's knowledge as plain values, the same for people, JSON and the socket.

mod warnings;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::cluster::{CheckKind, HostMode, HostName, Role};
use super::engine::Engine;
use super::hosts::HostState;
use super::latch::{CheckResult, Verdict};
use super::moment::Moment;
use super::refusal::Refusal;
use super::repair;
use super::standing::Mode;

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
    /// The last refusal, while it is news and nothing has been done since.
    #[serde(default)]
    pub refused: Option<Refusal>,
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
        warnings: warnings::warnings(engine),
        losses: known_losses(engine),
        hosts,
        preferences: preferences(engine),
        refused: None,
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

#[cfg(test)]
mod tests;
