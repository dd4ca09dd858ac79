//! `mmm check --readiness`: would a failover work now? From one live look; changes nothing.

use futures_util::future::join_all;
use tokio::time::timeout;

use super::args::{Form, Settings};
use super::known::LOOK_WITHIN;
use super::setting;
use super::show::look_with;
use crate::config::inventory::{ClusterEntry, Inventory};
use crate::core::engine::Input;
use crate::core::evidence;
use crate::core::guard::{self, Guard};
use crate::core::readiness::{self, Obstacle, Readiness, Seen};
use crate::core::standing::Mode;
use crate::core::trouble::{Kind, Trouble};
use crate::io::socket::{Ask, ask};
use crate::io::{clock, inquest};
use crate::report::junit;
use crate::report::readiness as words;
use crate::report::reporter::{Output, out};

/// Prints; 0 when a failover would work in every cluster, else 3. For Nagios its own codes.
pub async fn run(settings: &Settings, named: Option<&str>, nagios: bool) -> Result<u8, Trouble> {
    if nagios {
        let looked = match wanted(settings, named).await {
            Ok(looked) => looked,
            Err(trouble) => vec![("mmm".to_owned(), Err(trouble))],
        };
        let (line, code) = words::nagios(&looked);
        out(&line);
        return Ok(code);
    }
    let looked = wanted(settings, named).await?;
    match settings.output {
        _ if settings.form == Form::Junit => out(&junit::readiness(&looked)),
        Output::Text => {
            let text: Vec<String> = looked.iter().map(text).collect();
            out(text.join("\n").trim_end());
        }
        Output::Json => {
            let clusters: Vec<_> = looked.iter().map(as_json).collect();
            out(&setting::json(&serde_json::json!({ "clusters": clusters })));
        }
    }
    let all_ready = looked
        .iter()
        .all(|(_, found)| found.as_ref().is_ok_and(|found| found.ready));
    Ok(if all_ready { 0 } else { Kind::Wrong.exit_code() })
}

fn text((cluster, found): &words::Looked) -> String {
    match found {
        Ok(readiness) => words::text(readiness),
        Err(trouble) => crate::report::show::unseen(cluster, trouble),
    }
}

fn as_json((cluster, found): &words::Looked) -> serde_json::Value {
    match found {
        Ok(readiness) => serde_json::json!(readiness),
        Err(trouble) => serde_json::json!({ "cluster": cluster, "error": trouble }),
    }
}

/// The clusters wanted, looked at side by side.
async fn wanted(settings: &Settings, named: Option<&str>) -> Result<Vec<words::Looked>, Trouble> {
    let inventory = setting::inventory(settings)?;
    let entries = setting::clusters(settings, &inventory, named)?;
    let all = entries.into_iter().map(|entry| {
        let inventory = &inventory;
        async move {
            let cluster = entry.cluster.name.clone();
            let found = timeout(LOOK_WITHIN, look(inventory, entry)).await;
            let late = |_| {
                let because = format!("its hosts did not answer within {} s", LOOK_WITHIN.as_secs());
                Err(Trouble::new(
                    Kind::Wrong,
                    format!("`{cluster}` could not be looked at"),
                    because,
                )
                .hint("`mmm check` says which host hangs"))
            };
            let found = found.unwrap_or_else(late);
            (cluster, found)
        }
    });
    Ok(join_all(all).await)
}

async fn look(inventory: &Inventory, entry: &ClusterEntry) -> Result<Readiness, Trouble> {
    let fleet = setting::fleet(entry).await?;
    let network = setting::network(inventory);
    let (engine, hears, answers) = tokio::join!(
        look_with(&fleet, inventory, entry),
        ask(&inventory.monitor.socket, &Ask::Ping),
        network.answers()
    );
    let mut engine = engine?;
    // Whoever holds the writer address is good enough to be replaced, as `mmm failover` would.
    if engine.standing().writer.is_none() {
        let mut standing = engine.standing().clone();
        standing.writer = guard::holder_of_writer_address(&entry.cluster, engine.facts());
        engine.step(clock::now(), Input::Stands(standing));
    }
    let standing = engine.standing();
    let is_alive = |writer| {
        engine
            .facts()
            .get(writer)
            .is_some_and(|seen| seen.mysql.is_alive())
    };
    let means = standing
        .writer
        .as_ref()
        .and_then(|writer| engine.means().get(writer));
    let found = match (&standing.writer, means) {
        (Some(writer), Some(means)) if !is_alive(writer) => {
            let (found, circumstances) = inquest::inquire(&fleet, writer).await;
            Some((evidence::decide(&found, means), circumstances))
        }
        _ => None,
    };
    let seen = Seen {
        cluster: engine.cluster(),
        standing,
        facts: engine.facts(),
        means,
        decided: found.as_ref().map(|(decided, _)| *decided),
        circumstances: found.as_ref().map(|(_, circumstances)| circumstances),
    };
    let mut readiness = readiness::readiness(&seen, &engine.candidates());
    if !answers {
        readiness.ready = false;
        readiness.blocked.push(Obstacle {
            guard: Guard::G02,
            what: "none of the ping addresses answers: this box may be cut off".to_owned(),
            lifted_by: Guard::G02.lifted_by().to_owned(),
        });
    }
    let is_watched = hears.is_ok_and(|answer| answer.is_some());
    if !is_watched {
        readiness
            .remarks
            .push("no monitor runs, so only `mmm failover` fails over".to_owned());
    } else if standing.mode != Mode::Active || !entry.cluster.failover.automatic {
        let why = if standing.mode == Mode::Active {
            "`failover.automatic` is false".to_owned()
        } else {
            format!("the cluster is in {} mode", standing.mode)
        };
        readiness
            .remarks
            .push(format!("{why}, so only `mmm failover` fails over"));
    }
    Ok(readiness)
}
