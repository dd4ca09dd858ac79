//! MariaDB's GTIDs: `domain-server-seq`.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::{Unreadable, as_text};

/// One transaction's number: `0-1-100`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MariaGtid {
    /// The replication domain, a stream of its own.
    pub domain: u32,
    /// The server that first wrote it.
    pub server: u32,
    /// Its number; rises within the domain, whoever writes.
    pub seq: u64,
}

impl fmt::Display for MariaGtid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.domain, self.server, self.seq)
    }
}

impl FromStr for MariaGtid {
    type Err = Unreadable;

    fn from_str(text: &str) -> Result<Self, Unreadable> {
        let wrong = || Unreadable::new(text, "a MariaDB GTID is `DOMAIN-SERVER-SEQ`, three numbers");
        let mut parts = text.split('-');
        let mut next = || {
            parts
                .next()
                .filter(|part| part.bytes().all(|byte| byte.is_ascii_digit()))
                .ok_or_else(wrong)
        };
        let (domain, server, seq) = (next()?, next()?, next()?);
        if parts.next().is_some() {
            return Err(wrong());
        }
        Ok(MariaGtid {
            domain: domain.parse().map_err(|_| wrong())?,
            server: server.parse().map_err(|_| wrong())?,
            seq: seq.parse().map_err(|_| wrong())?,
        })
    }
}

as_text!(MariaGtid);

/// The last transaction of each domain: `gtid_binlog_pos`, `gtid_slave_pos`, `gtid_current_pos`, `Gtid_IO_Pos`.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct MariaPosition(BTreeMap<u32, MariaGtid>);

impl MariaPosition {
    /// The last transaction of a domain.
    pub fn in_domain(&self, domain: u32) -> Option<MariaGtid> {
        self.0.get(&domain).copied()
    }

    /// Every domain's last transaction, by domain.
    pub fn gtids(&self) -> impl Iterator<Item = MariaGtid> {
        self.0.values().copied()
    }

    /// Whether nothing has been written or applied yet.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The later of both in each domain, by number.
    #[must_use]
    pub fn or_later(&self, other: &MariaPosition) -> MariaPosition {
        let mut later = self.clone();
        for gtid in other.gtids() {
            let have = later.0.entry(gtid.domain).or_insert(gtid);
            if have.seq < gtid.seq {
                *have = gtid;
            }
        }
        later
    }

    /// Whether it is at or past `other` in every domain of `other`, by number. Says nothing about who wrote:
    /// only [`compare`](super::compare) finds a fork.
    pub fn reaches(&self, other: &MariaPosition) -> bool {
        other.gtids().all(|wanted| {
            self.in_domain(wanted.domain)
                .is_some_and(|have| have.seq >= wanted.seq)
        })
    }
}

impl fmt::Display for MariaPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_list(f, self.gtids())
    }
}

impl FromStr for MariaPosition {
    type Err = Unreadable;

    fn from_str(text: &str) -> Result<Self, Unreadable> {
        let mut position = BTreeMap::new();
        for gtid in read_list(text) {
            let gtid = gtid?;
            if position.insert(gtid.domain, gtid).is_some() {
                return Err(Unreadable::new(text, "one domain stands in it twice"));
            }
        }
        Ok(MariaPosition(position))
    }
}

as_text!(MariaPosition);

/// The last transaction of each domain *and* server: `gtid_binlog_state`. The only one of MariaDB's variables
/// in which a fork shows.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct MariaState(BTreeMap<(u32, u32), u64>);

impl MariaState {
    /// The highest number a server wrote in a domain; 0 when it wrote none.
    pub fn seq(&self, domain: u32, server: u32) -> u64 {
        self.0.get(&(domain, server)).copied().unwrap_or(0)
    }

    /// Every domain's and server's last transaction, by domain, then server.
    pub fn gtids(&self) -> impl Iterator<Item = MariaGtid> {
        self.0
            .iter()
            .map(|(&(domain, server), &seq)| MariaGtid { domain, server, seq })
    }

    /// The same with these transactions in it, and so with all before them of the same server.
    #[must_use]
    pub fn with(mut self, gtids: impl IntoIterator<Item = MariaGtid>) -> MariaState {
        for gtid in gtids {
            let seq = self.0.entry((gtid.domain, gtid.server)).or_insert(0);
            *seq = gtid.seq.max(*seq);
        }
        self
    }

    /// The same without what that server logged.
    #[must_use]
    pub fn without(mut self, server: u32) -> MariaState {
        self.0.retain(|(_, wrote), _| *wrote != server);
        self
    }

