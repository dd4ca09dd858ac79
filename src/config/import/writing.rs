//! Clusters → an inventory, each remark beside the key it is about.

use std::time::Duration;

use secrecy::SecretString;

use super::SecretFile;
use super::meaning::{Cluster, Host, Reach, Role};
use super::page::{Page, quoted, scalar};
use super::remarks::Slot;
use super::texts::{At, Said, Texts};
use super::words::is_yes;
use crate::config::duration;

/// Writes the whole inventory; with a directory for secrets, also the files that hold its passwords.
pub fn inventory(clusters: &[Cluster], texts: &Texts, secrets_dir: Option<&str>) -> (Page, Vec<SecretFile>) {
    let mut writer = Writer {
        page: Page::default(),
        texts,
        secrets_dir,
        secrets: Vec::new(),
    };
    writer.head(clusters);
    writer.monitor(clusters);
    writer.page.gap();
    writer.page.put("clusters:").end();
    for (number, cluster) in clusters.iter().enumerate() {
        if number > 0 {
            writer.page.gap();
        }
        writer.cluster(cluster);
    }
    (writer.page, writer.secrets)
}

/// The accounts of a host: ours, and MMM's keys for them.
const ACCOUNTS: [(&str, &str, &str); 3] = [
    ("monitor", "monitor_user", "monitor_password"),
    ("agent", "agent_user", "agent_password"),
    ("replication", "replication_user", "replication_password"),
];

struct Writer<'w> {
    page: Page,
    texts: &'w Texts,
    secrets_dir: Option<&'w str>,
    secrets: Vec<SecretFile>,
}

