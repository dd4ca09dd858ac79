//! Reads the whole file out of its tree, section by section.

use super::log;
use super::notify;
use super::reader::{Reader, Section};
use super::said::{self, Cluster, ClusterWide, File, Host, Monitor, Recovery, Role, Start, Timing};
use super::settings;
use super::site;
use super::tree::Node;
use crate::core::cluster::{
    CheckKind, FailBack, HostMode, MixedVersions, OnProof, Promotion, RoleMode, StartMode, Unfenced,
};
use crate::core::mode::Mode;

/// Reads the whole file out of its tree.
pub fn read(r: &mut Reader<'_>, root: &Node) -> File {
    let mut file = File::default();
    let Some(mut top) = r.root(root) else { return file };
    if let Some(section) = r.section(&mut top, "monitor") {
        file.monitor = monitor(r, section);
    }
    if let Some(mut section) = r.section(&mut top, "defaults") {
        file.defaults.settings = settings::settings(r, &mut section);
        settings::duties(r, &mut section, &mut file.defaults.settings);
        cluster_wide(r, &mut section, &mut file.defaults);
        r.close(section);
    } else if top.mentions("defaults") {
        file.defaults.settings.broken.insert(said::EVERYTHING.to_owned());
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
        log: r
            .section(&mut section, "log")
            .map(|section| log::read(r, section))
            .unwrap_or_default(),
    };
    r.close(section);
    monitor
}

fn cluster(r: &mut Reader<'_>, mut section: Section<'_>) -> Cluster {
    let mut wide = ClusterWide::default();
    if let Some(mut defaults) = r.section(&mut section, "defaults") {
        wide.settings = settings::settings(r, &mut defaults);
        r.close(defaults);
    } else if section.mentions("defaults") {
        wide.settings.broken.insert(said::EVERYTHING.to_owned());
    }
    settings::duties(r, &mut section, &mut wide.settings);
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
    let mut settings = settings::settings(r, &mut section);
    settings::duties(r, &mut section, &mut settings);
    let host = Host {
        address: address.and_then(|node| r.address(node)),
        mode: mode.and_then(|node| {
            let modes = [
                ("master", HostMode::Master),
                ("slave", HostMode::Slave),
                ("replica", HostMode::Slave),
            ];
            r.choice(node, &modes)
        }),
        peer: section.get("peer").and_then(|node| r.name(node)),
        promotion: section.get("promotion").and_then(|node| {
            let promotions = [
                ("prefer", Promotion::Prefer),
                ("neutral", Promotion::Neutral),
                ("never", Promotion::Never),
            ];
            r.choice(node, &promotions)
        }),
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
            r.choice(
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
        fail_back: section.get("fail_back").and_then(|node| {
            r.choice(
                node,
                &[
                    ("caught_up", FailBack::CaughtUp),
                    ("on_command", FailBack::OnCommand),
                ],
            )
        }),
    };
    r.close(section);
    role
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
            r.choice(
                node,
                &[
                    ("if_silent_to_all", Unfenced::IfSilentToAll),
                    ("never", Unfenced::Never),
                ],
            )
        });
        wide.on_proof = failover.get("on_proof").and_then(|node| {
            let words = [("immediate", OnProof::Immediate), ("trap", OnProof::Trap)];
            r.choice(node, &words)
        });
        wide.max_behind = failover.get("max_behind").and_then(|node| r.duration(node));
        wide.min_interval = failover
            .get("min_interval")
            .and_then(|node| r.duration_or_zero(node));
        wide.mixed_versions = failover.get("mixed_versions").and_then(|node| {
            let words = [
                ("refuse", MixedVersions::Refuse),
                ("accept", MixedVersions::Accept),
            ];
            r.choice(node, &words)
        });
        r.close(failover);
    }
    if let Some(section) = r.section(section, "switchover") {
        wide.switchover = switchover(r, section);
    }
    if let Some(section) = r.section(section, "start") {
        wide.start = start(r, section);
    }
    if let Some(section) = r.section(section, "recovery") {
        wide.recovery = recovery(r, section);
    }
    wide.site = site::read(r, section);
    wide.notify = notify::read(r, section);
    wide.playbooks = section.get("playbooks").and_then(|node| r.path(node));
}

fn switchover(r: &mut Reader<'_>, mut section: Section<'_>) -> said::Switchover {
    let switchover = said::Switchover {
        max_write: section.get("max_write").and_then(|node| r.duration_or_zero(node)),
        write_refused_max: section.get("write_refused_max").and_then(|node| r.duration(node)),
        read_lock: section.get("read_lock").and_then(|node| r.flag(node)),
    };
    r.close(section);
    switchover
}

fn start(r: &mut Reader<'_>, mut section: Section<'_>) -> Start {
    let modes = [
        ("last", StartMode::Last),
        ("active", StartMode::Always(Mode::Active)),
        ("manual", StartMode::Always(Mode::Manual)),
        ("wait", StartMode::Always(Mode::Wait)),
        ("passive", StartMode::Always(Mode::Passive)),
    ];
    let start = Start {
        mode: section.get("mode").and_then(|node| r.choice(node, &modes)),
        careful: section.get("careful").and_then(|node| r.flag(node)),
        wait_for_other_master: section
            .get("wait_for_other_master")
            .and_then(|node| r.duration_or_zero(node)),
    };
    r.close(section);
    start
}

fn recovery(r: &mut Reader<'_>, mut section: Section<'_>) -> Recovery {
    let mut recovery = Recovery {
        auto_set_online: section
            .get("auto_set_online")
            .and_then(|node| r.duration_or_zero(node)),
        short_downtime: section
            .get("short_downtime")
            .and_then(|node| r.duration_or_zero(node)),
        excuse_peer_for: section
            .get("excuse_peer_for")
            .and_then(|node| r.duration_or_zero(node)),
        flapping_count: None,
        flapping_within: None,
    };
    if let Some(mut flapping) = r.section(&mut section, "flapping") {
        recovery.flapping_count = flapping
            .get("count")
            .and_then(|node| r.number(node, 0, 1_000_000));
        recovery.flapping_within = flapping.get("within").and_then(|node| r.duration(node));
        r.close(flapping);
    }
    r.close(section);
    recovery
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
