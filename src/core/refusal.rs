//! The last refusal of a cluster: what was asked for, by which guard it was refused, and what lifts that. Kept so that
//! `show` names the guard to people who did not see the command's own words: cron's, a pipeline's, a colleague's.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::guard::Guard;
use super::moment::Moment;
use super::trouble::Trouble;

/// A refusal is told for so long, unless something has been done since.
const TOLD_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// A refusal by a guard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// When.
    pub at: Moment,
    /// What was asked for, or that a monitor wanted it.
    pub asked: String,
    /// What did not happen.
    pub what: String,
    /// Why.
    pub because: String,
    /// The guard.
    pub guard: Guard,
    /// Its sentence.
    pub sentence: String,
    /// What lifts it.
    pub hint: String,
}

impl Refusal {
    /// What is kept of a trouble; none when no guard refused.
    pub fn of(at: Moment, asked: &str, trouble: &Trouble) -> Option<Refusal> {
        let guard = trouble.guard?;
        Some(Refusal {
            at,
            asked: asked.to_owned(),
            what: trouble.what.clone(),
            because: trouble.because.clone(),
            guard,
            sentence: guard.sentence().to_owned(),
            hint: trouble.hint.clone(),
        })
    }

    /// Whether it is still worth telling.
    pub fn is_news(&self, now: Moment) -> bool {
        now.since(self.at) < TOLD_FOR
    }

    /// For people, in one line.
    pub fn words(&self) -> String {
        let Refusal {
            at,
            asked,
            because,
            guard,
            sentence,
            ..
        } = self;
        let because = because.split_whitespace().collect::<Vec<_>>().join(" ");
        format!("{at} {asked}: {guard} {sentence}: {because}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_guard_is_named_with_what_lifts_it() {
        for guard in Guard::ALL {
            let trouble = Trouble::refused(*guard, "it was not begun", "of\nthis");
            let refusal = Refusal::of(Moment(1), "switchover", &trouble).unwrap();
            assert_eq!(
                refusal.words(),
                format!("{} switchover: {guard} {}: of this", Moment(1), guard.sentence())
            );
            assert_eq!(refusal.hint, guard.lifted_by());
        }
        let failed = Trouble::new(crate::core::trouble::Kind::Wrong, "it failed", "of this");
        assert_eq!(Refusal::of(Moment(1), "switchover", &failed), None);
    }

    #[test]
    fn it_is_told_for_a_day() {
        let trouble = Trouble::refused(Guard::G05, "it was not begun", "of this");
        let refusal = Refusal::of(Moment(1), "switchover", &trouble).unwrap();
        let day_ms = u64::try_from(TOLD_FOR.as_millis()).unwrap();
        assert!(refusal.is_news(Moment(day_ms)));
        assert!(!refusal.is_news(Moment(day_ms + 1)));
    }
}
