//! Blocks → a cluster: templates filled in, what all hosts share told from what each has of its own.

use std::collections::BTreeMap;

use super::blocks::{Block, Pages, items};
use super::remarks::{self, Remark, Slot};
use super::texts::{At, Said, Texts};
use super::words::{Kind, Shape};
use crate::config::diagnostic::{Diagnostic, closest};

/// A cluster as MMM's files describe it.
pub struct Cluster {
    pub name: String,
    /// Where the monitor's file begins.
    pub at: At,
    pub files: Vec<usize>,
    pub writer_role: Said,
    /// What all hosts have in common, by MMM's keys.
    pub common: Reach,
    pub hosts: Vec<Host>,
    pub roles: Vec<Role>,
    /// Those that something was said about.
    pub checks: Vec<Check>,
    /// What MMM's monitor was told about how it begins and about hosts that come back, by its keys.
    pub conduct: Vec<(&'static str, Said)>,
    pub ping: Vec<Said>,
    pub remarks: Vec<(Slot, Remark)>,
}

impl Cluster {
    /// Whether a key was said for every host.
    pub fn all_have(&self, key: &str) -> bool {
        self.common.contains_key(key) || self.hosts.iter().all(|host| host.own.contains_key(key))
    }
}

/// One check, or what all checks have in common.
pub struct Check {
    pub name: Said,
    /// By our keys.
    pub timing: Vec<(&'static str, Said)>,
}

/// How hosts are reached and served, by MMM's keys.
pub type Reach = BTreeMap<&'static str, Said>;

/// One host.
pub struct Host {
    pub name: Said,
    pub address: Said,
    pub mode: Said,
    pub peer: Option<Said>,
    /// What differs from what all have in common.
    pub own: Reach,
}

/// One role.
pub struct Role {
    pub name: Said,
    pub mode: Said,
    pub hosts: Vec<Said>,
    pub addresses: Vec<Said>,
    pub prefer: Option<Said>,
}

/// Keys that may be said for all hosts or for each, and whether a host must have them.
const REACH: [(&str, bool); 11] = [
    ("cluster_interface", true),
    ("mysql_port", false),
    ("ssh_port", false),
    ("ssh_user", false),
    ("monitor_user", true),
    ("monitor_password", true),
    ("agent_user", true),
    ("agent_password", true),
    ("replication_user", true),
    ("replication_password", true),
    ("mysql_rcscript", false),
];

/// What MMM's monitor was told about how it begins and about hosts that come back; whether it is a time.
const CONDUCT: [(&str, bool); 6] = [
    ("mode", false),
    ("careful_startup", false),
    ("wait_for_other_master", true),
    ("auto_set_online", true),
    ("flap_count", false),
    ("flap_duration", true),
];

/// Makes a cluster out of what its files say; `None` when something it needs is missing, which is then reported.
pub fn cluster(
    name: String,
    pages: &Pages,
    texts: &Texts,
    findings: &mut Vec<Diagnostic>,
) -> Option<Cluster> {
    let mut maker = Maker {
        pages,
        texts,
        findings,
        remarks: remarks::of_pages(pages, texts),
    };
    let blocks = maker.named(Kind::Host);
    let hosts: Vec<Option<Host>> = blocks.iter().map(|block| maker.host(block)).collect();
    let common = maker.reach(&blocks);
    let roles: Vec<Option<Role>> = maker
        .named(Kind::Role)
        .into_iter()
        .map(|block| maker.role(block))
        .collect();
    let writer_role = maker.writer_role(&roles);
    let checks = maker.checks();
    let monitor = pages.blocks.iter().find(|block| block.kind == Kind::Monitor);
    let said = |key| monitor.and_then(|monitor| monitor.get(key));
    for (key, is_time) in CONDUCT {
        if let Some(said) = said(key).filter(|_| is_time) {
            maker.within_a_day(key, said);
        }
    }
    let mut ping: Vec<Said> = Vec::new();
    for item in said("ping_ips")
        .iter()
        .flat_map(|said| items(said, Shape::Addresses))
    {
        if !ping.iter().any(|known| known.text == item.text) {
            ping.push(item);
        }
    }
    let mut cluster = Cluster {
        name,
        at: pages.top.at.clone(),
        files: pages.files.clone(),
        writer_role: writer_role?,
        hosts: hosts.into_iter().collect::<Option<_>>()?,
        roles: roles.into_iter().collect::<Option<_>>()?,
        common: common?,
        checks: checks?,
        conduct: CONDUCT
            .iter()
            .filter_map(|(key, _)| said(key).map(|said| (*key, said.clone())))
            .collect(),
        ping,
        remarks: maker.remarks,
    };
    for (host, block) in cluster.hosts.iter_mut().zip(&blocks) {
        host.own = own(block, template(pages, Kind::Host), &cluster.common);
    }
    let remarks = remarks::of_cluster(&cluster, monitor);
    cluster.remarks.extend(remarks);
    Some(cluster)
}

/// The block whose values fill the gaps of the others of its kind.
fn template(pages: &Pages, kind: Kind) -> Option<&Block> {
    let is_template = |block: &&Block| block.kind == kind && kind.has_template() && block.name() == "default";
    pages.blocks.iter().find(is_template)
}

/// What a host says for itself, or its template says and not all have in common.
fn own(block: &Block, template: Option<&Block>, common: &Reach) -> Reach {
    REACH
        .iter()
        .filter_map(|(key, _)| {
            let said = block.get(key).or_else(|| template?.get(key))?;
            let differs = common.get(key).is_none_or(|common| common.text != said.text);
            differs.then(|| (*key, said.clone()))
        })
        .collect()
}

/// Makes a cluster, and collects what is wrong and what is to be known on the way.
pub struct Maker<'m> {
    pub pages: &'m Pages,
    texts: &'m Texts,
    findings: &'m mut Vec<Diagnostic>,
    pub remarks: Vec<(Slot, Remark)>,
}

impl<'m> Maker<'m> {
    /// Reports an error.
    pub fn error(
        &mut self,
        at: &At,
        what: impl Into<String>,
        because: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.findings.push(self.texts.error(at, what, because, hint));
    }

