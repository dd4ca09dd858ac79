//! A single duty on a person's word. A question is put at once; what changes something waits for the cluster's lock and for
//! runs that were cut off. No journal is kept: nobody goes on with a duty that was cut off.

use crate::core::guard::Facts;
use crate::core::script::DutyReport;
use crate::core::standing::Standing;
use crate::core::trouble::Trouble;
use crate::io::operation::{Performer, SingleDuty};

impl Performer<'_> {
    /// Performs one duty. `allowed` judges by what stands, with the lock held where one is taken.
    ///
    /// # Errors
    /// Usage or refused: nothing was touched, and why. How a duty that was begun ended is in the answer.
    pub async fn by_hand(
        &self,
        single: &SingleDuty<'_>,
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
            self.require_same_duty(single, &standing, &facts).await?;
            self.send(single).await
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

    async fn send(&self, single: &SingleDuty<'_>) -> Result<DutyReport, Trouble> {
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
