//! Operations from beginning to end: lock, settle what was cut off, look, guard, journal, conduct, remember.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use crate::config::inventory::Service;
use crate::config::template;
use crate::core::cluster::{HostMode, HostName};
use crate::core::event::Event;
use crate::core::evidence::Rung;
use crate::core::facts::{EventScheduler, UsingGtid};
use crate::core::guard::{self, Facts};
use crate::core::mode::Deed;
use crate::core::plan::{self, FenceDuty, Seats};
use crate::core::playbook::{Operation, OperationStep};
use crate::core::relocation;
use crate::core::run::{Ending, Run, Settled, Stage};
use crate::core::script::{DutyOutcome, DutyReport};
use crate::core::standing::{Owed, Return, Standing};
use crate::core::trouble::{Kind, Trouble};
use crate::io::clock;
use crate::io::conductor::{self, Errand, Hands, Registered, RunReport};
use crate::io::context::Errands;
use crate::io::fleet::Fleet;
use crate::io::hold::Hold;
use crate::io::journal::{Entry, Journal, Opening};
use crate::io::network::Network;
use crate::io::settle;
use crate::io::shell::Trace;
use crate::io::standing::StateDir;
use crate::io::teller::Teller;

/// An operation asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Hand the writer role over.
    Switchover {
        /// To whom; the only candidate otherwise.
        to: Option<String>,
    },
    /// Replace a writer that evidence holds to be dead.
    Failover {
        /// The writer that the evidence is about; none when no host is known to have been it.
        outgoing: Option<HostName>,
        /// Who takes over.
        incoming: HostName,
        /// How the dead writer is held down.
        rung: Rung,
        /// Whether events ran on it when it last answered; none leaves it to what is on disk.
        events: Option<bool>,
    },
    /// Let the writer, found read-only, take writes again.
    Reopen,
    /// Let a replaced writer, found without surplus, follow again.
    Rejoin {
        /// The replaced writer.
        host: HostName,
    },
    /// Put an address other than the writer's on a host, and let it stay there.
    MoveAddress {
        /// The address.
        address: IpAddr,
        /// The host that takes it.
        to: HostName,
    },
}

impl Request {
    /// The operation's name in the playbook, as far as it is known before a look at the hosts.
    pub fn operation(&self) -> &'static str {
        match self {
            Request::Switchover { .. } => "switchover",
            Request::Failover { .. } => "failover",
            Request::Reopen => "reopen",
            Request::Rejoin { .. } => "rejoin",
            Request::MoveAddress { .. } => "move-address",
        }
    }

    /// The operation's name in the playbook, now that it is known who plays which part.
    fn operation_with(&self, seats: &Seats) -> &'static str {
        match self {
            Request::MoveAddress { .. } if seats.outgoing.is_none() => "place-address",
            _ => self.operation(),
        }
    }

    /// The address it moves, when that is not the writer's.
    fn address(&self) -> Option<IpAddr> {
        match self {
            Request::MoveAddress { address, .. } => Some(*address),
            _ => None,
        }
    }

    /// What a monitor that does this by itself does.
    fn deed(&self) -> Deed {
        match self {
            Request::Switchover { .. } => Deed::FailBack,
            Request::Failover { .. } => Deed::FailOver,
            Request::Reopen => Deed::Reopen,
            Request::Rejoin { .. } => Deed::Rejoin,
            Request::MoveAddress { .. } => Deed::Repair,
        }
    }
}

/// The duty that keeps a dead writer's server stopped.
const KEEPS_STOPPED: &str = "keep-stopped";
/// What stands in for it where nothing would start the server again.
const SERVER_IS_GONE: &str = "server-is-gone";

/// How a finished operation left the cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct Performed {
    /// How the run went.
    pub report: RunReport,
    /// What stands now.
    pub standing: Standing,
}

/// One operation with everything it acts through.
#[derive(Debug)]
pub struct Performer<'f> {
    /// The hosts.
    pub fleet: &'f Fleet,
    /// Where state is kept.
    pub dir: StateDir,
    /// Who is told.
    pub teller: Teller,
    /// How long another operation's end is waited for.
    pub lock_wait: Duration,
    /// This box's own network.
    pub network: Network,
    /// Whether a monitor acts, which may do no more than its mode allows. A person may.
    pub by_itself: bool,
}

