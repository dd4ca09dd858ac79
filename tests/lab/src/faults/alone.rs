//! What a server has that another has not, read from both servers' binary logs and tables: no word of mmm's is in it.
//!
//! Whoever follows a server gets what its log holds, so the log says what it has alone. Its table says the same as long as
//! its disk keeps its word. One that fails does not: MariaDB takes a transaction's rows back when it could not flush its
//! log, and the log may have reached the disk all the same; or the disk calls safe what it then forgets.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Error, Result};

use crate::host::{COMMAND_LIMIT, Host};

/// Decodes the whole log: no host of a scenario ever throws a file of it away. Numbers need not rise in it where two
/// servers wrote at once.
const DECODE: &str = "cd /var/lib/mysql && mariadb-binlog --no-defaults --skip-gtid-strict-mode --verbose \
                      --base64-output=decode-rows $(cat mariadb-bin.index)";

/// A transaction, as MariaDB numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Gtid {
    pub domain: u32,
    pub server: u32,
    pub number: u64,
}

impl FromStr for Gtid {
    type Err = Error;

    fn from_str(text: &str) -> Result<Gtid> {
        let numbers = || {
            let mut parts = text.split('-');
            let gtid = Gtid {
                domain: parts.next()?.parse().ok()?,
                server: parts.next()?.parse().ok()?,
                number: parts.next()?.parse().ok()?,
            };
            parts.next().is_none().then_some(gtid)
        };
        numbers().with_context(|| format!("`{text}` is no transaction's number"))
    }
}

impl fmt::Display for Gtid {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}-{}-{}", self.domain, self.server, self.number)
    }
}

/// The transactions that a text like `0-1-103..105, 0-2-7` names.
pub fn named(text: &str) -> Result<BTreeSet<Gtid>> {
    let mut all = BTreeSet::new();
    for range in text.split(", ") {
        let (first, last) = range.split_once("..").unwrap_or((range, ""));
        let first: Gtid = first.parse()?;
        let last = if last.is_empty() {
            first.number
        } else {
            last.parse()
                .with_context(|| format!("`{range}` names no transactions"))?
        };
        all.extend((first.number..=last).map(|number| Gtid { number, ..first }));
    }
    Ok(all)
}

/// The writer of a row and its id, as text.
pub type Key = (String, String);

/// What a server's log and its table hold.
#[derive(Debug, Default)]
pub struct Holdings {
    server: u32,
    /// Every whole transaction of its log, with the rows that it put into the writers' table.
    log: BTreeMap<Gtid, BTreeSet<Key>>,
    rows: BTreeSet<Key>,
}

impl Holdings {
    pub fn of(host: &Host) -> Result<Holdings> {
        let text = host.run(["sh", "-c", DECODE], COMMAND_LIMIT)?.ok();
        let text = text.with_context(|| format!("the binary log of `{}`", host.name()))?;
        let rows = host.sql("SELECT writer, id FROM app.writes")?;
        let key = |row: Vec<String>| Some((row.first()?.clone(), row.get(1)?.clone()));
        Ok(Holdings {
            server: host.value("SELECT @@server_id")?.parse()?,
            log: logged(&text.stdout)?,
            rows: rows.into_iter().filter_map(key).collect(),
        })
    }
}

/// The whole transactions of a decoded log. One that was cut off by a crash has no end, and nobody applies it.
fn logged(text: &str) -> Result<BTreeMap<Gtid, BTreeSet<Key>>> {
    let mut log = BTreeMap::new();
    let mut open: Option<(Gtid, BTreeSet<Key>)> = None;
    let mut ends_by_itself = true;
    // Of the row that is being read: none while it is of another table, or is not inserted.
    let mut id: Option<String> = None;
    let mut is_ours = false;
    for line in text.lines() {
        if let Some(gtid) = gtid_of(line) {
            log.extend(open.take().filter(|_| ends_by_itself));
            open = Some((gtid?, BTreeSet::new()));
            ends_by_itself = true;
        } else if line.starts_with("START TRANSACTION") {
            ends_by_itself = false;
        } else if line.starts_with("COMMIT") {
            log.extend(open.take());
        } else if let Some(change) = line.strip_prefix("### ") {
            if let Some(value) = change.strip_prefix("  @1=") {
                id = is_ours.then(|| value.to_owned());
            } else if let Some(value) = change.strip_prefix("  @2=") {
                let key = id.take().map(|id| (value.trim_matches('\'').to_owned(), id));
                if let Some((_, rows)) = &mut open {
                    rows.extend(key);
                }
            } else if !change.starts_with([' ', 'S', 'W']) {
                is_ours = change == "INSERT INTO `app`.`writes`";
            }
        }
    }
    log.extend(open.filter(|_| ends_by_itself));
    Ok(log)
}

