//! What the file says, key by key, before defaults and before names are resolved.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use super::reader::{Given, Reader, Section};
use super::resolved::{SecretSource, Service};
use super::tree::{Node, Value};
use crate::core::cluster::{CheckKind, HostMode, RoleMode, Unfenced};

/// The whole file.
#[derive(Debug, Default)]
pub struct File {
    pub monitor: Monitor,
    pub defaults: ClusterWide,
    pub clusters: Vec<(Given<String>, Cluster)>,
}

#[derive(Debug, Default)]
pub struct Monitor {
    pub state_dir: Option<Given<PathBuf>>,
    pub socket: Option<Given<PathBuf>>,
    pub ping_addresses: Vec<Given<IpAddr>>,
}

/// What both the top level and a cluster may set.
#[derive(Debug, Default)]
pub struct ClusterWide {
    pub settings: Settings,
    pub checks: Checks,
    pub automatic: Option<Given<bool>>,
    pub unfenced: Option<Given<Unfenced>>,
    pub playbooks: Option<Given<PathBuf>>,
}

#[derive(Debug)]
pub struct Cluster {
    pub wide: ClusterWide,
    pub writer_role: Option<Given<String>>,
    pub hosts: Vec<(Given<String>, Host)>,
    /// The names of all hosts, of unusable ones too.
    pub host_names: Vec<String>,
    pub roles: Vec<(Given<String>, Role)>,
}

#[derive(Debug)]
pub struct Host {
    pub address: Option<Given<IpAddr>>,
    pub mode: Option<Given<HostMode>>,
    pub peer: Option<Given<String>>,
    pub settings: Settings,
}

#[derive(Debug)]
pub struct Role {
    pub mode: Option<Given<RoleMode>>,
    /// `None` inside is an item that could not be read.
    pub hosts: Option<Vec<Option<Given<String>>>>,
    pub addresses: Option<Vec<Option<Given<IpAddr>>>>,
    pub prefer: Option<Given<String>>,
}

/// What may be set for all clusters, for a cluster, and for a host; the nearer one wins, key by key.
#[derive(Debug, Default, Clone)]
pub struct Settings {
    pub interface: Option<Given<String>>,
    pub ssh: Ssh,
    pub mysql: Mysql,
    pub monitor: Account,
    pub agent: Account,
    pub replication: Account,
    pub service: Option<Given<Service>>,
    pub fence: Fence,
    pub vars: BTreeMap<String, String>,
    /// What was given but is unusable, for instance `credentials.agent.user`: reported, hence not missing.
    pub broken: BTreeSet<String>,
}

#[derive(Debug, Default, Clone)]
pub struct Ssh {
    pub address: Option<Given<String>>,
    pub port: Option<Given<u16>>,
    pub user: Option<Given<String>>,
    pub identity_file: Option<Given<PathBuf>>,
    pub identity_passphrase: Option<Given<SecretSource>>,
    pub jump: Option<Given<String>>,
    pub known_hosts: Option<Vec<Given<PathBuf>>>,
    pub use_ssh_config: Option<Given<bool>>,
    pub connect_timeout: Option<Given<Duration>>,
    pub keepalive_every: Option<Given<Duration>>,
    pub keepalive_misses: Option<Given<u32>>,
    pub max_channels: Option<Given<u32>>,
}

#[derive(Debug, Default, Clone)]
pub struct Mysql {
    pub port: Option<Given<u16>>,
    pub client: Option<Given<String>>,
    pub socket: Option<Given<PathBuf>>,
}

#[derive(Debug, Default, Clone)]
pub struct Account {
    pub user: Option<Given<String>>,
    pub password: Option<Given<SecretSource>>,
}

/// The duty may be named once for a cluster, and what differs from host to host be given with the hosts.
#[derive(Debug, Default, Clone)]
pub struct Fence {
    /// `Some(None)` is `fence: none`.
    pub duty: Option<Option<Given<String>>>,
    pub with: BTreeMap<String, String>,
    /// Where `fence` was given, when it was.
    pub given: Option<Given<()>>,
}

/// Timings as far as they are given: for all kinds, and for each.
#[derive(Debug, Default, Clone)]
pub struct Checks {
    pub default: Timing,
    pub kinds: BTreeMap<CheckKind, Timing>,
}

