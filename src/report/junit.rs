//! Reports in JUnit's form, so that a pipeline shows each check, or each step of a plan, as a test.

use std::time::Duration;

use crate::core::preflight::{Checked, Severity};
use crate::core::proposal::Proposal;
use crate::report::readiness::{Looked, text as readiness_words};

/// One test case.
struct Case {
    class: String,
    name: String,
    took: Duration,
    /// What it fails with: in a line, and at length.
    failure: Option<(String, String)>,
    /// What is said with it.
    said: Option<String>,
}

impl Case {
    fn passed(class: impl Into<String>, name: impl Into<String>) -> Case {
        Case {
            class: class.into(),
            name: name.into(),
            took: Duration::ZERO,
            failure: None,
            said: None,
        }
    }
}

/// What `check` saw in each cluster: a suite a cluster, a case a check. A warning passes, with its words.
pub fn checks(checked: &[Checked]) -> String {
    let suites = checked.iter().map(|one| {
        let passed = one
            .passed
            .iter()
            .map(|passed| Case::passed(format!("{}.{}", one.cluster, passed.host), passed.what.clone()));
        let found = one.findings.iter().map(|finding| {
            let class = format!("{}.{}", one.cluster, finding.host);
            let words = format!("because: {}\nhint: {}", finding.because, finding.hint);
            let case = Case::passed(class, format!("{}: {}", finding.name, finding.what));
            match finding.severity {
                Severity::Error => Case {
                    failure: Some((finding.what.clone(), words)),
                    ..case
                },
                Severity::Warning => Case {
                    said: Some(format!("warning: {}\n{words}", finding.what)),
                    ..case
                },
            }
        });
        let took = Duration::from_millis(one.took_ms);
        suite(
            &format!("mmm check {}", one.cluster),
            took,
            passed.chain(found).collect(),
        )
    });
    document(suites.collect())
}

/// A plan: a case for each step, and one for whether it could begin now.
pub fn plan(plan: &Proposal) -> String {
    let class = format!("{}.{}", plan.cluster, plan.operation);
    let mut begin = Case::passed(class.clone(), "nothing stands in its way now");
    begin.failure = plan.refused.as_ref().map(|refused| {
        let guard = refused
            .guard
            .map(|guard| format!("{guard}: "))
            .unwrap_or_default();
        let line = format!("{guard}{}", refused.because);
        (line, format!("hint: {}", refused.hint))
    });
    let steps = plan.stages.iter().enumerate().map(|(number, stage)| {
        let hosts: Vec<&str> = stage.hosts.iter().map(|host| host.as_str()).collect();
        let name = format!("{}. {} {}", number + 1, hosts.join(","), stage.name);
        let commands = stage.scripts.iter().flat_map(|script| &script.steps);
        let commands: Vec<&str> = commands.map(|step| step.command.as_str()).collect();
        Case {
            said: Some(commands.join("\n")),
            ..Case::passed(class.clone(), name)
        }
    });
    let cases = [begin].into_iter().chain(steps).collect();
    let name = format!("mmm plan {} {}", plan.operation, plan.cluster);
    document(vec![suite(&name, Duration::ZERO, cases)])
}

/// Whether a failover would work now: a suite a cluster, with one case, and one for each host that could not take over.
pub fn readiness(looked: &[Looked]) -> String {
    let suites = looked.iter().map(|(cluster, found)| {
        let case = Case::passed(cluster.clone(), "a failover would work now");
        let cases = match found {
            Err(trouble) => vec![Case {
                failure: Some((trouble.what.clone(), format!("because: {}", trouble.because))),
                ..case
            }],
            Ok(readiness) => {
                let blocked = readiness.blocked.iter().map(|obstacle| {
                    format!(
                        "{} {} (hint: {})",
                        obstacle.guard, obstacle.what, obstacle.lifted_by
                    )
                });
                let blocked: Vec<String> = blocked.collect();
                let why = (!readiness.ready).then(|| {
                    let first = blocked.first().cloned().unwrap_or_default();
                    (first, blocked.join("\n"))
                });
                let answer = Case {
                    failure: why,
                    said: Some(readiness_words(readiness)),
                    ..case
                };
                let barred = readiness.barred.iter().map(|obstacle| Case {
                    said: Some(format!("hint: {}", obstacle.lifted_by)),
                    ..Case::passed(cluster.clone(), format!("not: {}", obstacle.what))
                });
                [answer].into_iter().chain(barred).collect()
            }
        };
        suite(&format!("mmm check --readiness {cluster}"), Duration::ZERO, cases)
    });
    document(suites.collect())
}

