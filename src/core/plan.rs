//! From an operation and who plays which part to the stages of a run.

use std::collections::BTreeMap;
use std::time::Duration;

use super::cluster::HostName;
use super::evidence::Rung;
use super::playbook::{Operation, OperationStep, Playbook, Seat, Section, Undo};
use super::run::Stage;

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

/// How long a fence may take: power switches are slow.
const FENCE_WITHIN: Duration = Duration::from_secs(30);

/// The stages of `operation` with its seats filled.
///
/// With a rung (a failover), what is taken from the outgoing host is never given back, and steps that a fence may
/// stand in for are left out when the host does not obey. `keep` says whether a step's `when` holds.
pub fn stages(
    playbook: &Playbook,
    operation: &Operation,
    seats: &Seats,
    rung: Option<Rung>,
    fence: Option<&FenceDuty>,
    keep: impl Fn(&OperationStep) -> bool,
) -> Vec<Stage> {
    let obeys = matches!(rung, None | Some(Rung::Demote));
    let mut stages: Vec<Stage> = Vec::new();
    if let (Some(Rung::Fence), Some(fence)) = (rung, fence) {
        stages.push(Stage {
            section: Section::Prepare,
            name: "Fence the outgoing host".to_owned(),
            seat: Seat::Monitor,
            hosts: seats.hosts(Seat::Monitor),
            duty: fence.duty.clone(),
            source: None,
            with: fence.with.clone(),
            within: FENCE_WITHIN,
            undo: None,
            only_asks: false,
            if_possible: false,
        });
    }
    for (section, step) in operation.steps() {
        let skipped = !obeys && step.at == Seat::Outgoing;
        if skipped || !keep(step) {
            continue;
        }
        let taken_for_good = rung.is_some() && step.at == Seat::Outgoing;
        let duty = playbook.duties.get(&step.duty);
        let undo = match duty.and_then(|duty| duty.undo.as_ref()) {
            Some(Undo::Duty(undo)) if section == Section::Prepare && !taken_for_good => Some(undo.clone()),
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
            only_asks: duty.is_some_and(|duty| duty.only_asks),
            if_possible: step.if_possible,
        });
    }
    stages
}
