//! What people see while the lab works: a spinner on a terminal, plain lines otherwise, nothing in tests.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Where progress goes.
#[derive(Debug)]
pub enum Progress {
    Silent,
    Lines,
    Spinner(ProgressBar),
}

impl Progress {
    /// For people: on standard error.
    pub fn shown() -> Self {
        if !std::io::stderr().is_terminal() {
            return Self::Lines;
        }
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(100));
        Self::Spinner(bar)
    }

    /// Says what is being done now.
    pub fn step(&self, text: &str) {
        match self {
            Self::Silent => {}
            Self::Lines => line(text),
            Self::Spinner(bar) => bar.set_message(text.to_owned()),
        }
    }

    /// Says something that is to stay on the screen.
    pub fn note(&self, text: &str) {
        match self {
            Self::Silent => {}
            Self::Lines => line(text),
            Self::Spinner(bar) => bar.suspend(|| line(text)),
        }
    }

    /// The end: what was done and how long it took.
    pub fn done(&self, text: &str, since: Instant) {
        if let Self::Spinner(bar) = self {
            bar.finish_and_clear();
        }
        if !matches!(self, Self::Silent) {
            line(&format!("{text} ({:.1} s)", since.elapsed().as_secs_f64()));
        }
    }
}

fn line(text: &str) {
    // Nobody can be told that standard error is closed.
    let _closed = writeln!(std::io::stderr(), "lab: {text}");
}
