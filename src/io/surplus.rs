//! What only a replaced writer has: saved as rows in a file on this box, and discarded only on a person's word.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::inventory::{ClusterEntry, Fence};
use crate::core::cluster::HostName;
use crate::core::event::Event;
use crate::core::facts::MysqlFacts;
use crate::core::gtid::{MariaPosition, MariaRange, Surplus};
use crate::core::guard::{Facts, Guard};
use crate::core::losses;
use crate::core::playbook::Section;
use crate::core::proposal::Wish;
use crate::core::run::Ending;
use crate::core::standing::{Owed, Return, Standing};
use crate::core::trouble::{Kind, Trouble};
use crate::io::clock;
use crate::io::conductor::describe;
use crate::io::context::Errands;
use crate::io::fleet::Printed;
use crate::io::journal::{self, Found};
use crate::io::operation::{Performed, Performer, SingleDuty};
use crate::io::tending::Returning;

/// The duty that decodes the rows.
const DECODES: &str = "decode-surplus";
/// Decoding may take so long; the cluster's lock is held meanwhile.
const DECODE_WITHIN: Duration = Duration::from_secs(10);
/// So much is kept of what was decoded.
const MOST_BYTES: usize = 16 * 1024 * 1024;
/// A rebuild may take so long; each of its steps has its own deadline.
pub(crate) const REBUILD_WITHIN: Duration = Duration::from_secs(24 * 3600);