    /// The blocks of a kind that stand for something of their own.
    fn named(&mut self, kind: Kind) -> Vec<&'m Block> {
        let is_own =
            |block: &&Block| block.kind == kind && !(kind.has_template() && block.name() == "default");
        let blocks: Vec<&Block> = self.pages.blocks.iter().filter(is_own).collect();
        if blocks.is_empty() && !self.pages.top.broken {
            let (word, at) = (kind.word(), self.pages.top.at.clone());
            let hint = format!("add `<{word} NAME>`, or include the file that has it");
            self.error(
                &at,
                format!("no `<{word} …>` is described"),
                "a cluster needs at least one",
                hint,
            );
        }
        blocks
    }

    /// A value of a block or of its template.
    fn said(&self, block: &'m Block, key: &str) -> Option<&'m Said> {
        block
            .get(key)
            .or_else(|| template(self.pages, block.kind)?.get(key))
    }

    /// A value that must be there.
    fn needed(&mut self, block: &'m Block, key: &str, because: &str) -> Option<&'m Said> {
        let said = self.said(block, key);
        let broken = block.broken || template(self.pages, block.kind).is_some_and(|template| template.broken);
        if said.is_none() && !broken {
            let (word, name) = (block.kind.word(), block.name());
            let hint = format!("add `{key} …` to `<{word} {name}>`");
            self.error(
                &block.at,
                format!("{word} `{name}` has no `{key}`"),
                because,
                hint,
            );
        }
        said
    }

    fn host(&mut self, block: &'m Block) -> Option<Host> {
        let address = self.needed(block, "ip", "MySQL and SSH are reached there");
        let mode = self.needed(block, "mode", "only a master may become the writer");
        let name = block.name.clone()?;
        let mut peer = self.said(block, "peer").cloned();
        match (mode.map(|mode| mode.text.as_str()), &peer) {
            (Some("slave"), Some(said)) => {
                self.remarks
                    .push((Slot::Host(name.text.clone()), remarks::peer_of_slave(&name, said)));
                peer = None;
            }
            (Some("master"), None) if !block.broken => {
                let what = format!("master `{}` has no `peer`", name.text);
                let hint = "add `peer …` with the other master's name, or make it `mode slave`";
                let because = "masters replicate in pairs, and the writer moves between the two";
                self.error(&block.at, what, because, hint);
                return None;
            }
            (_, Some(said)) if said.text == name.text => {
                let because = "MMM took that, and the writer had nowhere to move";
                self.error(
                    &said.at,
                    format!("`{}` is its own peer", name.text),
                    because,
                    "name the other master",
                );
                return None;
            }
            (_, Some(said)) => self.known_host(said)?,
            _ => {}
        }
        Some(Host {
            name,
            address: address?.clone(),
            mode: mode?.clone(),
            peer,
            own: Reach::new(),
        })
    }

    /// Reports a name that no host has.
    fn known_host(&mut self, said: &Said) -> Option<()> {
        let names: Vec<&str> = self
            .pages
            .blocks
            .iter()
            .filter(|block| block.kind == Kind::Host && block.name() != "default")
            .map(Block::name)
            .collect();
        if names.contains(&said.text.as_str()) {
            return Some(());
        }
        if !self.pages.top.broken {
            let hint = closest(&said.text, names.iter().copied()).map_or_else(
                || {
                    format!(
                        "hosts are {}",
                        names
                            .iter()
                            .map(|name| format!("`{name}`"))
                            .collect::<Vec<_>>()
                            .join(", ")
                    )
                },
                |near| format!("did you mean `{near}`?"),
            );
            let because = "no `<host …>` describes it";
            self.error(
                &said.at,
                format!("there is no host `{}`", said.text),
                because,
                hint,
            );
        }
        None
    }

    /// What all hosts share. Also reports what a host must have and has not.
    fn reach(&mut self, hosts: &[&'m Block]) -> Option<Reach> {
        let mut common = Reach::new();
        let mut complete = true;
        for (key, needed) in REACH {
            let values: Vec<Option<&Said>> = hosts.iter().map(|block| self.said(block, key)).collect();
            let from_template = template(self.pages, Kind::Host).and_then(|template| template.get(key));
            let first = values.iter().flatten().next().copied();
            let same = values
                .iter()
                .all(|said| said.map(|said| &said.text) == first.map(|said| &said.text));
            let used =
                from_template.filter(|said| values.iter().flatten().any(|value| value.text == said.text));
            if let Some(said) = first.filter(|_| same).or(used) {
                common.insert(key, said.clone());
            }
            let lacking: Vec<&&Block> = hosts
                .iter()
                .zip(&values)
                .filter(|(block, said)| needed && said.is_none() && !block.broken)
                .map(|(block, _)| block)
                .collect();
            complete &= lacking.is_empty();
            let broken = template(self.pages, Kind::Host).is_some_and(|template| template.broken);
            if let Some(at) = lacking.first().map(|block| block.at.clone()).filter(|_| !broken) {
                let names: Vec<String> = lacking
                    .iter()
                    .map(|block| format!("`{}`", block.name()))
                    .collect();
                let because = match key {
                    "cluster_interface" => "floating addresses are brought up on it",
                    _ => "the accounts for monitor, agent and replication are needed on every host",
                };
                let hint = format!("add `{key} …` to `<host default>`, or name the file that has it as well");
                self.error(
                    &at,
                    format!("`{key}` is missing for {}", names.join(", ")),
                    because,
                    hint,
                );
            }
        }
        complete.then_some(common)
    }

    fn role(&mut self, block: &'m Block) -> Option<Role> {
        let because = "a role is addresses, the hosts that may hold them, and how they spread";
        let mode = self.needed(block, "mode", because);
        let hosts = self
            .needed(block, "hosts", because)
            .map(|said| items(said, Shape::Names));
        let addresses = self
            .needed(block, "ips", because)
            .map(|said| items(said, Shape::Addresses));
        let (mode, name) = (mode?.clone(), block.name.clone()?);
        let (hosts, addresses) = (hosts?, addresses?);
        let mut good = true;
        for host in &hosts {
            good &= self.known_host(host).is_some();
        }
        if let ("exclusive", [_, second, ..]) = (mode.text.as_str(), addresses.as_slice()) {
            let what = format!("exclusive role `{}` has {} addresses", name.text, addresses.len());
            let because = "MMM spread them, so that two hosts held a role that only one may hold";
            self.error(
                &second.at,
                what,
                because,
                "give it one address, or make it `mode balanced`",
            );
            good = false;
        }
        let mut prefer = block.get("prefer").cloned();
        if let Some(said) = prefer.take_if(|_| mode.text == "balanced") {
            self.remarks.push((
                Slot::Role(name.text.clone()),
                remarks::prefer_of_balanced(&name, &said),
            ));
        } else if let Some(said) = &prefer {
            let remark = remarks::prefer_of_exclusive(&name, said);
            self.remarks.push((Slot::Role(name.text.clone()), remark));
            good &= self.known_host(said).is_some();
        }
        good.then_some(Role {
            name,
            mode,
            hosts,
            addresses,
            prefer,
        })
    }

    fn writer_role(&mut self, roles: &[Option<Role>]) -> Option<Said> {
        let top = &self.pages.top;
        let Some(said) = top.get("active_master_role") else {
            if !top.broken {
                let hint = "add `active_master_role writer`, or include the file that has it";
                let because = "one role must decide who takes writes";
                self.error(&top.at, "`active_master_role` is missing", because, hint);
            }
            return None;
        };
        let names = || {
            self.pages
                .blocks
                .iter()
                .filter(|block| block.kind == Kind::Role)
                .map(Block::name)
        };
        if names().any(|name| name == said.text) || roles.is_empty() {
            return Some(said.clone());
        }
        let hint = closest(&said.text, names()).map_or_else(
            || "name one of the roles".to_owned(),
            |near| format!("did you mean `{near}`?"),
        );
        let because = "it decides who takes writes";
        self.error(
            &said.at,
            format!("there is no role `{}`", said.text),
            because,
            hint,
        );
        None
    }
}
