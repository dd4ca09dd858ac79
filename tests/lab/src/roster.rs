//! Who is in a lab: three database hosts, the monitor's box and a client, with fixed names and addresses; in a lab that
//! asks for it, also a pair of masters that is a cluster of its own.

/// What a host is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A database server. `source` is the host it replicates from when the lab comes up.
    Database {
        server_id: u32,
        source: &'static str,
        mode: Mode,
    },
    /// The monitor's box: the only host on which `mmm` is installed.
    Monitor,
    /// Where load is written from.
    Client,
}

/// The mode of a database host in the inventory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Master { peer: &'static str },
    Slave,
}

/// One host of the roster.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    pub name: &'static str,
    pub octet: u8,
    pub purpose: Purpose,
}

/// Everybody. Labs are isolated from each other, so each may use the same addresses.
pub const ROSTER: [Entry; 5] = [
    Entry {
        name: "db1",
        octet: 11,
        purpose: Purpose::Database {
            server_id: 1,
            source: "db2",
            mode: Mode::Master { peer: "db2" },
        },
    },
    Entry {
        name: "db2",
        octet: 12,
        purpose: Purpose::Database {
            server_id: 2,
            source: "db1",
            mode: Mode::Master { peer: "db1" },
        },
    },
    Entry {
        name: "db3",
        octet: 13,
        purpose: Purpose::Database {
            server_id: 3,
            source: "db1",
            mode: Mode::Slave,
        },
    },
    Entry {
        name: "box",
        octet: 5,
        purpose: Purpose::Monitor,
    },
    Entry {
        name: "client",
        octet: 6,
        purpose: Purpose::Client,
    },
];

/// Two masters that replicate from each other only: a second cluster for the same monitor.
pub const SECOND_PAIR: [Entry; 2] = [
    Entry {
        name: "db4",
        octet: 14,
        purpose: Purpose::Database {
            server_id: 4,
            source: "db5",
            mode: Mode::Master { peer: "db5" },
        },
    },
    Entry {
        name: "db5",
        octet: 15,
        purpose: Purpose::Database {
            server_id: 5,
            source: "db4",
            mode: Mode::Master { peer: "db4" },
        },
    },
];

/// The writer's address and the readers', as the inventory names them.
pub const WRITER_ADDRESS: &str = "10.77.0.100";
pub const READER_ADDRESSES: [&str; 2] = ["10.77.0.101", "10.77.0.102"];
/// The writer's address of the second pair, first on `db4`.
pub const SECOND_WRITER_ADDRESS: &str = "10.77.0.110";
/// The management address of the switch, where its power strip answers.
pub const SWITCH_ADDRESS: &str = "10.77.0.2";
/// The interface inside every host.
pub const INTERFACE: &str = "eth0";

impl Entry {
    pub fn address(&self) -> String {
        format!("10.77.0.{}", self.octet)
    }

    /// A fixed, locally administered MAC address.
    pub fn mac(&self) -> String {
        format!("02:77:00:00:00:{:02x}", self.octet)
    }

    pub fn is_database(&self) -> bool {
        matches!(self.purpose, Purpose::Database { .. })
    }
}

/// Looks a host up by its name.
pub fn find(name: &str) -> Option<&'static Entry> {
    ROSTER.iter().chain(&SECOND_PAIR).find(|entry| entry.name == name)
}
