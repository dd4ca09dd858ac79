//! Would a failover work now? To whom, how the writer would be taken out of service, what would be lost, and what stands in
//! the way. Pure: what was seen goes in, an answer comes out.

use serde::{Deserialize, Serialize};

use super::cluster::{Cluster, HostName, Unfenced};
use super::electorate::{self, Candidate, Electorate, Received};
use super::evidence::{Decision, EvidenceRule, Means, Rung};
use super::facts::{GtidFacts, MysqlFacts};
use super::guard::{self, Facts, Guard};
use super::standing::Standing;
use super::testimony::Circumstances;

/// What the answer rests on.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// The cluster.
    pub cluster: &'a Cluster,
    /// What stands.
    pub standing: &'a Standing,
    /// What was seen of each host.
    pub facts: &'a Facts,
    /// What could be done about the writer if it did not obey.
    pub means: Option<&'a Means>,
    /// What evidence about a writer that does not answer came to.
    pub decided: Option<(EvidenceRule, Decision)>,
    /// What else is known of it then.
    pub circumstances: Option<&'a Circumstances>,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readiness {
    /// The cluster.
    pub cluster: String,
    /// Whether a failover would work now.
    pub ready: bool,
    /// The writer.
    pub writer: Option<HostName>,
    /// Who would take over.
    pub successor: Option<HostName>,
    /// How the writer would be taken out of service.
    pub rung: Option<Rung>,
    /// What would be lost.
    pub loss: Option<Loss>,
    /// What stands in the way.
    pub blocked: Vec<Obstacle>,
    /// Hosts that could not take over, though another could.
    pub barred: Vec<Obstacle>,
    /// What else is worth knowing.
    pub remarks: Vec<String>,
    /// What the policy may cost, where it accepts a writer that is only silent.
    pub price: Option<String>,
}

/// A guard that blocks, and what lifts it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Obstacle {
    /// The guard.
    pub guard: Guard,
    /// What is in the way.
    pub what: String,
    /// What lifts it.
    pub lifted_by: String,
}

/// What a failover would lose, as far as it can be known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// How far behind the successor says it is, in seconds; none when it cannot tell.
    pub lag_s: Option<u64>,
    /// Transactions that the writer has logged and the successor has not received; none when that cannot be told. The two
    /// were asked one after the other, so under load some are on their way.
    pub unreceived_transactions: Option<u64>,
    /// The same in bytes of the writer's log, where replication runs by file and position.
    pub unreceived_bytes: Option<u64>,
    /// Whether each commit waits until a replica has received it.
    pub semi_sync: bool,
}

const PRICE: &str = "a writer that falls silent is replaced without a fence (`failover.unfenced: if_silent_to_all`): if it is \
    only cut off together with some of its clients, or paused, what it goes on acknowledging to them is not on the new writer";

/// Whether a failover would work now; `candidates` come from an election, the best one first.
pub fn readiness(seen: &Seen<'_>, candidates: &[Candidate]) -> Readiness {
    let Seen {
        cluster, standing, ..
    } = seen;
    let mut blocked = Vec::new();
    if let Some(because) = &standing.hands_off {
        blocked.push(obstacle(Guard::G01, because.clone()));
    }
    let writer = standing.writer.clone();
    if writer.is_none() {
        blocked.push(obstacle(
            Guard::G06,
            "no host is known to be the writer".to_owned(),
        ));
    }
    let other = writer
        .as_ref()
        .and_then(|writer| guard::another_writable(seen.facts, writer));
    if let Some(other) = other {
        blocked.push(obstacle(Guard::G08, format!("`{other}` accepts writes as well")));
    }
    let successor = candidates.first().filter(|first| first.barred.is_none());
    let successor = successor.map(|first| first.host.clone());
    let barred: Vec<Obstacle> = candidates.iter().filter_map(in_the_way).collect();
    match &successor {
        None => {
            let why: Vec<&str> = barred.iter().map(|one| one.what.as_str()).collect();
            let why = if why.is_empty() {
                "no other host may be the writer".to_owned()
            } else {
                why.join("; ")
            };
            let lifted_by = barred.first().map(|one| one.lifted_by.clone());
            blocked.push(Obstacle {
                lifted_by: lifted_by.unwrap_or_else(|| "add another master to the writer role".to_owned()),
                ..obstacle(Guard::G20, why)
            });
        }
        Some(host) => {
            let trouble = seen.facts.get(host).and_then(|facts| facts.ssh.trouble());
            if let Some(why) = trouble {
                blocked.push(obstacle(
                    Guard::G09,
                    format!("`{host}` cannot be managed over SSH: {why}"),
                ));
            }
        }
    }
    let mut remarks = Vec::new();
    let rung = writer
        .as_ref()
        .and_then(|writer| taken_out(seen, writer, &mut blocked, &mut remarks));
    let up = |host: &Option<HostName>| host.as_ref().and_then(|host| seen.facts.get(host)?.mysql.up());
    let loss = up(&successor).map(|standby| loss(up(&writer), standby));
    let unfenced = seen
        .means
        .is_some_and(|means| !means.fence && means.unfenced == Unfenced::IfSilentToAll);
    Readiness {
        cluster: cluster.name.clone(),
        ready: blocked.is_empty(),
        writer,
        rung,
        loss,
        barred: if successor.is_some() { barred } else { Vec::new() },
        successor,
        blocked,
        remarks,
        price: unfenced.then(|| PRICE.to_owned()),
    }
}

fn obstacle(guard: Guard, what: String) -> Obstacle {
    Obstacle {
        guard,
        what,
        lifted_by: guard.lifted_by().to_owned(),
    }
}

