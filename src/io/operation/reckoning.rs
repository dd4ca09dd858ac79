//! What a failover would lose, told before it; what it has lost, told after it and again once the old writer is back.

use super::{Performer, Planner, Request};
use crate::core::cluster::HostName;
use crate::core::electorate::Memory;
use crate::core::event::Event;
use crate::core::evidence::{Rung, UNFENCED_PRICE};
use crate::core::facts::MysqlFacts;
use crate::core::gtid::{self, MariaPosition};
use crate::core::guard::Facts;
use crate::core::losses::{self, Loss, Outlook, Seen};
use crate::core::run::Ending;
use crate::core::standing::Standing;
use crate::io::clock;
use crate::io::conductor::{Registered, RunReport};
use crate::io::journal::{Entry, Journal, Opening};
use crate::io::socket::{Ask, ask};

/// What is known beforehand of the hosts and of the transactions that a request is about.
#[derive(Debug, Default)]
pub(super) struct Reckoning {
    /// What counts of the time before.
    pub(super) memory: Memory,
    /// What the writer had when it last answered.
    pub(super) seen: Option<Seen>,
    /// What a failover would do to transactions; empty for other requests.
    pub(super) outlook: Outlook,
}

impl Planner<'_> {
    /// What is known beforehand.
    pub(super) fn reckon(&self, request: &Request, standing: &Standing, facts: &Facts) -> Reckoning {
        let Request::Failover {
            outgoing,
            incoming,
            memory,
            allow_loss,
            ..
        } = request
        else {
            return Reckoning {
                memory: self.states_now(request, standing),
                ..Reckoning::default()
            };
        };
        let memory = match memory {
            Some(memory) => (**memory).clone(),
            None => self.sights.memory(outgoing.as_ref(), standing),
        };
        let seen = memory.seen.clone();
        let cluster = &self.sights.entry().cluster;
        let outlook = losses::outlook(
            cluster,
            standing,
            facts,
            outgoing.as_ref(),
            incoming,
            seen.as_ref(),
        );
        Reckoning {
            memory: memory.weighed(*allow_loss),
            seen,
            outlook,
        }
    }

    /// How a monitor that runs holds the hosts to be, for a move among living ones: what it would take away from a host
    /// again at once is not put there. A person who forces it need not care.
    fn states_now(&self, request: &Request, standing: &Standing) -> Memory {
        match request {
            Request::Switchover { .. } | Request::MoveAddress { .. } if !self.whatever_state => {
                let memory = self.sights.memory(standing.writer.as_ref(), standing);
                memory.current(clock::now())
            }
            _ => Memory::default(),
        }
    }
}

impl Performer<'_> {
    /// Tells what a failover will cost, before anything is touched.
    pub(super) fn tell_price(&self, request: &Request, outlook: &Outlook) {
        for event in beforehand(request, outlook) {
            self.teller.tell(event);
        }
    }

    /// After a failover, however it ended behind its commit: that no monitor of this box waits for the old writer.
    pub async fn tell_if_nobody_waits(&self, opening: &Opening, report: &RunReport) {
        let (Some(socket), Some(outgoing)) = (&self.monitor_at, &opening.outgoing) else {
            return;
        };
        if opening.rung.is_none() || !report.committed {
            return;
        }
        if ask(socket, &Ask::Ping).await.is_ok_and(|answer| answer.is_none()) {
            self.teller.tell(Event::Alarm {
                what: format!(
                    "no monitor runs, so nobody waits for `{outgoing}` to return: until it is met it may believe that it is \
                     the writer"
                ),
                hint: format!("start one, or run `mmm rejoin {outgoing}` as soon as it is back"),
            });
        }
    }

    /// After a failover: what the new writer lacks as far as it is known now, told and kept; and after one that came to
    /// nothing, what going on would lose.
    pub async fn tell_loss(
        &self,
        opening: &Opening,
        report: &RunReport,
        seen: Option<&Seen>,
        standing: &mut Standing,
    ) {
        let (Some(outgoing), Some(incoming)) = (&opening.outgoing, &opening.incoming) else {
            return;
        };
        let facts = self.fleet.look(incoming).await;
        let Some(mysql) = facts.mysql.up() else {
            return;
        };
        if !report.committed {
            if matches!(report.ending, Ending::Undone { .. }) {
                self.tell_unapplied(incoming, mysql);
            }
            return;
        }
        let fork = fork(&report.registered);
        let seen = seen.filter(|seen| seen.host == *outgoing);
        let loss = Loss::estimate(seen, &mysql.history(mysql), fork.as_ref());
        if let Some(owed) = standing.owed.get_mut(outgoing) {
            owed.fork = fork;
            owed.loss = Some(loss.clone());
        }
        self.note_loss(&opening.run, outgoing, incoming, &loss);
    }

    /// What the incoming host received and has not applied, when that is why it was not opened.
    fn tell_unapplied(&self, incoming: &HostName, mysql: &MysqlFacts) {
        let waiting = mysql
            .replicas
            .iter()
            .find_map(|channel| losses::unapplied(mysql, channel));
        if let Some(surplus) = waiting {
            let some = losses::transactions(&surplus);
            self.teller.tell(Event::Alarm {
                what: format!("{incoming} has received {some} that it has not applied: opened now, it would lose them: {surplus}"),
                hint: format!(
                    "let it apply them and try again; `mmm failover --to {incoming} --allow-loss` goes on without them"
                ),
            });
        }
    }

    /// Once a replaced writer is back and has been compared: the exact loss, told and kept once.
    pub(crate) fn tell_exact_loss(
        &self,
        standing: &mut Standing,
        host: &HostName,
        writer: &HostName,
        found: &gtid::Compared,
    ) {
        let Some(owed) = standing.owed.get_mut(host) else {
            return;
        };
        let loss = Loss {
            is_exact: !matches!(found, gtid::Compared::Unknown(_)),
            seen_at: Some(clock::now()),
            found: found.clone(),
        };
        // What was rebuilt since has lost its surplus for good, and has lost it all the same.
        let was_lost = owed
            .loss
            .as_ref()
            .is_some_and(|known| known.is_exact && matches!(known.found, gtid::Compared::Extra(_)));
        if was_lost && matches!(found, gtid::Compared::Nothing) {
            return;
        }
        let is_known = owed
            .loss
            .as_ref()
            .is_some_and(|known| known.is_exact == loss.is_exact && known.found == loss.found);
        if is_known {
            return;
        }
        owed.loss = Some(loss.clone());
        let run = owed.run.clone();
        self.remember(standing);
        self.note_loss(&run, host, writer, &loss);
    }

    /// Tells a loss, and writes it behind the end of the run that caused it.
    fn note_loss(&self, run: &str, host: &HostName, writer: &HostName, loss: &Loss) {
        self.teller.tell(Event::lost(run, host, writer, loss));
        match Journal::of_run(&self.dir, run) {
            Ok(mut journal) => {
                journal.append(Entry::Lost(loss.clone()));
                if let Some(trouble) = journal.trouble() {
                    tracing::warn!("what {run} lost could not be added to its journal: {trouble}");
                }
            }
            Err(error) => tracing::debug!("{run} has no journal to add to: {error}"),
        }
    }
}

