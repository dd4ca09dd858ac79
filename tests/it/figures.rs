//! What the repeated runs of one flavour measured, as the row of a table.

use std::fmt;

use lab::Flavour;
use lab::judge::Report;

use super::deaths::{Came, Death};

/// The row.
#[derive(Debug)]
pub struct Figures {
    flavour: Flavour,
    moves: usize,
    /// Least, median and longest write gap of a planned move, in ms.
    gaps_ms: (f64, f64, f64),
    planned_rows: usize,
    killed: Vec<f64>,
    without_power: Vec<f64>,
    unplanned_rows: usize,
    lost: usize,
    back: usize,
    kept_out: usize,
    /// What a writer with rows that nobody else had was kept out for.
    pub surplus: Option<String>,
}

impl Figures {
    /// Of planned moves that were as they must be.
    pub fn of(flavour: Flavour, report: &Report) -> Self {
        Self {
            flavour,
            moves: report.handover_gaps.len(),
            gaps_ms: report.handover_gap_ms().unwrap_or_default(),
            planned_rows: report.acknowledged,
            killed: Vec::new(),
            without_power: Vec::new(),
            unplanned_rows: 0,
            lost: 0,
            back: 0,
            kept_out: 0,
            surplus: None,
        }
    }

    /// A death more.
    pub fn add(&mut self, death: &Death, came: &Came) {
        match death {
            Death::Kill => self.killed.push(came.gap_ms),
            Death::PowerOff => self.without_power.push(came.gap_ms),
        }
        self.unplanned_rows += came.rows;
        self.lost += came.lost;
        match came.kept_out {
            None => self.back += 1,
            Some(_) => self.kept_out += 1,
        }
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let each = |gaps: &[f64]| {
            let gaps: Vec<String> = gaps.iter().map(|gap| format!("{gap:.0}")).collect();
            if gaps.is_empty() {
                "—".to_owned()
            } else {
                gaps.join(", ")
            }
        };
        let (least, median, most) = self.gaps_ms;
        write!(
            f,
            "| {} | {} moves: {least:.0}/{median:.0}/{most:.0}, {} rows | {} | {} | {} rows, {} lost | {} back, {} kept out | {} |",
            self.flavour,
            self.moves,
            self.planned_rows,
            each(&self.killed),
            each(&self.without_power),
            self.unplanned_rows,
            self.lost,
            self.back,
            self.kept_out,
            self.surplus.as_deref().unwrap_or("—"),
        )
    }
}