/// The number in the line that begins a transaction.
fn gtid_of(line: &str) -> Option<Result<Gtid>> {
    let (head, tail) = line.split_once("\tGTID ")?;
    let is_event = head.starts_with('#') && head.contains(" server id ");
    let number = tail.split(' ').next().unwrap_or_default();
    is_event.then(|| number.parse())
}

/// What one server has and the other has not.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Alone {
    /// Transactions of its log.
    pub transactions: BTreeSet<Gtid>,
    /// Those of them whose rows its own table has not.
    pub without_rows: BTreeSet<Gtid>,
    /// Rows of its table that none of these transactions wrote.
    pub unlogged: BTreeSet<Key>,
    /// Transactions that it made, by the other's log, and that its own log has no more.
    pub forgotten: BTreeSet<Gtid>,
}

impl Alone {
    pub fn of(one: &Holdings, other: &Holdings) -> Alone {
        let alone = || one.log.iter().filter(|(gtid, _)| !other.log.contains_key(gtid));
        let lacks_rows = |(_, rows): &(&Gtid, &BTreeSet<Key>)| !rows.is_subset(&one.rows);
        let written: BTreeSet<&Key> = alone().flat_map(|(_, rows)| rows).collect();
        let only_here = one.rows.difference(&other.rows);
        let its_own = other.log.keys().filter(|gtid| gtid.server == one.server);
        Alone {
            transactions: alone().map(|(gtid, _)| *gtid).collect(),
            without_rows: alone().filter(lacks_rows).map(|(gtid, _)| *gtid).collect(),
            unlogged: only_here.filter(|row| !written.contains(row)).cloned().collect(),
            forgotten: its_own
                .filter(|gtid| !one.log.contains_key(gtid))
                .copied()
                .collect(),
        }
    }

    /// How many are named, and what of it is not as on a sound disk, for the table.
    pub fn cell(&self, named: usize) -> String {
        let odd = [
            (self.without_rows.len(), "in the log alone"),
            (self.forgotten.len(), "forgotten"),
        ];
        let odd: Vec<String> = odd
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        match odd.as_slice() {
            [] => named.to_string(),
            odd => format!("{named} ({})", odd.join(", ")),
        }
    }

    /// What is not as it must be of a host, for which mmm names these transactions, or says that its log was cut. Where
    /// its disk failed, its log and its table need not agree.
    pub fn objections(
        &self,
        name: &str,
        named: &BTreeSet<Gtid>,
        is_cut: bool,
        disk_failed: bool,
    ) -> Vec<String> {
        let mut wrong = Vec::new();
        if *named != self.transactions {
            wrong.push(format!(
                "{} of {name} are named, and its log has {} alone",
                some(named),
                some(&self.transactions)
            ));
        }
        if !self.unlogged.is_empty() {
            wrong.push(format!(
                "{name} has {} rows alone that no transaction of its log wrote, such as {:?}",
                self.unlogged.len(),
                self.unlogged.first()
            ));
        }
        if !self.without_rows.is_empty() && !disk_failed {
            wrong.push(format!(
                "the rows of {} are in the log of {name} and not in its table",
                some(&self.without_rows)
            ));
        }
        if !self.forgotten.is_empty() && !disk_failed {
            wrong.push(format!(
                "{name} has forgotten {} of its own",
                some(&self.forgotten)
            ));
        }
        if is_cut == self.forgotten.is_empty() {
            wrong.push(format!(
                "{name} has forgotten {} of its own, and that its log was cut is {}",
                some(&self.forgotten),
                if is_cut { "told" } else { "not told" }
            ));
        }
        wrong
    }
}

