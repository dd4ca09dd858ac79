//! What becomes of a run that was cut off: decided from its record and from what the hosts show now, once what the old
//! program had left running is gone and what it had sent has expired.

use std::collections::BTreeMap;

use super::cluster::HostName;
use super::playbook::Section;
use super::run::{Happening, Next, Outcome, Run, Settled};

/// What is written down of a stage whose program was cut off.
pub const CUT_OFF: &str = "the program that did it was cut off";

/// What a host shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// It takes writes.
    Writable,
    /// It refuses them, and nothing that the old program left there can open it any more.
    ReadOnly,
    /// It does not answer, or what was left there is not known to be gone.
    Unseen,
}

/// What is wanted of a run that was cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Whatever is safest, for whoever comes next: back before the commit, forward behind it.
    Settle,
    /// A person wants it to go on.
    GoOn,
    /// A person wants it taken back.
    TakeBack,
}

/// A run that was cut off.
#[derive(Debug, Clone, Copy)]
pub struct CutOff<'r> {
    /// As its record left it.
    pub run: &'r Run,
    /// Whether it moves the writer; false for one that opens nobody.
    pub moves_writer: bool,
    /// Whether it replaces a writer that was held to be dead.
    pub is_failover: bool,
    /// The host that gives the role away.
    pub outgoing: Option<&'r HostName>,
    /// The host that takes it.
    pub incoming: Option<&'r HostName>,
    /// What is wanted of it.
    pub wish: Wish,
    /// Who has written since, or holds the writer's address without having a part in the run, in words.
    pub moved_since: Option<&'r str>,
    /// Who holds the writer's address without having a part in the run, in words, whoever wants what: asked of a run that
    /// has come past its commit while nobody takes writes, before its address is brought up.
    pub held_elsewhere: Option<&'r str>,
    /// Who may have become the writer since without anybody here knowing: asked before the old one is opened again, or put
    /// on record again, without a person.
    pub doubt: Option<&'r Doubt>,
}

/// Why nobody can tell whether somebody has moved the role since a run was cut off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubt {
    /// In words.
    pub because: String,
    /// The hosts whose answer would tell; none where only a person can judge.
    pub awaits: Vec<HostName>,
}

/// What to do with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Record this, then perform the run from where it stands to its end: forward or back.
    GoOn(Vec<Happening>),
    /// Somebody has moved the role since: close it and touch nothing.
    Overtaken(String),
    /// It cannot be taken back any more, because this host takes writes: touch nothing.
    Irrevocable(HostName),
    /// Nothing can be concluded: close it, and nobody may act until these hosts answer, or, without any, until a person
    /// has judged.
    Stuck(String, Vec<HostName>),
    /// As stuck; it may be taken back, but on a person's word alone.
    Doubtful(Doubt),
}

/// Settles a run that was cut off. Nothing is taken back, and so nobody opened, unless the incoming host is seen to
/// refuse writes or was never told to take them.
pub fn settle(cut: CutOff<'_>, sights: &BTreeMap<HostName, Sight>) -> Verdict {
    if !cut.moves_writer {
        return Verdict::GoOn(if cut.run.is_committed() {
            going_on(cut)
        } else {
            giving_up(cut.run)
        });
    }
    let writable: Vec<&HostName> = sights
        .iter()
        .filter(|(_, sight)| **sight == Sight::Writable)
        .map(|(host, _)| host)
        .collect();
    let incoming = cut
        .incoming
        .and_then(|host| sights.get(host))
        .copied()
        .unwrap_or(Sight::Unseen);
    let commit = commit(cut.run);
    match writable.as_slice() {
        [only] if Some(*only) == cut.incoming => match commit {
            Commit::InDoubt | Commit::Done if cut.wish == Wish::TakeBack => {
                Verdict::Irrevocable((*only).clone())
            }
            Commit::InDoubt => Verdict::GoOn(succeeding(cut.run)),
            Commit::Done => Verdict::GoOn(going_on(cut)),
            Commit::NotBegun => {
                let because = format!("{only} takes writes, which by its record this run had not told it to");
                Verdict::Overtaken(because)
            }
        },
        [only] if Some(*only) != cut.outgoing => {
            Verdict::Overtaken(format!("{only} takes writes, which is neither of its hosts"))
        }
        [] | [_] => match (commit, incoming) {
            (Commit::NotBegun, _) | (Commit::InDoubt, Sight::ReadOnly) => {
                before_the_commit(cut, writable.first().copied())
            }
            (Commit::InDoubt, Sight::Unseen | Sight::Writable) => Verdict::Stuck(
                format!(
                    "{} was told to take writes, and it cannot be asked whether it does",
                    cut.incoming.map_or("the incoming host", HostName::as_str)
                ),
                cut.incoming.into_iter().cloned().collect(),
            ),
            (Commit::Done, _) => match writable.first() {
                None => match cut.held_elsewhere {
                    Some(because) => Verdict::Overtaken(because.to_owned()),
                    None => Verdict::GoOn(going_on(cut)),
                },
                Some(outgoing) if cut.is_failover => {
                    let because = format!("{outgoing}, which was replaced, takes writes again");
                    Verdict::Stuck(because, Vec::new())
                }
                Some(outgoing) => Verdict::Overtaken(format!("{outgoing} takes writes again")),
            },
        },
        several => {
            let names: Vec<&str> = several.iter().map(|host| host.as_str()).collect();
            let because = format!("several hosts accept writes: {}", names.join(", "));
            Verdict::Stuck(because, Vec::new())
        }
    }
}

