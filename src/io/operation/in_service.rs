//! Plans of taking a host out of service and of letting it back in: several operations and duties in a row, shown and held
//! against what is found as one.

use super::{Performer, Planner, Request, SingleDuty, uses_gtid};
use crate::core::basis::Basis;
use crate::core::clearing;
use crate::core::cluster::HostName;
use crate::core::guard::Facts;
use crate::core::hosts::HostState;
use crate::core::mending::Call;
use crate::core::proposal::{PlannedStage, Proposal, Wish};
use crate::core::release::{self, Entering, Leaving};
use crate::core::standing::Standing;
use crate::core::trouble::Trouble;
use crate::io::clock;
use crate::io::context::Errands;

impl Planner<'_> {
    /// The plan of [`Performer::take_out`].
    ///
    /// # Errors
    /// Usage or refused: it would not be begun, and why.
    pub async fn propose_leaving(
        &self,
        host: &HostName,
        state: HostState,
        online: &[HostName],
        standing: &Standing,
        facts: &Facts,
    ) -> Result<Proposal, Trouble> {
        let cluster = &self.sights().entry().cluster;
        let leaving = release::leaving(cluster, standing, host, state)?;
        release::within_reach(host, facts.get(host))?;
        let mut after = standing.clone();
        let mut plan = if leaving == Leaving::AfterSwitchover {
            let first = Request::Switchover {
                to: None,
                write_refused_max: None,
            };
            let plan = self.propose(&first, standing, facts).await?;
            after.writer.clone_from(&plan.incoming);
            plan
        } else {
            self.resting_on(standing, facts)
        };
        plan.wish = Wish::SetOffline { host: host.clone() };
        "set-offline".clone_into(&mut plan.operation);
        after.offline.insert(host.clone(), clock::now());
        let clearing = clearing::clearing(cluster, &after, host, online, facts);
        // The switchover has moved the writer's address, and lets the host follow.
        let is_moved = |ip| leaving == Leaving::AfterSwitchover && cluster.writer_address() == ip;
        let fixes = clearing.fixes.iter().filter(|fix| !is_moved(fix.address()));
        let mut calls: Vec<Call<'_>> = fixes.flat_map(|fix| fix.calls(cluster)).collect();
        if clearing.replicates || leaving == Leaving::AfterSwitchover {
            calls.push(clearing::stop(host));
        }
        plan.stages.extend(self.stages_of(&calls, facts).await?);
        Ok(plan)
    }

    /// The plan of [`Performer::let_in`].
    ///
    /// # Errors
    /// Usage or refused: it would not be begun, and why.
    pub async fn propose_entering(
        &self,
        host: &HostName,
        state: HostState,
        standing: &Standing,
        facts: &Facts,
    ) -> Result<Proposal, Trouble> {
        let cluster = &self.sights().entry().cluster;
        let entering = release::entering(cluster, standing, host, state)?;
        let mut plan = Proposal {
            wish: Wish::SetOnline { host: host.clone() },
            operation: "set-online".to_owned(),
            ..self.resting_on(standing, facts)
        };
        if entering == Entering::Already {
            return Ok(plan);
        }
        let way = release::way_in(cluster, standing, facts, host, entering)?;
        let seen = facts.get(host).and_then(|seen| seen.mysql.up());
        let (fix, call) = clearing::starting(host, entering, &way, seen);
        let fixes = fix.iter().flat_map(|fix| fix.calls(cluster));
        let calls: Vec<Call<'_>> = fixes.chain(call).collect();
        plan.stages = self.stages_of(&calls, facts).await?;
        Ok(plan)
    }

    fn resting_on(&self, standing: &Standing, facts: &Facts) -> Proposal {
        let cluster = &self.sights().entry().cluster;
        Proposal {
            rests_on: Basis::of(cluster, standing, facts, &Default::default()),
            ..self.blank()
        }
    }

    /// Those calls as stages, in order.
    pub(in crate::io) async fn stages_of(
        &self,
        calls: &[Call<'_>],
        facts: &Facts,
    ) -> Result<Vec<PlannedStage>, Trouble> {
        let mut stages = Vec::new();
        for call in calls {
            let errand = Errands::of(call);
            let single = SingleDuty {
                duty: call.duty,
                at: call.host,
                on_box: false,
                within: call.within,
                errand: Errands {
                    gtid: errand.gtid && uses_gtid(facts),
                    ..errand
                },
            };
            stages.push(self.stage_of_duty(&single).await?);
        }
        Ok(stages)
    }
}

impl Performer<'_> {
    /// Whom a kept plan gives the role to; none leaves it to the election.
    pub(in crate::io) fn planned_successor(&self) -> Option<String> {
        let incoming = self.expects.as_ref()?.incoming.as_ref()?;
        Some(incoming.to_string())
    }
}
