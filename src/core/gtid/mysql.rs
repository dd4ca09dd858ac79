//! MySQL's GTID sets: `uuid[:tag]:1-5:7`.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::{Unreadable, as_text};

/// Numbers are below 2^63 - 1 on every version.
const LAST: u64 = (1 << 63) - 2;

/// A server's `server_uuid`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid(u128);

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = format!("{:032x}", self.0);
        write!(
            f,
            "{}-{}-{}-{}-{}",
            &hex[..8],
            &hex[8..12],
            &hex[12..16],
            &hex[16..20],
            &hex[20..]
        )
    }
}

impl FromStr for Uuid {
    type Err = Unreadable;

    fn from_str(text: &str) -> Result<Self, Unreadable> {
        let wrong = || Unreadable::new(text, "a server's UUID is 32 hexadecimal digits in five groups");
        let groups: Vec<&str> = text.split('-').collect();
        if !groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
            || !groups
                .iter()
                .all(|group| group.bytes().all(|byte| byte.is_ascii_hexdigit()))
        {
            return Err(wrong());
        }
        u128::from_str_radix(&groups.concat(), 16)
            .map(Uuid)
            .map_err(|_| wrong())
    }
}

as_text!(Uuid);

/// A tag within a server's numbers (MySQL 8.3 and later); empty for plain GTIDs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Tag(String);

impl Tag {
    fn read(text: &str) -> Result<Self, Unreadable> {
        let wellformed = text.len() <= 32
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            && text.bytes().next().is_some_and(|byte| !byte.is_ascii_digit());
        if !wellformed {
            return Err(Unreadable::new(text, "neither an interval nor a tag"));
        }
        Ok(Tag(text.to_ascii_lowercase()))
    }
}

/// Numbers `from` to `to`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Interval {
    /// The first number, at least 1.
    pub from: u64,
    /// The last number.
    pub to: u64,
}

/// A set of MySQL transactions: `gtid_executed`, `gtid_purged`, `Retrieved_Gtid_Set`.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct MysqlSet(
    /// Intervals are sorted, disjoint and never adjacent; no list is empty.
    BTreeMap<(Uuid, Tag), Vec<Interval>>,
);

impl MysqlSet {
    /// Whether it holds no transaction.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many transactions it holds.
    pub fn count(&self) -> u64 {
        self.0.values().flatten().fold(0, |sum, interval| {
            sum.saturating_add(interval.to - interval.from + 1)
        })
    }

    /// Everything that is in either.
    pub fn union(&self, other: &MysqlSet) -> MysqlSet {
        let mut all = self.0.clone();
        for (key, intervals) in &other.0 {
            all.entry(key.clone()).or_default().extend(intervals);
        }
        all.values_mut()
            .for_each(|intervals| *intervals = normalised(std::mem::take(intervals)));
        MysqlSet(all)
    }

    /// Everything that is in this one and not in `other`.
    pub fn difference(&self, other: &MysqlSet) -> MysqlSet {
        let left = self.0.iter().filter_map(|(key, mine)| {
            let theirs = other.0.get(key).map_or(&[][..], Vec::as_slice);
            let rest = without(mine, theirs);
            (!rest.is_empty()).then(|| (key.clone(), rest))
        });
        MysqlSet(left.collect())
    }

    /// Whether every transaction of `other` is in this one.
    pub fn contains(&self, other: &MysqlSet) -> bool {
        other.difference(self).is_empty()
    }

    /// The transactions of one server, with every tag.
    pub fn of_server(&self, uuid: Uuid) -> MysqlSet {
        let own = self.0.iter().filter(|((server, _), _)| *server == uuid);
        MysqlSet(
            own.map(|(key, intervals)| (key.clone(), intervals.clone()))
                .collect(),
        )
    }
}

impl fmt::Display for MysqlSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last = None;
        for ((uuid, tag), intervals) in &self.0 {
            if last != Some(uuid) {
                write!(f, "{}{uuid}", if last.is_some() { "," } else { "" })?;
                last = Some(uuid);
            }
            if *tag != Tag::default() {
                write!(f, ":{}", tag.0)?;
            }
            for interval in intervals {
                write!(f, ":{}", interval.from)?;
                if interval.to > interval.from {
                    write!(f, "-{}", interval.to)?;
                }
            }
        }
        Ok(())
    }
}

impl FromStr for MysqlSet {
    type Err = Unreadable;

    /// Line breaks and blanks may stand around each part, as in the servers' own output.
    fn from_str(text: &str) -> Result<Self, Unreadable> {
        let mut set: BTreeMap<(Uuid, Tag), Vec<Interval>> = BTreeMap::new();
        for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            let mut parts = entry.split(':').map(str::trim);
            let uuid: Uuid = parts.next().unwrap_or_default().parse()?;
            let mut tag = Tag::default();
            let mut numbered = false;
            for part in parts {
                if part.starts_with(|first: char| first.is_ascii_digit()) {
                    set.entry((uuid, tag.clone()))
                        .or_default()
                        .push(read_interval(part)?);
                    numbered = true;
                } else {
                    tag = Tag::read(part)?;
                    numbered = false;
                }
            }
            if !numbered {
                return Err(Unreadable::new(entry, "it ends without an interval"));
            }
        }
        set.values_mut()
            .for_each(|intervals| *intervals = normalised(std::mem::take(intervals)));
        Ok(MysqlSet(set))
    }
}

