//! Is the writer dead, and may another host be opened? Three views, reduced to small words, then one total decision.
//!
//! The views: what the box itself sees over MySQL and ICMP, what the host says about itself over SSH, and what the
//! cluster's other hosts see of it. [`decide`] matches every combination; the golden file lists them all.

mod rung;

use std::fmt;

use serde::{Deserialize, Serialize};

use super::cluster::Unfenced;

pub use rung::{Rung, UNFENCED_PRICE};

/// What the box sees over the MySQL protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MysqlView {
    /// Queries are answered.
    Answers,
    /// Someone refuses us (limits, authentication): alive.
    Refuses,
    /// The port accepts, the server says nothing.
    Hangs,
    /// The kernel refuses the connection: nothing listens.
    PortClosed,
    /// Not even a refusal.
    Silent,
}

/// What the box sees by ICMP echo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PingView {
    /// Echo replies arrive.
    Answers,
    /// None arrive.
    Silent,
    /// The box may not send echo requests.
    CannotTell,
}

/// What the host says about its own server over SSH.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostView {
    /// SSH works and the server answers through its local socket.
    ServerAnswers,
    /// SSH works; the server's process is there but does not answer.
    ServerHangs,
    /// SSH works; no server process is left, and nobody is starting or stopping one.
    ServerGone,
    /// SSH works; no server process is left, and the service manager is at work on it, or cannot tell.
    ServerChanging,
    /// SSH works; a server process is there that was not there at the first look, so it is neither hung nor gone.
    ServerNew,
    /// SSH does not work: the host cannot be made to obey.
    NotReached,
}

/// What the cluster's other hosts see of it, asked over SSH and over the MySQL protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WitnessView {
    /// No other host could be asked.
    NoneAsked,
    /// Every host that could be asked finds it silent, ARP included.
    AllSilent,
    /// At least one other host still sees it: its kernel answers.
    Seen,
    /// Another host is greeted by its server, or hears heartbeats of it: a process of it lives.
    Served,
    /// Another host's replication receives transactions from it, whatever else is seen.
    Hears,
}

/// All views of one suspect, reduced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// The box, over MySQL.
    pub mysql: MysqlView,
    /// The box, by ping.
    pub ping: PingView,
    /// The host itself.
    pub host: HostView,
    /// The other hosts.
    pub witnesses: WitnessView,
}

impl Evidence {
    /// Whether the server is dead beyond doubt, so that no trap period need pass: its kernel says that nothing listens,
    /// no process of it is left, and nobody is starting or stopping it. Silence is never proof, and a server that was
    /// started anew, or that somebody still hears, is not dead.
    pub fn is_proof(&self) -> bool {
        self.mysql == MysqlView::PortClosed
            && self.host == HostView::ServerGone
            && !matches!(self.witnesses, WitnessView::Hears | WitnessView::Served)
    }
}

/// What could be done about a host that does not obey.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Means {
    /// The inventory names a fence duty for it.
    pub fence: bool,
    /// What may be done without one.
    pub unfenced: Unfenced,
}

/// What to do about a suspected writer, and the numbered rule that says why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// It lives: nothing to do.
    Leave,
    /// Replace it, after this rung has held.
    Replace(Rung),
    /// It may be dead, but replacing it could make two writers.
    Refuse,
}

/// A rule of [`decide`], with a stable number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum EvidenceRule {
    /// The server answers us.
    R20,
    /// The server refuses us.
    R21,
    /// The server answers on its own host.
    R22,
    /// No server process on an obeying host.
    R23,
    /// Hung server on an obeying host.
    R24,
    /// Does not obey, but its kernel answers us; a fence is there.
    R25,
    /// Does not obey, but its kernel answers us; no fence.
    R26,
    /// Silent to us, seen by another host.
    R27,
    /// Silent to us, nobody else could be asked.
    R28,
    /// Silent to all; a fence is there.
    R29,
    /// Silent to all; policy allows.
    R30,
    /// Silent to all; policy forbids.
    R31,
    /// Another host receives from it, or is greeted by it.
    R32,
    /// A server that was started anew on an obeying host.
    R33,
}

impl EvidenceRule {
    /// Every rule, in order.
    pub const ALL: [EvidenceRule; 14] = [
        EvidenceRule::R20,
        EvidenceRule::R21,
        EvidenceRule::R22,
        EvidenceRule::R23,
        EvidenceRule::R24,
        EvidenceRule::R25,
        EvidenceRule::R26,
        EvidenceRule::R27,
        EvidenceRule::R28,
        EvidenceRule::R29,
        EvidenceRule::R30,
        EvidenceRule::R31,
        EvidenceRule::R32,
        EvidenceRule::R33,
    ];

