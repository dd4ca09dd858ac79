//! The rounds of a monitor: each host's checks and looks, every one with a task of its own, so that a hung one delays no
//! other.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tracing::Instrument as _;

use crate::core::checks::{self, Echo};
use crate::core::cluster::{CheckKind, HostName};
use crate::core::engine::Input;
use crate::core::facts::{HostFacts, Reach};
use crate::io::fleet::Fleet;
use crate::io::mysql::Server;
use crate::io::ping::ping;

/// Each host is looked at this often.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A replaced writer is tried this often until it has been made harmless.
const LOOK_FOR_OWED_EVERY: Duration = Duration::from_millis(300);
/// An echo may take so long before the server's port is tried too: whoever answers pings is not bothered.
const ECHO_ALONE: Duration = Duration::from_millis(60);
/// A replaced writer that gives no sign is looked at this often all the same.
const LOOK_IN_VAIN_EVERY: Duration = Duration::from_secs(10);

/// One task for each check of each host, each with its own connection: a hung one delays no other.
pub fn start_probes(fleet: &Arc<Fleet>, inputs: &mpsc::Sender<Input>, tasks: &mut JoinSet<()>) {
    for (name, host) in &fleet.entry().hosts {
        let Some(logins) = fleet.logins(name) else {
            continue;
        };
        for kind in CheckKind::ALL {
            let timing = *fleet.entry().cluster.checks.of(kind);
            let (host_name, address, inputs) = (name.clone(), host.address, inputs.clone());
            let mut server = Server::new(host.address, host.mysql.port, logins.monitor.clone())
                .managing(&host.mysql.channel);
            tasks.spawn(
                async move {
                    let mut rounds = interval(timing.every);
                    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
                    loop {
                        rounds.tick().await;
                        let result = match kind {
                            CheckKind::Ping => checks::ping(&ping(address, timing.timeout).await),
                            CheckKind::Mysql => server.check_mysql(timing.timeout).await,
                            CheckKind::RepThreads => server.check_rep_threads(timing.timeout).await,
                            CheckKind::RepBacklog => {
                                server.check_rep_backlog(timing.timeout, timing.max_backlog).await
                            }
                        };
                        let input = Input::Checked {
                            host: host_name.clone(),
                            kind,
                            result,
                        };
                        if inputs.send(input).await.is_err() {
                            return;
                        }
                    }
                }
                .in_current_span(),
            );
        }
    }
}

/// One task a host that looks at it: at regular pauses, and at once whenever `look_now` changes. A replaced writer that is
/// dark is asked for a sign instead, many times a second: an attempt to connect that begins while it is dark would still be
/// waiting when it comes back.
pub fn start_looks(
    fleet: &Arc<Fleet>,
    inputs: &mpsc::Sender<Input>,
    owed: &watch::Receiver<Vec<HostName>>,
    look_now: &watch::Receiver<u64>,
    tasks: &mut JoinSet<()>,
) {
    for (name, host) in &fleet.entry().hosts {
        let (fleet, name, inputs, owed) = (fleet.clone(), name.clone(), inputs.clone(), owed.clone());
        let mut look_now = look_now.clone();
        let server = SocketAddr::new(host.address, host.mysql.port);
        tasks.spawn(
            async move {
                let mut signs = Signs::default();
                loop {
                    let began = Instant::now();
                    let awaited = owed.borrow().contains(&name);
                    let echo = ping(server.ip(), LOOK_FOR_OWED_EVERY);
                    if awaited && signs.is_dark(echo, server).await {
                        tokio::time::sleep_until(began + LOOK_FOR_OWED_EVERY).await;
                        continue;
                    }
                    look_now.borrow_and_update();
                    let facts = fleet.look(&name).await;
                    signs.looked(&facts);
                    // Begun before somebody changed the cluster, it may show the host as it was.
                    if look_now.has_changed().is_ok_and(|changed| changed) {
                        continue;
                    }
                    if inputs
                        .send(Input::Looked(name.clone(), Box::new(facts)))
                        .await
                        .is_err()
                    {
                        return;
                    }
                    let pause = if awaited { LOOK_FOR_OWED_EVERY } else { LOOK_EVERY };
                    tokio::select! {
                        () = tokio::time::sleep_until(began + pause) => {}
                        Ok(()) = look_now.changed() => {}
                    }
                }
            }
            .in_current_span(),
        );
    }
}

/// How an awaited host showed last that it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sign {
    /// It answered a ping.
    Echo,
    /// It answers no ping, but its kernel took or refused a connection to the server's port.
    Port,
}

/// What is known of whether an awaited host is there.
#[derive(Debug, Default)]
struct Signs {
    last: Option<Sign>,
    dark_since: Option<Instant>,
}

