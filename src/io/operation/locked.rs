//! Whose locks an operation must hold before it begins.

use super::{Performer, Request};
use crate::core::cluster::HostName;
use crate::core::guard::Guard;
use crate::core::plan::Seats;
use crate::core::trouble::Trouble;

impl Performer<'_> {
    /// The hosts that must be ours are: another box that reaches one could otherwise act on it at the same time.
    pub(super) fn require_locks(&self, request: &Request, seats: &Seats) -> Result<(), Trouble> {
        let mut needed = must_be_held(request, seats).into_iter();
        match needed.find(|host| !self.fleet.holds_lock_of(host)) {
            Some(host) => Err(Trouble::refused(
                Guard::G19,
                format!(
                    "{} of `{}` was not begun",
                    request.operation(),
                    self.fleet.entry().cluster.name
                ),
                format!(
                    "the cluster's lock on `{host}` could not be had{}",
                    self.fleet.why_no_lock(host)
                ),
            )),
            None => Ok(()),
        }
    }
}

/// The host that is opened; in a hand-over the one that is closed too, which answers, or there would be none; and where the
/// writer is opened again, those from which the address is taken for it. A dead writer has no lock to give.
fn must_be_held<'s>(request: &Request, seats: &'s Seats) -> Vec<&'s HostName> {
    match request {
        Request::Switchover { .. } => seats.incoming.iter().chain(&seats.outgoing).collect(),
        Request::Failover { .. } => seats.incoming.iter().collect(),
        Request::Reopen { .. } => seats.incoming.iter().chain(&seats.replicas).collect(),
        Request::Rejoin { .. } | Request::MoveAddress { .. } => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::evidence::Rung;

    #[test]
    fn who_is_opened_must_be_held_and_in_a_hand_over_who_is_closed() {
        let seats = Seats {
            outgoing: Some("db1".into()),
            incoming: Some("db2".into()),
            replicas: vec!["db3".into()],
            donor: None,
        };
        let held = |request: Request| -> Vec<String> {
            let hosts = must_be_held(&request, &seats);
            hosts.into_iter().map(ToString::to_string).collect()
        };
        let switchover = Request::Switchover {
            to: None,
            write_refused_max: None,
        };
        assert_eq!(held(switchover), ["db2", "db1"]);
        let failover = Request::Failover {
            outgoing: Some("db1".into()),
            incoming: "db2".into(),
            rung: Rung::Demote,
            events: None,
            seen: None,
            allow_loss: false,
            automatic: true,
        };
        assert_eq!(held(failover), ["db2"]);
        assert_eq!(held(Request::Reopen { writer: None }), ["db2", "db3"]);
        assert!(held(Request::Rejoin { host: "db1".into() }).is_empty());
    }
}
