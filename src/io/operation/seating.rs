//! Who plays which part, after the guards have been passed; and their shells, opened before anything is refused.

use futures_util::future::join_all;

use super::preparing::has_gtids;
use super::reckoning::Reckoning;
use super::{Performer, Planner, Request};
use crate::core::cluster::{HostMode, HostName};
use crate::core::evidence::Rung;
use crate::core::facts::UsingGtid;
use crate::core::guard::{self, Facts, Guard};
use crate::core::losses;
use crate::core::maintenance;
use crate::core::plan::Seats;
use crate::core::relocation;
use crate::core::standing::Standing;
use crate::core::trouble::Trouble;
use crate::io::clock;
use crate::io::shell::Trace;

/// Whether a host replicates by file and position.
pub(super) fn goes_by_files(facts: &Facts, host: &HostName) -> bool {
    let mysql = facts.get(host).and_then(|facts| facts.mysql.up());
    mysql.is_some_and(|mysql| {
        let mut channels = mysql.replicas.iter();
        channels.any(|channel| channel.using_gtid == UsingGtid::No)
    })
}

impl Planner<'_> {
    /// Who would play which part, whether or not the guards let them.
    pub(super) fn seated(
        &self,
        request: &Request,
        standing: &Standing,
        facts: &Facts,
        reckoning: &Reckoning,
    ) -> Result<(Seats, Option<Rung>), Trouble> {
        let cluster = &self.sights.entry().cluster;
        let outlook = &reckoning.outlook;
        let no_writer = || {
            let silent = facts
                .iter()
                .filter_map(|(host, facts)| Some(format!("; `{host}`: {}", facts.mysql.trouble()?)));
            Trouble::refused(
                Guard::G06,
                format!("nothing was done to `{}`", cluster.name),
                format!("no host is known to be the writer{}", silent.collect::<String>()),
            )
        };
        let pair = |outgoing, incoming| Seats {
            outgoing,
            incoming: Some(incoming),
            replicas: Vec::new(),
            donor: None,
        };
        match request {
            Request::Switchover { to, .. } => {
                let outgoing = standing.writer.clone().ok_or_else(no_writer)?;
                let incoming = guard::target(cluster, standing, facts, to.as_deref(), &reckoning.memory)?;
                if outgoing == incoming {
                    return Err(Trouble::refused(
                        Guard::G14,
                        format!("nothing was done to `{}`", cluster.name),
                        format!("`{incoming}` is the writer already"),
                    ));
                }
                Ok((self.seats(Some(outgoing), incoming, standing), None))
            }
            Request::Failover {
                outgoing,
                incoming,
                rung,
                ..
            } => {
                let mut seats = self.seats(outgoing.clone(), incoming.clone(), standing);
                // One that is down would be waited for while the old writer returns, with the lock held.
                seats.replicas.retain(|host| {
                    facts
                        .get(host)
                        .is_some_and(|facts| facts.ssh.up().is_some() && facts.mysql.up().is_some())
                });
                // One that has more than the new writer would take up a history that is none. Who goes by file and
                // position follows only if it stands level, and is kept from receiving otherwise.
                let is_told_by_gtid = has_gtids(facts);
                let is_apart = |host: &HostName| {
                    let is_ahead = outlook.apart.iter().any(|ahead| ahead.host == *host);
                    is_ahead && (is_told_by_gtid || !goes_by_files(facts, host))
                };
                seats.replicas.retain(|host| !is_apart(host));
                seats.donor = outlook.donor.as_ref().map(|donor| donor.host.clone());
                Ok((seats, Some(*rung)))
            }
            Request::Reopen { .. } => {
                let writer = standing.writer.clone().ok_or_else(no_writer)?;
                let mut seats = pair(None, writer.clone());
                seats.replicas = guard::strays(cluster, standing, facts, &writer);
                Ok((seats, None))
            }
            Request::Rejoin { host } => {
                let incoming = standing.writer.clone().ok_or_else(no_writer)?;
                Ok((pair(Some(host.clone()), incoming), None))
            }
            Request::MoveAddress { address, to } => Ok((
                pair(relocation::holder(cluster, facts, *address, to), to.clone()),
                None,
            )),
        }
    }

    /// That the operation may begin.
    ///
    /// # Errors
    /// Usage or refused, with the first thing that stands in the way.
    pub(super) fn guarded(
        &self,
        request: &Request,
        standing: &Standing,
        facts: &Facts,
        reckoning: &Reckoning,
        seats: &Seats,
    ) -> Result<(), Trouble> {
        let cluster = &self.sights.entry().cluster;
        match (request, &seats.outgoing, &seats.incoming) {
            (Request::Switchover { .. }, Some(outgoing), Some(incoming)) => {
                guard::switchover(cluster, standing, facts, outgoing, incoming, &reckoning.memory)
            }
            (
                Request::Failover {
                    incoming,
                    allow_loss,
                    automatic,
                    ..
                },
                outgoing,
                _,
            ) => {
                if *automatic {
                    maintenance::automatic_failover(cluster, standing, clock::now())?;
                }
                let accepted = allow_loss.then(|| losses::as_if_applied(facts, incoming));
                let facts = accepted.as_ref().unwrap_or(facts);
                let memory = &reckoning.memory;
                guard::failover(cluster, standing, facts, outgoing.as_ref(), incoming, memory)
            }
            // Somebody may have moved the role since it was found closed.
            (Request::Reopen { writer: found }, _, Some(writer)) => {
                guard::reopen(cluster, standing, facts, found.as_ref().unwrap_or(writer))
            }
            (Request::Rejoin { host }, _, _) => guard::rejoin(cluster, standing, host),
            (Request::MoveAddress { address, to }, _, _) => {
                relocation::allowed(cluster, standing, facts, *address, to, &reckoning.memory).map(drop)
            }
            (Request::Switchover { .. } | Request::Reopen { .. }, _, _) => Err(Trouble::refused(
                Guard::G06,
                format!("nothing was done to `{}`", cluster.name),
                "no host is known to be the writer",
            )),
        }
    }

    /// Outgoing and incoming as told; every other host that is neither kept out nor out of service follows.
    pub(super) fn seats(&self, outgoing: Option<HostName>, incoming: HostName, standing: &Standing) -> Seats {
        let cluster = &self.sights.entry().cluster;
        let replicas = cluster
            .hosts
            .iter()
            .filter(|host| Some(&host.name) != outgoing.as_ref() && host.name != incoming)
            .filter(|host| !standing.owed.contains_key(&host.name))
            .filter(|host| !standing.offline.contains_key(&host.name))
            .filter(|host| matches!(host.mode, HostMode::Master | HostMode::Slave))
            .map(|host| host.name.clone())
            .collect();
        Seats {
            outgoing,
            incoming: Some(incoming),
            replicas,
            donor: None,
        }
    }
}