impl Performer<'_> {
    /// The file with the rows of a surplus, written now unless it was before. Nothing is left on the host.
    ///
    /// # Errors
    /// Why the rows could not be had; that keeps nobody from anything.
    pub(crate) async fn saved_rows(
        &self,
        host: &HostName,
        returning: &MysqlFacts,
        surplus: &Surplus,
        owed: &Owed,
    ) -> Result<String, String> {
        if let Return::KeptOut {
            surplus: known,
            rows: Some(rows),
        } = &owed.progress
            && *known == surplus.to_string()
            && PathBuf::from(rows).exists()
        {
            return Ok(rows.clone());
        }
        let with = self.stretch(host, returning, surplus, owed).await?;
        let errand = Errands {
            with: Some(&with),
            ..Errands::default()
        };
        let printed = self
            .fleet
            .print(host, DECODES, &errand, DECODE_WITHIN, MOST_BYTES)
            .await
            .map_err(|trouble| format!("{}: {}", trouble.what, trouble.because))?;
        self.write_rows(host, surplus, owed, &printed)
            .map_err(|error| format!("they could not be written: {error}"))
    }

    /// Where the tool has to read, in the words of the duty; what does not apply to this server is empty.
    async fn stretch(
        &self,
        host: &HostName,
        returning: &MysqlFacts,
        surplus: &Surplus,
        owed: &Owed,
    ) -> Result<BTreeMap<String, String>, String> {
        let (mut start, mut servers, mut gtids) = Default::default();
        let file = match surplus {
            Surplus::Mariadb(ranges) => {
                (start, servers) = start_of(ranges, owed.fork.as_ref())?;
                let end = returning.binlog.as_ref();
                end.ok_or("the end of its binary log is not told")?.file()
            }
            Surplus::Mysql(set) => {
                gtids = set.to_string();
                self.fleet.file_with(host, set).await?
            }
            Surplus::Files { from, .. } => {
                start = from.position.to_string();
                from.file()
            }
        };
        let with = [
            ("start", start),
            ("servers", servers),
            ("gtids", gtids),
            ("file", file),
        ];
        Ok(with.map(|(name, value)| (name.to_owned(), value)).into())
    }

    fn file_of_rows(&self, host: &HostName, owed: &Owed) -> PathBuf {
        let folder = self.dir.path().join("surplus");
        folder.join(format!("{host}-{}.sql", owed.run))
    }

    fn write_rows(
        &self,
        host: &HostName,
        surplus: &Surplus,
        owed: &Owed,
        printed: &Printed,
    ) -> std::io::Result<String> {
        let folder = self.dir.path().join("surplus");
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)?;
        // Readable for its owner alone, from its first byte on.
        let mut file = tempfile::NamedTempFile::new_in(&folder)?;
        let some = losses::transactions(surplus);
        writeln!(file, "-- {some} that only {host} has: {surplus}")?;
        writeln!(
            file,
            "-- replaced by run {}; decoded at {}",
            owed.run,
            clock::now()
        )?;
        file.write_all(&printed.bytes)?;
        if printed.is_cut {
            writeln!(
                file,
                "\n-- CUT after {MOST_BYTES} bytes: the rest is on {host} alone"
            )?;
        }
        file.as_file().sync_all()?;
        let path = self.file_of_rows(host, owed);
        file.persist(&path)?;
        Ok(path.display().to_string())
    }

    /// Rebuilds a host that was kept out, so that what only it has is gone; then it is compared like any other.
    ///
    /// # Errors
    /// Usage: no rebuild is declared. Refused: it is not due, or has something extra even so. Wrong: the rebuild failed,
    /// and the host stays out.
    pub async fn discard(&self, host: &HostName) -> Result<Performed, Trouble> {
        let rebuild = rebuild_of(self.fleet.entry(), host)?;
        if self.expects.is_some() {
            let (standing, facts) = (self.dir.load()?, self.fleet.look_everywhere().await);
            let planner = self.planner();
            let now = planner.propose_discarding(host, &standing, &facts).await;
            self.require_same_way(now, &standing, &facts)?;
        }
        // First of all it is harmless and compared: one without surplus needs no rebuild.
        let found = match self.take_back(host).await {
            Ok(performed) => return Ok(performed),
            Err(trouble) => trouble,
        };
        let standing = self.dir.load()?;
        let Some((surplus, rows, writer)) = self.to_be_given_up(host, &standing, &found)? else {
            return Err(found);
        };
        self.require_same_surplus(host, &surplus)?;
        let saved = rows.map_or("nowhere".to_owned(), |file| format!("in `{file}`"));
        self.teller.tell(Event::Alarm {
            what: format!(
                "{host} is rebuilt by `{}` as told by --discard; what only it has is gone then: {surplus}; its rows are {saved}",
                rebuild.duty
            ),
            hint: String::new(),
        });
        self.rebuild(host, rebuild, &writer, surplus).await?;
        self.take_back_as(host, Returning::Begun).await
    }

    /// What a rebuild of the host would give up, where its rows are, and whom it is made a copy of; none when it is not to be
    /// rebuilt, because what stood in the way of its return is something else.
    ///
    /// # Errors
    /// Refused: it is being rebuilt.
    fn to_be_given_up(
        &self,
        host: &HostName,
        standing: &Standing,
        found: &Trouble,
    ) -> Result<Option<(String, Option<String>, HostName)>, Trouble> {
        let (Some(owed), Some(writer)) = (standing.owed.get(host), &standing.writer) else {
            return Ok(None);
        };
        let begun = self.last_rebuild(host, standing)?;
        let given_up = match (found.guard, &owed.progress) {
            (Some(Guard::G23), Return::KeptOut { surplus, rows }) => Some((surplus.clone(), rows.clone())),
            // What a rebuild has left half done cannot be compared any more, and need not be: a person has given it up.
            (Some(Guard::G24 | Guard::G44 | Guard::G49), _) => {
                begun.map(|surplus| (surplus, self.saved_before(host, owed)))
            }
            _ => None,
        };
        Ok(given_up.map(|(surplus, rows)| (surplus, rows, writer.clone())))
    }

    /// What the last rebuild of a host was to give up that was begun since it was replaced and did not come to its end.
    ///
    /// # Errors
    /// Refused: a program is at work on it; or the records cannot be read.
    pub(super) fn last_rebuild(
        &self,
        host: &HostName,
        standing: &Standing,
    ) -> Result<Option<String>, Trouble> {
        let runs = journal::runs(&self.dir).map_err(|error| {
            Trouble::refused(Guard::G05, "the journals of earlier runs cannot be read", error)
        })?;
        let rebuild = |run: &Found| match &run.opening.chore {
            Some(Wish::Rejoin {
                host: rebuilt,
                discards,
            }) if rebuilt == host => discards.clone(),
            _ => None,
        };
        let mut rebuilds = runs.iter().rev().filter_map(|run| Some((run, rebuild(run)?)));
        let (Some((last, surplus)), Some(owed)) = (rebuilds.next(), standing.owed.get(host)) else {
            return Ok(None);
        };
        if last.is_at_work() {
            let because = format!("{} is at work on it", last.opening.run);
            return Err(Trouble::refused(
                Guard::G04,
                format!("`{host}` is being rebuilt"),
                because,
            ));
        }
        Ok(Some(surplus).filter(|_| last.is_half_done() && last.began() >= owed.since))
    }

    /// The file with the rows of what only the host had when it was replaced, where they were saved.
    pub(super) fn saved_before(&self, host: &HostName, owed: &Owed) -> Option<String> {
        let rows = self.file_of_rows(host, owed);
        rows.exists().then(|| rows.display().to_string())
    }

    /// Performs the rebuild, written down like a run. Without the lock: it takes long, and nobody gives a host anything that
    /// is kept out.
    ///
    /// # Errors
    /// Refused: nothing was touched. Wrong: it failed, and the host stays out.
    async fn rebuild(
        &self,
        host: &HostName,
        rebuild: &Fence,
        writer: &HostName,
        surplus: String,
    ) -> Result<(), Trouble> {
        let single = SingleDuty {
            duty: &rebuild.duty,
            at: host,
            on_box: false,
            within: REBUILD_WITHIN,
            errand: Errands {
                source: Some(writer),
                with: Some(&rebuild.with),
                gtid: true,
                ..Errands::default()
            },
        };
        let facts = Facts::from([(host.clone(), self.fleet.look(host).await)]);
        let planned = [self.planner().stage_of_duty(&single).await?];
        let wanted = Wish::Rejoin {
            host: host.clone(),
            discards: Some(surplus),
        };
        let mut chore = self
            .begin_chore(wanted, Section::Prepare, &planned, &[], &facts)
            .await?;
        let report = chore.perform(self, 0, &single).await;
        self.fleet.cool().await;
        let because = match &report {
            Ok(report) => describe(report),
            Err(trouble) => trouble.reason(),
        };
        if because.is_empty() {
            chore.end(self, Ending::Done { warnings: Vec::new() });
            return Ok(());
        }
        let hint = if chore.is_unknown() {
            format!(
                "`mmm resume {}` makes sure that nothing of it runs any more, and rebuilds it anew",
                chore.name()
            )
        } else {
            "mend that and try again".to_owned()
        };
        chore.end(
            self,
            Ending::Failed {
                because: because.clone(),
            },
        );
        report?;
        Err(Trouble::new(
            Kind::Wrong,
            format!("`{host}` was not rebuilt, and stays out"),
            because,
        )
        .hint(hint))
    }

    /// That a kept plan discards just this.
    ///
    /// # Errors
    /// Refused: something else would be lost by now.
    fn require_same_surplus(&self, host: &HostName, surplus: &str) -> Result<(), Trouble> {
        let planned = self.expects.as_ref().and_then(|plan| match &plan.wish {
            Wish::Rejoin { discards, .. } => discards.as_deref(),
            _ => None,
        });
        match planned {
            Some(planned) if planned != surplus => Err(Trouble::refused(
                Guard::G90,
                format!("nothing of `{host}` is discarded"),
                format!("what only it has was `{planned}` and is `{surplus}`"),
            )),
            _ => Ok(()),
        }
    }
}

