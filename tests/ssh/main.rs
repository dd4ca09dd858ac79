//! SSH against real sshds on this machine, each with its own configuration and keys, on loopback ports of their own.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test may fail loudly and tell what it measured"
)]

mod commands;
mod config;
mod connections;
mod host_keys;
mod kept;
mod keys;
mod sshd;
