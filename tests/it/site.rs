//! Steps of the site around operations, and commands that tell people: real commands on the box, good, failing and hanging
//! ones.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lab::wait::until;
use lab::{Lab, Restart};

use super::cluster::{SOON, cluster_with, mmm};
use super::watch::{ACTS_WITHIN, Watch, host};

/// Where the steps of these stories write what they were told.
const TOLD: &str = "/var/tmp/told";

/// The lab with more keys in its cluster.
fn lab_with(keys: &str) -> Lab {
    cluster_with(&|yaml| format!("{yaml}{keys}"))
}

/// What the steps were told, one map of variables each.
fn told(lab: &Lab) -> Vec<BTreeMap<String, String>> {
    let text = lab.box_().read(TOLD).unwrap_or_default();
    let blocks = text.split("----\n").filter(|block| !block.trim().is_empty());
    let pairs = |block: &str| {
        let lines = block.lines().filter_map(|line| line.split_once('='));
        lines
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    };
    blocks.map(pairs).collect()
}

fn forget(lab: &Lab) {
    lab.box_().write(TOLD, "").unwrap();
}

/// Writes down its environment.
const NOTE: &str = "{ env | grep ^MMM_; echo ----; } >>/var/tmp/told";

#[test]
fn steps_around_a_switchover() {
    let lab = lab_with(&format!(
        "    site_steps:
      switchover:
        before:
          - {{ name: Note it, run: '{NOTE}' }}
          - {{ name: Maybe, run: 'echo no way; [ ! -e /var/tmp/stop ]' }}
          - {{ name: Hang now and then, run: 'if [ -e /var/tmp/hang ]; then sleep 300 & sleep 301; fi', within: 1s, on_failure: go_on }}
        after:
          - {{ name: Note the end, run: '{NOTE}' }}
          - {{ name: Cannot stop anything, run: 'exit 9' }}
"
    ));
    // What will be done stands in the plan, and nothing of it is done.
    let plan = mmm(&lab, &["plan", "switchover", "--to", "db2"], 0).stdout;
    for part in ["Note the end", "the operation goes on without it", "grep ^MMM_"] {
        assert!(plan.contains(part), "`{part}` is not in the plan:\n{plan}");
    }
    assert_eq!(told(&lab), []);

    let done = mmm(&lab, &["switchover", "--to", "db2"], 0);
    assert_eq!(lab.writable_hosts(), ["db2"]);
    let heard = told(&lab);
    assert_eq!(heard.len(), 2, "{heard:?}");
    let (before, after) = (&heard[0], &heard[1]);
    for (name, value) in [
        ("MMM_CLUSTER", "test_mmm"),
        ("MMM_OPERATION", "switchover"),
        ("MMM_OCCASION", "before"),
        ("MMM_OUTGOING", "db1"),
        ("MMM_OUTGOING_ADDRESS", "10.77.0.11"),
        ("MMM_INCOMING", "db2"),
        ("MMM_REPLICAS", "db3"),
        ("MMM_ADDRESS", "10.77.0.100"),
        ("MMM_BY", "person"),
    ] {
        assert_eq!(before.get(name).map(String::as_str), Some(value), "{name}");
    }
    assert_eq!(before["MMM_RUN"], after["MMM_RUN"]);
    assert_eq!(
        (after["MMM_OUTCOME"].as_str(), after["MMM_HOLDER"].as_str()),
        ("done", "db2")
    );
    assert!(
        done.stderr.contains("FAIL")
            && done
                .stderr
                .contains("Cannot stop anything: it ended with status 9"),
        "{}",
        done.stderr
    );
    let journal = format!("/var/lib/mmm/test_mmm/runs/{}.jsonl", after["MMM_RUN"]);
    let journal = lab.box_().read(&journal).unwrap();
    for part in ["\"occasion\":\"before\"", "\"occasion\":\"after\"", "status 9"] {
        assert!(
            journal.contains(part),
            "`{part}` is not in the journal:\n{journal}"
        );
    }

    // One that fails stops it: refused (G80), nothing touched, and whoever began is told that it came to nothing.
    forget(&lab);
    lab.box_().write("/var/tmp/stop", "").unwrap();
    let refused = mmm(&lab, &["switchover", "--to", "db1"], 4);
    assert!(
        refused.stderr.contains("G80") && refused.stderr.contains("no way"),
        "{}",
        refused.stderr
    );
    assert_eq!(lab.writable_hosts(), ["db2"]);
    let heard = told(&lab);
    assert_eq!(heard.len(), 2, "{heard:?}");
    assert_eq!(heard[1]["MMM_OUTCOME"], "refused");
    assert_eq!(heard[1]["MMM_HOLDER"], "db2");

    // One that hangs is ended with all it started, and this one stops nothing.
    lab.box_().sh("rm /var/tmp/stop; touch /var/tmp/hang").unwrap();
    let began = Instant::now();
    let output = mmm(&lab, &["switchover", "--to", "db1"], 0);
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    assert!(
        output
            .stderr
            .contains("it did not end within 1000 ms, and was ended; the operation goes on"),
        "{}",
        output.stderr
    );
    let left = lab.box_().sh("pgrep -f 'sleep 30[01]' || true").unwrap().stdout;
    assert_eq!(left.trim(), "", "something of it still runs");
    assert_eq!(lab.writable_hosts(), ["db1"]);
    assert!(lab.replication_runs());
}

