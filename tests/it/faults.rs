//! Rows of the table of faults that no other story tells; `cargo lab faults` plays them all.

use std::path::Path;

use lab::faults::{Policy, SCENES, play};

/// Plays one row and demands that it is as expected.
#[track_caller]
fn row(name: &str, policy: Policy) {
    let scenario = SCENES.iter().find(|scenario| scenario.name == name);
    let scenario = scenario.unwrap_or_else(|| panic!("no scenario is called `{name}`"));
    let mut chatter = String::new();
    let mmm = Path::new(env!("CARGO_BIN_EXE_mmm"));
    let row = play(scenario, policy, mmm, &mut chatter).unwrap();
    eprintln!("{}", lab::faults::markdown(std::slice::from_ref(&row)));
    assert!(row.is_right(), "{row:#?}\n{chatter}");
}

#[test]
fn a_writer_whose_link_is_down_is_fenced_before_another_is_opened() {
    row("link-down", Policy::Fence);
}

#[test]
fn a_mute_writer_stays_when_the_policy_says_never() {
    row("mute", Policy::Never);
}

/// The kernel answers the box's pings, so the writer would be fenced; the others are greeted by its server.
#[test]
fn a_writer_whose_ports_are_filtered_from_the_box_alone_is_not_fenced() {
    row("tcp-cut-from-box", Policy::Fence);
}

#[test]
fn a_host_whose_disk_failed_is_replaced_and_follows_again() {
    row("disk-read-only", Policy::Default);
}

#[test]
fn a_full_disk_of_the_writer_is_named() {
    row("disk-full", Policy::Default);
}

#[test]
fn commits_that_wait_for_ever_are_a_reason_to_refuse() {
    row("semi-sync-starved", Policy::Default);
}

#[test]
fn every_scenario_has_a_name_of_its_own() {
    let mut names: Vec<&str> = SCENES.iter().map(|scenario| scenario.name).collect();
    let rows: usize = SCENES.iter().map(|scenario| scenario.under.len()).sum();
    assert!(
        names.len() >= 25 && rows > names.len(),
        "{} scenarios, {rows} rows",
        names.len()
    );
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), SCENES.len());
}
