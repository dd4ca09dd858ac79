//! The wall clock, read in one place.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::core::moment::Moment;

/// Now.
pub fn now() -> Moment {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Moment(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}