#[test]
fn a_run_killed_among_the_steps_before_it_is_taken_back_and_not_gone_on_with() {
    let lab = lab_with(&format!(
        "    site_steps:
      switchover:
        before:
          - {{ name: Take long now and then, run: 'if [ -e /var/tmp/long ]; then sleep 15; fi', within: 20s }}
        after:
          - {{ name: Note the end, run: '{NOTE}' }}
"
    ));
    lab.box_().write("/var/tmp/long", "").unwrap();
    let mut command = lab.box_().spawn_mmm(["switchover", "--to", "db2"]).unwrap();
    until(SOON, "the step to be begun", || {
        let journals = lab.box_().sh("cat /var/lib/mmm/test_mmm/runs/*.jsonl").unwrap();
        journals.stdout.contains("Take long now and then")
    })
    .unwrap();
    command.signal(rustix::process::Signal::KILL).unwrap();
    until(SOON, "the command to be gone", || !command.is_running()).unwrap();
    // What that step has done is not known, and it is not done a second time.
    let refused = mmm(&lab, &["resume", "latest"], 4);
    for part in ["G73", "Take long now and then", "mmm undo switchover-"] {
        assert!(refused.stderr.contains(part), "`{part}`:\n{}", refused.stderr);
    }
    assert_eq!(told(&lab), []);
    let undone = mmm(&lab, &["undo", "latest"], 0).stdout;
    for part in ["db1 is still the writer", "cut off before its first step"] {
        assert!(undone.contains(part), "`{part}`:\n{undone}");
    }
    let over = mmm(&lab, &["resume", "latest"], 4).stderr;
    assert!(over.contains("guard: G70 "), "{over}");
    let heard = told(&lab);
    assert_eq!(heard.len(), 1, "{heard:?}");
    assert_eq!(
        (heard[0]["MMM_OUTCOME"].as_str(), heard[0]["MMM_HOLDER"].as_str()),
        ("undone", "db1")
    );
    assert_eq!(lab.writable_hosts(), ["db1"]);
    // Begun anew, it has its steps again.
    lab.box_().sh("rm /var/tmp/long").unwrap();
    mmm(&lab, &["switchover", "--to", "db2"], 0);
    assert_eq!(told(&lab).len(), 2);
    assert_eq!(lab.writable_hosts(), ["db2"]);
}

