//! A daemon's events: into its log, and as JSON lines on stdout where that was asked for.

use tokio::sync::mpsc::UnboundedReceiver;

use super::log;
use super::reporter::{Output, json};
use crate::core::event::Told;

/// Tells events until every sender is gone.
pub async fn report_daemon(mut events: UnboundedReceiver<Told>, output: Output) {
    while let Some(told) = events.recv().await {
        log::told(&told);
        if output == Output::Json {
            json(&told);
        }
    }
}