#[derive(Debug, Default, Clone)]
pub struct Timing {
    pub every: Option<Given<Duration>>,
    pub trap_after: Option<Given<Duration>>,
    pub timeout: Option<Given<Duration>>,
    pub max_backlog: Option<Given<Duration>>,
}

impl Settings {
    /// These settings where they are given, otherwise those of the level below.
    pub fn over(self, below: &Settings) -> Settings {
        let below = below.clone();
        let mut vars = below.vars;
        vars.extend(self.vars);
        let mut broken = below.broken;
        broken.extend(self.broken);
        Settings {
            interface: self.interface.or(below.interface),
            ssh: self.ssh.over(below.ssh),
            mysql: Mysql {
                port: self.mysql.port.or(below.mysql.port),
                client: self.mysql.client.or(below.mysql.client),
                socket: self.mysql.socket.or(below.mysql.socket),
            },
            monitor: self.monitor.over(below.monitor),
            agent: self.agent.over(below.agent),
            replication: self.replication.over(below.replication),
            service: self.service.or(below.service),
            fence: self.fence.over(below.fence),
            vars,
            broken,
        }
    }

    /// Passes on a value that was read from `section`, and remembers if it was given but could not be read.
    fn kept<T>(&mut self, value: Option<T>, section: &Section<'_>, path: &str) -> Option<T> {
        if value.is_none() && section.mentions(path.rsplit('.').next().unwrap_or(path)) {
            self.broken.insert(path.to_owned());
        }
        value
    }
}

impl Ssh {
    fn over(self, below: Ssh) -> Ssh {
        Ssh {
            address: self.address.or(below.address),
            port: self.port.or(below.port),
            user: self.user.or(below.user),
            identity_file: self.identity_file.or(below.identity_file),
            identity_passphrase: self.identity_passphrase.or(below.identity_passphrase),
            jump: self.jump.or(below.jump),
            known_hosts: self.known_hosts.or(below.known_hosts),
            use_ssh_config: self.use_ssh_config.or(below.use_ssh_config),
            connect_timeout: self.connect_timeout.or(below.connect_timeout),
            keepalive_every: self.keepalive_every.or(below.keepalive_every),
            keepalive_misses: self.keepalive_misses.or(below.keepalive_misses),
            max_channels: self.max_channels.or(below.max_channels),
        }
    }
}

impl Account {
    fn over(self, below: Account) -> Account {
        Account {
            user: self.user.or(below.user),
            password: self.password.or(below.password),
        }
    }
}

impl Fence {
    /// Naming a duty starts anew; values alone are added to those of the level below.
    fn over(self, below: Fence) -> Fence {
        let mut with = if self.duty.is_some() {
            BTreeMap::new()
        } else {
            below.with
        };
        with.extend(self.with);
        Fence {
            duty: self.duty.or(below.duty),
            with,
            given: self.given.or(below.given),
        }
    }
}

impl Timing {
    /// This timing where it is given, otherwise that of the level below.
    pub fn over(self, below: &Timing) -> Timing {
        let below = below.clone();
        Timing {
            every: self.every.or(below.every),
            trap_after: self.trap_after.or(below.trap_after),
            timeout: self.timeout.or(below.timeout),
            max_backlog: self.max_backlog.or(below.max_backlog),
        }
    }
}

/// In [`Settings::broken`]: a whole level could not be read, so nothing can be called missing.
pub const EVERYTHING: &str = "*";

/// Reads the whole file out of its tree.
pub fn read(r: &mut Reader<'_>, root: &Node) -> File {
    let mut file = File::default();
    let Some(mut top) = r.root(root) else { return file };
    if let Some(section) = r.section(&mut top, "monitor") {
        file.monitor = monitor(r, section);
    }
    if let Some(mut section) = r.section(&mut top, "defaults") {
        file.defaults.settings = settings(r, &mut section);
        duties(r, &mut section, &mut file.defaults.settings);
        cluster_wide(r, &mut section, &mut file.defaults);
        r.close(section);
    } else if top.mentions("defaults") {
        file.defaults.settings.broken.insert(EVERYTHING.to_owned());
    }
    if top.get("clusters").is_none() {
        r.missing(
            &top,
            "clusters",
            "without a cluster there is nothing to watch",
            "add `clusters:` with one cluster",
        );
    }
    for (name, section) in r.named_sections(&mut top, "clusters") {
        if let Some(section) = section {
            file.clusters.push((name, cluster(r, section)));
        }
    }
    r.close(top);
    file
}