fn in_the_way(candidate: &Candidate) -> Option<Obstacle> {
    let barred = candidate.barred.as_ref()?;
    Some(Obstacle {
        guard: barred.guard(),
        what: format!("{} {}: {barred}", barred.guard(), candidate.host),
        lifted_by: barred.lifted_by(&candidate.host),
    })
}

/// How the writer would be taken out of service, from evidence if it does not answer, otherwise from how it stands now.
fn taken_out(
    seen: &Seen<'_>,
    writer: &HostName,
    blocked: &mut Vec<Obstacle>,
    remarks: &mut Vec<String>,
) -> Option<Rung> {
    if let Some((rule, decision)) = seen.decided {
        let guard = match decision {
            Decision::Replace(rung) => return Some(rung),
            Decision::Refuse => Guard::G11,
            Decision::Leave => Guard::G10,
        };
        let lifted_by = Some(rule.lifted_by()).filter(|words| !words.is_empty());
        let circumstances = seen.circumstances.map(ToString::to_string).unwrap_or_default();
        blocked.push(Obstacle {
            guard,
            what: format!("{rule}: `{writer}`: {}{circumstances}", rule.sentence()),
            lifted_by: lifted_by.unwrap_or(guard.lifted_by()).to_owned(),
        });
        return None;
    }
    let means = seen.means?;
    let ssh = seen.facts.get(writer).and_then(|facts| facts.ssh.trouble());
    let others = seen.facts.iter().filter(|(host, _)| *host != writer);
    let witnesses = others.filter(|(_, facts)| facts.ssh.up().is_some()).count();
    if witnesses == 0 {
        remarks.push(format!(
            "{}: should `{writer}` fall silent, {}",
            EvidenceRule::R28,
            EvidenceRule::R28.sentence()
        ));
    }
    match (ssh, means.fence) {
        (None, fence) => {
            if !fence && means.unfenced == Unfenced::Never {
                remarks.push(format!(
                    "{}: should `{writer}` fall silent with its host, {}",
                    EvidenceRule::R31,
                    EvidenceRule::R31.sentence()
                ));
            }
            Some(Rung::Demote)
        }
        (Some(_), true) => Some(Rung::Fence),
        (Some(why), false) => {
            blocked.push(Obstacle {
                guard: Guard::G11,
                what: format!(
                    "{}: `{writer}` cannot be managed over SSH ({why}), and no fence duty is declared for it",
                    EvidenceRule::R26
                ),
                lifted_by: EvidenceRule::R26.lifted_by().to_owned(),
            });
            None
        }
    }
}

fn loss(writer: Option<&MysqlFacts>, standby: &MysqlFacts) -> Loss {
    let semi_sync = writer
        .and_then(|writer| writer.semi_sync.as_ref())
        .is_some_and(|semi| semi.source_active && semi.replicas > 0);
    let lag = standby.replicas.first().and_then(|channel| channel.lag);
    let received = electorate::received(standby);
    let (unreceived_transactions, unreceived_bytes) = match (writer, &received) {
        (Some(writer), Received::Mariadb(have)) => (in_mariadb(writer, have), None),
        (Some(writer), Received::Mysql(have)) => match &writer.gtid {
            GtidFacts::Mysql { executed, .. } => (Some(executed.difference(have).count()), None),
            GtidFacts::Mariadb { .. } | GtidFacts::None => (None, None),
        },
        (Some(writer), Received::File(source, have)) if *source == writer.server_id => {
            let end = writer.binlog.as_ref();
            let same = end.filter(|end| end.number() == have.number());
            (None, same.map(|end| end.position.saturating_sub(have.position)))
        }
        _ => (None, None),
    };
    Loss {
        lag_s: lag.map(|lag| lag.as_secs()),
        unreceived_transactions,
        unreceived_bytes,
        semi_sync,
    }
}

/// What the writer has logged beyond `have`, by number, in every domain.
fn in_mariadb(writer: &MysqlFacts, have: &super::gtid::MariaPosition) -> Option<u64> {
    let GtidFacts::Mariadb { binlog_pos, .. } = &writer.gtid else {
        return None;
    };
    let missing = binlog_pos.gtids().map(|last| {
        let received = have.in_domain(last.domain).map_or(0, |gtid| gtid.seq);
        last.seq.saturating_sub(received)
    });
    Some(missing.sum())
}

impl Loss {
    /// In words.
    pub fn words(&self) -> String {
        if self.semi_sync {
            return "nothing that was acknowledged: each commit waits until a replica has received it"
                .to_owned();
        }
        let unreceived = match (self.unreceived_transactions, self.unreceived_bytes) {
            (Some(0), _) | (None, Some(0)) => "everything logged so far has been received".to_owned(),
            (Some(1), _) => "1 transaction has not been received at this moment".to_owned(),
            (Some(some), _) => format!("{some} transactions have not been received at this moment"),
            (None, Some(bytes)) => format!("{bytes} bytes of the log have not been received at this moment"),
            (None, None) => "what has not been received cannot be told".to_owned(),
        };
        let lag = match self.lag_s {
            Some(lag) => format!("{lag} s behind"),
            None => "no lag is told".to_owned(),
        };
        format!(
            "{unreceived}; {lag}; replication is asynchronous, so the last moment before a crash can be lost"
        )
    }
}

/// As [`readiness`], for what an election by a monitor's engine knows.
pub fn of_election(
    electorate: &Electorate<'_>,
    means: Option<&Means>,
    candidates: &[Candidate],
) -> Readiness {
    let seen = Seen {
        cluster: electorate.cluster,
        standing: electorate.standing,
        facts: electorate.facts,
        means,
        decided: None,
        circumstances: None,
    };
    readiness(&seen, candidates)
}

#[cfg(test)]
mod tests;
