//! Tests of the whole way from text to inventory.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::{Fence, Inventory, Service, Surroundings, parse, parse_noting_keys};
use crate::config::diagnostic::{Diagnostic, Severity, render_all};
use crate::core::cluster::{HostMode, HostName, OnProof, Unfenced};
use crate::core::notice::Topic;
use crate::core::site::{Occasion, SiteAct};

const EXAMPLE: &str = include_str!("../../../inventory.example.yaml");

fn surroundings() -> Surroundings {
    Surroundings {
        mode: Some(0o600),
        home: Some(PathBuf::from("/root")),
    }
}

fn read(text: &str) -> Result<Inventory, Vec<Diagnostic>> {
    parse(text, Path::new("inventory.yaml"), &surroundings())
}

#[test]
fn the_example_is_valid_and_means_what_it_says() {
    let inventory = read(EXAMPLE).unwrap_or_else(|found| panic!("{}", render_all(&found)));
    assert_eq!(render_all(&inventory.warnings), "");
    let cluster = inventory.cluster("test_mmm").unwrap();
    let of = |name: &str| cluster.host(&HostName::from(name)).unwrap();
    let (db1, db3) = (of("db1"), of("db3"));

    assert_eq!(db1.interface, "eth1", "the cluster wins over the top level");
    assert_eq!(
        (db1.ssh.address.as_str(), db3.ssh.address.as_str()),
        ("db1.example.com", "10.0.0.13")
    );
    assert_eq!(db1.ssh.known_hosts, [PathBuf::from("/root/.ssh/known_hosts")]);
    assert_eq!(db1.credentials.monitor.user, "test_monitor");
    assert_eq!(
        format!("{:?}", db1.credentials.monitor.password),
        r#"File("/etc/mmm/monitor.password")"#
    );
    let fence = db1.fence.as_ref().unwrap();
    assert_eq!(fence.duty, "fence-switch-port");
    assert_eq!(fence.with.get("port").unwrap(), "7");
    assert_eq!(fence.with.get("switch").unwrap(), "sw1.example.com");
    assert_eq!(db3.fence, None);
    let rebuild = db3.rebuild.as_ref().unwrap();
    assert_eq!(
        (rebuild.duty.as_str(), rebuild.with["parallel"].as_str()),
        ("copy-from-writer", "4")
    );
    assert!(matches!(&db3.service, Service::Duties { keep_stopped, .. } if keep_stopped == "stop-by-script"));
    assert_eq!(db1.vars.len(), 2);
    assert_eq!(cluster.cluster.checks.rep_backlog.max_backlog.as_secs(), 150);
    assert_eq!(cluster.cluster.checks.ping.every.as_secs(), 1);
    assert_eq!(inventory.text_hash.len(), 40);
}

fn valid_text() -> String {
    let golden = include_str!("../../../tests/golden/inventory/valid.txt");
    golden.split("----\n").next().unwrap().to_owned()
}

#[test]
fn the_nearer_level_wins_key_by_key() {
    let text = valid_text()
        .replace("defaults:\n", "defaults:\n  checks: { default: { every: 3s, timeout: 1s }, ping: { every: 2s } }\n  fence: { duty: far, with: { a: 1, b: 2 } }\n  failover: { automatic: false, unfenced: never, on_proof: trap }\n  recovery: { auto_set_online: 30s, excuse_peer_for: 0s, flapping: { count: 0 } }\n")
        .replace("peer: db2 }", "peer: db2, fence: { with: { b: 3 } } }")
        .replace("peer: db1 }", "peer: db1, fence: { duty: near }, service: none }")
        .replace("mode: slave }", "mode: replica, fence: none }")
        + "    checks: { default: { every: 4s } }\n    failover: { automatic: true }\n    recovery: { auto_set_online: 0s, flapping: { within: 5m } }\n";
    let inventory = read(&text).unwrap_or_else(|found| panic!("{}", render_all(&found)));
    let cluster = inventory.cluster("shop").unwrap();
    let checks = &cluster.cluster.checks;
    // A cluster's `default` is nearer than the top level's `ping`.
    assert_eq!(
        (checks.ping.every.as_secs(), checks.ping.timeout.as_secs()),
        (4, 1)
    );
    assert_eq!(checks.mysql.trap_after.as_secs(), 10);
    let failover = &cluster.cluster.failover;
    assert_eq!((failover.automatic, failover.unfenced), (true, Unfenced::Never));
    assert_eq!(failover.on_proof, OnProof::Trap);

    let recovery = &cluster.cluster.recovery;
    assert_eq!(recovery.auto_set_online, None, "zero switches it off again");
    assert_eq!(
        (
            recovery.short_downtime.as_secs(),
            recovery.excuse_peer_for.as_secs()
        ),
        (60, 0)
    );
    let flapping = recovery.flapping;
    assert_eq!((flapping.count, flapping.within.as_secs()), (0, 300));

    let fence = |name: &str| cluster.host(&HostName::from(name)).unwrap().fence.clone();
    let values = |pairs: &[(&str, &str)]| {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    };
    assert_eq!(
        fence("db1"),
        Some(Fence {
            duty: "far".into(),
            with: values(&[("a", "1"), ("b", "3")])
        })
    );
    assert_eq!(
        fence("db2"),
        Some(Fence {
            duty: "near".into(),
            with: values(&[])
        }),
        "a duty starts anew"
    );
    assert_eq!(fence("db3"), None);
    assert_eq!(
        cluster.host(&HostName::from("db2")).unwrap().service,
        Service::None
    );
    assert_eq!(
        cluster.cluster.host(&HostName::from("db3")).unwrap().mode,
        HostMode::Slave
    );
}

