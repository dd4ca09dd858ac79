//! The cluster a story is about, before it begins: two masters, a slave and the writer's address, unless the story
//! says otherwise.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use mmm::core::cluster::{
    CheckTiming, Checks, Cluster, FailBack, FailoverPolicy, Host, HostMode, HostName, OnProof, Promotion,
    Recovery, Role, RoleMode, StartMode, StartPolicy, SwitchoverPolicy, Unfenced,
};
use mmm::core::evidence::Means;
use serde_json::json;

use crate::words;

/// What the inventory says.
pub struct Setting {
    /// The cluster.
    pub cluster: Cluster,
    /// Whose power can be cut by a duty of the inventory.
    pub fenced: Vec<HostName>,
}

impl Default for Setting {
    fn default() -> Self {
        let timing = CheckTiming {
            every: Duration::from_secs(1),
            trap_after: Duration::from_secs(4),
            timeout: Duration::from_secs(1),
            max_backlog: Duration::from_secs(60),
        };
        let cluster = Cluster {
            name: "c".into(),
            hosts: vec![
                host("db1", 1, HostMode::Master, Some("db2")),
                host("db2", 2, HostMode::Master, Some("db1")),
                host("db3", 3, HostMode::Slave, None),
            ],
            roles: vec![Role {
                name: "writer".into(),
                mode: RoleMode::Exclusive,
                hosts: vec!["db1".into(), "db2".into()],
                addresses: vec![[10, 0, 0, 100].into()],
                prefer: None,
                fail_back: FailBack::default(),
            }],
            writer_role: "writer".into(),
            checks: Checks {
                ping: timing,
                mysql: timing,
                rep_threads: timing,
                rep_backlog: timing,
            },
            switchover: SwitchoverPolicy::default(),
            failover: FailoverPolicy {
                unfenced: Unfenced::IfSilentToAll,
                min_interval: Duration::ZERO,
                ..FailoverPolicy::default()
            },
            start: StartPolicy::default(),
            recovery: Recovery::default(),
        };
        Setting {
            cluster,
            fenced: Vec::new(),
        }
    }
}

fn host(name: &str, last: u8, mode: HostMode, peer: Option<&str>) -> Host {
    Host {
        name: name.into(),
        address: [10, 0, 0, last].into(),
        mode,
        peer: peer.map(Into::into),
        promotion: Default::default(),
    }
}

impl Setting {
    /// Takes in a line of the inventory; `None` when it is none.
    pub fn tell(&mut self, words: &[&str]) -> Option<Result<(), String>> {
        match words {
            ["slave", name] => {
                let last = u8::try_from(self.cluster.hosts.len() + 1).unwrap();
                self.cluster.hosts.push(host(name, last, HostMode::Slave, None));
            }
            ["master", name] => {
                let last = u8::try_from(self.cluster.hosts.len() + 1).unwrap();
                self.cluster.hosts.push(host(name, last, HostMode::Master, None));
                self.cluster.roles[0].hosts.push((*name).into());
            }
            ["promotion", name, when] => {
                let host = self
                    .cluster
                    .hosts
                    .iter_mut()
                    .find(|host| host.name.as_str() == *name)?;
                host.promotion = match *when {
                    "prefer" => Promotion::Prefer,
                    "never" => Promotion::Never,
                    other => return Some(Err(format!("`promotion` has no `{other}`"))),
                };
            }
            ["failover", "max_behind", time] => match words::span(time) {
                Ok(span) => self.cluster.failover.max_behind = Some(span),
                Err(error) => return Some(Err(error)),
            },
            ["failover", "min_interval", time] => match words::span(time) {
                Ok(span) => self.cluster.failover.min_interval = span,
                Err(error) => return Some(Err(error)),
            },
            ["role", name, "balanced", "on", rest @ ..] => {
                return Some(self.role(name, RoleMode::Balanced, rest));
            }
            ["role", name, "exclusive", "on", rest @ ..] => {
                return Some(self.role(name, RoleMode::Exclusive, rest));
            }
            ["role", name, "prefers", host] => {
                let role = self.cluster.roles.iter_mut().find(|role| role.name == *name)?;
                role.prefer = Some((*host).into());
            }
            ["role", name, "goes", "back", "on", "command"] => {
                let role = self.cluster.roles.iter_mut().find(|role| role.name == *name)?;
                role.fail_back = FailBack::OnCommand;
            }
            ["recovery", rest @ ..] => return Some(self.recovery(rest)),
            ["start", rest @ ..] => return Some(self.start(rest)),
            ["failover", "is", "left", "to", "a", "person"] => self.cluster.failover.automatic = false,
            ["a", "failover", "needs", "a", "fence"] => {
                self.cluster.failover.unfenced = Unfenced::Never;
            }
            ["a", "failover", "waits", "for", "the", "trap", "period"] => {
                self.cluster.failover.on_proof = OnProof::Trap;
            }
            [name, "can", "be", "fenced"] => self.fenced.push((*name).into()),
            _ => return None,
        }
        Some(Ok(()))
    }

    /// `mode wait`, `careful no`, `wait_for_other_master 2m`.
    fn start(&mut self, said: &[&str]) -> Result<(), String> {
        let start = &mut self.cluster.start;
        match said {
            ["mode", mode] => {
                let mode = serde_json::from_value(json!(mode)).map_err(|error| error.to_string())?;
                start.mode = StartMode::Always(mode);
            }
            ["careful", "no"] => start.careful = false,
            ["wait_for_other_master", time] => start.wait_for_other_master = words::span(time)?,
            other => return Err(format!("`start` has no `{}`", other.join(" "))),
        }
        Ok(())
    }

    /// `auto_set_online 30s`, `flapping 3 within 1h`.
    fn recovery(&mut self, said: &[&str]) -> Result<(), String> {
        let recovery = &mut self.cluster.recovery;
        match said {
            ["auto_set_online", time] => recovery.auto_set_online = Some(words::span(time)?),
            ["short_downtime", time] => recovery.short_downtime = words::span(time)?,
            ["excuse_peer_for", time] => recovery.excuse_peer_for = words::span(time)?,
            ["flapping", count, "within", time] => {
                recovery.flapping.count = count.parse().map_err(|_| format!("`{count}` is no number"))?;
                recovery.flapping.within = words::span(time)?;
            }
            other => return Err(format!("`recovery` has no `{}`", other.join(" "))),
        }
        Ok(())
    }

    /// `on HOST… at ADDRESS…`.
    fn role(&mut self, name: &str, mode: RoleMode, rest: &[&str]) -> Result<(), String> {
        let at = rest.iter().position(|word| *word == "at");
        let (hosts, addresses) = rest.split_at(at.ok_or("a role is `on` hosts `at` addresses")?);
        let addresses: Result<Vec<IpAddr>, _> = addresses[1..].iter().map(|ip| ip.parse()).collect();
        self.cluster.roles.push(Role {
            name: name.to_owned(),
            mode,
            hosts: hosts.iter().map(|host| HostName::from(*host)).collect(),
            addresses: addresses.map_err(|error| error.to_string())?,
            prefer: None,
            fail_back: FailBack::default(),
        });
        Ok(())
    }

    /// What could be done about each host that does not obey.
    pub fn means(&self) -> BTreeMap<HostName, Means> {
        let means = |host: &Host| Means {
            fence: self.fenced.contains(&host.name),
            unfenced: self.cluster.failover.unfenced,
        };
        let hosts = self.cluster.hosts.iter();
        hosts.map(|host| (host.name.clone(), means(host))).collect()
    }
}
