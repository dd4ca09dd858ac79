//! From single probe results to a verdict that does not flicker: a check must keep failing for its trap period.
//!
//! Unlike MMM's, a latch always publishes recovery. An unknown result in between neither clears nor restarts the timer
//! of a failing check, and it never is what makes it failed: whoever refuses us lives. Unknown for a whole trap period, the
//! timer starts over.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::moment::Moment;

/// What one probe said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckResult {
    /// All is well, with a few words.
    Ok(String),
    /// The thing checked is broken or gone.
    Error(String),
    /// The probe could not tell (limits, wrong password, missing privilege): never taken for a failure.
    Unknown(String),
}

impl CheckResult {
    /// The words that came with it.
    pub fn message(&self) -> &str {
        match self {
            CheckResult::Ok(text) | CheckResult::Error(text) | CheckResult::Unknown(text) => text,
        }
    }
}

/// The verdict that decisions rest on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// No probe has said anything definite yet.
    Untested,
    /// The last definite result was good, or has not been bad for long enough.
    Ok,
    /// Bad for at least the trap period.
    Failed,
}

/// A monitor that begins this soon after the last probe of another, on top of the trap period, goes on counting.
const RESTART_WITHIN: Duration = Duration::from_secs(10);

/// One check of one host over time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latch {
    /// The verdict in force.
    pub verdict: Verdict,
    /// Since when every definite result has been bad.
    pub failing_since: Option<Moment>,
    /// When the verdict last changed.
    pub changed_at: Option<Moment>,
    /// What the newest probe said, whatever it was.
    pub last: Option<CheckResult>,
    /// When that was.
    #[serde(default)]
    pub heard_at: Option<Moment>,
    /// When a probe last found all well.
    #[serde(default)]
    pub ok_at: Option<Moment>,
    /// When a probe last found it bad.
    #[serde(default)]
    pub bad_at: Option<Moment>,
    /// Since when no probe could tell.
    #[serde(default)]
    pub blind_since: Option<Moment>,
    /// Whether that has lasted for the trap period.
    #[serde(skip)]
    blind: bool,
    /// The verdict that an earlier monitor came to; none once a probe has said something definite.
    #[serde(skip)]
    inherited: Option<Verdict>,
}

impl Default for Latch {
    fn default() -> Self {
        Latch {
            verdict: Verdict::Untested,
            failing_since: None,
            changed_at: None,
            last: None,
            heard_at: None,
            ok_at: None,
            bad_at: None,
            blind_since: None,
            blind: false,
            inherited: None,
        }
    }
}

impl Latch {
    /// A latch of an earlier monitor. Its timers go on, but no check is failed before a probe of this monitor fails.
    pub fn inherit(mut self) -> Latch {
        self.inherited = Some(self.verdict);
        if self.verdict == Verdict::Failed {
            self.verdict = Verdict::Untested;
        }
        self
    }

    /// What the next monitor inherits: the verdict that is known, which may be another monitor's still.
    pub fn left_behind(&self) -> Latch {
        Latch {
            verdict: self.known(),
            inherited: None,
            ..self.clone()
        }
    }

    /// Everything but what each probe changes.
    pub fn outline(&self) -> (Verdict, Option<Moment>, Option<Moment>) {
        (self.known(), self.failing_since, self.changed_at)
    }

    /// The verdict in force, or an earlier monitor's until this one has its own.
    pub fn known(&self) -> Verdict {
        match self.verdict {
            Verdict::Untested => self.inherited.unwrap_or(Verdict::Untested),
            Verdict::Ok | Verdict::Failed => self.verdict,
        }
    }

