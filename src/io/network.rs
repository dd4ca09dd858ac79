//! Whether this box's own network answers, asked of addresses beyond the clusters: a box that is cut off takes everybody
//! else for dead.

use std::net::IpAddr;
use std::time::Duration;

use futures_util::future::select_ok;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use crate::core::checks::Echo;
use crate::core::guard::Guard;
use crate::core::trouble::{Kind, Trouble};
use crate::io::ping;

/// The network is asked this often.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// One echo is waited for so long, so that a silent network is known before a check has failed for its trap period.
const ECHO_WITHIN: Duration = Duration::from_millis(300);
/// So many echoes in a row must be lost at every address: a single one may be.
const ECHOES: u32 = 3;

/// The addresses that tell whether this box is cut off. None at all tell nothing.
#[derive(Debug, Clone, Default)]
pub struct Network(Vec<IpAddr>);

/// A network that is asked again and again until the last of these is dropped.
#[derive(Debug, Clone)]
pub struct NetworkWatch {
    /// What is asked.
    pub network: Network,
    /// Whether it answers.
    pub answers: watch::Receiver<bool>,
}

impl Network {
    /// The network that these addresses stand for. Those that this box may not ping are left out.
    ///
    /// # Errors
    /// Wrong: there are addresses, and this box may ping none of them. Without them, it can be told from nothing that
    /// it is cut off.
    pub fn of(addresses: &[IpAddr]) -> Result<Network, Trouble> {
        let allowed: Vec<IpAddr> = addresses
            .iter()
            .copied()
            .filter(|ip| ping::may_ping(*ip))
            .collect();
        if allowed.is_empty() && !addresses.is_empty() {
            return Err(Trouble::new(
                Kind::Wrong,
                "the ping addresses cannot be asked, so this box will not know when it is cut off",
                "it may not send ICMP echo requests",
            )
            .hint(ping::HINT));
        }
        Ok(Network(allowed))
    }

    /// Whether any address answers; also when there is none to ask.
    pub async fn answers(&self) -> bool {
        if self.0.is_empty() {
            return true;
        }
        let asked = self.0.iter().map(|ip| Box::pin(answers(*ip)));
        select_ok(asked).await.is_ok()
    }

    /// Asks it before something is begun.
    ///
    /// # Errors
    /// Refused: none of the addresses answers.
    pub async fn require(&self, what: &str) -> Result<(), Trouble> {
        if self.answers().await {
            return Ok(());
        }
        Err(Trouble::refused(
            Guard::G02,
            format!("{what} was not begun"),
            "none of the ping addresses answers: this box may be cut off",
        ))
    }

    /// Asks it again and again; returns once it has been asked for the first time.
    pub async fn watch(self) -> NetworkWatch {
        let (tell, answers) = watch::channel(self.answers().await);
        let network = self.clone();
        tokio::spawn(async move {
            if self.0.is_empty() {
                // Nothing to ask; the channel stays open for those who wait on it.
                tell.closed().await;
            }
            let mut rounds = interval(ASK_EVERY);
            rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while !tell.is_closed() {
                rounds.tick().await;
                let now = self.answers().await;
                tell.send_if_modified(|known| std::mem::replace(known, now) != now);
            }
        });
        NetworkWatch { network, answers }
    }
}

/// Whether one address answers one of several echoes.
async fn answers(address: IpAddr) -> Result<(), ()> {
    for _ in 0..ECHOES {
        let began = Instant::now();
        if let Echo::Answered(_) = ping::ping(address, ECHO_WITHIN).await {
            return Ok(());
        }
        // Without a route the answer comes at once, and there may be one a moment later.
        sleep_until(began + ECHO_WITHIN).await;
    }
    Err(())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    /// What is sent there is discarded, or has no route: nobody answers.
    const NOBODY: Ipv6Addr = Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 1);
    const SELF: [u8; 4] = [127, 0, 0, 1];

    #[tokio::test]
    async fn without_addresses_it_always_answers() {
        let network = Network::of(&[]).unwrap();
        assert!(network.answers().await);
        network.require("x").await.unwrap();
        let watch = network.watch().await;
        assert!(*watch.answers.borrow());
    }

    #[tokio::test]
    async fn one_address_that_answers_is_enough_and_none_refuses() {
        // Unprivileged builds may not ping; then there is nothing to see here but that it says so.
        let Ok(network) = Network::of(&[NOBODY.into(), SELF.into()]) else {
            assert!(!ping::may_ping(SELF.into()));
            return;
        };
        assert!(network.answers().await);
        let silent = Network::of(&[NOBODY.into()]).unwrap();
        let refused = silent.require("switchover of `c`").await.unwrap_err();
        assert_eq!((refused.kind, refused.guard), (Kind::Refused, Some(Guard::G02)));
        assert!(refused.because.contains("ping addresses"), "{refused}");
        assert!(!*silent.watch().await.answers.borrow());
    }
}
