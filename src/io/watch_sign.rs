//! The sign that a monitor watches the cluster: a lock of its own on every server, for as long as the monitor runs. By it
//! a command from cron on another box sees that somebody acts already, and two monitors see each other.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::sleep;

use crate::core::cluster::HostName;
use crate::core::event::Event;
use crate::io::fleet::Fleet;
use crate::io::mysql::{Holder, Lock, Taking};
use crate::io::teller::Teller;

/// The sign is looked after this often.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// One server may take so long to grant the sign, or to say who has it.
const WITHIN: Duration = Duration::from_secs(1);
/// A living monitor uses its connections every 2 s. One that has been silent for so long watches no more, though the
/// server has not noticed yet.
const SILENT: Duration = Duration::from_secs(5);

/// Holds the sign on every server that answers, until it is dropped. Another monitor that holds it is told once.
pub async fn hold(fleet: Arc<Fleet>, teller: Teller) {
    let mut held: BTreeMap<HostName, Lock> = BTreeMap::new();
    let mut rival: Option<String> = None;
    loop {
        let asked = held
            .iter()
            .map(|(host, lock)| async move { (!lock.still_held(WITHIN).await).then(|| host.clone()) });
        let lost: Vec<HostName> = join_all(asked).await.into_iter().flatten().collect();
        held.retain(|host, _| !lost.contains(host));
        let missing = fleet
            .entry()
            .hosts
            .keys()
            .filter(|host| !held.contains_key(*host));
        let taken = join_all(missing.map(|host| take(&fleet, host))).await;
        let mut seen = None;
        for (host, taking) in taken {
            match taking {
                Some(Taking::Taken(lock)) => drop(held.insert(host, lock)),
                Some(Taking::Held(Some(holder))) if lives(&holder) && !holder.is_from_here => {
                    seen = Some(whence(&holder));
                }
                Some(Taking::Held(_)) | None => {}
            }
        }
        if let Some(other) = seen.as_ref().filter(|_| seen != rival) {
            teller.tell(Event::Alarm {
                what: format!("a monitor on {other} watches the cluster as well"),
                hint: "let one box watch; a second one can run `mmm failover --if-dead` from cron".to_owned(),
            });
        }
        rival = seen;
        sleep(LOOK_EVERY).await;
    }
}

/// Where a monitor runs that watches the cluster: its address, or `this box`; none when no server that answers shows
/// the sign of one.
pub async fn seen(fleet: &Fleet) -> Option<String> {
    let holders = fleet.entry().hosts.keys().map(|host| fleet.watcher(host, WITHIN));
    join_all(holders)
        .await
        .into_iter()
        .flatten()
        .find(lives)
        .map(|holder| whence(&holder))
}

async fn take(fleet: &Fleet, host: &HostName) -> (HostName, Option<Taking>) {
    let taking = match fleet.take_watch_sign(host, WITHIN).await {
        Some(Ok(taking)) => Some(taking),
        Some(Err(failure)) => {
            tracing::debug!(
                "the sign of a monitor could not be set on {host}: {}",
                failure.text
            );
            None
        }
        None => None,
    };
    (host.clone(), taking)
}

fn lives(holder: &Holder) -> bool {
    holder.silent_for < SILENT
}

fn whence(holder: &Holder) -> String {
    let address = holder.client.as_deref().map(|client| {
        client
            .rsplit_once(':')
            .map_or(client, |(address, _port)| address)
            .to_owned()
    });
    match address {
        _ if holder.is_from_here => "this box".to_owned(),
        Some(address) => address,
        None => "another box".to_owned(),
    }
}