impl Performer<'_> {
    /// Performs an operation.
    ///
    /// # Errors
    /// Refused or usage: nothing was touched, and why. How a run that was begun ended is in the answer.
    pub async fn perform(&self, request: &Request) -> Result<Performed, Trouble> {
        let purpose = format!("{} of {}", request.operation(), self.fleet.entry().cluster.name);
        self.network.require(&purpose).await?;
        let absent = Self::absent(request);
        let hold = if matches!(request, Request::Failover { .. }) {
            if let Err(trouble) = self.dir.prepare() {
                self.alarm(&trouble);
            }
            Hold::take_for_failover(self.fleet, &self.dir, &purpose, self.lock_wait, &absent).await?
        } else {
            self.dir.prepare()?;
            Hold::take(self.fleet, &self.dir, &purpose, self.lock_wait).await?
        };
        let performed = self.perform_held(request, &absent).await;
        self.fleet.cool().await;
        hold.release().await;
        performed
    }

    /// Hosts that are not waited for: a writer held to be dead has been asked enough.
    fn absent(request: &Request) -> Vec<HostName> {
        match request {
            Request::Failover { outgoing, .. } => outgoing.iter().cloned().collect(),
            _ => Vec::new(),
        }
    }

    /// The operation itself, with the lock held.
    pub(super) async fn perform_held(
        &self,
        request: &Request,
        absent: &[HostName],
    ) -> Result<Performed, Trouble> {
        let facts = self.fleet.look_except(absent).await;
        let mut standing = self.load_standing(request)?;
        self.permit(&standing, request.deed())?;
        let facts = settle::open_runs(self, &mut standing, facts).await?;
        let cluster = &self.fleet.entry().cluster;
        if standing.writer.is_none() {
            standing.writer = guard::observed_writer(cluster, &facts);
        }
        let (seats, rung) = self.guarded(request, &standing, &facts)?;
        standing.events = events_ran(request, &standing, &facts);
        let operation = self.operation(request.operation_with(&seats))?;
        let mut prepared = self.prepare(operation, &seats, rung, &facts, standing.events)?;
        if let Some(address) = request.address() {
            prepared.opening.address = Some(address);
            prepared.address = Some(address);
        }
        prepared.shells = self.warm_seats(&seats, rung, request, &facts).await?;
        if let (Some(rung), Some(outgoing)) = (rung, &seats.outgoing) {
            let owed = Owed {
                since: clock::now(),
                run: prepared.opening.run.clone(),
                rung,
                progress: Return::Awaited,
            };
            standing.owed.insert(outgoing.clone(), owed);
            self.remember(&mut standing);
        }
        let run = Run::new(prepared.opening.stages.clone());
        let report = self.conduct(&prepared, run, prepared.given.clone()).await?;
        self.conclude(request, &seats, &prepared.opening, &report, &mut standing);
        self.remember(&mut standing);
        Ok(Performed { report, standing })
    }

    /// The stages of an operation and everything its journal opens with.
    ///
    /// # Errors
    /// Usage: a template of the operation cannot be filled.
    pub fn prepare(
        &self,
        operation: &Operation,
        seats: &Seats,
        rung: Option<Rung>,
        facts: &Facts,
        events: Option<bool>,
    ) -> Result<Prepared, Trouble> {
        let entry = self.fleet.entry();
        let gtid = uses_gtid(facts);
        let fence = seats
            .outgoing
            .as_ref()
            .and_then(|host| entry.hosts.get(host))
            .and_then(|host| {
                host.fence.as_ref().map(|fence| FenceDuty {
                    duty: fence.duty.clone(),
                    with: fence.with.clone(),
                })
            });
        let given = known_before(rung, events);
        let mut context = template::Context::default();
        context.set("replication", serde_json::json!({ "gtid": gtid }));
        for (name, value) in &given {
            context.set(name, value);
        }
        let mut malformed = None;
        for (_, step) in operation.steps() {
            if let Some(Err(error)) = step.when.as_deref().map(|when| template::holds(when, &context)) {
                malformed.get_or_insert((step.name.clone(), error));
            }
        }
        let keep = |step: &OperationStep| {
            step.when
                .as_deref()
                .is_none_or(|when| template::holds(when, &context).is_ok_and(|holds| holds))
        };
        let mut stages = plan::stages(
            self.fleet.playbook(),
            operation,
            seats,
            rung,
            fence.as_ref(),
            keep,
        );
        self.speak_to_service(&mut stages);
        if let Some((step, error)) = malformed {
            return Err(Trouble::new(
                Kind::Usage,
                format!("step `{step}` of `{}` cannot be planned", operation.name),
                error,
            ));
        }
        let run = format!("{}-{}", operation.name, run_stamp());
        Ok(Prepared {
            opening: Opening {
                run,
                operation: operation.name.clone(),
                outgoing: seats.outgoing.clone(),
                incoming: seats.incoming.clone(),
                rung,
                address: None,
                stages,
            },
            address: entry.cluster.writer_address(),
            gtid,
            given,
            shells: Vec::new(),
        })
    }

    /// Whoever restarts a host's server is told by the duties that the inventory names; where nothing does, nothing is
    /// told, and the server must be gone by itself.
    fn speak_to_service(&self, stages: &mut [Stage]) {
        let service = |stage: &Stage| {
            stage
                .hosts
                .first()
                .and_then(|host| self.fleet.entry().hosts.get(host))
                .map(|host| &host.service)
        };
        for stage in stages.iter_mut().filter(|stage| stage.duty == KEEPS_STOPPED) {
            match service(stage) {
                Some(Service::Duties { keep_stopped, .. }) => stage.duty.clone_from(keep_stopped),
                Some(Service::None) => stage.duty = SERVER_IS_GONE.to_owned(),
                Some(Service::Systemd { .. }) | None => {}
            }
        }
    }

    /// Performs a prepared run from where it stands.
    ///
    /// # Errors
    /// Refused: a planned operation's journal cannot be begun.
    pub async fn conduct(
        &self,
        prepared: &Prepared,
        run: Run,
        registered: Registered,
    ) -> Result<RunReport, Trouble> {
        let journal = match Journal::begin(&self.dir, prepared.opening.clone()) {
            Ok(journal) => journal,
            Err(error) if prepared.opening.rung.is_some() => {
                let trouble = Trouble::new(
                    Kind::Wrong,
                    "the failover's journal cannot be written; it goes on in memory",
                    error,
                );
                self.alarm(&trouble);
                Journal::in_memory(trouble.because)
            }
            Err(error) => {
                return Err(
                    Trouble::new(Kind::Refused, "the run's journal cannot be begun", error)
                        .hint("free some space in the state directory, or make it writable"),
                );
            }
        };
        Ok(self.conduct_with(prepared, run, registered, journal).await)
    }

    /// As [`Performer::conduct`], with a journal that is open already.
    pub async fn conduct_with(
        &self,
        prepared: &Prepared,
        run: Run,
        registered: Registered,
        journal: Journal,
    ) -> RunReport {
        let mut journal = journal;
        for (host, trace) in &prepared.shells {
            journal.append(Entry::Shell(host.clone(), trace.clone()));
        }
        let hands = RealHands {
            fleet: self.fleet,
            teller: &self.teller,
            journal: std::sync::Mutex::new(journal),
            address: prepared.address,
            gtid: prepared.gtid,
            born: Instant::now(),
        };
        let report = conductor::conduct(&hands, &prepared.opening, run, registered).await;
        if let Some(trouble) = hands.journal_trouble() {
            self.alarm(&Trouble::new(
                Kind::Wrong,
                "not everything could be written to the run's journal",
                trouble,
            ));
        }
        report
    }

    /// Who plays which part, after the guards have been passed.
    fn guarded(
        &self,
        request: &Request,
        standing: &Standing,
        facts: &Facts,
    ) -> Result<(Seats, Option<Rung>), Trouble> {
        let cluster = &self.fleet.entry().cluster;
        guard::hands_off(cluster, standing)?;
        let no_writer = || {
            let silent = facts
                .iter()
                .filter_map(|(host, facts)| Some(format!("; `{host}`: {}", facts.mysql.trouble()?)));
            Trouble::new(
                Kind::Refused,
                format!("nothing was done to `{}`", cluster.name),
                format!("no host is known to be the writer{}", silent.collect::<String>()),
            )
            .hint("exactly one master must accept writes, or `mmm failover CLUSTER --to HOST` names one")
        };
        match request {
            Request::Switchover { to } => {
                let outgoing = standing.writer.clone().ok_or_else(no_writer)?;
                let incoming = guard::target(cluster, standing, facts, to.as_deref())?;
                if outgoing == incoming {
                    return Err(Trouble::new(
                        Kind::Refused,
                        format!("nothing was done to `{}`", cluster.name),
                        format!("`{incoming}` is the writer already"),
                    ));
                }
                guard::switchover(cluster, standing, facts, &outgoing, &incoming)?;
                Ok((self.seats(Some(outgoing), incoming, standing), None))
            }
            Request::Failover {
                outgoing,
                incoming,
                rung,
                ..
            } => {
                guard::failover(cluster, standing, facts, outgoing.as_ref(), incoming)?;
                let mut seats = self.seats(outgoing.clone(), incoming.clone(), standing);
                // One that is down would be waited for while the old writer returns, with the lock held.
                seats.replicas.retain(|host| {
                    facts
                        .get(host)
                        .is_some_and(|facts| facts.ssh.up().is_some() && facts.mysql.up().is_some())
                });
                Ok((seats, Some(*rung)))
            }
            Request::Reopen => {
                let writer = standing.writer.clone().ok_or_else(no_writer)?;
                guard::reopen(cluster, standing, facts, &writer)?;
                Ok((
                    Seats {
                        outgoing: None,
                        incoming: Some(writer),
                        replicas: Vec::new(),
                    },
                    None,
                ))
            }
            Request::Rejoin { host } => {
                guard::rejoin(cluster, standing, host)?;
                let incoming = standing.writer.clone().ok_or_else(no_writer)?;
                Ok((
                    Seats {
                        outgoing: Some(host.clone()),
                        incoming: Some(incoming),
                        replicas: Vec::new(),
                    },
                    None,
                ))
            }
            Request::MoveAddress { address, to } => Ok((
                Seats {
                    outgoing: relocation::allowed(cluster, standing, facts, *address, to)?,
                    incoming: Some(to.clone()),
                    replicas: Vec::new(),
                },
                None,
            )),
        }
    }

    /// Outgoing and incoming as told; every other host that is neither kept out nor out of service follows.
    fn seats(&self, outgoing: Option<HostName>, incoming: HostName, standing: &Standing) -> Seats {
        let cluster = &self.fleet.entry().cluster;
        let replicas = cluster
            .hosts
            .iter()
            .filter(|host| Some(&host.name) != outgoing.as_ref() && host.name != incoming)
            .filter(|host| !standing.owed.contains_key(&host.name))
            .filter(|host| !standing.offline.contains_key(&host.name))
            .filter(|host| matches!(host.mode, HostMode::Master | HostMode::Slave))
            .map(|host| host.name.clone())
            .collect();
        Seats {
            outgoing,
            incoming: Some(incoming),
            replicas,
        }
    }

    /// Opens shells and SQL clients before anything is refused. In a failover only the incoming host must be there; a
    /// replica that cannot be reached is repointed later and never keeps a role from moving, and the server of a dead
    /// writer is not waited for.
    async fn warm_seats(
        &self,
        seats: &Seats,
        rung: Option<Rung>,
        request: &Request,
        facts: &Facts,
    ) -> Result<Vec<(HostName, Trace)>, Trouble> {
        let is_outgoing = |host: &HostName| seats.outgoing.as_ref() == Some(host);
        let is_worth_it = |host: &HostName| match rung {
            None | Some(Rung::Demote) if is_outgoing(host) => true,
            None => true,
            Some(_) => facts.get(host).is_some_and(|facts| facts.ssh.up().is_some()),
        };
        let warmed = join_all(
            seats
                .everyone()
                .into_iter()
                .filter(is_worth_it)
                .map(|host| async {
                    let is_dead = rung.is_some() && is_outgoing(&host);
                    let warmed = if is_dead || request.address().is_some() {
                        self.fleet.warm_shell(&host).await
                    } else {
                        self.fleet.warm(&host).await
                    };
                    (host, warmed)
                }),
        );
        let mut shells = Vec::new();
        for (host, warmed) in warmed.await {
            let needed = seats.incoming.as_ref() == Some(&host)
                || (rung.is_none() && seats.outgoing.as_ref() == Some(&host));
            match warmed {
                Ok(trace) => shells.push((host, trace)),
                Err(trouble) if needed => return Err(trouble),
                Err(trouble) => tracing::warn!("{}: {}", trouble.what, trouble.because),
            }
        }
        Ok(shells)
    }

    /// What stands after the run.
    fn conclude(
        &self,
        request: &Request,
        seats: &Seats,
        opening: &Opening,
        report: &RunReport,
        standing: &mut Standing,
    ) {
        if let Request::MoveAddress { address, to } = request {
            if report.committed {
                self.place(standing, *address, to);
            }
            return;
        }
        if report.committed && !matches!(request, Request::Rejoin { .. }) {
            standing.writer.clone_from(&seats.incoming);
        } else if report.in_doubt {
            standing.writer = None;
        }
        match (&report.ending, request) {
            (Ending::Stuck { because }, _) => {
                standing.hands_off = Some(format!("run {}: {because}", opening.run))
            }
            (Ending::Undone { .. }, Request::Failover { .. }) => {
                if let Some(outgoing) = &seats.outgoing {
                    standing.owed.remove(outgoing);
                }
            }
            (Ending::Done { .. }, Request::Rejoin { host }) => {
                standing.owed.remove(host);
            }
            (Ending::Done { .. } | Ending::Undone { .. }, _) => {}
        }
    }

    /// Lets an address stay where it was put; where `prefer` puts it anyhow, nobody needs to remember.
    fn place(&self, standing: &mut Standing, address: IpAddr, host: &HostName) {
        let mut roles = self.fleet.entry().cluster.roles.iter();
        let role = roles.find(|role| role.addresses.contains(&address));
        if role.is_some_and(|role| role.prefer.as_ref() == Some(host)) {
            standing.placed.remove(&address);
        } else {
            standing.placed.insert(address, host.clone());
        }
    }

    /// Writes the standing down; a failure is an alarm, because what was done stays done.
    pub fn remember(&self, standing: &mut Standing) {
        standing.touch();
        if let Err(trouble) = self.dir.save(standing) {
            self.alarm(&trouble);
        }
    }

    /// The operation of that name.
    ///
    /// # Errors
    /// Usage, when the playbook has none.
    pub fn operation(&self, name: &str) -> Result<&Operation, Trouble> {
        self.fleet.playbook().operations.get(name).ok_or_else(|| {
            Trouble::new(
                Kind::Usage,
                format!("there is no operation `{name}`"),
                "the playbooks do not define it",
            )
        })
    }

    fn load_standing(&self, request: &Request) -> Result<Standing, Trouble> {
        match self.dir.load() {
            Ok(standing) => Ok(standing),
            Err(trouble) if matches!(request, Request::Failover { .. }) => Err(trouble),
            Err(trouble) => Err(Trouble {
                kind: Kind::Refused,
                ..trouble
            }),
        }
    }

    pub(super) fn alarm(&self, trouble: &Trouble) {
        self.teller.tell(Event::Alarm {
            what: format!("{}: {}", trouble.what, trouble.because),
            hint: trouble.hint.clone(),
        });
    }
}

