//! The flush: a frozen generation goes to the base, with the position, chain and digest at which it froze.
//!
//! The three steps are values that wander between threads: the writer gives a [`FlushJob`], a background thread runs it
//! to a [`Flushed`], the writer installs that and gives a [`Retired`] for any other thread to drop.

use std::fmt;
use std::sync::Arc;

use onebox_service::{Fault, FaultKind};

use super::base::BaseReader;
use super::encoding::{BASE_FILE, Meta};
use super::generation::Generation;
use super::runs::RunStack;
use crate::Disk;

/// Room that a flush needs on the disk beside the pages that it copies: those of the tree above them, and the record's.
const FLUSH_ROOM_BYTES: u64 = 8 << 20;

/// A row that is written copies the page that it is on.
const PAGE_BYTES: u64 = 4096;

/// A frozen generation to be written to the base.
pub struct FlushJob {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) base: Arc<BaseReader>,
    pub(crate) rows: Arc<Generation>,
    pub(crate) meta: Meta,
}

impl FlushJob {
    /// Writes it, in one durable transaction.
    ///
    /// # Errors
    /// `DiskFull` before anything was touched, if there is not enough room: tell the state with
    /// [`State::flush_failed`](super::State::flush_failed) and try again later. Any other fault is final: whether the
    /// base took the rows shows at the next open, which finds it whole either way.
    pub fn run(self) -> Result<Flushed, Fault> {
        let copied = (PAGE_BYTES * self.rows.len() as u64).min(self.base.file_bytes()?);
        let needed = 2 * self.rows.bytes() as u64 + copied + FLUSH_ROOM_BYTES;
        let free = self.disk.free_bytes()?;
        if free < needed {
            let detail = format!("{free} bytes are free; a flush of {} bytes of rows needs {needed}", self.rows.bytes());
            return Err(Fault::new(FaultKind::DiskFull, "flush", BASE_FILE, detail));
        }
        let rows = self.rows.iter().map(|(key, slot)| (&key[..], slot.as_deref()));
        let base = self.base.write(rows, &self.meta)?;
        Ok(Flushed { base: Arc::new(base) })
    }
}

/// A base that holds one generation more.
pub struct Flushed {
    pub(crate) base: Arc<BaseReader>,
}

/// What a flush replaced. Dropping it may take long; do it off the writer's thread.
#[must_use = "drop it on another thread: freeing a generation takes time"]
pub struct Retired {
    pub(crate) _rows: Arc<Generation>,
    pub(crate) _runs: RunStack,
    pub(crate) _base: Arc<BaseReader>,
}

impl fmt::Debug for FlushJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlushJob").field("meta", &self.meta).field("bytes", &self.rows.bytes()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Flushed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flushed").field("meta", self.base.meta()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Retired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retired").finish_non_exhaustive()
    }
}
