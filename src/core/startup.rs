//! Who the writer is when a monitor begins. Each host that may be the writer has its claims: it accepts writes, it holds
//! the writer address, it is on record, others replicate from it. They are reduced to a small picture, and a numbered
//! rule says whether they agree.
//!
//! Hosts that were replaced and not compared since claim nothing: it is known already that they are not the writer.

use std::fmt;

use super::cluster::{Cluster, HostMode, HostName};
use super::facts::{EventScheduler, MysqlFacts};
use super::gtid::{self, Compared};
use super::guard::{Facts, strays};
use super::standing::Standing;

/// What speaks for one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The host.
    pub host: HostName,
    /// Whether it accepts writes; none when it could not be asked.
    pub writable: Option<bool>,
    /// Whether it holds the writer address; none when it could not be looked at.
    pub address: Option<bool>,
    /// Whether it is on record as the writer.
    pub stored: bool,
    /// Whether it was replaced as the writer, and has not been compared since.
    pub replaced: bool,
    /// Its address is only left over: nobody writes, and it has nothing that the one on record has not.
    pub left_over: bool,
    /// The slaves that replicate from it.
    pub followed_by: Vec<HostName>,
}

/// Which hosts accept writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    Nobody,
    Stored,
    Other,
    Several,
}

/// Where the writer address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Floating {
    Nowhere,
    /// On the only host that accepts writes.
    WithOpen,
    /// There, and left over on hosts that were seen to refuse writes.
    WithOpenAndStrays,
    /// On one host that accepts none.
    Apart,
    /// On the one on record and on others, all of them seen to accept none: as a switchover leaves it that was cut off.
    OnRecordAndStrays,
    Several,
}

/// A rule of [`decide`], with a stable number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StartRule {
    /// Several accept writes.
    S01,
    /// The address is on several.
    S02,
    /// One accepts writes, another holds the address.
    S03,
    /// One accepts writes, another is on record, nobody holds the address.
    S04,
    /// The one on record accepts writes.
    S05,
    /// Nobody accepts writes, one is on record.
    S06,
    /// Another than the one on record is the writer in every respect.
    S07,
    /// None is on record, one accepts writes.
    S08,
    /// None is on record, none accepts writes.
    S09,
}

impl StartRule {
    /// Every rule, in order.
    pub const ALL: [StartRule; 9] = [
        StartRule::S01,
        StartRule::S02,
        StartRule::S03,
        StartRule::S04,
        StartRule::S05,
        StartRule::S06,
        StartRule::S07,
        StartRule::S08,
        StartRule::S09,
    ];

    /// One sentence, as `explain` prints it.
    pub fn sentence(self) -> &'static str {
        match self {
            StartRule::S01 => "more than one host accepts writes",
            StartRule::S02 => "more than one host holds the writer address",
            StartRule::S03 => "one host accepts writes and another holds the writer address",
            StartRule::S04 => "one host accepts writes and another is on record as the writer",
            StartRule::S05 => "the host on record as the writer is the only one that accepts writes",
            StartRule::S06 => "no host accepts writes, so the one on record stays the writer",
            StartRule::S07 => {
                "a host accepts writes and holds the writer address while the one on record has neither, so it is taken \
                 for the writer"
            }
            StartRule::S08 => "no host is on record and one accepts writes, so it is taken for the writer",
            StartRule::S09 => "no host is on record and none accepts writes, so none is taken for the writer",
        }
    }

    /// Whether the claims contradict each other.
    pub fn is_conflict(self) -> bool {
        match self {
            StartRule::S01 | StartRule::S02 | StartRule::S03 | StartRule::S04 => true,
            StartRule::S05 | StartRule::S06 | StartRule::S07 | StartRule::S08 | StartRule::S09 => false,
        }
    }

    /// What lifts it, where it blocks something; empty otherwise.
    pub fn lifted_by(self) -> &'static str {
        if self.is_conflict() {
            "make sure by hand that one host accepts writes and holds the writer address, name it with `mmm set-ip`, then `mmm set-active`"
        } else {
            ""
        }
    }
}

