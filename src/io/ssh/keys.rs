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
}

impl Identity {
    /// The key, read anew only if its file has changed, and the certificates for it, read every time: they are renewed
    /// often. `Ok(None)`: not there and not required.
    pub(super) async fn load(
        &self,
        host: &str,
    ) -> Result<Option<(Arc<LoadedKey>, Vec<Certificate>)>, SshError> {
        let modified = match tokio::fs::metadata(&self.path).await.and_then(|m| m.modified()) {
            Ok(time) => time,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && !self.required => return Ok(None),
            Err(e) => return Err(unreadable(host, &self.path, e)),
        };
        let mut kept = self.loaded.lock().await;
        let kept_key = kept
            .as_ref()
            .filter(|(time, _)| *time == modified)
            .map(|(_, key)| key.clone());
        let identity = self.clone();
        let owned_host = host.to_string();
        // Decryption takes 100 ms and more of CPU by design, so it has a thread of its own.
        let (key, certificates) = tokio::task::spawn_blocking(move || {
            let key = match kept_key {
                Some(key) => key,
                None => Arc::new(read_key(
                    &owned_host,
                    &identity.path,
                    identity.passphrase.as_ref(),
                )?),
            };
            let certificates = read_certificates(&owned_host, &identity, &key)?;
            Ok((key, certificates))
        })
        .await
        .map_err(|e| unreadable(host, &self.path, e))??;
        *kept = Some((modified, key.clone()));
        Ok(Some((key, certificates)))
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
        }),
        // An agent may hold it: the OpenSSH format tells the public key without the passphrase, else the file beside does.
        Err(_) if passphrase.is_none() && is_encrypted(text.expose_secret()) => {
            let public = PrivateKey::from_openssh(text.expose_secret())
                .map(|key| key.public_key().clone())
                .or_else(|_| PublicKey::read_openssh_file(beside(path, ".pub")));
            Ok(LoadedKey {
                private: None,
                public: public.ok(),
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

/// The certificates for this key that can be valid now: the one beside it, if there is one, and the named ones.
fn read_certificates(host: &str, identity: &Identity, key: &LoadedKey) -> Result<Vec<Certificate>, SshError> {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |d| d.as_secs());
    let beside = beside(&identity.path, "-cert.pub");
    let mut certificates = Vec::new();
    for (path, required) in identity
        .certificates
        .iter()
        .map(|p| (p, true))
        .chain([(&beside, false)])
    {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && !required => continue,
            Err(e) => return Err(unreadable(host, path, e)),
        };
        let certificate = Certificate::from_openssh(text.trim()).map_err(|e| unreadable(host, path, e))?;
        let fits = key
            .public
            .as_ref()
            .is_some_and(|public| public.key_data() == certificate.public_key());
        if fits && now < certificate.valid_before() {
            certificates.push(certificate);
        }
    }
    Ok(certificates)
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
