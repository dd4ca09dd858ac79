//! Each step of a switchover and of a failover goes wrong in each way: it fails, takes too long, or loses its connection so
//! that nobody knows whether it happened. How each run went is a golden file; how it ended is what its section says.

use std::fmt::Write as _;
use std::time::Duration;

use lab::load::Load;
use lab::steps::Mishap;
use lab::writer::Writers;
use lab::{Flavour, Lab, Restart};
use mmm::core::playbook::Section;

use super::cluster::{SOON, mmm};
use super::failover::slow;
use super::halts::{Step, cluster_of_halts, inject, step, step_of, steps, steps_of};
use super::order;
use super::watch::{WRITER, long};

const SWITCHOVER: &str = "tests/golden/steps_gone_wrong.txt";
const FAILOVER: &str = "tests/golden/failover_steps_gone_wrong.txt";

/// The steps that were told, without their times and reasons, then how the run ended and who takes writes.
fn transcript(lab: &Lab, output: &lab::Output) -> String {
    let mut text = String::new();
    let told = format!("{}{}", output.stderr, output.stdout);
    for line in told.lines() {
        let Some((verb, rest)) = line.split_once('[') else {
            continue;
        };
        let Some((_, what)) = rest.split_once("] ") else {
            continue;
        };
        let what = if what.starts_with(|first: char| first.is_ascii_digit()) {
            what.split(": ").next().unwrap_or_default()
        } else {
            ""
        };
        let _ = writeln!(text, "    {:>10} {what}", verb.trim());
    }
    let _ = writeln!(
        text,
        "    exit code {}, then {:?} takes writes",
        output.code,
        lab.writable_hosts()
    );
    text
}

fn called(step: &Step, mishap: Mishap) -> String {
    format!("{}, \"{}\" at {}, {mishap}", step.duty, step.name, step.seat)
}

/// One step of a switchover goes wrong once; then the cluster is brought back to where it was.
fn goes_wrong(lab: &Lab, step: &Step, mishap: Mishap) -> String {
    inject(lab, step, mishap);
    let output = lab.box_().mmm(["switchover", "--to", "db2"]).unwrap();
    let name = called(step, mishap);
    let said = format!("{name}: {output:?}");
    let writable = lab.writable_hosts();
    assert!(writable.len() <= 1, "{said}");
    let expected: &[i32] = match step.section {
        Section::Prepare => &[4, 5],
        Section::Commit => &[5],
        Section::Secure => &[0, 6],
        Section::Finish => &[0],
    };
    assert!(expected.contains(&output.code), "{said}");
    let is_old = matches!(step.section, Section::Prepare | Section::Commit);
    assert_eq!(writable, [if is_old { "db1" } else { "db2" }], "{said}");
    let text = format!("{name}\n{}", transcript(lab, &output));
    eprintln!("{text}");
    lab.heal().unwrap();
    if output.code == 6 {
        mmm(lab, &["resume"], 0);
    }
    if !is_old {
        // A step of `finish` that did not come true is left to a monitor, or to the next that points everybody.
        mmm(lab, &["switchover", "--to", "db1"], 0);
    }
    order::is_the_writer(lab, "db1");
    // What only asks is not settled: whatever it left changes nothing and ends by itself.
    if output.code != 4 {
        order::leaves_no_shell(lab, SOON);
    }
    text
}

