//! Where it is shown that what was dangerous in MMM is mended, and that its tables of states and modes hold: a list of
//! stories and tests, checked to be there, so that it cannot go stale.
//!
//! - `story NAME`: `tests/scenarios/NAME.txt`, played with the real core
//! - `lab FILE::NAME`: a test in `tests/it/FILE.rs`, with real hosts
//! - `unit PATH::NAME`: a test in `src/PATH.rs`
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

/// What was dangerous, and what shows that it no longer is.
const DANGERS: &[(&str, &[&str])] = &[
    (
        "a lost ping alone made a host HARD_OFFLINE, and a second writer",
        &[
            "story check-ping-alone-moves-nothing",
            "lab silence::a_writer_cut_off_from_the_box_alone_stays",
            "story network-cut-off-from-a-port",
            "lab faults::a_writer_whose_ports_are_filtered_from_the_box_alone_is_not_fenced",
        ],
    ),
    (
        "fencing was optional and its result ignored",
        &[
            "story failover-power-cut-needs-a-fence",
            "story failover-disobedient-host-is-fenced",
            "lab silence::a_host_without_power_is_fenced_and_replaced",
            "lab silence::a_fence_that_lies_opens_nobody",
            "lab silence::a_silent_writer_that_nobody_can_fence_stays_when_the_policy_says_never",
        ],
    ),
    (
        "a writer that could not be managed was replaced all the same when its server died",
        &[
            "story ssh-gone-from-the-writer",
            "story ssh-gone-and-the-server-fine",
            "story failover-disobedient-host",
            "lab errors::ssh_that_must_not_or_cannot_be_used",
        ],
    ),
    (
        "replicas were pointed to the new writer while they could still get its rows another way, and had them twice",
        &[
            "lab families::mysql_5_6_by_position",
            "lab families::mysql_9_7_by_position",
            "lab families::mariadb_10_11_by_position",
            "lab families::by_position_a_replica_that_is_ahead_is_kept_out_and_named",
        ],
    ),
    (
        "replicas were pointed to the new writer before it had applied what it had received",
        &[
            "lab draining::mariadb_10_11",
            "lab draining::mariadb_10_11_by_position",
            "lab draining::mysql_5_6_by_position",
            "lab draining::mysql_9_7",
        ],
    ),
    (
        "nobody looked at what came of a command, and strays stayed",
        &[
            "story roles-stray-address",
            "story repair-fails-once-told",
            "lab beside::what_hands_put_out_of_place_is_put_back_and_told",
            "lab cutoff::killed_before_every_step",
            "lab resume::a_run_goes_on_or_is_taken_back_on_a_persons_word",
        ],
    ),
    (
        "a returning writer kept its address and its writability",
        &[
            "story return-of-the-old-writer",
            "story return-comes-before-everything-else",
            "lab returning::a_server_that_comes_up_writable_is_met_at_once",
            "lab returning::what_is_owed_survives_a_kill_of_the_monitor",
        ],
    ),
    (
        "a broken standby became ONLINE and the writer because its peer died",
        &[
            "story states-a-broken-standby-is-not-healed-by-a-death",
            "story states-an-excused-standby-is-not-made-good-by-a-death",
            "story failover-no-standby",
            "lab undo::a_standby_whose_sql_thread_is_stopped_is_refused",
        ],
    ),
    (
        "replicas followed a writer that had not caught up, or were ahead of it: rows lost or twice",
        &[
            "story roles-replica-with-too-much-is-left-alone",
            "lab load::hands_over_back_and_forth_under_load",
            "lab failover::what_the_standby_had_not_received_is_named_and_keeps_the_old_writer_out",
        ],
    ),
    (
        "acknowledged transactions were lost without a word, and what a replica had more was thrown away",
        &[
            "story standby-that-somebody-wrote-on",
            "story standby-received-more-than-was-seen",
            "lab losses::what_only_a_replica_received_is_handed_over_before_anybody_is_promoted",
            "lab losses::a_handover_that_fails_is_taken_back_and_a_person_may_go_on_without",
            "lab losses::a_replica_that_cannot_hand_over_is_named_and_stays_apart",
            "lab losses::what_was_received_and_cannot_be_applied_needs_a_persons_word",
            "lab losses::what_only_the_old_writer_has_is_saved_as_rows_and_discarded_by_a_rebuild",
            "lab losses::whoever_acts_next_makes_a_returned_writer_harmless_first",
            "lab losses::a_standby_that_somebody_wrote_on_is_named_and_never_promoted",
        ],
    ),
    (
        "the slowest replica delayed everybody, and a lagging preferred host took the writer's role",
        &[
            "story roles-replica-follows-another",
            "story prefer-writer-waits-for-a-lag",
            "lab away::a_replica_that_was_away_is_pointed_to_the_writer_of_today",
            "lab silence::one_dead_witness_more_does_not_block",
        ],
    ),
    (
        "whatever hung blocked the monitor for ever",
        &[
            "unit io/command::what_hangs_is_ended_with_all_it_started",
            "lab undo::a_table_lock_on_the_writer_makes_it_give_up_in_time",
            "lab undo::a_long_write_on_the_writer_makes_it_give_up_in_time",
            "lab failover::a_server_that_stands_still_is_stopped_for_good_before_it_is_replaced",
        ],
    ),
    (
        "the monitor forgot its timers, and a second one fought it",
        &[
            "story states-across-a-restart",
            "lab flapping::a_host_that_left_four_times_waits_for_a_person",
            "lab undo::a_second_run_is_told_who_holds_the_lock",
            "lab cutoff::of_two_switchovers_at_the_same_instant_one_is_refused",
        ],
    ),
    (
        "a monitor that was cut off believed its own eyes",
        &[
            "story failover-we-are-cut-off",
            "story network-of-our-own-is-silent",
            "lab silence::a_writer_cut_off_from_the_box_alone_stays",
            "lab startup::a_box_that_may_be_cut_off_decides_nothing",
        ],
    ),
    (
        "refused logins and limits counted as down, and recovery could get lost",
        &[
            "story check-unknown-never-traps",
            "story check-one-blip-and-then-refusals",
            "story check-recovery-is-always-published",
            "story states-unknown-moves-nothing",
        ],
    ),
    (
        "`Connecting`, a lag that is not told and further channels were never looked at",
        &[
            "story states-connecting-and-no-lag-told",
            "unit core/checks::the_managed_channel_counts_and_trouble_with_others_is_told",
        ],
    ),
    (
        "flapping lived in memory, outlived recovery, and failovers could follow each other",
        &[
            "story failover-waits-for-an-acknowledgement",
            "lab maintenance::a_second_failover_within_the_hour_waits_for_an_acknowledgement",
            "story states-flapping-across-a-restart",
            "story states-flapping-ends-with-a-quiet-period",
            "story failover-second-one-too-early",
            "lab flapping::a_host_that_left_four_times_waits_for_a_person",
            "lab flapping::a_host_that_left_too_often_comes_back_after_a_quiet_period",
        ],
    ),
    (
        "a preferred host got its role back at once, whatever it lacked",
        &[
            "story prefer-writer-goes-back",
            "story prefer-writer-waits-for-a-lag",
            "story prefer-writer-on-command",
            "lab roles::the_writer_goes_back_to_the_host_it_prefers_once_that_has_caught_up",
        ],
    ),
    (
        "accounts that `read_only` does not stop, and a writable standby, went unnoticed",
        &[
            "story roles-second-writable-host",
            "lab load::a_root_client_and_an_event_that_go_on_writing_are_noticed",
            "lab load::what_slips_past_read_only_after_the_commit_is_reported_exactly",
        ],
    ),
    (
        "an address was announced once in a burst, and nobody asked who else had it",
        &[
            "story duplicate-address-on-the-network",
            "lab roles::roles_that_are_not_the_writers_move_by_command_and_stay",
            "lab load::hands_over_back_and_forth_under_load",
        ],
    ),
    (
        "passwords stood in command lines, statements and files, and nobody proved who he was",
        &[
            "lab secrets::no_password_is_visible_anywhere",
            "lab check::ssh_that_does_not_let_us_in_is_told_apart",
        ],
    ),
    (
        "mistakes in the configuration were taken as they came",
        &[
            "lab errors::configuration_and_names_that_are_wrong",
            "unit config/inventory/tests::golden_files",
            "unit config/import/tests/refusals::what_is_refused_is_refused_with_reason_and_place",
        ],
    ),
    (
        "passive mode killed hosts, `move_role` went on past a dead owner, and every exit code was 0",
        &[
            "story mode-passive-does-nothing",
            "lab startup::passive_mode_only_looks",
            "lab verbs::exit_codes_tell_the_truth",
            "lab verbs::the_writer_leaves_by_a_switchover_or_stays",
        ],
    ),
    (
        "nothing could be looked at before it was done",
        &["lab switchover::a_plan_shows_every_step_and_changes_nothing"],
    ),
];