impl Writer<'_> {
    fn head(&mut self, clusters: &[Cluster]) {
        self.page
            .comment(0, "Written by `mmm import` from MMM's configuration:");
        let mut files: Vec<usize> = clusters
            .iter()
            .flat_map(|cluster| cluster.files.clone())
            .collect();
        files.sort_unstable();
        files.dedup();
        for file in files {
            let path = self.texts.path(file).display().to_string();
            self.page.commented(0, &format!("  {path}"));
        }
        self.page.comment(
            0,
            "Where a comment begins with `MMM:`, something changed its meaning on the way: read them all, then let \
             `mmm validate` and `mmm check` tell what is missing on the hosts.",
        );
        if self.secrets_dir.is_none() {
            self.page.comment(
                0,
                "The passwords stand here as MMM had them. Keep this file to its owner (`chmod 600`), or better: name a \
                 file or a variable instead, `password: { file: ... }` or `{ env: ... }`.",
            );
        }
        self.remarks(0, clusters, &Slot::File);
        self.page.gap();
    }

    fn monitor(&mut self, clusters: &[Cluster]) {
        let mut ping: Vec<Said> = Vec::new();
        for said in clusters.iter().flat_map(|cluster| &cluster.ping) {
            if !ping.iter().any(|known| known.text == said.text) {
                ping.push(said.clone());
            }
        }
        let said = clusters.iter().flat_map(|cluster| &cluster.remarks);
        if ping.is_empty() {
            if said.clone().any(|(slot, _)| *slot == Slot::Monitor) {
                self.remarks(0, clusters, &Slot::Monitor);
            }
            return;
        }
        self.page.put("monitor:").end();
        self.remarks(2, clusters, &Slot::Monitor);
        self.page.begin(2).put("ping_addresses: ").list(&ping).end();
    }

    fn cluster(&mut self, cluster: &Cluster) {
        let one = std::slice::from_ref(cluster);
        self.page
            .begin(2)
            .put_from(&scalar(&cluster.name), &cluster.at)
            .put(":")
            .end();
        self.remarks(4, one, &Slot::Cluster);
        self.page.begin(4).put("defaults:").end();
        self.remarks(6, one, &Slot::Ssh);
        if !cluster.all_have("ssh_user") {
            self.page.commented(6, "ssh: { user: mmm }");
        }
        self.reach(6, &cluster.common, &cluster.name);
        self.page.gap();
        self.page
            .begin(4)
            .put("writer_role: ")
            .said(&cluster.writer_role)
            .end();
        self.page.gap();
        self.remarks(4, one, &Slot::Hosts);
        self.page.begin(4).put("hosts:").end();
        for host in &cluster.hosts {
            self.host(host, cluster);
        }
        self.page.gap();
        self.page.begin(4).put("roles:").end();
        for role in &cluster.roles {
            self.role(role, cluster);
        }
        self.page.gap();
        self.remarks(4, one, &Slot::Service);
        self.service(4, cluster.common.get("mysql_rcscript"));
        if cluster.remarks.iter().any(|(slot, _)| *slot == Slot::Fence) {
            self.page.gap();
            self.remarks(4, one, &Slot::Fence);
            self.page.commented(4, "playbooks: /etc/mmm/playbooks");
            self.page.commented(4, "fence: { duty: fence-by-my-program }");
        }
        self.checks(cluster);
        self.conduct(cluster);
    }

    fn host(&mut self, host: &Host, cluster: &Cluster) {
        self.remarks(
            6,
            std::slice::from_ref(cluster),
            &Slot::Host(host.name.text.clone()),
        );
        self.page.begin(6).said(&host.name).put(":").end();
        self.page.begin(8).put("address: ").said(&host.address).end();
        self.page.begin(8).put("mode: ").said(&host.mode).end();
        if let Some(peer) = &host.peer {
            self.page.begin(8).put("peer: ").said(peer).end();
        }
        self.reach(8, &host.own, &format!("{}@{}", host.name.text, cluster.name));
        if host.own.contains_key("mysql_rcscript") {
            self.service(8, host.own.get("mysql_rcscript"));
        }
    }

    fn role(&mut self, role: &Role, cluster: &Cluster) {
        self.remarks(
            6,
            std::slice::from_ref(cluster),
            &Slot::Role(role.name.text.clone()),
        );
        self.page.begin(6).said(&role.name).put(":").end();
        self.page.begin(8).put("mode: ").said(&role.mode).end();
        self.page.begin(8).put("hosts: ").list(&role.hosts).end();
        self.page.begin(8).put("addresses: ").list(&role.addresses).end();
        if let Some(prefer) = &role.prefer {
            self.page.begin(8).put("prefer: ").said(prefer).end();
        }
    }

    /// How hosts are reached; `owner` names whose passwords these are.
    fn reach(&mut self, indent: usize, reach: &Reach, owner: &str) {
        if let Some(interface) = reach.get("cluster_interface") {
            self.page.begin(indent).put("interface: ").said(interface).end();
        }
        match (reach.get("ssh_user"), reach.get("ssh_port")) {
            (None, None) => {}
            (user, port) => {
                self.page.begin(indent).put("ssh: { ");
                if let Some(user) = user {
                    self.page.put("user: ").said(user);
                }
                if let Some(port) = port {
                    self.page.put(if user.is_some() { ", port: " } else { "port: " });
                    self.page.put_from(plain_number(&port.text), &port.at);
                }
                self.page.put(" }").end();
            }
        }
        if let Some(port) = reach.get("mysql_port") {
            self.page.begin(indent).put("mysql: { port: ");
            self.page.put_from(plain_number(&port.text), &port.at);
            self.page.put(" }").end();
        }
        if ACCOUNTS
            .iter()
            .any(|(_, user, password)| reach.contains_key(user) || reach.contains_key(password))
        {
            self.page.begin(indent).put("credentials:").end();
        }
        for (account, user, password) in ACCOUNTS {
            let (user, password) = (reach.get(user), reach.get(password));
            if user.is_none() && password.is_none() {
                continue;
            }
            self.page.begin(indent + 2).put(account).put(": { ");
            if let Some(user) = user {
                self.page.put("user: ").said(user);
            }
            if let Some(password) = password {
                self.page.put(if user.is_some() {
                    ", password: "
                } else {
                    "password: "
                });
                self.password(password, &format!("{owner}.{account}.password"));
            }
            self.page.put(" }").end();
        }
    }

    fn password(&mut self, said: &Said, file: &str) {
        let Some(dir) = self.secrets_dir else {
            self.page.put_from(&quoted(&said.text), &said.at);
            return;
        };
        let path = format!("{}/{file}", dir.trim_end_matches('/'));
        self.page
            .put_from(&format!("{{ file: {} }}", scalar(&path)), &said.at);
        self.secrets.push(SecretFile {
            path: path.into(),
            value: SecretString::from(said.text.as_str()),
        });
    }

    fn service(&mut self, indent: usize, script: Option<&Said>) {
        let name = script
            .and_then(|said| said.text.rsplit('/').next())
            .filter(|name| !name.is_empty());
        let name = name.unwrap_or("mariadb");
        let unit = if name.ends_with(".service") {
            name.to_owned()
        } else {
            format!("{name}.service")
        };
        self.page.begin(indent).put("service: { manager: systemd, unit: ");
        match script {
            Some(said) => self.page.put_from(&scalar(&unit), &said.at),
            None => self.page.put(&unit),
        };
        self.page.put(" }").end();
    }

    fn checks(&mut self, cluster: &Cluster) {
        let one = std::slice::from_ref(cluster);
        let remarked = cluster.remarks.iter().any(|(slot, _)| *slot == Slot::Checks);
        if cluster.checks.is_empty() && !remarked {
            return;
        }
        self.page.gap();
        self.remarks(4, one, &Slot::Checks);
        if cluster.checks.is_empty() {
            return;
        }
        self.page.begin(4).put("checks:").end();
        for check in &cluster.checks {
            self.page.begin(6).said(&check.name).put(": { ");
            for (number, (key, said)) in check.timing.iter().enumerate() {
                self.page
                    .put(if number > 0 { ", " } else { "" })
                    .put(key)
                    .put(": ");
                self.page.put_from(&span(said), &said.at);
            }
            self.page.put(" }").end();
        }
    }

    /// How hosts come back, and how the monitor begins.
    fn conduct(&mut self, cluster: &Cluster) {
        for (section, lines) in [("recovery", recovery(cluster)), ("start", start(cluster))] {
            if lines.is_empty() {
                continue;
            }
            self.page.gap();
            self.page.begin(4).put(section).put(":").end();
            for (line, at) in &lines {
                self.page.begin(6).put_from(line, at).end();
            }
        }
    }

    fn remarks(&mut self, indent: usize, clusters: &[Cluster], slot: &Slot) {
        let mut written = Vec::new();
        for (at, remark) in clusters.iter().flat_map(|cluster| &cluster.remarks) {
            if at == slot && !written.contains(&remark) {
                let place = match remark.is_about_a_line() {
                    true => format!(" ({})", self.texts.short_place(&remark.at)),
                    false => String::new(),
                };
                let text = format!("MMM: {}{place}. {}", remark.what, remark.more);
                self.page.comment(indent, &text);
                written.push(remark);
            }
        }
    }
}

