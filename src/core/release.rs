//! On a person's word: may a host be taken out of service, and may it be let back in. Pure: what is known goes in, a way
//! or a refusal comes out.

use super::cluster::{Cluster, HostName};
use super::facts::{HostFacts, IoThread, MysqlFacts, SqlThread};
use super::foreign;
use super::gtid::{self, Compared, History};
use super::guard::{self, Facts, Guard};
use super::hosts::HostState;
use super::repair;
use super::standing::Standing;
use super::trouble::{Kind, Trouble};

/// How a host leaves service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaving {
    /// It has left before; what is left of it is cleared away.
    Already,
    /// Its addresses leave, then its replication stops.
    Now,
    /// It is the writer: the role is handed over first.
    AfterSwitchover,
}

/// Whether `host`, being in `state`, may be taken out of service.
///
/// # Errors
/// Usage: there is no such host. Refused: a stuck run, or a state in which it cannot be taken out.
pub fn leaving(
    cluster: &Cluster,
    standing: &Standing,
    host: &HostName,
    state: HostState,
) -> Result<Leaving, Trouble> {
    known(cluster, host)?;
    if standing.offline.contains_key(host) {
        return Ok(Leaving::Already);
    }
    guard::hands_off(cluster, standing)?;
    let refuse = |guard, because: String| Err(not_taken_out(guard, host, because));
    if standing.owed.contains_key(host) {
        return refuse(
            Guard::G22,
            "it was replaced as writer and is kept out until it has been compared".to_owned(),
        );
    }
    if state == HostState::HardOffline {
        return refuse(
            Guard::G45,
            format!("it is {state}: its server does not answer, and it may hold no role anyway"),
        );
    }
    if state == HostState::Unknown {
        return refuse(Guard::G46, "no check has said anything about it yet".to_owned());
    }
    if standing.writer.as_ref() == Some(host) {
        return Ok(Leaving::AfterSwitchover);
    }
    Ok(Leaving::Now)
}

/// Whether a host that may be taken out can be managed right now.
///
/// # Errors
/// Refused: it cannot be reached, so neither its addresses nor its replication could be seen to.
pub fn within_reach(host: &HostName, seen: Option<&HostFacts>) -> Result<(), Trouble> {
    let why = |trouble: Option<&str>| trouble.unwrap_or("it was not asked").to_owned();
    let Some(seen) = seen else {
        return Err(not_taken_out(Guard::G24, host, "it was not asked"));
    };
    if seen.ssh.up().is_none() {
        let because = format!(
            "it cannot be managed over SSH, so no address could be taken off it: {}",
            why(seen.ssh.trouble())
        );
        return Err(not_taken_out(Guard::G09, host, because));
    }
    if seen.mysql.up().is_none() {
        let because = format!(
            "its server cannot be asked, so its replication could not be stopped: {}",
            why(seen.mysql.trouble())
        );
        return Err(not_taken_out(Guard::G24, host, because));
    }
    Ok(())
}

/// How a host comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entering {
    /// It is in service.
    Already,
    /// It waits for a person's word.
    Release,
    /// A person took it out: its replication is started first.
    Start,
}

/// Whether `host`, being in `state`, may be let back in.
///
/// # Errors
/// Usage: there is no such host. Refused: a stuck run, a replaced writer that has not been compared, or a state that only
/// its own health changes.
pub fn entering(
    cluster: &Cluster,
    standing: &Standing,
    host: &HostName,
    state: HostState,
) -> Result<Entering, Trouble> {
    known(cluster, host)?;
    guard::hands_off(cluster, standing)?;
    if standing.owed.contains_key(host) {
        return Err(not_let_in(
            Guard::G22,
            host,
            "it was replaced as writer and has not been compared with the writer of today",
        ));
    }
    if standing.offline.contains_key(host) {
        return Ok(Entering::Start);
    }
    let mends_itself = |why: &str| Err(not_let_in(Guard::G47, host, format!("it is {state}: {why}")));
    match state {
        HostState::Online => Ok(Entering::Already),
        HostState::HardOffline => mends_itself("its server does not answer"),
        HostState::ReplicationFail => mends_itself("its replication does not run"),
        HostState::ReplicationDelay => mends_itself("its replication lags too far behind"),
        HostState::Unknown => Err(not_let_in(
            Guard::G46,
            host,
            "no check has said anything about it yet",
        )),
        HostState::AwaitingRecovery | HostState::AdminOffline => Ok(Entering::Release),
    }
}

