//! The line shapes of `show` and `checks`, as MMM's users know them.

use crate::core::latch::CheckResult;
use crate::core::mode::Mode;
use crate::core::moment::Moment;
use crate::core::trouble::Trouble;
use crate::core::view::{CheckView, ClusterView, HostView, Preference};

/// The width of the longest check's name.
const CHECK_WIDTH: usize = 11;

/// A cluster: a heading with the rule in force, why it is passive, warnings, one line a host, then where roles prefer to
/// be.
pub fn cluster(view: &ClusterView) -> String {
    let mut text = format!(
        "# {}: {}, {} {}\n",
        view.cluster, view.mode, view.rule, view.sentence
    );
    text.push_str(&mode_lines(view));
    if !view.monitored {
        text.push_str("# No monitor is running; this was looked up just now.\n");
    }
    for warning in &view.warnings {
        text.push_str(&format!("# Warning: {}\n", warning.what));
        if !warning.hint.is_empty() {
            text.push_str(&format!("#   hint: {}\n", warning.hint));
        }
    }
    if let Some(refusal) = &view.refused {
        text.push_str(&format!("# Refused: {}\n", refusal.words()));
        if !refusal.hint.is_empty() {
            text.push_str(&format!("#   hint: {}\n", refusal.hint));
        }
    }
    for loss in &view.losses {
        text.push_str(&format!("# Loss: {}\n", loss.sentence));
    }
    for host in &view.hosts {
        text.push_str(&host_line(host));
    }
    for preference in &view.preferences {
        text.push_str(&preference_line(preference));
    }
    text
}

/// What MMM's users look for first: that nothing is done, and why; a table keeps its shape below the first line.
fn mode_lines(view: &ClusterView) -> String {
    let mut text = String::new();
    if view.mode == Mode::Passive {
        text.push_str(&format!("# --- {} is in PASSIVE MODE ---\n", view.cluster));
    }
    for (place, line) in view.mode_because.iter().enumerate() {
        let label = if place == 0 { "Cause: " } else { "  " };
        text.push_str(&format!("# {label}{line}\n"));
    }
    text
}

/// A cluster that could not be looked at.
pub fn unseen(cluster: &str, trouble: &Trouble) -> String {
    let mut text = format!(
        "# {cluster}: not seen\n# Warning: {}: {}\n",
        trouble.what, trouble.because
    );
    if !trouble.hint.is_empty() {
        text.push_str(&format!("#   hint: {}\n", trouble.hint));
    }
    text
}

fn preference_line(preference: &Preference) -> String {
    let Preference { role, prefer, holder } = preference;
    match holder {
        Some(holder) if holder == prefer => {
            format!("# Role {role} is assigned to its preferred host {prefer}.\n")
        }
        Some(holder) => {
            format!("# Role {role} prefers {prefer}, and is assigned to {holder} at the moment.\n")
        }
        None => format!("# Role {role} prefers {prefer}, and is assigned to nobody at the moment.\n"),
    }
}

fn host_line(host: &HostView) -> String {
    let roles: Vec<String> = host
        .roles
        .iter()
        .map(|held| format!("{}({})", held.role, held.address))
        .collect();
    let line = format!(
        "  {}({}) {}/{}. Roles: {}",
        host.name,
        host.address,
        host.mode,
        host.state,
        roles.join(", ")
    );
    format!("{}\n", line.trim_end())
}

/// Checks of one cluster: `host  check  [last change: …]  message`. As in MMM, checks are padded where several are
/// listed, hosts where all are.
pub fn checks(views: &[&CheckView], local_time: impl Fn(Moment) -> String) -> String {
    let first = views.first();
    let all_hosts = views
        .iter()
        .any(|view| Some(&view.host) != first.map(|first| &first.host));
    let all_checks = views
        .iter()
        .any(|view| Some(view.check) != first.map(|first| first.check));
    let longest = views.iter().map(|view| view.host.as_str().len()).max();
    let host_width = longest.filter(|_| all_hosts).unwrap_or(0);
    let check_width = if all_checks { CHECK_WIDTH } else { 0 };
    let mut text = String::new();
    for view in views {
        let changed = view.changed_at.map_or_else(|| "never".to_owned(), &local_time);
        let message = match &view.last {
            None => "not probed yet".to_owned(),
            Some(CheckResult::Ok(text)) => said("OK", text),
            Some(CheckResult::Error(text)) => said("ERROR", text),
            Some(CheckResult::Unknown(text)) => said("UNKNOWN", text),
        };
        let (host, check) = (&view.host, view.check);
        text.push_str(&format!(
            "{host:<host_width$}  {check:<check_width$}  [last change: {changed}]  {message}\n"
        ));
    }
    text
}