/// The same settings may stand on several levels; the example has to show each of them once.
#[test]
fn the_example_shows_every_key() {
    // Reading the example asks for the keys of each section in it, so a section left out would go unnoticed.
    let (_, known) = parse_noting_keys(EXAMPLE, Path::new("inventory.yaml"), &surroundings());
    let levels = [
        "clusters.*.hosts.*.",
        "clusters.*.defaults.",
        "clusters.*.",
        "defaults.",
    ];
    let bare = |path: &str| {
        let level = levels.iter().find(|level| path.starts_with(**level));
        path.strip_prefix(level.copied().unwrap_or_default())
            .unwrap()
            .to_owned()
    };
    for section in [
        "ssh",
        "mysql",
        "credentials.agent.password",
        "service",
        "fence",
        "rebuild",
        "checks.ping",
        "failover",
        "recovery",
        "recovery.flapping",
    ] {
        assert!(
            known
                .iter()
                .any(|path| bare(path).starts_with(&format!("{section}."))),
            "{section} is not shown"
        );
    }

    let words: BTreeSet<&str> = EXAMPLE
        .lines()
        .map(|line| line.split(" #").next().unwrap_or_default())
        .filter(|line| !line.trim_start().starts_with('#'))
        .flat_map(|line| {
            line.split([' ', '{', ','])
                .filter_map(|word| word.strip_suffix(':'))
        })
        .collect();
    let unshown: BTreeSet<String> = known
        .iter()
        .map(|path| bare(path))
        .filter(|path| path != "*" && !path.ends_with(".*"))
        .filter(|path| !words.contains(path.rsplit('.').next().unwrap_or(path)))
        .collect();
    assert_eq!(unshown, BTreeSet::new(), "keys that the example does not show");
}

/// Each file of `tests/golden/inventory` holds an inventory, `----`, and what is said about it. A first line
/// `# mode 0644` sets the file's permission bits. `UPDATE_GOLDEN=1` writes what is said now.
#[test]
fn golden_files() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/inventory");
    let mut wrong = Vec::new();
    let mut seen = 0;
    for entry in std::fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        let content = std::fs::read_to_string(&path).unwrap();
        let (text, expected) = content.split_at(
            content
                .find("----\n")
                .unwrap_or_else(|| panic!("{path:?} lacks `----`")),
        );
        let said = said_about(text);
        assert!(
            !said.contains("hunter2"),
            "{} shows a password:\n{said}",
            path.display()
        );
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, format!("{text}----\n{said}")).unwrap();
        } else if expected != format!("----\n{said}") {
            wrong.push(format!("{}\n{said}", path.display()));
        }
        seen += 1;
    }
    assert!(seen >= 50, "the golden files are not where they should be");
    assert!(wrong.is_empty(), "said now:\n{}", wrong.join("\n"));
}

