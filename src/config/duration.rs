//! Durations as people write them: `500ms`, `2s`, `1m 30s`. A number without a unit is refused.

use std::time::Duration;

/// The longest duration that is accepted: one day. Longer ones are slips, and sums of them must not overflow.
pub const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Why a text is no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadDuration {
    /// A number that lacks its unit.
    #[error("`{0}` has no unit")]
    NoUnit(String),
    /// A unit that does not exist.
    #[error("`{0}` is no unit of time")]
    UnknownUnit(String),
    /// Units must fall: `1m 30s`, not `30s 1m`.
    #[error("`{0}` comes after a smaller or equal unit")]
    Unordered(String),
    /// More than a day.
    #[error("it is longer than a day")]
    TooLong,
    /// No number and unit at all.
    #[error("it is not a number with a unit")]
    Malformed,
}

/// Units with their length in milliseconds.
const UNITS: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];

/// Reads `500ms`, `2s`, `1m 30s`, `1m30s`, `1h`. Whole numbers only; zero is allowed here.
///
/// # Errors
/// Says what keeps the text from being a duration of at most [`LONGEST`].
pub fn parse(text: &str) -> Result<Duration, BadDuration> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(BadDuration::Malformed);
    }
    let mut total_ms: u64 = 0;
    let mut previous_ms = u64::MAX;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let tail = tail.trim_start();
        let letters = tail.find(|c: char| !c.is_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        if number.is_empty() || (unit.is_empty() && !tail.is_empty()) {
            return Err(BadDuration::Malformed);
        }
        if unit.is_empty() {
            return Err(BadDuration::NoUnit(number.to_owned()));
        }
        let Some((_, unit_ms)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(BadDuration::UnknownUnit(unit.to_owned()));
        };
        if *unit_ms >= previous_ms {
            return Err(BadDuration::Unordered(unit.to_owned()));
        }
        previous_ms = *unit_ms;
        let part_ms = number
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(*unit_ms));
        total_ms = part_ms
            .and_then(|part_ms| total_ms.checked_add(part_ms))
            .ok_or(BadDuration::TooLong)?;
        rest = tail.trim_start();
    }
    let total = Duration::from_millis(total_ms);
    if total > LONGEST {
        Err(BadDuration::TooLong)
    } else {
        Ok(total)
    }
}

/// Writes a duration as [`parse`] reads it, to the millisecond.
pub fn format(duration: Duration) -> String {
    let mut left_ms = duration.as_millis();
    let mut parts = Vec::new();
    for (unit, unit_ms) in UNITS.iter().rev() {
        let count = left_ms / u128::from(*unit_ms);
        if count > 0 {
            parts.push(format!("{count}{unit}"));
            left_ms %= u128::from(*unit_ms);
        }
    }
    if parts.is_empty() {
        "0s".to_owned()
    } else {
        parts.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_people_write() {
        for (text, ms) in [
            ("500ms", 500),
            ("2s", 2_000),
            ("1m 30s", 90_000),
            ("1m30s", 90_000),
            ("1 h", 3_600_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(ms)), "{text}");
        }
    }

    #[test]
    fn says_why_not() {
        assert_eq!(parse("5"), Err(BadDuration::NoUnit("5".into())));
        assert_eq!(parse("5 sec"), Err(BadDuration::UnknownUnit("sec".into())));
        assert_eq!(parse("5S"), Err(BadDuration::UnknownUnit("S".into())));
        assert_eq!(parse("30s 1m"), Err(BadDuration::Unordered("m".into())));
        assert_eq!(parse("1s 1s"), Err(BadDuration::Unordered("s".into())));
        assert_eq!(parse("25h"), Err(BadDuration::TooLong));
        assert_eq!(parse("99999999999999999999s"), Err(BadDuration::TooLong));
        for text in ["", "-1s", "1.5s", "s", "soon", "5 5s", "1,5s"] {
            assert_eq!(parse(text), Err(BadDuration::Malformed), "{text}");
        }
    }

    proptest! {
        #[test]
        fn format_is_read_back(ms in 0u64..=86_400_000) {
            let duration = Duration::from_millis(ms);
            prop_assert_eq!(parse(&format(duration)), Ok(duration));
        }

        #[test]
        fn never_panics(text in ".{0,20}") {
            let _ = parse(&text);
        }
    }
}
