//! Steps of the site around an operation: what the inventory wants done before it, after it, and when it got stuck. What
//! they are told stands in their environment; here are its names, and which failure stops what.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::cluster::HostName;
use super::guard::Guard;
use super::plan::Seats;
use super::playbook::Seat;
use super::run::Ending;
use super::trouble::Trouble;

/// The operations that site steps may stand around.
pub const OPERATIONS: [&str; 5] = ["switchover", "failover", "reopen", "rejoin", "move-address"];

/// When a site step is performed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Occasion {
    /// Nothing has been touched yet.
    Before,
    /// The run has come to its end, whichever; or it was refused after a `before` step had begun.
    After,
    /// The run got stuck.
    OnStuck,
}

impl Occasion {
    /// Every occasion, in order.
    pub const ALL: [Occasion; 3] = [Occasion::Before, Occasion::After, Occasion::OnStuck];
}

impl fmt::Display for Occasion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Occasion::Before => "before",
            Occasion::After => "after",
            Occasion::OnStuck => "on_stuck",
        })
    }
}

/// What a site step does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SiteAct {
    /// A command on the box, by `sh`.
    Run(String),
    /// A duty of the playbooks.
    Duty {
        /// Its name.
        name: String,
        /// Where it is performed.
        at: Seat,
        /// Values it sees as `with.NAME`.
        with: BTreeMap<String, String>,
    },
}

/// What a failed step before an operation means for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// The operation is refused.
    Stop,
    /// It is reported, and the operation goes on.
    GoOn,
}

/// A step of the site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SiteStep {
    /// What people see.
    pub name: String,
    /// What it does.
    pub act: SiteAct,
    /// When it is ended.
    pub within: Duration,
    /// What its failure means; none for what is usual.
    pub on_failure: Option<OnFailure>,
}

impl SiteStep {
    /// Whether its failure stops `operation`. Unless the inventory says otherwise a failover goes on: nobody can write
    /// until it has ended.
    pub fn stops(&self, operation: &str, occasion: Occasion) -> bool {
        let usual = if operation == "failover" {
            OnFailure::GoOn
        } else {
            OnFailure::Stop
        };
        occasion == Occasion::Before && self.on_failure.unwrap_or(usual) == OnFailure::Stop
    }
}

/// All site steps of a cluster: operation → occasion → steps in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SiteSteps(pub BTreeMap<String, BTreeMap<Occasion, Vec<SiteStep>>>);

impl SiteSteps {
    /// The steps around an operation, which may have another name where it has nobody to take from.
    pub fn of(&self, operation: &str, occasion: Occasion) -> &[SiteStep] {
        let operation = match operation {
            "place-address" => "move-address",
            other => other,
        };
        let around = self.0.get(operation);
        around
            .and_then(|around| around.get(&occasion))
            .map_or(&[], Vec::as_slice)
    }

    /// Every step there is.
    pub fn all(&self) -> impl Iterator<Item = &SiteStep> {
        self.0.values().flat_map(BTreeMap::values).flatten()
    }
}

/// What a run is, as far as the site is told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Situation {
    /// The cluster.
    pub cluster: String,
    /// The operation.
    pub operation: String,
    /// The run's name.
    pub run: String,
    /// The host that gives the role away, and its address.
    pub outgoing: Option<(HostName, IpAddr)>,
    /// The host that takes it, and its address.
    pub incoming: Option<(HostName, IpAddr)>,
    /// Every other host that is to follow.
    pub replicas: Vec<HostName>,
    /// The floating address that moves.
    pub address: Option<IpAddr>,
    /// Whether no person asked for the operation.
    pub by_itself: bool,
}

impl Situation {
    /// Who has the role. A host that comes back takes it from nobody: whom it follows has it all along.
    fn holder(&self, committed: Option<bool>) -> Option<HostName> {
        let holder = match committed {
            _ if self.operation == "rejoin" => &self.incoming,
            Some(true) => &self.incoming,
            Some(false) => &self.outgoing,
            None => &None,
        };
        holder.as_ref().map(|(host, _)| host.clone())
    }
}

