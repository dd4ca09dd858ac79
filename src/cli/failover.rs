//! `mmm failover [CLUSTER]`: replaces a dead writer, after the same evidence and guards as the monitor's. One that came
//! back and refuses writes is opened again instead.

use std::time::Duration;

use super::args::{FailoverArguments, Settings};
use super::setting;
use crate::config::inventory::Inventory;
use crate::core::cluster::{Cluster, HostName};
use crate::core::event::Event;
use crate::core::evidence::{self, Decision, EvidenceRule, Rung};
use crate::core::guard::{self, Facts, Guard};
use crate::core::standing::Standing;
use crate::core::trouble::{Kind, Trouble};
use crate::io::fleet::Fleet;
use crate::io::operation::Request;
use crate::io::sights::Sights;
use crate::io::standing::StateDir;
use crate::io::{inquest, monitor};

/// How long another operation is waited for.
const LOCK_WAIT: Duration = Duration::from_secs(10);

/// Performs it; the exit code says how it ended.
pub async fn run(settings: &Settings, what: &FailoverArguments) -> Result<u8, Trouble> {
    let inventory = setting::inventory(settings)?;
    let entry = setting::cluster(settings, &inventory, what.name.as_deref())?;
    let cluster = &entry.cluster;
    if what.allow_unfenced {
        confirm_unfenced(settings)?;
    }
    if what.allow_loss {
        let price =
            "Transactions that the new writer cannot have will be lost; `mmm plan failover` says which";
        setting::confirm(settings, price)?;
    }
    let fleet = setting::fleet(entry).await?;
    let dir = StateDir::of(&inventory.monitor.state_dir, &cluster.name);
    let mut standing = dir.load()?;
    let facts = fleet.look_everywhere().await;
    if standing.writer.is_none() {
        standing.writer = guard::observed_writer(cluster, &facts)
            .or_else(|| guard::holder_of_writer_address(cluster, &facts));
    }
    if is_to_be_opened(&standing, &facts, what.to.as_deref()) {
        // Who names the host knows that it is the writer; the record alone may be old.
        if let (None, Some(writer)) = (&what.to, &standing.writer) {
            guard::could_not_have_been_replaced(cluster, &facts, writer)?;
        }
        return reopen(settings, &inventory, &fleet, standing.writer).await;
    }
    let memory = Sights::of(&fleet, &dir).memory(standing.writer.as_ref(), &standing);
    let memory = memory.weighed(what.allow_loss);
    let incoming = guard::target(cluster, &standing, &facts, what.to.as_deref(), &memory)?;
    let (teller, reporting) = setting::telling(settings, &cluster.name);
    let outgoing = outgoing(cluster, &standing, &facts, &incoming, what.to.is_some())?;
    let rung = match &outgoing {
        Some(writer) => {
            let found = inquest::gather(&fleet, writer).await;
            let means = monitor::means(entry).remove(writer);
            let Some(means) = means else {
                return Err(Trouble::new(
                    Kind::Usage,
                    "no failover",
                    format!("the inventory does not name the writer `{writer}`"),
                ));
            };
            let (rule, decision) = evidence::decide(&found, &means);
            teller.tell(Event::RuleChanged {
                rule: rule.to_string(),
                sentence: rule.sentence().to_owned(),
            });
            allowed(
                rule,
                decision,
                what.allow_unfenced,
                writer.as_str(),
                &cluster.name,
            )?
        }
        None => Rung::Silence,
    };
    let performer = setting::performer(settings, &inventory, &fleet, teller, LOCK_WAIT);
    let request = Request::Failover {
        outgoing,
        incoming,
        rung,
        events: None,
        memory: None,
        allow_loss: what.allow_loss,
        automatic: false,
    };
    let performed = performer.perform(&request).await;
    drop(performer);
    setting::all_told(reporting).await;
    setting::concluded(&inventory, entry, performed).await
}

/// Whether the writer answers and refuses writes, as after a restart, and nobody else was named: then nothing has to be
/// replaced.
pub(super) fn is_to_be_opened(standing: &Standing, facts: &Facts, to: Option<&str>) -> bool {
    standing.writer.as_ref().is_some_and(|writer| {
        let seen = facts.get(writer).and_then(|facts| facts.mysql.up());
        to.is_none_or(|to| to == writer.as_str()) && seen.is_some_and(|mysql| !mysql.is_writable())
    })
}

