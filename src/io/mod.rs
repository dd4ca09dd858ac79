//! Acts. The only room with async, clocks, files and sockets. It never prints.

pub mod inventory;
pub mod mysql;
pub mod ping;
pub mod secret;
pub mod shell;
pub mod ssh;
