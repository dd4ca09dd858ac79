//! The probes against real servers: what they say of healthy, refusing, hung, dead and silent ones.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed unwrap is a failed test"
)]

mod checks;
mod facts;
mod locks;
mod preflight;
mod reaching;
mod server;
