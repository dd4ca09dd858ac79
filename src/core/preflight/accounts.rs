//! Findings about accounts that may not log in.

use super::{AccountKind, Asked, Finding, LoginFrom, LoginTrial, Name, Severity, Subject, not_asked};

/// Whether the agent account gets in wherever it has to.
pub(super) fn check(subject: &Subject, findings: &mut Vec<Finding>) {
    for (from, trial) in &subject.seen.agent_logins {
        let place = match from {
            LoginFrom::Box => "this box",
            LoginFrom::ItsHost => "the host itself",
        };
        match trial {
            Asked::Told(LoginTrial::Accepted) => {}
            Asked::Told(LoginTrial::Refused(text)) => {
                findings.push(refused(subject, AccountKind::Agent, place, text));
            }
            // One server that does not answer is one finding.
            Asked::NotTold(_) if !subject.seen.facts.is_alive() => {}
            Asked::NotTold(why) => {
                let what = format!("the agent account's login from {place}");
                findings.push(not_asked(&subject.host.name, &what, why));
            }
        }
    }
}

/// An account that the server does not let in from some place.
pub(super) fn refused(subject: &Subject, account: AccountKind, from: &str, text: &str) -> Finding {
    let because = match account {
        AccountKind::Monitor => "a server that cannot be asked cannot be watched or moved to",
        AccountKind::Agent => "without it no duty can change the server, and no operation can lock it",
        AccountKind::Replication => "without it no host can follow this one",
    };
    subject.finding(
        Name::AccountRefused,
        Severity::Error,
        format!("its server does not let the {account} account in from {from}: {text}"),
        because,
        format!(
            "create the account for connections from {from}, and make its password the one that the inventory gives"
        ),
    )
}
