//! Integration tests: the real program on the box of a real lab. They need root; `cargo lab test` runs them.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking and shows the figures it judged by"
)]

mod article;
mod away;
mod beside;
mod check;
mod cluster;
mod cutoff;
mod dry;
mod election;
mod errors;
mod expiry;
mod failover;
mod families;
mod faults;
mod flapping;
mod halts;
mod killed;
mod load;
mod losses;
mod order;
mod outputs;
mod plans;
mod returning;
mod roles;
mod secrets;
mod silence;
mod startup;
mod switchover;
mod two_boxes;
mod two_clusters;
mod undo;
mod verbs;
mod watch;
