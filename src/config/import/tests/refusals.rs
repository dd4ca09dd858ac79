//! What MMM took, or refused itself, and what is refused here: each with its reason and place.

use super::{article, imported_with, rendered};
use crate::core::golden;

/// Changes to the article's files that MMM took, or refused, and that are refused here: what is replaced by what.
const REFUSED: &[(&str, &str, &str)] = &[
    ("a close tag of another block", "</monitor>", "</host>"),
    ("a missing close tag", "</monitor>", ""),
    ("a missing close tag at the end", "balanced\n</role>", "balanced"),
    ("a stray close tag", "debug 0", "</check>\ndebug 0"),
    (
        "a key in the wrong block",
        "ping_ips  ",
        "check_period 5\nping_ips",
    ),
    ("an unknown key", "peer    cluster02", "pere    cluster02"),
    ("a block as a key", "<monitor>", "monitor x\n<monitor>"),
    (
        "a name with dots",
        "<host cluster03>",
        "<host cluster03.example.com>",
    ),
    ("an unknown block", "<monitor>", "<monitr>"),
    ("a block without its name", "<host cluster03>", "<host>"),
    ("a name that is not taken", "<monitor>", "<monitor one>"),
    ("an unknown check", "<check mysql>", "<check mysq>"),
    (
        "a comment at the end of a line",
        "trap_period         4",
        "trap_period 4 # seconds",
    ),
    ("a number with a unit", "check_period        2", "check_period 2s"),
    (
        "a check that is never done",
        "check_period        2",
        "check_period 0",
    ),
    ("a port out of range", "3306", "65536"),
    ("a key without a value", "mode    slave", "mode"),
    (
        "a password without a value",
        "agent_password          agent#secret",
        "agent_password",
    ),
    ("a word with no meaning", "mode    slave", "mode    replica"),
    (
        "a name as an address",
        "10.0.0.249\n    mode",
        "db3.example.com\n    mode",
    ),
    (
        "addresses without commas",
        "10.0.0.238, 10.0.0.239",
        "10.0.0.238 10.0.0.239",
    ),
    (
        "an empty item",
        "10.0.0.238, 10.0.0.239",
        "10.0.0.238,, 10.0.0.239",
    ),
    (
        "an exclusive role with two addresses",
        "ips     10.0.0.237",
        "ips 10.0.0.237, 10.0.0.236",
    ),
    ("an address in two roles", "10.0.0.238, ", "10.0.0.237, "),
    ("a role address that is a host's", "10.0.0.238, ", "10.0.0.249, "),
    (
        "a host that is its own peer",
        "peer    cluster02",
        "peer    cluster01",
    ),
    ("a master without peer", "    peer    cluster02\n", ""),
    ("a peer that is a slave", "peer    cluster02", "peer    cluster03"),
    (
        "a peer that does not exist",
        "peer    cluster02",
        "peer    cluster20",
    ),
    (
        "a role on an unknown host",
        "hosts   cluster01, cluster02\n",
        "hosts cluster01, cluster22\n",
    ),
    (
        "a slave among the writers",
        "hosts   cluster01, cluster02\n",
        "hosts cluster01, cluster03\n",
    ),
    (
        "a preference outside the role",
        "prefer  cluster01",
        "prefer  cluster03",
    ),
    (
        "a balanced writer",
        "mode    exclusive\n    prefer  cluster01",
        "mode balanced",
    ),
    (
        "a writer role that does not exist",
        "active_master_role      writer",
        "active_master_role writr",
    ),
    ("no writer role", "active_master_role      writer", ""),
    ("no interface", "    cluster_interface       eth0\n", ""),
    ("no password", "    agent_password          agent#secret\n", ""),
    ("an interface that cannot be", "eth0", "eth 0"),
    (
        "a trap shorter than the check",
        "trap_period         4",
        "trap_period 1",
    ),
    ("more than a day", "trap_period         4", "trap_period 86401"),
    (
        "an include that is not there",
        "include mmm_common_test_mmm.conf",
        "include mmm_comon",
    ),
    (
        "an include inside a block",
        "<monitor>",
        "<monitor>\ninclude mmm_common_test_mmm.conf",
    ),
    (
        "a file that includes itself",
        "debug 0",
        "include mmm_mon_test_mmm",
    ),
    ("a tab in a password", "repl secret", "repl\tsecret"),
    ("many things at once", "mode  ", "mod  "),
];

#[test]
fn what_is_refused_is_refused_with_reason_and_place() {
    let mut all = String::new();
    for (name, was, becomes) in REFUSED {
        let mut shelf = article();
        let before: Vec<String> = shelf.0.values().cloned().collect();
        for text in shelf.0.values_mut() {
            *text = text.replace(was, becomes);
        }
        assert!(
            shelf.0.values().any(|text| !before.contains(text)),
            "{name}: nothing was changed"
        );
        let Err(findings) = imported_with(&mut shelf, &["mmm_agent_test_mmm.conf"], None) else {
            panic!("{name}: it was imported")
        };
        assert!(findings.iter().all(|finding| finding.place.is_some()), "{name}");
        all.push_str(&format!("=== {name}\n{}\n", rendered(&findings)));
    }
    for secret in ["agent#secret", "repl", "monitor\" secret"] {
        let shown = all
            .replace("replication", "")
            .replace("`repl`", "")
            .replace("replica", "");
        assert!(!shown.contains(secret), "{secret} is shown");
    }
    golden::check("tests/golden/import/refused.txt", &all);
}
