//! What was said → what it means: defaults filled in, levels merged, names resolved.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use super::crosscheck::{self, WRITER_ROLE};
use super::log;
use super::notify;
use super::reader::{Given, Reader};
use super::resolved::{
    Account, ClusterEntry, Credentials, Fence, HostEntry, Monitor, MysqlSettings, SshSettings,
};
use super::said;
use super::site;
use crate::core::cluster::{
    CheckKind, CheckTiming, Checks, Cluster, FailBack, FailoverPolicy, Flapping, Host, HostMode, HostName,
    Recovery, Role, StartPolicy, SwitchoverPolicy, Unfenced,
};

/// MMM's timing, which counts where nothing is said.
const USUAL_TIMING: CheckTiming = CheckTiming {
    every: Duration::from_secs(5),
    trap_after: Duration::from_secs(10),
    timeout: Duration::from_secs(2),
    max_backlog: Duration::from_secs(60),
};

/// Fills in the monitor's defaults.
pub fn monitor(said: &said::Monitor) -> Monitor {
    let path = |given: &Option<Given<PathBuf>>, usual: &str| {
        given
            .as_ref()
            .map_or_else(|| PathBuf::from(usual), |given| given.value.clone())
    };
    Monitor {
        state_dir: path(&said.state_dir, "/var/lib/mmm"),
        socket: path(&said.socket, "/run/mmm/mmm.sock"),
        ping_addresses: said.ping_addresses.iter().map(|given| given.value).collect(),
        log: log::resolve(&said.log),
    }
}

/// Resolves one cluster; `None` when something it needs is missing or wrong, which has then been reported.
pub fn cluster(
    r: &mut Reader<'_>,
    top: &said::ClusterWide,
    name: Given<String>,
    said: said::Cluster,
) -> Option<ClusterEntry> {
    let said::Cluster {
        wide,
        writer_role,
        hosts,
        roles,
        ..
    } = said;
    let checks = checks(r, &wide.checks, &top.checks);
    let settings = wide.settings.over(&top.settings);
    let vars = settings.vars.clone();

    let mut missing = Missing::default();
    let entries: Vec<Option<(Host, HostEntry)>> = hosts
        .into_iter()
        .map(|(name, said)| host(r, &settings, name, said, &mut missing))
        .collect();
    missing.report(r, &name);
    let roles: Option<Vec<Role>> = roles.into_iter().map(|(name, said)| role(name, said)).collect();
    let (hosts, entries): (Vec<Host>, Vec<HostEntry>) = entries
        .into_iter()
        .collect::<Option<Vec<_>>>()?
        .into_iter()
        .unzip();

    Some(ClusterEntry {
        cluster: Cluster {
            name: name.value,
            hosts,
            roles: roles?,
            writer_role: writer_role.map_or_else(|| WRITER_ROLE.to_owned(), |given| given.value),
            checks,
            failover: FailoverPolicy {
                unfenced: value_of(wide.unfenced, &top.unfenced).unwrap_or(Unfenced::IfSilentToAll),
                automatic: value_of(wide.automatic, &top.automatic).unwrap_or(true),
                on_proof: value_of(wide.on_proof, &top.on_proof).unwrap_or_default(),
                max_behind: value_of(wide.max_behind, &top.max_behind),
                min_interval: value_of(wide.min_interval, &top.min_interval)
                    .unwrap_or(FailoverPolicy::default().min_interval),
                mixed_versions: value_of(wide.mixed_versions, &top.mixed_versions).unwrap_or_default(),
            },
            switchover: switchover(&wide.switchover, &top.switchover),
            start: start(wide.start, &top.start),
            recovery: recovery(wide.recovery, &top.recovery),
        },
        hosts: entries
            .into_iter()
            .map(|entry| (entry.name.clone(), entry))
            .collect::<BTreeMap<_, _>>(),
        playbooks: value_of(wide.playbooks, &top.playbooks),
        site: site::resolve(&wide.site, &top.site),
        notices: notify::resolve(&wide.notify, &top.notify),
        vars,
        secret_variables: Vec::new(),
    })
}

/// Key by key.
fn switchover(near: &said::Switchover, far: &said::Switchover) -> SwitchoverPolicy {
    let usual = SwitchoverPolicy::default();
    let said = |near: &Option<Given<Duration>>, far: &Option<Given<Duration>>| value_of(near.clone(), far);
    SwitchoverPolicy {
        max_write: said(&near.max_write, &far.max_write).unwrap_or(usual.max_write),
        write_refused_max: said(&near.write_refused_max, &far.write_refused_max)
            .unwrap_or(usual.write_refused_max),
        read_lock: value_of(near.read_lock.clone(), &far.read_lock).unwrap_or(usual.read_lock),
    }
}

