//! What the samples prove. A host's writable window runs from its first to its last writable sample in a row.
//!
//! Asserted for any two hosts: the last writable sample of one ended before the first of the other began. If not,
//! the windows touch, which is a violation; it is *proven* that both were writable at one moment if the windows
//! overlap even when each sample is taken at the end of its interval that favours the servers.
//!
//! A window may be longer than its samples show: up to the host's next sample, and back to the one before. That
//! blindness is reported beside each handover.

use std::time::Duration;

use serde::Serialize;

use super::evidence::HostSamples;
use super::{Violation, ms};
use crate::sampler::{Span, State};

/// What was sampled on one host.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HostWindows {
    pub host: String,
    pub samples: u64,
    /// How many samples the server answered.
    pub answered: u64,
    /// The longest time between two samples.
    pub longest_blind_ms: f64,
}

/// One host's writable window ended and another host's began.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Handover {
    pub from: String,
    pub to: String,
    /// From the last writable sample of the one to the first of the other; negative when they overlap.
    pub apart_ms: f64,
    /// How long after its last writable sample the old writer was next looked at; `None`: never again.
    pub old_blind_ms: Option<f64>,
    /// How long before its first writable sample the new writer had last been looked at; `None`: never.
    pub new_blind_ms: Option<f64>,
}

/// Two hosts with touching writable windows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Touch {
    pub hosts: (String, String),
    pub for_ms: f64,
    /// Both were certainly writable at one moment.
    pub proven: bool,
}

/// All hosts' samples.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Windows {
    pub hosts: Vec<HostWindows>,
    pub handovers: Vec<Handover>,
    pub touching: Vec<Touch>,
}

/// A writable span, with its neighbours in time on the same host.
struct Window<'a> {
    host: &'a str,
    span: &'a Span,
    before: Option<&'a Span>,
    after: Option<&'a Span>,
}

/// Compares the writable windows of all hosts.
pub fn compare(samples: &[HostSamples]) -> Windows {
    let mut windows: Vec<Window> = samples.iter().flat_map(windows_of).collect();
    windows.sort_by_key(|window| window.span.first.from_ns);
    let mut touching = Vec::new();
    for (index, old) in windows.iter().enumerate() {
        let later = windows[index + 1..].iter();
        // Sorted by their beginnings: the first that begins after the end of this one ends the search.
        let near = later.take_while(|new| new.span.first.from_ns <= old.span.last.to_ns);
        touching.extend(near.filter(|new| new.host != old.host).map(|new| touch(old, new)));
    }
    let pairs = windows.windows(2).filter(|pair| pair[0].host != pair[1].host);
    let handovers = pairs.map(|pair| handover(&pair[0], &pair[1])).collect();
    Windows {
        hosts: samples.iter().map(host_windows).collect(),
        handovers,
        touching,
    }
}

fn windows_of(samples: &HostSamples) -> impl Iterator<Item = Window<'_>> {
    let spans = &samples.spans;
    let writable = spans
        .iter()
        .enumerate()
        .filter(|(_, span)| span.state == State::Writable);
    writable.map(|(index, span)| Window {
        host: &samples.host,
        span,
        before: index.checked_sub(1).and_then(|index| spans.get(index)),
        after: spans.get(index + 1),
    })
}

fn touch(old: &Window, new: &Window) -> Touch {
    let end_ns = old.span.last.to_ns.min(new.span.last.to_ns);
    let certain_begin_ns = old.span.first.to_ns.max(new.span.first.to_ns);
    let certain_end_ns = old.span.last.from_ns.min(new.span.last.from_ns);
    Touch {
        hosts: (old.host.to_owned(), new.host.to_owned()),
        for_ms: ms(end_ns.saturating_sub(new.span.first.from_ns)),
        proven: certain_begin_ns <= certain_end_ns,
    }
}

fn handover(old: &Window, new: &Window) -> Handover {
    let old_end_ns = old.span.last.to_ns;
    let new_begin_ns = new.span.first.from_ns;
    Handover {
        from: old.host.to_owned(),
        to: new.host.to_owned(),
        apart_ms: if new_begin_ns >= old_end_ns {
            ms(new_begin_ns - old_end_ns)
        } else {
            -ms(old_end_ns - new_begin_ns)
        },
        old_blind_ms: old
            .after
            .map(|after| ms(after.first.from_ns.saturating_sub(old_end_ns))),
        new_blind_ms: new
            .before
            .map(|before| ms(new_begin_ns.saturating_sub(before.last.to_ns))),
    }
}

fn host_windows(samples: &HostSamples) -> HostWindows {
    let spans = &samples.spans;
    let answered = |span: &&Span| matches!(span.state, State::Writable | State::ReadOnly);
    let between = spans
        .windows(2)
        .map(|pair| pair[1].first.from_ns.saturating_sub(pair[0].last.to_ns));
    let within = spans.iter().map(|span| span.longest_gap_ns);
    HostWindows {
        host: samples.host.clone(),
        samples: spans.iter().map(|span| span.samples).sum(),
        answered: spans.iter().filter(answered).map(|span| span.samples).sum(),
        longest_blind_ms: ms(between.chain(within).max().unwrap_or(0)),
    }
}

impl Windows {
    pub(super) fn violations(&self, blind_at_most: Duration) -> Vec<Violation> {
        let touching = self.touching.iter().cloned().map(Violation::WritableTogether);
        let mute = self.hosts.iter().filter(|host| host.answered == 0);
        let mute = mute.map(|host| Violation::NoSamples {
            host: host.host.clone(),
        });
        let limit_ms = blind_at_most.as_secs_f64() * 1000.0;
        let blind = self.hosts.iter().filter(|host| host.longest_blind_ms > limit_ms);
        let blind = blind.map(|host| Violation::Blind {
            host: host.host.clone(),
            for_ms: host.longest_blind_ms,
            limit_ms,
        });
        touching.chain(mute).chain(blind).collect()
    }
}