/// Every change of state that MMM knew, with our rule for it and a story in which it happens.
const CHANGES: &[(&str, &str)] = &[
    (
        "ADMIN_OFFLINE -> AWAITING_RECOVERY: H02",
        "states-admin-offline-and-back",
    ),
    ("ONLINE -> HARD_OFFLINE: H05", "proof-waits-for-the-trap-period"),
    (
        "ONLINE -> REPLICATION_FAIL: H13",
        "roles-readers-leave-a-broken-replica",
    ),
    (
        "ONLINE -> REPLICATION_DELAY: H14",
        "states-lag-from-online-and-back",
    ),
    (
        "AWAITING_RECOVERY -> HARD_OFFLINE: H05",
        "states-awaiting-and-gone-again",
    ),
    ("AWAITING_RECOVERY -> ONLINE: H20", "states-flapping"),
    ("AWAITING_RECOVERY -> ONLINE: H21", "states-short-downtime"),
    ("AWAITING_RECOVERY -> ONLINE: H22", "states-auto-set-online"),
    (
        "AWAITING_RECOVERY -> ONLINE: H22",
        "states-flapping-ends-with-a-quiet-period",
    ),
    (
        "HARD_OFFLINE -> REPLICATION_FAIL: H13",
        "states-back-with-broken-replication",
    ),
    ("HARD_OFFLINE -> REPLICATION_DELAY: H14", "states-back-with-a-lag"),
    ("HARD_OFFLINE -> AWAITING_RECOVERY: H18", "states-long-downtime"),
    (
        "REPLICATION_FAIL -> REPLICATION_DELAY: H14",
        "states-back-with-broken-replication",
    ),
    (
        "REPLICATION_DELAY -> REPLICATION_FAIL: H13",
        "states-fail-wins-over-delay",
    ),
    (
        "REPLICATION_DELAY -> ONLINE: H15",
        "states-lag-from-online-and-back",
    ),
    (
        "REPLICATION_DELAY -> AWAITING_RECOVERY: H16",
        "states-flapping-ends-with-a-quiet-period",
    ),
    (
        "REPLICATION_FAIL -> HARD_OFFLINE: H05",
        "states-back-with-broken-replication",
    ),
    ("REPLICATION_DELAY -> HARD_OFFLINE: H05", "states-back-with-a-lag"),
];

