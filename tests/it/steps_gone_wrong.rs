//! Each step of a switchover goes wrong in each way: it fails, takes too long, or loses its connection so that nobody knows
//! whether it happened. How each run went is a golden file; how it ended is what its section says.

use std::fmt::Write as _;

use lab::writer::Writers;
use lab::{Flavour, Lab};
use mmm::core::playbook::Section;

use super::cluster::{SOON, mmm};
use super::halts::{Fault, Step, cluster_of_halts, inject, mend, step, steps};
use super::order;
use super::watch::long;

const GOLDEN: &str = "tests/golden/steps_gone_wrong.txt";

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

/// One step goes wrong once; then the cluster is brought back to where it was.
fn goes_wrong(lab: &Lab, step: &Step, fault: Fault) -> String {
    inject(lab, step, fault);
    let output = lab.box_().mmm(["switchover", "--to", "db2"]).unwrap();
    let name = format!("{}, \"{}\" at {}, {fault}", step.duty, step.name, step.seat);
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
    mend(lab, step);
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

#[test]
fn a_step_that_goes_wrong_ends_as_its_section_says() {
    let lab = cluster_of_halts(Flavour::default());
    let load = lab.start_load(Writers::default()).unwrap();
    let known = std::fs::read_to_string(GOLDEN).unwrap_or_default();
    let cells: Vec<(Step, Fault)> = if long() {
        let every = steps().into_iter();
        every
            .flat_map(|step| Fault::ALL.map(|fault| (step.clone(), fault)))
            .collect()
    } else {
        vec![
            (step("deny-writes"), Fault::LosesItsConnection),
            (step("catch-up"), Fault::Fails),
            (step("allow-writes"), Fault::TakesTooLong),
            (step("remove-address"), Fault::Fails),
        ]
    };
    let told: Vec<String> = cells
        .iter()
        .map(|(step, fault)| goes_wrong(&lab, step, *fault))
        .collect();
    let evidence = load.stop(&[], lab::judge::Expect::default()).unwrap();
    let windows = lab::judge::windows::compare(&evidence.samples);
    assert!(windows.touching.is_empty(), "{windows:?}");
    if long() && std::env::var_os("MMM_BLESS").is_some() {
        std::fs::write(GOLDEN, told.join("\n")).unwrap();
        return;
    }
    let other: Vec<&String> = told
        .iter()
        .filter(|text| !known.contains(text.as_str()))
        .collect();
    assert!(other.is_empty(), "not as in {GOLDEN}: {other:#?}");
}
