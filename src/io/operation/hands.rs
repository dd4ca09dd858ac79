//! The conductor's hands in the real world.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::core::cluster::HostName;
use crate::core::event::Event;
use crate::core::guard::{self};
use crate::core::run::Settled;
use crate::core::script::{DutyOutcome, DutyReport};
use crate::io::conductor::{Errand, Hands};
use crate::io::context::Errands;
use crate::io::fleet::Fleet;
use crate::io::inquest;
use crate::io::journal::{Entry, Journal};
use crate::io::teller::Teller;

/// The conductor's hands in the real world.
pub(super) struct RealHands<'f> {
    pub(super) fleet: &'f Fleet,
    pub(super) teller: &'f Teller,
    pub(super) journal: std::sync::Mutex<Journal>,
    pub(super) address: Option<IpAddr>,
    pub(super) gtid: bool,
    pub(super) born: Instant,
}

impl RealHands<'_> {
    fn errands<'e>(&self, errand: &'e Errand<'_>) -> Errands<'e> {
        Errands {
            address: self.address,
            source: errand.stage.source.as_ref(),
            registered: Some(errand.registered),
            with: Some(&errand.stage.with),
            gtid: self.gtid,
            environment: None,
            old: None,
        }
    }
}

impl Hands for RealHands<'_> {
    async fn perform(&self, errand: Errand<'_>) -> DutyReport {
        let errands = self.errands(&errand);
        let on_box = errand.stage.seat == crate::core::playbook::Seat::Monitor;
        let began = Instant::now();
        let performed = if on_box {
            self.fleet
                .act_on_box(errand.host, errand.duty, &errands, errand.stage.within)
                .await
        } else {
            self.fleet
                .act(errand.host, errand.duty, &errands, errand.stage.within)
                .await
        };
        performed.unwrap_or_else(|trouble| DutyReport {
            duty: errand.duty.to_owned(),
            // A question that reached nobody was not answered with no.
            outcome: if errand.stage.only_asks {
                DutyOutcome::Unknown {
                    why: format!("{}: {}", trouble.what, trouble.because),
                }
            } else {
                DutyOutcome::Failed {
                    step: trouble.what,
                    why: crate::core::script::Failure::Unexpected(trouble.because),
                }
            },
            steps: Vec::new(),
            registered: BTreeMap::new(),
            took: began.elapsed(),
        })
    }

    async fn look(&self, errand: Errand<'_>) -> Settled {
        let errands = self.errands(&errand);
        self.fleet
            .settle(errand.host, errand.duty, &errands, errand.stage.within)
            .await
    }

    async fn lost_lock(&self) -> Option<String> {
        self.fleet.lost_lock().await
    }

    async fn still_answers(&self, fenced: &HostName) -> Option<String> {
        inquest::still_answers(self.fleet, fenced).await
    }

    async fn rival(&self, host: &HostName) -> Option<String> {
        if let Some(why) = self.fleet.regain_lock(host).await {
            return Some(why);
        }
        let facts = self.fleet.look_except(std::slice::from_ref(host)).await;
        let rival = guard::another_writable(&facts, host)?;
        Some(format!("{rival} accepts writes meanwhile"))
    }

    async fn replaced(&self, writer: &HostName) -> Option<String> {
        if let Some(why) = self.lost_lock().await {
            return Some(why);
        }
        let facts = self.fleet.look_except(std::slice::from_ref(writer)).await;
        let cluster = &self.fleet.entry().cluster;
        let refused = guard::could_not_have_been_replaced(cluster, &facts, writer).err()?;
        Some(format!(
            "it may have been replaced meanwhile: {}",
            refused.because
        ))
    }

    fn note(&self, entry: Entry) {
        self.journal
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .append(entry);
    }

    fn unwritten(&self) -> Option<String> {
        let journal = self
            .journal
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        journal.trouble().map(str::to_owned)
    }

    fn tell(&self, event: Event) {
        self.teller.tell(event);
    }

    fn elapsed(&self) -> Duration {
        self.born.elapsed()
    }

    async fn pause(&self, span: Duration) {
        tokio::time::sleep(span).await;
    }
}
