//! Every scenario of the table. `db1` is the writer, `db2` the standby, `db3` a replica; clients write through the writer
//! address all the time, and the monitor runs on the box.

use std::time::Duration;

use anyhow::Result;

use super::scenario::Act;
use super::stage::SOON;
use super::strikes::{
    EVENT, WAITING, as_app, cleared, exhausted, healed, killed, password, semi_sync, slips, writes_wait,
};
use super::{Decided, Expected, Policy, Scenario, Stage};
use crate::host::Restart;
use crate::wait;

use Decided::{Held, Moved, Refused, Reopened, Replaced, Stays, Stuck, Undone};

const EVERY: &[Policy] = &Policy::ALL;
const ONE: &[Policy] = &[Policy::Default];
/// What the other hosts say of a server that lives.
const GREETED: &str = "is greeted by its server";

/// A scenario in which nothing is prepared, the monitor decides, and healing takes the fault back.
const PLAIN: Scenario = Scenario {
    name: "",
    says: "",
    under: ONE,
    keys: "",
    prepare: nothing,
    strike: nothing,
    act: Act::Watch,
    lasts: Duration::from_secs(12),
    relieve: healed,
    expect: |_| Expected::new(&[Stays], &[]),
};

/// A scenario in which a person moves the writer while something stands in the way.
const PLANNED: Scenario = Scenario {
    act: Act::Switchover,
    lasts: Duration::ZERO,
    relieve: nothing,
    ..PLAIN
};

/// The box's link goes down for 8 s as soon as one step of a switchover has begun.
macro_rules! cut_at {
    ($step:literal) => {
        Scenario {
            name: concat!("cut-at-step-", $step),
            says: concat!("switchover; the box's link is cut in step ", $step),
            act: Act::SwitchoverCutAt(number($step)),
            relieve: cleared,
            expect: |_| Expected::new(&[Moved, Undone, Refused, Stuck], &[]),
            ..PLANNED
        }
    };
}

/// Two digits as a number.
const fn number(text: &str) -> usize {
    let digits = text.as_bytes();
    ((digits[0] - b'0') * 10 + (digits[1] - b'0')) as usize
}

