//! The decision about one host's state: a small picture in, one numbered rule out. MMM's table, mended: a probe that
//! cannot tell moves nothing, a dead source makes no standby healthy, and a replaced writer is compared first.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::HostState;

/// What a person said about the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// Nothing that counts now.
    None,
    /// It is out of service.
    OutOfService,
    /// It may come back in; said after it went out.
    Released,
}

/// The host's part in the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// It takes writes.
    Writer,
    /// It was replaced as writer and has not been compared since.
    Owed,
    /// It follows.
    Follower,
}

/// The verdict about its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    /// Nothing definite since the monitor began.
    Untested,
    /// It answers, or has not been silent for long enough.
    Answers,
    /// It has been silent for the trap period.
    Failed,
}

/// Both verdicts about its replication in one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replication {
    /// Both checks are positively fine.
    Fine,
    /// Neither fine nor failed.
    Untold,
    /// It runs and lags.
    Delayed,
    /// It does not run; counts more than a lag.
    Broken,
}

/// The host it replicates from: its peer, for others the writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// ONLINE, and it has answered since the replication began to fail.
    Steady,
    /// As steady, but it became ONLINE or the writer a moment ago.
    Fresh,
    /// Not there to replicate from.
    Away,
}

/// What may let a host back in that answers again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comeback {
    /// Nothing yet.
    Waiting,
    /// It was away for a moment only, and its system did not restart.
    Short,
    /// It has waited as long as the inventory asks.
    Waited,
    /// It has left ONLINE too often: nothing but a person or a quiet period.
    Flapping,
}

/// A host reduced to what its next state rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostPicture {
    /// The state it is in.
    pub from: HostState,
    /// What a person said.
    pub word: Word,
    /// Its part.
    pub part: Part,
    /// Its server.
    pub server: Server,
    /// Its replication.
    pub replication: Replication,
    /// Whom it replicates from.
    pub peer: Peer,
    /// What may let it back in.
    pub comeback: Comeback,
}

/// A rule of [`decide`], with a stable number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum HostRule {
    /// Out of service.
    H01,
    /// In service again, not seen well yet.
    H02,
    /// Not known yet.
    H03,
    /// Not asked since the monitor began.
    H04,
    /// Its server is gone.
    H05,
    /// Guilty until compared.
    H06,
    /// The writer answers.
    H07,
    /// Met for the first time, and fine.
    H08,
    /// Fine.
    H09,
    /// Replication not told.
    H10,
    /// Its source is away.
    H11,
    /// Its source is new.
    H12,
    /// Replication broken.
    H13,
    /// Replication lags.
    H14,
    /// Replication well again.
    H15,
    /// Replication well again, flapping.
    H16,
    /// Replication not seen well again.
    H17,
    /// Its server is back.
    H18,
    /// Back, replication not well.
    H19,
    /// Let in by a person.
    H20,
    /// Let in after a short downtime.
    H21,
    /// Let in after waiting.
    H22,
    /// Waits.
    H23,
    /// Waits, flapping.
    H24,
}

use HostRule as H;

impl HostRule {
    /// Every rule, in order.
    pub const ALL: [HostRule; 24] = [
        H::H01,
        H::H02,
        H::H03,
        H::H04,
        H::H05,
        H::H06,
        H::H07,
        H::H08,
        H::H09,
        H::H10,
        H::H11,
        H::H12,
        H::H13,
        H::H14,
        H::H15,
        H::H16,
        H::H17,
        H::H18,
        H::H19,
        H::H20,
        H::H21,
        H::H22,
        H::H23,
        H::H24,
    ];

