//! Where events go: lines on stderr and the last word on stdout, JSON lines on stdout, or a bar on a terminal.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::mpsc::UnboundedReceiver;

use super::line;
use crate::core::event::{Event, Loudness, StepEnd, Told};
use crate::core::printed::Printed;
use crate::core::run::Ending;

/// How to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Output {
    /// Words for people.
    #[default]
    Text,
    /// One JSON object a line on stdout.
    Json,
}

/// Tells events until every sender is gone.
pub async fn report(mut events: UnboundedReceiver<Told>, output: Output, quiet: bool) {
    let bar = (output == Output::Text && !quiet && std::io::stderr().is_terminal()).then(new_bar);
    while let Some(told) = events.recv().await {
        match output {
            Output::Json => json(&told),
            Output::Text if quiet && is_as_wanted(&told.event) => {}
            Output::Text => text(&told, bar.as_ref()),
        }
    }
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
}

/// Whether somebody who wants to hear of trouble alone need not hear of it. That a failover was needed is trouble.
fn is_as_wanted(event: &Event) -> bool {
    match event {
        Event::RunEnded {
            ending: Ending::Done { warnings },
            operation,
            ..
        } => warnings.is_empty() && operation != "failover",
        Event::RunEnded { .. } => false,
        Event::StepEnded { ended, .. } => matches!(ended, StepEnd::Done | StepEnd::Retried),
        other => other.loudness() < Loudness::Alarm,
    }
}

fn new_bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    let style = ProgressStyle::with_template("{prefix:>10} [{elapsed:>5}] {pos}/{len} {wide_msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_prefix("RUNNING");
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// An event as a line of JSON.
pub fn json(told: &Told) {
    match serde_json::to_string(&Printed::of(told)) {
        Ok(line) => out(&line),
        Err(error) => tracing::error!("an event could not be written as JSON: {error}"),
    }
}

fn text(told: &Told, bar: Option<&ProgressBar>) {
    if let (
        Event::StepStarted {
            step,
            of,
            hosts,
            name,
        },
        Some(bar),
    ) = (&told.event, bar)
    {
        let hosts: Vec<&str> = hosts.iter().map(|host| host.as_str()).collect();
        bar.set_length(*of as u64);
        bar.set_position(*step as u64);
        bar.set_message(format!("{} {name}", hosts.join(",")));
    }
    let Some(words) = line::words(told) else { return };
    let is_last_word = matches!(told.event, Event::RunEnded { .. } | Event::Lost { .. });
    let say = || if is_last_word { out(&words) } else { talk(&words) };
    match bar {
        Some(bar) => bar.suspend(say),
        None => say(),
    }
}

/// A line of data on stdout. A closed pipe is the reader's choice and no error.
pub fn out(line: &str) {
    let _reader_may_be_gone = writeln!(anstream::stdout(), "{line}");
}

/// A line of talk on stderr.
pub fn talk(line: &str) {
    let _reader_may_be_gone = writeln!(anstream::stderr(), "{line}");
}
