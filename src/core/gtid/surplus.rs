//! What a returning writer has that the new writer has not. The only answers are nothing, something, or
//! "cannot be told"; the last two keep it out.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{BinlogPosition, MariaPosition, MariaState, MysqlSet, Uuid};

/// What a server can say about the transactions it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum History {
    /// A MariaDB server.
    Mariadb {
        /// Its `server_id`.
        server: u32,
        /// `gtid_binlog_state`.
        state: MariaState,
        /// `gtid_slave_pos`: what it applied, which its own log lacks when it was cloned or logs no replicated writes.
        applied: MariaPosition,
    },
    /// A MySQL server with `gtid_mode` on.
    Mysql {
        /// Its `server_uuid`.
        server: Option<Uuid>,
        /// `gtid_executed`.
        executed: MysqlSet,
    },
    /// A server without GTIDs.
    Files {
        /// The end of its binary log.
        end: Option<BinlogPosition>,
        /// How far it received the log of the server it is compared with.
        received: Option<BinlogPosition>,
    },
    /// A server that cannot tell, and why.
    Untold(String),
}

/// Transactions that one server has and another has not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Surplus {
    /// On MariaDB, ranges of numbers; another server may have written some numbers within a range.
    Mariadb(Vec<MariaRange>),
    /// On MySQL, the exact set.
    Mysql(MysqlSet),
    /// Without GTIDs, a stretch of the binary log.
    Files {
        /// The last place that was received.
        from: BinlogPosition,
        /// Its end.
        to: BinlogPosition,
    },
}

impl Surplus {
    /// How many transactions at most; `None` when only a stretch of the log is known.
    pub fn at_most(&self) -> Option<u64> {
        match self {
            Surplus::Mariadb(ranges) => Some(
                ranges
                    .iter()
                    .fold(0, |sum, range| sum.saturating_add(range.to - range.from + 1)),
            ),
            Surplus::Mysql(set) => Some(set.count()),
            Surplus::Files { .. } => None,
        }
    }
}

impl fmt::Display for Surplus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Surplus::Mariadb(ranges) => {
                for (index, range) in ranges.iter().enumerate() {
                    write!(f, "{}{range}", if index > 0 { ", " } else { "" })?;
                }
                Ok(())
            }
            Surplus::Mysql(set) => write!(f, "{set}"),
            Surplus::Files { from, to } => write!(f, "{from} to {to}"),
        }
    }
}

/// Numbers of one server in one domain, both ends included. Written `0-1-103..105`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MariaRange {
    /// The replication domain.
    pub domain: u32,
    /// The server that wrote them.
    pub server: u32,
    /// The first number.
    pub from: u64,
    /// The last number.
    pub to: u64,
}

impl fmt::Display for MariaRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.domain, self.server, self.from)?;
        if self.to > self.from {
            write!(f, "..{}", self.to)?;
        }
        Ok(())
    }
}

/// The answer to "what has the returning writer that the new writer has not?".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compared {
    /// Nothing: it may follow.
    Nothing,
    /// These transactions: it stays out.
    Extra(Surplus),
    /// It cannot be told, and why: it stays out.
    Unknown(String),
}

impl Compared {
    /// The same, when the two histories were one up to `fork`: on MariaDB numbers rise whoever writes, so those up to
    /// there were written by others and both have them.
    #[must_use]
    pub fn since(self, fork: Option<&MariaPosition>) -> Compared {
        let (Compared::Extra(Surplus::Mariadb(ranges)), Some(fork)) = (&self, fork) else {
            return self;
        };
        let above = |range: &MariaRange| {
            let known = fork.in_domain(range.domain).map_or(0, |gtid| gtid.seq);
            // A range that ends below is none of one history; then nothing is left out.
            let from = if known < range.to {
                range.from.max(known + 1)
            } else {
                range.from
            };
            MariaRange { from, ..*range }
        };
        Compared::Extra(Surplus::Mariadb(ranges.iter().map(above).collect()))
    }
}

