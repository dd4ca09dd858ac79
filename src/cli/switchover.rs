//! `mmm switchover [CLUSTER] [--to HOST]`: hands the writer role over.

use std::time::Duration;

use super::args::Settings;
use super::setting;
use crate::core::trouble::Trouble;
use crate::io::operation::Request;

/// Performs it; the exit code says how it ended. A person may force it `in_whatever_state` a monitor holds the host to be.
pub async fn run(
    settings: &Settings,
    named: Option<&str>,
    to: Option<&str>,
    lock_wait: Duration,
    write_refused_max: Option<Duration>,
    in_whatever_state: bool,
) -> Result<u8, Trouble> {
    let inventory = setting::inventory(settings)?;
    let entry = setting::cluster(settings, &inventory, named)?;
    let fleet = setting::fleet(entry).await?;
    let (teller, reporting) = setting::telling(settings, &entry.cluster.name);
    let mut performer = setting::performer(settings, &inventory, &fleet, teller, lock_wait);
    performer.whatever_state = in_whatever_state;
    let performed = performer
        .perform(&Request::Switchover {
            to: to.map(str::to_owned),
            write_refused_max,
        })
        .await;
    drop(performer);
    setting::all_told(reporting).await;
    setting::concluded(&inventory, entry, performed).await
}
