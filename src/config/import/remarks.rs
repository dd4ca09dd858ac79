//! What people are told about things that mean something else here, or nothing.

use std::time::Duration;

use super::blocks::{Block, Pages};
use super::meaning::Cluster;
use super::texts::{At, Said, Texts};
use super::words::{Fate, Kind};
use crate::config::duration;

/// Something to be known, said once briefly on the terminal and once at length beside the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// What in MMM's files it is about.
    pub at: At,
    /// What is to be known.
    pub what: String,
    /// Why, and what to do; whole sentences.
    pub more: String,
}

impl Remark {
    /// Whether it is about a line, and not about its file as a whole.
    pub fn is_about_a_line(&self) -> bool {
        !self.at.span.is_empty()
    }
}

/// Where in the inventory a remark is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Slot {
    /// At the top of the file.
    File,
    /// In `monitor`.
    Monitor,
    /// At the top of the cluster.
    Cluster,
    /// Before what is said of SSH.
    Ssh,
    /// Before the hosts.
    Hosts,
    /// Before that host.
    Host(String),
    /// Before that role.
    Role(String),
    Service,
    Fence,
    Checks,
}

fn remark(at: &At, what: impl Into<String>, more: impl Into<String>) -> Remark {
    Remark {
        at: at.clone(),
        what: what.into(),
        more: more.into(),
    }
}

/// What the files themselves give reason to say: who may read them, what is said twice, what has no counterpart.
pub fn of_pages(pages: &Pages, texts: &Texts) -> Vec<(Slot, Remark)> {
    let mut all = Vec::new();
    for file in &pages.files {
        let at = At {
            file: *file,
            span: 0..0,
        };
        let others = texts.mode(*file).map_or(0, |mode| mode & 0o006);
        if others != 0 {
            let name = texts.path(*file).file_name().unwrap_or_default();
            let name = name.to_string_lossy();
            let what = match others & 0o002 {
                0 => format!("everyone can read `{name}` and the passwords in it"),
                _ => format!("everyone can change `{name}`"),
            };
            let more = "MMM did not start with such a file. `chmod 640` it, and change the passwords.";
            all.push((Slot::File, remark(&at, what, more)));
        }
    }
    for repeated in &pages.repeated {
        let what = format!(
            "`{}` is said again, otherwise than in {}",
            repeated.key,
            texts.place(&repeated.first)
        );
        let more = "The last one counts, as it did in MMM.";
        all.push((Slot::Cluster, remark(&repeated.last, what, more)));
    }
    let hosts = pages.blocks.iter().filter(|block| block.kind == Kind::Host);
    if let Some(setting) = hosts.filter_map(|block| block.setting("ssh_parameters")).next() {
        let more = "Say what it says in ssh_config, which is asked; a key also goes into `ssh: { identity_file: ... }`.";
        let what = "`ssh_parameters` is not carried over";
        all.push((Slot::Ssh, remark(&setting.key_at, what, more)));
    }
    all.extend(without_counterpart(pages));
    all
}

/// Keys that have no counterpart: one remark for all that share a reason and a place.
fn without_counterpart(pages: &Pages) -> Vec<(Slot, Remark)> {
    let mut groups: Vec<(Slot, &'static str, At, Vec<&'static str>)> = Vec::new();
    for block in std::iter::once(&pages.top).chain(&pages.blocks) {
        let slot = match block.kind {
            Kind::Monitor => Slot::Monitor,
            Kind::Host => Slot::Hosts,
            Kind::Check => Slot::Checks,
            _ => Slot::Cluster,
        };
        for setting in &block.settings {
            let fate = block.kind.keys().iter().find(|(key, ..)| *key == setting.key);
            let Some((_, _, Fate::Gone(reason))) = fate else {
                continue;
            };
            let group = groups
                .iter_mut()
                .find(|(known, why, ..)| *known == slot && why == reason);
            match group {
                None => groups.push((slot.clone(), reason, setting.key_at.clone(), vec![setting.key])),
                Some((.., keys)) if !keys.contains(&setting.key) => keys.push(setting.key),
                Some(_) => {}
            }
        }
    }
    let said = |(slot, reason, at, keys): (Slot, &str, At, Vec<&str>)| {
        let names: Vec<String> = keys.iter().map(|key| format!("`{key}`")).collect();
        let verb = if keys.len() == 1 { "has" } else { "have" };
        let what = format!("{} {verb} no counterpart", listed(&names));
        (slot, remark(&at, what, sentence(reason)))
    };
    groups.into_iter().map(said).collect()
}

