//! Several real database hosts on one machine, made of kernel namespaces, for testing mmm.
//!
//! A lab has a switch (a bridge in a network namespace of its own, to which the machine has no route), three database
//! hosts with their own sshd and MariaDB or MySQL, a box on which mmm is installed, and a client; for tests that ask for it also
//! two more database hosts that are a cluster of their own. Its parts:
//!
//! * `lab` brings a whole lab up; `leftovers` takes it down, also one that died half-way.
//! * `roster` says who is in it; `place` where its things are; `machine` what the machine must offer.
//! * `flavour` says which database servers its hosts run; `stock` fetches those that the machine has not installed;
//!   `server` is what each needs on its host.
//! * `host` boots a host and runs programs in it (`background` for those that go on); `disk` and `seed` are what it
//!   boots from; `service`, `keeper`, `unit_files` and `systemctl` are what runs its servers.
//! * `faults` is the table of faults: scenarios, played against mmm and judged.
//! * `network` is the switch, `fault` and `breakage` everything that can be broken and healed, `steps` the steps of
//!   operations that go wrong, `power` a power strip for fencing.
//! * `database` asks the servers, `accounts` and `sudo` are the lists of who may do what, `inventory` what mmm is told.
//! * `writer` writes rows through the writer address and `sampler` watches from inside a host whether its server can be
//!   written, both on the one `clock`, with a `login`; `judge` says what their records prove, `load` runs them all.
//! * `wait` waits on conditions with deadlines; `command` runs programs; `process` keeps them apart.

pub mod accounts;
pub mod background;
pub mod breakage;
pub mod clock;
pub mod command;
pub mod database;
pub mod disk;
pub mod fault;
pub mod faults;
pub mod flavour;
pub mod host;
pub mod inventory;
pub mod judge;
pub mod keeper;
pub mod lab;
pub mod leftovers;
pub mod load;
pub mod login;
pub mod machine;
pub mod network;
pub mod place;
pub mod power;
pub mod process;
pub mod progress;
pub mod roster;
pub mod sampler;
pub mod seed;
pub mod server;
pub mod service;
pub mod status;
pub mod steps;
pub mod stock;
pub mod sudo;
pub mod systemctl;
pub mod unit_files;
pub mod wait;
pub mod writer;

pub use background::Background;
pub use command::Output;
pub use database::{Replication, Table};
pub use flavour::{Flavour, Places, Server};
pub use host::{Host, Restart};
pub use lab::{Lab, Options};
pub use load::Load;