impl Performer<'_> {
    /// Opens shells and SQL clients before anything is refused. In a failover only the incoming host must be there; a
    /// replica that cannot be reached is repointed later and never keeps a role from moving, and the server of a dead
    /// writer is not waited for.
    pub(super) async fn warm_seats(
        &self,
        seats: &Seats,
        rung: Option<Rung>,
        request: &Request,
        facts: &Facts,
    ) -> Result<Vec<(HostName, Trace)>, Trouble> {
        let is_outgoing = |host: &HostName| seats.outgoing.as_ref() == Some(host);
        let is_worth_it = |host: &HostName| match rung {
            None | Some(Rung::Demote) if is_outgoing(host) => true,
            None => true,
            Some(_) => facts.get(host).is_some_and(|facts| facts.ssh.up().is_some()),
        };
        let warmed = join_all(
            seats
                .everyone()
                .into_iter()
                .filter(is_worth_it)
                .map(|host| async {
                    let is_dead = rung.is_some() && is_outgoing(&host);
                    let warmed = if is_dead || request.address().is_some() {
                        self.fleet.warm_shell(&host).await
                    } else {
                        self.fleet.warm(&host).await
                    };
                    (host, warmed)
                }),
        );
        let mut shells = Vec::new();
        for (host, warmed) in warmed.await {
            let needed = seats.incoming.as_ref() == Some(&host)
                || (rung.is_none() && seats.outgoing.as_ref() == Some(&host));
            match warmed {
                Ok(trace) => shells.push((host, trace)),
                Err(trouble) if needed => return Err(trouble),
                Err(trouble) => tracing::warn!("{}: {}", trouble.what, trouble.because),
            }
        }
        Ok(shells)
    }
}
