//! What a monitor does between operations, under the same lock: repairs, and the return of replaced writers.

use std::net::IpAddr;
use std::time::Duration;

use crate::core::cluster::HostName;
use crate::core::event::Event;
use crate::core::evidence::Rung;
use crate::core::facts::{HostFacts, MysqlFacts};
use crate::core::gtid::{self, Compared, Surplus};
use crate::core::guard::{self, Facts};
use crate::core::losses;
use crate::core::mending::{Call, IS_IT_FREE};
use crate::core::mode::Deed;
use crate::core::repair::{self, Fix};
use crate::core::roles::Eligible;
use crate::core::script::{DutyOutcome, DutyReport};
use crate::core::standing::{NAMED, Owed, Return, Standing};
use crate::core::startup;
use crate::core::trouble::{Kind, Trouble};
use crate::io::chore::Chore;
use crate::io::clock;
use crate::io::conductor::describe;
use crate::io::context::Errands;
use crate::io::hold::Hold;
use crate::io::operation::{Performed, Performer, Request, harmless, has_gtids};
use crate::io::settle;

/// How a replaced writer comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Returning {
    /// It was asked for, or is due.
    Asked,
    /// As a part of what has touched the host already: whether it is late counts no more.
    Begun,
    /// A person has rebuilt it by other means than ours.
    Rebuilt,
}

