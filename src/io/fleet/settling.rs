//! After a connection died in the middle of a step: what the old shell left is verified gone, then one looks.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::{CONNECT_WITHIN, Fleet, GRACE};
use crate::core::cluster::HostName;
use crate::core::run::Settled;
use crate::core::script::{Act, DutyOutcome, Failure};
use crate::io::context::Errands;
use crate::io::shell::Trace;

/// Verifying that what a lost shell left is gone may take so long.
const SETTLE_WITHIN: Duration = Duration::from_secs(10);

impl Fleet {
    /// After an unknown outcome: verifies that the old shell and its SQL connection are gone, then looks whether what
    /// the duty was for holds.
    pub async fn settle(
        &self,
        host: &HostName,
        duty: &str,
        errand: &Errands<'_>,
        within: Duration,
    ) -> Settled {
        let Ok(reached) = self.reached(host) else {
            return Settled::CannotTell;
        };
        let lost = reached.lost.lock().await.clone();
        if let Some(trace) = lost {
            if let Err(why) = self.bury(host, &trace).await {
                tracing::warn!("what an earlier shell left on {host} is not known to be gone: {why}");
                return Settled::CannotTell;
            }
            *reached.lost.lock().await = None;
        }
        let mut script = match self.ready(host, duty, errand, within).await {
            Ok(script) => script,
            Err(trouble) => {
                tracing::warn!("{trouble}");
                return Settled::CannotTell;
            }
        };
        script.steps.retain(|step| matches!(step.act, Act::Verify(_)));
        if script.steps.is_empty() {
            return Settled::DidNotHappen;
        }
        let mut acting = reached.acting.lock().await;
        let Ok(Ok(shell)) = timeout(within + CONNECT_WITHIN, self.open_in(host, &mut acting)).await else {
            return Settled::CannotTell;
        };
        match shell.run(&script, Instant::now() + within + GRACE).await.outcome {
            DutyOutcome::Done => Settled::Happened,
            DutyOutcome::Failed {
                why: Failure::Unexpected(_) | Failure::Status(_),
                ..
            } => Settled::DidNotHappen,
            DutyOutcome::Failed { .. } | DutyOutcome::Expired { .. } | DutyOutcome::Unknown { .. } => {
                Settled::CannotTell
            }
        }
    }

    /// Ends what a lost shell left running, and verifies that it is gone.
    ///
    /// # Errors
    /// Why that is not known.
    pub async fn bury(&self, host: &HostName, trace: &Trace) -> Result<(), String> {
        self.bury_within(host, trace, SETTLE_WITHIN).await
    }

    /// The same, with so much time for each of its duties.
    ///
    /// # Errors
    /// See [`Fleet::bury`].
    pub async fn bury_within(&self, host: &HostName, trace: &Trace, within: Duration) -> Result<(), String> {
        let errand = Errands {
            old: Some(old(trace)),
            ..Errands::default()
        };
        self.done(host, "settle-shell", &errand, within).await?;
        if trace.connection.is_none() {
            return Ok(());
        }
        let Err(why) = self.done(host, "settle-sql", &errand, within).await else {
            return Ok(());
        };
        // A server that is gone has taken its connections along, and cannot be asked about them.
        let gone = self
            .done(host, "server-is-gone", &Errands::default(), within)
            .await;
        gone.map_err(|_| why)
    }

    /// Performs a duty that settles something, and says why it did not end well.
    async fn done(
        &self,
        host: &HostName,
        duty: &str,
        errand: &Errands<'_>,
        within: Duration,
    ) -> Result<(), String> {
        let performed = self.act(host, duty, errand, within).await;
        let report = performed.map_err(|trouble| trouble.because)?;
        match report.outcome {
            DutyOutcome::Done => Ok(()),
            _ => Err(crate::io::conductor::describe(&report)),
        }
    }
}

/// What is left of a shell, as templates name it.
pub fn old(trace: &Trace) -> serde_json::Value {
    serde_json::json!({
        "session": trace.session,
        "tag": trace.tag,
        "connection": trace.connection.unwrap_or(0),
        "marked": u8::from(trace.marked),
        "started": trace.started,
        "boot": trace.boot,
    })
}
