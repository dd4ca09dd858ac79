//! The daemon: probes and looks go in, the engine decides, its effects are carried out. One loop a cluster, so that one
//! cluster in trouble never delays another.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tracing::Instrument as _;

use crate::config::inventory::ClusterEntry;
use crate::core::checks;
use crate::core::cluster::{CheckKind, HostName};
use crate::core::engine::{Effect, Engine, Input};
use crate::core::event::Event;
use crate::core::evidence::Means;
use crate::core::guard::Guard;
use crate::core::hosts::Records;
use crate::core::latch::CheckResult;
use crate::core::roles::Eligible;
use crate::core::run::Ending;
use crate::core::trouble::{Kind, Trouble};
use crate::core::view::{self, CheckView, ClusterView};
use crate::io::beginning::begin;
use crate::io::clock;
use crate::io::doubles;
use crate::io::fleet::Fleet;
use crate::io::inquest;
use crate::io::lock::LocalLock;
use crate::io::mysql::Server;
use crate::io::network::NetworkWatch;
use crate::io::operation::{Performer, Request};
use crate::io::ping::ping;
use crate::io::reaping::{pass_on, reap};
use crate::io::records;
use crate::io::rounds;
use crate::io::standing::StateDir;
use crate::io::teller::Teller;
use crate::io::waiters::Waiters;
use crate::io::watch_sign;

/// The engine lets time pass this often.
const TICK_EVERY: Duration = Duration::from_millis(200);
/// The standing on disk is read this often, for changes made by other commands.
const READ_STANDING_EVERY: Duration = Duration::from_millis(500);
/// An address whose turn it is is asked about this often.
const ASK_FOR_DOUBLES_EVERY: Duration = Duration::from_secs(1);
/// How long an operation of the monitor waits for another to end.
const LOCK_WAIT: Duration = Duration::from_secs(3);
/// Between two tries to be the only monitor.
const CLAIM_AGAIN_AFTER: Duration = Duration::from_millis(50);
/// How long a monitor that ends waits for its last records to be on disk.
const KEEP_WITHIN: Duration = Duration::from_secs(3);
/// No file takes so long to be written.
const NO_WRITE_LASTS: Duration = Duration::from_secs(600);

/// A question to the monitor of one cluster.
#[derive(Debug)]
pub enum Question {
    /// What `show` tells.
    Show(oneshot::Sender<ClusterView>),
    /// What `checks` tells.
    Checks(oneshot::Sender<Vec<CheckView>>),
    /// To read the standing from disk now; answered with its generation once the engine has it.
    Stands(oneshot::Sender<u64>),
}

/// Holds the box's claim to be the only monitor of this state directory.
#[derive(Debug)]
pub struct OnlyMonitor {
    _file: File,
}

impl OnlyMonitor {
    /// Claims it; `wait` is for whoever writes a single look down and holds it that long.
    ///
    /// # Errors
    /// Refused: another monitor runs, or the directory cannot be written.
    pub fn claim(state_dir: &Path, wait: Duration) -> Result<OnlyMonitor, Trouble> {
        let path = state_dir.join("monitor.lock");
        let what = "the monitor was not started";
        let file = fs::create_dir_all(state_dir)
            .and_then(|()| {
                File::options()
                    .create(true)
                    .truncate(false)
                    .write(true)
                    .open(&path)
            })
            .map_err(|error| {
                Trouble::refused(
                    Guard::G05,
                    what,
                    format!("`{}` cannot be opened: {error}", path.display()),
                )
                .hint("make the state directory writable for the user that runs the monitor")
            })?;
        let until = Instant::now() + wait;
        let mut claimed = file.try_lock();
        while claimed.is_err() && Instant::now() < until {
            std::thread::sleep(CLAIM_AGAIN_AFTER);
            claimed = file.try_lock();
        }
        match claimed {
            Ok(()) => Ok(OnlyMonitor { _file: file }),
            Err(error) => Err(Trouble::refused(
                Guard::G60,
                what,
                format!("another monitor holds `{}`: {error}", path.display()),
            )),
        }
    }
}

/// What the inventory lets us do about each host.
pub fn means(entry: &ClusterEntry) -> BTreeMap<HostName, Means> {
    let unfenced = entry.cluster.failover.unfenced;
    entry
        .hosts
        .iter()
        .map(|(name, host)| {
            (
                name.clone(),
                Means {
                    fence: host.fence.is_some(),
                    unfenced,
                },
            )
        })
        .collect()
}

