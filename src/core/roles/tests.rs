//! What any assignment keeps, whatever the cluster, and the examples that MMM's users know.

use proptest::prelude::*;

use super::*;
use crate::core::samples;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn names(hosts: &[&str]) -> Vec<HostName> {
    hosts.iter().map(|host| (*host).into()).collect()
}

fn role(name: &str, mode: RoleMode, hosts: &[&str], addresses: &[&str]) -> Role {
    Role {
        name: name.into(),
        mode,
        hosts: names(hosts),
        addresses: addresses.iter().map(|address| ip(address)).collect(),
        prefer: None,
        fail_back: FailBack::CaughtUp,
    }
}

/// The writer of the samples, and these roles.
fn cluster(roles: Vec<Role>) -> Cluster {
    let mut cluster = samples::cluster();
    cluster.roles.extend(roles);
    cluster
}

fn online(hosts: &[&str]) -> Eligible {
    Eligible {
        to_hold: names(hosts),
        to_keep: names(hosts),
        to_return: names(hosts),
        last_seen: Held::new(),
        writer_in_doubt: false,
        nobody_to_open: false,
    }
}

fn held(pairs: &[(&str, &str)]) -> Held {
    pairs
        .iter()
        .map(|(address, host)| (ip(address), vec![(*host).into()]))
        .collect()
}

fn placed(pairs: &[(&str, &str)]) -> Holders {
    pairs
        .iter()
        .map(|(address, host)| (ip(address), (*host).into()))
        .collect()
}

/// Who holds these addresses, with db1 as the writer.
fn assign(
    cluster: &Cluster,
    eligible: &Eligible,
    held: &Held,
    placed: &Holders,
    addresses: &[&str],
) -> Vec<Option<String>> {
    let wanted = wanted(cluster, Some(&"db1".into()), eligible, held, placed);
    addresses
        .iter()
        .map(|address| wanted.get(&ip(address)).map(ToString::to_string))
        .collect()
}

fn some(hosts: &[&str]) -> Vec<Option<String>> {
    hosts.iter().map(|host| Some((*host).to_owned())).collect()
}

const READERS: [&str; 2] = ["10.0.0.101", "10.0.0.102"];

fn readers() -> Cluster {
    cluster(vec![role(
        "reader",
        RoleMode::Balanced,
        &["db1", "db2", "db3"],
        &READERS,
    )])
}

#[test]
fn the_writer_address_weighs_half_so_readers_go_to_the_others_first() {
    let all = online(&["db1", "db2", "db3"]);
    let nobody = (Held::new(), Holders::new());
    let found = assign(&readers(), &all, &nobody.0, &nobody.1, &READERS);
    assert_eq!(found, some(&["db2", "db3"]));
    let third = "10.0.0.103";
    let mut three = readers();
    three.roles[1].addresses.push(ip(third));
    let found = assign(&three, &all, &nobody.0, &nobody.1, &[third]);
    assert_eq!(found, some(&["db1"]));
}

#[test]
fn a_reader_leaves_a_host_that_may_not_hold_it_and_does_not_move_for_less_than_one() {
    let where_they_are = held(&[(READERS[0], "db2"), (READERS[1], "db3")]);
    let found = assign(
        &readers(),
        &online(&["db1", "db2"]),
        &where_they_are,
        &Holders::new(),
        &READERS,
    );
    assert_eq!(found, some(&["db2", "db1"]));
    // db3 is back: 1.5 against 1 against 0 moves one address to it, from the heaviest.
    let now = held(&[(READERS[0], "db2"), (READERS[1], "db1")]);
    let found = assign(
        &readers(),
        &online(&["db1", "db2", "db3"]),
        &now,
        &Holders::new(),
        &READERS,
    );
    assert_eq!(found, some(&["db2", "db3"]));
    let even = held(&[(READERS[0], "db2"), (READERS[1], "db3")]);
    let found = assign(
        &readers(),
        &online(&["db1", "db2", "db3"]),
        &even,
        &Holders::new(),
        &READERS,
    );
    assert_eq!(found, some(&["db2", "db3"]));
}

#[test]
fn nobody_is_given_an_address_that_no_host_may_hold() {
    let found = assign(&readers(), &online(&[]), &Held::new(), &Holders::new(), &READERS);
    assert_eq!(found, [None, None]);
}

#[test]
fn in_manual_mode_a_failed_host_keeps_what_it_holds_and_orphans_are_assigned() {
    let mut eligible = online(&["db1", "db2"]);
    eligible.to_keep.push("db3".into());
    let where_they_are = held(&[(READERS[1], "db3")]);
    let found = assign(&readers(), &eligible, &where_they_are, &Holders::new(), &READERS);
    assert_eq!(found, some(&["db2", "db3"]));
}

