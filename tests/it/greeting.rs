//! What the hosts do to a suspected server by asking it for its greeting: nothing that it would hold against them.

use lab::{Flavour, Lab, Server};

use super::cluster::mmm;
use super::families::cluster_of;

/// How often a host is asked, more than the server below would bear of broken handshakes.
const TIMES: usize = 6;

/// Lets the writer's server know its hosts by name, and block whom it has counted two broken handshakes of.
fn count_broken_handshakes(lab: &Lab, server: Server) {
    let hosts = ["db2", "db3"].map(|host| format!("{} {host}", lab.address_of(host).unwrap()));
    let resolve = format!(
        "echo 'hosts: files' >/etc/nsswitch.conf && printf '%s\\n' '127.0.0.1 localhost' '{}' >/etc/hosts &&
         sed -i 's/^skip_name_resolve.*/max_connect_errors = 2/' /etc/mysql/my.cnf && systemctl restart {}",
        hosts.join("' '"),
        server.unit()
    );
    lab.db1().sh(&resolve).unwrap().ok().unwrap();
    lab.db1().sql("SET GLOBAL read_only = OFF").unwrap();
}

/// What the server says to a host that connects without an account.
fn said_to(lab: &Lab, host: &str) -> String {
    let address = lab.address_of("db1").unwrap();
    // Before it is encrypted a client of MariaDB gives no number to what it is told.
    let connect = format!(
        "$(command -v mariadb || command -v mysql) --no-defaults --protocol=tcp --loose-skip-ssl -h {address} \
         -u nobody -e 'DO 0' 2>&1"
    );
    lab.host(host).unwrap().sh(&connect).unwrap().stdout
}

fn nobody_is_blocked_for_asking(server: Server) {
    let lab = cluster_of(Flavour::of(server));
    count_broken_handshakes(&lab, server);
    for _ in 0..TIMES {
        let asked = mmm(
            &lab,
            &["playbook", "run", "witness", "--at", "db2", "--set", "source=db1"],
            0,
        );
        assert!(asked.stdout.contains("greeted"), "{}", asked.stdout);
    }
    let said = said_to(&lab, "db2");
    assert!(said.contains("ERROR 1045 "), "{said}");
    // Whoever hangs up in the middle of it is blocked: the server does count.
    let address = lab.address_of("db1").unwrap();
    let hang_up = format!("bash -c 'exec 3<>/dev/tcp/{address}/3306 && read -r -n 1 -u 3 greeting'");
    for _ in 0..TIMES {
        lab.db3().sh(&hang_up).unwrap().ok().unwrap();
    }
    let said = said_to(&lab, "db3");
    assert!(said.contains("ERROR 1129 "), "{said}");
    // One that is blocked is greeted still: the server lives.
    let asked = mmm(
        &lab,
        &["playbook", "run", "witness", "--at", "db3", "--set", "source=db1"],
        0,
    );
    assert!(asked.stdout.contains("greeted"), "{}", asked.stdout);
    lab.db1().freeze().unwrap();
    let asked = mmm(
        &lab,
        &["playbook", "run", "witness", "--at", "db2", "--set", "source=db1"],
        0,
    );
    assert!(!asked.stdout.contains("greeted"), "{}", asked.stdout);
    lab.db1().thaw().unwrap();
}

#[test]
fn nobody_is_blocked_for_asking_a_mariadb_server() {
    nobody_is_blocked_for_asking(Server::Mariadb10_11);
}

#[test]
fn nobody_is_blocked_for_asking_a_mysql_server() {
    nobody_is_blocked_for_asking(Server::Mysql9_7);
}
