//! A restart from a long log: how fast events are applied again, on one core.
//!
//! The log is made by real requests (UpdateStock over 100,000 stock rows, 100 an entry) on a real folder, with the base
//! left empty, so that the start replays all of it. Frames are read, checked and decoded, events applied, digests
//! compared, and what the replay leaves dirty is flushed, all on this one thread.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use onebox_node::folder::Folder;
use onebox_replica::Limits;
use onebox_store::Disk;

use onebox_bench::world::{Chance, Choice, Inproc, Options, Warehouse};

const BATCH: u64 = 100;
const MIB: u64 = 1 << 20;
const HELP: &str = "\
A restart from a long log.

  --data DIR   where to put the log [a folder of its own in the system's temporary folder]; it is removed at the end
  --mib N      MiB of log [1024]";

/// Makes a log and restarts from it.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let mut data = std::env::temp_dir().join(format!("onebox-replay-{}", std::process::id()));
    let mut mib = 1024;
    let mut rest = arguments.iter().skip(1);
    while let Some(option) = rest.next() {
        match (option.as_str(), rest.next()) {
            ("--data", Some(folder)) => data = PathBuf::from(folder).join("onebox-replay"),
            ("--mib", Some(number)) if number.parse::<u64>().is_ok() => mib = number.parse().unwrap_or(mib),
            _ => {
                println!("{HELP}");
                return if option == "--help" { ExitCode::SUCCESS } else { ExitCode::from(2) };
            }
        }
    }
    let folder = Folder::open(&data).expect("the folder can be made");
    let events = make_log(&(Arc::new(folder.clone()) as Arc<dyn Disk>), mib * MIB);
    let start = Instant::now();
    let options = Options { limits: Limits { disk_free_min: 0, ..Limits::default() }, ..Options::default() };
    let inproc = Inproc::open(Arc::new(folder), options);
    let elapsed = start.elapsed().as_secs_f64();
    drop(inproc);
    println!("replayed {events} events in {elapsed:.2} s: {:.0} events/s on one core, ready to serve at the end", events as f64 / elapsed);
    if let Err(error) = std::fs::remove_dir_all(&data) {
        println!("{} could not be removed: {error}", data.display());
    }
    ExitCode::SUCCESS
}

/// Writes about `bytes` of log and nothing to the base. Gives how many events are in it.
fn make_log(disk: &Arc<dyn Disk>, bytes: u64) -> u64 {
    let limits = Limits { disk_free_min: 0, dirty_bytes_max: usize::MAX, log_replay_bytes_max: u64::MAX, ..Limits::default() };
    let mut inproc = Inproc::open(Arc::clone(disk), Options { limits, flush_bytes: usize::MAX });
    inproc.open_session();
    let warehouse = Warehouse::build(&mut inproc, 1_000, 100);
    let mut chance = Chance(1);
    let mut events = 1_000 + 100 + warehouse.rows();
    while inproc.frame_bytes() < bytes {
        for _ in 0..10_000 {
            let acknowledged_below = inproc.sequence();
            let updates = (0..BATCH).map(|_| {
                let row = Choice::Uniform.row(&mut chance, warehouse.rows());
                warehouse.update(&mut inproc, row, 1, acknowledged_below)
            });
            let updates = updates.collect();
            inproc.settle(updates);
            events += BATCH;
        }
        println!("made {} of {} MiB of log", inproc.frame_bytes() / MIB, bytes / MIB);
    }
    let (_, refused) = inproc.answered();
    assert_eq!(refused, 0, "making the log was refused");
    events
}
