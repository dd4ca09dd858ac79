//! Text in, valid values out: inventory, playbooks, durations; carets on errors.

pub mod diagnostic;
pub mod duration;
pub mod import;
pub mod inventory;
pub mod playbook;
pub mod template;
