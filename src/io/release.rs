//! A host out of service and back in, on a person's word. What stands is written down before anything is touched, so
//! that nobody gives the host a role in between.

use std::net::IpAddr;

use crate::core::clearing::{self, Clearing};
use crate::core::cluster::HostName;
use crate::core::guard::{self, Facts, Guard};
use crate::core::hosts::HostState;
use crate::core::mending::Call;
use crate::core::playbook::Section;
use crate::core::proposal::Wish;
use crate::core::release::{self, Entering, Leaving};
use crate::core::run::Ending;
use crate::core::standing::Standing;
use crate::core::trouble::{Kind, Trouble};
use crate::io::chore::Chore;
use crate::io::clock;
use crate::io::hold::Hold;
use crate::io::operation::{Performed, Performer, Request};
use crate::io::settle;

/// How a host was taken out of service, or let back in.
#[derive(Debug, Clone, PartialEq)]
pub struct Changed {
    /// What stands now.
    pub standing: Standing,
    /// Whether anything was done; otherwise it was so already.
    pub changed: bool,
    /// The addresses that left the host, and where each went; none while nobody could take it.
    pub moved: Vec<(IpAddr, Option<HostName>)>,
    /// The switchover that had to come first; when it did not end well, nothing else was done.
    pub switchover: Option<Performed>,
}

