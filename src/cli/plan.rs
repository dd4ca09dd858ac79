//! `mmm plan …`: every step as it would run now, secrets masked, nothing touched. It is made through what can only look.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::args::{Form, PlanArguments, Planned, Settings};
use super::{by_hand, failover, known, setting};
use crate::config::inventory::Inventory;
use crate::core::cluster::HostName;
use crate::core::electorate::Memory;
use crate::core::evidence::{self, EvidenceRule, Rung};
use crate::core::guard::{self, Facts};
use crate::core::losses::Seen;
use crate::core::printed::Printed;
use crate::core::proposal::{Proposal, Refused, Wish};
use crate::core::relocation;
use crate::core::standing::Standing;
use crate::core::trouble::{Kind, Trouble};
use crate::io::operation::{Planner, Request};
use crate::io::sights::Lookout;
use crate::io::{clock, monitor};
use crate::report::junit;
use crate::report::plan::text;
use crate::report::reporter::{out, talk};

/// Prints the plan; 4 when it would be refused now.
pub async fn run(settings: &Settings, what: &PlanArguments) -> Result<u8, Trouble> {
    let inventory = setting::inventory(settings)?;
    let named = match &what.what {
        Planned::Switchover { name, .. } | Planned::Failover { name, .. } => name.as_deref(),
        Planned::Rejoin { .. }
        | Planned::MoveRole { .. }
        | Planned::SetOffline { .. }
        | Planned::SetOnline { .. }
        | Planned::Duty(_) => None,
    };
    let entry = setting::cluster(settings, &inventory, named)?;
    let lookout = Lookout::new(setting::fleet(entry).await?, &inventory);
    let planner = Planner::of(lookout.sights());
    let mut plan = made(planner, &inventory, &what.what).await?;
    plan.inventory_hash.clone_from(&inventory.text_hash);
    match settings.form {
        Form::Text => out(&text(&plan)),
        Form::Json => out(&setting::json(&plan)),
        Form::Junit => out(&junit::plan(&plan)),
    }
    if plan.refused.is_some() {
        if what.save.is_some() {
            talk("the plan was not kept: it would be refused");
        }
        return Ok(Kind::Refused.exit_code());
    }
    if let Some(file) = &what.save {
        keep(file, &plan)?;
        let file = file.display();
        talk(&format!(
            "the plan is in `{file}`; `mmm apply {file}` carries it out"
        ));
    }
    Ok(0)
}

async fn made(planner: Planner<'_>, inventory: &Inventory, what: &Planned) -> Result<Proposal, Trouble> {
    let sights = planner.sights();
    let cluster = &sights.entry().cluster;
    let facts = sights.look_everywhere().await;
    let standing = |is_planned_move| planner.standing(&facts, is_planned_move);
    match what {
        Planned::Switchover {
            to,
            write_refused_max,
            ..
        } => {
            let request = Request::Switchover {
                to: to.clone(),
                write_refused_max: *write_refused_max,
            };
            planner.propose(&request, &standing(true)?, &facts).await
        }
        Planned::Failover {
            to,
            allow_loss,
            allow_unfenced,
            ..
        } => {
            let mut standing = standing(false)?;
            let allows = Allows {
                loss: *allow_loss,
                unfenced: *allow_unfenced,
            };
            let asked = failover_request(planner, &mut standing, &facts, to.as_deref(), allows).await?;
            let mut plan = planner.propose(&asked.request, &standing, &facts).await?;
            if let Wish::Failover { allow_unfenced, .. } = &mut plan.wish {
                *allow_unfenced = asked.rule.filter(|_| allows.unfenced);
            }
            if let Some(refusal) = asked.refusal {
                plan.refused.get_or_insert(Refused::from(&refusal));
            }
            Ok(plan)
        }
        Planned::Rejoin { host, discard } => {
            let host = HostName::from(host.as_str());
            setting::host(sights.entry(), &host)?;
            if *discard {
                return planner.propose_discarding(&host, &standing(false)?, &facts).await;
            }
            planner
                .propose(&Request::Rejoin { host }, &standing(false)?, &facts)
                .await
        }
        Planned::MoveRole {
            role,
            host,
            address,
            force,
        } => {
            let to = HostName::from(host.as_str());
            let refused = format!("the move of `{role}` to `{to}` was not planned");
            let role = super::move_role::role(cluster, role, &refused)?;
            let address = relocation::meant(role, *address, &refused)?;
            relocation::role_of(cluster, address, &to, &refused)?;
            if *force {
                super::move_role::may_be_forced(cluster, role, &refused)?;
                return planner.propose_catching_up(&to, &standing(true)?, &facts).await;
            }
            let request = if role.name == cluster.writer_role {
                Request::Switchover {
                    to: Some(host.clone()),
                    write_refused_max: None,
                }
            } else {
                Request::MoveAddress { address, to }
            };
            planner.propose(&request, &standing(true)?, &facts).await
        }
        Planned::SetOffline { host } => {
            let host = HostName::from(host.as_str());
            setting::host(sights.entry(), &host)?;
            let states = known::states(inventory, sights.entry(), &host).await?;
            planner
                .propose_leaving(&host, states.of_host, &states.online, &standing(false)?, &facts)
                .await
        }
        Planned::SetOnline { host } => {
            let host = HostName::from(host.as_str());
            setting::host(sights.entry(), &host)?;
            let states = known::states(inventory, sights.entry(), &host).await?;
            planner
                .propose_entering(&host, states.of_host, &standing(false)?, &facts)
                .await
        }
        Planned::Duty(duty) => {
            let standing = standing(false)?;
            by_hand::plan(planner, duty, &standing, &facts).await
        }
    }
}

