//! What the gate does after the tests. Every step runs, whatever the others found, so that one run tells all.

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use crate::{cargo, tidy};

/// Runs all steps and names those that failed.
pub(crate) fn run(root: &Path) -> ExitCode {
    let mut failed = Vec::new();
    let mut step = |name: &'static str, run: &mut dyn FnMut() -> bool| {
        println!("== {name}");
        if !run() {
            failed.push(name);
        }
    };
    step("tidy", &mut || tidy::run(root) == ExitCode::SUCCESS);
    step("cargo fmt --all --check", &mut || succeeds(cargo().args(["fmt", "--all", "--check"])));
    step("cargo clippy --workspace --all-targets -- -D warnings", &mut || {
        succeeds(cargo().args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))
    });
    if succeeds(cargo().args(["deny", "--version"]).stdout(Stdio::null()).stderr(Stdio::null())) {
        step("cargo deny check", &mut || succeeds(cargo().args(["deny", "check"])));
    } else {
        println!("== cargo deny check: skipped, for cargo-deny is not installed (cargo install cargo-deny --locked)");
    }
    if failed.is_empty() {
        println!("== all well");
        return ExitCode::SUCCESS;
    }
    println!("== failed: {}", failed.join("; "));
    ExitCode::FAILURE
}

fn succeeds(command: &mut Command) -> bool {
    match command.status() {
        Ok(status) => status.success(),
        Err(error) => {
            eprintln!("{} cannot be started: {error}", command.get_program().display());
            false
        }
    }
}
