//! Every numbered rule and guard by its number, for `mmm explain`.

use super::evidence::EvidenceRule;
use super::guard::Guard;
use super::hosts::HostRule;
use super::rule::Rule;
use super::startup::StartRule;

/// A rule as `explain` tells it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Explained {
    /// Its number, `R03`.
    pub number: String,
    /// Its sentence.
    pub sentence: String,
    /// What lifts it, where it blocks something; empty otherwise.
    pub lifted_by: String,
}

/// All rules in the order of their numbers, then all guards.
pub fn all() -> Vec<Explained> {
    let rules = Rule::ALL.iter().map(|rule| Explained {
        number: rule.to_string(),
        sentence: rule.sentence().to_owned(),
        lifted_by: rule.lifted_by().to_owned(),
    });
    let evidence = EvidenceRule::ALL.iter().map(|rule| Explained {
        number: rule.to_string(),
        sentence: rule.sentence().to_owned(),
        lifted_by: rule.lifted_by().to_owned(),
    });
    let startup = StartRule::ALL.iter().map(|rule| Explained {
        number: rule.to_string(),
        sentence: rule.sentence().to_owned(),
        lifted_by: rule.lifted_by().to_owned(),
    });
    let hosts = HostRule::ALL.iter().map(|rule| Explained {
        number: rule.to_string(),
        sentence: rule.sentence().to_owned(),
        lifted_by: rule.lifted_by().to_owned(),
    });
    let guards = Guard::ALL.iter().map(|guard| Explained {
        number: guard.to_string(),
        sentence: guard.sentence().to_owned(),
        lifted_by: guard.lifted_by().to_owned(),
    });
    let about_clusters = rules.chain(evidence).chain(hosts).chain(startup);
    about_clusters.chain(guards).collect()
}

/// One rule, its number in either case.
pub fn one(number: &str) -> Option<Explained> {
    all()
        .into_iter()
        .find(|rule| rule.number.eq_ignore_ascii_case(number))
}