async fn reopen(
    settings: &Settings,
    inventory: &Inventory,
    fleet: &Fleet,
    writer: Option<HostName>,
) -> Result<u8, Trouble> {
    let (teller, reporting) = setting::telling(settings, &fleet.entry().cluster.name);
    let performer = setting::performer(settings, inventory, fleet, teller, LOCK_WAIT);
    let performed = performer.perform(&Request::Reopen { writer }).await;
    drop(performer);
    setting::all_told(reporting).await;
    setting::concluded(inventory, fleet.entry(), performed).await
}

/// Whom the evidence must be about: the writer, or else the one host that could be it. None when every other host of
/// the writer role was seen to refuse writes.
pub(super) fn outgoing(
    cluster: &Cluster,
    standing: &Standing,
    facts: &Facts,
    incoming: &HostName,
    is_named: bool,
) -> Result<Option<HostName>, Trouble> {
    if standing.writer.is_some() {
        return Ok(standing.writer.clone());
    }
    let refuse = |guard: Guard, because: &str| {
        Trouble::refused(
            guard,
            format!("failover of `{}` was not begun", cluster.name),
            because,
        )
    };
    if !is_named {
        return Err(refuse(Guard::G06, "no host is known to be the writer")
            .hint("name the host to open with `--to HOST`"));
    }
    match guard::possible_writers(cluster, facts, incoming).as_slice() {
        [] => Ok(None),
        [only] => Ok(Some(only.clone())),
        _ => Err(refuse(
            Guard::G07,
            "no host is known to be the writer, and several could be",
        )),
    }
}

/// What holds the writer down while another host is opened, or why nothing may.
pub(super) fn allowed(
    rule: EvidenceRule,
    decision: Decision,
    unfenced: bool,
    writer: &str,
    cluster: &str,
) -> Result<Rung, Trouble> {
    let what = format!("failover of `{cluster}` was not begun");
    let because = format!("{rule}: `{writer}`: {}", rule.sentence());
    match decision {
        Decision::Replace(rung) => Ok(rung),
        Decision::Refuse if unfenced => Ok(Rung::Word(rule)),
        Decision::Refuse => Err(Trouble::refused(Guard::G11, what, because).hint(rule.lifted_by())),
        Decision::Leave => Err(Trouble::refused(Guard::G10, what, because)),
    }
}

/// Asks a person whether it may go on although two writers are possible.
///
/// # Errors
/// It may not.
pub(super) fn confirm_unfenced(settings: &Settings) -> Result<(), Trouble> {
    setting::confirm(settings, evidence::UNFENCED_PRICE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::samples;

    fn blocks<T: std::fmt::Debug>(answer: Result<T, Trouble>, guard: Guard) {
        assert_eq!(answer.unwrap_err().guard, Some(guard));
    }

    #[test]
    fn evidence_that_does_not_prove_a_death_blocks_with_its_own_rule() {
        let asked = |rule, decision, unfenced| allowed(rule, decision, unfenced, "db1", "c");
        blocks(asked(EvidenceRule::R20, Decision::Leave, true), Guard::G10);
        let refused = asked(EvidenceRule::R31, Decision::Refuse, false).unwrap_err();
        assert!(refused.because.contains("R31") && refused.hint == EvidenceRule::R31.lifted_by());
        blocks::<Rung>(Err(refused), Guard::G11);
        assert_eq!(
            asked(EvidenceRule::R31, Decision::Refuse, true),
            Ok(Rung::Word(EvidenceRule::R31))
        );
    }

    #[test]
    fn without_a_known_writer_somebody_must_be_named_and_only_one_be_possible() {
        let mut cluster = samples::cluster();
        let about = |cluster: &Cluster, is_named| {
            outgoing(
                cluster,
                &Standing::default(),
                &Facts::new(),
                &"db2".into(),
                is_named,
            )
        };
        blocks(about(&cluster, false), Guard::G06);
        assert_eq!(about(&cluster, true), Ok(Some("db1".into())));
        cluster.roles[0].hosts.push("db3".into());
        blocks(about(&cluster, true), Guard::G07);
    }
}
