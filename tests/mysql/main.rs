//! The probes against real servers: what they say of healthy, refusing, hung, dead and silent ones.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "whatever fails here is a failed test"
)]

mod checks;
mod facts;
mod holding;
mod locks;
mod preflight;
mod reaching;
mod server;
mod starting;
