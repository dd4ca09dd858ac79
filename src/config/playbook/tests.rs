//! The shipped files load, and broken ones are refused with their place.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use super::*;
use crate::config::diagnostic::render_all;

#[test]
fn shipped_playbooks_keep_the_rules() {
    if let Err(findings) = load(None) {
        panic!("{}", render_all(&findings));
    }
}

#[test]
fn every_shipped_file_is_built_in() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("playbooks");
    let mut there: Vec<String> = Vec::new();
    for folder in FOLDERS {
        for entry in fs::read_dir(root.join(folder)).unwrap() {
            there.push(format!(
                "{folder}/{}",
                entry.unwrap().file_name().to_str().unwrap()
            ));
        }
    }
    there.sort();
    let built_in: Vec<&str> = FILES.iter().map(|(path, _)| *path).collect();
    assert_eq!(there, built_in);
}
