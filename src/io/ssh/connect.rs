//! From a target to an authenticated connection: what carries it, whose key is on the other side, who we are.

use std::net::Ipv4Addr;
use std::process::Stdio;
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
use super::quick::QuickTcp;
use super::target::Target;

trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

/// Does everything but watch the time.
pub(super) async fn connect(target: &Target, via: Option<Link>) -> Result<Connection, SshError> {
    let known = read_known_hosts(target).await?;
    let name = KeyName::new(&target.address, target.port, target.host_key_alias.as_deref());
    let config = Arc::new(config(target, known.preferred(&name)));
    let (transport, carrier) = transport(target, via).await?;
    let (closed_out, closed) = watch::channel(None);
    let client = Client {
        host: target.name.clone(),
        endpoint: format!("{}:{}", target.address, target.port),
        name,
        known,
        closed: closed_out,
    };
    let mut handle =
        client::connect_stream(config, transport, client)
            .await
            .map_err(|broken| match broken {
                Broken::Judged(error) => *error,
                Broken::Protocol(error) => handshake_failed(target, error.to_string()),
            })?;
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
    let paths = target.known_hosts.clone();
    let read = tokio::task::spawn_blocking(move || KnownHosts::read(&paths)).await;
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
    .hint("a file of known host keys must be readable by the user this program runs as"))
}

/// What carries the connection: a proxy command, a jump host, or TCP.
async fn transport(
    target: &Target,
    via: Option<Link>,
) -> Result<(Box<dyn Duplex>, Option<Carrier>), SshError> {
    if let Some(command) = &target.proxy_command {
        return proxy(target, command);
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

fn proxy(target: &Target, command: &str) -> Result<(Box<dyn Duplex>, Option<Carrier>), SshError> {
    let command = expand(command, target);
    let failed = |because: String| unreachable(target, because, "run the proxy command by hand");
    let mut child = tokio::process::Command::new("/bin/sh")
        .args(["-c", &format!("exec {command}")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| failed(format!("the proxy command does not start: {e}")))?;
    match (child.stdout.take(), child.stdin.take()) {
        (Some(stdout), Some(stdin)) => Ok((
            Box::new(tokio::io::join(stdout, stdin)),
            Some(Carrier::Proxy(child)),
        )),
        _ => Err(failed("the proxy command has no pipes".into())),
    }
}

/// Fills in OpenSSH's tokens of a proxy command.
fn expand(command: &str, target: &Target) -> String {
    let mut expanded = String::with_capacity(command.len());
    let mut chars = command.chars();
    while let Some(c) = chars.next() {
        match (c, c == '%') {
            (_, true) => match chars.next() {
                Some('h') => expanded.push_str(&target.address),
                Some('p') => expanded.push_str(&target.port.to_string()),
                Some('r') => expanded.push_str(&target.user),
                Some('n') => expanded.push_str(&target.name),
                Some('%') => expanded.push('%'),
                Some(other) => expanded.extend(['%', other]),
                None => expanded.push('%'),
            },
            (c, false) => expanded.push(c),
        }
    }
    expanded
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxy_tokens() {
        let mut target = Target::new("db1", "10.0.0.1", "root");
        target.port = 2222;
        assert_eq!(
            expand("nc -X %% %h:%p %r %n %z %", &target),
            "nc -X % 10.0.0.1:2222 root db1 %z %"
        );
    }
}