/// What a person has taken upon themselves for a failover.
#[derive(Debug, Clone, Copy)]
pub struct Allows {
    /// To go on without transactions that cannot be had.
    pub loss: bool,
    /// To go on although the dead writer is not fenced.
    pub unfenced: bool,
}

/// What would be asked for.
#[derive(Debug)]
pub struct AskedFailover {
    /// The request.
    pub request: Request,
    /// Why it would not even be asked for.
    pub refusal: Option<Trouble>,
    /// What the evidence about the writer says; none where there is none to be replaced, or it answers.
    pub rule: Option<EvidenceRule>,
}

/// What `mmm failover` would ask for now, and why it would not even ask.
///
/// # Errors
/// Usage, or refused: it is not known who would be replaced by whom.
pub async fn failover_request(
    planner: Planner<'_>,
    standing: &mut Standing,
    facts: &Facts,
    to: Option<&str>,
    allows: Allows,
) -> Result<AskedFailover, Trouble> {
    let sights = planner.sights();
    let cluster = &sights.entry().cluster;
    if standing.writer.is_none() {
        standing.writer = guard::holder_of_writer_address(cluster, facts);
    }
    if failover::is_to_be_opened(standing, facts, to) {
        // Who names the host knows that it is the writer; the record alone may be old.
        let refusal = match (to, &standing.writer) {
            (None, Some(writer)) => guard::could_not_have_been_replaced(cluster, facts, writer).err(),
            _ => None,
        };
        return Ok(AskedFailover {
            request: Request::Reopen { writer: None },
            refusal,
            rule: None,
        });
    }
    let memory = sights
        .memory(standing.writer.as_ref(), standing)
        .weighed(allows.loss);
    let incoming = guard::target(cluster, standing, facts, to, &memory)?;
    let outgoing = failover::outgoing(cluster, standing, facts, &incoming, to.is_some())?;
    let answers = outgoing.as_ref().and_then(|writer| facts.get(writer)?.mysql.up());
    // A writer that answers is asked itself; otherwise the last monitor may have seen it.
    let memory = outgoing.as_ref().zip(answers).map(|(writer, mysql)| {
        Box::new(Memory {
            seen: Some(Seen::of(writer, clock::now(), mysql)),
            ..memory
        })
    });
    let lives = |writer: &HostName| facts.get(writer).is_some_and(|seen| seen.mysql.is_alive());
    let mut found = None;
    let judged = match &outgoing {
        None => Ok(Rung::Silence),
        // The guards say so; the plan shows what would be done with a writer that obeys.
        Some(writer) if lives(writer) => Ok(Rung::Demote),
        Some(writer) => {
            let means = monitor::means(sights.entry()).remove(writer).ok_or_else(|| {
                Trouble::new(
                    Kind::Usage,
                    "no failover",
                    format!("the inventory does not name the writer `{writer}`"),
                )
            })?;
            let (rule, decision) = evidence::decide(&sights.evidence(writer).await, &means);
            found = Some(rule);
            failover::allowed(rule, decision, allows.unfenced, writer.as_str(), &cluster.name)
        }
    };
    let (rung, refusal) = match judged {
        Ok(rung) => (rung, None),
        Err(refusal) => (Rung::Demote, Some(refusal)),
    };
    let request = Request::Failover {
        outgoing,
        incoming,
        rung,
        events: None,
        memory,
        allow_loss: allows.loss,
        automatic: false,
    };
    Ok(AskedFailover {
        request,
        refusal,
        rule: found,
    })
}

/// Writes a plan into a new file.
fn keep(file: &Path, plan: &Proposal) -> Result<(), Trouble> {
    let failed = |error: &dyn std::fmt::Display| {
        Trouble::new(
            Kind::Usage,
            format!("the plan cannot be kept in `{}`", file.display()),
            error,
        )
        .hint("name a new file in a directory that exists")
    };
    let mut text = serde_json::to_string_pretty(&Printed::of(plan)).map_err(|error| failed(&error))?;
    text.push('\n');
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let mut written = options.open(file).map_err(|error| failed(&error))?;
    written
        .write_all(text.as_bytes())
        .and_then(|()| written.sync_all())
        .map_err(|error| failed(&error))
}
