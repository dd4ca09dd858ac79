//! What `check` saw: one line a topic that is in order, then the warnings, then the failures with cause and hint.

use super::line::seconds;
use crate::core::preflight::{Checked, Severity};

/// The whole report of one cluster.
pub fn text(checked: &Checked) -> String {
    let mut text = String::new();
    for passed in &checked.passed {
        text.push_str(&format!("{:>10} {} {}\n", "OK", passed.host, passed.what));
    }
    for (severity, verb) in [(Severity::Warning, "WARN"), (Severity::Error, "FAIL")] {
        for finding in checked.findings.iter().filter(|one| one.severity == severity) {
            text.push_str(&format!(
                "{verb:>10} {} {}\n{:>13}because: {}\n{:>13}hint: {}\n",
                finding.host, finding.what, "", finding.because, "", finding.hint
            ));
        }
    }
    text.push_str(&summary(checked));
    text
}

fn summary(checked: &Checked) -> String {
    let (errors, warnings) = (checked.count(Severity::Error), checked.count(Severity::Warning));
    let checks = checked.passed.len() + checked.findings.len();
    let verdict = match (errors, warnings) {
        (0, 0) => "all is well".to_owned(),
        (0, warnings) => format!("nothing is wrong, {}", count(warnings, "warning")),
        (errors, 0) => count(errors, "failure"),
        (errors, warnings) => format!("{}, {}", count(errors, "failure"), count(warnings, "warning")),
    };
    format!(
        "{:>10} [{}] {}: {}, {verdict}",
        "Checked",
        seconds(checked.took_ms),
        checked.cluster,
        count(checks, "check")
    )
}

fn count(number: usize, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        _ => format!("{number} {noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::preflight::{Finding, Name, Passed, Topic};

    #[test]
    fn failures_come_last_and_say_what_to_do() {
        let finding = |severity, name, what: &str| Finding {
            name,
            severity,
            host: "db1".into(),
            what: what.to_owned(),
            because: "it matters".to_owned(),
            hint: "mend it".to_owned(),
        };
        let checked = Checked {
            cluster: "c".to_owned(),
            passed: vec![Passed {
                host: "db2".into(),
                topic: Topic::Ssh,
                what: "SSH works".to_owned(),
            }],
            findings: vec![
                finding(Severity::Error, Name::NoBinaryLog, "`log_bin` is off"),
                finding(Severity::Warning, Name::ClockOff, "its clock is 9 s behind"),
            ],
            took_ms: 90,
        };
        assert_eq!(
            text(&checked),
            "        OK db2 SSH works\n      WARN db1 its clock is 9 s behind\n             because: it matters\n             \
             hint: mend it\n      FAIL db1 `log_bin` is off\n             because: it matters\n             hint: mend it\n   \
             Checked [ 0.09s] c: 3 checks, 1 failure, 1 warning"
        );
    }
}
