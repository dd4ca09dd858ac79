//! Read-only probes of a server, and the parsing of their answers. Strings only.

pub mod filters;
pub mod preflight;
pub mod probe;
pub mod replication;
pub mod row;
mod semi_sync;
pub mod shell_facts;
pub mod tail;
pub mod version;
