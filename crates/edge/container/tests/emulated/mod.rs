//! Runs this test program again where only unified control groups (v2) are: in an emulated machine. Build
//! machines still have those of v1, or both. `cargo xtask vm-test` does the same with v1 alone too.

use std::{path::Path, process::Command};

/// Set in the emulated machine.
pub(crate) const EMULATED: &str = "EMULATED";

pub(crate) fn everything_holds_with_unified_control_groups(_dir: &Path) {
    if std::env::var_os(EMULATED).is_some() {
        return;
    }
    if !rustix::process::geteuid().is_root() || !cfg!(target_arch = "x86_64") {
        return println!("    skipped: needs root, and a kernel for x86_64");
    }
    let program = std::env::current_exe().expect("this program");
    let output = Command::new("sh")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/emulated/boot.sh"))
        .args([&program, &Path::new(env!("CARGO_TARGET_TMPDIR")).join("emulated")])
        .arg("v2")
        .output()
        .expect("run sh");
    let said = String::from_utf8_lossy(&output.stdout);
    let tests: Vec<_> = said.lines().map(str::trim).filter(|line| line.starts_with("test ")).collect();
    let complete = said.contains("emulated: status 0") && tests.len() == super::TESTS.len();
    assert!(complete && !said.contains("skipped"), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    println!("    {} tests passed in an emulated machine", tests.len());
}
