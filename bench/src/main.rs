//! The benchmarks; `cargo xtask bench` runs them, by name: `http` if none is given.

#![expect(clippy::print_stdout, reason = "a benchmark is run for what it prints")]

use std::process::ExitCode;

mod disk;
mod etcd;
mod executor;
mod http;
mod load;
mod meter;
mod quantiles;
mod replay;
mod server;
mod warehouse;

/// The benchmarks and what each measures.
const BENCHMARKS: &str = "\
http      one node over HTTP/JSON and gRPC, fsync on (the default)
disk      the raw rate of fdatasync
executor  one partition in this process, its log on the memory disk
replay    a restart from a long log
etcd      an etcd that runs, over gRPC: bench/etcd starts it";

fn main() -> ExitCode {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    // An option alone is one of the default benchmark.
    if arguments.first().is_none_or(|first| first.starts_with("--") && first != "--help") {
        arguments.insert(0, "http".to_owned());
    }
    match arguments[0].as_str() {
        "http" => http::run(&arguments),
        "disk" => disk::run(&arguments),
        "executor" => {
            executor::run();
            ExitCode::SUCCESS
        }
        "replay" => replay::run(&arguments),
        "etcd" => etcd::run(&arguments),
        "serve" => server::serve(),
        "help" | "--help" | "-h" => {
            println!("{BENCHMARKS}\n\nEach takes --help.");
            ExitCode::SUCCESS
        }
        other => {
            eprintln!("there is no benchmark {other}; there are:\n{BENCHMARKS}");
            ExitCode::from(2)
        }
    }
}
