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
use crate::core::guard::{self, Facts, Guard};
use crate::core::losses;
use crate::core::playbook::Section;
use crate::core::proposal::Wish;
use crate::core::run::Ending;
use crate::core::script::DutyOutcome;
use crate::core::standing::{Owed, Rebuild, Return, Standing};
use crate::core::trouble::{Kind, Trouble};
use crate::io::chore::Chore;
use crate::io::clock;
use crate::io::conductor::describe;
use crate::io::context::Errands;
use crate::io::fleet::Printed;
use crate::io::hold::Hold;
use crate::io::journal::{self, Found};
use crate::io::lock::LocalLock;
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
/// Whoever holds the lock when a rebuild has ended is waited for so long: after hours nobody wants it to have been in vain.
const WRITTEN_WITHIN: Duration = Duration::from_secs(60);

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
        // What was saved before may be nowhere else by now.
        let mut number = 1;
        loop {
            let again = if number == 1 {
                String::new()
            } else {
                format!("-{number}")
            };
            let path = folder.join(format!("{host}-{}{again}.sql", owed.run));
            match file.persist_noclobber(&path) {
                Ok(_) => return Ok(path.display().to_string()),
                Err(taken) if taken.error.kind() == std::io::ErrorKind::AlreadyExists => {
                    file = taken.file;
                    number += 1;
                }
                Err(failed) => return Err(failed.error),
            }
        }
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
        let purpose = format!("rebuild of {host}");
        let hold = Hold::take(self.fleet, &self.dir, &purpose, self.lock_wait).await?;
        let begun = self.begin_rebuild(host, rebuild, found).await;
        hold.release().await;
        let (chore, writer) = match begun {
            Ok(begun) => begun,
            Err(trouble) => {
                self.fleet.cool().await;
                return Err(trouble);
            }
        };
        // Without the lock: it takes long, and nobody gives a host anything that is kept out.
        let rebuilt = self
            .rebuild(
                host,
                &Rebuilding {
                    rebuild,
                    writer: &writer,
                },
                chore,
            )
            .await;
        self.fleet.cool().await;
        rebuilt?;
        self.rebuild_is_over(host).await;
        self.take_back_as(host, Returning::Begun).await
    }

    /// Writes down that the host is to be rebuilt, before anything of that is done. Called with the lock held. `found` is
    /// what stood in the way of its return.
    ///
    /// # Errors
    /// Refused: it is not to be rebuilt, because what stood in the way is something else, or it is being rebuilt already;
    /// or it cannot be reached or be written down.
    async fn begin_rebuild(
        &self,
        host: &HostName,
        rebuild: &Fence,
        found: Trouble,
    ) -> Result<(Chore, HostName), Trouble> {
        let mut standing = self.dir.load()?;
        guard::hands_off(&self.fleet.entry().cluster, &standing)?;
        self.not_being_rebuilt(host)?;
        let (Some(owed), Some(writer)) = (standing.owed.get(host), standing.writer.clone()) else {
            return Err(found);
        };
        let given_up = match (found.guard, &owed.progress, &owed.rebuild) {
            (Some(Guard::G23), Return::KeptOut { surplus, rows }, None) => Rebuild {
                surplus: surplus.clone(),
                rows: rows.clone(),
            },
            // What a rebuild has left half done cannot be compared any more, and need not be: a person has given it up.
            (Some(Guard::G24 | Guard::G44 | Guard::G49), _, Some(begun)) => begun.clone(),
            _ => return Err(found),
        };
        self.require_same_surplus(host, &given_up.surplus)?;
        let rebuilding = Rebuilding {
            rebuild,
            writer: &writer,
        };
        let facts = Facts::from([(host.clone(), self.fleet.look(host).await)]);
        let planned = [self.planner().stage_of_duty(&rebuilding.duty_at(host)).await?];
        let wanted = Wish::Rejoin {
            host: host.clone(),
            discards: Some(given_up.surplus.clone()),
        };
        let chore = self
            .begin_chore(wanted, Section::Prepare, &planned, &[], &facts)
            .await?;
        if let Some(owed) = standing.owed.get_mut(host) {
            owed.rebuild = Some(given_up.clone());
        }
        standing.touch();
        if let Err(trouble) = self.dir.save(&standing) {
            let trouble = trouble.into_refusal(Guard::G05);
            chore.end(
                self,
                Ending::Undone {
                    because: trouble.reason(),
                    untouched: true,
                },
            );
            return Err(trouble);
        }
        let saved = given_up
            .rows
            .as_ref()
            .map_or("nowhere".to_owned(), |file| format!("in `{file}`"));
        self.teller.tell(Event::Alarm {
            what: format!(
                "{host} is rebuilt by `{}` as told by --discard; what only it has is gone then: {}; its rows are {saved}",
                rebuild.duty, given_up.surplus
            ),
            hint: String::new(),
        });
        Ok((chore, writer))
    }

    /// Whether a rebuild of the host was begun that has not come to its end, by what stands and by the records.
    ///
    /// # Errors
    /// Refused: the records cannot be read.
    pub(super) fn is_half_rebuilt(&self, host: &HostName, standing: &Standing) -> Result<bool, Trouble> {
        let Some(owed) = standing.owed.get(host).filter(|owed| owed.rebuild.is_some()) else {
            return Ok(false);
        };
        let runs = self.rebuilds_of(host)?;
        let since: Vec<&Found> = runs.iter().filter(|run| run.began() >= owed.since).collect();
        // Of one that touched nothing the one before says how it stands.
        let last = since
            .iter()
            .rev()
            .find(|run| !matches!(run.ending(), Some(Ending::Undone { .. })));
        Ok(match last.map(|run| run.ending()) {
            Some(ending) => !matches!(ending, Some(Ending::Done { .. })),
            None => since.is_empty(),
        })
    }

    /// The records of its rebuilds, oldest first.
    fn rebuilds_of(&self, host: &HostName) -> Result<Vec<Found>, Trouble> {
        let mut runs = journal::runs(&self.dir).map_err(|error| {
            Trouble::refused(Guard::G05, "the journals of earlier runs cannot be read", error)
        })?;
        runs.retain(
            |run| matches!(&run.opening.chore, Some(Wish::Rejoin { host: rebuilt, .. }) if rebuilt == host),
        );
        Ok(runs)
    }

    /// Writes down that what the host holds is whole again: whoever comes next compares it, as this program is about to.
    async fn rebuild_is_over(&self, host: &HostName) {
        let patience = self.lock_wait.max(WRITTEN_WITHIN);
        let written = match LocalLock::take(&self.dir, &format!("rebuild of {host}"), patience).await {
            Ok(_lock) => self.dir.load().and_then(|mut standing| {
                if let Some(owed) = standing.owed.get_mut(host) {
                    owed.rebuild = None;
                    owed.progress = Return::Quarantined;
                }
                standing.touch();
                self.dir.save(&standing)
            }),
            Err(trouble) => Err(trouble),
        };
        if let Err(trouble) = written {
            self.alarm(&trouble);
        }
    }

    /// That no program is rebuilding the host.
    ///
    /// # Errors
    /// Refused: one is, or the records cannot be read.
    pub(super) fn not_being_rebuilt(&self, host: &HostName) -> Result<(), Trouble> {
        match self.rebuilds_of(host)?.iter().find(|run| run.is_at_work()) {
            None => Ok(()),
            Some(run) => Err(Trouble::refused(
                Guard::G04,
                format!("`{host}` is being rebuilt"),
                format!("{} is at work on it", run.opening.run),
            )),
        }
    }

    /// Performs the rebuild.
    ///
    /// # Errors
    /// Refused: nothing was touched. Wrong: it failed, and the host stays out.
    async fn rebuild(
        &self,
        host: &HostName,
        rebuilding: &Rebuilding<'_>,
        mut chore: Chore,
    ) -> Result<(), Trouble> {
        let report = match chore.perform(self, 0, &rebuilding.duty_at(host)).await {
            Ok(report) => report,
            Err(trouble) => {
                let because = trouble.reason();
                chore.end(
                    self,
                    Ending::Undone {
                        because,
                        untouched: true,
                    },
                );
                return Err(trouble);
            }
        };
        if report.outcome == DutyOutcome::Done {
            chore.end(self, Ending::Done { warnings: Vec::new() });
            return Ok(());
        }
        let because = describe(&report);
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
        let what = format!("`{host}` was not rebuilt, and stays out");
        Err(Trouble::new(Kind::Wrong, what, because).hint(hint))
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

/// How a host is rebuilt, and as a copy of whom.
struct Rebuilding<'a> {
    rebuild: &'a Fence,
    writer: &'a HostName,
}

impl Rebuilding<'_> {
    fn duty_at<'s>(&'s self, host: &'s HostName) -> SingleDuty<'s> {
        SingleDuty {
            duty: &self.rebuild.duty,
            at: host,
            on_box: false,
            within: REBUILD_WITHIN,
            errand: Errands {
                source: Some(self.writer),
                with: Some(&self.rebuild.with),
                gtid: true,
                ..Errands::default()
            },
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