/// A run ready to be conducted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// What its journal opens with.
    pub opening: Opening,
    /// The floating address it moves.
    pub address: Option<IpAddr>,
    /// Whether replicas find their place by GTID.
    pub gtid: bool,
    /// Values known before the first step.
    pub given: Registered,
    /// What would be left of the shells it uses.
    pub shells: Vec<(HostName, Trace)>,
}

/// Whether the cluster's replication runs by GTID, as most of its channels do.
pub fn uses_gtid(facts: &Facts) -> bool {
    let channels = facts
        .values()
        .filter_map(|facts| facts.mysql.up())
        .flat_map(|mysql| &mysql.replicas);
    let (with, without): (Vec<_>, Vec<_>) = channels.partition(|channel| channel.using_gtid != UsingGtid::No);
    with.len() >= without.len()
}

/// Whether events ran on the writer: seen now, remembered by the monitor, or on disk from an earlier operation.
fn events_ran(request: &Request, standing: &Standing, facts: &Facts) -> Option<bool> {
    let writer = standing
        .writer
        .as_ref()
        .and_then(|writer| facts.get(writer)?.mysql.up());
    let seen = writer
        .filter(|mysql| mysql.is_writable())
        .map(|mysql| mysql.event_scheduler == EventScheduler::On);
    let told = match request {
        Request::Failover { events, .. } => *events,
        _ => None,
    };
    seen.or(told).or(standing.events)
}

