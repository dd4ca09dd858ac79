//! When idle connections noticed that their server was no longer the writer. The time counts from the last
//! acknowledgement of the server's turn, or from the opening of the connection if it was opened to a server whose
//! turn was over already.

use std::time::Duration;

use serde::Serialize;

use super::acks::Turn;
use super::evidence::{IdleConnection, WriterLog};
use super::{Violation, ms};

/// How the idle connections fared.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Idle {
    /// How many were opened in all.
    pub opened: usize,
    /// How many had to notice a handover, and did.
    pub noticed: usize,
    pub slowest_ms: f64,
    /// How many had to notice one and never did, as `slot (server)`.
    pub unnoticed: Vec<String>,
}

/// Judges the idle connections of all logs. One that was left behind less than `within` before its log ended is
/// not counted: it had no time to notice.
pub fn notice(logs: &[WriterLog], turns: &[Turn], within: Option<Duration>) -> Idle {
    let grace_ns = within.map_or(0, |within| u64::try_from(within.as_nanos()).unwrap_or(u64::MAX));
    let mut idle = Idle::default();
    for log in logs {
        idle.opened += log.idle.len();
        for connection in &log.idle {
            let Some(due_ns) = left_behind_ns(connection, turns) else {
                continue;
            };
            match connection.gone_ns {
                Some(gone_ns) => {
                    idle.noticed += 1;
                    idle.slowest_ms = idle.slowest_ms.max(ms(gone_ns.saturating_sub(due_ns)));
                }
                None if log.last_ns() > due_ns.saturating_add(grace_ns) => {
                    idle.unnoticed
                        .push(format!("{} (server {})", connection.slot, connection.server));
                }
                None => {}
            }
        }
    }
    idle
}

/// When this connection's server stopped being the writer; `None` if it never did.
fn left_behind_ns(connection: &IdleConnection, turns: &[Turn]) -> Option<u64> {
    let current = turns
        .iter()
        .position(|turn| turn.last_ack_ns >= connection.opened_ns);
    // After the last turn's last acknowledgement that turn goes on for all we know.
    let current = current.or(turns.len().checked_sub(1))?;
    let (turn, is_last) = (&turns[current], current + 1 == turns.len());
    match (turn.server == connection.server, is_last) {
        (true, true) => None,
        (true, false) => Some(turn.last_ack_ns),
        (false, _) => Some(connection.opened_ns),
    }
}

impl Idle {
    pub(super) fn violation(&self, within: Option<Duration>) -> Option<Violation> {
        let limit_ms = within?.as_secs_f64() * 1000.0;
        let late = self.slowest_ms > limit_ms || !self.unnoticed.is_empty();
        late.then_some(Violation::IdleLate {
            slowest_ms: self.slowest_ms,
            unnoticed: self.unnoticed.len(),
            limit_ms,
        })
    }
}