/// What keeps a host in its state, and what it begins with.
const STAYS: &[(&str, &[&str])] = &[
    (
        "nothing but a person ends ADMIN_OFFLINE",
        &["story states-admin-offline-whatever-happens"],
    ),
    (
        "the writer is exempt from what its replication does",
        &["story states-the-writer-need-not-replicate"],
    ),
    (
        "a source that is ONLINE for less than a minute excuses those who follow it",
        &["story states-a-source-that-came-back-excuses"],
    ),
    (
        "a source that is away excuses those who follow it",
        &["story states-a-dead-source-is-not-held-against-a-standby"],
    ),
    ("UNKNOWN is where a host begins", &["story states-first-start"]),
];

/// What a monitor does in which mode.
const MODES: &[(&str, &[&str])] = &[
    (
        "hosts are watched and judged in every mode",
        &[
            "story mode-manual-keeps-addresses",
            "story mode-wait-decides-nothing",
            "story mode-passive-does-nothing",
        ],
    ),
    (
        "a failed host loses its roles by itself: active only",
        &[
            "story roles-readers-leave-a-dead-replica",
            "story mode-manual-keeps-addresses",
            "story mode-wait-decides-nothing",
            "story mode-passive-does-nothing",
        ],
    ),
    (
        "orphans are assigned: not in passive mode",
        &[
            "story roles-readers-are-spread",
            "story mode-manual-keeps-addresses",
            "story mode-wait-repairs",
            "story mode-passive-does-nothing",
        ],
    ),
    (
        "a role goes back to the host it prefers: active only",
        &[
            "story prefer-writer-goes-back",
            "story prefer-writer-only-in-active-mode",
        ],
    ),
    (
        "hosts are told what to be: not in passive mode",
        &[
            "story mode-manual-repairs-but-never-fails-over",
            "story mode-wait-repairs",
            "lab startup::passive_mode_only_looks",
        ],
    ),
    (
        "`move-role`: refused in passive mode; `set-ip`: in no other",
        &[
            "story set-ip-names-the-writer",
            "lab roles::roles_that_are_not_the_writers_move_by_command_and_stay",
        ],
    ),
    (
        "wait becomes active with both masters, or with one after its time",
        &[
            "story mode-wait-until-both-masters-are-there",
            "story mode-wait-until-one-has-waited-long-enough",
            "lab startup::both_masters_end_the_wait_at_once",
        ],
    ),
    (
        "a person leaves wait mode by `set-manual`",
        &["story mode-wait-left-by-a-person"],
    ),
];

