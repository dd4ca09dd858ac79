//! The monitor's decision about one cluster: a small picture in, one numbered rule out.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::maintenance::Restraint;
use super::mode::{Deed, Mode};

/// The writer, as far as a decision needs to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriterPicture {
    /// Nobody is known to be the writer.
    NotKnown,
    /// It answers and takes writes.
    Serving,
    /// It answers and refuses writes.
    ReadOnly,
    /// Its check fails, not yet for the trap period.
    Suspect,
    /// The same, or not even that, and nothing listens at its port any more: it may be proved dead, which need not wait.
    Closed,
    /// Its check has failed.
    Failed,
}

/// Whether another host could take over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StandbyPicture {
    /// At least one could.
    Ready,
    /// None could.
    Missing,
}

/// This box's own network, as its `ping_addresses` tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkPicture {
    /// One of them answers, or there are none to ask.
    Answers,
    /// None of them does: what looks dead may only be cut off from this box.
    Silent,
}

/// Whether anything is being done to the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// Nothing.
    Idle,
    /// This monitor is performing or preparing something.
    Busy,
    /// A stuck run forbids it until a person has looked.
    HandsOff,
}

/// A cluster reduced to what the decision rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Picture {
    /// What the monitor may do.
    pub mode: Mode,
    /// Whether the inventory lets it fail over by itself.
    pub automatic: bool,
    /// Whether this box's own network answers.
    pub network: NetworkPicture,
    /// What people have arranged that holds it back.
    pub restraint: Restraint,
    /// Whether anything is being done.
    pub activity: Activity,
    /// The writer.
    pub writer: WriterPicture,
    /// The others.
    pub standby: StandbyPicture,
}

/// What a rule asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Nothing.
    Watch,
    /// Learn from the hosts who the writer is, as soon as they show it.
    Adopt,
    /// Put back what is out of place, and bring replaced writers in.
    Tend,
    /// Gather evidence about the writer; what it says decides. While it holds a failover back, tend to the others.
    AskEvidence,
    /// Let the writer take writes again: it restarted read-only.
    Reopen,
}

/// A rule of [`decide`], with a stable number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Rule {
    /// Passive.
    R01,
    /// Hands off.
    R02,
    /// The writer serves, a standby is ready.
    R03,
    /// The writer serves, no standby.
    R04,
    /// The writer is suspect.
    R05,
    /// The writer failed: ask.
    R06,
    /// The writer failed, nobody could take over.
    R07,
    /// The writer is read-only: reopen.
    R08,
    /// No writer known.
    R09,
    /// Busy.
    R10,
    /// The writer failed, failover is not automatic.
    R11,
    /// The writer is read-only, reopening is not automatic.
    R12,
    /// This box may be cut off.
    R13,
    /// The writer failed, and the masters are still waited for.
    R14,
    /// The writer is read-only, and the masters are still waited for.
    R15,
    /// Nothing listens at the writer's port: ask.
    R16,
    /// The cluster is in downtime.
    R17,
    /// The writer failed while it is in downtime.
    R18,
    /// The writer failed, and the last failover is not acknowledged.
    R19,
}

impl Rule {
    /// Every rule, in order.
    pub const ALL: [Rule; 19] = [
        Rule::R01,
        Rule::R02,
        Rule::R03,
        Rule::R04,
        Rule::R05,
        Rule::R06,
        Rule::R07,
        Rule::R08,
        Rule::R09,
        Rule::R10,
        Rule::R11,
        Rule::R12,
        Rule::R13,
        Rule::R14,
        Rule::R15,
        Rule::R16,
        Rule::R17,
        Rule::R18,
        Rule::R19,
    ];

