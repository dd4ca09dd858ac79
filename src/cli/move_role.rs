//! `mmm move-role ROLE HOST`: as MMM's users know it. The writer role moves by a switchover.

use std::time::Duration;

use super::args::Settings;
use super::{setting, switchover};
use crate::core::cluster::RoleMode;
use crate::core::trouble::{Kind, Trouble};

/// How long another operation is waited for.
const LOCK_WAIT: Duration = Duration::from_secs(10);

/// Moves the role; the exit code says how it ended.
pub async fn run(settings: &Settings, role: &str, host: &str) -> Result<u8, Trouble> {
    let inventory = setting::inventory(settings)?;
    let entry = setting::cluster(settings, &inventory, None)?;
    let cluster = &entry.cluster;
    let what = format!("role `{role}` was not moved to `{host}`");
    let Some(found) = cluster.role(role) else {
        let names = cluster
            .roles
            .iter()
            .map(|role| format!("`{}`", role.name))
            .collect::<Vec<_>>()
            .join(", ");
        return Err(Trouble::new(
            Kind::Usage,
            what,
            format!("`{}` has the roles {names}", cluster.name),
        ));
    };
    if found.mode == RoleMode::Balanced {
        return Err(Trouble::new(
            Kind::Refused,
            what,
            "it is balanced: its addresses spread over all healthy hosts by themselves",
        ));
    }
    if role != cluster.writer_role {
        return Err(Trouble::new(
            Kind::Refused,
            what,
            "only the writer role can be moved by command so far",
        )
        .hint("its address follows the health of its hosts and `prefer`"));
    }
    switchover::run(settings, Some(&cluster.name), Some(host), LOCK_WAIT).await
}
