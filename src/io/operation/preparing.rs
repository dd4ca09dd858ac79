//! An operation with its seats filled, ready to be conducted.

use std::net::IpAddr;

use super::{Planner, Request};
use crate::config::inventory::Service;
use crate::config::template;
use crate::core::cluster::HostName;
use crate::core::evidence::Rung;
use crate::core::facts::{EventScheduler, Flavour, UsingGtid};
use crate::core::guard::Facts;
use crate::core::losses;
use crate::core::plan::{self, FenceDuty, Seats, Unskippable};
use crate::core::playbook::{Operation, OperationStep};
use crate::core::run::Stage;
use crate::core::semi_sync::SemiSyncUse;
use crate::core::standing::Standing;
use crate::core::trouble::{Kind, Trouble};
use crate::io::clock;
use crate::io::conductor::Registered;
use crate::io::journal::{Opening, REJOIN};
use crate::io::shell::Trace;

/// The duty that keeps a dead writer's server stopped.
const KEEPS_STOPPED: &str = "keep-stopped";
/// What stands in for it where nothing would start the server again.
const SERVER_IS_GONE: &str = "server-is-gone";

/// The writer takes writes again.
const REOPEN: &str = "reopen";

/// A run ready to be conducted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// What its journal opens with.
    pub opening: Opening,
    /// The floating address it moves.
    pub address: Option<IpAddr>,
    /// Whether replicas find their place by GTID.
    pub gtid: bool,
    /// Values known before the first step.
    pub given: Registered,
    /// What would be left of the shells it uses.
    pub shells: Vec<(HostName, Trace)>,
}

/// Whether the cluster's replication runs by GTID, as most of its channels do.
pub fn uses_gtid(facts: &Facts) -> bool {
    let channels = facts
        .values()
        .filter_map(|facts| facts.mysql.up())
        .flat_map(|mysql| &mysql.replicas);
    let (with, without): (Vec<_>, Vec<_>) = channels.partition(|channel| channel.using_gtid != UsingGtid::No);
    with.len() >= without.len()
}

/// Whether hosts can be told their new place by GTID though they replicate by file and position: MariaDB counts both.
pub fn has_gtids(facts: &Facts) -> bool {
    let mut servers = facts.values().filter_map(|facts| facts.mysql.up()).peekable();
    let is_known = servers.peek().is_some();
    uses_gtid(facts) || is_known && servers.all(|mysql| mysql.version.flavour == Flavour::Mariadb)
}

/// Whether an operation tells hosts their new place by GTID. Where nobody could note a position before, only GTIDs tell where
/// a host must go on.
pub fn goes_by_gtid(operation: &str, rung: Option<Rung>, facts: &Facts) -> bool {
    if rung.is_some() || operation == REJOIN {
        has_gtids(facts)
    } else {
        uses_gtid(facts)
    }
}

/// Whether events ran on the writer: seen now, remembered by the monitor, or on disk from an earlier operation.
pub(super) fn events_ran(request: &Request, standing: &Standing, facts: &Facts) -> Option<bool> {
    let writer = standing
        .writer
        .as_ref()
        .and_then(|writer| facts.get(writer)?.mysql.up());
    let seen = writer
        .filter(|mysql| mysql.is_writable())
        .map(|mysql| mysql.event_scheduler == EventScheduler::On);
    let told = match request {
        Request::Failover { events, .. } => *events,
        _ => None,
    };
    seen.or(told).or(standing.events)
}

/// What operations are given to start with: whether events ran on the host that was the writer, and whether that host
/// obeyed when it was taken out of service; who hands over first what it has more, and whether a person goes on without
/// what cannot be had; whether commits wait for replicas.
pub(super) fn known_before(
    rung: Option<Rung>,
    events: Option<bool>,
    donor: Option<&HostName>,
    allow_loss: bool,
    semi_sync: SemiSyncUse,
) -> Registered {
    let events = if events == Some(true) { "ON" } else { "OFF" };
    let obeyed = match rung {
        None | Some(Rung::Demote) => "yes",
        Some(Rung::Fence | Rung::Silence | Rung::Word(_)) => "no",
    };
    Registered::from([
        ("event_scheduler".to_owned(), events.to_owned()),
        ("outgoing_obeyed".to_owned(), obeyed.to_owned()),
        (
            "donor".to_owned(),
            donor.map(ToString::to_string).unwrap_or_default(),
        ),
        (
            "allow_loss".to_owned(),
            if allow_loss { "yes" } else { "no" }.to_owned(),
        ),
        ("semi_sync".to_owned(), semi_sync.word().to_owned()),
    ])
}

/// What hosts show that decides which steps there are: whether the writer's address is taken from others before the writer
/// is opened again, and whether the host that takes over stands still although it has applied everything.
fn known_of_hosts(operation: &Operation, seats: &Seats, facts: &Facts) -> Registered {
    let has_strays = operation.name == REOPEN && !seats.replicas.is_empty();
    let incoming = seats.incoming.as_ref().and_then(|host| facts.get(host));
    let is_stopped = incoming
        .and_then(|facts| facts.mysql.up())
        .is_some_and(losses::stands_still);
    let said = |holds| if holds { "yes" } else { "no" }.to_owned();
    Registered::from([
        ("strays".to_owned(), said(has_strays)),
        ("standby_stopped".to_owned(), said(is_stopped)),
    ])
}

