//! The simulator's commands: seeds run in release, planted bugs looked for, and the proof that a build changes nothing.
//!
//! What is simulated, and what is checked, is the business of the binaries that are started here.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::Path;
use std::process::{self, Command, ExitCode};

use crate::{cargo, exit_code_of};

/// Seeds of each workload whose traces are compared.
const SEEDS: usize = 12;

/// Runs the verb `simulate` of the inventory, built in release.
pub(crate) fn run(arguments: &[OsString]) -> ExitCode {
    let mut command = cargo();
    command.args(["run", "--quiet", "--release", "--package", "inventory", "--", "simulate"]).args(arguments);
    // A file that the arguments name is named from where they were typed.
    if let Ok(folder) = env::current_dir() {
        command.current_dir(folder);
    }
    exit_code_of(&mut command)
}

/// Looks for each planted bug, built in release.
pub(crate) fn mutants(arguments: &[OsString]) -> ExitCode {
    let effort = match Effort::read(arguments) {
        Ok(effort) => effort,
        Err(words) => {
            eprintln!("cargo xtask mutants: {words}");
            return ExitCode::from(2);
        }
    };
    let mut command = cargo();
    command
        .args(["test", "--quiet", "--release", "--package", "onebox-simulator", "--features", "mutants"])
        .args(["--test", "mutants", "--", "--nocapture"])
        .env("MUTANT_RUNS", effort.runs.to_string())
        .env("MUTANT_SEEDS", effort.seeds_max.to_string());
    exit_code_of(&mut command)
}

/// How hard each planted bug is looked for.
#[derive(Debug, PartialEq, Eq)]
struct Effort {
    runs: u64,
    seeds_max: u64,
}

impl Effort {
    fn read(arguments: &[OsString]) -> Result<Effort, String> {
        let mut effort = Effort { runs: 20, seeds_max: 2_000 };
        for pair in arguments.chunks(2) {
            let number = pair.get(1).and_then(|value| value.to_str()?.parse::<u64>().ok()).filter(|number| *number > 0);
            match (pair[0].to_str(), number) {
                (Some("--runs"), Some(number)) => effort.runs = number,
                (Some("--seeds"), Some(number)) => effort.seeds_max = number,
                _ => {
                    let said = pair.join(OsStr::new(" "));
                    return Err(format!("{} is not --runs N or --seeds N, with a number above 0", said.display()));
                }
            }
        }
        Ok(effort)
    }
}

/// Compares the traces of the two profiles, each in a process and a working directory of its own.
pub(crate) fn same_trace(root: &Path) -> ExitCode {
    for flag in [None, Some("--release")] {
        let mut build = cargo();
        build.args(["build", "--quiet", "--package", "inventory"]).args(flag);
        if exit_code_of(&mut build) != ExitCode::SUCCESS {
            return ExitCode::FAILURE;
        }
    }
    let elsewhere = env::temp_dir().join(format!("onebox-same-trace-{}", process::id()));
    if let Err(error) = fs::create_dir_all(&elsewhere) {
        eprintln!("cannot make the folder {}: {error}", elsewhere.display());
        return ExitCode::FAILURE;
    }
    let compared = compare_builds(root, &elsewhere);
    if let Err(error) = fs::remove_dir_all(&elsewhere) {
        eprintln!("cannot remove the folder {}, which is of no use any more: {error}", elsewhere.display());
    }
    match compared {
        Ok(differing) if differing.is_empty() => {
            println!("{SEEDS} seeds of the inventory and {SEEDS} of the toy: all equal in debug and in release");
            ExitCode::SUCCESS
        }
        Ok(differing) => {
            println!("the same seeds do not do the same in debug and in release:\n{}", differing.join("\n"));
            ExitCode::FAILURE
        }
        Err(words) => {
            eprintln!("{words}");
            ExitCode::FAILURE
        }
    }
}

/// What differs, workload after workload.
fn compare_builds(root: &Path, elsewhere: &Path) -> Result<Vec<String>, String> {
    // Cargo reads a relative folder from where it is started, which is the root.
    let target = root.join(env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| OsString::from("target")));
    let binary = |profile: &str| target.join(profile).join(format!("inventory{}", env::consts::EXE_SUFFIX));
    let mut differing = Vec::new();
    for (workload, flag) in [("inventory", None), ("toy", Some("--toy"))] {
        let debug = traces(&binary("debug"), root, flag)?;
        let release = traces(&binary("release"), elsewhere, flag)?;
        differing.extend(differences(&debug, &release).into_iter().map(|line| format!("{workload}, {line}")));
    }
    Ok(differing)
}

/// The lines `seed N trace HASH` of a binary that is started in a folder.
fn traces(binary: &Path, folder: &Path, flag: Option<&str>) -> Result<String, String> {
    let mut command = Command::new(binary);
    command.args(["simulate", "--seed", "1", "--hash", "--seeds"]).arg(SEEDS.to_string()).args(flag).current_dir(folder);
    let output = command.output().map_err(|error| format!("{} cannot be started: {error}", binary.display()))?;
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() || told.lines().count() != SEEDS {
        let errors = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{} did not tell {SEEDS} traces, but, with {}:\n{told}{errors}", binary.display(), output.status));
    }
    Ok(told)
}

/// The lines that are not the same, each as it is in both builds.
fn differences(debug: &str, release: &str) -> Vec<String> {
    let pairs = debug.lines().zip(release.lines());
    pairs.filter(|(debug, release)| debug != release).map(|(debug, release)| format!("debug: {debug}; release: {release}")).collect()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::{Effort, differences};

    fn read(line: &str) -> Result<Effort, String> {
        let arguments: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        Effort::read(&arguments)
    }

    #[test]
    fn an_effort_is_said_or_left_out() {
        assert_eq!(read(""), Ok(Effort { runs: 20, seeds_max: 2_000 }));
        assert_eq!(read("--seeds 9"), Ok(Effort { runs: 20, seeds_max: 9 }));
        assert_eq!(read("--runs 3 --seeds 9"), Ok(Effort { runs: 3, seeds_max: 9 }));
    }

    #[test]
    fn anything_else_is_told_back() {
        for line in ["--runs", "--runs 0", "--runs many", "--seed 9", "9"] {
            let words = read(line).expect_err("that is no effort");
            assert!(words.starts_with(&format!("{line} is not --runs N")), "{words}");
        }
    }

    #[test]
    fn a_trace_that_differs_is_named() {
        let (debug, release) = ("seed 1 trace aa\nseed 2 trace bb\n", "seed 1 trace aa\nseed 2 trace cc\n");
        assert_eq!(differences(debug, debug), [""; 0]);
        assert_eq!(differences(debug, release), ["debug: seed 2 trace bb; release: seed 2 trace cc"]);
    }
}