fn monitor(r: &mut Reader<'_>, mut section: Section<'_>) -> Monitor {
    let monitor = Monitor {
        state_dir: section.get("state_dir").and_then(|node| r.path(node)),
        socket: section.get("socket").and_then(|node| r.path(node)),
        ping_addresses: section
            .get("ping_addresses")
            .and_then(|node| r.list(node, "addresses", Reader::address))
            .map(|addresses| addresses.into_iter().flatten().collect())
            .unwrap_or_default(),
    };
    r.close(section);
    monitor
}

fn cluster(r: &mut Reader<'_>, mut section: Section<'_>) -> Cluster {
    let mut wide = ClusterWide::default();
    if let Some(mut defaults) = r.section(&mut section, "defaults") {
        wide.settings = settings(r, &mut defaults);
        r.close(defaults);
    } else if section.mentions("defaults") {
        wide.settings.broken.insert(EVERYTHING.to_owned());
    }
    duties(r, &mut section, &mut wide.settings);
    cluster_wide(r, &mut section, &mut wide);
    let writer_role = section.get("writer_role").and_then(|node| r.name(node));
    for (key, because) in [
        ("hosts", "a cluster is made of hosts"),
        ("roles", "without roles no address would go anywhere"),
    ] {
        if section.get(key).is_none() {
            r.missing(&section, key, because, &format!("add `{key}:` to the cluster"));
        }
    }
    let hosts = r.named_sections(&mut section, "hosts");
    let host_names = hosts.iter().map(|(name, _)| name.value.clone()).collect();
    let hosts = hosts
        .into_iter()
        .filter_map(|(name, section)| Some((name, host(r, section?))))
        .collect();
    let roles = r.named_sections(&mut section, "roles");
    let roles = roles
        .into_iter()
        .filter_map(|(name, section)| Some((name, role(r, section?))))
        .collect();
    r.close(section);
    Cluster {
        wide,
        writer_role,
        hosts,
        host_names,
        roles,
    }
}

fn host(r: &mut Reader<'_>, mut section: Section<'_>) -> Host {
    let address = section.get("address");
    if address.is_none() {
        r.missing(
            &section,
            "address",
            "MySQL and SSH are reached there",
            "add `address: …` to the host",
        );
    }
    let mode = section.get("mode");
    if mode.is_none() {
        r.missing(
            &section,
            "mode",
            "only a master may become the writer",
            "add `mode: master` or `mode: slave` to the host",
        );
    }
    let mut settings = settings(r, &mut section);
    duties(r, &mut section, &mut settings);
    let host = Host {
        address: address.and_then(|node| r.address(node)),
        mode: mode.and_then(|node| {
            let modes = [
                ("master", HostMode::Master),
                ("slave", HostMode::Slave),
                ("replica", HostMode::Slave),
            ];
            choice(r, node, &modes)
        }),
        peer: section.get("peer").and_then(|node| r.name(node)),
        settings,
    };
    r.close(section);
    host
}

fn role(r: &mut Reader<'_>, mut section: Section<'_>) -> Role {
    for (key, hint) in [
        ("mode", "add `mode: exclusive` or `mode: balanced`"),
        ("hosts", "add `hosts: [ … ]`"),
        ("addresses", "add `addresses: [ … ]`"),
    ] {
        if section.get(key).is_none() {
            r.missing(
                &section,
                key,
                "a role is addresses, the hosts that may hold them, and how they spread",
                hint,
            );
        }
    }
    let role = Role {
        mode: section.get("mode").and_then(|node| {
            choice(
                r,
                node,
                &[
                    ("exclusive", RoleMode::Exclusive),
                    ("balanced", RoleMode::Balanced),
                ],
            )
        }),
        hosts: section
            .get("hosts")
            .and_then(|node| r.list(node, "hosts", Reader::name)),
        addresses: section
            .get("addresses")
            .and_then(|node| r.list(node, "addresses", Reader::address)),
        prefer: section.get("prefer").and_then(|node| r.name(node)),
    };
    r.close(section);
    role
}