/// How its replication is brought to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// It follows the writer: starting what is stopped is enough.
    AsItIs,
    /// It follows somebody else and has nothing that the writer lacks: it is pointed to the writer.
    Follow(HostName),
}

/// How `host` may come back, from what it and the writer say of themselves.
///
/// # Errors
/// Refused: it or the writer cannot be asked, it takes writes, its data differs, or where to replicate from is not known.
pub fn way_in(
    cluster: &Cluster,
    standing: &Standing,
    facts: &Facts,
    host: &HostName,
    entering: Entering,
) -> Result<Way, Trouble> {
    let refuse = |guard, because: String| Err(not_let_in(guard, host, because));
    let Some(writer) = &standing.writer else {
        return refuse(
            Guard::G06,
            "no host is known to be the writer, so there is nobody to follow".to_owned(),
        );
    };
    for name in [host, writer] {
        let seen = facts.get(name);
        let mysql = seen.and_then(|seen| seen.mysql.trouble());
        let ssh = seen.and_then(|seen| seen.ssh.trouble()).filter(|_| name == host);
        let guard = if mysql.is_some() { Guard::G24 } else { Guard::G09 };
        if let Some(why) = mysql.or(ssh) {
            return refuse(guard, format!("`{name}` cannot be asked: {why}"));
        }
    }
    if host == writer {
        return Ok(Way::AsItIs);
    }
    let up = |name: &HostName| facts.get(name).and_then(|seen| seen.mysql.up());
    let (Some(own), Some(leading)) = (up(host), up(writer)) else {
        return refuse(Guard::G41, "it or the writer was not asked".to_owned());
    };
    if own.is_writable() {
        return refuse(
            Guard::G08,
            format!("it accepts writes although `{writer}` is the writer"),
        );
    }
    if let Some(surplus) = surplus(own, leading, |has| foreign::left_out(cluster, facts, host, has)) {
        let because = format!("it has transactions that the writer `{writer}` has not: {surplus}");
        return Err(not_let_in(Guard::G23, host, because)
            .hint("save what you need from it, then rebuild it from the writer"));
    }
    let address = cluster.host(writer).map(|host| host.address.to_string());
    let follows = own.replicas.iter().any(|channel| {
        Some(&channel.source_host) == address.as_ref() || channel.source_server_id == Some(leading.server_id)
    });
    if !follows {
        return match repair::follows_another(cluster, writer, host, facts) {
            Some(Compared::Nothing) if entering == Entering::Start => Ok(Way::Follow(writer.clone())),
            _ => {
                let sources: Vec<&str> = own.replicas.iter().map(|one| one.source_host.as_str()).collect();
                let from = if sources.is_empty() {
                    "nobody".to_owned()
                } else {
                    sources.join(", ")
                };
                refuse(
                    Guard::G48,
                    format!("it replicates from {from}, and the writer is `{writer}`"),
                )
            }
        };
    }
    if entering == Entering::Release && !own.replicas.iter().all(runs) {
        return Err(not_let_in(Guard::G35, host, "its replication does not run")
            .hint("start it by hand once what stopped it is mended; `mmm checks` says what it was"));
    }
    Ok(Way::AsItIs)
}

/// What it has that the writer has not. Only told of one that stands still: while it replicates, it may have received
/// what the writer had not written when it was looked at.
fn surplus(own: &MysqlFacts, leading: &MysqlFacts, left_out: impl Fn(History) -> History) -> Option<String> {
    if own.replicas.iter().any(|channel| channel.sql != SqlThread::No) {
        return None;
    }
    match gtid::compare(&left_out(own.history(leading)), &leading.history(own)) {
        Compared::Extra(surplus) => Some(surplus.to_string()),
        Compared::Nothing | Compared::Unknown(_) => None,
    }
}

fn runs(channel: &super::facts::ReplicationFacts) -> bool {
    channel.io == IoThread::Yes && channel.sql == SqlThread::Yes
}

fn known(cluster: &Cluster, host: &HostName) -> Result<(), Trouble> {
    if cluster.host(host).is_some() {
        return Ok(());
    }
    let names: Vec<String> = cluster
        .hosts
        .iter()
        .map(|host| format!("`{}`", host.name))
        .collect();
    Err(Trouble::new(
        Kind::Usage,
        format!("`{}` has no host `{host}`", cluster.name),
        format!("its hosts are {}", names.join(", ")),
    ))
}

