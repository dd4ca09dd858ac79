//! The run lock on a real server.

use std::time::Duration;

use mmm::io::mysql::{Lock, Taking};

use crate::server::{HOME, Mariadbd, SOON, eventually, login};

const NAME: &str = "mmm:test_mmm";

async fn take(server: &Mariadbd, wait: Duration) -> Taking {
    Lock::take(HOME, server.port, login("monitor"), NAME, wait, SOON)
        .await
        .unwrap()
}

fn taken(taking: Taking) -> Lock {
    match taking {
        Taking::Taken(lock) => lock,
        Taking::Held(holder) => panic!("held by {holder:?}"),
    }
}

#[tokio::test]
async fn one_holder_at_a_time() {
    let server = Mariadbd::start(1).await;
    let lock = taken(take(&server, Duration::ZERO).await);
    assert!(lock.still_held(SOON).await);

    let Taking::Held(Some(holder)) = take(&server, Duration::ZERO).await else {
        panic!("two holders")
    };
    assert!(holder.is_from_here, "{holder:?}");
    assert_eq!(holder.user.as_deref(), Some("monitor"));
    let seen = server.as_user("monitor").lock_holder(NAME, SOON).await.unwrap();
    assert_eq!(seen, Some(holder));

    lock.release(SOON).await;
    assert_eq!(
        server.as_user("monitor").lock_holder(NAME, SOON).await.unwrap(),
        None
    );
    taken(take(&server, Duration::ZERO).await);
}

#[tokio::test]
async fn waiting_gets_it_once_it_is_given_back() {
    let server = Mariadbd::start(1).await;
    let lock = taken(take(&server, Duration::ZERO).await);
    let giving = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        drop(lock);
    };
    let (taking, ()) = tokio::join!(take(&server, Duration::from_secs(10)), giving);
    assert!(taken(taking).still_held(SOON).await);
}

#[tokio::test]
async fn a_lost_connection_is_a_lost_lock() {
    let server = Mariadbd::start(1).await;
    let lock = taken(take(&server, Duration::ZERO).await);
    let holder = server
        .as_user("monitor")
        .lock_holder(NAME, SOON)
        .await
        .unwrap()
        .unwrap();
    server.run(&[&format!("KILL {}", holder.connection)]).await;
    assert!(eventually(async || !lock.still_held(SOON).await).await);
    let again = taken(take(&server, Duration::from_secs(5)).await);
    assert!(again.still_held(SOON).await);
    assert!(!lock.still_held(SOON).await, "it never comes back by itself");
}

/// The server forgets a silent session after 10 s, and a living one must outlast that.
#[tokio::test]
async fn a_living_holder_outlasts_the_servers_patience() {
    let server = Mariadbd::start(1).await;
    let lock = taken(take(&server, Duration::ZERO).await);
    tokio::time::sleep(Duration::from_secs(12)).await;
    assert!(lock.still_held(SOON).await);
}

#[tokio::test]
async fn odd_names_are_refused() {
    let server = Mariadbd::start(1).await;
    assert!(
        Lock::take(HOME, server.port, login("monitor"), "a'b", Duration::ZERO, SOON)
            .await
            .is_err()
    );
}
