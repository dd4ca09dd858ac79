//! The monitor is killed at random moments while roles move: the next one puts in order what it finds.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lab::roster::{INTERFACE, READER_ADDRESSES};
use lab::wait::until_some;
use lab::writer::Writers;
use lab::{Lab, Restart};
use mmm::core::hosts::HostState;

use super::cluster::{SOON, cluster, mmm};
use super::failover::{back_or_kept_out, one_writer_at_a_time, slow, unplanned};
use super::watch::{ACTS_WITHIN, WRITER, Watch, long, tell};

/// A monitor that was started again has everything in order within this.
const CONVERGES_WITHIN: Duration = Duration::from_secs(10);
/// When a monitor is killed, after its start.
const LIVES_MS: Range<u64> = 200..7_000;
/// When a monitor is killed, after the writer died: from before it has noticed until all is done.
const INTO_A_FAILOVER_MS: Range<u64> = 100..3_000;
/// Names the seed of a run that is to be repeated.
const SEED: &str = "MMM_SEED";

/// Random numbers that a seed repeats (splitmix64).
struct Dice(Mutex<u64>);

impl Dice {
    /// From `MMM_SEED`, or from the clock; printed, so that a run can be repeated.
    fn seeded() -> Dice {
        let seed = match std::env::var(SEED) {
            Ok(text) => text.parse().unwrap(),
            Err(_) => {
                u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros()).unwrap()
            }
        };
        eprintln!("== seed {seed} ({SEED}={seed} repeats it)");
        Dice(Mutex::new(seed))
    }

    fn below(&self, limit: u64) -> u64 {
        let mut state = self.0.lock().unwrap();
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    fn within(&self, range: Range<u64>) -> Duration {
        Duration::from_millis(range.start + self.below(range.end - range.start))
    }

    fn one_of<T: Copy>(&self, choices: &[T]) -> T {
        let count = u64::try_from(choices.len()).unwrap();
        choices[usize::try_from(self.below(count)).unwrap()]
    }
}

/// Somebody beside the monitor who moves roles, one act after the other.
struct Actor<'l> {
    lab: &'l Lab,
    dice: &'l Dice,
    stop: AtomicBool,
    /// How often it moved the writer, and another address.
    handovers: AtomicUsize,
    moves: AtomicUsize,
}

impl<'l> Actor<'l> {
    fn new(lab: &'l Lab, dice: &'l Dice) -> Self {
        Self {
            lab,
            dice,
            stop: AtomicBool::new(false),
            handovers: AtomicUsize::new(0),
            moves: AtomicUsize::new(0),
        }
    }

    /// Acts until it is told to stop, ends what it has begun, and says when that was.
    fn act(&self) -> Instant {
        while !self.stop.load(Ordering::Relaxed) {
            match self.dice.below(6) {
                0 | 1 => self.move_the_writer(),
                2 | 3 => self.move_an_address(),
                4 => self.put_an_address_out_of_place(),
                _ => self.break_replication_for_a_while(),
            }
        }
        Instant::now()
    }