/// What operations are given to start with: whether events ran on the host that was the writer, and whether that host
/// obeyed when it was taken out of service.
fn known_before(rung: Option<Rung>, events: Option<bool>) -> Registered {
    let events = if events == Some(true) { "ON" } else { "OFF" };
    let obeyed = match rung {
        None | Some(Rung::Demote) => "yes",
        Some(Rung::Fence | Rung::Silence) => "no",
    };
    Registered::from([
        ("event_scheduler".to_owned(), events.to_owned()),
        ("outgoing_obeyed".to_owned(), obeyed.to_owned()),
    ])
}

/// `20261122-104832-123`: sorts by time, unique on one box while the lock is held.
fn run_stamp() -> String {
    let text = clock::now().to_string();
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    format!("{}-{}-{}", &digits[..8], &digits[8..14], &digits[14..])
}

/// The conductor's hands in the real world.
struct RealHands<'f> {
    fleet: &'f Fleet,
    teller: &'f Teller,
    journal: std::sync::Mutex<Journal>,
    address: Option<IpAddr>,
    gtid: bool,
    born: Instant,
}

impl RealHands<'_> {
    fn errands<'e>(&self, errand: &'e Errand<'_>) -> Errands<'e> {
        Errands {
            address: self.address,
            source: errand.stage.source.as_ref(),
            registered: Some(errand.registered),
            with: Some(&errand.stage.with),
            gtid: self.gtid,
            old: None,
        }
    }

    fn journal_trouble(&self) -> Option<String> {
        let journal = self
            .journal
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        journal.trouble().map(str::to_owned)
    }
}

