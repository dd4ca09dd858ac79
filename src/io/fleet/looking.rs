//! Looking at hosts and servers. Nothing here changes anything.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, timeout};

use super::{Fleet, GRACE, out_of_time};
use crate::core::cluster::HostName;
use crate::core::facts::{HostFacts, MysqlFacts, Reach, ShellFacts};
use crate::core::gtid::{BinlogPosition, MysqlSet};
use crate::core::script::{DutyOutcome, DutyReport};
use crate::core::trouble::{Kind, Trouble};
use crate::io::context::Errands;
use crate::sql::shell_facts;

/// Looking at one host over SSH may take so long, connecting included.
const LOOK_WITHIN: Duration = Duration::from_secs(3);
/// Looking at one server over the MySQL protocol may take so long.
const ASK_WITHIN: Duration = Duration::from_secs(2);
/// Asking a server that said nothing when it was last looked at, once more.
const ASK_AGAIN_WITHIN: Duration = Duration::from_millis(500);

impl Fleet {
    /// Looks at every host at once.
    pub async fn look_everywhere(&self) -> BTreeMap<HostName, HostFacts> {
        self.look_except(&[]).await
    }

    /// Looks at every host at once. Some are not waited for: they are only asked whether their server answers after
    /// all. Nor is a host that was silent when it was last looked at, and for a server that said nothing then the wait is short.
    pub async fn look_except(&self, absent: &[HostName]) -> BTreeMap<HostName, HostFacts> {
        let looks = self.hosts.keys().map(|host| async {
            let is_absent = absent.contains(host);
            if !is_absent && !self.is_silent(host) {
                let within = if self.is_mute(host) {
                    ASK_AGAIN_WITHIN
                } else {
                    ASK_WITHIN
                };
                return (host.clone(), self.look_within(host, within).await);
            }
            let mysql = self.ask_within(host, ASK_AGAIN_WITHIN).await;
            let is_still_silent = matches!(mysql, Reach::Silent(_) | Reach::Unasked(_));
            let facts = if is_absent || is_still_silent {
                HostFacts {
                    mysql,
                    ..HostFacts::default()
                }
            } else {
                self.look(host).await
            };
            (host.clone(), facts)
        });
        join_all(looks).await.into_iter().collect()
    }

    /// Looks at one host, over the MySQL protocol and over SSH at once.
    pub async fn look(&self, host: &HostName) -> HostFacts {
        self.look_within(host, ASK_WITHIN).await
    }

    async fn look_within(&self, host: &HostName, within: Duration) -> HostFacts {
        let (mysql, ssh) = tokio::join!(self.ask_within(host, within), self.look_over_ssh(host));
        if let Some(reached) = self
            .hosts
            .get(host)
            .filter(|_| !matches!(mysql, Reach::Unasked(_)))
        {
            let silent = matches!(mysql, Reach::Silent(_)) && ssh.up().is_none();
            reached.silent.store(silent, Ordering::Relaxed);
            let mute = matches!(mysql, Reach::Silent(_) | Reach::Hung(_));
            reached.mute.store(mute, Ordering::Relaxed);
        }
        HostFacts { mysql, ssh }
    }

    /// Whether nothing at all came back when the host was last looked at.
    pub fn is_silent(&self, host: &HostName) -> bool {
        self.hosts
            .get(host)
            .is_some_and(|reached| reached.silent.load(Ordering::Relaxed))
    }

    /// Whether a server said nothing in time when its host was last looked at, whatever the host itself said.
    pub fn is_mute(&self, host: &HostName) -> bool {
        self.hosts
            .get(host)
            .is_some_and(|reached| reached.mute.load(Ordering::Relaxed))
    }

    /// What a server says of itself.
    pub async fn ask(&self, host: &HostName) -> Reach<MysqlFacts> {
        self.ask_within(host, ASK_WITHIN).await
    }

