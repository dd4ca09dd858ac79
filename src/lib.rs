//! `mmm` keeps one writer address and any number of reader addresses on healthy MySQL and MariaDB hosts, and moves them.

pub mod cli;
pub mod config;
pub mod core;
pub mod io;
pub mod report;
pub mod sql;
