//! One event, one line: a right-aligned verb, seconds in brackets, then who and what.

use std::net::IpAddr;

use crate::core::cluster::HostName;
use crate::core::event::{Event, StepEnd, Told};
use crate::core::moment::Moment;
use crate::core::run::Ending;

/// The words of an event; none for those that only move a progress bar.
pub fn words(told: &Told) -> Option<String> {
    match &told.event {
        Event::StepStarted { .. } => None,
        Event::RunStarted {
            run,
            operation,
            outgoing,
            incoming,
            ..
        } => Some(format!(
            "{operation} {}: {}        run {run}\n",
            told.cluster,
            route(outgoing, incoming)
        )),
        Event::StepEnded {
            step,
            of,
            hosts,
            name,
            ended,
            took_ms,
            note,
            ..
        } => {
            let note = note.as_ref().map(|note| format!(": {note}")).unwrap_or_default();
            Some(format!(
                "{:>10} [{}] {step}/{of} {} {name}{note}",
                verb(*ended),
                seconds(*took_ms),
                list(hosts)
            ))
        }
        Event::RunEnded {
            operation,
            ending,
            address: Some(address),
            holder,
            took_ms,
            ..
        } => Some(moved(operation, ending, *address, holder.as_ref(), *took_ms)),
        Event::RunEnded {
            operation,
            ending,
            writer,
            write_refused_ms,
            took_ms,
            ..
        } => Some(ended(
            operation,
            ending,
            writer.as_ref(),
            *write_refused_ms,
            *took_ms,
        )),
        Event::StateChanged {
            host,
            from,
            to,
            because,
        } => Some(format!("{host} changed from {from} to {to}: {because}")),
        Event::CheckChanged {
            host,
            check,
            ok,
            message,
        } => {
            let verdict = if *ok { "is fine again" } else { "has failed" };
            Some(format!("check `{check}` of {host} {verdict}: {message}"))
        }
        Event::RuleChanged { rule, sentence } => Some(format!("{rule} {sentence}")),
        Event::SiteStep {
            occasion,
            hosts,
            name,
            ended,
            took_ms,
            note,
            ..
        } => {
            let note = note.as_ref().map(|note| format!(": {note}")).unwrap_or_default();
            Some(format!(
                "{:>10} [{}] {occasion} {} {name}{note}",
                verb(*ended),
                seconds(*took_ms),
                list(hosts)
            ))
        }
        Event::DowntimeChanged { host, until, reason, by } => Some(downtime(host.as_ref(), *until, reason, by)),
        Event::WriterChanged { from, to, .. } => {
            let name = |host: &Option<HostName>| host.as_ref().map_or("nobody", HostName::as_str).to_owned();
            Some(format!("the writer changed from {} to {} by another command", name(from), name(to)))
        }
        Event::ModeChanged { from, to, by } => Some(format!("mode changed from {from} to {to} by {by}")),
        Event::NetworkChanged { answers: true } => {
            Some("this box's network answers again: decisions go on".to_owned())
        }
        Event::NetworkChanged { answers: false } => Some(
            "ALARM none of the ping addresses answers: this box may be cut off, and decides nothing until one does"
                .to_owned(),
        ),
        Event::Repaired { host, what } => Some(format!("{host}: {what}")),
        Event::Lost { count: Some(0), exact: true, sentence, .. } => Some(format!("{:>10} {sentence}", "Whole")),
        Event::Lost { count: Some(0), sentence, .. } => Some(format!("{:>10} {sentence}", "Known")),
        Event::Lost { count: None, sentence, .. } => Some(format!("{:>10} {sentence}", "Unknown")),
        Event::Lost { sentence, .. } => Some(format!("{:>10} {sentence}", "LOST")),
        Event::Noted { what } => Some(what.clone()),
        Event::Alarm { what, hint } if hint.is_empty() => Some(format!("ALARM {what}")),
        Event::Alarm { what, hint } => Some(format!("ALARM {what}; hint: {hint}")),
    }
}

