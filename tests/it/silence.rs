//! Writers that fall silent: without power, cut off, or frozen. Nobody can ask them whether they still write.

use std::time::{Duration, Instant};

use lab::judge::Report;
use lab::roster::INTERFACE;
use lab::wait::until;
use lab::writer::Writers;
use lab::{Lab, inventory};
use mmm::core::hosts::HostState;

use super::cluster::{SOON, cluster, cluster_with, mmm};
use super::failover::{
    back_or_kept_out, count_of, kept_out, one_writer_at_a_time, rows_only_on, surplus_of, unplanned,
};
use super::watch::{ACTS_WITHIN, WRITER, Watch, host, long, tell, until_shown, warns};

/// Nothing is done about a silent writer for so long before a test believes that nothing will be.
const PATIENCE: Duration = Duration::from_secs(14);
/// The policy that never opens a host beside a writer that nobody has taken out of service.
const NEVER: &str = "    failover: { unfenced: never }\n";

fn never(yaml: String) -> String {
    yaml + NEVER
}

/// A lab whose hosts can be fenced at the switch, as the policy `never` wants it.
fn fenced() -> Lab {
    let lab = cluster_with(&|yaml| never(yaml) + inventory::POWER_FENCE);
    lab.install_power_duty().unwrap();
    lab
}

/// Cuts the writer's power under load and waits until another host is written.
#[track_caller]
fn without_power(lab: &Lab, watch: &Watch, story: &str) -> Report {
    let load = lab.start_load(Writers::default()).unwrap();
    lab.db1().power_off().unwrap();
    if let Err(error) = load.until_acknowledged("db2", 200, ACTS_WITHIN) {
        panic!("{error:#}\n{}", watch.said());
    }
    let survivors: Vec<_> = [lab.db2(), lab.db3()]
        .into_iter()
        .filter(|host| host.is_on())
        .collect();
    let report = load.stop_and_judge(&survivors, unplanned(1)).unwrap();
    tell(story, &report);
    one_writer_at_a_time(&report);
    report
}

/// Boots the old writer: it is made harmless before it is compared, and then follows or is kept out.
#[track_caller]
fn comes_back(lab: &Lab, watch: &Watch) {
    lab.db1().boot().unwrap();
    back_or_kept_out(lab, watch, "db1", "db2");
    let compared = |said: &str| {
        said.find("rejoin test_mmm")
            .or_else(|| said.find("did not rejoin"))
    };
    until(SOON, "it to be told", || compared(&watch.said()).is_some())
        .unwrap_or_else(|_| panic!("{}", watch.said()));
    let said = watch.said();
    let harmless = said.find("made the replaced writer read-only");
    assert!(
        harmless.expect("it was made harmless") < compared(&said).unwrap(),
        "{said}"
    );
}

#[test]
fn a_host_without_power_is_replaced() {
    for _ in 0..if long() { 3 } else { 1 } {
        let lab = cluster();
        let watch = Watch::start(&lab);
        without_power(&lab, &watch, "power-off of the writer, no fence, silent to all");
        assert!(watch.said().contains("R30"), "{}", watch.said());
        comes_back(&lab, &watch);
    }
}

#[test]
fn a_host_without_power_is_fenced_and_replaced() {
    for _ in 0..if long() { 3 } else { 1 } {
        let lab = fenced();
        let watch = Watch::start(&lab);
        without_power(&lab, &watch, "power-off of the writer, fenced at the switch");
        assert!(watch.said().contains("R29"), "{}", watch.said());
        comes_back(&lab, &watch);
    }
}

/// Another port of the switch is named than the writer's, say: what the fence cuts off is not the writer, and it cannot tell.
const LYING_FENCE: &str = "\
duty: cut-power
says: cut the power of a host that is not {{ host.name }}
undo: nothing
within: 10s
steps:
  - name: Ask the power strip
    run: 'true'
verify: 'true'
";