impl fmt::Display for StartRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// What a monitor begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// What is on record, be it nobody.
    Keep,
    /// This host as the writer.
    Adopt(HostName),
    /// Nothing: the claims contradict each other, and a person must look.
    Conflict,
}

/// The claims of every host that may be the writer.
pub fn claims(cluster: &Cluster, standing: &Standing, facts: &Facts) -> Vec<Claim> {
    let address = cluster.writer_address();
    let writer = standing.writer.as_ref();
    let left_over = writer.map_or_else(Vec::new, |writer| strays(cluster, standing, facts, writer));
    let claim = |host: &super::cluster::Host| {
        let seen = facts.get(&host.name);
        let server = seen.and_then(|seen| seen.mysql.up());
        let shell = seen.and_then(|seen| seen.ssh.up());
        let stored = standing.writer.as_ref() == Some(&host.name);
        Claim {
            host: host.name.clone(),
            writable: server.map(MysqlFacts::is_writable),
            address: shell.map(|shell| address.is_some_and(|address| shell.holds(address))),
            stored,
            replaced: !stored && standing.owed.contains_key(&host.name),
            left_over: left_over.contains(&host.name),
            followed_by: followers(cluster, facts, &host.name),
        }
    };
    cluster.masters().map(claim).collect()
}

/// The slaves that replicate from `host`.
fn followers(cluster: &Cluster, facts: &Facts, host: &HostName) -> Vec<HostName> {
    let slaves = cluster.hosts.iter().filter(|slave| slave.mode == HostMode::Slave);
    slaves
        .filter(|slave| follows(cluster, facts, &slave.name, host).is_some())
        .map(|slave| slave.name.clone())
        .collect()
}

/// When `replica` is set up to replicate from `source`: whether both threads run.
fn follows(cluster: &Cluster, facts: &Facts, replica: &HostName, source: &HostName) -> Option<bool> {
    let address = cluster.host(source)?.address.to_string();
    let replica = facts.get(replica)?.mysql.up()?;
    let channel = replica
        .replicas
        .iter()
        .find(|channel| channel.source_host == address)?;
    Some(channel.is_running())
}

/// Decides what a monitor begins with. Not `careful`, contradicting claims are counted instead.
pub fn decide(claims: &[Claim], careful: bool) -> (StartRule, Verdict) {
    let rule = rule(claims);
    let verdict = match rule {
        StartRule::S01 | StartRule::S02 | StartRule::S03 | StartRule::S04 if careful => Verdict::Conflict,
        StartRule::S01 | StartRule::S02 | StartRule::S03 | StartRule::S04 => {
            elected(claims).map_or(Verdict::Keep, |claim| Verdict::Adopt(claim.host.clone()))
        }
        StartRule::S05 | StartRule::S06 | StartRule::S09 => Verdict::Keep,
        StartRule::S07 | StartRule::S08 => {
            let open = heard(claims).find(|claim| claim.writable == Some(true));
            open.map_or(Verdict::Keep, |claim| Verdict::Adopt(claim.host.clone()))
        }
    };
    (rule, verdict)
}

/// Those that were not replaced.
fn heard(claims: &[Claim]) -> impl Iterator<Item = &Claim> {
    claims.iter().filter(|claim| !claim.replaced)
}

/// Whom the hosts show to be the writer instead of the one on record, to somebody who holds their locks, so that nobody
/// is at work on them: it alone accepts writes, and it holds the address. On others, seen to refuse writes, the address
/// may have been left by a run that was cut off; where nobody holds the locks that stays a conflict.
pub fn shown_instead(claims: &[Claim]) -> Option<(StartRule, HostName)> {
    let (Open::Other, Floating::WithOpen | Floating::WithOpenAndStrays, true) = picture(claims) else {
        return None;
    };
    let open = heard(claims).find(|claim| claim.writable == Some(true))?;
    Some((rule(claims), open.host.clone()))
}

