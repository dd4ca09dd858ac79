//! Proving who we are: identity files with their certificates first, then what the agent holds, in few attempts.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use russh::client::{AuthResult, Handle};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::signature::Signer as _;
use russh::keys::ssh_encoding::Encode as _;
use russh::keys::ssh_key::Signature;
use russh::keys::ssh_key::private::KeypairData;
use russh::keys::{Certificate, HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKey};
use russh::{AgentAuthError, MethodKind};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::time::timeout;

use super::connect::{Client, handshake_failed};
use super::error::{SshError, SshErrorKind};
use super::keys::encrypted;
use super::target::{Agent, Target};

/// sshd hangs up at its sixth failure by default (`MaxAuthTries`), and counts against the address of who fails often.
const MAX_ATTEMPTS: usize = 5;

/// An agent only has to list its keys here; asking a person to confirm a signature may take longer.
const AGENT_ANSWERS: Duration = Duration::from_secs(2);

/// Tries keys until one is accepted.
pub(super) async fn authenticate(
    handle: &mut Handle<Client>,
    target: &Target,
    closed: &watch::Receiver<Option<String>>,
) -> Result<(), SshError> {
    let (agent, identities, mut problems) = open_agent(target).await;
    let mut attempt = Attempt {
        handle,
        target,
        closed,
        agent,
        rsa_hash: None,
        refused: Vec::new(),
        skipped: 0,
    };
    let mut offered: Vec<PublicKey> = Vec::new();
    for identity in &target.identities {
        let (key, certificates) = match identity.load(&target.name).await {
            Ok(Some(loaded)) => loaded,
            Ok(None) => continue,
            Err(error) => {
                problems.push(error);
                continue;
            }
        };
        let label = identity.path.display().to_string();
        let held = |id: &&AgentIdentity| key.public.as_ref().is_some_and(|p| same_key(p, &id.public_key()));
        match (&key.private, identities.iter().find(held)) {
            (Some(private), _) => {
                for certificate in &certificates {
                    let label = format!("certificate of {label}");
                    if attempt.local_certificate(&label, certificate, private).await? {
                        return Ok(());
                    }
                }
                if attempt.local(&label, private).await? {
                    return Ok(());
                }
            }
            (None, Some(held)) => {
                if attempt.held(&format!("{label} (from the agent)"), held).await? {
                    return Ok(());
                }
            }
            (None, None) => problems.push(encrypted(&target.name, &identity.path)),
        }
        offered.extend(key.public.clone());
    }
    for identity in &identities {
        if target.identities_only || offered.iter().any(|p| same_key(p, &identity.public_key())) {
            continue;
        }
        if attempt
            .held(&format!("{} (from the agent)", identity.comment()), identity)
            .await?
        {
            return Ok(());
        }
    }
    Err(attempt.refusal(problems))
}

type AgentConnection = AgentClient<UnixStream>;

/// An agent that does not answer is no reason to stop as long as a file serves.
async fn open_agent(target: &Target) -> (Option<AgentConnection>, Vec<AgentIdentity>, Vec<SshError>) {
    let path: PathBuf = match &target.agent {
        Agent::None => return (None, Vec::new(), Vec::new()),
        Agent::Socket(path) => path.clone(),
        Agent::Environment => match std::env::var_os("SSH_AUTH_SOCK").filter(|v| !v.is_empty()) {
            Some(path) => path.into(),
            None => return (None, Vec::new(), Vec::new()),
        },
    };
    let opened = async {
        let mut agent = AgentConnection::connect_uds(&path).await?;
        let identities = agent.request_identities().await?;
        Ok::<_, russh::keys::Error>((agent, identities))
    };
    let because = match timeout(AGENT_ANSWERS, opened).await {
        Ok(Ok((agent, identities))) => return (Some(agent), identities, Vec::new()),
        Ok(Err(e)) => e.to_string(),
        Err(_) => format!("no answer within {AGENT_ANSWERS:?}"),
    };
    (
        None,
        Vec::new(),
        vec![agent_failed(
            target,
            format!("agent at `{}`: {because}", path.display()),
        )],
    )
}

fn agent_failed(target: &Target, because: String) -> SshError {
    let what = format!("cannot use the SSH agent for `{}`", target.name);
    SshError::new(SshErrorKind::AgentUnavailable, what, because)
        .hint("is it running, and may this user use its socket? `ssh-add -l` tells what it holds")
}

fn same_key(a: &PublicKey, b: &PublicKey) -> bool {
    a.key_data() == b.key_data()
}

struct Attempt<'a> {
    handle: &'a mut Handle<Client>,
    target: &'a Target,
    closed: &'a watch::Receiver<Option<String>>,
    agent: Option<AgentConnection>,
    rsa_hash: Option<Option<HashAlg>>,
    refused: Vec<String>,
    skipped: usize,
}