/// The last line of a run: who the writer is and how long writes were refused.
fn ended(
    operation: &str,
    ending: &Ending,
    writer: Option<&HostName>,
    write_refused_ms: Option<f64>,
    took_ms: u64,
) -> String {
    let refused = match write_refused_ms {
        Some(ms) if ms < 10.0 => format!("; writes were refused for {ms:.1} ms"),
        Some(ms) => format!("; writes were refused for {ms:.0} ms"),
        None => String::new(),
    };
    let (verb, sentence) = match (ending, writer) {
        (Ending::Done { .. }, Some(writer)) => (past(operation), format!("{writer} is the writer{refused}")),
        (Ending::Done { .. }, None) => (past(operation), format!("done{refused}")),
        (Ending::Undone { because, untouched }, writer) => {
            let how = writer.map_or("as before".to_owned(), |writer| {
                format!("{writer} is still the writer")
            });
            (
                if *untouched { "Refused" } else { "Undone" },
                format!(
                    "{how}{refused}\nbecause: {because}\nhint: mend that and try again; `mmm check` looks for what else is missing"
                ),
            )
        }
        (Ending::Failed { because }, _) => {
            ("Failed", format!("what was done of it stays\nbecause: {because}"))
        }
        (Ending::Stuck { because, awaits }, writer) => {
            let who = writer.map_or("no host is known to take writes".to_owned(), |writer| {
                format!("{writer} takes writes")
            });
            let names: Vec<&str> = awaits.iter().map(HostName::as_str).collect();
            let (what, hint) = if names.is_empty() {
                (
                    "a person is needed".to_owned(),
                    "make sure by hand that one host at most takes writes, then `mmm clear`".to_owned(),
                )
            } else {
                let names = names.join(" and ");
                (
                    format!("nothing more is done until {names} can be asked"),
                    format!(
                        "a monitor, or the next command, settles it once {names} can be asked; or make sure by hand that one host at most takes writes, then `mmm clear`"
                    ),
                )
            };
            (
                "STUCK",
                format!("{who}{refused}; {what}\nbecause: {because}\nhint: {hint}"),
            )
        }
    };
    let mut text = format!("{verb:>10} [{}] {sentence}", seconds(took_ms));
    if let Ending::Done { warnings } = ending {
        for warning in warnings {
            text.push_str(&format!("\n{:>10} {warning}", "WARN"));
        }
    }
    text
}

/// The last line of a run that moved an address other than the writer's.
fn moved(
    operation: &str,
    ending: &Ending,
    address: IpAddr,
    holder: Option<&HostName>,
    took_ms: u64,
) -> String {
    let on = holder.map_or("on no host".to_owned(), |host| format!("on {host}"));
    let (verb, sentence) = match ending {
        Ending::Done { .. } => (past(operation), format!("{address} is {on}")),
        Ending::Undone { because, untouched } => (
            if *untouched { "Refused" } else { "Undone" },
            format!(
                "{address} is {on}, as before\nbecause: {because}\nhint: mend that and try again; `mmm check` looks for what else is missing"
            ),
        ),
        Ending::Failed { because } => ("Failed", format!("{address} is {on}\nbecause: {because}")),
        Ending::Stuck { because, .. } => (
            "STUCK",
            format!(
                "{address} may be on two hosts or on none\nbecause: {because}\nhint: a monitor takes it where it belongs; `mmm show` says where it is"
            ),
        ),
    };
    format!("{verb:>10} [{}] {sentence}", seconds(took_ms))
}

/// A downtime that began, was changed, or ended.
fn downtime(host: Option<&HostName>, until: Option<Moment>, reason: &str, by: &str) -> String {
    let whose = host.map_or("the cluster", HostName::as_str);
    match until {
        Some(until) => format!("{whose} is in downtime until {until}, by {by}: {reason}"),
        None if by.is_empty() => format!("the downtime of {whose} has ended by itself ({reason})"),
        None => format!("the downtime of {whose} was ended by {by} ({reason})"),
    }
}

fn past(operation: &str) -> &'static str {
    match operation {
        "switchover" => "Switched",
        "failover" => "Failed over",
        "rejoin" => "Rejoined",
        "move-address" | "place-address" => "Moved",
        _ => "Done",
    }
}