/// What `returning` has that `writer` has not.
pub fn compare(returning: &History, writer: &History) -> Compared {
    match (returning, writer) {
        (History::Untold(why), _) | (_, History::Untold(why)) => Compared::Unknown(why.clone()),
        (
            History::Mariadb {
                server,
                state,
                applied,
            },
            History::Mariadb {
                state: written,
                applied: also,
                ..
            },
        ) => compare_mariadb(*server, state, applied, written, also),
        (History::Mysql { server, executed }, History::Mysql { executed: have, .. }) => {
            compare_mysql(*server, executed, have)
        }
        (History::Files { end, .. }, History::Files { received, .. }) => {
            compare_files(end.as_ref(), received.as_ref())
        }
        _ => Compared::Unknown("the two servers number their transactions in different ways".to_owned()),
    }
}

/// What the writer lacks of transactions that another server was once seen to have. That the writer knows more of that
/// server's own by now is no wonder, other than when a server itself returns.
pub fn lacking(had: &History, writer: &History) -> Compared {
    let extra = match (had, writer) {
        (
            History::Mariadb { state, .. },
            History::Mariadb {
                state: written,
                applied,
                ..
            },
        ) => {
            let ranges = extra_mariadb(state, written, applied);
            (!ranges.is_empty()).then_some(Surplus::Mariadb(ranges))
        }
        (History::Mysql { executed, .. }, History::Mysql { executed: have, .. }) => {
            let extra = executed.difference(have);
            (!extra.is_empty()).then_some(Surplus::Mysql(extra))
        }
        (
            History::Files { end: Some(to), .. },
            History::Files {
                received: Some(from), ..
            },
        ) => (from < to).then(|| Surplus::Files {
            from: from.clone(),
            to: to.clone(),
        }),
        _ => return compare(had, writer),
    };
    extra.map_or(Compared::Nothing, Compared::Extra)
}

fn extra_mariadb(state: &MariaState, written: &MariaState, also: &MariaPosition) -> Vec<MariaRange> {
    let has = |domain, server| {
        let applied = also
            .in_domain(domain)
            .filter(|gtid| gtid.server == server)
            .map_or(0, |gtid| gtid.seq);
        written.seq(domain, server).max(applied)
    };
    let extra = state
        .gtids()
        .filter(|gtid| gtid.seq > has(gtid.domain, gtid.server));
    let range = |gtid: super::MariaGtid| MariaRange {
        domain: gtid.domain,
        server: gtid.server,
        from: has(gtid.domain, gtid.server) + 1,
        to: gtid.seq,
    };
    extra.map(range).collect()
}

fn compare_mariadb(
    server: u32,
    state: &MariaState,
    applied: &MariaPosition,
    written: &MariaState,
    also: &MariaPosition,
) -> Compared {
    let ranges = extra_mariadb(state, written, also);
    if !ranges.is_empty() {
        return Compared::Extra(Surplus::Mariadb(ranges));
    }
    // A server that knows fewer of its own writes than others do lost the end of its log in a crash, or had it
    // reset: what it wrote since reuses numbers, so that equal numbers prove nothing. A clone of the new writer is
    // told apart by what it applied.
    let lost = written.gtids().find(|gtid| {
        gtid.server == server
            && gtid.seq > state.seq(gtid.domain, server)
            && applied
                .in_domain(gtid.domain)
                .is_none_or(|reached| reached.seq < gtid.seq)
    });
    match lost {
        Some(gtid) => Compared::Unknown(format!(
            "its own log ends at `{}-{}-{}` but the writer holds its `{gtid}`: the log was cut by a crash or reset",
            gtid.domain,
            gtid.server,
            state.seq(gtid.domain, server),
        )),
        None => Compared::Nothing,
    }
}

fn compare_mysql(server: Option<Uuid>, executed: &MysqlSet, have: &MysqlSet) -> Compared {
    let extra = executed.difference(have);
    if !extra.is_empty() {
        return Compared::Extra(Surplus::Mysql(extra));
    }
    let lost = server
        .map(|uuid| have.of_server(uuid).difference(executed))
        .filter(|lost| !lost.is_empty());
    match lost {
        Some(lost) => Compared::Unknown(format!(
            "the writer holds its `{lost}`, which it has not itself: its log was cut by a crash or reset"
        )),
        None => Compared::Nothing,
    }
}