    /// Takes in one result; returns the new verdict if it changed.
    pub fn observe(&mut self, now: Moment, result: CheckResult, trap_after: Duration) -> Option<Verdict> {
        // Nobody knows whether it went on failing while nobody asked for long.
        let is_long_ago = |heard_at| now.since(heard_at) > trap_after + RESTART_WITHIN;
        if self.inherited.is_some() && self.heard_at.is_none_or(is_long_ago) {
            self.failing_since = None;
        }
        self.heard_at = Some(now);
        let known = self.known();
        if matches!(result, CheckResult::Unknown(_)) {
            self.blind_since.get_or_insert(now);
        } else {
            self.inherited = None;
            self.blind_since = None;
        }
        match &result {
            CheckResult::Ok(_) => {
                self.failing_since = None;
                self.ok_at = Some(now);
            }
            CheckResult::Error(_) => {
                self.failing_since.get_or_insert(now);
                self.bad_at = Some(now);
            }
            // For a whole trap period nothing bad was seen, and nothing good: what began to fail starts over.
            CheckResult::Unknown(_)
                if self.inherited.is_none()
                    && self.is_suspect()
                    && self.bad_at.is_none_or(|at| now.since(at) > trap_after) =>
            {
                self.failing_since = None;
            }
            CheckResult::Unknown(_) => {}
        }
        let good = matches!(result, CheckResult::Ok(_));
        self.last = Some(result);
        if good {
            self.change(now, known, Verdict::Ok)
        } else {
            self.fail(now, known, trap_after)
        }
    }

    /// Lets time pass; a check that has been failing for `trap_after` becomes failed without waiting for a probe, unless
    /// the newest one could not tell.
    pub fn tick(&mut self, now: Moment, trap_after: Duration) -> Option<Verdict> {
        self.fail(now, self.known(), trap_after)
    }

    /// Whether no probe has been able to tell for the whole trap period: nothing is decided on this check then.
    pub fn is_blind(&self) -> bool {
        self.blind
    }

    /// Lets time pass; says when that begins or ends. It never is while the reason lies elsewhere: not `counts`.
    pub fn blink(&mut self, now: Moment, trap_after: Duration, counts: bool) -> Option<bool> {
        if !counts {
            self.blind_since = None;
        }
        let blind = self
            .blind_since
            .is_some_and(|since| now.since(since) >= trap_after);
        (blind != std::mem::replace(&mut self.blind, blind)).then_some(blind)
    }

    fn fail(&mut self, now: Moment, known: Verdict, trap_after: Duration) -> Option<Verdict> {
        let since = self.failing_since?;
        let is_bad = matches!(self.last, Some(CheckResult::Error(_)));
        if self.inherited.is_some() || !is_bad || now.since(since) < trap_after {
            return None;
        }
        self.change(now, known, Verdict::Failed)
    }

    /// Forgets a failure that has not lasted for its trap period: what was seen so far may have had another reason.
    pub fn start_over(&mut self) {
        if self.verdict != Verdict::Failed {
            self.failing_since = None;
        }
    }

    /// True while it is on the way to being failed: suspect, and the newest probe was bad. One that could not tell
    /// since has shown that somebody lives there.
    pub fn is_failing_now(&self) -> bool {
        self.is_suspect() && matches!(self.last, Some(CheckResult::Error(_)))
    }

    /// True while results are bad but the trap period has not passed.
    pub fn is_suspect(&self) -> bool {
        self.failing_since.is_some() && self.verdict != Verdict::Failed
    }