fn verb(ended: StepEnd) -> &'static str {
    match ended {
        StepEnd::Done => "DONE",
        StepEnd::Retried => "RETRY",
        StepEnd::Failed => "FAIL",
        StepEnd::Unknown => "UNKNOWN",
        StepEnd::Waived => "SKIP",
        StepEnd::Undone => "UNDO",
    }
}

/// Seconds and hundredths, six characters wide.
pub fn seconds(ms: u64) -> String {
    format!("{:>6}", format!("{}.{:02}s", ms / 1000, ms % 1000 / 10))
}

fn list(hosts: &[HostName]) -> String {
    if hosts.is_empty() {
        return "box".to_owned();
    }
    hosts.iter().map(HostName::as_str).collect::<Vec<_>>().join(",")
}

fn route(outgoing: &Option<HostName>, incoming: &Option<HostName>) -> String {
    match (outgoing, incoming) {
        (Some(outgoing), Some(incoming)) => format!("{outgoing} → {incoming}"),
        (None, Some(host)) | (Some(host), None) => host.to_string(),
        (None, None) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::gtid::{Compared, MariaRange, Surplus};
    use crate::core::losses::Loss;
    use crate::core::playbook::Section;

    fn say(event: Event) -> String {
        words(&Told {
            at: Moment(0),
            cluster: "c".into(),
            event,
        })
        .unwrap_or_default()
    }

    #[test]
    fn steps_and_endings_line_up() {
        let step = say(Event::StepEnded {
            step: 1,
            of: 7,
            hosts: vec!["db1".into()],
            name: "Refuse new writes".into(),
            section: Section::Prepare,
            ended: StepEnd::Done,
            took_ms: 12,
            note: None,
        });
        assert_eq!(step, "      DONE [ 0.01s] 1/7 db1 Refuse new writes");
        let end = say(Event::RunEnded {
            run: "r".into(),
            operation: "switchover".into(),
            ending: Ending::Done { warnings: vec![] },
            writer: Some("db2".into()),
            address: None,
            holder: None,
            write_refused_ms: Some(41.2),
            took_ms: 1_090,
        });
        assert_eq!(
            end,
            "  Switched [ 1.09s] db2 is the writer; writes were refused for 41 ms"
        );
        let moved = say(Event::RunEnded {
            run: "r".into(),
            operation: "move-address".into(),
            ending: Ending::Done { warnings: vec![] },
            writer: None,
            address: Some("10.0.0.101".parse().unwrap()),
            holder: Some("db3".into()),
            write_refused_ms: None,
            took_ms: 90,
        });
        assert_eq!(moved, "     Moved [ 0.09s] 10.0.0.101 is on db3");
    }

    #[test]
    fn a_loss_says_at_once_whether_there_is_one() {
        let lost = |is_exact, found| {
            let seen_at = Some(Moment(0));
            let loss = Loss {
                is_exact,
                seen_at,
                found,
            };
            say(Event::lost("r", &"db1".into(), &"db2".into(), &loss))
        };
        let three = || {
            Compared::Extra(Surplus::Mariadb(vec![MariaRange {
                domain: 0,
                server: 1,
                from: 103,
                to: 105,
            }]))
        };
        assert_eq!(
            lost(true, three()),
            "      LOST db2 lacks 3 transactions of db1: 0-1-103..105"
        );
        let some = lost(false, three());
        assert!(
            some.starts_with(
                "      LOST db2 lacks at least 3 transactions that db1 was seen to have at 1970"
            ),
            "{some}"
        );
        assert!(lost(true, Compared::Nothing).starts_with("     Whole nothing was lost"));
        assert!(
            lost(false, Compared::Nothing).starts_with("     Known db2 has all that db1 was seen to have")
        );
        let untold = lost(false, Compared::Unknown("nobody looked".into()));
        assert_eq!(
            untold,
            "   Unknown what db2 lacks of db1 is not known: nobody looked"
        );
    }
}
