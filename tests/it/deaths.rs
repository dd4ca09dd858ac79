//! A writer of any server family dies with the monitor running, is replaced, and comes back: as a replica when it has
//! nothing extra, otherwise it is kept out and what it has is named.

use std::fmt;
use std::time::Duration;

use lab::writer::Writers;
use lab::{Host, Lab, Restart, Server};
use mmm::core::gtid::MysqlSet;
use mmm::core::hosts::HostState;
use mmm::core::view::ClusterView;

use super::cluster::{SOON, mmm};
use super::failover::{count_of, kept_out, one_writer_at_a_time, rows_only_on, surplus_of, unplanned};
use super::families::all_follow;
use super::watch::{ACTS_WITHIN, WRITER, Watch, host, tell, warns};

/// How a writer dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Death {
    /// `kill -9` of its server, which its supervisor brings back.
    Kill,
    /// Its host loses its power, and is switched on again once somebody else is written.
    PowerOff,
}

/// What a death cost and what became of the old writer.
#[derive(Debug)]
pub struct Came {
    pub rows: usize,
    pub gap_ms: f64,
    /// Acknowledged rows that the new writer lacks.
    pub lost: usize,
    /// Whether all hosts follow the new writer again.
    pub is_back: bool,
    /// What the old writer was kept out for.
    pub kept_out: Option<String>,
    /// What `show` still warns of.
    pub warnings: Vec<String>,
}

impl fmt::Display for Came {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Came {
            rows, gap_ms, lost, ..
        } = self;
        write!(f, "{rows} rows, {gap_ms:.0} ms without a write, {lost} lost")?;
        match &self.kept_out {
            Some(surplus) => write!(f, ", the old writer kept out for {surplus}")?,
            None => write!(f, ", the old writer back")?,
        }
        if !self.is_back {
            write!(f, "; {}", self.warnings.join("; "))?;
        }
        Ok(())
    }
}

/// How many transactions a surplus names; none when it is a stretch of a log.
fn named(surplus: &str) -> Option<u64> {
    if let Ok(set) = surplus.parse::<MysqlSet>() {
        return Some(set.count());
    }
    (!surplus.contains(" to ")).then(|| count_of(surplus))
}

/// Whether each host but the writer is in service or named.
fn is_settled(view: &ClusterView, old: &str) -> bool {
    let of_old = host(view, old);
    let dealt_with = match of_old.state {
        HostState::Online => true,
        HostState::AwaitingRecovery => surplus_of(view, old).is_some(),
        _ => false,
    };
    let others = view
        .hosts
        .iter()
        .all(|host| host.state == HostState::Online || warns(view, &format!("{} ", host.name)));
    dealt_with && others && (is_well(view) || !view.warnings.is_empty())
}

fn is_well(view: &ClusterView) -> bool {
    let online = view.hosts.iter().all(|host| host.state == HostState::Online);
    view.rule == "R03" && view.warnings.is_empty() && online
}

