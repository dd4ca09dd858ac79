//! What must hold before an operation may touch anything. Pure: facts in, a refusal out.

use std::collections::BTreeMap;
use std::time::Duration;

use super::cluster::{Cluster, HostMode, HostName};
use super::election;
use super::facts::HostFacts;
use super::standing::{Return, Standing};
use super::trouble::{Kind, Trouble};

/// A host that is further behind would not catch up within the time that a switchover gives it.
const TOO_FAR_BEHIND: Duration = Duration::from_secs(10);

/// Facts of every host, by name.
pub type Facts = BTreeMap<HostName, HostFacts>;

/// Who would take over in a planned move: the host asked for, or the only one that could.
///
/// # Errors
/// Usage, when the host does not exist or may not be the writer; refused, when nothing or too much could take over.
pub fn target(
    cluster: &Cluster,
    standing: &Standing,
    facts: &Facts,
    asked: Option<&str>,
) -> Result<HostName, Trouble> {
    let what = || format!("no new writer for `{}`", cluster.name);
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
    let candidates = election::candidates(cluster, standing, facts, standing.writer.as_ref());
    let ready: Vec<&HostName> = candidates
        .iter()
        .filter(|(_, barred)| barred.is_none())
        .map(|(host, _)| host)
        .collect();
    match ready.as_slice() {
        [only] => Ok((*only).clone()),
        [] => {
            let why = candidates
                .iter()
                .map(|(host, barred)| {
                    format!(
                        "{host}: {}",
                        barred.as_ref().map(ToString::to_string).unwrap_or_default()
                    )
                })
                .collect::<Vec<_>>()
                .join("; ");
            Err(Trouble::new(Kind::Refused, what(), why).hint("`mmm checks` says more"))
        }
        several => {
            let names = several
                .iter()
                .map(|host| format!("`{host}`"))
                .collect::<Vec<_>>()
                .join(", ");
            Err(Trouble::new(
                Kind::Usage,
                what(),
                format!("several hosts could take over: {names}"),
            )
            .hint("say which with `--to HOST`"))
        }
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
) -> Result<(), Trouble> {
    let refuse = |because: String, hint: &str| {
        Err(Trouble::new(
            Kind::Refused,
            format!("switchover of `{}` to `{incoming}` was not begun", cluster.name),
            because,
        )
        .hint(hint))
    };
    hands_off(cluster, standing)?;
    if let Some(barred) = election::barred(standing, facts, incoming) {
        return refuse(
            format!("`{incoming}` cannot take over: {barred}"),
            &barred.lifted_by(incoming),
        );
    }
    let Some(writer) = facts.get(outgoing).and_then(|facts| facts.mysql.up()) else {
        let why = facts
            .get(outgoing)
            .and_then(|facts| facts.mysql.trouble())
            .unwrap_or("it was not asked");
        return refuse(
            format!("the writer `{outgoing}` does not answer: {why}"),
            "if it is dead, `mmm failover` replaces it",
        );
    };
    if !writer.is_writable() {
        return refuse(
            format!("the writer `{outgoing}` refuses writes"),
            "a monitor opens it again, or `mmm failover` does",
        );
    }
    for host in [outgoing, incoming] {
        if let Some(why) = facts.get(host).and_then(|facts| facts.ssh.trouble()) {
            return refuse(
                format!("`{host}` cannot be managed over SSH: {why}"),
                "`mmm check` says what is missing",
            );
        }
    }
    if let Some(other) = another_writable(facts, outgoing) {
        return refuse(
            format!("`{other}` accepts writes as well as `{outgoing}`"),
            "find out who opened it, then close it",
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
            format!("`{incoming}` does not replicate from `{outgoing}`"),
            "`mmm check` compares replication with the inventory",
        ),
        Some(channel) if !channel.is_running() => {
            let errors = [&channel.io_error, &channel.sql_error]
                .into_iter()
                .flatten()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join("; ");
            refuse(
                format!("replication on `{incoming}` does not run {errors}")
                    .trim_end()
                    .to_owned(),
                "`mmm checks` says more",
            )
        }
        Some(channel) => match channel.lag.filter(|lag| *lag > TOO_FAR_BEHIND) {
            Some(lag) => refuse(
                format!(
                    "`{incoming}` is {} s behind, and nobody could write while it catches up",
                    lag.as_secs()
                ),
                "wait, or let it catch up first with `mmm move-role ROLE HOST --force`",
            ),
            None => Ok(()),
        },
    }
}

/// Whether a dead writer may be replaced by `incoming`: it is still the writer and still does not answer, and nothing is
/// wrong with the living hosts.
///
/// # Errors
/// Refused, with what stands in the way.
pub fn failover(
    cluster: &Cluster,
    standing: &Standing,
    facts: &Facts,
    outgoing: Option<&HostName>,
    incoming: &HostName,
) -> Result<(), Trouble> {
    let refuse = |because: String, hint: &str| {
        Err(Trouble::new(
            Kind::Refused,
            format!("failover of `{}` to `{incoming}` was not begun", cluster.name),
            because,
        )
        .hint(hint))
    };
    hands_off(cluster, standing)?;
    if let Some(writer) = standing
        .writer
        .as_ref()
        .filter(|writer| Some(*writer) != outgoing)
    {
        return refuse(
            format!("`{writer}` has become the writer meanwhile"),
            "`mmm show` says who is the writer",
        );
    }
    if outgoing == Some(incoming) {
        return refuse(
            format!("`{incoming}` is the writer"),
            "name another host with `--to HOST`",
        );
    }
    if let Some(outgoing) = outgoing
        && facts.get(outgoing).is_some_and(|facts| facts.mysql.is_alive())
    {
        return refuse(
            format!("the server on `{outgoing}` answers again"),
            "`mmm switchover` moves the role from a living writer",
        );
    }
    if let Some(barred) = election::barred(standing, facts, incoming) {
        return refuse(
            format!("`{incoming}` cannot take over: {barred}"),
            &barred.lifted_by(incoming),
        );
    }
    if let Some(why) = facts.get(incoming).and_then(|facts| facts.ssh.trouble()) {
        return refuse(
            format!("`{incoming}` cannot be managed over SSH: {why}"),
            "`mmm check` says what is missing",
        );
    }
    let others = facts
        .iter()
        .find(|(host, facts)| *host != incoming && Some(*host) != outgoing && is_writable(facts));
    match others {
        Some((other, _)) => refuse(
            format!("`{other}` accepts writes"),
            "find out who opened it, then close it",
        ),
        None => Ok(()),
    }
}

/// Whether the writer, found read-only, may be opened again.
///
/// # Errors
/// Refused, with what stands in the way.
pub fn reopen(
    cluster: &Cluster,
    standing: &Standing,
    facts: &Facts,
    writer: &HostName,
) -> Result<(), Trouble> {
    let refuse = |because: String| {
        Err(Trouble::new(
            Kind::Refused,
            format!("the writer of `{}` was not opened", cluster.name),
            because,
        )
        .hint("if that host is meant to be the writer, `mmm set-passive`, name it with `mmm set-ip`, then `mmm set-active`; otherwise close it"))
    };
    hands_off(cluster, standing)?;
    if standing.writer.as_ref() != Some(writer) {
        return refuse(format!("`{writer}` is not the writer"));
    }
    if let Some(other) = another_writable(facts, writer) {
        return refuse(format!("`{other}` accepts writes"));
    }
    let address = cluster.writer_address();
    let holder = facts.iter().find(|(host, facts)| {
        *host != writer
            && facts
                .ssh
                .up()
                .zip(address)
                .is_some_and(|(shell, address)| shell.holds(address))
    });
    match holder {
        Some((host, _)) => refuse(format!("`{host}` holds the writer address")),
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
        return Err(Trouble::new(Kind::Refused, what, because).hint(hint));
    }
    match standing.owed.get(host).map(|owed| &owed.progress) {
        None => Err(Trouble::new(
            Kind::Refused,
            what,
            "it was not replaced as writer, or it has come back already",
        )),
        Some(Return::Awaited | Return::Quarantined | Return::KeptOut { .. }) if standing.writer.is_none() => {
            Err(Trouble::new(
                Kind::Refused,
                what,
                "no host is known to be the writer",
            ))
        }
        Some(Return::Awaited | Return::Quarantined | Return::KeptOut { .. }) => Ok(()),
    }
}

/// Whether anybody may act on the cluster at all.
///
/// # Errors
/// Refused, after an operation got stuck and until a person has looked.
pub fn hands_off(cluster: &Cluster, standing: &Standing) -> Result<(), Trouble> {
    match &standing.hands_off {
        None => Ok(()),
        Some(because) => Err(Trouble::new(
            Kind::Refused,
            format!("`{}` is not touched: an operation got stuck", cluster.name),
            because,
        )
        .hint("make sure by hand that one host at most takes writes, then `mmm clear`")),
    }
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
