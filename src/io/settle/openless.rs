//! Runs that open nobody and were cut off: the return of a replaced writer, and the move of an address other than the
//! writer's. Until their commit they change nothing that the next one would not do again, so a new one takes their place.

use super::Settlement;
use super::ending::{closed, end, untouched_now};
use super::left_over::{bury, wait_for_expiry};
use crate::core::event::Event;
use crate::core::guard::{Facts, Guard};
use crate::core::run::{Ending, Run};
use crate::core::settlement::Wish;
use crate::core::trouble::Trouble;
use crate::io::journal::{Journal, OpenRun};
use crate::io::operation::Performer;

/// Brings such a run to its end; none when it is performed to its end like any other.
///
/// # Errors
/// Refused: it is to be taken back, and has come past its commit.
pub(super) async fn settled(
    performer: &Performer<'_>,
    open: &OpenRun,
    run: &Run,
    journal: &mut Journal,
    facts: &Facts,
    wish: Wish,
) -> Result<Option<Settlement>, Trouble> {
    let opening = &open.opening;
    if opening.moves_writer() {
        return Ok(None);
    }
    let is_move = opening.address.is_some();
    if wish == Wish::TakeBack {
        let facts = seen_after(performer, open, run, facts).await;
        return match (has_happened(open, run, &facts), is_move) {
            (Some(true), _) => Err(too_late(performer, open)),
            // What its steps have to take back is found there.
            (Some(false), false) => Ok(None),
            (Some(false), true) => {
                let ending = Ending::Undone {
                    because: "the address had not been moved yet".to_owned(),
                    untouched: false,
                };
                let report = untouched_now(open, ending);
                if end(performer, open, journal, &report.ending) {
                    performer.site_after(opening, &report).await;
                }
                Ok(Some(Settlement::TakenBack(report)))
            }
            (None, _) => {
                let because =
                    "whether it has done what it was for is not known while its host does not answer";
                Ok(Some(closed(performer, open, journal, because.to_owned()).await))
            }
        };
    }
    if !is_move && run.is_committed() {
        return Ok(None);
    }
    let because = if is_move {
        // Wherever the address stands now, repairs put it where it belongs, and no host waits for that.
        "it was cut off; repairs go on from what they find"
    } else {
        seen_after(performer, open, run, facts).await;
        "it was cut off; the host is compared anew before it follows anybody"
    };
    Ok(Some(closed(performer, open, journal, because.to_owned()).await))
}

/// What the hosts show once nothing of the old program can change it any more, as far as they can be asked.
async fn seen_after(performer: &Performer<'_>, open: &OpenRun, run: &Run, facts: &Facts) -> Facts {
    if let Err((because, _)) = bury(performer, open, facts).await {
        performer.teller.tell(Event::Alarm {
            what: format!("run {}: {because}", open.opening.run),
            hint: String::new(),
        });
    }
    wait_for_expiry(open, run).await;
    performer.fleet.look_everywhere().await
}

/// Whether its commit has taken place: by its record or, where that ends before, by what its host shows.
fn has_happened(open: &OpenRun, run: &Run, facts: &Facts) -> Option<bool> {
    if run.is_committed() || !run.is_in_doubt() {
        return Some(run.is_committed());
    }
    let opening = &open.opening;
    let incoming = facts.get(opening.incoming.as_ref()?)?;
    match opening.address {
        Some(address) => Some(incoming.ssh.up()?.holds(address)),
        None => {
            let leading = incoming.mysql.up()?;
            let returning = facts.get(opening.outgoing.as_ref()?)?.mysql.up()?;
            let channel = returning.following(leading.server_id);
            Some(channel.is_some_and(|channel| channel.is_running()))
        }
    }
}

fn too_late(performer: &Performer<'_>, open: &OpenRun) -> Trouble {
    let opening = &open.opening;
    let named = |host: &Option<_>| host.as_ref().map(ToString::to_string).unwrap_or_default();
    let (outgoing, incoming) = (named(&opening.outgoing), named(&opening.incoming));
    let (because, back) = match opening.address {
        Some(address) => {
            let roles = &performer.fleet.entry().cluster.roles;
            let role = roles.iter().find(|role| role.addresses.contains(&address));
            let role = role.map_or("ROLE", |role| role.name.as_str());
            (
                format!("`{incoming}` holds {address} by it already"),
                format!("`mmm move-role {role} {outgoing} --address {address}` leads back"),
            )
        }
        None => (
            format!("`{outgoing}` follows `{incoming}` by it already"),
            format!("`mmm set-offline {outgoing}` takes the host out of service"),
        ),
    };
    let what = format!("run {} was not taken back", opening.run);
    Trouble::refused(Guard::G71, what, because).hint(format!(
        "`mmm resume {}` brings it to its end; {back}",
        opening.run
    ))
}
