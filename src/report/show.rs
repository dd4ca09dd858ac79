//! The line shapes of `show` and `checks`, as MMM's users know them.

use crate::core::latch::CheckResult;
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