/// A suite, and how many of its cases there are and failed.
struct Suite {
    text: String,
    cases: usize,
    failures: usize,
}

fn suite(name: &str, took: Duration, cases: Vec<Case>) -> Suite {
    let failures = cases.iter().filter(|case| case.failure.is_some()).count();
    let mut text = format!(
        "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{failures}\" errors=\"0\" skipped=\"0\" time=\"{:.3}\">\n",
        escaped(name),
        cases.len(),
        took.as_secs_f64()
    );
    for case in &cases {
        text.push_str(&format!(
            "    <testcase classname=\"{}\" name=\"{}\" time=\"{:.3}\">\n",
            escaped(&case.class),
            escaped(&case.name),
            case.took.as_secs_f64()
        ));
        if let Some((line, words)) = &case.failure {
            text.push_str(&format!(
                "      <failure message=\"{}\">{}</failure>\n",
                escaped(line),
                escaped(words)
            ));
        }
        if let Some(said) = &case.said {
            text.push_str(&format!("      <system-out>{}</system-out>\n", escaped(said)));
        }
        text.push_str("    </testcase>\n");
    }
    text.push_str("  </testsuite>\n");
    Suite {
        text,
        cases: cases.len(),
        failures,
    }
}

fn document(suites: Vec<Suite>) -> String {
    let sum = |count: fn(&Suite) -> usize| suites.iter().map(count).sum::<usize>();
    let texts: String = suites.iter().map(|suite| suite.text.as_str()).collect();
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"mmm\" tests=\"{}\" failures=\"{}\">\n{texts}</testsuites>",
        sum(|suite| suite.cases),
        sum(|suite| suite.failures)
    )
}

/// Text as XML takes it; characters that XML cannot hold at all are left out.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' => escaped.push_str("&#10;"),
            '\t' => escaped.push_str("&#9;"),
            control if control.is_control() || ['\u{fffe}', '\u{ffff}'].contains(&control) => {}
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::preflight::{Finding, Name, Passed, Topic};

    #[test]
    fn what_is_wrong_fails_and_nothing_breaks_out_of_the_form() {
        let finding = |severity, what: &str| Finding {
            name: Name::SudoRefused,
            severity,
            host: "db1".into(),
            what: what.to_owned(),
            because: "a <b> & \"c\"\u{1}".to_owned(),
            hint: "h".to_owned(),
        };
        let checked = Checked {
            cluster: "c".to_owned(),
            passed: vec![Passed {
                host: "db1".into(),
                topic: Topic::Ssh,
                what: "SSH lets us in".to_owned(),
            }],
            findings: vec![
                finding(Severity::Error, "wrong"),
                finding(Severity::Warning, "odd"),
            ],
            took_ms: 1500,
        };
        let text = checks(&[checked]);
        for part in [
            "<testsuites name=\"mmm\" tests=\"3\" failures=\"1\">",
            "time=\"1.500\"",
            "classname=\"c.db1\" name=\"sudo-refused: wrong\"",
            "<failure message=\"wrong\">because: a &lt;b&gt; &amp; &quot;c&quot;&#10;hint: h</failure>",
            "<system-out>warning: odd",
        ] {
            assert!(text.contains(part), "no `{part}` in\n{text}");
        }
        assert_eq!(
            text.matches("<testcase ").count(),
            text.matches("</testcase>").count()
        );
    }
}