/// How hosts are reached.
fn settings(r: &mut Reader<'_>, section: &mut Section<'_>) -> Settings {
    let mut settings = Settings::default();
    let interface = section.get("interface").and_then(|node| interface(r, node));
    settings.interface = settings.kept(interface, section, "interface");
    if let Some(section) = r.section(section, "ssh") {
        settings.ssh = ssh(r, section);
    }
    if let Some(mut mysql) = r.section(section, "mysql") {
        settings.mysql = Mysql {
            port: mysql.get("port").and_then(|node| r.port(node)),
            client: mysql.get("client").and_then(|node| r.word(node)),
            socket: mysql.get("socket").and_then(|node| r.remote_path(node)),
        };
        r.close(mysql);
    }
    if let Some(mut accounts) = r.section(section, "credentials") {
        settings.monitor = account(r, &mut accounts, "monitor", &mut settings);
        settings.agent = account(r, &mut accounts, "agent", &mut settings);
        settings.replication = account(r, &mut accounts, "replication", &mut settings);
        r.close(accounts);
    } else {
        settings.kept(None::<()>, section, "credentials");
    }
    settings
}

/// What is done with hosts beyond the shipped playbooks.
fn duties(r: &mut Reader<'_>, section: &mut Section<'_>, settings: &mut Settings) {
    let service = section.get("service").and_then(|node| service(r, node, section));
    settings.service = settings.kept(service, section, "service");
    if let Some(node) = section.get("fence") {
        settings.fence = fence(r, node, section);
    }
    settings.vars = r.text_map(section, "vars");
}

fn cluster_wide(r: &mut Reader<'_>, section: &mut Section<'_>, wide: &mut ClusterWide) {
    if let Some(mut checks) = r.section(section, "checks") {
        if let Some(timing_section) = r.section(&mut checks, "default") {
            wide.checks.default = timing(r, timing_section, true);
        }
        for (key, kind) in [
            ("ping", CheckKind::Ping),
            ("mysql", CheckKind::Mysql),
            ("rep_threads", CheckKind::RepThreads),
            ("rep_backlog", CheckKind::RepBacklog),
        ] {
            if let Some(timing_section) = r.section(&mut checks, key) {
                let timing = timing(r, timing_section, kind == CheckKind::RepBacklog);
                wide.checks.kinds.insert(kind, timing);
            }
        }
        r.close(checks);
    }
    if let Some(mut failover) = r.section(section, "failover") {
        wide.automatic = failover.get("automatic").and_then(|node| r.flag(node));
        wide.unfenced = failover.get("unfenced").and_then(|node| {
            choice(
                r,
                node,
                &[
                    ("if_silent_to_all", Unfenced::IfSilentToAll),
                    ("never", Unfenced::Never),
                ],
            )
        });
        r.close(failover);
    }
    wide.playbooks = section.get("playbooks").and_then(|node| r.path(node));
}

fn timing(r: &mut Reader<'_>, mut section: Section<'_>, with_backlog: bool) -> Timing {
    let mut timing = Timing {
        every: section.get("every").and_then(|node| r.duration(node)),
        trap_after: section.get("trap_after").and_then(|node| r.duration(node)),
        timeout: section.get("timeout").and_then(|node| r.duration(node)),
        max_backlog: None,
    };
    if let Some(node) = section.get("max_backlog") {
        if with_backlog {
            timing.max_backlog = r.duration(node);
        } else {
            r.error(
                &node.span,
                "`max_backlog` has no effect on this check",
                "only `rep_backlog` measures how far a host is behind",
                "move it to `rep_backlog` or `default`",
            );
        }
    }
    r.close(section);
    timing
}