/// Watches one cluster until told to stop. Questions are answered from what is known at that moment.
pub async fn watch_cluster(
    fleet: Arc<Fleet>,
    dir: StateDir,
    teller: Teller,
    mut network: NetworkWatch,
    mut questions: mpsc::Receiver<Question>,
    mut stop: watch::Receiver<bool>,
) {
    if let Err(error) = dir.sweep(NO_WRITE_LASTS) {
        tracing::warn!(
            "what killed writers left in `{}` stays: {error}",
            dir.path().display()
        );
    }
    let performer = acting(&fleet, &dir, &teller, &network);
    let Some(standing) = begin(&performer, &mut network, &mut questions, &mut stop).await else {
        return;
    };
    let engine = Engine::new(fleet.entry().cluster.clone(), means(fleet.entry()), standing);
    let mut engine = resumed(engine, &dir, &teller);
    let (inputs, mut incoming) = mpsc::channel::<Input>(256);
    let (owed_out, owed) = watch::channel(owed_hosts(&engine));
    let mut waiters = Waiters::default();
    let mut tasks = JoinSet::new();
    let (newest, keeping) = start_keeping(&dir, &teller);
    rounds::start_probes(&fleet, &inputs, &mut tasks);
    rounds::start_looks(&fleet, &inputs, &owed, &waiters.look_now(), &mut tasks);
    start_reading(&dir, &inputs, &mut tasks);
    tasks.spawn(watch_sign::hold(fleet.clone(), teller.clone()).in_current_span());
    let mut tick = interval(TICK_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut doubles = doubles::Rounds::default();
    let mut ask_for_doubles = interval(ASK_FOR_DOUBLES_EVERY);
    ask_for_doubles.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let input = tokio::select! {
            Some(input) = incoming.recv() => input,
            _ = tick.tick() => Input::Tick,
            changed = network.answers.changed() => match changed {
                Ok(()) => Input::Network { answers: *network.answers.borrow_and_update() },
                Err(_) => { tracing::error!("nobody asks the ping addresses any more"); break; }
            },
            _ = ask_for_doubles.tick() => {
                if let Some((host, address)) = doubles.due(engine.addresses_at_rest()) {
                    let listening = listen(fleet.clone(), host, address, waiters.look_now(), inputs.clone());
                    tasks.spawn(listening.in_current_span());
                }
                continue;
            }
            Some(question) = questions.recv() => match question {
                Question::Stands(to) => {
                    waiters.add(to, &fleet.entry().cluster);
                    read_now(&dir)
                }
                question => { answer(&engine, question); continue; }
            },
            _ = stop.changed() => break,
        };
        if let Input::Looked(host, _) = &input {
            waiters.saw(host);
        }
        for effect in engine.step(clock::now(), input) {
            match effect {
                Effect::Tell(event) => teller.tell(event),
                Effect::Remember(records) => drop(newest.send_replace(Some(records))),
                effect => {
                    let eligible = engine.eligible();
                    let (fleet, dir, teller, inputs) =
                        (fleet.clone(), dir.clone(), teller.clone(), inputs.clone());
                    let network = network.clone();
                    let work = async move {
                        let performer = acting(&fleet, &dir, &teller, &network);
                        carry_out(effect, &eligible, &performer, inputs).await;
                    };
                    tasks.spawn(work.in_current_span());
                }
            }
        }
        waiters.answer(engine.standing().generation);
        owed_out.send_if_modified(|owed| {
            let now = owed_hosts(&engine);
            let changed = *owed != now;
            *owed = now;
            changed
        });
        reap(&mut tasks);
        if keeping.is_finished() {
            break;
        }
    }
    tasks.shutdown().await;
    newest.send_replace(Some(Box::new(engine.records())));
    drop(newest);
    match tokio::time::timeout(KEEP_WITHIN, keeping).await {
        Ok(kept) => pass_on(kept),
        Err(_) => tracing::warn!("the newest records of the hosts could not be written in time"),
    }
}

/// What a monitor acts through, no further than its mode allows.
fn acting<'f>(fleet: &'f Fleet, dir: &StateDir, teller: &Teller, network: &NetworkWatch) -> Performer<'f> {
    Performer {
        fleet,
        dir: dir.clone(),
        teller: teller.clone(),
        lock_wait: LOCK_WAIT,
        network: network.network.clone(),
        by_itself: true,
        whatever_state: false,
        expects: None,
        begin_by: None,
        monitor_at: None,
    }
}

