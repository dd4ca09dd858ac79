//! SSH against real sshds on this machine, each with its own configuration and keys, on loopback ports of their own.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test may fail loudly and tell what it measured"
)]

mod commands;
mod config;
mod connections;
mod host_keys;
mod kept;
mod keys;
mod sshd;