/// How a run came out, for the steps behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CameOut {
    /// `done`, `undone`, `refused`, `failed` or `stuck`.
    pub outcome: &'static str,
    /// Why not done; empty otherwise.
    pub because: String,
    /// Who holds the role now, as far as that is known.
    pub holder: Option<HostName>,
}

impl CameOut {
    /// How a run that was begun ended. `committed` says whether the incoming host has taken over; none when nobody knows.
    pub fn of(ending: &Ending, committed: Option<bool>, situation: &Situation) -> CameOut {
        let (outcome, because) = match ending {
            Ending::Done { .. } => ("done", String::new()),
            Ending::Undone {
                because,
                untouched: true,
            } => ("refused", because.clone()),
            Ending::Undone { because, .. } => ("undone", because.clone()),
            Ending::Failed { because } => ("failed", because.clone()),
            Ending::Stuck { because, .. } => ("stuck", because.clone()),
        };
        let committed = committed.filter(|committed| *committed || !matches!(ending, Ending::Stuck { .. }));
        CameOut {
            outcome,
            because,
            holder: situation.holder(committed),
        }
    }

    /// It was refused before the run was begun.
    pub fn refused(because: &str, situation: &Situation) -> CameOut {
        CameOut {
            outcome: "refused",
            because: because.to_owned(),
            holder: situation.holder(Some(false)),
        }
    }
}

/// Whether the same hosts would still play the parts that matter, after the site's steps have run.
///
/// # Errors
/// Refused: others would.
pub fn same_parts(what: &str, before: &Seats, now: &Seats) -> Result<(), Trouble> {
    if (&now.outgoing, &now.incoming, &now.donor) == (&before.outgoing, &before.incoming, &before.donor) {
        return Ok(());
    }
    let name = |host: &Option<HostName>| host.as_ref().map_or("nobody", HostName::as_str).to_owned();
    let because = format!(
        "now it would be {} → {}, and {} would hand over first what only it has",
        name(&now.outgoing),
        name(&now.incoming),
        name(&now.donor)
    );
    Err(Trouble::refused(Guard::G84, what, because))
}

/// What a site step finds in its environment. No secret is among it.
pub fn environment(
    situation: &Situation,
    occasion: Occasion,
    came_out: Option<&CameOut>,
) -> BTreeMap<String, String> {
    let mut environment = BTreeMap::new();
    let mut set = |name: &str, value: String| drop(environment.insert(name.to_owned(), value));
    set("MMM_CLUSTER", situation.cluster.clone());
    set("MMM_OPERATION", situation.operation.clone());
    set("MMM_RUN", situation.run.clone());
    set("MMM_OCCASION", occasion.to_string());
    for (name, host) in [
        ("MMM_OUTGOING", &situation.outgoing),
        ("MMM_INCOMING", &situation.incoming),
    ] {
        let (host, address) = match host {
            Some((host, address)) => (host.to_string(), address.to_string()),
            None => Default::default(),
        };
        set(name, host);
        set(&format!("{name}_ADDRESS"), address);
    }
    let replicas: Vec<&str> = situation.replicas.iter().map(HostName::as_str).collect();
    set("MMM_REPLICAS", replicas.join(" "));
    let address = situation.address.map(|address| address.to_string());
    set("MMM_ADDRESS", address.unwrap_or_default());
    set(
        "MMM_BY",
        if situation.by_itself { "itself" } else { "person" }.to_owned(),
    );
    if let Some(came_out) = came_out {
        set("MMM_OUTCOME", came_out.outcome.to_owned());
        set("MMM_BECAUSE", came_out.because.clone());
        let holder = came_out.holder.as_ref().map(ToString::to_string);
        set("MMM_HOLDER", holder.unwrap_or_default());
    }
    environment
}

#[cfg(test)]
mod tests {
    use super::*;

    fn situation() -> Situation {
        Situation {
            cluster: "c".into(),
            operation: "switchover".into(),
            run: "switchover-1".into(),
            outgoing: Some(("db1".into(), "10.0.0.1".parse().unwrap())),
            incoming: Some(("db2".into(), "10.0.0.2".parse().unwrap())),
            replicas: vec!["db3".into(), "db4".into()],
            address: Some("10.0.0.100".parse().unwrap()),
            by_itself: false,
        }
    }

