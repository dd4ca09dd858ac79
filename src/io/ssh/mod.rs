//! SSH: one authenticated connection per host, kept open, with a few commands at a time on it.
//!
//! Nothing outside this room names the SSH library. Host keys must be known; a command whose connection dies has an
//! unknown outcome and says so; a command that is given up is ended on the host.

mod auth;
mod connect;
mod ending;
mod error;
mod keys;
mod known_hosts;
mod link;
mod links;
mod openssh_config;
mod output;
mod proxy;
mod quick;
mod remote;
mod stream;
mod target;

pub use ending::ExitStatus;
pub use error::{SshError, SshErrorKind};
pub use link::{EXEC_OUTPUT_BYTES, ExecOutput, Link, STREAM_UNREAD_BYTES};
pub use links::Links;
pub use openssh_config::Wanted;
pub use stream::Stream;
pub use target::{Agent, Identity, Target, Timing};
