//! Would a failover work now: a few lines for people, or the one line and the code that Nagios wants.

use crate::core::evidence::Rung;
use crate::core::readiness::Readiness;
use crate::core::trouble::Trouble;

/// One cluster, or why it could not be looked at.
pub type Looked = (String, Result<Readiness, Trouble>);

/// The answer for one cluster.
pub fn text(readiness: &Readiness) -> String {
    let verdict = if readiness.ready {
        "a failover would work now"
    } else {
        "a failover would NOT work now"
    };
    let mut text = format!("{}: {verdict}\n", readiness.cluster);
    let mut line = |name: &str, words: &str| text.push_str(&format!("{name:>10}: {}\n", one_line(words)));
    for obstacle in &readiness.blocked {
        line("guard", &format!("{} {}", obstacle.guard, obstacle.what));
        line("hint", &obstacle.lifted_by);
    }
    if let Some(writer) = &readiness.writer {
        line("from", writer.as_str());
    }
    if let Some(host) = &readiness.successor {
        line("to", host.as_str());
    }
    if let Some(rung) = readiness.rung {
        line("how", how(rung));
    }
    if let Some(loss) = &readiness.loss {
        line("lost", &loss.words());
    }
    for obstacle in &readiness.barred {
        line(
            "not",
            &format!("{} (hint: {})", obstacle.what, obstacle.lifted_by),
        );
    }
    for remark in &readiness.remarks {
        line("note", remark);
    }
    if let Some(price) = &readiness.price {
        line("price", price);
    }
    text
}

fn how(rung: Rung) -> &'static str {
    match rung {
        Rung::Demote => {
            "the old writer is demoted over SSH: its server stopped for good, the address taken away, both verified"
        }
        Rung::Fence => "the old writer is fenced by the inventory's duty, and must then be silent",
        Rung::Silence => "the old writer is not fenced, only silent to every host that can be asked",
        Rung::Word(_) => "the old writer is not fenced; a person says that it cannot write",
    }
}

/// Nagios' status line for all clusters, and its code: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN.
pub fn nagios(looked: &[Looked]) -> (String, u8) {
    let each: Vec<(u8, String)> = looked.iter().map(status).collect();
    // What is known to be broken is worse than what is not known.
    let rank = |code: u8| [0, 1, 3, 2][usize::from(code.min(3))];
    let code = each
        .iter()
        .map(|(code, _)| *code)
        .max_by_key(|code| rank(*code))
        .unwrap_or(3);
    let word = ["OK", "WARNING", "CRITICAL", "UNKNOWN"][usize::from(code.min(3))];
    let words: Vec<String> = each.into_iter().map(|(_, words)| words).collect();
    // The line ends where performance data begins.
    (
        format!("MMM {word} - {}", words.join("; ")).replace('|', "/"),
        code,
    )
}

fn status((cluster, found): &Looked) -> (u8, String) {
    let readiness = match found {
        Err(trouble) => {
            return (
                3,
                one_line(&format!("{cluster}: {}: {}", trouble.what, trouble.because)),
            );
        }
        Ok(readiness) => readiness,
    };
    if !readiness.ready {
        let why: Vec<String> = readiness
            .blocked
            .iter()
            .map(|obstacle| format!("{} {}", obstacle.guard, obstacle.what))
            .collect();
        return (
            2,
            one_line(&format!(
                "{cluster}: a failover would not work: {}",
                why.join(", ")
            )),
        );
    }
    let name = |host: &Option<crate::core::cluster::HostName>| {
        host.as_ref().map_or("nobody".to_owned(), ToString::to_string)
    };
    let route = format!(
        "{cluster}: {} -> {}",
        name(&readiness.writer),
        name(&readiness.successor)
    );
    let barred = readiness.barred.iter().map(|obstacle| obstacle.what.clone());
    let notes: Vec<String> = readiness.remarks.iter().cloned().chain(barred).collect();
    match notes.is_empty() {
        true => (0, one_line(&route)),
        false => (1, one_line(&format!("{route}, but {}", notes.join(", ")))),
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::guard::Guard;
    use crate::core::readiness::{Loss, Obstacle};
    use crate::core::trouble::Kind;

    fn ready() -> Readiness {
        Readiness {
            cluster: "c".to_owned(),
            ready: true,
            writer: Some("db1".into()),
            successor: Some("db2".into()),
            rung: Some(Rung::Demote),
            loss: Some(Loss {
                lag_s: Some(0),
                unreceived_transactions: Some(3),
                unreceived_bytes: None,
                semi_sync: false,
            }),
            blocked: Vec::new(),
            barred: Vec::new(),
            remarks: Vec::new(),
            price: Some("it may cost something".to_owned()),
        }
    }

    fn obstacle(guard: Guard) -> Obstacle {
        Obstacle {
            guard,
            what: "db3: its SQL thread\nis stopped | badly".to_owned(),
            lifted_by: guard.lifted_by().to_owned(),
        }
    }

    fn blocked() -> Readiness {
        Readiness {
            ready: false,
            successor: None,
            loss: None,
            blocked: vec![obstacle(Guard::G20)],
            ..ready()
        }
    }

    #[test]
    fn people_read_the_verdict_first_and_then_why() {
        let text = [text(&ready()), text(&blocked())].join("\n");
        crate::core::golden::check("tests/golden/readiness.txt", &text);
    }

    #[test]
    fn nagios_reads_one_line_and_the_worst_code() {
        let well = || ("c".to_owned(), Ok(ready()));
        let warned = Readiness {
            remarks: vec!["no monitor runs".to_owned()],
            ..ready()
        };
        let unseen = Trouble::new(Kind::Wrong, "`c` could not be looked at", "no answer");
        let of = |looked: &[Looked]| nagios(looked);
        assert_eq!(of(&[well()]), ("MMM OK - c: db1 -> db2".to_owned(), 0));
        let (line, code) = of(&[well(), ("w".to_owned(), Ok(warned))]);
        assert_eq!(
            (line.as_str(), code),
            (
                "MMM WARNING - c: db1 -> db2; w: db1 -> db2, but no monitor runs",
                1
            )
        );
        let (line, code) = of(&[well(), ("u".to_owned(), Err(unseen.clone()))]);
        assert!(line.starts_with("MMM UNKNOWN - ") && code == 3, "{line}");
        let (line, code) = of(&[("b".to_owned(), Ok(blocked())), ("u".to_owned(), Err(unseen))]);
        assert!(
            line.starts_with("MMM CRITICAL - b: a failover would not work: G20 db3"),
            "{line}"
        );
        assert!(code == 2 && !line.contains(['|', '\n']), "{line}");
        assert_eq!(of(&[]).1, 3);
    }
}
