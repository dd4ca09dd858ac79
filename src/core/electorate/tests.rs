//! Elections among three masters: the table of who comes first and what bars the others, and that each new guard blocks.

use super::*;
use crate::core::cluster::{Host, HostMode};
use crate::core::facts::{Filters, Flavour, IoThread, Reach, ReplicationError};
use crate::core::golden;
use crate::core::guard::Guard;
use crate::core::losses::Seen;
use crate::core::moment::Moment;
use crate::core::samples::{self, WRITER_ADDRESS};

/// Three masters and a slave; db1 writes.
fn cluster() -> Cluster {
    let mut cluster = samples::cluster();
    for host in &mut cluster.hosts {
        host.peer = None;
        host.mode = HostMode::Master;
    }
    cluster.hosts.push(Host {
        name: "db4".into(),
        address: [10, 0, 0, 4].into(),
        mode: HostMode::Slave,
        peer: None,
        promotion: Promotion::Neutral,
    });
    cluster.roles[0].hosts.push("db3".into());
    cluster
}

struct Case {
    cluster: Cluster,
    standing: Standing,
    facts: BTreeMap<HostName, HostFacts>,
    memory: Memory,
}

impl Case {
    /// All is well; the writer is dead or answers.
    fn new(writer_answers: bool) -> Case {
        let mut facts = BTreeMap::from([("db1".into(), samples::facts(true, &[WRITER_ADDRESS]))]);
        for host in ["db2", "db3", "db4"] {
            facts.insert(HostName::from(host), samples::facts(false, &[]));
        }
        if !writer_answers {
            facts.get_mut("db1").unwrap().mysql = Reach::Down("closed".into());
        }
        Case {
            cluster: cluster(),
            standing: Standing {
                writer: Some("db1".into()),
                ..Standing::default()
            },
            facts,
            memory: Memory::default(),
        }
    }

    fn server(&mut self, host: &str) -> &mut MysqlFacts {
        match &mut self.facts.get_mut(host).unwrap().mysql {
            Reach::Up(mysql) => mysql,
            other => unreachable!("{other:?}"),
        }
    }

    fn promotion(&mut self, host: &str, promotion: Promotion) {
        let host = self
            .cluster
            .hosts
            .iter_mut()
            .find(|one| one.name.as_str() == host);
        host.unwrap().promotion = promotion;
    }

    fn received(&mut self, host: &str, applied: &str, received: &str) {
        let mysql = self.server(host);
        mysql.gtid = GtidFacts::Mariadb {
            binlog_pos: MariaPosition::default(),
            slave_pos: applied.parse().unwrap(),
            current_pos: MariaPosition::default(),
            binlog_state: Default::default(),
            domain_id: 0,
            strict: false,
        };
        mysql.replicas[0].received_gtid = ReceivedGtid::Mariadb(received.parse().unwrap());
    }

    fn logged(&mut self, host: &str, state: &str) {
        self.server(host).gtid = samples::logged(state);
    }

    /// The writer was last seen to have that.
    fn saw(&mut self, state: &str) {
        let mut writer = samples::facts(true, &[]);
        if let Reach::Up(mysql) = &mut writer.mysql {
            mysql.gtid = samples::logged(state);
            self.memory.seen = Some(Seen::of(&"db1".into(), Moment(1), mysql));
        }
    }

    fn receives_nothing(&mut self, host: &str, error: Option<u32>) {
        let channel = &mut self.server(host).replicas[0];
        channel.io = IoThread::No;
        channel.lag = None;
        channel.io_error = error.map(|number| ReplicationError {
            number,
            text: "words".into(),
        });
    }

    fn by_file(&mut self, host: &str, file: &str, at: u64) {
        let channel = &mut self.server(host).replicas[0];
        channel.using_gtid = UsingGtid::No;
        channel.received = Some(BinlogPosition::new(file, at).unwrap());
    }

    fn lags(&mut self, host: &str, seconds: u64) {
        self.server(host).replicas[0].lag = Some(Duration::from_secs(seconds));
    }

    fn runs(&mut self, host: &str, numbers: (u16, u16, u16)) {
        self.server(host).version.numbers = numbers;
    }

    fn ignores(&mut self, host: &str, database: &str) {
        let applied = [("replicate_ignore_db".to_owned(), database.to_owned())];
        self.server(host).filters = Some(Filters {
            applied: Some(
                applied
                    .into_iter()
                    .filter(|(_, value)| !value.is_empty())
                    .collect(),
            ),
            logged: None,
        });
    }

    fn candidates(&self) -> Vec<Candidate> {
        let outgoing = HostName::from("db1");
        let electorate = Electorate {
            cluster: &self.cluster,
            standing: &self.standing,
            facts: &self.facts,
            outgoing: Some(&outgoing),
            memory: &self.memory,
        };
        electorate.candidates()
    }

