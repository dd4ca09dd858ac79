//! The conductor with hands that only pass the time.

use std::cell::{Cell, RefCell};

use super::*;
use crate::core::evidence::Rung;
use crate::core::playbook::Seat;
use crate::core::run::REFUSES_WRITES;

const MS: Duration = Duration::from_millis(1);

/// Every duty takes as long as it is told to, or until its deadline.
struct Slow {
    takes: BTreeMap<&'static str, Duration>,
    now: Cell<Duration>,
    performed: RefCell<Vec<String>>,
    /// What became of the lock by the time of the commit.
    lost: Option<String>,
    /// What a fenced host still answers by then.
    answer: Option<String>,
    /// The stage with which the journal's disk is full.
    full_at: Option<usize>,
    noted: RefCell<Vec<Entry>>,
}

impl Hands for Slow {
    async fn perform(&self, errand: Errand<'_>) -> DutyReport {
        let wanted = self.takes.get(errand.duty).copied().unwrap_or(MS);
        let took = wanted.min(errand.stage.within);
        self.now.set(self.now.get() + took);
        self.performed.borrow_mut().push(errand.duty.to_owned());
        let outcome = if took < wanted {
            DutyOutcome::Failed {
                step: "it".to_owned(),
                why: crate::core::script::Failure::Late,
            }
        } else {
            DutyOutcome::Done
        };
        DutyReport {
            duty: errand.duty.to_owned(),
            outcome,
            steps: Vec::new(),
            registered: BTreeMap::new(),
            took,
        }
    }

    async fn look(&self, _: Errand<'_>) -> Settled {
        Settled::DidNotHappen
    }

    async fn lost_lock(&self) -> Option<String> {
        self.lost.clone()
    }

    async fn still_answers(&self, _: &HostName) -> Option<String> {
        self.answer.clone()
    }

    async fn rival(&self, _: &HostName) -> Option<String> {
        None
    }

    async fn replaced(&self, _: &HostName) -> Option<String> {
        self.lost.clone()
    }

    fn note(&self, entry: Entry) {
        self.noted.borrow_mut().push(entry);
    }

    fn unwritten(&self) -> Option<String> {
        let full = self.full_at.map(|stage| Entry::Step(Happening::Doing(stage)))?;
        let is_full = self.noted.borrow().contains(&full);
        is_full.then(|| "No space left on device".to_owned())
    }

    fn tell(&self, _: Event) {}

    fn elapsed(&self) -> Duration {
        self.now.get()
    }

    async fn pause(&self, span: Duration) {
        self.now.set(self.now.get() + span);
    }
}

fn stage(section: Section, duty: &str, undo: Option<&str>) -> Stage {
    Stage {
        section,
        name: duty.to_owned(),
        seat: Seat::Outgoing,
        hosts: vec!["db1".into()],
        duty: duty.to_owned(),
        source: None,
        with: BTreeMap::new(),
        within: Duration::from_secs(10),
        undo: undo.map(str::to_owned),
        undo_if_possible: false,
        only_asks: false,
        if_possible: false,
    }
}