/// Somebody else is at work; nothing is wrong with that.
pub(super) fn is_held_elsewhere(trouble: &Trouble) -> bool {
    trouble.guard == Some(Guard::G04)
}

/// Finds out whether another machine answers for an address that a host holds.
async fn listen(
    fleet: Arc<Fleet>,
    host: HostName,
    address: IpAddr,
    mut moves: watch::Receiver<u64>,
    inputs: mpsc::Sender<Input>,
) {
    moves.borrow_and_update();
    let heard = doubles::ask_twice(&fleet, &host, address).await;
    // While a command moves an address two hosts hold it, and each answer may have come in the middle of a move.
    if moves.has_changed().is_ok_and(|changed| changed) {
        return;
    }
    if let Some(answered) = heard {
        let heard = Input::Heard {
            host,
            address,
            answered,
        };
        say(&inputs, heard).await;
    }
}

/// Lets the engine go on where the last monitor left off.
fn resumed(engine: Engine, dir: &StateDir, teller: &Teller) -> Engine {
    match records::load(dir) {
        Ok(Some(records)) => engine.resume(records),
        Ok(None) => {
            tracing::info!("no records of the hosts yet in `{}`", dir.path().display());
            engine
        }
        Err(trouble) => {
            alarm(teller, &trouble);
            engine
        }
    }
}

/// Writes records down as they come, beside everything else.
fn start_keeping(
    dir: &StateDir,
    teller: &Teller,
) -> (watch::Sender<Option<Box<Records>>>, tokio::task::JoinHandle<()>) {
    let (newest, kept) = watch::channel(None);
    let (dir, teller) = (dir.clone(), teller.clone());
    let keeping =
        tokio::spawn(async move { records::keep(dir, kept, |trouble| alarm(&teller, trouble)).await });
    (newest, keeping)
}

fn owed_hosts(engine: &Engine) -> Vec<HostName> {
    engine.standing().owed.keys().cloned().collect()
}

pub(super) fn answer(engine: &Engine, question: Question) {
    // The asker may have gone away; then nobody needs the answer.
    match question {
        Question::Show(to) => drop(to.send(view::cluster(engine, true))),
        Question::Checks(to) => drop(to.send(view::checks(engine))),
        Question::Stands(to) => drop(to.send(engine.standing().generation).ok()),
    }
}

/// The standing as another command has just written it; what cannot be read is read again by the regular rounds.
fn read_now(dir: &StateDir) -> Input {
    match dir.load() {
        Ok(standing) => Input::Stands(standing),
        Err(trouble) => {
            tracing::warn!("{}: {}", trouble.what, trouble.because);
            Input::Tick
        }
    }
}

/// Carries one effect out and tells the engine what came of it.
async fn carry_out(
    effect: Effect,
    eligible: &Eligible,
    performer: &Performer<'_>,
    inputs: mpsc::Sender<Input>,
) {
    let trouble = match effect {
        // The cluster's loop sees to both by itself.
        Effect::Tell(_) | Effect::Remember(_) => return,
        Effect::AskEvidence(suspect) => {
            let (evidence, circumstances) = inquest::inquire(performer.fleet, &suspect).await;
            let gathered = Input::Evidence {
                suspect,
                evidence,
                circumstances,
            };
            say(&inputs, gathered).await;
            return;
        }
        Effect::FailOver {
            outgoing,
            incoming,
            rung,
            events,
            memory,
        } => performer
            .perform(&Request::Failover {
                outgoing: Some(outgoing),
                incoming,
                rung,
                events,
                memory: Some(memory),
                allow_loss: false,
                automatic: true,
            })
            .await
            .map(drop)
            .err(),
        Effect::SwitchOver(to) => performer
            .perform(&Request::Switchover {
                to: Some(to.as_str().to_owned()),
                write_refused_max: None,
            })
            .await
            .map(drop)
            .err(),
        Effect::Reopen(writer) => {
            // Looked at in the middle of somebody else's switchover, it is not the writer any more.
            let refused = performer.perform(&Request::Reopen { writer: Some(writer) }).await;
            refused.err().filter(|trouble| trouble.guard != Some(Guard::G17))
        }
        Effect::Rejoin(host) => match performer.take_back(&host).await {
            Ok(performed) => not_rejoined(&host, &performed.report.ending),
            Err(trouble) => Some(trouble),
        },
        Effect::Adopt => performer.adopt().await.map(drop).err(),
        Effect::Activate { because } => performer.activate(&because).await.err(),
        Effect::Quarantine(host) => performer.quarantine_met(&host).await.err(),
        Effect::Repair => performer.repair(eligible).await.err(),
    };
    match trouble {
        // What is out of place is looked at again afterwards.
        Some(trouble) if is_held_elsewhere(&trouble) => tracing::debug!("{trouble}"),
        Some(trouble) => say(&inputs, Input::Failed(trouble)).await,
        None => {}
    }
    match performer.dir.load() {
        Ok(standing) => say(&inputs, Input::Stands(standing)).await,
        Err(trouble) => alarm(&performer.teller, &trouble),
    }
    say(&inputs, Input::Finished).await;
}

