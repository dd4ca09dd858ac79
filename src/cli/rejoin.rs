//! `mmm rejoin HOST`: compares a replaced writer and lets it follow if it has nothing extra.

use std::time::Duration;

use super::args::{RejoinArguments, Settings};
use super::setting;
use crate::core::cluster::HostName;
use crate::core::trouble::{Kind, Trouble};
use crate::io::tending::Returning;

/// How long another operation is waited for.
const LOCK_WAIT: Duration = Duration::from_secs(10);

/// Performs it; the exit code says how it ended.
pub async fn run(settings: &Settings, what: &RejoinArguments) -> Result<u8, Trouble> {
    let inventory = setting::inventory(settings)?;
    let entry = setting::cluster(settings, &inventory, None)?;
    let name = HostName::from(what.host.as_str());
    if entry.cluster.host(&name).is_none() {
        return Err(Trouble::new(
            Kind::Usage,
            format!("`{}` has no host `{name}`", entry.cluster.name),
            "the inventory does not name it",
        ));
    }
    if what.discard {
        confirm_discarding(settings, &name)?;
    }
    let fleet = setting::fleet(entry).await?;
    let (teller, reporting) = setting::telling(settings, &entry.cluster.name);
    let performer = setting::performer(settings, &inventory, &fleet, teller, LOCK_WAIT);
    let performed = match (what.discard, what.rebuilt) {
        (true, _) => performer.discard(&name).await,
        (false, true) => performer.take_back_as(&name, Returning::Rebuilt).await,
        (false, false) => performer.take_back(&name).await,
    };
    drop(performer);
    setting::all_told(reporting).await;
    setting::concluded(&inventory, entry, performed).await
}

/// A person says that what only the host has may go.
///
/// # Errors
/// Refused: he does not, or nobody is there to say so.
pub(super) fn confirm_discarding(settings: &Settings, host: &HostName) -> Result<(), Trouble> {
    setting::confirm(
        settings,
        &format!("What only `{host}` has will be lost for good when it is rebuilt"),
    )
}