    fn change(&mut self, now: Moment, known: Verdict, to: Verdict) -> Option<Verdict> {
        self.verdict = to;
        if known == to {
            return None;
        }
        self.changed_at = Some(now);
        Some(to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRAP: Duration = Duration::from_secs(4);

    fn ok() -> CheckResult {
        CheckResult::Ok("fine".into())
    }
    fn error() -> CheckResult {
        CheckResult::Error("gone".into())
    }
    fn unknown() -> CheckResult {
        CheckResult::Unknown("too many connections".into())
    }

    #[test]
    fn fails_only_after_the_trap_period() {
        let mut latch = Latch::default();
        assert_eq!(latch.observe(Moment(0), ok(), TRAP), Some(Verdict::Ok));
        assert_eq!(latch.observe(Moment(1_000), error(), TRAP), None);
        assert!(latch.is_suspect());
        assert_eq!(latch.observe(Moment(4_999), error(), TRAP), None);
        assert_eq!(latch.tick(Moment(5_000), TRAP), Some(Verdict::Failed));
        assert_eq!(latch.observe(Moment(6_000), error(), TRAP), None);
    }

    #[test]
    fn recovery_is_always_published() {
        // MMM lost the recovery after failed, unknown, short error, ok.
        let mut latch = Latch::default();
        latch.observe(Moment(0), error(), TRAP);
        assert_eq!(latch.observe(Moment(4_000), error(), TRAP), Some(Verdict::Failed));
        latch.observe(Moment(5_000), unknown(), TRAP);
        latch.observe(Moment(6_000), error(), TRAP);
        assert_eq!(latch.observe(Moment(6_100), ok(), TRAP), Some(Verdict::Ok));
    }

    #[test]
    fn alternating_unknown_and_error_still_traps() {
        let mut latch = Latch::default();
        latch.observe(Moment(0), ok(), TRAP);
        for second in 1..=4 {
            latch.observe(
                Moment(second * 1_000),
                if second % 2 == 1 { error() } else { unknown() },
                TRAP,
            );
        }
        assert_eq!(latch.observe(Moment(5_000), error(), TRAP), Some(Verdict::Failed));
    }

    #[test]
    fn one_error_followed_by_refusals_never_fails_a_check() {
        let mut latch = Latch::default();
        latch.observe(Moment(0), error(), TRAP);
        for second in 1..100 {
            assert_eq!(latch.observe(Moment(second * 1_000), unknown(), TRAP), None);
            assert_eq!(latch.tick(Moment(second * 1_000 + 500), TRAP), None);
            assert!(!latch.is_failing_now());
        }
        assert_eq!(latch.observe(Moment(100_000), error(), TRAP), None);
        assert_eq!(latch.tick(Moment(104_000), TRAP), Some(Verdict::Failed));
    }

    #[test]
    fn unknown_alone_never_fails_a_check() {
        let mut latch = Latch::default();
        latch.observe(Moment(0), ok(), TRAP);
        for second in 1..100 {
            assert_eq!(latch.observe(Moment(second * 1_000), unknown(), TRAP), None);
        }
        assert_eq!(latch.verdict, Verdict::Ok);
    }

    /// As it is read from disk by the next monitor.
    fn inherited(latch: &Latch) -> Latch {
        let text = serde_json::to_string(&latch.left_behind()).unwrap();
        serde_json::from_str::<Latch>(&text).unwrap().inherit()
    }

    #[test]
    fn an_inherited_latch_goes_on_but_fails_only_by_a_probe_of_its_own() {
        let mut latch = Latch::default();
        latch.observe(Moment(0), ok(), TRAP);
        latch.observe(Moment(1_000), error(), TRAP);
        let mut next = inherited(&latch);
        assert_eq!(next.tick(Moment(9_000), TRAP), None);
        assert_eq!(next.observe(Moment(9_000), unknown(), TRAP), None);
        assert_eq!(next.tick(Moment(9_000), TRAP), None);
        assert_eq!(next.observe(Moment(9_100), error(), TRAP), Some(Verdict::Failed));
        assert_eq!(next.changed_at, Some(Moment(9_100)));
        // Nobody asked for an hour: it may have been well meanwhile.
        let mut next = inherited(&latch);
        assert_eq!(next.observe(Moment(3_600_000), unknown(), TRAP), None);
        assert_eq!(next.observe(Moment(3_600_100), error(), TRAP), None);
        assert_eq!(next.tick(Moment(3_604_100), TRAP), Some(Verdict::Failed));
    }

    #[test]
    fn an_inherited_failure_is_no_news_and_its_end_is() {
        let mut latch = Latch::default();
        latch.observe(Moment(0), error(), TRAP);
        latch.observe(Moment(4_000), error(), TRAP);
        let mut next = inherited(&latch);
        assert_eq!((next.verdict, next.known()), (Verdict::Untested, Verdict::Failed));
        assert_eq!(
            inherited(&next).known(),
            Verdict::Failed,
            "a monitor that saw nothing"
        );
        assert_eq!(next.observe(Moment(5_000), error(), TRAP), None);
        assert_eq!(
            (next.verdict, next.changed_at),
            (Verdict::Failed, Some(Moment(4_000)))
        );
        let mut next = inherited(&latch);
        assert_eq!(next.observe(Moment(5_000), ok(), TRAP), Some(Verdict::Ok));
    }
}
