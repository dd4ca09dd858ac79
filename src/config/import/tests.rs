//! Tests of the whole way from files of MMM to an inventory.

mod chaos;
mod refusals;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::ExposeSecret as _;

use super::page::quoted;
use super::words::{Fate, Kind};
use super::{Asked, File, Files, Imported, Refusal, file_name, import};
use crate::config::diagnostic::Diagnostic;
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
    let recovery = &entry.cluster.recovery;
    assert_eq!(recovery.auto_set_online, Some(Duration::from_secs(30)));
    assert_eq!(
        (recovery.flapping.count, recovery.flapping.within.as_secs()),
        (3, 3600)
    );
    let host = entry.host(&HostName::from("cluster03")).unwrap();
    assert_eq!(literal(&host.credentials.monitor.password), "\"monitor\" secret");
    assert_eq!(literal(&host.credentials.agent.password), "agent#secret");
    assert_eq!(literal(&host.credentials.replication.password), "repl secret");
}

#[test]
fn every_key_that_mmm_knew_is_carried_over_or_spoken_of() {
    let text = include_str!("../../../tests/golden/import/mmm_mon_everything.conf");
    let mut shelf = Shelf::new(&[("mmm_mon_test_mmm.conf", text)]);
    let imported =
        imported_with(&mut shelf, &[], None).unwrap_or_else(|found| panic!("{}", rendered(&found)));
    golden::check("tests/golden/import/everything.yaml", &imported.inventory);
    let (comments, values): (Vec<&str>, Vec<&str>) = imported
        .inventory
        .lines()
        .partition(|line| line.trim().starts_with('#'));
    for kind in std::iter::once(Kind::Top).chain(Kind::BLOCKS) {
        for (key, _, fate) in kind.keys() {
            let said = text.lines().filter_map(|line| line.trim().strip_prefix(key));
            let said: Vec<&str> = said.filter(|rest| rest.starts_with(' ')).map(str::trim).collect();
            assert!(!said.is_empty(), "the file does not say `{key}`");
            let spoken_of = comments.iter().any(|line| line.contains(&format!("`{key}")));
            let written = |value: &&str| [(*value).to_owned(), quoted(value)];
            let stands = |value: &&str| {
                written(value)
                    .iter()
                    .any(|text| values.iter().any(|line| line.contains(text)))
            };
            let carried = *fate == Fate::Carried && said.iter().any(stands);
            assert!(
                spoken_of || carried || ["flap_count", "flap_duration", "mode"].contains(key),
                "`{key}` is lost"
            );
        }
    }
    let inventory = read(&imported.inventory).unwrap();
    let cluster = &inventory.clusters[0];
    let of = |name: &str| cluster.host(&HostName::from(name)).unwrap();
    assert_eq!(
        literal(&of("db3").credentials.monitor.password),
        "one: {two} #three"
    );
    assert_eq!(
        literal(&of("db3").credentials.replication.password),
        "100% \"sure\" \\n"
    );
    assert_eq!(of("db3").credentials.replication.user, "no");
    assert_eq!((of("db1").mysql.port, of("db2").mysql.port), (3306, 3307));
    assert_eq!(literal(&of("db2").credentials.agent.password), "another");
    assert_eq!(cluster.cluster.checks.rep_backlog.trap_after.as_secs(), 20);
    assert_eq!(cluster.cluster.checks.rep_backlog.max_backlog.as_secs(), 120);
    assert_eq!(cluster.cluster.writer_role, "first");
    assert_eq!(cluster.cluster.hosts[2].peer, None);
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
