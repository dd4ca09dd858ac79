//! The shipped files load, and broken ones are refused with their place.

mod mutated;

use super::*;
use crate::config::diagnostic::render_all;
use crate::core::playbook::Release;

#[test]
fn shipped_playbooks_keep_the_rules() {
    if let Err(findings) = load(None) {
        panic!("{}", render_all(&findings));
    }
}

#[test]
fn what_mariadb_12_calls_its_degrees_of_read_only_is_asked_in_words() {
    let playbook = load(None).unwrap();
    let mariadb = &playbook.dialects["mariadb"];
    let sql = |word: &str, release| mariadb.wording(word, release).map(|wording| wording.sql.as_str());
    let (before, since) = (Release(11, 8, 9), Release(12, 0, 1));
    assert_eq!(sql("is_writable", before), Some("SELECT @@global.read_only = 0"));
    assert_eq!(
        sql("is_writable", since),
        Some("SELECT @@global.read_only = 'OFF'")
    );
    assert_eq!(
        sql("is_read_only", since),
        Some("SELECT @@global.read_only <> 'OFF'")
    );
}

#[test]
fn what_lets_a_server_write_again_undoes_nothing_but_what_refused_writes() {
    let own = "duty: my-deny-writes\nsays: s\nundo: allow-writes\nwithin: 1s\nsteps:\n  - name: n\n    sql: deny_writes\n";
    assert_eq!(
        findings("duties/my-deny-writes.yaml", own),
        ["3:7 duty `my-deny-writes` is undone by letting a server take writes again"]
    );
}

#[test]
fn every_shipped_file_is_built_in() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("playbooks");
    let mut there: Vec<String> = Vec::new();
    for folder in FOLDERS {
        for entry in fs::read_dir(root.join(folder)).unwrap() {
            there.push(format!(
                "{folder}/{}",
                entry.unwrap().file_name().to_str().unwrap()
            ));
        }
    }
    there.sort();
    let built_in: Vec<&str> = FILES.iter().map(|(path, _)| *path).collect();
    assert_eq!(there, built_in);
}

/// What is wrong with one file laid over the shipped ones: `line:column what`, in order.
fn findings(path: &str, text: &str) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join(path);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, text).unwrap();
    let Err(findings) = load(Some(directory.path())) else {
        return Vec::new();
    };
    findings
        .iter()
        .map(|finding| {
            assert!(finding.file.ends_with(path), "{}", finding.render());
            assert!(
                !finding.because.is_empty() && !finding.hint.is_empty(),
                "{}",
                finding.render()
            );
            let place = finding.place.as_ref().unwrap();
            format!("{}:{} {}", place.line, place.column, finding.what)
        })
        .collect()
}

/// A duty whose only step has these lines.
fn duty_with(lines: &str) -> String {
    format!("duty: d\nsays: s\nwithin: 1s\nsteps:\n  - name: n\n{lines}\n")
}

#[test]
fn structure_is_closed() {
    let cases = [
        ("duty: d\nsays: s\nsteps: []\nunknown: 1\n", "4:1", "unknown"),
        ("duty: d\nduty: e\nsays: s\nsteps: []\n", "2:1", "duty"),
        (
            "duty: d\nsays: s\nsteps:\n  - name: n\n    run: x\n    sudo: maybe\n",
            "6:11",
            "bool",
        ),
        (
            "duty: d\nsays: s\nsteps:\n  - { name: n, run: x, verify: y }\n",
            "4:24",
            "verify",
        ),
        ("duty: d\nsays: s\n", "2:1", "steps"),
        (
            "duty: d\nsays: s\nsteps:\n  - name: n\n    run: x\n    unless: { sqll: x }\n",
            "6:",
            "sqll",
        ),
    ];
    for (text, place, word) in cases {
        let found = findings("duties/d.yaml", text);
        assert!(
            found.len() == 1 && found[0].starts_with(place) && found[0].contains(word),
            "{text}\n{found:?}"
        );
    }
}