/// All of them, in the order of the table.
pub const SCENES: &[Scenario] = &[
    // The network.
    Scenario {
        name: "cut-from-box",
        says: "the writer cut off from the box alone",
        under: EVERY,
        strike: |s| s.lab.partition(&["db1"], &["box"]),
        expect: |_| Expected::new(&[Held], &["R27"]),
        ..PLAIN
    },
    Scenario {
        name: "cut-from-replicas",
        says: "the writer cut off from both replicas",
        strike: |s| s.lab.partition(&["db1"], &["db2", "db3"]),
        lasts: Duration::from_secs(25),
        expect: |_| Expected::new(&[Stays], &["R04", "R03"]),
        ..PLAIN
    },
    Scenario {
        name: "deaf-to-box",
        says: "one way: nothing from the box reaches the writer",
        under: EVERY,
        strike: |s| s.lab.cut_one_way(&["box"], &["db1"]),
        expect: |_| Expected::new(&[Held], &["R27"]),
        ..PLAIN
    },
    Scenario {
        name: "tcp-cut-from-box",
        says: "SSH and the server's port of the writer filtered from the box alone, while nobody writes",
        under: EVERY,
        strike: |s| {
            writes_wait(s)?;
            s.db1().drop_ports_from("box", &[22, 3306])
        },
        expect: |policy| match policy {
            Policy::Fence => Expected::new(&[Held], &["R32"]).and_says(GREETED),
            Policy::Default | Policy::Never => Expected::new(&[Held], &["R26"]).and_says(GREETED),
        },
        ..PLAIN
    },
    Scenario {
        name: "mute",
        says: "one way: nothing that the writer sends reaches anybody",
        under: EVERY,
        strike: |s| s.lab.cut_one_way(&["db1"], &["box", "client", "db2", "db3"]),
        expect: silent,
        ..PLAIN
    },
    Scenario {
        name: "cut-with-client",
        says: "the writer cut off together with its client",
        under: EVERY,
        strike: |s| s.lab.partition(&["db1", "client"], &["box", "db2", "db3"]),
        lasts: Duration::from_secs(20),
        expect: silent,
        ..PLAIN
    },
    Scenario {
        name: "link-down",
        says: "the writer's link down for 30 s",
        under: EVERY,
        strike: |s| s.db1().link_down(),
        lasts: Duration::from_secs(30),
        expect: silent,
        ..PLAIN
    },
    Scenario {
        name: "returns-meanwhile",
        says: "the old writer's link comes back during the failover",
        under: &[Policy::Default, Policy::Fence],
        strike: |s| {
            s.db1().link_down()?;
            s.until_a_failover_begins()?;
            // A fence may be faster, before this or meanwhile.
            let up = s.db1().link_up();
            if s.db1().is_on() { up } else { Ok(()) }
        },
        expect: |policy| Expected {
            decided: &[Replaced, Stays],
            by: &[],
            ..silent(policy)
        },
        ..PLAIN
    },
    Scenario {
        name: "returns-while-held",
        says: "the old writer's link comes back while its replacement is held back",
        under: &[Policy::Never],
        strike: |s| {
            s.db1().link_down()?;
            s.until_shown("R31 to hold it back", |view| view.guard() == Some("R31"))?;
            s.db1().link_up()
        },
        lasts: Duration::from_secs(30),
        expect: |_| Expected::new(&[Stays], &["R03"]),
        ..PLAIN
    },
    // The host.
    Scenario {
        name: "power-off",
        says: "power-off of the writer",
        under: EVERY,
        strike: |s| s.db1().power_off(),
        expect: |policy| Expected {
            price: false,
            ..silent(policy)
        },
        ..PLAIN
    },
    Scenario {
        name: "witness-dead",
        says: "power-off of the writer, the other replica off before",
        under: EVERY,
        prepare: |s| {
            s.db3().power_off()?;
            s.until_shown("db3 to be known to be off", |view| !view.is_online("db3"))
                .map(drop)
        },
        strike: |s| s.db1().power_off(),
        expect: |policy| Expected {
            price: false,
            ..silent(policy)
        },
        ..PLAIN
    },
    Scenario {
        name: "both-dead",
        says: "both masters without power, the standby first",
        under: EVERY,
        strike: |s| {
            s.db2().power_off()?;
            s.db1().power_off()
        },
        expect: |_| Expected::new(&[Held], &["R07"]),
        ..PLAIN
    },
    Scenario {
        name: "frozen",
        says: "the writer's whole host frozen, and thawed later",
        under: EVERY,
        strike: |s| s.db1().freeze(),
        expect: disobeys,
        ..PLAIN
    },
    Scenario {
        name: "disk-full",
        says: "the writer's disk full",
        strike: |s| s.db1().fill_disk(),
        expect: |_| Expected::new(&[Stays], &["R03"]).and_says("db1: its disk is full"),
        ..PLAIN
    },
    Scenario {
        name: "disk-read-only",
        says: "the writer's disk fails and becomes read-only",
        strike: |s| s.db1().make_root_read_only(),
        expect: |_| Expected::new(&[Replaced], &["R23", "R24"]).on_a_failing_disk(),
        ..PLAIN
    },
    // The server.
    Scenario {
        name: "sigstop",
        says: "SIGSTOP of the writer's server",
        strike: |s| s.db1().stop_mysqld(),
        expect: |_| Expected::new(&[Replaced], &["R24"]),
        ..PLAIN
    },
    Scenario {
        name: "kill",
        says: "kill -9 of the writer's server; nothing starts it again",
        strike: |s| killed(s, Restart::Never),
        expect: |_| Expected::new(&[Replaced], &["R23"]),
        ..PLAIN
    },
    Scenario {
        name: "kill-restart",
        says: "kill -9 of the writer's server; its supervisor starts it again at once",
        strike: |s| killed(s, Restart::After(Duration::from_millis(50))),
        // A look may meet the moment in which no process is left, and that is proof.
        expect: |_| Expected::new(&[Reopened, Replaced], &["R08", "R23"]),
        ..PLAIN
    },
    Scenario {
        name: "kill-restart-late",
        says: "kill -9 of the writer's server; its supervisor starts it again after 15 s",
        strike: |s| killed(s, Restart::After(Duration::from_secs(15))),
        expect: |_| Expected::new(&[Replaced], &["R23"]),
        ..PLAIN
    },
    Scenario {
        name: "service-stop",
        says: "a person stops the writer's server by the service manager",
        strike: |s| s.set_going(s.db1(), "systemctl stop mariadb"),
        expect: |_| Expected::new(&[Replaced], &["R23"]),
        ..PLAIN
    },
    Scenario {
        name: "service-stop-hangs",
        says: "a stop by the service manager that does not come to an end",
        strike: |s| {
            s.db1().stop_mysqld()?;
            s.set_going(s.db1(), "systemctl stop mariadb")
        },
        expect: |_| Expected::new(&[Replaced], &["R23", "R24"]),
        ..PLAIN
    },
    Scenario {
        name: "service-restart",
        says: "a person restarts the writer's server by the service manager; trap period 15 s",
        keys: "    checks: { default: { every: 1s, trap_after: 15s, timeout: 1s } }\n",
        strike: |s| s.set_going(s.db1(), "systemctl restart mariadb"),
        expect: |_| Expected::new(&[Reopened], &["R08"]),
        ..PLAIN
    },
    Scenario {
        name: "connections-exhausted",
        says: "no connection is left on the writer",
        strike: exhausted,
        relieve: |s| {
            s.end_all();
            wait::until(SOON, "a connection to be free", || {
                s.db1().sql("SET GLOBAL max_connections = 200").is_ok()
            })
        },
        expect: |_| Expected::new(&[Stays], &["R03"]),
        ..PLAIN
    },
    Scenario {
        name: "password-changed",
        says: "the monitor's password changed on the writer",
        strike: |s| password(s, "changed"),
        relieve: |s| password(s, &s.lab.password("monitor")?),
        expect: |_| Expected::new(&[Stays], &["R03"]).and_says("check `mysql` of db1 cannot tell"),
        ..PLAIN
    },
    // SSH.
    Scenario {
        name: "sshd-down",
        says: "sshd down on the writer, its server well",
        strike: |s| s.db1().stop_sshd(),
        expect: |_| Expected::new(&[Stays], &["R03"]).and_says("db1 cannot be managed over SSH"),
        ..PLAIN
    },
    Scenario {
        name: "sshd-down-server-dead",
        says: "sshd down on the writer, and its server killed",
        under: EVERY,
        strike: |s| {
            s.db1().stop_sshd()?;
            killed(s, Restart::Never)
        },
        expect: disobeys,
        ..PLAIN
    },
    Scenario {
        name: "ssh-hung-server-dead",
        says: "SSH of the writer hangs, and its server is killed",
        under: EVERY,
        strike: |s| {
            s.db1().drop_port(22)?;
            killed(s, Restart::Never)
        },
        expect: disobeys,
        ..PLAIN
    },
    // Replication.
    Scenario {
        name: "replica-ahead",
        says: "kill -9 of the writer; the other replica has received more than the standby",
        strike: |s| {
            s.db1().set_restart(Restart::Never)?;
            s.db2().sql("STOP SLAVE IO_THREAD")?;
            let count = "SELECT COUNT(*) FROM app.writes";
            let has: u64 = s.db3().value(count)?.parse()?;
            s.until_more_than(s.db3(), count, has + 100)?;
            s.db1().kill_mysqld()
        },
        expect: |_| Expected::new(&[Replaced], &["R23"]),
        ..PLAIN
    },
    Scenario {
        name: "replica-stopped",
        says: "kill -9 of the writer; replication stopped on the other replica",
        prepare: |s| s.db3().sql("STOP SLAVE").map(drop),
        strike: |s| killed(s, Restart::Never),
        relieve: |s| s.db3().sql("START SLAVE").map(drop),
        expect: |_| Expected::new(&[Replaced], &["R23"]),
        ..PLAIN
    },
    Scenario {
        name: "standby-stopped",
        says: "kill -9 of the writer; the standby had stopped applying",
        prepare: |s| {
            s.db2().sql("STOP SLAVE SQL_THREAD")?;
            s.until_shown("db2 to be known to be broken", |view| !view.is_online("db2"))
                .map(drop)
        },
        strike: |s| killed(s, Restart::Never),
        relieve: |s| {
            s.db1().sh("systemctl start mariadb")?.ok()?;
            s.db2().sql("START SLAVE").map(drop)
        },
        expect: |_| Expected::new(&[Held], &["R07"]),
        ..PLAIN
    },
    // Planned moves.
    Scenario {
        name: "surplus-on-standby",
        says: "switchover; the standby has a transaction that the writer has not",
        prepare: |s| {
            s.db1().sql("STOP SLAVE")?;
            s.db2().sql("CREATE DATABASE only_here").map(drop)
        },
        relieve: |s| s.db1().sql("START SLAVE").map(drop),
        expect: |_| Expected::new(&[Moved, Refused], &[]),
        ..PLANNED
    },
    Scenario {
        name: "long-transaction",
        says: "switchover; a client's transaction has been writing for long",
        strike: |s| {
            let write = "BEGIN; INSERT INTO app.writes VALUES (1, 'long', 1); DO SLEEP(300)";
            s.set_going(s.db1(), &as_app(s, write)?)?;
            let long = "SELECT COUNT(*) FROM information_schema.processlist WHERE info = 'DO SLEEP(300)' AND time >= 3";
            s.until_more_than(s.db1(), long, 0)
        },
        expect: |_| Expected::new(&[Refused], &["has been writing"]),
        ..PLANNED
    },
    Scenario {
        name: "prepared-xa",
        says: "switchover; a prepared XA transaction is left",
        strike: |s| {
            s.db1().sql("CREATE TABLE app.notes (id BIGINT PRIMARY KEY)")?;
            let prepare =
                "XA START 'left'; INSERT INTO app.notes VALUES (7); XA END 'left'; XA PREPARE 'left'";
            s.db1().sql(prepare).map(drop)
        },
        relieve: |s| s.db1().sql("XA ROLLBACK 'left'").map(drop),
        expect: |_| Expected::new(&[Undone, Refused], &["prepared XA"]),
        ..PLANNED
    },
    Scenario {
        name: "root-client",
        says: "switchover; a client with root's rights writes on",
        prepare: slips,
        strike: |s| {
            let write = "INSERT INTO app.slips (who, server) VALUES ('client', @@server_id)";
            s.set_going(s.db1(), &format!("while :; do mariadb -e \"{write}\"; done"))?;
            s.until_more_than(s.db1(), "SELECT COUNT(*) FROM app.slips", 20)
        },
        relieve: |s| {
            s.end_all();
            cleared(s)
        },
        // What slips past `read_only` in the last moment is found afterwards, and shown.
        expect: |_| {
            Expected::new(
                &[Undone, Stuck],
                &["Its position has not moved", "It made no transaction after"],
            )
        },
        ..PLANNED
    },
    Scenario {
        name: "event",
        says: "switchover; an event with root's rights writes on",
        prepare: slips,
        strike: |s| {
            s.db1().sql(EVENT)?;
            s.until_more_than(s.db1(), "SELECT COUNT(*) FROM app.slips", 20)
        },
        expect: |_| Expected::new(&[Moved], &[]),
        ..PLANNED
    },
    Scenario {
        name: "semi-sync-starved",
        says: "switchover; semi-synchronous replication waits for an acknowledgement that never comes",
        prepare: |s| {
            // Every client that connects anew is left waiting.
            s.db1().sql("SET GLOBAL max_connections = 5000")?;
            semi_sync(s, true)
        },
        strike: |s| {
            for replica in [s.db2(), s.db3()] {
                replica.sql("SET GLOBAL rpl_semi_sync_slave_enabled = OFF; STOP SLAVE IO_THREAD; START SLAVE IO_THREAD")?;
            }
            s.until_more_than(s.db1(), WAITING, 0)
        },
        relieve: |s| semi_sync(s, false),
        expect: |_| Expected::new(&[Refused], &["No commit waits for an acknowledgement"]),
        ..PLANNED
    },
    cut_at!("01"),
    cut_at!("02"),
    cut_at!("03"),
    cut_at!("04"),
    cut_at!("05"),
    cut_at!("06"),
    cut_at!("07"),
    cut_at!("08"),
    cut_at!("09"),
    cut_at!("10"),
    cut_at!("11"),
    cut_at!("12"),
    cut_at!("13"),
    cut_at!("14"),
    cut_at!("15"),
    cut_at!("16"),
    cut_at!("17"),
    cut_at!("18"),
    cut_at!("19"),
];

fn nothing(_: &Stage<'_>) -> Result<()> {
    Ok(())
}

/// The writer is silent to everybody who can be asked.
fn silent(policy: Policy) -> Expected {
    match policy {
        Policy::Default => Expected::new(&[Replaced], &["R30"]).at_a_price(),
        Policy::Fence => Expected::new(&[Replaced], &["R29"]),
        Policy::Never => Expected::new(&[Held], &["R31"]),
    }
}

/// The writer's kernel answers, and nothing that is said to the host is obeyed.
fn disobeys(policy: Policy) -> Expected {
    match policy {
        Policy::Default | Policy::Never => Expected::new(&[Held], &["R26"]),
        Policy::Fence => Expected::new(&[Replaced], &["R25"]),
    }
}
