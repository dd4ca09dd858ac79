//! Plans of operations that something long comes before, while clients go on writing: a host is let catch up, or rebuilt.

use super::planner::ms;
use super::reckoning::Reckoning;
use super::{Planner, Request, SingleDuty, uses_gtid};
use crate::core::clearing;
use crate::core::cluster::HostName;
use crate::core::guard::{self, Facts, Guard};
use crate::core::losses;
use crate::core::proposal::{Deed, PlannedScript, PlannedStage, PlannedStep, Proposal, Refused, Wish};
use crate::core::standing::{Return, Standing};
use crate::core::trouble::Trouble;
use crate::io::catching_up::{self, CATCH_UP_WITHIN};
use crate::io::context::Errands;
use crate::io::surplus::{REBUILD_WITHIN, rebuild_of};

impl Planner<'_> {
    /// The plan of a switchover before which the host is let catch up.
    ///
    /// # Errors
    /// Usage, or refused: it is not even known who would play which part.
    pub async fn propose_catching_up(
        &self,
        host: &HostName,
        standing: &Standing,
        facts: &Facts,
    ) -> Result<Proposal, Trouble> {
        let cluster = &self.sights.entry().cluster;
        let request = Request::Switchover {
            to: Some(host.to_string()),
            write_refused_max: None,
        };
        let mut plan = self.propose(&request, standing, facts).await?;
        plan.wish = Wish::Switchover {
            to: host.clone(),
            write_refused_max_ms: None,
            catch_up_first: true,
        };
        // The move is judged as it will be then, in whatever state a monitor holds the host to be now.
        let then = losses::as_if_caught_up(facts, host);
        let reckoning = Reckoning::default();
        let (seats, _) = self.seated(&request, standing, facts, &reckoning)?;
        let refusal = guard::hands_off(cluster, standing)
            .and_then(|()| self.guarded(&request, standing, &then, &reckoning, &seats))
            .err();
        plan.refused = refusal.as_ref().map(Refused::from);
        let mut before = Vec::new();
        let seen = facts.get(host).and_then(|seen| seen.mysql.up());
        if !seen.is_some_and(catching_up::is_running) {
            let single = SingleDuty {
                duty: "start-replication",
                at: host,
                on_box: false,
                within: clearing::REPLICATION_WITHIN,
                errand: Errands::default(),
            };
            before.push(self.stage_of_duty(&single).await?);
        }
        before.push(self.wait_for(host));
        plan.stages.splice(0..0, before);
        Ok(plan)
    }

    /// The wait for a host, which this box does by looking.
    fn wait_for(&self, host: &HostName) -> PlannedStage {
        let name = format!("wait until {host} has caught up");
        let step = PlannedStep {
            name: name.clone(),
            does: Deed::Wait,
            command: String::new(),
            language: None,
            expect: Some("it replicates and lags 1 s at most".to_owned()),
            unless: None,
            until: None,
            within_ms: ms(CATCH_UP_WITHIN),
            tolerate: Vec::new(),
            registers: Vec::new(),
            known_then: Vec::new(),
        };
        PlannedStage {
            section: None,
            name,
            duty: String::new(),
            seat: None,
            hosts: vec![host.clone()],
            source: None,
            within_ms: ms(CATCH_UP_WITHIN),
            if_possible: false,
            only_asks: true,
            scripts: vec![PlannedScript {
                by: self.sights.runner(host, false),
                steps: vec![step],
            }],
            undo: None,
        }
    }

    /// The plan of a rejoin before which the host is rebuilt, and loses what only it has. It is made of a host that was
    /// compared and is kept out: so that it names what is lost.
    ///
    /// # Errors
    /// Usage: no rebuild is declared. Otherwise as [`Planner::propose`].
    pub async fn propose_discarding(
        &self,
        host: &HostName,
        standing: &Standing,
        facts: &Facts,
    ) -> Result<Proposal, Trouble> {
        let rebuild = rebuild_of(self.sights.entry(), host)?;
        let request = Request::Rejoin { host: host.clone() };
        let mut plan = self.propose(&request, standing, facts).await?;
        let owed = standing.owed.get(host);
        let surplus = match owed.map(|owed| (&owed.rebuild, &owed.progress)) {
            Some((Some(begun), _)) => Some(begun.surplus.clone()),
            Some((None, Return::KeptOut { surplus, .. })) => Some(surplus.clone()),
            _ => None,
        };
        match &surplus {
            // That it has more is why it is rebuilt.
            Some(surplus) => {
                if plan
                    .refused
                    .as_ref()
                    .is_some_and(|why| matches!(why.guard, Some(Guard::G23 | Guard::G49)))
                {
                    plan.refused = None;
                }
                plan.transactions
                    .push(format!("{host} loses what only it has: {surplus}"));
            }
            None => {
                let what = format!("nothing of `{host}` is discarded");
                let because = format!("what only `{host}` has is not known: it was not compared yet");
                let refusal = Trouble::refused(Guard::G41, what, because)
                    .hint(format!("`mmm rejoin {host}` compares it, and loses nothing"));
                plan.refused.get_or_insert(Refused::from(&refusal));
            }
        }
        plan.wish = Wish::Rejoin {
            host: host.clone(),
            discards: surplus,
        };
        let single = SingleDuty {
            duty: &rebuild.duty,
            at: host,
            on_box: false,
            within: REBUILD_WITHIN,
            errand: Errands {
                source: standing.writer.as_ref(),
                with: Some(&rebuild.with),
                gtid: uses_gtid(facts),
                ..Errands::default()
            },
        };
        let rebuilding = self.stage_of_duty(&single).await?;
        let at = plan.stages.iter().position(|stage| stage.section.is_some());
        plan.stages.insert(at.unwrap_or(plan.stages.len()), rebuilding);
        Ok(plan)
    }
}
