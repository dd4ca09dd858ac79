//! From what an inventory says to a complete target, filled up from `ssh_config` by asking `ssh -G`.
//!
//! Asking the program itself gives its exact meaning: `Include`, `Match`, patterns, canonical names. What the inventory
//! says wins. Honoured are HostName, User, Port, IdentityFile, CertificateFile, IdentitiesOnly, IdentityAgent, ProxyJump,
//! ProxyCommand, HostKeyAlias, UserKnownHostsFile, GlobalKnownHostsFile and RevokedHostKeys; what would loosen the check of
//! host keys is not. Without an `ssh` program the inventory and OpenSSH's usual defaults must do.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use super::error::{SshError, SshErrorKind};
use super::target::{Agent, Identity, Target, Timing};

/// `Match exec` may run programs.
const ASKING_TAKES: Duration = Duration::from_secs(5);
/// Jump hosts behind jump hosts; more is a circle.
const MOST_HOPS: usize = 8;

/// What an inventory says about one host's SSH; what is `None` or empty is left to `ssh_config`, then to the defaults.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The host's name, for messages.
    pub name: String,
    /// Name or address to connect to, and the alias that `ssh_config` is asked about.
    pub address: String,
    /// TCP port.
    pub port: Option<u16>,
    /// Remote user.
    pub user: Option<String>,
    /// The one key to use; jump hosts are offered it too, after their own.
    pub identity: Option<Identity>,
    /// Jump hosts as `ssh -J` takes them: `[user@]host[:port]`, several separated by commas, or `none`.
    pub jump: Option<String>,
    /// Files of known host keys.
    pub known_hosts: Vec<PathBuf>,
    /// Whether `ssh_config` is asked at all.
    pub use_ssh_config: bool,
    /// Another file than the user's and the system's, as `ssh -F`.
    pub config_file: Option<PathBuf>,
    /// Deadlines.
    pub timing: Timing,
    /// Commands at a time.
    pub max_channels: usize,
}

impl Wanted {
    /// A host of which nothing but name and address is said.
    pub fn new(name: impl Into<String>, address: impl Into<String>) -> Self {
        Wanted {
            name: name.into(),
            address: address.into(),
            port: None,
            user: None,
            identity: None,
            jump: None,
            known_hosts: Vec::new(),
            use_ssh_config: true,
            config_file: None,
            timing: Timing::default(),
            max_channels: 4,
        }
    }

    /// Looks everything up, that of the jump hosts included.
    pub async fn resolve(&self) -> Result<Target, SshError> {
        self.resolve_at(0).await
    }

    async fn resolve_at(&self, depth: usize) -> Result<Target, SshError> {
        if depth > MOST_HOPS {
            return Err(self.wrong("its jump hosts lead to each other".into()));
        }
        let asked = match self.use_ssh_config {
            true => self.ask_ssh().await?,
            false => None,
        };
        let ssh_config_read = asked.is_some();
        let config = asked.unwrap_or_default();
        let user = match self.user.clone().or_else(|| config.one("user")) {
            Some(user) => user,
            None => {
                local_user().ok_or_else(|| self.wrong("nothing says which user to be on the host".into()))?
            }
        };
        let address = config.one("hostname").unwrap_or_else(|| self.address.clone());
        let port = self
            .port
            .or_else(|| config.one("port")?.parse().ok())
            .unwrap_or(22);
        let tokens = Tokens {
            alias: &self.address,
            address: &address,
            port,
            user: &user,
        };
        let jump_spec = self
            .jump
            .clone()
            .or_else(|| config.one("proxyjump"))
            .filter(|j| j != "none");
        let jump = match &jump_spec {
            Some(spec) => self.resolve_jumps(spec, depth).await?,
            None => Vec::new(),
        };
        Ok(Target {
            name: self.name.clone(),
            identities: self.identities(&config, &tokens),
            agent: agent(&config, &tokens),
            identities_only: config.one("identitiesonly").as_deref() == Some("yes"),
            known_hosts: self.known_hosts(&config, &tokens),
            revoked_host_keys: tokens.paths(&config.one("revokedhostkeys").unwrap_or_default()),
            host_key_alias: config.one("hostkeyalias"),
            // A jump host from the inventory also replaces a proxy command from `ssh_config`.
            proxy_command: config
                .one("proxycommand")
                .filter(|c| c != "none" && self.jump.is_none() && jump_spec.is_none()),
            jump,
            timing: self.timing,
            max_channels: self.max_channels,
            ssh_config_read,
            address,
            port,
            user,
        })
    }