    /// The last transaction of each domain, whoever wrote it.
    pub fn newest(&self) -> MariaPosition {
        let mut newest: BTreeMap<u32, MariaGtid> = BTreeMap::new();
        for gtid in self.gtids() {
            let last = newest.entry(gtid.domain).or_insert(gtid);
            if gtid.seq > last.seq {
                *last = gtid;
            }
        }
        MariaPosition(newest)
    }

    /// Whether nothing was ever logged.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for MariaState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_list(f, self.gtids())
    }
}

impl FromStr for MariaState {
    type Err = Unreadable;

    fn from_str(text: &str) -> Result<Self, Unreadable> {
        let mut state = BTreeMap::new();
        for gtid in read_list(text) {
            let gtid = gtid?;
            if state.insert((gtid.domain, gtid.server), gtid.seq).is_some() {
                return Err(Unreadable::new(text, "one domain and server stand in it twice"));
            }
        }
        Ok(MariaState(state))
    }
}

as_text!(MariaState);

/// Blanks and line breaks may stand around each entry, as in the servers' own output.
fn read_list(text: &str) -> impl Iterator<Item = Result<MariaGtid, Unreadable>> {
    let whole = text.trim();
    whole
        .split(',')
        .filter(move |_| !whole.is_empty())
        .map(|entry| entry.trim().parse())
}

fn write_list(f: &mut fmt::Formatter<'_>, gtids: impl Iterator<Item = MariaGtid>) -> fmt::Result {
    for (index, gtid) in gtids.enumerate() {
        if index > 0 {
            f.write_str(",")?;
        }
        write!(f, "{gtid}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_position_has_one_entry_a_domain() {
        let position: MariaPosition = "0-1-100,5-2-7".parse().unwrap();
        assert_eq!(
            position.in_domain(5),
            Some(MariaGtid {
                domain: 5,
                server: 2,
                seq: 7
            })
        );
        assert_eq!(position.in_domain(1), None);
        assert!("0-1-100,0-2-101".parse::<MariaPosition>().is_err());
    }

    #[test]
    fn a_state_has_one_entry_a_domain_and_server() {
        let state: MariaState = "0-2-101,\n0-1-100".parse().unwrap();
        assert_eq!((state.seq(0, 1), state.seq(0, 2), state.seq(0, 3)), (100, 101, 0));
        assert_eq!(state.to_string(), "0-1-100,0-2-101");
        assert!("0-1-100,0-1-101".parse::<MariaState>().is_err());
    }

    #[test]
    fn a_state_can_be_raised_and_has_a_newest_transaction_in_each_domain() {
        let state: MariaState = "0-1-100,0-2-90,5-1-1".parse().unwrap();
        assert_eq!(state.newest().to_string(), "0-1-100,5-1-1");
        let more = "0-2-120,0-1-80".parse::<MariaState>().unwrap();
        let state = state.with(more.gtids().collect::<Vec<_>>());
        assert_eq!(state.to_string(), "0-1-100,0-2-120,5-1-1");
        assert_eq!(state.newest().to_string(), "0-2-120,5-1-1");
    }

    #[test]
    fn nothing_is_the_empty_text() {
        assert!("".parse::<MariaPosition>().unwrap().is_empty());
        assert!(" ".parse::<MariaState>().unwrap().is_empty());
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "0-1",
            "0-1-2-3",
            "a-1-2",
            "0-1-2,",
            "-1-2",
            "0--2",
            "0-1-+2",
            "4294967296-1-1",
        ] {
            assert!(text.parse::<MariaState>().is_err(), "{text}");
        }
    }

    #[test]
    fn reaching_needs_every_domain() {
        let at = |text: &str| text.parse::<MariaPosition>().unwrap();
        assert!(at("0-2-101,1-1-5").reaches(&at("0-1-100")));
        assert!(!at("0-2-101").reaches(&at("0-1-100,1-1-5")));
        assert!(!at("0-1-99").reaches(&at("0-1-100")));
        assert!(at("").reaches(&at("")));
    }

    proptest! {
        #[test]
        fn text_goes_there_and_back(state in proptest::collection::btree_map((0u32..4, 0u32..4), 0u64.., 0..8)) {
            let state = MariaState(state);
            prop_assert_eq!(state.to_string().parse::<MariaState>().unwrap(), state);
        }

        #[test]
        fn no_text_panics(text in "[0-9,\\- a]{0,20}") {
            let _ = text.parse::<MariaState>();
            let _ = text.parse::<MariaPosition>();
        }
    }
}
