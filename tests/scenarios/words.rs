//! What the monitor wants done and tells, in plain words.

use std::time::Duration;

use mmm::core::cluster::HostName;
use mmm::core::engine::Effect;
use mmm::core::event::Event;
use mmm::core::repair::Fix;

/// An effect other than telling. What a repair would do is found by the caller.
pub fn deed(effect: &Effect, fixes: &[Fix]) -> String {
    match effect {
        Effect::AskEvidence(host) => format!("start gathering evidence about {host}"),
        Effect::FailOver {
            outgoing,
            incoming,
            rung,
            ..
        } => format!("start failover of {outgoing} to {incoming} ({rung})"),
        Effect::Reopen(host) => format!("start reopening {host}"),
        Effect::Adopt => "start adopting the writer that the hosts show".to_owned(),
        Effect::Quarantine(host) => format!("start quarantine of {host}"),
        Effect::Repair => {
            let fixes: Vec<String> = fixes.iter().map(fix).collect();
            format!("start repair: {}", fixes.join(", "))
        }
        Effect::SwitchOver(host) => format!("start switchover to {host}"),
        Effect::Activate { because } => format!("start leaving wait mode, since {because}"),
        Effect::Rejoin(host) => format!("start return of {host}"),
        Effect::Remember(_) => "write down what is known of the hosts".to_owned(),
        Effect::Tell(event) => told(event),
    }
}

fn fix(fix: &Fix) -> String {
    match fix {
        Fix::Quarantine(host) => format!("quarantine {host}"),
        Fix::DenyWrites(host) => format!("close {host}"),
        Fix::RemoveAddress(host, ip) => format!("take {ip} from {host}"),
        Fix::AddAddress(host, ip) => format!("bring {ip} up on {host}"),
        Fix::AddAddressIfFree(host, ip) => format!("bring {ip} up on {host} if nobody answers for it"),
        Fix::Announce(host, ip) => format!("announce {ip} from {host}"),
        Fix::StopReceiving(host, from) => format!("let {host} receive nothing more from {from}"),
        Fix::Follow(host, writer) => format!("point {host} to {writer}"),
    }
}

/// What people are told.
pub fn told(event: &Event) -> String {
    match event {
        Event::CheckChanged {
            host,
            check,
            ok,
            message,
        } => {
            let verdict = if *ok { "is fine" } else { "has failed" };
            format!("{host} {check} {verdict}: {message}")
        }
        Event::StateChanged {
            host,
            from,
            to,
            because,
        } => format!("{host} {from} -> {to}: {because}"),
        Event::RuleChanged { rule, sentence } => format!("{rule}: {sentence}"),
        Event::DowntimeChanged { host, until, .. } => {
            let whose = host.as_ref().map_or("the cluster", HostName::as_str);
            let how = if until.is_some() { "begins" } else { "has ended" };
            format!("the downtime of {whose} {how}")
        }
        Event::WriterChanged { from, to, .. } => {
            let name = |host: &Option<HostName>| host.as_ref().map_or("nobody", HostName::as_str).to_owned();
            format!("the writer {} -> {} by another command", name(from), name(to))
        }
        Event::ModeChanged { from, to, by } => format!("mode {from} -> {to} by {by}"),
        Event::NetworkChanged { answers: true } => "our own network answers".to_owned(),
        Event::NetworkChanged { answers: false } => "our own network is silent".to_owned(),
        Event::Alarm { what, hint } if hint.is_empty() => format!("ALARM {what}"),
        Event::Alarm { what, hint } => format!("ALARM {what} (hint: {hint})"),
        other => format!("{other:?}"),
    }
}

/// `3h`, `90s`, `250ms`.
pub fn span(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no time: say 250ms, 4s, 2m, 3h or 2d");
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let number: u64 = text[..digits].parse().map_err(|_| wrong())?;
    let unit_ms = match &text[digits..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(wrong()),
    };
    Ok(Duration::from_millis(number * unit_ms))
}

/// `4s`, or `250ms` where it is no whole number.
pub fn passed(ms: u64) -> String {
    match ms {
        ms if ms % 1000 != 0 => format!("{ms}ms"),
        ms if ms < 120_000 => format!("{}s", ms / 1000),
        ms if ms % 60_000 == 0 => format!("{}m", ms / 60_000),
        ms => format!("{}m{}s", ms / 60_000, ms / 1000 % 60),
    }
}