fn not_taken_out(guard: Guard, host: &HostName, because: impl std::fmt::Display) -> Trouble {
    let what = format!("`{host}` was not taken out of service");
    Trouble::refused(guard, what, because).hint(guard.lifted_for(host))
}

fn not_let_in(guard: Guard, host: &HostName, because: impl std::fmt::Display) -> Trouble {
    let what = format!("`{host}` was not let back in");
    Trouble::refused(guard, what, because).hint(guard.lifted_for(host))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::evidence::Rung;
    use crate::core::facts::{GtidFacts, Reach};
    use crate::core::gtid::{MariaPosition, MariaState};
    use crate::core::moment::Moment;
    use crate::core::samples::{WRITER_ADDRESS, cluster, facts};
    use crate::core::standing::Owed;

    fn standing() -> Standing {
        Standing {
            writer: Some("db1".into()),
            ..Standing::default()
        }
    }

    fn offline(host: &str) -> Standing {
        let mut standing = standing();
        standing.offline.insert(host.into(), Moment(1));
        standing
    }

    fn owed(host: &str) -> Standing {
        let mut standing = standing();
        let owed = Owed::now(Moment(1), "r", Rung::Silence);
        standing.owed.insert(host.into(), owed);
        standing
    }

    fn leaves(standing: &Standing, host: &str, state: HostState) -> Result<Leaving, Kind> {
        leaving(&cluster(), standing, &host.into(), state).map_err(|trouble| trouble.kind)
    }

    fn enters(standing: &Standing, host: &str, state: HostState) -> Result<Entering, Kind> {
        entering(&cluster(), standing, &host.into(), state).map_err(|trouble| trouble.kind)
    }

    #[test]
    fn who_answers_may_leave_and_the_writer_hands_over_first() {
        for state in [
            HostState::Online,
            HostState::ReplicationDelay,
            HostState::ReplicationFail,
            HostState::AwaitingRecovery,
        ] {
            assert_eq!(leaves(&standing(), "db3", state), Ok(Leaving::Now));
        }
        assert_eq!(
            leaves(&standing(), "db1", HostState::Online),
            Ok(Leaving::AfterSwitchover)
        );
        assert_eq!(
            leaves(&offline("db3"), "db3", HostState::Online),
            Ok(Leaving::Already)
        );
        for (standing, host, state, kind) in [
            (standing(), "db9", HostState::Online, Kind::Usage),
            (standing(), "db3", HostState::HardOffline, Kind::Refused),
            (standing(), "db3", HostState::Unknown, Kind::Refused),
            (owed("db3"), "db3", HostState::AwaitingRecovery, Kind::Refused),
        ] {
            assert_eq!(leaves(&standing, host, state), Err(kind), "{host} {state}");
        }
    }

    #[test]
    fn only_who_waits_for_a_word_is_let_in() {
        assert_eq!(
            enters(&standing(), "db3", HostState::Online),
            Ok(Entering::Already)
        );
        assert_eq!(
            enters(&standing(), "db3", HostState::AwaitingRecovery),
            Ok(Entering::Release)
        );
        assert_eq!(
            enters(&offline("db3"), "db3", HostState::Online),
            Ok(Entering::Start)
        );
        for (standing, host, state, kind) in [
            (standing(), "db9", HostState::Online, Kind::Usage),
            (standing(), "db3", HostState::HardOffline, Kind::Refused),
            (standing(), "db3", HostState::ReplicationFail, Kind::Refused),
            (standing(), "db3", HostState::ReplicationDelay, Kind::Refused),
            (standing(), "db3", HostState::Unknown, Kind::Refused),
            (owed("db3"), "db3", HostState::AwaitingRecovery, Kind::Refused),
        ] {
            assert_eq!(enters(&standing, host, state), Err(kind), "{host} {state}");
        }
        let owed = entering(
            &cluster(),
            &owed("db3"),
            &"db3".into(),
            HostState::AwaitingRecovery,
        );
        assert!(owed.unwrap_err().hint.contains("mmm rejoin db3"));
    }

    /// A host with a position, that replicates from `source`; its threads run or do not.
    fn placed(state: &str, source: &str, runs: bool, writable: bool) -> HostFacts {
        let mut facts = facts(writable, if writable { &[WRITER_ADDRESS] } else { &[] });
        if let Reach::Up(mysql) = &mut facts.mysql {
            mysql.gtid = GtidFacts::Mariadb {
                binlog_pos: MariaPosition::default(),
                slave_pos: MariaPosition::default(),
                current_pos: MariaPosition::default(),
                binlog_state: state.parse::<MariaState>().unwrap(),
                domain_id: 0,
                strict: false,
            };
            mysql.server_id = if writable { 1 } else { 3 };
            let channel = &mut mysql.replicas[0];
            channel.source_host = source.into();
            channel.source_server_id = None;
            if !runs {
                (channel.io, channel.sql) = (IoThread::No, SqlThread::No);
            }
        }
        facts
    }

    fn way(own: HostFacts, entering: Entering) -> Result<Way, String> {
        let facts = Facts::from([
            ("db1".into(), placed("0-1-10", "10.0.0.2", true, true)),
            ("db3".into(), own),
        ]);
        way_in(&cluster(), &standing(), &facts, &"db3".into(), entering).map_err(|trouble| trouble.because)
    }

    #[test]
    fn a_host_comes_back_behind_the_writer_or_not_at_all() {
        let start = Entering::Start;
        assert_eq!(
            way(placed("0-1-9", "10.0.0.1", false, false), start),
            Ok(Way::AsItIs)
        );
        assert_eq!(
            way(placed("0-1-9", "10.0.0.2", false, false), start),
            Ok(Way::Follow("db1".into()))
        );
        let refused = |own, entering, words: &str| {
            let because = way(own, entering).unwrap_err();
            assert!(because.contains(words), "{because}");
        };
        refused(
            placed("0-1-9,0-3-11", "10.0.0.1", false, false),
            start,
            "transactions that the writer",
        );
        refused(
            placed("0-1-9", "10.0.0.2", true, false),
            Entering::Release,
            "replicates from 10.0.0.2",
        );
        refused(
            placed("0-1-9", "10.0.0.1", false, false),
            Entering::Release,
            "does not run",
        );
        refused(placed("0-1-9", "10.0.0.1", false, true), start, "accepts writes");
        refused(HostFacts::default(), start, "db3");
    }

    #[test]
    fn each_guard_blocks() {
        let blocks = |answer: Result<(), Trouble>, guard| assert_eq!(answer.unwrap_err().guard, Some(guard));
        let out = |standing: &Standing, state| {
            blocks_with(leaving(&cluster(), standing, &"db3".into(), state).err())
        };
        let back = |standing: &Standing, state| {
            blocks_with(entering(&cluster(), standing, &"db3".into(), state).err())
        };
        assert_eq!(out(&owed("db3"), HostState::AwaitingRecovery), Some(Guard::G22));
        assert_eq!(out(&standing(), HostState::HardOffline), Some(Guard::G45));
        assert_eq!(out(&standing(), HostState::Unknown), Some(Guard::G46));
        assert_eq!(back(&standing(), HostState::ReplicationFail), Some(Guard::G47));
        assert_eq!(back(&standing(), HostState::Unknown), Some(Guard::G46));
        let mut silent = facts(false, &[]);
        silent.mysql = Reach::default();
        blocks(within_reach(&"db3".into(), Some(&silent)), Guard::G24);
        silent.ssh = Reach::default();
        blocks(within_reach(&"db3".into(), Some(&silent)), Guard::G09);
        let follows = |own, entering| {
            let facts = Facts::from([
                ("db1".into(), placed("0-1-10", "10.0.0.2", true, true)),
                ("db3".into(), own),
            ]);
            blocks_with(way_in(&cluster(), &standing(), &facts, &"db3".into(), entering).err())
        };
        let elsewhere = placed("0-1-9", "10.0.0.2", true, false);
        assert_eq!(follows(elsewhere, Entering::Release), Some(Guard::G48));
        let stopped = placed("0-1-9", "10.0.0.1", false, false);
        assert_eq!(follows(stopped, Entering::Release), Some(Guard::G35));
    }

    fn blocks_with(refused: Option<Trouble>) -> Option<Guard> {
        refused.and_then(|trouble| trouble.guard)
    }

    #[test]
    fn a_host_out_of_reach_is_not_taken_out() {
        let mut seen = facts(false, &[]);
        assert!(within_reach(&"db3".into(), Some(&seen)).is_ok());
        seen.ssh = Reach::default();
        assert!(within_reach(&"db3".into(), Some(&seen)).is_err());
        assert!(within_reach(&"db3".into(), None).is_err());
    }
}