    /// `ssh -G`, told what the inventory fixes so that `Match` sees it. `None`: there is no such program.
    async fn ask_ssh(&self) -> Result<Option<Config>, SshError> {
        let mut command = Command::new("ssh");
        command.arg("-G").stdin(Stdio::null()).kill_on_drop(true);
        if let Some(file) = &self.config_file {
            command.arg("-F").arg(file);
        }
        if let Some(port) = self.port {
            command.args(["-p", &port.to_string()]);
        }
        if let Some(user) = &self.user {
            command.args(["-l", user]);
        }
        command.args(["--", &self.address]);
        let output = match timeout(ASKING_TAKES, command.output()).await {
            Ok(Ok(output)) => output,
            Ok(Err(e)) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Ok(Err(e)) => return Err(self.wrong(format!("`ssh -G` does not start: {e}"))),
            Err(_) => return Err(self.wrong(format!("`ssh -G` gave no answer within {ASKING_TAKES:?}"))),
        };
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(self.wrong(format!("`ssh -G {}`: {}", self.address, said.trim())));
        }
        Ok(Some(Config::parse(&String::from_utf8_lossy(&output.stdout))))
    }

    /// The way through several jump hosts, nearest first. As with `ssh -J`, only the nearest one's own jump hosts count.
    async fn resolve_jumps(&self, spec: &str, depth: usize) -> Result<Vec<Target>, SshError> {
        let mut hops = Vec::new();
        for (index, hop) in spec.split(',').enumerate() {
            let (user, host, port) =
                parse_hop(hop).ok_or_else(|| self.wrong(format!("`{hop}` is no jump host")))?;
            let wanted = Wanted {
                name: host.clone(),
                address: host,
                user,
                port,
                identity: None,
                jump: (index > 0).then(|| "none".to_string()),
                ..self.clone()
            };
            // Boxed because a jump host may have jump hosts.
            let mut target = Box::pin(wanted.resolve_at(depth + 1)).await?;
            target.identities.extend(self.identity.clone());
            hops.append(&mut target.jump);
            hops.push(target);
        }
        Ok(hops)
    }

    fn identities(&self, config: &Config, tokens: &Tokens) -> Vec<Identity> {
        let paths = |key| config.all(key).map(|p| tokens.path(p)).collect::<Vec<_>>();
        let certificates: Vec<PathBuf> = paths("certificatefile");
        let mut identities = match (&self.identity, paths("identityfile")) {
            (Some(identity), _) => vec![identity.clone()],
            (None, named) if !named.is_empty() => named.into_iter().map(Identity::optional).collect(),
            (None, _) => ["id_ed25519", "id_ecdsa", "id_rsa"]
                .map(|name| Identity::optional(tokens.path(&format!("~/.ssh/{name}"))))
                .into(),
        };
        identities
            .iter_mut()
            .for_each(|i| i.certificates.extend(certificates.clone()));
        identities
    }

    fn known_hosts(&self, config: &Config, tokens: &Tokens) -> Vec<PathBuf> {
        if !self.known_hosts.is_empty() {
            return self.known_hosts.clone();
        }
        let files = |key, usual: &str| tokens.paths(&config.one(key).unwrap_or_else(|| usual.to_string()));
        let mut known = files("userknownhostsfile", "~/.ssh/known_hosts ~/.ssh/known_hosts2");
        known.extend(files(
            "globalknownhostsfile",
            "/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2",
        ));
        known
    }

    fn wrong(&self, because: String) -> SshError {
        let what = format!("cannot tell how to reach `{}` over SSH", self.name);
        SshError::new(SshErrorKind::Config, what, because).hint(format!(
            "`ssh -G {}` shows what your ssh_config makes of it",
            self.address
        ))
    }
}

fn agent(config: &Config, tokens: &Tokens) -> Agent {
    match config.one("identityagent").as_deref() {
        None | Some("SSH_AUTH_SOCK") => Agent::Environment,
        Some("none") => Agent::None,
        Some(variable) if variable.starts_with('$') && !variable.starts_with("${") => {
            std::env::var_os(&variable[1..]).map_or(Agent::None, |path| Agent::Socket(path.into()))
        }
        Some(path) => Agent::Socket(tokens.path(path)),
    }
}

/// The answer of `ssh -G`: a line is a keyword in lower case and its value.
#[derive(Debug, Default)]
struct Config(HashMap<String, Vec<String>>);

impl Config {
    fn parse(text: &str) -> Config {
        let mut values: HashMap<String, Vec<String>> = HashMap::new();
        for (key, value) in text.lines().filter_map(|line| line.split_once(' ')) {
            values
                .entry(key.to_string())
                .or_default()
                .push(value.trim().to_string());
        }
        Config(values)
    }

    fn one(&self, key: &str) -> Option<String> {
        self.all(key)
            .next()
            .filter(|value| !value.is_empty())
            .map(str::to_string)
    }

    fn all(&self, key: &str) -> impl Iterator<Item = &str> {
        self.0.get(key).into_iter().flatten().map(String::as_str)
    }
}

/// What file names in `ssh_config` may refer to; `ssh -G` gives them as they were written.
struct Tokens<'a> {
    alias: &'a str,
    address: &'a str,
    port: u16,
    user: &'a str,
}

