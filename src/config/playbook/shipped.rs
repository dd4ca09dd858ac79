//! The shipped playbooks, built into the program.

/// Lists files below `playbooks/` with their text.
macro_rules! shipped {
    ($($file:literal),* $(,)?) => {
        /// Path below `playbooks/` and text of each shipped file.
        pub const FILES: &[(&str, &str)] = &[
            $(($file, include_str!(concat!("../../../playbooks/", $file)))),*
        ];
    };
}

shipped![
    "dialects/mariadb.yaml",
    "dialects/mysql.yaml",
    "duties/account-rights.yaml",
    "duties/acknowledge.yaml",
    "duties/add-address.yaml",
    "duties/allow-start.yaml",
    "duties/allow-writes.yaml",
    "duties/announce.yaml",
    "duties/can-go-on.yaml",
    "duties/can-list-sessions.yaml",
    "duties/can-move-address.yaml",
    "duties/can-refuse-writes.yaml",
    "duties/catch-up.yaml",
    "duties/close-server.yaml",
    "duties/decode-surplus.yaml",
    "duties/demote-server.yaml",
    "duties/deny-writes.yaml",
    "duties/drain.yaml",
    "duties/drop-address.yaml",
    "duties/facts.yaml",
    "duties/fallen-silent.yaml",
    "duties/fence-ipmi.yaml",
    "duties/follow-by-position.yaml",
    "duties/follow-demoted.yaml",
    "duties/follow-if-level.yaml",
    "duties/follow.yaml",
    "duties/go-on.yaml",
    "duties/keep-stopped.yaml",
    "duties/kill-clients.yaml",
    "duties/lock-tables.yaml",
    "duties/note-start.yaml",
    "duties/own-unmoved.yaml",
    "duties/position-unmoved.yaml",
    "duties/preflight.yaml",
    "duties/probe-duplicate.yaml",
    "duties/read-applied.yaml",
    "duties/read-position.yaml",
    "duties/read-start-position.yaml",
    "duties/remove-address.yaml",
    "duties/reopen-writes.yaml",
    "duties/restore-events.yaml",
    "duties/resume-replication.yaml",
    "duties/root-paths.yaml",
    "duties/server-answers.yaml",
    "duties/server-is-gone.yaml",
    "duties/server-process.yaml",
    "duties/server-signs.yaml",
    "duties/settle-shell.yaml",
    "duties/settle-sql.yaml",
    "duties/start-applying.yaml",
    "duties/start-demoted.yaml",
    "duties/start-replication.yaml",
    "duties/stop-replication.yaml",
    "duties/sudo-rights.yaml",
    "duties/take-surplus.yaml",
    "duties/unit-job.yaml",
    "duties/unit-signs.yaml",
    "duties/unit-state.yaml",
    "duties/unlock-tables.yaml",
    "duties/wait-for-nobody.yaml",
    "duties/wait-for-replicas.yaml",
    "duties/witness.yaml",
    "operations/failover.yaml",
    "operations/move-address.yaml",
    "operations/place-address.yaml",
    "operations/quarantine.yaml",
    "operations/rejoin.yaml",
    "operations/reopen.yaml",
    "operations/switchover.yaml",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::evidence::Rung;
    use crate::core::plan::{self, Seats};
    use crate::core::playbook::Seat;

    #[test]
    fn every_file_of_the_folder_is_shipped() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("playbooks");
        let mut there: Vec<String> = Vec::new();
        for folder in ["dialects", "duties", "operations"] {
            for entry in std::fs::read_dir(root.join(folder)).unwrap() {
                there.push(format!(
                    "{folder}/{}",
                    entry.unwrap().file_name().into_string().unwrap()
                ));
            }
        }
        there.sort();
        let listed: Vec<&str> = FILES.iter().map(|(path, _)| *path).collect();
        assert_eq!(there, listed);
    }

    #[test]
    fn of_what_is_taken_from_a_dead_writer_only_its_leave_to_start_is_given_back() {
        let playbook = crate::config::playbook::load(None).unwrap();
        let seats = Seats {
            outgoing: Some("db1".into()),
            incoming: Some("db2".into()),
            ..Seats::default()
        };
        let failover = &playbook.operations["failover"];
        let stages = plan::stages(&playbook, failover, &seats, Some(Rung::Demote), None, |_| true).unwrap();
        let outgoing = stages.iter().filter(|stage| stage.seat == Seat::Outgoing);
        let given_back: Vec<_> = outgoing
            .filter_map(|stage| {
                Some((
                    stage.duty.as_str(),
                    stage.undo.as_deref()?,
                    stage.undo_if_possible,
                ))
            })
            .collect();
        assert_eq!(given_back, [("keep-stopped", "allow-start", true)]);
    }
}
