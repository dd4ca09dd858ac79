//! Operations from beginning to end: lock, settle what was cut off, look, guard, journal, conduct, remember.

mod again;
mod as_planned;
mod beforehand;
mod hands;
pub(crate) mod harmless;
mod in_service;
mod in_time;
mod locked;
mod planner;
mod preparing;
mod reckoning;
mod seating;
mod site;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::core::cluster::HostName;
use crate::core::electorate::Memory;
use crate::core::event::Event;
use crate::core::evidence::Rung;
use crate::core::guard::{self, Guard};
use crate::core::maintenance::Automatic;
use crate::core::mode::Deed;
use crate::core::plan::Seats;
use crate::core::proposal::Proposal;
use crate::core::refusal::Refusal;
use crate::core::run::{Ending, Run};
use crate::core::standing::{Owed, Standing};
use crate::core::trouble::{Kind, Trouble};
use crate::io::clock;
use crate::io::conductor::{self, Hands as _, Past, RunReport};
use crate::io::fleet::Fleet;
use crate::io::hold::Hold;
use crate::io::journal::{Entry, Journal, Opening};
use crate::io::network::Network;
use crate::io::refusals;
use crate::io::settle;
use crate::io::standing::StateDir;
use crate::io::teller::Teller;
use hands::RealHands;

pub use planner::{Planner, SingleDuty};
pub(super) use preparing::run_stamp;
pub use preparing::{Prepared, goes_by_gtid, has_gtids, uses_gtid};

/// An operation asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Hand the writer role over.
    Switchover {
        /// To whom; the only candidate otherwise.
        to: Option<String>,
        /// For how long writes may be refused; what the inventory says otherwise.
        write_refused_max: Option<Duration>,
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
        /// What is remembered of the time when it last answered; none leaves it to what was written down.
        memory: Option<Box<Memory>>,
        /// A person has said to go on without what cannot be applied or handed over.
        allow_loss: bool,
        /// No person asks for it: a monitor does, or cron.
        automatic: bool,
    },
    /// Let the writer, found read-only, take writes again.
    Reopen {
        /// Who was found so; whoever is on record otherwise.
        writer: Option<HostName>,
    },
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
            Request::Reopen { .. } => "reopen",
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

    /// Whether a person accepts that transactions are lost that could be had.
    fn allows_loss(&self) -> bool {
        matches!(self, Request::Failover { allow_loss: true, .. })
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
            Request::Reopen { .. } => Deed::Reopen,
            Request::Rejoin { .. } => Deed::Rejoin,
            Request::MoveAddress { .. } => Deed::Repair,
        }
    }
}

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
    /// Whether a host may be made the writer in whatever state a monitor holds it to be: a person forces it.
    pub whatever_state: bool,
    /// The plan that is carried out, where one is: when what it rests on has changed, nothing is done.
    pub expects: Option<Box<Proposal>>,
    /// After this moment nothing is begun any more.
    pub begin_by: Option<Instant>,
    /// Where a monitor of this box would answer, for whoever is none himself.
    pub monitor_at: Option<PathBuf>,
}

