//! Work by hand that was cut off: out of service and back in, a rebuild, a single duty. It concerns one host, so nobody
//! else waits for that host to answer; what becomes of it is decided in `core::chore`.

use std::time::Duration;

use futures_util::future::join_all;

use super::ending::{Settlement, end, untouched_now};
use crate::config::playbook::{opening_step, step_that_brings_up};
use crate::core::by_hand::{self, Asked, Values};
use crate::core::chore::{self, CutOff, Reached, Way};
use crate::core::clearing;
use crate::core::cluster::HostName;
use crate::core::event::Event;
use crate::core::guard::{Facts, Guard};
use crate::core::moment::Moment;
use crate::core::proposal::Wish as Wanted;
use crate::core::repair;
use crate::core::run::{Ending, Happening, Outcome};
use crate::core::settlement::Wish;
use crate::core::standing::Standing;
use crate::core::trouble::{Kind, Trouble};
use crate::io::clock;
use crate::io::conductor::{RunReport, outcome_of};
use crate::io::context::Errands;
use crate::io::journal::{self, Entry, Journal, OpenRun};
use crate::io::operation::{Performer, SingleDuty, uses_gtid};

/// What is left of it may take so long to end when somebody else wants to begin.
const IN_PASSING: Duration = Duration::from_secs(3);
/// And so long when a person asks for it.
const ON_DEMAND: Duration = Duration::from_secs(10);

/// Ends what is left of all such work and closes its record; nothing else is done to any host. It holds nobody up for long:
/// what cannot be ended now stays open, and is named by whoever looks. Called with the lock held.
pub(in crate::io) async fn chores(performer: &Performer<'_>, standing: &Standing, facts: &Facts) {
    let open = match journal::open_runs(&performer.dir) {
        Ok(open) => open,
        Err(error) => return tracing::warn!("the journals of earlier runs cannot be read: {error}"),
    };
    for open in open {
        let Some(wanted) = &open.opening.chore else {
            continue;
        };
        match settled(performer, &open, wanted, standing, facts, Wish::Settle).await {
            Ok(Settlement::Closed(Some(because))) => performer.teller.tell(Event::Noted {
                what: format!("{} is over: {because}", open.opening.run),
            }),
            Ok(_) => {}
            // A host that is out of reach is no news.
            Err(trouble) if out_of_reach(&open, facts).is_some() => tracing::debug!("{trouble}"),
            Err(trouble) => performer.alarm(&trouble),
        }
    }
}

/// That nothing of such work may still run on these hosts.
///
/// # Errors
/// Refused: something may, and of what.
pub(in crate::io) fn nothing_left_at(
    performer: &Performer<'_>,
    what: &str,
    hosts: &[&HostName],
) -> Result<(), Trouble> {
    let open = journal::open_runs(&performer.dir).map_err(|error| {
        Trouble::refused(Guard::G05, "the journals of earlier runs cannot be read", error)
    })?;
    for open in open.iter().filter(|open| open.opening.chore.is_some()) {
        let shells = open.shells.iter().map(|(host, _)| host);
        let on_box = open
            .opening
            .outgoing
            .as_ref()
            .filter(|_| on_box_until(open) > Some(clock::now()));
        if let Some(host) = shells.chain(on_box).find(|host| hosts.contains(host)) {
            let run = &open.opening.run;
            let because = format!("what {run} left running about `{host}` is not known to be gone");
            // `undo` may be refused before it looks, and `resume` does the work anew.
            let hint =
                "end it by hand on that host; `mmm clear` looks again, and closes its record once it is gone";
            return Err(Trouble::refused(Guard::G73, format!("{what} was not begun"), because).hint(hint));
        }
    }
    Ok(())
}

/// Until when a duty that was cut off may still run on this box, where nobody can name what it left; none when it is not
/// performed there.
fn on_box_until(open: &OpenRun) -> Option<Moment> {
    let is_under_way = matches!(
        open.happenings.last(),
        Some(Happening::Doing(_) | Happening::Undoing(_))
    );
    match &open.opening.chore {
        Some(Wanted::Duty {
            on_box: true,
            within_ms,
            ..
        }) if is_under_way => Some(
            open.last_at
                .after(Duration::from_millis(*within_ms) + Duration::from_secs(1)),
        ),
        _ => None,
    }
}