fn start(near: said::Start, far: &said::Start) -> StartPolicy {
    let usual = StartPolicy::default();
    StartPolicy {
        mode: value_of(near.mode, &far.mode).unwrap_or(usual.mode),
        careful: value_of(near.careful, &far.careful).unwrap_or(usual.careful),
        wait_for_other_master: value_of(near.wait_for_other_master, &far.wait_for_other_master)
            .unwrap_or(usual.wait_for_other_master),
    }
}

fn value_of<T: Clone>(near: Option<Given<T>>, far: &Option<Given<T>>) -> Option<T> {
    near.or_else(|| far.clone()).map(|given| given.value)
}

/// Key by key; zero switches `auto_set_online` off again where a farther level gave one.
fn recovery(near: said::Recovery, far: &said::Recovery) -> Recovery {
    let usual = Recovery::default();
    let auto_set_online = value_of(near.auto_set_online, &far.auto_set_online);
    Recovery {
        auto_set_online: auto_set_online.filter(|wait| !wait.is_zero()),
        short_downtime: value_of(near.short_downtime, &far.short_downtime).unwrap_or(usual.short_downtime),
        excuse_peer_for: value_of(near.excuse_peer_for, &far.excuse_peer_for)
            .unwrap_or(usual.excuse_peer_for),
        flapping: Flapping {
            count: value_of(near.flapping_count, &far.flapping_count).unwrap_or(usual.flapping.count),
            within: value_of(near.flapping_within, &far.flapping_within).unwrap_or(usual.flapping.within),
        },
    }
}

/// The nearer level wins, and within a level the named kind wins over `default`.
fn checks(r: &mut Reader<'_>, near: &said::Checks, far: &said::Checks) -> Checks {
    let mut of = |kind: CheckKind| {
        let kind_of = |level: &said::Checks| level.kinds.get(&kind).cloned().unwrap_or_default();
        let given = kind_of(near)
            .over(&near.default)
            .over(&kind_of(far))
            .over(&far.default);
        let timing = CheckTiming {
            every: given
                .every
                .as_ref()
                .map_or(USUAL_TIMING.every, |given| given.value),
            trap_after: given
                .trap_after
                .as_ref()
                .map_or(USUAL_TIMING.trap_after, |given| given.value),
            timeout: given
                .timeout
                .as_ref()
                .map_or(USUAL_TIMING.timeout, |given| given.value),
            max_backlog: given
                .max_backlog
                .as_ref()
                .map_or(USUAL_TIMING.max_backlog, |given| given.value),
        };
        crosscheck::timing(r, &given, timing.every, timing.trap_after, timing.timeout);
        timing
    };
    Checks {
        ping: of(CheckKind::Ping),
        mysql: of(CheckKind::Mysql),
        rep_threads: of(CheckKind::RepThreads),
        rep_backlog: of(CheckKind::RepBacklog),
    }
}

fn role(name: Given<String>, said: said::Role) -> Option<Role> {
    let hosts: Option<Vec<_>> = said.hosts?.into_iter().collect();
    let addresses: Option<Vec<_>> = said.addresses?.into_iter().collect();
    Some(Role {
        name: name.value,
        mode: said.mode?.value,
        hosts: hosts?.into_iter().map(|given| HostName(given.value)).collect(),
        addresses: addresses?.into_iter().map(|given| given.value).collect(),
        prefer: said.prefer.map(|given| HostName(given.value)),
        fail_back: said.fail_back.map_or_else(FailBack::default, |given| given.value),
    })
}

fn host(
    r: &mut Reader<'_>,
    below: &said::Settings,
    name: Given<String>,
    said: said::Host,
    missing: &mut Missing,
) -> Option<(Host, HostEntry)> {
    let settings = said.settings.over(below);
    let name = HostName(name.value);
    let broken = &settings.broken;
    let interface = missing.unless(settings.interface, "interface", &name, broken);
    let service = missing.unless(settings.service, "service", &name, broken);
    let monitor = missing.account(settings.monitor, "credentials.monitor", &name, broken);
    let agent = missing.account(settings.agent, "credentials.agent", &name, broken);
    let replication = missing.account(settings.replication, "credentials.replication", &name, broken);
    let rebuild = fence(r, settings.rebuild, "rebuild", "rebuilds the host");
    let fence = fence(r, settings.fence, "fence", "cuts the host off");

    let (address, mode): (_, HostMode) = (said.address?.value, said.mode?.value);
    let host = Host {
        name: name.clone(),
        address,
        mode,
        peer: said.peer.map(|given| HostName(given.value)),
        promotion: said.promotion.map(|given| given.value).unwrap_or_default(),
    };
    let entry = HostEntry {
        name,
        address,
        mode,
        interface: interface?,
        ssh: ssh(settings.ssh, address.to_string()),
        mysql: MysqlSettings {
            port: settings.mysql.port.map_or(3306, |given| given.value),
            client: settings.mysql.client.map(|given| given.value),
            socket: settings.mysql.socket.map(|given| given.value),
            channel: settings
                .mysql
                .channel
                .map(|given| given.value)
                .unwrap_or_default(),
        },
        credentials: Credentials {
            monitor: monitor?,
            agent: agent?,
            replication: replication?,
        },
        service: service?,
        fence,
        rebuild,
        vars: settings.vars,
    };
    Some((host, entry))
}

