//! Where each guard has been seen to block: a list of tests, checked to be there and to name the guard, so that no guard
//! is only promised.
//!
//! - `lab FILE::NAME`: a test in `tests/it/FILE.rs`, with real hosts
//! - `test FILE::NAME`: a test in `tests/FILE.rs`
//! - `unit PATH::NAME`: a test in `src/PATH.rs`
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use mmm::core::guard::Guard;

const CORE: &str = "unit core/guard/tests/blocking::";
const RELEASE: &str = "unit core/release::each_guard_blocks";
const RELOCATION: &str = "unit core/relocation::each_guard_blocks";

/// A guard, and the test in which it blocks.
fn seen_in(guard: Guard) -> String {
    let core = |name: &str| format!("{CORE}{name}");
    match guard {
        Guard::G01 | Guard::G06 => core("what_stops_every_operation"),
        Guard::G02 => "test mysql/starting::nothing_is_begun_while_no_ping_address_answers".to_owned(),
        Guard::G03 => "test mysql/starting::two_writable_servers_make_a_careful_start_passive_and_then_nothing_is_touched"
            .to_owned(),
        Guard::G04 => "unit io/lock::a_second_taker_is_told_who_holds_it".to_owned(),
        Guard::G05 => "unit io/standing::a_place_that_cannot_be_written_refuses_operations".to_owned(),
        Guard::G07 => "unit cli/failover::without_a_known_writer_somebody_must_be_named_and_only_one_be_possible"
            .to_owned(),
        Guard::G08 | Guard::G09 | Guard::G15 | Guard::G16 | Guard::G34 | Guard::G35 | Guard::G36 | Guard::G39 => {
            core("what_stops_a_switchover")
        }
        Guard::G10 | Guard::G11 => {
            "unit cli/failover::evidence_that_does_not_prove_a_death_blocks_with_its_own_rule".to_owned()
        }
        Guard::G12 | Guard::G13 | Guard::G14 => core("what_stops_a_failover"),
        Guard::G17 | Guard::G18 => core("what_keeps_the_writer_from_being_opened_again"),
        Guard::G19 => "lab errors::accounts_that_servers_do_not_take".to_owned(),
        Guard::G20 | Guard::G21 | Guard::G22 | Guard::G23 | Guard::G24 | Guard::G25 | Guard::G26 | Guard::G27 => {
            core("what_keeps_a_host_from_taking_over")
        }
        Guard::G28 | Guard::G29 | Guard::G30 | Guard::G31 | Guard::G32 | Guard::G33 => {
            "unit core/electorate/tests::each_guard_of_an_election_blocks".to_owned()
        }
        Guard::G37 => {
            "lab roles::a_forced_move_of_the_writer_lets_the_host_catch_up_first_or_says_what_would_be_lost".to_owned()
        }
        Guard::G38 => "unit core/losses/tests::what_somebody_wrote_on_a_standby_keeps_it_from_promotion".to_owned(),
        Guard::G40 | Guard::G41 | Guard::G42 | Guard::G43 => core("what_keeps_a_replaced_writer_from_following"),
        Guard::G44 => "test mysql/starting::a_replaced_writer_that_cannot_be_made_harmless_is_not_taken_back".to_owned(),
        Guard::G45 | Guard::G46 | Guard::G47 | Guard::G48 => RELEASE.to_owned(),
        Guard::G49 => "lab cut_off_by_hand::a_rebuild".to_owned(),
        Guard::G50 => "unit core/relocation::an_address_of_a_balanced_role_must_be_named".to_owned(),
        Guard::G51 | Guard::G52 | Guard::G53 | Guard::G54 => RELOCATION.to_owned(),
        Guard::G55 => "lab roles::roles_that_are_not_the_writers_move_by_command_and_stay".to_owned(),
        Guard::G60 => "lab killed::killed_at_random_while_roles_move".to_owned(),
        Guard::G62 => "lab scripting::cron_fails_over_when_the_writer_is_dead_and_only_then".to_owned(),
        Guard::G63 => {
            "unit core/guard/sources::a_writer_on_record_is_opened_again_only_when_nobody_else_could_have_become_it".to_owned()
        }
        Guard::G65 => "unit cli/setting::only_yes_is_yes".to_owned(),
        Guard::G64 => "lab scripting::a_writer_is_ensured_once_and_left_alone_afterwards".to_owned(),
        Guard::G70 => "lab resume::a_run_goes_on_or_is_taken_back_on_a_persons_word".to_owned(),
        Guard::G71 => "lab resume::a_run_goes_on_or_is_taken_back_on_a_persons_word".to_owned(),
        Guard::G72 => "lab resume::what_another_box_has_overtaken_is_closed_and_nothing_is_touched".to_owned(),
        Guard::G73 => "unit io/resume::evidence_that_has_changed_holds_a_failover_back".to_owned(),
        Guard::G80 => "lab site::steps_around_a_switchover".to_owned(),
        Guard::G81 | Guard::G82 | Guard::G83 => {
            "unit core/maintenance::nobody_fails_over_by_itself_in_a_downtime_or_twice_without_an_acknowledgement"
                .to_owned()
        }
        Guard::G84 => "unit core/site::others_in_the_seats_stop_a_run".to_owned(),
        Guard::G61 => "unit io/socket::a_door_that_cannot_be_made_is_refused".to_owned(),
        Guard::G90 => {
            "lab plans::a_plan_is_carried_out_once_and_refused_when_what_it_rests_on_has_changed".to_owned()
        }
        Guard::G91 => "unit core/by_hand::what_could_make_a_second_writer_is_left_to_operations".to_owned(),
    }
}

