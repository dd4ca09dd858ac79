//! The line shapes of `show` and `checks`, as MMM's users know them.

use crate::core::latch::CheckResult;
use crate::core::mode::Mode;
use crate::core::moment::Moment;
use crate::core::view::{CheckView, ClusterView, HostView};

/// A cluster: a heading with the rule in force, warnings, then one line a host.
pub fn cluster(view: &ClusterView) -> String {
    let mut text = format!(
        "# {}: {}, {} {}\n",
        view.cluster, view.mode, view.rule, view.sentence
    );
    if !view.monitored {
        text.push_str("# No monitor is running; this was looked up just now.\n");
    }
    text.push_str(&mode_lines(view));
    for warning in &view.warnings {
        text.push_str(&format!("# Warning: {}\n", warning.what));
        if !warning.hint.is_empty() {
            text.push_str(&format!("#   hint: {}\n", warning.hint));
        }
    }
    for host in &view.hosts {
        text.push_str(&host_line(host));
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

/// Checks: `host  check  [last change: …]  message`, columns padded.
pub fn checks(views: &[CheckView], local_time: impl Fn(Moment) -> String) -> String {
    let widest = views
        .iter()
        .map(|view| view.host.as_str().len())
        .max()
        .unwrap_or(0);
    let mut text = String::new();
    for view in views {
        let changed = view.changed_at.map_or_else(|| "never".to_owned(), &local_time);
        let message = match &view.last {
            None => "not probed yet".to_owned(),
            Some(CheckResult::Ok(text)) => format!("OK: {text}"),
            Some(CheckResult::Error(text)) => format!("ERROR: {text}"),
            Some(CheckResult::Unknown(text)) => format!("UNKNOWN: {text}"),
        };
        let host = &view.host;
        text.push_str(&format!(
            "{host:<widest$}  {:<11}  [last change: {changed}]  {message}\n",
            view.check
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passive_mode_and_its_cause_stand_above_everything_else() {
        let view = ClusterView {
            cluster: "test_mmm".into(),
            mode: Mode::Passive,
            mode_because: vec!["S01 two".into(), "Host  Writable".into(), "db1   yes".into()],
            monitored: true,
            rule: "R01".into(),
            sentence: "nothing is done".into(),
            writer: None,
            warnings: Vec::new(),
            hosts: Vec::new(),
        };
        assert_eq!(
            cluster(&view),
            "# test_mmm: passive, R01 nothing is done\n\
             # --- test_mmm is in PASSIVE MODE ---\n\
             # Cause: S01 two\n\
             #   Host  Writable\n\
             #   db1   yes\n"
        );
        let active = ClusterView {
            mode: Mode::Active,
            mode_because: Vec::new(),
            ..view
        };
        assert_eq!(mode_lines(&active), "");
    }
}
