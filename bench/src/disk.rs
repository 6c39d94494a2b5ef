//! How often the disk syncs, without onebox: 4 KiB written and synced (fdatasync), again and again.
//!
//! Twice: into space that was written with zeros before, as the log does, and into a file that grows. The first is
//! what no log on this disk can exceed with one sync at a time.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;

use crate::quantiles::Quantiles;

/// Bytes of one write.
const WRITE_BYTES: usize = 4096;
/// Bytes that are zero-written before; written from the start again at their end.
const SPACE_BYTES: u64 = 64 << 20;

/// The raw rate of fdatasync on a disk.
#[derive(Debug, Parser)]
#[command(name = "disk")]
struct Options {
    /// A folder on the disk to measure [default: the system's folder for temporary files].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Seconds of each measurement.
    #[arg(long, value_name = "N", default_value_t = 2)]
    seconds: u64,
}

/// The rates of one disk at one time.
#[derive(Debug, Clone)]
pub(crate) struct DiskRates {
    pub(crate) zero_written: SyncRate,
    pub(crate) growing: SyncRate,
}

/// How often a file was synced.
#[derive(Debug, Clone)]
pub(crate) struct SyncRate {
    pub(crate) per_second: f64,
    pub(crate) quantiles: Quantiles,
}

/// Runs the benchmark `disk`.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let options = Options::parse_from(arguments);
    let folder = options.data.unwrap_or_else(std::env::temp_dir);
    let rates = std::fs::create_dir_all(&folder).and_then(|()| measure(&folder, Duration::from_secs(options.seconds.max(1))));
    match rates {
        Ok(rates) => {
            print(&rates, "");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("disk: {}: {error}", folder.display());
            ExitCode::FAILURE
        }
    }
}

/// Prints the rates, two lines.
pub(crate) fn print(rates: &DiskRates, when: &str) {
    for (rate, what) in [(&rates.zero_written, "zero-written space"), (&rates.growing, "a growing file")] {
        let SyncRate { per_second, quantiles: Quantiles { p50, p99, p999 } } = rate;
        println!("raw fdatasync of 4 KiB into {what:<18}  {per_second:>8.0}/s   p50 {p50} us, p99 {p99} us, p99.9 {p999} us{when}");
    }
}

/// Measures each kind for `span`, in a file that is removed afterwards.
///
/// # Errors
/// What the system said.
pub(crate) fn measure(folder: &Path, span: Duration) -> io::Result<DiskRates> {
    let path = folder.join(format!("onebox-bench-sync-{}", std::process::id()));
    let rates = measure_in(&path, span);
    let removed = std::fs::remove_file(&path);
    let rates = rates?;
    removed?;
    Ok(rates)
}

fn measure_in(path: &Path, span: Duration) -> io::Result<DiskRates> {
    let file = File::create(path)?;
    let zeros = vec![0; 1 << 20];
    for offset in (0..SPACE_BYTES).step_by(zeros.len()) {
        file.write_all_at(&zeros, offset)?;
    }
    file.sync_all()?;
    let zero_written = sync_for(&file, span, SPACE_BYTES)?;
    file.set_len(0)?;
    file.sync_all()?;
    let growing = sync_for(&file, span, u64::MAX)?;
    Ok(DiskRates { zero_written, growing })
}

fn sync_for(file: &File, span: Duration, space: u64) -> io::Result<SyncRate> {
    let bytes = [0x5a; WRITE_BYTES];
    let (mut micros, mut offset) = (Vec::new(), 0);
    let started = Instant::now();
    while started.elapsed() < span {
        let before = Instant::now();
        file.write_all_at(&bytes, offset)?;
        file.sync_data()?;
        micros.push(u32::try_from(before.elapsed().as_micros()).unwrap_or(u32::MAX));
        offset = (offset + WRITE_BYTES as u64) % space;
    }
    let per_second = micros.len() as f64 / started.elapsed().as_secs_f64();
    Ok(SyncRate { per_second, quantiles: Quantiles::of(&mut micros) })
}
