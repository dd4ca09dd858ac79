//! What a host shows of why its server is in trouble: said beside whatever is decided, and never a reason to decide.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Something that people look for first when a server is in trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sign {
    /// No space is left where the server keeps its data.
    DiskFull,
    /// What it keeps its data on takes no writes, as a failing disk does.
    DiskReadOnly,
    /// The kernel killed it for want of memory.
    OutOfMemory,
    /// The service manager is stopping it.
    Stopping,
    /// The service manager is starting it.
    Starting,
    /// Its process is young: it was started not long ago.
    JustStarted,
    /// More waits on the host than it can do.
    HeavyLoad,
}

impl Sign {
    /// Every sign.
    pub const ALL: [Sign; 7] = [
        Sign::DiskFull,
        Sign::DiskReadOnly,
        Sign::OutOfMemory,
        Sign::Stopping,
        Sign::Starting,
        Sign::JustStarted,
        Sign::HeavyLoad,
    ];

    /// The word by which duties name it.
    pub fn word(self) -> &'static str {
        match self {
            Sign::DiskFull => "disk_full",
            Sign::DiskReadOnly => "disk_read_only",
            Sign::OutOfMemory => "out_of_memory",
            Sign::Stopping => "stopping",
            Sign::Starting => "starting",
            Sign::JustStarted => "just_started",
            Sign::HeavyLoad => "heavy_load",
        }
    }

    /// The signs that a duty named, each once, whatever else it printed.
    pub fn read(text: &str) -> Vec<Sign> {
        let named = |sign: &Sign| text.split_whitespace().any(|word| word == sign.word());
        Sign::ALL.into_iter().filter(named).collect()
    }

    /// What lifts it.
    pub fn lifted_by(self) -> &'static str {
        match self {
            Sign::DiskFull => "free some space there; until then writes wait, whoever is the writer",
            Sign::DiskReadOnly => {
                "look at the host's kernel log, mend or replace the disk; `mmm switchover` moves the writer away while its server answers"
            }
            Sign::OutOfMemory => "give the server less memory to use, or the host more",
            Sign::Stopping | Sign::Starting => "whoever asked the service manager for that knows why",
            Sign::JustStarted => "its error log says why it was started, and what it does before it answers",
            Sign::HeavyLoad => "`top` on it shows what runs; what waits for a slow disk counts too",
        }
    }
}

impl fmt::Display for Sign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Sign::DiskFull => "its disk is full",
            Sign::DiskReadOnly => "its disk is read-only",
            Sign::OutOfMemory => "the kernel killed its server for want of memory",
            Sign::Stopping => "its service manager is stopping the server",
            Sign::Starting => "its service manager is starting the server",
            Sign::JustStarted => "its server was started less than a minute ago",
            Sign::HeavyLoad => "its host is under heavy load",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_are_read_by_their_words_and_nothing_else_is() {
        assert_eq!(Sign::read(""), []);
        assert_eq!(
            Sign::read("disk_read_only\nnonsense disk_full\ndisk_full"),
            [Sign::DiskFull, Sign::DiskReadOnly]
        );
        for sign in Sign::ALL {
            assert_eq!(Sign::read(sign.word()), [sign]);
            assert!(!sign.lifted_by().is_empty());
        }
    }
}
