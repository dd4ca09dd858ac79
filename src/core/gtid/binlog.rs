//! Binary log coordinates. Files are compared by number: `bin.1000000` comes after `bin.999999`.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use super::{Unreadable, as_text};

/// A place in a server's binary log. Written `mysql-bin.000003:1234`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct BinlogPosition {
    stem: String,
    number: u64,
    /// Offset in the file, in bytes.
    pub position: u64,
}

impl BinlogPosition {
    /// From a file name as the server prints it and an offset in bytes.
    ///
    /// # Errors
    /// The file name does not end in a dot and a number.
    pub fn new(file: &str, position: u64) -> Result<Self, Unreadable> {
        let (stem, digits) = file
            .rsplit_once('.')
            .ok_or_else(|| Unreadable::new(file, "a binary log is named `NAME.NUMBER`"))?;
        if stem.is_empty() || digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Unreadable::new(file, "a binary log is named `NAME.NUMBER`"));
        }
        let number = digits
            .parse()
            .map_err(|_| Unreadable::new(file, "its number is too large"))?;
        Ok(BinlogPosition {
            stem: stem.to_owned(),
            number,
            position,
        })
    }

    /// The file's name as servers write it: at least six digits.
    pub fn file(&self) -> String {
        format!("{}.{:06}", self.stem, self.number)
    }

    /// The number in the file's name.
    pub fn number(&self) -> u64 {
        self.number
    }
}

impl PartialOrd for BinlogPosition {
    /// `None` when the files have different names: such positions are of different logs.
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self.stem == other.stem).then(|| (self.number, self.position).cmp(&(other.number, other.position)))
    }
}

impl fmt::Display for BinlogPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}:{}", self.stem, self.number, self.position)
    }
}

impl FromStr for BinlogPosition {
    type Err = Unreadable;

    fn from_str(text: &str) -> Result<Self, Unreadable> {
        let (file, position) = text
            .rsplit_once(':')
            .ok_or_else(|| Unreadable::new(text, "expected `FILE:POSITION`"))?;
        let position = position
            .parse()
            .map_err(|_| Unreadable::new(text, "its offset is not a number"))?;
        BinlogPosition::new(file, position)
    }
}

as_text!(BinlogPosition);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> BinlogPosition {
        text.parse().unwrap()
    }

    #[test]
    fn files_compare_by_number() {
        assert!(at("bin.999999:900") < at("bin.1000000:4"));
        assert!(at("bin.000009:900") < at("bin.000010:4"));
        assert!(at("bin.000009:900") < at("bin.000009:1000"));
    }

    #[test]
    fn different_logs_do_not_compare() {
        assert_eq!(at("a.000001:4").partial_cmp(&at("b.000001:4")), None);
    }

    #[test]
    fn text_goes_there_and_back() {
        for text in ["mysql-bin.000003:1234", "host.domain-bin.1000000:4"] {
            assert_eq!(at(text).to_string(), text);
        }
        assert_eq!(at("x.y.000007:1").file(), "x.y.000007");
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "mysql-bin",
            "mysql-bin.abc:4",
            ".000001:4",
            "bin.000001:",
            "bin.99999999999999999999999:4",
        ] {
            assert!(text.parse::<BinlogPosition>().is_err(), "{text}");
        }
    }
}
