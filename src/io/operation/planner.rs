//! How an operation would be performed, found through what can be seen alone. Whoever performs it asks here first, and a
//! plan is what was answered: there is no second way to come to it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::preparing::events_ran;
use super::{Prepared, Request, harmless};
use crate::core::basis::Basis;
use crate::core::cluster::HostName;
use crate::core::evidence::Rung;
use crate::core::gtid::{self, Compared, Surplus};
use crate::core::guard::{self, Facts};
use crate::core::mending::Call;
use crate::core::plan::{self, Seats};
use crate::core::playbook::{Operation, Seat};
use crate::core::proposal::{
    self, PLAN_VERSION, PlannedScript, PlannedStage, PlannedUndo, Proposal, Refused, Wish,
};
use crate::core::repair::{self, Fix};
use crate::core::run::Stage;
use crate::core::standing::Standing;
use crate::core::startup::{self, StartRule, Verdict};
use crate::core::trouble::{Kind, Trouble};
use crate::io::clock;
use crate::io::context::Errands;
use crate::io::sights::Sights;

/// Plans operations on one cluster. It has nothing to act with.
#[derive(Debug, Clone, Copy)]
pub struct Planner<'f> {
    pub(super) sights: Sights<'f>,
    /// A host may take the writer role in whatever state a monitor holds it to be.
    pub(super) whatever_state: bool,
}

/// A duty by itself.
#[derive(Debug, Clone)]
pub struct SingleDuty<'a> {
    /// Its name.
    pub duty: &'a str,
    /// Where, or about which host.
    pub at: &'a HostName,
    /// Performed on this box.
    pub on_box: bool,
    /// It has ended after so long.
    pub within: Duration,
    /// What its templates can name besides.
    pub errand: Errands<'a>,
}

impl<'f> Planner<'f> {
    /// Plans by what can be seen there.
    pub fn of(sights: Sights<'f>) -> Planner<'f> {
        Planner {
            sights,
            whatever_state: false,
        }
    }

    /// What it plans by.
    pub fn sights(&self) -> Sights<'f> {
        self.sights
    }

