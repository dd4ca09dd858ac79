//! Whether what was asked for with a time is still to be begun. What has touched something goes on to its own end.

use std::time::Instant;

use super::Performer;
use crate::core::guard::Guard;
use crate::core::trouble::Trouble;

impl Performer<'_> {
    /// That whoever asked still wants this to begin.
    ///
    /// # Errors
    /// Refused: the time given is over.
    pub(in crate::io) fn in_time_for(&self, what: &str) -> Result<(), Trouble> {
        if self.begin_by.is_none_or(|moment| Instant::now() < moment) {
            return Ok(());
        }
        Err(Trouble::refused(
            Guard::G64,
            format!("{what} was not begun"),
            "everything before its first step took longer than that",
        ))
    }
}
