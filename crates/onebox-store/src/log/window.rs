//! A window over one segment's bytes: reads large pieces of the file, gives small ones, checks frames.
//!
//! It gives no byte at or above its end, so that a reader never sees what the writer is just writing.

use std::sync::Arc;

use onebox_service::Fault;

use super::format::{FRAME_HEADER_BYTES, FrameHeader, Place, SegmentNumber, frame_is_whole};
use crate::disk::{DiskFile, SECTOR_BYTES};
use crate::names::NodeId;

/// How much is read from the file at first: who wants one entry does not read a segment. Each time after that it is twice as much.
const READ_BYTES_FIRST: u64 = 16 << 10;
/// How much is read from the file at once, at most, unless a frame is larger.
const READ_BYTES_MAX: u64 = 1 << 20;

#[derive(Debug)]
pub(super) struct Window {
    file: Arc<dyn DiskFile>,
    node: NodeId,
    segment: SegmentNumber,
    end: u64,
    /// Where in the file `bytes` were read.
    start: u64,
    bytes: Vec<u8>,
    /// How much is read next.
    next_read: u64,
}

impl Window {
    /// A window over the whole sectors of a segment's first `end` bytes.
    pub(super) fn new(file: Arc<dyn DiskFile>, node: NodeId, segment: SegmentNumber, end: u64) -> Window {
        Window { file, node, segment, end: end - end % SECTOR_BYTES, start: 0, bytes: Vec::new(), next_read: READ_BYTES_FIRST }
    }

    pub(super) fn segment(&self) -> SegmentNumber {
        self.segment
    }

    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// The writer made more of the segment durable.
    pub(super) fn extend(&mut self, end: u64) {
        assert!(end >= self.end, "a durable end never moves back: {} to {end}", self.end);
        self.end = end;
    }

    /// The bytes of a range below the end.
    pub(super) fn bytes(&mut self, offset: u64, count: usize) -> Result<&[u8], Fault> {
        let to = offset + count as u64;
        assert!(to <= self.end, "bytes up to {to} of a window that ends at {}", self.end);
        if offset < self.start || to > self.start + self.bytes.len() as u64 {
            let length = self.next_read.max(count as u64).min(self.end - offset);
            self.next_read = (2 * self.next_read).min(READ_BYTES_MAX);
            // Nothing may be taken from a buffer that a failed read left half filled: it is gone then.
            let mut bytes = std::mem::take(&mut self.bytes);
            bytes.resize(length as usize, 0);
            self.file.read_at(offset, &mut bytes)?;
            self.bytes = bytes;
            self.start = offset;
        }
        let from = (offset - self.start) as usize;
        Ok(&self.bytes[from..from + count])
    }

    /// The frame that begins at `offset`, if a whole one that belongs there does.
    pub(super) fn frame(&mut self, offset: u64) -> Result<Option<FrameHeader>, Fault> {
        if offset + FRAME_HEADER_BYTES as u64 > self.end {
            return Ok(None);
        }
        let (node, place, bytes_max) = (self.node, Place { segment: self.segment, offset }, self.end - offset);
        let Some(header) = FrameHeader::peek(self.bytes(offset, FRAME_HEADER_BYTES)?, bytes_max) else {
            return Ok(None);
        };
        if header.place != place {
            return Ok(None);
        }
        let frame = self.bytes(offset, header.padded_bytes() as usize)?;
        Ok(frame_is_whole(frame, node).then_some(header))
    }
}