/// What a fence says of itself is not believed: whoever can be asked looks, and finds the writer.
#[test]
fn a_fence_that_lies_opens_nobody() {
    let lab = fenced();
    lab.box_()
        .write(
            &format!("{}/duties/cut-power.yaml", inventory::PLAYBOOKS),
            LYING_FENCE,
        )
        .unwrap();
    let watch = Watch::start(&lab);
    let load = lab.start_load(Writers::default()).unwrap();
    lab.db1().freeze().unwrap();
    watch.until_said("It has fallen silent");
    watch.until_said("It answers no ARP");
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        let open = lab.writable_hosts();
        assert!(
            !open.contains(&"db2") && !open.contains(&"db3"),
            "{}",
            watch.said()
        );
    }
    assert_eq!(lab.who_has(WRITER).unwrap(), ["db1"], "{}", watch.said());
    lab.db1().thaw().unwrap();
    watch.until("all to be well", |view| {
        view.rule == "R03" && view.warnings.is_empty()
    });
    load.until_acknowledged("db1", 50, SOON).unwrap();
    let mut expect = unplanned(0);
    expect.blind_at_most = Duration::from_secs(60);
    let report = load
        .stop_and_judge(&[lab.db1(), lab.db2(), lab.db3()], expect)
        .unwrap();
    tell("the writer's host frozen, and a fence that lies", &report);
    assert_eq!(report.verdict(), [], "{report}");
}

#[test]
fn one_dead_witness_more_does_not_block() {
    let lab = cluster();
    let watch = Watch::start(&lab);
    lab.db3().power_off().unwrap();
    watch.until("db3 to be known to be off", |view| {
        host(view, "db3").state == HostState::HardOffline
    });
    without_power(&lab, &watch, "power-off of the writer, db3 off before");
    // It still follows the dead writer when it comes back, and would take up what only that one has.
    lab.db3().boot().unwrap();
    let source = lab.address_of("db2").unwrap();
    until(ACTS_WITHIN, "db3 to follow the new writer", || {
        let replication = lab.db3().replication();
        replication.is_ok_and(|status| status.is_some_and(|it| it.source == source && it.is_running()))
    })
    .unwrap_or_else(|error| panic!("{error:#}\n{}", watch.said()));
    lab.wait_for_equal_tables("app.writes", &["db2", "db3"], SOON)
        .unwrap();
    watch.until_said("made it follow the writer db2");
}

#[test]
fn with_both_masters_dead_nothing_is_opened() {
    let lab = cluster();
    let watch = Watch::start(&lab);
    lab.db2().power_off().unwrap();
    lab.db1().power_off().unwrap();
    watch.until("nothing to be left", |view| view.rule == "R07");
    mmm(&lab, &["failover"], 4);
    assert_eq!(lab.writable_hosts(), [""; 0]);
    // The writer returns first: it is opened again, because nobody has taken over from it.
    lab.db1().boot().unwrap();
    until(ACTS_WITHIN, "the writer to be opened again", || {
        lab.writable_hosts() == ["db1"]
    })
    .unwrap();
    lab.db2().boot().unwrap();
    watch.until("all to be well", |view| {
        view.rule == "R03" && view.warnings.is_empty()
    });
    assert_eq!(lab.who_has(WRITER).unwrap(), ["db1"]);
}

/// Nothing may move while the writer is out of sight, the guard is named, and all is well once it is back.
#[track_caller]
fn refuses(lab: &Lab, story: &str, rule: &str, hide: impl Fn(), find: impl Fn()) {
    let watch = Watch::start(lab);
    let load = lab.start_load(Writers::default()).unwrap();
    hide();
    let view = watch.until("the guard to be named", |view| {
        warns(view, &format!("{rule} holds failover back"))
    });
    assert_eq!(view.writer.as_ref().map(|writer| writer.as_str()), Some("db1"));
    let refused = mmm(lab, &["failover"], 4);
    assert!(refused.stderr.contains(rule), "{}", refused.stderr);
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        assert_ne!(lab.writable_hosts(), ["db2"], "{}", watch.said());
        assert_ne!(lab.writable_hosts(), ["db1", "db2"], "{}", watch.said());
    }
    // A look into the hosts' own network: nobody else holds the address.
    assert_eq!(lab.who_has(WRITER).unwrap(), ["db1"], "{}", watch.said());
    find();
    watch.until("all to be well", |view| {
        view.rule == "R03" && view.warnings.is_empty()
    });
    load.until_acknowledged("db1", 50, SOON).unwrap();
    let mut expect = unplanned(0);
    expect.blind_at_most = Duration::from_secs(60);
    let report = load
        .stop_and_judge(&[lab.db1(), lab.db2(), lab.db3()], expect)
        .unwrap();
    tell(story, &report);
    assert_eq!(report.verdict(), [], "{report}");
}

