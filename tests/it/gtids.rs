//! What the program makes of GTIDs is what the servers make of them: drawn at random, read, written, joined, subtracted
//! and compared here and by the servers' own functions.

use lab::{Flavour, Host, Server};
use mmm::core::gtid::{MariaPosition, MariaState, MysqlSet};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::families::cluster_of;

/// How many pairs are drawn, and how many of them one question asks about.
const PAIRS: usize = 1000;
const AT_ONCE: usize = 100;

const SERVERS: [&str; 3] = [
    "3e11fa47-71ca-11e1-9e33-c80aa9429562",
    "3E11FA47-71CA-11E1-9E33-C80AA9429563",
    "00000000-0000-0000-0000-000000000001",
];
/// The highest number there is.
const LAST: u64 = 9_223_372_036_854_775_806;

/// Values of a strategy, the same at each run.
fn drawn<S: Strategy>(strategy: &S, count: usize) -> Vec<S::Value> {
    let mut runner = TestRunner::deterministic();
    (0..count)
        .map(|_| strategy.new_tree(&mut runner).unwrap().current())
        .collect()
}

/// A set as somebody may write it: in no order, with overlaps, blanks, and capitals.
fn set_text(tagged: bool) -> impl Strategy<Value = String> {
    let interval = prop_oneof![
        8 => (1u64..30, 0u64..6).prop_map(|(from, more)| (from, from + more)),
        1 => Just((LAST - 3, LAST)),
    ]
    .prop_map(|(from, to)| {
        if from == to {
            from.to_string()
        } else {
            format!("{from}-{to}")
        }
    });
    let intervals = proptest::collection::vec(interval, 1..5).prop_map(|all| all.join(":"));
    let tag = if tagged {
        proptest::option::of(prop_oneof![Just("batch_1"), Just("Batch_1"), Just("_z")]).boxed()
    } else {
        Just(None).boxed()
    };
    let entry =
        (0..SERVERS.len(), tag, intervals, any::<bool>()).prop_map(|(server, tag, intervals, blank)| {
            let tag = tag.map_or(String::new(), |tag| format!("{tag}:"));
            let blank = if blank { " " } else { "" };
            format!("{blank}{}:{tag}{intervals}{blank}", SERVERS[server])
        });
    proptest::collection::vec(entry, 0..5).prop_map(|all| all.join(","))
}

/// A set as the server prints it, without its line breaks.
fn printed(text: &str) -> String {
    text.replace('\n', "")
}

fn mysql(server: Server) {
    let lab = cluster_of(Flavour::of(server));
    let tagged = server == Server::Mysql9_7;
    let text = set_text(tagged);
    let pairs = drawn(&(text, set_text(tagged)), PAIRS);
    for some in pairs.chunks(AT_ONCE) {
        let questions: Vec<String> = some
            .iter()
            .map(|(left, right)| {
                format!(
                    "SELECT GTID_SUBTRACT('{left}', ''), GTID_SUBTRACT('{left}', '{right}'), \
                     GTID_SUBSET('{right}', '{left}'), GTID_SUBTRACT('{left},{right}', '')"
                )
            })
            .collect();
        let answers = lab.db1().sql(&questions.join(" UNION ALL ")).unwrap();
        assert_eq!(answers.len(), some.len());
        for ((left, right), answer) in some.iter().zip(answers) {
            let [read, less, contained, both] = answer.as_slice() else {
                panic!("{answer:?}");
            };
            let of = |text: &str| text.parse::<MysqlSet>().unwrap();
            let (l, r) = (of(left), of(right));
            assert_eq!(l.to_string(), printed(read), "{left}");
            assert_eq!(l.difference(&r).to_string(), printed(less), "{left} less {right}");
            assert_eq!(l.contains(&r), contained == "1", "{right} in {left}");
            assert_eq!(l.union(&r).to_string(), printed(both), "{left} and {right}");
        }
    }
    refused_as_well(lab.db1());
    lab.db1().sql("CREATE DATABASE numbers").unwrap();
    let executed = lab.db1().value("SELECT @@global.gtid_executed").unwrap();
    let set: MysqlSet = executed.parse().unwrap();
    assert!(!set.is_empty());
    assert_eq!(set.to_string(), printed(&executed));
}

