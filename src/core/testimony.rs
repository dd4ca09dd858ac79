//! What the cluster's other hosts say of one that is suspected: over SSH whether they reach it and are greeted by its
//! server, over the MySQL protocol whether their replication still hears from it. It only ever speaks for a host, never against one.

use std::fmt;
use std::net::IpAddr;

use super::cluster::HostName;
use super::evidence::WitnessView;
use super::facts::{IoThread, MysqlFacts, ReplicationFacts};
use super::moment::Moment;
use super::sign::Sign;

/// What a host's replication hears from the suspect's server, by two looks one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hearing {
    /// It received transactions in between: that server lives and commits.
    Receives,
    /// It received a heartbeat in between: that server's process lives.
    Beats,
    /// It is connected, and nothing came; a connection outlives a host without power for a while.
    Connected,
    /// It tries to connect.
    Connecting,
    /// It was stopped.
    Stopped,
}

impl Hearing {
    /// From two looks at a server; none where it does not follow the server at that address.
    pub fn between(before: &MysqlFacts, after: &MysqlFacts, suspect: IpAddr) -> Option<Hearing> {
        let (before, after) = (following(before, suspect)?, following(after, suspect)?);
        Some(match (before.io, after.io) {
            // Whoever connects anew is told again where the log stands, which is nothing heard.
            (IoThread::Yes, IoThread::Yes) if has_received(before, after) => Hearing::Receives,
            (IoThread::Yes, IoThread::Yes) if before.heartbeats < after.heartbeats => Hearing::Beats,
            (_, IoThread::Yes) => Hearing::Connected,
            (_, IoThread::Connecting) => Hearing::Connecting,
            (_, IoThread::No) => Hearing::Stopped,
        })
    }

    /// Whether anything came from the suspect's server.
    pub fn is_heard(self) -> bool {
        matches!(self, Hearing::Receives | Hearing::Beats)
    }
}

/// The channel by which a server follows the one at that address.
fn following(mysql: &MysqlFacts, source: IpAddr) -> Option<&ReplicationFacts> {
    let source = source.to_string();
    mysql
        .replicas
        .iter()
        .find(|channel| channel.source_host == source)
}

fn has_received(before: &ReplicationFacts, after: &ReplicationFacts) -> bool {
    before.received.is_some() && before.received < after.received
}

impl fmt::Display for Hearing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Hearing::Receives => "its replication receives transactions from it",
            Hearing::Beats => "its replication hears heartbeats of it",
            Hearing::Connected => "its replication is still connected to it and receives nothing",
            Hearing::Connecting => "its replication tries to connect to it",
            Hearing::Stopped => "its replication from it is stopped",
        })
    }
}

/// How far a host comes that tries to reach the suspect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contact {
    /// Its server greets it: a process of it lives. A kernel alone takes connections too, and says nothing on them.
    Greeted,
    /// Its kernel answers, by ARP, by ping, or at its server's port.
    Reached,
    /// Nothing comes back.
    Nothing,
}

impl fmt::Display for Contact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Contact::Greeted => "is greeted by its server",
            Contact::Reached => "reaches it",
            Contact::Nothing => "does not reach it",
        })
    }
}

/// What one host says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Testimony {
    /// Who says it.
    pub host: HostName,
    /// Whether it reaches the suspect; none when it could not be asked over SSH.
    pub reaches: Option<Contact>,
    /// What its replication hears; none when its server could not be asked, or follows somebody else.
    pub hearing: Option<Hearing>,
    /// When a monitor last saw its replication hear something; none when none has.
    pub last_heard: Option<Moment>,
}

impl fmt::Display for Testimony {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reaches {
            Some(contact) => write!(f, "{} {contact}", self.host)?,
            None => write!(f, "{} could not be asked over SSH", self.host)?,
        }
        if let Some(hearing) = self.hearing {
            write!(f, ", {hearing}")?;
        }
        match (self.last_heard, self.hearing.is_some_and(Hearing::is_heard)) {
            (Some(at), false) => write!(f, ", and last heard from it at {at}"),
            _ => Ok(()),
        }
    }
}

/// All testimonies in one word. What somebody's replication receives outweighs everything else, since only a server that
/// commits sends it. A greeting and a heartbeat show that the server lives, which a kernel that answers does not. A host that
/// could be asked over the MySQL protocol alone is none that finds the suspect silent.
pub fn reduce(testimonies: &[Testimony]) -> WitnessView {
    let hears = |hearing| testimonies.iter().any(|one| one.hearing == Some(hearing));
    let comes = |contact| testimonies.iter().any(|one| one.reaches == Some(contact));
    if hears(Hearing::Receives) {
        WitnessView::Hears
    } else if hears(Hearing::Beats) || comes(Contact::Greeted) {
        WitnessView::Served
    } else if comes(Contact::Reached) {
        WitnessView::Seen
    } else if comes(Contact::Nothing) {
        WitnessView::AllSilent
    } else {
        WitnessView::NoneAsked
    }
}