impl Tokens<'_> {
    /// A list of file names, or `none`.
    fn paths(&self, written: &str) -> Vec<PathBuf> {
        written
            .split_whitespace()
            .filter(|name| *name != "none")
            .map(|name| self.path(name))
            .collect()
    }

    /// Fills in `~`, `%` tokens and `${VARIABLE}`; what it does not know stays.
    fn path(&self, written: &str) -> PathBuf {
        let home = std::env::home_dir().unwrap_or_default();
        let written = match written.strip_prefix("~/") {
            Some(rest) => format!("{}/{rest}", home.display()),
            None => written.to_string(),
        };
        let mut path = String::with_capacity(written.len());
        let mut rest = written.as_str();
        while let Some(at) = rest.find(['%', '$']) {
            path.push_str(&rest[..at]);
            rest = &rest[at..];
            if let Some((name, after)) = rest.strip_prefix("${").and_then(|r| r.split_once('}')) {
                path.push_str(&std::env::var(name).unwrap_or_default());
                rest = after;
                continue;
            }
            let token = rest.get(..2).unwrap_or(rest);
            match token {
                "%d" => path.push_str(&home.to_string_lossy()),
                "%h" => path.push_str(self.address),
                "%n" | "%k" => path.push_str(self.alias),
                "%p" => path.push_str(&self.port.to_string()),
                "%r" => path.push_str(self.user),
                "%u" => path.push_str(&local_user().unwrap_or_default()),
                "%i" => path.push_str(&rustix::process::getuid().as_raw().to_string()),
                "%%" => path.push('%'),
                other => {
                    // One character at a time: a multi-byte one may follow.
                    path.push_str(&other[..1]);
                    rest = &rest[1..];
                    continue;
                }
            }
            rest = &rest[2..];
        }
        path.push_str(rest);
        path.into()
    }
}

/// `[ssh://][user@]host[:port]`, an IPv6 address with a port in brackets.
fn parse_hop(hop: &str) -> Option<(Option<String>, String, Option<u16>)> {
    let hop = hop.trim();
    let hop = hop.strip_prefix("ssh://").unwrap_or(hop).trim_end_matches('/');
    let (user, host) = match hop.rsplit_once('@') {
        Some((user, host)) => (Some(user.to_string()), host),
        None => (None, hop),
    };
    let (host, port) = match host.strip_prefix('[').and_then(|h| h.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, port)) => (host, Some(port.strip_prefix(':')?)),
        None if host.matches(':').count() == 1 => {
            let (host, port) = host.split_once(':')?;
            (host, Some(port))
        }
        None => (host, None),
    };
    let port = match port {
        Some(port) => Some(port.parse().ok()?),
        None => None,
    };
    let named = !host.is_empty() && user.as_deref() != Some("");
    named.then(|| (user, host.to_string(), port))
}

/// Who runs this program, by the password file and else by the environment.
fn local_user() -> Option<String> {
    let uid = rustix::process::getuid().as_raw().to_string();
    let passwd = std::fs::read_to_string(Path::new("/etc/passwd")).unwrap_or_default();
    let of_uid = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?.to_string();
        (fields.nth(1)? == uid).then_some(name)
    };
    passwd
        .lines()
        .find_map(of_uid)
        .or_else(|| std::env::var("USER").ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hops_are_read_as_ssh_reads_them() {
        let hop = |text| parse_hop(text).map(|(u, h, p)| (u.unwrap_or_default(), h, p.unwrap_or(0)));
        let is = |u: &str, h: &str, p| Some((u.to_string(), h.to_string(), p));
        assert_eq!(hop("bastion"), is("", "bastion", 0));
        assert_eq!(hop("me@bastion:2222"), is("me", "bastion", 2222));
        assert_eq!(hop("ssh://me@bastion:2222/"), is("me", "bastion", 2222));
        assert_eq!(hop("me@[fe80::1]:22"), is("me", "fe80::1", 22));
        assert_eq!(hop("fe80::1"), is("", "fe80::1", 0));
        for wrong in ["", "@host", "host:port", "host:99999", "[::1]22"] {
            assert_eq!(hop(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn tokens_of_file_names() {
        let tokens = Tokens {
            alias: "db1",
            address: "10.0.0.1",
            port: 2222,
            user: "root",
        };
        let home = std::env::home_dir().unwrap();
        assert_eq!(
            tokens.path("~/.ssh/%n-%h.%p%%%ü%"),
            home.join(".ssh/db1-10.0.0.1.2222%%ü%")
        );
        assert_eq!(tokens.path("%d/${NO_SUCH_VARIABLE}x$y"), home.join("x$y"));
        assert!(local_user().is_some());
    }

    #[tokio::test]
    async fn the_inventory_alone_is_enough() {
        let mut wanted = Wanted::new("db1", "10.0.0.1");
        wanted.use_ssh_config = false;
        wanted.jump = Some("me@bastion:2222,inner".into());
        wanted.identity = Some(Identity::new("/etc/key", None));
        let target = wanted.resolve().await.unwrap();
        assert!(!target.ssh_config_read);
        assert_eq!((target.port, target.address.as_str()), (22, "10.0.0.1"));
        assert_eq!(target.identities.len(), 1);
        assert!(target.known_hosts.contains(&"/etc/ssh/ssh_known_hosts".into()));
        let hops: Vec<_> = target.jump.iter().map(|j| (j.address.as_str(), j.port)).collect();
        assert_eq!(hops, [("bastion", 2222), ("inner", 22)]);
        assert_eq!(
            target.jump[0].identities.last().unwrap().path,
            Path::new("/etc/key")
        );
    }
}