fn ssh(said: said::Ssh, address: String) -> SshSettings {
    SshSettings {
        address: said.address.map_or(address, |given| given.value),
        port: said.port.map(|given| given.value),
        user: said.user.map(|given| given.value),
        identity_file: said.identity_file.map(|given| given.value),
        identity_passphrase: said.identity_passphrase.map(|given| given.value),
        jump: said.jump.map(|given| given.value),
        known_hosts: said
            .known_hosts
            .unwrap_or_default()
            .into_iter()
            .map(|given| given.value)
            .collect(),
        use_ssh_config: said.use_ssh_config.is_none_or(|given| given.value),
        connect_timeout: said
            .connect_timeout
            .map_or(Duration::from_secs(5), |given| given.value),
        keepalive_every: said
            .keepalive_every
            .map_or(Duration::from_secs(2), |given| given.value),
        keepalive_misses: said.keepalive_misses.map_or(3, |given| given.value),
        max_channels: said.max_channels.map_or(4, |given| given.value),
    }
}

fn fence(r: &mut Reader<'_>, said: said::Fence, key: &str, does: &str) -> Option<Fence> {
    match (said.duty, said.given) {
        (Some(Some(duty)), _) => Some(Fence {
            duty: duty.value,
            with: said.with,
        }),
        (None, Some(at)) => {
            r.error(
                &at.span,
                format!("this {key} names no duty"),
                format!("its values belong to a duty that {does}"),
                format!("add `duty: …` here or to the cluster's `{key}`, or write `{key}: none`"),
            );
            None
        }
        _ => None,
    }
}

/// What hosts lack, gathered so that one finding names all hosts that lack the same.
#[derive(Default)]
struct Missing(BTreeMap<String, Vec<HostName>>);

impl Missing {
    fn unless<T>(
        &mut self,
        given: Option<Given<T>>,
        key: &str,
        host: &HostName,
        broken: &BTreeSet<String>,
    ) -> Option<T> {
        if given.is_none() {
            self.note(key, host, broken);
        }
        given.map(|given| given.value)
    }

    fn account(
        &mut self,
        said: said::Account,
        key: &str,
        host: &HostName,
        broken: &BTreeSet<String>,
    ) -> Option<Account> {
        let (user, password) = (format!("{key}.user"), format!("{key}.password"));
        if said.user.is_none()
            && said.password.is_none()
            && !broken.contains(&user)
            && !broken.contains(&password)
        {
            self.note(key, host, broken);
            return None;
        }
        let user = self.unless(said.user, &user, host, broken);
        let password = self.unless(said.password, &password, host, broken);
        user.zip(password)
            .map(|(user, password)| Account { user, password })
    }

    /// What was given and could not be read has been reported, as has everything below it.
    fn note(&mut self, key: &str, host: &HostName, broken: &BTreeSet<String>) {
        let covers = |broken: &String| {
            let below = key.strip_prefix(broken.as_str());
            broken == said::EVERYTHING || below.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        if !broken.iter().any(covers) {
            self.0.entry(key.to_owned()).or_default().push(host.clone());
        }
    }

    fn report(self, r: &mut Reader<'_>, cluster: &Given<String>) {
        for (key, hosts) in self.0 {
            let names = hosts
                .iter()
                .map(|name| format!("`{name}`"))
                .collect::<Vec<_>>()
                .join(", ");
            let (because, hint) = match key.as_str() {
                "interface" => (
                    "floating addresses are brought up on it",
                    "add `interface: …` to `defaults` or to the host".to_owned(),
                ),
                "service" => (
                    "whoever restarts a dead server must be told to keep a demoted one stopped",
                    "add `service: { manager: systemd, unit: mariadb.service }`, or `service: none` when nothing \
                     restarts it"
                        .to_owned(),
                ),
                _ => (
                    "every host needs the accounts `monitor`, `agent` and `replication`, each with `user` and \
                     `password`",
                    format!("add `{key}` to `defaults` or to the host"),
                ),
            };
            r.error(
                &cluster.span,
                format!("`{key}` is missing for {names}"),
                because,
                hint,
            );
        }
    }
}
