//! From an operation and who plays which part to the stages of a run.

use std::collections::BTreeMap;
use std::time::Duration;

use super::cluster::HostName;
use super::evidence::Rung;
use super::playbook::{Operation, OperationStep, Playbook, Seat, Section, Undo};
use super::run::{Stage, TRIES_TO_UNDO};

/// Who plays which part.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seats {
    /// The host that gives the role away.
    pub outgoing: Option<HostName>,
    /// The host that takes it.
    pub incoming: Option<HostName>,
    /// Every other host that is to follow.
    pub replicas: Vec<HostName>,
    /// The one of them that has more than the incoming host, and hands it over first.
    pub donor: Option<HostName>,
}

impl Seats {
    /// The hosts that fill a seat; for the box, the host that the operation is about.
    pub fn hosts(&self, seat: Seat) -> Vec<HostName> {
        match seat {
            Seat::Outgoing => self.outgoing.iter().cloned().collect(),
            Seat::Incoming => self.incoming.iter().cloned().collect(),
            Seat::Replicas => self.replicas.clone(),
            Seat::Donor => self.donor.iter().cloned().collect(),
            Seat::Monitor => self
                .outgoing
                .iter()
                .chain(&self.incoming)
                .take(1)
                .cloned()
                .collect(),
        }
    }

    /// Everyone who takes part.
    pub fn everyone(&self) -> Vec<HostName> {
        self.outgoing
            .iter()
            .chain(&self.incoming)
            .chain(&self.replicas)
            .cloned()
            .collect()
    }
}

/// A way to cut the outgoing host off, from the inventory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FenceDuty {
    /// The duty, performed on the box.
    pub duty: String,
    /// Values it sees as `vars.NAME`.
    pub with: BTreeMap<String, String>,
}

/// The duty that lets a server start again that was kept stopped.
const LETS_START: &str = "allow-start";
/// How long a fence may take: power switches are slow.
const FENCE_WITHIN: Duration = Duration::from_secs(30);
/// How long the other hosts may look whether a fenced one has fallen silent; each of their probes takes a second.
const SILENCE_WITHIN: Duration = Duration::from_secs(4);
/// The duty with which they look.
const FALLEN_SILENT: &str = "fallen-silent";

/// A step at a host that does not obey, which nothing stands in for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unskippable {
    /// The step's name.
    pub step: String,
}

/// The fence, and the look of everybody who can be asked whether it held: what a fence says of itself is not believed.
/// They belong together, and stand in no operation, so that none can be without the second.
fn fenced(seats: &Seats, fence: &FenceDuty) -> [Stage; 2] {
    let fencing = Stage {
        section: Section::Prepare,
        name: "Fence the outgoing host".to_owned(),
        seat: Seat::Monitor,
        hosts: seats.hosts(Seat::Monitor),
        duty: fence.duty.clone(),
        source: None,
        with: fence.with.clone(),
        within: FENCE_WITHIN,
        undo: None,
        undo_if_possible: false,
        only_asks: false,
        if_possible: false,
    };
    let looking = Stage {
        name: "It has fallen silent".to_owned(),
        seat: Seat::Replicas,
        hosts: seats.incoming.iter().chain(&seats.replicas).cloned().collect(),
        duty: FALLEN_SILENT.to_owned(),
        source: seats.outgoing.clone(),
        with: BTreeMap::new(),
        within: SILENCE_WITHIN,
        only_asks: true,
        ..fencing.clone()
    };
    [fencing, looking]
}