/// The text of a test that is run, from its name to the next one; none when there is no such test.
fn body(proof: &str) -> Option<String> {
    let (kind, name) = proof.split_once(' ').unwrap();
    let (file, test) = name.split_once("::").unwrap();
    let room = match kind {
        "lab" => "tests/it",
        "test" => "tests",
        "unit" => "src",
        _ => panic!("`{kind}` is no kind of proof"),
    };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("{room}/{file}.rs"));
    let text = fs::read_to_string(path).ok()?;
    let begins = ["", "async "]
        .iter()
        .find_map(|how| text.find(&format!("]\n{how}fn {test}(")));
    let indented = ["", "async "]
        .iter()
        .find_map(|how| text.find(&format!("]\n    {how}fn {test}(")));
    let from = begins.or(indented)?;
    let is_test = text[..=from]
        .lines()
        .next_back()
        .is_some_and(|line| line.trim().ends_with("test]"));
    let rest = &text[from + 1..];
    is_test.then(|| rest[..rest.find("#[").unwrap_or(rest.len())].to_owned())
}

#[test]
fn each_guard_is_seen_to_block() {
    let mut missing = Vec::new();
    for guard in Guard::ALL {
        let proof = seen_in(*guard);
        match body(&proof) {
            None => missing.push(format!("{guard}: there is no {proof}")),
            Some(body) if !body.contains(&guard.to_string()) => {
                missing.push(format!("{guard}: {proof} does not name it"));
            }
            Some(_) => {}
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn a_test_that_is_not_there_is_found_out() {
    for wrong in [
        "unit io/lock::no_such_test",
        "test mysql/no_such_file::no_such_test",
        // No test, though it is there.
        "unit core/guard/tests/blocking::seen_but",
    ] {
        assert_eq!(body(wrong), None, "{wrong}");
    }
}

#[test]
fn every_refusal_has_a_guard() {
    // What is refused here is no operation on a cluster, or stands for a failed look.
    let excused = [
        "core/trouble.rs",
        "cli/import.rs",
        "io/mmm_files.rs",
        "io/preflight/logins.rs",
    ];
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut rooms = vec![root.clone()];
    let mut found = Vec::new();
    while let Some(room) = rooms.pop() {
        for entry in fs::read_dir(room).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                rooms.push(path);
                continue;
            }
            let name = path.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
            let text = fs::read_to_string(&path).unwrap();
            let text = text.split("#[cfg(test)]").next().unwrap();
            let flat: String = text.split_whitespace().collect();
            if !name.contains("/tests")
                && !excused.contains(&name.as_str())
                && flat.contains("Trouble::new(Kind::Refused")
            {
                found.push(name);
            }
        }
    }
    assert!(found.is_empty(), "`Trouble::refused` names the guard: {found:?}");
}
