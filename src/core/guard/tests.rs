//! Hosts out of service: no operation uses them, and the refusal says what lets them back in. Hosts that are far behind.

mod blocking;

use super::*;
use crate::core::facts::Reach;
use crate::core::moment::Moment;
use crate::core::repair::{self, Fix};
use crate::core::roles::Eligible;
use crate::core::samples::{WRITER_ADDRESS, cluster, facts};

fn standing_without(host: &str) -> Standing {
    Standing {
        writer: Some("db1".into()),
        offline: [(host.into(), Moment(1))].into(),
        ..Standing::default()
    }
}

fn seen(writer_answers: bool) -> Facts {
    let mut writer = facts(true, &[WRITER_ADDRESS]);
    if !writer_answers {
        writer.mysql = Reach::Down("closed".into());
    }
    [
        ("db1".into(), writer),
        ("db2".into(), facts(false, &[])),
        ("db3".into(), facts(false, &[])),
    ]
    .into()
}

#[test]
fn a_host_out_of_service_is_refused_as_writer_with_what_lets_it_back_in() {
    let (db1, db2) = ("db1".into(), "db2".into());
    let memory = Memory::default();
    let standing = standing_without("db2");
    let refusals = [
        switchover(&cluster(), &standing, &seen(true), &db1, &db2, &memory),
        failover(&cluster(), &standing, &seen(false), Some(&db1), &db2, &memory),
        rejoin(&cluster(), &standing, &db2),
    ];
    for refusal in refusals {
        let refusal = refusal.unwrap_err();
        assert_eq!(refusal.kind, Kind::Refused);
        assert!(refusal.because.contains("out of service"), "{refusal}");
        assert!(refusal.hint.contains("mmm set-online db2"), "{refusal}");
    }
    let nobody = target(&cluster(), &standing, &seen(true), None, &memory).unwrap_err();
    assert!(nobody.because.contains("out of service"), "{nobody}");
    let in_service = Standing {
        offline: Default::default(),
        ..standing
    };
    assert_eq!(
        switchover(&cluster(), &in_service, &seen(true), &db1, &db2, &memory),
        Ok(())
    );
}

#[test]
fn a_host_out_of_service_is_closed_and_rid_of_addresses_but_never_made_to_replicate() {
    let mut seen = seen(true);
    seen.insert("db3".into(), facts(true, &[WRITER_ADDRESS]));
    let standing = standing_without("db3");
    let online = Eligible {
        to_hold: vec!["db1".into(), "db2".into()],
        ..Eligible::default()
    };
    let fixes = repair::fixes(&cluster(), &standing, &online, &seen);
    assert!(fixes.contains(&Fix::DenyWrites("db3".into())), "{fixes:?}");
    let address = WRITER_ADDRESS.parse().unwrap();
    assert!(
        fixes.contains(&Fix::RemoveAddress("db3".into(), address)),
        "{fixes:?}"
    );
}

#[test]
fn nobody_is_kept_from_writing_while_a_host_that_is_far_behind_catches_up() {
    let (db1, db2) = ("db1".into(), "db2".into());
    let standing = Standing {
        writer: Some("db1".into()),
        ..Standing::default()
    };
    let mut seen = seen(true);
    let mut lags = |seconds: u64| {
        if let Reach::Up(mysql) = &mut seen.get_mut("db2").unwrap().mysql {
            mysql.replicas[0].lag = Some(Duration::from_secs(seconds));
        }
        switchover(&cluster(), &standing, &seen, &db1, &db2, &Memory::default())
    };
    assert_eq!(lags(10), Ok(()));
    let refused = lags(11).unwrap_err();
    assert!(refused.because.contains("11 s behind"), "{refused}");
    assert!(refused.hint.contains("--force"), "{refused}");
}
