//! Semi-synchronous replication out of a server's variables and status.

use super::probe::switch;
use super::row::{Misread, Row};
use crate::core::facts::{Flavour, SemiSync, Version};

/// The plugins under their old names are not moved where the server knows the new ones: they count as absent there.
pub(super) fn read(version: Version, variables: &Row, status: &Row) -> Result<Option<SemiSync>, Misread> {
    let renamed = version.is_since(Flavour::Mysql, (8, 0, 26));
    let side = |new: &'static str, old: &'static str| if renamed { [new] } else { [old] };
    let source = switch(
        variables,
        &side("rpl_semi_sync_source_enabled", "rpl_semi_sync_master_enabled"),
    )?;
    let replica = switch(
        variables,
        &side("rpl_semi_sync_replica_enabled", "rpl_semi_sync_slave_enabled"),
    )?;
    if source.is_none() && replica.is_none() {
        return Ok(None);
    }
    let runs = |names: &[&str]| switch(status, names).map(|value| value.unwrap_or(false));
    Ok(Some(SemiSync {
        source_enabled: source.unwrap_or(false),
        source_active: runs(&side(
            "Rpl_semi_sync_source_status",
            "Rpl_semi_sync_master_status",
        ))?,
        replica_enabled: replica.unwrap_or(false),
        replica_active: runs(&side(
            "Rpl_semi_sync_replica_status",
            "Rpl_semi_sync_slave_status",
        ))?,
        replicas: status
            .maybe(&side(
                "Rpl_semi_sync_source_clients",
                "Rpl_semi_sync_master_clients",
            ))?
            .unwrap_or(0),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn semi_synchronous_replication_goes_by_the_names_of_the_version() {
        let row = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter();
            Row(pairs
                .map(|(name, value)| ((*name).to_owned(), Some((*value).to_owned())))
                .collect())
        };
        let old = row(&[
            ("rpl_semi_sync_master_enabled", "ON"),
            ("rpl_semi_sync_slave_enabled", "OFF"),
        ]);
        let new = row(&[("rpl_semi_sync_source_enabled", "ON")]);
        let seen = |flavour, numbers, variables: &Row| {
            let found = read(Version { flavour, numbers }, variables, &row(&[])).unwrap();
            found.map(|sides| sides.source_enabled)
        };
        assert_eq!(seen(Flavour::Mariadb, (12, 0, 1), &old), Some(true));
        assert_eq!(seen(Flavour::Mysql, (8, 0, 25), &old), Some(true));
        assert_eq!(
            seen(Flavour::Mysql, (8, 0, 26), &old),
            None,
            "that plugin is not moved"
        );
        assert_eq!(seen(Flavour::Mysql, (8, 0, 26), &new), Some(true));
    }
}