fn at(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn story(name: &str) -> Option<String> {
    fs::read_to_string(at(&format!("tests/scenarios/{name}.txt"))).ok()
}

/// Whether a file of Rust has a test of this name, one that is run.
fn has_test(path: &str, name: &str) -> bool {
    let text = fs::read_to_string(at(path)).unwrap_or_default();
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let is_test = |pair: &[&str]| {
        let begins = |how: &str| pair[1].starts_with(&format!("{how}fn {name}("));
        ["#[test]", "#[tokio::test]"].contains(&pair[0]) && (begins("") || begins("async "))
    };
    lines.windows(2).any(is_test)
}

fn is_there(proof: &str) -> bool {
    let (kind, name) = proof.split_once(' ').unwrap();
    if kind == "story" {
        return story(name).is_some();
    }
    let (file, test) = name.split_once("::").unwrap();
    match kind {
        "lab" => {
            let room = fs::read_to_string(at("tests/it/main.rs")).unwrap();
            room.contains(&format!("mod {file};\n")) && has_test(&format!("tests/it/{file}.rs"), test)
        }
        "unit" => has_test(&format!("src/{file}.rs"), test),
        _ => panic!("`{kind}` is no kind of proof"),
    }
}

#[test]
fn everything_listed_is_shown_where_it_says() {
    let all = [DANGERS, STAYS, MODES].concat();
    let mut missing = Vec::new();
    for (what, proofs) in all {
        let gone = proofs.iter().filter(|proof| !is_there(proof));
        missing.extend(gone.map(|proof| format!("{what}: {proof}")));
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
    for (what, proofs) in DANGERS {
        let is_shown = |proof: &&str| proof.starts_with("story ") || proof.starts_with("lab ");
        assert!(
            proofs.iter().any(is_shown),
            "{what}: neither in the lab nor in a story"
        );
    }
}

#[test]
fn every_change_of_state_happens_in_its_story() {
    for (change, name) in CHANGES {
        let text = story(name).unwrap_or_else(|| panic!("there is no story `{name}`"));
        // The other state may end in the same word.
        let happens = text.lines().any(|line| line.contains(&format!(" {change}: ")));
        assert!(happens, "`{change}` does not happen in `{name}`");
    }
}

#[test]
fn a_list_that_names_what_is_not_there_is_found_out() {
    for wrong in [
        "story no-such-story",
        "lab flapping::no_such_test",
        // No test, though it is there.
        "lab failover::unplanned",
        "lab no_such_file::no_such_test",
        "unit core/checks::not_running",
    ] {
        assert!(!is_there(wrong), "{wrong}");
    }
}