/// The writer dies and one step of its failover goes wrong once; then the cluster is brought back to where it was.
fn failover_goes_wrong(lab: &Lab, load: &Load<'_>, step: &Step, mishap: Mishap) -> String {
    // A row that no replica has would keep the old writer out.
    load.until_acknowledged("db1", 1, SOON).unwrap();
    lab.wait_for_equal_tables("app.writes", &["db1", "db2", "db3"], SOON)
        .unwrap();
    lab.db1().kill_mysqld().unwrap();
    inject(lab, step, mishap);
    let output = lab.box_().mmm(["failover", "--to", "db2"]).unwrap();
    let text = format!("{}\n{}", called(step, mishap), transcript(lab, &output));
    eprintln!("{text}");
    let said = format!("{text}{output:?}");
    let expected: &[i32] = match step.section {
        Section::Prepare if step.if_possible => &[0],
        Section::Prepare | Section::Commit => &[5],
        Section::Secure => &[0, 6],
        Section::Finish => &[0],
    };
    assert!(expected.contains(&output.code), "{said}");
    let writable: &[&str] = if output.code == 5 { &[] } else { &["db2"] };
    assert_eq!(lab.writable_hosts(), writable, "{said}");
    // Nothing that was taken from the dead writer is given back, but for its server's leave to start.
    let leave = "db1 Keep its server stopped";
    let given_back = |line: &str| line.contains("UNDO") && line.contains(" db1 ") && !line.contains(leave);
    assert!(!text.lines().any(given_back), "{said}");
    let unit = lab.db1().sh("systemctl is-enabled mariadb").unwrap().stdout;
    assert_eq!(unit.starts_with("masked"), output.code != 5, "{unit}{said}");
    if text.contains("db1 Take the address away\n") && text.contains(" DONE 3/") {
        let holders = lab.who_has(WRITER).unwrap();
        assert!(!holders.contains(&"db1"), "{holders:?}\n{said}");
    }
    lab.mend_steps().unwrap();
    match output.code {
        5 => {
            // Nobody takes writes, and whoever looks is told so.
            let shown = lab.box_().mmm(["show"]).unwrap().stdout;
            let said = [
                "R06 the writer has failed its check",
                // No run has put one on record yet.
                "R09 no host is known to be the writer",
            ];
            assert!(said.iter().any(|said| shown.contains(said)), "{shown}");
            mmm(lab, &["failover", "--to", "db2"], 0);
        }
        6 => drop(mmm(lab, &["resume"], 0)),
        _ => {}
    }
    load.until_acknowledged("db2", 1, SOON).unwrap();
    order::leaves_no_shell(lab, SOON);
    mmm(lab, &["rejoin", "db1"], 0);
    mmm(lab, &["switchover", "--to", "db1"], 0);
    order::is_the_writer(lab, "db1");
    text
}

/// Each of these steps in each way, or without `MMM_LONG` these few.
fn cells(every: Vec<Step>, few: Vec<(Step, Mishap)>) -> Vec<(Step, Mishap)> {
    if !long() {
        return few;
    }
    let every = every.into_iter();
    every
        .flat_map(|step| Mishap::ALL.map(|mishap| (step.clone(), mishap)))
        .collect()
}

/// Never two writers, and everything told as the golden file has it.
#[track_caller]
fn was_told_before(golden: &str, told: &[String], load: Load<'_>) {
    let evidence = load.stop(&[], lab::judge::Expect::default()).unwrap();
    let windows = lab::judge::windows::compare(&evidence.samples);
    assert!(windows.touching.is_empty(), "{windows:?}");
    if long() && std::env::var_os("MMM_BLESS").is_some() {
        std::fs::write(golden, told.join("\n")).unwrap();
        return;
    }
    let known = std::fs::read_to_string(golden).unwrap();
    let other: Vec<&String> = told
        .iter()
        .filter(|text| !known.contains(text.as_str()))
        .collect();
    assert!(other.is_empty(), "not as in {golden}: {other:#?}");
}

#[test]
fn a_step_that_goes_wrong_ends_as_its_section_says() {
    let lab = cluster_of_halts(Flavour::default());
    let load = lab.start_load(Writers::default()).unwrap();
    let unknown = lab.fault("step-cut", "db1", Some("switchover/deny"));
    let refused = unknown.unwrap_err().to_string();
    assert!(refused.contains("deny-writes          outgoing"), "{refused}");
    let few = vec![
        (step("deny-writes"), Mishap::LosesItsConnection),
        (step("catch-up"), Mishap::Fails),
        (step("allow-writes"), Mishap::TakesTooLong),
        (step("remove-address"), Mishap::Fails),
    ];
    let told: Vec<String> = cells(steps(), few)
        .iter()
        .map(|(step, mishap)| goes_wrong(&lab, step, *mishap))
        .collect();
    was_told_before(SWITCHOVER, &told, load);
}

#[test]
fn a_step_of_a_failover_that_goes_wrong_ends_as_its_section_says() {
    let lab = cluster_of_halts(Flavour::default());
    lab.db1().set_restart(Restart::Never).unwrap();
    let writers = Writers {
        every: Duration::from_secs(1),
        ..slow()
    };
    let load = lab.start_load(writers).unwrap();
    let step = |duty| step_of("failover", duty);
    let few = vec![
        (step("keep-stopped"), Mishap::LosesItsConnection),
        (step("allow-writes"), Mishap::Fails),
        (step("add-address"), Mishap::Fails),
    ];
    let told: Vec<String> = cells(steps_of("failover"), few)
        .iter()
        .map(|(step, mishap)| failover_goes_wrong(&lab, &load, step, *mishap))
        .collect();
    was_told_before(FAILOVER, &told, load);
}