/// The old writer dies under load; the new one takes over, and the old one is taken back if it has nothing extra.
#[track_caller]
pub fn dies_and_is_replaced(lab: &Lab, death: &Death, writers: Writers, (old, new): (&str, &str)) -> Came {
    let watch = Watch::start(lab);
    let dying = lab.host(old).unwrap();
    dying
        .set_restart(Restart::After(Duration::from_secs(10)))
        .unwrap();
    let few = writers.every > Duration::from_millis(100);
    let load = lab.start_load(writers).unwrap();
    load.until_acknowledged(old, if few { 2 } else { 500 }, SOON)
        .unwrap();
    match death {
        Death::Kill => dying.kill_mysqld().unwrap(),
        Death::PowerOff => dying.power_off().unwrap(),
    }
    load.until_acknowledged(new, if few { 3 } else { 200 }, ACTS_WITHIN)
        .unwrap_or_else(|error| panic!("{error:#}\n{}", watch.said()));
    if *death == Death::PowerOff {
        dying.boot().unwrap();
    }
    // A warning of the moment goes away by itself; one that stays is what is told.
    let view = watch.until("every host to be in service or named", |view| {
        is_settled(view, old)
    });
    let surplus = surplus_of(&view, old);
    let view = if surplus.is_none() && may_become_well(&view) {
        watch.until("all to be well", is_well)
    } else {
        view
    };
    let is_back = is_well(&view);
    if is_back {
        all_follow(lab, new);
    }
    let hosts = [lab.host(new).unwrap(), lab.db3()];
    let all: Vec<&Host> = lab.databases().collect();
    let report = load
        .stop_and_judge(if is_back { &all } else { &hosts }, unplanned(1))
        .unwrap();
    tell(&format!("{}: {death:?} of the writer", lab.flavour()), &report);
    one_writer_at_a_time(&report);
    assert_eq!(lab.writable_hosts(), [new]);
    assert_eq!(lab.who_has(WRITER).unwrap(), [new]);
    match &surplus {
        None => {
            assert_eq!(report.lost(), 0, "rows are lost and nobody is kept out\n{report}");
            if is_back {
                assert_eq!(report.verdict(), [], "{report}");
                lab.wait_for_equal_tables("app.writes", &["db1", "db2", "db3"], SOON)
                    .unwrap();
            }
        }
        Some(surplus) => {
            kept_out(lab, old);
            let only = rows_only_on(lab, old, new);
            assert!(only > 0, "{surplus}");
            assert!(only >= report.lost() as u64, "{surplus}\n{report}");
            if let Some(named) = named(surplus) {
                assert_eq!(named, only, "{surplus}");
            }
        }
    }
    // Gone before the next one starts: there is one monitor.
    watch.kill();
    Came {
        rows: report.acknowledged,
        gap_ms: report.longest_gap_ms,
        lost: report.lost(),
        is_back,
        kept_out: surplus,
        warnings: view.warnings.into_iter().map(|warning| warning.what).collect(),
    }
}

/// Nobody is said to be kept out.
fn may_become_well(view: &ClusterView) -> bool {
    !warns(view, "is kept out")
}

/// A statement about replication as this server says it.
pub fn of_replica(host: &Host, statement: &str) -> String {
    match host.server() {
        Server::Mysql9_7 => statement.replace("SLAVE", "REPLICA"),
        _ => statement.to_owned(),
    }
}

/// So many rows nobody but the writer gets.
const MORE: usize = 5;

/// The writer has rows that nobody received when its server dies; it comes back, is kept out, and they are named. Gives
/// what was named.
#[track_caller]
pub fn has_more_than_anybody(lab: &Lab) -> String {
    lab.db1()
        .sql("CREATE TABLE app.alone (id INT PRIMARY KEY)")
        .unwrap();
    lab.wait_for_equal_tables("app.alone", &["db1", "db2", "db3"], SOON)
        .unwrap();
    let watch = Watch::start(lab);
    lab.db1()
        .set_restart(Restart::After(Duration::from_secs(10)))
        .unwrap();
    for host in [lab.db3(), lab.db2()] {
        host.sql(&of_replica(host, "STOP SLAVE IO_THREAD")).unwrap();
    }
    let rows: Vec<String> = (0..MORE)
        .map(|id| format!("INSERT INTO app.alone VALUES ({id})"))
        .collect();
    lab.db1().sql(&rows.join("; ")).unwrap();
    lab.db1().kill_mysqld().unwrap();
    let view = watch.until("the old writer to be kept out", |view| {
        host(view, "db1").state == HostState::AwaitingRecovery && surplus_of(view, "db1").is_some()
    });
    kept_out(lab, "db1");
    assert_eq!(lab.writable_hosts(), ["db2"]);
    let count = |host: &Host| host.value("SELECT COUNT(*) FROM app.alone").unwrap();
    assert_eq!(
        (count(lab.db1()), count(lab.db2())),
        (MORE.to_string(), "0".to_owned())
    );
    let surplus = surplus_of(&view, "db1").unwrap();
    if let Some(named) = named(&surplus) {
        assert_eq!(named, MORE as u64, "{surplus}");
    }
    mmm(lab, &["rejoin", "db1"], 4);
    kept_out(lab, "db1");
    surplus
}
