//! Library of the lab.

pub mod account;
pub mod clock;
pub mod judge;
pub mod sampler;
pub mod writer;
