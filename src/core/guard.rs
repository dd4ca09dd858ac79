//! What must hold before an operation may touch anything. Pure: facts in, a refusal out.

mod number;
mod sources;
mod strays;

use std::collections::BTreeMap;
use std::time::Duration;

use super::cluster::{Cluster, HostMode, HostName};
use super::electorate::{Electorate, Memory};
use super::facts::HostFacts;
use super::foreign;
use super::gtid::Compared;
use super::losses;
use super::settlement::Wish;
use super::standing::{Return, Standing};
use super::trouble::{Kind, Trouble};

pub use number::Guard;
use sources::follows_a_possible_writer;
pub use sources::{could_not_have_been_replaced, doubt};
pub use strays::{held_by_a_stranger, strays};

/// A host that is further behind would not catch up within the time that a switchover gives it.
const TOO_FAR_BEHIND: Duration = Duration::from_secs(10);

/// Facts of every host, by name.
pub type Facts = BTreeMap<HostName, HostFacts>;

/// Who would take over: the host asked for, or the best one by what is seen and remembered.
///
/// # Errors
/// Usage, when the host does not exist or may not be the writer; refused, when nothing could take over.
pub fn target(
    cluster: &Cluster,
    standing: &Standing,
    facts: &Facts,
    asked: Option<&str>,
    memory: &Memory,
) -> Result<HostName, Trouble> {
    if let Some(asked) = asked {
        let name = HostName::from(asked);
        let names = cluster
            .hosts
            .iter()
            .map(|host| format!("`{}`", host.name))
            .collect::<Vec<_>>()
            .join(", ");
        let Some(host) = cluster.host(&name) else {
            return Err(Trouble::new(
                Kind::Usage,
                format!("`{}` has no host `{asked}`", cluster.name),
                format!("its hosts are {names}"),
            ));
        };
        let in_role = cluster.writer().is_some_and(|role| role.hosts.contains(&name));
        if host.mode != HostMode::Master || !in_role {
            return Err(Trouble::new(
                Kind::Usage,
                format!("`{asked}` cannot be the writer"),
                "the inventory does not list it for the writer role",
            ));
        }
        return Ok(name);
    }
    let candidates = electorate(cluster, standing, facts, standing.writer.as_ref(), memory).candidates();
    if let Some(best) = candidates.first().filter(|best| best.barred.is_none()) {
        return Ok(best.host.clone());
    }
    let why: Vec<String> = candidates
        .iter()
        .filter_map(|one| Some((&one.host, one.barred.as_ref()?)))
        .map(|(host, barred)| format!("{host}: {}: {barred}", barred.guard()))
        .collect();
    let what = format!("no new writer for `{}`", cluster.name);
    Err(Trouble::refused(Guard::G20, what, why.join("; ")))
}

fn electorate<'a>(
    cluster: &'a Cluster,
    standing: &'a Standing,
    facts: &'a Facts,
    outgoing: Option<&'a HostName>,
    memory: &'a Memory,
) -> Electorate<'a> {
    Electorate {
        cluster,
        standing,
        facts,
        outgoing,
        memory,
    }
}

/// Who takes writes, from the facts alone, when nothing on disk says so.
pub fn observed_writer(cluster: &Cluster, facts: &Facts) -> Option<HostName> {
    let writable: Vec<&HostName> = facts
        .iter()
        .filter(|(host, facts)| {
            is_writable(facts)
                && cluster
                    .host(host)
                    .is_some_and(|host| host.mode == HostMode::Master)
        })
        .map(|(host, _)| host)
        .collect();
    match writable.as_slice() {
        [only] => Some((*only).clone()),
        _ => None,
    }
}

/// Who was the writer before its server died: the only host that holds the writer address, among those that could be
/// looked at. Good enough to be replaced, never to be opened.
pub fn holder_of_writer_address(cluster: &Cluster, facts: &Facts) -> Option<HostName> {
    let address = cluster.writer_address()?;
    let mut holders = facts
        .iter()
        .filter(|(_, facts)| facts.ssh.up().is_some_and(|shell| shell.holds(address)))
        .map(|(host, _)| host);
    let only = holders.next().filter(|_| holders.next().is_none());
    only.filter(|host| cluster.writer().is_some_and(|role| role.hosts.contains(host)))
        .cloned()
}

