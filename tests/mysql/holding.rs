//! The lock of an operation on several servers: what a hung one costs, and whose lock is not asked for.

use std::time::{Duration, Instant};

use mmm::core::cluster::HostName;
use mmm::core::evidence::Rung;
use mmm::core::guard::Guard;
use mmm::core::moment::Moment;
use mmm::core::standing::{Mode, Owed, Standing};
use mmm::io::hold::Hold;
use mmm::io::mysql::{Lock, Taking};

use crate::server::{HOME, Mariadbd, SOON, login};
use crate::starting::Stage;

/// Longer than anything here may take.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_hung_server_costs_its_own_short_deadline_and_not_the_patience_for_holders() {
    let servers = [Mariadbd::start(1).await, Mariadbd::start(2).await];
    let stage = Stage::new([&servers[0], &servers[1]], "{}").await;
    stage.state().prepare().unwrap();
    servers[0].freeze().await;
    let began = Instant::now();
    let hold = Hold::take(&stage.fleet, &stage.state(), "a test", PATIENCE)
        .await
        .unwrap();
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    assert!(stage.fleet.holds_lock_of(&"db2".into()));
    assert!(!stage.fleet.holds_lock_of(&"db1".into()));
    hold.release().await;

    stage.fleet.look(&"db1".into()).await;
    let began = Instant::now();
    let facts = stage.fleet.look_everywhere().await;
    let hold = Hold::take(&stage.fleet, &stage.state(), "a test", PATIENCE)
        .await
        .unwrap();
    assert!(
        began.elapsed() < Duration::from_millis(1800),
        "{:?}",
        began.elapsed()
    );
    assert!(facts[&HostName::from("db2")].mysql.up().is_some());
    hold.release().await;
}

#[tokio::test]
async fn a_returned_writer_is_closed_whoever_holds_the_lock_of_another_host() {
    let servers = [Mariadbd::start(1).await, Mariadbd::start(2).await];
    let stage = Stage::new([&servers[0], &servers[1]], "{}").await;
    let name = stage.fleet.lock_name();
    let elsewhere = Lock::take(HOME, servers[0].port, login("admin"), &name, Duration::ZERO, SOON).await;
    assert!(matches!(elsewhere, Ok(Taking::Taken(_))));
    stage.stands(&Standing {
        writer: Some("db1".into()),
        mode: Mode::Active,
        owed: [("db2".into(), Owed::now(Moment(1), "r", Rung::Silence))].into(),
        ..Standing::default()
    });
    let (monitor, _told) = stage.monitor();
    let refused = |host: &'static str| {
        let monitor = &monitor;
        async move {
            monitor
                .quarantine_met(&HostName::from(host))
                .await
                .unwrap_err()
                .guard
        }
    };
    // Nobody answers over SSH here, so it gets as far as that.
    assert_eq!(refused("db2").await, None);
    assert_eq!(
        refused("db1").await,
        Some(Guard::G04),
        "its own lock is asked for"
    );
}