#[test]
fn broken_rules_of_a_duty_are_found_in_their_place() {
    let cases = [
        ("    run: a\n    sql: b", "5:11 step `n` has 2 actions"),
        ("    within: 1s", "5:11 step `n` has 0 actions"),
        (
            "    run: ip a | grep x\n    sudo: true",
            "6:15 `|` in a `sudo` command",
        ),
        (
            "    run: '! ip a'\n    sudo: true",
            "6:11 `!` in a `sudo` command",
        ),
        (
            "    run: ip a && ip b\n    sudo: true",
            "6:15 `&` in a `sudo` command",
        ),
        (
            "    run: X=1 ip a\n    sudo: true",
            "6:10 a `sudo` command must begin with the program's name",
        ),
        ("    run: sudo ip a\n    sudo: true", "6:10 `sudo` written out"),
        (
            "    sql: SELECT 1\n    sudo: true",
            "5:11 `sudo` does not fit step `n`",
        ),
        (
            "    run: ip a show {{ adress.ip }}",
            "6:23 `adress.ip` has no value here",
        ),
        (
            "    run: ip a show {{ address.ip }}",
            "6:23 `address.ip` has no value here",
        ),
        (
            "    run: echo '{{ host.name }}'",
            "6:16 a `{{ … }}` inside quotes",
        ),
        ("    run: echo {{ host.name", "6:10 the template cannot be read"),
        (
            "    run: echo {{ replication.password }}",
            "6:18 a secret would be seen",
        ),
        ("    sql: deny_wirtes", "6:10 unknown word `deny_wirtes`"),
        ("    sql: STOP SLAVE; START SLAVE", "6:20 `;` in a statement"),
        (
            "    sql: replica_status\n    expect: { io_tread: 'Yes' }",
            "6:10 `replica_status` has no column `io_tread`",
        ),
        (
            "    run: x\n    tolerate: [1]\n    within: 2 apples",
            "8:13 `2 apples` is no duration",
        ),
        (
            "    run: x\n    register: { a: header }",
            "5:11 `register` does not fit step `n`",
        ),
        (
            "    run: x\n    when: replication.gtids",
            "7:11 `replication.gtids` has no value here",
        ),
        ("    duty: ad-address", "6:11 unknown duty `ad-address`"),
        ("    duty: add-address", "6:11 duty `add-address` needs `address`"),
        ("    duty: d", "1:7 duty `d` contains itself"),
        ("    run: ''", "6:10 an empty command"),
    ];
    for (lines, expected) in cases {
        let found = findings("duties/d.yaml", &duty_with(lines));
        assert!(
            found.iter().any(|finding| finding.starts_with(expected)),
            "{lines}\nexpected {expected}\n{found:#?}"
        );
    }
}

#[test]
fn broken_rules_of_an_operation_are_found_in_their_place() {
    let head = "operation: o\nsays: s\n";
    let step = |duty: &str| format!("  - {{ name: n, at: incoming, duty: {duty}, within: 1s }}\n");
    let cases = [
        (
            format!("{head}prepare:\n  - {{ name: n, at: nowhere, duty: announce, within: 1s }}\n"),
            "4:20",
        ),
        (
            format!("{head}prepare:\n{}", step("anounce")),
            "4:36 unknown duty `anounce`",
        ),
        (
            format!("{head}prepare:\n{}", step("catch-up")),
            "4:36 duty `catch-up` needs `source`",
        ),
        (
            format!(
                "{head}commit:\n  - {{ name: n, at: incoming, duty: announce, within: 1s, undo: nothing }}\n"
            ),
            "4:",
        ),
        (format!("{head}prepare: []\n"), "1:12 an operation without steps"),
        (
            format!(
                "{head}commit:\n  - {{ name: 'to {{{{ nobody }}}}', at: incoming, duty: announce, within: 1s }}\n"
            ),
            "4:20 `nobody` has no value here",
        ),
    ];
    for (text, expected) in cases {
        let found = findings("operations/o.yaml", &text);
        assert!(
            found.iter().any(|finding| finding.starts_with(expected)),
            "{text}\nexpected {expected}\n{found:#?}"
        );
    }
}

