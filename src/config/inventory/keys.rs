//! Unknown keys: what they most likely meant, be it a slip or a word of MMM's.

use std::collections::BTreeSet;

use crate::config::diagnostic::closest;

/// What an unknown key most likely meant, in the section at `path` that knows the keys `asked`.
pub fn unknown_key_hint(key: &str, path: &str, asked: &BTreeSet<&'static str>) -> String {
    if let Some(now) = asked.iter().find_map(|known| former_name_of(known, key)) {
        return format!("what MMM called `{key}` is `{now}` here");
    }
    let in_cluster = [
        "service",
        "fence",
        "rebuild",
        "vars",
        "checks",
        "failover",
        "switchover",
        "start",
        "recovery",
        "playbooks",
        "site_steps",
        "notify",
        "writer_role",
    ];
    if path.ends_with(".*.defaults") && in_cluster.contains(&key) {
        return format!("`{key}` stands in the cluster itself, beside `defaults`");
    }
    let in_defaults = ["interface", "ssh", "mysql", "credentials"];
    if path == "clusters.*" && in_defaults.contains(&key) {
        return format!("put `{key}` into the cluster's `defaults`, or into a host");
    }
    if let Some(near) = closest(key, asked.iter().copied()) {
        return format!("did you mean `{near}`?");
    }
    let all: Vec<String> = asked.iter().map(|key| format!("`{key}`")).collect();
    format!("known here: {}", all.join(", "))
}

/// Where a section stands, in words.
pub fn where_it_is(path: &str) -> String {
    match path.strip_suffix(".*") {
        _ if path.is_empty() => "at the top of the file".to_owned(),
        Some(outer) => format!("in an entry of `{}`", outer.rsplit('.').next().unwrap_or(outer)),
        None => format!("in `{}`", path.rsplit('.').next().unwrap_or(path)),
    }
}

/// How `key` is written today if `former` is what MMM called it, or something below it.
pub fn former_name_of(key: &str, former: &str) -> Option<&'static str> {
    let (_, now) = FORMER_KEYS
        .iter()
        .find(|(was, now)| *was == former && now.split(':').next() == Some(key))?;
    Some(now)
}

/// What MMM called the keys of today.
const FORMER_KEYS: [(&str, &str); 29] = [
    ("ip", "address"),
    ("ips", "addresses"),
    ("cluster_interface", "interface"),
    ("active_master_role", "writer_role"),
    ("check_period", "every"),
    ("trap_period", "trap_after"),
    ("ping_ips", "ping_addresses"),
    ("mysql_port", "mysql: { port: … }"),
    ("ssh_port", "ssh: { port: … }"),
    ("ssh_user", "ssh: { user: … }"),
    ("monitor_user", "credentials: { monitor: { user: … } }"),
    ("monitor_password", "credentials: { monitor: { password: … } }"),
    ("agent_user", "credentials: { agent: { user: … } }"),
    ("agent_password", "credentials: { agent: { password: … } }"),
    ("replication_user", "credentials: { replication: { user: … } }"),
    (
        "replication_password",
        "credentials: { replication: { password: … } }",
    ),
    ("auto_set_online", "recovery: { auto_set_online: … }"),
    ("flap_count", "recovery: { flapping: { count: … } }"),
    ("flap_duration", "recovery: { flapping: { within: … } }"),
    ("flap_count", "flapping: { count: … }"),
    ("flap_duration", "flapping: { within: … }"),
    ("host", "hosts"),
    ("role", "roles"),
    ("check", "checks"),
    ("careful_startup", "start: { careful: … }"),
    ("wait_for_other_master", "start: { wait_for_other_master: … }"),
    ("status_path", "state_dir"),
    ("pid_path", "state_dir"),
    ("port", "socket"),
];
