//! Who wants to be told of what: the topics of events, what a maintenance mutes, and what a command that tells people
//! finds in its environment.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;

use super::cluster::HostName;
use super::event::{Event, Loudness, Told};
use super::run::Ending;
use super::standing::Standing;

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Topic {
    /// A run has ended.
    Run,
    /// Another host is the writer.
    Writer,
    /// A host changed its state.
    State,
    /// A check changed its verdict.
    Check,
    /// The rule in force changed.
    Rule,
    /// The mode changed.
    Mode,
    /// Something was put back where it belongs.
    Repair,
    /// Transactions were lost, or found not to be.
    Loss,
    /// People should look.
    Alarm,
    /// A downtime began or ended.
    Downtime,
}

impl Topic {
    /// Every topic with its word in the inventory.
    pub const ALL: [(&'static str, Topic); 10] = [
        ("run", Topic::Run),
        ("writer", Topic::Writer),
        ("state", Topic::State),
        ("check", Topic::Check),
        ("rule", Topic::Rule),
        ("mode", Topic::Mode),
        ("repair", Topic::Repair),
        ("loss", Topic::Loss),
        ("alarm", Topic::Alarm),
        ("downtime", Topic::Downtime),
    ];

    /// What is told where the inventory does not say.
    pub const USUAL: [Topic; 4] = [Topic::Run, Topic::Writer, Topic::Loss, Topic::Alarm];
}

/// A command that tells people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Its name in the inventory.
    pub name: String,
    /// What it is told of.
    pub topics: BTreeSet<Topic>,
    /// The command, by `sh` on the box.
    pub run: String,
    /// When it is ended.
    pub within: Duration,
}

impl Notice {
    /// Whether an event is for it. An event that is about several of its topics is told once.
    pub fn wants(&self, event: &Event) -> bool {
        topics(event).iter().any(|topic| self.topics.contains(topic))
    }
}

/// What an event is about; empty for mere progress.
pub fn topics(event: &Event) -> Vec<Topic> {
    let mut topics = Vec::new();
    match event {
        Event::RunEnded { writer, ending, .. } => {
            topics.push(Topic::Run);
            if writer.is_some() && matches!(ending, Ending::Done { .. }) {
                topics.push(Topic::Writer);
            }
        }
        // What a run of this box did has been told as that run.
        Event::WriterChanged { run: Some(_), .. } => return topics,
        Event::WriterChanged { run: None, .. } => topics.push(Topic::Writer),
        Event::StateChanged { .. } => topics.push(Topic::State),
        Event::CheckChanged { .. } => topics.push(Topic::Check),
        Event::RuleChanged { .. } => topics.push(Topic::Rule),
        Event::ModeChanged { .. } => topics.push(Topic::Mode),
        Event::Repaired { .. } => topics.push(Topic::Repair),
        Event::Lost { .. } => topics.push(Topic::Loss),
        Event::DowntimeChanged { .. } => topics.push(Topic::Downtime),
        Event::NetworkChanged { .. } => topics.push(Topic::Alarm),
        Event::RunStarted { .. }
        | Event::StepStarted { .. }
        | Event::StepEnded { .. }
        | Event::SiteStep { .. }
        | Event::Noted { .. }
        | Event::Alarm { .. } => {}
    }
    if event.loudness() == Loudness::Alarm && !topics.contains(&Topic::Alarm) {
        topics.push(Topic::Alarm);
    }
    topics
}

/// Whether a downtime keeps people from being told of an event: the troubles of a host that is in it, or of any while
/// the whole cluster is. Runs, losses, another writer and what people do themselves are told all the same.
pub fn is_muted(event: &Event, standing: &Standing) -> bool {
    match event {
        Event::StateChanged { host, .. } | Event::CheckChanged { host, .. } => standing.is_in_downtime(host),
        Event::RuleChanged { .. }
        | Event::Alarm { .. }
        | Event::NetworkChanged { .. }
        | Event::Repaired { .. } => standing.downtime.is_some(),
        Event::RunStarted { .. }
        | Event::StepStarted { .. }
        | Event::StepEnded { .. }
        | Event::SiteStep { .. }
        | Event::RunEnded { .. }
        | Event::WriterChanged { .. }
        | Event::ModeChanged { .. }
        | Event::DowntimeChanged { .. }
        | Event::Lost { .. }
        | Event::Noted { .. } => false,
    }
}

/// What a command that tells people finds in its environment: the sentence a person would read, and the parts that a
/// script asks for. Whatever else the event holds stands on its standard input as JSON.
pub fn environment(told: &Told, sentence: &str) -> BTreeMap<String, String> {
    let mut environment = BTreeMap::new();
    let mut set = |name: &str, value: String| drop(environment.insert(name.to_owned(), value));
    let host = |host: &Option<HostName>| host.as_ref().map(ToString::to_string).unwrap_or_default();
    set("MMM_CLUSTER", told.cluster.clone());
    set("MMM_AT", told.at.to_string());
    set("MMM_SENTENCE", sentence.to_owned());
    let topics = topics(&told.event);
    let words = Topic::ALL.iter().filter(|(_, topic)| topics.contains(topic));
    let words: Vec<&str> = words.map(|(word, _)| *word).collect();
    set("MMM_TOPICS", words.join(" "));
    let loudness = match told.event.loudness() {
        Loudness::Progress => "progress",
        Loudness::Notice => "notice",
        Loudness::Alarm => "alarm",
    };
    set("MMM_LOUDNESS", loudness.to_owned());
    match &told.event {
        Event::RunEnded {
            run,
            operation,
            ending,
            writer,
            ..
        } => {
            set("MMM_RUN", run.clone());
            set("MMM_OPERATION", operation.clone());
            let outcome = match ending {
                Ending::Done { .. } => "done",
                Ending::Undone { untouched: true, .. } => "refused",
                Ending::Undone { .. } => "undone",
                Ending::Failed { .. } => "failed",
                Ending::Stuck { .. } => "stuck",
            };
            set("MMM_OUTCOME", outcome.to_owned());
            set("MMM_WRITER", host(writer));
        }
        Event::WriterChanged { to, .. } => set("MMM_WRITER", host(to)),
        Event::Lost {
            run, host, writer, ..
        } => {
            set("MMM_RUN", run.clone());
            set("MMM_HOST", host.to_string());
            set("MMM_WRITER", writer.to_string());
        }
        Event::StateChanged { host, from, to, .. } => {
            set("MMM_HOST", host.to_string());
            set("MMM_FROM", from.clone());
            set("MMM_TO", to.clone());
        }
        Event::CheckChanged { host, .. } | Event::Repaired { host, .. } => set("MMM_HOST", host.to_string()),
        Event::DowntimeChanged { host: of, .. } => set("MMM_HOST", host(of)),
        _ => {}
    }
    environment
}
