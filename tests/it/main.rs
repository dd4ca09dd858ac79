//! Integration tests: the real program on the box of a real lab. They need root; `cargo lab test` runs them.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking and shows the figures it judged by"
)]

mod ahead;
mod article;
mod away;
mod beside;
mod channels;
mod check;
mod cluster;
mod cut_off_by_hand;
mod cutoff;
mod deaths;
mod draining;
mod dry;
mod election;
mod endurance;
mod errors;
mod evidence;
mod expiry;
mod failover;
mod families;
mod faults;
mod figures;
mod flapping;
mod greeting;
mod gtids;
mod halts;
mod killed;
mod load;
mod losses;
mod maintenance;
mod order;
mod outputs;
mod plans;
mod resume;
mod returning;
mod roles;
mod saved_rows;
mod scripting;
mod secrets;
mod semi_sync;
mod silence;
mod site;
mod startup;
mod steps_gone_wrong;
mod switchover;
mod two_boxes;
mod two_clusters;
mod undo;
mod verbs;
mod watch;
