//! Decides. Facts, commands and time go in; effects come out. Nothing here touches a socket, a file or a clock.

pub mod basis;
pub mod by_hand;
pub mod checks;
pub mod cluster;
pub mod election;
pub mod electorate;
pub mod engine;
pub mod event;
pub mod evidence;
pub mod explain;
pub mod facts;
#[cfg(test)]
pub(crate) mod golden;
pub mod gtid;
pub mod guard;
pub mod hosts;
pub mod latch;
pub mod losses;
pub mod mode;
pub mod moment;
pub mod plan;
pub mod playbook;
pub mod preflight;
pub mod proposal;
pub mod reach;
pub mod readiness;
pub mod release;
pub mod relocation;
pub mod repair;
pub mod roles;
pub mod rule;
pub mod run;
#[cfg(test)]
pub(crate) mod samples;
pub mod script;
pub mod semi_sync;
pub mod settlement;
pub mod sign;
pub mod standing;
pub mod startup;
pub mod trouble;
pub mod view;
pub mod wire;
