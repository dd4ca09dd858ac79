//! A single duty on a person's word. A question is put at once; what changes something waits for the cluster's lock and for
//! runs that were cut off, and is written down like them.

use crate::core::guard::Facts;
use crate::core::playbook::Section;
use crate::core::proposal::Wish;
use crate::core::run::Ending;
use crate::core::script::{DutyOutcome, DutyReport};
use crate::core::standing::Standing;
use crate::core::trouble::Trouble;
use crate::io::conductor::describe;
use crate::io::operation::{Performer, SingleDuty};

impl Performer<'_> {
    /// Performs one duty, written down as `wanted`. `allowed` judges by what stands, with the lock held where one is taken.
    ///
    /// # Errors
    /// Usage or refused: nothing was touched, and why. How a duty that was begun ended is in the answer.
    pub async fn by_hand(
        &self,
        single: &SingleDuty<'_>,
        wanted: Wish,
        allowed: impl Fn(&Standing) -> Result<(), Trouble>,
    ) -> Result<DutyReport, Trouble> {
        let duty = self.fleet.playbook().duties.get(single.duty);
        if duty.is_some_and(|duty| duty.only_asks) {
            if self.expects.is_some() {
                let (standing, facts) = (self.dir.load()?, self.fleet.look_everywhere().await);
                self.require_same_duty(single, &standing, &facts).await?;
            }
            let report = self.send(single).await;
            self.fleet.cool().await;
            return report;
        }
        // What stands is asked before and after waiting: a refusal need not wait for the lock.
        allowed(&self.dir.load()?)?;
        let purpose = format!("duty {} at {}", single.duty, single.at);
        self.network.require(&purpose).await?;
        self.under_lock(&purpose, async {
            let (standing, facts) = self.settled().await?;
            allowed(&standing)?;
            self.not_being_rebuilt(single.at)?;
            self.require_same_duty(single, &standing, &facts).await?;
            let planned = [self.planner().stage_of_duty(single).await?];
            let mut chore = self
                .begin_chore(wanted, Section::Prepare, &planned, &[], &facts)
                .await?;
            let report = chore.perform(self, 0, single).await;
            let ending = match &report {
                Ok(report) if report.outcome == DutyOutcome::Done => Ending::Done { warnings: Vec::new() },
                Ok(report) => Ending::Failed {
                    because: describe(report),
                },
                Err(trouble) => Ending::Undone {
                    because: trouble.reason(),
                    untouched: true,
                },
            };
            chore.end(self, ending);
            report
        })
        .await
    }

    /// That a kept plan of it would be made just so now.
    async fn require_same_duty(
        &self,
        single: &SingleDuty<'_>,
        standing: &Standing,
        facts: &Facts,
    ) -> Result<(), Trouble> {
        if self.expects.is_none() {
            return Ok(());
        }
        let now = self.planner().propose_duty(single, standing, facts).await;
        self.require_same_way(now, standing, facts)
    }

    pub(super) async fn send(&self, single: &SingleDuty<'_>) -> Result<DutyReport, Trouble> {
        let SingleDuty {
            duty,
            at,
            within,
            ref errand,
            on_box,
        } = *single;
        if on_box {
            self.fleet.act_on_box(at, duty, errand, within).await
        } else {
            self.fleet.act(at, duty, errand, within).await
        }
    }
}
