//! `mmm apply FILE`: carries out a plan that was kept, and just that. When what it rests on has changed, nothing is done.

use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use super::args::{ApplyArguments, DutyArguments, Settings};
use super::plan::{Allows, failover_request};
use super::{failover, known, playbook, rejoin, set_offline, set_online, setting};
use crate::core::event::Event;
use crate::core::evidence::EvidenceRule;
use crate::core::guard::Guard;
use crate::core::proposal::{PLAN_VERSION, Proposal, Wish};
use crate::core::trouble::{Kind, Trouble};
use crate::io::operation::{Performed, Performer, Request};

/// Bytes a plan may have at most.
const MOST_BYTES: u64 = 4 * 1024 * 1024;

/// Performs it; the exit code says how it ended.
pub async fn run(settings: &Settings, what: &ApplyArguments) -> Result<u8, Trouble> {
    let plan = read(&what.file)?;
    let inventory = setting::inventory(settings)?;
    let entry = setting::cluster(settings, &inventory, Some(&plan.cluster))?;
    if plan.inventory_hash != inventory.text_hash {
        let because = format!(
            "the inventory `{}` is not the one it was made from",
            inventory.file.display()
        );
        return Err(Trouble::refused(Guard::G90, not_carried_out(&plan), because));
    }
    if matches!(
        plan.wish,
        Wish::Failover {
            allow_unfenced: Some(_),
            ..
        }
    ) {
        failover::confirm_unfenced(settings)?;
    }
    if let Wish::Rejoin {
        host,
        discards: Some(_),
    } = &plan.wish
    {
        rejoin::confirm_discarding(settings, host)?;
    }
    if let Some(asked) = asked_duty(&plan.wish) {
        let expects = Some(Box::new(plan));
        return playbook::perform(settings, &inventory, entry, &asked, what.lock_wait, expects).await;
    }
    let fleet = setting::fleet(entry).await?;
    let (teller, reporting) = setting::telling(settings, &entry.cluster.name);
    let mut performer = setting::performer(settings, &inventory, &fleet, teller, what.lock_wait);
    performer.expects = Some(Box::new(plan.clone()));
    match &plan.wish {
        Wish::SetOffline { host } => {
            let changed = async {
                let states = known::states(&inventory, entry, host).await?;
                performer.take_out(host, states.of_host, &states.online).await
            };
            let changed = changed.await;
            drop(performer);
            setting::all_told(reporting).await;
            return set_offline::concluded(settings, &inventory, entry, host, changed).await;
        }
        Wish::SetOnline { host } => {
            return set_online::carry_out(settings, &inventory, entry, host, performer, reporting).await;
        }
        _ => {}
    }
    let performed = carry_out(&performer, &plan).await;
    drop(performer);
    setting::all_told(reporting).await;
    setting::concluded(&inventory, entry, performed).await
}

/// The single duty that this is about, as it was asked for.
pub(super) fn asked_duty(wish: &Wish) -> Option<DutyArguments> {
    match wish {
        Wish::Duty {
            duty,
            at,
            on_box,
            set,
            within_ms,
        } => Some(DutyArguments {
            duty: duty.clone(),
            at: at.to_string(),
            on_box: *on_box,
            set: set.clone().into_iter().collect(),
            within: Duration::from_millis(*within_ms),
        }),
        _ => None,
    }
}

fn not_carried_out(plan: &Proposal) -> String {
    format!("the plan for `{}` was not carried out", plan.cluster)
}

