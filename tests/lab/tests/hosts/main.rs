//! The lab tested on real labs. Needs root; a few seconds a test.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod faults;
mod outside;
mod whole;
