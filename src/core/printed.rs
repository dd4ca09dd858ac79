//! The version that all JSON for programs carries: what commands print, events, and what `notify` is given.

use serde::Serialize;

/// The version of everything that is printed as JSON. Fields, and kinds of events, may be added within it; it is raised
/// when one is taken away or means something else. The schemas say it, and the README what it promises.
pub const OUTPUT_VERSION: u32 = 1;

/// A value that becomes an object, with the version in front of its fields.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Printed<'a, T> {
    version: u32,
    #[serde(flatten)]
    what: &'a T,
}

impl<'a, T: Serialize> Printed<'a, T> {
    /// That value, to be printed.
    pub fn of(what: &'a T) -> Self {
        Printed {
            version: OUTPUT_VERSION,
            what,
        }
    }
}