/// What rebuilds the host.
///
/// # Errors
/// Usage: nothing is declared.
pub(crate) fn rebuild_of<'e>(entry: &'e ClusterEntry, host: &HostName) -> Result<&'e Fence, Trouble> {
    let declared = entry.hosts.get(host).and_then(|entry| entry.rebuild.as_ref());
    declared.ok_or_else(|| {
        Trouble::new(
            Kind::Usage,
            format!("nothing of `{host}` is discarded"),
            "the inventory declares no `rebuild` duty for it",
        )
        .hint("declare `rebuild: { duty: … }`, or rebuild it by hand and `mmm rejoin` it")
    })
}

/// From where to decode on MariaDB, and of which servers.
fn start_of(ranges: &[MariaRange], fork: Option<&MariaPosition>) -> Result<(String, String), String> {
    let mut servers: Vec<String> = ranges.iter().map(|range| range.server.to_string()).collect();
    servers.dedup();
    if let Some(fork) = fork {
        return Ok((fork.to_string(), servers.join(",")));
    }
    let [range] = ranges else {
        return Err("where the histories parted is not known".to_owned());
    };
    if range.from <= 1 {
        return Err("the two servers have nothing in common".to_owned());
    }
    let start = format!("{}-{}-{}", range.domain, range.server, range.from - 1);
    Ok((start, servers.join(",")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoding_begins_where_the_histories_parted() {
        let range = |server, from, to| MariaRange {
            domain: 0,
            server,
            from,
            to,
        };
        let one = [range(1, 103, 105)];
        assert_eq!(start_of(&one, None), Ok(("0-1-102".into(), "1".into())));
        let fork = "0-2-102,7-1-3".parse().ok();
        assert_eq!(
            start_of(&one, fork.as_ref()),
            Ok(("0-2-102,7-1-3".into(), "1".into()))
        );
        let two = [range(1, 103, 105), range(3, 4, 5)];
        assert_eq!(
            start_of(&two, fork.as_ref()),
            Ok(("0-2-102,7-1-3".into(), "1,3".into()))
        );
        assert!(start_of(&two, None).is_err());
        assert!(start_of(&[range(1, 1, 5)], None).is_err());
    }
}