    /// The operation of that name.
    ///
    /// # Errors
    /// Usage, when the playbook has none.
    pub fn operation(&self, name: &str) -> Result<&'f Operation, Trouble> {
        self.sights.playbook().operations.get(name).ok_or_else(|| {
            Trouble::new(
                Kind::Usage,
                format!("there is no operation `{name}`"),
                "the playbooks do not define it",
            )
        })
    }

    /// What stands, with the writer that the hosts show where the record has none; and for a planned move, as for that
    /// itself, where the record is older than what they show.
    ///
    /// # Errors
    /// When the record cannot be read.
    pub fn standing(&self, facts: &Facts, is_planned_move: bool) -> Result<Standing, Trouble> {
        let cluster = &self.sights.entry().cluster;
        let mut standing = self.sights.standing()?;
        if standing.writer.is_none() {
            standing.writer = guard::observed_writer(cluster, facts);
        }
        if !is_planned_move {
            return Ok(standing);
        }
        let claims = startup::claims(cluster, &standing, facts);
        if let (StartRule::S07, Verdict::Adopt(writer)) = startup::decide(&claims, true) {
            for host in startup::to_compare(cluster, &standing, facts, &writer) {
                let owed = crate::core::standing::Owed::now(clock::now(), "", Rung::Demote);
                standing.owed.entry(host).or_insert(owed);
            }
            standing.writer = Some(writer);
        }
        Ok(standing)
    }

    /// A run ready to be conducted, and what it found out about events noted in the standing.
    pub(super) fn prepared(
        &self,
        request: &Request,
        seats: &Seats,
        rung: Option<Rung>,
        standing: &mut Standing,
        facts: &Facts,
    ) -> Result<Prepared, Trouble> {
        standing.events = events_ran(request, standing, facts);
        let operation = self.operation(request.operation_with(seats))?;
        let allow_loss = request.allows_loss();
        let mut prepared = self.prepare(operation, seats, rung, facts, standing.events, allow_loss)?;
        if let Request::Switchover {
            write_refused_max: Some(longest),
            ..
        } = request
        {
            prepared.opening.write_refused_max = Some(*longest);
        }
        prepared.opening.automatic = matches!(request, Request::Failover { automatic: true, .. });
        if let Some(address) = request.address() {
            prepared.opening.address = Some(address);
            prepared.address = Some(address);
        }
        Ok(prepared)
    }

    /// The plan of an operation, and why it would be refused now if it would.
    ///
    /// # Errors
    /// Usage, or refused: it is not even known who would play which part.
    pub async fn propose(
        &self,
        request: &Request,
        standing: &Standing,
        facts: &Facts,
    ) -> Result<Proposal, Trouble> {
        let cluster = &self.sights.entry().cluster;
        let mut standing = standing.clone();
        let reckoning = self.reckon(request, &standing, facts);
        let outlook = &reckoning.outlook;
        let (seats, rung) = self.seated(request, &standing, facts, &reckoning)?;
        let refusal = guard::hands_off(cluster, &standing)
            .and_then(|()| self.guarded(request, &standing, facts, &reckoning, &seats))
            .and_then(|()| self.comparable(request, facts, &standing))
            .err();
        let basis = Basis::of(cluster, &standing, facts, outlook);
        let prepared = self.prepared(request, &seats, rung, &mut standing, facts)?;
        let mut stages = Vec::new();
        if let Request::Rejoin { host } = request {
            stages.extend(self.made_harmless(host, facts).await?);
        }
        for stage in &prepared.opening.stages {
            stages.push(self.planned(stage, &prepared).await?);
        }
        let incoming = seats.incoming.as_ref();
        let transactions = match (request, incoming) {
            (Request::Failover { outgoing, .. }, Some(incoming)) => {
                outlook.sentences(outgoing.as_ref(), incoming)
            }
            _ => Vec::new(),
        };
        Ok(Proposal {
            wish: wish(request, incoming),
            operation: prepared.opening.operation.clone(),
            outgoing: seats.outgoing.clone(),
            incoming: seats.incoming.clone(),
            rung,
            write_refused_at_most_ms: plan::write_refused_at_most(
                &prepared.opening.stages,
                rung.is_some(),
                prepared.opening.write_refused_max,
            )
            .map(ms),
            write_refused_if_undone_ms: plan::write_refused_if_undone(
                &prepared.opening.stages,
                prepared.opening.write_refused_max,
            )
            .filter(|_| rung.is_none())
            .map(ms),
            stages,
            site_steps: proposal::around(&self.sights.entry().site, &prepared.opening.operation),
            transactions,
            rests_on: basis,
            refused: refusal.as_ref().map(Refused::from),
            ..self.blank()
        })
    }

    /// The plan of a single duty.
    ///
    /// # Errors
    /// Usage: there is no such duty, or a name in it has no value.
    pub async fn propose_duty(
        &self,
        single: &SingleDuty<'_>,
        standing: &Standing,
        facts: &Facts,
    ) -> Result<Proposal, Trouble> {
        let cluster = &self.sights.entry().cluster;
        Ok(Proposal {
            wish: Wish::Duty {
                duty: single.duty.to_owned(),
                at: single.at.clone(),
                on_box: single.on_box,
                set: BTreeMap::new(),
                within_ms: ms(single.within),
            },
            operation: single.duty.to_owned(),
            stages: vec![self.stage_of_duty(single).await?],
            rests_on: Basis::of(cluster, standing, facts, &Default::default()),
            ..self.blank()
        })
    }

    /// A duty by itself as a stage.
    ///
    /// # Errors
    /// See [`Planner::propose_duty`].
    pub(in crate::io) async fn stage_of_duty(
        &self,
        single: &SingleDuty<'_>,
    ) -> Result<PlannedStage, Trouble> {
        let SingleDuty {
            duty, at, ref errand, ..
        } = *single;
        let then = self.sights.known_then();
        let mut registered = then.clone();
        let given = errand.registered.into_iter().flatten();
        registered.extend(given.map(|(name, value)| (name.clone(), value.clone())));
        // Nothing was registered before: only what was given has a value.
        let script = self.sights.ready(at, duty, errand, single.within).await?;
        let by = self.sights.runner(at, single.on_box);
        let known = self.sights.playbook().duties.get(duty);
        let undo = match known.and_then(|duty| duty.undo.as_ref()) {
            Some(crate::core::playbook::Undo::Duty(undo)) => {
                let after = Errands {
                    registered: Some(&registered),
                    ..errand.clone()
                };
                let back = self.sights.ready(at, undo, &after, single.within).await?;
                let scripts = vec![PlannedScript::of(by.clone(), &back, &then)];
                Some(PlannedUndo {
                    duty: undo.clone(),
                    scripts,
                })
            }
            _ => None,
        };
        Ok(PlannedStage {
            section: None,
            name: script.says.clone(),
            duty: duty.to_owned(),
            seat: None,
            hosts: vec![at.clone()],
            source: errand.source.cloned(),
            within_ms: ms(single.within),
            if_possible: false,
            only_asks: known.is_some_and(|duty| duty.only_asks),
            scripts: vec![PlannedScript::of(by, &script, &then)],
            undo,
        })
    }

    /// A plan of nothing yet. The inventory's hash is for whoever has read it to fill in.
    pub(super) fn blank(&self) -> Proposal {
        Proposal {
            mmm_plan: PLAN_VERSION,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            made_at: clock::now(),
            cluster: self.sights.entry().cluster.name.clone(),
            inventory_hash: String::new(),
            playbooks_hash: self.sights.playbook().text_hash.clone(),
            wish: Wish::Reopen,
            operation: String::new(),
            outgoing: None,
            incoming: None,
            rung: None,
            write_refused_at_most_ms: None,
            write_refused_if_undone_ms: None,
            stages: Vec::new(),
            site_steps: Vec::new(),
            transactions: Vec::new(),
            rests_on: Basis::default(),
            refused: None,
        }
    }

    /// Whether a replaced writer has something that keeps it out, as far as that can be told before it stands still.
    fn comparable(&self, request: &Request, facts: &Facts, standing: &Standing) -> Result<(), Trouble> {
        let (Request::Rejoin { host }, Some(writer)) = (request, &standing.writer) else {
            return Ok(());
        };
        if standing.owed.get(host).is_some_and(|owed| owed.rebuild.is_some()) {
            let what = format!("`{host}` did not rejoin `{}`", self.sights.entry().cluster.name);
            return Err(guard::half_rebuilt(what, host));
        }
        let server = |host: &HostName| facts.get(host).and_then(|facts| facts.mysql.up());
        let (Some(returning), Some(leading)) = (server(host), server(writer)) else {
            return Ok(());
        };
        let fork = standing.owed.get(host).and_then(|owed| owed.fork.clone());
        let compared =
            gtid::compare(&returning.history(leading), &leading.history(returning)).since(fork.as_ref());
        match &compared {
            // What stands in its log is only read then.
            Compared::Extra(Surplus::Files { .. }) | Compared::Unknown(_) | Compared::Nothing => Ok(()),
            Compared::Extra(_) => {
                guard::follow_again(&self.sights.entry().cluster, host, writer, Some(&compared), true)
            }
        }
    }

    /// What is done with a replaced writer before it is compared.
    async fn made_harmless(&self, host: &HostName, facts: &Facts) -> Result<Vec<PlannedStage>, Trouble> {
        let server_is_up = facts.get(host).is_some_and(|seen| seen.mysql.up().is_some());
        // Its own refusal comes when it is tried; the rest of the plan is worth seeing.
        let (measures, trouble) = harmless::measures(self.sights.entry(), host, server_is_up);
        if let Some(trouble) = trouble {
            tracing::warn!("{}: {}", trouble.what, trouble.because);
        }
        let then = self.sights.known_then();
        let by = self.sights.runner(host, false);
        let mut stages = Vec::new();
        for measure in measures {
            let errand = Errands {
                address: measure.address,
                ..Errands::default()
            };
            let script = self
                .sights
                .ready(host, measure.duty, &errand, measure.within)
                .await?;
            stages.push(PlannedStage {
                section: None,
                name: script.says.clone(),
                duty: measure.duty.to_owned(),
                seat: None,
                hosts: vec![host.clone()],
                source: None,
                within_ms: ms(measure.within),
                if_possible: false,
                only_asks: false,
                scripts: vec![PlannedScript::of(by.clone(), &script, &then)],
                undo: None,
            });
        }
        // What is taken from it and held by others too, they announce, or clients would go on asking it.
        let cluster = &self.sights.entry().cluster;
        let held = repair::held(cluster, facts).into_iter();
        let shared = held.filter(|(_, holders)| holders.contains(host));
        let fixes: Vec<Fix> = shared
            .flat_map(|(ip, holders)| {
                let others = holders.into_iter().filter(|holder| holder != host);
                others
                    .map(move |holder| Fix::Announce(holder, ip))
                    .collect::<Vec<_>>()
            })
            .collect();
        let calls: Vec<Call<'_>> = fixes.iter().flat_map(|fix| fix.calls(cluster)).collect();
        let announced = self.stages_of(&calls, facts).await?.into_iter();
        stages.extend(announced.map(|stage| PlannedStage {
            if_possible: true,
            ..stage
        }));
        Ok(stages)
    }

    async fn planned(&self, stage: &Stage, prepared: &Prepared) -> Result<PlannedStage, Trouble> {
        let undo = match &stage.undo {
            Some(undo) => Some(PlannedUndo {
                duty: undo.clone(),
                scripts: self.scripts(stage, undo, prepared).await?,
            }),
            None => None,
        };
        Ok(PlannedStage {
            section: Some(stage.section),
            name: stage.name.clone(),
            duty: stage.duty.clone(),
            seat: Some(stage.seat),
            hosts: stage.hosts.clone(),
            source: stage.source.clone(),
            within_ms: ms(stage.within),
            if_possible: stage.if_possible,
            only_asks: stage.only_asks,
            scripts: self.scripts(stage, &stage.duty, prepared).await?,
            undo,
        })
    }

    /// What each host of a stage is sent for a duty.
    async fn scripts(
        &self,
        stage: &Stage,
        duty: &str,
        prepared: &Prepared,
    ) -> Result<Vec<PlannedScript>, Trouble> {
        let then = self.sights.known_then();
        let mut registered: BTreeMap<String, String> = then.clone();
        // What is known now, such as whether events run, decides which steps there are.
        registered.extend(prepared.given.clone());
        let errand = Errands {
            address: prepared.address,
            source: stage.source.as_ref(),
            registered: Some(&registered),
            with: Some(&stage.with),
            gtid: prepared.gtid,
            environment: None,
            old: None,
        };
        let mut scripts = Vec::new();
        for host in &stage.hosts {
            let script = self.sights.ready(host, duty, &errand, stage.within).await?;
            let by = self.sights.runner(host, stage.seat == Seat::Monitor);
            scripts.push(PlannedScript::of(by, &script, &then));
        }
        Ok(scripts)
    }
}

pub(super) fn ms(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// What was asked for, with everything decided.
fn wish(request: &Request, incoming: Option<&HostName>) -> Wish {
    let to = incoming.cloned().unwrap_or_else(|| HostName(String::new()));
    match request {
        Request::Switchover {
            write_refused_max, ..
        } => Wish::Switchover {
            to,
            write_refused_max_ms: write_refused_max.map(ms),
            catch_up_first: false,
        },
        Request::Failover { allow_loss, .. } => Wish::Failover {
            to,
            allow_loss: *allow_loss,
            allow_unfenced: None,
        },
        Request::Reopen { .. } => Wish::Reopen,
        Request::Rejoin { host } => Wish::Rejoin {
            host: host.clone(),
            discards: None,
        },
        Request::MoveAddress { address, to } => Wish::MoveAddress {
            address: *address,
            to: to.clone(),
        },
    }
}
