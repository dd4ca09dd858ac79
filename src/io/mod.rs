//! Acts. The only room with async, clocks, files and sockets. It never prints.

mod beginning;
pub mod clock;
pub mod conductor;
pub mod context;
pub mod fleet;
pub mod here;
pub mod hold;
pub mod inquest;
pub mod inventory;
pub mod journal;
pub mod lock;
pub mod monitor;
pub mod mysql;
pub mod network;
pub mod operation;
pub mod ping;
pub mod preflight;
pub mod secret;
pub mod settle;
pub mod shell;
pub mod socket;
pub mod ssh;
pub mod standing;
pub mod startup;
pub mod teller;
pub mod tending;
pub mod vault;
