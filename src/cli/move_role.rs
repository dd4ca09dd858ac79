//! `mmm move-role ROLE HOST`: as MMM's users know it. The writer role moves by a switchover, any other address is brought
//! up at its new place before it leaves the old one.

use std::net::IpAddr;
use std::time::Duration;

use super::args::{MoveRoleArguments, Settings};
use super::{setting, switchover};
use crate::config::inventory::{ClusterEntry, Inventory};
use crate::core::cluster::{Cluster, FailBack, HostName, Role};
use crate::core::relocation;
use crate::core::trouble::{Kind, Trouble};
use crate::io::operation::Request;
use crate::report::reporter::{Output, talk};

/// How long another operation is waited for.
const LOCK_WAIT: Duration = Duration::from_secs(10);

/// Moves the role, or one address of it; the exit code says how it ended.
pub async fn run(settings: &Settings, what: &MoveRoleArguments) -> Result<u8, Trouble> {
    let inventory = setting::inventory(settings)?;
    let entry = setting::cluster(settings, &inventory, None)?;
    let cluster = &entry.cluster;
    let host = HostName::from(what.host.as_str());
    let refused = format!("role `{}` was not moved to `{host}`", what.role);
    let role = role(cluster, &what.role, &refused)?;
    let address = relocation::meant(role, what.address, &refused)?;
    relocation::role_of(cluster, address, &host, &refused)?;
    if what.force {
        may_be_forced(cluster, role, &refused)?;
    }
    if role.name != cluster.writer_role {
        return move_address(settings, &inventory, entry, address, host).await;
    }
    if what.force {
        let fleet = setting::fleet(entry).await?;
        let (teller, reporting) = setting::telling(settings, &cluster.name);
        let performer = setting::performer(settings, &inventory, &fleet, teller, LOCK_WAIT);
        let caught_up = performer.let_catch_up(&host).await;
        drop(performer);
        setting::all_told(reporting).await;
        caught_up?;
    }
    let code = switchover::run(
        settings,
        Some(&cluster.name),
        Some(host.as_str()),
        LOCK_WAIT,
        None,
        what.force,
    )
    .await?;
    if let Some(prefer) = role.prefer.as_ref().filter(|prefer| **prefer != host)
        && role.fail_back == FailBack::CaughtUp
        && code == 0
        && settings.output == Output::Text
    {
        talk(&format!(
            "note: `{}` prefers `{prefer}`: in active mode a monitor hands it back; `fail_back: on_command` keeps it",
            role.name
        ));
    }
    Ok(code)
}

/// That the role is the writer's.
///
/// # Errors
/// Usage: any other address goes to healthy hosts only.
pub(super) fn may_be_forced(cluster: &Cluster, role: &Role, refused: &str) -> Result<(), Trouble> {
    if role.name == cluster.writer_role {
        return Ok(());
    }
    Err(
        Trouble::new(Kind::Usage, refused, "`--force` is for the writer role")
            .hint("any other address goes to healthy hosts only"),
    )
}

pub(super) fn role<'c>(cluster: &'c Cluster, name: &str, what: &str) -> Result<&'c Role, Trouble> {
    cluster.role(name).ok_or_else(|| {
        let names: Vec<String> = cluster
            .roles
            .iter()
            .map(|role| format!("`{}`", role.name))
            .collect();
        let because = format!("`{}` has the roles {}", cluster.name, names.join(", "));
        Trouble::new(Kind::Usage, what, because)
    })
}

async fn move_address(
    settings: &Settings,
    inventory: &Inventory,
    entry: &ClusterEntry,
    address: IpAddr,
    to: HostName,
) -> Result<u8, Trouble> {
    let fleet = setting::fleet(entry).await?;
    let (teller, reporting) = setting::telling(settings, &entry.cluster.name);
    let performer = setting::performer(settings, inventory, &fleet, teller, LOCK_WAIT);
    let performed = performer.perform(&Request::MoveAddress { address, to }).await;
    drop(performer);
    setting::all_told(reporting).await;
    setting::concluded(inventory, entry, performed).await
}
