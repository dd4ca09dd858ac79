//! Whatever is imported validates, or is refused with a reason and a place.

use proptest::prelude::*;

use super::{AGENT, COMMON, MONITOR, Shelf, cluster_of, imported_with, literal, read};
use crate::config::diagnostic::Severity;
use crate::core::cluster::HostName;

/// Configurations that are almost right, with something done to some of their lines.
fn mutated() -> impl Strategy<Value = (String, String)> {
    let line = prop_oneof![
        Just("</host>".to_owned()),
        Just("<host default>".to_owned()),
        Just("<check ping>\ntimeout 3\n</check>".to_owned()),
        Just("<role default>".to_owned()),
        Just("include mmm_common_test_mmm".to_owned()),
        Just("<host a/>".to_owned()),
        "(peer|prefer|hosts) cluster0[1-3](, ?cluster0[1-4]){0,2}",
        "(check_period|trap_period|timeout|max_backlog|mysql_port|ssh_port|auto_set_online) [0-9]{1,6}",
        "(mode|mysql_rcscript|cluster_interface|ssh_user|active_master_role) (master|slave|balanced|writer|-x|/a/b|é)",
        "(peer|mode|ip|ips|hosts|prefer|mysql_port|max_backlog|cluster_interface|agent_user|agent_password) [ -~]{0,12}",
        "[a-z_]{1,10} (10\\.0\\.0\\.[0-9]{1,3},? ?){1,3}",
        "</?(host|role|check|monitor|socket)( [a-z0-9_.-]{1,8})?/?>",
        "\\PC{0,20}",
    ];
    let change = (
        any::<prop::sample::Index>(),
        any::<prop::sample::Index>(),
        0..6u8,
        line,
    );
    let text = move |text: &'static str| {
        proptest::collection::vec(change.clone(), 0..3).prop_map(move |changes| {
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            for (at, other, kind, line) in changes {
                let (at, other) = (at.index(lines.len()), other.index(lines.len()));
                match kind {
                    0 if lines.len() > 1 => drop(lines.remove(at)),
                    1 => lines.insert(at, line),
                    2 => lines[at] = line,
                    3 => lines.swap(at, other),
                    4 => {
                        let mut letters: Vec<char> = lines[at].chars().collect();
                        if letters.len() > 1 {
                            let place = other % (letters.len() - 1);
                            letters.swap(place, place + 1);
                        }
                        lines[at] = letters.into_iter().collect();
                    }
                    _ => {
                        lines[at] = lines[at]
                            .replace("cluster01", "cluster03")
                            .replace("10.0.0.24", "10.0.0.23")
                    }
                }
            }
            lines.join("\n")
        })
    };
    (text(COMMON), text(MONITOR))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn whatever_is_imported_validates_or_is_refused_with_reason_and_place((common, monitor) in mutated()) {
        let mut shelf = Shelf::new(&[
            ("mmm_common_test_mmm.conf", &common),
            ("mmm_mon_test_mmm.conf", &monitor),
            ("mmm_agent_test_mmm.conf", AGENT),
        ]);
        match imported_with(&mut shelf, &["mmm_agent_test_mmm.conf"], None) {
            Ok(imported) => {
                let read = read(&imported.inventory);
                prop_assert!(read.is_ok(), "{}", imported.inventory);
            }
            Err(found) => {
                prop_assert!(!found.is_empty());
                for finding in &found {
                    prop_assert!(finding.place.is_some() && finding.severity == Severity::Error);
                    let said = [&finding.what, &finding.because, &finding.hint];
                    prop_assert!(said.iter().all(|said| !said.is_empty()));
                    prop_assert!(!finding.what.contains("UTF-8 text") && !finding.what.contains("YAML"));
                }
            }
        }
    }

    #[test]
    fn any_text_is_imported_or_refused(text in "(\\PC{0,12}\n|<[a-z/ ]{0,8}>\n|[a-z_]{0,8} [a-z0-9,. ]{0,8}\n){0,12}") {
        let mut shelf = Shelf::new(&[("mmm_mon_test_mmm.conf", &text)]);
        prop_assert!(imported_with(&mut shelf, &[], None).is_err(), "this describes no cluster");
    }

    #[test]
    fn any_password_comes_through(password in "[!-~][ -~]{0,20}[!-~]|[!-~]|\\PC{1,12}") {
        let password = password.trim_matches(|c: char| c.is_ascii_whitespace());
        prop_assume!(!password.is_empty());
        let entry = cluster_of(|text| text.replace("agent#secret", password));
        let host = entry.host(&HostName::from("cluster01")).unwrap();
        prop_assert_eq!(literal(&host.credentials.agent.password), password);
    }
}