/// Who accepts writes, where the address is, and whether somebody is on record.
fn picture(claims: &[Claim]) -> (Open, Floating, bool) {
    let open: Vec<&Claim> = heard(claims)
        .filter(|claim| claim.writable == Some(true))
        .collect();
    let holders: Vec<&Claim> = heard(claims)
        .filter(|claim| claim.address == Some(true))
        .collect();
    let is_stored = claims.iter().any(|claim| claim.stored);
    let floating = match (holders.as_slice(), open.as_slice()) {
        ([], _) => Floating::Nowhere,
        ([holder], [open]) if holder.host == open.host => Floating::WithOpen,
        ([_], _) => Floating::Apart,
        (several, [open])
            if open.address == Some(true)
                && several
                    .iter()
                    .all(|holder| holder.host == open.host || holder.writable == Some(false)) =>
        {
            Floating::WithOpenAndStrays
        }
        (several, [])
            if several.iter().any(|holder| holder.stored)
                && several.iter().all(|holder| holder.stored || holder.left_over)
                && heard(claims).all(|claim| claim.writable == Some(false)) =>
        {
            Floating::OnRecordAndStrays
        }
        (_, _) => Floating::Several,
    };
    let open = match open.as_slice() {
        [] => Open::Nobody,
        [only] if only.stored => Open::Stored,
        [_] => Open::Other,
        _ => Open::Several,
    };
    (open, floating, is_stored)
}

fn rule(claims: &[Claim]) -> StartRule {
    match picture(claims) {
        (Open::Several, _, _) => StartRule::S01,
        (Open::Nobody | Open::Stored | Open::Other, Floating::Several, _)
        | (Open::Nobody, Floating::WithOpenAndStrays, _)
        | (Open::Nobody, Floating::OnRecordAndStrays, false)
        | (Open::Stored | Open::Other, Floating::OnRecordAndStrays, _)
        | (Open::Other, Floating::WithOpenAndStrays, true) => StartRule::S02,
        (Open::Stored | Open::Other, Floating::Apart, _) => StartRule::S03,
        (Open::Other, Floating::Nowhere, true) => StartRule::S04,
        (Open::Stored, Floating::Nowhere | Floating::WithOpen | Floating::WithOpenAndStrays, _) => {
            StartRule::S05
        }
        (
            Open::Nobody,
            Floating::Nowhere | Floating::WithOpen | Floating::Apart | Floating::OnRecordAndStrays,
            true,
        ) => StartRule::S06,
        (Open::Other, Floating::WithOpen, true) => StartRule::S07,
        (Open::Other, Floating::Nowhere | Floating::WithOpen | Floating::WithOpenAndStrays, false) => {
            StartRule::S08
        }
        (Open::Nobody, Floating::Nowhere | Floating::WithOpen | Floating::Apart, false) => StartRule::S09,
    }
}

/// Four votes for accepting writes, two for the address, one for the record, one for each slave that follows. Only a
/// host that accepts writes already, or the one on record, can be elected: a start opens nobody.
fn elected(claims: &[Claim]) -> Option<&Claim> {
    let votes = |claim: &Claim| {
        let counted = |holds: bool, weight: usize| if holds { weight } else { 0 };
        counted(claim.writable == Some(true), 4)
            + counted(claim.address == Some(true), 2)
            + counted(claim.stored, 1)
            + claim.followed_by.len()
    };
    let mut candidates: Vec<&Claim> = heard(claims)
        .filter(|claim| claim.stored || claim.writable == Some(true))
        .collect();
    candidates.sort_by_key(|claim| std::cmp::Reverse((votes(claim), claim.stored)));
    match candidates.as_slice() {
        [first, second, ..] if votes(first) == votes(second) && !first.stored => None,
        [first, ..] => Some(first),
        [] => None,
    }
}

/// Whether `host` takes writes and holds the writer address, while the one on record is seen to have neither.
pub fn has_taken_over(cluster: &Cluster, standing: &Standing, facts: &Facts, host: &HostName) -> bool {
    let address = cluster.writer_address();
    let has = |host: &HostName| {
        let seen = facts.get(host)?;
        let holds = address.is_some_and(|address| seen.ssh.up().is_some_and(|shell| shell.holds(address)));
        Some((seen.mysql.up()?.is_writable(), holds))
    };
    let on_record = standing.writer.as_ref().filter(|writer| *writer != host);
    has(host) == Some((true, true)) && on_record.and_then(has) == Some((false, false))
}

