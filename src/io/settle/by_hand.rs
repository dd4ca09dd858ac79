//! Work by hand that was cut off: out of service and back in, a rebuild, a single duty. It concerns one host, so nobody
//! else waits for that host to answer; what becomes of it is decided in `core::chore`.

use super::ending::{Settlement, end, untouched_now};
use super::left_over::bury;
use crate::config::playbook::opening_step;
use crate::core::by_hand::{self, Asked, Values};
use crate::core::chore::{self, CutOff, Way};
use crate::core::clearing;
use crate::core::cluster::HostName;
use crate::core::event::Event;
use crate::core::guard::{Facts, Guard};
use crate::core::proposal::Wish as Wanted;
use crate::core::run::{Ending, Happening, Outcome};
use crate::core::script::DutyOutcome;
use crate::core::settlement::Wish;
use crate::core::standing::Standing;
use crate::core::trouble::Trouble;
use crate::io::conductor::{RunReport, outcome_of};
use crate::io::context::Errands;
use crate::io::journal::{Entry, Journal, OpenRun};
use crate::io::operation::{Performer, SingleDuty, uses_gtid};

/// Whether it has to wait until its host can be reached: only there can what is left of it be ended.
pub(super) fn must_wait(open: &OpenRun, facts: &Facts) -> bool {
    let is_out_of_reach = |host: &HostName| facts.get(host).is_some_and(|seen| seen.ssh.up().is_none());
    open.opening.chore.is_some() && open.shells.iter().any(|(host, _)| is_out_of_reach(host))
}

/// Brings it to its end, as the wish has it. A person who wants it to go on has it done anew afterwards.
///
/// # Errors
/// Refused: it cannot be taken back, or what it left running is not known to be gone. It stays open.
pub(super) async fn settled(
    performer: &Performer<'_>,
    open: &OpenRun,
    wanted: &Wanted,
    standing: &Standing,
    facts: &Facts,
    wish: Wish,
) -> Result<Settlement, Trouble> {
    let name = &open.opening.run;
    let host = open
        .opening
        .outgoing
        .clone()
        .unwrap_or_else(|| HostName::from("nobody"));
    let playbook = performer.fleet.playbook();
    let duty = playbook.duties.get(&open.opening.operation);
    let way = chore::settle(CutOff {
        wanted,
        run: name,
        is_begun: open
            .happenings
            .iter()
            .any(|happening| matches!(happening, Happening::Doing(_))),
        is_offline: standing.offline.contains_key(&host),
        undo: duty.and_then(|duty| duty.undo.as_ref()),
        wish,
    });
    if let Way::Irrevocable { because, hint } = way {
        let what = format!("{name} was not taken back");
        return Err(Trouble::refused(Guard::G71, what, because).hint(hint));
    }
    if must_wait(open, facts) {
        let because = format!("what it left running on {host} cannot be ended: it is not reached over SSH");
        return Err(not_touched(name, because));
    }
    if let Err((because, _)) = bury(performer, open, facts).await {
        return Err(not_touched(name, because));
    }
    let mut journal = Journal::reopen(&open.path).map_err(|error| {
        let what = format!("the record of {name} cannot be ended");
        Trouble::refused(Guard::G05, what, error)
    })?;
    let ending = match way {
        Way::Nothing(because) => Ending::Undone {
            because,
            untouched: false,
        },
        Way::Done => Ending::Done { warnings: Vec::new() },
        Way::Stop => match stopped(performer, &host, facts).await {
            Ok(()) => Ending::Done {
                warnings: vec!["it was cut off; whoever came next saw to the rest".to_owned()],
            },
            Err(because) => Ending::Failed { because },
        },
        Way::StopAgain => match stopped(performer, &host, facts).await {
            Ok(()) => Ending::Undone {
                because: format!("it was cut off, and the replication of {host} is stopped"),
                untouched: false,
            },
            Err(because) => Ending::Failed { because },
        },
        Way::Undo(undo) => undone(performer, open, wanted, &undo, standing, facts, &mut journal).await?,
        Way::GiveUp(because) | Way::Irrevocable { because, .. } => Ending::Failed { because },
    };
    if wish == Wish::Settle {
        performer.teller.tell(Event::Noted {
            what: format!("{name} is over: {}", sentence(&ending)),
        });
    }
    end(performer, open, &mut journal, &ending);
    let report = untouched_now(open, ending);
    Ok(settlement(report, wish))
}

