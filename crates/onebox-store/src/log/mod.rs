//! The log of one partition replica: what was agreed, in order, durable before anyone is told.
//!
//! Bytes as FORMAT.md says. [`open`] reads what is there and gives a [`LogWriter`] and a [`LogReader`], which may live
//! in different threads: the writer's [`Appended`] values tell the reader what became durable. One append is one frame,
//! one write and one sync; it is there whole after any crash, or not at all.
//!
//! Kept true here: bytes below a durable end are never cut or skipped; what was not durable is never given to a reader.
//! The log does not know what an entry's data means.

mod format;
mod index;
mod open;
mod reader;
mod replay;
mod reset;
mod scrub;
mod segment;
mod window;
mod writer;

use crate::disk::SECTOR_BYTES;
use crate::names::{LogIndex, NodeId, Term};

pub use format::{FORMAT_VERSION, MEMBERSHIP_BYTES_MAX, SegmentNumber};
pub use open::{Cut, Opened, Progress, begins_behind, open};
pub use reader::LogReader;
pub use reset::{Peek, Reset, peek, reset};
pub use scrub::LogScrub;
pub use segment::{move_to_history, prepare_spare};
pub use writer::{Appended, LogWriter};

/// The size of a segment, unless told otherwise.
pub const SEGMENT_BYTES: u64 = 64 << 20;

/// The bounds of [`LogOptions::segment_bytes`].
pub const SEGMENT_BYTES_MIN: u64 = 4 * SECTOR_BYTES;

/// The bounds of [`LogOptions::segment_bytes`]. Lengths and offsets in a segment then fit 32 bits with room to spare.
pub const SEGMENT_BYTES_MAX: u64 = 1 << 30;

/// How a log is laid out, and whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogOptions {
    /// The size of new segments: whole sectors, from [`SEGMENT_BYTES_MIN`] to [`SEGMENT_BYTES_MAX`].
    pub segment_bytes: u64,
    /// The node that the log belongs to. A log of another node is refused.
    pub node: NodeId,
}

impl LogOptions {
    /// The most that [`Batch::frame_bytes`] may be: one frame fits one segment.
    pub fn frame_bytes_max(&self) -> u64 {
        self.segment_bytes - format::SEGMENT_HEADER_BYTES
    }
}

/// What the consensus must not forget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HardState {
    /// The latest term seen.
    pub term: Term,
    /// Who got the vote of that term; 0 is nobody.
    pub vote: u64,
    /// The highest index known to be committed.
    pub commit: LogIndex,
}

/// One entry of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// Its position.
    pub index: LogIndex,
    /// The term in which it was proposed.
    pub term: Term,
    /// What sort of data it has; opaque to the log.
    pub kind: u8,
    /// What was agreed; opaque to the log.
    pub data: Vec<u8>,
}

/// What becomes durable together. An empty batch is a marker: it asserts the end of the log after idling.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Batch {
    /// The hard state, if it changed.
    pub hard_state: Option<HardState>,
    /// The membership, if it changed: opaque bytes, 1 to [`MEMBERSHIP_BYTES_MAX`].
    pub membership: Option<Vec<u8>>,
    /// Entries with consecutive indexes. The first supersedes all earlier entries at or above its index.
    pub entries: Vec<LogEntry>,
}

impl Batch {
    /// Bytes that the batch takes in a segment.
    pub fn frame_bytes(&self) -> u64 {
        format::frame_bytes(self)
    }
}