fn ssh(r: &mut Reader<'_>, mut section: Section<'_>) -> Ssh {
    let ssh = Ssh {
        address: section.get("address").and_then(|node| r.word(node)),
        port: section.get("port").and_then(|node| r.port(node)),
        user: section.get("user").and_then(|node| r.word(node)),
        identity_file: section.get("identity_file").and_then(|node| r.path(node)),
        identity_passphrase: {
            let node = section.get("identity_passphrase");
            node.and_then(|node| secret(r, node, &section, "identity_passphrase"))
        },
        jump: section.get("jump").and_then(|node| r.word(node)),
        known_hosts: section.get("known_hosts").map(|node| match &node.value {
            Value::Scalar { .. } => r.path(node).into_iter().collect(),
            _ => r
                .list(node, "files", Reader::path)
                .into_iter()
                .flatten()
                .flatten()
                .collect(),
        }),
        use_ssh_config: section.get("use_ssh_config").and_then(|node| r.flag(node)),
        connect_timeout: section.get("connect_timeout").and_then(|node| r.duration(node)),
        keepalive_every: section.get("keepalive_every").and_then(|node| r.duration(node)),
        keepalive_misses: section
            .get("keepalive_misses")
            .and_then(|node| r.number(node, 1, 100)),
        max_channels: section
            .get("max_channels")
            .and_then(|node| r.number(node, 1, 100)),
    };
    r.close(section);
    ssh
}

fn account(
    r: &mut Reader<'_>,
    parent: &mut Section<'_>,
    key: &'static str,
    settings: &mut Settings,
) -> Account {
    let Some(mut section) = r.section(parent, key) else {
        settings.kept(None::<()>, parent, &format!("credentials.{key}"));
        return Account::default();
    };
    let user = section.get("user").and_then(|node| r.text(node));
    let password = section
        .get("password")
        .and_then(|node| secret(r, node, &section, "password"));
    let account = Account {
        user: settings.kept(user, &section, &format!("credentials.{key}.user")),
        password: settings.kept(password, &section, &format!("credentials.{key}.password")),
    };
    r.close(section);
    account
}

/// A secret: text, or exactly one of `env`, `file` and `command`. No message here may quote a value.
fn secret(r: &mut Reader<'_>, node: &Node, parent: &Section<'_>, key: &str) -> Option<Given<SecretSource>> {
    let span = node.span.clone();
    let given = |value| {
        Some(Given {
            value,
            span: span.clone(),
        })
    };
    if let Value::Scalar { text, .. } = &node.value {
        if text.is_empty() {
            let hint = "give the account a password, and name its source here";
            r.error(
                &span,
                format!("`{key}` is empty"),
                "an account without password is open to anyone",
                hint,
            );
            return None;
        }
        r.literal_secrets.push(span.clone());
        return given(SecretSource::Literal(SecretString::from(text.as_str())));
    }
    let mut section = r.section_at(node, parent, key)?;
    let mut sources = Vec::new();
    if let Some(node) = section.get("env") {
        sources.extend(r.word(node).map(|name| SecretSource::Env(name.value)));
    }
    if let Some(node) = section.get("file") {
        sources.extend(r.path(node).map(|path| SecretSource::File(path.value)));
    }
    if let Some(node) = section.get("command") {
        sources.extend(r.text(node).map(|command| SecretSource::Command(command.value)));
    }
    let said = ["env", "file", "command"]
        .into_iter()
        .filter(|key| section.get(key).is_some())
        .count();
    if said > 1 || (said == 0 && !["env", "file", "command"].iter().any(|key| section.mentions(key))) {
        r.error(
            &section.owner.clone(),
            format!("`{key}` needs exactly one source, not {said}"),
            "a secret comes from one place",
            "write one of `{ env: NAME }`, `{ file: PATH }` and `{ command: … }`",
        );
    }
    r.close(section);
    if said == 1 {
        sources.pop().and_then(given)
    } else {
        None
    }
}

