//! What one request costs in allocations, and a fixed amount of work for an instruction counter to watch.
//!
//! A binary of its own, because counting allocations slows every allocation. Called by the executor benchmark:
//! `onebox-count ROWS REQUESTS` builds a warehouse, makes the requests, and prints allocations and bytes a request.

#![expect(clippy::print_stdout, reason = "it is run for what it prints")]

use std::alloc::System;

use onebox_bench::world::{Chance, Choice, Inproc, Options, Warehouse};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Requests an entry.
const BATCH: u64 = 100;

fn main() {
    let mut numbers = std::env::args().skip(1).map(|argument| argument.parse::<u64>().expect("a number"));
    let (Some(rows), Some(requests)) = (numbers.next(), numbers.next()) else { panic!("onebox-count ROWS REQUESTS") };
    let limits = onebox_replica::Limits { turn_requests_max: 1_000, disk_free_min: 0, ..Default::default() };
    let mut inproc = Inproc::open(std::sync::Arc::new(onebox_store::memory::MemoryDisk::new()), Options { limits, ..Options::default() });
    inproc.open_session();
    let warehouse = Warehouse::build(&mut inproc, rows / 100, 100);
    let mut chance = Chance(3);
    let mut batches = Vec::new();
    for _ in 0..requests / BATCH {
        let acknowledged_below = inproc.sequence();
        let updates = (0..BATCH).map(|_| warehouse.update(&mut inproc, Choice::Uniform.row(&mut chance, rows), 1, acknowledged_below));
        batches.push(updates.collect::<Vec<_>>());
    }
    let region = Region::new(ALLOCATOR);
    for inputs in batches {
        inproc.settle(inputs);
    }
    let change = region.change();
    println!("{} {}", change.allocations as u64 / requests.max(1), change.bytes_allocated as u64 / requests.max(1));
}