#[test]
fn a_duty_of_the_site_runs_at_its_seat_and_one_that_hangs_is_ended_there() {
    let lab = lab_with(
        "    playbooks: /etc/mmm/playbooks
    site_steps:
      switchover:
        before:
          - { name: Leave a note, duty: leave-note, at: replicas, with: { file: /tmp/note }, within: 3s }
          - { name: Hang there, duty: hang-there, at: incoming, within: 1s, on_failure: go_on }
        after:
          - { name: Leave another, duty: leave-note, at: incoming, with: { file: /tmp/note-2 }, within: 3s }
",
    );
    lab.box_().sh("mkdir -p /etc/mmm/playbooks/duties").unwrap();
    let missing = mmm(&lab, &["validate"], 2);
    assert!(
        missing.stderr.contains("no duty `leave-note`"),
        "{}",
        missing.stderr
    );
    let duty = |name: &str, text: &str| {
        let path = format!("/etc/mmm/playbooks/duties/{name}.yaml");
        lab.box_().write(&path, text).unwrap();
    };
    duty(
        "leave-note",
        "duty: leave-note\nsays: leave a note on {{ host.name }}\nundo: nothing\nwithin: 3s\nsteps:\n  - name: Leave it\n    run: echo \"$MMM_RUN $MMM_OUTCOME\" >{{ with.file }}\n",
    );
    duty(
        "hang-there",
        "duty: hang-there\nsays: hang on {{ host.name }}\nundo: nothing\nwithin: 1s\nsteps:\n  - name: Hang\n    run: sleep 302\n",
    );
    mmm(&lab, &["validate"], 0);
    let output = mmm(&lab, &["switchover", "--to", "db2"], 0);
    assert!(
        output.stderr.contains("what it left running was ended"),
        "{}",
        output.stderr
    );
    let note = lab.db3().sh("cat /tmp/note").unwrap().stdout;
    assert!(note.starts_with("switchover-"), "{note}");
    let note = lab.db2().sh("cat /tmp/note-2").unwrap().stdout;
    assert!(note.trim().ends_with(" done"), "{note}");
    let left = lab.db2().sh("pgrep -f 'sleep 30[2]' || true").unwrap().stdout;
    assert_eq!(left.trim(), "", "something of it still runs");
    assert_eq!(lab.writable_hosts(), ["db2"]);
}

#[test]
fn a_failover_of_the_monitor_does_not_wait_for_a_step_that_hangs() {
    let lab = lab_with(&format!(
        "    site_steps:
      failover:
        before:
          - {{ name: Hang, run: sleep 303, within: 2s }}
        after:
          - {{ name: Note the end, run: '{NOTE}' }}
"
    ));
    let watch = Watch::start(&lab);
    lab.db1().kill_mysqld().unwrap();
    watch.until("db2 to be the writer", |view| {
        view.writer
            .as_ref()
            .is_some_and(|writer| writer.as_str() == "db2")
    });
    watch.until_said("it did not end within 2000 ms, and was ended; the operation goes on");
    until(SOON, "the end to be noted", || told(&lab).len() == 1).unwrap();
    let heard = told(&lab);
    assert_eq!(heard[0]["MMM_OPERATION"], "failover");
    assert_eq!(heard[0]["MMM_BY"], "itself");
    assert_eq!(heard[0]["MMM_OUTCOME"], "done");
    assert_eq!(heard[0]["MMM_HOLDER"], "db2");
    assert_eq!(lab.writable_hosts(), ["db2"]);
}

/// Receives what is posted to port 8080, and writes each body down in a line of its own.
const RECEIVER: &str = r#"
use IO::Socket::INET;
my $door = IO::Socket::INET->new(LocalPort => 8080, Listen => 5, ReuseAddr => 1) or die "no door: $!";
while (my $guest = $door->accept) {
    my $length = 0;
    while (my $line = <$guest>) {
        $length = $1 if $line =~ /^content-length: *(\d+)/i;
        last if $line =~ /^\r?\n$/;
    }
    read($guest, my $body, $length);
    $body =~ s/\n//g;
    open(my $file, '>>', '/var/tmp/received') or die;
    print $file "$body\n";
    close $file;
    print $guest "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    close $guest;
}
"#;

/// The example's own commands, with the addresses of this lab.
fn examples() -> String {
    let example = include_str!("../../inventory.example.yaml");
    let from = example.find("    notify:\n").unwrap();
    let rest = &example[from..];
    let to = rest.find("\n    playbooks:").unwrap();
    rest[..to]
        .replace("http://hooks.example.com/mmm", "http://127.0.0.1:8080/hook")
        .replace(
            "events: [run, state, mode, downtime]",
            "events: [run, state, mode, downtime, writer]",
        )
}