/// Hosts other than `incoming` that could be the writer although nobody knows of one: those of the writer role whose
/// server was not seen to refuse writes.
pub fn possible_writers(cluster: &Cluster, facts: &Facts, incoming: &HostName) -> Vec<HostName> {
    let refuses_writes = |host: &HostName| {
        facts
            .get(host)
            .and_then(|facts| facts.mysql.up())
            .is_some_and(|mysql| !mysql.is_writable())
    };
    let hosts = cluster
        .writer()
        .map(|role| role.hosts.as_slice())
        .unwrap_or_default();
    hosts
        .iter()
        .filter(|host| *host != incoming && !refuses_writes(host))
        .cloned()
        .collect()
}

/// Whether a planned move from the writer to `incoming` may begin.
///
/// # Errors
/// Refused, with the first thing that stands in the way.
pub fn switchover(
    cluster: &Cluster,
    standing: &Standing,
    facts: &Facts,
    outgoing: &HostName,
    incoming: &HostName,
    memory: &Memory,
) -> Result<(), Trouble> {
    let what = format!("switchover of `{}` to `{incoming}` was not begun", cluster.name);
    let refuse = |guard, because: String| Err(Trouble::refused(guard, what.clone(), because));
    hands_off(cluster, standing)?;
    let electorate = electorate(cluster, standing, facts, Some(outgoing), memory);
    if let Some(barred) = electorate.barred(incoming) {
        return Err(barred.refusal(what, incoming));
    }
    let Some(writer) = facts.get(outgoing).and_then(|facts| facts.mysql.up()) else {
        let why = facts
            .get(outgoing)
            .and_then(|facts| facts.mysql.trouble())
            .unwrap_or("it was not asked");
        return refuse(
            Guard::G15,
            format!("the writer `{outgoing}` does not answer: {why}"),
        );
    };
    if !writer.is_writable() {
        return refuse(Guard::G16, format!("the writer `{outgoing}` refuses writes"));
    }
    if let Some(channel) = foreign::writes_on(writer) {
        let because = format!(
            "`{outgoing}` applies {}, and would go on when it refuses writes",
            foreign::Named(channel)
        );
        let trouble = Trouble::refused(Guard::G39, what, because);
        return Err(trouble.hint(Guard::G39.lifted_for(outgoing)));
    }
    for host in [outgoing, incoming] {
        if let Some(why) = facts.get(host).and_then(|facts| facts.ssh.trouble()) {
            return refuse(Guard::G09, format!("`{host}` cannot be managed over SSH: {why}"));
        }
    }
    if let Some(other) = another_writable(facts, outgoing) {
        return refuse(
            Guard::G08,
            format!("`{other}` accepts writes as well as `{outgoing}`"),
        );
    }
    let standby = facts.get(incoming).and_then(|facts| facts.mysql.up());
    let channel = standby.and_then(|standby| {
        standby
            .replicas
            .iter()
            .find(|channel| channel.source_server_id == Some(writer.server_id))
    });
    match channel {
        None => refuse(
            Guard::G34,
            format!("`{incoming}` does not replicate from `{outgoing}`"),
        ),
        Some(channel) if !channel.is_running() => {
            let errors = [&channel.io_error, &channel.sql_error]
                .into_iter()
                .flatten()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join("; ");
            let because = format!("replication on `{incoming}` does not run {errors}");
            refuse(Guard::G35, because.trim_end().to_owned())
        }
        Some(channel) => match channel.lag.filter(|lag| *lag > TOO_FAR_BEHIND) {
            Some(lag) => refuse(
                Guard::G36,
                format!(
                    "`{incoming}` is {} s behind, and nobody could write while it catches up",
                    lag.as_secs()
                ),
            ),
            None => Ok(()),
        },
    }
}

/// Whether a planned move that was cut off before its commit may go on. The writer may refuse writes by its doing; what
/// the standby still needs to receive is waited for anew.
///
/// # Errors
/// Refused, with the first thing that stands in the way.
pub fn resumed_switchover(
    cluster: &Cluster,
    standing: &Standing,
    facts: &Facts,
    outgoing: &HostName,
    incoming: &HostName,
) -> Result<(), Trouble> {
    let what = format!(
        "the switchover of `{}` to `{incoming}` was not gone on with",
        cluster.name
    );
    let memory = Memory::default();
    let electorate = electorate(cluster, standing, facts, Some(outgoing), &memory);
    if let Some(barred) = electorate.barred(incoming) {
        return Err(barred.refusal(what, incoming));
    }
    for host in [outgoing, incoming] {
        let facts = facts.get(host);
        if let Some(why) = facts.and_then(|facts| facts.mysql.trouble()) {
            let because = format!("the server on `{host}` does not answer: {why}");
            return Err(Trouble::refused(Guard::G15, what, because));
        }
        if let Some(why) = facts.and_then(|facts| facts.ssh.trouble()) {
            let because = format!("`{host}` cannot be managed over SSH: {why}");
            return Err(Trouble::refused(Guard::G09, what, because));
        }
    }
    Ok(())
}

