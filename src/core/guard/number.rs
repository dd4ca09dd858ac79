//! The guards by their numbers: each reason for which an operation is refused, what it says and what lifts it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::core::cluster::HostName;

/// Writes the enum and its tables from one list: a number, its sentence, what lifts it.
macro_rules! guards {
    ($($number:ident $sentence:literal => $lifted_by:literal;)*) => {
        /// A reason for which an operation is refused, with a stable number.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Guard {
            $(#[doc = $sentence] $number,)*
        }

        impl Guard {
            /// Every guard, in order.
            pub const ALL: &'static [Guard] = &[$(Guard::$number,)*];

            /// One sentence, as `mmm explain` prints it.
            pub fn sentence(self) -> &'static str {
                match self { $(Guard::$number => $sentence,)* }
            }

            /// What lifts it.
            pub fn lifted_by(self) -> &'static str {
                match self { $(Guard::$number => $lifted_by,)* }
            }
        }
    };
}

// Numbers stay what they are: a gap is for the next one of its kind.
guards! {
    // The cluster and this box.
    G01 "an operation got stuck, so nothing is touched until a person has looked"
        => "make sure by hand that one host at most takes writes, then `mmm clear`";
    G02 "none of the ping addresses answers, so this box may be the one that is cut off"
        => "bring this box's network back; `monitor.ping_addresses` in the inventory names what it pings";
    G03 "the cluster's mode does not let the monitor do that by itself"
        => "`mmm set-active` lets the monitor act by itself again";
    G04 "another operation holds the cluster's lock"
        => "wait for it to end and try again";
    G05 "what an operation needs on this box cannot be read, written or started"
        => "make the state directory writable for the user that runs `mmm`, and free some space in it";
    G06 "no host is known to be the writer"
        => "exactly one master must accept writes, or `mmm failover CLUSTER --to HOST` names one";
    G07 "no host is known to be the writer, and several could be"
        => "make sure that none of the others accepts writes, and that they can be asked";
    G08 "another host accepts writes as well"
        => "find out who opened it, then close it";
    G09 "a host that the operation needs cannot be managed over SSH"
        => "`mmm check` says what is missing";
    G10 "the evidence shows that the writer lives, so it keeps its role"
        => "`mmm switchover` moves the role from a living writer";
    G11 "the writer may be dead, but the evidence does not allow to open another host"
        => "the rule named with it says what does: `mmm explain` prints it";
    G12 "the server of the writer answers again"
        => "`mmm switchover` moves the role from a living writer";
    G13 "another host has become the writer meanwhile"
        => "`mmm show` says who is the writer";
    G14 "that host is the writer already"
        => "name another host with `--to HOST`";
    G15 "the writer does not answer, so it cannot hand its role over"
        => "if it is dead, `mmm failover` replaces it";
    G16 "the writer refuses writes, so there is nothing to hand over"
        => "a monitor opens it again, or `mmm failover` does";
    G17 "the host to be opened is not the writer"
        => "`mmm show` says who is the writer";
    G18 "another host holds the writer address"
        => "if that host is meant to be the writer, `mmm set-passive`, name it with `mmm set-ip`, then `mmm set-active`; otherwise take the address off it";
    G19 "the server of a host that the operation needs does not take the agent account"
        => "`mmm check` tries each account";

    // The host that would take over.
    G20 "no host could take over"
        => "the guard named with each host says what lifts it there";
    G21 "the host was taken out of service by a person"
        => "`mmm set-online HOST` lets it back in";
    G22 "the host was replaced as writer and has not been compared since"
        => "`mmm rejoin HOST` compares it, and lets it follow if it has nothing extra";
    G23 "the host has transactions that the writer has not"
        => "save what you need from it, rebuild it from the writer, then `mmm rejoin HOST`";
    G24 "the server of the host does not answer"
        => "start it, or mend what keeps this box from asking it; `mmm check` tries each account";
    G25 "the host replicates from nobody, so nothing says that it has the writer's data"
        => "let it replicate from the writer, over the channel that the inventory means (`mysql.channel`)";
    G26 "the SQL thread of the host is stopped, so it would be opened without what it received"
        => "start its replication once what stopped it is mended; where the writer is dead, `mmm failover --to HOST --allow-loss` goes on without what it has not applied";
    G27 "the binary log of the host is off, so nobody could follow it"
        => "switch `log_bin` on there and restart its server";
    G28 "the host does not log what it applies, so whoever follows it would miss that"
        => "switch `log_slave_updates` on there and restart its server";
    G29 "the host filters otherwise than the writer, so it may lack what the writer has"
        => "let the masters have the same filters, in replication and in the binary log; where the writer is dead, `mmm failover --to HOST --allow-loss` goes on all the same";
    G30 "a server would replicate from one of a newer series or another family, which nobody vouches for"
        => "upgrade the older servers first, or `failover.mixed_versions: accept` in the inventory while you do";
    G31 "the host is further behind than `failover.max_behind` allows"
        => "wait until it has caught up, or allow more in the inventory; where the writer is dead, `mmm failover --to HOST --allow-loss` goes on without what it lacks";
    G32 "the inventory says that the host is never promoted"
        => "`promotion: neutral` or `prefer` for the host in the inventory";
    G33 "the state of the host lets it take no role"
        => "`mmm checks HOST` says what is wrong; `mmm set-online HOST` lets one in that waits; `mmm move-role ROLE HOST --force` hands a living writer's role to it; where the writer is dead, `mmm failover --to HOST --allow-loss` goes on without what it lacks";
    G34 "the host does not replicate from the writer"
        => "`mmm check` compares replication with the inventory";
    G35 "replication on the host does not run"
        => "`mmm checks` says what stopped it; where the writer is dead, `mmm failover --to HOST --allow-loss` goes on without what it lacks";
    G36 "the host is too far behind: nobody could write while it catches up"
        => "wait, or let it catch up first with `mmm move-role ROLE HOST --force`";
    G37 "the host could not catch up with the writer"
        => "mend its replication, or choose another host";
    G38 "somebody wrote on the host what the writer never had"
        => "save what you need of that, then rebuild HOST from the writer; where the writer is dead, `mmm failover --to HOST --allow-loss` takes it for true";
    G39 "the writer applies what comes over another replication channel, which `read_only` does not stop"
        => "stop that channel on HOST by hand and remove it, and let a host follow that source that is never the writer";

    // Hosts that leave and come back.
    G40 "nobody waits for the host to return: it was not replaced as writer, or it has come back already"
        => "`mmm show` says what is owed";
    G41 "the host and the writer could not both be asked"
        => "try again when both answer";
    G42 "replication runs without GTIDs, so where the host should go on is not known"
        => "point it to the writer by hand, then `mmm rejoin HOST`";
    G43 "the host cannot be compared with the writer"
        => "rebuild it from the writer, or mend what keeps it from telling what it has";
    G44 "the host could not be made harmless: closed, without addresses, without replication"
        => "mend what failed there, then `mmm rejoin HOST`";
    G45 "the host does not answer, and may hold no role anyway"
        => "try again when it answers; until then switch it off if it must not come back";
    G46 "no check has said anything about the host yet"
        => "`mmm checks` shows what is known; try again in a moment";
    G47 "the host's own checks keep it out, and it comes back by itself"
        => "`mmm checks HOST` says what is wrong";
    G48 "the host follows another than the writer"
        => "point it to the writer by hand, then try again";
    G49 "a rebuild of the host was begun and did not come to its end, so it may hold only a part"
        => "`mmm rejoin HOST --discard` rebuilds it anew; `mmm rejoin HOST --rebuilt` once it was rebuilt by other means";

    // Addresses other than the writer's.
    G50 "the role is balanced: its addresses spread over all healthy hosts by themselves"
        => "`--address IP` moves that one, and it stays there while the host may hold it";
    G51 "it is the writer's address"
        => "`mmm switchover` moves it";
    G52 "the cluster is in passive mode"
        => "`mmm set-ip` says where it shall be; `mmm set-active` lets a monitor put it there";
    G53 "the host lags too far behind for readers"
        => "wait until it has caught up";
    G54 "the host holds the address already"
        => "name another host";
    G55 "the cluster is not in passive mode"
        => "`mmm move-role` moves it; `mmm set-passive` lets nothing be done";

    // The monitor.
    G60 "another monitor runs"
        => "one monitor serves all clusters of an inventory; `mmm ping` asks it for a sign of life";
    G61 "the monitor's socket cannot be made"
        => "`monitor.socket` in the inventory names it; its directory must be writable";
    G62 "a monitor watches the cluster already, and fails over by itself"
        => "`mmm show` on that box says what it does; stop it if this box is to act instead";
    G63 "another host may have become the writer since this box last looked"
        => "once you are sure that none of the others takes writes, `mmm failover --to HOST` opens it";
    G64 "the time given with `--timeout` ran out before anything was touched"
        => "allow more time; `mmm check` says which host is slow to answer";
    G65 "the person who was asked before something that cannot be had back did not say `yes`"
        => "`--yes` asks nothing";

    // Runs that were cut off, or got stuck.
    G70 "the run has come to its end"
        => "`mmm history` shows the runs and how each ended";
    G71 "the run has come past its commit, so it cannot be taken back"
        => "`mmm resume RUN` brings it to its end; a switchover, or a move of the address, leads back";
    G72 "another box or a person has moved the role since, so the run is over"
        => "`mmm show` says who is the writer";
    G73 "something has happened since that the run does not reckon with"
        => "`mmm undo RUN` takes it back, then begin anew";
    // What people have arranged.
    G80 "a step of the site before the operation failed, and it was to stop it"
        => "mend what the step does, or `on_failure: go_on` for it in the inventory";
    G81 "the cluster is in downtime, so nothing is done to it without a person"
        => "`mmm downtime CLUSTER --end` ends it; a person's own commands are not held back";
    G82 "the host is in downtime, so it neither takes over nor is replaced without a person"
        => "`mmm downtime HOST --end` ends it";
    G83 "another failover took place by itself not long ago, and nobody has acknowledged it"
        => "look what happened, then `mmm ack RUN`; `failover.min_interval` in the inventory says how long that counts";
    G84 "what the hosts show has changed while the steps of the site ran"
        => "try again";

    // Plans, and duties by hand.
    G90 "what the plan rests on has changed since it was made"
        => "make the plan anew, and look at what it says now";
    G91 "only an operation does that, after its guards: a duty by hand never opens a server for writes, nor touches the writer's address"
        => "`mmm switchover`, `mmm failover` and `mmm rejoin` do it";
}

impl Guard {
    /// What lifts it where `host` is the one it is about.
    pub fn lifted_for(self, host: &HostName) -> String {
        self.lifted_by().replace("HOST", host.as_str())
    }
}

impl fmt::Display for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_the_golden_file() {
        let mut table = String::from("# Generated by the tests: every guard, and what lifts it.\n");
        for guard in Guard::ALL {
            table.push_str(&format!(
                "{guard} {}\n    what lifts it: {}\n",
                guard.sentence(),
                guard.lifted_by()
            ));
        }
        crate::core::golden::check("tests/golden/guards.txt", &table);
    }

    #[test]
    fn every_guard_says_what_it_is_and_what_lifts_it() {
        assert!(Guard::ALL.is_sorted(), "their numbers rise");
        for guard in Guard::ALL {
            assert!(
                !guard.sentence().is_empty() && !guard.lifted_by().is_empty(),
                "{guard}"
            );
            let text = serde_json::to_string(guard).unwrap();
            assert_eq!(text, format!("\"{guard}\""));
            assert_eq!(serde_json::from_str::<Guard>(&text).unwrap(), *guard);
        }
    }
}
