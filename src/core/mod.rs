//! Decides. Facts, commands and time go in; effects come out. Nothing here touches a socket, a file or a clock.

pub mod checks;
pub mod cluster;
pub mod evidence;
pub mod facts;
#[cfg(test)]
pub(crate) mod golden;
pub mod gtid;
pub mod latch;
pub mod moment;
pub mod playbook;
pub mod reach;
pub mod script;
pub mod wire;
