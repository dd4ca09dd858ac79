//! Events into words, JSON and progress bars. The only room, with `cli`, that prints.

pub mod daemon;
pub mod grants;
pub mod history;
pub mod junit;
pub mod line;
pub mod log;
pub mod plan;
pub mod preflight;
pub mod readiness;
pub mod reporter;
pub mod show;
pub mod site;
pub mod sudoers;