fn received(lab: &Lab) -> Vec<serde_json::Value> {
    let text = lab.box_().read("/var/tmp/received").unwrap_or_default();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn the_examples_tell_people_and_nobody_twice() {
    let hangs = "      hangs: { events: [run, state, check, rule, mode, downtime, alarm], run: sleep 304, within: 1s }\n";
    let lab = lab_with(&format!("{}\n{hangs}", examples().trim_end()));
    lab.box_()
        .write("/etc/mmm/chat.url", "http://127.0.0.1:8080/chat\n")
        .unwrap();
    lab.box_().write("/var/tmp/receiver.pl", RECEIVER).unwrap();
    lab.box_()
        .sh("printf '#!/bin/sh\\ncat >>/var/tmp/mailed\\n' >/usr/local/bin/sendmail && chmod 755 /usr/local/bin/sendmail")
        .unwrap();
    let _receiver = lab.box_().spawn(["perl", "/var/tmp/receiver.pl"]).unwrap();
    until(SOON, "the receiver to listen", || {
        lab.box_()
            .sh("curl --silent http://127.0.0.1:8080/")
            .is_ok_and(|output| output.code == 0)
    })
    .unwrap();
    lab.box_().sh(": >/var/tmp/received").unwrap();
    let watch = Watch::start(&lab);

    mmm(&lab, &["set-manual"], 0);
    mmm(&lab, &["set-active"], 0);
    // A command's own run is told by it, and not once more by the monitor that sees another writer.
    mmm(&lab, &["switchover", "--to", "db2"], 0);
    lab.db2().set_restart(Restart::Never).unwrap();
    lab.db2().kill_mysqld().unwrap();
    watch.until("db1 to be the writer", |view| {
        view.writer
            .as_ref()
            .is_some_and(|writer| writer.as_str() == "db1")
    });
    let of = |kind: &str| -> Vec<serde_json::Value> {
        let all = received(&lab).into_iter();
        all.filter(|event| event["event"] == kind).collect()
    };
    until(ACTS_WITHIN, "both runs to be told", || {
        of("run_ended")
            .iter()
            .filter(|run| run["operation"] != "rejoin")
            .count()
            >= 2
    })
    .unwrap();
    let runs = of("run_ended");
    assert_eq!(runs[0]["operation"], "switchover");
    assert_eq!(runs[1]["operation"], "failover");
    let names: std::collections::BTreeSet<String> = runs.iter().map(|run| run["run"].to_string()).collect();
    assert_eq!(names.len(), runs.len(), "a run was told twice: {runs:?}");
    assert_eq!(of("writer_changed"), [] as [serde_json::Value; 0]);
    assert_eq!(of("mode_changed").len(), 2);
    let states = of("state_changed");
    assert!(
        states
            .iter()
            .any(|state| state["host"] == "db2" && state["from"] == "ONLINE"),
        "{states:?}"
    );
    let texts: Vec<String> = received(&lab)
        .iter()
        .filter_map(|event| event["text"].as_str().map(str::to_owned))
        .collect();
    assert!(
        texts.iter().any(|text| text.contains("db2 is the writer")),
        "{texts:?}"
    );
    let mailed = lab.box_().read("/var/tmp/mailed").unwrap();
    assert!(
        mailed.contains("Subject: mmm test_mmm: notice") && mailed.contains("db2 is the writer"),
        "{mailed}"
    );
    // The one that hangs has kept nobody from anything.
    watch.until_said("`notify.hangs`: it did not end within 1000 ms, and was ended");
    let view = watch.until("all to be well", |view| view.rule == "R03" || view.rule == "R04");
    assert_eq!(host(&view, "db1").name.as_str(), "db1");
}

#[test]
fn a_downtime_is_told_and_mutes_what_it_is_about() {
    let lab = lab_with(
        "    notify:\n      note: { events: [state, check, downtime, alarm], run: 'cat >>/var/tmp/received' }\n",
    );
    let watch = Watch::start(&lab);
    mmm(
        &lab,
        &["downtime", "db3", "--for", "10m", "--reason", "new disks"],
        0,
    );
    lab.db3().kill_mysqld().unwrap();
    watch.until("db3 to be away and back", |view| {
        watch.said().contains("db3 changed from ONLINE to HARD_OFFLINE")
            && view
                .hosts
                .iter()
                .all(|host| host.state == mmm::core::hosts::HostState::Online)
    });
    mmm(&lab, &["downtime", "db3", "--end"], 0);
    let ended = |event: &serde_json::Value| event["event"] == "downtime_changed" && event["until"].is_null();
    until(Duration::from_secs(20), "the end to be told", || {
        received(&lab).iter().any(ended)
    })
    .unwrap();
    let all = received(&lab);
    let muted = |event: &&serde_json::Value| event["event"] == "state_changed" && event["host"] == "db3";
    assert_eq!(all.iter().filter(muted).count(), 0, "{all:?}");
}