    #[test]
    fn a_failure_stops_what_can_wait_and_a_failover_only_where_the_site_wants_it() {
        let step = |on_failure| SiteStep {
            name: "Tell".into(),
            act: SiteAct::Run("true".into()),
            within: Duration::from_secs(1),
            on_failure,
        };
        for (on_failure, operation, stops) in [
            (None, "switchover", true),
            (None, "failover", false),
            (Some(OnFailure::GoOn), "switchover", false),
            (Some(OnFailure::Stop), "failover", true),
        ] {
            assert_eq!(
                step(on_failure).stops(operation, Occasion::Before),
                stops,
                "{on_failure:?}"
            );
            assert!(!step(on_failure).stops(operation, Occasion::After));
        }
    }

    #[test]
    fn a_step_is_told_who_and_a_later_one_how_it_came_out() {
        let before = environment(&situation(), Occasion::Before, None);
        let value = |name: &str| before.get(name).map(String::as_str);
        assert_eq!(value("MMM_OUTGOING"), Some("db1"));
        assert_eq!(value("MMM_INCOMING_ADDRESS"), Some("10.0.0.2"));
        assert_eq!(value("MMM_REPLICAS"), Some("db3 db4"));
        assert_eq!(value("MMM_OCCASION"), Some("before"));
        assert_eq!(value("MMM_BY"), Some("person"));
        assert_eq!(value("MMM_OUTCOME"), None);
        let undone = Ending::Undone {
            because: "db2 lags".into(),
            untouched: false,
        };
        let came_out = CameOut::of(&undone, Some(false), &situation());
        let after = environment(&situation(), Occasion::After, Some(&came_out));
        assert_eq!(after["MMM_OUTCOME"], "undone");
        assert_eq!(after["MMM_BECAUSE"], "db2 lags");
        assert_eq!(after["MMM_HOLDER"], "db1");
        let done = CameOut::of(&Ending::Done { warnings: vec![] }, Some(true), &situation());
        assert_eq!((done.outcome, done.holder), ("done", Some(HostName::from("db2"))));
        assert_eq!(CameOut::of(&undone, None, &situation()).holder, None);
        // The old writer that did not come back has not become the writer by that.
        let mut rejoin = situation();
        rejoin.operation = "rejoin".into();
        for committed in [None, Some(false), Some(true)] {
            let holder = CameOut::of(&undone, committed, &rejoin).holder;
            assert_eq!(holder, Some(HostName::from("db2")), "{committed:?}");
        }
        assert_eq!(
            CameOut::refused("G84", &rejoin).holder,
            Some(HostName::from("db2"))
        );
    }

    #[test]
    fn others_in_the_seats_stop_a_run() {
        let before = Seats {
            outgoing: Some("db1".into()),
            incoming: Some("db2".into()),
            ..Seats::default()
        };
        let mut now = before.clone();
        now.replicas.push("db3".into());
        assert!(same_parts("it", &before, &now).is_ok());
        now.donor = Some("db3".into());
        let refused = same_parts("it", &before, &now).unwrap_err();
        assert_eq!(refused.guard, Some(Guard::G84));
        assert!(refused.because.contains("db1 → db2, and db3"), "{refused}");
    }

    #[test]
    fn an_address_placed_anew_has_the_steps_of_one_that_moves() {
        let step = SiteStep {
            name: "Tell".into(),
            act: SiteAct::Run("true".into()),
            within: Duration::from_secs(1),
            on_failure: None,
        };
        let around = BTreeMap::from([(Occasion::After, vec![step])]);
        let steps = SiteSteps(BTreeMap::from([("move-address".to_owned(), around)]));
        assert_eq!(steps.of("place-address", Occasion::After).len(), 1);
        assert!(steps.of("place-address", Occasion::Before).is_empty());
        assert!(steps.of("failover", Occasion::After).is_empty());
    }
}
