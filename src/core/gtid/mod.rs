//! Where a server stands in the history of writes: MariaDB GTIDs, MySQL GTID sets, binary log coordinates,
//! and the question asked of every returning writer: what has it that the new writer has not?

mod binlog;
mod mariadb;
mod mysql;
mod surplus;

pub use binlog::BinlogPosition;
pub use mariadb::{MariaGtid, MariaPosition, MariaState};
pub use mysql::{Interval, MysqlSet, Tag, Uuid};
pub use surplus::{Compared, History, MariaRange, Surplus, compare, lacking};

use std::fmt;

/// A position that could not be read; says which part and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// The part that could not be read.
    pub part: String,
    /// What is wrong with it.
    pub because: &'static str,
}

impl Unreadable {
    fn new(part: &str, because: &'static str) -> Self {
        Unreadable {
            part: part.to_owned(),
            because,
        }
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot read `{}` as a position: {}", self.part, self.because)
    }
}

impl std::error::Error for Unreadable {}

/// Positions travel as the text the servers print: in journals, plans and JSON alike, and in a test's output.
macro_rules! as_text {
    ($type:ty) => {
        impl std::fmt::Debug for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "`{self}`")
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
use as_text;