impl Attempt<'_> {
    /// What to sign with for an RSA key: SHA-1 only for servers that know nothing else. Asked once, as an old server
    /// costs up to a second.
    async fn hash_for(&mut self, is_rsa: bool) -> Result<Option<HashAlg>, SshError> {
        if !is_rsa {
            return Ok(None);
        }
        if let Some(hash) = self.rsa_hash {
            return Ok(hash);
        }
        let best = self
            .handle
            .best_supported_rsa_hash()
            .await
            .map_err(|e| self.ended(e.to_string()))?;
        Ok(*self.rsa_hash.insert(best.flatten()))
    }

    fn may_try(&mut self) -> bool {
        let may = self.refused.len() < MAX_ATTEMPTS;
        self.skipped += usize::from(!may);
        may
    }

    async fn local(&mut self, label: &str, key: &Arc<PrivateKey>) -> Result<bool, SshError> {
        if !self.may_try() {
            return Ok(false);
        }
        let hash = self.hash_for(key.algorithm().is_rsa()).await?;
        let key = PrivateKeyWithHashAlg::new(key.clone(), hash);
        let result = self
            .handle
            .authenticate_publickey(self.target.user.as_str(), key)
            .await;
        self.judge(label, result.map_err(|e| e.to_string()))
    }

    async fn local_certificate(
        &mut self,
        label: &str,
        certificate: &Certificate,
        key: &Arc<PrivateKey>,
    ) -> Result<bool, SshError> {
        if !self.may_try() {
            return Ok(false);
        }
        let hash = self.hash_for(certificate.algorithm().is_rsa()).await?;
        let result = self
            .handle
            .authenticate_certificate_with(
                self.target.user.as_str(),
                certificate.clone(),
                hash,
                &mut FileSigner(key.clone()),
            )
            .await;
        self.judge(label, result.map_err(|e| e.to_string()))
    }

    async fn held(&mut self, label: &str, identity: &AgentIdentity) -> Result<bool, SshError> {
        if !self.may_try() {
            return Ok(false);
        }
        let hash = self.hash_for(identity.public_key().algorithm().is_rsa()).await?;
        let Some(agent) = &mut self.agent else {
            return Ok(false);
        };
        let user = self.target.user.as_str();
        let result = match identity {
            AgentIdentity::PublicKey { key, .. } => {
                self.handle
                    .authenticate_publickey_with(user, key.clone(), hash, agent)
                    .await
            }
            AgentIdentity::Certificate { certificate, .. } => {
                self.handle
                    .authenticate_certificate_with(user, certificate.clone(), hash, agent)
                    .await
            }
        };
        self.judge(label, result.map_err(|e| e.to_string()))
    }

    /// `Ok(false)`: this key was refused and another may be tried.
    fn judge(&mut self, label: &str, result: Result<AuthResult, String>) -> Result<bool, SshError> {
        match result {
            Ok(AuthResult::Success) => {
                tracing::debug!(host = %self.target.name, key = label, "authenticated");
                Ok(true)
            }
            // The library reports a connection that ended during authentication as a refusal with nothing left to try.
            Ok(AuthResult::Failure {
                remaining_methods, ..
            }) if remaining_methods.is_empty() => {
                Err(self.ended("the connection ended during authentication".into()))
            }
            Ok(AuthResult::Failure {
                remaining_methods,
                partial_success,
            }) => {
                self.refused.push(label.to_string());
                let methods: Vec<&str> = remaining_methods.iter().map(<&str>::from).collect();
                if partial_success {
                    let because = format!(
                        "key {label} was accepted, but {} is asked for too",
                        methods.join(", ")
                    );
                    return Err(self.refused(because));
                }
                if !remaining_methods.contains(&MethodKind::PublicKey) {
                    return Err(self.refused(format!(
                        "keys are not accepted any more, only {}",
                        methods.join(", ")
                    )));
                }
                Ok(false)
            }
            Err(_) if self.handle.is_closed() => {
                Err(self.ended("the connection ended during authentication".into()))
            }
            // The signer failed, and the connection goes on.
            Err(e) => {
                self.refused.push(format!("{label} ({e})"));
                Ok(false)
            }
        }
    }

    fn ended(&self, otherwise: String) -> SshError {
        let why = self.closed.borrow().clone().unwrap_or(otherwise);
        handshake_failed(self.target, why)
    }

    fn refused(&self, because: String) -> SshError {
        let target = self.target;
        let what = format!("`{}` does not let `{}` in over SSH", target.name, target.user);
        SshError::new(SshErrorKind::AuthRefused, what, because).hint(format!(
            "is the public key in `{}`'s authorized_keys on the host? sshd's log there tells why a key is refused",
            target.user
        ))
    }

    fn refusal(&self, mut problems: Vec<SshError>) -> SshError {
        if self.refused.is_empty() {
            return match problems.is_empty() {
                false => problems.swap_remove(0),
                true => {
                    self.refused("there is no key to offer: no identity file, and nothing in an agent".into())
                }
            };
        }
        let mut because = format!("refused: {}", self.refused.join(", "));
        if self.skipped > 0 {
            because.push_str(&format!(
                "; {} more not tried, name the right one as identity",
                self.skipped
            ));
        }
        for problem in &problems {
            because.push_str(&format!("; {}: {}", problem.what(), problem.because()));
        }
        self.refused(because)
    }
}

/// Signs with a key from a file for a certificate; unlike the library's own way it can sign RSA with SHA-2.
struct FileSigner(Arc<PrivateKey>);

impl russh::Signer for FileSigner {
    type Error = AgentAuthError;

    async fn auth_sign(
        &mut self,
        _: &AgentIdentity,
        hash: Option<HashAlg>,
        mut to_sign: Vec<u8>,
    ) -> Result<Vec<u8>, AgentAuthError> {
        let signature: Signature = match self.0.key_data() {
            KeypairData::Rsa(pair) => (pair, hash).try_sign(&to_sign),
            _ => self.0.try_sign(&to_sign),
        }
        .map_err(|_| russh::keys::Error::InvalidSignature)?;
        let mut encoded = Vec::new();
        signature.encode(&mut encoded).map_err(russh::keys::Error::from)?;
        encoded.encode(&mut to_sign).map_err(russh::keys::Error::from)?;
        Ok(to_sign)
    }
}
