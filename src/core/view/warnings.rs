//! What people should know about a cluster, each with what would mend it.

use std::net::IpAddr;

use super::Warning;
use crate::core::cluster::{CheckKind, FailBack, HostName};
use crate::core::election::Barred;
use crate::core::engine::Engine;
use crate::core::facts::UsingGtid;
use crate::core::gtid::Compared;
use crate::core::guard::Guard;
use crate::core::hosts::HostRule;
use crate::core::latch::CheckResult;
use crate::core::losses;
use crate::core::maintenance::{self, Restraint};
use crate::core::readiness::Obstacle;
use crate::core::repair;
use crate::core::rule::Rule;
use crate::core::standing::{NAMED, Return};
use crate::core::trouble::Trouble;

pub(super) fn warnings(engine: &Engine) -> Vec<Warning> {
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
            guard.circumstances
        );
        warn(what, guard.rule.lifted_by());
    } else if !engine.rule().lifted_by().is_empty() && !is_told_below(engine.rule()) {
        let rule = engine.rule();
        warn(format!("{rule}: {}", rule.sentence()), rule.lifted_by());
    } else if engine.rule() == Rule::R06 {
        warn(
            format!("{}: {}", Rule::R06, Rule::R06.sentence()),
            "a monitor replaces it once the evidence allows that; without one `mmm failover` does",
        );
    }
    for (what, hint) in arranged(engine) {
        warn(what, &hint);
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
            Return::KeptOut { .. } if owed.rebuild.is_some() => {
                let given_up = owed.rebuild.as_ref();
                let surplus = given_up.map_or("", |begun| begun.surplus.as_str());
                let rows = given_up.and_then(|begun| begun.rows.as_deref());
                let saved = rows.map_or("not saved".to_owned(), |file| format!("in `{file}`"));
                warn(
                    format!(
                        "{host} is kept out: its rebuild has not come to its end; the rows of what only it had ({surplus}) are {saved}"
                    ),
                    &Guard::G49.lifted_for(host),
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

/// Rules whose warning says more than the rule.
fn is_told_below(rule: Rule) -> bool {
    matches!(rule, Rule::R02 | Rule::R17 | Rule::R18 | Rule::R19)
}

/// What people have arranged, and what that holds back.
fn arranged(engine: &Engine) -> Vec<(String, String)> {
    let (cluster, standing) = (engine.cluster(), engine.standing());
    let rule = match engine.rule() {
        rule @ (Rule::R17 | Rule::R18 | Rule::R19) => format!("{rule}: {}: ", rule.sentence()),
        _ => String::new(),
    };
    let mut told = Vec::new();
    if let Some(downtime) = &standing.downtime {
        let what = maintenance::words("the cluster", downtime);
        told.push((
            format!("{}{what}", if engine.rule() == Rule::R17 { &rule } else { "" }),
            format!("`mmm downtime {} --end` ends it", cluster.name),
        ));
    }
    for (host, downtime) in &standing.downtimes {
        let is_held = engine.rule() == Rule::R18 && standing.writer.as_ref() == Some(host);
        let what = maintenance::words(host.as_str(), downtime);
        told.push((
            format!("{}{what}", if is_held { &rule } else { "" }),
            format!("`mmm downtime {host} --end` ends it"),
        ));
    }
    if let Some(last) = standing
        .automatic
        .as_ref()
        .filter(|_| engine.restraint() == Restraint::Unacknowledged)
    {
        let what = maintenance::unacknowledged_words(cluster, last);
        told.push((
            format!("{}{what}", if engine.rule() == Rule::R19 { &rule } else { "" }),
            format!("look what happened, then `mmm ack {}`", last.run),
        ));
    }
    told
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
            | Barred::Downtime(_)
            | Barred::Owed
            | Barred::KeptOut(_)
            | Barred::HalfRebuilt
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
