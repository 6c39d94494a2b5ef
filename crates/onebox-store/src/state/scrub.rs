//! The scrub: reads the whole base of one instant and compares it with what was recorded about it.
//!
//! Checksums find a damaged row, the order of keys and a lookup of each find a damaged path to it, and the digest and
//! the count find rows that are missing, stale or invented.

use std::sync::Arc;

use onebox_service::Fault;

use super::base::BaseReader;
use super::digest::{Sums, row_hash};
use super::encoding::{damage, describe};

/// A scrub in progress: a plain value, to be stepped by a background thread. It holds a read transaction of the base.
#[derive(Debug)]
pub struct ScrubJob {
    base: Arc<BaseReader>,
    first: Vec<u8>,
    last: Vec<u8>,
    sums: Sums,
    scratch: Vec<u8>,
}

/// How far a scrub has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScrubProgress {
    /// So many of the base's rows have been found sound.
    Ongoing {
        /// Rows read so far.
        rows_read: u64,
        /// Rows in all.
        rows: u64,
    },
    /// The base is what it was recorded to be.
    Sound {
        /// Rows in all.
        rows: u64,
    },
}

impl ScrubJob {
    pub(crate) fn new(base: Arc<BaseReader>) -> ScrubJob {
        ScrubJob { base, first: Vec::new(), last: Vec::new(), sums: Sums::default(), scratch: Vec::new() }
    }

    /// Reads at most `rows_max` rows more. Not to be called again once it gave `Sound` or a fault.
    ///
    /// # Errors
    /// Damage, with the key range; or the fault met while reading.
    pub fn step(&mut self, rows_max: usize) -> Result<ScrubProgress, Fault> {
        let mut from = self.last.clone();
        if self.sums.rows > 0 {
            from.push(0);
        }
        let mut scan = self.base.scan(&from, None)?;
        for _ in 0..rows_max {
            let Some(row) = scan.next()? else { return self.finish() };
            self.sums.add(row_hash(row.key(), row.value(), &mut self.scratch));
            if self.sums.rows == 1 {
                self.first = row.key().to_vec();
            }
            self.last.clear();
            self.last.extend_from_slice(row.key());
            if self.base.get(row.key())?.as_deref() != Some(row.value()) {
                return Err(damage("scrub", format!("the row at {} is there and is not found by its key", describe(row.key()))));
            }
        }
        Ok(ScrubProgress::Ongoing { rows_read: self.sums.rows, rows: self.base.meta().rows })
    }

    fn finish(&self) -> Result<ScrubProgress, Fault> {
        let meta = self.base.meta();
        let recorded = Sums { digest: meta.digest, rows: meta.rows };
        if self.sums == recorded {
            return Ok(ScrubProgress::Sound { rows: recorded.rows });
        }
        let (first, last) = (describe(&self.first), describe(&self.last));
        let detail = format!(
            "somewhere between {first} and {last}: {} rows with digest {} were recorded at entry {}, {} rows with digest {} are there",
            recorded.rows, recorded.digest, meta.applied.index, self.sums.rows, self.sums.digest
        );
        Err(damage("scrub", detail))
    }
}