impl Performer<'_> {
    /// Performs an operation.
    ///
    /// # Errors
    /// Refused or usage: nothing was touched, and why. How a run that was begun ended is in the answer.
    pub async fn perform(&self, request: &Request) -> Result<Performed, Trouble> {
        let performed = self.perform_locked(request).await;
        match &performed {
            Ok(_) => refusals::forget(&self.dir),
            // What a person asked for is known to the command as he gave it.
            Err(trouble) if self.by_itself => {
                let asked = format!("the monitor's {}", request.operation());
                if let Some(refusal) = Refusal::of(clock::now(), &asked, trouble) {
                    refusals::keep(&self.dir, &refusal);
                }
            }
            Err(_) => {}
        }
        performed
    }

    /// Performs an operation with the lock that it takes.
    async fn perform_locked(&self, request: &Request) -> Result<Performed, Trouble> {
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
        // A plan rests on a whole look, and is held against one.
        let absent = if self.expects.is_some() {
            Vec::new()
        } else {
            absent
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
        self.in_time(request)?;
        let mut standing = self.load_standing(request)?;
        self.permit(&standing, request.deed())?;
        let facts = settle::open_runs(self, &mut standing, facts).await?;
        let cluster = &self.fleet.entry().cluster;
        if standing.writer.is_none() {
            standing.writer = guard::observed_writer(cluster, &facts);
        }
        let is_planned_move = matches!(request, Request::Switchover { .. } | Request::MoveAddress { .. });
        if is_planned_move {
            settle::chores(self, &standing, &facts).await;
            self.believe_the_hosts(&mut standing, &facts).await;
        }
        if !matches!(request, Request::Rejoin { .. }) {
            self.require_as_planned(request, &standing, &facts).await?;
        }
        let planner = self.planner();
        let reckoning = planner.reckon(request, &standing, &facts);
        guard::hands_off(cluster, &standing)?;
        let (seats, rung) = planner.seated(request, &standing, &facts, &reckoning)?;
        planner.guarded(request, &standing, &facts, &reckoning, &seats)?;
        if is_planned_move {
            let at = |host: &Option<HostName>| {
                let hosts: Vec<&HostName> = host.iter().collect();
                settle::nothing_left_at(self, request.operation(), &hosts)
            };
            at(&seats.incoming)?;
            // Whatever is left there opens nobody, and it may be why the role leaves.
            if let Err(left) = at(&seats.outgoing) {
                let what = format!("{}; the role leaves it all the same", left.because);
                self.teller.tell(Event::Alarm {
                    what,
                    hint: left.hint,
                });
            }
        }
        self.tell_price(request, &reckoning.outlook);
        self.require_locks(request, &seats)?;
        let mut prepared = planner.prepared(request, &seats, rung, &mut standing, &facts)?;
        self.in_time(request)?;
        let site = self
            .site_before(request, absent, &standing, &prepared, (&seats, rung))
            .await?;
        let warmed = self.warm_seats(&seats, rung, request, &facts).await;
        let ready = warmed.and_then(|shells| self.in_time(request).map(|()| shells));
        prepared.shells = match ready {
            Ok(shells) => shells,
            Err(trouble) => return Err(self.site_refused(site, &prepared.opening, trouble).await),
        };
        if let (Some(rung), Some(outgoing)) = (rung, &seats.outgoing) {
            let owed = Owed::now(clock::now(), &prepared.opening.run, rung);
            standing.owed.insert(outgoing.clone(), owed);
            self.remember(&mut standing);
        }
        let run = Run::new(prepared.opening.stages.clone());
        let past = Past {
            registered: prepared.given.clone(),
            refused_for: None,
        };
        let report = match site {
            Some(journal) => self.conduct_with(&prepared, run, past, journal).await,
            None => self.conduct(&prepared, run, past).await?,
        };
        self.conclude(request, &seats, &prepared.opening, &report, &mut standing);
        if rung.is_some() {
            if report.committed {
                // By GTID repairs see by themselves that one has more; by file and position nobody could tell any more.
                let apart = reckoning.outlook.apart.iter().map(|ahead| &ahead.host);
                let by_files = apart.filter(|host| seating::goes_by_files(&facts, host));
                standing.to_follow.extend(by_files.cloned());
            }
            let seen = reckoning.seen.as_ref();
            self.tell_loss(&prepared.opening, &report, seen, &mut standing)
                .await;
        }
        self.remember(&mut standing);
        self.tell_if_nobody_waits(&prepared.opening, &report).await;
        self.site_after(&prepared.opening, &report).await;
        Ok(Performed { report, standing })
    }

    /// That whoever asked still wants it to begin.
    fn in_time(&self, request: &Request) -> Result<(), Trouble> {
        // A host that comes back was made harmless, and so touched, before it was compared.
        if matches!(request, Request::Rejoin { .. }) {
            return Ok(());
        }
        let cluster = &self.fleet.entry().cluster.name;
        self.in_time_for(&format!("{} of `{cluster}`", request.operation()))
    }

    /// Performs a prepared run from where it stands.
    ///
    /// # Errors
    /// Refused: a planned operation's journal cannot be begun.
    pub async fn conduct(&self, prepared: &Prepared, run: Run, past: Past) -> Result<RunReport, Trouble> {
        let journal = self.begin_journal(&prepared.opening)?;
        Ok(self.conduct_with(prepared, run, past, journal).await)
    }

    /// The journal of a run that begins.
    ///
    /// # Errors
    /// Refused: a planned operation's cannot be begun.
    pub(in crate::io) fn begin_journal(&self, opening: &Opening) -> Result<Journal, Trouble> {
        match Journal::begin(&self.dir, opening.clone()) {
            Ok(journal) => Ok(journal),
            Err(error) if opening.rung.is_some() => {
                let trouble = Trouble::new(
                    Kind::Wrong,
                    "the failover's journal cannot be written; it goes on in memory",
                    error,
                );
                self.alarm(&trouble);
                Ok(Journal::in_memory(trouble.because))
            }
            Err(error) => Err(
                Trouble::refused(Guard::G05, "the run's journal cannot be begun", error)
                    .hint("free some space in the state directory, or make it writable"),
            ),
        }
    }

    /// As [`Performer::conduct`], with a journal that is open already.
    pub async fn conduct_with(
        &self,
        prepared: &Prepared,
        run: Run,
        past: Past,
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
        let report = conductor::conduct(&hands, &prepared.opening, run, past).await;
        if let Some(trouble) = hands.unwritten() {
            self.alarm(&Trouble::new(
                Kind::Wrong,
                "not everything could be written to the run's journal",
                trouble,
            ));
        }
        report
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
            standing.make_writer(seats.incoming.as_ref(), &opening.run);
            standing.to_follow = report.not_following.iter().cloned().collect();
            self.note_failover(request, opening, standing);
        } else if report.in_doubt {
            standing.writer = None;
        }
        match (&report.ending, request) {
            (Ending::Stuck { because, awaits }, _) => {
                standing.get_stuck(format!("run {}: {because}", opening.run), awaits)
            }
            (Ending::Undone { .. }, Request::Failover { .. }) => {
                if let Some(outgoing) = &seats.outgoing {
                    standing.owed.remove(outgoing);
                }
            }
            (Ending::Done { .. }, Request::Rejoin { host }) => {
                standing.owed.remove(host);
                // A person who brings it back by hand wants it to serve.
                if !self.by_itself {
                    standing.released.insert(host.clone(), clock::now());
                }
            }
            (Ending::Done { .. } | Ending::Undone { .. } | Ending::Failed { .. }, _) => {}
        }
    }

    /// Whether another failover that no person asks for has to wait for one.
    fn note_failover(&self, request: &Request, opening: &Opening, standing: &mut Standing) {
        match request {
            Request::Failover { automatic: true, .. } => {
                standing.automatic = Some(Automatic {
                    run: opening.run.clone(),
                    at: clock::now(),
                });
            }
            // A person who moves the writer has looked.
            Request::Failover { .. } | Request::Switchover { .. } if !self.by_itself => {
                standing.automatic = None;
            }
            _ => {}
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

    fn load_standing(&self, request: &Request) -> Result<Standing, Trouble> {
        match self.dir.load() {
            Ok(standing) => Ok(standing),
            Err(trouble) if matches!(request, Request::Failover { .. }) => Err(trouble),
            Err(trouble) => Err(trouble.into_refusal(Guard::G05)),
        }
    }

    pub(in crate::io) fn alarm(&self, trouble: &Trouble) {
        self.teller.tell(Event::Alarm {
            what: format!("{}: {}", trouble.what, trouble.reason()),
            hint: trouble.hint.clone(),
        });
    }
}
