//! What hosts offer, and where addresses are.

use crate::core::facts::Reach;
use crate::core::latch::CheckResult;
use crate::core::preflight::tests::{cluster, found, only, seen, trio};
use crate::core::preflight::*;

#[test]
fn hosts_must_offer_what_duties_use() {
    let lacks = |program: &'static str| {
        move |all: &mut Vec<Inspected>| {
            seen(&mut all[0]).programs.remove(program);
        }
    };
    assert_eq!(found(lacks("arping")), only(Name::ProgramMissing, "db1"));
    assert_eq!(found(lacks("mysql")), [], "one client is enough");
    assert_eq!(
        found(|all| seen(&mut all[0])
            .programs
            .retain(|one| !["mariadb", "mysql"].contains(&one.as_str()))),
        only(Name::ProgramMissing, "db1")
    );
    assert_eq!(
        found(|all| seen(&mut all[0]).arping = "ARPing 2.23, by Thomas Habets".to_owned()),
        only(Name::WrongArping, "db1")
    );
    assert_eq!(
        found(|all| seen(&mut all[0]).device.1 = false),
        only(Name::DeviceMissing, "db1")
    );
    assert_eq!(
        found(|all| seen(&mut all[0]).unit = Some(("mysql".to_owned(), Asked::Told("inactive".to_owned())))),
        only(Name::UnitNotActive, "db1")
    );
    assert_eq!(
        found(|all| seen(&mut all[0]).tmp.room_kib = Some(0)),
        only(Name::TmpUnusable, "db1")
    );
    assert_eq!(
        found(|all| seen(&mut all[0]).clock_ahead_s = -60),
        only(Name::ClockOff, "db1")
    );
}

#[test]
fn silence_to_ping_matters_on_a_host_that_answers_otherwise() {
    let silent = |one: &mut Inspected| one.ping = CheckResult::Error("no answer".to_owned());
    assert_eq!(
        found(|all| silent(&mut all[1])),
        only(Name::PingUnanswered, "db2")
    );
    let dead = |all: &mut Vec<Inspected>| {
        silent(&mut all[2]);
        all[2].facts = Reach::Silent("no answer".to_owned());
    };
    assert_eq!(found(dead), only(Name::ServerNotReached, "db3"));
    let forbidden = |all: &mut Vec<Inspected>| {
        for one in all {
            one.ping = CheckResult::Unknown("not permitted".to_owned());
        }
    };
    assert_eq!(found(forbidden), only(Name::CannotPing, BOX));
}

#[test]
fn sudo_must_allow_every_command_without_a_word() {
    let answers = |status, said: &'static str| {
        move |all: &mut Vec<Inspected>| {
            if let Asked::Told(answers) = &mut seen(&mut all[1]).sudo {
                answers[0].status = status;
                answers[0].said = said.to_owned();
            }
        }
    };
    assert_eq!(found(answers(1, "")), only(Name::SudoRefused, "db2"));
    assert_eq!(
        found(answers(1, "sudo: a password is required")),
        only(Name::SudoWantsPassword, "db2")
    );
    assert_eq!(
        found(answers(1, "sudo: sorry, you must have a tty to run sudo")),
        only(Name::SudoWantsTerminal, "db2")
    );
    assert_eq!(
        found(|all| {
            answers(127, "sh: sudo: not found")(all);
            seen(&mut all[1]).programs.remove("sudo");
        }),
        only(Name::ProgramMissing, "db2")
    );
}

#[test]
fn floating_addresses_have_one_place() {
    let writer = "10.0.0.10".parse().unwrap();
    let hold = |one: &mut Inspected| {
        seen(one).held.as_mut().unwrap().insert(writer);
    };
    assert_eq!(
        found(|all| hold(&mut all[2])),
        [
            (Name::AddressHeldTwice, "db3".to_owned()),
            (Name::WriterAddressMisplaced, "db3".to_owned())
        ]
    );
    let nobody = |all: &mut Vec<Inspected>| {
        seen(&mut all[0]).held.as_mut().unwrap().remove(&writer);
    };
    assert_eq!(found(nobody), only(Name::WriterAddressAbsent, "db1"));
}

#[test]
fn what_passed_and_what_was_found_never_meet() {
    let all = trio();
    let clean = passed(&cluster(), &all, &[]);
    assert_eq!(clean.iter().filter(|one| one.host.as_str() == "db1").count(), 15);
    let mut broken = trio();
    seen(&mut broken[0]).programs.remove("arping");
    let findings = evaluate(&cluster(), &broken);
    let left = passed(&cluster(), &broken, &findings);
    assert_eq!(left.len(), clean.len() - 1);
    assert!(
        !left
            .iter()
            .any(|one| one.host.as_str() == "db1" && one.topic == Topic::Programs)
    );
}
