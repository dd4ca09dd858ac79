//! What `mmm plan duty` and `mmm playbook run` share: the duty asked for, its values, and whether it may be performed.

use super::args::DutyArguments;
use super::setting;
use crate::config::diagnostic::closest;
use crate::config::inventory::ClusterEntry;
use crate::config::playbook::opening_step;
use crate::core::by_hand::{self, Asked, Values};
use crate::core::cluster::HostName;
use crate::core::guard::Facts;
use crate::core::playbook::Playbook;
use crate::core::proposal::{Proposal, Refused, Wish};
use crate::core::standing::Standing;
use crate::core::trouble::{Kind, Trouble};
use crate::io::context::Errands;
use crate::io::operation::{Planner, SingleDuty, uses_gtid};

/// A duty asked for, with its values.
#[derive(Debug)]
pub struct Wanted<'a> {
    asked: &'a DutyArguments,
    at: HostName,
    values: Values,
    only_asks: bool,
    opening_step: Option<String>,
}

impl<'a> Wanted<'a> {
    /// Reads what was asked for.
    ///
    /// # Errors
    /// Usage: there is no such duty or host, or a value is malformed or missing.
    pub fn read(
        entry: &ClusterEntry,
        playbook: &Playbook,
        asked: &'a DutyArguments,
    ) -> Result<Self, Trouble> {
        let what = format!("duty `{}` cannot be performed", asked.duty);
        let usage = |because: String| Trouble::new(Kind::Usage, what.clone(), because);
        let Some(duty) = playbook.duties.get(&asked.duty) else {
            let near = closest(&asked.duty, playbook.duties.keys().map(String::as_str));
            let hint = near.map_or_else(
                || "`mmm playbook list` names all".to_owned(),
                |near| format!("did you mean `{near}`?"),
            );
            return Err(usage("there is no such duty".to_owned()).hint(hint));
        };
        let at = HostName::from(asked.at.as_str());
        setting::host(entry, &at)?;
        let said = asked.set.iter().map(|(name, value)| (name, value));
        let values = Values::read(said).map_err(usage)?;
        if let Some(source) = &values.source {
            setting::host(entry, source)?;
        }
        let has = |need: &str| match need {
            "address" => values.address.is_some(),
            "source" => values.source.is_some(),
            "service" => true,
            need => values.registered.contains_key(need),
        };
        let lacks: Vec<String> = duty
            .needs
            .iter()
            .filter(|need| !has(need))
            .map(|need| format!("`{need}`"))
            .collect();
        if !lacks.is_empty() {
            return Err(
                usage(format!("it needs {}", lacks.join(", "))).hint("give each with `--set NAME=VALUE`")
            );
        }
        Ok(Wanted {
            asked,
            at,
            values,
            only_asks: duty.only_asks,
            opening_step: opening_step(playbook, &asked.duty),
        })
    }

    /// As it is written down.
    pub fn wish(&self) -> Wish {
        Wish::Duty {
            duty: self.asked.duty.clone(),
            at: self.at.clone(),
            on_box: self.asked.on_box,
            set: self.asked.set.iter().cloned().collect(),
            within_ms: u64::try_from(self.asked.within.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// As it is performed or planned, where replication goes by GTID or not.
    pub fn single(&self, gtid: bool) -> SingleDuty<'_> {
        SingleDuty {
            duty: &self.asked.duty,
            at: &self.at,
            on_box: self.asked.on_box,
            within: self.asked.within,
            errand: Errands {
                address: self.values.address,
                source: self.values.source.as_ref(),
                registered: Some(&self.values.registered),
                with: Some(&self.values.with),
                gtid,
                environment: None,
                old: None,
            },
        }
    }

    /// Whether it may be performed by what stands.
    ///
    /// # Errors
    /// Refused, and why.
    pub fn allowed(&self, entry: &ClusterEntry, standing: &Standing) -> Result<(), Trouble> {
        let asked = Asked {
            duty: &self.asked.duty,
            at: &self.at,
            only_asks: self.only_asks,
            opening_step: self.opening_step.as_deref(),
            address: self.values.address,
        };
        by_hand::allowed(&entry.cluster, standing, &asked)
    }
}

/// The plan of a single duty.
///
/// # Errors
/// Usage: see [`Wanted::read`].
pub async fn plan(
    planner: Planner<'_>,
    asked: &DutyArguments,
    standing: &Standing,
    facts: &Facts,
) -> Result<Proposal, Trouble> {
    let entry = planner.sights().entry();
    let wanted = Wanted::read(entry, planner.sights().playbook(), asked)?;
    let single = wanted.single(uses_gtid(facts));
    let mut plan = planner.propose_duty(&single, standing, facts).await?;
    if let Wish::Duty { set, .. } = &mut plan.wish {
        set.extend(asked.set.iter().cloned());
    }
    plan.refused = wanted
        .allowed(entry, standing)
        .err()
        .map(|refusal| Refused::from(&refusal));
    Ok(plan)
}