    /// One sentence, as `mmm explain` prints it.
    pub fn sentence(self) -> &'static str {
        use EvidenceRule::*;
        match self {
            R20 => "the server answers queries, so it is alive and keeps its role",
            R21 => {
                "the server refuses our connections (limits or authentication), so it is alive and keeps its role"
            }
            R22 => {
                "the server answers on its own host, so only our way to its port is broken and it keeps its role"
            }
            R23 => {
                "the host obeys over SSH and no server process is left, so the server is kept stopped, the address taken away, and the standby opened"
            }
            R24 => {
                "the host obeys over SSH and its server hangs, so the server is stopped for good, the address taken away, and the standby opened"
            }
            R25 => {
                "the host does not obey over SSH although its kernel answers, so it is fenced before the standby is opened"
            }
            R26 => {
                "the host does not obey over SSH although its kernel answers, and no fence duty is declared, so the standby stays closed"
            }
            R27 => {
                "the host is silent to us but another host still sees it, so we are the ones cut off and the standby stays closed"
            }
            R28 => {
                "the host is silent to us and no other host could be asked, so we may be the ones cut off and the standby stays closed"
            }
            R29 => {
                "the host is silent to us and to every host that could be asked, so it is fenced before the standby is opened"
            }
            R30 => {
                "the host is silent to us and to every host that could be asked, and the policy accepts that without a fence, so the standby is opened"
            }
            R31 => {
                "the host is silent to us and to every host that could be asked, but the policy demands a fence and none is declared, so the standby stays closed"
            }
            R32 => {
                "another host still receives transactions from the server, or is greeted by it, so it lives, only our way to it is broken, and it keeps its role"
            }
            R33 => {
                "the host obeys over SSH and its server was started anew but does not answer, so the server is stopped for good, the address taken away, and the standby opened"
            }
        }
    }

    /// What would let a refused failover go on, or mends what only we see; empty for other rules.
    pub fn lifted_by(self) -> &'static str {
        use EvidenceRule::*;
        match self {
            R26 => {
                "power the host off or repair its SSH, declare a `fence` duty for it, or run `mmm failover --allow-unfenced` once you have made sure yourself that it cannot write"
            }
            R22 | R27 | R32 => {
                "mend the network between this box and the host, or switch over by hand from a place that reaches it"
            }
            R28 => {
                "mend the network between this box and the cluster's hosts: at least one other host must be reachable over SSH"
            }
            R31 => {
                "declare a `fence` duty, set `failover.unfenced: if_silent_to_all`, or run `mmm failover --allow-unfenced` once you have made sure yourself that the host cannot write"
            }
            R20 | R21 | R23 | R24 | R25 | R29 | R30 | R33 => "",
        }
    }
}

impl fmt::Display for EvidenceRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// Decides what the evidence allows. Total: every combination is matched, none twice.
pub fn decide(evidence: &Evidence, means: &Means) -> (EvidenceRule, Decision) {
    use EvidenceRule::*;
    match (evidence.mysql, evidence.host) {
        (MysqlView::Answers, _) => (R20, Decision::Leave),
        (MysqlView::Refuses, _) => (R21, Decision::Leave),
        (MysqlView::Hangs | MysqlView::PortClosed | MysqlView::Silent, HostView::ServerAnswers) => {
            (R22, Decision::Leave)
        }
        // A server that commits is not dead, whatever nearer looks fail to see of it.
        (
            MysqlView::Hangs | MysqlView::PortClosed | MysqlView::Silent,
            HostView::ServerGone | HostView::ServerChanging | HostView::ServerHangs | HostView::ServerNew,
        ) if evidence.witnesses == WitnessView::Hears => (R32, Decision::Leave),
        (
            MysqlView::Hangs | MysqlView::PortClosed | MysqlView::Silent,
            HostView::ServerGone | HostView::ServerChanging,
        ) => (R23, Decision::Replace(Rung::Demote)),
        (MysqlView::Hangs | MysqlView::PortClosed | MysqlView::Silent, HostView::ServerHangs) => {
            (R24, Decision::Replace(Rung::Demote))
        }
        (MysqlView::Hangs | MysqlView::PortClosed | MysqlView::Silent, HostView::ServerNew) => {
            (R33, Decision::Replace(Rung::Demote))
        }
        (MysqlView::Hangs | MysqlView::PortClosed, HostView::NotReached) => disobeying(evidence, means),
        (MysqlView::Silent, HostView::NotReached) => match evidence.ping {
            PingView::Answers => disobeying(evidence, means),
            PingView::Silent | PingView::CannotTell => silent(evidence.witnesses, means),
        },
    }
}

/// The kernel still answers, so the host runs, and nothing we can say reaches its server. One that commits is not fenced;
/// nor is one that greets others while we do not even reach its port, since then only our way to it is cut. Where its port
/// takes our connection too, it is the server that hangs, and a greeting elsewhere says nothing against that.
fn disobeying(evidence: &Evidence, means: &Means) -> (EvidenceRule, Decision) {
    let reaches_port = evidence.mysql == MysqlView::Hangs;
    match (means.fence, evidence.witnesses) {
        (true, WitnessView::Hears) => (EvidenceRule::R32, Decision::Leave),
        (true, WitnessView::Served) if !reaches_port => (EvidenceRule::R32, Decision::Leave),
        (true, _) => (EvidenceRule::R25, Decision::Replace(Rung::Fence)),
        (false, _) => (EvidenceRule::R26, Decision::Refuse),
    }
}

/// Nothing comes back to us; what the other hosts see decides whose fault that is.
fn silent(witnesses: WitnessView, means: &Means) -> (EvidenceRule, Decision) {
    match (witnesses, means.fence, means.unfenced) {
        (WitnessView::Seen | WitnessView::Served | WitnessView::Hears, _, _) => {
            (EvidenceRule::R27, Decision::Refuse)
        }
        (WitnessView::NoneAsked, _, _) => (EvidenceRule::R28, Decision::Refuse),
        (WitnessView::AllSilent, true, _) => (EvidenceRule::R29, Decision::Replace(Rung::Fence)),
        (WitnessView::AllSilent, false, Unfenced::IfSilentToAll) => {
            (EvidenceRule::R30, Decision::Replace(Rung::Silence))
        }
        (WitnessView::AllSilent, false, Unfenced::Never) => (EvidenceRule::R31, Decision::Refuse),
    }
}

#[cfg(test)]
mod tests;