#[test]
fn prepare_wants_an_undo() {
    let text =
        "duty: announce\nsays: s\nneeds: [address]\nwithin: 1s\nsteps:\n  - { name: n, run: 'true' }\n";
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir_all(directory.path().join("duties")).unwrap();
    fs::create_dir_all(directory.path().join("operations")).unwrap();
    fs::write(directory.path().join("duties/announce.yaml"), text).unwrap();
    let load_with = |section: &str| {
        let step = "  - { name: n, at: incoming, duty: announce, within: 1s }";
        let text = format!("operation: o\nsays: s\n{section}:\n{step}\n");
        fs::write(directory.path().join("operations/o.yaml"), text).unwrap();
        load(Some(directory.path()))
    };
    assert!(load_with("commit").is_ok());
    let findings = load_with("prepare").unwrap_err();
    assert!(
        findings[0].what.contains("does not say how it is undone"),
        "{}",
        render_all(&findings)
    );
}

#[test]
fn a_duty_that_only_asks_has_nothing_to_undo() {
    let with = |keys: &str| {
        let text = format!("duty: d\nsays: s\n{keys}within: 1s\nsteps:\n  - {{ name: n, run: 'true' }}\n");
        findings("duties/d.yaml", &text)
    };
    assert_eq!(with("changes: nothing\n"), Vec::<String>::new());
    for (keys, expected) in [
        (
            "changes: nothing\nundo: nothing\n",
            "4:7 a duty that changes nothing has an `undo`",
        ),
        (
            "changes: addresses\n",
            "3:10 `changes: addresses` is not understood",
        ),
    ] {
        let found = with(keys);
        assert!(
            found.iter().any(|finding| finding.starts_with(expected)),
            "{found:#?}"
        );
    }
}

#[test]
fn several_findings_come_at_once() {
    let text =
        duty_with("    run: ip a | x {{ nope }}\n    sudo: true\n    within: 5\n  - name: m\n    sql: nope");
    assert_eq!(findings("duties/d.yaml", &text).len(), 4);
}

#[test]
fn a_directory_replaces_file_by_file() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir_all(directory.path().join("duties")).unwrap();
    let text =
        "duty: announce\nsays: mine\nundo: nothing\nwithin: 1s\nsteps:\n  - { name: n, run: 'true' }\n";
    fs::write(directory.path().join("duties/announce.yaml"), text).unwrap();
    let playbook = load(Some(directory.path())).unwrap();
    assert_eq!(playbook.duties["announce"].says, "mine");
    assert_eq!(playbook.duties.len(), load(None).unwrap().duties.len());
    assert!(load(Some(Path::new("/nonexistent"))).is_err());
}

#[test]
fn every_dialect_knows_every_word() {
    assert_eq!(missing_words(&load(None).unwrap()), []);
}

#[test]
fn a_word_is_said_as_the_release_understands_it() {
    use crate::core::playbook::Release;
    let playbook = load(None).unwrap();
    let said = |release, word: &str| {
        playbook.dialects["mysql"]
            .wording(word, release)
            .map(|wording| wording.sql.as_str())
    };
    assert_eq!(
        said(Release(5, 6, 24), "deny_writes"),
        Some("SET GLOBAL read_only = 1")
    );
    assert_eq!(
        said(Release(5, 7, 8), "deny_writes"),
        Some("SET GLOBAL super_read_only = 1")
    );
    assert_eq!(said(Release(5, 7, 5), "stop_replica"), Some("STOP SLAVE"));
    let old = said(Release(8, 0, 21), "stop_replica");
    assert_eq!(old, Some("STOP SLAVE FOR CHANNEL {{ replication.channel }}"));
    let new = said(Release(26, 10, 0), "stop_replica");
    assert_eq!(new, Some("STOP REPLICA FOR CHANNEL {{ replication.channel }}"));
    assert_eq!(
        said(Release(8, 4, 0), "binlog_position"),
        Some("SHOW BINARY LOG STATUS")
    );
    assert_eq!(said(Release(5, 5, 0), "stop_replica"), None);
    assert_eq!(said(Release(9, 0, 0), "nonsense"), None);
}

