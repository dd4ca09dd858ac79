//! What evidence about a writer rests on: processes known by more than their number, and what the other hosts hear.

use lab::Restart;
use lab::wait::until;
use lab::writer::Writers;

use super::cluster::{SOON, cluster, mmm};
use super::watch::{ACTS_WITHIN, Watch, warns};

/// The script of a shipped duty of one step, as it stands.
fn script(duty: &str) -> String {
    let (_, script) = duty.split_once("    run: |\n").unwrap();
    script.split_once("    register:").unwrap().0.to_owned()
}

#[test]
fn a_server_process_is_known_by_its_number_and_its_start() {
    let lab = cluster();
    let db1 = lab.db1();
    let ran = |script: &str| db1.sh(script).unwrap().ok().unwrap().stdout.trim().to_owned();
    let process = script(include_str!("../../playbooks/duties/server-process.yaml"));
    let first = ran(&process);
    let (pid, since) = first.split_once(':').unwrap();
    assert!(
        pid.parse::<u32>().is_ok() && since.parse::<u64>().is_ok(),
        "{first}"
    );
    assert_eq!(ran(&process), first, "the same server looks the same");

    db1.kill_mysqld().unwrap();
    until(ACTS_WITHIN, "another server to be there", || {
        let found = ran(&process);
        !found.is_empty() && found != first
    })
    .unwrap();
    let signs = ran(&script(include_str!("../../playbooks/duties/server-signs.yaml")));
    assert!(signs.contains("just_started"), "{signs}");

    db1.set_restart(Restart::Never).unwrap();
    db1.kill_mysqld().unwrap();
    assert_eq!(ran(&process), "");
    // Something under another name, and the file that says that it is the server.
    let file =
        ran("my_print_defaults mysqld server mariadb mariadbd | sed -n 's/^--pid[-_]file=//p' | tail -n 1");
    let other = ran(&format!("sleep 600 >/dev/null 2>&1 & echo $! | tee {file}"));
    assert!(
        ran(&process).starts_with(&format!("{other}:")),
        "{other} in {file}"
    );
    // A file from before its start speaks of another process that had its number.
    ran(&format!("touch -d '1 hour ago' {file}"));
    assert_eq!(ran(&process), "");
    ran(&format!("echo nonsense > {file}"));
    assert_eq!(ran(&process), "");
}

#[test]
fn what_the_other_hosts_hear_of_a_silent_writer_is_said() {
    let lab = cluster();
    let watch = Watch::start(&lab);
    let load = lab.start_load(Writers::default()).unwrap();
    lab.partition(&["db1"], &["box"]).unwrap();
    let receives = "its replication receives transactions from it";
    watch.until("what the others hear", |view| {
        warns(view, "R27 holds failover back")
            && warns(view, &format!("db2 is greeted by its server, {receives}"))
    });
    assert!(watch.said().contains(receives), "{}", watch.said());
    let ready = mmm(&lab, &["check", "--readiness"], 3);
    assert!(ready.stdout.contains(receives), "{ready:?}");
    lab.heal().unwrap();
    watch.until("all to be well", |view| {
        view.rule == "R03" && view.warnings.is_empty()
    });
    load.until_acknowledged("db1", 50, SOON).unwrap();
    let report = load
        .stop_and_judge(&[lab.db1(), lab.db2(), lab.db3()], super::failover::unplanned(0))
        .unwrap();
    assert_eq!(report.lost(), 0, "{report}");
}
