//! `mmm checks [HOST|all [CHECK|all]]`: what the checks of each host say.

use super::args::Settings;
use super::known::{self, Known};
use super::setting;
use crate::config::inventory::ClusterEntry;
use crate::core::cluster::{CheckKind, HostName};
use crate::core::latch::Verdict;
use crate::core::moment::Moment;
use crate::core::trouble::{Kind, Trouble};
use crate::core::view::CheckView;
use crate::report::reporter::{Output, out};
use crate::report::show;

/// Prints; 3 when a check has failed.
pub async fn run(settings: &Settings, host: &str, check: &str) -> Result<u8, Trouble> {
    let inventory = setting::inventory(settings)?;
    let mut wanted = setting::clusters(settings, &inventory, None)?;
    exist(&wanted, host, check)?;
    let name = HostName::from(host);
    wanted.retain(|entry| host == "all" || entry.hosts.contains_key(&name));
    let mut all = known::checks(&inventory, &wanted).await;
    for known in &mut all {
        if let Ok(views) = &mut known.found {
            views.retain(|view| host == "all" || view.host.as_str() == host);
            views.retain(|view| check == "all" || view.check.to_string() == check);
        }
    }
    match settings.output {
        Output::Text => out(words(&all).trim_end()),
        Output::Json => {
            let views: Vec<&CheckView> = all
                .iter()
                .filter_map(|known| known.found.as_ref().ok())
                .flatten()
                .collect();
            let troubles: Vec<&Trouble> = all
                .iter()
                .filter_map(|known| known.found.as_ref().err())
                .collect();
            out(&setting::json(
                &serde_json::json!({ "checks": views, "errors": troubles }),
            ));
        }
    }
    let is_wrong = |views: &Vec<CheckView>| views.iter().any(|view| view.verdict == Verdict::Failed);
    let wrong = all
        .iter()
        .any(|known| known.found.as_ref().map_or(true, is_wrong));
    Ok(if wrong { Kind::Wrong.exit_code() } else { 0 })
}

/// Clusters have a heading where several are told of: their hosts may have the same names.
fn words(all: &[Known<Vec<CheckView>>]) -> String {
    let told = all.iter().map(|known| match &known.found {
        Ok(views) => {
            let heading = if all.len() > 1 {
                format!("# {}\n", known.cluster)
            } else {
                String::new()
            };
            let views: Vec<&CheckView> = views.iter().collect();
            heading + &show::checks(&views, local_time)
        }
        Err(trouble) => show::unseen(&known.cluster, trouble),
    });
    told.collect::<Vec<_>>().join("\n")
}

fn exist(wanted: &[&ClusterEntry], host: &str, check: &str) -> Result<(), Trouble> {
    let mut hosts: Vec<&str> = wanted
        .iter()
        .flat_map(|entry| entry.hosts.keys().map(|name| name.as_str()))
        .collect();
    if host != "all" && !hosts.contains(&host) {
        hosts.sort_unstable();
        hosts.dedup();
        return Err(Trouble::new(
            Kind::Usage,
            format!("there is no host `{host}`"),
            format!("the hosts are {}", hosts.join(", ")),
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
