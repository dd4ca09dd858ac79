//! A lab with `mmm` installed on its box and the lab's inventory in place.

use std::path::Path;
use std::time::Duration;

use lab::command::Output;
use lab::{Lab, Options};

/// What a single command may take before a test gives up on it.
pub const SOON: Duration = Duration::from_secs(30);

/// A fresh lab with the program under test.
pub fn cluster() -> Lab {
    cluster_with(&|yaml| yaml)
}

/// As [`cluster`], with the lab's inventory changed by `change`.
pub fn cluster_with(change: &dyn Fn(String) -> String) -> Lab {
    let lab = Lab::up(Options::for_test()).unwrap();
    install(&lab, &change(lab.inventory_yaml()));
    lab
}

/// Puts the program under test and its inventory on the lab's box.
pub fn install(lab: &Lab, inventory: &str) {
    lab.install_on_box(Path::new(env!("CARGO_BIN_EXE_mmm"))).unwrap();
    lab.write_inventory(inventory).unwrap();
}

/// Runs `mmm` on the box and demands an exit code; a failure shows everything it printed.
#[track_caller]
pub fn mmm(lab: &Lab, arguments: &[&str], code: i32) -> Output {
    let output = lab.box_().mmm(arguments).unwrap();
    assert_eq!(
        output.code,
        code,
        "mmm {} exited with {}\n--- stdout\n{}\n--- stderr\n{}",
        arguments.join(" "),
        output.code,
        output.stdout,
        output.stderr
    );
    output
}
