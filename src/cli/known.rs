//! What is known of clusters now: told by a running monitor, or looked up at once. Clusters are looked at side by side,
//! each with a deadline, so that one in trouble neither delays nor hides the others.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;

use super::resume;
use super::show::look_once;
use crate::config::inventory::{ClusterEntry, Inventory};
use crate::core::cluster::HostName;
use crate::core::engine::Engine;
use crate::core::hosts::HostState;
use crate::core::trouble::{Kind, Trouble};
use crate::core::view::{self, CheckView, ClusterView, Warning};
use crate::io::refusals;
use crate::io::socket::{Answer, Ask, ask};
use crate::io::standing::StateDir;

/// Looking at all hosts of one cluster may take so long.
pub const LOOK_WITHIN: Duration = Duration::from_secs(20);

/// What is known of one cluster, or why nothing is.
pub struct Known<T> {
    /// The cluster.
    pub cluster: String,
    /// What is known.
    pub found: Result<T, Trouble>,
}

/// What `show` tells of the clusters wanted, in their order.
pub async fn views(inventory: &Inventory, wanted: &[&ClusterEntry]) -> Vec<Known<ClusterView>> {
    let (told, silence) = match ask(&inventory.monitor.socket, &Ask::Show).await {
        Ok(Some(Answer::Show(views))) => {
            let told = views
                .into_iter()
                .map(|view| (view.cluster.clone(), view))
                .collect();
            (
                told,
                Some("the running monitor told nothing of this cluster".to_owned()),
            )
        }
        Ok(None) => (BTreeMap::new(), None),
        Ok(Some(_)) => (
            BTreeMap::new(),
            Some("the running monitor gave an unexpected answer".to_owned()),
        ),
        Err(trouble) => (
            BTreeMap::new(),
            Some(format!("{}: {}", trouble.what, trouble.because)),
        ),
    };
    let look = |engine: &Engine| {
        let mut view = view::cluster(engine, false);
        view.warnings.extend(silence.clone().map(|what| Warning {
            what,
            hint: "it works from another inventory, or is stuck: `mmm ping`, then restart it".to_owned(),
        }));
        view
    };
    let mut views = gather(inventory, wanted, told, look).await;
    for known in &mut views {
        if let Ok(view) = &mut known.found {
            let dir = StateDir::of(&inventory.monitor.state_dir, &known.cluster);
            let open = resume::left_open(&dir).into_iter().map(|what| Warning {
                what,
                hint: String::new(),
            });
            view.warnings.extend(open);
            view.refused = refusals::last(&dir);
        }
    }
    views
}

/// What `checks` tells of the clusters wanted, in their order.
pub async fn checks(inventory: &Inventory, wanted: &[&ClusterEntry]) -> Vec<Known<Vec<CheckView>>> {
    let mut told: BTreeMap<String, Vec<CheckView>> = BTreeMap::new();
    match ask(&inventory.monitor.socket, &Ask::Checks).await {
        Ok(Some(Answer::Checks(views))) => {
            for view in views {
                told.entry(view.cluster.clone()).or_default().push(view);
            }
        }
        Ok(_) => {}
        Err(trouble) => tracing::warn!("{}: {}", trouble.what, trouble.because),
    }
    gather(inventory, wanted, told, view::checks).await
}

/// What was told, and a look for what was not.
async fn gather<T>(
    inventory: &Inventory,
    wanted: &[&ClusterEntry],
    told: BTreeMap<String, T>,
    look: impl Fn(&Engine) -> T,
) -> Vec<Known<T>> {
    let mut told = told;
    let all = wanted.iter().map(|entry| {
        let cluster = entry.cluster.name.clone();
        let told = told.remove(&cluster);
        let look = &look;
        async move {
            let found = match told {
                Some(told) => Ok(told),
                None => looked_up(inventory, entry).await.map(|engine| look(&engine)),
            };
            Known { cluster, found }
        }
    });
    join_all(all).await
}

async fn looked_up(inventory: &Inventory, entry: &ClusterEntry) -> Result<Engine, Trouble> {
    match timeout(LOOK_WITHIN, look_once(inventory, entry)).await {
        Ok(looked) => looked,
        Err(_) => Err(Trouble::new(
            Kind::Wrong,
            format!("`{}` could not be looked at", entry.cluster.name),
            format!("its hosts did not answer within {} s", LOOK_WITHIN.as_secs()),
        )
        .hint("`mmm check` says which host hangs")),
    }
}

/// The state of one host, and the hosts that may hold roles now.
pub struct States {
    /// The host's state; unknown when nobody has judged it.
    pub of_host: HostState,
    /// The hosts that may hold roles.
    pub online: Vec<HostName>,
}

/// What a verb about one host needs to know of its cluster.
///
/// # Errors
/// When the cluster cannot be looked at.
pub async fn states(inventory: &Inventory, entry: &ClusterEntry, host: &HostName) -> Result<States, Trouble> {
    let mut known = views(inventory, &[entry]).await;
    let Some(known) = known.pop() else {
        return Err(Trouble::new(
            Kind::Bug,
            "no cluster was looked at",
            "none was wanted",
        ));
    };
    let view = known.found?;
    let of = |name: &HostName| view.hosts.iter().find(|host| host.name == *name);
    Ok(States {
        of_host: of(host).map_or(HostState::Unknown, |host| host.state),
        online: view
            .hosts
            .iter()
            .filter(|host| host.state == HostState::Online)
            .map(|host| host.name.clone())
            .collect(),
    })
}
