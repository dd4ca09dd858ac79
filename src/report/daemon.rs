//! A daemon's events: one line a change on stderr, or JSON lines on stdout.

use tokio::sync::mpsc::UnboundedReceiver;

use super::line;
use super::reporter::{Output, out, talk};
use crate::core::event::Told;

/// Tells events until every sender is gone.
pub async fn report_daemon(mut events: UnboundedReceiver<Told>, output: Output) {
    while let Some(told) = events.recv().await {
        match output {
            Output::Json => match serde_json::to_string(&told) {
                Ok(line) => out(&line),
                Err(error) => tracing::error!("an event could not be written as JSON: {error}"),
            },
            Output::Text => {
                if let Some(words) = line::words(&told) {
                    for line in words.lines().filter(|line| !line.trim().is_empty()) {
                        talk(&format!("{} {} {}", told.at, told.cluster, line.trim_start()));
                    }
                }
            }
        }
    }
}
