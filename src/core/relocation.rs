//! What must hold before an address other than the writer's is moved by command. Pure: facts in, a refusal out.

use std::net::IpAddr;

use super::cluster::{Cluster, HostName, Role, RoleMode};
use super::electorate::Memory;
use super::facts::HostFacts;
use super::guard::{self, Facts, Guard};
use super::hosts::HostState;
use super::repair;
use super::standing::{Mode, Standing};
use super::trouble::{Kind, Trouble};

/// The address that is meant by a role and, where the role has several, by its name.
///
/// # Errors
/// Usage: the role has no such address. Refused: it is balanced and nobody said which address.
pub fn meant(role: &Role, asked: Option<IpAddr>, what: &str) -> Result<IpAddr, Trouble> {
    let all: Vec<String> = role.addresses.iter().map(|ip| format!("`{ip}`")).collect();
    match (asked, role.mode, role.addresses.as_slice()) {
        (Some(asked), _, addresses) if addresses.contains(&asked) => Ok(asked),
        (Some(asked), _, _) => Err(Trouble::new(
            Kind::Usage,
            what,
            format!(
                "`{asked}` is not an address of `{}`; it has {}",
                role.name,
                all.join(", ")
            ),
        )),
        (None, RoleMode::Exclusive, [only]) => Ok(*only),
        (None, _, _) => Err(Trouble::refused(
            Guard::G50,
            what,
            format!(
                "`{}` is balanced: its addresses {} spread over all healthy hosts by themselves",
                role.name,
                all.join(", ")
            ),
        )),
    }
}

/// The role that an address belongs to, if the host may ever hold it.
///
/// # Errors
/// Usage: no role has that address, there is no such host, or the role does not list it.
pub fn role_of<'c>(
    cluster: &'c Cluster,
    address: IpAddr,
    host: &HostName,
    what: &str,
) -> Result<&'c Role, Trouble> {
    let usage = |because: String| Trouble::new(Kind::Usage, what, because);
    let role = cluster
        .roles
        .iter()
        .find(|role| role.addresses.contains(&address))
        .ok_or_else(|| {
            usage(format!(
                "no role of `{}` has the address `{address}`",
                cluster.name
            ))
        })?;
    let names = |hosts: &[HostName]| {
        let names: Vec<String> = hosts.iter().map(|host| format!("`{host}`")).collect();
        names.join(", ")
    };
    if cluster.host(host).is_none() {
        let all: Vec<HostName> = cluster.hosts.iter().map(|host| host.name.clone()).collect();
        return Err(usage(format!(
            "`{}` has no host `{host}`; its hosts are {}",
            cluster.name,
            names(&all)
        )));
    }
    if !role.hosts.contains(host) {
        return Err(usage(format!(
            "`{}` is for {} only",
            role.name,
            names(&role.hosts)
        )));
    }
    Ok(role)
}

/// Whether the address may be moved to `to` now, and from whom; from nobody when no host was seen to hold it.
///
/// # Errors
/// Usage or refused, with the first thing that stands in the way.
pub fn allowed(
    cluster: &Cluster,
    standing: &Standing,
    facts: &Facts,
    address: IpAddr,
    to: &HostName,
    memory: &Memory,
) -> Result<Option<HostName>, Trouble> {
    let what = format!("{address} was not moved to `{to}`");
    let refuse = |guard: Guard, because: String| Err(Trouble::refused(guard, what.clone(), because));
    guard::hands_off(cluster, standing)?;
    let role = role_of(cluster, address, to, &what)?;
    if role.name == cluster.writer_role {
        return refuse(Guard::G51, "it is the writer's address".to_owned());
    }
    if standing.mode == Mode::Passive {
        return refuse(Guard::G52, "the cluster is in passive mode".to_owned());
    }
    if standing.offline.contains_key(to) {
        return refuse(Guard::G21, format!("`{to}` was taken out of service"));
    }
    if standing.owed.contains_key(to) {
        return refuse(
            Guard::G22,
            format!("`{to}` was replaced as writer and has not been compared since"),
        );
    }
    let seen = facts.get(to);
    if let Some((guard, why)) = unfit(cluster, standing, seen, to) {
        return refuse(guard, format!("`{to}` cannot hold it: {why}"));
    }
    // A monitor would take it away again at once.
    if let Some(state) = memory.states.get(to).filter(|state| !may_hold(**state)) {
        let because = format!("`{to}` cannot hold it: it is {state}");
        return Err(Trouble::refused(Guard::G33, what, because).hint(Guard::G33.lifted_for(to)));
    }
    let holders = repair::held(cluster, facts).remove(&address).unwrap_or_default();
    match holders.as_slice() {
        [only] if only == to => refuse(Guard::G54, format!("`{to}` holds it already")),
        holders => Ok(holders.iter().find(|host| *host != to).cloned()),
    }
}

