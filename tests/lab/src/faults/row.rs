//! What came of a scenario, and the table.

use std::fmt::Write as _;

use super::{Policy, Scenario};

/// What came of one scenario under one policy.
#[derive(Clone, Debug, Default)]
pub struct Row {
    pub scenario: String,
    pub policy: String,
    /// What was decided.
    pub decided: String,
    /// By which rule or guard.
    pub by: String,
    /// What held the old writer down.
    pub rung: String,
    /// The longest time without an acknowledged write, in ms.
    pub longest_gap_ms: Option<f64>,
    /// Acknowledged rows that the last writer has not, by the judge.
    pub lost: Option<usize>,
    /// How many transactions mmm said right after the failover were lost at least.
    pub told: String,
    /// How many transactions mmm says the old writer has alone, and what its failed disk made of them.
    pub named: String,
    /// How long two servers took writes at the same time, in ms.
    pub overlap_ms: Option<f64>,
    /// Everything that is not as it must be.
    pub wrong: Vec<String>,
}

impl Row {
    pub fn of(scenario: &Scenario, policy: Policy) -> Row {
        Row {
            scenario: scenario.says.to_owned(),
            policy: policy.to_string(),
            ..Row::default()
        }
    }

    pub fn is_right(&self) -> bool {
        self.wrong.is_empty()
    }
}

/// The table.
pub fn markdown(rows: &[Row]) -> String {
    let mut text = String::from(
        "| scenario | policy | decided | by | rung | longest time without a write, ms | lost, by the judge \
         | told after it, at least | named by mmm | two writers, ms | verdict |\n|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    let number = |value: Option<f64>| value.map_or_else(|| "—".to_owned(), |value| format!("{value:.0}"));
    for row in rows {
        let verdict = if row.is_right() {
            "as expected".to_owned()
        } else {
            format!("**WRONG**: {}", row.wrong.join("; "))
        };
        let cells = [
            row.scenario.clone(),
            row.policy.clone(),
            row.decided.clone(),
            row.by.clone(),
            row.rung.clone(),
            number(row.longest_gap_ms),
            row.lost.map_or_else(|| "—".to_owned(), |lost| lost.to_string()),
            row.told.clone(),
            row.named.clone(),
            number(row.overlap_ms),
            verdict,
        ];
        // Writing to a string never fails.
        let _always = writeln!(
            text,
            "| {} |",
            cells
                .map(|cell| cell.replace('|', "/").replace('\n', " "))
                .join(" | ")
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_one_line_whatever_it_says() {
        let row = Row {
            decided: "held | back".to_owned(),
            wrong: vec!["a\nb".to_owned()],
            ..Row::default()
        };
        let text = markdown(&[row]);
        assert_eq!(text.lines().count(), 3);
        assert!(text.ends_with("| **WRONG**: a b |\n"), "{text}");
    }
}