    async fn ask_within(&self, host: &HostName, within: Duration) -> Reach<MysqlFacts> {
        let Some(reached) = self.hosts.get(host) else {
            return Reach::default();
        };
        // Whoever holds the server now waits for an answer himself.
        let deadline = Instant::now() + within;
        let Ok(mut server) = tokio::time::timeout_at(deadline, reached.server.lock()).await else {
            return Reach::Unasked("an earlier question to it is still open".to_owned());
        };
        let facts = server
            .facts(deadline.saturating_duration_since(Instant::now()))
            .await;
        drop(server);
        if let Reach::Up(facts) = &facts {
            *reached.version.lock().await = Some(facts.version);
        }
        facts
    }

    /// The first transaction that a server logged behind that place and does not have from the server with the id `writer`;
    /// `None` when there is none.
    ///
    /// # Errors
    /// Its log could not be read, and why.
    pub async fn logged_since(
        &self,
        host: &HostName,
        place: &BinlogPosition,
        writer: u32,
    ) -> Result<Option<String>, String> {
        let reached = self.hosts.get(host).ok_or("there is no such host")?;
        let mut server = reached.server.lock().await;
        let logged = server.logged_since(place, writer, LOOK_WITHIN).await;
        logged.map_err(|failure| failure.text)
    }

    /// The file of a MySQL server's binary log in which the first of these transactions stands.
    ///
    /// # Errors
    /// It could not be found, and why.
    pub async fn file_with(&self, host: &HostName, set: &MysqlSet) -> Result<String, String> {
        let reached = self.hosts.get(host).ok_or("there is no such host")?;
        let mut server = reached.server.lock().await;
        let file = server.file_with(set, LOOK_WITHIN).await;
        file.map_err(|failure| failure.text)
    }

    /// Whether a server answers at all.
    pub async fn answers(&self, host: &HostName) -> Reach<()> {
        self.answers_within(host, ASK_WITHIN).await
    }

    /// As [`Fleet::answers`], within another time.
    pub async fn answers_within(&self, host: &HostName, within: Duration) -> Reach<()> {
        match self.hosts.get(host) {
            Some(reached) => reached.server.lock().await.answers(within).await,
            None => Reach::default(),
        }
    }

    /// What a host says of itself over SSH.
    pub async fn look_over_ssh(&self, host: &HostName) -> Reach<ShellFacts> {
        let report = match self.glance(host, "facts", &Errands::default(), LOOK_WITHIN).await {
            Ok(report) => report,
            Err(trouble) => return Reach::Silent(format!("{}: {}", trouble.what, trouble.because)),
        };
        match &report.outcome {
            DutyOutcome::Done => match shell_facts::parse(&report.registered) {
                Ok(facts) => Reach::Up(facts),
                Err(why) => Reach::Unasked(why),
            },
            other => Reach::Unasked(format!("the duty `facts` did not end well: {other:?}")),
        }
    }

    /// Performs a duty that declares that it changes nothing, on the host's looking shell.
    ///
    /// # Errors
    /// The host cannot be reached over SSH, or the duty cannot be made ready or makes no such promise.
    pub async fn glance(
        &self,
        host: &HostName,
        duty: &str,
        errand: &Errands<'_>,
        within: Duration,
    ) -> Result<DutyReport, Trouble> {
        if !self.playbook.duties.get(duty).is_none_or(|duty| duty.only_asks) {
            return Err(Trouble::new(
                Kind::Usage,
                format!("duty `{duty}` cannot be used to look at `{host}`"),
                "it does not say `changes: nothing`",
            ));
        }
        let script = self.ready(host, duty, errand, within).await?;
        let reached = self.reached(host)?;
        let looked = timeout(within + GRACE, async {
            let mut looking = reached.looking.lock().await;
            let shell = self.open_in(host, &mut looking).await?;
            Ok(shell.run(&script, Instant::now() + within).await)
        });
        looked.await.unwrap_or_else(|_| Err(out_of_time(host, within)))
    }
}
