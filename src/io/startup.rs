//! How a monitor begins: in which mode, after what was cut off has been settled, and with which writer. What hosts say
//! about the writer is compared first; where they contradict each other nothing is touched.

use crate::core::cluster::{HostName, StartMode};
use crate::core::event::Event;
use crate::core::evidence::Rung;
use crate::core::guard::{self, Facts, Guard};
use crate::core::maintenance;
use crate::core::mode::{Deed, Mode};
use crate::core::standing::{Owed, Standing};
use crate::core::startup::{self, StartRule, Verdict};
use crate::core::trouble::Trouble;
use crate::io::clock;
use crate::io::hold::Hold;
use crate::io::lock::LocalLock;
use crate::io::operation::Performer;
use crate::io::settle;

/// Who changed a mode that the inventory names.
const INVENTORY: &str = "`start.mode` in the inventory";
/// Who changed a mode, or replaced a writer, because of what was found.
const START: &str = "the start of the monitor";

impl Performer<'_> {
    /// Begins with the cluster: enters the mode that the inventory wants, and, unless that is passive, settles what was
    /// cut off and finds out who the writer is.
    ///
    /// # Errors
    /// When the lock is held elsewhere, or a cut-off run cannot be settled.
    pub async fn start_up(&self) -> Result<Standing, Trouble> {
        let mut standing = self.dir.load()?;
        if let StartMode::Always(mode) = self.fleet.entry().cluster.start.mode
            && mode != standing.mode
        {
            let because = match mode {
                Mode::Passive | Mode::Wait => vec![format!("{INVENTORY} says so")],
                Mode::Active | Mode::Manual => Vec::new(),
            };
            let (left, entered) = self.change_mode(None, mode, INVENTORY, because).await?;
            self.tell_mode(left, &entered);
            standing = entered;
        }
        if !standing.mode.allows(Deed::Settle) {
            return Ok(standing);
        }
        self.take_stock().await
    }

    /// As a monitor does when it starts: settles what was cut off, makes replaced writers harmless that are back, and
    /// finds out who the writer is.
    ///
    /// # Errors
    /// When the lock is held elsewhere, or a cut-off run cannot be settled.
    pub async fn take_stock(&self) -> Result<Standing, Trouble> {
        if let Err(trouble) = self.dir.prepare() {
            self.alarm(&trouble);
        }
        let hold = Hold::take_for_failover(self.fleet, &self.dir, START, self.lock_wait, &[]).await?;
        let begun = self.start_up_held().await;
        self.fleet.cool().await;
        hold.release().await;
        begun
    }

    async fn start_up_held(&self) -> Result<Standing, Trouble> {
        let mut standing = self.dir.load()?;
        if !standing.mode.allows(Deed::Settle) {
            return Ok(standing);
        }
        let facts = self.fleet.look_everywhere().await;
        let facts = settle::open_runs(self, &mut standing, facts).await?;
        if standing.hands_off.is_some() {
            return Ok(standing);
        }
        let cluster = &self.fleet.entry().cluster;
        let claims = startup::claims(cluster, &standing, &facts);
        let (rule, verdict) = startup::decide(&claims, cluster.start.careful);
        match verdict {
            Verdict::Keep if rule.is_conflict() => self.tell_start(
                rule,
                "as much speaks for one as for the other, so the record stands as it is",
            ),
            Verdict::Keep => {}
            Verdict::Adopt(writer) => {
                self.take_for_writer(&mut standing, facts.clone(), rule, &writer)
                    .await;
            }
            Verdict::Conflict => {
                self.tell_start(
                    rule,
                    "the cluster is put into passive mode; `mmm show` has who claims what",
                );
                let left = standing.mode;
                standing.enter(Mode::Passive, START, startup::table(rule, &claims));
                self.tell_mode(left, &standing);
                self.remember(&mut standing);
            }
        }
        if self.by_itself {
            settle::chores(self, &standing, &facts).await;
        }
        Ok(standing)
    }

    /// Another box, or a person, may have moved the role since this box last looked: whoever alone takes writes, and holds
    /// the address, is the writer. Called with the lock held.
    pub(super) async fn believe_the_hosts(&self, standing: &mut Standing, facts: &Facts) {
        let claims = startup::claims(&self.fleet.entry().cluster, standing, facts);
        if let Some((rule, writer)) = startup::shown_instead(&claims) {
            self.take_for_writer(standing, facts.clone(), rule, &writer).await;
        }
    }

    /// Writes down that `writer` is the writer, and that others must be compared before they serve again.
    async fn take_for_writer(
        &self,
        standing: &mut Standing,
        mut facts: Facts,
        rule: StartRule,
        writer: &HostName,
    ) {
        // Looked at in the same instant, a host that follows may show what the writer wrote a moment after its own look.
        let again = self.fleet.look(writer).await;
        if again.mysql.up().is_some() {
            facts.insert(writer.clone(), again);
        }
        let is_news = standing.writer.as_ref() != Some(writer);
        for host in startup::to_compare(&self.fleet.entry().cluster, standing, &facts, writer) {
            let answers = facts.get(&host).is_some_and(|seen| seen.mysql.up().is_some());
            standing.owed.entry(host).or_insert_with(|| {
                Owed::now(
                    clock::now(),
                    START,
                    if answers { Rung::Demote } else { Rung::Silence },
                )
            });
        }
        if rule == StartRule::S08 {
            self.teller.tell(Event::RuleChanged {
                rule: rule.to_string(),
                sentence: format!("{} ({writer})", rule.sentence()),
            });
        } else {
            let instead = match &standing.writer {
                Some(stored) if is_news => format!(" instead of {stored}"),
                Some(_) | None => String::new(),
            };
            self.tell_start(rule, &format!("{writer} is taken for the writer{instead}"));
        }
        standing.writer = Some(writer.clone());
        self.remember(standing);
    }

    /// Settles what was cut off, and makes sure that the standing names a writer if one can be seen.
    ///
    /// # Errors
    /// When the lock is held elsewhere, or a cut-off run cannot be settled.
    pub async fn adopt(&self) -> Result<Standing, Trouble> {
        self.dir.prepare()?;
        let hold = Hold::take(
            self.fleet,
            &self.dir,
            "a look at who the writer is",
            self.lock_wait,
        )
        .await?;
        let found = self.adopt_held().await;
        self.fleet.cool().await;
        hold.release().await;
        found
    }

    async fn adopt_held(&self) -> Result<Standing, Trouble> {
        let mut standing = self.dir.load()?;
        if !self.may(&standing, Deed::Adopt) {
            return Ok(standing);
        }
        let facts = self.fleet.look_everywhere().await;
        let facts = settle::open_runs(self, &mut standing, facts).await?;
        if standing.writer.is_none() {
            standing.writer = guard::observed_writer(&self.fleet.entry().cluster, &facts);
            if standing.writer.is_some() {
                self.remember(&mut standing);
            }
        }
        Ok(standing)
    }

    /// Goes from wait to active mode. A person who has chosen another mode meanwhile is not overruled.
    ///
    /// # Errors
    /// When the lock is held elsewhere, or the standing cannot be read.
    pub async fn activate(&self, because: &str) -> Result<(), Trouble> {
        let by = format!("the monitor, since {because}");
        self.change_mode(Some(Mode::Wait), Mode::Active, &by, Vec::new())
            .await
            .map(drop)
    }

    /// Changes the mode under the lock of this box, which is all that a mode concerns; only from the mode `from`, if one
    /// is given. Tells the mode before, and what stands then. What cannot be written down is remembered.
    async fn change_mode(
        &self,
        from: Option<Mode>,
        to: Mode,
        by: &str,
        because: Vec<String>,
    ) -> Result<(Mode, Standing), Trouble> {
        if let Err(trouble) = self.dir.prepare() {
            self.alarm(&trouble);
        }
        let _lock = match LocalLock::take(&self.dir, "a change of mode", self.lock_wait).await {
            Ok(lock) => Some(lock),
            Err(trouble) if trouble.what.starts_with("another operation") => return Err(trouble),
            Err(trouble) => {
                tracing::error!("{trouble}");
                None
            }
        };
        let mut standing = self.dir.load()?;
        let left = standing.mode;
        if from.is_none_or(|from| from == left) && standing.enter(to, by, because) {
            self.remember(&mut standing);
        }
        Ok((left, standing))
    }

    /// Whether this may be done in the mode that stands now: a person may do anything, a monitor what its mode allows.
    pub(super) fn may(&self, standing: &Standing, deed: Deed) -> bool {
        !self.by_itself || standing.allows(deed)
    }

    /// As [`Performer::may`], for what a monitor tells about when it was not begun.
    ///
    /// # Errors
    /// Refused, when it may not.
    pub(super) fn permit(&self, standing: &Standing, deed: Deed) -> Result<(), Trouble> {
        if self.may(standing, deed) {
            return Ok(());
        }
        let cluster = &self.fleet.entry().cluster.name;
        if let Some(downtime) = &standing.downtime {
            let what = format!("nothing was done to `{cluster}`");
            let because = maintenance::words("the cluster", downtime);
            return Err(Trouble::refused(Guard::G81, what, because));
        }
        Err(Trouble::refused(
            Guard::G03,
            format!("nothing was done to `{cluster}`"),
            format!("it has been put into {} mode meanwhile", standing.mode),
        ))
    }

    fn tell_mode(&self, from: Mode, entered: &Standing) {
        if from != entered.mode {
            self.teller.tell(Event::ModeChanged {
                from,
                to: entered.mode,
                by: entered.mode_by.clone(),
            });
        }
    }

    fn tell_start(&self, rule: StartRule, consequence: &str) {
        self.teller.tell(Event::Alarm {
            what: format!("{rule}: {}: {consequence}", rule.sentence()),
            hint: rule.lifted_by().to_owned(),
        });
    }
}
