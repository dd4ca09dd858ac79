//! From what went wrong to what it says about the server. A limit, a wrong password or a missing privilege means
//! *alive*: no failover may ever start from them.

use super::facts::{Reach, Refusal};

/// How far a conversation had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// The port has not accepted yet.
    Dialling,
    /// The port accepted; the login is not through.
    LoggingIn,
    /// Logged in; an answer is awaited.
    Asking,
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mishap {
    /// The server said so: its error number.
    Server(u16),
    /// The kernel of the host refused the connection.
    Refused,
    /// The other side closed or reset the connection.
    Lost,
    /// Time ran out.
    TimedOut,
    /// The network says that the host is not there.
    Unreachable,
    /// What came is not what a server of this protocol says.
    Unintelligible,
    /// Our own side cannot ask: no descriptors, no route, no permission.
    Ours,
}

/// What went wrong, when, and in which words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// How far the conversation had come.
    pub stage: Stage,
    /// What went wrong.
    pub mishap: Mishap,
    /// The words to show a person.
    pub text: String,
}

/// What a failure says about the server.
pub fn judge<T>(failure: Failure) -> Reach<T> {
    let Failure { stage, mishap, text } = failure;
    match (mishap, stage) {
        (Mishap::Server(number), _) => Reach::Refusing {
            reason: refusal(number),
            text,
        },
        (Mishap::Ours, _) => Reach::Unasked(text),
        (Mishap::Refused, _) => Reach::Down(text),
        (Mishap::TimedOut | Mishap::Unreachable | Mishap::Lost, Stage::Dialling) => Reach::Silent(text),
        (Mishap::Unreachable, _) => Reach::Silent(text),
        (Mishap::TimedOut | Mishap::Lost, _) => Reach::Hung(text),
        (Mishap::Unintelligible, _) => Reach::Refusing {
            reason: Refusal::Other,
            text,
        },
    }
}

/// Why a living server refuses, from its error number.
pub fn refusal(number: u16) -> Refusal {
    match number {
        // Too many connections; out of memory; no thread; the account's connections, per hour or at once.
        1040 | 1037 | 1038 | 1041 | 1135 | 1203 | 1226 => Refusal::Limits,
        // Bad host, handshake, database, password; host blocked or not allowed; authentication methods that do not
        // match; insecure transport prohibited; password expired; account locked.
        1042..=1045 | 1129 | 1130 | 1251 | 1275 | 1524 | 1698 | 1862 | 2049 | 3118 | 3159 | 3955 | 4151 => {
            Refusal::Login
        }
        // No such grant: on a statement, a table, a column, a routine, a database, in general.
        1142 | 1143 | 1227 | 1370 | 1410 => Refusal::Privilege,
        // Shutdown in progress, shutdown in effect, killed by an administrator, server starting or not ready.
        1053 | 1077 | 1079 | 3168 | 3169 | 1927 => Refusal::Stopping,
        _ => Refusal::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(stage: Stage, mishap: Mishap) -> Reach<()> {
        judge(Failure {
            stage,
            mishap,
            text: "words".to_owned(),
        })
    }

    #[test]
    fn an_error_of_the_server_means_that_it_lives() {
        for number in [
            1040, 1042, 1043, 1044, 1045, 1129, 1130, 1203, 1226, 1227, 1251, 1275, 9999,
        ] {
            for stage in [Stage::Dialling, Stage::LoggingIn, Stage::Asking] {
                assert!(judged(stage, Mishap::Server(number)).is_alive(), "{number}");
            }
        }
    }

    #[test]
    fn reasons_are_told_apart() {
        for (number, reason) in [
            (1040, Refusal::Limits),
            (1203, Refusal::Limits),
            (1226, Refusal::Limits),
            (1045, Refusal::Login),
            (1129, Refusal::Login),
            (1130, Refusal::Login),
            (1227, Refusal::Privilege),
            (1053, Refusal::Stopping),
            (1064, Refusal::Other),
        ] {
            assert_eq!(refusal(number), reason, "{number}");
        }
    }

    #[test]
    fn only_a_refused_connection_is_down() {
        let text = || "words".to_owned();
        assert_eq!(judged(Stage::Dialling, Mishap::Refused), Reach::Down(text()));
        assert_eq!(judged(Stage::Dialling, Mishap::TimedOut), Reach::Silent(text()));
        assert_eq!(
            judged(Stage::Dialling, Mishap::Unreachable),
            Reach::Silent(text())
        );
        assert_eq!(judged(Stage::LoggingIn, Mishap::TimedOut), Reach::Hung(text()));
        assert_eq!(judged(Stage::LoggingIn, Mishap::Lost), Reach::Hung(text()));
        assert_eq!(judged(Stage::Asking, Mishap::TimedOut), Reach::Hung(text()));
        assert_eq!(judged(Stage::Dialling, Mishap::Ours), Reach::Unasked(text()));
    }
}