fn said_about(text: &str) -> String {
    let mode = text.lines().next().and_then(|line| line.strip_prefix("# mode "));
    let mode = mode.map_or(0o600, |mode| u32::from_str_radix(mode, 8).unwrap());
    let surroundings = Surroundings {
        mode: Some(mode),
        ..surroundings()
    };
    match parse(text, Path::new("inventory.yaml"), &surroundings) {
        Ok(inventory) if inventory.warnings.is_empty() => "valid\n".to_owned(),
        Ok(inventory) => format!("valid\n\n{}", render_all(&inventory.warnings)),
        Err(findings) => render_all(&findings),
    }
}

/// A change of the example: drop, double or replace a piece of it.
fn mutate(text: &str, at: usize, length: usize, with: &str) -> String {
    let characters: Vec<char> = text.chars().collect();
    let at = at % characters.len();
    let end = (at + length).min(characters.len());
    characters[..at]
        .iter()
        .copied()
        .chain(with.chars())
        .chain(characters[end..].iter().copied())
        .collect()
}

/// What must hold whatever the text: no panic, an error if refused, and a place inside the text for all of them.
fn judge(text: &str) -> Result<(), TestCaseError> {
    let findings = match read(text) {
        Ok(inventory) => inventory.warnings,
        Err(findings) => {
            prop_assert!(findings.iter().any(|finding| finding.severity == Severity::Error));
            findings
        }
    };
    let lines = text.split('\n').count();
    for finding in &findings {
        prop_assert!(!finding.what.is_empty() && !finding.because.is_empty() && !finding.hint.is_empty());
        let place = finding.place.as_ref();
        prop_assert!(
            place.is_some_and(|at| (1..=lines).contains(&at.line) && at.column >= 1 && at.width >= 1)
        );
        let shown = finding.render();
        prop_assert!(shown.contains('^') && shown.contains("hint: "));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn a_mutated_example_never_panics(
        changes in proptest::collection::vec(
            (any::<usize>(), 0usize..40, prop_oneof![
                "[-a-z0-9:{},&*!|>'\"# \n\t\\[\\]]{0,8}",
                "\\PC{0,4}",
                Just("\r\n".to_owned()), Just("\u{feff}".to_owned()), Just("<<: *a".to_owned()),
                Just("---\n".to_owned()), Just("null".to_owned()), Just("99999999999999999999".to_owned()),
            ]),
            1..6,
        ),
    ) {
        let text = changes.iter().fold(EXAMPLE.to_owned(), |text, (at, length, with)| {
            if text.is_empty() { text } else { mutate(&text, *at, *length, with) }
        });
        judge(&text)?;
    }

    /// Whole lines gone or doubled keep the text YAML more often, so that the later stages are reached.
    #[test]
    fn an_example_with_lines_gone_or_doubled_never_panics(
        changes in proptest::collection::vec((any::<usize>(), any::<bool>()), 1..8),
    ) {
        let mut lines: Vec<&str> = EXAMPLE.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
        for (at, double) in changes {
            let at = at % lines.len();
            let twice = if double { vec![lines[at]; 2] } else { Vec::new() };
            lines.splice(at..=at, twice);
        }
        judge(&lines.join("\n"))?;
    }
}

#[test]
fn aliases_that_multiply_or_contain_themselves_are_stopped() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let before = format!("*a{}", level - 1);
        bomb.push_str(&format!(
            "a{level}: &a{level} [{}]\n",
            [before.as_str(); 10].join(", ")
        ));
    }
    for text in [
        bomb,
        "clusters: &c { x: *c }\n".to_owned(),
        format!("a: {}{}\n", "[".repeat(200), "]".repeat(200)),
    ] {
        let findings = read(&text).unwrap_err();
        let said = render_all(&findings);
        assert!(
            said.contains("too large or too deeply nested") || said.contains("not complete yet"),
            "{said}"
        );
    }
}

