//! `mmm ensure-writer [CLUSTER] HOST`, for scripts: whatever the writer is now, afterwards it is that host, or the exit
//! code says why not. Said twice, it does nothing the second time.

use super::args::{EnsureWriterArguments, Settings};
use super::setting;
use crate::core::cluster::{Cluster, HostName};
use crate::core::electorate::Memory;
use crate::core::guard::{self, Facts, Guard};
use crate::core::standing::Standing;
use crate::core::trouble::{Kind, Trouble};
use crate::io::journal;
use crate::io::operation::Request;
use crate::io::standing::StateDir;
use crate::report::reporter::{Output, out};

/// Makes it so; 0 also when it was so already.
pub async fn run(settings: &Settings, what: &EnsureWriterArguments) -> Result<u8, Trouble> {
    let (named, host) = what.said();
    let inventory = setting::inventory(settings)?;
    let entry = setting::cluster(settings, &inventory, named)?;
    let cluster = &entry.cluster;
    let host = HostName::from(host);
    setting::host(entry, &host)?;
    let fleet = setting::fleet(entry).await?;
    let dir = StateDir::of(&inventory.monitor.state_dir, &cluster.name);
    let standing = dir.load()?;
    let facts = fleet.look_everywhere().await;
    guard::target(
        cluster,
        &standing,
        &facts,
        Some(host.as_str()),
        &Memory::default(),
    )?;
    let is_settled =
        journal::open_runs(&dir).is_ok_and(|open| open.iter().all(|run| run.opening.chore.is_some()));
    if is_settled && lacks(cluster, &standing, &facts, &host).is_empty() {
        say(settings, cluster, &host);
        return Ok(0);
    }
    let is_closed = facts
        .get(&host)
        .and_then(|seen| seen.mysql.up())
        .is_some_and(|mysql| !mysql.is_writable());
    // With another one that takes writes, the record is old, and that one hands over.
    let is_to_be_opened = standing.writer.as_ref() == Some(&host)
        && is_closed
        && guard::another_writable(&facts, &host).is_none();
    let request = if is_to_be_opened {
        // Whom a script wants as the writer need not have stayed the writer.
        guard::could_not_have_been_replaced(cluster, &facts, &host)?;
        Request::Reopen {
            writer: Some(host.clone()),
        }
    } else {
        Request::Switchover {
            to: Some(host.as_str().to_owned()),
            write_refused_max: what.write_refused_max,
        }
    };
    let (teller, reporting) = setting::telling(settings, &cluster.name);
    let performer = setting::performer(settings, &inventory, &fleet, teller, what.lock_wait);
    let performed = performer.perform(&request).await;
    drop(performer);
    setting::all_told(reporting).await;
    match performed {
        // Another command made it so while this one waited; or it is the writer, and not in every respect.
        Err(trouble) if trouble.guard == Some(Guard::G14) => {
            let (standing, facts) = (dir.load()?, fleet.look_everywhere().await);
            let lacks = lacks(cluster, &standing, &facts, &host);
            if lacks.is_empty() {
                say(settings, cluster, &host);
                return Ok(0);
            }
            let what = format!(
                "`{host}` is the writer of `{}`, and not in every respect",
                cluster.name
            );
            Err(Trouble::new(Kind::Wrong, what, lacks.join("; "))
                .hint("`mmm show` says what is wrong; a running monitor puts it in order"))
        }
        performed => setting::concluded(&inventory, entry, performed).await,
    }
}

/// What the host lacks to be the writer in every respect: on record if there is one, by what it and the others accept, and
/// by the address. Nothing where it is.
fn lacks(cluster: &Cluster, standing: &Standing, facts: &Facts, host: &HostName) -> Vec<String> {
    let seen = facts.get(host);
    let takes_writes = seen
        .and_then(|seen| seen.mysql.up())
        .is_some_and(|mysql| mysql.is_writable());
    let has_address = cluster.writer_address().is_none_or(|address| {
        seen.and_then(|seen| seen.ssh.up())
            .is_some_and(|shell| shell.holds(address))
    });
    let mut lacks = Vec::new();
    if let Some(why) = &standing.hands_off {
        lacks.push(format!("a run is stuck: {why}"));
    }
    if let Some(writer) = standing.writer.as_ref().filter(|writer| *writer != host) {
        lacks.push(format!("`{writer}` is on record as the writer"));
    }
    if !takes_writes {
        lacks.push("it was not seen to accept writes".to_owned());
    }
    if !has_address {
        lacks.push("it was not seen to hold the writer's address".to_owned());
    }
    if let Some(other) = guard::another_writable(facts, host) {
        lacks.push(format!("`{other}` accepts writes as well"));
    }
    lacks
}

fn say(settings: &Settings, cluster: &Cluster, host: &HostName) {
    match settings.output {
        Output::Text if settings.quiet => {}
        Output::Text => out(&format!("`{host}` is the writer of `{}` already", cluster.name)),
        Output::Json => out(&setting::json(&serde_json::json!({
            "cluster": cluster.name, "writer": host, "serves": true
        }))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::samples;

    #[test]
    fn only_a_writer_in_every_respect_is_left_alone() {
        let cluster = samples::cluster();
        let address = cluster.writer_address().unwrap().to_string();
        let standing = Standing {
            writer: Some("db1".into()),
            ..Standing::default()
        };
        let mut facts = Facts::new();
        facts.insert("db1".into(), samples::facts(true, &[&address]));
        facts.insert("db2".into(), samples::facts(false, &[]));
        let holds =
            |standing: &Standing, facts: &Facts| lacks(&cluster, standing, facts, &"db1".into()).is_empty();
        assert!(holds(&standing, &facts));
        assert!(
            holds(&Standing::default(), &facts),
            "a box that has no record yet"
        );
        let elsewhere = Standing {
            writer: Some("db2".into()),
            ..Standing::default()
        };
        assert!(!holds(&elsewhere, &facts));
        let stuck = Standing {
            hands_off: Some("r".to_owned()),
            ..standing.clone()
        };
        assert!(!holds(&stuck, &facts));
        let mut two = facts.clone();
        two.insert("db2".into(), samples::facts(true, &[]));
        assert!(!holds(&standing, &two));
        let mut nowhere = facts.clone();
        nowhere.insert("db1".into(), samples::facts(true, &[]));
        assert!(!holds(&standing, &nowhere));
        facts.insert("db1".into(), samples::facts(false, &[&address]));
        assert!(!holds(&standing, &facts));
    }
}
