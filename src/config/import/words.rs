//! MMM's words: the keys of each block, what a value of theirs looks like, and what becomes of them here.

use std::net::IpAddr;

/// The blocks there are, the top of the file included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Top,
    Monitor,
    Socket,
    Host,
    Role,
    Check,
    CopyMethod,
}

impl Kind {
    /// All blocks that have tags.
    pub const BLOCKS: [Kind; 6] = [
        Kind::Monitor,
        Kind::Socket,
        Kind::Host,
        Kind::Role,
        Kind::Check,
        Kind::CopyMethod,
    ];

    /// The word in its tags.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Top => "",
            Kind::Monitor => "monitor",
            Kind::Socket => "socket",
            Kind::Host => "host",
            Kind::Role => "role",
            Kind::Check => "check",
            Kind::CopyMethod => "copy_method",
        }
    }

    /// Whether there can be several, told apart by their names.
    pub fn is_named(self) -> bool {
        matches!(self, Kind::Host | Kind::Role | Kind::Check | Kind::CopyMethod)
    }

    /// Whether a block named `default` fills the gaps of the others.
    pub fn has_template(self) -> bool {
        matches!(self, Kind::Host | Kind::Check | Kind::CopyMethod)
    }

    /// Its keys.
    pub fn keys(self) -> &'static [Key] {
        match self {
            Kind::Top => TOP,
            Kind::Monitor => MONITOR,
            Kind::Socket => SOCKET,
            Kind::Host => HOST,
            Kind::Role => ROLE,
            Kind::Check => CHECK,
            Kind::CopyMethod => COPY_METHOD,
        }
    }

    /// Where it stands, in words.
    pub fn place(self) -> String {
        match self {
            Kind::Top => "outside of blocks".to_owned(),
            _ if self.is_named() => format!("in `<{} …>`", self.word()),
            _ => format!("in `<{}>`", self.word()),
        }
    }
}

/// A key: its name, what its value looks like, and what becomes of it.
pub type Key = (&'static str, Shape, Fate);

/// What a value looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    Text,
    Names,
    Address,
    Addresses,
    Number,
    Port,
    Flag,
    OneOf(&'static [&'static str]),
}

/// What becomes of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is carried over, or spoken of where its block is.
    Carried,
    /// It has no counterpart, for this reason.
    Gone(&'static str),
}

use Fate::{Carried, Gone};
use Shape::{Address, Addresses, Flag, Names, Number, OneOf, Port, Text};

const NO_AGENT: Fate = Gone("the database hosts run nothing of ours");
const NO_DAEMON_PATHS: Fate =
    Gone("a local socket takes commands (`socket`), and what must survive stands in `state_dir`");
const NO_TOOLS: Fate = Gone("copies and backups are left to the tools made for them");
const SSH_INSTEAD: Fate = Gone("everything on a host is done over SSH, which brings its own keys");
const MOVES_REFUSE: Fate =
    Gone("a switchover itself refuses new writes and ends sessions, within the times in its playbook");

const TOP: &[Key] = &[
    ("this", Text, NO_AGENT),
    ("debug", Flag, Gone("`--verbose` says more")),
    ("active_master_role", Text, Carried),
    ("max_kill_retries", Number, MOVES_REFUSE),
    ("default_copy_method", Text, NO_TOOLS),
    ("clone_dirs", Names, NO_TOOLS),
    ("blocking_type", OneOf(&["soft", "hard"]), MOVES_REFUSE),
    ("iptables_block_cmd", Text, MOVES_REFUSE),
    ("iptables_unblock_cmd", Text, MOVES_REFUSE),
];

const MONITOR: &[Key] = &[
    ("ip", Text, NO_DAEMON_PATHS),
    ("port", Port, NO_DAEMON_PATHS),
    ("pid_path", Text, NO_DAEMON_PATHS),
    ("bin_path", Text, NO_DAEMON_PATHS),
    ("status_path", Text, NO_DAEMON_PATHS),
    ("ping_ips", Addresses, Carried),
    (
        "ping_interval",
        Number,
        Gone("the network is looked at in each round"),
    ),
    ("flap_duration", Number, Carried),
    ("flap_count", Number, Carried),
    ("auto_set_online", Number, Carried),
    ("kill_host_bin", Text, Carried),
    ("careful_startup", Flag, Carried),
    ("mode", OneOf(&["active", "manual", "wait", "passive"]), Carried),
    ("wait_for_other_master", Number, Carried),
];

const SOCKET: &[Key] = &[
    ("type", OneOf(&["plain", "ssl"]), SSH_INSTEAD),
    ("cert_file", Text, SSH_INSTEAD),
    ("key_file", Text, SSH_INSTEAD),
    ("ca_file", Text, SSH_INSTEAD),
];