/// `20261122-104832-123`: sorts by time, unique on one box while the lock is held.
pub(in crate::io) fn run_stamp() -> String {
    let text = clock::now().to_string();
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    format!("{}-{}-{}", &digits[..8], &digits[8..14], &digits[14..])
}

/// The operation demands something of a host that does not obey.
fn cannot_be_left_out(operation: &str, unskippable: &Unskippable) -> Trouble {
    Trouble::new(
        Kind::Usage,
        format!("`{operation}` cannot be planned for a host that does not obey"),
        format!(
            "its step `{}` at that host says neither `or_fenced` nor `if_possible`",
            unskippable.step
        ),
    )
    .hint("say `or_fenced: true` in the step if a fence, or the declared exception, may stand in for it")
}

impl Planner<'_> {
    /// The stages of an operation and everything its journal opens with.
    ///
    /// # Errors
    /// Usage: a template of the operation cannot be filled, or a step at a host that does not obey cannot be left out.
    pub fn prepare(
        &self,
        operation: &Operation,
        seats: &Seats,
        rung: Option<Rung>,
        facts: &Facts,
        events: Option<bool>,
        allow_loss: bool,
    ) -> Result<Prepared, Trouble> {
        let entry = self.sights.entry();
        let gtid = goes_by_gtid(&operation.name, rung, facts);
        let fence = seats
            .outgoing
            .as_ref()
            .and_then(|host| entry.hosts.get(host))
            .and_then(|host| {
                host.fence.as_ref().map(|fence| FenceDuty {
                    duty: fence.duty.clone(),
                    with: fence.with.clone(),
                })
            });
        let is_dead = rung.is_some();
        let semi_sync = SemiSyncUse::of(facts, seats.outgoing.as_ref(), seats.incoming.as_ref(), is_dead);
        let mut given = known_before(rung, events, seats.donor.as_ref(), allow_loss, semi_sync);
        given.extend(known_of_hosts(operation, seats, facts));
        let mut context = template::Context::default();
        context.set("replication", serde_json::json!({ "gtid": gtid }));
        let policy = &entry.cluster.switchover;
        context.set("switchover", serde_json::json!({ "read_lock": policy.read_lock }));
        for (name, value) in &given {
            context.set(name, value);
        }
        let mut malformed = None;
        for (_, step) in operation.steps() {
            if let Some(Err(error)) = step.when.as_deref().map(|when| template::holds(when, &context)) {
                malformed.get_or_insert((step.name.clone(), error));
            }
        }
        let keep = |step: &OperationStep| {
            step.when
                .as_deref()
                .is_none_or(|when| template::holds(when, &context).is_ok_and(|holds| holds))
        };
        let mut stages = plan::stages(
            self.sights.playbook(),
            operation,
            seats,
            rung,
            fence.as_ref(),
            keep,
        )
        .map_err(|unskippable| cannot_be_left_out(&operation.name, &unskippable))?;
        self.speak_to_service(&mut stages);
        if let Some((step, error)) = malformed {
            return Err(Trouble::new(
                Kind::Usage,
                format!("step `{step}` of `{}` cannot be planned", operation.name),
                error,
            ));
        }
        let run = format!("{}-{}", operation.name, run_stamp());
        Ok(Prepared {
            opening: Opening {
                run,
                operation: operation.name.clone(),
                outgoing: seats.outgoing.clone(),
                incoming: seats.incoming.clone(),
                rung,
                automatic: false,
                address: None,
                chore: None,
                write_refused_max: rung.is_none().then_some(policy.write_refused_max),
                stages,
            },
            address: entry.cluster.writer_address(),
            gtid,
            given,
            shells: Vec::new(),
        })
    }

    /// Whoever restarts a host's server is told by the duties that the inventory names; where nothing does, nothing is
    /// told, and the server must be gone by itself.
    fn speak_to_service(&self, stages: &mut [Stage]) {
        let service = |stage: &Stage| {
            stage
                .hosts
                .first()
                .and_then(|host| self.sights.entry().hosts.get(host))
                .map(|host| &host.service)
        };
        for stage in stages.iter_mut().filter(|stage| stage.duty == KEEPS_STOPPED) {
            match service(stage) {
                Some(Service::Duties {
                    keep_stopped,
                    allow_start,
                }) => {
                    stage.duty.clone_from(keep_stopped);
                    stage.undo = Some(allow_start.clone());
                }
                Some(Service::None) => {
                    stage.duty = SERVER_IS_GONE.to_owned();
                    stage.undo = None;
                }
                Some(Service::Systemd { .. }) | None => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::facts::Reach;
    use crate::core::samples;

    #[test]
    fn a_failover_and_a_return_go_by_gtid_where_only_positions_are_used_so_far() {
        let mut host = samples::facts(false, &[]);
        if let Reach::Up(mysql) = &mut host.mysql {
            mysql.replicas[0].using_gtid = UsingGtid::No;
        }
        let facts = Facts::from([("db2".into(), host)]);
        assert!(!goes_by_gtid("switchover", None, &facts));
        assert!(goes_by_gtid("failover", Some(Rung::Demote), &facts));
        assert!(goes_by_gtid(REJOIN, None, &facts));
    }
}