/// Nobody was opened; `writable` is the host that gives the role away, when it takes writes.
fn before_the_commit(cut: CutOff<'_>, writable: Option<&HostName>) -> Verdict {
    if let Some(doubt) = cut.doubt
        && cut.wish == Wish::Settle
        && cut.moved_since.is_none()
        && writable.is_none()
        && (cut.is_failover || opens_again(cut.run))
    {
        return Verdict::Doubtful(doubt.clone());
    }
    match (cut.moved_since, writable) {
        (Some(because), None) => Verdict::Overtaken(because.to_owned()),
        (_, Some(outgoing)) if cut.wish == Wish::GoOn && cut.run.has_refused_writes() => Verdict::Overtaken(
            format!("{outgoing} takes writes again, which this run had told it to refuse"),
        ),
        _ => {
            let mut happenings = giving_up(cut.run);
            if cut.wish == Wish::GoOn {
                happenings.push(Happening::Resumed);
            }
            Verdict::GoOn(happenings)
        }
    }
}

/// Whether taking it back lets the host write again that gives the role away.
fn opens_again(run: &Run) -> bool {
    let mut back = run.clone();
    for happening in giving_up(run) {
        back.record(&happening);
    }
    back.would_reopen()
}

/// Behind the commit: on to the end, and what could not be made to come true is tried again on a person's word.
fn going_on(cut: CutOff<'_>) -> Vec<Happening> {
    match (cut.run.next(), cut.wish) {
        (Next::End(_), Wish::GoOn) => vec![Happening::Resumed],
        _ => Vec::new(),
    }
}

/// How far the commit had come by the record.
enum Commit {
    /// The incoming host was never told to take writes, or was seen not to have done it.
    NotBegun,
    /// It was told; whether it did is not on record.
    InDoubt,
    Done,
}

fn commit(run: &Run) -> Commit {
    if run.is_committed() {
        return Commit::Done;
    }
    if run.is_in_doubt() {
        Commit::InDoubt
    } else {
        Commit::NotBegun
    }
}

/// The commit was begun and the incoming host was seen writable.
fn succeeding(run: &Run) -> Vec<Happening> {
    match *run.next() {
        Next::Do(stage) => vec![Happening::Did(stage, Outcome::Done)],
        Next::Look(stage) => vec![Happening::Looked(stage, Settled::Happened)],
        Next::Undo(_) | Next::End(_) => Vec::new(),
    }
}

/// The stage that was under way is given up, which takes back what was done. What comes after the commit, and taking
/// back itself, is simply gone on with.
fn giving_up(run: &Run) -> Vec<Happening> {
    match *run.next() {
        Next::Do(stage) if run.stages()[stage].section <= Section::Commit => vec![
            Happening::GivenUp,
            Happening::Did(stage, Outcome::Unknown(CUT_OFF.to_owned())),
            Happening::Looked(stage, Settled::DidNotHappen),
        ],
        Next::Look(stage) => vec![
            Happening::GivenUp,
            Happening::Looked(stage, Settled::DidNotHappen),
        ],
        Next::Do(_) | Next::Undo(_) | Next::End(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests;