#[test]
fn an_exclusive_role_goes_back_to_the_host_it_prefers_once_that_has_caught_up() {
    let report = "10.0.0.120";
    let mut cluster = cluster(vec![role(
        "report",
        RoleMode::Exclusive,
        &["db2", "db3"],
        &[report],
    )]);
    cluster.roles[1].prefer = Some("db3".into());
    let away = held(&[(report, "db2")]);
    let all = online(&["db1", "db2", "db3"]);
    let to = |cluster: &Cluster, eligible: &Eligible, held: &Held| {
        assign(cluster, eligible, held, &Holders::new(), &[report])
    };
    assert_eq!(to(&cluster, &all, &away), some(&["db3"]));
    let behind = Eligible {
        to_return: names(&["db1", "db2"]),
        ..all.clone()
    };
    assert_eq!(to(&cluster, &behind, &away), some(&["db2"]));
    // An address that nobody holds need not wait.
    assert_eq!(to(&cluster, &behind, &Held::new()), some(&["db3"]));
    cluster.roles[1].fail_back = FailBack::OnCommand;
    assert_eq!(to(&cluster, &all, &away), some(&["db2"]));
}

#[test]
fn what_a_person_placed_stays_against_prefer_and_balance_while_the_host_may_hold_it() {
    let report = "10.0.0.120";
    let mut cluster = readers();
    cluster
        .roles
        .push(role("report", RoleMode::Exclusive, &["db2", "db3"], &[report]));
    cluster.roles[2].prefer = Some("db3".into());
    let put = placed(&[(report, "db2"), (READERS[0], "db2"), (READERS[1], "db2")]);
    let wanted_of = [report, READERS[0], READERS[1]];
    let all = online(&["db1", "db2", "db3"]);
    let found = assign(&cluster, &all, &Held::new(), &put, &wanted_of);
    assert_eq!(found, some(&["db2", "db2", "db2"]));
    let found = assign(&cluster, &online(&["db1", "db3"]), &Held::new(), &put, &wanted_of);
    assert_eq!(found, some(&["db3", "db1", "db3"]));
}

#[test]
fn of_two_holders_the_one_that_may_hold_it_keeps_it() {
    let twice = Held::from([(ip(READERS[0]), names(&["db1", "db3"]))]);
    let found = assign(
        &readers(),
        &online(&["db2", "db3"]),
        &twice,
        &Holders::new(),
        &READERS[..1],
    );
    assert_eq!(found, some(&["db3"]));
}

/// A cluster of five hosts with the writer, up to two exclusive and up to three balanced roles, in any state.
#[derive(Debug, Clone)]
struct Any {
    cluster: Cluster,
    writer: Option<HostName>,
    eligible: Eligible,
    held: Held,
    placed: Holders,
}

const HOSTS: [&str; 5] = ["db1", "db2", "db3", "db4", "db5"];

fn some_hosts() -> impl Strategy<Value = Vec<&'static str>> {
    prop::sample::subsequence(HOSTS.to_vec(), 0..=5).prop_shuffle()
}

fn any_cluster() -> impl Strategy<Value = Any> {
    let exclusive = (some_hosts(), prop::option::of(0..5_usize), any::<bool>());
    let balanced = (some_hosts(), 1..5_usize);
    let states = prop::collection::vec((any::<bool>(), any::<bool>(), any::<bool>()), 5);
    (
        prop::collection::vec(exclusive, 0..3),
        prop::collection::vec(balanced, 0..4),
        states,
        prop::option::of(0..2_usize),
        prop::collection::vec(some_hosts(), 20),
        prop::collection::vec(prop::option::weighted(0.2, 0..5_usize), 20),
    )
        .prop_map(|(exclusives, balanceds, states, writer, holding, placing)| {
            let mut roles = Vec::new();
            let mut last = 100;
            let mut next = || {
                last += 1;
                format!("10.0.1.{last}")
            };
            for (number, (hosts, prefer, on_command)) in exclusives.into_iter().enumerate() {
                let address = next();
                let mut role = role(&format!("x{number}"), RoleMode::Exclusive, &hosts, &[&address]);
                role.prefer = prefer.and_then(|at| role.hosts.get(at).cloned());
                if on_command {
                    role.fail_back = FailBack::OnCommand;
                }
                roles.push(role);
            }
            for (number, (hosts, count)) in balanceds.into_iter().enumerate() {
                let addresses: Vec<String> = (0..count).map(|_| next()).collect();
                let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
                roles.push(role(
                    &format!("b{number}"),
                    RoleMode::Balanced,
                    &hosts,
                    &addresses,
                ));
            }
            let cluster = cluster(roles);
            let which = |pick: fn(&(bool, bool, bool)) -> bool| {
                let hosts = HOSTS.iter().zip(&states).filter(|(_, state)| pick(state));
                hosts.map(|(host, _)| HostName::from(*host)).collect::<Vec<_>>()
            };
            let eligible = Eligible {
                to_hold: which(|state| state.0),
                to_keep: which(|state| state.0 || state.1),
                to_return: which(|state| state.0 && state.2),
                last_seen: Held::new(),
                writer_in_doubt: false,
                nobody_to_open: false,
            };
            let addresses = || {
                cluster
                    .roles
                    .iter()
                    .flat_map(|role| role.addresses.iter().copied())
            };
            let held = addresses()
                .zip(holding)
                .map(|(address, hosts)| (address, names(&hosts)))
                .collect();
            let placed = addresses()
                .skip(1)
                .zip(placing)
                .filter_map(|(address, host)| Some((address, HOSTS[host?].into())))
                .collect();
            Any {
                writer: writer.map(|at| HOSTS[at].into()),
                cluster,
                eligible,
                held,
                placed,
            }
        })
}