async fn carry_out(performer: &Performer<'_>, plan: &Proposal) -> Result<Performed, Trouble> {
    let request = match &plan.wish {
        Wish::Switchover {
            to,
            write_refused_max_ms,
            catch_up_first,
        } => {
            if *catch_up_first {
                performer.let_catch_up(to).await?;
            }
            Request::Switchover {
                to: Some(to.to_string()),
                write_refused_max: write_refused_max_ms.map(Duration::from_millis),
            }
        }
        Wish::MoveAddress { address, to } => Request::MoveAddress {
            address: *address,
            to: to.clone(),
        },
        Wish::Reopen => Request::Reopen { writer: None },
        Wish::Rejoin { host, discards: None } => return performer.take_back(host).await,
        Wish::Rejoin { host, .. } => return performer.discard(host).await,
        Wish::Failover {
            to,
            allow_loss,
            allow_unfenced,
        } => {
            let allows = Allows {
                loss: *allow_loss,
                unfenced: allow_unfenced.is_some(),
            };
            let planner = performer.planner();
            let facts = planner.sights().look_everywhere().await;
            let mut standing = planner.standing(&facts, false)?;
            let asked = failover_request(planner, &mut standing, &facts, Some(to.as_str()), allows).await?;
            if let Some(refusal) = asked.refusal {
                return Err(refusal);
            }
            if let Some(rule) = asked.rule {
                performer.teller.tell(Event::RuleChanged {
                    rule: rule.to_string(),
                    sentence: rule.sentence().to_owned(),
                });
            }
            if let Some(then) = allow_unfenced {
                price_stands(plan, *then, asked.rule)?;
            }
            asked.request
        }
        // These are no operations of the playbooks; `run` has seen to them.
        Wish::SetOffline { .. } | Wish::SetOnline { .. } | Wish::Duty { .. } => {
            return Err(Trouble::new(
                Kind::Bug,
                not_carried_out(plan),
                "it is no single operation",
            ));
        }
    };
    performer.perform(&request).await
}

/// What a person took upon themselves under one rule of evidence does not hold under another, which may say that the writer
/// lives. It stands in the log.
///
/// # Errors
/// Refused: the evidence says something else now.
fn price_stands(plan: &Proposal, then: EvidenceRule, now: Option<EvidenceRule>) -> Result<(), Trouble> {
    if now == Some(then) {
        tracing::error!("{then}: going on although the writer is not fenced, as the plan has it");
        return Ok(());
    }
    let now = now.map_or("nothing".to_owned(), |rule| rule.to_string());
    let because = format!("the evidence about the writer was `{then}` and is `{now}`");
    Err(Trouble::refused(Guard::G90, not_carried_out(plan), because))
}

/// Reads a plan.
///
/// # Errors
/// Usage: the file cannot be read, or is no plan of this program's.
fn read(file: &Path) -> Result<Proposal, Trouble> {
    let what = || format!("the plan `{}` cannot be used", file.display());
    let failed = |error: &dyn std::fmt::Display| {
        Trouble::new(Kind::Usage, what(), error).hint("`mmm plan … --save FILE` writes one")
    };
    let mut text = String::new();
    std::fs::File::open(file)
        .and_then(|opened| opened.take(MOST_BYTES).read_to_string(&mut text))
        .map_err(|error| failed(&error))?;
    let mut written: serde_json::Value = serde_json::from_str(&text).map_err(|error| failed(&error))?;
    // What a plan must be to be carried out, its own version says; the other one is that of all that is printed.
    if let Some(fields) = written.as_object_mut() {
        fields.remove("version");
    }
    match written.get("mmm_plan").and_then(serde_json::Value::as_u64) {
        Some(version) if version == u64::from(PLAN_VERSION) => {}
        Some(version) => {
            let because = format!("it has version {version}, this program understands {PLAN_VERSION}");
            return Err(failed(&because));
        }
        None => return Err(failed(&"it is no plan of mmm's")),
    }
    serde_json::from_value(written).map_err(|error| failed(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_plan_is_refused_as_usage() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("plan.json");
        for (text, why) in [
            ("", "EOF"),
            ("{}", "no plan"),
            ("{\"mmm_plan\": 99}", "version 99"),
            ("{\"mmm_plan\": 1, \"wish\": 3}", "invalid type"),
            ("{\"mmm_plan\": 1, \"surplus\": 3}", "unknown field"),
        ] {
            std::fs::write(&file, text).unwrap();
            let trouble = read(&file).unwrap_err();
            assert_eq!(trouble.kind, Kind::Usage);
            assert!(trouble.because.contains(why), "{text}: {trouble}");
        }
        assert_eq!(read(directory.path()).unwrap_err().kind, Kind::Usage);
        assert_eq!(read(Path::new("/nowhere/plan")).unwrap_err().kind, Kind::Usage);
    }
}
