//! The line on which a run is drawn.

use super::History;
use crate::core::moment::Moment;

/// A gap in which nothing was written down is drawn no longer than this: between a program that was cut off and the one
/// that went on there may be days.
const GAP_AT_MOST_MS: u64 = 10_000;

/// Places moments on a line from 0 to 1, with long gaps cut short.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    /// Every moment that matters, and how far it is from the first, in milliseconds of the axis.
    stops: Vec<(Moment, u64)>,
    /// Whether a gap was cut short.
    pub is_shortened: bool,
}

impl Axis {
    /// The axis of a run.
    pub fn of(history: &History) -> Axis {
        let mut moments = vec![history.began, history.until];
        moments.extend(&history.resumed);
        for span in &history.spans {
            moments.push(span.began);
            moments.extend(span.ended);
        }
        moments.sort();
        moments.dedup();
        let mut axis = Axis {
            stops: Vec::new(),
            is_shortened: false,
        };
        let mut far = 0;
        let mut before = None;
        for moment in moments {
            let gap = before.map_or(0, |before| moment.0 - before);
            axis.is_shortened |= gap > GAP_AT_MOST_MS;
            far += gap.min(GAP_AT_MOST_MS);
            before = Some(moment.0);
            axis.stops.push((moment, far));
        }
        axis
    }

    /// Where a moment is, from 0 to 1.
    pub fn place(&self, moment: Moment) -> f64 {
        let Some((_, length)) = self.stops.last().filter(|(_, length)| *length > 0) else {
            return 0.0;
        };
        let reached = self.stops.iter().take_while(|(stop, _)| *stop <= moment).last();
        reached.map_or(0.0, |(_, far)| *far as f64 / *length as f64)
    }
}
