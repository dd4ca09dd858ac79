//! Whether everything is still as it was when an operation was planned: steps of the site ran since, with nothing touched.

use super::{Performer, Request};
use crate::core::cluster::HostName;
use crate::core::evidence::{self, Decision, Rung};
use crate::core::guard::{self, Guard};
use crate::core::plan::Seats;
use crate::core::site;
use crate::core::standing::Standing;
use crate::core::trouble::Trouble;
use crate::io::inquest;
use crate::io::monitor;

impl Performer<'_> {
    /// Looks again, and passes the guards again. For a writer held to be dead the evidence is gathered anew: it may have
    /// come back meanwhile.
    ///
    /// # Errors
    /// Refused: a guard blocks now, or others would play the parts.
    pub(super) async fn still(
        &self,
        request: &Request,
        absent: &[HostName],
        standing: &Standing,
        (seats, rung): (&Seats, Option<Rung>),
    ) -> Result<(), Trouble> {
        let facts = self.fleet.look_except(absent).await;
        let planner = self.planner();
        let outlook = planner.reckon(request, standing, &facts).outlook;
        guard::hands_off(&self.fleet.entry().cluster, standing)?;
        let (now, _) = planner.seated(request, standing, &facts, &outlook)?;
        planner.guarded(request, standing, &facts, &outlook, &now)?;
        let what = format!(
            "{} of `{}` was not begun",
            request.operation(),
            self.fleet.entry().cluster.name
        );
        site::same_parts(&what, seats, &now)?;
        match (rung, &seats.outgoing) {
            (Some(rung), Some(suspect)) => self.still_dead(suspect, rung, what).await,
            _ => Ok(()),
        }
    }

    /// Whether the evidence about a dead writer still is what the run rests on.
    async fn still_dead(&self, suspect: &HostName, rung: Rung, what: String) -> Result<(), Trouble> {
        let Some(means) = monitor::means(self.fleet.entry()).remove(suspect) else {
            return Ok(());
        };
        let found = inquest::gather(self.fleet, suspect).await;
        let (rule, decision) = evidence::decide(&found, &means);
        let guard = match decision {
            _ if rung.still_stands(decision) => return Ok(()),
            Decision::Leave => Guard::G12,
            Decision::Refuse => Guard::G11,
            Decision::Replace(_) => Guard::G84,
        };
        let because = format!("{suspect}: {rule}: {}", rule.sentence());
        Err(Trouble::refused(guard, what, because))
    }
}
