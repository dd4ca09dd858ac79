//! The inventory: what the operator says about monitor, clusters and hosts, and what it means.

mod resolved;

pub use resolved::{
    Account, ClusterEntry, Credentials, Fence, HostEntry, Inventory, Monitor, MysqlSettings, SecretSource,
    Service, SshSettings,
};