fn said(word: &str, text: &str) -> String {
    // A server's message may have several lines; a check has one.
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if text.is_empty() {
        word.to_owned()
    } else {
        format!("{word}: {text}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::cluster::{CheckKind, HostMode};
    use crate::core::golden;
    use crate::core::guard::Guard;
    use crate::core::hosts::HostState;
    use crate::core::latch::Verdict;
    use crate::core::refusal::Refusal;
    use crate::core::trouble::Kind;
    use crate::core::view::{HeldRole, LossView, Warning};

    fn host(name: &str, last: u8, mode: HostMode, state: HostState, roles: &[(&str, &str)]) -> HostView {
        HostView {
            name: name.into(),
            address: [10, 0, 0, last].into(),
            mode,
            state,
            since: Some(Moment(0)),
            because: "all its checks are fine".to_owned(),
            writable: Some(false),
            roles: roles
                .iter()
                .map(|(role, address)| HeldRole {
                    role: (*role).to_owned(),
                    address: address.parse().unwrap(),
                })
                .collect(),
        }
    }

    fn view() -> ClusterView {
        ClusterView {
            cluster: "test_mmm".to_owned(),
            mode: Mode::Active,
            mode_because: Vec::new(),
            monitored: true,
            rule: "R03".to_owned(),
            sentence: "the writer serves and a standby could take over".to_owned(),
            writer: Some("cluster01".into()),
            warnings: Vec::new(),
            losses: Vec::new(),
            hosts: vec![
                host(
                    "cluster01",
                    247,
                    HostMode::Master,
                    HostState::Online,
                    &[("reader", "10.0.0.238"), ("writer", "10.0.0.237")],
                ),
                host(
                    "cluster02",
                    248,
                    HostMode::Master,
                    HostState::Online,
                    &[("reader", "10.0.0.239")],
                ),
                host("cluster03", 249, HostMode::Slave, HostState::Online, &[]),
            ],
            preferences: Vec::new(),
            refused: None,
        }
    }

    #[test]
    fn show_has_the_shape_that_people_know() {
        let healthy = view();
        let mut troubled = view();
        troubled.mode = Mode::Passive;
        troubled.mode_because = vec![
            "S01 two hosts accept writes".to_owned(),
            "Host       Writable".to_owned(),
            "cluster01  yes".to_owned(),
        ];
        troubled.monitored = false;
        troubled.warnings = vec![
            Warning {
                what: "cluster02 cannot be managed over SSH: connection refused".to_owned(),
                hint: "without SSH it cannot be demoted: see `mmm check`".to_owned(),
            },
            Warning {
                what: "cluster03 is back and being compared with the writer".to_owned(),
                hint: String::new(),
            },
        ];
        let trouble = Trouble::refused(Guard::G04, "nothing was done", "10.0.0.9 holds it");
        troubled.refused = Refusal::of(Moment(0), "switchover --to cluster02", &trouble);
        troubled.losses = vec![LossView {
            host: "cluster01".into(),
            run: "failover-20261122-174654-921".to_owned(),
            exact: true,
            count: Some(3),
            transactions: Some("0-1-103..105".to_owned()),
            seen_at: Some(Moment(0)),
            sentence: "cluster02 lacks 3 transactions of cluster01: 0-1-103..105".to_owned(),
        }];
        troubled.hosts[2].state = HostState::ReplicationFail;
        let holders = [Some("cluster01"), Some("cluster02"), None];
        troubled.preferences = holders
            .iter()
            .map(|holder| Preference {
                role: "writer".to_owned(),
                prefer: "cluster01".into(),
                holder: holder.map(Into::into),
            })
            .collect();
        let trouble = Trouble::new(
            Kind::Wrong,
            "`C2` could not be looked at",
            "its hosts did not answer",
        )
        .hint("`mmm check`");
        let text = [cluster(&healthy), cluster(&troubled), unseen("C2", &trouble)].join("\n");
        golden::check("tests/golden/show.txt", &text);
    }

    fn check(host: &str, check: CheckKind, last: Option<CheckResult>) -> CheckView {
        CheckView {
            cluster: "test_mmm".to_owned(),
            host: host.into(),
            check,
            verdict: Verdict::Ok,
            changed_at: last.is_some().then_some(Moment(0)),
            last,
        }
    }

    #[test]
    fn checks_have_the_shape_that_people_know() {
        let long = "Connect error (host = 10.0.0.248:3306)!\n  Lost connection";
        let all: Vec<CheckView> = [("db1", None), ("cluster02", Some(long))]
            .into_iter()
            .flat_map(|(host, error)| {
                CheckKind::ALL.map(|kind| match (kind, error) {
                    (CheckKind::Ping, _) => check(host, kind, Some(CheckResult::Ok(String::new()))),
                    (CheckKind::Mysql, Some(error)) => {
                        check(host, kind, Some(CheckResult::Error(error.to_owned())))
                    }
                    (CheckKind::RepBacklog, Some(_)) => check(host, kind, None),
                    (CheckKind::RepThreads, Some(_)) => check(
                        host,
                        kind,
                        Some(CheckResult::Unknown("too many connections".to_owned())),
                    ),
                    (_, _) => check(host, kind, Some(CheckResult::Ok("0 s behind".to_owned()))),
                })
            })
            .collect();
        let text = |wanted: &dyn Fn(&CheckView) -> bool| {
            let views: Vec<&CheckView> = all.iter().filter(|view| wanted(view)).collect();
            checks(&views, |_| "2007/04/16 17:06:00".to_owned())
        };
        let shapes = [
            format!("$ mmm checks\n{}", text(&|_| true)),
            format!("$ mmm checks db1\n{}", text(&|view| view.host.as_str() == "db1")),
            format!(
                "$ mmm checks all ping\n{}",
                text(&|view| view.check == CheckKind::Ping)
            ),
            format!(
                "$ mmm checks cluster02 mysql\n{}",
                text(&|view| view.host.as_str() == "cluster02" && view.check == CheckKind::Mysql)
            ),
        ];
        golden::check("tests/golden/checks.txt", &shapes.join("\n"));
    }
}