/// Who has moved the writer role since a run between these two was cut off, although nobody else takes writes now: the
/// incoming host has written what the outgoing one lacks (at the beginning that would have barred it), or, where a person
/// wants the run brought to an end, a host without a part in it holds the writer's address.
pub fn moved_since(
    cluster: &Cluster,
    facts: &Facts,
    (outgoing, incoming): (Option<&HostName>, Option<&HostName>),
    wish: Wish,
) -> Option<String> {
    let server = |host: Option<&HostName>| facts.get(host?).and_then(|facts| facts.mysql.up());
    if let (Some(before), Some(now), Some(host)) = (server(outgoing), server(incoming), incoming)
        && let Some(last) = losses::strayed(now, &before.history(now))
    {
        return Some(format!("{host} {}", losses::strayed_words(&last)));
    }
    held_by_another(cluster, facts, (outgoing, incoming), wish)
}

/// Who holds the writer's address without having a part in a run, in words; of no weight to whoever only settles it.
pub fn held_by_another(
    cluster: &Cluster,
    facts: &Facts,
    (outgoing, incoming): (Option<&HostName>, Option<&HostName>),
    wish: Wish,
) -> Option<String> {
    let holder = holder_of_writer_address(cluster, facts).filter(|_| wish != Wish::Settle)?;
    let has_a_part = [outgoing, incoming].contains(&Some(&holder));
    (!has_a_part).then(|| format!("{holder} holds the writer's address, which has no part in it"))
}

/// Whether a dead writer may be replaced by `incoming`: it is still the writer and still does not answer, and nothing is
/// wrong with the living hosts, nor was before it died.
///
/// # Errors
/// Refused, with what stands in the way.
pub fn failover(
    cluster: &Cluster,
    standing: &Standing,
    facts: &Facts,
    outgoing: Option<&HostName>,
    incoming: &HostName,
    memory: &Memory,
) -> Result<(), Trouble> {
    let what = format!("failover of `{}` to `{incoming}` was not begun", cluster.name);
    let refuse = |guard, because: String| Err(Trouble::refused(guard, what.clone(), because));
    hands_off(cluster, standing)?;
    if let Some(writer) = standing
        .writer
        .as_ref()
        .filter(|writer| Some(*writer) != outgoing)
    {
        return refuse(Guard::G13, format!("`{writer}` has become the writer meanwhile"));
    }
    if outgoing == Some(incoming) {
        return refuse(Guard::G14, format!("`{incoming}` is the writer"));
    }
    if let Some(outgoing) = outgoing
        && facts.get(outgoing).is_some_and(|facts| facts.mysql.is_alive())
    {
        return refuse(Guard::G12, format!("the server on `{outgoing}` answers again"));
    }
    if let Some(source) = follows_a_possible_writer(cluster, facts, outgoing, incoming) {
        let because = format!(
            "`{incoming}` follows `{source}`, which may have become the writer since and does not say that it refuses writes"
        );
        return refuse(Guard::G13, because);
    }
    let electorate = electorate(cluster, standing, facts, outgoing, memory);
    if let Some(barred) = electorate.barred(incoming) {
        return Err(barred.refusal(what, incoming));
    }
    if let Some(why) = facts.get(incoming).and_then(|facts| facts.ssh.trouble()) {
        return refuse(
            Guard::G09,
            format!("`{incoming}` cannot be managed over SSH: {why}"),
        );
    }
    let others = facts
        .iter()
        .find(|(host, facts)| *host != incoming && Some(*host) != outgoing && is_writable(facts));
    match others {
        Some((other, _)) => refuse(Guard::G08, format!("`{other}` accepts writes")),
        None => Ok(()),
    }
}

/// Whether the writer, found read-only, may be opened again; the address is taken first from where it is only left over.
///
/// # Errors
/// Refused, with what stands in the way.
pub fn reopen(
    cluster: &Cluster,
    standing: &Standing,
    facts: &Facts,
    writer: &HostName,
) -> Result<(), Trouble> {
    let refuse = |guard, because: String| {
        Err(Trouble::refused(
            guard,
            format!("the writer of `{}` was not opened", cluster.name),
            because,
        )
        .hint("if that host is meant to be the writer, `mmm set-passive`, name it with `mmm set-ip`, then `mmm set-active`; otherwise close it"))
    };
    hands_off(cluster, standing)?;
    if standing.writer.as_ref() != Some(writer) {
        return refuse(Guard::G17, format!("`{writer}` is not the writer"));
    }
    if let Some(other) = another_writable(facts, writer) {
        return refuse(Guard::G08, format!("`{other}` accepts writes"));
    }
    let left_over = strays(cluster, standing, facts, writer);
    let holders = strays::holders(cluster, facts, writer);
    match holders.first().filter(|_| left_over != holders) {
        Some(host) => refuse(Guard::G18, format!("`{host}` holds the writer address")),
        None => Ok(()),
    }
}

