//! Asks the networks of the hosts, now and then, whether another machine answers for an address that one of them holds.
//!
//! It takes a second and a shell of its own, so that neither looks nor operations wait for it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

use crate::core::cluster::HostName;
use crate::core::script::{DutyOutcome, Failure};
use crate::core::trouble::Trouble;
use crate::io::context::Errands;
use crate::io::fleet::Fleet;

/// Each address is asked about so often at most.
const ASK_EVERY: Duration = Duration::from_secs(30);
/// After an answer, the same is asked again so much later.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(5);
/// One question may take so long, the way to the host included.
const ASK_WITHIN: Duration = Duration::from_secs(8);

/// When each address was asked about.
#[derive(Debug, Default)]
pub struct Rounds {
    asked: BTreeMap<IpAddr, Instant>,
}

impl Rounds {
    /// Takes the first of these addresses that is due.
    pub fn due(&mut self, at_rest: Vec<(HostName, IpAddr)>) -> Option<(HostName, IpAddr)> {
        let is_due = |address: &IpAddr| match self.asked.get(address) {
            Some(asked) => asked.elapsed() >= ASK_EVERY,
            None => true,
        };
        let found = at_rest.into_iter().find(|(_, address)| is_due(address));
        if let Some((_, address)) = &found {
            self.asked.insert(*address, Instant::now());
        }
        found
    }
}

/// Whether another machine answers for `address` on the network of `host`, which holds it; `None` when it could not be
/// asked. An answer counts when it comes again: while an address moves, two of our own hosts hold it for a moment.
pub async fn ask_twice(fleet: &Fleet, host: &HostName, address: IpAddr) -> Option<bool> {
    if !ask(fleet, host, address).await? {
        return Some(false);
    }
    tokio::time::sleep(ASK_AGAIN_AFTER).await;
    ask(fleet, host, address).await
}

async fn ask(fleet: &Fleet, host: &HostName, address: IpAddr) -> Option<bool> {
    let asked = tokio::time::timeout(ASK_WITHIN, ask_in_a_shell(fleet, host, address)).await;
    match asked {
        Ok(Ok(DutyOutcome::Done)) => Some(false),
        Ok(Ok(DutyOutcome::Failed { why, .. })) if is_answer(&why, address) => Some(true),
        Ok(Ok(other)) => {
            tracing::debug!("{host} could not ask who holds {address}: {other:?}");
            None
        }
        Ok(Err(trouble)) => {
            tracing::debug!("{host} could not ask who holds {address}: {trouble}");
            None
        }
        Err(_elapsed) => {
            tracing::debug!("{host} took too long to ask who holds {address}");
            None
        }
    }
}

/// When somebody answered, arping (IPv4) exits with 1, and ndisc6 names a hardware address; anything else is their own
/// trouble.
fn is_answer(why: &Failure, address: IpAddr) -> bool {
    match why {
        Failure::Status(status) => address.is_ipv4() && *status == 1,
        Failure::Unexpected(answer) => address.is_ipv6() && !answer.is_empty(),
        Failure::Sql(_) | Failure::Late | Failure::Waited(_) => false,
    }
}

async fn ask_in_a_shell(fleet: &Fleet, host: &HostName, address: IpAddr) -> Result<DutyOutcome, Trouble> {
    let errand = Errands {
        address: Some(address),
        ..Errands::default()
    };
    let mut shell = fleet.open_another_shell(host).await?;
    let script = fleet.ready(host, "probe-duplicate", &errand, ASK_WITHIN).await?;
    let report = shell.run(&script, Instant::now() + ASK_WITHIN).await;
    shell.close(Duration::from_millis(500)).await;
    Ok(report.outcome)
}
