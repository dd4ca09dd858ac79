//! From one probe's outcome to what the check says. Whoever refuses us lives: such a probe is unknown, never failed.

use std::time::Duration;

use super::facts::{IoThread, Reach, Refusal, ReplicationFacts, SqlThread};
use super::latch::CheckResult;

/// What came of an ICMP echo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Echo {
    /// The host answered after that long.
    Answered(Duration),
    /// No answer within the deadline.
    NoAnswer(Duration),
    /// This box may not or cannot send one; says nothing about the host.
    CannotPing {
        /// Why not.
        because: String,
        /// What would help.
        hint: String,
    },
}

/// The check `ping`.
pub fn ping(echo: &Echo) -> CheckResult {
    match echo {
        Echo::Answered(rtt) => CheckResult::Ok(format!("answered in {:.1} ms", rtt.as_secs_f64() * 1000.0)),
        Echo::NoAnswer(waited) => CheckResult::Error(format!("no answer within {} ms", waited.as_millis())),
        Echo::CannotPing { because, hint } => CheckResult::Unknown(format!("{because}; {hint}")),
    }
}

/// The check `mysql`: whether the server answers a query.
pub fn mysql<T>(reach: &Reach<T>) -> CheckResult {
    match reach {
        Reach::Up(_) => CheckResult::Ok("answers queries".to_owned()),
        Reach::Refusing {
            reason: Refusal::Stopping,
            text,
        } => CheckResult::Error(text.clone()),
        Reach::Refusing { text, .. } | Reach::Unasked(text) => CheckResult::Unknown(text.clone()),
        Reach::Hung(text) | Reach::Down(text) | Reach::Silent(text) => CheckResult::Error(text.clone()),
    }
}

/// The check `rep_threads`: the managed channel receives and applies. A receiver that is still connecting counts as
/// failing: the trap period is how long that is tolerated.
pub fn rep_threads(reach: &Reach<Vec<ReplicationFacts>>) -> CheckResult {
    let (managed, others) = match configured(reach) {
        Ok(channels) => channels,
        Err(result) => return result,
    };
    match not_running(managed) {
        Some(broken) => CheckResult::Error(broken),
        None => CheckResult::Ok(format!("both threads run{}", others_trouble(others))),
    }
}

/// The check `rep_backlog`: the managed channel lags no more than `max_backlog`. A lag that the server does not tell is a
/// failure, not a zero: right after a start the trap period tolerates it.
pub fn rep_backlog(reach: &Reach<Vec<ReplicationFacts>>, max_backlog: Duration) -> CheckResult {
    let (managed, _) = match configured(reach) {
        Ok(channels) => channels,
        Err(result) => return result,
    };
    if let Some(broken) = not_running(managed) {
        return CheckResult::Error(format!("backlog cannot be told: {broken}"));
    }
    let Some(lag) = managed.lag else {
        return CheckResult::Error(format!("{}the server does not tell its backlog", label(managed)));
    };
    // A delay kept on purpose is not a backlog.
    let behind = lag.saturating_sub(managed.delay);
    let words = format!(
        "{} s behind, {} s allowed",
        behind.as_secs(),
        max_backlog.as_secs()
    );
    if behind > max_backlog {
        CheckResult::Error(words)
    } else {
        CheckResult::Ok(words)
    }
}

/// The managed channel, which comes first, and the others; or what either replication check says without one.
fn configured(
    reach: &Reach<Vec<ReplicationFacts>>,
) -> Result<(&ReplicationFacts, &[ReplicationFacts]), CheckResult> {
    match reach {
        Reach::Up(channels) => channels
            .split_first()
            .ok_or_else(|| CheckResult::Error("replication is not set up".to_owned())),
        // Whether the server can be reached is the business of `mysql`.
        other => Err(CheckResult::Unknown(
            other.trouble().unwrap_or_default().to_owned(),
        )),
    }
}

/// What is wrong with channels that are not managed: told, and no reason to keep a host from taking over.
fn others_trouble(others: &[ReplicationFacts]) -> String {
    let broken = others.iter().filter_map(not_running);
    broken.map(|broken| format!("; not managed: {broken}")).collect()
}

fn not_running(channel: &ReplicationFacts) -> Option<String> {
    let label = label(channel);
    let because = |error: &Option<_>| error.as_ref().map_or(String::new(), |error| format!(": {error}"));
    match (channel.io, channel.sql) {
        (_, SqlThread::No) => Some(format!(
            "{label}replication does not apply{}",
            because(&channel.sql_error)
        )),
        (IoThread::No, _) => Some(format!(
            "{label}replication does not receive{}",
            because(&channel.io_error)
        )),
        (IoThread::Connecting, _) => Some(format!(
            "{label}replication is connecting to `{}:{}`{}",
            channel.source_host,
            channel.source_port,
            because(&channel.io_error)
        )),
        (IoThread::Yes, SqlThread::Yes) => None,
    }
}