/// What the cluster as a whole gives reason to say.
pub fn of_cluster(cluster: &Cluster, monitor: Option<&Block>) -> Vec<(Slot, Remark)> {
    let mut all = Vec::new();
    let is_ours = |ping: &&Said| {
        let roles = cluster.roles.iter().flat_map(|role| &role.addresses);
        let mut ours = cluster.hosts.iter().map(|host| &host.address).chain(roles);
        ours.any(|address| address.text == ping.text)
    };
    let ours: Vec<&Said> = cluster.ping.iter().filter(is_ours).collect();
    if let Some(first) = ours.first() {
        let names: Vec<String> = ours.iter().map(|ping| ping.text.clone()).collect();
        let what = format!("`ping_ips` names the cluster itself: {}", listed(&names));
        let more = "While no ping address answers, the box blames its own network and does nothing. So with the \
                    cluster's own addresses there, nothing happens when all hosts die at once: name a gateway or a \
                    switch instead.";
        all.push((Slot::Monitor, remark(&first.at, what, more)));
    }
    all.extend(of_monitor(monitor));
    all.extend(of_hosts(cluster));
    let ping_check = cluster.checks.iter().find(|check| check.name.text == "ping");
    let timeout = ping_check.and_then(|check| check.timing.iter().find(|(key, _)| *key == "timeout"));
    if let Some((_, said)) = timeout {
        let more = "MMM waited half a second for each ping, whatever stood there.";
        all.push((
            Slot::Checks,
            remark(&said.at, "`timeout` counts for `ping` now", more),
        ));
    }
    all
}

fn of_monitor(monitor: Option<&Block>) -> Vec<(Slot, Remark)> {
    let mut all = Vec::new();
    let said = |key| monitor.and_then(|monitor| monitor.get(key));
    if let Some(said) = said("kill_host_bin") {
        let more = "MMM ran it, ignored how it ended, and moved the writer anyway. Here a fence is a duty, a step list \
                    that must end well before another host is opened for writes: write one into a directory of \
                    playbooks, let it call your program, and name both below.";
        all.push((
            Slot::Fence,
            remark(&said.at, "`kill_host_bin` must become a fence duty", more),
        ));
    }
    all
}

fn of_hosts(cluster: &Cluster) -> Vec<(Slot, Remark)> {
    let mut all = Vec::new();
    let reaches = || std::iter::once(&cluster.common).chain(cluster.hosts.iter().map(|host| &host.own));
    if !cluster.all_have("ssh_user") {
        let more = "Everything on a host is done over SSH. Give each host a user who may run `ip`, `arping` and \
                    `systemctl` with sudo, and name it below; else ssh_config is asked, then it is the local user.";
        all.push((Slot::Ssh, remark(&cluster.at, "an SSH user must be chosen", more)));
    }
    let script = reaches().find_map(|reach| reach.get("mysql_rcscript"));
    let at = script.map_or(&cluster.at, |said| &said.at);
    let what = match script {
        Some(_) => "the unit that starts the server is guessed from `mysql_rcscript`",
        None => "the unit that starts the server is a guess",
    };
    let more = "MMM never stopped a server. Here a demoted one is kept stopped, so the right name counts: ask \
                `systemctl list-units` on the hosts, or write `none` when nothing restarts it.";
    all.push((Slot::Service, remark(at, what, more)));
    all
}

/// A slave's peer, which is left out.
pub fn peer_of_slave(host: &Said, peer: &Said) -> Remark {
    let what = format!("slave `{}` has a `peer`, which is left out", host.text);
    let more = "MMM excused the slave's replication troubles by that host's state. Here slaves follow whoever is the writer.";
    remark(&peer.at, what, more)
}

/// A preference that is no longer followed at once.
pub fn prefer_of_exclusive(role: &Said, prefer: &Said) -> Remark {
    let what = format!(
        "`prefer` of role `{}` waits until that host has caught up",
        role.text
    );
    let more = "MMM moved the role there as soon as the host was ONLINE, however far behind it was.";
    remark(&prefer.at, what, more)
}

/// A preference that never counted.
pub fn prefer_of_balanced(role: &Said, prefer: &Said) -> Remark {
    let what = format!("`prefer` of the balanced role `{}` is left out", role.text);
    let more = "MMM ignored it too: balanced addresses are spread over all healthy hosts.";
    remark(&prefer.at, what, more)
}

/// A backlog under a check that does not look at it.
pub fn misplaced_backlog(check: &str, said: &Said, checks: &[&Block]) -> Remark {
    let value = |name: &str| {
        let block = checks.iter().find(|block| block.name() == name);
        block.and_then(|block| block.get("max_backlog"))
    };
    let counted = value("rep_backlog")
        .or_else(|| value("default"))
        .map_or("60", |said| said.text.as_str());
    let what = format!(
        "`max_backlog {}` under `<check {check}>` had no effect: {counted} s counted",
        said.text
    );
    let more = format!(
        "Only `rep_backlog` looks at how far a host is behind. If it was meant, write `rep_backlog: {{ max_backlog: {} }}` \
         below.",
        duration::format(Duration::from_secs(said.text.parse().unwrap_or(0)))
    );
    remark(&said.at, what, more)
}

fn listed(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

/// A reason as a sentence.
fn sentence(reason: &str) -> String {
    let mut letters = reason.chars();
    let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
    format!("{first}{}.", letters.as_str())
}