#[test]
fn no_password_is_shown_in_any_finding() {
    let accounts = "    agent: { user: mmm_agent, password: { env: MMM_AGENT_PASSWORD } }\n";
    let valid = valid_text().replace("AGENT_PASSWORD", "MMM_AGENT_PASSWORD");
    assert!(valid.contains(accounts), "the test's anchor moved");
    for password in [
        "password: hunter2, pasword: hunter2, zebra: 1",
        "password: { hunter2 }",
        "password: { environment: hunter2, [a]: b }",
        "password: [hunter2], x: 1",
        "password: { env: A }, password: hunter2",
        "password: { env: A }, <<: { password: hunter2 }",
        "password: { env: A }, ? [hunter2] : hunter2",
        "password: { env: hunter2 zebra }",
        "password: { hunter2, hunter2 }",
        "password: &p { hunter2: *p }",
        "password: \"hunter2\\x00\", x: 1",
        "password: !!str hunter2, x: 1",
        "password: &p hunter2, x: *p, y: *q",
        "password: \"hunter2, x: 1",
        "PASSWORD = hunter2, x: {",
    ] {
        let text = valid.replace(
            accounts,
            &format!("    agent: {{ user: mmm_agent, {password} }}\n"),
        );
        let said = said_about(&text);
        assert!(
            said.contains("error") && !said.contains("hunter2"),
            "{password}\n{said}"
        );
    }
    for block in [
        "password: |\n        hunter2\n      x: 1",
        "password:\n        hunter2\n\t  hunter2",
        "password:\n       - hunter2\n      - hunter2",
    ] {
        let text = valid.replace(accounts, &format!("    agent:\n      user: x\n      {block}\n"));
        let said = said_about(&text);
        assert!(
            said.contains("error") && !said.contains("hunter2"),
            "{block}\n{said}"
        );
    }
}

#[test]
fn the_inventory_of_the_lab_is_valid() {
    let inventory = read(&lab::inventory::yaml()).unwrap_or_else(|found| panic!("{}", render_all(&found)));
    assert_eq!(render_all(&inventory.warnings), "");
    assert_eq!(inventory.clusters.len(), 1);
}

#[test]
fn a_file_saved_on_windows_is_read_and_its_carets_stand_right() {
    let text = format!("\u{feff}{}", valid_text().replace('\n', "\r\n"));
    assert_eq!(said_about(&text), "valid\n");
    let said = said_about(&text.replace("mode: slave", "mode: slaves"));
    assert!(
        said.contains(":14:40\n") && said.ends_with("hint: did you mean `slave`?\n"),
        "{said}"
    );
    assert!(!said.contains('\r'), "{said:?}");
}

#[test]
fn a_command_of_the_site_is_given_no_values_by_with() {
    let near = "    site_steps:
      switchover:
        after: [{ name: Near, run: 'near', with: { a: b } }]
";
    let found = read(&format!("{}{near}", valid_text())).unwrap_err();
    let told = render_all(&found);
    assert!(
        found.len() == 1 && told.contains("`with` is for duties"),
        "{told}"
    );
}

#[test]
fn steps_of_the_site_are_replaced_and_commands_that_tell_people_are_added() {
    let far = "defaults:
  site_steps:
    switchover:
      before: [{ name: Far, run: 'far' }]
      after: [{ name: Far, run: 'far' }]
    failover: { after: [{ name: Far, run: 'far' }] }
  notify:
    mail: { run: 'far' }
    hook: { run: 'far' }
    chat: { run: 'far' }
";
    let near = "    site_steps:
      switchover:
        before: []
        after: [{ name: Near, run: \"near\\nand more\", within: 2s }]
    notify:
      hook: { events: [state], run: 'near' }
      chat: { events: [] }
";
    let text = format!("{}{near}", valid_text().replacen("defaults:\n", far, 1));
    let inventory = read(&text).unwrap_or_else(|found| panic!("{}", render_all(&found)));
    let cluster = &inventory.clusters[0];
    let names = |operation: &str, occasion| -> Vec<&str> {
        let steps = cluster.site.of(operation, occasion).iter();
        steps.map(|step| step.name.as_str()).collect()
    };
    assert_eq!(names("switchover", Occasion::Before), [""; 0]);
    assert_eq!(names("switchover", Occasion::After), ["Near"]);
    assert_eq!(names("failover", Occasion::After), ["Far"]);
    let near = &cluster.site.of("switchover", Occasion::After)[0];
    assert_eq!(near.act, SiteAct::Run("near\nand more".into()));
    assert_eq!(near.within.as_secs(), 2);
    let told: Vec<(&str, &str)> = cluster
        .notices
        .iter()
        .map(|notice| (notice.name.as_str(), notice.run.as_str()))
        .collect();
    assert_eq!(told, [("mail", "far"), ("hook", "near")]);
    assert_eq!(cluster.notices[0].topics, Topic::USUAL.into());
    let secret = &cluster.secret_variables;
    assert_eq!(*secret, ["AGENT_PASSWORD", "MONITOR_PASSWORD", "REPL_PASSWORD"]);
}
