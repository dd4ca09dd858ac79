//! Whether a plan that was kept still is the plan: what it rests on is held against what is found now.

use super::{Performer, Planner, Request};
use crate::core::basis::Basis;
use crate::core::guard::{Facts, Guard};
use crate::core::losses::Outlook;
use crate::core::proposal::{Proposal, Wish};
use crate::core::standing::Standing;
use crate::core::trouble::Trouble;
use crate::io::sights::Sights;

impl Performer<'_> {
    /// What plans are made through: the same code, and no way to touch anything.
    pub fn planner(&self) -> Planner<'_> {
        let forces = |plan: &Proposal| {
            matches!(
                plan.wish,
                Wish::Switchover {
                    catch_up_first: true,
                    ..
                }
            )
        };
        Planner {
            whatever_state: self.whatever_state || self.expects.as_deref().is_some_and(forces),
            ..Planner::of(Sights::of(self.fleet, &self.dir))
        }
    }

    /// That a plan that is carried out would be made just so now.
    ///
    /// # Errors
    /// Refused: what it rests on has changed, and how.
    pub(in crate::io) async fn require_as_planned(
        &self,
        request: &Request,
        standing: &Standing,
        facts: &Facts,
    ) -> Result<(), Trouble> {
        let Some(plan) = &self.expects else { return Ok(()) };
        let mut plan = (**plan).clone();
        match &plan.wish {
            // The whole way was held against it before its first act.
            Wish::SetOffline { .. }
            | Wish::Rejoin {
                discards: Some(_), ..
            } => return Ok(()),
            // So was this, and what has caught up since is not as it was.
            Wish::Switchover {
                to,
                catch_up_first: true,
                ..
            } => {
                plan.rests_on = plan.rests_on.without(to);
                plan.stages.retain(|stage| stage.section.is_some());
            }
            _ => {}
        }
        let mut standing = standing.clone();
        if let Request::Failover { outgoing, .. } = request {
            standing.writer = standing.writer.or_else(|| outgoing.clone());
        }
        let planner = self.planner();
        let differences = match planner.propose(request, &standing, facts).await {
            Ok(mut now) => {
                // Read from the same files as the plan; `mmm apply` has compared these.
                now.inventory_hash.clone_from(&plan.inventory_hash);
                if let Wish::Switchover {
                    to,
                    catch_up_first: true,
                    ..
                } = &plan.wish
                {
                    now.rests_on = now.rests_on.without(to);
                }
                plan.differences(&now)
            }
            Err(trouble) => {
                let outlook = planner.reckon(request, &standing, facts).outlook;
                return Err(self.why_not_planned(&plan, trouble, &standing, facts, &outlook));
            }
        };
        unchanged(&plan, &differences)
    }

    /// That a kept plan of several operations or duties in a row would be made just so now.
    ///
    /// # Errors
    /// Refused: what it rests on has changed, and how.
    pub(in crate::io) fn require_same_way(
        &self,
        now: Result<Proposal, Trouble>,
        standing: &Standing,
        facts: &Facts,
    ) -> Result<(), Trouble> {
        let Some(plan) = &self.expects else { return Ok(()) };
        let mut now =
            now.map_err(|trouble| self.why_not_planned(plan, trouble, standing, facts, &Outlook::default()))?;
        // Read from the same files as the plan; `mmm apply` has compared these.
        now.inventory_hash.clone_from(&plan.inventory_hash);
        unchanged(plan, &plan.differences(&now))
    }

    /// Not even the parts can be given out any more: what has changed says why, where anything has.
    fn why_not_planned(
        &self,
        plan: &Proposal,
        trouble: Trouble,
        standing: &Standing,
        facts: &Facts,
        outlook: &Outlook,
    ) -> Trouble {
        let now = Basis::of(&self.fleet.entry().cluster, standing, facts, outlook);
        let differences = plan.rests_on.differences(&now);
        unchanged(plan, &differences).err().unwrap_or(trouble)
    }
}

/// Whether a plan is carried out.
///
/// # Errors
/// Refused: what it rests on has changed, and how.
fn unchanged(plan: &Proposal, differences: &[String]) -> Result<(), Trouble> {
    if differences.is_empty() {
        return Ok(());
    }
    Err(Trouble::refused(
        Guard::G90,
        format!("the plan for `{}` was not carried out", plan.cluster),
        differences.join("; "),
    ))
}
