//! `mmm checks [HOST|all [CHECK|all]]`: what the checks of each host say.

use super::args::Settings;
use super::setting;
use super::show::look_once;
use crate::core::cluster::CheckKind;
use crate::core::latch::Verdict;
use crate::core::moment::Moment;
use crate::core::trouble::{Kind, Trouble};
use crate::core::view::{self, CheckView};
use crate::io::socket::{Answer, Ask, ask};
use crate::report::reporter::{Output, out};
use crate::report::show;

/// Prints; 3 when a check has failed.
pub async fn run(settings: &Settings, host: &str, check: &str) -> Result<u8, Trouble> {
    let inventory = setting::inventory(settings)?;
    let wanted = setting::clusters(settings, &inventory, None)?;
    known(&wanted, host, check)?;
    let all = match ask(&inventory.monitor.socket, &Ask::Checks).await? {
        Some(Answer::Checks(views)) => views,
        Some(_) | None => {
            let mut views = Vec::new();
            for entry in &wanted {
                views.extend(view::checks(&look_once(&inventory, entry).await?));
            }
            views
        }
    };
    let views: Vec<CheckView> = all
        .into_iter()
        .filter(|view| wanted.iter().any(|entry| entry.cluster.name == view.cluster))
        .filter(|view| host == "all" || view.host.as_str() == host)
        .filter(|view| check == "all" || view.check.to_string() == check)
        .collect();
    match settings.output {
        Output::Text => out(show::checks(&views, local_time).trim_end()),
        Output::Json => out(&setting::json(&serde_json::json!({ "checks": views }))),
    }
    let failed = views.iter().any(|view| view.verdict == Verdict::Failed);
    Ok(if failed { Kind::Wrong.exit_code() } else { 0 })
}

fn known(wanted: &[&crate::config::inventory::ClusterEntry], host: &str, check: &str) -> Result<(), Trouble> {
    let has_host = wanted
        .iter()
        .any(|entry| entry.hosts.keys().any(|name| name.as_str() == host));
    if host != "all" && !has_host {
        return Err(Trouble::new(
            Kind::Usage,
            format!("there is no host `{host}`"),
            "the inventory does not name it",
        ));
    }
    let names: Vec<String> = CheckKind::ALL.iter().map(ToString::to_string).collect();
    if check != "all" && !names.iter().any(|name| name == check) {
        return Err(Trouble::new(
            Kind::Usage,
            format!("there is no check `{check}`"),
            format!("the checks are {}", names.join(", ")),
        ));
    }
    Ok(())
}

fn local_time(moment: Moment) -> String {
    let ms = i64::try_from(moment.0).unwrap_or(i64::MAX);
    match jiff::Timestamp::from_millisecond(ms) {
        Ok(at) => at
            .to_zoned(jiff::tz::TimeZone::system())
            .strftime("%Y/%m/%d %H:%M:%S")
            .to_string(),
        Err(_) => moment.to_string(),
    }
}