    fn move_the_writer(&self) {
        let to = match self.lab.writable_hosts()[..] {
            ["db1"] => "db2",
            _ => "db1",
        };
        let verb = self
            .dice
            .one_of(&[["switchover", "--to"], ["move-role", "writer"]]);
        if self.moved(&[verb[0], verb[1], to]) {
            self.handovers.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn move_an_address(&self) {
        let address = self.dice.one_of(&READER_ADDRESSES);
        if self.moved(&[
            "move-role",
            "reader",
            self.elsewhere(address),
            "--address",
            address,
        ]) {
            self.moves.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A host that does not hold this address.
    fn elsewhere(&self, address: &str) -> &'static str {
        let holders = self.lab.who_has(address).unwrap();
        let others: Vec<_> = ["db1", "db2", "db3"]
            .into_iter()
            .filter(|name| !holders.contains(name))
            .collect();
        self.dice.one_of(&others)
    }

    /// Whether it was moved; it may be refused (a repair is at work, its host is out) or undone, but never stuck.
    fn moved(&self, words: &[&str]) -> bool {
        let output = self.lab.box_().mmm(words).unwrap();
        assert!([0, 4, 5].contains(&output.code), "{words:?}: {output:?}");
        if output.code != 0 {
            let why = output.stderr.lines().take(2).collect::<Vec<_>>().join(" ");
            eprintln!("   not moved ({}): {words:?}: {why}", output.code);
        }
        output.code == 0
    }

    /// A hand that takes an address away or brings it up a second time: a monitor is at work on it right after.
    fn put_an_address_out_of_place(&self) {
        let address = self.dice.one_of(&READER_ADDRESSES);
        let (host, words) = match self.lab.who_has(address).unwrap()[..] {
            [holder] if self.dice.below(2) == 0 => (holder, "del"),
            _ => (self.elsewhere(address), "add"),
        };
        let host = self.lab.host(host).unwrap();
        // Somebody else may have been faster.
        let _done = host
            .sh(&format!("ip address {words} {address}/32 dev {INTERFACE}"))
            .unwrap();
        std::thread::sleep(Duration::from_millis(self.dice.below(1_500)));
    }

    /// Mostly long enough for a monitor to take the readers' addresses away.
    fn break_replication_for_a_while(&self) {
        let replica = self.lab.host(self.dice.one_of(&["db2", "db3"])).unwrap();
        replica.sql("STOP SLAVE SQL_THREAD").unwrap();
        std::thread::sleep(Duration::from_millis(500 + self.dice.below(3_500)));
        replica.sql("START SLAVE").unwrap();
    }
}

/// Asked of the kernels and the servers: one host takes writes and has the writer's address, every address is on one
/// host, and everybody replicates as they should.
fn is_in_order(lab: &Lab) -> anyhow::Result<()> {
    let writable = lab.writable_hosts();
    let [writer] = writable[..] else {
        anyhow::bail!("writable: {writable:?}")
    };
    let mut held: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for host in lab.databases() {
        for address in host.addresses()? {
            held.entry(address).or_default().push(host.name());
        }
    }
    for address in READER_ADDRESSES.into_iter().chain([WRITER]) {
        let holders = held.get(address).map(Vec::as_slice).unwrap_or_default();
        anyhow::ensure!(holders.len() == 1, "{address} is on {holders:?}");
    }
    anyhow::ensure!(held[WRITER] == [writer], "{writer} is the writer, {held:?}");
    for host in lab.databases() {
        let status = host.replication()?;
        let source = match (writer, host.name()) {
            ("db1", "db1") => "db2",
            ("db2", "db2") => "db1",
            (writer, _) => writer,
        };
        let source = lab.address_of(source)?;
        let runs = status
            .as_ref()
            .is_some_and(|it| it.is_running() && it.source == source);
        anyhow::ensure!(runs, "{} should replicate from {source}: {status:?}", host.name());
    }
    Ok(())
}

/// Waits for that; gives how long it took since `start`.
fn converges(lab: &Lab, start: Instant) -> anyhow::Result<Duration> {
    let left = CONVERGES_WITHIN.saturating_sub(start.elapsed());
    until_some(left, "everything to be in order", || is_in_order(lab).map(Some))?;
    Ok(start.elapsed())
}

/// Waits for that while a monitor says that all is well: a host that has just come back may still be given an address,
/// and for a moment that is then on two hosts (`move-address` makes before it breaks).
#[track_caller]
fn comes_into_order(lab: &Lab, watch: &Watch) {
    if let Err(error) = converges(lab, Instant::now()) {
        panic!("{error:#}\n--- the monitor said\n{}", watch.said());
    }
}

/// One life of a monitor that ends by a kill, and the beginning of the next: the new one, and how long it took to have
/// everything in order, counted from its start or from the end of the actor's last act if that was later.
#[track_caller]
fn killed_and_started_again<'l>(
    lab: &'l Lab,
    watch: Watch<'l>,
    actor: &Actor<'_>,
    dice: &Dice,
) -> (Watch<'l>, Duration) {
    let lives = dice.within(LIVES_MS);
    let overlaps = dice.below(2) == 0;
    actor.stop.store(false, Ordering::Relaxed);
    let (watch, start, ended) = std::thread::scope(|scope| {
        let acting = scope.spawn(|| actor.act());
        std::thread::sleep(lives);
        let said = watch.said();
        watch.kill();
        assert!(!said.contains("cannot be used"), "{said}");
        actor.stop.store(true, Ordering::Relaxed);
        if overlaps {
            // The next one begins while the last act goes on.
            let (start, watch) = (Instant::now(), Watch::start_anyhow(lab));
            (watch, start, acting.join().unwrap())
        } else {
            let ended = acting.join().unwrap();
            let (start, watch) = (Instant::now(), Watch::start_anyhow(lab));
            (watch, start, ended)
        }
    });
    let start = start.max(ended);
    match converges(lab, start) {
        Ok(took) => (watch, took),
        Err(error) => panic!(
            "killed after {lives:?}: {error:#}\n--- the next said\n{}",
            watch.said()
        ),
    }
}

#[test]
fn killed_at_random_while_roles_move() {
    let rounds = if long() { 50 } else { 5 };
    let dice = Dice::seeded();
    let lab = cluster();
    let mut watch = Watch::start(&lab);
    let load = lab.start_load(Writers::default()).unwrap();
    let actor = Actor::new(&lab, &dice);
    let mut times = Vec::new();
    for _ in 0..rounds {
        let (next, took) = killed_and_started_again(&lab, watch, &actor, &dice);
        watch = next;
        times.push(took);
    }
    watch.until("all to be well", |view| {
        let online = view.hosts.iter().all(|host| host.state == HostState::Online);
        view.rule == "R03" && view.warnings.is_empty() && online
    });
    comes_into_order(&lab, &watch);
    let second = mmm(&lab, &["monitor"], 4);
    assert!(
        second.stderr.contains("another monitor holds") && second.stderr.contains("guard: G60 "),
        "{}",
        second.stderr
    );
    let said = watch.said();
    assert!(!said.contains("cannot be used"), "{said}");
    load.until_acknowledged(lab.writable_hosts()[0], 50, SOON)
        .unwrap();

    let handovers = actor.handovers.load(Ordering::Relaxed);
    let report = load
        .stop_and_judge(&[lab.db1(), lab.db2(), lab.db3()], unplanned(handovers))
        .unwrap();
    times.sort_unstable();
    let story = format!(
        "{rounds} kills of the monitor, {handovers} switchovers and {} moves beside it: converged after {:?} at least, \
         {:?} in the middle, {:?} at most",
        actor.moves.load(Ordering::Relaxed),
        times[0],
        times[times.len() / 2],
        times[times.len() - 1],
    );
    tell(&story, &report);
    assert_eq!(report.verdict(), [], "{report}");
    assert!(times.iter().all(|took| *took <= CONVERGES_WITHIN), "{times:?}");
    lab.wait_for_equal_tables("app.writes", &["db1", "db2", "db3"], ACTS_WITHIN)
        .unwrap();
}

#[test]
fn killed_at_random_in_the_middle_of_a_failover() {
    let rounds = if long() { 15 } else { 3 };
    let dice = Dice::seeded();
    let mut times = Vec::new();
    for _ in 0..rounds {
        times.push(killed_into_a_failover(dice.within(INTO_A_FAILOVER_MS)));
    }
    times.sort_unstable();
    eprintln!(
        "== {rounds} kills of the monitor in a failover: writes went on after {:?} at least, {:?} in the middle, \
         {:?} at most",
        times[0],
        times[rounds / 2],
        times[rounds - 1],
    );
}

/// The writer dies, and the monitor so long after it; gives how long the next monitor took until writes went on.
#[track_caller]
fn killed_into_a_failover(into: Duration) -> Duration {
    let lab = cluster();
    let watch = Watch::start(&lab);
    lab.db1().set_restart(Restart::Never).unwrap();
    let load = lab.start_load(slow()).unwrap();
    // Right after a write, so that the next one is not on its way.
    load.until_acknowledged("db1", 1, SOON).unwrap();
    lab.db1().kill_mysqld().unwrap();
    std::thread::sleep(into);
    watch.kill();
    let was_open = lab.writable_hosts() == ["db2"];
    let start = Instant::now();
    let watch = Watch::start_anyhow(&lab);
    let served = load.until_acknowledged("db2", 1, CONVERGES_WITHIN);
    let took = start.elapsed();
    eprintln!(
        "   killed {into:?} after the writer, db2 open before: {was_open}; writes go on after {took:?}"
    );
    if let Err(error) = served {
        panic!("{error:#}\n{}", watch.said());
    }
    // The monitor that goes on also starts the old server. What that has alone, if a busy machine let it, is named.
    let is_back = back_or_kept_out(&lab, &watch, "db1", "db2");
    let complete = if is_back {
        vec![lab.db1(), lab.db2(), lab.db3()]
    } else {
        vec![lab.db2()]
    };
    let report = load.stop_and_judge(&complete, unplanned(1)).unwrap();
    one_writer_at_a_time(&report);
    if is_back {
        assert_eq!(report.verdict(), [], "{report}");
        comes_into_order(&lab, &watch);
    } else {
        eprintln!("   db1 is kept out: {}", watch.said());
    }
    took
}