async fn move_with(longest: Duration, takes: &[(&'static str, Duration)]) -> (RunReport, Vec<String>) {
    move_under((None, None), None, longest, takes).await
}

async fn move_under(
    (lost, answer): (Option<String>, Option<String>),
    rung: Option<Rung>,
    longest: Duration,
    takes: &[(&'static str, Duration)],
) -> (RunReport, Vec<String>) {
    let hands = Slow {
        takes: takes.iter().copied().collect(),
        now: Cell::default(),
        performed: RefCell::default(),
        lost,
        answer,
        full_at: None,
        noted: RefCell::default(),
    };
    conducted(hands, rung, longest).await
}

/// A switchover, or with a rung a failover.
async fn conducted(hands: Slow, rung: Option<Rung>, longest: Duration) -> (RunReport, Vec<String>) {
    let stages = vec![
        stage(Section::Prepare, "ask", None),
        stage(Section::Prepare, REFUSES_WRITES, Some("reopen")),
        stage(Section::Prepare, "catch-up", None),
        stage(Section::Commit, "open", None),
        stage(Section::Secure, "announce", None),
    ];
    let opening = Opening {
        run: "run".to_owned(),
        operation: "switchover".to_owned(),
        outgoing: Some("db1".into()),
        incoming: Some("db2".into()),
        rung,
        automatic: false,
        address: None,
        chore: None,
        write_refused_max: Some(longest),
        stages: stages.clone(),
    };
    let report = conduct(&hands, &opening, Run::new(stages), Past::default()).await;
    (report, hands.performed.into_inner())
}

#[tokio::test]
async fn what_keeps_clients_from_writing_for_too_long_is_cut_short_and_undone() {
    // What comes before writes are refused may take its time, and so may what comes after they are taken again.
    let (report, _) = move_with(100 * MS, &[("ask", 5000 * MS), ("announce", 5000 * MS)]).await;
    assert!(report.committed, "{report:?}");
    assert_eq!(report.write_refused, Some(3 * MS));

    let (report, performed) = move_with(100 * MS, &[("catch-up", 4000 * MS)]).await;
    assert!(
        matches!(report.ending, Ending::Undone { untouched: false, .. }),
        "{report:?}"
    );
    assert_eq!(performed, ["ask", "deny-writes", "catch-up", "reopen"]);
    assert_eq!(
        report.write_refused,
        Some(101 * MS),
        "with the millisecond that reopening takes"
    );
}

#[tokio::test]
async fn nobody_is_opened_once_a_lock_is_lost() {
    let lost = Some("the cluster's lock is lost on db3".to_owned());
    let (report, performed) = move_under((lost, None), None, Duration::from_secs(60), &[]).await;
    let Ending::Undone { because, .. } = &report.ending else {
        panic!("{report:?}")
    };
    assert!(because.contains("lost on db3"), "{because}");
    assert_eq!(performed, ["ask", "deny-writes", "catch-up", "reopen"]);
}

#[tokio::test]
async fn what_was_taken_from_a_dead_writer_is_given_back_only_while_nobody_can_have_replaced_it() {
    for (lost, given_back) in [(None, true), (Some("the lock is lost".to_owned()), false)] {
        let hands = Slow {
            takes: BTreeMap::from([("drain", 20_000 * MS)]),
            now: Cell::default(),
            performed: RefCell::default(),
            lost,
            answer: None,
            full_at: None,
            noted: RefCell::default(),
        };
        let mut stages = vec![
            stage(Section::Prepare, "keep-stopped", Some("allow-start")),
            stage(Section::Prepare, "drain", None),
            stage(Section::Commit, "open", None),
        ];
        stages[0].undo_if_possible = true;
        let opening = Opening {
            run: "run".to_owned(),
            operation: "failover".to_owned(),
            outgoing: Some("db1".into()),
            incoming: Some("db2".into()),
            rung: Some(Rung::Demote),
            automatic: true,
            address: None,
            chore: None,
            write_refused_max: None,
            stages: stages.clone(),
        };
        let report = conduct(&hands, &opening, Run::new(stages), Past::default()).await;
        assert!(matches!(report.ending, Ending::Undone { .. }), "{report:?}");
        let performed = hands.performed.into_inner();
        assert_eq!(
            performed.contains(&"allow-start".to_owned()),
            given_back,
            "{performed:?}"
        );
    }
}

#[tokio::test]
async fn nobody_is_opened_while_a_fenced_host_still_answers() {
    let long = Duration::from_secs(60);
    let answers = || (None, Some("it still answers ping".to_owned()));
    let (report, performed) = move_under(answers(), Some(Rung::Fence), long, &[]).await;
    let Ending::Undone { because, .. } = &report.ending else {
        panic!("{report:?}")
    };
    assert!(
        because.contains("db1 was fenced, and it still answers ping"),
        "{because}"
    );
    assert!(!performed.contains(&"open".to_owned()), "{performed:?}");
    for rung in [None, Some(Rung::Demote), Some(Rung::Silence)] {
        let (report, _) = move_under(answers(), rung, long, &[]).await;
        assert!(report.committed, "{rung:?}: {report:?}");
    }
    let (report, _) = move_under((None, None), Some(Rung::Fence), long, &[]).await;
    assert!(report.committed, "{report:?}");
}

#[tokio::test]
async fn what_cannot_be_written_down_is_not_begun_while_there_is_a_way_back() {
    let full = |stage| Slow {
        takes: BTreeMap::new(),
        now: Cell::default(),
        performed: RefCell::default(),
        lost: None,
        answer: None,
        full_at: Some(stage),
        noted: RefCell::default(),
    };
    let minute = Duration::from_secs(60);
    for (stage, done) in [
        (0, &["reopen"; 0][..]),
        (1, &["ask", "reopen"]),
        (3, &["ask", "deny-writes", "catch-up", "reopen"]),
    ] {
        let (report, performed) = conducted(full(stage), None, minute).await;
        let Ending::Undone { because, .. } = &report.ending else {
            panic!("{report:?}")
        };
        assert!(because.contains("No space left"), "{because}");
        assert_eq!(performed, done);
    }
    // Behind the commit there is none, and a failover goes on in memory.
    let all = ["ask", "deny-writes", "catch-up", "open", "announce"];
    for (stage, rung) in [(4, None), (0, Some(Rung::Demote))] {
        let (report, performed) = conducted(full(stage), rung, minute).await;
        assert!(report.committed, "{report:?}");
        assert_eq!(performed, all);
    }
}

#[tokio::test]
async fn a_commit_is_not_begun_late_and_not_cut_short() {
    let (report, performed) = move_with(100 * MS, &[("catch-up", 99 * MS)]).await;
    let Ending::Undone { because, .. } = &report.ending else {
        panic!("{report:?}")
    };
    assert!(because.contains("`write_refused_max`"), "{because}");
    assert_eq!(performed, ["ask", "deny-writes", "catch-up", "reopen"]);

    let (report, _) = move_with(100 * MS, &[("catch-up", 90 * MS), ("open", 3000 * MS)]).await;
    assert!(report.committed, "{report:?}");
}