/// What was said of the monitor's conduct.
fn said<'c>(cluster: &'c Cluster, key: &str) -> Option<&'c Said> {
    let known = cluster.conduct.iter().find(|(known, _)| *known == key);
    known.map(|(_, said)| said)
}

/// The lines of `start`, as far as MMM was told anything about it, and where it was.
fn start(cluster: &Cluster) -> Vec<(String, At)> {
    let mode = said(cluster, "mode").map(|said| (format!("mode: {}", said.text), said.at.clone()));
    let careful = said(cluster, "careful_startup");
    let careful = careful.map(|said| (format!("careful: {}", is_yes(&said.text)), said.at.clone()));
    let wait = said(cluster, "wait_for_other_master");
    let wait = wait.map(|said| (format!("wait_for_other_master: {}", span(said)), said.at.clone()));
    mode.into_iter().chain(careful).chain(wait).collect()
}

/// The lines of `recovery`, as far as MMM was told anything about it, and where it was.
fn recovery(cluster: &Cluster) -> Vec<(String, At)> {
    let mut lines = Vec::new();
    if let Some(said) = said(cluster, "auto_set_online") {
        lines.push((format!("auto_set_online: {}", span(said)), said.at.clone()));
    }
    let (count, within) = (said(cluster, "flap_count"), said(cluster, "flap_duration"));
    let never = within.is_some_and(|within| plain_number(&within.text) == "0");
    let flapping = match (count, within) {
        // Nothing ever happened twice within no time at all.
        (_, Some(_)) if never => "{ count: 0 }".to_owned(),
        (Some(count), Some(within)) => {
            format!(
                "{{ count: {}, within: {} }}",
                plain_number(&count.text),
                span(within)
            )
        }
        (Some(count), None) => format!("{{ count: {} }}", plain_number(&count.text)),
        (None, Some(within)) => format!("{{ within: {} }}", span(within)),
        (None, None) => return lines,
    };
    if let Some(said) = count.or(within) {
        lines.push((format!("flapping: {flapping}"), said.at.clone()));
    }
    lines
}

/// A number of seconds, as the inventory has it.
fn span(said: &Said) -> String {
    duration::format(Duration::from_secs(said.text.parse().unwrap_or(u64::MAX)))
}

/// Digits without leading zeros.
fn plain_number(digits: &str) -> &str {
    let short = digits.trim_start_matches('0');
    if short.is_empty() && !digits.is_empty() {
        "0"
    } else {
        short
    }
}
