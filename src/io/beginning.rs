//! What comes before a monitor's first decision about a cluster: its own network, then the start itself.

use std::pin::pin;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use crate::core::engine::{Effect, Engine, Input};
use crate::core::event::Event;
use crate::core::standing::Standing;
use crate::io::clock;
use crate::io::monitor::{Question, alarm, answer, is_held_elsewhere, means};
use crate::io::network::NetworkWatch;
use crate::io::operation::Performer;
use crate::io::records;

/// Pause before a monitor that found the lock held tries to begin again.
const BEGIN_AGAIN_AFTER: Duration = Duration::from_millis(500);

/// Waits for the network and starts up; gives what stands then. None when told to stop.
pub(super) async fn begin(
    performer: &Performer<'_>,
    network: &mut NetworkWatch,
    questions: &mut mpsc::Receiver<Question>,
    stop: &mut watch::Receiver<bool>,
) -> Option<Standing> {
    if !await_network(performer, network, questions, stop).await {
        return None;
    }
    start_up(performer, questions, stop).await
}

/// Waits until this box's own network answers: before, everybody looks dead. False when told to stop.
async fn await_network(
    performer: &Performer<'_>,
    network: &mut NetworkWatch,
    questions: &mut mpsc::Receiver<Question>,
    stop: &mut watch::Receiver<bool>,
) -> bool {
    let mut engine = last_known(performer);
    loop {
        let answers = *network.answers.borrow_and_update();
        for effect in engine.step(clock::now(), Input::Network { answers }) {
            if let Effect::Tell(event @ Event::NetworkChanged { .. }) = effect {
                performer.teller.tell(event);
            }
        }
        if answers {
            return true;
        }
        tokio::select! {
            Ok(()) = network.answers.changed() => {}
            Some(question) = questions.recv() => answer(&engine, question),
            _ = stop.changed() => return false,
        }
    }
}

/// Starts up; somebody who holds the lock is waited for, because nothing may be done before. Settling a run that was cut
/// off takes its time, and questions are answered meanwhile. None when told to stop.
async fn start_up(
    performer: &Performer<'_>,
    questions: &mut mpsc::Receiver<Question>,
    stop: &mut watch::Receiver<bool>,
) -> Option<Standing> {
    loop {
        let engine = last_known(performer).at_work();
        let mut starting = pin!(performer.start_up());
        let started = loop {
            tokio::select! {
                started = &mut starting => break started,
                Some(question) = questions.recv() => answer(&engine, question),
            }
        };
        match started {
            Ok(standing) => return Some(standing),
            Err(trouble) if is_held_elsewhere(&trouble) => tracing::info!("{trouble}"),
            Err(trouble) => {
                alarm(&performer.teller, &trouble);
                return Some(performer.dir.load().unwrap_or_default());
            }
        }
        tokio::select! {
            () = tokio::time::sleep(BEGIN_AGAIN_AFTER) => {}
            _ = stop.changed() => return None,
        }
    }
}

/// What the last monitor knew, to answer with until this one knows more. What cannot be read is told by the start itself.
fn last_known(performer: &Performer<'_>) -> Engine {
    let entry = performer.fleet.entry();
    let standing = performer.dir.load().unwrap_or_default();
    let engine = Engine::new(entry.cluster.clone(), means(entry), standing);
    match records::load(&performer.dir) {
        Ok(Some(records)) => engine.resume(records),
        Ok(None) | Err(_) => engine,
    }
}