impl Performer<'_> {
    /// Takes a host out of service: the writer role is handed over if it has it, its addresses go to whom they belong
    /// among `online`, its replication stops. Done again, it clears away what was left.
    ///
    /// # Errors
    /// Usage or refused: nothing was touched, and why. Wrong: it is out of service, but something is left on it. How a
    /// switchover that was begun ended is in the answer.
    pub async fn take_out(
        &self,
        host: &HostName,
        state: HostState,
        online: &[HostName],
    ) -> Result<Changed, Trouble> {
        self.under_lock(&format!("taking {host} out of service"), async {
            self.take_out_held(host, state, online).await
        })
        .await
    }

    /// Lets a host back in: its replication is started if it was stopped by [`Performer::take_out`].
    ///
    /// # Errors
    /// Usage or refused: nothing was touched, and why. Undone: its replication did not run, and was stopped again.
    pub async fn let_in(&self, host: &HostName, state: HostState) -> Result<Changed, Trouble> {
        self.under_lock(&format!("letting {host} back in"), async {
            self.let_in_held(host, state).await
        })
        .await
    }

    pub(super) async fn under_lock<T>(
        &self,
        purpose: &str,
        work: impl Future<Output = Result<T, Trouble>>,
    ) -> Result<T, Trouble> {
        self.dir.prepare()?;
        let hold = Hold::take(self.fleet, &self.dir, purpose, self.lock_wait).await?;
        let done = match self.in_time_for(purpose) {
            Ok(()) => work.await,
            Err(late) => Err(late),
        };
        self.fleet.cool().await;
        hold.release().await;
        done
    }

    /// What stands and what is seen, with the lock held and every cut-off run settled.
    pub(super) async fn settled(&self) -> Result<(Standing, Facts), Trouble> {
        let mut standing = self.dir.load()?;
        let facts = self.fleet.look_everywhere().await;
        let what = format!("what is to be done with `{}`", self.fleet.entry().cluster.name);
        self.in_time_for(&what)?;
        let facts = settle::open_runs(self, &mut standing, facts).await?;
        settle::chores(self, &standing, &facts).await;
        self.in_time_for(&what)?;
        if standing.writer.is_none() {
            standing.writer = guard::observed_writer(&self.fleet.entry().cluster, &facts);
        }
        Ok((standing, facts))
    }

    async fn take_out_held(
        &self,
        host: &HostName,
        state: HostState,
        online: &[HostName],
    ) -> Result<Changed, Trouble> {
        let cluster = &self.fleet.entry().cluster;
        let (mut standing, mut facts) = self.settled().await?;
        if self.expects.is_some() {
            let planner = self.planner();
            let now = planner.propose_leaving(host, state, online, &standing, &facts);
            self.require_same_way(now.await, &standing, &facts)?;
        }
        let leaving = release::leaving(cluster, &standing, host, state)?;
        release::within_reach(host, facts.get(host))?;
        let mut switchover = None;
        if leaving == Leaving::AfterSwitchover {
            let performed = self
                .perform_held(
                    &Request::Switchover {
                        to: self.planned_successor(),
                        write_refused_max: None,
                    },
                    &[],
                )
                .await
                .map_err(|trouble| not_handed_over(host, trouble))?;
            standing = performed.standing.clone();
            let is_done = matches!(performed.report.ending, Ending::Done { .. });
            switchover = Some(performed);
            if !is_done {
                return Ok(Changed {
                    standing,
                    changed: false,
                    moved: Vec::new(),
                    switchover,
                });
            }
            facts = self.fleet.look_everywhere().await;
        }
        let mut after = standing.clone();
        if leaving != Leaving::Already {
            after.offline.insert(host.clone(), clock::now());
            after.released.remove(host);
        }
        let what_leaves = clearing::clearing(cluster, &after, host, online, &facts);
        let mut calls: Vec<Call<'_>> = what_leaves
            .fixes
            .iter()
            .flat_map(|fix| fix.calls(cluster))
            .collect();
        calls.extend(what_leaves.replicates.then(|| clearing::stop(host)));
        let wanted = Wish::SetOffline { host: host.clone() };
        let chore = self.begin_calls(wanted, Section::Finish, &calls, &facts).await;
        let mut chore = chore.map_err(|trouble| but_handed_over(host, &switchover, trouble))?;
        if leaving != Leaving::Already {
            after.touch();
            if let Err(trouble) = self.dir.save(&after) {
                let trouble = trouble.into_refusal(Guard::G05);
                end(self, chore, untouched(&trouble));
                return Err(but_handed_over(host, &switchover, trouble));
            }
        }
        standing = after;
        let cleared = self
            .clear(host, &mut standing, &what_leaves, chore.as_mut())
            .await;
        let ending = match &cleared {
            Ok(()) => Ending::Done { warnings: Vec::new() },
            Err(trouble) => Ending::Failed {
                because: trouble.because.clone(),
            },
        };
        end(self, chore, ending);
        cleared?;
        Ok(Changed {
            standing,
            changed: leaving != Leaving::Already || what_leaves.replicates || !what_leaves.moved.is_empty(),
            moved: what_leaves.moved,
            switchover,
        })
    }

    /// Takes addresses off a host that is out of service, gives them to others, and stops its replication.
    async fn clear(
        &self,
        host: &HostName,
        standing: &mut Standing,
        what_leaves: &Clearing,
        mut chore: Option<&mut Chore>,
    ) -> Result<(), Trouble> {
        let mut left = Vec::new();
        let fixes = what_leaves.fixes.clone();
        if let Err(trouble) = self.apply_all_in(chore.as_deref_mut(), fixes, standing).await {
            left.push(trouble.because);
        }
        if let Some(chore) = chore.filter(|_| what_leaves.replicates)
            && let Err(why) = chore.call(self, &clearing::stop(host)).await
        {
            left.push(format!("its replication could not be stopped: {why}"));
        }
        if left.is_empty() {
            return Ok(());
        }
        Err(Trouble::new(
            Kind::Wrong,
            format!("`{host}` is out of service, but something is left on it"),
            left.join("; "),
        )
        .hint(format!("mend that, then `mmm set-offline {host}` clears it away")))
    }

    /// Begins work by hand that is made of those duties; none where there is nothing to do on any host.
    async fn begin_calls(
        &self,
        wanted: Wish,
        section: Section,
        calls: &[Call<'_>],
        facts: &Facts,
    ) -> Result<Option<Chore>, Trouble> {
        if calls.is_empty() {
            return Ok(None);
        }
        let planned = self.planner().stages_of(calls, facts).await?;
        self.begin_chore(wanted, section, &planned, calls, facts)
            .await
            .map(Some)
    }

    async fn let_in_held(&self, host: &HostName, state: HostState) -> Result<Changed, Trouble> {
        let cluster = &self.fleet.entry().cluster;
        let (mut standing, facts) = self.settled().await?;
        if self.expects.is_some() {
            let now = self
                .planner()
                .propose_entering(host, state, &standing, &facts)
                .await;
            self.require_same_way(now, &standing, &facts)?;
        }
        let entering = release::entering(cluster, &standing, host, state)?;
        let unchanged = |standing| Changed {
            standing,
            changed: false,
            moved: Vec::new(),
            switchover: None,
        };
        if entering == Entering::Already {
            return Ok(unchanged(standing));
        }
        let way = release::way_in(cluster, &standing, &facts, host, entering)?;
        let seen = facts.get(host).and_then(|seen| seen.mysql.up());
        let (fix, call) = clearing::starting(host, entering, &way, seen);
        let calls: Vec<Call<'_>> = fix
            .iter()
            .flat_map(|fix| fix.calls(cluster))
            .chain(call)
            .collect();
        let wanted = Wish::SetOnline { host: host.clone() };
        let mut chore = self.begin_calls(wanted, Section::Prepare, &calls, &facts).await?;
        let mut started = Ok(());
        if let Some(fix) = fix.clone() {
            let done = self.apply_all_in(chore.as_mut(), vec![fix], &mut standing).await;
            started = done.map_err(|trouble| trouble.because);
        }
        if let Some((call, chore)) = call.zip(chore.as_mut()) {
            started = chore.call(self, &call).await;
        }
        if let Err(why) = started {
            let mut trouble = self.stopped_again(host, &why).await;
            if let Some(chore) = chore.as_ref().filter(|chore| chore.is_unknown()) {
                // What was sent may come true after it was stopped.
                trouble.kind = Kind::Wrong;
                trouble.hint = format!("`mmm undo {}` makes sure that it stands still", chore.name());
            }
            let ending = match trouble.kind {
                Kind::Undone => Ending::Undone {
                    because: why,
                    untouched: false,
                },
                _ => Ending::Failed {
                    because: trouble.because.clone(),
                },
            };
            end(self, chore, ending);
            return Err(trouble);
        }
        standing.offline.remove(host);
        standing.released.insert(host.clone(), clock::now());
        standing.touch();
        // Where that fails the record is left open, and the host is still out of service.
        self.dir.save(&standing)?;
        end(self, chore, Ending::Done { warnings: Vec::new() });
        Ok(Changed {
            changed: true,
            ..unchanged(standing)
        })
    }

    /// Stops replication that did not come to run, and says so.
    async fn stopped_again(&self, host: &HostName, why: &str) -> Trouble {
        let what = format!("`{host}` was not let back in");
        match self.call(&clearing::stop(host)).await {
            Ok(()) => Trouble::new(
                Kind::Undone,
                what,
                format!("its replication did not run and was stopped again: {why}"),
            ),
            Err(again) => Trouble::new(
                Kind::Wrong,
                what,
                format!("its replication does not run ({why}), and could not be stopped again: {again}"),
            ),
        }
        .hint(format!(
            "`mmm checks {host}` says what is wrong; mend it and try again"
        ))
    }
}

fn end(performer: &Performer<'_>, chore: Option<Chore>, ending: Ending) {
    if let Some(chore) = chore {
        chore.end(performer, ending);
    }
}

fn untouched(trouble: &Trouble) -> Ending {
    Ending::Undone {
        because: trouble.reason(),
        untouched: true,
    }
}

/// A host that is refused further on has not been left as it was when it has handed the writer role over first.
fn but_handed_over(host: &HostName, switchover: &Option<Performed>, trouble: Trouble) -> Trouble {
    if switchover.is_none() {
        return trouble;
    }
    let what = format!("`{host}` has handed the writer role over, and was not taken out of service");
    Trouble::new(Kind::Wrong, what, trouble.reason())
        .hint(format!("mend that, then `mmm set-offline {host}` again"))
}

/// The writer stays in service when its role cannot be handed over.
fn not_handed_over(host: &HostName, trouble: Trouble) -> Trouble {
    Trouble {
        kind: Kind::Refused,
        what: format!("`{host}` was not taken out of service"),
        because: format!("it is the writer, and {}: {}", trouble.what, trouble.because),
        ..trouble
    }
}