fn may_hold(state: HostState) -> bool {
    matches!(state, HostState::Online | HostState::Unknown)
}

/// The host other than `to` that was seen to hold an address.
pub fn holder(cluster: &Cluster, facts: &Facts, address: IpAddr, to: &HostName) -> Option<HostName> {
    let holders = repair::held(cluster, facts).remove(&address).unwrap_or_default();
    holders.into_iter().find(|host| host != to)
}

/// Why a host should not be given an address that clients read from.
fn unfit(
    cluster: &Cluster,
    standing: &Standing,
    seen: Option<&HostFacts>,
    host: &HostName,
) -> Option<(Guard, String)> {
    let Some(seen) = seen else {
        return Some((Guard::G24, "it has not been asked".to_owned()));
    };
    if let Some(why) = seen.ssh.trouble() {
        return Some((Guard::G09, format!("it cannot be managed over SSH: {why}")));
    }
    let Some(mysql) = seen.mysql.up() else {
        let why = seen.mysql.trouble().unwrap_or("it was not asked");
        return Some((Guard::G24, format!("its server does not answer: {why}")));
    };
    if standing.writer.as_ref() == Some(host) {
        return None;
    }
    let limit = cluster.checks.rep_backlog.max_backlog;
    for channel in &mysql.replicas {
        if !channel.is_running() {
            return Some((Guard::G35, "its replication does not run".to_owned()));
        }
        if let Some(lag) = channel.lag.filter(|lag| *lag > limit) {
            return Some((Guard::G53, format!("it is {} s behind", lag.as_secs())));
        }
    }
    mysql
        .replicas
        .is_empty()
        .then(|| (Guard::G25, "it replicates from nobody".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::cluster::FailBack;
    use crate::core::facts::{Reach, SqlThread};
    use crate::core::moment::Moment;
    use crate::core::samples::{self, facts};

    const READER: &str = "10.0.0.101";

    fn cluster() -> Cluster {
        let mut cluster = samples::cluster();
        cluster.roles.push(Role {
            name: "reader".into(),
            mode: RoleMode::Balanced,
            hosts: vec!["db2".into(), "db3".into()],
            addresses: vec![READER.parse().unwrap()],
            prefer: None,
            fail_back: FailBack::CaughtUp,
        });
        cluster
    }

    fn asked(standing: &Standing, facts: &Facts, to: &str) -> Result<Option<HostName>, String> {
        let found = allowed(
            &cluster(),
            standing,
            facts,
            READER.parse().unwrap(),
            &to.into(),
            &Memory::default(),
        );
        found.map_err(|trouble| trouble.because)
    }

    fn standing() -> Standing {
        Standing {
            writer: Some("db1".into()),
            ..Standing::default()
        }
    }

    fn seen() -> Facts {
        Facts::from([
            ("db1".into(), facts(true, &[])),
            ("db2".into(), facts(false, &[READER])),
            ("db3".into(), facts(false, &[])),
        ])
    }

    #[test]
    fn it_moves_from_its_holder_or_from_nobody_to_a_healthy_host_of_the_role() {
        assert_eq!(asked(&standing(), &seen(), "db3"), Ok(Some("db2".into())));
        let mut nowhere = seen();
        nowhere.insert("db2".into(), facts(false, &[]));
        assert_eq!(asked(&standing(), &nowhere, "db3"), Ok(None));
        assert!(
            asked(&standing(), &seen(), "db2")
                .unwrap_err()
                .contains("already")
        );
        assert!(asked(&standing(), &seen(), "db1").unwrap_err().contains("only"));
        assert!(
            asked(&standing(), &seen(), "db9")
                .unwrap_err()
                .contains("no host")
        );
    }

    #[test]
    fn it_does_not_move_to_a_host_that_could_not_keep_it() {
        let mut broken = seen();
        if let Reach::Up(mysql) = &mut broken.get_mut("db3").unwrap().mysql {
            mysql.replicas[0].sql = SqlThread::No;
        }
        assert!(
            asked(&standing(), &broken, "db3")
                .unwrap_err()
                .contains("does not run")
        );
        let mut out = standing();
        out.offline.insert("db3".into(), Moment(1));
        assert!(
            asked(&out, &seen(), "db3")
                .unwrap_err()
                .contains("out of service")
        );
        let passive = Standing {
            mode: Mode::Passive,
            ..standing()
        };
        assert!(asked(&passive, &seen(), "db3").unwrap_err().contains("passive"));
    }

    #[test]
    fn it_does_not_move_to_a_host_that_a_monitor_would_take_it_from() {
        let (address, to) = (READER.parse().unwrap(), HostName::from("db3"));
        let asked = |state| {
            let mut memory = Memory::default();
            memory.states.insert(to.clone(), state);
            allowed(&cluster(), &standing(), &seen(), address, &to, &memory)
        };
        for state in [HostState::AwaitingRecovery, HostState::ReplicationDelay] {
            assert_eq!(asked(state).unwrap_err().guard, Some(Guard::G33));
        }
        assert_eq!(asked(HostState::Online), Ok(Some("db2".into())));
    }

    #[test]
    fn each_guard_blocks() {
        let blocks = |standing: &Standing, facts: &Facts, address: &str, to: &str, guard| {
            let refused = allowed(
                &cluster(),
                standing,
                facts,
                address.parse().unwrap(),
                &to.into(),
                &Memory::default(),
            );
            assert_eq!(refused.unwrap_err().guard, Some(guard));
        };
        let but = |change: &dyn Fn(&mut HostFacts)| {
            let mut seen = seen();
            change(seen.get_mut("db3").unwrap());
            seen
        };
        let lags = |seen: &mut HostFacts| {
            if let Reach::Up(mysql) = &mut seen.mysql {
                mysql.replicas[0].lag = Some(std::time::Duration::from_secs(61));
            }
        };
        let alone = |seen: &mut HostFacts| {
            if let Reach::Up(mysql) = &mut seen.mysql {
                mysql.replicas.clear();
            }
        };
        let passive = Standing {
            mode: Mode::Passive,
            ..standing()
        };
        blocks(&standing(), &seen(), samples::WRITER_ADDRESS, "db2", Guard::G51);
        blocks(&passive, &seen(), READER, "db3", Guard::G52);
        blocks(&standing(), &but(&lags), READER, "db3", Guard::G53);
        blocks(&standing(), &seen(), READER, "db2", Guard::G54);
        blocks(&standing(), &but(&alone), READER, "db3", Guard::G25);
        blocks(
            &standing(),
            &but(&|seen| seen.ssh = Reach::default()),
            READER,
            "db3",
            Guard::G09,
        );
        blocks(
            &standing(),
            &but(&|seen| seen.mysql = Reach::default()),
            READER,
            "db3",
            Guard::G24,
        );
    }

    #[test]
    fn an_address_of_a_balanced_role_must_be_named() {
        let cluster = cluster();
        let (writer, reader) = (&cluster.roles[0], &cluster.roles[1]);
        assert_eq!(meant(writer, None, "").unwrap(), writer.addresses[0]);
        assert_eq!(meant(reader, None, "").unwrap_err().guard, Some(Guard::G50));
        assert_eq!(
            meant(reader, Some(reader.addresses[0]), "").unwrap(),
            reader.addresses[0]
        );
        let other = meant(reader, Some(writer.addresses[0]), "");
        assert_eq!(other.unwrap_err().kind, Kind::Usage);
    }
}