fn compare_files(end: Option<&BinlogPosition>, received: Option<&BinlogPosition>) -> Compared {
    let (Some(end), Some(received)) = (end, received) else {
        let which = if end.is_none() {
            "the end of its binary log"
        } else {
            "how far the writer received its log"
        };
        return Compared::Unknown(format!("{which} is not known"));
    };
    match end.partial_cmp(received) {
        Some(std::cmp::Ordering::Greater) => Compared::Extra(Surplus::Files {
            from: received.clone(),
            to: end.clone(),
        }),
        Some(std::cmp::Ordering::Equal) => Compared::Nothing,
        Some(std::cmp::Ordering::Less) => Compared::Unknown(format!(
            "its log ends at `{end}` but `{received}` was received from it: the log was cut by a crash or reset"
        )),
        None => Compared::Unknown(format!("`{end}` and `{received}` are of different logs")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mariadb(server: u32, state: &str, applied: &str) -> History {
        History::Mariadb {
            server,
            state: state.parse().unwrap(),
            applied: applied.parse().unwrap(),
        }
    }

    fn extra(compared: Compared) -> Surplus {
        match compared {
            Compared::Extra(surplus) => surplus,
            other => unreachable!("{other:?}"),
        }
    }

    #[test]
    fn the_three_rows_nobody_else_has_are_found() {
        // Measured on a ring: equal positions everywhere, and only the state tells.
        let returning = mariadb(1, "0-1-105,0-2-120", "0-2-120");
        let writer = mariadb(2, "0-1-102,0-2-120", "0-1-102");
        let surplus = extra(compare(&returning, &writer));
        assert_eq!(surplus.to_string(), "0-1-103..105");
        assert_eq!(surplus.at_most(), Some(3));
    }

    #[test]
    fn what_was_seen_earlier_may_be_behind_what_arrived_since() {
        let writer = mariadb(2, "0-1-102", "0-1-102");
        assert_eq!(lacking(&mariadb(1, "0-1-100", ""), &writer), Compared::Nothing);
        assert_eq!(
            extra(lacking(&mariadb(1, "0-1-105", ""), &writer)).to_string(),
            "0-1-103..105"
        );
        let files = |end: &str, received: &str| History::Files {
            end: end.parse().ok(),
            received: received.parse().ok(),
        };
        let against = |end: &str, received: &str| lacking(&files(end, ""), &files("", received));
        assert_eq!(against("bin.000009:90", "bin.000009:100"), Compared::Nothing);
        assert!(matches!(
            against("bin.000009:110", "bin.000009:100"),
            Compared::Extra(_)
        ));
        assert!(matches!(against("bin.000009:110", ""), Compared::Unknown(_)));
    }

    #[test]
    fn a_server_that_only_lags_has_nothing_extra() {
        let writer = mariadb(2, "0-1-102,0-2-120", "0-1-102");
        assert_eq!(
            compare(&mariadb(1, "0-1-102", "0-2-90"), &writer),
            Compared::Nothing
        );
        assert_eq!(
            compare(&mariadb(3, "0-1-50", "0-1-50"), &writer),
            Compared::Nothing
        );
    }

    #[test]
    fn what_the_writer_applied_counts_though_its_log_lacks_it() {
        let writer = mariadb(2, "0-2-120", "0-1-102");
        assert_eq!(compare(&mariadb(1, "0-1-102", ""), &writer), Compared::Nothing);
        assert_eq!(
            extra(compare(&mariadb(1, "0-1-103", ""), &writer)).to_string(),
            "0-1-103"
        );
    }

    #[test]
    fn a_cut_log_is_not_trusted() {
        let writer = mariadb(2, "0-1-102,0-2-120", "0-1-102");
        assert!(matches!(
            compare(&mariadb(1, "0-1-100", "0-2-90"), &writer),
            Compared::Unknown(_)
        ));
        assert!(matches!(
            compare(&mariadb(1, "", ""), &writer),
            Compared::Unknown(_)
        ));
        // Cloned from the new writer since: its log is new, but it applied everything.
        assert_eq!(compare(&mariadb(1, "", "0-2-120"), &writer), Compared::Nothing);
    }

    #[test]
    fn another_domain_is_a_surplus() {
        let writer = mariadb(2, "0-1-102", "");
        assert_eq!(
            extra(compare(&mariadb(1, "0-1-102,7-1-2", ""), &writer)).to_string(),
            "7-1-1..2"
        );
    }

    #[test]
    fn numbers_that_others_wrote_before_the_fork_are_not_counted() {
        // db2 wrote up to 150, then db1 up to 160, of which 155 arrived.
        let compared = compare(
            &mariadb(1, "0-1-160,0-2-150", ""),
            &mariadb(2, "0-1-100,0-2-170", ""),
        );
        assert_eq!(
            extra(compared.clone()).at_most(),
            Some(60),
            "an upper bound without the fork"
        );
        let fork = "0-2-150".parse().unwrap();
        assert_eq!(
            extra(compared.clone().since(Some(&fork))).to_string(),
            "0-1-151..160"
        );
        let elsewhere = "7-2-150".parse().unwrap();
        assert_eq!(compared.clone().since(Some(&elsewhere)), compared);
        let later = "0-2-165".parse().unwrap();
        assert_eq!(
            compared.clone().since(Some(&later)),
            compared,
            "never less than it may be"
        );
        assert_eq!(Compared::Nothing.since(Some(&fork)), Compared::Nothing);
    }

    #[test]
    fn mysql_sets_are_subtracted() {
        let a = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
        let mysql = |numbers: &str| History::Mysql {
            server: Some(a.parse().unwrap()),
            executed: format!("{a}:{numbers}").parse().unwrap(),
        };
        assert_eq!(compare(&mysql("1-5"), &mysql("1-5")), Compared::Nothing);
        assert_eq!(
            extra(compare(&mysql("1-7"), &mysql("1-5"))).to_string(),
            format!("{a}:6-7")
        );
        assert!(matches!(
            compare(&mysql("1-4"), &mysql("1-5")),
            Compared::Unknown(_)
        ));
    }

    #[test]
    fn files_are_compared_by_place() {
        let files = |end: &str, received: &str| History::Files {
            end: end.parse().ok(),
            received: received.parse().ok(),
        };
        let against = |end: &str, received: &str| compare(&files(end, ""), &files("", received));
        assert_eq!(against("bin.000009:100", "bin.000009:100"), Compared::Nothing);
        assert_eq!(
            extra(against("bin.1000000:4", "bin.999999:100")).to_string(),
            "bin.999999:100 to bin.1000000:4"
        );
        for (end, received) in [
            ("bin.000009:90", "bin.000009:100"),
            ("", "bin.000009:1"),
            ("bin.000009:1", ""),
        ] {
            assert!(
                matches!(against(end, received), Compared::Unknown(_)),
                "{end} {received}"
            );
        }
    }

    #[test]
    fn different_numberings_are_not_compared() {
        let files = History::Files {
            end: None,
            received: None,
        };
        assert!(matches!(
            compare(&mariadb(1, "", ""), &files),
            Compared::Unknown(_)
        ));
        assert!(matches!(
            compare(&files, &History::Untold("no".to_owned())),
            Compared::Unknown(_)
        ));
    }

    fn state() -> impl Strategy<Value = MariaState> {
        proptest::collection::btree_map((0u32..2, 1u32..4), 1u64..20, 0..6).prop_map(|map| {
            let entries = map
                .iter()
                .map(|((domain, server), seq)| format!("{domain}-{server}-{seq}"));
            entries.collect::<Vec<_>>().join(",").parse().unwrap()
        })
    }

    proptest! {
        /// "Nothing" is said only when every number of the returning server is held by the writer.
        #[test]
        fn nothing_is_never_said_lightly(returning in state(), written in state()) {
            let ahead = returning.gtids().any(|gtid| gtid.seq > written.seq(gtid.domain, gtid.server));
            let history = |server, state: &MariaState| History::Mariadb {
                server, state: state.clone(), applied: MariaPosition::default(),
            };
            let compared = compare(&history(1, &returning), &history(2, &written));
            prop_assert_eq!(matches!(compared, Compared::Extra(_)), ahead);
            prop_assert_eq!(compare(&history(2, &written), &history(2, &written)), Compared::Nothing);
        }
    }
}