fn label(channel: &ReplicationFacts) -> String {
    if channel.channel.is_empty() {
        String::new()
    } else {
        format!("channel `{}`: ", channel.channel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::facts::{ReceivedGtid, ReplicationError, UsingGtid};

    fn channel(io: IoThread, sql: SqlThread, lag_s: Option<u64>) -> ReplicationFacts {
        ReplicationFacts {
            channel: String::new(),
            source_host: "10.0.0.248".to_owned(),
            source_port: 3306,
            source_user: "repl".to_owned(),
            source_server_id: Some(2),
            source_uuid: None,
            io,
            sql,
            lag: lag_s.map(Duration::from_secs),
            io_error: None,
            sql_error: None,
            using_gtid: UsingGtid::SlavePos,
            received: None,
            executed: None,
            received_gtid: ReceivedGtid::None,
            heartbeats: None,
            relay_log_bytes: 0,
            delay: Duration::ZERO,
        }
    }

    fn is_error(result: CheckResult) -> bool {
        matches!(result, CheckResult::Error(_))
    }
    fn is_unknown(result: CheckResult) -> bool {
        matches!(result, CheckResult::Unknown(_))
    }
    fn is_ok(result: CheckResult) -> bool {
        matches!(result, CheckResult::Ok(_))
    }

    const LIMIT: Duration = Duration::from_secs(60);

    #[test]
    fn whoever_refuses_us_is_not_down() {
        for reason in [
            Refusal::Limits,
            Refusal::Login,
            Refusal::Privilege,
            Refusal::Other,
        ] {
            assert!(is_unknown(mysql(&Reach::<()>::Refusing {
                reason,
                text: "no".to_owned()
            })));
        }
        assert!(is_error(mysql(&Reach::<()>::Hung("slow".to_owned()))));
        assert!(is_error(mysql(&Reach::<()>::Down("closed".to_owned()))));
        assert!(is_unknown(mysql(&Reach::<()>::Unasked("no route".to_owned()))));
    }

    #[test]
    fn an_unreachable_server_says_nothing_about_replication() {
        let reach = Reach::Down("closed".to_owned());
        assert!(is_unknown(rep_threads(&reach)));
        assert!(is_unknown(rep_backlog(&reach, LIMIT)));
    }

    #[test]
    fn connecting_is_not_running() {
        let reach = Reach::Up(vec![channel(IoThread::Connecting, SqlThread::Yes, None)]);
        assert_eq!(
            rep_threads(&reach).message(),
            "replication is connecting to `10.0.0.248:3306`"
        );
        assert!(is_error(rep_threads(&reach)));
        assert!(is_error(rep_backlog(&reach, LIMIT)));
    }

    #[test]
    fn the_managed_channel_counts_and_trouble_with_others_is_told() {
        let mut second = channel(IoThread::Yes, SqlThread::No, None);
        second.channel = "backup".to_owned();
        second.sql_error = Some(ReplicationError {
            number: 1062,
            text: "Duplicate entry".to_owned(),
        });
        let managed = channel(IoThread::Yes, SqlThread::Yes, Some(0));
        let reach = Reach::Up(vec![managed, second.clone()]);
        let said = rep_threads(&reach);
        assert_eq!(
            said.message(),
            "both threads run; not managed: channel `backup`: replication does not apply: error 1062: Duplicate entry"
        );
        assert!(is_ok(said) && is_ok(rep_backlog(&reach, LIMIT)));
        assert!(is_error(rep_threads(&Reach::Up(vec![second]))));
    }

    #[test]
    fn the_backlog_is_compared() {
        let lagging = |seconds| Reach::Up(vec![channel(IoThread::Yes, SqlThread::Yes, seconds)]);
        assert!(is_ok(rep_backlog(&lagging(Some(60)), LIMIT)));
        assert!(is_error(rep_backlog(&lagging(Some(61)), LIMIT)));
        assert!(is_error(rep_backlog(&lagging(None), LIMIT)), "NULL is no zero");
        assert!(is_ok(rep_threads(&lagging(None))));
    }

    #[test]
    fn no_replication_is_an_error() {
        assert!(is_error(rep_threads(&Reach::Up(Vec::new()))));
    }
}
