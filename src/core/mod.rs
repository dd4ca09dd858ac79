//! Decides. Facts, commands and time go in; effects come out. Nothing here touches a socket, a file or a clock.

pub mod cluster;
pub mod facts;
pub mod gtid;
pub mod playbook;
pub mod reach;
pub mod script;
pub mod wire;
