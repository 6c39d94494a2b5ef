//! The project's own commands. `cargo xtask help` lists them; whatever a gate runs is one of them.
//!
//! It stands on the standard library alone, so that it compiles in a second and says something before anything else
//! has compiled.

#![expect(clippy::print_stdout, reason = "what a command has to say goes to whoever typed it")]

mod ci;
mod simulate;
mod tidy;

use std::env;
use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, ExitCode};

const HELP: &str = "\
The project's own commands.

cargo xtask ci
    What the gate does after the tests: cargo fmt --all --check; cargo clippy with warnings denied; tidy; and
    cargo deny check, where cargo-deny is installed. All of them run, and the failed ones are named at the end.
    The whole gate, tests first, is .ci/run.

cargo xtask tidy
    What the compiler cannot check: module headers, lengths of files and functions (the list xtask/long.txt may only
    shrink), names of modules, the walls between crates, DEPENDENCIES.md against the manifests, links and lengths of
    pages, forgotten notes. Every finding is a line 'file:line: what is wrong; what to do'.

cargo xtask bench [executor | replay | http | disk] [arguments]
    The benchmarks, built in release. They print figures and never fail by the clock. Without a name: http, of one node, or of a
    cluster with --nodes 3. bench/postgres measures the like of PostgreSQL, if it is there.

cargo xtask simulate [arguments]
    The inventory on a simulated cluster, with faults, built in release; the arguments are those of 'inventory simulate'
    (docs/simulation.md).

cargo xtask mutants [--runs N] [--seeds N]
    Plants one bug after the other, in release, and sees that the simulator finds each: N times from other seeds [20],
    within N seeds [2000]. MUTANT=name looks for one alone. It prints a table and takes long.

cargo xtask same-trace
    Proves on a few seeds, of the inventory and of the toy, that a run is the same in debug and in release, in another
    process and in another working directory.

cargo xtask drill pauses
    Three nodes of the inventory on this machine, in release: how long a writing client waits when the leader is killed, and when
    it stops in order, over ONEBOX_DRILL_TRIALS trials each [30]. It prints a table.

cargo xtask drill join
    Three nodes on this machine with 5 million rows [ONEBOX_DRILL_ROWS], under ONEBOX_DRILL_RATE requests a second [2000]: a fourth
    joins, fetches them, and votes. It prints what the load's callers waited.

cargo xtask drill [NAME | mixed | all]
    Three nodes of the inventory on a network of namespaces, in release, under ONEBOX_DRILL_RATE requests a second [2000]: what NAME
    says befalls them; or 'mixed', one of those and a change of the members at once, in ONEBOX_DRILL_ROUNDS rounds [10]; or all there
    is. Judged afterwards: no error, every history linearizable, equal states. It needs root or user namespaces, ip, python3 and
    /dev/net/tun. NAME: kill, stop, pause, cut, one-way, other-way, slow, lossy, full-disk, damaged-log, damaged-log-running,
    damaged-base, damaged-running, replace, rolling, members; after deploy/install-balancers also haproxy, nginx, or balancers for both: the load
    goes through the configurations in deploy. Not among all: 'upgrade',
    the nodes get a next build of the service, node by node, and back.

cargo xtask help
    This.

Exit codes: 0 all is well, 1 something was found or failed, 2 there is no such command.";

fn main() -> ExitCode {
    let mut arguments = env::args_os().skip(1);
    let command = arguments.next().unwrap_or_default();
    let rest: Vec<OsString> = arguments.collect();
    match (command.to_str(), rest.as_slice()) {
        (Some("ci"), []) => ci::run(root()),
        (Some("tidy"), []) => tidy::run(root()),
        (Some("bench"), rest) => bench(rest),
        (Some("simulate"), rest) => simulate::run(rest),
        (Some("mutants"), rest) => simulate::mutants(rest),
        (Some("drill"), []) => drill("all"),
        (Some("drill"), [name]) => drill(&name.to_string_lossy()),
        (Some("same-trace"), []) => simulate::same_trace(root()),
        (Some("help" | "--help" | "-h"), _) => {
            println!("{HELP}");
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("{HELP}");
            ExitCode::from(2)
        }
    }
}

fn bench(arguments: &[OsString]) -> ExitCode {
    let mut command = cargo();
    exit_code_of(command.args(["run", "--quiet", "--release", "--package", "onebox-bench", "--"]).args(arguments))
}

fn drill(name: &str) -> ExitCode {
    let mut command = cargo();
    let test = match name {
        "pauses" => "pauses::pauses_of_a_writing_client",
        "join" => "joins::a_node_joins_a_loaded_cluster",
        _ => "drills::drills_on_a_network",
    };
    command.args(["test", "--quiet", "--release", "--package", "inventory", "--test", "process", "--"]);
    exit_code_of(command.args(["--exact", test, "--ignored", "--nocapture"]).env("ONEBOX_DRILL", name))
}

/// Runs a cargo to its end.
fn exit_code_of(command: &mut Command) -> ExitCode {
    match command.status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("cargo cannot be started: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The cargo that runs this, in the workspace's root.
fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    command.current_dir(root());
    command
}

/// The root of the workspace, wherever the command was typed.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace's root")
}
