//! One ICMP echo. Its silence is a hint and never more; its being forbidden to us says nothing about the host.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

use crate::core::checks::Echo;

/// What lets this box ping.
pub const HINT: &str = "give the program the capability CAP_NET_RAW (`setcap cap_net_raw+ep`, or `AmbientCapabilities` in its \
                    unit), or widen the sysctl `net.ipv4.ping_group_range`";

/// Tells our echoes apart, also those of other tasks of this process that share a raw socket's view.
static NEXT: AtomicU16 = AtomicU16::new(1);

/// Sends one echo and waits for its answer.
pub async fn ping(address: IpAddr, timeout: Duration) -> Echo {
    let started = Instant::now();
    let deadline = started + timeout;
    match timeout_at(deadline, exchange(address)).await {
        Ok(Ok(())) => Echo::Answered(started.elapsed()),
        Err(_) => Echo::NoAnswer(timeout),
        Ok(Err(Trouble::Host)) => Echo::NoAnswer(started.elapsed()),
        Ok(Err(Trouble::Forbidden(error))) => Echo::CannotPing {
            because: format!("this box may not send ICMP echo requests: {error}"),
            hint: HINT.to_owned(),
        },
        Ok(Err(Trouble::Ours(error))) => Echo::CannotPing {
            because: format!("this box cannot send to `{address}`: {error}"),
            hint: "look at its own network and limits".to_owned(),
        },
    }
}

/// Whether this box may ping such an address at all.
pub fn may_ping(address: IpAddr) -> bool {
    let (domain, protocol) = family(address);
    [Type::DGRAM, Type::RAW]
        .into_iter()
        .any(|kind| Socket::new(domain, kind, Some(protocol)).is_ok())
}

/// Why there was no exchange.
enum Trouble {
    /// The network says that the host is not there.
    Host,
    /// No socket of either kind is allowed.
    Forbidden(io::Error),
    /// Something else on our own side.
    Ours(io::Error),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::HostUnreachable | io::ErrorKind::ConnectionRefused => Trouble::Host,
            io::ErrorKind::PermissionDenied => Trouble::Forbidden(error),
            _ => Trouble::Ours(error),
        }
    }
}

async fn exchange(address: IpAddr) -> Result<(), Trouble> {
    let (socket, raw) = open(address)?;
    // The process and a counter; with a datagram socket the kernel puts its own identifier in place of ours.
    let identifier = (std::process::id() & 0xffff) as u16;
    let sequence = NEXT.fetch_add(1, Ordering::Relaxed);
    let request = request(address, identifier, sequence);
    socket.send(&request).await?;
    let mut buffer = [0; 512];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if is_answer(address, &buffer[..length], raw.then_some(identifier), sequence) {
            return Ok(());
        }
    }
}

/// A datagram socket where the system allows it, otherwise a raw one. The flag says whether it is raw.
fn open(address: IpAddr) -> Result<(UdpSocket, bool), Trouble> {
    let (domain, protocol) = family(address);
    let (socket, raw) = match Socket::new(domain, Type::DGRAM, Some(protocol)) {
        Ok(socket) => (socket, false),
        Err(_) => (Socket::new(domain, Type::RAW, Some(protocol))?, true),
    };
    socket.set_nonblocking(true)?;
    // Connected, the socket receives from this host only.
    socket.connect(&SocketAddr::new(address, 0).into())?;
    // Tokio has no ICMP socket, but its UDP socket does nothing here beyond send and receive.
    Ok((UdpSocket::from_std(socket.into())?, raw))
}

fn family(address: IpAddr) -> (Domain, Protocol) {
    match address {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
    }
}

fn request(address: IpAddr, identifier: u16, sequence: u16) -> Vec<u8> {
    let kind = if address.is_ipv4() { 8 } else { 128 };
    let mut packet = vec![kind, 0, 0, 0];
    packet.extend(identifier.to_be_bytes());
    packet.extend(sequence.to_be_bytes());
    packet.extend([0x6d; 16]);
    // The kernel fills in the checksum of ICMPv6.
    if address.is_ipv4() {
        let sum = checksum(&packet).to_be_bytes();
        packet[2..4].copy_from_slice(&sum);
    }
    packet
}

/// `identifier` is checked on raw sockets only, which see everybody's answers.
fn is_answer(address: IpAddr, packet: &[u8], identifier: Option<u16>, sequence: u16) -> bool {
    // Raw IPv4 sockets deliver the IP header too.
    let header = match (address, identifier) {
        (IpAddr::V4(_), Some(_)) => packet.first().map_or(0, |first| usize::from(first & 0x0f) * 4),
        _ => 0,
    };
    let expected = if address.is_ipv4() { 0 } else { 129 };
    match packet.get(header..header + 8) {
        Some(&[kind, 0, _, _, id_high, id_low, high, low]) => {
            kind == expected
                && u16::from_be_bytes([high, low]) == sequence
                && identifier.is_none_or(|identifier| u16::from_be_bytes([id_high, id_low]) == identifier)
        }
        _ => false,
    }
}

/// The Internet checksum of RFC 1071.
fn checksum(packet: &[u8]) -> u16 {
    let words = packet
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn four() -> IpAddr {
        "127.0.0.1".parse().unwrap()
    }

    #[test]
    fn a_packet_with_its_checksum_sums_to_nothing() {
        assert_eq!(checksum(&request(four(), 0x1234, 7)), 0);
    }

    #[test]
    fn only_the_own_answer_counts() {
        let mut answer = vec![0x45; 20];
        answer.extend([0, 0, 0, 0, 0x12, 0x34, 0, 7]);
        assert!(is_answer(four(), &answer, Some(0x1234), 7));
        assert!(!is_answer(four(), &answer, Some(0x1235), 7));
        assert!(!is_answer(four(), &answer, Some(0x1234), 8));
        answer[20] = 8;
        assert!(
            !is_answer(four(), &answer, Some(0x1234), 7),
            "a request is no answer"
        );
        assert!(!is_answer(four(), &answer[..22], Some(0x1234), 7));
        assert!(!is_answer(four(), &[], None, 7));
    }

    #[tokio::test]
    async fn this_machine_answers_itself() {
        for address in ["127.0.0.1", "::1"] {
            let echo = ping(address.parse().unwrap(), Duration::from_secs(2)).await;
            match echo {
                Echo::Answered(rtt) => assert!(rtt < Duration::from_secs(2)),
                // Unprivileged builds see this; what it may never be is "no answer".
                Echo::CannotPing { because, hint } => {
                    assert!(hint.contains("CAP_NET_RAW"), "{because}; {hint}")
                }
                Echo::NoAnswer(_) => unreachable!("{address} did not answer"),
            }
        }
    }
}