/// `0 transactions`, or `3 transactions (0-1-7, …)`.
fn some(gtids: &BTreeSet<Gtid>) -> String {
    let first = gtids.first().map(|first| format!(" ({first}, …)"));
    format!("{} transactions{}", gtids.len(), first.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `mariadb-binlog` prints it, what does not matter left out.
    const DECODED: &str = "\
#261129 21:56:20 server id 1  end_log_pos 299 CRC32 0xc33ff08e \tGtid list [0-1-1517]
#261129 21:56:20 server id 1  end_log_pos 370 CRC32 0x5c11f806 \tGTID 0-1-6 ddl
create table app.writes (id BIGINT)
/*!*/;
#261129 21:56:26 server id 1  end_log_pos 424082 CRC32 0x5c11f806 \tGTID 0-1-7 cid=9 trans
START TRANSACTION
/*!*/;
#Q> INSERT INTO app.writes (id, writer, server_id) VALUES (60, 'keep', 1), (61, 'keep', 1)
### INSERT INTO `app`.`writes`
### SET
###   @1=60
###   @2='keep'
###   @3=1
### INSERT INTO `app`.`writes`
### SET
###   @1=61
###   @2='keep'
###   @3=1
### INSERT INTO `app`.`slips`
### SET
###   @1=1
###   @2='event'
### UPDATE `app`.`writes`
### WHERE
###   @1=60
###   @2='keep'
### SET
###   @1=62
###   @2='keep'
COMMIT/*!*/;
#261129 21:56:26 server id 1  end_log_pos 424182 CRC32 0x5c11f806 \tGTID 0-1-8 trans
START TRANSACTION
/*!*/;
### INSERT INTO `app`.`writes`
### SET
###   @1=63
###   @2='keep'
ROLLBACK /* added by mysqlbinlog */;
";

    fn gtids(text: &str) -> BTreeSet<Gtid> {
        named(text).unwrap()
    }

    fn key(id: u64) -> Key {
        ("keep".to_owned(), id.to_string())
    }

    /// A server whose transactions 0-1-N each wrote the row N.
    fn holdings(server: u32, logged: &[u64], rows: &[u64]) -> Holdings {
        let gtid = |&number: &u64| Gtid {
            domain: 0,
            server: 1,
            number,
        };
        Holdings {
            server,
            log: logged
                .iter()
                .map(|number| (gtid(number), [key(*number)].into()))
                .collect(),
            rows: rows.iter().map(|id| key(*id)).collect(),
        }
    }

    #[test]
    fn transactions_are_counted_over_all_their_ranges() {
        assert_eq!(gtids("0-1-103..105, 0-2-7").len(), 4);
        assert_eq!(gtids("0-1-103..104"), gtids("0-1-103, 0-1-104"));
        for text in ["0-1-x..y", "0-1-3..y", "0-1", "0-1-2-3", ""] {
            assert!(named(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_log_gives_its_whole_transactions_and_the_rows_they_inserted() {
        let log = logged(DECODED).unwrap();
        assert_eq!(
            log.keys().copied().collect::<BTreeSet<_>>(),
            gtids("0-1-6, 0-1-7")
        );
        assert_eq!(log[&"0-1-7".parse().unwrap()], [key(60), key(61)].into());
    }

    #[test]
    fn on_a_sound_disk_log_and_table_say_the_same() {
        let alone = Alone::of(&holdings(1, &[5, 6, 7], &[5, 6, 7]), &holdings(2, &[5], &[5]));
        assert_eq!(alone.transactions, gtids("0-1-6, 0-1-7"));
        assert_eq!(alone.cell(2), "2");
        assert_eq!(alone.objections("db1", &gtids("0-1-6..7"), false, false), [""; 0]);
        let wrong = alone.objections("db1", &gtids("0-1-6"), false, false);
        assert_eq!(
            wrong,
            ["1 transactions (0-1-6, …) of db1 are named, and its log has 2 transactions (0-1-6, …) alone"]
        );
    }

    #[test]
    fn a_transaction_without_its_rows_is_shown_and_only_a_failed_disk_excuses_it() {
        let alone = Alone::of(&holdings(1, &[5, 6], &[5]), &holdings(2, &[5], &[5]));
        assert_eq!(alone.cell(1), "1 (1 in the log alone)");
        assert_eq!(alone.objections("db1", &gtids("0-1-6"), false, true), [""; 0]);
        assert_eq!(
            alone.objections("db1", &gtids("0-1-6"), false, false),
            ["the rows of 1 transactions (0-1-6, …) are in the log of db1 and not in its table"]
        );
        // Nor does the table's word excuse that the log's was not named.
        assert_eq!(alone.objections("db1", &BTreeSet::new(), false, true).len(), 1);
    }

    #[test]
    fn a_row_that_no_transaction_wrote_is_never_excused() {
        let alone = Alone::of(&holdings(1, &[5], &[5, 6]), &holdings(2, &[5], &[5]));
        assert_eq!(alone.cell(0), "0");
        let wrong = alone.objections("db1", &BTreeSet::new(), false, true);
        assert!(
            wrong[0].starts_with("db1 has 1 rows alone that no transaction"),
            "{wrong:?}"
        );
    }

    #[test]
    fn a_log_that_forgot_its_own_must_be_told_to_be_cut() {
        let alone = Alone::of(&holdings(1, &[5], &[5]), &holdings(2, &[5, 6], &[5, 6]));
        assert_eq!(alone.cell(0), "0 (1 forgotten)");
        let objections = |is_cut, disk_failed| {
            alone
                .objections("db1", &BTreeSet::new(), is_cut, disk_failed)
                .len()
        };
        assert_eq!(
            [
                objections(true, true),
                objections(false, true),
                objections(true, false)
            ],
            [0, 1, 1]
        );
        // Of another server's transactions it may simply be behind.
        let behind = Alone::of(&holdings(3, &[5], &[5]), &holdings(2, &[5, 6], &[5, 6]));
        assert_eq!(behind, Alone::default());
    }
}
