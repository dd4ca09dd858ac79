//! Tests of the whole way from files of MMM to an inventory.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use secrecy::ExposeSecret as _;

use super::{Asked, File, Files, Imported, Refusal, file_name, import};
use crate::config::diagnostic::{Diagnostic, Severity};
use crate::config::inventory::{self, ClusterEntry, Inventory, SecretSource, Surroundings};
use crate::core::cluster::HostName;
use crate::core::golden;

const COMMON: &str = include_str!("../../../tests/golden/import/mmm_common_test_mmm.conf");
const MONITOR: &str = include_str!("../../../tests/golden/import/mmm_mon_test_mmm.conf");
const AGENT: &str = include_str!("../../../tests/golden/import/mmm_agent_test_mmm.conf");

/// Files by name, as if all lay in one directory.
struct Shelf(HashMap<String, String>);

impl Shelf {
    fn new(files: &[(&str, &str)]) -> Self {
        Shelf(
            files
                .iter()
                .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
                .collect(),
        )
    }

    fn file(&self, name: &str) -> Option<File> {
        Some(File {
            path: PathBuf::from(name),
            identity: PathBuf::from(name),
            bytes: self.0.get(name)?.clone().into_bytes(),
            mode: Some(0o640),
        })
    }
}

impl Files for Shelf {
    fn include(&mut self, name: &str, _from: &Path) -> Result<File, Refusal> {
        self.file(&file_name(name)).ok_or_else(|| Refusal {
            because: format!("there is no `{name}`"),
            hint: "add it".to_owned(),
        })
    }
}

fn article() -> Shelf {
    Shelf::new(&[
        ("mmm_common_test_mmm.conf", COMMON),
        ("mmm_mon_test_mmm.conf", MONITOR),
        ("mmm_agent_test_mmm.conf", AGENT),
    ])
}

fn imported_with(
    shelf: &mut Shelf,
    aside: &[&str],
    secrets: Option<&str>,
) -> Result<Imported, Vec<Diagnostic>> {
    let asked = Asked {
        name: "test_mmm".to_owned(),
        aside: aside.iter().filter_map(|name| shelf.file(name)).collect(),
        monitor: shelf.file("mmm_mon_test_mmm.conf").unwrap(),
    };
    import(vec![asked], shelf, secrets)
}

fn rendered(findings: &[Diagnostic]) -> String {
    findings
        .iter()
        .map(Diagnostic::render)
        .collect::<Vec<_>>()
        .join("\n")
}

fn read(text: &str) -> Result<Inventory, Vec<Diagnostic>> {
    let surroundings = Surroundings {
        mode: Some(0o600),
        home: None,
    };
    inventory::parse(text, Path::new("inventory.yaml"), &surroundings)
}

/// The cluster that comes of the article's files after their text was changed.
fn cluster_of(change: impl Fn(String) -> String) -> ClusterEntry {
    let mut shelf = article();
    for text in shelf.0.values_mut() {
        *text = change(std::mem::take(text));
    }
    match imported_with(&mut shelf, &[], None) {
        Ok(imported) => read(&imported.inventory).unwrap().clusters.remove(0),
        Err(findings) => panic!("{}", rendered(&findings)),
    }
}