/// Hosts that may have written what `writer`, which is taken for the writer, has not: they must be compared before they
/// serve again. One that was on record is trusted only as far as it was seen to have nothing extra.
pub fn to_compare(cluster: &Cluster, standing: &Standing, facts: &Facts, writer: &HostName) -> Vec<HostName> {
    let server = |host: &HostName| facts.get(host).and_then(|facts| facts.mysql.up());
    let is_guilty = |host: &HostName| {
        let is_stored = standing.writer.as_ref() == Some(host);
        match (server(host), server(writer)) {
            (Some(seen), _) if seen.is_writable() => true,
            (Some(seen), Some(leading)) if is_stored => {
                match gtid::compare(&seen.history(leading), &leading.history(seen)) {
                    Compared::Nothing => false,
                    Compared::Extra(_) => true,
                    Compared::Unknown(_) => follows(cluster, facts, host, writer) != Some(true),
                }
            }
            (_, _) => is_stored,
        }
    };
    let others = cluster.masters().filter(|host| host.name != *writer);
    others.map(|host| host.name.clone()).filter(is_guilty).collect()
}

/// Replaced hosts that somebody else has taken back meanwhile, another box or a person. They are as a rejoin leaves them:
/// they refuse writes, run no events, follow the writer, which is seen to take writes, are followed by it where they are
/// its peer, and have nothing that it has not. Whoever still held them to be owed would only take them out of service
/// once more.
pub fn taken_back(cluster: &Cluster, standing: &Standing, facts: &Facts) -> Vec<HostName> {
    let server = |host: &HostName| facts.get(host).and_then(|facts| facts.mysql.up());
    let Some(writer) = &standing.writer else {
        return Vec::new();
    };
    let Some(leading) = server(writer).filter(|seen| seen.is_writable()) else {
        return Vec::new();
    };
    let is_back = |host: &HostName| {
        let has_nothing_extra = server(host).is_some_and(|seen| {
            !seen.is_writable()
                && seen.event_scheduler != EventScheduler::On
                && gtid::compare(&seen.history(leading), &leading.history(seen)) == Compared::Nothing
        });
        let is_peer = cluster
            .host(writer)
            .is_some_and(|writer| writer.peer.as_ref() == Some(host));
        has_nothing_extra
            && follows(cluster, facts, host, writer) == Some(true)
            && (!is_peer || follows(cluster, facts, writer, host) == Some(true))
    };
    // One whose rebuild has not come to its end may follow already and hold only a part.
    let owed = standing.owed.iter().filter(|(_, owed)| owed.rebuild.is_none());
    let owed = owed.map(|(host, _)| host).filter(|host| *host != writer);
    owed.filter(|host| is_back(host)).cloned().collect()
}

/// The claims as a table, one line a host below a heading, after the line that says what is wrong with them.
pub fn table(rule: StartRule, claims: &[Claim]) -> Vec<String> {
    let said = |claim: Option<bool>| match claim {
        Some(true) => "yes",
        Some(false) => "no",
        None => "?",
    };
    let widest = claims.iter().map(|claim| claim.host.as_str().len()).max();
    let width = widest.unwrap_or(0).max("Host".len());
    let row = |cells: [&str; 5]| {
        let [host, writable, address, stored, followed] = cells;
        format!("{host:<width$}  {writable:<8}  {address:<7}  {stored:<8}  {followed}")
    };
    let mut lines = vec![
        format!("{rule} {} when the monitor started", rule.sentence()),
        row(["Host", "Writable", "Address", "Stored", "Followed by"]),
    ];
    for claim in claims {
        let followed_by: Vec<&str> = claim.followed_by.iter().map(HostName::as_str).collect();
        let followed_by = followed_by.join(", ");
        lines.push(row([
            claim.host.as_str(),
            said(claim.writable),
            said(claim.address),
            match (claim.stored, claim.replaced) {
                (true, _) => "yes",
                (false, true) => "replaced",
                (false, false) => "no",
            },
            if followed_by.is_empty() { "-" } else { &followed_by },
        ]));
    }
    lines
}

#[cfg(test)]
mod tests;
