//! Private keys from files: read, decrypted once off the async threads, with the certificate beside them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use russh::keys::{Certificate, PrivateKey, PublicKey};
use secrecy::{ExposeSecret, SecretString};

use super::error::{SshError, SshErrorKind};
use super::target::Identity;

/// What one identity file gave.
pub(super) struct LoadedKey {
    /// The decrypted key; `None` when it is encrypted and no passphrase is known, so only an agent can use it.
    pub private: Option<Arc<PrivateKey>>,
    pub public: Option<PublicKey>,
    pub certificate: Option<Certificate>,
}

impl Identity {
    /// Reads the file, or what was read before if it has not changed since. `Ok(None)`: not there and not required.
    pub(super) async fn load(&self, host: &str) -> Result<Option<Arc<LoadedKey>>, SshError> {
        let modified = match tokio::fs::metadata(&self.path).await.and_then(|m| m.modified()) {
            Ok(time) => time,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && !self.required => return Ok(None),
            Err(e) => return Err(unreadable(host, &self.path, e)),
        };
        let mut kept = self.loaded.lock().await;
        if let Some((_, key)) = kept.as_ref().filter(|(time, _)| *time == modified) {
            return Ok(Some(key.clone()));
        }
        let key = Arc::new(self.read(host).await?);
        *kept = Some((modified, key.clone()));
        Ok(Some(key))
    }

    /// Decryption takes 100 ms and more of CPU by design, so it has a thread of its own.
    async fn read(&self, host: &str) -> Result<LoadedKey, SshError> {
        let (path, passphrase) = (self.path.clone(), self.passphrase.clone());
        let certificate = self.certificate.clone();
        let owned_host = host.to_string();
        tokio::task::spawn_blocking(move || {
            let mut key = read_key(&owned_host, &path, passphrase.as_ref())?;
            key.certificate = read_certificate(&owned_host, &path, certificate)?;
            Ok(key)
        })
        .await
        .map_err(|e| unreadable(host, &self.path, e))?
    }
}

fn read_key(host: &str, path: &Path, passphrase: Option<&SecretString>) -> Result<LoadedKey, SshError> {
    let text =
        secrecy::SecretString::from(std::fs::read_to_string(path).map_err(|e| unreadable(host, path, e))?);
    let decoded = russh::keys::decode_secret_key(text.expose_secret(), passphrase.map(|p| p.expose_secret()));
    match decoded {
        Ok(key) => Ok(LoadedKey {
            public: Some(key.public_key().clone()),
            private: Some(Arc::new(key)),
            certificate: None,
        }),
        // An agent may hold it: the OpenSSH format tells the public key without the passphrase, else the file beside does.
        Err(_) if passphrase.is_none() && is_encrypted(text.expose_secret()) => {
            let public = PrivateKey::from_openssh(text.expose_secret())
                .map(|key| key.public_key().clone())
                .or_else(|_| PublicKey::read_openssh_file(beside(path, ".pub")));
            Ok(LoadedKey {
                private: None,
                public: public.ok(),
                certificate: None,
            })
        }
        Err(_) if passphrase.is_some() && is_encrypted(text.expose_secret()) => Err(SshError::new(
            SshErrorKind::BadPassphrase,
            format!("cannot use key `{}` for `{host}`", path.display()),
            "the passphrase does not open it",
        )
        .hint(format!("try it by hand: `ssh-keygen -y -f {}`", path.display()))),
        Err(e) => Err(unreadable(host, path, e)),
    }
}

/// Whether the file says of itself that it is encrypted, in any of the formats keys come in.
fn is_encrypted(text: &str) -> bool {
    text.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----")
        || text.contains("Proc-Type: 4,ENCRYPTED")
        || PrivateKey::from_openssh(text).is_ok_and(|key| key.is_encrypted())
}

/// The named certificate must be there; the one beside the key need not.
fn read_certificate(host: &str, key: &Path, named: Option<PathBuf>) -> Result<Option<Certificate>, SshError> {
    let (path, required) = match named {
        Some(path) => (path, true),
        None => (beside(key, "-cert.pub"), false),
    };
    match std::fs::read_to_string(&path) {
        Ok(text) => match Certificate::from_openssh(text.trim()) {
            Ok(certificate) => Ok(Some(certificate)),
            Err(e) => Err(unreadable(host, &path, e)),
        },
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && !required => Ok(None),
        Err(e) => Err(unreadable(host, &path, e)),
    }
}

/// Why a certificate would be refused by any server now; `None` when nothing speaks against it.
pub(super) fn certificate_expired(certificate: &Certificate) -> bool {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |d| d.as_secs());
    now >= certificate.valid_before()
}

/// The key needs a passphrase that nobody gave.
pub(super) fn encrypted(host: &str, path: &Path) -> SshError {
    SshError::new(
        SshErrorKind::KeyEncrypted,
        format!("cannot use key `{}` for `{host}`", path.display()),
        "it is encrypted, no passphrase is given, and no agent holds it",
    )
    .hint("give the identity a passphrase source, or add the key to an agent with `ssh-add`")
}

fn unreadable(host: &str, path: &Path, because: impl std::fmt::Display) -> SshError {
    SshError::new(
        SshErrorKind::KeyUnreadable,
        format!("cannot read key `{}` for `{host}`", path.display()),
        because.to_string(),
    )
    .hint("the path, its permissions and its format must suit the user this program runs as")
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
