//! A cluster's secrets, fetched once when a command starts, so that nothing waits for a vault in the middle of a run.

use std::collections::BTreeMap;
use std::time::Duration;

use secrecy::SecretString;

use crate::config::inventory::{Account, ClusterEntry};
use crate::core::cluster::HostName;
use crate::core::trouble::{Kind, Trouble};
use crate::io::mysql::Login;
use crate::io::secret;

/// How long one secret may take to fetch.
const FETCH_WITHIN: Duration = Duration::from_secs(10);

/// The logins of one host.
#[derive(Debug, Clone)]
pub struct Logins {
    /// Watches.
    pub monitor: Login,
    /// Acts.
    pub agent: Login,
    /// What others replicate with from this host.
    pub replication: Login,
    /// Decrypts the SSH key.
    pub ssh_passphrase: Option<SecretString>,
}

/// The logins of every host of a cluster.
#[derive(Debug, Clone)]
pub struct Vault(BTreeMap<HostName, Logins>);

impl Vault {
    /// Fetches every secret the cluster needs.
    ///
    /// # Errors
    /// Usage: the first secret that cannot be had, and why.
    pub async fn open(entry: &ClusterEntry) -> Result<Vault, Trouble> {
        let mut logins = BTreeMap::new();
        for (name, host) in &entry.hosts {
            let credentials = &host.credentials;
            let ssh_passphrase = match &host.ssh.identity_passphrase {
                Some(source) => Some(fetch(name, "the passphrase of its SSH key", source).await?),
                None => None,
            };
            let of = Logins {
                monitor: login(name, &credentials.monitor).await?,
                agent: login(name, &credentials.agent).await?,
                replication: login(name, &credentials.replication).await?,
                ssh_passphrase,
            };
            logins.insert(name.clone(), of);
        }
        Ok(Vault(logins))
    }

    /// The logins of one host.
    pub fn logins(&self, host: &HostName) -> Option<&Logins> {
        self.0.get(host)
    }
}

async fn login(host: &HostName, account: &Account) -> Result<Login, Trouble> {
    let password = fetch(
        host,
        &format!("the password of `{}`", account.user),
        &account.password,
    )
    .await?;
    Ok(Login {
        user: account.user.clone(),
        password,
    })
}

async fn fetch(
    host: &HostName,
    whose: &str,
    source: &crate::config::inventory::SecretSource,
) -> Result<SecretString, Trouble> {
    secret::resolve(source, FETCH_WITHIN).await.map_err(|error| {
        Trouble::new(Kind::Usage, format!("{whose} on `{host}` cannot be had"), error)
            .hint("the inventory says where each secret comes from")
    })
}