/// What is known of a suspect beside the views that decide: said with whatever is decided, so that people see why.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Circumstances {
    /// What the host shows of why its server is in trouble.
    pub signs: Vec<Sign>,
    /// What the other hosts say.
    pub testimonies: Vec<Testimony>,
}

impl fmt::Display for Circumstances {
    /// As an addition to a sentence: `; its disk is full; db2 reaches it`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for sign in &self.signs {
            write!(f, "; {sign}")?;
        }
        for testimony in &self.testimonies {
            write!(f, "; {testimony}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::gtid::BinlogPosition;
    use crate::core::samples;

    fn look(io: IoThread, received: u64, heartbeats: u64) -> MysqlFacts {
        let mut mysql = samples::facts(false, &[]).mysql.up().cloned().unwrap();
        let channel = &mut mysql.replicas[0];
        channel.io = io;
        channel.received = Some(BinlogPosition::new("bin.000001", received).unwrap());
        channel.heartbeats = Some(heartbeats);
        mysql
    }

    fn heard(before: MysqlFacts, after: MysqlFacts) -> Option<Hearing> {
        Hearing::between(&before, &after, "10.0.0.1".parse().unwrap())
    }

    #[test]
    fn only_what_came_between_two_looks_on_one_connection_was_heard() {
        use IoThread::{Connecting, No, Yes};
        assert_eq!(heard(look(Yes, 10, 1), look(Yes, 11, 1)), Some(Hearing::Receives));
        assert_eq!(heard(look(Yes, 10, 1), look(Yes, 10, 2)), Some(Hearing::Beats));
        assert_eq!(
            heard(look(Yes, 10, 1), look(Yes, 10, 1)),
            Some(Hearing::Connected)
        );
        assert_eq!(
            heard(look(Connecting, 10, 1), look(Yes, 11, 1)),
            Some(Hearing::Connected)
        );
        assert_eq!(
            heard(look(Yes, 10, 1), look(Connecting, 11, 1)),
            Some(Hearing::Connecting)
        );
        assert_eq!(heard(look(No, 10, 1), look(No, 10, 1)), Some(Hearing::Stopped));
        let mut elsewhere = look(Yes, 11, 1);
        elsewhere.replicas[0].source_host = "10.0.0.2".into();
        assert_eq!(heard(look(Yes, 10, 1), elsewhere), None);
        let mut untold = look(Yes, 10, 1);
        untold.replicas[0].received = None;
        assert_eq!(heard(untold, look(Yes, 11, 1)), Some(Hearing::Connected));
    }

    fn says(reaches: Option<Contact>, hearing: Option<Hearing>) -> Testimony {
        Testimony {
            host: "db2".into(),
            reaches,
            hearing,
            last_heard: None,
        }
    }

    #[test]
    fn who_hears_speaks_for_the_suspect_and_who_hears_nothing_not_against_it() {
        use Contact::{Greeted, Nothing, Reached};
        use Hearing::{Beats, Connected, Receives, Stopped};
        let all = [None, Some(Nothing), Some(Reached), Some(Greeted)];
        for reaches in all {
            for hearing in [None, Some(Connected), Some(Stopped)] {
                assert_eq!(
                    reduce(&[says(reaches, hearing)]),
                    reduce(&[says(reaches, None)]),
                    "a connection may be left of a host that is gone"
                );
            }
            assert_eq!(reduce(&[says(reaches, Some(Receives))]), WitnessView::Hears);
            assert_eq!(reduce(&[says(reaches, Some(Beats))]), WitnessView::Served);
        }
        assert_eq!(reduce(&[]), WitnessView::NoneAsked);
        assert_eq!(reduce(&[says(None, None)]), WitnessView::NoneAsked);
        let two = [says(None, None), says(Some(Nothing), None)];
        assert_eq!(reduce(&two), WitnessView::AllSilent);
        let two = [says(Some(Reached), None), says(Some(Nothing), None)];
        assert_eq!(reduce(&two), WitnessView::Seen);
        let two = [says(Some(Reached), None), says(Some(Greeted), None)];
        assert_eq!(reduce(&two), WitnessView::Served);
    }

    #[test]
    fn circumstances_are_said_behind_a_sentence() {
        assert_eq!(Circumstances::default().to_string(), "");
        let testimony = Testimony {
            last_heard: Some(Moment(0)),
            ..says(Some(Contact::Nothing), Some(Hearing::Connecting))
        };
        let said = Circumstances {
            signs: vec![Sign::HeavyLoad],
            testimonies: vec![testimony, says(Some(Contact::Greeted), Some(Hearing::Receives))],
        };
        assert_eq!(
            said.to_string(),
            format!(
                "; its host is under heavy load; db2 does not reach it, its replication tries to connect to it, and last \
                 heard from it at {}; db2 is greeted by its server, its replication receives transactions from it",
                Moment(0)
            )
        );
    }
}
