//! From a target to an authenticated connection: what carries it, whose key is on the other side, who we are.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, SystemTime};

use russh::client::{self, DisconnectReason};
use russh::keys::{HashAlg, PublicKeyOrCertificate};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};

use super::auth;
use super::error::{SshError, SshErrorKind};
use super::known_hosts::{KeyName, KnownHosts, Verdict};
use super::link::{Carrier, Connection, Link};
use super::proxy::Proxy;
use super::quick::QuickTcp;
use super::target::Target;

trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

/// Does everything but watch the time.
pub(super) async fn connect(target: &Target, via: Option<Link>) -> Result<Connection, SshError> {
    let known = read_known_hosts(target).await?;
    let name = KeyName::new(&target.address, target.port, target.host_key_alias.as_deref());
    let config = Arc::new(config(target, known.preferred(&name)));
    let (transport, mut carrier) = transport(target, via).await?;
    let (closed_out, closed) = watch::channel(None);
    let client = Client {
        host: target.name.clone(),
        endpoint: format!("{}:{}", target.address, target.port),
        name,
        known,
        closed: closed_out,
    };
    let mut handle = match client::connect_stream(config, transport, client).await {
        Ok(handle) => handle,
        Err(Broken::Judged(error)) => return Err(*error),
        Err(Broken::Protocol(error)) => {
            let why = match &mut carrier {
                Some(Carrier::Proxy(proxy)) => proxy.last_words().await,
                _ => None,
            };
            return Err(match why {
                Some(why) => unreachable(target, why, "run the proxy command by hand"),
                None => handshake_failed(target, error.to_string()),
            });
        }
    };
    auth::authenticate(&mut handle, target, &closed).await?;
    Ok(Connection {
        host: target.name.clone(),
        handle,
        channels: Arc::new(Semaphore::new(target.max_channels.max(1))),
        max_channels: target.max_channels.max(1),
        timing: target.timing,
        closed,
        condemned: OnceLock::new(),
        carrier: Mutex::new(carrier),
    })
}

fn config(target: &Target, preferred: russh::Preferred) -> client::Config {
    let timing = target.timing;
    client::Config {
        nodelay: true,
        keepalive_interval: Some(timing.keepalive_interval),
        keepalive_max: timing.keepalive_max as usize,
        // Keepalives run only after authentication; this ends what stands still before it and is never the first after it.
        inactivity_timeout: Some(timing.silence().max(timing.connect) + Duration::from_secs(1)),
        preferred,
        ..client::Config::default()
    }
}

async fn read_known_hosts(target: &Target) -> Result<KnownHosts, SshError> {
    let (paths, revoked) = (target.known_hosts.clone(), target.revoked_host_keys.clone());
    let read = tokio::task::spawn_blocking(move || {
        let mut known = KnownHosts::read(&paths)?;
        known.revoke(&revoked).map(|()| known)
    })
    .await;
    let error = match read {
        Ok(Ok(known)) => return Ok(known),
        Ok(Err((path, error))) => format!("cannot read `{}`: {error}", path.display()),
        Err(error) => error.to_string(),
    };
    Err(SshError::new(
        SshErrorKind::KnownHostsUnreadable,
        format!("cannot check the host key of `{}`", target.name),
        error,
    )
    .hint("a file of known or revoked host keys must be readable by the user this program runs as"))
}

/// What carries the connection: a proxy command, a jump host, or TCP.
async fn transport(
    target: &Target,
    via: Option<Link>,
) -> Result<(Box<dyn Duplex>, Option<Carrier>), SshError> {
    if let Some(command) = &target.proxy_command {
        let (pipes, proxy) = Proxy::start(command, target).map_err(|e| {
            unreachable(
                target,
                format!("the proxy command does not start: {e}"),
                "run it by hand",
            )
        })?;
        return Ok((Box::new(pipes), Some(Carrier::Proxy(proxy))));
    }
    if let Some(via) = via {
        let channel = via
            .connection()
            .handle
            .channel_open_direct_tcpip(
                target.address.as_str(),
                u32::from(target.port),
                Ipv4Addr::LOCALHOST.to_string(),
                0,
            )
            .await
            .map_err(|e| {
                unreachable(
                    target,
                    format!("jump host `{}` does not connect us to it: {e}", via.host()),
                    "does the jump host reach it, and does its sshd allow TCP forwarding?",
                )
            })?;
        return Ok((Box::new(channel.into_stream()), Some(Carrier::Jump(via))));
    }
    let tcp = TcpStream::connect((target.address.as_str(), target.port))
        .await
        .map_err(|e| {
            unreachable(
                target,
                format!("{}:{}: {e}", target.address, target.port),
                "is the host up, is sshd running, are address and port right?",
            )
        })?;
    tune(&tcp, target).map_err(|e| unreachable(target, e, "the system refused a socket option"))?;
    Ok((Box::new(QuickTcp(tcp)), None))
}