impl Performer<'_> {
    /// Puts back what is out of place, found anew from fresh facts with the lock held.
    ///
    /// # Errors
    /// When the lock is held elsewhere (nothing is wrong with that), or a fix failed.
    pub async fn repair(&self, eligible: &Eligible) -> Result<(), Trouble> {
        self.dir.prepare()?;
        let hold = Hold::take(self.fleet, &self.dir, "repair", self.lock_wait).await?;
        let repaired = self.repair_held(eligible).await;
        self.fleet.cool().await;
        hold.release().await;
        repaired
    }

    async fn repair_held(&self, eligible: &Eligible) -> Result<(), Trouble> {
        let mut standing = self.dir.load()?;
        if !self.may(&standing, Deed::Repair) {
            return Ok(());
        }
        let facts = self.fleet.look_everywhere().await;
        let facts = settle::open_runs(self, &mut standing, facts).await?;
        if standing.hands_off.is_some() {
            return Ok(());
        }
        let fixes = repair::fixes(&self.fleet.entry().cluster, &standing, eligible, &facts);
        self.forget_placements(eligible, &mut standing);
        self.apply_all(fixes, &mut standing).await
    }

    /// Where a person put an address it stays while its host may hold it, and no longer.
    fn forget_placements(&self, eligible: &Eligible, standing: &mut Standing) {
        let before = standing.placed.len();
        standing
            .placed
            .retain(|_, host| eligible.to_hold.contains(host) || eligible.to_keep.contains(host));
        if standing.placed.len() != before {
            self.remember(standing);
        }
    }

    /// Applies a fix: by itself, or as a part of work by hand that writes it down.
    async fn apply(&self, fix: &Fix, mut chore: Option<&mut Chore>) -> Result<(), String> {
        for call in fix.calls(&self.fleet.entry().cluster) {
            let done = match chore.as_deref_mut() {
                Some(chore) => chore.call(self, &call).await,
                None => self.call(&call).await,
            };
            done.map_err(|because| match (call.duty, call.address) {
                (IS_IT_FREE, Some(ip)) => {
                    format!("{ip} was not brought up, since another machine answers for it: {because}")
                }
                _ => because,
            })?;
        }
        Ok(())
    }

    /// Performs one duty of a fix and says why it did not end well.
    pub(super) async fn call(&self, call: &Call<'_>) -> Result<(), String> {
        self.duty(call.host, call.duty, &Errands::of(call), call.within)
            .await
    }

    /// Makes a replaced writer that has just been met harmless: read-only, its replication stopped, without addresses.
    /// Nobody else is waited for, since whoever opens it must hold its own lock, and it is done even when nothing can be written down on this box.
    ///
    /// # Errors
    /// When the lock is held elsewhere, or the host did not obey.
    pub async fn quarantine_met(&self, host: &HostName) -> Result<(), Trouble> {
        let purpose = format!("quarantine of {host}");
        let hosts = self.fleet.entry().cluster.hosts.iter().map(|host| &host.name);
        let others: Vec<HostName> = hosts.filter(|other| *other != host).cloned().collect();
        let hold = Hold::take_for_failover(self.fleet, &self.dir, &purpose, self.lock_wait, &others).await?;
        let done = self.quarantine_met_held(host).await;
        self.fleet.cool().await;
        hold.release().await;
        done
    }

    async fn quarantine_met_held(&self, host: &HostName) -> Result<(), Trouble> {
        let mut standing = self.dir.load()?;
        if !self.may(&standing, Deed::Quarantine) {
            return Ok(());
        }
        let seen = self.fleet.look(host).await;
        if !repair::must_be_quarantined(&standing, host, &seen) {
            return Ok(());
        }
        self.close_met(&mut standing, host, &seen).await
    }

    async fn close_met(
        &self,
        standing: &mut Standing,
        host: &HostName,
        seen: &HostFacts,
    ) -> Result<(), Trouble> {
        let mut fixes = vec![Fix::Quarantine(host.clone())];
        let cluster = &self.fleet.entry().cluster;
        let held = |ip: &IpAddr| seen.ssh.up().is_some_and(|shell| shell.holds(*ip));
        for ip in cluster
            .roles
            .iter()
            .flat_map(|role| role.addresses.iter().copied())
            .filter(held)
        {
            fixes.push(Fix::RemoveAddress(host.clone(), ip));
            if let Some(writer) = standing
                .writer
                .clone()
                .filter(|_| cluster.writer_address() == Some(ip))
            {
                fixes.push(Fix::Announce(writer, ip));
            }
        }
        let taken: Vec<IpAddr> = fixes
            .iter()
            .filter_map(|fix| match fix {
                Fix::RemoveAddress(_, ip) if cluster.writer_address() != Some(*ip) => Some(*ip),
                _ => None,
            })
            .collect();
        let applied = self.apply_all(fixes, standing).await;
        self.announce_from_others(host, &taken).await;
        applied
    }

    /// Makes every replaced writer harmless that has come back since and was not met, and gives what is seen afterwards.
    /// One that does not obey is told of, and keeps nobody from anything: what it could break is guarded by itself.
    pub(super) async fn close_returned(&self, standing: &mut Standing, facts: Facts) -> Facts {
        let mut facts = facts;
        // In passive mode nobody but a person closes anything, and then by name.
        if !standing.mode.allows(Deed::Quarantine) {
            return facts;
        }
        self.forget_who_was_taken_back(standing, &mut facts).await;
        let met: Vec<HostName> = facts
            .iter()
            .filter(|(host, seen)| repair::must_be_quarantined(standing, host, seen))
            // Another box may have made it the writer again, and this record be the older one.
            .filter(|(host, _)| !startup::has_taken_over(&self.fleet.entry().cluster, standing, &facts, host))
            .map(|(host, _)| host.clone())
            .collect();
        for host in met {
            if let Err(trouble) = self.close_met(standing, &host, &facts[&host]).await {
                self.alarm(&trouble);
            }
            let seen = self.fleet.look(&host).await;
            facts.insert(host, seen);
        }
        facts
    }

    /// What this box still owed may be done by now: another box that failed over since has taken back whom it replaced.
    async fn forget_who_was_taken_back(&self, standing: &mut Standing, facts: &mut Facts) {
        let answers = |host: &HostName| facts.get(host).is_some_and(|seen| seen.mysql.up().is_some());
        let Some(writer) = standing.writer.clone() else {
            return;
        };
        let serves = facts
            .get(&writer)
            .and_then(|seen| seen.mysql.up())
            .is_some_and(MysqlFacts::is_writable);
        if !serves || !standing.owed.keys().any(answers) {
            return;
        }
        // A host that follows may have been looked at a moment after the writer.
        facts.insert(writer.clone(), self.fleet.look(&writer).await);
        let back = startup::taken_back(&self.fleet.entry().cluster, standing, facts);
        for host in &back {
            standing.owed.remove(host);
            let what = format!(
                "{host} follows {writer} and has nothing that {writer} has not: nothing is owed any more"
            );
            self.teller.tell(Event::Noted { what });
        }
        if !back.is_empty() {
            self.remember(standing);
        }
    }

    /// After addresses were taken from a host that must not hold them: whoever else holds one says so, or clients would
    /// go on asking that host for as long as they remember it.
    async fn announce_from_others(&self, host: &HostName, taken: &[IpAddr]) {
        if taken.is_empty() {
            return;
        }
        let facts = self.fleet.look_except(std::slice::from_ref(host)).await;
        let held = repair::held(&self.fleet.entry().cluster, &facts);
        for ip in taken {
            for holder in held
                .get(ip)
                .into_iter()
                .flatten()
                .filter(|holder| *holder != host)
            {
                let fix = Fix::Announce(holder.clone(), *ip);
                match self.apply(&fix, None).await {
                    Ok(()) => self.teller.tell(Event::Repaired {
                        host: holder.clone(),
                        what: fix.to_string(),
                    }),
                    Err(because) => tracing::warn!("{holder} could not announce {ip}: {because}"),
                }
            }
        }
    }

    /// Applies fixes one after the other; one that fails does not keep the others back.
    pub(super) async fn apply_all(&self, fixes: Vec<Fix>, standing: &mut Standing) -> Result<(), Trouble> {
        self.apply_all_in(None, fixes, standing).await
    }

    /// As [`Performer::apply_all`], as a part of work by hand where there is one.
    pub(super) async fn apply_all_in(
        &self,
        mut chore: Option<&mut Chore>,
        fixes: Vec<Fix>,
        standing: &mut Standing,
    ) -> Result<(), Trouble> {
        let mut failed = Vec::new();
        for fix in fixes {
            match self.apply(&fix, chore.as_deref_mut()).await {
                Ok(()) => {
                    if let Fix::Quarantine(host) = &fix
                        && standing
                            .owed
                            .get(host)
                            .is_some_and(|owed| owed.progress == Return::Awaited)
                    {
                        self.progress(standing, host, Return::Quarantined);
                    }
                    if let Fix::Follow(host, _) = &fix
                        && standing.to_follow.remove(host)
                    {
                        self.remember(standing);
                    }
                    self.teller.tell(Event::Repaired {
                        host: fix.host().clone(),
                        what: fix.to_string(),
                    });
                }
                Err(because) => failed.push(format!("{}: {because}", fix.host())),
            }
        }
        if failed.is_empty() {
            return Ok(());
        }
        Err(Trouble::new(
            Kind::Wrong,
            "not everything could be put back where it belongs",
            failed.join("; "),
        ))
    }

    /// Performs one duty and says why it did not end well.
    pub(super) async fn duty(
        &self,
        host: &HostName,
        duty: &str,
        errand: &Errands<'_>,
        within: Duration,
    ) -> Result<(), String> {
        match self.fleet.act(host, duty, errand, within).await {
            Ok(DutyReport {
                outcome: DutyOutcome::Done,
                ..
            }) => Ok(()),
            Ok(report) => Err(describe(&report)),
            Err(trouble) => Err(format!("{}: {}", trouble.what, trouble.because)),
        }
    }

    /// Brings a replaced writer back: makes it harmless, compares it, and lets it follow if it has nothing extra.
    ///
    /// # Errors
    /// Refused: it is not due, cannot be reached, or has something extra. How a rejoin that was begun ended is in the
    /// answer.
    pub async fn take_back(&self, host: &HostName) -> Result<Performed, Trouble> {
        self.take_back_as(host, Returning::Asked).await
    }

    /// The same, for one that comes back by that way.
    ///
    /// # Errors
    /// See [`Performer::take_back`].
    pub async fn take_back_as(&self, host: &HostName, way: Returning) -> Result<Performed, Trouble> {
        self.network.require(&format!("the return of `{host}`")).await?;
        self.dir.prepare()?;
        let hold = Hold::take(
            self.fleet,
            &self.dir,
            &format!("return of {host}"),
            self.lock_wait,
        )
        .await?;
        let performed = self.take_back_held(host, way).await;
        self.fleet.cool().await;
        hold.release().await;
        performed
    }

    pub(super) async fn take_back_held(&self, host: &HostName, way: Returning) -> Result<Performed, Trouble> {
        let mut standing = self.dir.load()?;
        self.permit(&standing, Deed::Rejoin)?;
        let facts = self.fleet.look_everywhere().await;
        let what = format!("the return of `{host}`");
        let is_begun = way == Returning::Begun;
        let in_time = || if is_begun { Ok(()) } else { self.in_time_for(&what) };
        in_time()?;
        let facts = settle::open_runs(self, &mut standing, facts).await?;
        // A monitor comes again every moment: it does so when it starts.
        if !self.by_itself {
            settle::chores(self, &standing, &facts).await;
        }
        let cluster = &self.fleet.entry().cluster;
        self.require_as_planned(&Request::Rejoin { host: host.clone() }, &standing, &facts)
            .await?;
        guard::rejoin(cluster, &standing, host)?;
        self.not_being_rebuilt(host)?;
        if way != Returning::Begun && !self.by_itself {
            settle::nothing_left_at(self, &what, &[host])?;
        }
        in_time()?;
        self.quarantine(
            host,
            facts.get(host).is_some_and(|facts| facts.mysql.up().is_some()),
        )
        .await?;
        let owed_before = standing.owed.get(host).cloned();
        let is_half_rebuilt = way == Returning::Asked && self.is_half_rebuilt(host, &standing)?;
        if !is_half_rebuilt
            && let Some(owed) = standing.owed.get_mut(host)
            && owed.rebuild.take().is_some()
        {
            self.remember(&mut standing);
        }
        if !is_half_rebuilt {
            self.progress(&mut standing, host, Return::Quarantined);
        }
        let taken: Vec<IpAddr> = repair::held(cluster, &facts)
            .into_iter()
            .filter(|(_, holders)| holders.contains(host))
            .map(|(ip, _)| ip)
            .collect();
        self.announce_from_others(host, &taken).await;
        if is_half_rebuilt {
            let what = format!("`{host}` did not rejoin `{}`", cluster.name);
            return Err(guard::half_rebuilt(what, host));
        }
        let facts = self.fleet.look_everywhere().await;
        let writer = standing.writer.clone().unwrap_or_else(|| host.clone());
        let both = facts
            .get(host)
            .and_then(|facts| facts.mysql.up())
            .zip(facts.get(&writer).and_then(|facts| facts.mysql.up()));
        let fork = standing.owed.get(host).and_then(|owed| owed.fork.clone());
        let compared = match both {
            Some((returning, leading)) => {
                let compared = gtid::compare(&returning.history(leading), &leading.history(returning));
                let compared = self.read_on(host, compared, leading.server_id).await;
                Some(compared.since(fork.as_ref()))
            }
            None => None,
        };
        if let Some(compared) = &compared {
            self.tell_exact_loss(&mut standing, host, &writer, compared);
        }
        let mut ways_out = None;
        if let (Some(Compared::Extra(surplus)), Some((returning, _))) = (&compared, both) {
            let owed = owed_before
                .clone()
                .unwrap_or_else(|| Owed::now(clock::now(), NAMED, Rung::Silence));
            let rows = match self.saved_rows(host, returning, surplus, &owed).await {
                Ok(file) => Some(file),
                Err(why) => {
                    tracing::warn!("the rows that only {host} has could not be saved: {why}");
                    None
                }
            };
            ways_out = Some(losses::ways_out(host, rows.as_deref()));
            let surplus = surplus.to_string();
            self.progress(&mut standing, host, Return::KeptOut { surplus, rows });
        }
        // One of a pair that followed the other before knows its place in the other's log.
        let address = cluster.host(&writer).map(|writer| writer.address.to_string());
        let goes_on = both.is_some_and(|(returning, _)| {
            returning
                .replicas
                .first()
                .is_some_and(|channel| Some(&channel.source_host) == address.as_ref())
        });
        let knows_its_place = goes_on || has_gtids(&facts);
        guard::follow_again(cluster, host, &writer, compared.as_ref(), knows_its_place).map_err(
            |refusal| match ways_out {
                Some(ways_out) => refusal.hint(ways_out),
                None => refusal,
            },
        )?;
        self.perform_held(&Request::Rejoin { host: host.clone() }, &[])
            .await
    }

    /// Without GTIDs a log that goes on behind what the writer received need not hold transactions: a server that
    /// restarts begins a new file. So what stands there is read.
    async fn read_on(&self, host: &HostName, compared: Compared, writer: u32) -> Compared {
        let Compared::Extra(Surplus::Files { from, .. }) = &compared else {
            return compared;
        };
        match self.fleet.logged_since(host, from, writer).await {
            Ok(None) => Compared::Nothing,
            Ok(Some(_)) => compared,
            Err(why) => Compared::Unknown(format!(
                "what stands in its log behind `{from}` is not known: {why}"
            )),
        }
    }

    /// Read-only, without addresses and replication; a server that was kept stopped is started that way.
    async fn quarantine(&self, host: &HostName, server_is_up: bool) -> Result<(), Trouble> {
        let (measures, trouble) = harmless::measures(self.fleet.entry(), host, server_is_up);
        for measure in measures {
            let errand = Errands {
                address: measure.address,
                ..Errands::default()
            };
            self.duty(host, measure.duty, &errand, measure.within)
                .await
                .map_err(|because| harmless::could_not(host, because))?;
        }
        match trouble {
            Some(trouble) => Err(trouble),
            None => Ok(()),
        }
    }

    fn progress(&self, standing: &mut Standing, host: &HostName, progress: Return) {
        if let Some(owed) = standing.owed.get_mut(host)
            && owed.progress != progress
        {
            owed.progress = progress;
            self.remember(standing);
        }
    }
}