/// What the server takes for no set is none here.
fn refused_as_well(host: &Host) {
    let of = SERVERS[0];
    let mut texts: Vec<String> = [
        "",
        ":0",
        ":5-3",
        ":-3",
        ":1-2-3",
        ":9223372036854775807",
        ":1:+2",
        ":1 2",
        ":x!",
    ]
    .iter()
    .map(|rest| format!("{of}{rest}"))
    .collect();
    texts.push("3e11fa47-71ca-11e1-9e33:1".to_owned());
    let mut refused = 0;
    for text in texts {
        if host.sql(&format!("SELECT GTID_SUBSET('{text}', '')")).is_err() {
            refused += 1;
            assert!(text.parse::<MysqlSet>().is_err(), "`{text}`");
        }
    }
    assert!(refused >= 5, "the server refused {refused} of them");
}

/// Positions of two domains; none of them empty, which the server takes for no question.
fn position() -> impl Strategy<Value = String> {
    let place =
        |domain: u32| (1u32..4, 1u64..6).prop_map(move |(server, seq)| format!("{domain}-{server}-{seq}"));
    prop_oneof![
        place(0),
        place(7),
        (place(0), place(7)).prop_map(|(one, other)| format!("{other},{one}")),
    ]
}

fn mariadb(server: Server) {
    let lab = cluster_of(Flavour::of(server));
    let host = lab.db3();
    host.sql("STOP SLAVE").unwrap();
    // As a replica would write them: numbers rise in each domain, whoever wrote.
    let steps = drawn(&(any::<bool>(), 1u32..5, 1u64..4), 200);
    let mut next = [1_000u64, 1_000];
    let mut statements = String::from("CREATE DATABASE numbers; CREATE TABLE numbers.t (i INT);\n");
    for (other, server, more) in steps {
        let at = &mut next[usize::from(other)];
        *at += more;
        let domain = if other { 7 } else { 0 };
        statements.push_str(&format!(
            "SET SESSION gtid_domain_id = {domain}, server_id = {server}, gtid_seq_no = {at}; INSERT INTO numbers.t VALUES (1);\n"
        ));
    }
    host.sql(&statements).unwrap();
    let state = host.value("SELECT @@global.gtid_binlog_state").unwrap();
    let read: MariaState = state.parse().unwrap();
    assert_eq!(read.to_string().split(',').count(), state.split(',').count());
    let newest = host.value("SELECT @@global.gtid_binlog_pos").unwrap();
    assert_eq!(read.newest(), newest.parse().unwrap(), "{state}");
    let log = host.table("SHOW MASTER STATUS").unwrap();
    let (file, at) = (log.first("File").unwrap(), log.first("Position").unwrap());
    let there = host
        .value(&format!("SELECT BINLOG_GTID_POS('{file}', {at})"))
        .unwrap();
    assert_eq!(read.newest(), there.parse().unwrap(), "{file}:{at}");

    // Waiting for a place is over at once when it was reached. The server knows only where it stands by its own log, so
    // that is emptied.
    host.sql("RESET MASTER").unwrap();
    for (stands, waits) in drawn(&(position(), position()), 150) {
        let answer = host
            .sql(&format!(
                "SET GLOBAL gtid_slave_pos = '{stands}'; SELECT @@global.gtid_slave_pos, MASTER_GTID_WAIT('{waits}', 0)"
            ))
            .unwrap();
        let [told, waited] = answer[0].as_slice() else {
            panic!("{answer:?}");
        };
        let (have, want): (MariaPosition, MariaPosition) = (stands.parse().unwrap(), waits.parse().unwrap());
        assert_eq!(have, told.parse().unwrap(), "{stands}");
        assert_eq!(have.reaches(&want), waited == "0", "{waits} at {stands}");
    }
}

#[test]
fn mysql_9_7_counts_as_we_do() {
    mysql(Server::Mysql9_7);
}

#[test]
fn mysql_5_6_counts_as_we_do() {
    mysql(Server::Mysql5_6);
}

#[test]
fn mariadb_10_11_counts_as_we_do() {
    mariadb(Server::Mariadb10_11);
}

#[test]
fn mariadb_11_8_counts_as_we_do() {
    mariadb(Server::Mariadb11_8);
}
