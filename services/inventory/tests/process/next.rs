//! The service's next build: the same with one more field in a request, a row and an answer, and one more event, from version 2 on.
//!
//! It is made of the workspace as it is and of `next/next.patch`, as an author would change it, and built beside it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What of the workspace is changed; all else is used where it is.
const CHANGED: &str = "services";

/// Builds it, in the profile of this test; gives the binary.
pub(crate) fn build() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("the service is in a workspace");
    let made = Path::new(env!("CARGO_TARGET_TMPDIR")).join("next");
    // Without what the last drill left, and without following its links.
    let _ = fs::remove_dir_all(&made);
    fs::create_dir_all(made.join(CHANGED)).expect("a folder can be made");
    for entry in fs::read_dir(workspace).expect("the workspace can be read") {
        let name = entry.expect("the workspace can be read").file_name();
        let is_left_out = name == CHANGED || name == "target" || name.to_string_lossy().starts_with(".git");
        if !is_left_out {
            std::os::unix::fs::symlink(workspace.join(&name), made.join(&name)).expect("a link can be made");
        }
    }
    run(Command::new("cp").arg("-R").arg(workspace.join("services/inventory")).arg(made.join(CHANGED)));
    let patch = workspace.join("services/inventory/tests/process/next/next.patch");
    // Git is not to take it for a part of the repository that it is made in.
    run(Command::new("git").arg("apply").arg(patch).current_dir(&made).env("GIT_CEILING_DIRECTORIES", env!("CARGO_TARGET_TMPDIR")));
    let target = made.with_file_name("next-target");
    let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
    eprintln!("builds the next build of the service ({profile})");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    run(cargo
        .args(["build", "--quiet", "--package", "inventory", "--bin", "inventory", "--profile", profile])
        .current_dir(&made)
        .env("CARGO_TARGET_DIR", &target));
    target.join(if cfg!(debug_assertions) { "debug" } else { "release" }).join("inventory")
}

fn run(command: &mut Command) {
    let status = command.status().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?}");
}