/// Why a host that was let in does not follow: it is tried again and again, and people should know what it waits for.
fn not_rejoined(host: &HostName, ending: &Ending) -> Option<Trouble> {
    let Ending::Undone { because, .. } = ending else {
        return None;
    };
    let trouble = Trouble::new(
        Kind::Undone,
        format!("`{host}` cannot be made to follow"),
        because,
    );
    Some(trouble.hint("mend that on the host; it is tried again all the time"))
}

async fn say(inputs: &mpsc::Sender<Input>, input: Input) {
    if inputs.send(input).await.is_err() {
        tracing::debug!("the cluster's loop has ended; what was found is dropped");
    }
}

pub(super) fn alarm(teller: &Teller, trouble: &Trouble) {
    teller.tell(Event::Alarm {
        what: format!("{}: {}", trouble.what, trouble.because),
        hint: trouble.hint.clone(),
    });
}

/// Reads the standing that other commands may have changed.
fn start_reading(dir: &StateDir, inputs: &mpsc::Sender<Input>, tasks: &mut JoinSet<()>) {
    let (dir, inputs) = (dir.clone(), inputs.clone());
    tasks.spawn(
        async move {
            let mut rounds = interval(READ_STANDING_EVERY);
            let mut known = None;
            loop {
                rounds.tick().await;
                if dir.is_behind() {
                    catch_up(&dir).await;
                }
                match dir.load() {
                    Ok(standing) if known != Some(standing.generation) => {
                        known = Some(standing.generation);
                        if inputs.send(Input::Stands(standing)).await.is_err() {
                            return;
                        }
                    }
                    Ok(_) => {}
                    Err(trouble) => tracing::warn!("{}: {}", trouble.what, trouble.because),
                }
            }
        }
        .in_current_span(),
    );
}

/// Writes down what could not be written before, as soon as it can be.
async fn catch_up(dir: &StateDir) {
    let caught_up = match LocalLock::take(dir, "writing the standing down", Duration::ZERO).await {
        Ok(_lock) => dir.catch_up(),
        Err(trouble) => Err(trouble),
    };
    if let Err(trouble) = caught_up {
        tracing::debug!("{trouble}");
    }
}

/// What the four checks of every host say right now, once: for `show` and `checks` without a monitor.
pub async fn check_once(fleet: &Fleet) -> Vec<(HostName, CheckKind, CheckResult)> {
    let probes = fleet.entry().hosts.iter().filter_map(|(name, host)| {
        let logins = fleet.logins(name)?;
        let timing = fleet.entry().cluster.checks;
        let mut server =
            Server::new(host.address, host.mysql.port, logins.monitor.clone()).managing(&host.mysql.channel);
        Some(async move {
            let echo = ping(host.address, timing.ping.timeout).await;
            let mysql = server.check_mysql(timing.mysql.timeout).await;
            let threads = server.check_rep_threads(timing.rep_threads.timeout).await;
            let backlog = server
                .check_rep_backlog(timing.rep_backlog.timeout, timing.rep_backlog.max_backlog)
                .await;
            vec![
                (name.clone(), CheckKind::Ping, checks::ping(&echo)),
                (name.clone(), CheckKind::Mysql, mysql),
                (name.clone(), CheckKind::RepThreads, threads),
                (name.clone(), CheckKind::RepBacklog, backlog),
            ]
        })
    });
    futures_util::future::join_all(probes)
        .await
        .into_iter()
        .flatten()
        .collect()
}