/// Ends what is left of all such work as a person wants it, and closes the records of what cannot be ended only because its
/// host is out of reach or nobody can name what it left: he has looked after it. What was found alive stays open; so does a
/// rebuild, after whose end alone its host is whole. Called with the lock held.
///
/// # Errors
/// Refused: the records cannot be read. Wrong: one cannot be ended.
pub(in crate::io) async fn let_go(
    performer: &Performer<'_>,
    standing: &Standing,
    facts: &Facts,
) -> Result<(), Trouble> {
    let open = journal::open_runs(&performer.dir).map_err(|error| {
        Trouble::refused(Guard::G05, "the journals of earlier runs cannot be read", error)
    })?;
    for open in open {
        let Some(wanted) = &open.opening.chore else {
            continue;
        };
        let tried = settled(performer, &open, wanted, standing, facts, Wish::GoOn).await;
        let because = match tried {
            Ok(Settlement::Closed(because)) => because.unwrap_or_default(),
            Ok(Settlement::TakenBack(_) | Settlement::Ended(_)) => continue,
            Err(trouble) => {
                let cannot_be_seen = out_of_reach(&open, facts).is_some() || on_box_until(&open).is_some();
                if !cannot_be_seen || matches!(wanted, Wanted::Rejoin { .. }) {
                    performer.alarm(&trouble);
                    continue;
                }
                let because = "it was cut off, and a person has looked after it".to_owned();
                let mut journal = Journal::reopen(&open.path).map_err(|error| not_ended(&open, error))?;
                let ending = Ending::Failed {
                    because: because.clone(),
                };
                if !end(performer, &open, &mut journal, &ending) {
                    return Err(not_ended(&open, "see the alarm"));
                }
                because
            }
        };
        performer.teller.tell(Event::Noted {
            what: format!("{} is over: {because}", open.opening.run),
        });
    }
    Ok(())
}

fn not_ended(open: &OpenRun, why: impl std::fmt::Display) -> Trouble {
    let what = format!("the record of {} cannot be ended", open.opening.run);
    Trouble::new(Kind::Wrong, what, why).hint("free some space in the state directory")
}

/// A host with something of it that cannot be reached.
fn out_of_reach<'o>(open: &'o OpenRun, facts: &Facts) -> Option<&'o HostName> {
    let hosts = open.shells.iter().map(|(host, _)| host);
    let mut silent = hosts.filter(|host| facts.get(*host).is_some_and(|seen| seen.ssh.up().is_none()));
    silent.next()
}

/// Brings it to its end, as the wish has it. A person who wants it to go on has it done anew afterwards.
///
/// # Errors
/// Refused: it cannot be taken back, or what it left running is not known to be gone. Wrong or stuck: taking it back
/// failed. It stays open.
pub(super) async fn settled(
    performer: &Performer<'_>,
    open: &OpenRun,
    wanted: &Wanted,
    standing: &Standing,
    facts: &Facts,
    wish: Wish,
) -> Result<Settlement, Trouble> {
    let name = &open.opening.run;
    let host = open
        .opening
        .outgoing
        .clone()
        .unwrap_or_else(|| HostName::from("nobody"));
    let playbook = performer.fleet.playbook();
    let duty = playbook.duties.get(&open.opening.operation);
    let way = chore::settle(CutOff {
        wanted,
        run: name,
        reached: Reached::of(open.opening.stages.len(), &open.happenings),
        is_offline: standing.offline.contains_key(&host),
        undo: duty.and_then(|duty| duty.undo.as_ref()),
        wish,
    });
    if let Way::Irrevocable { because, hint } = way {
        let what = format!("{name} was not taken back");
        return Err(Trouble::refused(Guard::G71, what, because).hint(hint));
    }
    let mut journal = Journal::reopen(&open.path).map_err(|error| {
        let what = format!("the record of {name} cannot be ended");
        Trouble::refused(Guard::G05, what, error)
    })?;
    nothing_is_left(performer, open, facts, (wish, &mut journal)).await?;
    let undone = |because: String| Ending::Undone {
        because,
        untouched: false,
    };
    let ending = match way {
        Way::Nothing(because) => undone(because),
        Way::Done => Ending::Done { warnings: Vec::new() },
        Way::StopAgain => {
            // What it had sent may have come true until its shell was gone.
            let now = Facts::from([(host.clone(), performer.fleet.look(&host).await)]);
            stopped_again(performer, &host, name, standing, &now, &mut journal).await?;
            undone(format!(
                "it was cut off, and the replication of {host} is stopped"
            ))
        }
        Way::Undo(undo) => {
            taken_back(performer, open, wanted, &undo, (standing, facts), &mut journal).await?;
            undone("it was cut off, and its duty is taken back".to_owned())
        }
        Way::GiveUp(because) | Way::Irrevocable { because, .. } => Ending::Failed { because },
    };
    end(performer, open, &mut journal, &ending);
    let report = untouched_now(open, ending);
    Ok(settlement(report, wish))
}