#[test]
fn a_writer_cut_off_from_the_box_alone_stays() {
    let lab = cluster();
    let hide = || lab.partition(&["db1"], &["box"]).unwrap();
    refuses(&lab, "the writer cut off from the box alone", "R27", hide, || {
        lab.heal().unwrap()
    });
}

/// A filter between networks may let through nothing but the server's port: neither ARP nor ping tell anything then.
#[test]
fn a_writer_of_which_the_others_see_its_port_alone_stays() {
    let lab = cluster();
    let said = |host: &lab::Host, line: &str| host.sh(line).unwrap().ok().unwrap();
    let hide = || {
        let card = said(lab.db1(), &format!("cat /sys/class/net/{INTERFACE}/address")).stdout;
        let known = [lab.db1().address().to_string(), WRITER.to_owned()].map(|address| {
            format!(
                "ip neigh replace {address} lladdr {} nud permanent dev {INTERFACE}",
                card.trim()
            )
        });
        for host in [lab.db2(), lab.db3(), lab.client()] {
            said(host, &known.join(" && "));
        }
        said(
            lab.db1(),
            "nft 'add table arp mute; add chain arp mute in { type filter hook input priority 0; }; \
             add rule arp mute in arp operation request drop; \
             add table ip mute; add chain ip mute in { type filter hook input priority 0; }; \
             add rule ip mute in icmp type echo-request drop'",
        );
        lab.partition(&["db1"], &["box"]).unwrap();
    };
    refuses(
        &lab,
        "only the writer's port seen by the others",
        "R27",
        hide,
        || {
            said(lab.db1(), "nft 'delete table arp mute; delete table ip mute'");
            lab.heal().unwrap();
        },
    );
}

#[test]
fn a_frozen_writer_whose_kernel_answers_stays() {
    let lab = cluster();
    let hide = || lab.db1().freeze().unwrap();
    refuses(&lab, "the writer's host frozen", "R26", hide, || {
        lab.db1().thaw().unwrap()
    });
}

#[test]
fn a_silent_writer_that_nobody_can_fence_stays_when_the_policy_says_never() {
    let lab = cluster_with(&never);
    let watch = Watch::start(&lab);
    let load = lab.start_load(Writers::default()).unwrap();
    lab.db1().power_off().unwrap();
    watch.until("the guard to be named", |view| {
        warns(view, "R31 holds failover back")
    });
    let refused = mmm(&lab, &["failover"], 4);
    assert!(refused.stderr.contains("R31"), "{}", refused.stderr);
    assert_eq!(lab.writable_hosts(), [""; 0]);
    assert!(!lab.who_has(WRITER).unwrap().contains(&"db2"));
    // Who has made sure himself may say so.
    let done = mmm(&lab, &["failover", "--allow-unfenced"], 0);
    let price = "R31: going on although `db1` is not fenced";
    assert!(done.stderr.contains(price), "{}", done.stderr);
    watch.until("the word that was given to be told", |view| {
        warns(view, "on a person's word against R31")
    });
    load.until_acknowledged("db2", 50, SOON).unwrap();
    let report = load
        .stop_and_judge(&[lab.db2(), lab.db3()], unplanned(1))
        .unwrap();
    tell(
        "power-off of the writer, `unfenced: never`, then --allow-unfenced",
        &report,
    );
    one_writer_at_a_time(&report);
    comes_back(&lab, &watch);
}