fn literal(source: &SecretSource) -> String {
    match source {
        SecretSource::Literal(secret) => secret.expose_secret().to_owned(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_articles_files_become_its_cluster() {
    let aside = ["mmm_common_test_mmm.conf", "mmm_agent_test_mmm.conf"];
    let imported =
        imported_with(&mut article(), &aside, None).unwrap_or_else(|found| panic!("{}", rendered(&found)));
    golden::check("tests/golden/import/inventory.yaml", &imported.inventory);
    let remarks = imported.remarks.iter().map(|told| {
        let line = told.line.map_or_else(String::new, |line| format!(":{line}"));
        format!("{}{line}: {}\n", told.file.display(), told.what)
    });
    golden::check("tests/golden/import/remarks.txt", &remarks.collect::<String>());
    assert_eq!((imported.clusters, imported.hosts), (1, 3));

    let inventory = read(&imported.inventory).unwrap();
    let entry = inventory.cluster("test_mmm").unwrap();
    let check = &entry.cluster.checks.mysql;
    assert_eq!((check.every.as_secs(), check.trap_after.as_secs()), (2, 4));
    assert_eq!(entry.cluster.checks.rep_backlog.max_backlog.as_secs(), 60);
    let host = entry.host(&HostName::from("cluster03")).unwrap();
    assert_eq!(literal(&host.credentials.monitor.password), "\"monitor\" secret");
    assert_eq!(literal(&host.credentials.agent.password), "agent#secret");
    assert_eq!(literal(&host.credentials.replication.password), "repl secret");
}

#[test]
fn passwords_can_go_into_files_of_their_own() {
    let mut shelf = article();
    let common = shelf.0.get_mut("mmm_common_test_mmm.conf").unwrap();
    *common = common.replace("mode    slave", "mode    slave\n    agent_password other");
    let Ok(imported) = imported_with(&mut shelf, &[], Some("/etc/mmm/my secrets")) else {
        panic!("it is valid")
    };
    let mut written: Vec<_> = imported
        .secrets
        .iter()
        .map(|secret| (secret.path.to_str().unwrap(), secret.value.expose_secret()))
        .collect();
    written.sort_unstable();
    assert_eq!(
        written,
        [
            ("/etc/mmm/my secrets/cluster03@test_mmm.agent.password", "other"),
            ("/etc/mmm/my secrets/test_mmm.agent.password", "agent#secret"),
            (
                "/etc/mmm/my secrets/test_mmm.monitor.password",
                "\"monitor\" secret"
            ),
            ("/etc/mmm/my secrets/test_mmm.replication.password", "repl secret"),
        ]
    );
    let inventory = read(&imported.inventory).unwrap();
    let host = inventory.clusters[0].host(&HostName::from("cluster03")).unwrap();
    let named = format!("{:?}", host.credentials.agent.password);
    assert_eq!(
        named,
        r#"File("/etc/mmm/my secrets/cluster03@test_mmm.agent.password")"#
    );
    for secret in ["agent#secret", "repl secret"] {
        assert!(!imported.inventory.contains(secret), "{}", imported.inventory);
    }
}

#[test]
fn what_differs_from_host_to_host_stays_with_the_host() {
    let cluster = cluster_of(|text| {
        text.replace(
            "mode    slave",
            "mode    slave\n    mysql_port 03307\n    ssh_port 2222\n    ssh_user dba\n    agent_user other\n    \
             mysql_rcscript /etc/init.d/mysqld",
        )
        .replace("hosts   cluster01, cluster02\n", "hosts cluster01 ,cluster02,\n")
    });
    let of = |name: &str| cluster.host(&HostName::from(name)).unwrap();
    let (first, third) = (of("cluster01"), of("cluster03"));
    assert_eq!((first.mysql.port, third.mysql.port), (3306, 3307));
    assert_eq!((first.ssh.port, third.ssh.port), (None, Some(2222)));
    assert_eq!(
        (first.ssh.user.as_deref(), third.ssh.user.as_deref()),
        (None, Some("dba"))
    );
    assert_eq!(
        (
            first.credentials.agent.user.as_str(),
            third.credentials.agent.user.as_str()
        ),
        ("mmm_agent", "other")
    );
    assert_eq!(literal(&third.credentials.agent.password), "agent#secret");
    assert!(format!("{:?}", first.service).contains("mariadb.service"));
    assert!(format!("{:?}", third.service).contains("mysqld.service"));
    assert_eq!(
        cluster.cluster.roles[0].hosts.len(),
        2,
        "a comma at the end is harmless"
    );
}

#[test]
fn blocks_merge_and_the_last_word_wins() {
    let mut shelf = article();
    let monitor = shelf.0.get_mut("mmm_mon_test_mmm.conf").unwrap();
    monitor.push_str("<host cluster03>\n ip 10.0.0.250\n</host>\n<role reader/>\n<check ping/>\n");
    let Ok(imported) = imported_with(&mut shelf, &["mmm_agent_test_mmm.conf"], None) else {
        panic!("it is valid")
    };
    let inventory = read(&imported.inventory).unwrap();
    assert_eq!(
        inventory.clusters[0].cluster.hosts[2].address.to_string(),
        "10.0.0.250"
    );
    let said = imported
        .remarks
        .iter()
        .filter(|told| told.what.contains("said again"));
    let said: Vec<_> = said.map(|told| (told.line, told.what.as_str())).collect();
    let what = "`ip` is said again, otherwise than in mmm_common_test_mmm.conf:28";
    assert_eq!(said, [(Some(34), what)]);
}

#[test]
fn clusters_stand_beside_each_other_and_share_no_address() {
    let mut shelf = article();
    let other = |text: &str| text.replace("10.0.0.2", "10.0.1.2").replace("test_mmm", "other");
    shelf.0.insert("mmm_common_other.conf".to_owned(), other(COMMON));
    shelf.0.insert("mmm_mon_other.conf".to_owned(), other(MONITOR));
    let asked = |shelf: &Shelf, second: &str| {
        [("test_mmm", "mmm_mon_test_mmm.conf"), ("other", second)]
            .map(|(name, file)| Asked {
                name: name.to_owned(),
                aside: Vec::new(),
                monitor: shelf.file(file).unwrap(),
            })
            .into()
    };
    let both = asked(&shelf, "mmm_mon_other.conf");
    let imported = import(both, &mut shelf, None).unwrap_or_else(|found| panic!("{}", rendered(&found)));
    let inventory = read(&imported.inventory).unwrap();
    assert_eq!((inventory.clusters.len(), imported.hosts), (2, 6));
    assert_eq!(inventory.monitor.ping_addresses.len(), 6);

    let same = asked(&shelf, "mmm_mon_test_mmm.conf");
    let Err(found) = import(same, &mut shelf, None) else {
        panic!("two clusters cannot have the same hosts")
    };
    let what =
        "`10.0.0.247` of host `cluster01` of `other` already belongs to host `cluster01` of `test_mmm`";
    assert!(rendered(&found).contains(what), "{}", rendered(&found));
}

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

#[test]
fn bytes_that_are_no_text_have_a_place() {
    let mut shelf = article();
    let mut file = shelf.file("mmm_mon_test_mmm.conf").unwrap();
    file.bytes = b"# caf\xe9\nagent_password hunter2\xff\n".to_vec();
    let asked = Asked {
        name: "a".to_owned(),
        aside: Vec::new(),
        monitor: file,
    };
    let Err(found) = import(vec![asked], &mut shelf, None) else {
        panic!("it is no text")
    };
    let shown = rendered(&found);
    assert!(
        shown.contains("mmm_mon_test_mmm.conf:1:6") && shown.contains("not UTF-8"),
        "{shown}"
    );
}

#[test]
fn includes_that_multiply_end() {
    let doubled = "include b\ninclude b\n";
    let names: Vec<String> = (0..40).map(|number| format!("f{number}.conf")).collect();
    let mut shelf = Shelf::new(&[("mmm_mon_test_mmm.conf", "include f0\n")]);
    for pair in names.windows(2) {
        shelf.0.insert(pair[0].clone(), doubled.replace('b', &pair[1]));
    }
    shelf.0.insert(names[39].clone(), "debug 1\n".to_owned());
    let Err(found) = imported_with(&mut shelf, &[], None) else {
        panic!("it has no end")
    };
    assert!(rendered(&found).contains("too many includes"));
}

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
