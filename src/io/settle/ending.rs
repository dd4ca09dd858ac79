//! How a run that was cut off comes to be over without another stage, and what its record says then.

use super::{conclude, irrevocable};
use crate::core::cluster::HostName;
use crate::core::guard::Guard;
use crate::core::run::{Ending, Run};
use crate::core::settlement::Wish;
use crate::core::standing::Standing;
use crate::core::trouble::{Kind, Trouble};
use crate::io::conductor::RunReport;
use crate::io::journal::{Entry, Journal, OpenRun};
use crate::io::operation::Performer;

/// Nobody may act until those hosts answer or, without any, until a person has judged.
pub(super) async fn get_stuck(
    performer: &Performer<'_>,
    open: &OpenRun,
    (run, journal): (&Run, &mut Journal),
    standing: &mut Standing,
    (because, awaits): (&str, &[HostName]),
) {
    let ending = Ending::Stuck {
        because: because.to_owned(),
        awaits: awaits.to_vec(),
    };
    let is_ended = end(performer, open, journal, &ending);
    if run.is_in_doubt() {
        standing.writer = None;
    }
    standing.get_stuck(format!("run {}: {because}", open.opening.run), awaits);
    performer.remember(standing);
    // Of one that has been stuck all along the site has been told.
    if is_ended && !open.stuck {
        let report = RunReport {
            committed: run.is_committed(),
            in_doubt: run.is_in_doubt(),
            ..untouched_now(open, ending)
        };
        performer.site_after(&open.opening, &report).await;
    }
}

/// A run that did open its new writer, as stands on record, though its journal could not be written so far: it is over.
///
/// # Errors
/// Refused: it is to be taken back.
pub(super) fn known_better(
    performer: &Performer<'_>,
    open: &OpenRun,
    wish: Wish,
) -> Result<Settlement, Trouble> {
    let incoming = &open.opening.incoming;
    if let (Wish::TakeBack, Some(writer)) = (wish, incoming) {
        return Err(irrevocable(performer, open, writer));
    }
    let ending = Ending::Done {
        warnings: vec![
            "its journal could not be written to its end; the record of the writer tells it".to_owned(),
        ],
    };
    match Journal::reopen(&open.path) {
        Ok(mut journal) => drop(end(performer, open, &mut journal, &ending)),
        Err(error) => untold(performer, open, error),
    }
    Ok(Settlement::Closed(None))
}

/// Ends a run's journal; whether that is on disk. Otherwise the run is found open again, and whoever is to be told of its
/// end is told then.
pub(super) fn end(performer: &Performer<'_>, open: &OpenRun, journal: &mut Journal, ending: &Ending) -> bool {
    journal.append(Entry::End(ending.clone()));
    match journal.trouble() {
        None => true,
        Some(why) => {
            untold(performer, open, why);
            false
        }
    }
}

fn untold(performer: &Performer<'_>, open: &OpenRun, why: impl std::fmt::Display) {
    let what = format!("the journal of run {} cannot be ended", open.opening.run);
    performer.alarm(&Trouble::new(Kind::Wrong, what, why).hint("free some space in the state directory"));
}

/// What came of settling a run.
#[derive(Debug)]
pub(in crate::io) enum Settlement {
    /// Nothing was done for it, and why; it is over.
    Closed(Option<String>),
    /// It is taken back, or nothing had to be; it is over, and nobody was told of that yet.
    TakenBack(RunReport),
    /// It was performed to its end.
    Ended(RunReport),
}

/// Nothing is done for it any more: others have, or repairs will.
pub(super) async fn closed(
    performer: &Performer<'_>,
    open: &OpenRun,
    journal: &mut Journal,
    because: String,
) -> Settlement {
    let ending = Ending::Undone {
        because: because.clone(),
        untouched: false,
    };
    let is_ended = end(performer, open, journal, &ending);
    let report = RunReport {
        in_doubt: true,
        ..untouched_now(open, ending)
    };
    if is_ended {
        performer.site_after(&open.opening, &report).await;
    }
    Settlement::Closed(Some(because))
}

/// How a run ended for which no stage was performed any more.
pub(super) fn untouched_now(open: &OpenRun, ending: Ending) -> RunReport {
    RunReport {
        ending,
        committed: false,
        in_doubt: false,
        write_refused: None,
        registered: open.registered.clone(),
        not_following: Vec::new(),
    }
}

/// A run that was cut off before its first step: nothing was touched.
pub(super) async fn close_untouched(
    performer: &Performer<'_>,
    open: &OpenRun,
    standing: &mut Standing,
) -> Result<Settlement, Trouble> {
    let mut journal = Journal::reopen(&open.path).map_err(|error| {
        Trouble::refused(
            Guard::G05,
            format!("the journal of run {} cannot be ended", open.opening.run),
            error,
        )
    })?;
    let because = "it was cut off before its first step".to_owned();
    let ending = Ending::Undone {
        because,
        untouched: false,
    };
    let is_ended = end(performer, open, &mut journal, &ending);
    let report = untouched_now(open, ending);
    conclude(open, &report, standing);
    performer.remember(standing);
    if is_ended {
        performer.site_closed(&open.opening, &report).await;
    }
    Ok(Settlement::TakenBack(report))
}