/// The stages of `operation` with its seats filled.
///
/// With a rung (a failover), what is taken from the outgoing host is never given back, but for its server's leave to start,
/// and steps that a fence may stand in for are left out when the host does not obey. `keep` says whether a step's `when` holds.
///
/// # Errors
/// The outgoing host does not obey, and a step there neither lets a fence stand in for it nor is only tried.
pub fn stages(
    playbook: &Playbook,
    operation: &Operation,
    seats: &Seats,
    rung: Option<Rung>,
    fence: Option<&FenceDuty>,
    keep: impl Fn(&OperationStep) -> bool,
) -> Result<Vec<Stage>, Unskippable> {
    let obeys = matches!(rung, None | Some(Rung::Demote));
    let mut stages: Vec<Stage> = Vec::new();
    if let (Some(Rung::Fence), Some(fence)) = (rung, fence) {
        stages.extend(fenced(seats, fence));
    }
    for (section, step) in operation.steps() {
        if !keep(step) {
            continue;
        }
        if !obeys && step.at == Seat::Outgoing {
            if step.or_fenced || step.if_possible {
                continue;
            }
            return Err(Unskippable {
                step: step.name.clone(),
            });
        }
        let is_dead = rung.is_some() && step.at == Seat::Outgoing;
        let duty = playbook.duties.get(&step.duty);
        let undo = match duty.and_then(|duty| duty.undo.as_ref()) {
            // While nobody was opened in its place it is the writer, and whoever starts it must be able to.
            Some(Undo::Duty(undo)) if is_dead && undo != LETS_START => None,
            Some(Undo::Duty(undo)) if section == Section::Prepare => Some(undo.clone()),
            _ => None,
        };
        stages.push(Stage {
            section,
            name: step.name.clone(),
            seat: step.at,
            hosts: seats.hosts(step.at),
            duty: step.duty.clone(),
            source: step.source.and_then(|seat| seats.hosts(seat).into_iter().next()),
            with: step.with.clone(),
            within: step.within,
            undo,
            undo_if_possible: is_dead,
            only_asks: duty.is_some_and(|duty| duty.only_asks),
            if_possible: step.if_possible,
        });
    }
    Ok(stages)
}

/// For how long nobody can write, if every stage ends within its time: from the first that refuses writes to the end of
/// the commit, or from the beginning where they are refused already, because the writer is dead. What takes longer than
/// `longest` is given up before the commit, whose own time comes on top. None where nothing refuses writes.
pub fn write_refused_at_most(stages: &[Stage], is_dead: bool, longest: Option<Duration>) -> Option<Duration> {
    let window = stages
        .iter()
        .skip_while(|stage| !is_dead && !stage.refuses_writes())
        .take_while(|stage| stage.section <= Section::Commit);
    let (commit, before): (Vec<_>, Vec<_>) = window.partition(|stage| stage.section == Section::Commit);
    let sum = |stages: Vec<&Stage>| stages.into_iter().map(|stage| stage.within).sum::<Duration>();
    if before.is_empty() {
        return None;
    }
    let before = sum(before);
    Some(before.min(longest.unwrap_or(before)) + sum(commit))
}