fn service(r: &mut Reader<'_>, node: &Node, parent: &Section<'_>) -> Option<Given<Service>> {
    let given = |value| {
        Some(Given {
            value,
            span: node.span.clone(),
        })
    };
    if let Value::Scalar { text, .. } = &node.value {
        if text == "none" {
            return given(Service::None);
        }
        r.error(
            &node.span,
            format!("`{text}` is no service"),
            "it must be known who would start a demoted server again",
            "write `{ manager: systemd, unit: mariadb.service }`, or `none` when nothing restarts it",
        );
        return None;
    }
    let mut section = r.section_at(node, parent, "service")?;
    let manager = section.get("manager");
    let unit = section.get("unit").map(|node| (node, r.word(node)));
    let keep_stopped = section.get("keep_stopped").map(|node| (node, r.name(node)));
    let allow_start = section.get("allow_start").map(|node| (node, r.name(node)));
    let systemd = manager.and_then(|node| choice(r, node, &[("systemd", true), ("duties", false)]));
    let needs = |r: &mut Reader<'_>, key: &str, why: &str| {
        let hint = format!("add `{key}: …` to `service`");
        r.missing(&section, key, why, &hint);
        None
    };
    let service = match (&systemd, manager) {
        (None, None) => needs(
            r,
            "manager",
            "it decides which other keys count: `systemd` or `duties`",
        ),
        (None, Some(_)) => None,
        (Some(Given { value: true, .. }), _) => {
            for (node, _) in [&keep_stopped, &allow_start].into_iter().flatten() {
                let hint = "remove it, or write `manager: duties`";
                r.error(
                    &node.span,
                    "this duty would never run",
                    "systemd is told directly",
                    hint,
                );
            }
            match unit {
                None => needs(r, "unit", "systemd must be told which unit to keep stopped"),
                Some((_, unit)) => unit.map(|unit| Service::Systemd { unit: unit.value }),
            }
        }
        (Some(Given { value: false, .. }), _) => {
            if let Some((node, _)) = unit {
                let hint = "remove it, or write `manager: systemd`";
                r.error(
                    &node.span,
                    "this unit has no effect",
                    "the duties decide what is stopped",
                    hint,
                );
            }
            match (keep_stopped, allow_start) {
                (None, _) => needs(
                    r,
                    "keep_stopped",
                    "a demoted server must be kept stopped by something",
                ),
                (_, None) => needs(
                    r,
                    "allow_start",
                    "a server that may return must be let start again",
                ),
                (Some((_, keep)), Some((_, allow))) => keep.zip(allow).map(|(keep, allow)| Service::Duties {
                    keep_stopped: keep.value,
                    allow_start: allow.value,
                }),
            }
        }
    };
    r.close(section);
    service.and_then(given)
}

fn fence(r: &mut Reader<'_>, node: &Node, parent: &Section<'_>) -> Fence {
    let given = Some(Given {
        value: (),
        span: node.span.clone(),
    });
    if let Value::Scalar { text, .. } = &node.value {
        if text == "none" {
            return Fence {
                duty: Some(None),
                with: BTreeMap::new(),
                given,
            };
        }
        r.error(
            &node.span,
            format!("`{text}` is no fence"),
            "a fence is a duty with its values",
            format!("write `{{ duty: {text} }}`, or `none`"),
        );
        return Fence::default();
    }
    let Some(mut section) = r.section_at(node, parent, "fence") else {
        return Fence::default();
    };
    let duty = section.get("duty").and_then(|node| r.name(node)).map(Some);
    let with = r.text_map(&mut section, "with");
    let fence = Fence {
        duty,
        with,
        given: Some(Given {
            value: (),
            span: section.owner.clone(),
        }),
    };
    r.close(section);
    fence
}

fn interface(r: &mut Reader<'_>, node: &Node) -> Option<Given<String>> {
    let word = r.word(node)?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':');
    if word.value.len() > 15 || !word.value.chars().all(allowed) {
        r.error(
            &word.span,
            format!("`{}` cannot be a network interface", word.value),
            "Linux names them with at most 15 letters, digits, `_`, `-`, `.` and `:`",
            "write the name that `ip link` shows",
        );
        return None;
    }
    Some(word)
}

/// One word out of several.
fn choice<T: Copy>(r: &mut Reader<'_>, node: &Node, words: &[(&str, T)]) -> Option<Given<T>> {
    let wanted = words
        .iter()
        .map(|(word, _)| format!("`{word}`"))
        .collect::<Vec<_>>()
        .join(" or ");
    let (text, _) = r.scalar(node, &wanted)?;
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
        return Some(Given {
            value: *value,
            span: node.span.clone(),
        });
    }
    let near = crate::config::diagnostic::closest(text, words.iter().map(|(word, _)| *word));
    let hint = near.map_or_else(
        || format!("write {wanted}"),
        |near| format!("did you mean `{near}`?"),
    );
    r.error(
        &node.span,
        format!("`{text}` is not {wanted}"),
        "only these words have a meaning here",
        hint,
    );
    None
}