/// Without a name a statement would be about another channel than the managed one, or about all of them.
#[test]
fn every_statement_about_replication_names_the_channel() {
    use crate::core::playbook::Release;
    let playbook = load(None).unwrap();
    let mut seen = 0;
    for (dialect, since) in [("mariadb", Release(10, 2, 0)), ("mysql", Release(5, 7, 6))] {
        for (word, wordings) in &playbook.dialects[dialect].words {
            for wording in wordings.iter().filter(|wording| wording.since >= since) {
                let is_about_one = ["SLAVE", "REPLICA", "CHANGE ", "_POS_WAIT("]
                    .iter()
                    .any(|statement| {
                        let sql = &wording.sql;
                        sql.contains(statement) && !sql.contains("information_schema") && word != "has_gtid"
                    });
                seen += usize::from(is_about_one);
                let names_it = wording.sql.contains("{{ replication.channel }}");
                assert_eq!(is_about_one, names_it, "{dialect}: {word}: {}", wording.sql);
            }
        }
    }
    assert!(seen >= 25, "{seen}");
}

/// Every shipped duty can be rendered for every dialect, and what is shown never holds the password.
#[test]
fn every_duty_renders_for_every_dialect() {
    use std::time::Duration;

    use crate::core::playbook::Release;
    let playbook = load(None).unwrap();
    let registered = [
        "file",
        "position",
        "gtid",
        "own_gtid",
        "start_file",
        "start_position",
        "event_scheduler",
        "old_source",
        "old_server_id",
        "applied_file",
        "applied_position",
    ];
    for (ip, port) in [("10.0.0.9", 3306), ("fd00::9", 3307)] {
        let scene = Scene {
            cluster: "c".to_owned(),
            role: "writer".to_owned(),
            host: HostScene {
                name: "db1".to_owned(),
                address: "10.0.0.1".parse().unwrap(),
                interface: "eth0".to_owned(),
                port,
            },
            address: Some(AddressScene::floating(ip.parse().unwrap())),
            source: Some(SourceScene {
                name: "db2".to_owned(),
                address: ip.parse().unwrap(),
                port,
            }),
            replication: ReplicationScene {
                user: "r".to_owned(),
                password: "s3cr3t".to_owned().into(),
                gtid: true,
                channel: String::new(),
            },
            unit: Some("mariadb.service".to_owned()),
            lock: LockScene::default(),
            max_write_s: 2,
            spared_users: vec!["a".to_owned()],
            old: Some(OldShell {
                session: 4,
                tag: "t".to_owned(),
                connection: 5,
                marked: 1,
                started: 1,
                boot: String::new(),
            }),
            registered: registered
                .iter()
                .map(|name| ((*name).to_owned(), "7".to_owned()))
                .collect(),
            vars: BTreeMap::new(),
            with: [
                "controller",
                "user",
                "password_file",
                "programs",
                "commands",
                "servers",
                "start",
                "file",
                "gtids",
            ]
            .iter()
            .map(|name| ((*name).to_owned(), "x".to_owned()))
            .collect(),
        };
        for (dialect, release) in [
            ("mariadb", Release(10, 3, 1)),
            ("mariadb", Release(11, 8, 1)),
            ("mysql", Release(5, 6, 1)),
            ("mysql", Release(9, 7, 0)),
        ] {
            let speaks = Speaks {
                dialect: dialect.to_owned(),
                release,
            };
            assert_eq!(session(&playbook, &speaks).unwrap().len(), 1);
            for duty in playbook.duties.keys() {
                let script =
                    render(&playbook, duty, &speaks, &scene.context(), Duration::from_secs(2)).unwrap();
                assert!(!format!("{script:?}").contains("s3cr3t"), "{duty}");
                assert!(
                    script
                        .steps
                        .iter()
                        .all(|step| step.within <= Duration::from_secs(2)),
                    "{duty}"
                );
            }
        }
    }
}
