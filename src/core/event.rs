//! What happens, told as values. Reporters turn events into words, JSON or progress bars; nothing else prints.

use std::net::IpAddr;

use serde::Serialize;

use super::cluster::HostName;
use super::losses::Loss;
use super::mode::Mode;
use super::moment::Moment;
use super::playbook::Section;
use super::run::Ending;
use super::site::Occasion;

/// Something worth telling a person, with the moment at which it happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Told {
    /// When it happened.
    pub at: Moment,
    /// The cluster it happened to.
    pub cluster: String,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// How loud an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Loudness {
    /// Progress of something that was asked for.
    Progress,
    /// A change that people read afterwards.
    Notice,
    /// Something is wrong and people should look.
    Alarm,
}

/// Everything that is told.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A run begins.
    RunStarted {
        /// The run's name, which is its journal's file name.
        run: String,
        /// The operation.
        operation: String,
        /// The host that gives the role away, if any.
        outgoing: Option<HostName>,
        /// The host that takes it.
        incoming: Option<HostName>,
        /// Number of stages.
        stages: usize,
    },
    /// A stage begins.
    StepStarted {
        /// Its place, counted from 1.
        step: usize,
        /// Out of how many.
        of: usize,
        /// Where.
        hosts: Vec<HostName>,
        /// What it does.
        name: String,
    },
    /// A stage ended.
    StepEnded {
        /// Its place, counted from 1.
        step: usize,
        /// Out of how many.
        of: usize,
        /// Where.
        hosts: Vec<HostName>,
        /// What it does.
        name: String,
        /// The section it stands in.
        section: Section,
        /// How it ended.
        ended: StepEnd,
        /// How long it took.
        took_ms: u64,
        /// Why it failed, or what else is worth knowing.
        note: Option<String>,
    },
    /// A run ended.
    RunEnded {
        /// The run's name.
        run: String,
        /// The operation.
        operation: String,
        /// How.
        ending: Ending,
        /// Who is the writer now; none when nobody may take writes, or the run was about another address.
        writer: Option<HostName>,
        /// The address it moved, when that is not the writer's.
        #[serde(skip_serializing_if = "Option::is_none")]
        address: Option<IpAddr>,
        /// Who holds that address now.
        #[serde(skip_serializing_if = "Option::is_none")]
        holder: Option<HostName>,
        /// How long writes were refused, if they were.
        write_refused_ms: Option<f64>,
        /// How long the whole run took.
        took_ms: u64,
    },
    /// A step of the site before or after an operation ended.
    SiteStep {
        /// The run.
        run: String,
        /// When it was performed.
        occasion: Occasion,
        /// Where; none for the box.
        hosts: Vec<HostName>,
        /// What it does.
        name: String,
        /// How it ended.
        ended: StepEnd,
        /// How long it took.
        took_ms: u64,
        /// Why it failed, and what that means for the operation.
        note: Option<String>,
        /// The last lines it printed.
        output: String,
    },
    /// A host changed its state.
    StateChanged {
        /// Which host.
        host: HostName,
        /// The state it leaves.
        from: String,
        /// The state it enters.
        to: String,
        /// Why.
        because: String,
    },
    /// A check changed its verdict.
    CheckChanged {
        /// Which host.
        host: HostName,
        /// Which check.
        check: String,
        /// Whether it is fine now.
        ok: bool,
        /// What the probe said.
        message: String,
    },
    /// The rule in force for the cluster changed.
    RuleChanged {
        /// Its number.
        rule: String,
        /// Its sentence.
        sentence: String,
    },
    /// Another command, or another box, has moved the writer or named it.
    WriterChanged {
        /// The writer before, if one was known.
        from: Option<HostName>,
        /// The writer now, if one is known.
        to: Option<HostName>,
        /// The run of this box that made it so, which has been told of by itself.
        #[serde(skip_serializing_if = "Option::is_none")]
        run: Option<String>,
    },
    /// What the monitor may do by itself changed.
    ModeChanged {
        /// The mode that was left.
        from: Mode,
        /// The mode that was entered.
        to: Mode,
        /// Who or what changed it.
        by: String,
    },
    /// A downtime began, was changed or ended.
    DowntimeChanged {
        /// The host; none for the whole cluster.
        host: Option<HostName>,
        /// When it ends by itself; none when it has ended.
        until: Option<Moment>,
        /// Why it is, or was.
        reason: String,
        /// Who said so; empty when it ended by itself.
        by: String,
    },
    /// The addresses that tell this box's own network fell silent, or answer again.
    NetworkChanged {
        /// Whether one answers now.
        answers: bool,
    },
    /// An address was put back where it belongs, or taken from where it does not.
    Repaired {
        /// Where.
        host: HostName,
        /// What was done.
        what: String,
    },
    /// What the new writer lacks of the one it replaced, as far as it is known: right after a failover, and exactly once
    /// the old writer is back.
    Lost {
        /// The run that replaced it.
        run: String,
        /// The replaced writer.
        host: HostName,
        /// The writer now.
        writer: HostName,
        /// Whether the old writer itself was asked; otherwise more may be missing.
        exact: bool,
        /// How many transactions, at least where it is not exact; none when that is not known.
        count: Option<u64>,
        /// Which.
        transactions: Option<String>,
        /// When the old writer was looked at; none when nobody had.
        seen_at: Option<Moment>,
        /// All of that in words.
        sentence: String,
    },
    /// Something worth knowing about what is being done.
    Noted {
        /// What.
        what: String,
    },
    /// Something is wrong that people should look at.
    Alarm {
        /// What is wrong.
        what: String,
        /// What lifts it.
        hint: String,
    },
}

/// How a stage ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StepEnd {
    /// It holds.
    Done,
    /// It failed and will be tried again.
    Retried,
    /// It failed.
    Failed,
    /// The connection died in the middle.
    Unknown,
    /// It failed, and something later makes sure.
    Waived,
    /// It was taken back.
    Undone,
}

impl Event {
    /// What is known to be lost of `host`, which `run` replaced by `writer`.
    pub fn lost(run: &str, host: &HostName, writer: &HostName, loss: &Loss) -> Event {
        Event::Lost {
            run: run.to_owned(),
            host: host.clone(),
            writer: writer.clone(),
            exact: loss.is_exact,
            count: loss.count(),
            transactions: loss.transactions(),
            seen_at: loss.seen_at,
            sentence: loss.sentence(host, writer),
        }
    }

    /// How loud it is.
    pub fn loudness(&self) -> Loudness {
        match self {
            Event::RunStarted { .. }
            | Event::StepStarted { .. }
            | Event::StepEnded { .. }
            | Event::SiteStep { .. } => Loudness::Progress,
            Event::RunEnded {
                ending: Ending::Stuck { .. },
                ..
            }
            | Event::NetworkChanged { answers: false }
            | Event::Alarm { .. } => Loudness::Alarm,
            Event::Lost { count, .. } if *count != Some(0) => Loudness::Alarm,
            Event::RunEnded { .. }
            | Event::StateChanged { .. }
            | Event::CheckChanged { .. }
            | Event::RuleChanged { .. }
            | Event::WriterChanged { .. }
            | Event::DowntimeChanged { .. }
            | Event::ModeChanged { .. }
            | Event::NetworkChanged { answers: true }
            | Event::Lost { .. }
            | Event::Noted { .. }
            | Event::Repaired { .. } => Loudness::Notice,
        }
    }
}
