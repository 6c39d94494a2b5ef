//! What a run costs, read from the system: processor time of a process, flushes of a disk.
//!
//! All of it is optional: where the system does not say, the figure is left out.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Microseconds of one tick of `/proc/PID/stat`; Linux counts 100 a second whatever its own clock.
const TICK_MICROS: u64 = 10_000;

/// Where the figures of one run are read.
#[derive(Debug, Clone)]
pub(crate) struct Meter {
    server: PathBuf,
    client: PathBuf,
    disk: PathBuf,
}

/// The figures at one moment; they only grow.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    server_micros: Option<u64>,
    client_micros: Option<u64>,
    flushes: Option<u64>,
}

/// What one run cost, by requests.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    /// Microseconds of processor that the server used per request.
    pub(crate) server_micros: Option<f64>,
    /// The same of the load.
    pub(crate) client_micros: Option<f64>,
    /// Flushes of the disk per request, by whomever.
    pub(crate) flushes: Option<f64>,
}

impl Meter {
    /// Watches the server of this id, this process, and the disk that holds `folder`.
    pub(crate) fn new(server: u32, folder: &Path) -> Meter {
        let device = folder.metadata().map_or(0, |metadata| metadata.dev());
        let major = (device >> 8) & 0xfff;
        let minor = (device & 0xff) | ((device >> 12) & 0xfff00);
        Meter {
            server: format!("/proc/{server}/stat").into(),
            client: "/proc/self/stat".into(),
            disk: format!("/sys/dev/block/{major}:{minor}/stat").into(),
        }
    }

    pub(crate) fn read(&self) -> Reading {
        let processor = |path: &Path| processor_micros(&std::fs::read_to_string(path).ok()?);
        Reading {
            server_micros: processor(&self.server),
            client_micros: processor(&self.client),
            flushes: std::fs::read_to_string(&self.disk).ok().and_then(|line| flushes(&line)),
        }
    }
}

impl Reading {
    /// What one request cost, of so many between an earlier reading and this one.
    pub(crate) fn since(&self, earlier: &Reading, requests: usize) -> Cost {
        let each = |then: Option<u64>, now: Option<u64>| Some(now?.checked_sub(then?)? as f64 / requests.max(1) as f64);
        Cost {
            server_micros: each(earlier.server_micros, self.server_micros),
            client_micros: each(earlier.client_micros, self.client_micros),
            flushes: each(earlier.flushes, self.flushes),
        }
    }
}

/// User and system time of a process. Its name, in parentheses, may hold anything.
fn processor_micros(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((user + system) * TICK_MICROS)
}

/// The sixteenth figure of a block device; partitions and older systems have fewer.
fn flushes(stat: &str) -> Option<u64> {
    stat.split_whitespace().nth(15)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_are_found_in_their_lines() {
        let stat = "17 (an (odd) name) S 1 2 3 4 5 6 7 8 9 10 30 12 0 0 20 0 5";
        assert_eq!(processor_micros(stat), Some(420_000));
        assert_eq!(flushes(" 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 77 99\n"), Some(77));
        assert_eq!(flushes("1 2 3 4 5 6 7 8 9 10 11"), None);
    }
}