impl Hands for RealHands<'_> {
    async fn perform(&self, errand: Errand<'_>) -> DutyReport {
        let errands = self.errands(&errand);
        let on_box = errand.stage.seat == crate::core::playbook::Seat::Monitor;
        let began = Instant::now();
        let performed = if on_box {
            self.fleet
                .act_on_box(errand.host, errand.duty, &errands, errand.stage.within)
                .await
        } else {
            self.fleet
                .act(errand.host, errand.duty, &errands, errand.stage.within)
                .await
        };
        performed.unwrap_or_else(|trouble| DutyReport {
            duty: errand.duty.to_owned(),
            outcome: DutyOutcome::Failed {
                step: trouble.what,
                why: crate::core::script::Failure::Unexpected(trouble.because),
            },
            steps: Vec::new(),
            registered: BTreeMap::new(),
            took: began.elapsed(),
        })
    }

    async fn look(&self, errand: Errand<'_>) -> Settled {
        let errands = self.errands(&errand);
        self.fleet
            .settle(errand.host, errand.duty, &errands, errand.stage.within)
            .await
    }

    async fn rival(&self, host: &HostName) -> Option<HostName> {
        let facts = self.fleet.look_except(std::slice::from_ref(host)).await;
        guard::another_writable(&facts, host)
    }

    fn note(&self, entry: Entry) {
        self.journal
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .append(entry);
    }

    fn tell(&self, event: Event) {
        self.teller.tell(event);
    }

    fn elapsed(&self) -> Duration {
        self.born.elapsed()
    }

    async fn pause(&self, span: Duration) {
        tokio::time::sleep(span).await;
    }
}
