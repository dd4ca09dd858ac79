//! How often and how long things are tried: MMM's seconds, held against what a duration can be here.

use super::blocks::Block;
use super::meaning::{Check, Maker};
use super::remarks::{self, Slot};
use super::texts::Said;
use super::words::{CHECKS, Kind};
use crate::config::duration;

/// Keys of checks: MMM's, and ours.
const TIMING: [(&str, &str); 4] = [
    ("check_period", "every"),
    ("trap_period", "trap_after"),
    ("timeout", "timeout"),
    ("max_backlog", "max_backlog"),
];

impl Maker<'_> {
    /// Whether a number of seconds can be a duration of ours.
    pub fn within_a_day(&mut self, key: &str, said: &Said) -> bool {
        let most = duration::LONGEST.as_secs();
        let fits = said.text.parse::<u64>().is_ok_and(|seconds| seconds <= most);
        if !fits {
            let because = "longer times are taken for slips";
            let hint = format!("write at most `{most}` seconds");
            self.error(&said.at, format!("`{key}` is more than a day"), because, hint);
        }
        fits
    }

    /// What is said about the checks, in the order in which the inventory has them.
    pub fn checks(&mut self) -> Option<Vec<Check>> {
        let mut checks = Vec::new();
        let mut good = true;
        let blocks: Vec<&Block> = self
            .pages
            .blocks
            .iter()
            .filter(|block| block.kind == Kind::Check)
            .collect();
        for block in &blocks {
            let mut timing = Vec::new();
            for (former, now) in TIMING {
                let Some(said) = block.get(former) else { continue };
                if former == "max_backlog" && !matches!(block.name(), "default" | "rep_backlog") {
                    let remark = remarks::misplaced_backlog(block.name(), said, &blocks);
                    self.remarks.push((Slot::Checks, remark));
                } else if said.text.bytes().all(|byte| byte == b'0') {
                    let hint = "write at least `1`";
                    let because = "a time of nothing would be over before anything is known";
                    self.error(&said.at, format!("`{former}` is 0"), because, hint);
                    good = false;
                } else if !self.within_a_day(former, said) {
                    good = false;
                } else {
                    timing.push((now, said.clone()));
                }
            }
            if let Some(name) = block.name.clone().filter(|_| !timing.is_empty()) {
                checks.push(Check { name, timing });
            }
        }
        checks.sort_by_key(|Check { name, .. }| CHECKS.iter().position(|check| *check == name.text));
        good.then_some(checks)
    }
}