fn tune(tcp: &TcpStream, target: &Target) -> std::io::Result<()> {
    tcp.set_nodelay(true)?;
    #[cfg(target_os = "linux")]
    socket2::SockRef::from(tcp).set_tcp_user_timeout(Some(target.timing.silence()))?;
    Ok(())
}

/// Our side of the protocol: judges the host key and remembers why the connection ended.
pub(super) struct Client {
    host: String,
    endpoint: String,
    name: KeyName,
    known: KnownHosts,
    closed: watch::Sender<Option<String>>,
}

/// Why the protocol stopped.
#[derive(Debug)]
pub(super) enum Broken {
    Judged(Box<SshError>),
    Protocol(russh::Error),
}

impl From<russh::Error> for Broken {
    fn from(error: russh::Error) -> Self {
        Broken::Protocol(error)
    }
}

impl client::Handler for Client {
    type Error = Broken;

    async fn check_server_key(&mut self, offered: &PublicKeyOrCertificate) -> Result<bool, Broken> {
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |d| d.as_secs());
        match self.known.judge(&self.name, offered, now) {
            Verdict::Known => Ok(true),
            refused => Err(Broken::Judged(Box::new(self.refusal(refused, offered)))),
        }
    }

    async fn disconnected(&mut self, reason: DisconnectReason<Broken>) -> Result<(), Broken> {
        let why = match reason {
            DisconnectReason::ReceivedDisconnect(info) => format!("the host disconnected: {}", info.message),
            DisconnectReason::Error(Broken::Protocol(russh::Error::Disconnect | russh::Error::HUP)) => {
                "the connection was closed".into()
            }
            DisconnectReason::Error(Broken::Protocol(russh::Error::KeepaliveTimeout)) => {
                "the host stopped answering keepalive requests".into()
            }
            DisconnectReason::Error(Broken::Protocol(error)) => error.to_string(),
            DisconnectReason::Error(Broken::Judged(error)) => error.to_string(),
        };
        tracing::debug!(host = %self.host, why, "an SSH connection ended");
        self.closed.send_replace(Some(why));
        Ok(())
    }
}

impl Drop for Client {
    /// The library does not always call `disconnected`; it always drops us.
    fn drop(&mut self) {
        self.closed.send_if_modified(|reason| {
            let unset = reason.is_none();
            reason.get_or_insert_with(|| "the connection ended".into());
            unset
        });
    }
}

impl Client {
    fn refusal(&self, verdict: Verdict, offered: &PublicKeyOrCertificate) -> SshError {
        let key = offered.public_key();
        let key = format!("{} {}", key.algorithm(), key.fingerprint(HashAlg::Sha256));
        let what = format!("refused the host key of `{}` ({})", self.host, self.endpoint);
        let name = &self.name.exact;
        let add = format!(
            "compare it with `ssh-keygen -lf /etc/ssh/ssh_host_*_key.pub` on the host, then record it under `{name}` \
             in a known-hosts file (connecting once with `ssh` does that)"
        );
        match verdict {
            Verdict::Revoked(place) => SshError::new(
                SshErrorKind::HostKeyRevoked,
                what,
                format!("{key} is marked as revoked in {place}"),
            )
            .hint("somebody may be impersonating the host; give it a new key before lifting the mark"),
            Verdict::Changed(place) => SshError::new(
                SshErrorKind::HostKeyChanged,
                what,
                format!("it offers {key}, and {place} says otherwise"),
            )
            .hint(format!(
                "either the host was reinstalled or somebody is in between: {add}, after `ssh-keygen -R '{name}'`"
            )),
            Verdict::Unknown { others, certificate } => {
                let mut because = format!("{key} is not on record");
                if let Some(place) = others.first() {
                    because.push_str(&format!(", though keys of other types are ({place})"));
                }
                if let Some(reason) = certificate {
                    because.push_str(&format!("; {reason}"));
                }
                SshError::new(SshErrorKind::HostKeyUnknown, what, because).hint(add)
            }
            Verdict::Known => SshError::new(SshErrorKind::HandshakeFailed, what, "it is known"),
        }
    }
}

fn unreachable(target: &Target, because: impl ToString, hint: &str) -> SshError {
    let what = format!("cannot reach `{}` over SSH", target.name);
    SshError::new(SshErrorKind::Unreachable, what, because.to_string()).hint(hint)
}

/// The other side ended the conversation early.
pub(super) fn handshake_failed(target: &Target, because: String) -> SshError {
    let what = format!("`{}` ended the SSH handshake", target.name);
    SshError::new(SshErrorKind::HandshakeFailed, what, because).hint(
        "sshd's log on the host says why; MaxStartups, PerSourcePenalties, AllowUsers and MaxAuthTries are the usual reasons",
    )
}