/// Ends what it left running on every host that can be reached.
///
/// # Errors
/// Refused: something of it may still run.
async fn nothing_is_left(
    performer: &Performer<'_>,
    open: &OpenRun,
    facts: &Facts,
    (wish, journal): (Wish, &mut Journal),
) -> Result<(), Trouble> {
    let name = &open.opening.run;
    let within = if wish == Wish::Settle {
        IN_PASSING
    } else {
        ON_DEMAND
    };
    let is_up = |host: &HostName| facts.get(host).is_some_and(|seen| seen.ssh.up().is_some());
    let reached = open.shells.iter().filter(|(host, _)| is_up(host));
    let buried = reached.map(|(host, trace)| async move {
        (
            host,
            trace,
            performer.fleet.bury_within(host, trace, within).await,
        )
    });
    let mut left = None;
    for (host, trace, buried) in join_all(buried).await {
        match buried {
            Ok(()) => journal.append(Entry::Gone(host.clone(), trace.clone())),
            Err(why) => {
                left = Some(format!(
                    "what it left running on {host} is not known to be gone: {why}"
                ));
            }
        }
    }
    if let Some(because) = left {
        return Err(not_touched(name, because));
    }
    if let Some(host) = out_of_reach(open, facts) {
        let because = format!("what it left running on {host} cannot be ended: it is not reached over SSH");
        return Err(not_touched(name, because));
    }
    match on_box_until(open) {
        Some(over) if clock::now() < over => Err(not_touched(
            name,
            format!("it may still run on this box until {over}"),
        )),
        _ => Ok(()),
    }
}

/// For a person it is either taken back, or it is over and what he wants is done anew.
fn settlement(report: RunReport, wish: Wish) -> Settlement {
    match wish {
        Wish::TakeBack => Settlement::TakenBack(report),
        Wish::Settle | Wish::GoOn => Settlement::Closed(Some(sentence(&report.ending))),
    }
}

fn sentence(ending: &Ending) -> String {
    match ending {
        Ending::Done { warnings } if warnings.is_empty() => "it had done what it was for".to_owned(),
        Ending::Done { warnings } => warnings.join("; "),
        Ending::Undone { because, .. } | Ending::Failed { because } | Ending::Stuck { because, .. } => {
            because.clone()
        }
    }
}

fn not_touched(name: &str, because: String) -> Trouble {
    let what = format!("{name} was not touched, and stays open");
    let hint = "try again; or end it by hand on that host, then `mmm clear` closes its record. Where a rebuild has exchanged \
                the server, stop that server first";
    Trouble::refused(Guard::G73, what, because).hint(hint)
}