impl Any {
    fn wanted(&self) -> Holders {
        self.wanted_when(&self.held)
    }

    fn wanted_when(&self, held: &Held) -> Holders {
        wanted(
            &self.cluster,
            self.writer.as_ref(),
            &self.eligible,
            held,
            &self.placed,
        )
    }

    fn others(&self) -> impl Iterator<Item = &Role> {
        self.cluster.roles.iter().skip(1)
    }
}

/// What is held once everything wanted has been done.
fn done(wanted: &Holders) -> Held {
    wanted
        .iter()
        .map(|(address, host)| (*address, vec![host.clone()]))
        .collect()
}

proptest! {
    #[test]
    fn holders_are_hosts_of_the_role_that_may_have_it(any in any_cluster()) {
        let wanted = any.wanted();
        prop_assert_eq!(wanted.get(&ip(samples::WRITER_ADDRESS)), any.writer.as_ref());
        for role in any.others() {
            for address in &role.addresses {
                let may_hold = role.hosts.iter().any(|host| any.eligible.to_hold.contains(host));
                let Some(host) = wanted.get(address) else {
                    prop_assert!(!may_hold, "{} is left to nobody", address);
                    continue;
                };
                prop_assert!(role.hosts.contains(host));
                let holds_it = any.held[address].contains(host);
                let allowed = any.eligible.to_hold.contains(host) || any.eligible.to_keep.contains(host) && holds_it;
                prop_assert!(allowed, "{} was given {}", host, address);
            }
        }
    }

    #[test]
    fn what_is_wanted_is_wanted_again_when_it_has_come_true(any in any_cluster()) {
        let wanted = any.wanted();
        prop_assert_eq!(any.wanted_when(&done(&wanted)), wanted);
    }

    #[test]
    fn the_spread_is_one_at_most_where_an_address_could_move(any in any_cluster()) {
        let wanted = any.wanted();
        let weight = |host: &HostName| weight(&any.cluster, host, &wanted);
        for role in any.others().filter(|role| role.mode == RoleMode::Balanced) {
            for address in &role.addresses {
                let Some(host) = wanted.get(address) else { continue };
                if any.placed.get(address) == Some(host) || !any.eligible.to_hold.contains(host) {
                    continue;
                }
                for other in role.hosts.iter().filter(|host| any.eligible.to_hold.contains(host)) {
                    prop_assert!(weight(host) <= weight(other) + 2, "{} to {}: {:?}", host, other, wanted);
                }
            }
        }
    }

    #[test]
    fn a_holder_that_goes_away_moves_its_own_addresses_and_others_only_to_even_the_spread(
        any in any_cluster(), gone in 0..5_usize
    ) {
        let before = any.wanted();
        let gone: HostName = HOSTS[gone].into();
        let mut after = any.clone();
        for hosts in [&mut after.eligible.to_hold, &mut after.eligible.to_keep, &mut after.eligible.to_return] {
            hosts.retain(|host| *host != gone);
        }
        let now = after.wanted_when(&done(&before));
        // Losing a host makes nobody lighter, and its addresses go to the lightest: no exclusive role moves for it.
        for role in any.others().filter(|role| role.mode == RoleMode::Exclusive) {
            let address = role.addresses[0];
            if let Some(host) = before.get(&address).filter(|host| **host != gone) {
                prop_assert_eq!(now.get(&address), Some(host));
            }
        }
    }

    #[test]
    fn prefer_and_a_person_decide_before_the_rest(any in any_cluster()) {
        let wanted = any.wanted();
        for role in any.others() {
            for address in &role.addresses {
                let may = |host: &&HostName| role.hosts.contains(host) && any.eligible.to_hold.contains(host);
                if let Some(host) = any.placed.get(address).filter(may) {
                    prop_assert_eq!(wanted.get(address), Some(host));
                } else if let Some(host) = role.prefer.as_ref().filter(may).filter(|host| {
                    role.fail_back == FailBack::CaughtUp && any.eligible.to_return.contains(host)
                }) {
                    // A placement on a host that may only keep it wins as well.
                    let stays = any.placed.get(address).is_some_and(|host| any.held[address].contains(host));
                    prop_assert!(stays || wanted.get(address) == Some(host));
                }
            }
        }
    }
}