/// Whether `host` is due to come back.
///
/// # Errors
/// Refused, when nothing is owed or a person must decide first.
pub fn rejoin(cluster: &Cluster, standing: &Standing, host: &HostName) -> Result<(), Trouble> {
    let what = format!("`{host}` did not rejoin `{}`", cluster.name);
    hands_off(cluster, standing)?;
    if standing.offline.contains_key(host) {
        let because = "a person took it out of service";
        let hint = format!("`mmm set-online {host}` lets it back in, and it is compared then");
        return Err(Trouble::refused(Guard::G21, what, because).hint(hint));
    }
    match standing.owed.get(host).map(|owed| &owed.progress) {
        None => Err(Trouble::refused(
            Guard::G40,
            what,
            "it was not replaced as writer, or it has come back already",
        )),
        Some(Return::Awaited | Return::Quarantined | Return::KeptOut { .. }) if standing.writer.is_none() => {
            Err(Trouble::refused(
                Guard::G06,
                what,
                "no host is known to be the writer",
            ))
        }
        Some(Return::Awaited | Return::Quarantined | Return::KeptOut { .. }) => Ok(()),
    }
}

/// Why a host whose rebuild did not come to its end does not follow.
pub fn half_rebuilt(what: String, host: &HostName) -> Trouble {
    let because = "its last rebuild did not come to its end, so it may hold only a part of what it should";
    Trouble::refused(Guard::G49, what, because).hint(Guard::G49.lifted_for(host))
}

/// Whether a replaced host that stands still may follow the writer, from what the two were compared to have; none when they
/// could not both be asked.
///
/// # Errors
/// Refused: it has something extra, that cannot be told, or where it should go on is not known.
pub fn follow_again(
    cluster: &Cluster,
    host: &HostName,
    writer: &HostName,
    compared: Option<&Compared>,
    knows_its_place: bool,
) -> Result<(), Trouble> {
    let what = format!("`{host}` did not rejoin `{}`", cluster.name);
    let (guard, because) = match compared {
        Some(Compared::Nothing) if knows_its_place => return Ok(()),
        Some(Compared::Nothing) => (
            Guard::G42,
            "its replication runs without GTIDs, so where it should go on is not known".to_owned(),
        ),
        Some(Compared::Extra(surplus)) => (
            Guard::G23,
            format!("it has transactions that the writer `{writer}` has not: {surplus}"),
        ),
        Some(Compared::Unknown(why)) => (
            Guard::G43,
            format!("it cannot be compared with the writer: {why}"),
        ),
        None => (
            Guard::G41,
            format!("`{host}` and the writer `{writer}` could not both be asked"),
        ),
    };
    Err(Trouble::refused(guard, what, because).hint(guard.lifted_for(host)))
}

/// Whether anybody may act on the cluster at all.
///
/// # Errors
/// Refused, after an operation got stuck and until a person has looked.
pub fn hands_off(cluster: &Cluster, standing: &Standing) -> Result<(), Trouble> {
    match &standing.hands_off {
        None => Ok(()),
        Some(because) => Err(Trouble::refused(
            Guard::G01,
            format!("`{}` is not touched: an operation got stuck", cluster.name),
            because,
        )),
    }
}

/// Whether the hosts that a stuck run waits for all answer, so that it can be settled without a person.
pub fn may_be_settled(standing: &Standing, facts: &Facts) -> bool {
    let obeys = |host: &HostName| {
        facts
            .get(host)
            .is_some_and(|facts| facts.mysql.up().is_some() && facts.ssh.up().is_some())
    };
    !standing.hands_off_awaits.is_empty() && standing.hands_off_awaits.iter().all(obeys)
}

/// A host other than `writer` that accepts writes.
pub fn another_writable(facts: &Facts, writer: &HostName) -> Option<HostName> {
    facts
        .iter()
        .find(|(host, facts)| *host != writer && is_writable(facts))
        .map(|(host, _)| host.clone())
}

fn is_writable(facts: &HostFacts) -> bool {
    facts.mysql.up().is_some_and(|mysql| mysql.is_writable())
}

#[cfg(test)]
mod tests;