/// Stops the replication of that host again, which was being started.
///
/// # Errors
/// Refused: somebody has let it in since. Wrong: it could not be stopped.
async fn stopped_again(
    performer: &Performer<'_>,
    host: &HostName,
    name: &str,
    standing: &Standing,
    facts: &Facts,
    journal: &mut Journal,
) -> Result<(), Trouble> {
    let what = || format!("{name} was not taken back");
    let seen = facts.get(host);
    let Some(server) = seen.and_then(|seen| seen.mysql.up()) else {
        let because = format!("whether {host} replicates is not known: its server does not answer");
        return Err(Trouble::refused(Guard::G24, what(), because).hint("try again once it answers"));
    };
    let roles = &performer.fleet.entry().cluster.roles;
    let mut addresses = roles.iter().flat_map(|role| &role.addresses);
    let held = addresses.find(|ip| seen.is_some_and(|seen| repair::holds(seen, **ip)));
    let is_in_service = server.is_writable() || standing.writer.as_ref() == Some(host);
    if held.is_some() || is_in_service {
        let because = match held {
            Some(ip) => format!("{host} holds {ip}: somebody has let it back in since"),
            None => format!("{host} is the writer: somebody has let it back in since"),
        };
        return Err(Trouble::refused(Guard::G72, what(), because)
            .hint(format!("`mmm set-online {host}` writes that down here, too")));
    }
    if !server.replicas.iter().any(clearing::is_at_work) {
        return Ok(());
    }
    journal.append(Entry::Shell(host.clone(), performer.shell_at(host, facts).await?));
    let stopped = performer.call(&clearing::stop(host)).await;
    stopped.map_err(|why| {
        Trouble::new(Kind::Wrong, what(), why).hint(format!("mend that, then `mmm undo {name}` again"))
    })
}

/// Has the duty performed that takes a single one back.
///
/// # Errors
/// Refused: only an operation may do that, or a value of it is not known. Wrong or stuck: it failed, or nobody knows.
async fn taken_back(
    performer: &Performer<'_>,
    open: &OpenRun,
    wanted: &Wanted,
    undo: &str,
    (standing, facts): (&Standing, &Facts),
    journal: &mut Journal,
) -> Result<(), Trouble> {
    let what = || format!("{} was not taken back", open.opening.run);
    let Wanted::Duty {
        at,
        on_box,
        set,
        within_ms,
        ..
    } = wanted
    else {
        return Err(Trouble::refused(Guard::G71, what(), "it is no single duty"));
    };
    let mut values = Values::read(set).map_err(|because| Trouble::refused(Guard::G71, what(), because))?;
    values.registered.extend(open.registered.clone());
    let playbook = performer.fleet.playbook();
    let opening_step = opening_step(playbook, undo);
    let asked = Asked {
        duty: undo,
        at,
        only_asks: false,
        opening_step: opening_step.as_deref(),
        address: values.address,
    };
    by_hand::allowed(&performer.fleet.entry().cluster, standing, &asked)?;
    performer.not_being_rebuilt(at)?;
    if let Some(ip) = values
        .address
        .filter(|_| step_that_brings_up(playbook, undo).is_some())
    {
        let held = repair::held(&performer.fleet.entry().cluster, facts);
        let elsewhere = held.get(&ip).into_iter().flatten().find(|holder| *holder != at);
        if let Some(holder) = elsewhere {
            let because = format!("{holder} holds {ip} by now");
            let hint = format!(
                "`mmm resume {0}` performs it again; `mmm clear` closes its record",
                open.opening.run
            );
            return Err(Trouble::refused(Guard::G72, what(), because).hint(hint));
        }
    }
    let single = SingleDuty {
        duty: undo,
        at,
        on_box: *on_box,
        within: Duration::from_millis(*within_ms),
        errand: Errands {
            address: values.address,
            source: values.source.as_ref(),
            registered: Some(&values.registered),
            with: Some(&values.with),
            gtid: uses_gtid(facts),
            ..Errands::default()
        },
    };
    // That everything it names has a value is seen before anything is done.
    performer.planner().stage_of_duty(&single).await?;
    if !on_box {
        journal.append(Entry::Shell(at.clone(), performer.shell_at(at, facts).await?));
    }
    journal.append(Entry::Step(Happening::Undoing(0)));
    if let Some(why) = journal.trouble() {
        let because = format!("its record cannot be written: {why}");
        return Err(Trouble::refused(Guard::G05, what(), because));
    }
    let report = performer.send(&single).await?;
    let outcome = outcome_of(at, &report);
    journal.append(Entry::Step(Happening::Undid(0, outcome.clone())));
    let again = format!("mend that, then `mmm undo {}` again", open.opening.run);
    match outcome {
        Outcome::Done => Ok(()),
        Outcome::Failed(why) => Err(Trouble::new(Kind::Wrong, what(), why).hint(again)),
        Outcome::Unknown(why) => Err(Trouble::new(Kind::Stuck, what(), why).hint(again)),
    }
}