const HOST: &[Key] = &[
    ("ip", Address, Carried),
    ("mode", OneOf(&["master", "slave"]), Carried),
    ("peer", Text, Carried),
    ("cluster_interface", Text, Carried),
    ("mysql_port", Port, Carried),
    ("ssh_port", Port, Carried),
    ("ssh_user", Text, Carried),
    ("ssh_parameters", Text, Carried),
    ("monitor_user", Text, Carried),
    ("monitor_password", Text, Carried),
    ("agent_user", Text, Carried),
    ("agent_password", Text, Carried),
    ("replication_user", Text, Carried),
    ("replication_password", Text, Carried),
    ("mysql_rcscript", Text, Carried),
    ("pid_path", Text, NO_AGENT),
    ("bin_path", Text, NO_AGENT),
    ("agent_port", Port, NO_AGENT),
    ("mysql_pidfile", Text, NO_TOOLS),
    ("mysql_cnf", Text, NO_TOOLS),
    ("tools_user", Text, NO_TOOLS),
    ("tools_password", Text, NO_TOOLS),
    ("backup_dir", Text, NO_TOOLS),
    ("restore_dir", Text, NO_TOOLS),
    ("lvm_bin_lvcreate", Text, NO_TOOLS),
    ("lvm_bin_lvremove", Text, NO_TOOLS),
    ("lvm_snapshot_size", Text, NO_TOOLS),
    ("lvm_logical_volume", Text, NO_TOOLS),
    ("lvm_volume_group", Text, NO_TOOLS),
    ("lvm_mount_dir", Text, NO_TOOLS),
    ("lvm_mount_opts", Text, NO_TOOLS),
];

const ROLE: &[Key] = &[
    ("mode", OneOf(&["exclusive", "balanced"]), Carried),
    ("hosts", Names, Carried),
    ("ips", Addresses, Carried),
    ("prefer", Text, Carried),
];

const CHECK: &[Key] = &[
    ("check_period", Number, Carried),
    ("trap_period", Number, Carried),
    ("timeout", Number, Carried),
    ("max_backlog", Number, Carried),
    (
        "restart_after",
        Number,
        Gone("it never did anything in MMM either, and there is no checker process to restart"),
    ),
];

const COPY_METHOD: &[Key] = &[
    ("backup_command", Text, NO_TOOLS),
    ("restore_command", Text, NO_TOOLS),
    ("incremental_command", Text, NO_TOOLS),
    ("incremental", Flag, NO_TOOLS),
    ("single_run", Flag, NO_TOOLS),
    ("true_copy", Flag, NO_TOOLS),
];

/// The checks there are.
pub const CHECKS: [&str; 5] = ["default", "ping", "mysql", "rep_threads", "rep_backlog"];

/// Why a value does not fit its shape, and what to write instead.
pub struct Misfit {
    pub wanted: String,
    pub because: String,
    pub hint: String,
}

impl Shape {
    /// Whether values are split at commas.
    pub fn is_list(self) -> bool {
        matches!(self, Names | Addresses)
    }

    /// What keeps a value, or one item of a list, from fitting.
    pub fn misfit(self, value: &str) -> Option<Misfit> {
        let misfit = |wanted: &str, because: &str, hint: &str| {
            Some(Misfit {
                wanted: wanted.to_owned(),
                because: because.to_owned(),
                hint: hint.to_owned(),
            })
        };
        match self {
            Text => None,
            Names if value.contains(char::is_whitespace) => misfit(
                "one name",
                "lists are split at commas only",
                "put commas between the names",
            ),
            Names => None,
            Address | Addresses => match value.parse::<IpAddr>() {
                Ok(_) => None,
                Err(_) if value.contains(char::is_whitespace) => misfit(
                    "one address",
                    "lists are split at commas, and a comment needs a line of its own",
                    "put commas between the addresses",
                ),
                Err(_) => misfit(
                    "an IP address",
                    "names are not looked up: a failover must not wait for a name server",
                    "write an address such as `10.0.0.11`",
                ),
            },
            Number | Port => {
                let most = if self == Port { 65_535 } else { u64::from(u32::MAX) };
                let least = u64::from(self == Port);
                let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
                match value.parse::<u64>() {
                    Ok(number) if digits && (least..=most).contains(&number) => None,
                    Ok(_) if digits => misfit(
                        &format!("a number from {least} to {most}"),
                        "it is out of range",
                        "write a number in range",
                    ),
                    _ => misfit(
                        "a whole number",
                        "MMM checked no number: it took the digits in front, or 0, and said nothing",
                        "write digits only; a comment needs a line of its own",
                    ),
                }
            }
            Flag => match value.to_ascii_lowercase().as_str() {
                "true" | "on" | "yes" | "1" | "false" | "off" | "no" | "0" => None,
                _ => misfit(
                    "a yes or no",
                    "MMM took true, on, yes and 1, or false, off, no and 0",
                    "write `1` or `0`",
                ),
            },
            OneOf(words) if words.contains(&value) => None,
            OneOf(words) => {
                let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
                misfit(
                    &words.join(" or "),
                    "only these words have a meaning here, and a comment needs a line of its own",
                    &format!("write {}", words.join(" or ")),
                )
            }
        }
    }
}

/// Whether a flag that fits its shape says yes.
pub fn is_yes(value: &str) -> bool {
    matches!(value.to_ascii_lowercase().as_str(), "true" | "on" | "yes" | "1")
}