    fn told(&self) -> String {
        let tell = |one: &Candidate| match &one.barred {
            None => format!("    {}", one.host),
            Some(barred) => format!("    ({} {}: {barred})", one.host, barred.guard()),
        };
        self.candidates().iter().map(tell).collect::<Vec<_>>().join("\n")
    }
}

/// How a case comes about.
type Change = fn(&mut Case);

/// What is the case, whether the writer answers, and how it comes about.
const CASES: &[(&str, bool, Change)] = &[
    ("all is well: the role's order decides", false, |_| {}),
    ("the role prefers db3", false, |case| {
        case.cluster.roles[0].prefer = Some("db3".into());
    }),
    ("promotion prefers db3, the role db2", false, |case| {
        case.promotion("db3", Promotion::Prefer);
        case.cluster.roles[0].prefer = Some("db2".into());
    }),
    ("db3 received more than db2, which is preferred", false, |case| {
        case.promotion("db2", Promotion::Prefer);
        case.received("db2", "0-1-10", "0-1-11");
        case.received("db3", "0-1-9", "0-1-12");
    }),
    ("each received what the other has not", false, |case| {
        case.received("db2", "0-1-10,1-1-5", "");
        case.received("db3", "0-1-11,1-1-4", "");
    }),
    (
        "db3 is further by file and position: …999999 and …1000000",
        false,
        |case| {
            case.by_file("db2", "mysql-bin.999999", 4000);
            case.by_file("db3", "mysql-bin.1000000", 4);
        },
    ),
    ("by position, from different sources", false, |case| {
        case.by_file("db2", "mysql-bin.000001", 4);
        case.by_file("db3", "mysql-bin.000009", 4);
        case.server("db3").replicas[0].source_server_id = Some(7);
    }),
    ("the writer lives, and db2 lags", true, |case| case.lags("db2", 9)),
    (
        "the writer lives, and db3 received more: nothing is lost, so the order decides",
        true,
        |case| {
            case.received("db2", "0-1-10", "");
            case.received("db3", "0-1-12", "");
        },
    ),
    ("db2 is never promoted", false, |case| {
        case.promotion("db2", Promotion::Never)
    }),
    ("db2 does not log what it applies", false, |case| {
        case.server("db2").log_slave_updates = false;
    }),
    ("db2 ignores a database that the writer does not", true, |case| {
        for (host, database) in [("db1", ""), ("db2", "shop"), ("db3", "")] {
            case.ignores(host, database);
        }
    }),
    ("all ignore the same", true, |case| {
        for host in ["db1", "db2", "db3"] {
            case.ignores(host, "shop");
        }
    }),
    (
        "db2 ignores a database that the dead writer did not",
        false,
        |case| {
            case.ignores("db2", "shop");
            let none = Filters {
                applied: Some(BTreeMap::new()),
                logged: None,
            };
            let version = case.server("db2").version;
            case.memory.writer = Some((version, Some(none)));
        },
    ),
    (
        "nobody remembers the dead writer's filters: the other masters tell",
        false,
        |case| {
            case.ignores("db2", "shop");
            case.ignores("db3", "");
        },
    ),
    (
        "db2 is of a newer series: the others would replicate from it",
        false,
        |case| {
            case.runs("db2", (11, 8, 1));
        },
    ),
    (
        "db2 is of a newer series, as the inventory accepts",
        false,
        |case| {
            case.runs("db2", (11, 8, 1));
            case.cluster.failover.mixed_versions = MixedVersions::Accept;
        },
    ),
    ("db2 is older than the writer", true, |case| {
        case.runs("db2", (10, 6, 1))
    }),
    ("only the slave is newer, which is fine", false, |case| {
        case.runs("db4", (11, 8, 1))
    }),
    ("db2 is another patch of the series", true, |case| {
        case.runs("db2", (10, 11, 99))
    }),
    ("db2 is of the other family", false, |case| {
        case.server("db2").version.flavour = Flavour::Mysql;
    }),
    ("db2 is further behind than allowed", true, |case| {
        case.cluster.failover.max_behind = Some(Duration::from_secs(30));
        case.lags("db2", 31);
    }),
    (
        "db2 was further behind than allowed when the writer died",
        false,
        |case| {
            case.cluster.failover.max_behind = Some(Duration::from_secs(30));
            case.server("db2").replicas[0].lag = None;
            case.memory.lags.insert("db2".into(), Duration::from_secs(31));
        },
    ),
    (
        "db2 has been held to replicate badly since before the writer died",
        false,
        |case| {
            case.memory
                .states
                .insert("db2".into(), HostState::ReplicationFail);
        },
    ),
    (
        "somebody wrote on db2, which shows beside what the writer was seen to have",
        false,
        |case| {
            case.server("db2").server_id = 2;
            case.logged("db2", "0-1-10,0-2-11");
            case.saw("0-1-10");
        },
    ),
    (
        "what db2 wrote the writer was seen to have, and another writer's past is none of its own",
        false,
        |case| {
            case.server("db2").server_id = 2;
            case.logged("db2", "0-1-10,0-2-11");
            case.saw("0-1-10,0-2-11");
        },
    ),
    (
        "db2 had stopped receiving by an error of its own",
        false,
        |case| {
            case.receives_nothing("db2", Some(1236));
        },
    ),
    (
        "db2 was told to receive nothing, nobody knows when",
        false,
        |case| {
            case.receives_nothing("db2", None);
        },
    ),
    (
        "db2 has given up trying to reach the dead writer, which is held against nobody",
        false,
        |case| case.receives_nothing("db2", Some(2003)),
    ),
    (
        "db2 receives nothing, and the slave that goes on trying hands over what it has more",
        false,
        |case| {
            case.standing.offline.insert("db3".into(), Moment(1));
            case.receives_nothing("db2", None);
            case.receives_nothing("db3", None);
            case.received("db2", "0-1-10", "0-1-12");
            case.received("db4", "0-1-10", "0-1-15");
        },
    ),
    (
        "db2 receives nothing, and by file and position nobody hands over what the slave has more",
        false,
        |case| {
            case.receives_nothing("db2", None);
            case.by_file("db2", "mysql-bin.000001", 4);
            case.by_file("db4", "mysql-bin.000001", 9);
        },
    ),
    (
        "db2 receives nothing, and has received as much as those who go on trying",
        false,
        |case| {
            case.receives_nothing("db2", None);
            for host in ["db2", "db3", "db4"] {
                case.by_file(host, "mysql-bin.000001", 4);
            }
        },
    ),
    (
        "db2 receives nothing since a moment ago: a monitor held it to be well",
        false,
        |case| {
            case.receives_nothing("db2", None);
            case.memory.states.insert("db2".into(), HostState::Online);
        },
    ),
    ("db2 receives nothing, and the writer lives", true, |case| {
        case.receives_nothing("db2", Some(1236));
    }),
    (
        "db2 applies nothing, and db3 logs nothing: nobody",
        false,
        |case| {
            case.server("db2").replicas[0].sql = crate::core::facts::SqlThread::No;
            case.server("db3").log_bin = false;
        },
    ),
];

