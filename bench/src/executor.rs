//! The executor alone: one thread, no network, the log on the memory disk.
//!
//! UpdateStock over 100,000 stock rows, uniform and zipf, with 1 to 1,000 requests an entry. Frames, flushes and merges
//! run on this same thread and count.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use onebox_replica::Limits;
use onebox_store::memory::MemoryDisk;

use onebox_bench::world::{Chance, Choice, Inproc, Options, Warehouse};

const SHELVES: u64 = 1_000;
const PRODUCTS: u64 = 100;
/// Runs of one line; the median is printed.
const RUNS: usize = 5;

/// Prints the table.
pub(crate) fn run() {
    println!("executor: UpdateStock over {} stock rows, one thread, log on the memory disk; medians of {RUNS} runs", SHELVES * PRODUCTS);
    println!("{:>8} {:>8} {:>14} {:>14}", "rows", "batch", "requests/s", "ns/request");
    let mut inproc = fresh();
    let warehouse = Warehouse::build(&mut inproc, SHELVES, PRODUCTS);
    for choice in [Choice::Uniform, Choice::Zipf] {
        for batch in [1, 10, 100, 1_000] {
            let mut rates: Vec<f64> = (0..RUNS).map(|seed| rate(&mut inproc, &warehouse, choice, batch, seed as u64)).collect();
            rates.sort_by(f64::total_cmp);
            let rate = rates[RUNS / 2];
            println!("{:>8} {batch:>8} {rate:>14.0} {:>14.0}", format!("{choice:?}").to_lowercase(), 1e9 / rate);
        }
    }
    print_costs();
}

/// Prints what one request costs in allocations, and in instructions where valgrind is installed.
fn print_costs() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo).args(["build", "--quiet", "--release", "-p", "onebox-bench", "--bin", "onebox-count"]).status();
    let count = std::env::current_exe().map(|exe| exe.with_file_name("onebox-count"));
    let (Ok(true), Ok(count)) = (built.map(|status| status.success()), count) else {
        println!("allocations and instructions: onebox-count could not be built");
        return;
    };
    match Command::new(&count).args(["100000", "100000"]).output() {
        Ok(output) if output.status.success() => {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let (allocations, bytes) = text.trim().split_once(' ').unwrap_or(("?", "?"));
            println!("one request in entries of 100: {allocations} allocations, {bytes} bytes allocated");
        }
        Ok(_) | Err(_) => println!("allocations: onebox-count failed"),
    }
    match (instructions(&count, 2_000), instructions(&count, 12_000)) {
        (Some(few), Some(many)) => {
            println!("one request in entries of 100: {} instructions (callgrind, 10,000 rows)", (many - few) / 10_000)
        }
        (_, _) => println!("instructions: not counted; install valgrind"),
    }
}

/// Instructions of a run with this many requests.
fn instructions(count: &Path, requests: u64) -> Option<u64> {
    let tool = ["--tool=callgrind", "--callgrind-out-file=/dev/null"];
    let output = Command::new("valgrind").args(tool).arg(count).args(["10000", &requests.to_string()]).output().ok()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    text.lines().find_map(|line| line.split_once("Collected :"))?.1.trim().parse().ok()
}

/// A replica with an empty memory disk and an open session.
pub(crate) fn fresh() -> Inproc {
    let limits = Limits { turn_requests_max: 1_000, disk_free_min: 0, ..Limits::default() };
    let mut inproc = Inproc::open(Arc::new(MemoryDisk::new()), Options { limits, ..Options::default() });
    inproc.open_session();
    inproc
}

/// Requests a second, over about half a second's work.
fn rate(inproc: &mut Inproc, warehouse: &Warehouse, choice: Choice, batch: u64, seed: u64) -> f64 {
    let requests = if batch == 1 { 30_000 } else { 100_000 };
    // Requests are made ready beforehand: encoding them is the client's work.
    let mut chance = Chance(seed);
    let mut batches = Vec::new();
    for _ in 0..requests / batch {
        let acknowledged_below = inproc.sequence();
        let updates = (0..batch).map(|_| {
            let row = choice.row(&mut chance, warehouse.rows());
            warehouse.update(inproc, row, 1, acknowledged_below)
        });
        batches.push(updates.collect::<Vec<_>>());
    }
    let (done_before, refused_before) = inproc.answered();
    let start = Instant::now();
    for inputs in batches {
        inproc.settle(inputs);
    }
    let elapsed = start.elapsed().as_secs_f64();
    let (done, refused) = inproc.answered();
    assert_eq!((done - done_before, refused), (requests, refused_before), "every request was carried out");
    requests as f64 / elapsed
}