    /// One sentence, as `show` and `explain` print it.
    pub fn sentence(self) -> &'static str {
        match self {
            Rule::R01 => "the cluster is in passive mode, so nothing is done to it",
            Rule::R02 => "an operation got stuck, so nothing is done until a person has looked",
            Rule::R03 => "the writer serves and a standby could take over",
            Rule::R04 => "the writer serves, but nothing could take over from it",
            Rule::R05 => "the writer fails its check, and the trap period has not passed",
            Rule::R06 => "the writer has failed its check, so evidence about it is gathered",
            Rule::R07 => "the writer has failed its check, but nothing could take over from it",
            Rule::R08 => {
                "the writer answers but refuses writes, so it is opened again after a look at all hosts"
            }
            Rule::R09 => "no host is known to be the writer",
            Rule::R10 => "an operation is in progress",
            Rule::R11 => "the writer has failed its check, and failover is left to a person",
            Rule::R12 => "the writer answers but refuses writes, and opening it is left to a person",
            Rule::R13 => "none of the ping addresses answers, so nothing is decided: this box may be cut off",
            Rule::R14 => {
                "the writer has failed its check, and the masters are waited for before anything is decided"
            }
            Rule::R15 => {
                "the writer answers but refuses writes, and the masters are waited for before it is opened"
            }
            Rule::R16 => {
                "nothing listens at the writer's port any more, so evidence is gathered: proof of its death need not wait for the trap period"
            }
            Rule::R17 => "the cluster is in downtime, so nothing is done to it without a person",
            Rule::R18 => "the writer has failed its check while it is in downtime, so it keeps its role",
            Rule::R19 => {
                "the writer has failed its check, and the last failover, not long ago, is not acknowledged"
            }
        }
    }

    /// What it asks for.
    pub fn verb(self) -> Verb {
        match self {
            Rule::R01 | Rule::R02 | Rule::R05 | Rule::R10 | Rule::R13 | Rule::R17 => Verb::Watch,
            Rule::R09 => Verb::Adopt,
            Rule::R03
            | Rule::R04
            | Rule::R07
            | Rule::R11
            | Rule::R12
            | Rule::R14
            | Rule::R15
            | Rule::R18
            | Rule::R19 => Verb::Tend,
            Rule::R06 | Rule::R16 => Verb::AskEvidence,
            Rule::R08 => Verb::Reopen,
        }
    }

    /// What lifts it, where something is wrong; empty otherwise.
    pub fn lifted_by(self) -> &'static str {
        match self {
            Rule::R01 => "`mmm set-active`",
            Rule::R02 => {
                "look at the run in `mmm show`, make sure by hand that one host at most takes writes, then `mmm clear`"
            }
            Rule::R04 => "`mmm checks` says what is wrong with the others",
            Rule::R07 => "bring a standby back, or the writer",
            Rule::R09 => "`mmm failover CLUSTER --to HOST` names one",
            Rule::R11 | Rule::R12 => {
                "`mmm failover CLUSTER`, or `failover.automatic: true` and `mmm set-active`"
            }
            Rule::R13 => "bring this box's network back; `monitor.ping_addresses` names what it pings",
            Rule::R14 | Rule::R15 => {
                "both masters being ONLINE, or one for `start.wait_for_other_master`, or `mmm set-active`"
            }
            Rule::R17 => "`mmm downtime CLUSTER --end`, or its end",
            Rule::R18 => {
                "`mmm downtime HOST --end`, or its end; `mmm failover` replaces the writer all the same"
            }
            Rule::R19 => {
                "`mmm ack RUN`, once a person has looked; or `failover.min_interval`, once it has passed"
            }
            Rule::R03 | Rule::R05 | Rule::R06 | Rule::R08 | Rule::R10 | Rule::R16 => "",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// Decides. Total: every picture is matched, none twice.
pub fn decide(picture: &Picture) -> Rule {
    match picture.activity {
        Activity::HandsOff => Rule::R02,
        Activity::Busy => Rule::R10,
        Activity::Idle => match (picture.mode, picture.network) {
            (Mode::Passive, _) => Rule::R01,
            (Mode::Active | Mode::Manual | Mode::Wait, NetworkPicture::Silent) => Rule::R13,
            (Mode::Active | Mode::Manual | Mode::Wait, NetworkPicture::Answers)
                if picture.restraint == Restraint::Downtime =>
            {
                Rule::R17
            }
            (Mode::Active | Mode::Manual | Mode::Wait, NetworkPicture::Answers) => about_writer(picture),
        },
    }
}

/// The rule for a cluster that may be acted on and is not.
fn about_writer(picture: &Picture) -> Rule {
    let may = |deed| picture.automatic && picture.mode.allows(deed);
    let waits = picture.mode == Mode::Wait && picture.automatic;
    match (picture.writer, picture.standby) {
        (WriterPicture::NotKnown, _) => Rule::R09,
        (WriterPicture::Serving, StandbyPicture::Ready) => Rule::R03,
        (WriterPicture::Serving, StandbyPicture::Missing) => Rule::R04,
        (WriterPicture::Closed, StandbyPicture::Ready)
            if may(Deed::FailOver) && picture.restraint == Restraint::Free =>
        {
            Rule::R16
        }
        (WriterPicture::Suspect | WriterPicture::Closed, _) => Rule::R05,
        (WriterPicture::ReadOnly, _) if may(Deed::Reopen) => Rule::R08,
        (WriterPicture::ReadOnly, _) if waits => Rule::R15,
        (WriterPicture::ReadOnly, _) => Rule::R12,
        (WriterPicture::Failed, _)
            if may(Deed::FailOver) && picture.restraint == Restraint::WriterDowntime =>
        {
            Rule::R18
        }
        (WriterPicture::Failed, StandbyPicture::Ready)
            if may(Deed::FailOver) && picture.restraint == Restraint::Unacknowledged =>
        {
            Rule::R19
        }
        (WriterPicture::Failed, StandbyPicture::Ready) if may(Deed::FailOver) => Rule::R06,
        (WriterPicture::Failed, StandbyPicture::Missing) if may(Deed::FailOver) => Rule::R07,
        (WriterPicture::Failed, _) if waits => Rule::R14,
        (WriterPicture::Failed, _) => Rule::R11,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modes_and_networks() -> impl Iterator<Item = (Mode, NetworkPicture)> {
        let networks = [NetworkPicture::Answers, NetworkPicture::Silent];
        Mode::ALL
            .into_iter()
            .flat_map(move |mode| networks.map(|network| (mode, network)))
    }

    const RESTRAINTS: [Restraint; 4] = [
        Restraint::Free,
        Restraint::Downtime,
        Restraint::WriterDowntime,
        Restraint::Unacknowledged,
    ];

    /// Every other part of a picture, in words and as a picture without restraint.
    fn pictures() -> Vec<(String, Picture)> {
        let mut pictures = Vec::new();
        for activity in [Activity::Idle, Activity::Busy, Activity::HandsOff] {
            for (mode, network) in modes_and_networks() {
                for automatic in [true, false] {
                    for writer in [
                        WriterPicture::NotKnown,
                        WriterPicture::Serving,
                        WriterPicture::ReadOnly,
                        WriterPicture::Suspect,
                        WriterPicture::Closed,
                        WriterPicture::Failed,
                    ] {
                        for standby in [StandbyPicture::Ready, StandbyPicture::Missing] {
                            let words = format!(
                                "{:<8} {:<7} network {:<7} automatic {:<3} writer {:<8} standby {:<7}",
                                format!("{activity:?}"),
                                mode,
                                format!("{network:?}"),
                                if automatic { "yes" } else { "no" },
                                format!("{writer:?}"),
                                format!("{standby:?}"),
                            );
                            let picture = Picture {
                                mode,
                                automatic,
                                network,
                                restraint: Restraint::Free,
                                activity,
                                writer,
                                standby,
                            };
                            pictures.push((words, picture));
                        }
                    }
                }
            }
        }
        pictures
    }

    #[test]
    fn the_table_is_the_golden_file() {
        let mut table =
            String::from("# Generated by the tests: every picture of a cluster, and the rule it meets.\n");
        let mut met = Vec::new();
        for (words, picture) in pictures() {
            let free = decide(&picture);
            table.push_str(&format!("{words} {free} {:?}", free.verb()));
            met.push(free);
            // What people have arranged, where that makes another rule of it.
            for restraint in RESTRAINTS {
                let rule = decide(&Picture { restraint, ..picture });
                met.push(rule);
                if rule != free {
                    table.push_str(&format!("; {restraint:?} {rule} {:?}", rule.verb()));
                }
            }
            table.push('\n');
        }
        assert!(
            Rule::ALL.iter().all(|rule| met.contains(rule)),
            "every rule is met"
        );
        crate::core::golden::check("tests/golden/rules.txt", &table);
    }
}
