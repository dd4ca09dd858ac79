//! Acts. The only room with async, clocks, files and sockets. It never prints.

pub mod clock;
pub mod conductor;
pub mod inventory;
pub mod journal;
pub mod lock;
pub mod mysql;
pub mod ping;
pub mod secret;
pub mod shell;
pub mod ssh;
pub mod standing;
pub mod teller;
pub mod vault;