/// The same when it comes to nothing right before its commit: until every undo from the first stage that refuses writes on has
/// been tried as often as it is. What cannot be undone by then is stuck, and told.
pub fn write_refused_if_undone(stages: &[Stage], longest: Option<Duration>) -> Option<Duration> {
    let window = stages
        .iter()
        .skip_while(|stage| !stage.refuses_writes())
        .take_while(|stage| stage.section < Section::Commit);
    let window: Vec<&Stage> = window.collect();
    if window.is_empty() {
        return None;
    }
    let before: Duration = window.iter().map(|stage| stage.within).sum();
    let undone = window.iter().filter(|stage| stage.undo.is_some());
    let back: Duration = undone.map(|stage| stage.within * TRIES_TO_UNDO).sum();
    Some(before.min(longest.unwrap_or(before)) + back)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::run::REFUSES_WRITES;

    fn stage(section: Section, duty: &str, within_s: u64) -> Stage {
        Stage {
            section,
            name: duty.to_owned(),
            seat: Seat::Incoming,
            hosts: vec!["db2".into()],
            duty: duty.to_owned(),
            source: None,
            with: BTreeMap::new(),
            within: Duration::from_secs(within_s),
            undo: None,
            undo_if_possible: false,
            only_asks: false,
            if_possible: false,
        }
    }

    fn step(at: Seat, or_fenced: bool, if_possible: bool) -> OperationStep {
        OperationStep {
            name: "Do it".to_owned(),
            at,
            duty: "remove-address".to_owned(),
            within: Duration::from_secs(1),
            source: None,
            when: None,
            or_fenced,
            if_possible,
            with: BTreeMap::new(),
        }
    }

    #[test]
    fn a_fence_is_looked_after_by_everybody_and_stands_in_for_nothing_that_does_not_say_so() {
        let seats = Seats {
            outgoing: Some("db1".into()),
            incoming: Some("db2".into()),
            replicas: vec!["db3".into()],
            donor: None,
        };
        let fence = FenceDuty {
            duty: "cut-power".to_owned(),
            with: BTreeMap::new(),
        };
        let planned = |rung, prepare: Vec<OperationStep>| {
            let operation = Operation {
                name: "failover".to_owned(),
                says: String::new(),
                given: Vec::new(),
                prepare,
                commit: Vec::new(),
                secure: Vec::new(),
                finish: Vec::new(),
            };
            let duties = |stages: Vec<Stage>| stages.into_iter().map(|stage| stage.duty).collect::<Vec<_>>();
            stages(
                &Playbook::default(),
                &operation,
                &seats,
                Some(rung),
                Some(&fence),
                |_| true,
            )
            .map(duties)
        };
        let marked = || {
            vec![
                step(Seat::Outgoing, true, false),
                step(Seat::Outgoing, false, true),
            ]
        };
        assert_eq!(
            planned(Rung::Fence, marked()).unwrap(),
            ["cut-power", FALLEN_SILENT]
        );
        assert!(planned(Rung::Silence, marked()).unwrap().is_empty());
        assert_eq!(planned(Rung::Demote, marked()).unwrap().len(), 2);
        for rung in [Rung::Fence, Rung::Silence] {
            let unmarked = vec![
                step(Seat::Incoming, false, false),
                step(Seat::Outgoing, false, false),
            ];
            assert_eq!(planned(rung, unmarked.clone()).unwrap_err().step, "Do it");
            assert_eq!(planned(Rung::Demote, unmarked).unwrap().len(), 2);
        }
        let [_, looking] = fenced(&seats, &fence);
        assert_eq!(looking.hosts, ["db2".into(), "db3".into()]);
        assert!(looking.only_asks && looking.source == Some("db1".into()));
    }

    #[test]
    fn the_way_back_takes_as_long_as_its_tries() {
        let s = Duration::from_secs;
        let mut stages = [
            stage(Section::Prepare, "look", 3),
            stage(Section::Prepare, REFUSES_WRITES, 2),
            stage(Section::Prepare, "wait", 7),
            stage(Section::Commit, "open", 5),
        ];
        stages[0].undo = Some("unlook".to_owned());
        stages[1].undo = Some("reopen".to_owned());
        assert_eq!(write_refused_if_undone(&stages, None), Some(s(9 + 3 * 2)));
        assert_eq!(write_refused_if_undone(&stages, Some(s(1))), Some(s(1 + 3 * 2)));
        assert_eq!(write_refused_if_undone(&stages[..1], None), None);
    }

    #[test]
    fn writes_are_refused_from_the_first_step_that_does_so_or_that_a_dead_writer_leaves_to_the_commit() {
        let mut stages = vec![
            stage(Section::Prepare, "add-address", 2),
            stage(Section::Prepare, "drain", 30),
            stage(Section::Commit, "allow-writes", 3),
            stage(Section::Secure, "announce", 100),
        ];
        let of = |stages: &[Stage], is_dead, longest_s: Option<u64>| {
            let at_most = write_refused_at_most(stages, is_dead, longest_s.map(Duration::from_secs));
            at_most.map(|span| span.as_secs())
        };
        assert_eq!(of(&stages, false, None), None);
        assert_eq!(of(&stages, true, None), Some(35));
        stages[1] = stage(Section::Prepare, REFUSES_WRITES, 7);
        assert_eq!(of(&stages, false, None), Some(10));
        assert_eq!(of(&stages, false, Some(4)), Some(7));
        assert_eq!(of(&stages[2..], true, None), None, "only opened again");
    }
}