impl Signs {
    /// Whether the host gives no sign. Now and then it is taken for reachable all the same: there may be a way to it that
    /// nobody tried.
    async fn is_dark(&mut self, echo: impl Future<Output = Echo>, server: SocketAddr) -> bool {
        self.last = match self.last {
            // Its port is not tried again while looks find it, or the server would count connections that say nothing.
            Some(Sign::Port) => Some(Sign::Port),
            Some(Sign::Echo) => answered(&echo.await).then_some(Sign::Echo),
            None => first_sign(echo, server).await,
        };
        if self.last.is_some() {
            self.dark_since = None;
            return false;
        }
        let since = *self.dark_since.get_or_insert_with(Instant::now);
        let looked_in_vain = since.elapsed() >= LOOK_IN_VAIN_EVERY;
        if looked_in_vain {
            self.dark_since = None;
        }
        !looked_in_vain
    }

    /// A look that found nothing there takes back that the host was thought to be.
    fn looked(&mut self, facts: &HostFacts) {
        let is_there =
            facts.ssh.up().is_some() || !matches!(facts.mysql, Reach::Silent(_) | Reach::Unasked(_));
        if !is_there {
            self.last = None;
        }
    }
}

fn answered(echo: &Echo) -> bool {
    matches!(echo, Echo::Answered(_))
}

/// The first sign of a host within the time in which it is tried again: by ping, or where that does not come at once, by
/// its server's port.
async fn first_sign(echo: impl Future<Output = Echo>, server: SocketAddr) -> Option<Sign> {
    let began = Instant::now();
    let knocks = async {
        sleep(ECHO_ALONE).await;
        knock(server, LOOK_FOR_OWED_EVERY.saturating_sub(began.elapsed())).await
    };
    tokio::pin!(echo, knocks);
    tokio::select! {
        biased;
        echo = &mut echo => match answered(&echo) {
            true => Some(Sign::Echo),
            false => knocks.await.then_some(Sign::Port),
        },
        is_there = &mut knocks => match is_there {
            true => Some(Sign::Port),
            false => answered(&echo.await).then_some(Sign::Echo),
        },
    }
}

/// Whether a host's kernel takes or refuses a connection.
async fn knock(server: SocketAddr, within: Duration) -> bool {
    match timeout(within, TcpStream::connect(server)).await {
        Ok(Ok(_)) => true,
        Ok(Err(error)) => matches!(
            error.kind(),
            ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset
        ),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    use tokio::net::TcpListener;

    use super::*;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    /// What is sent there is discarded, or has no route.
    const NOBODY: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 1)), 3306);

    fn no_echo() -> impl Future<Output = Echo> {
        ready(Echo::NoAnswer(LOOK_FOR_OWED_EVERY))
    }

    fn echo() -> impl Future<Output = Echo> {
        ready(Echo::Answered(Duration::from_millis(1)))
    }

    fn cannot_ping() -> impl Future<Output = Echo> {
        let (because, hint) = (String::new(), String::new());
        ready(Echo::CannotPing { because, hint })
    }

    fn found(ssh: &str, mysql: Reach<crate::core::facts::MysqlFacts>) -> HostFacts {
        HostFacts {
            ssh: Reach::Silent(ssh.to_owned()),
            mysql,
        }
    }

    #[tokio::test]
    async fn a_host_that_answers_no_ping_is_there_once_its_port_takes_or_refuses_a_connection() {
        let listener = TcpListener::bind((HERE, 0)).await.unwrap();
        let taken = listener.local_addr().unwrap();
        let began = Instant::now();
        assert!(!Signs::default().is_dark(no_echo(), taken).await);
        assert!(!Signs::default().is_dark(cannot_ping(), taken).await);
        drop(listener);
        assert!(!Signs::default().is_dark(no_echo(), taken).await, "refused");
        assert!(began.elapsed() < LOOK_FOR_OWED_EVERY * 3, "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn without_any_sign_it_is_dark_and_tried_again_within_half_a_second() {
        let began = Instant::now();
        let mut signs = Signs::default();
        assert!(signs.is_dark(no_echo(), NOBODY).await);
        assert!(signs.is_dark(cannot_ping(), NOBODY).await);
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn whoever_answers_pings_or_looks_is_not_knocked_at() {
        let listener = TcpListener::bind((HERE, 0)).await.unwrap();
        let server = listener.local_addr().unwrap();
        let mut signs = Signs::default();
        assert!(!signs.is_dark(echo(), server).await);
        assert!(
            signs.is_dark(no_echo(), server).await,
            "dark as soon as the echo stays away"
        );
        assert!(
            timeout(Duration::from_millis(50), listener.accept())
                .await
                .is_err()
        );

        assert!(!signs.is_dark(no_echo(), server).await);
        listener.accept().await.unwrap();
        signs.looked(&found("no SSH", Reach::Down("closed".into())));
        assert!(!signs.is_dark(no_echo(), server).await);
        assert!(
            timeout(Duration::from_millis(50), listener.accept())
                .await
                .is_err()
        );

        signs.looked(&found("gone", Reach::Silent("gone".into())));
        drop(listener);
        assert!(signs.is_dark(no_echo(), NOBODY).await);
    }
}
