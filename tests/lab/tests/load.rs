//! Load on a real lab: handed over by hand, cut by a power-off, and written on two servers at once.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test may fail by panicking and shows the report it judged by"
)]

use std::time::Duration;

use lab::judge::{Expect, Violation, judge};
use lab::roster::{INTERFACE, WRITER_ADDRESS};
use lab::sampler::State;
use lab::wait::until_some;
use lab::writer::Writers;
use lab::{Host, Lab, Options};

const SOON: Duration = Duration::from_secs(20);
/// More than the writers can write in a second. A kernel believes no announcement of an address that comes within a
/// second of the last (`locktime`), so that clients would go on connecting to the old host.
const ROWS_OF_A_SECOND: usize = 700;

/// Make before break, as a person would do it.
fn hand_over(from: &Host, to: &Host) {
    from.sql("SET GLOBAL read_only = ON; KILL USER app").unwrap();
    let position = from.value("SELECT @@gtid_binlog_pos").unwrap();
    assert_eq!(
        to.value(&format!("SELECT MASTER_GTID_WAIT('{position}', 10)"))
            .unwrap(),
        "0"
    );
    take_address(to);
    to.sql("SET GLOBAL read_only = OFF").unwrap();
    from.sql("KILL USER app").unwrap();
    from.sh(&format!("ip address del {WRITER_ADDRESS}/32 dev {INTERFACE}"))
        .unwrap()
        .ok()
        .unwrap();
}

fn take_address(host: &Host) {
    let add = format!("ip address replace {WRITER_ADDRESS}/32 dev {INTERFACE}");
    let tell = format!("(arping -q -U -c 2 -I {INTERFACE} {WRITER_ADDRESS} >/dev/null 2>&1 &)");
    host.sh(&format!("{add} && {tell}")).unwrap().ok().unwrap();
}

#[test]
fn load_tells_a_clean_handover_a_lost_host_and_two_writers_apart() {
    let lab = Lab::up(Options::for_test()).unwrap();
    let (db1, db2, db3) = (lab.db1(), lab.db2(), lab.db3());

    let load = lab
        .start_load(Writers {
            pool: 50,
            ..Writers::default()
        })
        .unwrap();
    load.until_acknowledged("db1", ROWS_OF_A_SECOND, SOON).unwrap();
    hand_over(db1, db2);
    load.until_acknowledged("db2", ROWS_OF_A_SECOND, SOON).unwrap();
    hand_over(db2, db1);
    load.until_acknowledged("db1", 200, SOON).unwrap();
    // db3 follows db1 only, which has passed on what db2 took.
    let report = load
        .stop_and_judge(
            &[db1, db2, db3],
            Expect {
                handovers: 2,
                ..Expect::default()
            },
        )
        .unwrap();
    eprintln!("{report}");
    assert_eq!(report.verdict(), [], "{report}");
    assert!(
        report.idle.noticed >= 100 && report.windows.handovers.len() == 2,
        "{report}"
    );

    // Both sides of a partition that is none: db2 is opened while db1 is the writer.
    db2.sql("SET GLOBAL read_only = OFF").unwrap();
    db2.sh("true").unwrap();
    let refused = lab.start_load(Writers::default()).err().unwrap().to_string();
    assert!(refused.contains("db1, db2"), "{refused}");
    db2.sql("SET GLOBAL read_only = ON").unwrap();
    let pinned = vec![format!("{}:3306", db2.address()).parse().unwrap()];
    let load = lab
        .start_load(Writers {
            pinned,
            ..Writers::default()
        })
        .unwrap();
    db2.sql("SET GLOBAL read_only = OFF").unwrap();
    load.until_acknowledged("db2", 50, SOON).unwrap();
    db2.sql("SET GLOBAL read_only = ON").unwrap();
    let report = load
        .stop_and_judge(
            &[db1, db2, db3],
            Expect {
                handovers: 0,
                ..Expect::default()
            },
        )
        .unwrap();
    eprintln!("{report}");
    assert!(report.overlap_by_acknowledgements() && report.windows.touching.iter().any(|touch| touch.proven));

    // The writer loses its power with rows that nobody else has, and another goes on without them.
    let load = lab
        .start_load(Writers {
            anew: false,
            ..Writers::default()
        })
        .unwrap();
    for replica in [db2, db3] {
        replica.sql("STOP SLAVE IO_THREAD").unwrap();
    }
    load.until_acknowledged("db1", 50, SOON).unwrap();
    db1.power_off().unwrap();
    take_address(db2);
    db2.sql("SET GLOBAL read_only = OFF").unwrap();
    load.until_acknowledged("db2", 50, SOON).unwrap();
    db1.boot().unwrap();
    let watching = "SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'lab_sampler'";
    until_some(SOON, "the sampler of db1", || {
        Ok((db1.value(watching)? == "1").then_some(()))
    })
    .unwrap();
    let evidence = load.stop(&[db2], Expect::default()).unwrap();
    let states: Vec<State> = evidence.samples[0].spans.iter().map(|span| span.state).collect();
    assert_eq!(states[..2], [State::Writable, State::Off], "{states:?}");
    assert!(states.ends_with(&[State::ReadOnly]), "{states:?}");
    let report = judge(&evidence);
    eprintln!("{report}");
    assert!(report.lost() >= 50 && !report.overlap(), "{report}");
    assert!(
        matches!(report.verdict(), [Violation::Missing(host, _)] if host == "db2"),
        "{report}"
    );
}
