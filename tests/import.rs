//! `mmm import` as an operator types it: real files, real permissions, and what `mmm validate` says afterwards.

#![expect(clippy::unwrap_used, reason = "whatever fails here is a failed test")]

use std::fs::{File, Permissions, metadata, read_to_string, set_permissions, write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use strict::Schema;

#[path = "../src/cli/schema/strict.rs"]
mod strict;

/// A directory with the files of the cluster test_mmm, as MMM wants them.
fn mmm_directory() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/import");
    for name in [
        "mmm_mon_test_mmm.conf",
        "mmm_common_test_mmm.conf",
        "mmm_agent_test_mmm.conf",
    ] {
        let to = dir.path().join(name);
        write(&to, read_to_string(golden.join(name)).unwrap()).unwrap();
        set_permissions(&to, Permissions::from_mode(0o640)).unwrap();
    }
    write(
        dir.path().join("mmm_mon_log_test_mmm.conf"),
        "log4perl.logger = INFO\n",
    )
    .unwrap();
    dir
}

/// Runs `mmm` in a directory with its stdout into a pipe, or into a file.
fn mmm(dir: &Path, words: &str, stdout: Option<&Path>) -> Output {
    let stdout = stdout.map_or_else(Stdio::piped, |path| {
        File::options().write(true).open(path).unwrap().into()
    });
    Command::new(env!("CARGO_BIN_EXE_mmm"))
        .args(words.split(' '))
        .current_dir(dir)
        .env_remove("MMM_INVENTORY")
        .stdout(stdout)
        .output()
        .unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

fn mode(path: PathBuf) -> u32 {
    metadata(path).unwrap().permissions().mode() & 0o777
}

fn change(path: PathBuf, was: &str, becomes: &str) {
    let text = read_to_string(&path).unwrap();
    assert!(text.contains(was));
    write(path, text.replace(was, becomes)).unwrap();
}

#[test]
fn what_is_written_is_private_valid_and_never_overwritten() {
    let dir = mmm_directory();
    let at = |name: &str| dir.path().join(name);
    let words = "import --from . --to inventory.yaml --secrets-dir secrets";
    let done = mmm(dir.path(), words, None);
    assert_eq!(code(&done), 0, "{}", stderr(&done));
    assert!(
        stdout(&done).starts_with("`inventory.yaml` is written: 1 cluster, 3 hosts, "),
        "{}",
        stdout(&done)
    );
    assert!(
        stderr(&done).contains("remark: ./mmm_mon_test_mmm.conf:29: `max_backlog 900`"),
        "{}",
        stderr(&done)
    );
    assert_eq!((mode(at("inventory.yaml")), mode(at("secrets"))), (0o600, 0o700));
    assert_eq!(mode(at("secrets/test_mmm.agent.password")), 0o600);
    assert_eq!(
        read_to_string(at("secrets/test_mmm.agent.password")).unwrap(),
        "agent#secret"
    );
    assert!(
        !read_to_string(at("inventory.yaml"))
            .unwrap()
            .contains("agent#secret")
    );

    let valid = mmm(dir.path(), "--inventory inventory.yaml validate", None);
    assert_eq!(code(&valid), 0, "{}", stderr(&valid));

    let before = read_to_string(at("inventory.yaml")).unwrap();
    let again = mmm(dir.path(), words, None);
    assert_eq!(code(&again), 4);
    assert!(
        stderr(&again).contains("nothing is overwritten"),
        "{}",
        stderr(&again)
    );
    let other = mmm(
        dir.path(),
        "import --from . --to other.yaml --secrets-dir secrets",
        None,
    );
    assert_eq!(code(&other), 4);
    assert!(!at("other.yaml").exists(), "what was written first is taken back");
    assert_eq!(read_to_string(at("inventory.yaml")).unwrap(), before);
    assert!(at("secrets/test_mmm.agent.password").exists());
}

#[test]
fn passwords_go_to_a_stdout_that_nobody_else_can_read() {
    let dir = mmm_directory();
    let file = dir.path().join("inventory.yaml");
    File::create(&file).unwrap();
    set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    let refused = mmm(dir.path(), "@test_mmm import --from .", Some(&file));
    assert_eq!(code(&refused), 4);
    assert!(stderr(&refused).contains("mode 0644"), "{}", stderr(&refused));
    assert_eq!(metadata(&file).unwrap().len(), 0);

    set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    let done = mmm(dir.path(), "@test_mmm import --from .", Some(&file));
    assert_eq!(code(&done), 0, "{}", stderr(&done));
    let piped = mmm(dir.path(), "import mmm_mon_test_mmm.conf", None);
    assert_eq!(
        stdout(&piped),
        read_to_string(&file).unwrap().replace("./mmm_", "mmm_")
    );
    let valid = mmm(dir.path(), "--inventory inventory.yaml validate", None);
    assert_eq!(code(&valid), 0, "{}", stderr(&valid));
}

#[test]
fn clusters_are_named_after_their_files_and_each_can_be_chosen() {
    let dir = mmm_directory();
    let at = |name: &str| dir.path().join(name);
    for (from, to) in [
        ("mmm_mon_test_mmm.conf", "mmm_mon.conf"),
        ("mmm_common_test_mmm.conf", "mmm_common.conf"),
    ] {
        let text = read_to_string(at(from)).unwrap();
        write(
            at(to),
            text.replace("10.0.0.", "10.0.9.").replace("_test_mmm.conf", ""),
        )
        .unwrap();
    }
    let names = |words: &str| {
        let output = mmm(dir.path(), words, None);
        let lines = stdout(&output).lines().map(str::to_owned).collect::<Vec<_>>();
        let is_cluster =
            |line: &&String| line.starts_with("  ") && line.ends_with(':') && !line.starts_with("   ");
        let names: Vec<String> = lines
            .iter()
            .filter(is_cluster)
            .map(|line| line.trim().to_owned())
            .collect();
        (code(&output), names.join(" "))
    };
    assert_eq!(names("import --from ."), (0, "mmm: test_mmm:".to_owned()));
    assert_eq!(
        names("import --from . --name shop"),
        (0, "shop: test_mmm:".to_owned())
    );
    assert_eq!(names("@test_mmm import --from ."), (0, "test_mmm:".to_owned()));
    assert_eq!(
        names("@shop import mmm_mon.conf mmm_agent_test_mmm.conf"),
        (0, "shop:".to_owned())
    );
    assert_eq!(names("@shop import --from ."), (2, String::new()));
    assert_eq!(names("import mmm_mon.conf ./mmm_mon.conf"), (2, String::new()));
    assert_eq!(names("import --from /nonexistent"), (2, String::new()));
}

#[test]
fn everything_wrong_is_said_at_its_place_and_nothing_is_written() {
    let dir = mmm_directory();
    let at = |name: &str| dir.path().join(name);
    change(at("mmm_mon_test_mmm.conf"), "</check>", "</chek>");
    change(
        at("mmm_common_test_mmm.conf"),
        "mysql_port              3306",
        "mysql_port  default",
    );
    let refused = mmm(
        dir.path(),
        "import mmm_mon_test_mmm.conf --to inventory.yaml",
        None,
    );
    assert_eq!((code(&refused), stdout(&refused)), (2, ""));
    for place in [
        "mmm_common_test_mmm.conf:8:17",
        "mmm_mon_test_mmm.conf:26:1",
        "mmm_mon_test_mmm.conf:30:1",
    ] {
        assert!(stderr(&refused).contains(place), "{place}\n{}", stderr(&refused));
    }
    assert!(!at("inventory.yaml").exists());
}

#[test]
fn readable_passwords_are_remarked_in_json_too() {
    let dir = mmm_directory();
    set_permissions(
        dir.path().join("mmm_common_test_mmm.conf"),
        Permissions::from_mode(0o664),
    )
    .unwrap();
    let done = mmm(dir.path(), "--output json import --from .", None);
    let told: serde_json::Value = serde_json::from_str(stdout(&done)).unwrap();
    assert_eq!(
        (told["clusters"].as_u64(), told["hosts"].as_u64()),
        (Some(1), Some(3))
    );
    assert!(told["inventory"].as_str().unwrap().contains("cluster03:"));
    let remarks = told["remarks"].as_array().unwrap();
    let what = "everyone can read `mmm_common_test_mmm.conf` and the passwords in it";
    assert!(remarks.iter().any(|remark| remark["what"] == what), "{remarks:?}");
}

#[test]
fn programs_are_told_what_the_schema_says() {
    let dir = mmm_directory();
    let told =
        |words: &str| -> Value { serde_json::from_str(stdout(&mmm(dir.path(), words, None))).unwrap() };
    let name = "output-import";
    let schema = Schema::strict(told(&format!("schema {name}"))).unwrap();
    for words in [
        "--output json import --from . --secrets-dir secrets",
        "--output json import --from . --secrets-dir more --to inventory.yaml",
    ] {
        let told = told(words);
        assert_eq!(schema.wrong(&told), None, "{told:#}");
        assert_eq!(schema.takes_misspelt(&told), [""; 0], "{told:#}");
        assert!(!told["remarks"].as_array().unwrap().is_empty(), "{told:#}");
    }
}