fn played(which: &str) -> Case {
    let (_, answers, change) = CASES.iter().find(|(name, ..)| *name == which).unwrap();
    let mut case = Case::new(*answers);
    change(&mut case);
    case
}

#[test]
fn the_table_is_the_golden_file() {
    let mut table = String::from(
        "# Generated by the tests: db1 is the writer; who takes over from it, the best one first, (and what bars others).\n",
    );
    for (name, answers, _) in CASES {
        let writer = if *answers { "answers" } else { "is dead" };
        table.push_str(&format!("\ndb1 {writer}; {name}\n{}\n", played(name).told()));
    }
    golden::check("tests/golden/elections.txt", &table);
}

#[test]
fn each_guard_of_an_election_blocks() {
    for (case, guard) in [
        ("db2 does not log what it applies", Guard::G28),
        ("db2 ignores a database that the writer does not", Guard::G29),
        ("db2 is older than the writer", Guard::G30),
        ("db2 is further behind than allowed", Guard::G31),
        ("db2 is never promoted", Guard::G32),
        ("db2 had stopped receiving by an error of its own", Guard::G35),
        (
            "somebody wrote on db2, which shows beside what the writer was seen to have",
            Guard::G38,
        ),
        (
            "db2 has been held to replicate badly since before the writer died",
            Guard::G33,
        ),
    ] {
        let candidates = played(case).candidates();
        let barred = candidates.iter().find_map(|one| {
            let barred = one.barred.as_ref().filter(|_| one.host.as_str() == "db2")?;
            Some((barred.guard(), barred.refusal("x", &one.host).guard))
        });
        assert_eq!(barred, Some((guard, Some(guard))), "{case}");
        assert_eq!(candidates[0].host.as_str(), "db3", "{case}");
    }
}

#[test]
fn the_order_does_not_depend_on_where_one_begins() {
    // However the three stand to each other, whoever comes first is behind nobody.
    for two in 8..12 {
        for three in 8..12 {
            let mut case = Case::new(false);
            case.received("db2", &format!("0-1-{two}"), "");
            case.received("db3", &format!("0-1-{three}"), "");
            let first = case.candidates()[0].host.to_string();
            let expected = if three > two { "db3" } else { "db2" };
            assert_eq!(first, expected, "db2 at {two}, db3 at {three}");
        }
    }
}