as_text!(MysqlSet);

fn read_interval(text: &str) -> Result<Interval, Unreadable> {
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let number = |digits: &str| {
        let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
        digits
            .parse::<u64>()
            .ok()
            .filter(|number| plain && (1..=LAST).contains(number))
    };
    match (number(from), number(to)) {
        (Some(from), Some(to)) if from <= to => Ok(Interval { from, to }),
        (Some(_), Some(_)) => Err(Unreadable::new(text, "it ends before it starts")),
        _ => Err(Unreadable::new(
            text,
            "an interval is `FROM-TO` or one number, from 1 on",
        )),
    }
}

fn normalised(mut intervals: Vec<Interval>) -> Vec<Interval> {
    intervals.sort_unstable();
    let mut merged: Vec<Interval> = Vec::with_capacity(intervals.len());
    for interval in intervals {
        match merged.last_mut() {
            Some(last) if interval.from <= last.to + 1 => last.to = last.to.max(interval.to),
            _ => merged.push(interval),
        }
    }
    merged
}

/// Both lists are normalised; so is the answer.
fn without(mine: &[Interval], theirs: &[Interval]) -> Vec<Interval> {
    let mut rest = Vec::new();
    for interval in mine {
        let mut from = interval.from;
        for taken in theirs
            .iter()
            .filter(|taken| taken.to >= interval.from && taken.from <= interval.to)
        {
            if taken.from > from {
                rest.push(Interval {
                    from,
                    to: taken.from - 1,
                });
            }
            from = taken.to + 1;
        }
        if from <= interval.to {
            rest.push(Interval {
                from,
                to: interval.to,
            });
        }
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const A: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
    const B: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429563";

    fn set(text: &str) -> MysqlSet {
        text.parse().unwrap()
    }

    #[test]
    fn intervals_are_merged_and_sorted() {
        let text = format!("{B}:1,\n{}:7:1-3:4-5", A.to_uppercase());
        assert_eq!(set(&text).to_string(), format!("{A}:1-5:7,{B}:1"));
        assert_eq!(set(&text).count(), 7);
    }

    #[test]
    fn tags_are_streams_of_their_own() {
        let tagged = set(&format!("{A}:1-3:Batch_1:1-2:9"));
        assert_eq!(tagged.to_string(), format!("{A}:1-3:batch_1:1-2:9"));
        assert_eq!(
            tagged.difference(&set(&format!("{A}:1-9"))).to_string(),
            format!("{A}:batch_1:1-2:9")
        );
    }

    #[test]
    fn a_server_is_picked_out() {
        let both = set(&format!("{A}:1-3,{B}:1"));
        assert_eq!(both.of_server(B.parse().unwrap()).to_string(), format!("{B}:1"));
    }

    #[test]
    fn nonsense_is_refused() {
        for rest in [
            "",
            ":",
            ":0",
            ":5-3",
            ":1-",
            ":-3",
            ":tag",
            ":1:tag",
            ":1:9tag",
            ":1-2-3",
            ":1:+2",
            ":9223372036854775807",
        ] {
            assert!(format!("{A}{rest}").parse::<MysqlSet>().is_err(), "{rest}");
        }
        assert!("3e11fa4771ca11e19e33c80aa9429562:1".parse::<MysqlSet>().is_err());
    }

    /// The same set as plain numbers, so that every law is checked against std's own sets.
    fn numbers() -> impl Strategy<Value = BTreeSet<(bool, u64)>> {
        proptest::collection::btree_set((any::<bool>(), 1u64..24), 0..30)
    }

    fn build(numbers: &BTreeSet<(bool, u64)>) -> MysqlSet {
        let entries = numbers
            .iter()
            .map(|(b, number)| format!("{}:{number}", if *b { B } else { A }));
        set(&entries.collect::<Vec<_>>().join(","))
    }

    proptest! {
        #[test]
        fn sets_behave_as_sets(left in numbers(), right in numbers()) {
            let (l, r) = (build(&left), build(&right));
            prop_assert_eq!(l.union(&r), build(&left.union(&right).copied().collect()));
            prop_assert_eq!(l.difference(&r), build(&left.difference(&right).copied().collect()));
            prop_assert_eq!(l.contains(&r), left.is_superset(&right));
            prop_assert_eq!(l.count(), left.len() as u64);
            prop_assert_eq!(set(&l.to_string()), l);
        }

        #[test]
        fn no_text_panics(text in "[0-9a-f:,_ -]{0,40}") {
            let _ = text.parse::<MysqlSet>();
        }
    }
}
