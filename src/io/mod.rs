//! Acts. The only room with async, clocks, files and sockets. It never prints.

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
pub mod operation;
pub mod ping;
pub mod preflight;
pub mod records;
pub mod release;
pub mod secret;
pub mod settle;
pub mod shell;
pub mod socket;
pub mod ssh;
pub mod standing;
pub mod teller;
pub mod tending;
pub mod vault;