    /// One sentence about the host, as `explain` prints it.
    pub fn sentence(self) -> &'static str {
        match self {
            H::H01 => "a person took it out of service",
            H::H02 => "it is no longer kept out of service, and must be seen well first",
            H::H03 => "it has not told yet how it is",
            H::H04 => "it has not told anything since the monitor began, so it stays what it was",
            H::H05 => "its server does not answer",
            H::H06 => "it was replaced as writer and must be compared first",
            H::H07 => "it is the writer and answers",
            H::H08 => "it was met for the first time, and all its checks are fine",
            H::H09 => "all its checks are fine",
            H::H10 => "its server answers, and whether it replicates is not told, so it stays what it was",
            H::H11 => {
                "the host that it replicates from does not answer, so its replication is not held against it"
            }
            H::H12 => {
                "the host that it replicates from has just become ONLINE or the writer, so it is given time"
            }
            H::H13 => "its replication does not run",
            H::H14 => "its replication lags too far behind",
            H::H15 => "its replication is well again",
            H::H16 => "its replication is well again, but it has left ONLINE too often",
            H::H17 => "its replication has not been seen well again",
            H::H18 => "its server answers again",
            H::H19 => "its server answers again, but its replication has not been seen well",
            H::H20 => "a person let it back in, and it answers and replicates",
            H::H21 => "it was away for a short time and its system did not restart",
            H::H22 => "it has been back for as long as `recovery.auto_set_online` asks",
            H::H23 => "it answers and replicates again, and waits to be let back in",
            H::H24 => "it has left ONLINE too often, so it waits for a person or a quiet period",
        }
    }

    /// What lifts it, where it keeps the host from holding roles; empty otherwise.
    pub fn lifted_by(self) -> &'static str {
        match self {
            H::H01 => "`mmm set-online HOST`",
            H::H02 | H::H13 | H::H14 | H::H17 | H::H19 => {
                "replication that runs and keeps up: `mmm checks HOST` says what is wrong with it"
            }
            H::H03 => "an answer to its checks: `mmm checks HOST` says what they say",
            H::H05 | H::H18 => "its server: it must answer, then replicate",
            H::H06 => {
                "a comparison with the writer, which the monitor makes by itself; `mmm rejoin HOST` tells what it finds"
            }
            H::H16 | H::H24 => {
                "`mmm set-online HOST`, or no change of its checks for `recovery.flapping.within`"
            }
            H::H23 => "`mmm set-online HOST`, or `recovery.auto_set_online` in the inventory",
            H::H04
            | H::H07
            | H::H08
            | H::H09
            | H::H10
            | H::H11
            | H::H12
            | H::H15
            | H::H20
            | H::H21
            | H::H22 => "",
        }
    }

    /// The state that a host in state `from` has by this rule.
    pub fn leads_to(self, from: HostState) -> HostState {
        match self {
            H::H01 => HostState::AdminOffline,
            H::H03 => HostState::Unknown,
            H::H05 => HostState::HardOffline,
            H::H13 => HostState::ReplicationFail,
            H::H14 => HostState::ReplicationDelay,
            H::H04 | H::H10 | H::H11 | H::H12 | H::H17 => from,
            H::H07 | H::H08 | H::H09 | H::H15 | H::H20 | H::H21 | H::H22 => HostState::Online,
            H::H02 | H::H06 | H::H16 | H::H18 | H::H19 | H::H23 | H::H24 => HostState::AwaitingRecovery,
        }
    }
}

impl fmt::Display for HostRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// Decides. Total: every picture is matched.
pub fn decide(picture: &HostPicture) -> HostRule {
    match (picture.word, picture.server, picture.part) {
        (Word::OutOfService, _, _) => H::H01,
        (Word::None | Word::Released, Server::Failed, _) => H::H05,
        (Word::None | Word::Released, Server::Untested, part) => untested(picture.from, part),
        (Word::None | Word::Released, Server::Answers, Part::Owed) => H::H06,
        (Word::None | Word::Released, Server::Answers, Part::Writer) => H::H07,
        (Word::None | Word::Released, Server::Answers, Part::Follower) => follower(picture),
    }
}

/// A host that has told nothing since the monitor began.
fn untested(from: HostState, part: Part) -> HostRule {
    match (from, part) {
        (HostState::Unknown, _) => H::H03,
        (HostState::HardOffline, _) => H::H04,
        (_, Part::Owed) => H::H06,
        (HostState::AdminOffline, Part::Writer | Part::Follower) => H::H02,
        (_, Part::Writer | Part::Follower) => H::H04,
    }
}

/// A host that answers and follows.
fn follower(picture: &HostPicture) -> HostRule {
    use Replication::{Broken, Delayed, Fine, Untold};
    match (picture.from, picture.replication, picture.peer) {
        (HostState::Unknown, Fine, _) => H::H08,
        (HostState::Unknown, Untold, _) => H::H03,
        (HostState::Online, Fine, _) => H::H09,
        (HostState::Online, Untold, _) => H::H10,
        (HostState::Online, Delayed | Broken, Peer::Fresh) => H::H12,
        // Nobody can receive from a dead source, and this makes a broken standby no better: it stays what it was.
        (HostState::Unknown | HostState::Online, Delayed | Broken, Peer::Away) => H::H11,
        (HostState::ReplicationDelay, Broken, Peer::Away) => H::H11,
        (HostState::HardOffline, Fine | Untold, _) => H::H18,
        (HostState::HardOffline, Delayed | Broken, Peer::Away) => H::H18,
        (HostState::ReplicationDelay | HostState::ReplicationFail, Fine, _) => match picture.comeback {
            Comeback::Flapping => H::H16,
            Comeback::Waiting | Comeback::Short | Comeback::Waited => H::H15,
        },
        (HostState::ReplicationDelay | HostState::ReplicationFail, Untold, _) => H::H17,
        (HostState::AdminOffline, Fine, _) if picture.word == Word::Released => H::H20,
        (HostState::AdminOffline, _, _) => H::H02,
        (HostState::AwaitingRecovery, Fine, _) => match (picture.word, picture.comeback) {
            (Word::Released, _) => H::H20,
            (_, Comeback::Flapping) => H::H24,
            (_, Comeback::Short) => H::H21,
            (_, Comeback::Waited) => H::H22,
            (_, Comeback::Waiting) => H::H23,
        },
        (HostState::AwaitingRecovery, Untold | Delayed | Broken, _) => H::H19,
        (_, Broken, _) => H::H13,
        (_, Delayed, _) => H::H14,
    }
}
