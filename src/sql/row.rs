//! A row of an answer, read by column names: their order and number differ from version to version.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One row: column names and values as the server printed them; `None` is SQL's NULL.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Row(pub Vec<(String, Option<String>)>);

impl Row {
    /// The value of the first of these columns that the row has, whatever the case of its name. `None` when it
    /// has none of them or the value is NULL.
    pub fn get(&self, names: &[&str]) -> Option<&str> {
        let column = names.iter().find_map(|name| {
            self.0
                .iter()
                .find(|(column, _)| column.eq_ignore_ascii_case(name))
        })?;
        column.1.as_deref()
    }

    /// Like [`get`](Self::get), where NULL or a missing column is an error.
    ///
    /// # Errors
    /// The row has none of the columns, or the value is NULL.
    pub fn need(&self, names: &[&str]) -> Result<&str, Misread> {
        self.get(names)
            .ok_or_else(|| Misread::new(names, "it is missing"))
    }

    /// A value that must be there, read as something else.
    ///
    /// # Errors
    /// It is missing, NULL, or of another form.
    pub fn read<T: FromStr>(&self, names: &[&str]) -> Result<T, Misread> {
        let text = self.need(names)?;
        text.parse()
            .map_err(|_| Misread::new(names, format!("`{text}` is of an unknown form")))
    }

    /// A value that may be NULL, empty or missing, read as something else.
    ///
    /// # Errors
    /// It is there but of another form.
    pub fn maybe<T: FromStr>(&self, names: &[&str]) -> Result<Option<T>, Misread> {
        match self.get(names) {
            None | Some("") => Ok(None),
            Some(_) => self.read(names).map(Some),
        }
    }

    /// The value of the first column.
    pub fn first(&self) -> Option<&str> {
        self.0.first().and_then(|(_, value)| value.as_deref())
    }
}

/// An answer that could not be understood: which column, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misread {
    /// The column or variable.
    pub column: String,
    /// What is wrong with it.
    pub because: String,
}

impl Misread {
    /// Names the column by the first of its names.
    pub fn new(names: &[&str], because: impl Into<String>) -> Self {
        Misread {
            column: names.first().copied().unwrap_or_default().to_owned(),
            because: because.into(),
        }
    }
}

impl fmt::Display for Misread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "cannot read `{}` in the server's answer: {}",
            self.column, self.because
        )
    }
}

impl std::error::Error for Misread {}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Row {
        let pair = |name: &str, value: Option<&str>| (name.to_owned(), value.map(str::to_owned));
        Row(vec![
            pair("Master_Port", Some("3306")),
            pair("Lag", None),
            pair("Empty", Some("")),
            pair("Word", Some("x")),
        ])
    }

    #[test]
    fn columns_go_by_any_of_their_names() {
        assert_eq!(row().read::<u16>(&["Source_Port", "master_port"]).unwrap(), 3306);
    }

    #[test]
    fn null_missing_and_malformed_are_told_apart() {
        assert_eq!(row().maybe::<u64>(&["Lag"]).unwrap(), None);
        assert_eq!(row().maybe::<u64>(&["Empty"]).unwrap(), None);
        assert_eq!(row().maybe::<u64>(&["Nowhere"]).unwrap(), None);
        assert!(row().maybe::<u64>(&["Word"]).is_err());
        assert!(row().need(&["Lag"]).is_err());
        assert_eq!(row().read::<u16>(&["Nowhere"]).unwrap_err().column, "Nowhere");
    }
}