/// How long the writer's link is down.
fn darkness() -> Duration {
    Duration::from_secs(if long() { 30 } else { 12 })
}

#[test]
fn a_dark_link_makes_no_second_writer_when_the_policy_says_never() {
    let lab = cluster_with(&never);
    let hide = || lab.db1().link_down().unwrap();
    refuses(
        &lab,
        "the writer's link down, `unfenced: never`",
        "R31",
        hide,
        || {
            std::thread::sleep(darkness().saturating_sub(PATIENCE));
            lab.db1().link_up().unwrap();
        },
    );
}

/// A client on the writer's own host writes on while the link is down.
const LOCAL_CLIENT: &str = "while :; do mariadb -u app --password=\"$(cat /root/app.password)\" -h 127.0.0.1 app \
     -e \"INSERT INTO writes SELECT FLOOR(UNIX_TIMESTAMP(NOW(6)) * 1000000), 'local', @@server_id\" \
     && date +%s.%N; sleep 0.02; done";

#[test]
fn a_dark_link_has_its_price_under_the_default_policy() {
    let lab = cluster();
    let watch = Watch::start(&lab);
    let load = lab.start_load(Writers::default()).unwrap();
    lab.db1()
        .write(
            "/root/app.password",
            &format!("{}\n", lab.password("app").unwrap()),
        )
        .unwrap();
    let local = lab.db1().spawn(["sh", "-c", LOCAL_CLIENT]).unwrap();
    until(SOON, "the local client to write", || {
        local.stdout().lines().count() > 20
    })
    .unwrap();
    let dark = Instant::now();
    lab.db1().link_down().unwrap();
    if let Err(error) = load.until_acknowledged("db2", 100, ACTS_WITHIN) {
        panic!("{error:#}\n{}", watch.said());
    }
    let opened = dark.elapsed();
    let before = local.stdout().lines().count();
    std::thread::sleep(darkness().saturating_sub(dark.elapsed()));
    let during = local.stdout().lines().count() - before;
    assert!(during > 0, "the local client went on writing: {}", local.stderr());
    let shadow = dark.elapsed() - opened;
    let up = Instant::now();
    lab.db1().link_up().unwrap();
    until(SOON, "the old writer to be closed", || {
        // Asking fails while sessions are being ended.
        lab.db1().is_writable().is_ok_and(|writable| !writable)
    })
    .unwrap();
    let closed = up.elapsed();
    until(SOON, "the old writer's addresses to be gone", || {
        lab.who_has(WRITER).unwrap() == ["db2"]
    })
    .unwrap();
    let moved = up.elapsed();
    drop(local);
    let view = watch.until("the old writer to be kept out", |view| {
        surplus_of(view, "db1").is_some()
    });
    kept_out(&lab, "db1");
    let surplus = surplus_of(&view, "db1").unwrap();
    assert_eq!(count_of(&surplus), rows_only_on(&lab, "db1", "db2"), "{surplus}");
    let report = load
        .stop_and_judge(&[lab.db2(), lab.db3()], unplanned(1))
        .unwrap();
    tell("the writer's link down, default policy", &report);
    eprintln!(
        "the price of `unfenced: if_silent_to_all`: two writable hosts for {:.1} s, {during} rows acknowledged by the old \
         writer meanwhile; after the link came back it was closed within {:.0} ms, without addresses within {:.0} ms; \
         surplus {surplus}",
        shadow.as_secs_f64(),
        closed.as_secs_f64() * 1000.0,
        moved.as_secs_f64() * 1000.0
    );
    assert!(closed < Duration::from_secs(3), "{}", watch.said());
    assert_eq!(report.duplicated(), 0, "{report}");
    eprintln!("{}", watch.said());
    until_shown(&lab, "the exposure to be named", SOON, |view| {
        warns(view, &surplus)
    })
    .unwrap();
}