/// What a failover may do beside what it is for: to transactions, and where nothing holds the old writer down. What a person
/// has accepted is loud.
fn beforehand(request: &Request, outlook: &Outlook) -> Vec<Event> {
    let Request::Failover {
        outgoing,
        incoming,
        rung,
        ..
    } = request
    else {
        return Vec::new();
    };
    let mut told = Vec::new();
    let mut alarm = |what: String, hint: String| told.push(Event::Alarm { what, hint });
    if let (Rung::Word(rule), Some(outgoing)) = (rung, outgoing) {
        alarm(
            format!(
                "{rule}: going on although `{outgoing}` is not fenced, as told by --allow-unfenced. {UNFENCED_PRICE}"
            ),
            format!("make sure that {outgoing} cannot write until it has been met"),
        );
    }
    if let Some(surplus) = &outlook.unapplied {
        let some = losses::transactions(surplus);
        alarm(
            format!(
                "going on as told by --allow-loss: {incoming} loses {some} that it received and cannot apply: {surplus}"
            ),
            String::new(),
        );
    }
    for ahead in &outlook.apart {
        let hint = format!(
            "save what you need from {}, then rebuild it from the writer",
            ahead.host
        );
        alarm(ahead.sentence(incoming), hint);
    }
    let handed_over = outlook.donor.iter().map(|donor| donor.sentence(incoming));
    let lost = outgoing.iter().map(|outgoing| {
        let loss = outlook.loss.clone().unwrap_or_else(Loss::unseen);
        format!(
            "before anything is touched: {}",
            loss.sentence(outgoing, incoming)
        )
    });
    let noted = handed_over.chain(lost);
    told.extend(noted.map(|what| Event::Noted { what }));
    told
}

/// The last transactions that the new writer has in common with the old one, noted before it was opened.
fn fork(registered: &Registered) -> Option<MariaPosition> {
    let noted = registered.get("start_gtid")?;
    noted.parse().ok().filter(|fork: &MariaPosition| !fork.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::evidence::EvidenceRule;
    use crate::core::gtid::{Compared, MariaRange, Surplus};
    use crate::core::moment::Moment;

    fn told(rung: Rung, loss: Option<Loss>) -> Vec<Event> {
        let request = Request::Failover {
            outgoing: Some("db1".into()),
            incoming: "db2".into(),
            rung,
            events: None,
            memory: None,
            allow_loss: false,
            automatic: false,
        };
        let outlook = Outlook {
            loss,
            ..Outlook::default()
        };
        beforehand(&request, &outlook)
    }

    #[test]
    fn what_a_failover_will_lose_is_told_before_it_or_that_nobody_knows() {
        let range = MariaRange {
            domain: 0,
            server: 1,
            from: 103,
            to: 150,
        };
        let loss = Loss {
            is_exact: false,
            seen_at: Some(Moment(0)),
            found: Compared::Extra(Surplus::Mariadb(vec![range])),
        };
        let [Event::Noted { what }] = &told(Rung::Demote, Some(loss))[..] else {
            panic!("one sentence")
        };
        assert!(what.contains("db2 lacks at least 48 transactions"), "{what}");
        let [Event::Noted { what }] = &told(Rung::Demote, None)[..] else {
            panic!("one sentence")
        };
        assert!(what.contains("what db2 lacks of db1 is not known"), "{what}");
    }

    #[test]
    fn the_price_of_a_persons_word_is_an_alarm_with_the_rule_that_refused() {
        let events = told(Rung::Word(EvidenceRule::R26), None);
        let price = |event: &Event| matches!(event, Event::Alarm { what, .. } if what.contains("R26") && what.contains("two writers"));
        assert!(price(&events[0]), "{events:?}");
        assert!(!told(Rung::Silence, None).iter().any(price));
    }
}
