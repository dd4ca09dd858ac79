//! Servers that refuse, hang, die or are silent: each is told apart, and none costs more than its deadline.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use mmm::core::facts::{Reach, Refusal};
use mmm::io::mysql::Server;
use rustix::process::Signal;
use socket2::{Domain, Socket, Type};

use crate::server::{HOME, Mariadbd, SOON, eventually, login};

const BRIEF: Duration = Duration::from_millis(300);
/// What a loaded machine may add to a deadline.
const SLACK: Duration = Duration::from_millis(500);

fn refusal<T: std::fmt::Debug>(reach: Reach<T>) -> Refusal {
    match reach {
        Reach::Refusing { reason, .. } => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn refusals_mean_alive() {
    let server = Mariadbd::start(1).await;
    assert_eq!(
        refusal(server.as_user("nobody").facts(SOON).await),
        Refusal::Login
    );
    assert_eq!(
        refusal(server.as_user("bare").facts(SOON).await),
        Refusal::Privilege
    );
    assert!(server.as_user("bare").answers(SOON).await.up().is_some());

    server
        .run(&["ALTER USER bare@'127.0.0.1' WITH MAX_USER_CONNECTIONS 1"])
        .await;
    let mut only = server.as_user("bare");
    assert!(only.answers(SOON).await.up().is_some());
    assert_eq!(
        refusal(server.as_user("bare").answers(SOON).await),
        Refusal::Limits
    );

    server.run(&["ALTER USER bare@'127.0.0.1' ACCOUNT LOCK"]).await;
    assert_eq!(
        refusal(server.as_user("bare").answers(SOON).await),
        Refusal::Login
    );
}

#[tokio::test]
async fn too_many_connections_means_alive() {
    let server = Mariadbd::start(1).await;
    server.run(&["SET GLOBAL max_connections = 10"]).await;
    let mut taken = Vec::new();
    let full = eventually(async || {
        let mut next = server.as_user("monitor");
        let reach = next.answers(SOON).await;
        taken.push(next);
        matches!(reach, Reach::Refusing { reason: Refusal::Limits, text } if text.contains("1040"))
    })
    .await;
    assert!(full);
}

#[tokio::test]
async fn a_hung_server_costs_the_deadline_and_nothing_else() {
    let server = Mariadbd::start(1).await;
    let mut kept = server.as_user("monitor");
    assert!(kept.answers(SOON).await.up().is_some());
    server.freeze().await;
    let before = descriptors();
    for round in 0..10 {
        let started = Instant::now();
        let reach = if round % 2 == 0 {
            kept.answers(BRIEF).await
        } else {
            kept.facts(BRIEF).await.map(drop)
        };
        let took = started.elapsed();
        assert!(matches!(reach, Reach::Hung(_)), "{reach:?}");
        assert!(took >= BRIEF && took < BRIEF + SLACK, "{took:?}");
    }
    assert!(
        eventually(async || descriptors() <= before).await,
        "connections are left open: {} of {before}",
        descriptors()
    );
    server.signal(Signal::CONT);
    assert!(
        kept.answers(SOON).await.up().is_some(),
        "it is used again as soon as it answers"
    );
}

fn descriptors() -> usize {
    // Other tests of this program open sockets too, so only those to stopped servers' ports would grow without end.
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[tokio::test]
async fn a_killed_server_is_down_and_comes_back() {
    let mut server = Mariadbd::start(1).await;
    let mut kept = server.as_user("monitor");
    assert!(kept.answers(SOON).await.up().is_some());
    server.signal(Signal::KILL);
    assert!(eventually(async || matches!(kept.answers(BRIEF).await, Reach::Down(_))).await);
    server.restart().await;
    assert!(kept.answers(SOON).await.up().is_some());
    // The connection is a dead one again, and the question is answered nevertheless.
    server.signal(Signal::KILL);
    server.restart().await;
    assert!(kept.answers(SOON).await.up().is_some());
}

#[tokio::test]
async fn the_next_question_never_gets_an_old_answer() {
    let server = Mariadbd::start(1).await;
    let mut kept = server.as_user("monitor");
    for _ in 0..3 {
        assert!(kept.query("SELECT SLEEP(2)", BRIEF).await.is_err());
        let started = Instant::now();
        let rows = kept.query("SELECT 7", SOON).await.unwrap();
        assert_eq!(rows[0].first(), Some("7"));
        assert!(started.elapsed() < Duration::from_secs(1));
        // The same when the caller walks away instead of the deadline striking.
        assert!(
            tokio::time::timeout(BRIEF, kept.query("SELECT SLEEP(2)", SOON))
                .await
                .is_err()
        );
        assert_eq!(kept.query("SELECT 8", SOON).await.unwrap()[0].first(), Some("8"));
    }
}

#[tokio::test]
async fn an_error_keeps_the_connection() {
    let server = Mariadbd::start(1).await;
    let mut kept = server.as_user("monitor");
    let id = kept.query("SELECT CONNECTION_ID()", SOON).await.unwrap();
    assert!(kept.query("SELECT nonsense", SOON).await.is_err());
    assert_eq!(kept.query("SELECT CONNECTION_ID()", SOON).await.unwrap(), id);
}

#[tokio::test]
async fn a_port_that_answers_nothing_is_silent() {
    // A full queue: the kernel drops further connection attempts, as a dead host would.
    let (_socket, port) = narrow_port();
    let _filling = TcpStream::connect((HOME, port)).unwrap();
    let started = Instant::now();
    let reach = Server::new(HOME, port, login("monitor")).facts(BRIEF).await;
    assert!(matches!(reach, Reach::Silent(_)), "{reach:?}");
    assert!(started.elapsed() < BRIEF + SLACK);
}

/// A host that lost its power keeps our connection open for minutes. It must not look like a hung server.
#[tokio::test]
async fn a_kept_connection_to_a_dead_host_is_silent() {
    let server = Mariadbd::start(1).await;
    let (front, port) = narrow_port();
    let (cut, is_cut) = std::sync::mpsc::channel::<()>();
    let behind = server.port;
    let relaying = std::thread::spawn(move || {
        let (client, _) = front.accept().unwrap();
        let mut client = TcpStream::from(client);
        let mut backend = TcpStream::connect((HOME, behind)).unwrap();
        relay(&mut client, &mut backend, &is_cut);
        // Both stay open and mute, and the port takes nobody else.
        let _filling = TcpStream::connect((HOME, port)).unwrap();
        is_cut.recv().unwrap();
    });
    let mut kept = Server::new(HOME, port, login("monitor"));
    assert!(kept.answers(SOON).await.up().is_some());
    cut.send(()).unwrap();
    let silent = eventually(async || matches!(kept.answers(BRIEF).await, Reach::Silent(_)));
    assert!(silent.await);
    cut.send(()).unwrap();
    relaying.join().unwrap();
}

/// Replication status can wait behind a `STOP SLAVE` that takes long. Here a relay keeps that question to itself.
#[tokio::test]
async fn one_question_that_waits_is_not_a_hung_server() {
    let server = Mariadbd::start(1).await;
    let front = TcpListener::bind((HOME, 0)).unwrap();
    let port = front.local_addr().unwrap().port();
    let behind = server.port;
    // Ends with the test program; its connections end with the server.
    std::thread::spawn(move || {
        for client in front.incoming() {
            std::thread::spawn(move || relay_all_but(b"SHOW ALL SLAVES STATUS", client.unwrap(), behind));
        }
    });
    let mut monitor = Server::new(HOME, port, login("monitor"));
    assert_eq!(refusal(monitor.facts(BRIEF).await), Refusal::Busy);
    assert!(monitor.answers(BRIEF).await.up().is_some());
    server.freeze().await;
    assert!(
        matches!(monitor.facts(BRIEF).await, Reach::Hung(_)),
        "it hangs when nothing is answered"
    );
}

/// Passes bytes both ways, but swallows the packets that hold `question`.
fn relay_all_but(question: &[u8], mut client: TcpStream, behind: u16) {
    let mut backend = TcpStream::connect((HOME, behind)).unwrap();
    let (mut answers, mut asker) = (backend.try_clone().unwrap(), client.try_clone().unwrap());
    std::thread::spawn(move || std::io::copy(&mut answers, &mut asker));
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = client.read(&mut buffer) {
        let asked = &buffer[..length];
        if !asked.windows(question.len()).any(|part| part == question) && backend.write_all(asked).is_err() {
            return;
        }
    }
}

/// A port with the shortest queue there is.
fn narrow_port() -> (Socket, u16) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::new(HOME, 0).into()).unwrap();
    socket.listen(0).unwrap();
    let port = socket.local_addr().unwrap().as_socket().unwrap().port();
    (socket, port)
}

/// Passes bytes both ways until told to stop.
fn relay(client: &mut TcpStream, backend: &mut TcpStream, stop: &Receiver<()>) {
    let mut buffer = [0; 4096];
    for stream in [&*client, &*backend] {
        stream.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
    }
    while stop.try_recv().is_err() {
        if let Ok(length @ 1..) = client.read(&mut buffer) {
            backend.write_all(&buffer[..length]).unwrap();
        }
        if let Ok(length @ 1..) = backend.read(&mut buffer) {
            client.write_all(&buffer[..length]).unwrap();
        }
    }
}

#[tokio::test]
async fn a_port_that_takes_and_drops_is_not_down() {
    let listener = TcpListener::bind((HOME, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let closing = std::thread::spawn(move || drop(listener.accept().unwrap()));
    let reach = Server::new(HOME, port, login("monitor")).answers(SOON).await;
    closing.join().unwrap();
    assert!(matches!(reach, Reach::Hung(_)), "{reach:?}");
}

#[tokio::test]
async fn another_protocol_is_not_down() {
    let listener = TcpListener::bind((HOME, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let greeting = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream
            .write_all(b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n")
            .unwrap();
        // Held open until the other side has made up its mind.
        std::io::copy(&mut stream, &mut std::io::sink()).unwrap();
    });
    let reach = Server::new(HOME, port, login("monitor"))
        .answers(Duration::from_secs(1))
        .await;
    assert!(
        !matches!(reach, Reach::Up(_) | Reach::Down(_) | Reach::Silent(_)),
        "{reach:?}"
    );
    greeting.join().unwrap();
}