/// For a person it is either taken back, or it is over and what he wants is done anew.
fn settlement(report: RunReport, wish: Wish) -> Settlement {
    match wish {
        Wish::TakeBack => Settlement::TakenBack(report),
        Wish::Settle | Wish::GoOn => Settlement::Closed(Some(sentence(&report.ending))),
    }
}

fn sentence(ending: &Ending) -> String {
    match ending {
        Ending::Done { warnings } if warnings.is_empty() => "it had done what it was for".to_owned(),
        Ending::Done { warnings } => warnings.join("; "),
        Ending::Undone { because, .. } | Ending::Failed { because } | Ending::Stuck { because, .. } => {
            because.clone()
        }
    }
}

fn not_touched(name: &str, because: String) -> Trouble {
    let hint = "once the host can be reached, try again";
    Trouble::refused(Guard::G73, format!("{name} was not touched"), because).hint(hint)
}

/// Stops the replication of that host, where any of it is at work.
async fn stopped(performer: &Performer<'_>, host: &HostName, facts: &Facts) -> Result<(), String> {
    let Some(server) = facts.get(host).and_then(|seen| seen.mysql.up()) else {
        return Err(format!("whether {host} replicates is not known"));
    };
    if !server.replicas.iter().any(clearing::is_at_work) {
        return Ok(());
    }
    performer.call(&clearing::stop(host)).await
}

/// Has the duty performed that takes a single one back.
///
/// # Errors
/// Refused: only an operation may do that, or a value of it is not known.
async fn undone(
    performer: &Performer<'_>,
    open: &OpenRun,
    wanted: &Wanted,
    undo: &str,
    standing: &Standing,
    facts: &Facts,
    journal: &mut Journal,
) -> Result<Ending, Trouble> {
    let what = || format!("{} was not taken back", open.opening.run);
    let Wanted::Duty {
        at,
        on_box,
        set,
        within_ms,
        ..
    } = wanted
    else {
        return Err(Trouble::refused(Guard::G71, what(), "it is no single duty"));
    };
    let mut values = Values::read(set).map_err(|because| Trouble::refused(Guard::G71, what(), because))?;
    values.registered.extend(open.registered.clone());
    let playbook = performer.fleet.playbook();
    let opening_step = opening_step(playbook, undo);
    let asked = Asked {
        duty: undo,
        at,
        only_asks: false,
        opening_step: opening_step.as_deref(),
        address: values.address,
    };
    by_hand::allowed(&performer.fleet.entry().cluster, standing, &asked)?;
    let single = SingleDuty {
        duty: undo,
        at,
        on_box: *on_box,
        within: std::time::Duration::from_millis(*within_ms),
        errand: Errands {
            address: values.address,
            source: values.source.as_ref(),
            registered: Some(&values.registered),
            with: Some(&values.with),
            gtid: uses_gtid(facts),
            ..Errands::default()
        },
    };
    // That everything it names has a value is seen before anything is done.
    performer.planner().stage_of_duty(&single).await?;
    journal.append(Entry::Step(Happening::Undoing(0)));
    let report = performer.send(&single).await?;
    let outcome = outcome_of(at, &report);
    journal.append(Entry::Step(Happening::Undid(0, outcome.clone())));
    Ok(match (report.outcome, outcome) {
        (DutyOutcome::Done, _) | (_, Outcome::Done) => Ending::Undone {
            because: "it was cut off, and its duty is taken back".to_owned(),
            untouched: false,
        },
        (_, Outcome::Failed(why) | Outcome::Unknown(why)) => Ending::Failed {
            because: format!("taking it back failed: {why}"),
        },
    })
}
